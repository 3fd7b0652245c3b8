//! How it ends, and what it survives.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{Client, assert_sound};
use crate::chance::{Dice, scale};
use crate::listener::{Harbour, eventually};
use crate::support::World;

/// Keeps everybody from writing until it is dropped.
fn locked(world: &World) -> File {
    let lock = File::open(world.state().join("ledger.lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    lock
}

/// Whether `client`'s server waits for a lock.
fn waits(client: &Client) -> bool {
    let tasks = fs::read_dir(format!("/proc/{}/task", client.child.id())).unwrap();
    tasks.filter_map(Result::ok).any(|task| {
        let call = fs::read_to_string(task.path().join("wchan")).unwrap_or_default();
        call.contains("lock") && !call.contains("clock") && !call.contains("unlock")
            || fs::read_to_string(task.path().join("syscall")).is_ok_and(|it| it.starts_with("73 "))
    })
}

/// Whether a service of a directory has a port.
fn is_reserved(world: &World, directory: &Path, service: &str) -> bool {
    world.command(directory).args(["get", service]).output().unwrap().status.success()
}

#[test]
fn a_cancelled_call_has_no_answer_and_what_has_begun_is_carried_through() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    world.reserve(&shop, &["first"]);
    let mut client = Client::new(&world);
    let lock = locked(&world);
    let call =
        json!({ "name": "reserve", "arguments": { "directory": shop, "services": ["web"] } });
    let id = client.ask("tools/call", call);
    assert!(eventually(|| waits(&client)), "it waits for the lock");
    let cancelled = json!({ "requestId": id, "reason": "the user has changed their mind" });
    client.say(&json!({
        "jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled,
    }));
    assert_eq!(client.request("ping", json!({}))["result"], json!({}));
    drop(lock);
    assert!(eventually(|| is_reserved(&world, &shop, "web")));
    let (document, _) =
        client.succeeds("reserve", json!({ "directory": shop, "services": ["web"] }));
    assert_eq!(document["services"][0]["outcome"], "existing");
    let (last, status) = client.end();
    assert!(last.is_empty() && status.success(), "{last:?}");
    assert_sound(&world);
}

#[test]
fn a_verb_that_has_begun_is_carried_through_when_the_client_goes() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    world.reserve(&shop, &["first"]);
    let mut client = Client::new(&world);
    let lock = locked(&world);
    let call =
        json!({ "name": "reserve", "arguments": { "directory": shop, "services": ["web"] } });
    let id = client.ask("tools/call", call);
    assert!(eventually(|| waits(&client)));
    drop(client.stdin.take());
    drop(lock);
    let answer = client.hear().unwrap();
    assert_eq!(answer["id"], id, "{answer}");
    let (last, status) = client.end();
    assert!(last.is_empty() && status.success(), "{last:?}");
    let port = answer["result"]["structuredContent"]["services"][0]["port"].as_u64().unwrap();
    assert_eq!(u64::from(world.run(&shop, ["get", "web"]).port()), port);
}

#[test]
fn it_ends_when_it_is_told_to() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    for signal in [Signal::TERM, Signal::INT] {
        for greeted in [false, true] {
            let mut client = Client::start(&world, &[]);
            if greeted {
                client.hello("2025-11-25");
                client.succeeds("reserve", json!({ "directory": shop }));
            } else {
                client.request("ping", json!({}));
            }
            let pid = Pid::from_child(&client.child);
            let begun = Instant::now();
            kill_process(pid, signal).unwrap();
            // Its stdin is still open.
            assert!(client.wait().success(), "{signal:?}");
            assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        }
    }
    // Nothing was ever said.
    assert!(Client::start(&world, &[]).end().1.success());
    assert_sound(&world);
}

#[test]
fn it_listens_on_nothing() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let mut client = Client::new(&world);
    client.succeeds("reserve", json!({ "directory": shop, "services": ["a", "b"] }));
    let sockets = || -> Vec<String> {
        let open = fs::read_dir(format!("/proc/{}/fd", client.child.id())).unwrap();
        let links = open.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        let links = links.map(|link| link.display().to_string());
        links
            .filter_map(|it| Some(it.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
            .collect()
    };
    let tables = ["tcp", "tcp6", "udp", "udp6"]
        .map(|table| fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default());
    for inode in sockets() {
        let there = tables.iter().any(|table| table.split_whitespace().any(|word| word == inode));
        assert!(!there, "socket {inode} is one of the internet");
    }
}

#[test]
fn what_makes_no_sense_is_passed_over() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let mut client = Client::new(&world);
    for line in [
        &b"{"[..],
        b"",
        b"   ",
        b"null",
        b"[]",
        b"42",
        b"\"tools/list\"",
        b"\xff\xfe\x00",
        b"Content-Length: 5\r",
        b"{\"jsonrpc\":\"2.0\"}",
        b"{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"tools/list\"}",
        b"{\"jsonrpc\":\"1.0\",\"id\":7777,\"method\":\"tools/list\"}",
        b"{\"jsonrpc\":\"2.0\",\"id\":7777,\"result\":{}}",
        b"{\"jsonrpc\":\"2.0\",\"id\":7777,\"error\":{\"code\":1,\"message\":\"x\"}}",
        b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/nonsense\",\"params\":{\"a\":[1]}}",
        b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":99}}",
    ] {
        client.say_line(line);
    }
    client.say_line(&[b"[".repeat(100_000), b"]".repeat(100_000)].concat());
    // One that is longer than anything a tool could be asked for, and has no answer.
    let long = "x".repeat(3 * 1024 * 1024);
    let call = json!({ "name": "reserve", "arguments": { "directory": shop, "task": long } });
    client.ask("tools/call", call);
    let id =
        client.ask("tools/call", json!({ "name": "reserve", "arguments": { "directory": shop } }));
    let mut refusals = 0;
    let answer = loop {
        let answer = client.answer();
        if answer["id"] == id {
            break answer;
        }
        assert!(answer["error"]["code"].is_number(), "{answer}");
        refusals += 1;
    };
    assert!(refusals < 12, "{refusals}");
    assert_eq!(answer["result"]["isError"], false, "{answer}");
    // What is long and within bounds is read, and refused by what it is.
    let task = "x".repeat(500 * 1024);
    let (error, _) = client.fails("reserve", json!({ "directory": shop, "task": task }));
    assert_eq!(error["code"], "usage");
    let (error, _) =
        client.fails("reserve", json!({ "directory": shop, "services": vec!["a"; 5000] }));
    assert_eq!(error["code"], "usage");
    let (last, status) = client.end();
    assert!(last.is_empty() && status.success(), "{last:?}");
}

#[test]
fn a_client_that_does_not_speak_mcp_is_told_so() {
    let world = Harbour::new();
    let mut client = Client::start(&world, &[]);
    client.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    assert_eq!(client.wait().code(), Some(2));
    let mut client = Client::start(&world, &[]);
    // Without a handshake, a request has to bring along what the handshake would have said.
    let answer = client.request("tools/list", json!({}));
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    client.hello("2025-11-25");
    assert!(client.end().1.success());
}

#[test]
fn many_calls_at_once_are_all_answered() {
    let world = Harbour::of_size(64);
    let shop = world.repository("shop");
    let mut client = Client::new(&world);
    let calls: Vec<_> = (0..60)
        .map(|number| {
            let service = format!("s{}", number % 40);
            let arguments = json!({ "directory": shop, "services": [service] });
            client.ask("tools/call", json!({ "name": "reserve", "arguments": arguments }))
        })
        .collect();
    let mut ports = std::collections::BTreeMap::new();
    let mut answered: Vec<_> = calls
        .iter()
        .map(|_| {
            let answer = client.answer();
            let found = &answer["result"]["structuredContent"]["services"][0];
            let service = found["reservation"]["service"].as_str().unwrap().to_owned();
            let port = ports.entry(service).or_insert_with(|| found["port"].clone());
            assert_eq!(*port, found["port"]);
            answer["id"].as_u64().unwrap()
        })
        .collect();
    answered.sort_unstable();
    assert_eq!(answered, calls);
    let distinct: std::collections::BTreeSet<_> = ports.values().map(Value::to_string).collect();
    assert_eq!(distinct.len(), 40);
    assert!(client.end().1.success());
    assert_sound(&world);
}

#[test]
fn a_server_that_is_killed_leaves_nothing_half_done() {
    let world = Harbour::of_size(64);
    let mut dice = Dice(7);
    let directories: Vec<_> = (0..8).map(|it| world.dir(format!("d{it}"))).collect();
    let mut answered = std::collections::BTreeMap::new();
    for round in 0..12 * scale() {
        let mut client = Client::new(&world);
        for (number, directory) in directories.iter().enumerate() {
            let service = format!("s{}", (number + round) % 5);
            let arguments = json!({ "directory": directory, "services": [service, "main"] });
            client.ask("tools/call", json!({ "name": "reserve", "arguments": arguments }));
        }
        let pause = Duration::from_micros(dice.below(20_000).try_into().unwrap());
        let deadline = Instant::now() + pause;
        while let Ok(line) =
            client.heard.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            let answer: Value = serde_json::from_str(&line).unwrap();
            for found in answer["result"]["structuredContent"]["services"].as_array().unwrap() {
                let reservation = &found["reservation"];
                let key = reservation["key"].as_str().unwrap().to_owned();
                answered.insert(key, found["port"].clone());
            }
        }
        client.child.kill().unwrap();
        assert_eq!(client.child.wait().unwrap().signal(), Some(9));
    }
    let list = world.run(&world.root(), ["list", "--json"]).json();
    let kept: std::collections::BTreeMap<_, _> = list["reservations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["key"].as_str().unwrap().to_owned(), it["port"].clone()))
        .collect();
    for (key, port) in &answered {
        assert_eq!(kept.get(key), Some(port), "{key} was answered");
    }
    // All of a call or nothing.
    for directory in &directories {
        let of = |service: &str| is_reserved(&world, directory, service);
        assert_eq!((0..5).any(|it| of(&format!("s{it}"))), of("main"), "{}", directory.display());
    }
    assert_sound(&world);
}

#[test]
fn what_is_bound_to_the_agent_ends_with_it() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let mut client = Client::new(&world);
    let arguments = json!({ "directory": shop, "lease": "ephemeral" });
    let (document, _) = client.succeeds("reserve", arguments);
    let owner = &document["services"][0]["reservation"]["owner"];
    assert_eq!(owner["pid"], std::process::id(), "the process that started the server");
    let arguments = json!({ "directory": shop, "services": ["web"], "agent": "me", "task": "t" });
    let (document, _) = client.succeeds("reserve", arguments);
    let reservation = &document["services"][0]["reservation"];
    assert_eq!((&reservation["agent"], &reservation["task"]), (&"me".into(), &"t".into()));
    assert_eq!(reservation["owner"], Value::Null);
}

#[test]
fn logs_go_to_stderr() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let mut client = Client::with_roots(&world, &["-vv"], None);
    client.succeeds("reserve", json!({ "directory": shop }));
    let _ = client.stdin.as_mut().unwrap().write_all(b"{\n");
    drop(client.stdin.take());
    while client.hear().is_some() {}
    assert!(client.wait().success());
}

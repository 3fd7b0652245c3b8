//! Repeat calls: they cost next to nothing, and write only what has changed.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use serde_json::Value;

use super::{edit, reserved};
use crate::listener::{Harbour, Server, eventually};
use crate::support::World;

/// Everything about the state directory that a write would change.
fn state(world: &World) -> Vec<(String, Vec<u8>, i64, i64)> {
    let mut files: Vec<_> = fs::read_dir(world.state())
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap(), metadata.mtime_nsec(), metadata.mtime())
        })
        .collect();
    files.sort();
    files
}

fn events(world: &World) -> Vec<String> {
    let log = world.run(&world.root(), ["log", "--json"]).ok();
    let kind = |line| serde_json::from_str::<Value>(line).unwrap()["event"].to_string();
    log.lines().map(kind).collect()
}

#[test]
fn a_repeat_call_writes_nothing() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let port = world.reserve(&shop, &["--task", "t"]);
    let before = state(&world);
    assert_eq!(world.reserve(&shop, &[]), port);
    assert_eq!(world.reserve(&shop, &["--task", "t"]), port, "what is said again is not news");
    world.run(&shop, ["get"]).ok();
    world.run(&shop, ["list"]).ok();
    assert!(state(&world) == before, "free");
    let server = Server::start(&shop, "127.0.0.1", port);
    assert_eq!(world.reserve(&shop, &[]), port);
    assert!(state(&world) == before, "served");
    drop(server);
    let _stranger = Server::start(&world.dir("elsewhere"), "127.0.0.1", port);
    assert_eq!(world.reserve(&shop, &["--on-conflict", "keep"]), port);
    assert!(state(&world) == before, "held by somebody else");
}

#[test]
fn a_repeat_call_takes_no_lock_and_makes_no_write() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let traced = |arguments: &[&str]| {
        let calls = world.root().join("calls");
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-y", "-o"]).arg(&calls);
        command
            .args(["-e", "trace=openat,open,flock,fcntl,fsync,fdatasync,unlink,unlinkat,rename"]);
        command.args(["-e", "trace=pwrite64,write,ftruncate,mkdir,mkdirat,bind,listen"]);
        command.arg(crate::support::HYTHE).args(arguments).current_dir(&shop).env_clear();
        for (name, value) in world.command(&shop).get_envs() {
            command.env(name, value.unwrap());
        }
        let output = command.output().ok()?;
        output.status.success().then(|| fs::read_to_string(calls).unwrap())
    };
    if traced(&["--version"]).is_none() {
        io::stderr().write_all(b"skipped: needs `strace`, and the right to trace\n").unwrap();
        return;
    }
    let writes = |calls: &str| {
        let state = world.state();
        let touches = |line: &&str| {
            let name = line.split_once(' ').map_or(*line, |(_, call)| call.trim_start());
            let is = |call: &str| name.starts_with(call);
            let opens_to_write = is("open")
                && ["O_RDWR", "O_WRONLY", "O_CREAT"].iter().any(|flag| line.contains(flag));
            let changes = ["flock", "fsync", "fdatasync", "unlink", "rename", "pwrite64"]
                .iter()
                .chain(&["write", "ftruncate", "mkdir"])
                .any(|call| is(call));
            let locks_all_the_file = is("fcntl") && line.contains("F_WRLCK");
            line.contains(state.to_str().unwrap())
                && (opens_to_write || changes || locks_all_the_file)
        };
        calls.lines().filter(touches).map(str::to_owned).collect::<Vec<_>>()
    };
    let cold = traced(&["reserve"]).unwrap();
    assert!(!writes(&cold).is_empty(), "a new reservation is written: {cold}");
    let warm = traced(&["reserve"]).unwrap();
    assert_eq!(writes(&warm), Vec::<String>::new());
    assert!(!warm.contains("flock("), "{warm}");
    assert!(warm.contains("bind("), "but its port was tried: {warm}");
    assert!(!warm.contains("listen("), "and nothing listened: {warm}");
    assert_eq!(writes(&traced(&["get"]).unwrap()), Vec::<String>::new());
}

#[test]
fn a_use_is_recorded_about_once_a_minute() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let first = reserved(&world, &shop, &[]);
    edit(&world, "UPDATE reservation SET last_used_at = last_used_at - 61000");
    let before = state(&world);
    let second = reserved(&world, &shop, &[]);
    assert_eq!(second["outcome"], "existing");
    assert_eq!(second["port"], first["port"]);
    assert_eq!(second["reservation"]["created_at"], first["reservation"]["created_at"]);
    assert!(
        second["reservation"]["last_used_at"].as_str()
            >= first["reservation"]["last_used_at"].as_str()
    );
    assert!(state(&world) != before);
    assert_eq!(events(&world), ["\"reserved\""], "being used is no event");
    // A clock that was set back by a year must not stop the recording for a year.
    edit(&world, "UPDATE reservation SET last_used_at = last_used_at + 31536000000");
    let third = reserved(&world, &shop, &[]);
    let time = third["reservation"]["last_used_at"].as_str().unwrap();
    assert_eq!(time[..4], first["reservation"]["last_used_at"].as_str().unwrap()[..4]);
}

#[test]
fn a_use_that_cannot_be_recorded_is_still_answered() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let port = world.reserve(&shop, &[]);
    edit(&world, "UPDATE reservation SET last_used_at = last_used_at - 61000");
    let lock = fs::File::open(world.state().join("ledger.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let run = world.run(&shop, ["reserve", "--lock-timeout", "1ms"]).exits(0);
    assert_eq!(run.stdout(), format!("{port}\n"));
    let told = "note: the use of this reservation was not recorded: ";
    assert!(run.stderr().starts_with(told), "{}", run.stderr());
    // What has to be recorded is another matter.
    world.run(&shop, ["reserve", "--lock-timeout", "1ms", "--task", "new"]).fails(6);
    drop(lock);
    assert!(eventually(|| world.run(&shop, ["reserve"]).exits(0).stderr().is_empty()));
}

#[test]
fn what_a_call_says_is_recorded_and_breaks_no_shell() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let port = world.reserve(&shop, &[]);
    for (arguments, field, value) in [
        (&["--project", "other"][..], "project", "other"),
        (&["--task", "fix-42"], "task", "fix-42"),
        (&["--agent", "claude"], "agent", "claude"),
    ] {
        let run = world.run(&shop, [&["reserve"], arguments].concat()).exits(0);
        assert_eq!((run.stdout(), run.stderr()), (format!("{port}\n"), String::new()));
        let told = world.run(&shop, ["show", "--json"]).json();
        assert_eq!(told["reservation"][field], value);
    }
    let mut command = world.command(&shop);
    command.arg("reserve").env("HYTHE_TASK", "from-env").env("HYTHE_AGENT", "a2");
    command.env("HYTHE_PROJECT", "p2");
    assert_eq!(crate::support::Run::of(&mut command).port(), port);
    let reservation = &world.run(&shop, ["show", "--json"]).json()["reservation"];
    let labels = ["project", "task", "agent"].map(|field| reservation[field].clone());
    assert_eq!(labels, ["p2", "from-env", "a2"]);

    assert_eq!(world.reserve(&shop, &["--ttl", "1h"]), port);
    assert_eq!(world.reserve(&shop, &["--lock"]), port);
    let reservation = &reserved(&world, &shop, &[])["reservation"];
    assert_eq!(reservation["locked"], true);
    assert!(reservation["expires_at"].as_str() > reservation["last_used_at"].as_str());
    let expected = ["reserved", "updated", "updated", "updated", "updated", "updated", "locked"];
    assert_eq!(events(&world), expected.map(|kind| format!("{kind:?}")));
}

//! `hythe watch`: events while they happen.

use std::fs;
use std::io::{self, BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Stdio};
use std::thread;

use serde_json::Value;

use crate::listener::Harbour;

/// A process that watches; it is ended when this is dropped.
struct Watch {
    child: Child,
    lines: Option<Lines<BufReader<ChildStdout>>>,
}

impl Watch {
    /// Starts `hythe watch ARGUMENTS --json`, which has begun when this returns.
    fn start(world: &Harbour, arguments: &[&str]) -> Self {
        let mut command = world.command(&world.root());
        command.args(["watch", "--json", "-v"]).args(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut told = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("watching") {
            line.clear();
            assert!(told.read_line(&mut line).unwrap() > 0, "it ended");
        }
        thread::spawn(move || io::copy(&mut told, &mut io::sink()));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines: Some(lines) }
    }

    fn next(&mut self) -> Value {
        let line = self.lines.as_mut().unwrap().next().unwrap().unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// The next event, as kind and service.
    fn told(&mut self) -> (String, String) {
        let event = self.next();
        let text = |name: &str| event[name].as_str().unwrap().to_owned();
        (text("event"), text("service"))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

fn event(kind: &str, service: &str) -> (String, String) {
    (kind.to_owned(), service.to_owned())
}

#[test]
fn what_happens_is_told_while_it_happens() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    world.reserve(&shop, &["before"]);
    let mut watch = Watch::start(&world, &[]);
    world.reserve(&shop, &["web"]);
    assert_eq!(watch.told(), event("reserved", "web"), "nothing of before");
    world.run(&shop, ["lock", "web"]).ok();
    world.run(&shop, ["unlock", "web"]).ok();
    world.run(&shop, ["release", "web"]).ok();
    let told = [watch.told(), watch.told(), watch.told()];
    assert_eq!(told, ["locked", "unlocked", "released"].map(|kind| event(kind, "web")));
    // The document is the one of `log`.
    world.reserve(&shop, &["api"]);
    let last = world.run(&shop, ["log", "-n", "1", "--json"]).json();
    assert_eq!(watch.next(), last);
}

#[test]
fn a_ledger_is_waited_for_and_followed_when_it_is_another() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let mut watch = Watch::start(&world, &[]);
    assert!(!world.state().exists(), "it creates nothing");
    world.reserve(&shop, &["first"]);
    assert_eq!(watch.told(), event("reserved", "first"));
    let old = world.ledger().with_extension("old");
    fs::copy(world.ledger(), &old).unwrap();
    world.reserve(&shop, &["second"]);
    assert_eq!(watch.told(), event("reserved", "second"));
    // It is put aside, and hythe starts anew.
    fs::remove_file(world.ledger()).unwrap();
    world.reserve(&shop, &["third"]);
    assert_eq!(watch.told(), event("reserved", "third"));
    // An older one comes back: what it remembers has been told.
    fs::rename(&old, world.ledger()).unwrap();
    world.reserve(&shop, &["fourth"]);
    assert_eq!(watch.told(), event("reserved", "fourth"));
}

#[test]
fn the_past_comes_first_when_it_is_asked_for() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    for service in ["a", "b", "c"] {
        world.reserve(&shop, &[service]);
    }
    let watch = |arguments: &[&str]| {
        let text = world.run(&shop, [&["watch"], arguments].concat()).ok();
        let service = |line: &str| line.split_whitespace().nth(3).unwrap().to_owned();
        text.lines().map(service).collect::<Vec<_>>()
    };
    assert_eq!(watch(&["-n", "2", "--timeout", "0s"]), ["b", "c"]);
    assert_eq!(watch(&["--since", "1h", "--count", "3"]), ["a", "b", "c"]);
    assert_eq!(watch(&["--since", "1h", "--count", "2"]), ["a", "b"]);
    assert_eq!(watch(&["--since", "1h", "--limit", "1", "--count", "1"]), ["c"]);
    assert_eq!(watch(&["--since", "1h", "--service", "b", "--timeout", "0s"]), ["b"]);
    let mut watch = Watch::start(&world, &["-n", "1"]);
    world.reserve(&shop, &["d"]);
    assert_eq!([watch.told().1, watch.told().1], ["c", "d"]);
    assert_eq!(
        world.run(&shop, ["watch", "-n", "9", "--timeout", "0s"]).ok(),
        world.run(&shop, ["log"]).ok(),
        "the lines are those of `log`"
    );
}

#[test]
fn only_what_is_asked_for_is_told() {
    let world = Harbour::new();
    let (shop, blog) = (world.dir("shop"), world.dir("blog"));
    let mut by_kind = Watch::start(&world, &["--kind", "released"]);
    let mut by_place = Watch::start(&world, &["--below", "blog", "--project", "p"]);
    world.reserve(&shop, &["web"]);
    world.reserve(&shop, &["web", "--project", "p"]);
    world.reserve(&blog, &["web"]);
    world.reserve(&blog, &["api", "--project", "p"]);
    world.run(&shop, ["release", "web"]).ok();
    assert_eq!(by_kind.told(), event("released", "web"));
    assert_eq!(by_place.told(), event("reserved", "api"));
}

#[test]
fn a_script_can_wait_for_something_to_happen() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let error = world.run(&shop, ["watch", "--timeout", "50ms"]).fails(7);
    assert!(error.contains("error: nothing happened within 50ms"), "{error}");
    assert!(!world.state().exists());
    world.reserve(&shop, &[]);
    let run = world.run(&shop, ["watch", "-n", "1", "--count", "2", "--timeout", "1ms"]).exits(7);
    assert_eq!(run.stdout().lines().count(), 1, "what came is told");
    assert!(run.stderr().contains("1 of 2 events came within 1ms"), "{}", run.stderr());
    for wrong in [&["--count", "0"][..], &["--timeout", "soon"], &["--kind", "x"]] {
        world.run(&shop, [&["watch"], wrong].concat()).fails(2);
    }
    fs::write(world.ledger(), "damaged").unwrap();
    world.run(&shop, ["watch"]).fails(9);
}

#[test]
fn a_reader_that_has_had_enough_ends_it() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    for service in ["a", "b", "c"] {
        world.reserve(&shop, &[service]);
    }
    let mut watch = Watch::start(&world, &["--since", "1h"]);
    let first = watch.told();
    assert_eq!(first, event("reserved", "a"));
    drop(watch.lines.take());
    world.reserve(&shop, &["d"]);
    let status = watch.child.wait().unwrap();
    assert_eq!(status.code(), Some(0), "{status}");
}

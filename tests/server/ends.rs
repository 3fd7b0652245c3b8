//! The end of a server: at once, whoever is still connected, and nothing is left behind.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::listener::eventually;
use crate::serving::{Answer, HOST, JSON, Listener, drain, pause, port_in, request};

use super::{Port, locked};

#[test]
fn streams_are_ended_with_the_server() {
    for signal in [Signal::TERM, Signal::INT] {
        let Port { world, mut serving, place } = Port::new();
        serving.reserve(&place, "main").done();
        let streams = [None, Some(0), None].map(|after| Listener::start(&serving, after));
        let _idle = serving.connect();
        let (status, took) = serving.end(signal);
        assert!(status.success(), "{status}");
        assert!(took < Duration::from_millis(2_500), "it took {took:?}");
        assert!(streams.into_iter().all(Listener::ends));
        assert!(!world.state().join("serve.json").exists());
        assert_eq!(serving.log(), "");
    }
}

#[test]
fn nobody_holds_up_the_end_for_long() {
    let Port { world, mut serving, place } =
        Port::configured("[ledger]\nlock_timeout = \"5m\"\n", &[]);
    serving.reserve(&place, "main").done();
    let lock = locked(&world);
    let change = json!({ "directory": place, "services": ["waits"] }).to_string();
    let whole = request("POST /v1/reservations", &[HOST, JSON], change.as_bytes());
    let _waits = serving.sent(&whole);
    let _half = serving.sent(&whole[..whole.len() - 5]);
    let _head = serving.sent(b"GET /v1/map HTTP/1.1\r\nHost: loc");
    // Somebody who reads nothing of a long answer.
    let _stuck = serving.sent(&request("GET /v1/events/stream?after=0", &[HOST], b""));
    assert!(eventually(|| serving.count() == 1));
    let (status, took) = serving.end(Signal::TERM);
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(9), "it took {took:?}");
    lock.unlock().unwrap();
    world.reserve(&place, &["waits"]);
}

#[test]
fn what_has_begun_is_carried_through() {
    let Port { world, mut serving, place } =
        Port::configured("[ledger]\nlock_timeout = \"5m\"\n", &[]);
    serving.reserve(&place, "main").done();
    let lock = locked(&world);
    let change = json!({ "directory": place, "services": ["begun"] }).to_string();
    let mut client =
        serving.sent(&request("POST /v1/reservations", &[HOST, JSON], change.as_bytes()));
    // It has been read when another one that came later is answered.
    serving.count();
    let let_go = std::thread::spawn(move || {
        pause(Duration::from_millis(500));
        lock.unlock().unwrap();
    });
    let (status, _) = serving.end(Signal::TERM);
    assert!(status.success(), "{status}");
    let_go.join().unwrap();
    let port = port_in(&Answer::of(&drain(&mut client)).done());
    assert_eq!(world.run(&place, ["get", "begun"]).port(), port);
}

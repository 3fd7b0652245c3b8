//! Clients that are many, slow, stuck or gone: others are answered as if they were not there.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value, json};
use socket2::SockRef;

use crate::chance::scale;
use crate::listener::eventually;
use crate::serving::{Answer, HOST, JSON, Listener, PATIENCE, Serving, pause, port_in, request};
use crate::support::World;

use super::{Port, locked};

/// How long an answer may take that waits for nobody, on a machine that does other things as well.
const PROMPT: Duration = Duration::from_secs(3);

/// What `call` answers, promptly.
#[track_caller]
fn promptly(call: impl FnOnce() -> Answer) -> Value {
    let began = Instant::now();
    let document = call().done();
    assert!(began.elapsed() < PROMPT, "it took {:?}", began.elapsed());
    document
}

#[track_caller]
fn list(serving: &Serving) -> Value {
    promptly(|| serving.call("GET", "/v1/reservations", None))
}

/// Asks for a port, and does not wait for the answer.
fn ask(port: &Port, service: &str) -> TcpStream {
    let body = json!({ "directory": port.place, "services": [service] }).to_string();
    port.serving.sent(&request("POST /v1/reservations", &[HOST, JSON], body.as_bytes()))
}

/// The port of a service, unless the server is killed before it has told.
fn reserved(port: &Port, service: &str) -> Option<u16> {
    let body = json!({ "directory": port.place, "services": [service] }).to_string();
    let bytes = request("POST /v1/reservations", &[HOST, JSON], body.as_bytes());
    let mut client = TcpStream::connect(("127.0.0.1", port.serving.port())).ok()?;
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(&bytes).ok()?;
    let mut said = String::new();
    client.read_to_string(&mut said).ok()?;
    let document: Value = serde_json::from_str(said.split_once("\r\n\r\n")?.1).ok()?;
    Some(port_in(&document))
}

/// The ledger is sound, and has this many reservations.
#[track_caller]
fn sound(world: &World) -> i64 {
    let ledger = Connection::open(world.ledger()).unwrap();
    let text = |sql: &str| ledger.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(text("PRAGMA integrity_check"), "ok");
    let number = |sql: &str| ledger.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(number("SELECT count(*) - count(DISTINCT port) FROM reservation"), 0);
    number("SELECT count(*) FROM reservation")
}

#[test]
fn a_thousand_idle_clients_are_in_nobodys_way() {
    let port = Port::new();
    port.serving.reserve(&port.place, "main").done();
    let mut idle: Vec<_> = (0..1_000).map(|_| port.serving.connect()).collect();
    for client in idle.iter_mut().step_by(2) {
        client.write_all(b"GET / HTT").unwrap();
    }
    list(&port.serving);
    promptly(|| port.serving.reserve(&port.place, "main"));
    assert!(port.serving.memory("VmRSS") < 64 * 1024, "{} kB", port.serving.memory("VmRSS"));
    drop(idle);
    list(&port.serving);
}

#[test]
fn who_does_not_read_its_answer_waits_alone() {
    let port = Port::new();
    let services: Vec<_> = (0..50).map(|number| format!("s{number}")).collect();
    let body = json!({ "directory": port.place, "services": services });
    port.serving.call("POST", "/v1/reservations", Some(&body)).done();
    let ask = request("GET /v1/reservations", &[HOST], b"");
    let stuck: Vec<_> = (0..50)
        .map(|_| {
            let mut client = port.serving.connect();
            SockRef::from(&client).set_recv_buffer_size(1024).unwrap();
            client.write_all(&ask).unwrap();
            client
        })
        .collect();
    for _ in 0..20 {
        list(&port.serving);
    }
    drop(stuck);
}

#[test]
fn a_stream_that_nobody_reads_holds_up_no_change_and_takes_no_memory() {
    let port = Port::new();
    port.serving.reserve(&port.place, "main").done();
    let stuck: Vec<_> = (0..20)
        .map(|_| {
            let ask = request("GET /v1/events/stream?after=0", &[HOST], b"");
            let client = port.serving.sent(&ask);
            SockRef::from(&client).set_recv_buffer_size(1024).unwrap();
            client
        })
        .collect();
    let first = port.serving.last_event();
    let mut live = Listener::start(&port.serving, Some(first));
    let path = format!("/v1/reservations/{}/lock", port.serving.port_of(&port.place, "main"));
    let change = |number: usize| {
        let body = json!({ "locked": number.is_multiple_of(2) });
        promptly(|| port.serving.call("PUT", &path, Some(&body)));
    };
    change(0);
    let before = port.serving.memory("VmRSS");
    for number in 1..100 * scale() {
        change(number);
    }
    let last = port.serving.last_event();
    assert_eq!(live.until(last), (first + 1..=last).collect::<Vec<_>>());
    let more = port.serving.memory("VmRSS").saturating_sub(before);
    assert!(more < 16 * 1024, "{more} kB more");
    drop(stuck);
}

#[test]
fn reads_and_repeat_calls_wait_for_no_lock() {
    let port = Port::configured("[ledger]\nlock_timeout = \"200ms\"\n", &[]);
    let given = port.serving.port_of(&port.place, "main");
    let lock = locked(&port.world);
    list(&port.serving);
    let path = format!("/v1/reservations/{given}");
    for path in [&path, &format!("{path}/explanation"), "/v1/map", "/v1/events"] {
        promptly(|| port.serving.call("GET", path, None));
    }
    let again = promptly(|| port.serving.reserve(&port.place, "main"));
    assert_eq!(port_in(&again), given);
    let problem = port.serving.reserve(&port.place, "other").fails(503);
    assert_eq!(problem["code"], "lock-timeout");
    assert_eq!(problem["exit_code"], 6);
    lock.unlock().unwrap();
    assert_ne!(port.serving.port_of(&port.place, "other"), given);
}

#[test]
fn clients_that_vanish_leave_everything_in_order() {
    let port = Port::configured("[ledger]\nlock_timeout = \"60s\"\n", &[]);
    port.serving.reserve(&port.place, "main").done();
    let lock = locked(&port.world);
    // More than there are threads: those that wait for the lock must not take those of the readers.
    for number in 0..60 {
        let client = ask(&port, &format!("gone-{number}"));
        pause(Duration::from_millis(10));
        drop(client);
    }
    list(&port.serving);
    promptly(|| port.serving.reserve(&port.place, "main"));
    lock.unlock().unwrap();

    // In the middle of a body, of a head, and of a change.
    for number in 0..20 * scale() {
        let bytes = request("POST /v1/reservations", &[HOST, JSON], b"{\"directory\":\"/\"}");
        drop(port.serving.sent(&bytes[..bytes.len() * (number % 20) / 20]));
        drop(ask(&port, &format!("quick-{}", number % 20)));
    }
    promptly(|| port.serving.reserve(&port.place, "last"));
    assert!(eventually(|| i64::try_from(port.serving.count()).unwrap() == sound(&port.world)));
    // Nobody has the lock.
    let lock = File::options().write(true).open(port.world.state().join("ledger.lock")).unwrap();
    assert!(eventually(|| lock.try_lock().is_ok()));
}

#[test]
fn a_slow_hook_holds_up_nobody_else() {
    let port = Port::configured("[[hook]]\ncommand = [\"sleep\", \"8\"]\n", &[]);
    let began = Instant::now();
    let clients: Vec<_> = (0..4).map(|number| ask(&port, &format!("s{number}"))).collect();
    assert!(eventually(|| port.serving.count() == 4));
    list(&port.serving);
    promptly(|| port.serving.reserve(&port.place, "s0"));
    let body = json!({ "directory": port.place, "services": ["s9"], "dry_run": true });
    promptly(|| port.serving.call("POST", "/v1/reservations", Some(&body)));
    assert!(began.elapsed() < Duration::from_secs(8), "the hooks are over");
    drop(clients);
}

#[test]
fn a_server_that_is_killed_while_it_writes_loses_nothing() {
    let mut port = Port::new();
    for round in 0..3 * scale() {
        let told: Vec<_> = thread::scope(|scope| {
            let port = &port;
            let clients: Vec<_> = (0..4)
                .map(|client| {
                    scope.spawn(move || {
                        let answers = (0..).map_while(|number| {
                            let service = format!("k{}", (round + client + number) % 40);
                            let given = reserved(port, &service)?;
                            Some((service, given))
                        });
                        answers.collect::<Vec<_>>()
                    })
                })
                .collect();
            pause(Duration::from_millis(400));
            port.serving.kill();
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
        });
        port.serving = Serving::start(&port.world, &[]);
        // What was answered is there, and a new server begins where the old one ended.
        assert!(!told.is_empty());
        for (service, given) in told {
            assert_eq!(port.serving.port_of(&port.place, &service), given);
        }
        assert!(sound(&port.world) > 0);
    }
}

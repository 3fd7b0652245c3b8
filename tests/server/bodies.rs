//! Bodies, queries and paths that are wrong in every way: each is refused with a problem, and nothing
//! is written.

use std::time::Instant;

use serde_json::{Value, json};

use crate::serving::{HOST, JSON, Serving};

use super::Port;

const RESERVE: &str = "POST /v1/reservations";

/// Bodies that are no request, for a server where `place` is a directory.
fn wrong(place: &str) -> Vec<Vec<u8>> {
    let directory = format!("\"directory\":\"{place}\"");
    let with = |more: &str| format!("{{{directory},{more}}}").into_bytes();
    let mut bodies: Vec<Vec<u8>> = [
        "",
        "{",
        "}",
        "null",
        "true",
        "1",
        "\"x\"",
        "[]",
        " [\"/\"]",
        "{}",
        "{} {}",
        "{'a':1}",
        "{\"directory\":}",
        "{\"directory\":\"relative\"}",
        "{\"directory\":\"\"}",
        "{\"directory\":\"~\"}",
        "{\"directory\":7}",
        "{\"directory\":null}",
        "{\"directory\":[\"/\"]}",
        "{\"directory\":\"/\\u0000\"}",
        "{\"directory\":\"/\\ud800\"}",
        "{\"directory\":\"/nobody/is/here\"}",
        "{\"directory\":\"/dev/null\"}",
        "{\"directory\":\"/proc/self/fd/0\"}",
        "\u{feff}{}",
    ]
    .map(|body| body.as_bytes().to_vec())
    .to_vec();
    bodies.extend([
        b"{\"directory\":\"/\xff\"}".to_vec(),
        b"{\"directory\":\"/tmp\0\"}".to_vec(),
        b"\0".to_vec(),
        "{}".encode_utf16().flat_map(u16::to_le_bytes).collect(),
        "[".repeat(60_000).into_bytes(),
        "{\"directory\":".repeat(5_000).into_bytes(),
        format!("{{\"directory\":{}", "[".repeat(60_000)).into_bytes(),
        format!("{{\"directory\":\"/{}\"}}", "a/".repeat(30_000)).into_bytes(),
        format!("{{\"directory\":\"/{}\"}}", "a".repeat(5_000)).into_bytes(),
        format!("{{{directory}}} x").into_bytes(),
        format!("{{{directory},{directory}}}").into_bytes(),
    ]);
    bodies.extend(
        [
            "\"x\":1",
            "\"directory \":\"/\"",
            "\"services\":\"web\"",
            "\"services\":[1]",
            "\"services\":null",
            "\"services\":[\"a\",\"a\"]",
            "\"services\":[\"\"]",
            "\"services\":[\"80\"]",
            "\"services\":[\"../x\\n\"]",
            "\"services\":[\"$(id)\"]",
            "\"prefer\":3000",
            "\"prefer\":[\"3000\"]",
            "\"prefer\":[0]",
            "\"prefer\":[-1]",
            "\"prefer\":[65536]",
            "\"prefer\":[3000.5]",
            "\"prefer\":[1e999]",
            "\"prefer\":[20000],\"services\":[\"a\",\"b\"]",
            "\"pid\":0",
            "\"pid\":-1",
            "\"pid\":4294967295",
            "\"pid\":4294967296",
            "\"pid\":\"1\"",
            "\"lease\":\"ephemeral\"",
            "\"lease\":\"x\"",
            "\"ttl\":3",
            "\"ttl\":\"-1d\"",
            "\"ttl\":\"\"",
            "\"ttl\":\"99999999999999999999y\"",
            "\"range\":\"9-1\"",
            "\"range\":\"0-1\"",
            "\"range\":\"1-99999\"",
            "\"range\":[1,2]",
            "\"scope\":\"x\"",
            "\"project\":\"\"",
            "\"project\":\"\\u001b[31m\"",
            "\"agent\":\"\\u0000\"",
            "\"on_conflict\":\"x\"",
            "\"dry_run\":1",
            "\"dry_run\":\"true\"",
            "\"explain\":null",
        ]
        .map(with),
    );
    bodies.push(with(&format!("\"prefer\":[{}]", "9".repeat(400))));
    bodies.push(with(&format!("\"project\":\"{}\"", "x".repeat(256))));
    let many: Vec<_> = (0..257).map(|number| format!("\"s{number}\"")).collect();
    bodies.push(with(&format!("\"services\":[{}]", many.join(","))));
    let ports: Vec<_> = (20_000..20_257).map(|port: u16| port.to_string()).collect();
    bodies.push(with(&format!("\"prefer\":[{}]", ports.join(","))));
    bodies
}

#[test]
fn a_body_that_is_no_request_is_refused() {
    let Port { world, serving, place } = Port::new();
    for body in wrong(place.to_str().unwrap()) {
        let problem = serving.ask(RESERVE, &[HOST, JSON], &body).fails(400);
        assert_eq!(problem["code"], "usage", "{:?}", String::from_utf8_lossy(&body));
        assert_eq!(problem["exit_code"], 2);
    }
    for (first, body) in [
        ("POST /v1/release", json!({})),
        ("POST /v1/release", json!({ "directory": place, "all": true, "recursive": true })),
        ("POST /v1/release", json!({ "directory": place, "all": 1 })),
        ("POST /v1/cleanup", json!({ "policies": ["../../etc/passwd"] })),
        ("POST /v1/cleanup", json!({ "older_than": 30 })),
        ("POST /v1/cleanup", json!({ "policies": "ttl" })),
        ("PUT /v1/reservations/20000/lock", json!({})),
        ("PUT /v1/reservations/20000/lock", json!({ "locked": "yes" })),
        ("PUT /v1/reservations/20000/lock", json!({ "locked": true, "force": true })),
    ] {
        serving.ask(first, &[HOST, JSON], body.to_string().as_bytes()).fails(400);
    }
    assert!(!world.ledger().exists(), "something was written");
}

#[test]
fn durations_may_be_longer_than_time() {
    let Port { world: _world, serving, place } = Port::new();
    for ttl in ["0s", "18446744073709551615s", "500000000000y"] {
        let body =
            json!({ "directory": place, "services": [format!("t{}", ttl.len())], "ttl": ttl });
        serving.call("POST", "/v1/reservations", Some(&body)).done();
        let body = json!({ "older_than": ttl, "dry_run": true });
        serving.call("POST", "/v1/cleanup", Some(&body)).done();
    }
    serving.get("/v1/reservations");
}

#[test]
fn a_body_that_is_too_long_is_not_read() {
    let Port { world, serving, .. } = Port::new();
    let began = Instant::now();
    let too_large = |lines: &[&str], body: &[u8]| {
        let problem = serving.ask(RESERVE, &[&[HOST, JSON], lines].concat(), body).fails(413);
        assert_eq!(problem["code"], "too-large");
    };
    too_large(&[], "x".repeat(70_000).as_bytes());
    // They are refused for what they announce.
    too_large(&["Content-Length: 65537"], b"");
    too_large(&["Content-Length: 1000000000000"], b"");
    let chunks = format!("10000\r\n{}\r\n", "x".repeat(0x1_0000)).repeat(3);
    let chunked = format!(
        "{RESERVE} HTTP/1.1\r\n{HOST}\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
    );
    serving.answer(chunked.as_bytes()).fails(413);
    assert!(began.elapsed().as_secs() < 10, "they were waited for");
    assert!(serving.memory("VmHWM") < 64 * 1024);
    assert!(!world.ledger().exists(), "something was written");
}

#[test]
fn a_query_says_what_it_may_say_and_nothing_else() {
    let Port { world: _world, serving, place } = Port::new();
    serving.reserve(&place, "main").done();
    for query in [
        "/v1/reservations?x=1",
        "/v1/reservations?project",
        "/v1/reservations?project=",
        "/v1/reservations?project=%00",
        "/v1/reservations?project=a&project=b",
        "/v1/reservations?service=1",
        "/v1/reservations?scope=x",
        "/v1/reservations?below=place",
        "/v1/reservations?%",
        "/v1/reservations?=",
        "/v1/events?limit=0",
        "/v1/events?limit=10001",
        "/v1/events?limit=-1",
        "/v1/events?limit=1&limit=2",
        "/v1/events?after=x",
        "/v1/events?after=99999999999999999999",
        "/v1/events?port=65536",
        "/v1/events?kind=x",
        "/v1/events/stream?after=x",
        "/v1/events/stream?limit=1",
        "/v1/map?range=9-1",
        "/v1/map?range=0-9",
        "/v1/map?range=1-99999",
        "/v1/map?range=%00",
        "/v1/reservations/0",
        "/v1/reservations/65536",
        "/v1/reservations/-1",
        "/v1/reservations/+1",
        "/v1/reservations/1.0",
        "/v1/reservations/main",
        "/v1/reservations/%00",
        "/v1/reservations/%ff",
        "/v1/reservations/99999999999999999999/explanation",
    ] {
        serving.call("GET", query, None).fails(400);
    }
    for path in ["/v1", "/v1/", "//v1/reservations", "/v1/../v1/map", "/v1/map/", "/etc/passwd"] {
        serving.call("GET", path, None).fails(404);
    }
    assert_eq!(serving.ask("GET /v1/events/stream", &[HOST, "Last-Event-ID: x"], b"").status, 400);
    assert_eq!(serving.get("/v1/map?range=1-65535")["range"], "1-65535");
}

#[test]
fn whatever_is_called_in_another_way_says_how_it_is_called() {
    let Port { world: _world, serving, .. } = Port::new();
    for (first, allowed) in [
        ("PATCH /v1/reservations", "GET,HEAD,POST"),
        ("DELETE /v1/map", "GET,HEAD"),
        ("TRACE /v1/reservations", "GET,HEAD,POST"),
        ("BREW /v1/cleanup", "POST"),
        ("POST /", "GET,HEAD"),
    ] {
        let answer = serving.ask(first, &[HOST, JSON], b"{}");
        assert_eq!(answer.header("allow"), Some(allowed), "{first}");
        answer.fails(405);
    }
}

/// The statuses that failed calls of a server had, as its own counters tell them.
fn failed(serving: &Serving) -> Vec<Value> {
    let text = serving.call("GET", "/v1/metrics", None).body;
    let lines = text.lines().filter(|line| line.starts_with("hythe_http_requests_total"));
    lines.filter(|line| line.contains("status=\"5")).map(Value::from).collect()
}

#[test]
fn nothing_of_all_that_is_the_servers_fault() {
    let Port { world: _world, serving, place } = Port::new();
    for body in wrong(place.to_str().unwrap()) {
        for first in [RESERVE, "POST /v1/release", "POST /v1/cleanup"] {
            let answer = serving.ask(first, &[HOST, JSON], &body);
            assert!(answer.status < 500, "{first}: {answer:?}");
        }
    }
    assert_eq!(failed(&serving), [Value::Null; 0]);
}

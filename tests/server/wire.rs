//! Bytes that are no request, almost one, or more than one.

use std::io::{Read, Write};
use std::time::Duration;

use crate::serving::{Answer, HOST, JSON, drain, pause, request};

use super::Port;

/// Asked for in the body of another request.
const SECOND: &str = "GET /second HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// A change whose head ends in `lines`, and what follows.
fn change(lines: &str, rest: &str) -> Vec<u8> {
    format!("POST /v1/cleanup HTTP/1.1\r\n{HOST}\r\n{JSON}\r\n{lines}\r\n{rest}").into_bytes()
}

/// How many answers there are in what a server said.
fn answers(said: &[u8]) -> usize {
    String::from_utf8_lossy(said).matches("HTTP/1.1 ").count()
}

#[test]
fn where_a_request_ends_is_never_in_doubt() {
    let Port { world: _world, serving, .. } = Port::new();
    for lines in [
        "Content-Length: 2, 2\r\n",
        "Content-Length: 2\r\nContent-Length: 3\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: +2\r\n",
        "Content-Length: 0x2\r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Content-Length : 2\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
    ] {
        let said = serving.raw(&change(lines, &format!("{{}}{SECOND}")));
        assert!(said.starts_with(b"HTTP/1.1 400"), "{lines:?}");
        assert_eq!(answers(&said), 1, "{lines:?}");
    }
    // Both at once: the chunks count, and the connection is closed, so that nobody between takes what
    // follows for a request.
    for lines in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    ] {
        let said = serving.raw(&change(lines, &format!("0\r\n\r\n{SECOND}")));
        assert_eq!(answers(&said), 1, "{lines:?}: {}", String::from_utf8_lossy(&said));
    }
    // The body of a read is a body.
    let read =
        format!("GET /v1/map HTTP/1.1\r\n{HOST}\r\nContent-Length: {}\r\n\r\n", SECOND.len());
    let next = request("GET /v1/map", &[HOST], b"");
    let said = serving.raw(&[read.as_bytes(), SECOND.as_bytes(), &next].concat());
    assert_eq!(answers(&said), 2);
    assert!(!String::from_utf8_lossy(&said).contains(" 404 "));
}

#[test]
fn chunks_are_taken_as_they_are_meant_or_not_at_all() {
    let Port { world: _world, serving, .. } = Port::new();
    let chunked = |chunks: &str| {
        let lines = "Transfer-Encoding: chunked\r\nConnection: close\r\n";
        serving.answer(&change(lines, chunks))
    };
    chunked("2\r\n{}\r\n0\r\n\r\n").done();
    chunked("1;x=y\r\n{\r\n1\r\n}\r\n0\r\nX: y\r\n\r\n").done();
    for chunks in [
        "ffffffffffffffffff\r\n{}",
        "-1\r\n{}",
        "2\n{}\n0\n\n",
        "x\r\n{}",
        "\r\n",
        "3\r\n{}\r\n0\r\n\r\n",
    ] {
        chunked(chunks).fails(400);
    }
    let many = format!("2\r\n{{}}\r\n0\r\n{}\r\n", "X: y\r\n".repeat(5_000));
    chunked(&many).fails(400);
    let extended = format!("2;{}\r\n{{}}\r\n0\r\n\r\n", "x".repeat(50_000));
    assert!(chunked(&extended).status >= 400);
}

#[test]
fn what_is_no_request_is_no_request() {
    let Port { world: _world, serving, .. } = Port::new();
    let long = "a".repeat(100_000);
    for (text, status) in [
        (format!("GET /{long} HTTP/1.1\r\n{HOST}\r\n\r\n"), 431),
        (format!("GET / HTTP/1.1\r\n{HOST}\r\nX: {long}\r\n\r\n"), 431),
        (format!("GET / HTTP/1.1\r\n{HOST}\r\n{}\r\n", "X: a\r\n".repeat(2_000)), 431),
        (format!("GET / HTTP/1.1\r\n{HOST}\r\nX: a\r\n b\r\n\r\n"), 400),
        ("GET / HTTP/1.1\r\nHost:\r\n localhost\r\n\r\n".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\n{HOST}\r\nX: a\0b\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{HOST}\r\n: x\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{HOST}\r\nX\u{e9}: x\r\n\r\n"), 400),
        (format!("GET / HTTP/1.2\r\n{HOST}\r\n\r\n"), 400),
        (format!("GET / HTTP/3.0\r\n{HOST}\r\n\r\n"), 400),
        ("GET / HTTP/1.1\rHost: localhost\r\r".to_owned(), 400),
        ("GET /\r\n".to_owned(), 400),
        ("\u{1}\u{2}\u{3}\r\n\r\n".to_owned(), 400),
    ] {
        let said = serving.raw(text.as_bytes());
        let expected = format!("HTTP/1.1 {status} ");
        assert!(said.starts_with(expected.as_bytes()), "{:?}", &text[..text.len().min(60)]);
        assert_eq!(answers(&said), 1);
    }
    // Other protocols: what begins HTTP/2, and TLS.
    let http2 = serving.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    assert!(answers(&http2) <= 1 && !String::from_utf8_lossy(&http2).contains(" 200 "));
    let hello = [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(), &[65; 500]].concat();
    assert!(serving.raw(&hello).starts_with(b"HTTP/1.1 400"));
    let upgrade = ["Connection: Upgrade", "Upgrade: websocket", HOST];
    assert_eq!(serving.ask("GET /v1/map", &upgrade, b"").status, 200, "it is not switched");
    serving.get("/v1/reservations");
}

#[test]
fn requests_may_come_all_at_once() {
    let Port { world: _world, serving, place } = Port::new();
    let port = serving.port_of(&place, "main");
    let mut bytes = Vec::new();
    for number in 0..50 {
        let path = format!("GET /v1/reservations/{port} HTTP/1.1\r\n{HOST}\r\nX: {number}\r\n\r\n");
        bytes.extend(path.into_bytes());
    }
    bytes.extend(request("GET /nothing", &[HOST], b""));
    let said = serving.raw(&bytes);
    assert_eq!(answers(&said), 51);
    let text = String::from_utf8(said).unwrap();
    assert_eq!(text.matches("HTTP/1.1 200 ").count(), 50);
    assert!(text.rfind("HTTP/1.1 404 ") > text.rfind("HTTP/1.1 200 "), "they are in order");
}

#[test]
fn a_client_may_wait_to_be_told_to_go_on() {
    let Port { world: _world, serving, .. } = Port::new();
    let lines = "Expect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n";
    let mut client = serving.sent(&change(lines, ""));
    let mut told = [0; 25];
    client.read_exact(&mut told).unwrap();
    assert_eq!(told, *b"HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"{}").unwrap();
    Answer::of(&drain(&mut client)).done();
    // Nobody is told to send what is not wanted.
    let lines = "Expect: 100-continue\r\nContent-Length: 100000\r\nConnection: close\r\n";
    serving.answer(&change(lines, "")).fails(413);
}

#[test]
fn who_sends_slowly_is_let_go() {
    let Port { world: _world, serving, .. } = Port::new();
    let mut silent = serving.connect();
    let mut head = serving.sent(b"GET /v1/map HTTP/1.1\r\nHost: loc");
    let mut body = serving.sent(&change("Content-Length: 1000\r\n", ""));
    let mut drop_by_drop = serving.sent(b"GET / HTTP/1.1\r\nX: ");
    let (over, waits) = std::sync::mpsc::channel::<()>();
    let dripping = std::thread::spawn(move || {
        // A byte now and then buys no time.
        while waits.recv_timeout(Duration::from_millis(500)).is_err() {
            if drop_by_drop.write_all(b"a").is_err() {
                return true;
            }
        }
        false
    });
    let timeout = drain(&mut body);
    assert!(timeout.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&timeout));
    assert_eq!(answers(&drain(&mut silent)), 0);
    assert_eq!(answers(&drain(&mut head)), 0);
    pause(Duration::from_secs(2));
    let _ = over.send(());
    assert!(dripping.join().unwrap(), "it is still waited for");
}

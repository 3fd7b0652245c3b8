//! `hythe serve`, and clients that speak to it in bytes.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::World;

/// How long a client waits before it gives up. Machines are slow at times.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A server of the ledger of a world. It is killed when this is dropped.
pub struct Serving {
    child: Child,
    port: u16,
    said: PathBuf,
    _stdout: ChildStdout,
}

impl Serving {
    /// Starts a server that listens at 127.0.0.1; returns when it does.
    pub fn start(world: &World, arguments: &[&str]) -> Self {
        let (mut serving, place) =
            Self::listening(world, &[&["--listen", "127.0.0.1:0"], arguments].concat());
        let port = place.strip_prefix("http://127.0.0.1:").and_then(|port| port.parse().ok());
        serving.port = port.unwrap_or_else(|| panic!("{place}"));
        serving
    }

    /// Starts a server; where it listens first, once it does.
    pub fn listening(world: &World, arguments: &[&str]) -> (Self, String) {
        let said = world.root().join("serve.log");
        let log = File::options().create(true).append(true).open(&said).unwrap();
        let mut command = world.command(&world.root());
        command.arg("serve").args(arguments).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let place = line.trim_end().to_owned();
        let serving = Self { child, port: 0, said, _stdout: stdout.into_inner() };
        assert!(!place.is_empty(), "it does not serve: {}", serving.log());
        (serving, place)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to stderr.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.said).unwrap()
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// A connection on which these bytes were sent.
    pub fn sent(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = self.connect();
        // Whoever is refused early cannot send the rest.
        let _ = stream.write_all(bytes);
        stream
    }

    /// What is answered to these bytes until the server closes the connection.
    pub fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        drain(&mut self.sent(bytes))
    }

    /// The one answer to these bytes.
    #[track_caller]
    pub fn answer(&self, bytes: &[u8]) -> Answer {
        Answer::of(&self.raw(bytes))
    }

    /// The answer to a request with these lines after the first, and this body.
    #[track_caller]
    pub fn ask(&self, first: &str, lines: &[&str], body: &[u8]) -> Answer {
        self.answer(&request(first, lines, body))
    }

    /// The answer to a request as clients make it.
    #[track_caller]
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let first = format!("{method} {path}");
        let host = format!("Host: 127.0.0.1:{}", self.port);
        match body {
            None => self.ask(&first, &[&host], b""),
            Some(body) => self.ask(&first, &[&host, JSON], body.to_string().as_bytes()),
        }
    }

    /// The answer to a request with these header fields; a body is JSON unless they say something else.
    #[track_caller]
    pub fn send(
        &self,
        call: &str,
        fields: &[(&str, &str)],
        body: impl Into<Option<Value>>,
    ) -> Answer {
        let body = body.into().map(|body: Value| match body {
            Value::String(text) => text,
            body => body.to_string(),
        });
        let says = |name: &str| fields.iter().any(|(it, _)| it.eq_ignore_ascii_case(name));
        let mut lines: Vec<_> =
            fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        if !says("host") {
            lines.push(HOST.to_owned());
        }
        if body.is_some() && !says("content-type") {
            lines.push(JSON.to_owned());
        }
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        self.ask(call, &lines, body.unwrap_or_default().as_bytes())
    }

    /// The document that a successful read answers.
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        self.call("GET", path, None).done()
    }

    /// Asks for the port of a service of a directory.
    #[track_caller]
    pub fn reserve(&self, directory: &Path, service: &str) -> Answer {
        let body = json!({ "directory": directory, "services": [service] });
        self.call("POST", "/v1/reservations", Some(&body))
    }

    /// The port of a service of a directory.
    #[track_caller]
    pub fn port_of(&self, directory: &Path, service: &str) -> u16 {
        port_in(&self.reserve(directory, service).done())
    }

    /// How many ports are reserved.
    #[track_caller]
    pub fn count(&self) -> usize {
        self.get("/v1/reservations")["reservations"].as_array().unwrap().len()
    }

    /// The number of the last event.
    #[track_caller]
    pub fn last_event(&self) -> i64 {
        let events = self.get("/v1/events?limit=1");
        events["events"][0]["id"].as_i64().unwrap_or(0)
    }

    /// Sends it a signal, and waits until it has ended; how, and how long that took.
    pub fn end(&mut self, signal: Signal) -> (ExitStatus, Duration) {
        let began = Instant::now();
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        (self.child.wait().unwrap(), began.elapsed())
    }

    /// Kills it, and does not wait.
    pub fn kill(&self) {
        kill_process(Pid::from_child(&self.child), Signal::KILL).unwrap();
    }

    /// A figure of `/proc/PID/status` in kB, such as `VmRSS`.
    pub fn memory(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap().trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !thread::panicking() {
            let log = self.log();
            assert!(!log.contains("panicked at"), "{log}");
        }
    }
}

pub const HOST: &str = "Host: localhost";
pub const JSON: &str = "Content-Type: application/json";

/// Waits that long: a thread that is parked may be let go at any time.
pub fn pause(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        thread::park_timeout(left);
    }
}

/// A request that asks for its connection to be closed.
pub fn request(first: &str, lines: &[&str], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{first} HTTP/1.1\r\nConnection: close\r\n");
    for line in lines {
        text += line;
        text += "\r\n";
    }
    if !body.is_empty() {
        write!(text, "Content-Length: {}\r\n", body.len()).unwrap();
    }
    [text.as_bytes(), b"\r\n", body].concat()
}

/// Everything until the other end closes the connection.
#[track_caller]
pub fn drain(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        // It had not read all that was sent.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&bytes)),
    }
    bytes
}

/// The port in an answer to a reservation of one service.
pub fn port_in(document: &Value) -> u16 {
    document["services"][0]["port"].as_u64().unwrap().try_into().unwrap()
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The status line and the header fields.
    pub head: String,
    pub body: String,
}

impl Answer {
    /// The only answer in these bytes.
    #[track_caller]
    pub fn of(bytes: &[u8]) -> Self {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let parts = text.split_once("\r\n\r\n");
        let (head, body) = parts.unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        assert!(!body.contains("HTTP/1.1 "), "there is more than one answer: {text}");
        Self { status: status.unwrap(), head: head.to_owned(), body: body.to_owned() }
    }

    /// A header field, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// Asserts success; the document.
    #[track_caller]
    pub fn done(self) -> Value {
        self.json(200)
    }

    /// Asserts that there is a document with this status; the document.
    #[track_caller]
    pub fn json(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"));
        serde_json::from_str(&self.body).unwrap()
    }

    /// Asserts failure with this status; the problem document.
    #[track_caller]
    pub fn fails(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem: Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(problem["status"], status);
        assert!(!problem["detail"].as_str().unwrap().is_empty());
        problem
    }
}

/// Somebody who listens to `/v1/events/stream`.
pub struct Listener {
    lines: BufReader<TcpStream>,
}

impl Listener {
    /// Listens after the event of this number, or from now on.
    #[track_caller]
    pub fn start(serving: &Serving, after: Option<i64>) -> Self {
        let after = after.map(|after| format!("Last-Event-ID: {after}"));
        let lines: Vec<_> = [HOST].into_iter().chain(after.as_deref()).collect();
        let mut lines =
            BufReader::new(serving.sent(&request("GET /v1/events/stream", &lines, b"")));
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        assert!(line.starts_with("HTTP/1.1 200"), "{line}");
        Self { lines }
    }

    /// The numbers of the next events, up to that of `last`.
    #[track_caller]
    pub fn until(&mut self, last: i64) -> Vec<i64> {
        let mut ids = Vec::new();
        // It is kept alive, so that no read of its own fails.
        let end = Instant::now() + PATIENCE;
        while ids.last().is_none_or(|id| *id < last) {
            let mut line = String::new();
            assert!(Instant::now() < end, "there was nothing after {:?}", ids.last());
            let length = self.lines.read_line(&mut line).unwrap();
            assert!(length > 0, "it ended after {:?}", ids.last());
            if let Some(id) = line.strip_prefix("id: ") {
                ids.push(id.trim().parse().unwrap());
            }
        }
        ids
    }

    /// Whether the server ends it by itself.
    pub fn ends(mut self) -> bool {
        self.lines.read_to_end(&mut Vec::new()).is_ok()
    }
}

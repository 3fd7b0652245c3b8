//! The real server of a world, and requests to it as they go over the wire.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::World;

/// `hythe serve`, until this is dropped.
pub(crate) struct Serving {
    child: Child,
    address: SocketAddr,
}

/// What the server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// By name, in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Serving {
    /// Starts a server on a port of its own.
    #[track_caller]
    pub(crate) fn start(world: &World, arguments: &[&str]) -> Self {
        let mut child = world
            .command(&world.root())
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").and_then(|it| it.parse().ok());
        Self { child, address: address.unwrap_or_else(|| panic!("no address: {line:?}")) }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Ends the server without a chance to do anything.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a request; a body is JSON unless the headers say something else.
    #[track_caller]
    pub(crate) fn ask(
        &self,
        call: &str,
        headers: &[(&str, &str)],
        body: impl Into<Option<Value>>,
    ) -> Answer {
        let body = body.into().map(|body: Value| match body {
            Value::String(text) => text,
            body => body.to_string(),
        });
        let says = |name: &str| headers.iter().any(|(it, _)| it.eq_ignore_ascii_case(name));
        let mut lines = vec![format!("{call} HTTP/1.1"), "Connection: close".to_owned()];
        if !says("host") {
            lines.push(format!("Host: {}", self.address));
        }
        if let Some(body) = &body {
            lines.push(format!("Content-Length: {}", body.len()));
            if !says("content-type") {
                lines.push("Content-Type: application/json".to_owned());
            }
        }
        lines.extend(headers.iter().map(|(name, value)| format!("{name}: {value}")));
        let request = lines.join("\r\n") + "\r\n\r\n" + body.as_deref().unwrap_or_default();
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // What is too long is answered before it is read: then there is a reset behind the answer.
        let ended = stream.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).unwrap();
        let parted = answer.split_once("\r\n\r\n");
        let (head, body) = parted.unwrap_or_else(|| panic!("{call}: {ended:?} after {answer:?}"));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        Answer { status, headers: lines.map(header).collect(), body: body.to_owned() }
    }
}

impl Answer {
    /// The JSON document of an answer with this status.
    #[track_caller]
    pub(crate) fn json(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.headers["content-type"], "application/json", "{}", self.body);
        serde_json::from_str(&self.body).unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

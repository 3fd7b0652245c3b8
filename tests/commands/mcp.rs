//! `hythe mcp`: what a client says and hears, byte for byte.

mod directories;
mod lifecycle;
mod sdks;
mod texts;
mod tools;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::listener::eventually;
use crate::support::World;

/// The revisions of the protocol that begin with a handshake, oldest first.
const REVISIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

/// The first revision without one.
const STATELESS: &str = "2026-07-28";

/// How long anything may take that is expected.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client, and the server that it started.
struct Client {
    child: Child,
    stdin: Option<ChildStdin>,
    heard: Receiver<String>,
    said: u64,
    /// The roots that it has, if it has any; each asking is counted.
    roots: Option<Vec<String>>,
    asked: usize,
}

impl Client {
    /// Starts the server, in a directory that is nobody's. Nothing is said yet.
    fn start(world: &World, arguments: &[&str]) -> Self {
        Self::start_in(world, &world.dir("nowhere"), arguments)
    }

    fn start_in(world: &World, directory: &Path, arguments: &[&str]) -> Self {
        let mut command = world.command(directory);
        command.args(arguments).arg("mcp");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (told, heard) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines() {
                if told.send(line.unwrap()).is_err() {
                    break;
                }
            }
        });
        let stdin = child.stdin.take();
        Self { child, stdin, heard, said: 0, roots: None, asked: 0 }
    }

    /// A client that has said hello, and has these roots.
    fn with_roots(world: &World, arguments: &[&str], roots: Option<&[&Path]>) -> Self {
        let mut client = Self::start(world, arguments);
        let uri = |path: &&Path| format!("file://{}", path.display());
        client.roots = roots.map(|roots| roots.iter().map(uri).collect());
        client.hello("2025-11-25");
        client
    }

    /// A client that has said hello, and has no roots.
    fn new(world: &World) -> Self {
        Self::with_roots(world, &[], None)
    }

    /// Says hello in a revision; what the server answers.
    fn hello(&mut self, revision: &str) -> Value {
        let capabilities = match &self.roots {
            Some(_) => json!({ "roots": { "listChanged": true } }),
            None => json!({}),
        };
        let answer = self.request(
            "initialize",
            json!({
                "protocolVersion": revision,
                "capabilities": capabilities,
                "clientInfo": { "name": "test-client", "version": "1" },
            }),
        );
        self.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        answer["result"].clone()
    }

    /// Says a line, whatever it is.
    fn say_line(&mut self, line: &[u8]) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(line).and_then(|()| stdin.write_all(b"\n")).unwrap();
        stdin.flush().unwrap();
    }

    fn say(&mut self, message: &Value) {
        self.say_line(message.to_string().as_bytes());
    }

    /// Says a request, and does not wait; its id.
    fn ask(&mut self, method: &str, params: Value) -> u64 {
        self.said += 1;
        let id = self.said;
        self.say(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        id
    }

    /// The next message; `None` when the server has said its last.
    fn hear(&mut self) -> Option<Value> {
        match self.heard.recv_timeout(PATIENCE) {
            // Nothing else may be on stdout.
            Ok(line) => {
                let message: Value = serde_json::from_str(&line).expect(&line);
                assert_eq!(message["jsonrpc"], "2.0", "{line}");
                Some(message)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the server says nothing"),
        }
    }

    /// The next message that answers a request; the server's own are answered.
    fn answer(&mut self) -> Value {
        loop {
            let message = self.hear().expect("an answer");
            if message.get("method").is_none() {
                return message;
            }
            assert_eq!(message["method"], "roots/list", "{message}");
            self.asked += 1;
            let roots = self.roots.as_ref().expect("roots are only asked of who has some");
            let roots: Vec<_> = roots.iter().map(|uri| json!({ "uri": uri })).collect();
            let id = message["id"].clone();
            self.say(&json!({ "jsonrpc": "2.0", "id": id, "result": { "roots": roots } }));
        }
    }

    fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.ask(method, params);
        let answer = self.answer();
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    /// Calls a tool; its result.
    fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let answer = self.request("tools/call", json!({ "name": tool, "arguments": arguments }));
        answer.get("result").unwrap_or_else(|| panic!("{answer}")).clone()
    }

    /// Calls a tool that succeeds; its document and its text.
    #[track_caller]
    fn succeeds(&mut self, tool: &str, arguments: Value) -> (Value, String) {
        let result = self.call(tool, arguments);
        assert_eq!(result["isError"], false, "{result:#}");
        (result["structuredContent"].clone(), text(&result))
    }

    /// Calls a tool that fails; its error and its text.
    #[track_caller]
    fn fails(&mut self, tool: &str, arguments: Value) -> (Value, String) {
        let result = self.call(tool, arguments);
        failure(&result)
    }

    /// Says no more; what the server says yet, and how it ends.
    fn end(mut self) -> (Vec<Value>, ExitStatus) {
        drop(self.stdin.take());
        let mut last = Vec::new();
        while let Some(message) = self.hear() {
            last.push(message);
        }
        let status = self.wait();
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!(stderr, "", "stderr");
        (last, status)
    }

    fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        assert!(eventually(|| {
            status = self.child.try_wait().unwrap();
            status.is_some()
        }));
        status.unwrap()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The text of a result.
fn text(result: &Value) -> String {
    assert_eq!(result["content"].as_array().map(Vec::len), Some(1), "{result}");
    assert_eq!(result["content"][0]["type"], "text", "{result}");
    result["content"][0]["text"].as_str().unwrap().to_owned()
}

/// The error of a result that is one, and its text.
#[track_caller]
fn failure(result: &Value) -> (Value, String) {
    assert_eq!(result["isError"], true, "{result:#}");
    assert_eq!(result.get("structuredContent"), None, "it would have to fit the tool's schema");
    let document = crate::schema::valid("error", result["_meta"]["hythe/error"].clone());
    let (error, text) = (document["error"].clone(), text(result));
    let hint = error["hint"].as_str().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    assert_eq!(text, format!("{}{hint}", error["message"].as_str().unwrap()));
    (error, text)
}

/// Everything is sound, and nobody has written anything that is not.
fn assert_sound(world: &World) {
    world.run(&world.root(), ["doctor"]).ok();
}

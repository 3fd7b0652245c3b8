//! A stand-in for the daemon of Docker or Podman: a socket that answers as it is told to.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::World;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// With its length, as a body that is ready is.
    Whole,
    /// In chunks, as Docker writes what is long.
    Chunked,
    /// As an error.
    Failing,
    /// Byte by byte, without an end.
    Slow,
    /// Without an end.
    Endless,
    /// As something else than HTTP.
    Garbage,
    /// As HTTP, of something else than JSON.
    NoJson,
    /// Not at all.
    Silent,
}

/// The daemon of a world, in the place that Docker's has in a home. It runs until the test ends.
pub(crate) struct Daemon {
    containers: Arc<Mutex<(Manner, Value)>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Daemon {
    pub(crate) fn start(world: &World) -> Self {
        Self::at(&world.home().join(".docker/run/docker.sock"))
    }

    /// A daemon that listens at `path`.
    pub(crate) fn at(path: &Path) -> Self {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let listener = UnixListener::bind(path).unwrap();
        let containers = Arc::new(Mutex::new((Manner::Whole, json!([]))));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (told, heard) = (Arc::clone(&containers), Arc::clone(&asked));
        thread::spawn(move || {
            for connection in listener.incoming() {
                let (manner, containers) = told.lock().unwrap().clone();
                let heard = Arc::clone(&heard);
                thread::spawn(move || {
                    // Whoever has gone away hears nothing.
                    let _ = answer(connection.unwrap(), manner, &containers, &heard);
                });
            }
        });
        Self { containers, asked }
    }

    /// What it answers from now on.
    pub(crate) fn runs(&self, containers: &[Value]) -> &Self {
        self.containers.lock().unwrap().1 = json!(containers);
        self
    }

    pub(crate) fn answers(&self, manner: Manner) {
        self.containers.lock().unwrap().0 = manner;
    }

    /// The first lines of what it was asked.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(
    mut connection: UnixStream,
    manner: Manner,
    containers: &Value,
    heard: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(connection.try_clone()?).lines();
    heard.lock().unwrap().push(lines.next().unwrap()?);
    while !lines.next().unwrap()?.is_empty() {}
    let ok = "HTTP/1.1 200 OK\r\nApi-Version: 1.51\r\nContent-Type: application/json\r\n";
    let body = containers.to_string();
    let length = body.len();
    match manner {
        Manner::Whole => write!(connection, "{ok}Content-Length: {length}\r\n\r\n{body}"),
        Manner::Chunked => {
            write!(connection, "{ok}Transfer-Encoding: chunked\r\n\r\n")?;
            for part in body.as_bytes().chunks(100) {
                write!(connection, "{:x}\r\n", part.len())?;
                connection.write_all(part)?;
                write!(connection, "\r\n")?;
            }
            write!(connection, "0\r\n\r\n")
        }
        Manner::Failing => {
            write!(connection, "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\n[]")
        }
        Manner::Slow => {
            write!(connection, "{ok}\r\n")?;
            loop {
                connection.write_all(b" ")?;
                thread::park_timeout(Duration::from_millis(20));
            }
        }
        Manner::Endless => {
            write!(connection, "{ok}\r\n")?;
            loop {
                connection.write_all(&[b' '; 4096])?;
            }
        }
        Manner::Garbage => connection.write_all(b"\x00\xff\x1b[2J SSH-2.0\r\n\r\n"),
        Manner::NoJson => write!(connection, "{ok}\r\n{{"),
        Manner::Silent => loop {
            thread::park();
        },
    }
}

/// A container that publishes `port`, as the Docker Engine API describes one: composed in a directory,
/// or not, and with these directories mounted.
pub(crate) fn container(
    name: &str,
    port: u16,
    composed: Option<&Path>,
    mounts: &[PathBuf],
) -> Value {
    let mut labels = json!({ "maintainer": "NGINX Docker Maintainers" });
    if let Some(directory) = composed {
        labels["com.docker.compose.project"] = "shop".into();
        labels["com.docker.compose.service"] = "front".into();
        labels["com.docker.compose.project.working_dir"] = directory.to_str().unwrap().into();
    }
    let bind = |source: &PathBuf| {
        json!({
            "Type": "bind", "Source": source.to_str().unwrap(), "Destination": "/app",
            "Mode": "", "RW": true, "Propagation": "rprivate",
        })
    };
    let volume = json!({
        "Type": "volume", "Name": "data", "Source": "/var/lib/docker/volumes/data/_data",
        "Destination": "/data", "Driver": "local", "Mode": "z", "RW": true, "Propagation": "",
    });
    json!({
        "Id": "8dfafdbc3a40d2f1e6a74f5fb6632491cea586a1fd7d748dfc5274cd6fdfedee",
        "Names": [format!("/{name}")],
        "Image": "nginx:1.29",
        "ImageID": "sha256:d74508fb6632491cea586a1fd7d748dfc5274cd6fdfedee309ecdcbc2bf5cb82",
        "Command": "/docker-entrypoint.sh nginx -g 'daemon off;'",
        "Created": 1_763_000_000,
        "Ports": [
            { "IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": port, "Type": "tcp" },
            { "IP": "::", "PrivatePort": 80, "PublicPort": port, "Type": "tcp" },
            { "PrivatePort": 443, "Type": "tcp" },
        ],
        "Labels": labels,
        "State": "running",
        "Status": "Up 3 minutes",
        "HostConfig": { "NetworkMode": "bridge" },
        "NetworkSettings": { "Networks": {} },
        "Mounts": mounts.iter().map(bind).chain([volume]).collect::<Vec<_>>(),
    })
}

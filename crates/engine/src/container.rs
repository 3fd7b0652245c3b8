//! Containers that publish ports, as the daemons of Docker and Podman tell.
//!
//! They are asked over their sockets in the file system, never over a network: `GET /containers/json`
//! of the Docker Engine API, "List containers", which Podman answers alike. Without a version in the
//! path the daemon answers by the newest that it knows; only what every version has is read.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use serde_json::Value;

use crate::git;
use crate::observed::{Container, Containers};
use crate::place::Place;
use crate::port::{Port, PortSet};

/// How long all daemons together may take, each asked at the same time. One with a hundred
/// containers answers within 20 ms; nobody waits for one that hangs.
const PATIENCE: Duration = Duration::from_millis(300);

/// The longest answer that is read, in bytes: more than two thousand containers.
const LARGEST_ANSWER: u64 = 4 * 1024 * 1024;

/// The most lines of a head that are read.
const MOST_HEADERS: usize = 64;

/// The most mounts of a container that are looked at, see [`Container::mounts`].
const MOST_MOUNTS: usize = 16;

/// A connection of its own, so that the answer ends where the connection does.
const REQUEST: &[u8] = b"GET /containers/json HTTP/1.1\r\nHost: localhost\r\n\
    Accept: application/json\r\nConnection: close\r\n\r\n";

/// The containers that publish `ports`, see [`crate::system::System::containers`].
pub(crate) fn published(daemons: &[PathBuf], ports: &PortSet) -> Containers {
    let deadline = Instant::now() + PATIENCE;
    // One daemon may be reached by several names.
    let daemons = daemons.iter().filter_map(|daemon| daemon.canonicalize().ok());
    let is_socket =
        |path: &PathBuf| fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    let daemons: BTreeSet<PathBuf> = daemons.filter(is_socket).collect();
    let answers = thread::scope(|scope| {
        let asked: Vec<_> =
            daemons.iter().map(|daemon| scope.spawn(move || ask(daemon, deadline))).collect();
        asked.into_iter().map(thread::ScopedJoinHandle::join).collect::<Vec<_>>()
    });
    let mut containers = Containers::new();
    for (daemon, answer) in daemons.iter().zip(answers) {
        match answer {
            Ok(Ok(told)) => told.iter().for_each(|told| add(&mut containers, told, ports)),
            Ok(Err(error)) => tracing::debug!(?daemon, %error, "containers cannot be told"),
            Err(_) => tracing::debug!(?daemon, "containers cannot be told"),
        }
    }
    containers
}

/// Asks one daemon for its running containers.
fn ask(daemon: &Path, deadline: Instant) -> io::Result<Vec<Value>> {
    let left = || {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::Error::from(io::ErrorKind::TimedOut)) } else { Ok(Some(left)) }
    };
    let mut stream = reach(daemon)?;
    stream.set_write_timeout(left()?)?;
    stream.write_all(REQUEST)?;
    let mut answer = Vec::new();
    let mut part = vec![0; 64 * 1024];
    loop {
        stream.set_read_timeout(left()?)?;
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(&part[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if u64::try_from(answer.len()).unwrap_or(u64::MAX) > LARGEST_ANSWER {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    }
    let body = body(&answer).ok_or(io::ErrorKind::InvalidData)?;
    Ok(serde_json::from_slice(&body)?)
}

/// Connects without waiting: a daemon that takes no connections any more is not waited for
/// (connect(2), `EAGAIN`).
fn reach(daemon: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(daemon)?)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// The body of an answer that says 200 (RFC 9112); `None` of any other.
fn body(answer: &[u8]) -> Option<Vec<u8>> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(answer).ok()? else { return None };
    if response.code != Some(200) {
        return None;
    }
    let body = answer.get(length..)?;
    let is_chunked = |header: &&mut httparse::Header<'_>| {
        header.name.eq_ignore_ascii_case("transfer-encoding")
            && header.value.eq_ignore_ascii_case(b"chunked")
    };
    match response.headers.iter_mut().find(is_chunked) {
        Some(_) => joined(body),
        None => Some(body.to_vec()),
    }
}

/// The chunks of a body, put together (RFC 9112, section 7.1).
fn joined(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::with_capacity(rest.len());
    loop {
        let size = httparse::parse_chunk_size(rest).ok()?;
        let httparse::Status::Complete((start, size)) = size else { return None };
        if size == 0 {
            return Some(body);
        }
        let end = start.checked_add(usize::try_from(size).ok()?)?;
        body.extend_from_slice(rest.get(start..end)?);
        rest = rest.get(end..)?.strip_prefix(b"\r\n")?;
    }
}

/// Notes the container for each of `ports` that it publishes. What it does not tell, or tells
/// otherwise than documented, is not known.
fn add(containers: &mut Containers, told: &Value, ports: &PortSet) {
    let published = elements(&told["Ports"]).filter(|port| port["Type"] == "tcp");
    let published = published.filter_map(|port| {
        let number = u16::try_from(port["PublicPort"].as_u64()?).ok()?;
        Port::new(number).filter(|port| ports.contains(*port))
    });
    let published: BTreeSet<Port> = published.collect();
    if published.is_empty() {
        return;
    }
    let container = container(told);
    for port in published {
        containers.entry(port).or_default().push(container.clone());
    }
}

fn container(told: &Value) -> Container {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let label = |name: &str| told["Labels"][name].as_str();
    let name = elements(&told["Names"]).next().map(text).unwrap_or_default();
    let binds = elements(&told["Mounts"]).filter(|mount| mount["Type"] == "bind");
    let places = binds.filter_map(|mount| mounted(mount["Source"].as_str()?));
    Container {
        id: text(&told["Id"]).chars().take(12).collect(),
        name: name.strip_prefix('/').map(str::to_owned).unwrap_or(name),
        image: text(&told["Image"]),
        project: label("com.docker.compose.project").map(str::to_owned),
        service: label("com.docker.compose.service").map(str::to_owned),
        place: label("com.docker.compose.project.working_dir").and_then(locate),
        mounts: places.take(MOST_MOUNTS).collect(),
    }
}

fn elements(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The directory at a path.
fn locate(path: &str) -> Option<Place> {
    let path = Some(Path::new(path)).filter(|path| path.is_absolute())?;
    git::locate(path).ok()
}

/// The directory at a path, or the one that has the file of that path.
fn mounted(path: &str) -> Option<Place> {
    let path = Some(Path::new(path)).filter(|path| path.is_absolute())?;
    let directory = if path.is_dir() { path } else { path.parent().filter(|_| path.exists())? };
    git::locate(directory).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(head: &str, rest: &str) -> Option<String> {
        let answer = format!("HTTP/1.1 {head}\r\n\r\n{rest}");
        body(answer.as_bytes()).map(|body| String::from_utf8(body).unwrap())
    }

    #[test]
    fn a_body_is_whole_or_in_chunks() {
        assert_eq!(answer("200 OK\r\nContent-Length: 2", "[]").unwrap(), "[]");
        let chunked = "200 OK\r\ntransfer-encoding: Chunked";
        assert_eq!(
            answer(chunked, "1\r\n[\r\n3;x=y\r\n1,2\r\n1\r\n]\r\n0\r\n\r\n").unwrap(),
            "[1,2]"
        );
        for rest in [
            "",
            "9\r\n[]\r\n0\r\n\r\n",
            "2\r\n[]0\r\n\r\n",
            "2\r\n[]\r\n",
            "x\r\n",
            "ffffffffffffffff\r\n",
        ] {
            assert_eq!(answer(chunked, rest), None, "{rest:?}");
        }
    }

    #[test]
    fn only_a_200_is_an_answer() {
        for head in ["404 Not Found", "500 Oops", "101 Switching Protocols", "x"] {
            assert_eq!(answer(head, "[]"), None, "{head}");
        }
        assert_eq!(body(b"HTTP/1.1 200 OK\r\n"), None);
        assert_eq!(body(b"SSH-2.0-x\r\n"), None);
        assert_eq!(body(b""), None);
    }

    #[test]
    fn what_is_told_otherwise_than_documented_is_not_known() {
        let ports: PortSet = [Port::new(8080).unwrap()].into_iter().collect();
        let read = |told: Value| {
            let mut containers = Containers::new();
            add(&mut containers, &told, &ports);
            containers.into_values().flatten().collect::<Vec<_>>()
        };
        let port = json!([{ "PublicPort": 8080, "Type": "tcp" }, { "PublicPort": 8080, "Type": "tcp", "IP": "::" }]);
        let found = read(json!({ "Id": "0123456789abcdef", "Names": ["/web"], "Ports": port }));
        let expected = Container {
            id: "0123456789ab".to_owned(),
            name: "web".to_owned(),
            ..Container::default()
        };
        assert_eq!(found, [expected], "both addresses are one port");
        let odd = json!({ "Names": 1, "Labels": null, "Mounts": [1, { "Type": "bind", "Source": "relative" }], "Ports": port });
        assert_eq!(read(odd), [Container::default()]);
        for ports in [
            json!(null),
            json!("x"),
            json!([{ "PublicPort": 8080, "Type": "udp" }]),
            json!([{ "PublicPort": 8081, "Type": "tcp" }]),
            json!([{ "PublicPort": 73_616, "Type": "tcp" }]),
            json!([{ "PublicPort": -1, "Type": "tcp" }]),
            json!([{ "PrivatePort": 8080, "Type": "tcp" }]),
        ] {
            assert_eq!(read(json!({ "Ports": ports })), [], "{ports}");
        }
        assert_eq!(read(json!(7)), []);
    }

    #[test]
    fn a_daemon_that_is_not_there_tells_of_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let daemons = [file, directory.path().join("missing"), directory.path().to_owned()];
        assert!(published(&daemons, &PortSet::new()).is_empty());
    }
}

//! Whether a server answers.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// `/health` needs no token, and every server goes by this name.
const REQUEST: &[u8] = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// How an answer begins, before its status of three digits (RFC 9112, section 4).
const ANSWER: &str = "HTTP/1.1 ";

/// The status with which the server that listens at `place`, as it says itself, answers within this
/// time; 200 when it is well, `None` when there is no answer.
#[must_use]
pub fn health(place: &str, within: Duration) -> Option<u16> {
    match place.strip_prefix("unix:") {
        Some(path) => unix(path, within),
        None => tcp(place, within),
    }
    .ok()
}

fn unix(path: &str, within: Duration) -> io::Result<u16> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(within))?;
    stream.set_write_timeout(Some(within))?;
    ask(stream)
}

fn tcp(place: &str, within: Duration) -> io::Result<u16> {
    let address = place.strip_prefix("http://").and_then(|address| address.parse().ok());
    let address: SocketAddr = address.ok_or(io::ErrorKind::InvalidInput)?;
    // Who listens everywhere is asked here.
    let host = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    let stream = TcpStream::connect_timeout(&(host, address.port()).into(), within)?;
    stream.set_read_timeout(Some(within))?;
    stream.set_write_timeout(Some(within))?;
    ask(stream)
}

fn ask(mut stream: impl Read + Write) -> io::Result<u16> {
    stream.write_all(REQUEST)?;
    let mut answer = [0; ANSWER.len() + 3];
    stream.read_exact(&mut answer)?;
    let status = str::from_utf8(&answer).ok().and_then(|answer| answer.strip_prefix(ANSWER));
    status.and_then(|status| status.parse().ok()).ok_or(io::ErrorKind::InvalidData.into())
}

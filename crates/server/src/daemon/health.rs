//! Whether a server answers.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// `/health` needs no token, and every server goes by this name.
const REQUEST: &[u8] = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// How an answer begins (RFC 9112, section 4).
const WELL: &[u8] = b"HTTP/1.1 200 ";

/// Whether the server that listens at `place`, as it says itself, answers within this time that it is
/// well.
#[must_use]
pub fn answers(place: &str, within: Duration) -> bool {
    match place.strip_prefix("unix:") {
        Some(path) => unix(path, within),
        None => tcp(place, within),
    }
    .unwrap_or(false)
}

fn unix(path: &str, within: Duration) -> io::Result<bool> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(within))?;
    stream.set_write_timeout(Some(within))?;
    ask(stream)
}

fn tcp(place: &str, within: Duration) -> io::Result<bool> {
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

fn ask(mut stream: impl Read + Write) -> io::Result<bool> {
    stream.write_all(REQUEST)?;
    let mut answer = [0; WELL.len()];
    stream.read_exact(&mut answer)?;
    Ok(answer == WELL)
}

//! Keeping a port until a server takes it.

use std::io;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Instant;

use socket2::Socket;

use super::{PATIENCE, bind_both};
use crate::port::Port;
use crate::process;

/// How many connections wait at most until they are accepted: what Linux allows unless it is told
/// otherwise (`net.core.somaxconn`, listen(2)).
const BACKLOG: i32 = 4096;

/// A port that is kept: a socket of both families, of IPv4 where there is no IPv6, is bound to it on
/// every address and does not listen. It has not set `SO_REUSEADDR`, so that nobody can bind beside
/// it, whatever options they set (socket(7)).
///
/// The port is free again when this is dropped, or when the last copy of its descriptor is closed.
#[derive(Debug)]
pub struct Hold(Socket);

impl Hold {
    /// Makes the socket listen: from now on connections wait until somebody accepts them.
    pub fn listen(&self) -> io::Result<()> {
        // Without it, closed connections that linger are in the way; and what is accepted inherits it,
        // so that the next server finds its own in the same state. Whoever slips in beside, by the
        // same option, cannot listen any more, and nobody binds beside a socket that listens.
        self.0.set_reuse_address(true)?;
        self.0.listen(BACKLOG)
    }
}

impl From<Hold> for OwnedFd {
    fn from(hold: Hold) -> Self {
        hold.0.into()
    }
}

/// Keeps `port`. What is in the way for a moment, as somebody else's probe is, is waited for.
pub(crate) fn hold(port: Port) -> io::Result<Hold> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match bind_both(port, false) {
            Ok(socket) => return Ok(Hold(socket)),
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => return Err(error),
            Err(error) => match beside_lingering(port) {
                Some(hold) => return Ok(hold),
                None if Instant::now() >= deadline => return Err(error),
                None => thread::yield_now(),
            },
        }
    }
}

/// Keeps a port where nothing but closed connections are in the way. The option that allows to bind
/// beside them is taken back: others who set it may bind as well from now on, but not listen.
fn beside_lingering(port: Port) -> Option<Hold> {
    if !process::is_closing(port).unwrap_or(false) {
        return None;
    }
    let socket = bind_both(port, true).ok()?;
    socket.set_reuse_address(false).ok()?;
    Some(Hold(socket))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::super::tests::{bound, connection, finds, free_port, stop};
    use super::super::{Probe, bind_in_sequence, probe};
    use super::*;

    #[test]
    fn a_port_that_is_held_is_free_for_nobody() {
        let port = free_port();
        let kept = hold(port).unwrap();
        assert_eq!(probe(port), Probe::Held);
        for reuse in [false, true] {
            let error = bind_in_sequence(port, reuse).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "SO_REUSEADDR: {reuse}");
        }
        assert_eq!(hold(port).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(TcpStream::connect(("127.0.0.1", port.get())).is_err(), "nobody listens");
        drop(kept);
        assert!(finds(port, &Probe::Free));
    }

    #[test]
    fn a_held_port_can_be_made_to_listen_and_leaves_nothing_in_the_way() {
        let port = free_port();
        let kept = hold(port).unwrap();
        kept.listen().unwrap();
        let client = TcpStream::connect(("127.0.0.1", port.get())).unwrap();
        let (accepted, _) = kept.0.accept().unwrap();
        assert_eq!(probe(port), Probe::Held);
        stop(kept.0, accepted.into(), client);
        assert!(finds(port, &Probe::Lingering));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn closed_connections_do_not_hinder_a_hold_and_nobody_can_listen_beside_it() {
        let port = free_port();
        let (server, accepted, client) = connection(port, true);
        stop(server, accepted, client);
        assert!(finds(port, &Probe::Lingering));
        let kept = hold(port).unwrap();
        for host in ["127.0.0.1", "0.0.0.0"] {
            let address: std::net::SocketAddr = format!("{host}:{port}").parse().unwrap();
            let socket = Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.set_reuse_address(true).unwrap();
            #[expect(clippy::disallowed_methods, reason = "stands for another program")]
            let listens = socket.bind(&address.into()).and_then(|()| socket.listen(1));
            assert!(listens.is_err(), "{host}");
        }
        kept.listen().unwrap();
        drop(kept);
        let server = bound("127.0.0.1", port, true).unwrap();
        server.listen(1).unwrap();
    }
}

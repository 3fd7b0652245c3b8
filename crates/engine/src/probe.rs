//! Whether a port can be bound, found out by binding it, and what the system says about ports.

mod hold;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use socket2::{Domain, Socket, Type};

use crate::observed::Probe;
use crate::port::{Port, PortRange};
use crate::process;

pub use hold::Hold;
pub(crate) use hold::hold;

/// How long a bind that fails for no visible reason is tried again.
///
/// Two probes of one port at the same instant see each other, and nothing shows which is which: a
/// socket that does not listen appears in no table. A probe is over within microseconds, unless
/// the scheduler takes the processor away in between. With 64 processes that did nothing but probe
/// one port on two processors, this was enough 999 times in 1000, and 5 ms 996 times.
const PATIENCE: Duration = Duration::from_millis(20);

/// The lowest port that needs no privilege, where the system does not say otherwise: the first above
/// the system ports of RFC 6335, section 6.
const FIRST_UNPRIVILEGED: Port = match Port::new(1024) {
    Some(port) => port,
    None => Port::MIN,
};

/// Whether `port` could be bound now, on every address of this host. Nothing ever listens, and
/// every socket is closed before this returns.
pub(crate) fn probe(port: Port) -> Probe {
    match bind(port, false) {
        Ok(()) => Probe::Free,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => occupied(port),
        Err(error) => Probe::Inconclusive(format!("port {port} could not be bound: {error}")),
    }
}

/// What is in the way at `port`, where a plain bind has just failed.
///
/// A socket table that cannot be read proves nothing: then the port counts as held.
fn occupied(port: Port) -> Probe {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if process::is_listening(port).unwrap_or(false) {
            return Probe::Held;
        }
        // SO_REUSEADDR alone would be no proof: it also binds beside a socket that was bound with
        // it and does not listen yet.
        if bind(port, true).is_ok() && process::is_closing(port).unwrap_or(false) {
            return Probe::Lingering;
        }
        if bind(port, false).is_ok() {
            return Probe::Free;
        }
        if Instant::now() >= deadline {
            return Probe::Held;
        }
        thread::yield_now();
    }
}

/// Binds `port` on every address and lets it go.
///
/// On Linux a socket of both families conflicts with every socket on the port, whatever its
/// address (ipv6(7), `IPV6_V6ONLY`; `net/ipv4/inet_connection_sock.c`), so one bind is enough.
#[cfg(target_os = "linux")]
fn bind(port: Port, reuse: bool) -> io::Result<()> {
    bind_both(port, reuse).map(drop)
}

/// One socket of both families on every address, or of IPv4 where there is no IPv6.
fn bind_both(port: Port, reuse: bool) -> io::Result<Socket> {
    match bind_one(Ipv6Addr::UNSPECIFIED.into(), port, false, reuse) {
        Err(error) if is_missing(&error) => {
            bind_one(Ipv4Addr::UNSPECIFIED.into(), port, false, reuse)
        }
        result => result,
    }
}

/// Binds `port` on every address and lets it go.
#[cfg(not(target_os = "linux"))]
fn bind(port: Port, reuse: bool) -> io::Result<()> {
    bind_in_sequence(port, reuse)
}

/// Binds `port` on the wildcard and loopback addresses, one after the other: macOS and the BSDs let
/// sockets on different addresses coexist. Fails where one address fails, or all are missing.
#[cfg(any(not(target_os = "linux"), test))]
fn bind_in_sequence(port: Port, reuse: bool) -> io::Result<()> {
    let addresses: [IpAddr; 4] = [
        Ipv4Addr::UNSPECIFIED.into(),
        Ipv6Addr::UNSPECIFIED.into(),
        Ipv4Addr::LOCALHOST.into(),
        Ipv6Addr::LOCALHOST.into(),
    ];
    let mut outcome = Err(io::ErrorKind::AddrNotAvailable.into());
    for address in addresses {
        match bind_one(address, port, true, reuse) {
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(error),
            Ok(_) => outcome = Ok(()),
        }
    }
    outcome
}

/// A socket that is bound to `port` on one address. `only_v6` keeps an IPv6 socket out of IPv4, `reuse`
/// sets `SO_REUSEADDR` (socket(7)).
#[expect(clippy::disallowed_methods, reason = "the one place that binds")]
fn bind_one(address: IpAddr, port: Port, only_v6: bool, reuse: bool) -> io::Result<Socket> {
    let address = SocketAddr::new(address, port.get());
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    if reuse {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Whether a socket can be bound to `address`, on a port that the kernel chooses.
#[expect(clippy::disallowed_methods, reason = "the one place that binds")]
pub(crate) fn has_address(address: IpAddr) -> bool {
    let address = SocketAddr::new(address, 0);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None);
    socket.and_then(|socket| socket.bind(&address.into())).is_ok()
}

/// Whether the host lacks the address or its whole family: IPv6 may be left out of the kernel or be
/// switched off, and so may IPv4.
fn is_missing(error: &io::Error) -> bool {
    [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL]
        .iter()
        .any(|missing| error.raw_os_error() == Some(missing.raw_os_error()))
}

/// The ports that the kernel gives to outgoing connections; `None` when it does not say.
#[cfg(target_os = "linux")]
pub(crate) fn ephemeral_range() -> Option<PortRange> {
    parse_range(&setting("ip_local_port_range")?)
}

/// The dynamic ports of RFC 6335, section 6, where macOS and the BSDs begin as well.
#[cfg(not(target_os = "linux"))]
pub(crate) fn ephemeral_range() -> Option<PortRange> {
    PortRange::new(Port::new(49152)?, Port::MAX)
}

/// The lowest port that needs no privilege to be bound.
pub(crate) fn first_unprivileged() -> Port {
    #[cfg(target_os = "linux")]
    if let Some(first) = setting("ip_unprivileged_port_start").and_then(|text| parse_first(&text)) {
        return first;
    }
    FIRST_UNPRIVILEGED
}

/// One of `/proc/sys/net/ipv4` (kernel, Documentation/networking/ip-sysctl.rst); both hold for
/// IPv6 as well.
#[cfg(target_os = "linux")]
fn setting(name: &str) -> Option<String> {
    use std::io::Read;

    let mut text = String::new();
    let file = std::fs::File::open(format!("/proc/sys/net/ipv4/{name}")).ok()?;
    file.take(64).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Reads `32768\t60999\n`.
#[cfg(target_os = "linux")]
fn parse_range(text: &str) -> Option<PortRange> {
    let mut bounds = text.split_whitespace().map(|bound| bound.parse().ok());
    PortRange::new(bounds.next()??, bounds.next()??)
}

/// Reads `1024\n`. From 0 on means every port.
#[cfg(target_os = "linux")]
fn parse_first(text: &str) -> Option<Port> {
    text.trim().parse().ok().map(|number| Port::new(number).unwrap_or(Port::MIN))
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpStream};
    use std::sync::atomic::{AtomicU16, Ordering};
    use std::sync::mpsc;

    use super::*;
    use crate::process::tests::eventually;

    /// A port that was free a moment ago, below the ephemeral range and never given twice.
    pub(super) fn free_port() -> Port {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let first = 20_000 + u16::try_from(std::process::id() % 1_000).unwrap() * 10;
        loop {
            let port = Port::new(first + NEXT.fetch_add(1, Ordering::Relaxed)).unwrap();
            if bind(port, false).is_ok() {
                return port;
            }
        }
    }

    /// A bound socket; `None` where the host lacks the address.
    #[expect(clippy::disallowed_methods, reason = "stands for another program")]
    pub(super) fn bound(address: &str, port: Port, reuse: bool) -> Option<Socket> {
        let address = SocketAddr::new(address.parse().unwrap(), port.get());
        let attempt = || {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            if address.is_ipv6() {
                socket.set_only_v6(true)?;
            }
            socket.set_reuse_address(reuse)?;
            socket.bind(&address.into()).map(|()| socket)
        };
        let mut outcome = attempt();
        let in_use = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
        assert!(eventually(|| {
            if outcome.as_ref().is_err_and(in_use) {
                outcome = attempt();
            }
            !outcome.as_ref().is_err_and(in_use)
        }));
        match outcome {
            Err(error) if is_missing(&error) => None,
            socket => Some(socket.unwrap()),
        }
    }

    /// Whether a probe comes to this result.
    pub(super) fn finds(port: Port, expected: &Probe) -> bool {
        eventually(|| probe(port) == *expected)
    }

    /// A server with one connection: the server's listening socket, its end and the client's.
    pub(super) fn connection(port: Port, reuse: bool) -> (Socket, TcpStream, TcpStream) {
        let server = bound("127.0.0.1", port, reuse).unwrap();
        server.listen(1).unwrap();
        let client = TcpStream::connect(("127.0.0.1", port.get())).unwrap();
        let (accepted, _) = server.accept().unwrap();
        (server, accepted.into(), client)
    }

    /// Closes the server first, so that its end is the one that lingers.
    pub(super) fn stop(server: Socket, accepted: TcpStream, mut client: TcpStream) {
        drop((server, accepted));
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_free_port_is_free() {
        let port = free_port();
        assert!(finds(port, &Probe::Free));
        assert!(bind_in_sequence(port, false).is_ok());
        assert!(bind_in_sequence(port, true).is_ok());
    }

    #[test]
    fn a_listener_on_any_address_holds_its_port() {
        for address in ["0.0.0.0", "127.0.0.1", "::", "::1"] {
            let port = free_port();
            let Some(listener) = bound(address, port, true) else { continue };
            listener.listen(1).unwrap();
            assert_eq!(probe(port), Probe::Held, "{address}");
            let error = bind_in_sequence(port, false).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{address}");
            drop(listener);
            assert!(finds(port, &Probe::Free), "{address}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_listener_on_an_address_that_nobody_thinks_of_holds_its_port() {
        let port = free_port();
        let listener = bound("127.0.0.2", port, true).unwrap();
        listener.listen(1).unwrap();
        assert_eq!(probe(port), Probe::Held);
    }

    #[test]
    fn a_socket_that_does_not_listen_yet_holds_its_port() {
        for reuse in [false, true] {
            let port = free_port();
            let _socket = bound("127.0.0.1", port, reuse).unwrap();
            assert_eq!(probe(port), Probe::Held, "SO_REUSEADDR: {reuse}");
        }
    }

    #[test]
    fn closed_connections_linger() {
        let port = free_port();
        let (server, accepted, client) = connection(port, true);
        stop(server, accepted, client);
        assert!(finds(port, &Probe::Lingering));
        // Which means that a server can come back.
        let server = bound("127.0.0.1", port, true).unwrap();
        server.listen(1).unwrap();
        assert_eq!(probe(port), Probe::Held);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn closed_connections_that_nobody_can_bind_beside_hold_their_port() {
        let port = free_port();
        let (server, accepted, client) = connection(port, false);
        stop(server, accepted, client);
        assert_eq!(probe(port), Probe::Held);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_connection_that_is_still_served_holds_its_port() {
        let port = free_port();
        let (server, mut accepted, mut client) = connection(port, true);
        drop(server);
        assert_eq!(probe(port), Probe::Held);
        // Half closed, it is still its process's.
        accepted.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        assert_eq!(probe(port), Probe::Held);
        client.write_all(b"x").unwrap();
        assert_eq!(accepted.read(&mut [0]).unwrap(), 1);
        drop(accepted);
        assert!(finds(port, &Probe::Lingering));
    }

    #[test]
    fn a_probe_waits_for_another_one_to_be_over() {
        let port = free_port();
        let slow_probe = || {
            let socket = bound("0.0.0.0", port, false).unwrap();
            let (_sender, never) = mpsc::channel::<()>();
            thread::scope(|scope| {
                scope.spawn(move || {
                    let _ = never.recv_timeout(Duration::from_millis(2));
                    drop(socket);
                });
                probe(port)
            })
        };
        // On a busy machine, the other one may take longer than is waited for.
        assert!((0..5).any(|_| slow_probe() == Probe::Free));
    }

    #[test]
    fn only_an_address_that_is_not_there_is_missing() {
        let missing = |errno: Errno| is_missing(&errno.into());
        assert!([Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL].map(missing) == [true, true]);
        assert!(
            ![Errno::ACCESS, Errno::PERM, Errno::MFILE, Errno::ADDRINUSE]
                .map(missing)
                .contains(&true)
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn settings_are_read() {
        let range = parse_range("32768\t60999\n").unwrap();
        assert_eq!(range.to_string(), "32768-60999");
        for text in ["", "1", "2\t1", "a\tb", "0\t9"] {
            assert_eq!(parse_range(text), None, "{text:?}");
        }
        assert_eq!(parse_first("80\n"), Port::new(80));
        assert_eq!(parse_first("0\n"), Some(Port::MIN));
        assert_eq!(parse_first("x"), None);
        assert!(ephemeral_range().is_some());
    }
}

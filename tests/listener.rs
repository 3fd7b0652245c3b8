//! Ports that no other test uses, and processes that listen on them.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::ops::Deref;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, io, thread};

use crate::support::World;

/// A world whose range of ports is its own, below the built-in range.
pub(crate) struct Harbour {
    world: World,
    first: u16,
    size: u16,
}

impl Harbour {
    pub(crate) fn new() -> Self {
        Self::of_size(32)
    }

    /// A world with this many ports.
    pub(crate) fn of_size(size: u16) -> Self {
        const PORTS: u16 = 20_000 - 10_100;
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Another run at the same time most likely begins elsewhere. Whoever comes round has been
        // preceded by hundreds of tests, that are over.
        let start = std::process::id() % 40 * 100;
        let first = loop {
            let next = NEXT.fetch_add(size.into(), Ordering::Relaxed);
            let offset = u16::try_from((start + next) % u32::from(PORTS)).unwrap();
            if offset + size <= PORTS {
                break 10_100 + offset;
            }
        };
        let harbour = Self { world: World::new(), first, size };
        harbour.configure("");
        harbour
    }

    /// A port of the range, counted from 0.
    pub(crate) fn port(&self, index: u16) -> u16 {
        assert!(index < self.size);
        self.first + index
    }

    /// The range, as the configuration writes it.
    pub(crate) fn range(&self) -> String {
        format!("{}-{}", self.first, self.first + self.size - 1)
    }

    /// Writes the user's file: the range, then `text`, which begins inside `[ports]`.
    pub(crate) fn configure(&self, text: &str) {
        self.world.config(&format!("[ports]\nrange = \"{}\"\n{text}", self.range()));
    }
}

impl Deref for Harbour {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

/// A process that listens, in a directory of its own. It ends when this is dropped, or when this
/// process ends.
pub(crate) struct Server(Child);

const ADDRESS: &str = "HYTHE_TEST_LISTEN";

impl Server {
    /// Starts a process in `directory` that listens on `port` of `host`; returns when it does.
    pub(crate) fn start(directory: &Path, host: &str, port: u16) -> Self {
        let name = concat!(module_path!(), "::serves").split_once("::").unwrap().1;
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", name])
            .env(ADDRESS, SocketAddr::new(host.parse().unwrap(), port).to_string())
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let listens = lines.any(|line| line.unwrap().contains("it listens"));
        assert!(listens, "the server on port {port} of {host} has ended");
        Self(child)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "no test, but what `Server` runs"]
#[expect(clippy::disallowed_methods, reason = "stands for another program")]
fn serves() {
    let Ok(address) = env::var(ADDRESS) else { return };
    let _listener = TcpListener::bind(&address).unwrap();
    println!("it listens");
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// The addresses of this machine that a server could listen on: the wildcards, the loopback ones,
/// one that nobody thinks of, and that of a network, where there is one.
pub(crate) fn addresses() -> Vec<String> {
    let bindable = |host: &&str| UdpSocket::bind((*host, 0)).is_ok();
    let candidates = ["0.0.0.0", "127.0.0.1", "127.0.0.2", "::", "::1"];
    let mut hosts: Vec<_> = candidates.into_iter().filter(bindable).map(str::to_owned).collect();
    // Connecting a datagram socket sends nothing; 192.0.2.0/24 is for documentation (RFC 5737).
    let network = UdpSocket::bind(("0.0.0.0", 0))
        .and_then(|socket| socket.connect(("192.0.2.1", 9)).and_then(|()| socket.local_addr()));
    hosts.extend(network.map(|address| address.ip().to_string()));
    assert!(hosts.len() >= 2, "this machine has hardly an address: {hosts:?}");
    hosts
}

/// Whether `condition` comes true within ten seconds.
pub(crate) fn eventually(mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        if Instant::now() > deadline {
            return false;
        }
        thread::park_timeout(Duration::from_millis(2));
    }
    true
}

//! The world as the engine sees it: clock, directories, sockets and processes.
//!
//! Everything that is not in the ledger or in configuration enters through [`System`], so that a
//! simulated machine can stand in for the real one, [`Host`].

use std::io;
use std::path::Path;
use std::time::SystemTime;

use crate::observed::{Holders, Liveness, Presence, Probe};
use crate::place::Place;
use crate::port::{Port, PortRange, PortSet};
use crate::reservation::Owner;
use crate::time::Timestamp;
use crate::{git, probe, process};

pub use crate::probe::Hold;

/// What the engine asks the machine.
pub trait System {
    /// The time.
    fn now(&self) -> Timestamp;

    /// The directory at `path`, symbolic links resolved, and the git checkout around it. Fails when
    /// it is not a directory or cannot be reached.
    fn locate(&self, path: &Path) -> io::Result<Place>;

    /// Whether `path` is a directory.
    fn presence(&self, path: &Path) -> Presence;

    /// Whether `port` could be bound now, on IPv4 and IPv6, on every address. Binds and lets go;
    /// never listens.
    fn probe(&self, port: Port) -> Probe;

    /// Keeps `port` until the answer is dropped: bound on every address, nobody listening. Fails with
    /// [`io::ErrorKind::AddrInUse`] when somebody holds it, and otherwise when binding is not possible
    /// here.
    fn hold(&self, port: Port) -> io::Result<Hold>;

    /// Who listens on `ports`: only ports with a listener have an entry. `hints` are processes to
    /// look at first. Fails when the system's socket table cannot be read.
    fn holders(&self, ports: &PortSet, hints: &[u32]) -> io::Result<Holders>;

    /// The identity of the running process `pid`; `None` when there is none that can be seen.
    fn identify(&self, pid: u32) -> Option<Owner>;

    /// Whether the process still runs.
    fn liveness(&self, owner: &Owner) -> Liveness;

    /// The ports that the kernel gives to outgoing connections; `None` when it does not say.
    fn ephemeral_range(&self) -> Option<PortRange>;

    /// The lowest port that needs no privilege to be bound.
    fn first_unprivileged(&self) -> Port;
}

/// The machine this process runs on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Host;

impl System for Host {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }

    fn locate(&self, path: &Path) -> io::Result<Place> {
        git::locate(path)
    }

    fn presence(&self, path: &Path) -> Presence {
        match path.metadata() {
            Ok(metadata) if metadata.is_dir() => Presence::Present,
            Ok(_) => Presence::Gone,
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Presence::Gone,
                _ => Presence::Unknown,
            },
        }
    }

    fn probe(&self, port: Port) -> Probe {
        probe::probe(port)
    }

    fn hold(&self, port: Port) -> io::Result<Hold> {
        probe::hold(port)
    }

    fn holders(&self, ports: &PortSet, hints: &[u32]) -> io::Result<Holders> {
        process::holders(ports, hints)
    }

    fn identify(&self, pid: u32) -> Option<Owner> {
        process::identify(pid)
    }

    fn liveness(&self, owner: &Owner) -> Liveness {
        process::liveness(owner)
    }

    fn ephemeral_range(&self) -> Option<PortRange> {
        probe::ephemeral_range()
    }

    fn first_unprivileged(&self) -> Port {
        probe::first_unprivileged()
    }
}

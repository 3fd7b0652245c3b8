//! What was found out about a reservation by looking at the machine, and what that proves.

mod ownership;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use serde::Serialize;

pub use ownership::{Because, Ownership, Verdict};

use crate::place::Place;
use crate::port::Port;
use crate::reservation::Reservation;
use crate::time::Timestamp;

/// A reservation together with the state of the world around it.
#[derive(Debug, Clone)]
pub struct Observed {
    /// What the ledger says.
    pub reservation: Reservation,
    /// Whether its directory is still there.
    pub directory: Presence,
    /// Whether its owner still runs; `None` without an owner.
    pub owner: Option<Liveness>,
    /// Who listens on its port.
    pub listening: Listening,
}

/// Whether a directory is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is a directory.
    Present,
    /// The path leads nowhere, or to something that is not a directory.
    Gone,
    /// It could not be looked at.
    Unknown,
}

/// Whether a process still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// The same process is there: pid, start and boot agree.
    Alive,
    /// Proven to be over: no such pid, another start, or another boot.
    Dead,
    /// It cannot be told from here, as with a process of another pid namespace.
    Unknown,
}

/// Who listens on a reserved port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Listening {
    /// Nobody.
    #[default]
    None,
    /// A process of the reservation's own: its owner, or one that runs in its directory.
    Mine,
    /// A process that is proven to be somebody else's.
    Foreign,
    /// Somebody of whom nothing can be proven.
    Unknown,
}

impl Listening {
    /// The word that stands for it everywhere.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Mine => "mine",
            Self::Foreign => "foreign",
            Self::Unknown => "unknown",
        }
    }
}

/// What a bind of a port found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// It could be bound on every address.
    Free,
    /// Only closed connections remain (`TIME_WAIT`); a server that sets `SO_REUSEADDR` can bind it.
    Lingering,
    /// Somebody holds it on at least one address.
    Held,
    /// A bind could not tell, and why: forbidden here, or no address family at all.
    Inconclusive(String),
}

/// The listening ports of this machine and the processes behind them.
pub type Holders = BTreeMap<Port, Holder>;

/// Who listens on one port.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holder {
    /// The processes that hold a listening socket there, as far as they can be seen.
    pub processes: Vec<Process>,
    /// Whether there is a listening socket whose process cannot be seen: another user's, or one
    /// in another pid namespace.
    pub hidden: bool,
    /// The addresses that it listens on, ascending, each once; an IPv4 address as such where an IPv6
    /// socket has it mapped.
    pub addresses: Vec<IpAddr>,
    /// The users who opened the sockets there, by number, ascending, each once. Empty where the
    /// system does not say.
    pub users: Vec<u32>,
    /// The containers that publish the port, where their daemons were asked. There may be no
    /// socket at all: a packet filter can do it alone.
    pub containers: Vec<Container>,
}

impl Holder {
    /// Where those work who hold it, as far as that can be seen, containers first.
    pub(crate) fn workplaces(&self) -> impl Iterator<Item = &Path> {
        let containers = self.containers.iter().filter_map(|container| container.place.as_ref());
        let processes = self.processes.iter().filter_map(|process| Some(process.workplace()?.1));
        containers.chain(processes).map(|place| place.directory.as_path())
    }
}

/// The containers that publish ports.
pub type Containers = BTreeMap<Port, Vec<Container>>;

/// A running container, as its daemon tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Container {
    /// The first twelve digits of its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The image it was made from.
    pub image: String,
    /// The compose project it belongs to.
    pub project: Option<String>,
    /// The compose service it is one of.
    pub service: Option<String>,
    /// The directory that compose was called for; `None` for other containers, and where there is
    /// no such directory here.
    pub place: Option<Place>,
    /// The directories it mounts, or has files mounted of, as far as they are here; at most 16.
    pub mounts: Vec<Place>,
}

/// A running process, as it appears to this user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// The process id.
    pub pid: u32,
    /// The kernel's start time, as in [`crate::Owner::start`].
    pub start: u64,
    /// When it started by the wall clock.
    pub started_at: Timestamp,
    /// The user whose it is, by number; on Linux who opened its socket. `None` when that cannot be
    /// told.
    pub user: Option<u32>,
    /// The command line, arguments joined by blanks, lossy where it is not UTF-8, at most 4 KiB.
    pub command: String,
    /// Its working directory; `None` when it cannot be read or is deleted.
    pub place: Option<Place>,
    /// Its parents, nearest first, as far as they can be seen, at most 64.
    pub parents: Vec<Parent>,
}

impl Process {
    /// The name of its program, as the command line has it.
    #[must_use]
    pub fn program(&self) -> &str {
        let command = self.command.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        let command = command.unwrap_or(&self.command);
        let first = command.split(' ').next().unwrap_or(command);
        first.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(first)
    }
}

/// What is known of a listener's parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// The process id.
    pub pid: u32,
    /// The kernel's start time, as in [`crate::Owner::start`].
    pub start: u64,
    /// Its working directory; `None` when it cannot be read or is deleted.
    pub place: Option<Place>,
}

//! What was found out about a reservation by looking at the machine, and what that proves.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::place::{CheckoutKind, Place};
use crate::port::Port;
use crate::reservation::{Owner, Reservation, Scope};
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Listening {
    /// Nobody.
    None,
    /// A process of the reservation's own: its owner, or one that runs in its directory.
    Mine,
    /// A process that is proven to be somebody else's.
    Foreign,
    /// Somebody of whom nothing can be proven.
    Unknown,
}

/// What a bind of a port found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// It could be bound on every address.
    Free,
    /// Only closed connections remain (TIME_WAIT); a server that sets `SO_REUSEADDR` can bind it.
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
}

/// A running process, as it appears to this user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// The process id.
    pub pid: u32,
    /// The kernel's start time, as in [`Owner::start`].
    pub start: u64,
    /// When it started by the wall clock.
    pub started_at: Timestamp,
    /// The command line, arguments joined by blanks, lossy where it is not UTF-8, at most 4 KiB.
    pub command: String,
    /// Its working directory; `None` when it cannot be read or is deleted.
    pub place: Option<Place>,
    /// Its parents, nearest first, as far as they can be seen, at most 64.
    pub parents: Vec<Parent>,
}

/// What is known of a listener's parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// The process id.
    pub pid: u32,
    /// The kernel's start time, as in [`Owner::start`].
    pub start: u64,
    /// Its working directory; `None` when it cannot be read or is deleted.
    pub place: Option<Place>,
}

impl Reservation {
    /// Whose listener `holder` is, from this reservation's point of view.
    ///
    /// One process of its own is enough for [`Listening::Mine`]. [`Listening::Foreign`] needs proof:
    /// every process behind the port is seen, and each works in another place. A reservation that
    /// belongs to no directory can never be proven foreign.
    #[must_use]
    pub fn judge(&self, holder: &Holder) -> Listening {
        let verdicts: Vec<_> =
            holder.processes.iter().map(|process| self.judge_process(process)).collect();
        if verdicts.contains(&Listening::Mine) {
            Listening::Mine
        } else if holder.hidden || verdicts.is_empty() || verdicts.contains(&Listening::Unknown) {
            Listening::Unknown
        } else {
            Listening::Foreign
        }
    }

    fn judge_process(&self, process: &Process) -> Listening {
        let owned = std::iter::once((process.pid, process.start))
            .chain(process.parents.iter().map(|parent| (parent.pid, parent.start)))
            .any(|identity| self.owner.as_ref().is_some_and(|owner| owner.is(identity)));
        if owned {
            return Listening::Mine;
        }
        // A daemon that changed its directory to `/` is judged by the nearest parent that did not.
        let place = std::iter::once(process.place.as_ref())
            .chain(process.parents.iter().map(|parent| parent.place.as_ref()))
            .flatten()
            .find(|place| place.directory.parent().is_some());
        match place {
            Some(place) if self.contains(place) => Listening::Mine,
            Some(_) if self.scope == Scope::Directory => Listening::Foreign,
            _ => Listening::Unknown,
        }
    }

    /// Whether a process that works in `place` works in this reservation's directory. A checkout
    /// inside the directory is a place of its own, unless it is a submodule.
    fn contains(&self, place: &Place) -> bool {
        place.directory.starts_with(&self.directory)
            && place.checkout.as_ref().is_none_or(|checkout| {
                self.directory.starts_with(&checkout.root)
                    || checkout.kind == CheckoutKind::Submodule
            })
    }
}

impl Owner {
    fn is(&self, (pid, start): (u32, u64)) -> bool {
        self.pid == pid && self.start == start
    }
}

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
    /// Whose listener `holder` is, from this reservation's point of view. `owner` says whether its
    /// owner lives: a pid and a start alone may be those of another boot.
    ///
    /// One process of its own is enough for [`Listening::Mine`]. [`Listening::Foreign`] needs proof:
    /// every process behind the port is seen, and each works in another place. A reservation that
    /// belongs to no directory can never be proven foreign.
    #[must_use]
    pub fn judge(&self, holder: &Holder, owner: Option<Liveness>) -> Listening {
        let owner = self.owner.as_ref().filter(|_| owner != Some(Liveness::Dead));
        let verdicts: Vec<_> =
            holder.processes.iter().map(|process| self.judge_process(process, owner)).collect();
        if verdicts.contains(&Listening::Mine) {
            Listening::Mine
        } else if holder.hidden || verdicts.is_empty() || verdicts.contains(&Listening::Unknown) {
            Listening::Unknown
        } else {
            Listening::Foreign
        }
    }

    fn judge_process(&self, process: &Process, owner: Option<&Owner>) -> Listening {
        let is_own = std::iter::once((process.pid, process.start))
            .chain(process.parents.iter().map(|parent| (parent.pid, parent.start)))
            .any(|identity| owner.is_some_and(|owner| owner.is(identity)));
        if is_own {
            return Listening::Mine;
        }
        match process.workplace() {
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

impl Process {
    /// Where it works: a daemon that changed its directory to `/` is judged by the nearest parent
    /// that did not. `None` when that cannot be seen.
    #[must_use]
    pub fn workplace(&self) -> Option<&Place> {
        std::iter::once(self.place.as_ref())
            .chain(self.parents.iter().map(|parent| parent.place.as_ref()))
            .flatten()
            .find(|place| place.directory.parent().is_some())
    }
}

impl Owner {
    fn is(&self, (pid, start): (u32, u64)) -> bool {
        self.pid == pid && self.start == start
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::Checkout;

    const SHOP: &str = "/work/shop";

    fn reservation(directory: &str) -> Reservation {
        Reservation { directory: directory.into(), ..Reservation::sample() }
    }

    fn owned(pid: u32, start: u64) -> Reservation {
        let (boot, started_at) = ("boot".to_owned(), Timestamp::default());
        let owner = Some(Owner { pid, start, boot, namespace: 0, started_at });
        Reservation { owner, ..reservation(SHOP) }
    }

    fn place(directory: &str, checkout: Option<(&str, CheckoutKind)>) -> Place {
        let checkout = checkout.map(|(root, kind)| Checkout {
            root: root.into(),
            kind,
            repository: None,
            name: None,
            branch: None,
        });
        Place { directory: directory.into(), checkout }
    }

    fn process(place: Option<Place>) -> Process {
        let (started_at, command) = (Timestamp::default(), String::new());
        Process { pid: 70, start: 7, started_at, command, place, parents: Vec::new() }
    }

    fn works_in(directory: &str) -> Process {
        process(Some(place(directory, None)))
    }

    fn judge(reservation: &Reservation, processes: &[Process], hidden: bool) -> Listening {
        let alive = reservation.owner.as_ref().map(|_| Liveness::Alive);
        reservation.judge(&Holder { processes: processes.to_vec(), hidden }, alive)
    }

    #[test]
    fn a_server_of_the_directory_is_its_own() {
        let shop = reservation(SHOP);
        for (directory, expected) in [
            (SHOP, Listening::Mine),
            ("/work/shop/web/src", Listening::Mine),
            ("/work/shop-fix", Listening::Foreign),
            ("/work", Listening::Foreign),
        ] {
            assert_eq!(judge(&shop, &[works_in(directory)], false), expected, "{directory}");
        }
    }

    #[test]
    fn a_checkout_in_the_directory_is_a_place_of_its_own_unless_it_is_a_submodule() {
        let nested = "/work/shop/nested";
        for (root, kind, expected) in [
            (SHOP, CheckoutKind::Main, Listening::Mine),
            ("/work", CheckoutKind::Main, Listening::Mine),
            (nested, CheckoutKind::Main, Listening::Foreign),
            (nested, CheckoutKind::Linked, Listening::Foreign),
            (nested, CheckoutKind::Bare, Listening::Foreign),
            (nested, CheckoutKind::Submodule, Listening::Mine),
        ] {
            let server = process(Some(place(nested, Some((root, kind)))));
            assert_eq!(judge(&reservation(SHOP), &[server], false), expected, "{root} {kind:?}");
        }
    }

    #[test]
    fn the_owner_and_its_descendants_are_its_own_wherever_they_work() {
        let mut server = works_in("/elsewhere");
        assert_eq!(judge(&owned(70, 7), &[server.clone()], false), Listening::Mine);
        // The same pid, later.
        assert_eq!(judge(&owned(70, 6), &[server.clone()], false), Listening::Foreign);
        server.parents = vec![
            Parent { pid: 60, start: 6, place: None },
            Parent { pid: 50, start: 5, place: None },
        ];
        assert_eq!(judge(&owned(50, 5), &[server.clone()], false), Listening::Mine);
        assert_eq!(judge(&owned(50, 6), &[server.clone()], false), Listening::Foreign);
        // The same pid and start, but of another boot.
        let holder = Holder { processes: vec![server], hidden: false };
        let dead = Some(Liveness::Dead);
        assert_eq!(owned(50, 5).judge(&holder, dead), Listening::Foreign);
        assert_eq!(owned(50, 5).judge(&holder, Some(Liveness::Unknown)), Listening::Mine);
    }

    #[test]
    fn a_daemon_is_judged_by_the_nearest_parent_that_works_somewhere() {
        let parent = |directory: Option<&str>| Parent {
            pid: 1,
            start: 1,
            place: directory.map(|directory| place(directory, None)),
        };
        let shop = reservation(SHOP);
        for own in [Some(place("/", None)), None] {
            let mut daemon = process(own);
            assert_eq!(judge(&shop, &[daemon.clone()], false), Listening::Unknown);
            daemon.parents =
                vec![parent(None), parent(Some("/")), parent(Some(SHOP)), parent(Some("/x"))];
            assert_eq!(judge(&shop, &[daemon.clone()], false), Listening::Mine);
            daemon.parents.remove(2);
            assert_eq!(judge(&shop, &[daemon], false), Listening::Foreign);
        }
    }

    #[test]
    fn foreign_needs_proof_for_every_process() {
        let shop = reservation(SHOP);
        let (own, other, unseen) = (works_in(SHOP), works_in("/other"), process(None));
        for (processes, hidden, expected) in [
            (vec![other.clone(), own.clone()], false, Listening::Mine),
            (vec![own], true, Listening::Mine),
            (vec![other.clone(), other.clone()], false, Listening::Foreign),
            (vec![other.clone()], true, Listening::Unknown),
            (vec![other, unseen], false, Listening::Unknown),
            (vec![], true, Listening::Unknown),
            (vec![], false, Listening::Unknown),
        ] {
            assert_eq!(judge(&shop, &processes, hidden), expected, "{processes:?} {hidden}");
        }
    }

    #[test]
    fn what_belongs_to_no_directory_is_never_proven_foreign() {
        for scope in [Scope::Project, Scope::Service] {
            let shared = Reservation { scope, ..reservation(SHOP) };
            assert_eq!(judge(&shared, &[works_in("/other")], false), Listening::Unknown);
            assert_eq!(judge(&shared, &[works_in(SHOP)], false), Listening::Mine);
        }
    }
}

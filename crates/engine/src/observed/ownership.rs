//! Whose listener it is, and what proves it.

use std::fmt;
use std::path::PathBuf;

use super::{Container, Holder, Listening, Liveness, Process};
use crate::place::{CheckoutKind, Place};
use crate::reservation::{Owner, Reservation, Scope};

/// What is proven of those who listen on a reserved port.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ownership {
    /// What follows from the verdicts for the port.
    pub listening: Listening,
    /// Of each process, in the order of [`Holder::processes`].
    pub processes: Vec<Verdict>,
    /// Of each container, in the order of [`Holder::containers`].
    pub containers: Vec<Verdict>,
}

impl Ownership {
    /// What follows for a port that is held by `holder`.
    ///
    /// One of its own is enough for [`Listening::Mine`]. [`Listening::Foreign`] needs proof: every
    /// process behind the port is seen, and each works in another place. A container stands for
    /// whatever holds its port here: that is a proxy, which works nowhere, or nothing at all.
    pub(crate) fn new(holder: &Holder, processes: Vec<Verdict>, containers: Vec<Verdict>) -> Self {
        let is = |verdicts: &[Verdict], listening| {
            verdicts.iter().any(|verdict| verdict.listening == listening)
        };
        let unseen = || holder.hidden || processes.is_empty();
        let deciding = if containers.is_empty() { &processes } else { &containers };
        let listening = if is(&processes, Listening::Mine) || is(&containers, Listening::Mine) {
            Listening::Mine
        } else if is(deciding, Listening::Unknown) || (containers.is_empty() && unseen()) {
            Listening::Unknown
        } else {
            Listening::Foreign
        };
        Self { listening, processes, containers }
    }
}

/// What is proven of one process or container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whose it is.
    pub listening: Listening,
    /// Why.
    pub because: Because,
    /// The parent that decided it, by its pid; `None` where the process itself did.
    pub parent: Option<u32>,
    /// Where that one works; of a container the directory that tells whose it is.
    pub directory: Option<PathBuf>,
}

/// What a verdict follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// It is the owner of the reservation.
    Owner,
    /// It runs in the reservation's directory.
    Within,
    /// It mounts the reservation's directory, or one in it.
    Mounts,
    /// It works where the key policy derives the same key.
    SameKey,
    /// It works somewhere else.
    Elsewhere,
    /// It works somewhere else, but the reservation belongs to no directory.
    Shared,
    /// It works somewhere else, and what key that place has cannot be told.
    Unproven,
    /// Where it works cannot be seen.
    Unseen,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parent {
            Some(parent) => write!(f, "its parent {parent}")?,
            None => f.write_str("it")?,
        }
        let place = self.directory.as_ref().map_or_else(String::new, |directory| {
            let verb = if self.because == Because::Mounts { "mounts" } else { "works in" };
            format!(" {verb} {}", directory.display())
        });
        match self.because {
            Because::Owner => f.write_str(" is the owner"),
            Because::Within => f.write_str(" runs in its directory"),
            Because::Mounts | Because::Elsewhere => f.write_str(&place),
            Because::SameKey => write!(f, "{place}, which has the same key"),
            Because::Shared => write!(f, "{place}, and the reservation belongs to no directory"),
            Because::Unproven => write!(f, "{place}, and what key that has cannot be told"),
            Because::Unseen => f.write_str(" works where it cannot be seen"),
        }
    }
}

impl Reservation {
    /// Whose listener `holder` is, from this reservation's point of view. `owner` says whether its
    /// owner lives: a pid and a start alone may be those of another boot. What belongs to no
    /// directory can never be proven foreign.
    #[must_use]
    pub fn judge(&self, holder: &Holder, owner: Option<Liveness>) -> Ownership {
        let owner = self.owner.as_ref().filter(|_| owner != Some(Liveness::Dead));
        let processes = holder.processes.iter().map(|process| self.judge_process(process, owner));
        let containers = holder.containers.iter().map(|container| self.judge_container(container));
        Ownership::new(holder, processes.collect(), containers.collect())
    }

    fn judge_process(&self, process: &Process, owner: Option<&Owner>) -> Verdict {
        let own = std::iter::once((None, (process.pid, process.start)))
            .chain(
                process.parents.iter().map(|parent| (Some(parent.pid), (parent.pid, parent.start))),
            )
            .find(|(_, identity)| owner.is_some_and(|owner| owner.is(*identity)));
        if let Some((parent, _)) = own {
            let (listening, because) = (Listening::Mine, Because::Owner);
            return Verdict { listening, because, parent, directory: None };
        }
        let workplace = process.workplace();
        let (parent, place) =
            workplace.map_or((None, None), |(parent, place)| (parent, Some(place)));
        self.judge_place(parent, place)
    }

    /// A container is where compose was called for; of another one, what it mounts tells.
    fn judge_container(&self, container: &Container) -> Verdict {
        let mounted = container.mounts.iter().find(|place| self.contains(place));
        match (&container.place, mounted) {
            (None, Some(place)) => Verdict {
                listening: Listening::Mine,
                because: Because::Mounts,
                parent: None,
                directory: Some(place.directory.clone()),
            },
            (place, _) => self.judge_place(None, place.as_ref()),
        }
    }

    fn judge_place(&self, parent: Option<u32>, place: Option<&Place>) -> Verdict {
        let (listening, because) = match place {
            None => (Listening::Unknown, Because::Unseen),
            Some(place) if self.contains(place) => (Listening::Mine, Because::Within),
            Some(_) if self.scope == Scope::Directory => (Listening::Foreign, Because::Elsewhere),
            Some(_) => (Listening::Unknown, Because::Shared),
        };
        Verdict {
            listening,
            because,
            parent,
            directory: place.map(|place| place.directory.clone()),
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
    /// that did not, whose pid is told as well. `None` when that cannot be seen.
    #[must_use]
    pub fn workplace(&self) -> Option<(Option<u32>, &Place)> {
        std::iter::once((None, self.place.as_ref()))
            .chain(self.parents.iter().map(|parent| (Some(parent.pid), parent.place.as_ref())))
            .filter_map(|(parent, place)| Some((parent, place?)))
            .find(|(_, place)| place.directory.parent().is_some())
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
    use crate::observed::Parent;
    use crate::place::Checkout;
    use crate::time::Timestamp;

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
        let (user, parents) = (None, Vec::new());
        Process { pid: 70, start: 7, started_at, user, command, place, parents }
    }

    fn works_in(directory: &str) -> Process {
        process(Some(place(directory, None)))
    }

    fn judge(reservation: &Reservation, processes: &[Process], hidden: bool) -> Listening {
        let alive = reservation.owner.as_ref().map(|_| Liveness::Alive);
        let processes = processes.to_vec();
        reservation.judge(&Holder { processes, hidden, ..Holder::default() }, alive).listening
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
        let holder = Holder { processes: vec![server], ..Holder::default() };
        let judge = |owner| owned(50, 5).judge(&holder, Some(owner)).listening;
        assert_eq!(judge(Liveness::Dead), Listening::Foreign);
        assert_eq!(judge(Liveness::Unknown), Listening::Mine);
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

    #[test]
    fn a_verdict_says_what_it_follows_from() {
        let why = |reservation: &Reservation, process: &Process| {
            let holder = Holder { processes: vec![process.clone()], ..Holder::default() };
            let alive = reservation.owner.as_ref().map(|_| Liveness::Alive);
            reservation.judge(&holder, alive).processes[0].to_string()
        };
        let shop = reservation(SHOP);
        assert_eq!(why(&shop, &works_in("/work/shop/web")), "it runs in its directory");
        assert_eq!(why(&shop, &works_in("/other")), "it works in /other");
        assert_eq!(why(&owned(70, 7), &works_in("/other")), "it is the owner");
        assert_eq!(why(&shop, &process(None)), "it works where it cannot be seen");
        let shared = Reservation { scope: Scope::Service, ..reservation(SHOP) };
        let text = "it works in /other, and the reservation belongs to no directory";
        assert_eq!(why(&shared, &works_in("/other")), text);
        let mut daemon = works_in("/");
        let parent = |pid, directory| Parent { pid, start: 5, place: Some(place(directory, None)) };
        daemon.parents = vec![parent(60, "/"), parent(50, SHOP)];
        assert_eq!(why(&shop, &daemon), "its parent 50 runs in its directory");
        assert_eq!(why(&owned(60, 5), &daemon), "its parent 60 is the owner");
        daemon.parents[1] = parent(50, "/other");
        assert_eq!(why(&shop, &daemon), "its parent 50 works in /other");
    }

    #[test]
    fn a_container_is_where_compose_was_called_for_else_what_it_mounts() {
        let directory = |path: &str| Some(place(path, None));
        let container = |compose: Option<&str>, mounts: &[&str]| Container {
            place: compose.and_then(directory),
            mounts: mounts.iter().filter_map(|path| directory(path)).collect(),
            ..Container::default()
        };
        let shop = reservation(SHOP);
        let judge = |reservation: &Reservation, container: Container, proxy: &[Process], hidden| {
            let (processes, containers) = (proxy.to_vec(), vec![container]);
            let holder = Holder { processes, hidden, containers, ..Holder::default() };
            let judged = reservation.judge(&holder, None);
            (judged.listening, judged.containers[0].to_string())
        };
        for (compose, mounts, listening, why) in [
            (Some("/work/shop/deploy"), &[][..], Listening::Mine, "it runs in its directory"),
            (Some("/other"), &[SHOP], Listening::Foreign, "it works in /other"),
            (None, &["/data", SHOP], Listening::Mine, "it mounts /work/shop"),
            (None, &["/data"], Listening::Unknown, "it works where it cannot be seen"),
        ] {
            let expected = (listening, why.to_owned());
            // Without a socket, behind a proxy of another user, behind one that works nowhere, and
            // behind one that was started anywhere.
            for (proxy, hidden) in [
                (vec![], false),
                (vec![], true),
                (vec![works_in("/")], false),
                (vec![works_in("/x")], false),
            ] {
                let judged = judge(&shop, container(compose, mounts), &proxy, hidden);
                assert_eq!(judged, expected, "{proxy:?} {hidden}");
            }
        }
        let own = [works_in(SHOP)];
        assert_eq!(judge(&shop, container(Some("/other"), &[]), &own, false).0, Listening::Mine);
        let shared = Reservation { scope: Scope::Project, ..reservation(SHOP) };
        assert_eq!(
            judge(&shared, container(Some("/other"), &[]), &[], false).0,
            Listening::Unknown
        );
        assert_eq!(judge(&shared, container(Some(SHOP), &[]), &[], false).0, Listening::Mine);
    }
}

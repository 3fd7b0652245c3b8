//! What is asked for on a walk.

use std::time::Duration;

use hythe_engine::{
    CleanupRequest, Lease, Port, ReleaseRequest, ReserveRequest, Scope, Service, Target,
};

use super::configuration::CONFIGURED;
use super::walk::Walk;

/// An operation that may be tried dry first.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    Reserve(ReserveRequest),
    Release(ReleaseRequest),
    Cleanup(CleanupRequest),
    Lock(Service, Option<Scope>, bool),
}

/// The services of every place; one of them may be configured.
const SERVICES: [&str; 4] = ["main", "web", CONFIGURED, "@shop/admin"];
pub(crate) const SCOPES: [Scope; 3] = [Scope::Directory, Scope::Project, Scope::Service];
pub(crate) const CONFLICTS: [&str; 3] = ["keep", "move", "fail"];
/// Small, so that they are exhausted; the last ones lie across what may not be given.
pub(crate) const RANGES: [(u16, u16); 6] =
    [(20000, 20023), (20000, 20007), (20010, 20049), (6660, 6699), (1016, 1035), (32750, 32780)];
/// In seconds.
pub(crate) const DAY: u64 = 24 * 60 * 60;

fn port(number: u16) -> Port {
    Port::new(number).unwrap()
}

impl Walk {
    pub(crate) fn service(&mut self) -> Service {
        self.random.pick(&SERVICES).parse().unwrap()
    }

    pub(crate) fn reserve_request(&mut self) -> ReserveRequest {
        let count = if self.random.chance(75) { 1 } else { 1 + self.random.below(3) };
        let pids: Vec<_> = self.machine.processes.keys().map(|(_, pid)| *pid).collect();
        let prefer = if self.random.chance(20) { 1 + self.random.below(2) } else { 0 };
        ReserveRequest {
            services: (0..count).map(|_| self.service()).collect(),
            beside: Vec::new(),
            scope: self.random.maybe(25, &SCOPES),
            prefer: (0..prefer).map(|_| self.port()).collect(),
            task: self.random.maybe(5, &["fix-1", "fix-2"]).map(|task| task.parse().unwrap()),
            agent: self.random.maybe(5, &["ada", "bob"]).map(|agent| agent.parse().unwrap()),
            lease: self.random.maybe(35, &[Lease::Persistent, Lease::Ephemeral, Lease::Ephemeral]),
            pid: if self.random.chance(3) { Some(99) } else { self.random.maybe(15, &pids) },
            parent: self.random.maybe(95, &pids).unwrap_or(98),
            server: None,
            ttl: self.random.maybe(10, &[0, 45, 7200]).map(Duration::from_secs),
            lock: self.random.chance(6),
            reallocate: self.random.chance(8),
            dry_run: false,
            explain: self.random.chance(20),
            keep_shared: false,
        }
    }

    /// A port that might matter.
    pub(crate) fn port(&mut self) -> Port {
        let held: Vec<_> = self.reference.held.values().map(|held| held.port).collect();
        let (first, last) = self.configuration.range;
        match self.random.below(10) {
            0..2 => port(self.random.pick(&[80, 3000, 3001, 6000, 6666, 32768, 40000, 65535])),
            2..5 => self.random.maybe(100, &held).unwrap_or(port(first)),
            _ => port(first + u16::try_from(self.random.below(usize::from(last - first))).unwrap()),
        }
    }

    pub(crate) fn release_request(&mut self) -> ReleaseRequest {
        let target = match self.random.below(20) {
            0..10 => {
                let count = 1 + self.random.below(2);
                let services = (0..count).map(|_| self.service()).collect();
                Target::Services(services, self.random.maybe(25, &SCOPES))
            }
            10..16 => {
                let count = 1 + self.random.below(2);
                Target::Ports((0..count).map(|_| self.port()).collect())
            }
            16..18 => Target::Here,
            18 => Target::Below,
            _ => Target::Project(self.random.pick(&["shop", "blog"]).parse().unwrap()),
        };
        let force = self.random.chance(50);
        ReleaseRequest { target, elsewhere: false, force, dry_run: false }
    }

    pub(crate) fn cleanup_request(&mut self) -> CleanupRequest {
        let policies = self.random.maybe(40, &["ttl", "pid-reap", "path-sticky", "nobody"]);
        CleanupRequest {
            policies: policies.into_iter().map(str::to_owned).collect(),
            older_than: self.random.maybe(30, &[0, 100, DAY]).map(Duration::from_secs),
            dry_run: false,
        }
    }
}

//! The machine of a simulation: who holds which port.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;

use super::book::{KeyId, Tenure};
use super::worktrees::Worktree;
use crate::observed::{Holder, Listening, Liveness, Process};
use crate::place::Place;
use crate::port::{Port, PortRange, PortSet};

/// How long a stranger holds a port on average.
const STAY: Duration = Duration::from_hours(24);

/// The most strangers that move before one request.
const MOST_MOVES: f64 = 64.0;

/// The processes that hold ports.
pub(super) struct Machine {
    range: PortRange,
    /// The ports of processes that Hythe knows nothing of.
    strangers: Vec<Port>,
    held: PortSet,
    /// What any of them looks like.
    stranger: Holder,
    /// How many strangers are due to move.
    due: f64,
    /// The servers that run, by port.
    servers: BTreeMap<Port, Server>,
    /// The port that the server of a worktree's service runs on.
    serving: BTreeMap<(usize, usize), Port>,
}

/// A server of a worktree.
struct Server {
    holder: Holder,
    /// The key whose port it runs on.
    key: KeyId,
    /// The worktree, by its slot, and the service.
    of: (usize, usize),
}

impl Machine {
    /// A machine on which strangers hold each port of `range` with the probability `share`.
    pub(super) fn new(range: PortRange, share: f64, rng: &mut Rng) -> Self {
        let strangers: Vec<_> = range.ports().filter(|_| rng.f64() < share).collect();
        let place = Place { directory: "/strangers".into(), checkout: None };
        Self {
            range,
            held: strangers.iter().copied().collect(),
            strangers,
            stranger: Holder { processes: vec![process(0, place)], ..Holder::default() },
            due: 0.0,
            servers: BTreeMap::new(),
            serving: BTreeMap::new(),
        }
    }

    /// Lets strangers come and go for as long as `time`. As many hold a port as before.
    pub(super) fn pass(&mut self, time: Duration, rng: &mut Rng) {
        let strangers = u32::try_from(self.strangers.len()).unwrap_or(u32::MAX);
        self.due += f64::from(strangers) * time.as_secs_f64() / STAY.as_secs_f64();
        self.due = self.due.min(MOST_MOVES);
        while self.due >= 1.0 {
            self.due -= 1.0;
            let leaving = rng.usize(..self.strangers.len());
            let number = rng.u16(self.range.first().get()..=self.range.last().get());
            let Some(port) = Port::new(number) else { continue };
            if self.is_free(port) {
                self.held.remove(self.strangers[leaving]);
                self.held.insert(port);
                self.strangers[leaving] = port;
            }
        }
    }

    /// Whether `port` can be bound.
    pub(super) fn is_free(&self, port: Port) -> bool {
        !self.held.contains(port) && !self.servers.contains_key(&port)
    }

    /// The ports that strangers hold.
    pub(super) fn strangers(&self) -> &PortSet {
        &self.held
    }

    /// Who listens on the port of a reservation, whose owner lives or not. A server that was started
    /// for its key is its own, wherever it works.
    pub(super) fn listening(&self, tenure: &Tenure, owner: Option<Liveness>) -> Listening {
        let reservation = &tenure.observed.reservation;
        if self.held.contains(reservation.port) {
            return reservation.judge(&self.stranger, owner).listening;
        }
        match self.servers.get(&reservation.port) {
            None => Listening::None,
            Some(server) => match reservation.judge(&server.holder, owner).listening {
                Listening::Foreign if server.key == tenure.key => Listening::Mine,
                judged => judged,
            },
        }
    }

    /// Starts the server of a worktree's service on the port of its key, unless somebody holds it.
    /// It runs on no other.
    pub(super) fn start(&mut self, worktree: &Worktree, service: usize, key: KeyId, port: Port) {
        let server = (worktree.slot, service);
        if self.serving.get(&server) == Some(&port) {
            return;
        }
        self.stop(worktree.slot, service);
        if self.is_free(port) {
            let process = process(worktree.owner.pid, worktree.place.clone());
            let holder = Holder { processes: vec![process], ..Holder::default() };
            self.servers.insert(port, Server { holder, key, of: server });
            self.serving.insert(server, port);
        }
    }

    /// Stops the server of a worktree's service.
    pub(super) fn stop(&mut self, slot: usize, service: usize) {
        if let Some(port) = self.serving.remove(&(slot, service)) {
            self.servers.remove(&port);
        }
    }

    /// Stops the server that runs on a port.
    pub(super) fn stop_at(&mut self, port: Port) {
        if let Some(server) = self.servers.remove(&port) {
            self.serving.remove(&server.of);
        }
    }

    /// Stops every server of a worktree that is deleted.
    pub(super) fn stop_all(&mut self, slot: usize) {
        let serving: Vec<_> = self.serving.range((slot, 0)..(slot + 1, 0)).collect();
        let services: Vec<_> = serving.into_iter().map(|((_, service), _)| *service).collect();
        for service in services {
            self.stop(slot, service);
        }
    }
}

fn process(pid: u32, place: Place) -> Process {
    Process {
        pid,
        start: 0,
        started_at: crate::time::Timestamp::default(),
        user: None,
        command: String::new(),
        place: Some(place),
        parents: Vec::new(),
    }
}

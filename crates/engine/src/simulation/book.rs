//! The ledger of a simulation: who has which port, who gave which back, and when.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use crate::observed::Observed;
use crate::placement::Filter;
use crate::port::Port;
use crate::reservation::Reservation;
use crate::time::Timestamp;

/// Reservations, released ports and the keys they belong to. It keeps what the real ledger keeps,
/// and the filter that follows from it.
pub(super) struct Book {
    /// What may be given now.
    filter: Filter,
    freeze: Duration,
    /// The ports of `filter.reserved`, ascending.
    reserved: Vec<Port>,
    tenures: BTreeMap<Port, Tenure>,
    /// When each reservation was made: the last is the latest.
    created: BTreeSet<(Timestamp, Port)>,
    /// The ports that were given back and not given again: by which key, and when.
    released: BTreeMap<Port, (KeyId, Timestamp)>,
    /// When ports were given back, oldest first.
    thawing: VecDeque<(Timestamp, Port)>,
    ids: HashMap<String, KeyId>,
    keys: Vec<History>,
}

/// The number of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyId(usize);

/// A reservation, and what the simulation has to know to observe it.
pub(super) struct Tenure {
    pub(super) observed: Observed,
    pub(super) key: KeyId,
    /// The number of its directory.
    pub(super) directory: usize,
}

/// What became of a key.
#[derive(Default)]
pub(super) struct History {
    /// The port it has.
    pub(super) port: Option<Port>,
    /// The port it has, or had last.
    pub(super) latest: Option<Port>,
    /// The port it would get on an empty machine.
    pub(super) home: Option<Port>,
    /// The ports it gave back and nobody has taken since, the latest first.
    returning: Vec<Port>,
    /// The first directory it was used from.
    directory: Option<usize>,
    /// Whether it was used from others as well.
    pub(super) shared: bool,
}

impl Book {
    /// An empty ledger on a machine of which `filter` says what may be given.
    pub(super) fn new(filter: Filter, freeze: Duration) -> Self {
        Self {
            freeze,
            reserved: filter.reserved.iter().collect(),
            filter,
            tenures: BTreeMap::new(),
            created: BTreeSet::new(),
            released: BTreeMap::new(),
            thawing: VecDeque::new(),
            ids: HashMap::new(),
            keys: Vec::new(),
        }
    }

    /// What may be given now.
    pub(super) fn filter(&self) -> &Filter {
        &self.filter
    }

    /// The reserved ports, ascending.
    pub(super) fn reserved(&self) -> &[Port] {
        &self.reserved
    }

    /// The port of the reservation that was made last.
    pub(super) fn latest(&self) -> Option<Port> {
        self.created.last().map(|(_, port)| *port)
    }

    /// The number of the key `text`, from now on.
    pub(super) fn id(&mut self, text: String) -> KeyId {
        *self.ids.entry(text).or_insert_with(|| {
            self.keys.push(History::default());
            KeyId(self.keys.len() - 1)
        })
    }

    pub(super) fn key(&self, id: KeyId) -> &History {
        &self.keys[id.0]
    }

    /// The keys that ever had a port.
    pub(super) fn keys(&self) -> impl Iterator<Item = &History> {
        self.keys.iter().filter(|key| key.latest.is_some())
    }

    /// The reservations, by port.
    pub(super) fn tenures(&self) -> &BTreeMap<Port, Tenure> {
        &self.tenures
    }

    /// The reservations, to be looked at.
    pub(super) fn tenures_mut(&mut self) -> impl Iterator<Item = &mut Tenure> {
        self.tenures.values_mut()
    }

    /// The ports that a key gave back and nobody has taken since, the latest first.
    pub(super) fn returning(&self, id: KeyId) -> Vec<Port> {
        self.keys[id.0].returning.clone()
    }

    /// The port that `id` would get on an empty machine.
    pub(super) fn set_home(&mut self, id: KeyId, home: Option<Port>) {
        self.keys[id.0].home = home;
    }

    /// Notes that a key is used from a directory.
    pub(super) fn used(&mut self, id: KeyId, directory: usize) {
        let key = &mut self.keys[id.0];
        key.shared |= *key.directory.get_or_insert(directory) != directory;
    }

    /// Thaws the ports that were given back long enough ago.
    pub(super) fn thaw(&mut self, now: Timestamp) {
        while let Some((at, port)) = self.thawing.front().copied()
            && now.since(at) >= self.freeze
        {
            self.thawing.pop_front();
            // It may have been given, and given back again, since.
            if self.released.get(&port).is_some_and(|(_, latest)| *latest == at) {
                self.filter.frozen.remove(port);
            }
        }
    }

    /// Runs `search` on a filter from which the ports `without` are missing: the frozen ones that
    /// are the key's own, the reserved ones that are about to be released.
    pub(super) fn without<R>(&mut self, without: &[Port], search: impl FnOnce(&Self) -> R) -> R {
        let frozen: Vec<_> =
            without.iter().copied().filter(|port| self.filter.frozen.remove(*port)).collect();
        let reserved: Vec<_> =
            without.iter().copied().filter(|port| self.set_reserved(*port, false)).collect();
        let found = search(self);
        self.filter.frozen.extend(frozen);
        for port in reserved {
            self.set_reserved(port, true);
        }
        found
    }

    /// Gives a port to a key that has none.
    pub(super) fn give(&mut self, tenure: Tenure) {
        let (port, created_at) =
            (tenure.observed.reservation.port, tenure.observed.reservation.created_at);
        if let Some((other, _)) = self.released.remove(&port) {
            self.keys[other.0].returning.retain(|returning| *returning != port);
        }
        self.filter.frozen.remove(port);
        self.set_reserved(port, true);
        self.created.insert((created_at, port));
        let key = &mut self.keys[tenure.key.0];
        (key.port, key.latest) = (Some(port), Some(port));
        self.tenures.insert(port, tenure);
    }

    /// Takes a port from its key.
    pub(super) fn take(&mut self, port: Port, now: Timestamp) -> Option<Tenure> {
        let tenure = self.tenures.remove(&port)?;
        self.set_reserved(port, false);
        self.created.remove(&(tenure.observed.reservation.created_at, port));
        self.released.insert(port, (tenure.key, now));
        if !self.freeze.is_zero() {
            self.filter.frozen.insert(port);
            self.thawing.push_back((now, port));
        }
        let key = &mut self.keys[tenure.key.0];
        key.port = None;
        key.returning.insert(0, port);
        Some(tenure)
    }

    /// Replaces what is said of a reservation; its port and its key stay.
    pub(super) fn update(&mut self, reservation: Reservation) {
        if let Some(tenure) = self.tenures.get_mut(&reservation.port) {
            tenure.observed.reservation = reservation;
        }
    }

    /// Notes whether `port` is reserved; whether that is new.
    fn set_reserved(&mut self, port: Port, reserved: bool) -> bool {
        match (self.reserved.binary_search(&port), reserved) {
            (Ok(at), false) => drop(self.reserved.remove(at)),
            (Err(at), true) => self.reserved.insert(at, port),
            (Ok(_), true) | (Err(_), false) => return false,
        }
        match reserved {
            true => self.filter.reserved.insert(port),
            false => self.filter.reserved.remove(port),
        }
    }
}

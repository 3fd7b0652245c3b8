//! `map`: what every port of the range is, at a glance.

use super::observe::Directories;
use super::{Engine, Error, Listed};
use crate::ledger::Occupancy;
use crate::observed::{Holders, Listening};
use crate::port::{Port, PortRange, PortSet};

/// What a port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortState {
    /// Nothing of what follows: it can be given.
    Free,
    /// It is reserved, and nobody listens.
    Reserved,
    /// It is reserved, and its own server listens, or somebody of whom nothing can be proven.
    Listening,
    /// Somebody listens who has not reserved it.
    Foreign,
    /// Its key gave it back a moment ago, and no other key gets it yet.
    Frozen,
    /// It is never given: the configuration excludes it, or it is privileged, blocked by browsers or
    /// the kernel's.
    Excluded,
}

impl PortState {
    /// The word that stands for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Reserved => "reserved",
            Self::Listening => "listening",
            Self::Foreign => "foreign",
            Self::Frozen => "frozen",
            Self::Excluded => "excluded",
        }
    }
}

/// The ports of a range.
#[derive(Debug, Clone)]
pub struct PortMap {
    /// The range.
    pub range: PortRange,
    /// What each port is, from the first to the last.
    pub states: Vec<PortState>,
    /// Why it cannot be told who listens, if it cannot.
    pub unseen: Option<String>,
}

impl PortMap {
    /// Neighbouring ports of the same state, in order.
    #[must_use]
    pub fn runs(&self) -> Vec<(PortRange, PortState)> {
        let mut runs: Vec<(PortRange, PortState)> = Vec::new();
        for (port, state) in self.range.ports().zip(&self.states) {
            match runs.last_mut() {
                Some((range, last)) if last == state => {
                    *range = PortRange::new(range.first(), port).unwrap_or(*range);
                }
                _ => runs.push((port.into(), *state)),
            }
        }
        runs
    }
}

impl Engine<'_> {
    /// What each port of `range` is now, or of the range in force. Reads only, and binds nothing: who
    /// listens is told by the socket tables, and by the daemons of containers.
    pub fn map(&self, range: Option<PortRange>) -> Result<PortMap, Error> {
        let range = range.unwrap_or(self.settings().ports.range.value);
        let ledger = self.ledger()?;
        let freeze = self.settings().ports.freeze.value;
        let now = self.system.now();
        let occupancy = ledger
            .as_ref()
            .map_or(Ok(Occupancy::default()), |ledger| ledger.occupancy(now, freeze))?;
        let mut reservations = ledger.map_or(Ok(Vec::new()), |ledger| ledger.reservations())?;
        reservations.retain(|reservation| range.contains(reservation.port));

        let frozen: PortSet = occupancy.frozen.into_iter().collect();
        let never = self.filter(PortSet::new(), PortSet::new());
        let ports: PortSet = range.ports().collect();
        let (holders, unseen) = match self.system.holders(&ports, &[]) {
            Ok(holders) => (holders, None),
            Err(error) => (Holders::new(), Some(error.to_string())),
        };
        let containers = self.containers(&ports);
        let state = |port: Port| {
            if holders.contains_key(&port) || containers.contains_key(&port) {
                PortState::Foreign
            } else if never.refusal(port).is_some() {
                PortState::Excluded
            } else if frozen.contains(port) {
                PortState::Frozen
            } else {
                PortState::Free
            }
        };
        let mut states: Vec<_> = range.ports().map(state).collect();
        for Listed { observed, .. } in self.look(reservations, Directories::Unseen, containers) {
            let place = usize::from(observed.reservation.port.get() - range.first().get());
            if let Some(state) = states.get_mut(place) {
                *state = match observed.listening {
                    Listening::None => PortState::Reserved,
                    Listening::Mine | Listening::Unknown => PortState::Listening,
                    Listening::Foreign => PortState::Foreign,
                };
            }
        }
        Ok(PortMap { range, states, unseen })
    }
}

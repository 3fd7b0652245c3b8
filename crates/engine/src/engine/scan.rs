//! `scan`: who listens, whether or not the port is reserved.

use std::collections::HashMap;

use super::{Engine, Error};
use crate::ledger::Ledger;
use crate::observed::{Holder, Holders, Listening, Observed, Ownership, Presence};
use crate::port::{Port, PortRange, PortSet};
use crate::reservation::Reservation;

/// Which listeners are looked for.
#[derive(Debug, Clone, Default)]
pub struct ScanRequest {
    /// Only on these ports; the range in force when there is none.
    pub ranges: Vec<PortRange>,
    /// Only on ports that are not reserved.
    pub unreserved: bool,
}

/// A port that somebody listens on.
#[derive(Debug, Clone)]
pub struct Found {
    /// The port.
    pub port: Port,
    /// Who listens.
    pub holder: Holder,
    /// The reservation of the port, if there is one. Its directory is not looked at.
    pub reserved: Option<Observed>,
    /// What is proven of those who listen, from the point of view of that reservation.
    pub ownership: Option<Ownership>,
}

impl Engine<'_> {
    /// Everybody who listens, by port. Reads only: it takes no lock and binds nothing.
    pub fn scan(&self, request: &ScanRequest) -> Result<Vec<Found>, Error> {
        let ports = self.scanned(&request.ranges);
        let mut holders = self.holders(&ports, &[])?;
        super::wait::add(&mut holders, &self.containers(&ports), &ports);
        let ledger = self.ledger()?;
        let mut found = self.compared(ledger.as_ref(), holders)?;
        if request.unreserved {
            found.retain(|found| found.reserved.is_none());
        }
        Ok(found)
    }

    fn scanned(&self, ranges: &[PortRange]) -> PortSet {
        let in_force = [self.settings().ports.range.value];
        let ranges = if ranges.is_empty() { &in_force } else { ranges };
        ranges.iter().flat_map(|range| range.ports()).collect()
    }

    /// What the ledger has to say of those who listen.
    fn compared(&self, ledger: Option<&Ledger>, holders: Holders) -> Result<Vec<Found>, Error> {
        let reservations = ledger.map_or(Ok(Vec::new()), Ledger::reservations)?;
        let mut reservations: HashMap<Port, Reservation> =
            reservations.into_iter().map(|reservation| (reservation.port, reservation)).collect();
        let found = holders.into_iter().map(|(port, holder)| {
            let Some(reservation) = reservations.remove(&port) else {
                return Found { port, holder, reserved: None, ownership: None };
            };
            let owner = self.owner_liveness(&reservation);
            let ownership = self.judge(&reservation, &holder, owner);
            let (directory, listening): (_, Listening) = (Presence::Unknown, ownership.listening);
            let reserved = Some(Observed { reservation, directory, owner, listening });
            Found { port, holder, reserved, ownership: Some(ownership) }
        });
        Ok(found.collect())
    }
}

/// The ports in as few ranges as possible.
#[must_use]
pub fn compact(ports: impl IntoIterator<Item = Port>) -> Vec<PortRange> {
    let ports: PortSet = ports.into_iter().collect();
    let mut ranges: Vec<PortRange> = Vec::new();
    for port in ports.iter() {
        match ranges.last_mut() {
            Some(last) if last.last().checked_add(1) == Some(port) => {
                *last = PortRange::new(last.first(), port).unwrap_or(*last);
            }
            _ => ranges.push(port.into()),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_become_ranges() {
        let compacted = |ports: &[u16]| {
            let ranges = compact(ports.iter().filter_map(|port| Port::new(*port)));
            ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(compacted(&[]), "");
        assert_eq!(
            compacted(&[3002, 3000, 3001, 3000, 3004, 65534, 65535]),
            "3000-3002 3004 65534-65535"
        );
    }
}

//! What becomes of what was found: pure.
//!
//! Nothing that is there is overwritten. Of two that want the same key or the same port, the one that
//! names its directory exactly comes first, then the one that was used last.

use std::collections::HashMap;

use crate::port::Port;
use crate::reservation::{Key, Reservation};

/// A reservation that may be imported.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    /// What it would be.
    pub(crate) reservation: Reservation,
    /// Whether it was meant for the very directory that it will belong to.
    pub(crate) exact: bool,
}

/// What becomes of a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Settled {
    /// It is imported.
    Imported,
    /// The key has this port already.
    Existing,
    /// It cannot be had, for this reason.
    Conflict(String),
}

/// What becomes of each candidate, beside the reservations that are there.
pub(crate) fn settle(there: &[Reservation], candidates: &[Candidate]) -> Vec<Settled> {
    let mut by_key: HashMap<&Key, &Reservation> = HashMap::new();
    let mut by_port: HashMap<Port, &Reservation> = HashMap::new();
    for reservation in there {
        by_key.insert(&reservation.key, reservation);
        by_port.insert(reservation.port, reservation);
    }
    let mut order: Vec<_> = (0..candidates.len()).collect();
    order.sort_by_key(|at| {
        let Candidate { reservation, exact } = &candidates[*at];
        (!exact, std::cmp::Reverse(reservation.last_used_at), reservation.port, *at)
    });
    let mut settled = vec![Settled::Imported; candidates.len()];
    for at in order {
        let reservation = &candidates[at].reservation;
        settled[at] = match (by_key.get(&reservation.key), by_port.get(&reservation.port)) {
            (Some(held), _) if held.port == reservation.port => Settled::Existing,
            (Some(held), _) => {
                let Reservation { service, .. } = reservation;
                let place = reservation.directory.display();
                Settled::Conflict(format!("`{service}` of {place} has port {}", held.port))
            }
            (None, Some(held)) => {
                let Reservation { service, directory, .. } = held;
                let place = directory.display();
                Settled::Conflict(format!("the port belongs to `{service}` of {place}"))
            }
            (None, None) => {
                by_key.insert(&reservation.key, reservation);
                by_port.insert(reservation.port, reservation);
                Settled::Imported
            }
        };
    }
    settled
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reservation::Realm;
    use crate::time::Timestamp;

    fn reservation(port: u16, key: &str, used: i64) -> Reservation {
        Reservation {
            port: Port::new(port).unwrap(),
            key: Key { realm: Realm::User, text: key.to_owned() },
            last_used_at: Timestamp::from_millis(used),
            ..Reservation::sample()
        }
    }

    #[test]
    fn what_is_there_stays_and_the_exact_one_comes_first() {
        let there = [reservation(1, "a", 0), reservation(2, "b", 0)];
        let candidate =
            |port, key, used, exact| Candidate { reservation: reservation(port, key, used), exact };
        let candidates = [
            candidate(1, "a", 0, true),
            candidate(9, "a", 0, true),
            candidate(2, "c", 0, true),
            candidate(3, "d", 9, false),
            candidate(4, "d", 1, true),
            candidate(5, "e", 1, true),
            candidate(6, "e", 2, true),
            candidate(7, "f", 1, true),
            candidate(7, "g", 1, true),
        ];
        let settled = settle(&there, &candidates);
        let conflict = |text: &str| Settled::Conflict(text.to_owned());
        let has = |port| conflict(&format!("`web` of /work/shop has port {port}"));
        let belongs = || conflict("the port belongs to `web` of /work/shop");
        let expected = [
            Settled::Existing,
            has(1),
            belongs(),
            has(4),
            Settled::Imported,
            has(6),
            Settled::Imported,
            Settled::Imported,
            belongs(),
        ];
        assert_eq!(settled, expected);
    }
}

//! `run`: ports that are reserved and kept until a server takes them, and what becomes of them then.

use std::io;

use super::observe::Standing;
use super::{Engine, Error, Notice, Outcome, ReserveRequest, Reserved};
use crate::observed::{Holder, Listening};
use crate::plan::Decision;
use crate::port::{Port, PortRange, PortSet};
use crate::reservation::{Lease, Owner, Reservation, Service};
use crate::system::Hold;

/// How often ports are reserved again, because others took them before they could be kept. Between
/// the probe of a port and keeping it lies one transaction, a few milliseconds.
const ATTEMPTS: usize = 8;

/// A port that is reserved and kept.
#[derive(Debug)]
pub struct Held {
    /// The reservation.
    pub reserved: Reserved,
    /// What keeps the port; `None` where binding is not possible here, as in some sandboxes.
    pub hold: Option<Hold>,
    /// Whether it is ephemeral and owned by its server: then it can be given back when that has ended.
    pub ends_with_server: bool,
}

/// Whether a process listens on the ports that it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heed {
    /// It, or one of its descendants, listens on one of them, or somebody does who cannot be seen.
    Heeds,
    /// It listens on none of them, but on others.
    Elsewhere(Vec<Port>),
    /// It listens nowhere.
    Nowhere,
    /// It cannot be told.
    Unknown,
}

impl Engine<'_> {
    /// Reserves as [`Engine::reserve`] does, and keeps the ports until the answer is dropped: nobody
    /// can bind them. A port that somebody takes just before that is treated as one that was taken
    /// earlier; one that is served already is refused.
    pub fn reserve_and_hold(&self, request: &ReserveRequest) -> Result<Vec<Held>, Error> {
        let mut created: Vec<Service> = Vec::new();
        let mut attempts = 1;
        loop {
            let reserved = self.reserve(request)?;
            let new =
                |answer: &&Reserved| matches!(answer.outcome, Outcome::Created | Outcome::Returned);
            let services = reserved.iter().filter(new);
            created.extend(services.map(|answer| answer.observed.reservation.service.clone()));
            let held = reserved.into_iter().map(|reserved| self.held(reserved, request.server));
            let taken = match held.collect::<Result<Vec<_>, _>>() {
                Ok(held) => return Ok(held),
                Err(taken) => taken,
            };
            let standing = self.standing(&taken);
            let moves = standing.listening == Listening::None
                || !matches!(
                    self.decide(&taken, &standing, request),
                    Decision::Keep | Decision::KeepHeld(_)
                );
            let is_new = created.contains(&taken.service);
            if attempts == ATTEMPTS || (!moves && (!is_new || taken.locked)) {
                return Err(in_use(&taken, &standing));
            }
            attempts += 1;
            if !moves {
                // Nobody knows this port yet: another one serves as well.
                let services = vec![taken.service.clone()];
                self.reserve(&ReserveRequest { services, reallocate: true, ..request.clone() })?;
            }
        }
    }

    /// Keeps the port of a reservation. Fails with the reservation when somebody has taken it.
    fn held(&self, reserved: Reserved, server: Option<u32>) -> Result<Held, Box<Reservation>> {
        let reservation = &reserved.observed.reservation;
        let hold = match self.system.hold(reservation.port) {
            Ok(hold) => Some(hold),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                return Err(Box::new(reservation.clone()));
            }
            Err(error) => {
                let (service, port) = (reservation.service.clone(), reservation.port);
                self.tell(&Notice::NotHeld { service, port, reason: error.to_string() });
                None
            }
        };
        let owner = reservation.owner.as_ref().map(|owner| owner.pid);
        let ends_with_server =
            reservation.lease == Lease::Ephemeral && owner.is_some() && owner == server;
        Ok(Held { reserved, hold, ends_with_server })
    }

    /// Who has taken the port of a reservation, for people, where it is proven to be somebody else.
    #[must_use]
    pub fn intruder(&self, reservation: &Reservation) -> Option<String> {
        let standing = self.standing(reservation);
        (standing.listening == Listening::Foreign).then(|| standing.describe())
    }

    /// Whether the process `pid`, which was given `ports`, or one of its descendants listens there.
    #[must_use]
    pub fn heed(&self, pid: u32, ports: &[Port]) -> Heed {
        let Some(process) = self.system.identify(pid) else { return Heed::Unknown };
        let given: PortSet = ports.iter().copied().collect();
        let Ok(holders) = self.system.holders(&given, &[pid]) else { return Heed::Unknown };
        if holders.values().any(|holder| holder.hidden || is_of(holder, &process)) {
            return Heed::Heeds;
        }
        let all = PortRange::ALL.ports().collect();
        let Ok(holders) = self.system.holders(&all, &[pid]) else { return Heed::Unknown };
        let of_it = holders.into_iter().filter(|(_, holder)| is_of(holder, &process));
        let others: Vec<_> = of_it.map(|(port, _)| port).collect();
        if others.is_empty() { Heed::Nowhere } else { Heed::Elsewhere(others) }
    }
}

/// Whether `process` or one of its descendants is behind a port.
fn is_of(holder: &Holder, process: &Owner) -> bool {
    let is_it = |pid: u32, start: u64| (pid, start) == (process.pid, process.start);
    holder.processes.iter().any(|found| {
        is_it(found.pid, found.start)
            || found.parents.iter().any(|parent| is_it(parent.pid, parent.start))
    })
}

fn in_use(reservation: &Reservation, standing: &Standing) -> Error {
    let Reservation { service, port, .. } = reservation;
    let holder = standing.describe();
    let (what, hint) = match standing.listening {
        Listening::Mine => (
            format!("`{service}` is served already: {holder} listens on its port {port}"),
            format!("hythe show {port}"),
        ),
        _ if reservation.locked => (
            format!("`{service}` keeps port {port}, held by {holder}: it is locked"),
            format!("stop that process, or: hythe unlock {service}"),
        ),
        _ => (
            format!("`{service}` cannot use its port {port}: held by {holder}"),
            format!("stop that process, or: hythe reserve {service} --reallocate"),
        ),
    };
    Error::Refused { what, hint: Some(hint) }
}

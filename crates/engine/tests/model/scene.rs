//! What an operation finds around it, seen simply: its place, its configuration, and who listens.

use std::path::Path;

use hythe_engine::{
    CheckoutKind, ErrorKind, Label, Listening, Liveness, Owner, Place, Port, Probe, Reservation,
    Scope, Service, System,
};

use super::configuration::{CONFIGURED, Configuration};
use super::machine::{Machine, Pid};

/// Where, on which machine and under which configuration an operation runs.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) place: &'a Place,
    /// Of the whole machine.
    pub(crate) configuration: &'a Configuration,
    pub(crate) home: &'a Path,
    /// What the flags say: the range, and what to do on a conflict.
    pub(crate) range: Option<(u16, u16)>,
    pub(crate) on_conflict: Option<&'static str>,
}

impl Scene<'_> {
    /// What holds here.
    pub(crate) fn here(&self) -> Configuration {
        let mut here = self.configuration.at(self.place);
        here.range = self.range.unwrap_or(here.range);
        here.on_conflict = self.on_conflict.unwrap_or(here.on_conflict);
        here
    }

    pub(crate) fn project(&self) -> Option<Label> {
        let configured = self.here().project.map(|project| project.name.to_owned());
        configured.or_else(|| self.place.checkout.as_ref()?.name.clone())?.parse().ok()
    }

    pub(crate) fn scope(&self, service: &Service, asked: Option<Scope>) -> Scope {
        let configured = self.here().service.filter(|_| service.as_str() == CONFIGURED);
        asked.or(configured.and_then(|configured| configured.scope)).unwrap_or_default()
    }

    /// Fails where there is no project to belong to.
    pub(crate) fn key(&self, service: &Service, asked: Option<Scope>) -> Result<String, ErrorKind> {
        match self.scope(service, asked) {
            Scope::Directory => Ok(format!("directory:{service}:{}", self.place.root().display())),
            Scope::Project => {
                let project = self.project().ok_or(ErrorKind::Policy)?;
                Ok(format!("project:{service}:{project}"))
            }
            Scope::Service => Ok(format!("service:{service}")),
        }
    }

    pub(crate) fn owner(&self, pid: u32) -> Result<Owner, ErrorKind> {
        self.machine.identify(pid).ok_or(ErrorKind::Usage)
    }

    /// Who listens on the port, by the socket tables alone.
    pub(crate) fn listed(&self, reservation: &Reservation) -> Listening {
        let listeners: Vec<_> = self.machine.listeners(reservation.port).collect();
        if self.machine.tables_unreadable {
            return Listening::Unknown;
        }
        if listeners.is_empty() {
            return Listening::None;
        }
        let judged: Vec<_> =
            listeners.iter().map(|pid| judge(self.machine, reservation, *pid)).collect();
        if judged.contains(&Listening::Mine) {
            Listening::Mine
        } else if judged.contains(&Listening::Unknown) {
            Listening::Unknown
        } else {
            Listening::Foreign
        }
    }

    /// Who listens on the port, when a bind is tried first.
    pub(crate) fn probed(&self, reservation: &Reservation) -> Listening {
        match self.machine.probe(reservation.port) {
            Probe::Free | Probe::Lingering => Listening::None,
            Probe::Inconclusive(_) => self.listed(reservation),
            // Bound but not listening: nothing is proven.
            Probe::Held => match self.listed(reservation) {
                Listening::None => Listening::Unknown,
                listening => listening,
            },
        }
    }

    /// Whether the port can be given, as far as sockets are concerned.
    pub(crate) fn is_free(&self, port: Port) -> bool {
        match self.machine.probe(port) {
            Probe::Free | Probe::Lingering => true,
            Probe::Held => false,
            Probe::Inconclusive(_) => {
                !self.machine.tables_unreadable && self.machine.listeners(port).next().is_none()
            }
        }
    }
}

/// Whose process it is: the reservation's own when its owner or one of the owner's descendants, or
/// when it works in the reservation's directory and in no other checkout.
fn judge(machine: &Machine, reservation: &Reservation, pid: Pid) -> Listening {
    let lineage = machine.lineage(pid);
    if lineage.is_empty() {
        return Listening::Unknown;
    }
    let is_owner = |(pid, start): (u32, u64)| {
        let owner = reservation.owner.as_ref();
        owner.is_some_and(|owner| {
            (owner.pid, owner.start) == (pid, start) && machine.liveness(owner) == Liveness::Alive
        })
    };
    if lineage.iter().any(|(pid, running)| is_owner((pid.1, running.start))) {
        return Listening::Mine;
    }
    let mut places =
        lineage.iter().filter_map(|(_, running)| machine.locate(&running.directory).ok());
    let Some(place) = places.find(|place| place.directory.parent().is_some()) else {
        return Listening::Unknown;
    };
    let below = place.directory.starts_with(&reservation.directory);
    let elsewhere = place.checkout.is_some_and(|checkout| {
        checkout.kind != CheckoutKind::Submodule
            && !reservation.directory.starts_with(checkout.root)
    });
    match reservation.scope {
        _ if below && !elsewhere => Listening::Mine,
        Scope::Directory => Listening::Foreign,
        Scope::Project | Scope::Service => Listening::Unknown,
    }
}

//! Reservations: alone and listed, shown, reserved, released, locked.

use hythe_engine::{
    Change, Event, Listed, Liveness, Observed, ProjectUse, Reservation, Reserved, Shown,
};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

use crate::{containers, explanation, listeners, path, processes, publishers};

/// One reservation. Its schema: `reservation.json`.
#[must_use]
pub fn reservation(observed: &Observed) -> Value {
    let Observed { reservation, owner, listening, .. } = observed;
    let owner = reservation.owner.as_ref().map(|process| {
        let alive = match owner {
            Some(Liveness::Alive) => Some(true),
            Some(Liveness::Dead) => Some(false),
            Some(Liveness::Unknown) | None => None,
        };
        json!({ "pid": process.pid, "started_at": process.started_at, "alive": alive })
    });
    json!({
        "port": reservation.port,
        "scope": reservation.scope,
        "directory": path(&reservation.directory),
        "service": reservation.service,
        "project": reservation.project,
        "task": reservation.task,
        "agent": reservation.agent,
        "lease": reservation.lease,
        "locked": reservation.locked,
        "owner": owner,
        "created_at": reservation.created_at,
        "last_used_at": reservation.last_used_at,
        "expires_at": reservation.expires_at(),
        "listening": listening,
        "key": reservation.key.text,
        "strategy": reservation.strategy,
    })
}

/// Reservations, and who listens on their ports. Its schema: `list.json`.
#[must_use]
pub fn listed(listed: &[Listed]) -> Value {
    json!({
        "version": 1,
        "reservations": listed.iter().map(|it| reservation(&it.observed)).collect::<Vec<_>>(),
        "listeners": listeners(listed),
        "containers": containers(listed),
    })
}

/// What [`listed`] answers, for whoever only writes it: each reservation is made when it is written. A
/// tree of thousands takes many times the memory of its text.
pub struct Listing<'a>(pub &'a [Listed]);

impl Serialize for Listing<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(Some(4))?;
        members.serialize_entry("version", &1)?;
        members.serialize_entry("reservations", &Reservations(self.0))?;
        members.serialize_entry("listeners", &listeners(self.0))?;
        members.serialize_entry("containers", &containers(self.0))?;
        members.end()
    }
}

struct Reservations<'a>(&'a [Listed]);

impl Serialize for Reservations<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|listed| reservation(&listed.observed)))
    }
}

/// Projects, and how much they have. Its schema: `list-projects.json`.
#[must_use]
pub fn projects(projects: &[ProjectUse]) -> Value {
    let projects = projects.iter().map(|it| {
        json!({
            "project": it.project,
            "reservations": it.reservations,
            "directories": it.directories,
        })
    });
    json!({ "version": 1, "projects": projects.collect::<Vec<_>>() })
}

/// A port: its reservation, who listens on it, and what happened to it. Its schema: `show.json`.
#[must_use]
pub fn shown(shown: &Shown, history: &[Event]) -> Value {
    let holder = shown.listed.as_ref().map_or(&shown.holder, |listed| &listed.holder).as_ref();
    let ownership = shown.listed.as_ref().and_then(|listed| listed.ownership.as_ref());
    json!({
        "version": 1,
        "reservation": shown.listed.as_ref().map(|listed| reservation(&listed.observed)),
        "listeners": processes(shown.port, holder, ownership),
        "containers": publishers(shown.port, holder, ownership),
        "history": history.iter().map(Event::document).collect::<Vec<_>>(),
    })
}

/// The answer for one service of `reserve`.
#[must_use]
pub fn reserved(reserved: &Reserved) -> Value {
    let mut document = json!({
        "port": reserved.observed.reservation.port,
        "outcome": reserved.outcome.word(),
        "reservation": reservation(&reserved.observed),
    });
    if let Some(found) = &reserved.explanation {
        document["explanation"] = explanation(found);
    }
    document
}

/// The answers for any number of services, and what else there was to say. Its schema:
/// `reserved.json`.
#[must_use]
pub fn reserved_all(answers: &[Reserved], dry_run: bool, notes: &[String]) -> Value {
    json!({
        "version": 1,
        "dry_run": dry_run,
        "services": answers.iter().map(reserved).collect::<Vec<_>>(),
        "notes": notes,
    })
}

/// What was released, or would be. Its schema: `released.json`.
#[must_use]
pub fn released(changes: &[Change], dry_run: bool) -> Value {
    let released = changes.iter().map(|change| {
        let reservation = change.reservation();
        let (policy, reason) = match change {
            Change::Released { policy, reason, .. } => (policy.as_deref(), Some(reason.as_str())),
            _ => (None, None),
        };
        json!({
            "port": reservation.port,
            "scope": reservation.scope,
            "directory": path(&reservation.directory),
            "service": reservation.service,
            "project": reservation.project,
            "key": reservation.key.text,
            "policy": policy,
            "reason": reason,
        })
    });
    json!({ "version": 1, "dry_run": dry_run, "released": released.collect::<Vec<_>>() })
}

/// A reservation that was locked or unlocked. Its schema: `lock.json`.
#[must_use]
pub fn locked(reservation: &Reservation) -> Value {
    json!({
        "version": 1,
        "port": reservation.port,
        "service": reservation.service,
        "key": reservation.key.text,
        "locked": reservation.locked,
    })
}

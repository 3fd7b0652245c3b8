//! What happens to reservations: changes, and the events that they leave behind.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde_json::{Value, json};

use crate::port::Port;
use crate::reservation::{Label, NameError, Reservation, Scope, Service, words};
use crate::time::Timestamp;

/// A change to the ledger. Each but [`Change::Touched`] leaves an [`Event`], written in the same
/// transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A key got a port.
    Reserved(Reservation),
    /// A released key got its old port back.
    Returned(Reservation),
    /// A key has the port that another ledger, or another tool, says it has.
    Imported {
        /// The reservation.
        reservation: Reservation,
        /// What says so, for people.
        from: String,
    },
    /// A key got another port.
    Moved {
        /// The port it had.
        from: Port,
        /// The reservation as it is now.
        to: Reservation,
        /// Why.
        reason: String,
    },
    /// The facts of a reservation changed: project, task, agent, lease, owner or time to live.
    Updated(Reservation),
    /// A reservation was locked.
    Locked(Reservation),
    /// A reservation was unlocked.
    Unlocked(Reservation),
    /// A key lost its port.
    Released {
        /// The reservation as it was.
        reservation: Reservation,
        /// The cleanup policy that decided it; `None` when somebody asked for it.
        policy: Option<String>,
        /// Why.
        reason: String,
    },
    /// The directory of a reservation was moved, and the reservation went with it.
    Relocated {
        /// The directory it had.
        from: PathBuf,
        /// The reservation as it is now.
        to: Reservation,
    },
    /// A reservation was used; nothing else about it changed.
    Touched(Reservation),
}

/// What kind of event it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A key got a port.
    Reserved,
    /// A released key got its old port back.
    Returned,
    /// A key got another port.
    Moved,
    /// The facts of a reservation changed.
    Updated,
    /// A reservation was locked.
    Locked,
    /// A reservation was unlocked.
    Unlocked,
    /// A key lost its port.
    Released,
    /// The directory of a reservation was moved.
    Relocated,
}

words!(
    EventKind,
    "event",
    Reserved = "reserved",
    Returned = "returned",
    Moved = "moved",
    Updated = "updated",
    Locked = "locked",
    Unlocked = "unlocked",
    Released = "released",
    Relocated = "relocated"
);

/// Something that happened to a reservation, as the ledger remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its number; later events have higher numbers.
    pub id: i64,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub kind: EventKind,
    /// The port; for a move the new one.
    pub port: Port,
    /// For a move, the port the key had before.
    pub from: Option<Port>,
    /// The text of the key.
    pub key: String,
    /// What the reservation belonged to.
    pub scope: Scope,
    /// The reservation's service.
    pub service: Service,
    /// The reservation's directory.
    pub directory: PathBuf,
    /// The reservation's project.
    pub project: Option<Label>,
    /// The reservation's agent.
    pub agent: Option<Label>,
    /// The cleanup policy that decided it.
    pub policy: Option<String>,
    /// Why it happened, where there is more to say than what happened.
    pub reason: Option<String>,
}

impl Event {
    /// The event as programs read it: a line of `hythe log --json`, and of what a hook is told. A path
    /// that is not UTF-8 has U+FFFD in place of what is not.
    #[must_use]
    pub fn document(&self) -> Value {
        json!({
            "version": 1,
            "id": self.id,
            "at": self.at,
            "event": self.kind.word(),
            "port": self.port,
            "from": self.from,
            "scope": self.scope,
            "directory": self.directory.to_string_lossy(),
            "service": self.service,
            "project": self.project,
            "agent": self.agent,
            "key": self.key,
            "policy": self.policy,
            "reason": self.reason,
        })
    }
}

impl Change {
    /// The reservation that changed: as it is now, or as it was before it was released.
    #[must_use]
    pub fn reservation(&self) -> &Reservation {
        match self {
            Self::Reserved(reservation)
            | Self::Returned(reservation)
            | Self::Imported { reservation, .. }
            | Self::Moved { to: reservation, .. }
            | Self::Relocated { to: reservation, .. }
            | Self::Updated(reservation)
            | Self::Locked(reservation)
            | Self::Unlocked(reservation)
            | Self::Released { reservation, .. }
            | Self::Touched(reservation) => reservation,
        }
    }

    /// The event this change leaves behind, before it has a number; `None` when it leaves none.
    #[must_use]
    pub fn event(&self, at: Timestamp) -> Option<Event> {
        let (kind, from, policy, reason) = match self {
            Self::Reserved(_) => (EventKind::Reserved, None, None, None),
            Self::Returned(_) => (EventKind::Returned, None, None, None),
            Self::Imported { from, .. } => {
                (EventKind::Reserved, None, None, Some(format!("imported from {from}")))
            }
            Self::Moved { from, reason, .. } => {
                (EventKind::Moved, Some(*from), None, Some(reason.clone()))
            }
            Self::Updated(_) => (EventKind::Updated, None, None, None),
            Self::Locked(_) => (EventKind::Locked, None, None, None),
            Self::Unlocked(_) => (EventKind::Unlocked, None, None, None),
            Self::Released { policy, reason, .. } => {
                (EventKind::Released, None, policy.clone(), Some(reason.clone()))
            }
            Self::Relocated { from, .. } => {
                let reason = format!("from {}", from.display());
                (EventKind::Relocated, None, None, Some(reason))
            }
            Self::Touched(_) => return None,
        };
        let reservation = self.reservation();
        Some(Event {
            id: 0,
            at,
            kind,
            port: reservation.port,
            from,
            key: reservation.key.text.clone(),
            scope: reservation.scope,
            service: reservation.service.clone(),
            directory: reservation.directory.clone(),
            project: reservation.project.clone(),
            agent: reservation.agent.clone(),
            policy,
            reason,
        })
    }
}

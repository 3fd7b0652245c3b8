//! What an operation is going to do, as plain data, from what was observed and what policies answer.
//!
//! Nothing here touches the world: the same observations make the same plan.

use crate::config::OnConflict;
use crate::observed::{Listening, Liveness, Observed};
use crate::policy::{Cleanup, PolicyError, Verdict};
use crate::reservation::{Label, Lease, Owner, Reservation};
use crate::time::Timestamp;
use std::time::Duration;

/// How long a use counts as recorded: a repeat call within this time writes nothing.
pub const FRESH: Duration = Duration::from_secs(60);

/// The most reservations that a cleanup policy is shown at once.
const BATCH: usize = 1024;

/// What becomes of a reservation that is asked for again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It keeps its port, as it should.
    Keep,
    /// It keeps its port although somebody else's process holds it, for this reason.
    KeepHeld(Held),
    /// It gets another port.
    Move(Cause),
    /// The operation is refused.
    Refuse(Cause),
}

/// Why a reservation keeps a port that somebody else's process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// `ports.on_conflict` says so.
    Configured,
    /// It is locked.
    Locked,
}

/// Why a reservation loses its port, or may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It was asked for.
    Asked,
    /// Somebody else's process holds the port.
    Foreign,
    /// It is locked.
    Locked,
}

/// Decides what becomes of `reservation`, whose port is held as `listening` says. A port is given up
/// only when it is asked for, or when it is proven that somebody else holds it.
#[must_use]
pub fn decide(
    reservation: &Reservation,
    listening: Listening,
    on_conflict: OnConflict,
    reallocate: bool,
) -> Decision {
    match (reallocate, listening, on_conflict) {
        (true, ..) if reservation.locked => Decision::Refuse(Cause::Locked),
        (true, ..) => Decision::Move(Cause::Asked),
        (_, Listening::Foreign, OnConflict::Fail) => Decision::Refuse(Cause::Foreign),
        (_, Listening::Foreign, OnConflict::Keep) => Decision::KeepHeld(Held::Configured),
        (_, Listening::Foreign, OnConflict::Move) if reservation.locked => {
            Decision::KeepHeld(Held::Locked)
        }
        (_, Listening::Foreign, OnConflict::Move) => Decision::Move(Cause::Foreign),
        _ => Decision::Keep,
    }
}

/// What a call says about a reservation; `None` leaves it as it is, or as it is by default.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The project.
    pub project: Option<Label>,
    /// The task.
    pub task: Option<Label>,
    /// The agent.
    pub agent: Option<Label>,
    /// The lease.
    pub lease: Option<Lease>,
    /// The process it is bound to from now on.
    pub owner: Option<Owner>,
    /// The process it is bound to, if it is ephemeral and its owner is not known to be alive.
    pub default_owner: Option<Owner>,
    /// Its own time to live.
    pub ttl: Option<Duration>,
    /// Whether it is to be locked.
    pub lock: bool,
}

impl Facts {
    /// `reservation` as these facts make it. `owner` says whether its owner lives.
    #[must_use]
    pub fn applied(&self, reservation: &Reservation, owner: Option<Liveness>) -> Reservation {
        let mut changed = reservation.clone();
        for (now, said) in [
            (&mut changed.project, &self.project),
            (&mut changed.task, &self.task),
            (&mut changed.agent, &self.agent),
        ] {
            if said.is_some() {
                now.clone_from(said);
            }
        }
        changed.lease = self.lease.unwrap_or(changed.lease);
        changed.ttl = self.ttl.or(changed.ttl);
        changed.locked |= self.lock;
        if self.owner.is_some() {
            changed.owner.clone_from(&self.owner);
        } else if changed.lease == Lease::Ephemeral && owner != Some(Liveness::Alive) {
            changed.owner = self.default_owner.clone().or(changed.owner);
        }
        if self.lease == Some(Lease::Persistent) && self.owner.is_none() {
            changed.owner = None;
        }
        changed
    }
}

/// Whether the last use is recorded recently enough. A clock that was set back does not count.
#[must_use]
pub fn is_fresh(reservation: &Reservation, now: Timestamp) -> bool {
    now.distance(reservation.last_used_at) < FRESH
}

/// A reservation that cleanup releases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The reservation.
    pub reservation: Reservation,
    /// The policy that decided it.
    pub policy: String,
    /// Why.
    pub reason: String,
}

/// Reservations and the cleanup policies that judge them, by name, in order.
pub struct Docket<'a> {
    /// The policies.
    pub policies: Vec<(&'a str, &'a dyn Cleanup)>,
    /// What they judge.
    pub reservations: Vec<&'a Observed>,
}

/// What the policies release. The first verdict other than *pass* wins, and nobody is asked about a
/// reservation that may not be taken away.
pub fn cleanup(now: Timestamp, dockets: &[Docket<'_>]) -> Result<Vec<Release>, PolicyError> {
    let mut releases = Vec::new();
    for docket in dockets {
        let mut open: Vec<_> = docket
            .reservations
            .iter()
            .copied()
            .filter(|observed| is_releasable(observed))
            .collect();
        for (name, policy) in &docket.policies {
            let mut passed = Vec::with_capacity(open.len());
            for batch in open.chunks(BATCH) {
                for (observed, verdict) in batch.iter().zip(policy.review(now, batch)?) {
                    match verdict {
                        Verdict::Pass => passed.push(*observed),
                        Verdict::Keep => {}
                        Verdict::Release(reason) => releases.push(Release {
                            reservation: observed.reservation.clone(),
                            policy: (*name).to_owned(),
                            reason,
                        }),
                    }
                }
            }
            open = passed;
        }
    }
    releases.sort_by_key(|release| release.reservation.port);
    Ok(releases)
}

/// Whether any policy may release it: it is not locked, and its own server does not run.
#[must_use]
pub fn is_releasable(observed: &Observed) -> bool {
    !observed.reservation.locked && observed.listening != Listening::Mine
}

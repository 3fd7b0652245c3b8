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
pub const FRESH: Duration = Duration::from_mins(1);

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
    /// Whether the default owner is about to serve on the port: then it owns it whatever the lease
    /// is, unless the present owner is alive.
    pub serves: bool,
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
        } else if (changed.lease == Lease::Ephemeral || self.serves)
            && owner != Some(Liveness::Alive)
        {
            changed.owner = self.default_owner.clone().or(changed.owner);
        }
        if self.lease == Some(Lease::Persistent) && self.owner.is_none() && !self.serves {
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

/// Whether any policy may release it: it is not locked, and it is known that its own server does not
/// run.
#[must_use]
pub fn is_releasable(observed: &Observed) -> bool {
    let unserved = matches!(observed.listening, Listening::None | Listening::Foreign);
    unserved && !observed.reservation.locked
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::observed::Presence;
    use crate::policy::Failure;
    use crate::port::Port;
    use crate::reservation::{Key, Realm};

    fn reservation(number: u16) -> Reservation {
        Reservation {
            port: Port::new(number).unwrap(),
            key: Key { realm: Realm::User, text: number.to_string() },
            last_used_at: Timestamp::from_millis(1_000_000),
            ..Reservation::sample()
        }
    }

    fn observed(number: u16) -> Observed {
        Observed {
            reservation: reservation(number),
            directory: Presence::Present,
            owner: None,
            listening: Listening::None,
        }
    }

    fn owner(pid: u32) -> Owner {
        let (boot, started_at) = (String::new(), Timestamp::default());
        Owner { pid, start: 1, boot, namespace: 0, started_at }
    }

    /// Answers for each port with the verdict at its index, and remembers whom it was asked about.
    struct Judge {
        verdicts: Vec<(u16, Verdict)>,
        asked: RefCell<Vec<Vec<u16>>>,
    }

    impl Judge {
        fn new(verdicts: &[(u16, Verdict)]) -> Self {
            Self { verdicts: verdicts.to_vec(), asked: RefCell::default() }
        }

        fn asked(&self) -> Vec<u16> {
            self.asked.borrow().concat()
        }
    }

    impl Cleanup for Judge {
        fn review(
            &self,
            _now: Timestamp,
            reservations: &[&Observed],
        ) -> Result<Vec<Verdict>, PolicyError> {
            let ports: Vec<_> =
                reservations.iter().map(|observed| observed.reservation.port.get()).collect();
            let verdict = |port: &u16| {
                let found = self.verdicts.iter().find(|(judged, _)| judged == port);
                found.map_or(Verdict::Pass, |(_, verdict)| verdict.clone())
            };
            let verdicts = ports.iter().map(verdict).collect();
            self.asked.borrow_mut().push(ports);
            Ok(verdicts)
        }
    }

    struct Broken;

    impl Cleanup for Broken {
        fn review(
            &self,
            _now: Timestamp,
            _reservations: &[&Observed],
        ) -> Result<Vec<Verdict>, PolicyError> {
            Err(PolicyError {
                plugin: "broken 1".to_owned(),
                function: "cleanup.review",
                selected_by: "built-in".to_owned(),
                failure: Failure::Fuel(1),
            })
        }
    }

    fn released(docket: Docket<'_>) -> Vec<(u16, String)> {
        let releases = cleanup(Timestamp::default(), &[docket]).unwrap();
        let release = |release: Release| (release.reservation.port.get(), release.policy);
        releases.into_iter().map(release).collect()
    }

    #[test]
    fn a_port_is_given_up_only_when_asked_or_proven_to_be_foreign() {
        use Decision::{Keep, KeepHeld, Move, Refuse};
        use Listening::{Foreign, Mine, None, Unknown};
        for rule in [OnConflict::Keep, OnConflict::Move, OnConflict::Fail] {
            for locked in [false, true] {
                let reservation = Reservation { locked, ..reservation(20000) };
                for listening in [None, Mine, Unknown] {
                    assert_eq!(decide(&reservation, listening, rule, false), Keep);
                }
                let foreign = match (rule, locked) {
                    (OnConflict::Keep, _) => KeepHeld(Held::Configured),
                    (OnConflict::Move, false) => Move(Cause::Foreign),
                    (OnConflict::Move, true) => KeepHeld(Held::Locked),
                    (OnConflict::Fail, _) => Refuse(Cause::Foreign),
                };
                assert_eq!(decide(&reservation, Foreign, rule, false), foreign);
                for listening in [None, Mine, Unknown, Foreign] {
                    let asked = if locked { Refuse(Cause::Locked) } else { Move(Cause::Asked) };
                    assert_eq!(decide(&reservation, listening, rule, true), asked);
                }
            }
        }
    }

    #[test]
    fn what_is_not_said_stays_as_it_is() {
        let full = Reservation {
            project: Some("shop".parse().unwrap()),
            task: Some("fix".parse().unwrap()),
            agent: Some("ada".parse().unwrap()),
            lease: Lease::Ephemeral,
            locked: true,
            owner: Some(owner(7)),
            ttl: Some(Duration::from_secs(9)),
            ..reservation(20000)
        };
        for liveness in [Liveness::Alive, Liveness::Dead, Liveness::Unknown] {
            assert_eq!(Facts::default().applied(&full, Some(liveness)), full);
        }
        let said = Facts {
            project: Some("blog".parse().unwrap()),
            task: Some("new".parse().unwrap()),
            agent: Some("bob".parse().unwrap()),
            ttl: Some(Duration::ZERO),
            lock: true,
            ..Facts::default()
        };
        let applied = said.applied(&reservation(20000), None);
        assert_eq!(applied.project, said.project);
        assert_eq!(applied.task, said.task);
        assert_eq!(applied.agent, said.agent);
        assert_eq!(applied.ttl, said.ttl);
        assert!(applied.locked);
    }

    #[test]
    fn an_owner_is_replaced_by_who_is_named_or_when_it_may_be_dead() {
        let (named, default) = (Some(owner(1)), Some(owner(2)));
        let bound =
            Reservation { lease: Lease::Ephemeral, owner: Some(owner(3)), ..reservation(20000) };
        let facts = |lease, owner: &Option<Owner>| Facts {
            lease,
            owner: owner.clone(),
            default_owner: default.clone(),
            ..Facts::default()
        };
        let ephemeral = facts(Some(Lease::Ephemeral), &None);
        for (facts, liveness, expected) in [
            (facts(None, &named), Liveness::Alive, Some(owner(1))),
            (facts(Some(Lease::Persistent), &named), Liveness::Alive, Some(owner(1))),
            (facts(Some(Lease::Persistent), &None), Liveness::Alive, None),
            (ephemeral.clone(), Liveness::Alive, Some(owner(3))),
            (ephemeral.clone(), Liveness::Dead, Some(owner(2))),
            (ephemeral.clone(), Liveness::Unknown, Some(owner(2))),
        ] {
            assert_eq!(facts.applied(&bound, Some(liveness)).owner, expected, "{facts:?}");
        }
        // From now on it is ephemeral, and so it has an owner.
        assert_eq!(ephemeral.applied(&reservation(20000), None).owner, Some(owner(2)));
    }

    #[test]
    fn a_server_owns_what_nobody_alive_owns_whatever_the_lease() {
        let serves = |lease| {
            let (default_owner, serves) = (Some(owner(2)), true);
            Facts { lease, default_owner, serves, ..Facts::default() }
        };
        for lease in [Lease::Persistent, Lease::Ephemeral] {
            let unowned = Reservation { lease, ..reservation(20000) };
            let owned = Reservation { owner: Some(owner(3)), ..unowned.clone() };
            for said in [None, Some(Lease::Persistent), Some(Lease::Ephemeral)] {
                let applied = |to: &Reservation, liveness| serves(said).applied(to, liveness);
                let adopted = applied(&unowned, None);
                assert_eq!((adopted.owner, adopted.lease), (Some(owner(2)), said.unwrap_or(lease)));
                assert_eq!(applied(&owned, Some(Liveness::Dead)).owner, Some(owner(2)));
                assert_eq!(applied(&owned, Some(Liveness::Alive)).owner, Some(owner(3)));
            }
        }
    }

    #[test]
    fn a_use_is_fresh_for_a_minute_by_any_clock() {
        let used = reservation(20000);
        for (millis, fresh) in [
            (1_000_000, true),
            (1_059_999, true),
            (1_060_000, false),
            (940_001, true),
            (940_000, false),
        ] {
            assert_eq!(is_fresh(&used, Timestamp::from_millis(millis)), fresh, "{millis}");
        }
    }

    #[test]
    fn the_first_verdict_other_than_pass_wins() {
        let release = |reason: &str| Verdict::Release(reason.to_owned());
        let first = Judge::new(&[(3, Verdict::Keep), (2, release("first"))]);
        let second = Judge::new(&[(1, release("second")), (2, release("no")), (3, release("no"))]);
        let cases: Vec<_> = [4, 3, 2, 1].map(observed).into();
        let docket = Docket {
            policies: vec![("a", &first), ("b", &second)],
            reservations: cases.iter().collect(),
        };
        assert_eq!(released(docket), [(1, "b".to_owned()), (2, "a".to_owned())]);
        assert_eq!(first.asked(), [4, 3, 2, 1]);
        assert_eq!(second.asked(), [4, 1], "nobody is asked about what is decided");
    }

    #[test]
    fn nobody_is_asked_about_what_is_locked_or_served() {
        let judge =
            Judge::new(&[1, 2, 3, 4, 5].map(|port| (port, Verdict::Release(String::new()))));
        let mut cases: Vec<_> = [1, 2, 3, 4, 5].map(observed).into();
        cases[0].reservation.locked = true;
        cases[1].listening = Listening::Mine;
        cases[2].listening = Listening::Foreign;
        cases[3].listening = Listening::Unknown;
        let docket = Docket { policies: vec![("a", &judge)], reservations: cases.iter().collect() };
        assert_eq!(released(docket).len(), 2);
        assert_eq!(judge.asked(), [3, 5]);
    }

    #[test]
    fn a_policy_is_never_shown_more_than_a_batch() {
        let judge = Judge::new(&[(1, Verdict::Keep)]);
        let cases: Vec<_> = (1..=2050).map(observed).collect();
        let docket = Docket { policies: vec![("a", &judge)], reservations: cases.iter().collect() };
        assert!(released(docket).is_empty());
        let sizes: Vec<_> = judge.asked.borrow().iter().map(Vec::len).collect();
        assert_eq!(sizes, [1024, 1024, 2]);
    }

    #[test]
    fn a_broken_policy_releases_nothing_of_anybody() {
        let judge = Judge::new(&[(1, Verdict::Release(String::new()))]);
        let (one, other) = (observed(1), observed(2));
        let dockets = [
            Docket { policies: vec![("a", &judge)], reservations: vec![&one] },
            Docket { policies: vec![("b", &Broken)], reservations: vec![&other] },
        ];
        assert!(cleanup(Timestamp::default(), &dockets).is_err());
    }
}

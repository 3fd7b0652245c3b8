//! `reserve`: the port of each service here, reserving what is missing.
//!
//! The warm path comes first: when every reservation is there, fresh and in order, it is answered
//! from a read-only ledger, without a lock and without a write. Everything else runs under the lock,
//! from one snapshot to one transaction.

mod adopt;
mod placing;
mod plot;
mod want;

pub use adopt::{AdoptRequest, Adopted};

use super::cleanup::Review;
use super::explain::Explanation;
use super::observe::Standing;
use super::{Engine, Error, Notice, Outcome, ReserveRequest, Reserved};
use crate::event::Change;
use crate::ledger::Ledger;
use crate::observed::Listening;
use crate::plan::{self, Cause, Decision};
use crate::port::Port;
use crate::reservation::{Reservation, Scope};
use crate::time::Timestamp;
use crate::wasm::{Interface, Policy};
use placing::Placing;
use plot::Vacancy;
pub(super) use want::first_duplicate;

use want::Want;

/// What an attempt comes to, before anything is written.
#[derive(Default)]
struct Attempt {
    changes: Vec<Change>,
    /// Whether the cleanup policies were run over everything.
    cleaned: bool,
    answers: Vec<Reserved>,
    /// What there is to say once it is written.
    notes: Vec<Notice>,
}

/// When cleanup runs beside a reservation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sweep {
    No,
    /// It is due: what it releases is released, whether or not it was needed.
    Due,
    /// There was no free port: what it releases may be given at once.
    Needed,
}

impl Engine<'_> {
    /// The port of each service in this place, reserving what is missing: all of them or none.
    pub fn reserve(&self, request: &ReserveRequest) -> Result<Vec<Reserved>, Error> {
        let wants = self.wants(request)?;
        if let Some((answers, fresh)) = self.warm(&wants, request)? {
            tracing::debug!(fresh, "every reservation is there");
            if fresh || request.dry_run {
                return Ok(answers);
            }
            // The answer is known; only its use is still to be recorded.
            return self.locked(&wants, request, Sweep::No).or_else(|error| match error {
                Error::Ledger(_) | Error::State { .. } | Error::Lock(_) => {
                    self.tell(&Notice::UseNotRecorded { reason: error.to_string() });
                    answers.iter().for_each(|answer| self.tell_if_kept(answer, request));
                    Ok(answers)
                }
                error => Err(error),
            });
        }
        let sweep = self.sweep(&wants)?;
        let run = |sweep| {
            if request.dry_run {
                self.dry(&wants, request, sweep)
            } else {
                self.locked(&wants, request, sweep)
            }
        };
        match run(sweep) {
            Err(full @ Error::NoFreePort { .. }) => match self.load_all_cleanup() {
                Ok(()) => run(Sweep::Needed),
                Err(error) => {
                    self.tell(&Notice::CleanupFailed { reason: error.to_string() });
                    Err(full)
                }
            },
            outcome => outcome,
        }
    }

    /// What [`Self::reserve`] answers when nothing is to be written, not even that they were used;
    /// `None` when something is. Takes no lock and waits for nobody.
    pub fn reserved(&self, request: &ReserveRequest) -> Result<Option<Vec<Reserved>>, Error> {
        let wants = self.wants(request)?;
        let warm = self.warm(&wants, request)?;
        Ok(warm.filter(|(_, fresh)| *fresh || request.dry_run).map(|(answers, _)| answers))
    }

    /// The answers, when the ledger has them all and nothing but their use is to be written, and
    /// whether even that is recorded.
    fn warm(
        &self,
        wants: &[Want<'_>],
        request: &ReserveRequest,
    ) -> Result<Option<(Vec<Reserved>, bool)>, Error> {
        let found = self.ledger()?.map_or(Ok(Vec::new()), |ledger| find_all(&ledger, wants))?;
        if found.len() < wants.len() {
            return Ok(None);
        }
        let now = self.system.now();
        let mut answers = Vec::with_capacity(wants.len());
        let mut fresh = true;
        for (want, reservation) in wants.iter().zip(found) {
            let standing = self.standing(&reservation);
            match self.decide(&reservation, &standing, request) {
                Decision::Keep | Decision::KeepHeld(_) => {}
                Decision::Move(_) | Decision::Refuse(_) => return Ok(None),
            }
            if self.applied(want, &reservation) != reservation {
                return Ok(None);
            }
            fresh &= plan::is_fresh(&reservation, now);
            answers.push(self.existing(want, reservation, &standing, request));
        }
        if fresh || request.dry_run {
            answers.iter().for_each(|answer| self.tell_if_kept(answer, request));
        }
        Ok(Some((answers, fresh)))
    }

    pub(super) fn decide(
        &self,
        reservation: &Reservation,
        standing: &Standing,
        request: &ReserveRequest,
    ) -> Decision {
        let on_conflict = self.settings().ports.on_conflict.value;
        let kept = request.keep_shared && reservation.scope != Scope::Directory;
        plan::decide(reservation, standing.listening, on_conflict, request.reallocate && !kept)
    }

    fn applied(&self, want: &Want<'_>, reservation: &Reservation) -> Reservation {
        let liveness = reservation.owner.as_ref().map(|owner| self.system.liveness(owner));
        want.facts.applied(reservation, liveness)
    }

    /// Answers as if it were done, and writes nothing.
    fn dry(
        &self,
        wants: &[Want<'_>],
        request: &ReserveRequest,
        sweep: Sweep,
    ) -> Result<Vec<Reserved>, Error> {
        let ledger = self.ledger()?;
        let attempt = self.attempt(ledger.as_ref(), wants, request, sweep)?;
        let said = |notice: &&Notice| !matches!(notice, Notice::CleanedUp { .. });
        attempt.notes.iter().filter(said).for_each(|notice| self.tell(notice));
        Ok(attempt.answers)
    }

    fn locked(
        &self,
        wants: &[Want<'_>],
        request: &ReserveRequest,
        sweep: Sweep,
    ) -> Result<Vec<Reserved>, Error> {
        self.writing(|ledger| {
            let attempt = self.attempt(ledger.as_ref(), wants, request, sweep)?;
            self.commit(ledger, &attempt.changes, attempt.cleaned)?;
            attempt.notes.iter().for_each(|notice| self.tell(notice));
            Ok(attempt.answers)
        })
    }

    /// Everything but the writing, from one snapshot.
    fn attempt(
        &self,
        ledger: Option<&Ledger>,
        wants: &[Want<'_>],
        request: &ReserveRequest,
        sweep: Sweep,
    ) -> Result<Attempt, Error> {
        let now = self.system.now();
        let mut attempt = Attempt::default();
        if let Some(ledger) = ledger.filter(|_| sweep != Sweep::No) {
            self.clean_beside(ledger, wants, &mut attempt);
            attempt.cleaned &= sweep == Sweep::Due;
        }
        let released = attempt.changes.iter().map(|change| change.reservation().port);
        let given_back: Vec<Port> = released.filter(|_| sweep == Sweep::Needed).collect();
        let mut answers = Vec::with_capacity(wants.len());
        let mut vacancies = Vec::new();
        for (at, want) in wants.iter().enumerate() {
            let found = ledger.map_or(Ok(None), |ledger| ledger.find(&want.key))?;
            let (from, cause) = match found {
                None => (None, Cause::Asked),
                Some(reservation) => {
                    let standing = self.standing(&reservation);
                    match self.decide(&reservation, &standing, request) {
                        Decision::Keep | Decision::KeepHeld(_) => {
                            let mut kept = self.applied(want, &reservation);
                            kept.listener = listener(&standing).or(kept.listener);
                            kept.last_used_at = now;
                            attempt.changes.extend(recorded(&reservation, kept.clone(), now));
                            let answer = self.existing(want, kept, &standing, request);
                            self.tell_if_kept(&answer, request);
                            answers.push((at, answer));
                            continue;
                        }
                        Decision::Move(cause) => (Some((reservation, standing)), cause),
                        Decision::Refuse(cause) => {
                            return Err(refused(&reservation, &standing, cause));
                        }
                    }
                }
            };
            let returning = ledger.map_or(Ok(Vec::new()), |ledger| ledger.released(&want.key))?;
            vacancies.push(Vacancy { at, want, from, cause, returning, above: 0 });
        }
        if !vacancies.is_empty() {
            let mut placing = Placing::new(self, ledger, request, now, &given_back)?;
            for plot in self.plots(ledger, vacancies, request)? {
                for (at, change, answer) in placing.place(plot, &mut attempt.notes)? {
                    attempt.changes.push(change);
                    answers.push((at, answer));
                }
            }
        }
        answers.sort_by_key(|(at, _)| *at);
        attempt.answers = answers.into_iter().map(|(_, answer)| answer).collect();
        Ok(attempt)
    }

    /// Cleans up beside the reservation. What fails here releases nothing and stops nothing.
    fn clean_beside(&self, ledger: &Ledger, wants: &[Want<'_>], attempt: &mut Attempt) {
        let review = Review { policies: &[], older_than: None };
        let spared: Vec<_> = wants.iter().map(|want| &want.key).collect();
        match self.releases(ledger, &review, &spared) {
            Ok(releases) => {
                if !releases.is_empty() {
                    attempt.notes.push(Notice::CleanedUp { count: releases.len() });
                }
                attempt.cleaned = true;
                attempt.changes = releases;
            }
            Err(error) => {
                attempt.notes.push(Notice::CleanupFailed { reason: error.to_string() });
            }
        }
    }

    fn selection_policy(&self) -> Result<Policy, Error> {
        let choice = &self.settings().strategy.selection;
        let interface = Interface::PortSelection;
        self.strategies.policy(self.settings(), &choice.value, &choice.origin, interface)
    }

    /// Whether cleanup runs beside this request: now and then, when a key is new. Its policies are
    /// loaded here, before the lock: a cold compile must not hold others up.
    fn sweep(&self, wants: &[Want<'_>]) -> Result<Sweep, Error> {
        self.selection_policy()?;
        let every = self.settings().cleanup_every.value;
        let Some(ledger) = self.ledger()?.filter(|_| !every.is_zero()) else {
            return Ok(Sweep::No);
        };
        let due = ledger.cleaned_at()?.distance(self.system.now()) >= every;
        if !due || find_all(&ledger, wants)?.len() == wants.len() {
            return Ok(Sweep::No);
        }
        let loaded = self.load_cleanup(&ledger);
        drop(ledger);
        Ok(match loaded {
            Ok(()) => Sweep::Due,
            Err(error) => {
                self.tell(&Notice::CleanupFailed { reason: error.to_string() });
                Sweep::No
            }
        })
    }

    fn load_all_cleanup(&self) -> Result<(), Error> {
        self.ledger()?.map_or(Ok(()), |ledger| self.load_cleanup(&ledger))
    }

    fn existing(
        &self,
        want: &Want<'_>,
        reservation: Reservation,
        standing: &Standing,
        request: &ReserveRequest,
    ) -> Reserved {
        let explanation = request.explain.then(|| Explanation {
            calls: want.key_call.iter().cloned().collect(),
            decision: match self.decide(&reservation, standing, request) {
                Decision::KeepHeld(_) => {
                    format!("the key keeps port {}, held by somebody else", reservation.port)
                }
                _ => format!(
                    "the key already has port {}, chosen by {}",
                    reservation.port, reservation.strategy.selection
                ),
            },
            ..Explanation::default()
        });
        let observed = self.observed(reservation, standing);
        Reserved { outcome: Outcome::Existing, observed, explanation }
    }

    /// Says what is odd about a reservation that stays as it is.
    fn tell_if_kept(&self, answer: &Reserved, request: &ReserveRequest) {
        let reservation = &answer.observed.reservation;
        let (service, port) = (reservation.service.clone(), reservation.port);
        let prefer = request.prefers(&service);
        if let Some(asked) = prefer.first().filter(|_| !prefer.contains(&port)) {
            self.tell(&Notice::AlreadyReserved { service: service.clone(), port, asked: *asked });
        }
        if answer.observed.listening == Listening::Foreign {
            let locked = reservation.locked;
            self.tell(&Notice::KeptHeld { service, port, holder: self.who_holds(port), locked });
        }
    }
}

/// The reservations of the keys, as long as there is one for each.
fn find_all(ledger: &Ledger, wants: &[Want<'_>]) -> Result<Vec<Reservation>, Error> {
    let found = wants.iter().map(|want| ledger.find(&want.key)).map_while(Result::transpose);
    Ok(found.collect::<Result<_, _>>()?)
}

/// What is written for a reservation that keeps its port.
fn recorded(before: &Reservation, after: Reservation, now: Timestamp) -> Option<Change> {
    let unused = Reservation {
        last_used_at: before.last_used_at,
        listener: before.listener,
        ..after.clone()
    };
    if unused == *before {
        return (!plan::is_fresh(before, now)).then_some(Change::Touched(after));
    }
    if (Reservation { locked: before.locked, ..unused }) == *before {
        return Some(Change::Locked(after));
    }
    Some(Change::Updated(after))
}

fn listener(standing: &Standing) -> Option<u32> {
    let holder = standing.holder.as_ref().filter(|_| standing.listening == Listening::Mine)?;
    holder.processes.first().map(|process| process.pid)
}

fn refused(reservation: &Reservation, standing: &Standing, cause: Cause) -> Error {
    let Reservation { service, port, .. } = reservation;
    match cause {
        Cause::Foreign => Error::Refused {
            what: format!(
                "`{service}` cannot use its port {port}: held by {}",
                standing.describe()
            ),
            hint: Some(format!(
                "stop that process, or: hythe reserve {service} --on-conflict move"
            )),
        },
        Cause::Locked | Cause::Asked => Error::Refused {
            what: format!("`{service}` keeps port {port}: it is locked"),
            hint: Some(format!("hythe unlock {service}")),
        },
    }
}

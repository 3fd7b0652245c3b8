//! `reserve`: the port of each service here, reserving what is missing.
//!
//! The warm path comes first: when every reservation is there, fresh and in order, it is answered
//! from a read-only ledger, without a lock and without a write. Everything else runs under the lock,
//! from one snapshot to one transaction.

use super::cleanup::Review;
use super::explain::{self, Explanation};
use super::observe::{Standing, Verdict, describe};
use super::{Engine, Error, Notice, Outcome, PolicyCall, ReserveRequest, Reserved, strategy};
use crate::config::Authority;
use crate::event::Change;
use crate::ledger::{Ledger, Occupancy};
use crate::observed::Listening;
use crate::place::CheckoutKind;
use crate::placement::{Candidates, Filter, Refusal, Skipped, Wish};
use crate::plan::{self, Cause, Decision, Facts};
use crate::policy::{PortSelection, SelectionRequest};
use crate::port::{Port, PortSet};
use crate::reservation::{Key, Label, Lease, Owner, Provenance, Reservation, Scope, Service};
use crate::time::Timestamp;
use crate::wasm::{Interface, Policy};

/// What is wanted for one service.
struct Want<'a> {
    service: &'a Service,
    scope: Scope,
    key: Key,
    key_call: PolicyCall,
    facts: Facts,
    configured: Option<(Port, Option<Refusal>)>,
}

/// What an attempt comes to, before anything is written.
struct Attempt {
    changes: Vec<Change>,
    cleaned: bool,
    answers: Vec<Reserved>,
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
        let found = self.ledger()?.map_or(Ok(Vec::new()), |ledger| find_all(&ledger, &wants))?;
        if let Some((answers, fresh)) = self.warm(found, &wants, request) {
            if fresh || request.dry_run {
                return Ok(answers);
            }
            // The answer is known; only its use is still to be recorded.
            return self.locked(&wants, request, Sweep::No).or_else(|error| match error {
                Error::Ledger(_) | Error::State { .. } | Error::Lock(_) => {
                    self.tell(&Notice::UseNotRecorded { reason: error.to_string() });
                    Ok(answers)
                }
                error => Err(error),
            });
        }
        let sweep = self.sweep(&wants)?;
        let run = |sweep| {
            if request.dry_run {
                let ledger = self.ledger()?;
                self.attempt(ledger.as_ref(), &wants, request, sweep).map(|plan| plan.answers)
            } else {
                self.locked(&wants, request, sweep)
            }
        };
        match run(sweep) {
            Err(full @ Error::NoFreePort { .. }) => match self.load_cleanup() {
                Ok(()) => run(Sweep::Needed),
                Err(error) => {
                    self.tell(&Notice::CleanupFailed { reason: error.to_string() });
                    Err(full)
                }
            },
            outcome => outcome,
        }
    }

    /// Resolves the request against the configuration, and derives the keys.
    fn wants<'r>(&self, request: &'r ReserveRequest) -> Result<Vec<Want<'r>>, Error> {
        if let Some(twice) = first_duplicate(&request.services) {
            return Err(Error::Usage(format!("service `{twice}` is named twice")));
        }
        let keys = self.keys(&request.services, request.scope)?;
        let wants = request.services.iter().zip(keys).map(|(service, (key, key_call))| {
            let configured = self.settings().services.get(service);
            let lease = request.lease.or_else(|| Some(configured?.lease.as_ref()?.value));
            let facts = Facts {
                project: self.settings().project.as_ref().map(|project| project.value.clone()),
                task: request.task.clone(),
                agent: request.agent.clone(),
                lease,
                owner: request.pid.map(|pid| self.owner(pid)).transpose()?,
                default_owner: match lease {
                    Some(Lease::Ephemeral) if request.pid.is_none() => {
                        Some(self.owner(request.parent)?)
                    }
                    _ => None,
                },
                ttl: request.ttl.or_else(|| Some(configured?.ttl.as_ref()?.value)),
                lock: request.lock,
            };
            let scope = self.scope(service, request.scope);
            let configured = configured.and_then(|configured| configured.port.as_ref());
            Ok(Want {
                service,
                scope,
                key,
                key_call,
                facts,
                configured: configured.map(|port| (port.value, self.kept_for_main(scope))),
            })
        });
        wants.collect()
    }

    /// The canonical port of a project is the main checkout's; linked worktrees get their own.
    fn kept_for_main(&self, scope: Scope) -> Option<Refusal> {
        let linked = self
            .place
            .checkout
            .as_ref()
            .is_some_and(|checkout| checkout.kind == CheckoutKind::Linked);
        (linked && scope == Scope::Directory).then_some(Refusal::MainCheckout)
    }

    fn owner(&self, pid: u32) -> Result<Owner, Error> {
        self.system.identify(pid).ok_or(Error::Owner(pid))
    }

    /// The answers, when the ledger has them all and nothing but their use is to be written, and
    /// whether even that is recorded.
    fn warm(
        &self,
        found: Vec<Reservation>,
        wants: &[Want<'_>],
        request: &ReserveRequest,
    ) -> Option<(Vec<Reserved>, bool)> {
        if found.len() < wants.len() {
            return None;
        }
        let now = self.system.now();
        let mut answers = Vec::with_capacity(wants.len());
        let mut fresh = true;
        for (want, reservation) in wants.iter().zip(found) {
            let standing = self.standing(&reservation);
            match self.decide(&reservation, &standing, request) {
                Decision::Keep | Decision::KeepHeld(_) => {}
                Decision::Move(_) | Decision::Refuse(_) => return None,
            }
            if self.applied(want, &reservation) != reservation {
                return None;
            }
            fresh &= plan::is_fresh(&reservation, now);
            answers.push(self.existing(want, reservation, &standing, request));
        }
        if fresh || request.dry_run {
            answers.iter().for_each(|answer| self.tell_if_kept(answer, request));
        }
        Some((answers, fresh))
    }

    fn decide(
        &self,
        reservation: &Reservation,
        standing: &Standing,
        request: &ReserveRequest,
    ) -> Decision {
        let on_conflict = self.settings().ports.on_conflict.value;
        plan::decide(reservation, standing.listening, on_conflict, request.reallocate)
    }

    fn applied(&self, want: &Want<'_>, reservation: &Reservation) -> Reservation {
        let liveness = reservation.owner.as_ref().map(|owner| self.system.liveness(owner));
        want.facts.applied(reservation, liveness)
    }

    fn locked(
        &self,
        wants: &[Want<'_>],
        request: &ReserveRequest,
        sweep: Sweep,
    ) -> Result<Vec<Reserved>, Error> {
        self.writing(|ledger| {
            let attempt = self.attempt(Some(ledger), wants, request, sweep)?;
            if !attempt.changes.is_empty() {
                ledger.commit(self.system.now(), &attempt.changes, attempt.cleaned)?;
            }
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
        let mut attempt = Attempt { changes: Vec::new(), cleaned: false, answers: Vec::new() };
        let mut berths = None;
        if sweep != Sweep::No
            && let Some(ledger) = ledger
        {
            self.clean_beside(ledger, wants, sweep, &mut attempt);
        }
        for want in wants {
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
                            attempt.answers.push(answer);
                            continue;
                        }
                        Decision::Move(cause) => (Some((reservation, standing)), cause),
                        Decision::Refuse(cause) => {
                            return Err(refused(&reservation, &standing, cause));
                        }
                    }
                }
            };
            let berths = match &mut berths {
                Some(berths) => berths,
                none => {
                    let released = attempt.changes.iter().map(|change| change.reservation().port);
                    none.insert(self.berths(ledger, now, released, sweep)?)
                }
            };
            let (change, answer) = self.place_key(ledger, berths, want, from, cause, request)?;
            attempt.changes.push(change);
            attempt.answers.push(answer);
        }
        Ok(attempt)
    }

    /// Cleans up beside the reservation. What fails here releases nothing and stops nothing.
    fn clean_beside(
        &self,
        ledger: &Ledger,
        wants: &[Want<'_>],
        sweep: Sweep,
        attempt: &mut Attempt,
    ) {
        let review = Review { policies: &[], older_than: None };
        let spared: Vec<_> = wants.iter().map(|want| &want.key).collect();
        match self.releases(ledger, &review, &spared) {
            Ok(releases) => {
                if !releases.is_empty() {
                    self.tell(&Notice::CleanedUp { count: releases.len() });
                }
                attempt.cleaned = sweep == Sweep::Due;
                attempt.changes = releases;
            }
            Err(error) => self.tell(&Notice::CleanupFailed { reason: error.to_string() }),
        }
    }

    /// Finds a port for `want`, and what follows from it.
    fn place_key(
        &self,
        ledger: Option<&Ledger>,
        berths: &mut Berths,
        want: &Want<'_>,
        from: Option<(Reservation, Standing)>,
        cause: Cause,
        request: &ReserveRequest,
    ) -> Result<(Change, Reserved), Error> {
        let now = self.system.now();
        let returning = ledger.map_or(Ok(Vec::new()), |ledger| ledger.released(&want.key))?;
        let (candidates, selection_call) =
            self.candidates(ledger, berths, want, returning, request)?;
        // What the key itself gave back is frozen for others only.
        let mut filter = berths.filter.clone();
        candidates.returning.iter().for_each(|port| {
            filter.frozen.remove(*port);
        });
        let mut skipped = Skipped::default();
        let chosen = self.first_free(&candidates, &filter, want, berths, &mut skipped);
        let Some((port, wish)) = chosen else {
            return Err(Error::NoFreePort {
                service: want.service.clone(),
                range: filter.range,
                refused: skipped.tally(),
            });
        };
        berths.filter.reserved.insert(port);

        let selection = match wish {
            Wish::Proposed => selection_call.plugin.clone(),
            _ => "preferred".to_owned(),
        };
        let key = self.key_policy()?.plugin().label();
        let strategy = Provenance { key, selection };
        let (reservation, change, outcome) = match from {
            Some((old, standing)) => {
                let (reason, from) = (reason(cause, &standing), old.port);
                let moved = Reservation {
                    port,
                    last_used_at: now,
                    strategy,
                    listener: None,
                    ..self.applied(want, &old)
                };
                if cause == Cause::Foreign {
                    let (service, holder) = (want.service.clone(), standing.describe());
                    self.tell(&Notice::Moved { service, from, to: port, holder });
                }
                let change = Change::Moved { from, to: moved.clone(), reason };
                (moved, change, Outcome::Moved)
            }
            None => {
                let new = self.new_reservation(want, port, now, strategy);
                match wish {
                    Wish::Returning => (new.clone(), Change::Returned(new), Outcome::Returned),
                    _ if candidates.returning.contains(&port) => {
                        (new.clone(), Change::Returned(new), Outcome::Returned)
                    }
                    _ => (new.clone(), Change::Reserved(new), Outcome::Created),
                }
            }
        };
        let explanation = request.explain.then(|| Explanation {
            calls: vec![want.key_call.clone(), selection_call],
            decision: match outcome {
                Outcome::Moved => format!("moved to port {port}: {}", cause_text(cause)),
                Outcome::Returned => format!("port {port} is given back to its key"),
                _ => format!("port {port} is reserved"),
            },
            wish: Some(wish),
            skipped,
        });
        let standing = Standing { listening: Listening::None, holder: None };
        let observed = self.observed(reservation, &standing);
        Ok((change, Reserved { outcome, observed, explanation }))
    }

    fn new_reservation(
        &self,
        want: &Want<'_>,
        port: Port,
        now: Timestamp,
        strategy: Provenance,
    ) -> Reservation {
        let facts = &want.facts;
        let lease = facts.lease.unwrap_or_default();
        Reservation {
            port,
            key: want.key.clone(),
            scope: want.scope,
            directory: self.place.root().to_owned(),
            service: want.service.clone(),
            project: facts.project.clone().or_else(|| self.project()),
            task: facts.task.clone().or_else(|| self.task()),
            agent: facts.agent.clone(),
            lease,
            locked: facts.lock,
            owner: facts.owner.clone().or_else(|| facts.default_owner.clone()),
            created_at: now,
            last_used_at: now,
            ttl: facts.ttl,
            strategy,
            listener: None,
        }
    }

    /// The task at hand, as the checkout shows it: the linked worktree's name, or the branch.
    fn task(&self) -> Option<Label> {
        let checkout = self.place.checkout.as_ref()?;
        let name = match checkout.kind {
            CheckoutKind::Linked => checkout.root.file_name()?.to_str()?,
            _ => checkout.branch.as_deref()?,
        };
        Label::nearest(name)
    }

    /// The order in which ports are tried for `want`.
    fn candidates(
        &self,
        ledger: Option<&Ledger>,
        berths: &mut Berths,
        want: &Want<'_>,
        returning: Vec<Port>,
        request: &ReserveRequest,
    ) -> Result<(Candidates, PolicyCall), Error> {
        let choice = &self.settings().strategy.selection;
        let (policy, load) = explain::timed(|| self.selection_policy());
        let policy = policy?;
        let asked = request.prefer.clone();
        let preferred: Vec<_> = asked
            .iter()
            .copied()
            .chain(want.configured.iter().filter(|(_, no)| no.is_none()).map(|(port, _)| *port))
            .collect();
        let project = want.facts.project.clone().or_else(|| self.project());
        // A project's own plugin is told of nothing beyond the project.
        let visible = match strategy::authority(self.settings(), &choice.value) {
            Authority::User => None,
            Authority::Project(directory) => Some(
                ledger
                    .map_or(Ok(Occupancy::default()), |ledger| ledger.occupied_below(&directory))?,
            ),
        };
        let told = SelectionRequest {
            key: &want.key.text,
            service: want.service,
            project: project.as_ref(),
            branch: self.place.checkout.as_ref().and_then(|checkout| checkout.branch.as_deref()),
            allowed: berths.filter.range,
            preferred: &preferred,
            reserved: visible.as_ref().map_or(&berths.reserved, |visible| &visible.reserved),
            latest: visible.as_ref().map_or(berths.latest, |visible| visible.latest),
        };
        let (proposed, call) = explain::timed(|| policy.select(&told));
        let proposed = proposed?;
        let call = PolicyCall {
            policy: "selection",
            plugin: policy.plugin().label(),
            selected_by: choice.origin.to_string(),
            told: explain::told_selection(&told),
            answered: explain::answered_ranges(&proposed),
            load,
            call,
        };
        let candidates = Candidates { asked, returning, configured: want.configured, proposed };
        Ok((candidates, call))
    }

    fn selection_policy(&self) -> Result<Policy, Error> {
        let choice = &self.settings().strategy.selection;
        let interface = Interface::PortSelection;
        self.strategies.policy(self.settings(), &choice.value, &choice.origin, interface)
    }

    /// Tries the candidates in order, and says which preferred ports could not be had.
    fn first_free(
        &self,
        candidates: &Candidates,
        filter: &Filter,
        want: &Want<'_>,
        berths: &mut Berths,
        skipped: &mut Skipped,
    ) -> Option<(Port, Wish)> {
        for (candidate, verdict) in candidates.judged(filter) {
            let port = candidate.port;
            let every = || candidates.judged(filter).map(|(candidate, _)| candidate.port).collect();
            let refusal = match verdict {
                Err(refusal) => refusal,
                Ok(()) => match self.is_free(port, &mut berths.tables, every) {
                    Verdict::Free => return Some((port, candidate.wish)),
                    Verdict::Unlisted(reason) => {
                        self.tell(&Notice::Unprobed { port, reason });
                        return Some((port, candidate.wish));
                    }
                    Verdict::Held => Refusal::Held,
                    Verdict::Unknown => Refusal::Unprobed,
                },
            };
            skipped.push(port, refusal);
            if matches!(candidate.wish, Wish::Asked | Wish::Configured) {
                let detail = (refusal == Refusal::Held).then(|| self.who_holds(port));
                let service = want.service.clone();
                self.tell(&Notice::PreferredRefused { service, port, refusal, detail });
            }
        }
        None
    }

    fn who_holds(&self, port: Port) -> String {
        let ports: PortSet = [port].into_iter().collect();
        let holder = self.system.holders(&ports, &[]).ok().and_then(|mut all| all.remove(&port));
        describe(holder.as_ref())
    }

    /// What is free to be given, before anything is probed. The ports in `released` are given back
    /// in the same transaction; when they are needed, they may be given again at once.
    fn berths(
        &self,
        ledger: Option<&Ledger>,
        now: Timestamp,
        released: impl Iterator<Item = Port>,
        sweep: Sweep,
    ) -> Result<Berths, Error> {
        let ports = &self.settings().ports;
        let occupancy = ledger
            .map_or(Ok(Occupancy::default()), |ledger| ledger.occupancy(now, ports.freeze.value))?;
        let mut reserved: PortSet = occupancy.reserved.iter().copied().collect();
        if sweep == Sweep::Needed {
            for port in released {
                reserved.remove(port);
            }
        }
        let set = |ranges: &[crate::config::Set<crate::port::PortRange>]| -> PortSet {
            ranges.iter().flat_map(|range| range.value.ports()).collect()
        };
        Ok(Berths {
            reserved: reserved.iter().collect(),
            latest: occupancy.latest,
            filter: Filter {
                range: ports.range.value,
                excluded: set(&ports.exclude),
                allowed: set(&ports.allow),
                ephemeral: self.system.ephemeral_range(),
                first_unprivileged: self.system.first_unprivileged(),
                reserved,
                frozen: occupancy.frozen.into_iter().collect(),
            },
            tables: None,
        })
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
        drop(ledger);
        Ok(match self.load_cleanup() {
            Ok(()) => Sweep::Due,
            Err(error) => {
                self.tell(&Notice::CleanupFailed { reason: error.to_string() });
                Sweep::No
            }
        })
    }

    fn existing(
        &self,
        want: &Want<'_>,
        reservation: Reservation,
        standing: &Standing,
        request: &ReserveRequest,
    ) -> Reserved {
        let explanation = request.explain.then(|| Explanation {
            calls: vec![want.key_call.clone()],
            decision: match self.decide(&reservation, standing, request) {
                Decision::KeepHeld(_) => {
                    format!("the key keeps port {}, held by somebody else", reservation.port)
                }
                _ => format!("the key already has port {}", reservation.port),
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
        if let Some(asked) = request.prefer.first().filter(|_| !request.prefer.contains(&port)) {
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

/// What is free to be given, for one attempt.
struct Berths {
    filter: Filter,
    /// The ports that other keys have, ascending.
    reserved: Vec<Port>,
    latest: Option<Port>,
    /// The socket tables, read once and only when binding is forbidden.
    tables: Option<Option<crate::observed::Holders>>,
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

fn reason(cause: Cause, standing: &Standing) -> String {
    match cause {
        Cause::Foreign => format!("held by {}", standing.describe()),
        Cause::Asked | Cause::Locked => cause_text(cause).to_owned(),
    }
}

const fn cause_text(cause: Cause) -> &'static str {
    match cause {
        Cause::Asked => "asked to",
        Cause::Foreign => "somebody else holds the old one",
        Cause::Locked => "locked",
    }
}

fn first_duplicate(services: &[Service]) -> Option<&Service> {
    services
        .iter()
        .enumerate()
        .find(|(at, service)| services[..*at].contains(service))
        .map(|(_, service)| service)
}

//! A workload played through a strategy, without a ledger, a socket or a clock: the evidence that a
//! team wants before it adopts a policy.
//!
//! Pure. It decides with [`placement`](crate::placement) and [`plan`](crate::plan), the engine's
//! own, so that it reports what the engine would do.

mod book;
mod machine;
mod placing;
mod report;
mod workload;
mod worktrees;

use std::collections::BTreeMap;

use fastrand::Rng;

pub use report::{Keys, Occupancy, Proposals, RangeUse, Refused, Released, Report, Skips};
pub use workload::{Workload, WorkloadError};

use crate::observed::{Liveness, Presence};
use crate::placement::{Filter, Refusal};
use crate::plan::{self, Decision, Docket, Facts, Release};
use crate::policy::{Cleanup, KeyDerivation, KeyRequest, PolicyError, PortSelection};
use crate::port::{Port, PortSet};
use crate::reservation::{Reservation, Scope, Service};
use crate::time::Timestamp;
use book::{Book, KeyId};
use machine::Machine;
use worktrees::{Worktree, Worktrees};

/// When every simulation begins: 2026-01-05T00:00:00Z, a Monday.
const BEGIN: i64 = 1_767_571_200_000;

/// The policies of a strategy.
pub struct Policies<'a> {
    /// Derives keys.
    pub key: &'a dyn KeyDerivation,
    /// Selects ports.
    pub selection: &'a dyn PortSelection,
    /// The cleanup policies, by name, in order.
    pub cleanup: Vec<(&'a str, &'a dyn Cleanup)>,
}

/// Why a simulation has no report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SimulationError {
    /// The workload cannot be played.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// A policy failed other than by a refusal, which is counted.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

/// Plays `workload` through `policies` on a machine of which `filter` says what may be given. What
/// is reserved or frozen in it stays so.
///
/// The same workload, filter and policies always make the same report. For each key, the selection
/// policy is asked once more than by the engine: for the port on an empty machine.
pub fn simulate(
    workload: &Workload,
    filter: Filter,
    policies: &Policies<'_>,
) -> Result<Report, SimulationError> {
    let (mut simulation, mut course) = Simulation::begin(workload, filter, policies)?;
    for _ in 0..workload.requests {
        simulation.step(&mut course)?;
    }
    Ok(simulation.finish())
}

/// What happens, whatever policies answer: every strategy meets the same workload.
struct Course {
    worktrees: Worktrees,
    rng: Rng,
    cleaned_at: Timestamp,
}

/// What policies make of it.
struct Simulation<'a> {
    workload: &'a Workload,
    policies: &'a Policies<'a>,
    machine: Machine,
    book: Book,
    /// The filter of an empty machine.
    empty: Filter,
    report: Report,
    skipped: BTreeMap<Refusal, usize>,
    now: Timestamp,
}

/// Who asks for what.
#[derive(Clone, Copy)]
struct Request<'a> {
    worktrees: &'a Worktrees,
    worktree: &'a Worktree,
    service: usize,
    key: &'a str,
    id: KeyId,
}

impl<'a> Simulation<'a> {
    fn begin(
        workload: &'a Workload,
        filter: Filter,
        policies: &'a Policies<'a>,
    ) -> Result<(Self, Course), WorkloadError> {
        workload.check()?;
        let now = Timestamp::from_millis(BEGIN);
        let mut rng = Rng::with_seed(workload.seed);
        let worktrees = Worktrees::new(workload, &mut rng)?;
        let simulation = Self {
            workload,
            policies,
            machine: Machine::new(filter.range, workload.foreign, &mut rng),
            report: Report::empty(workload, filter.range, &policies.cleanup),
            empty: Filter { reserved: PortSet::new(), frozen: PortSet::new(), ..filter.clone() },
            book: Book::new(filter, workload.freeze),
            skipped: BTreeMap::new(),
            now,
        };
        Ok((simulation, Course { worktrees, rng, cleaned_at: now }))
    }

    /// Lets the time pass to the next request, and makes it. How much is drawn here never depends on
    /// what policies answered.
    fn step(&mut self, course: &mut Course) -> Result<(), SimulationError> {
        let workload = self.workload;
        let Course { worktrees, rng, cleaned_at } = course;
        self.now = self.now.after(workload.interval);
        self.machine.pass(workload.interval, rng);
        worktrees.make(self.now, rng)?;
        if rng.f64() < workload.die
            && let Some(slot) = worktrees.delete(self.now, rng)
        {
            self.machine.stop_all(slot);
        }
        self.book.thaw(self.now);
        let every = workload.cleanup_every;
        if !every.is_zero() && self.now.since(*cleaned_at) >= every {
            *cleaned_at = self.now;
            self.clean(worktrees)?;
        }
        let (worktree, service) = worktrees.pick(rng);
        let (releases, served) = (rng.f64() < workload.release, rng.f64() < workload.served);
        self.request(worktrees, worktree, service, releases, served)?;
        Ok(())
    }

    /// Makes one request: a release, where there is something to be released and `releases` says
    /// so, after the server was stopped, whoever started it. After a reservation the server runs, or
    /// not, as `served` says.
    fn request(
        &mut self,
        worktrees: &Worktrees,
        worktree: &Worktree,
        service: usize,
        releases: bool,
        served: bool,
    ) -> Result<(), PolicyError> {
        let asked = KeyRequest {
            scope: self.workload.scope,
            service: &worktrees.services[service],
            place: &worktree.place,
            project: Some(&worktree.project),
        };
        let derived = self.policies.key.derive(&asked);
        let Some(key) = self.report.refused.or_answer(derived)? else { return Ok(()) };
        let id = self.book.id(key.clone());
        let request = Request { worktrees, worktree, service, key: &key, id };
        let had = self.book.key(id).port;
        if let Some(port) = had.filter(|port| releases && self.may_release(*port, worktree)) {
            self.machine.stop_at(port);
            self.book.take(port, self.now);
            self.report.released.by_user += 1;
            return Ok(());
        }
        let port = match had {
            Some(port) => self.again(request, port)?,
            None => self.place(request, None)?,
        };
        let Some(port) = port else { return Ok(()) };
        self.book.used(id, worktree.directory);
        match served {
            true => self.machine.start(worktree, service, id, port),
            false => self.machine.stop(worktree.slot, service),
        }
        Ok(())
    }

    /// Whether a user may release a reservation from this worktree without force.
    fn may_release(&self, port: Port, worktree: &Worktree) -> bool {
        self.book.tenures().get(&port).is_some_and(|tenure| {
            let reservation = &tenure.observed.reservation;
            let own = tenure.directory == worktree.directory;
            !reservation.locked && (own || reservation.scope != Scope::Directory)
        })
    }

    /// A request of a key that has a port: the port that it has now.
    fn again(&mut self, request: Request<'_>, port: Port) -> Result<Option<Port>, PolicyError> {
        let Some(tenure) = self.book.tenures().get(&port) else { return Ok(None) };
        let reservation = &tenure.observed.reservation;
        let owner = liveness(request.worktrees, reservation);
        let listening = self.machine.listening(tenure, owner);
        match plan::decide(reservation, listening, self.workload.on_conflict, false) {
            Decision::Move(_) => return self.place(request, Some(port)),
            Decision::Refuse(_) => {
                self.report.conflicts += 1;
                return Ok(None);
            }
            Decision::KeepHeld(_) => self.report.kept_held += 1,
            Decision::Keep => {}
        }
        self.report.hits += 1;
        let mut applied = request.facts().applied(reservation, owner);
        let fresh = plan::is_fresh(reservation, self.now);
        if applied != *reservation || !fresh {
            applied.last_used_at = self.now;
            self.book.update(applied);
        }
        Ok(Some(port))
    }

    /// Runs the cleanup policies over everything.
    fn clean(&mut self, worktrees: &Worktrees) -> Result<(), PolicyError> {
        self.report.cleanups += 1;
        let releases = self.releases(worktrees, None)?;
        self.release(&releases);
        Ok(())
    }

    /// What the cleanup policies release, except of the key `spared`.
    fn releases(
        &mut self,
        worktrees: &Worktrees,
        spared: Option<KeyId>,
    ) -> Result<Vec<Release>, PolicyError> {
        for tenure in self.book.tenures_mut() {
            tenure.observed.directory = match worktrees.is_present(tenure.directory) {
                true => Presence::Present,
                false => Presence::Gone,
            };
            tenure.observed.owner = liveness(worktrees, &tenure.observed.reservation);
            tenure.observed.listening = self.machine.listening(tenure, tenure.observed.owner);
        }
        let judged = self.book.tenures().values().filter(|tenure| Some(tenure.key) != spared);
        let docket = Docket {
            policies: self.policies.cleanup.clone(),
            reservations: judged.map(|tenure| &tenure.observed).collect(),
        };
        let releases = plan::cleanup(self.now, &[docket]);
        Ok(self.report.cleanups_refused.or_answer(releases)?.unwrap_or_default())
    }

    fn release(&mut self, releases: &[Release]) {
        for Release { reservation, policy, .. } in releases {
            self.book.take(reservation.port, self.now);
            *self.report.released.by_policy.entry(policy.clone()).or_default() += 1;
        }
    }

    fn finish(self) -> Report {
        let Self { book, machine, mut report, skipped, now, .. } = self;
        let range = book.filter().range;
        report.seconds = now.since(Timestamp::from_millis(BEGIN)).as_secs();
        report.proposals.skipped = Skips::sorted(&skipped);
        for key in book.keys() {
            report.keys.distinct += 1;
            report.keys.shared += usize::from(key.shared);
            report.keys.portable += usize::from(key.home == key.latest);
        }
        let occupancy = &mut report.occupancy;
        report.range.distinct = occupancy.given.iter().filter(|times| **times > 0).count();
        occupancy.reserved =
            book.reserved().iter().copied().filter(|port| range.contains(*port)).collect();
        occupancy.foreign = machine.strangers().iter().collect();
        report
    }
}

impl<'a> Request<'a> {
    /// What is said of the reservation.
    fn facts(&self) -> &'a Facts {
        &self.worktree.facts[self.service]
    }

    fn service(&self) -> &'a Service {
        &self.worktrees.services[self.service]
    }
}

/// Whether the owner of a reservation still runs; `None` without an owner.
fn liveness(worktrees: &Worktrees, reservation: &Reservation) -> Option<Liveness> {
    reservation.owner.as_ref().map(|owner| match worktrees.is_running(owner) {
        true => Liveness::Alive,
        false => Liveness::Dead,
    })
}

#[cfg(test)]
mod tests;

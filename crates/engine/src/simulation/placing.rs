//! Finding a port for a key, as `engine/reserve/placing.rs` does on a real machine.

use std::collections::BTreeMap;

use super::book::Tenure;
use super::report::Refused;
use super::{Request, Simulation, liveness};
use crate::observed::{Listening, Observed, Presence};
use crate::placement::{Candidates, Refusal, Wish};
use crate::policy::{PolicyError, SelectionRequest};
use crate::port::{Port, PortRange};
use crate::reservation::{Key, Provenance, Realm, Reservation};

/// What came of trying candidates.
struct Search {
    /// The first port that may be given and is free.
    port: Option<Port>,
    /// The very port that the policy proposed first.
    first: Option<Port>,
    /// The proposals that were passed over.
    skipped: BTreeMap<Refusal, usize>,
}

impl Simulation<'_> {
    /// Finds a port for a key that has none, or loses the one it has, `from`. A full range is tried
    /// once more with what cleanup releases; if that does not help, nothing is released.
    pub(super) fn place(
        &mut self,
        request: Request<'_>,
        from: Option<Port>,
    ) -> Result<Option<Port>, PolicyError> {
        let returning = self.book.returning(request.id);
        let Some(mut search) = self.search(request, &returning, &[])? else { return Ok(None) };
        let mut releases = Vec::new();
        if search.port.is_none() {
            releases = self.releases(request.worktrees, Some(request.id))?;
            let given_back: Vec<_> =
                releases.iter().map(|release| release.reservation.port).collect();
            if !given_back.is_empty() {
                match self.search(request, &returning, &given_back)? {
                    Some(again) => search = again,
                    None => return Ok(None),
                }
            }
        }
        let Some(port) = search.port else {
            self.report.exhausted += 1;
            return Ok(None);
        };
        self.release(&releases);
        for (refusal, count) in search.skipped {
            *self.skipped.entry(refusal).or_default() += count;
        }
        self.report.proposals.first_choice += usize::from(search.first == Some(port));
        match from {
            Some(_) => self.report.moved += 1,
            None if returning.contains(&port) => self.report.returned += 1,
            None => self.report.new += 1,
        }
        self.give(request, from, port)?;
        Ok(Some(port))
    }

    /// Gives `port` to the key of the request.
    fn give(
        &mut self,
        request: Request<'_>,
        from: Option<Port>,
        port: Port,
    ) -> Result<(), PolicyError> {
        let key = self.book.key(request.id);
        match key.latest {
            None => {
                let home = self.home(request)?;
                self.book.set_home(request.id, home);
            }
            Some(latest) if key.port.is_none() => {
                self.report.keys.came_back += 1;
                self.report.keys.same_port += usize::from(latest == port);
            }
            Some(_) => {}
        }
        let tenure = match from.and_then(|from| self.book.take(from, self.now)) {
            Some(mut tenure) => {
                let reservation = &mut tenure.observed.reservation;
                let owner = liveness(request.worktrees, reservation);
                let applied = request.facts().applied(reservation, owner);
                *reservation = Reservation { port, last_used_at: self.now, ..applied };
                tenure
            }
            None => self.tenure(request, port),
        };
        self.book.give(tenure);
        let range = &mut self.report.range;
        range.peak = range.peak.max(self.book.tenures().len());
        let at = port.get().checked_sub(self.report.occupancy.first.get());
        if let Some(given) = at.and_then(|at| self.report.occupancy.given.get_mut(usize::from(at)))
        {
            *given += 1;
        }
        Ok(())
    }

    /// The reservation of a key that has none.
    fn tenure(&self, request: Request<'_>, port: Port) -> Tenure {
        let (worktree, facts) = (request.worktree, request.facts());
        let reservation = Reservation {
            port,
            key: Key { realm: Realm::User, text: request.key.to_owned() },
            scope: self.workload.scope,
            directory: worktree.place.root().to_owned(),
            service: request.service().clone(),
            project: Some(worktree.project.clone()),
            task: Some(worktree.task.clone()),
            agent: None,
            lease: facts.lease.unwrap_or_default(),
            locked: facts.lock,
            owner: facts.default_owner.clone(),
            created_at: self.now,
            last_used_at: self.now,
            ttl: None,
            strategy: Provenance { key: String::new(), selection: String::new() },
            listener: None,
        };
        let observed = Observed {
            directory: Presence::Present,
            owner: liveness(request.worktrees, &reservation),
            listening: Listening::None,
            reservation,
        };
        Tenure { observed, key: request.id, directory: worktree.directory }
    }

    /// Tries the ports for a key in order, as if those `given_back` were no longer reserved; `None`
    /// when the policy refuses.
    fn search(
        &mut self,
        request: Request<'_>,
        returning: &[Port],
        given_back: &[Port],
    ) -> Result<Option<Search>, PolicyError> {
        let (selection, machine) = (self.policies.selection, &self.machine);
        let refused = &mut self.report.refused;
        // What the key itself gave back is frozen for others only.
        self.book.without(&[returning, given_back].concat(), |book| {
            let told = told(request, book.filter().range, book.reserved(), book.latest());
            let Some(proposed) = refused.or_answer(selection.select(&told))? else {
                return Ok(None);
            };
            let first = proposed.first().map(|range| range.first());
            let candidates =
                Candidates { returning: returning.to_vec(), proposed, ..Candidates::default() };
            let mut search = Search { port: None, first, skipped: BTreeMap::new() };
            for (candidate, verdict) in candidates.judged(book.filter()) {
                let refusal = match verdict {
                    Ok(()) if machine.is_free(candidate.port) => {
                        search.port = Some(candidate.port);
                        break;
                    }
                    Ok(()) => Refusal::Held,
                    Err(refusal) => refusal,
                };
                if candidate.wish == Wish::Proposed {
                    *search.skipped.entry(refusal).or_default() += 1;
                }
            }
            Ok(Some(search))
        })
    }

    /// The port that the key would get on an empty machine.
    fn home(&self, request: Request<'_>) -> Result<Option<Port>, PolicyError> {
        let told = told(request, self.empty.range, &[], None);
        let answer = self.policies.selection.select(&told);
        let Some(proposed) = Refused::default().or_answer(answer)? else { return Ok(None) };
        let candidates = Candidates { proposed, ..Candidates::default() };
        let free = candidates.judged(&self.empty).find(|(_, verdict)| verdict.is_ok());
        Ok(free.map(|(candidate, _)| candidate.port))
    }
}

fn told<'a>(
    request: Request<'a>,
    allowed: PortRange,
    reserved: &'a [Port],
    latest: Option<Port>,
) -> SelectionRequest<'a> {
    let checkout = request.worktree.place.checkout.as_ref();
    SelectionRequest {
        key: request.key,
        service: request.service(),
        project: Some(&request.worktree.project),
        branch: checkout.and_then(|checkout| checkout.branch.as_deref()),
        allowed,
        preferred: &[],
        reserved,
        latest,
        offsets: &[0],
    }
}

//! Finding a port for a key: asking the selection policy, trying candidates in order.

use std::path::Path;

use super::super::explain::{self, Explanation};
use super::super::observe::{Standing, Tables, Verdict, describe};
use super::super::{
    Engine, Error, Notice, Outcome, PolicyCall, Proposed, ReserveRequest, Reserved, strategy,
};
use super::plot::{Plot, Vacancy};
use crate::config::Authority;
use crate::event::Change;
use crate::ledger::{Ledger, Occupancy};
use crate::observed::Listening;
use crate::placement::{Candidates, Filter, Refusal, Skipped, Wish};
use crate::plan::Cause;
use crate::policy::{PortSelection, SelectionRequest};
use crate::port::{Port, PortSet};
use crate::reservation::{Provenance, Reservation};
use crate::time::Timestamp;

/// The search for ports of one attempt: what is given to one key is no longer free for the next.
pub(super) struct Placing<'e, 'a> {
    engine: &'e Engine<'a>,
    ledger: Option<&'e Ledger>,
    request: &'e ReserveRequest,
    now: Timestamp,
    filter: Filter,
    /// The ports that other keys have, ascending.
    reserved: Vec<Port>,
    latest: Option<Port>,
    /// The ports that this attempt has given already, in order.
    given: Vec<Port>,
    tables: Tables,
    /// Why the last port could not be tried that could not.
    unprobed: Option<String>,
}

impl<'e, 'a> Placing<'e, 'a> {
    /// `given_back` are ports that are released in the same transaction and may be given again at
    /// once.
    pub(super) fn new(
        engine: &'e Engine<'a>,
        ledger: Option<&'e Ledger>,
        request: &'e ReserveRequest,
        now: Timestamp,
        given_back: &[Port],
    ) -> Result<Self, Error> {
        let ports = &engine.settings().ports;
        let occupancy = ledger
            .map_or(Ok(Occupancy::default()), |ledger| ledger.occupancy(now, ports.freeze.value))?;
        let mut reserved: PortSet = occupancy.reserved.iter().copied().collect();
        for port in given_back {
            reserved.remove(*port);
        }
        Ok(Self {
            engine,
            ledger,
            request,
            now,
            reserved: reserved.iter().collect(),
            latest: occupancy.latest,
            filter: engine.filter(reserved, occupancy.frozen.into_iter().collect()),
            given: Vec::new(),
            tables: Tables::Unread,
            unprobed: None,
        })
    }

    /// Finds ports for a plot: all of its keys get one, or none does.
    pub(super) fn place(
        &mut self,
        plot: Plot<'_, '_>,
        notes: &mut Vec<Notice>,
    ) -> Result<Vec<(usize, Change, Reserved)>, Error> {
        let (candidates, selection_call) = self.candidates(&plot)?;
        let mut skipped = Skipped::default();
        let Some((base, wish)) = self.first_free(&candidates, &plot, &mut skipped, notes) else {
            let offered = candidates.proposed.iter().map(|range| range.size()).sum();
            return Err(Error::NoFreePort {
                proposed: Box::new(Proposed {
                    plugin: selection_call.plugin,
                    selected_by: selection_call.selected_by,
                    ports: offered,
                }),
                unprobed: self.unprobed.take(),
                service: plot.want.service.clone(),
                block: plot.offsets.len(),
                range: self.filter.range,
                refused: skipped.tally(),
            });
        };
        let call = (wish, selection_call, skipped);
        let placed = plot.vacancies.into_iter().filter_map(|vacancy| {
            let port = base.checked_add(vacancy.above)?;
            Some(self.give(vacancy, port, &call, notes))
        });
        placed.collect()
    }

    /// Gives `port` to a key.
    fn give(
        &mut self,
        vacancy: Vacancy<'_, '_>,
        port: Port,
        (wish, selection_call, skipped): &(Wish, PolicyCall, Skipped),
        notes: &mut Vec<Notice>,
    ) -> Result<(usize, Change, Reserved), Error> {
        self.filter.reserved.insert(port);
        self.reserved.insert(self.reserved.partition_point(|other| *other < port), port);
        self.latest = Some(port);
        self.given.push(port);

        let Vacancy { at, want, from, cause, returning, .. } = vacancy;
        let selection = match wish {
            Wish::Proposed => selection_call.plugin.clone(),
            Wish::Asked | Wish::Configured => "preferred".to_owned(),
            Wish::Block => "block".to_owned(),
            Wish::Returning => "returned".to_owned(),
        };
        let strategy = Provenance { key: self.engine.key_policy()?.plugin().label(), selection };
        let change = match from {
            Some((old, standing)) => {
                if cause == Cause::Foreign {
                    let (service, holder) = (want.service.clone(), standing.describe());
                    notes.push(Notice::Moved { service, from: old.port, to: port, holder });
                }
                let reason = match cause {
                    Cause::Foreign => format!("held by {}", standing.describe()),
                    Cause::Asked | Cause::Locked => "asked to".to_owned(),
                };
                let to = Reservation {
                    port,
                    last_used_at: self.now,
                    strategy,
                    listener: None,
                    ..self.engine.applied(want, &old)
                };
                Change::Moved { from: old.port, to, reason }
            }
            None => {
                let new = self.engine.new_reservation(want, port, self.now, strategy);
                if returning.contains(&port) {
                    Change::Returned(new)
                } else {
                    Change::Reserved(new)
                }
            }
        };
        let (outcome, decision) = match &change {
            Change::Moved { reason, .. } => {
                (Outcome::Moved, format!("moved to port {port}: {reason}"))
            }
            Change::Returned(_) => {
                (Outcome::Returned, format!("port {port} is given back to its key"))
            }
            _ => (Outcome::Created, format!("port {port} is reserved")),
        };
        let explanation = self.request.explain.then(|| Explanation {
            calls: want.key_call.iter().chain([selection_call]).cloned().collect(),
            decision,
            wish: Some(*wish),
            skipped: skipped.clone(),
        });
        let nobody = Standing { listening: Listening::None, holder: None };
        let observed = self.engine.observed(change.reservation().clone(), &nobody);
        Ok((at, change, Reserved { outcome, observed, explanation }))
    }

    /// The order in which bases are tried for a plot.
    fn candidates(&self, plot: &Plot<'_, '_>) -> Result<(Candidates, PolicyCall), Error> {
        let engine = self.engine;
        let want = plot.want;
        let choice = &engine.settings().strategy.selection;
        let (policy, load) = explain::timed(|| engine.selection_policy());
        let policy = policy?;
        let asked = self.request.prefers(want.service).to_vec();
        let configured = plot.configured();
        let wanted = configured.filter(|(_, no)| no.is_none()).map(|(port, _)| port);
        let preferred: Vec<_> = asked.iter().copied().chain(plot.beside).chain(wanted).collect();
        let project = want.facts.project.clone().or_else(|| engine.project());
        // A project's own plugin is told of nothing beyond the project.
        let visible = match strategy::authority(engine.settings(), &choice.value) {
            Authority::User => None,
            Authority::Project(directory) => Some(self.visible_below(&directory)?),
        };
        let checkout = engine.place.checkout.as_ref();
        let told = SelectionRequest {
            key: &want.key.text,
            service: want.service,
            project: project.as_ref(),
            branch: checkout.and_then(|checkout| checkout.branch.as_deref()),
            allowed: self.filter.range,
            preferred: &preferred,
            reserved: visible.as_ref().map_or(&self.reserved, |visible| &visible.reserved),
            latest: visible.as_ref().map_or(self.latest, |visible| visible.latest),
            offsets: &plot.offsets,
        };
        let (proposed, call) = explain::timed(|| policy.select(&told));
        let proposed = proposed?;
        let call = PolicyCall {
            policy: "selection",
            plugin: policy.plugin().label(),
            selected_by: choice.origin.to_string(),
            options: explain::options(&policy),
            told: explain::told_selection(&told),
            answered: explain::answered_ranges(&proposed),
            load,
            call,
        };
        let returning = plot.returning();
        let (offsets, block) = (plot.offsets.clone(), plot.beside);
        Ok((Candidates { offsets, asked, block, returning, configured, proposed }, call))
    }

    /// What a policy is told that may know of this directory alone, and of what this attempt gave.
    fn visible_below(&self, directory: &Path) -> Result<Occupancy, Error> {
        let below = self.ledger.map(|ledger| ledger.occupied_below(directory));
        let mut below = below.transpose()?.unwrap_or_default();
        below.reserved.extend(&self.given);
        below.reserved.sort_unstable();
        below.latest = self.given.last().copied().or(below.latest);
        Ok(below)
    }

    /// Tries the candidates in order, and notes which preferred ports could not be had.
    fn first_free(
        &mut self,
        candidates: &Candidates,
        plot: &Plot<'_, '_>,
        skipped: &mut Skipped,
        notes: &mut Vec<Notice>,
    ) -> Option<(Port, Wish)> {
        // What the keys themselves gave back is frozen for others only.
        let mut filter = self.filter.clone();
        for port in plot.vacancies.iter().flat_map(|vacancy| &vacancy.returning) {
            filter.frozen.remove(*port);
        }
        for (candidate, verdict) in candidates.judged(&filter) {
            let base = candidate.port;
            let refusal = match verdict {
                Err(refusal) => (base, refusal),
                Ok(()) => match self.probed(candidates, base, &filter, notes) {
                    Ok(()) => return Some((base, candidate.wish)),
                    Err(refused) => refused,
                },
            };
            skipped.push(base, refusal.1);
            if matches!(candidate.wish, Wish::Asked | Wish::Block | Wish::Configured) {
                let (port, refusal) = refusal;
                let detail = (refusal == Refusal::Held).then(|| self.engine.who_holds(port));
                let service = plot.service_at(base, port).clone();
                notes.push(Notice::PreferredRefused { service, port, refusal, detail });
            }
        }
        None
    }

    /// Tries every port of a base; the first that cannot be had, and why.
    fn probed(
        &mut self,
        candidates: &Candidates,
        base: Port,
        filter: &Filter,
        notes: &mut Vec<Notice>,
    ) -> Result<(), (Port, Refusal)> {
        let every = || {
            let bases = candidates.judged(filter).map(|(candidate, _)| candidate.port);
            bases.flat_map(|base| candidates.ports(base)).flatten().collect()
        };
        let mut unlisted = Vec::new();
        for port in candidates.ports(base).flatten() {
            match self.engine.is_free(port, &mut self.tables, every) {
                Verdict::Free => {}
                Verdict::Unlisted(reason) => unlisted.push(Notice::Unprobed { port, reason }),
                Verdict::Held => return Err((port, Refusal::Held)),
                Verdict::Unknown(reason) => {
                    self.unprobed = Some(reason);
                    return Err((port, Refusal::Unprobed));
                }
            }
        }
        notes.append(&mut unlisted);
        Ok(())
    }
}

impl Engine<'_> {
    /// Who listens on a port, for people.
    pub(super) fn who_holds(&self, port: Port) -> String {
        let ports: PortSet = [port].into_iter().collect();
        let holder = self.system.holders(&ports, &[]).ok().and_then(|mut all| all.remove(&port));
        describe(holder.as_ref())
    }
}

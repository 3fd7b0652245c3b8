//! Finding a port for a key: asking the selection policy, trying candidates in order.

use std::path::Path;

use super::super::explain::{self, Explanation};
use super::super::observe::{Standing, Tables, Verdict, describe};
use super::super::{
    Engine, Error, Notice, Outcome, PolicyCall, Proposed, ReserveRequest, Reserved, strategy,
};
use super::want::Want;
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

    /// Finds a port for `want`, which has none, or loses the one it has `from` for this `cause`.
    pub(super) fn place(
        &mut self,
        want: &Want<'_>,
        from: Option<(Reservation, Standing)>,
        cause: Cause,
        notes: &mut Vec<Notice>,
    ) -> Result<(Change, Reserved), Error> {
        let (candidates, selection_call) = self.candidates(want)?;
        let mut skipped = Skipped::default();
        let Some((port, wish)) = self.first_free(&candidates, want, &mut skipped, notes) else {
            let offered = candidates.proposed.iter().map(|range| range.size()).sum();
            return Err(Error::NoFreePort {
                proposed: Box::new(Proposed {
                    plugin: selection_call.plugin,
                    selected_by: selection_call.selected_by,
                    ports: offered,
                }),
                unprobed: self.unprobed.take(),
                service: want.service.clone(),
                range: self.filter.range,
                refused: skipped.tally(),
            });
        };
        self.filter.reserved.insert(port);
        self.reserved.insert(self.reserved.partition_point(|other| *other < port), port);
        self.latest = Some(port);
        self.given.push(port);

        let selection = match wish {
            Wish::Proposed => selection_call.plugin.clone(),
            Wish::Asked | Wish::Configured => "preferred".to_owned(),
            Wish::Returning => "returned".to_owned(),
        };
        let strategy = Provenance { key: self.engine.key_policy()?.plugin().label(), selection };
        let change = match from {
            Some((old, standing)) => self.moved(want, old, &standing, port, strategy, cause, notes),
            None => {
                let new = self.engine.new_reservation(want, port, self.now, strategy);
                if candidates.returning.contains(&port) {
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
            calls: want.key_call.iter().cloned().chain([selection_call]).collect(),
            decision,
            wish: Some(wish),
            skipped,
        });
        let nobody = Standing { listening: Listening::None, holder: None };
        let observed = self.engine.observed(change.reservation().clone(), &nobody);
        Ok((change, Reserved { outcome, observed, explanation }))
    }

    #[expect(clippy::too_many_arguments, reason = "a move is between all of these")]
    fn moved(
        &self,
        want: &Want<'_>,
        old: Reservation,
        standing: &Standing,
        port: Port,
        strategy: Provenance,
        cause: Cause,
        notes: &mut Vec<Notice>,
    ) -> Change {
        let from = old.port;
        let reason = match cause {
            Cause::Foreign => format!("held by {}", standing.describe()),
            Cause::Asked | Cause::Locked => "asked to".to_owned(),
        };
        if cause == Cause::Foreign {
            let (service, holder) = (want.service.clone(), standing.describe());
            notes.push(Notice::Moved { service, from, to: port, holder });
        }
        let to = Reservation {
            port,
            last_used_at: self.now,
            strategy,
            listener: None,
            ..self.engine.applied(want, &old)
        };
        Change::Moved { from, to, reason }
    }

    /// The order in which ports are tried for `want`.
    fn candidates(&self, want: &Want<'_>) -> Result<(Candidates, PolicyCall), Error> {
        let engine = self.engine;
        let choice = &engine.settings().strategy.selection;
        let (policy, load) = explain::timed(|| engine.selection_policy());
        let policy = policy?;
        let asked = self.request.prefer.clone();
        let configured = want.configured.iter().filter(|(_, no)| no.is_none());
        let preferred: Vec<_> =
            asked.iter().copied().chain(configured.map(|(port, _)| *port)).collect();
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
        let returning = self.ledger.map_or(Ok(Vec::new()), |ledger| ledger.released(&want.key))?;
        let configured = want.configured;
        Ok((Candidates { asked, returning, configured, proposed }, call))
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
        want: &Want<'_>,
        skipped: &mut Skipped,
        notes: &mut Vec<Notice>,
    ) -> Option<(Port, Wish)> {
        // What the key itself gave back is frozen for others only.
        let mut filter = self.filter.clone();
        for port in &candidates.returning {
            filter.frozen.remove(*port);
        }
        for (candidate, verdict) in candidates.judged(&filter) {
            let port = candidate.port;
            let every =
                || candidates.judged(&filter).map(|(candidate, _)| candidate.port).collect();
            let refusal = match verdict {
                Err(refusal) => refusal,
                Ok(()) => match self.engine.is_free(port, &mut self.tables, every) {
                    Verdict::Free => return Some((port, candidate.wish)),
                    Verdict::Unlisted(reason) => {
                        notes.push(Notice::Unprobed { port, reason });
                        return Some((port, candidate.wish));
                    }
                    Verdict::Held => Refusal::Held,
                    Verdict::Unknown(reason) => {
                        self.unprobed = Some(reason);
                        Refusal::Unprobed
                    }
                },
            };
            skipped.push(port, refusal);
            if matches!(candidate.wish, Wish::Asked | Wish::Configured) {
                let detail = (refusal == Refusal::Held).then(|| self.engine.who_holds(port));
                let service = want.service.clone();
                notes.push(Notice::PreferredRefused { service, port, refusal, detail });
            }
        }
        None
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

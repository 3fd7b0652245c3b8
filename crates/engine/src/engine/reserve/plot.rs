//! Which keys get their ports together: the services of a block, as long as none of them has one.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::super::observe::Standing;
use super::super::{Engine, Error, ReserveRequest};
use super::want::Want;
use crate::config::Member;
use crate::ledger::Ledger;
use crate::placement::Refusal;
use crate::plan::Cause;
use crate::port::Port;
use crate::reservation::{Reservation, Scope, Service};

/// A key that is to get a port: it has none, or loses the one it has.
pub(super) struct Vacancy<'w, 'r> {
    /// Which of the wants it is.
    pub(super) at: usize,
    pub(super) want: &'w Want<'r>,
    /// What it has, and why it loses that.
    pub(super) from: Option<(Reservation, Standing)>,
    pub(super) cause: Cause,
    /// The ports that the key gave back and nobody has taken since.
    pub(super) returning: Vec<Port>,
    /// How far its port is to be above the base of its plot.
    pub(super) above: u16,
}

/// Keys that get their ports from a common base.
pub(super) struct Plot<'w, 'r> {
    /// What is wanted for the key that stands for all of them.
    pub(super) want: &'w Want<'r>,
    /// The keys.
    pub(super) vacancies: Vec<Vacancy<'w, 'r>>,
    /// How far above the base the ports are that must all be had, also those that nobody asks for
    /// yet: ascending, 0 first.
    pub(super) offsets: Vec<u16>,
    /// Where the base lies beside the ports that other services of the block have.
    pub(super) beside: Option<Port>,
    /// The base that the configuration prefers, and why it is out of the question here.
    configured: Option<(Port, Option<Refusal>)>,
}

impl Engine<'_> {
    /// Puts together what gets its ports together, in the order of the request.
    pub(super) fn plots<'w, 'r>(
        &self,
        ledger: Option<&Ledger>,
        vacancies: Vec<Vacancy<'w, 'r>>,
        request: &ReserveRequest,
    ) -> Result<Vec<Plot<'w, 'r>>, Error> {
        let mut plots: Vec<(Option<Scope>, Plot<'w, 'r>)> = Vec::new();
        for vacancy in vacancies {
            // A port that the call itself asks for is one port.
            let asked = request.prefers(vacancy.want.service);
            let block = vacancy.want.block.filter(|_| asked.is_empty());
            let Some(scope) = block else {
                plots.push((None, Plot::single(vacancy)));
                continue;
            };
            match plots.iter_mut().find(|(of, _)| *of == Some(scope)) {
                Some((_, plot)) => plot.vacancies.push(vacancy),
                None => plots.push((Some(scope), Plot::single(vacancy))),
            }
        }
        let mut done = Vec::with_capacity(plots.len());
        for (scope, plot) in plots {
            match scope {
                Some(scope) => done.extend(self.block(ledger, scope, plot, request)?),
                None => done.push(plot),
            }
        }
        Ok(done)
    }

    /// The plot of a block: one for all of `plot`, or one for each when the block has a place already.
    fn block<'w, 'r>(
        &self,
        ledger: Option<&Ledger>,
        scope: Scope,
        mut plot: Plot<'w, 'r>,
        request: &ReserveRequest,
    ) -> Result<Vec<Plot<'w, 'r>>, Error> {
        let members = self.settings().block(scope);
        let above = |service: &Service| {
            let member = members.iter().find(|member| member.service == service);
            member.map_or(0, |member| member.above)
        };
        for vacancy in &mut plot.vacancies {
            vacancy.above = above(vacancy.want.service);
        }
        let refusal = self.kept_for_main(plot.want.scope);
        let preferred = members.iter().find_map(Member::preferred_base).map(|base| (base, refusal));
        let staying: Vec<_> = members
            .iter()
            .filter(|member| plot.vacancies.iter().all(|it| it.want.service != member.service))
            .copied()
            .collect();
        if let Some(base) = self.base(ledger, &staying, request)? {
            let beside = |vacancy: Vacancy<'w, 'r>| {
                let port = base.checked_add(vacancy.above);
                // What it loses is not what it gets.
                let had = vacancy.from.as_ref().map(|(reservation, _)| reservation.port);
                let beside = port.filter(|port| had != Some(*port));
                let mut plot = Plot::single(Vacancy { above: 0, ..vacancy });
                if preferred.is_some_and(|(preferred, _)| preferred == base) {
                    plot.configured = port.zip(preferred).map(|(port, (_, no))| (port, no));
                }
                Plot { beside, ..plot }
            };
            return Ok(plot.vacancies.into_iter().map(beside).collect());
        }
        plot.offsets = members.iter().map(|member| member.above).collect();
        plot.configured = preferred;
        // Which of them is named first makes no difference.
        let lowest = plot.vacancies.iter().min_by_key(|vacancy| vacancy.above);
        plot.want = lowest.map_or(plot.want, |vacancy| vacancy.want);
        Ok(vec![plot])
    }

    /// The base of a block that follows from the ports that some of its services have.
    fn base(
        &self,
        ledger: Option<&Ledger>,
        members: &[Member<'_>],
        request: &ReserveRequest,
    ) -> Result<Option<Port>, Error> {
        let Some(ledger) = ledger else {
            return Ok(None);
        };
        let services: Vec<_> = members.iter().map(|member| member.service.clone()).collect();
        for (member, (key, _)) in members.iter().zip(self.keys(&services, request.scope, false)?) {
            let port = ledger.find(&key)?.map(|reservation| reservation.port);
            if let Some(base) = port.and_then(|port| port.checked_sub(member.above)) {
                return Ok(Some(base));
            }
        }
        Ok(None)
    }
}

impl<'w, 'r> Plot<'w, 'r> {
    /// The base that the configuration prefers, unless that is where a key is to leave.
    pub(super) fn configured(&self) -> Option<(Port, Option<Refusal>)> {
        let leaves = |base: Port, vacancy: &Vacancy<'w, 'r>| {
            let had = vacancy.from.as_ref().map(|(reservation, _)| reservation.port);
            had.is_some() && had == base.checked_add(vacancy.above)
        };
        self.configured.filter(|(base, _)| self.vacancies.iter().all(|it| !leaves(*base, it)))
    }

    /// The bases at which keys get back what they had: first those of the most keys.
    pub(super) fn returning(&self) -> Vec<Port> {
        let bases = self.vacancies.iter().flat_map(|vacancy| {
            let ports = vacancy.returning.iter();
            ports.filter_map(|port| port.checked_sub(vacancy.above))
        });
        let mut bases: Vec<_> = bases.collect();
        let mut keys = BTreeMap::new();
        bases.iter().for_each(|base| *keys.entry(*base).or_insert(0_usize) += 1);
        bases.sort_by_key(|base| Reverse(keys.get(base).copied()));
        bases
    }

    /// Who wants `port` when the base lies at `base`.
    pub(super) fn service_at(&self, base: Port, port: Port) -> &'r Service {
        let wants = |vacancy: &&Vacancy<'w, 'r>| base.checked_add(vacancy.above) == Some(port);
        self.vacancies.iter().find(wants).map_or(self.want.service, |found| found.want.service)
    }

    fn single(vacancy: Vacancy<'w, 'r>) -> Self {
        let configured = vacancy.want.configured;
        let want = vacancy.want;
        Self { want, vacancies: vec![vacancy], offsets: vec![0], beside: None, configured }
    }
}

//! Which port a key may get: the engine's own filter, and the order in which ports are tried.
//!
//! A policy only proposes an order. What may be given at all is decided here, whatever it proposes.

use std::fmt;

use crate::port::{Port, PortRange, PortSet, browser_blocked};

/// Why a port may not be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// It lies outside the configured range.
    OutsideRange,
    /// The configuration excludes it.
    Excluded,
    /// It needs a privilege to be bound.
    Privileged,
    /// Browsers refuse to open it.
    BrowserBlocked,
    /// The kernel may give it to an outgoing connection at any time.
    Ephemeral,
    /// Another key has it.
    Reserved,
    /// Another key gave it back a moment ago.
    Frozen,
    /// The configuration keeps it for the main checkout, and this is a linked worktree.
    MainCheckout,
    /// Somebody holds it.
    Held,
    /// Whether it is free could not be found out.
    Unprobed,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutsideRange => "outside the allowed range",
            Self::Excluded => "excluded by configuration",
            Self::Privileged => "privileged",
            Self::BrowserBlocked => "blocked by browsers",
            Self::Ephemeral => "in the ephemeral range of the kernel",
            Self::Reserved => "reserved for another key",
            Self::Frozen => "released a moment ago",
            Self::MainCheckout => "kept for the main checkout",
            Self::Held => "held by a process",
            Self::Unprobed => "impossible to probe from here",
        })
    }
}

/// What may be given, before anything is probed.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Policies and returning keys stay inside this range; preferred ports need not.
    pub range: PortRange,
    /// Ports that are never given.
    pub excluded: PortSet,
    /// Ports that may be given although they are privileged, browser-blocked or ephemeral.
    pub allowed: PortSet,
    /// The ports of outgoing connections.
    pub ephemeral: Option<PortRange>,
    /// The lowest port that needs no privilege.
    pub first_unprivileged: Port,
    /// The ports that other keys have.
    pub reserved: PortSet,
    /// The ports that other keys gave back a moment ago.
    pub frozen: PortSet,
}

impl Filter {
    /// Why `port` may not be given at all; `None` when it may, if it can be bound.
    #[must_use]
    pub fn refusal(&self, port: Port) -> Option<Refusal> {
        if self.excluded.contains(port) {
            return Some(Refusal::Excluded);
        }
        if !self.allowed.contains(port) {
            if port < self.first_unprivileged {
                return Some(Refusal::Privileged);
            }
            if browser_blocked(port) {
                return Some(Refusal::BrowserBlocked);
            }
            if self.ephemeral.is_some_and(|range| range.contains(port)) {
                return Some(Refusal::Ephemeral);
            }
        }
        if self.reserved.contains(port) {
            Some(Refusal::Reserved)
        } else if self.frozen.contains(port) {
            Some(Refusal::Frozen)
        } else {
            None
        }
    }
}

/// A port to be tried, and why it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The port.
    pub port: Port,
    /// Who wants it.
    pub wish: Wish,
}

/// Who wants a key to get a certain port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// The user, with this call.
    Asked,
    /// The other services of its block, which have ports already.
    Block,
    /// The key had it before.
    Returning,
    /// The configuration of the service.
    Configured,
    /// The selection policy.
    Proposed,
}

impl Wish {
    /// The word that stands for it in explanations.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Asked => "asked for",
            Self::Block => "beside its block",
            Self::Returning => "returned",
            Self::Configured => "configured",
            Self::Proposed => "proposed by policy",
        }
    }
}

/// The ports to try for one key, or the bases to try for the keys of a block, in order.
#[derive(Debug, Clone, Default)]
pub struct Candidates {
    /// How far above a base the ports are that must all be had; none of them for a single port, which
    /// is its own base.
    pub offsets: Vec<u16>,
    /// Ports that the user asked for with this call.
    pub asked: Vec<Port>,
    /// The port that follows from the ports of the other services of the block.
    pub block: Option<Port>,
    /// Ports that the key had before and nobody has taken since.
    pub returning: Vec<Port>,
    /// The port that the configuration prefers, and why it is out of the question here.
    pub configured: Option<(Port, Option<Refusal>)>,
    /// What the selection policy proposes.
    pub proposed: Vec<PortRange>,
}

impl Candidates {
    /// Every candidate that `filter` lets through, or why it does not. A port that was offered
    /// before is not offered again. A base is let through when all of its ports are.
    pub fn judged<'a>(
        &'a self,
        filter: &'a Filter,
    ) -> impl Iterator<Item = (Candidate, Result<(), Refusal>)> + 'a {
        let wished = |ports: &'a [Port], wish| ports.iter().map(move |port| (*port, wish, None));
        let block = self.block.map(|port| (port, Wish::Block, None));
        let preferred = wished(&self.asked, Wish::Asked)
            .chain(block)
            .chain(wished(&self.returning, Wish::Returning))
            .chain(self.configured.iter().map(|(port, no)| (*port, Wish::Configured, *no)));
        let proposed = self
            .proposed
            .iter()
            .flat_map(|range| range.ports())
            .map(|port| (port, Wish::Proposed, None));
        let mut offered = PortSet::new();
        preferred.chain(proposed).filter(move |(port, ..)| offered.insert(*port)).map(
            |(port, wish, no)| {
                let bounded = matches!(wish, Wish::Returning | Wish::Proposed | Wish::Block);
                let bounded = bounded && !self.wants(port);
                let refusal = |port| match port {
                    None => Some(Refusal::OutsideRange),
                    Some(port) if bounded && !filter.range.contains(port) => {
                        Some(Refusal::OutsideRange)
                    }
                    Some(port) => filter.refusal(port),
                };
                let refusal = no.or_else(|| self.ports(port).find_map(refusal));
                (Candidate { port, wish }, refusal.map_or(Ok(()), Err))
            },
        )
    }

    /// The ports that belong to a base; `None` for one beyond the last port there is.
    pub fn ports(&self, base: Port) -> impl Iterator<Item = Option<Port>> + '_ {
        let itself = self.offsets.is_empty().then_some(base);
        let above = self.offsets.iter().map(move |offset| base.checked_add(*offset));
        itself.map(Some).into_iter().chain(above)
    }

    /// Whether the user or the configuration names this very port.
    fn wants(&self, port: Port) -> bool {
        self.asked.contains(&port)
            || self.configured.is_some_and(|(configured, no)| configured == port && no.is_none())
    }
}

/// What was skipped on the way to a port: runs of neighbouring ports with the same reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Skipped(Vec<(PortRange, Refusal)>);

impl Skipped {
    /// Notes that `port` was skipped.
    pub fn push(&mut self, port: Port, refusal: Refusal) {
        if let Some((range, reason)) = self.0.last_mut()
            && *reason == refusal
            && range.last().checked_add(1) == Some(port)
            && let Some(longer) = PortRange::new(range.first(), port)
        {
            *range = longer;
        } else {
            self.0.push((port.into(), refusal));
        }
    }

    /// The runs, in the order of the attempts.
    #[must_use]
    pub fn runs(&self) -> &[(PortRange, Refusal)] {
        &self.0
    }

    /// How many ports were skipped for each reason, the most frequent first.
    #[must_use]
    pub fn tally(&self) -> Vec<(Refusal, usize)> {
        let mut tally: Vec<(Refusal, usize)> = Vec::new();
        for (range, refusal) in &self.0 {
            match tally.iter_mut().find(|(reason, _)| reason == refusal) {
                Some((_, count)) => *count += range.size(),
                None => tally.push((*refusal, range.size())),
            }
        }
        tally.sort_by(|(one, many), (other, more)| more.cmp(many).then(one.cmp(other)));
        tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(number: u16) -> Port {
        Port::new(number).unwrap()
    }

    fn range(text: &str) -> PortRange {
        text.parse().unwrap()
    }

    fn filter() -> Filter {
        Filter {
            range: range("20000-20009"),
            excluded: [port(20001)].into_iter().collect(),
            allowed: [port(6000)].into_iter().collect(),
            ephemeral: Some(range("32768-60999")),
            first_unprivileged: port(1024),
            reserved: [port(20002)].into_iter().collect(),
            frozen: [port(20003)].into_iter().collect(),
        }
    }

    #[test]
    fn the_filter_holds_whatever_is_wished() {
        let filter = filter();
        for (number, refusal) in [
            (80, Refusal::Privileged),
            (6566, Refusal::BrowserBlocked),
            (40000, Refusal::Ephemeral),
            (20001, Refusal::Excluded),
            (20002, Refusal::Reserved),
            (20003, Refusal::Frozen),
        ] {
            assert_eq!(filter.refusal(port(number)), Some(refusal), "{number}");
        }
        assert_eq!(filter.refusal(port(6000)), None, "the user allows it");
        assert_eq!(filter.refusal(port(20004)), None);
    }

    #[test]
    fn wishes_come_in_order_and_only_once() {
        let candidates = Candidates {
            offsets: Vec::new(),
            asked: vec![port(3000)],
            block: None,
            returning: vec![port(20005), port(9999)],
            configured: Some((port(3000), None)),
            proposed: vec![range("20004-20005"), range("20009-20011")],
        };
        let filter = filter();
        let judged: Vec<_> = candidates
            .judged(&filter)
            .map(|(candidate, verdict)| (candidate.port.get(), candidate.wish, verdict))
            .collect();
        assert_eq!(
            judged,
            [
                (3000, Wish::Asked, Ok(())),
                (20005, Wish::Returning, Ok(())),
                (9999, Wish::Returning, Err(Refusal::OutsideRange)),
                (20004, Wish::Proposed, Ok(())),
                (20009, Wish::Proposed, Ok(())),
                (20010, Wish::Proposed, Err(Refusal::OutsideRange)),
                (20011, Wish::Proposed, Err(Refusal::OutsideRange)),
            ]
        );
    }

    #[test]
    fn a_base_is_let_through_when_all_of_its_ports_are() {
        let candidates = Candidates {
            offsets: vec![0, 2],
            block: Some(port(19999)),
            proposed: vec![range("20000-20009")],
            ..Candidates::default()
        };
        let filter = filter();
        let judged = candidates.judged(&filter);
        let judged: Vec<_> =
            judged.map(|(base, verdict)| (base.port.get(), verdict.err())).collect();
        assert_eq!(
            judged,
            [
                (19999, Some(Refusal::OutsideRange)),
                (20000, Some(Refusal::Reserved)),
                (20001, Some(Refusal::Excluded)),
                (20002, Some(Refusal::Reserved)),
                (20003, Some(Refusal::Frozen)),
                (20004, None),
                (20005, None),
                (20006, None),
                (20007, None),
                (20008, Some(Refusal::OutsideRange)),
                (20009, Some(Refusal::OutsideRange)),
            ]
        );
        let beyond = Candidates { offsets: vec![1], asked: vec![Port::MAX], ..candidates };
        let first = beyond.judged(&filter).next().map(|(_, verdict)| verdict);
        assert_eq!(first, Some(Err(Refusal::OutsideRange)));
    }

    #[test]
    fn a_port_kept_for_the_main_checkout_is_refused_with_that_reason() {
        let kept = Some((port(3000), Some(Refusal::MainCheckout)));
        let candidates = Candidates { configured: kept, ..Candidates::default() };
        let filter = filter();
        let (_, verdict) = candidates.judged(&filter).next().unwrap();
        assert_eq!(verdict, Err(Refusal::MainCheckout));
    }

    #[test]
    fn skipped_neighbours_become_runs() {
        let mut skipped = Skipped::default();
        for number in [5, 6, 7, 9] {
            skipped.push(port(number), Refusal::Held);
        }
        skipped.push(port(10), Refusal::Frozen);
        let runs = [
            (range("5-7"), Refusal::Held),
            (range("9"), Refusal::Held),
            (range("10"), Refusal::Frozen),
        ];
        assert_eq!(skipped.runs(), runs);
        assert_eq!(skipped.tally(), [(Refusal::Held, 4), (Refusal::Frozen, 1)]);
    }
}

//! What a simulation found out.

use std::collections::BTreeMap;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::workload::Workload;
use crate::placement::Refusal;
use crate::policy::{Cleanup, Failure, PolicyError};
use crate::port::{Port, PortRange};

/// What came of a workload. Every request is counted once, among [`hits`](Self::hits),
/// [`new`](Self::new), [`returned`](Self::returned), [`moved`](Self::moved),
/// [`exhausted`](Self::exhausted), [`conflicts`](Self::conflicts), [`refused`](Self::refused) or the
/// releases by a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How many requests were made.
    pub requests: usize,
    /// How much time passed in the simulation, in seconds.
    pub seconds: u64,
    /// Requests of a key that had its port already, and kept it.
    pub hits: usize,
    /// Those among the hits whose port a stranger held: the reservation is locked, or
    /// `ports.on_conflict` says *keep*.
    pub kept_held: usize,
    /// Requests of a key without a port that got one it never had, or that others had since.
    pub new: usize,
    /// Requests of a key without a port that got one back, which nobody had since.
    pub returned: usize,
    /// Requests of a key that got another port, because a stranger held its own.
    pub moved: usize,
    /// Requests that got nothing, because no port was free, even with what cleanup would release.
    pub exhausted: usize,
    /// Requests that got nothing, because a stranger held the port and `ports.on_conflict` says
    /// *fail*.
    pub conflicts: usize,
    /// Requests that got nothing, because the key or the selection policy refused.
    pub refused: Refused,
    /// What was released, and by whom.
    pub released: Released,
    /// The runs of the cleanup policies over everything.
    pub cleanups: usize,
    /// Runs of the cleanup policies that released nothing, because one of them refused.
    pub cleanups_refused: Refused,
    /// How the selection policy's proposals did.
    pub proposals: Proposals,
    /// What became of the keys.
    pub keys: Keys,
    /// How much of the range was used.
    pub range: RangeUse,
    /// Each port of the range.
    pub occupancy: Occupancy,
}

impl Report {
    /// The report of no request yet.
    pub(super) fn empty(
        workload: &Workload,
        range: PortRange,
        cleanup: &[(&str, &dyn Cleanup)],
    ) -> Self {
        let by_policy = cleanup.iter().map(|(name, _)| ((*name).to_owned(), 0)).collect();
        Self {
            requests: usize::try_from(workload.requests).unwrap_or(usize::MAX),
            seconds: 0,
            hits: 0,
            kept_held: 0,
            new: 0,
            returned: 0,
            moved: 0,
            exhausted: 0,
            conflicts: 0,
            refused: Refused::default(),
            released: Released { by_user: 0, by_policy },
            cleanups: 0,
            cleanups_refused: Refused::default(),
            proposals: Proposals::default(),
            keys: Keys::default(),
            range: RangeUse { size: range.size(), ..RangeUse::default() },
            occupancy: Occupancy {
                first: range.first(),
                given: vec![0; range.size()],
                reserved: Vec::new(),
                foreign: Vec::new(),
            },
        }
    }

    /// How many times a port was given: to a key that had none, or had to move.
    #[must_use]
    pub fn placements(&self) -> usize {
        self.new + self.returned + self.moved
    }
}

/// Refusals of policies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// How many there were.
    pub count: usize,
    /// What the first one said.
    pub first: Option<String>,
}

impl Refused {
    /// Sets apart what a policy refuses, which is an outcome, from what breaks it.
    pub(super) fn or_answer<T>(
        &mut self,
        answer: Result<T, PolicyError>,
    ) -> Result<Option<T>, PolicyError> {
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if matches!(error.failure, Failure::Refused(_)) => {
                self.count += 1;
                self.first.get_or_insert_with(|| error.to_string());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Who released how many reservations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Released {
    /// By request.
    pub by_user: usize,
    /// By each cleanup policy, also those that released none.
    pub by_policy: BTreeMap<String, usize>,
}

/// How the selection policy's proposals did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Proposals {
    /// How many placements got the very port that the policy proposed first.
    pub first_choice: usize,
    /// How many proposals the engine passed over on the way to a port, by reason, the most frequent
    /// first. Requests for which no port was free are not counted.
    pub skipped: Vec<Skips>,
}

/// Proposals that the engine passed over for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skips {
    /// How many there were.
    pub count: usize,
    /// Why they were not given.
    pub reason: String,
}

impl Skips {
    pub(super) fn sorted(counts: &BTreeMap<Refusal, usize>) -> Vec<Self> {
        let mut sorted: Vec<_> =
            counts.iter().map(|(why, n)| Self { count: *n, reason: why.to_string() }).collect();
        sorted.sort_by_key(|skips| std::cmp::Reverse(skips.count));
        sorted
    }
}

/// What became of the keys that got a port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Keys {
    /// How many keys got a port.
    pub distinct: usize,
    /// How many of them were used from more than one directory.
    pub shared: usize,
    /// How many of them have, or had last, the port they would get on an empty machine: the share of
    /// ports that a lost ledger, or a colleague's machine, would not change.
    pub portable: usize,
    /// How often a key without a port came back that once had one.
    pub came_back: usize,
    /// How often it got the same port again.
    pub same_port: usize,
}

/// How much of the range was used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RangeUse {
    /// How many ports the range holds.
    pub size: usize,
    /// The most reservations there were at the same time.
    pub peak: usize,
    /// How many different ports were given.
    pub distinct: usize,
}

/// Each port of the range: what a picture is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupancy {
    /// The first port of the range.
    pub first: Port,
    /// How often each port was given, from the first to the last. In JSON those alone that were
    /// given, as pairs of port and count.
    pub given: Vec<u32>,
    /// The ports that are reserved at the end, ascending.
    pub reserved: Vec<Port>,
    /// The ports that strangers hold at the end, ascending.
    pub foreign: Vec<Port>,
}

impl Serialize for Occupancy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ports = (self.first.get()..).zip(&self.given);
        let given: Vec<_> = ports.filter(|(_, times)| **times > 0).collect();
        let mut object = serializer.serialize_struct("Occupancy", 3)?;
        object.serialize_field("given", &given)?;
        object.serialize_field("reserved", &self.reserved)?;
        object.serialize_field("foreign", &self.foreign)?;
        object.end()
    }
}

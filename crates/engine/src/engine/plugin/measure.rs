//! What calls of a policy cost, measured from outside.

use std::cell::RefCell;
use std::time::Duration;

use super::super::explain::timed;
use crate::observed::Observed;
use crate::policy::{
    Cleanup, KeyDerivation, KeyRequest, PolicyError, PortSelection, SelectionRequest, Verdict,
};
use crate::port::PortRange;
use crate::time::Timestamp;
use crate::wasm::{Policy, Usage};

/// What the calls of one function cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost {
    /// The plugin, as `NAME VERSION`.
    pub plugin: String,
    /// The function of the contract, as `INTERFACE.FUNCTION`.
    pub function: &'static str,
    /// How many calls there were.
    pub calls: usize,
    /// The time that half of the calls stayed below.
    pub median: Duration,
    /// The time that 99 of 100 calls stayed below.
    pub p99: Duration,
    /// The most that a single call used, of each by itself.
    pub most: Usage,
}

/// A policy whose calls are measured. It answers as the policy does.
pub(super) struct Measured {
    policy: Policy,
    samples: RefCell<Vec<(Duration, Usage)>>,
}

impl Measured {
    pub(super) fn new(policy: Policy) -> Self {
        Self { policy, samples: RefCell::default() }
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What the calls cost, all of which were of `function`; `None` when there were none.
    pub(super) fn cost(self, function: &'static str) -> Option<Cost> {
        let samples = self.samples.into_inner();
        let mut times: Vec<_> = samples.iter().map(|(time, _)| *time).collect();
        times.sort_unstable();
        let most = samples.iter().fold(Usage::default(), |most, (_, usage)| Usage {
            fuel: most.fuel.max(usage.fuel),
            memory: most.memory.max(usage.memory),
        });
        let last = times.len().checked_sub(1)?;
        let rank = |percent: usize| times.get((times.len() * percent / 100).min(last));
        let (median, p99) = (*rank(50)?, *rank(99)?);
        let plugin = self.policy.plugin().label();
        Some(Cost { plugin, function, calls: times.len(), median, p99, most })
    }

    fn measure<T>(&self, call: impl FnOnce(&Policy) -> T) -> T {
        let (answer, time) = timed(|| call(&self.policy));
        self.samples.borrow_mut().push((time, self.policy.last_usage()));
        answer
    }
}

impl KeyDerivation for Measured {
    fn derive(&self, request: &KeyRequest<'_>) -> Result<String, PolicyError> {
        self.measure(|policy| policy.derive(request))
    }
}

impl PortSelection for Measured {
    fn select(&self, request: &SelectionRequest<'_>) -> Result<Vec<PortRange>, PolicyError> {
        self.measure(|policy| policy.select(request))
    }
}

impl Cleanup for Measured {
    fn review(
        &self,
        now: Timestamp,
        reservations: &[&Observed],
    ) -> Result<Vec<Verdict>, PolicyError> {
        self.measure(|policy| policy.review(now, reservations))
    }
}

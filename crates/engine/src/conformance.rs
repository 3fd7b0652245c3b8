//! What a policy must do whatever it decides, as checks that an author can run: the edges of the
//! contract, requests at random, and the author's own [`cases`]. Pure: policies are asked through
//! their traits, and whoever asks makes every call a fresh one.
//!
//! A check **fails** when the policy breaks the contract: it traps, uses up a limit, answers what
//! cannot be, or answers the same request differently. What it may do, and its author may not
//! have meant, is **noted**: that it refuses, that two services share a key.

mod call;
pub mod cases;
mod cleanup;
mod derivation;
mod exam;
mod form;
mod generate;
mod selection;
#[cfg(test)]
mod tests;

pub use call::{DeriveCall, ReviewCall, SelectCall};

use crate::policy::{Cleanup, KeyDerivation, PortSelection};

/// The built-in checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suite {
    /// How many requests are made at random for each interface.
    pub runs: u32,
    /// What they are made from: request *n* of seed *s* is request 0 of seed *s + n*, so that one
    /// run with the reported seed repeats it.
    pub seed: u64,
}

impl Suite {
    /// Checks a key policy.
    #[must_use]
    pub fn derivation(self, policy: &dyn KeyDerivation) -> Vec<Check> {
        derivation::checks(self, policy)
    }

    /// Checks a selection policy.
    #[must_use]
    pub fn selection(self, policy: &dyn PortSelection) -> Vec<Check> {
        selection::checks(self, policy)
    }

    /// Checks a cleanup policy.
    #[must_use]
    pub fn cleanup(self, policy: &dyn Cleanup) -> Vec<Check> {
        cleanup::checks(self, policy)
    }
}

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The interface, such as `key-derivation`.
    pub interface: &'static str,
    /// What was checked, in a few words; no two checks of an interface have the same.
    pub name: &'static str,
    /// What came out.
    pub outcome: CheckOutcome,
}

/// What came out of a check. Texts are one line, with requests in JSON, long parts left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckOutcome {
    /// All is as it should be.
    Passed,
    /// Not wrong, but worth knowing.
    Noted(String),
    /// The policy breaks the contract.
    Failed {
        /// How.
        text: String,
        /// What the request was made from that showed it, if it was made at random.
        seed: Option<u64>,
    },
}

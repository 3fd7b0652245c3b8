//! The three decisions that belong to policies, in the words of the domain.
//!
//! [`plan`](crate::plan) knows policies only through these traits; that they run as WebAssembly is
//! the business of [`wasm`](crate::wasm).

use std::fmt;

use crate::observed::Observed;
use crate::place::Place;
use crate::port::{Port, PortRange};
use crate::reservation::{Label, Scope, Service};
use crate::time::Timestamp;

/// Decides what identifies a reservation.
pub trait KeyDerivation {
    /// The text of the key: the same facts always give the same text.
    fn derive(&self, request: &KeyRequest<'_>) -> Result<String, PolicyError>;
}

/// What a key is derived from.
#[derive(Debug, Clone, Copy)]
pub struct KeyRequest<'a> {
    /// What the reservation is to belong to.
    pub scope: Scope,
    /// The name within the scope.
    pub service: &'a Service,
    /// The directory and the checkout that the request comes from.
    pub place: &'a Place,
    /// The project: as configured, else the repository's name.
    pub project: Option<&'a Label>,
}

/// A [`KeyRequest`] that is kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyFacts {
    scope: Scope,
    service: Service,
    place: Place,
    project: Option<Label>,
}

impl From<&KeyRequest<'_>> for KeyFacts {
    fn from(request: &KeyRequest<'_>) -> Self {
        Self {
            scope: request.scope,
            service: request.service.clone(),
            place: request.place.clone(),
            project: request.project.cloned(),
        }
    }
}

/// Decides which port a key gets.
pub trait PortSelection {
    /// The ports to try, in order, each range ascending, all inside `request.allowed`.
    fn select(&self, request: &SelectionRequest<'_>) -> Result<Vec<PortRange>, PolicyError>;
}

/// What a port is selected for.
#[derive(Debug, Clone, Copy)]
pub struct SelectionRequest<'a> {
    /// The key that needs a port.
    pub key: &'a str,
    /// The service the key was derived for.
    pub service: &'a Service,
    /// The project, where it is known.
    pub project: Option<&'a Label>,
    /// The branch of the checkout, where it is known.
    pub branch: Option<&'a str>,
    /// The ports that will be considered.
    pub allowed: PortRange,
    /// The ports that are tried first, whatever the policy answers.
    pub preferred: &'a [Port],
    /// The ports that other reservations hold, ascending.
    pub reserved: &'a [Port],
    /// The port that was given most recently.
    pub latest: Option<Port>,
    /// Each port is wanted together with the ports this far above it, ascending, 0 first.
    pub offsets: &'a [u16],
}

/// Decides which reservations may be released.
pub trait Cleanup {
    /// One verdict for each of `reservations`, in the same order.
    fn review(
        &self,
        now: Timestamp,
        reservations: &[&Observed],
    ) -> Result<Vec<Verdict>, PolicyError>;
}

/// What a cleanup policy says of one reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The next policy decides; the reservation stays when there is none.
    Pass,
    /// It stays, whatever later policies say.
    Keep,
    /// It may be released, for this reason.
    Release(String),
}

/// A policy that gave no usable answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policy `{plugin}` failed in `{function}`: {failure}")]
pub struct PolicyError {
    /// The plugin, as `NAME VERSION`.
    pub plugin: String,
    /// The function of the contract, as `INTERFACE.FUNCTION`.
    pub function: &'static str,
    /// What selected the plugin: a file and line, or `built-in`.
    pub selected_by: String,
    /// What went wrong.
    pub failure: Failure,
}

impl PolicyError {
    /// Whether the policy had an answer, and it was no.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self.failure, Failure::Refused(_))
    }
}

/// How a policy failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It answered with an error of its own.
    Refused(String),
    /// It used up its fuel.
    Fuel(u64),
    /// It asked for more than this many bytes of memory.
    Memory(u64),
    /// It recursed too deeply.
    Stack,
    /// It answered with more than this many bytes.
    AnswerSize(u64),
    /// It trapped; the reason and the wasm functions it came through, innermost first.
    Trap(String, Vec<String>),
    /// Its answer breaks the contract.
    Answer(String),
    /// Its function does not have the types of the contract.
    Mistyped(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reason) => f.write_str(reason),
            Self::Fuel(limit) => write!(f, "it used up its fuel of {limit}"),
            Self::Memory(limit) => write!(f, "it asked for more than {limit} bytes of memory"),
            Self::Stack => f.write_str("it overflowed its stack"),
            Self::AnswerSize(limit) => write!(f, "its answer is larger than {limit} bytes"),
            Self::Trap(reason, frames) if frames.is_empty() => write!(f, "it trapped: {reason}"),
            Self::Trap(reason, frames) => {
                write!(f, "it trapped: {reason}, in {}", frames.join(" < "))
            }
            Self::Mistyped(what) => {
                write!(f, "it does not have the types of the contract: {what}")
            }
            Self::Answer(what) => write!(f, "its answer breaks the contract: {what}"),
        }
    }
}

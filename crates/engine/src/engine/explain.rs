//! The whole of a decision, for people who ask why.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::place::CheckoutKind;
use crate::placement::{Skipped, Wish};
use crate::policy::{KeyRequest, SelectionRequest};
use crate::port::PortRange;
use crate::wasm::Policy;

/// How a reservation came to its port.
#[derive(Debug, Clone, Default)]
pub struct Explanation {
    /// The policies that were asked, in order.
    pub calls: Vec<PolicyCall>,
    /// What became of the request, and why.
    pub decision: String,
    /// Who wanted the port that was given; `None` when no port was looked for.
    pub wish: Option<Wish>,
    /// The ports that were passed over on the way.
    pub skipped: Skipped,
}

/// One policy that was asked.
#[derive(Debug, Clone)]
pub struct PolicyCall {
    /// Which decision: `key`, `selection`.
    pub policy: &'static str,
    /// The plugin, as `NAME VERSION`.
    pub plugin: String,
    /// What selected it: a file and line, or `built-in`.
    pub selected_by: String,
    /// Its options, as it gets them.
    pub options: Value,
    /// What it was told.
    pub told: Value,
    /// What it answered.
    pub answered: Value,
    /// How long loading it took.
    pub load: Duration,
    /// How long the call took.
    pub call: Duration,
}

/// Runs `work` and measures it.
pub(super) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}

/// The options of a policy, which are a JSON object.
pub(super) fn options(policy: &Policy) -> Value {
    serde_json::from_str(policy.options()).unwrap_or_default()
}

pub(super) fn told_key(request: &KeyRequest<'_>) -> Value {
    let checkout = request.place.checkout.as_ref().map(|checkout| {
        json!({
            "root": checkout.root.to_string_lossy(),
            "repository": checkout.repository.as_deref().map(std::path::Path::to_string_lossy),
            "name": checkout.name,
            "branch": checkout.branch,
            "linked": checkout.kind == CheckoutKind::Linked,
        })
    });
    json!({
        "scope": request.scope,
        "service": request.service,
        "directory": request.place.directory.to_string_lossy(),
        "checkout": checkout,
        "project": request.project,
    })
}

pub(super) fn told_selection(request: &SelectionRequest<'_>) -> Value {
    json!({
        "key": request.key,
        "service": request.service,
        "project": request.project,
        "branch": request.branch,
        "allowed": request.allowed,
        "preferred": request.preferred,
        "reserved": request.reserved.len(),
        "latest": request.latest,
        "offsets": request.offsets,
    })
}

pub(super) fn answered_ranges(ranges: &[PortRange]) -> Value {
    ranges.iter().map(ToString::to_string).collect()
}

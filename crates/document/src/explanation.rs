//! Why a port was chosen.

use hythe_engine::{Explanation, Wish};
use serde_json::{Value, json};

/// The whole decision: which policies were asked, what they were told and answered, and which ports
/// were passed over. A part of `reserve.json`.
#[must_use]
pub fn explanation(explanation: &Explanation) -> Value {
    let calls = explanation.calls.iter().map(|call| {
        json!({
            "policy": call.policy,
            "plugin": call.plugin,
            "selected_by": call.selected_by,
            "options": call.options,
            "told": call.told,
            "answered": call.answered,
            "load_microseconds": u64::try_from(call.load.as_micros()).unwrap_or(u64::MAX),
            "call_microseconds": u64::try_from(call.call.as_micros()).unwrap_or(u64::MAX),
        })
    });
    let skipped = explanation
        .skipped
        .runs()
        .iter()
        .map(|(range, refusal)| json!({ "ports": range, "reason": refusal.to_string() }));
    json!({
        "decision": explanation.decision,
        "wish": explanation.wish.map(Wish::word),
        "policies": calls.collect::<Vec<_>>(),
        "skipped": skipped.collect::<Vec<_>>(),
    })
}

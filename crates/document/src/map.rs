//! A range and what is with each of its ports.

use hythe_engine::PortMap;
use serde_json::{Value, json};

/// A picture of a range, neighbours that are alike together. Its schema: `map.json`.
#[must_use]
pub fn map(map: &PortMap) -> Value {
    let runs = map.runs().into_iter();
    let runs = runs.map(|(ports, state)| json!({ "ports": ports, "state": state.word() }));
    json!({ "version": 1, "range": map.range, "ports": runs.collect::<Vec<_>>() })
}

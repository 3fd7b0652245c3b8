//! The JSON documents that the command line has. docs/schema holds their schemas; tests validate
//! against them.

use std::path::Path;
use std::time::Duration;

pub(crate) use hythe_document::{
    Of, listed, locked, map, path, processes, projects, publishers, released, reservation,
    reserved, shown, user, user_name,
};
use hythe_engine::{Cost, FoundPlugin, PluginFacts, TypicalCall};
use serde_json::{Value, json};

/// What changed in a configuration file, or would.
pub(crate) fn configured(file: &Path, changes: &[String], dry_run: bool) -> Value {
    json!({ "version": 1, "dry_run": dry_run, "file": path(file), "changes": changes })
}

/// A plugin.
pub(crate) fn plugin(facts: &PluginFacts) -> Value {
    let mut document = json!({
        "name": facts.name,
        "source": facts.path.as_deref().map_or("bundled".into(), path),
        "declared_by": facts.declared_by.to_string(),
        "used_for": facts.used_for,
        "version": null,
        "summary": null,
        "policies": null,
        "size": null,
        "sha256": null,
        "error": null,
    });
    match &facts.found {
        Ok(FoundPlugin { description, policies, size, sha256 }) => {
            document["version"] = description.version.clone().into();
            document["summary"] = description.summary.clone().into();
            document["policies"] = policies.iter().map(|policy| policy.name()).collect();
            document["size"] = (*size).into();
            document["sha256"] = sha256.clone().into();
        }
        Err(error) => document["error"] = error.clone().into(),
    }
    document
}

/// A typical call of a policy.
pub(crate) fn typical_call(call: &TypicalCall) -> Value {
    let (answer, error) = match &call.answer {
        Ok(answer) => (answer.clone(), Value::Null),
        Err(error) => (Value::Null, error.failure.to_string().into()),
    };
    json!({
        "function": call.function,
        "answer": answer,
        "error": error,
        "fuel": call.usage.fuel,
        "memory": call.usage.memory,
        "time_microseconds": micros(call.time),
    })
}

/// What the calls of a policy cost.
pub(crate) fn cost(cost: &Cost) -> Value {
    json!({
        "plugin": cost.plugin,
        "function": cost.function,
        "calls": cost.calls,
        "median_microseconds": micros(cost.median),
        "p99_microseconds": micros(cost.p99),
        "fuel": cost.most.fuel,
        "memory": cost.most.memory,
    })
}

/// A time in microseconds.
pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// JSON for people: of a long array the beginning, of a long text both ends.
pub(crate) fn brief(value: &Value) -> String {
    match value {
        Value::Array(elements) => {
            let mut shown: Vec<_> = elements.iter().take(ELEMENTS).map(brief).collect();
            let more = elements.len() - shown.len();
            if more > 0 {
                shown.push(format!("… {more} more"));
            }
            format!("[{}]", shown.join(","))
        }
        Value::Object(members) => {
            let member = |(name, value): (&String, _)| format!("{}:{}", text(name), brief(value));
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
        }
        Value::String(string) => text(string),
        other => other.to_string(),
    }
}

fn text(string: &str) -> String {
    Value::from(shortened(string, CHARACTERS)).to_string()
}

/// How many elements of an array [`brief`] shows.
const ELEMENTS: usize = 8;

/// How many characters of a string [`brief`] shows.
const CHARACTERS: usize = 80;

/// `text` in at most `most` characters, without its middle if it has more.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return text.to_owned();
    }
    let tail = most / 2;
    let head = most.saturating_sub(tail + 1);
    let kept = |(at, character)| (at < head || at >= count - tail).then_some(character);
    let mut kept: Vec<_> = text.chars().enumerate().filter_map(kept).collect();
    kept.insert(head, '…');
    kept.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_is_shown_as_it_is() {
        let value = json!({ "a": [1, null, "x\"y"], "b": { "c": true }, "d": "ü".repeat(80) });
        assert_eq!(brief(&value), value.to_string());
        let eight: Value = (0..8).collect();
        assert_eq!(brief(&eight), eight.to_string());
    }

    #[test]
    fn what_is_long_loses_the_rest_of_arrays_and_the_middle_of_texts() {
        let nine: Value = (0..9).collect();
        assert_eq!(brief(&json!([nine, "z"])), "[[0,1,2,3,4,5,6,7,… 1 more],\"z\"]");
        let long = format!("{}{}", "a".repeat(50), "ü".repeat(50));
        let expected = format!("\"{}…{}\"", "a".repeat(39), "ü".repeat(40));
        assert_eq!(brief(&json!(long)), expected);
        assert_eq!(brief(&json!({ long: 1 })), format!("{{{expected}:1}}"));
    }

    #[test]
    fn every_length_is_kept_to() {
        for most in 1..=8 {
            let text = shortened("0123456789", most);
            assert_eq!(text.chars().count(), most, "{text}");
            assert!(text.contains('…'), "{text}");
        }
        assert_eq!(shortened("0123456789", 10), "0123456789");
    }
}

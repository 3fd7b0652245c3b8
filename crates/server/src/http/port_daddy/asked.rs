//! What clients of Port Daddy may ask for, and what they are told when they may not.

use axum::http::HeaderMap;
use hythe_engine::config::{Ports, Set};
use hythe_engine::{Host, Label, Port, PortRange, System as _, browser_blocked};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use serde_json::Value;

/// The longest name of a project, in bytes.
const LONGEST: usize = 255;

/// A project, by the rules of Port Daddy.
pub(super) fn project(value: &Value) -> Result<Label, String> {
    let Some(name) = value.as_str().filter(|name| !name.is_empty()) else {
        return Err("the project must be a non-empty string".to_owned());
    };
    if name.len() > LONGEST {
        return Err(format!("the project's name is too long: at most {LONGEST} characters"));
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        let allowed = "letters, digits and `. _ -` are allowed";
        return Err(format!("the project's name has invalid characters: {allowed}"));
    }
    name.parse().map_err(|error: hythe_engine::NameError| error.to_string())
}

/// The process that asks, where the request says so.
pub(super) fn pid(headers: &HeaderMap) -> Result<Option<u32>, String> {
    let Some(text) = headers.get("x-pid") else { return Ok(None) };
    let text = text.to_str().map(str::trim).unwrap_or_default();
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse().ok().filter(|pid| digits && *pid > 0) {
        Some(pid) => Ok(Some(pid)),
        None => Err("X-PID must be a PID, which is a positive integer".to_owned()),
    }
}

/// The port that is to be tried first, where there is one.
pub(super) fn preferred(value: &Value) -> Result<Option<Port>, String> {
    if value.is_null() {
        return Ok(None);
    }
    let first = Host.first_unprivileged();
    let wrong = || format!("the preferred port must be a number between {first} and 65535");
    number(value).filter(|port| *port >= first).map(Some).ok_or_else(wrong)
}

/// A port that is given back.
pub(super) fn port(value: &Value) -> Result<Port, String> {
    number(value).ok_or_else(|| "the port must be a number between 1 and 65535".to_owned())
}

/// A port as a number, or as its text: shells quote what they do not know.
fn number(value: &Value) -> Option<Port> {
    match value {
        Value::Number(number) => number.to_string().parse().ok(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// Why a port is given to nobody, however it is asked for; `None` when it may be.
pub(super) fn refusal(port: Port, ports: &Ports) -> Option<String> {
    let has = |ranges: &[Set<PortRange>]| ranges.iter().any(|range| range.value.contains(port));
    let ephemeral = || Host.ephemeral_range().is_some_and(|range| range.contains(port));
    let why = if has(&ports.exclude) {
        "it is excluded by configuration"
    } else if has(&ports.allow) {
        return None;
    } else if browser_blocked(port) {
        "browsers refuse to open it"
    } else if ephemeral() {
        "the system gives it to outgoing connections"
    } else {
        return None;
    };
    Some(format!("port {port} is reserved: {why}"))
}

/// Which listeners are told of.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct System {
    /// Only those in the range that ports are chosen from.
    #[serde(deserialize_with = "flag")]
    #[schemars(schema_with = "super::schema::flag")]
    pub(super) range_only: bool,
    /// Only those whose port is not reserved.
    #[serde(deserialize_with = "flag")]
    #[schemars(schema_with = "super::schema::flag")]
    pub(super) unmanaged_only: bool,
}

fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "" | "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        other => Err(D::Error::custom(format!("`{other}` is neither `true` nor `false`"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_project_is_what_it_was_there() {
        for name in ["shop", "my-app", "My.App_2", "-", "9", &"x".repeat(255)] {
            assert_eq!(project(&json!(name)).unwrap().as_str(), name);
        }
        let long = "x".repeat(256);
        for (value, said) in [
            (json!(null), "non-empty string"),
            (json!(""), "non-empty string"),
            (json!(7), "non-empty string"),
            (json!(["shop"]), "non-empty string"),
            (json!(long), "too long"),
            (json!("a b"), "invalid characters"),
            (json!("../x"), "invalid characters"),
            (json!("größe"), "invalid characters"),
            (json!("x\u{0}"), "invalid characters"),
            (json!("$(id)"), "invalid characters"),
        ] {
            let error = project(&value).unwrap_err();
            assert!(error.contains(said), "{value}: {error}");
        }
    }

    #[test]
    fn a_pid_is_a_positive_integer() {
        let read = |text: &'static str| {
            pid(&[("x-pid", text)].into_iter().fold(
                HeaderMap::new(),
                |mut headers, (name, text)| {
                    headers.insert(name, axum::http::HeaderValue::from_static(text));
                    headers
                },
            ))
        };
        assert_eq!(pid(&HeaderMap::new()), Ok(None));
        assert_eq!(read("1"), Ok(Some(1)));
        assert_eq!(read(" 4194304 "), Ok(Some(4_194_304)));
        for text in ["", "0", "-1", "+1", "1.5", "abc", "1e3", "99999999999"] {
            assert!(read(text).unwrap_err().contains("PID"), "{text}");
        }
    }

    #[test]
    fn a_preferred_port_is_a_number() {
        assert_eq!(preferred(&json!(null)), Ok(None));
        assert_eq!(preferred(&json!(3221)), Ok(Port::new(3221)));
        assert_eq!(preferred(&json!("3221")), Ok(Port::new(3221)));
        for value in [json!(0), json!(-1), json!(65536), json!(3000.5), json!("x"), json!(true)] {
            assert!(preferred(&value).unwrap_err().contains("number between"), "{value}");
        }
    }
}

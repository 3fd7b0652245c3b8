//! A plugin's options: checked against the schema that the plugin gives, and turned into the JSON
//! that it gets.
//!
//! The schema is a small part of JSON Schema (2020-12), enough to describe a table of options. The
//! rest is refused rather than ignored: references and patterns in a schema that comes from a
//! sandbox would let it keep the host busy for as long as it likes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Number, Value};

/// An option that a plugin's schema does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct OptionError {
    /// The option of the table that is wrong, or that contains what is wrong.
    pub option: String,
    /// What is wrong.
    pub message: String,
    /// What may have been meant.
    pub hint: Option<String>,
}

/// What a table, or one value, may be.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Schema {
    #[serde(rename = "$schema")]
    _dialect: Option<String>,
    #[serde(rename = "title")]
    _title: Option<String>,
    #[serde(rename = "description")]
    _description: Option<String>,
    #[serde(rename = "default")]
    _default: Option<Value>,
    r#type: Option<Type>,
    format: Option<Format>,
    r#enum: Option<Vec<Value>>,
    minimum: Option<f64>,
    maximum: Option<f64>,
    items: Option<Box<Schema>>,
    properties: BTreeMap<String, Schema>,
    required: Vec<String>,
    additional_properties: Additional,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Type {
    String,
    Integer,
    Number,
    Boolean,
    Array,
    Object,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    Duration,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Additional {
    Allowed(bool),
    As(Box<Schema>),
}

impl Default for Additional {
    fn default() -> Self {
        Self::Allowed(false)
    }
}

impl Schema {
    /// The schema written in `text`; an empty text allows no option at all.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// The JSON that the plugin gets for the table `options`.
    pub(super) fn check(&self, options: &BTreeMap<String, Value>) -> Result<String, OptionError> {
        let table = options.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        self.object(&table, &[]).map(|table| table.to_string())
    }

    fn value(&self, value: &Value, path: &[&str]) -> Result<Value, OptionError> {
        let matches = match (self.r#type, value) {
            (Some(Type::Integer), Value::Number(number)) => number.is_i64() || number.is_u64(),
            (None, _)
            | (Some(Type::String), Value::String(_))
            | (Some(Type::Number), Value::Number(_))
            | (Some(Type::Boolean), Value::Bool(_))
            | (Some(Type::Array), Value::Array(_))
            | (Some(Type::Object), Value::Object(_)) => true,
            _ => false,
        };
        if let Some(expected) = self.r#type.filter(|_| !matches) {
            let expected = format!("{expected:?}").to_lowercase();
            return Err(wrong(path, format!("expected {expected}, found `{value}`")));
        }
        if let Some(allowed) = self.r#enum.as_ref().filter(|allowed| !allowed.contains(value)) {
            let allowed: Vec<_> = allowed.iter().map(Value::to_string).collect();
            return Err(wrong(path, format!("`{value}` is not one of {}", allowed.join(", "))));
        }
        match value {
            Value::String(text) if self.format == Some(Format::Duration) => {
                let duration = humantime::parse_duration(text).map_err(|error| {
                    wrong(path, format!("`{text}` is not a duration such as `30d`: {error}"))
                })?;
                self.bounds(&seconds(duration), path)
            }
            Value::Number(number) => self.bounds(number, path),
            Value::Array(values) => match &self.items {
                Some(items) => values.iter().map(|value| items.value(value, path)).collect(),
                None => Ok(value.clone()),
            },
            Value::Object(table) => self.object(table, path),
            _ => Ok(value.clone()),
        }
    }

    fn bounds(&self, number: &Number, path: &[&str]) -> Result<Value, OptionError> {
        let value = number.as_f64().unwrap_or(f64::NAN);
        match (self.minimum, self.maximum) {
            (Some(minimum), _) if value < minimum => {
                Err(wrong(path, format!("{number} is less than {minimum}")))
            }
            (_, Some(maximum)) if value > maximum => {
                Err(wrong(path, format!("{number} is more than {maximum}")))
            }
            _ => Ok(Value::Number(number.clone())),
        }
    }

    fn object(
        &self,
        table: &serde_json::Map<String, Value>,
        path: &[&str],
    ) -> Result<Value, OptionError> {
        if let Some(missing) = self.required.iter().find(|name| !table.contains_key(*name)) {
            let path: Vec<_> = path.iter().copied().chain([missing.as_str()]).collect();
            return Err(wrong(&path, "it is required".to_owned()));
        }
        let checked = table.iter().map(|(name, value)| {
            let path: Vec<_> = path.iter().copied().chain([name.as_str()]).collect();
            let checked = match (self.properties.get(name), &self.additional_properties) {
                (Some(schema), _) => schema.value(value, &path)?,
                (None, Additional::As(schema)) => schema.value(value, &path)?,
                (None, Additional::Allowed(true)) => value.clone(),
                (None, Additional::Allowed(false)) => return Err(self.unknown(name, &path)),
            };
            Ok((name.clone(), checked))
        });
        checked.collect::<Result<_, _>>().map(Value::Object)
    }

    fn unknown(&self, name: &str, path: &[&str]) -> OptionError {
        let near = self
            .properties
            .keys()
            .map(|known| (strsim::jaro_winkler(known, name), known))
            .filter(|(likeness, _)| *likeness > 0.8)
            .max_by(|(one, _), (other, _)| one.total_cmp(other));
        let known: Vec<_> = self.properties.keys().map(|known| format!("`{known}`")).collect();
        let hint = match near {
            Some((_, near)) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "it takes no options here".to_owned(),
            None => format!("its options here are {}", known.join(", ")),
        };
        OptionError { hint: Some(hint), ..wrong(path, "the plugin has no such option".to_owned()) }
    }
}

fn wrong(path: &[&str], message: String) -> OptionError {
    OptionError {
        option: path.first().copied().unwrap_or_default().to_owned(),
        message: format!("option `{}`: {message}", path.join(".")),
        hint: None,
    }
}

fn seconds(duration: Duration) -> Number {
    Number::from(duration.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"{
        "properties": {
            "grace": { "type": "string", "format": "duration", "default": "1m" },
            "step": { "type": "integer", "minimum": 1, "maximum": 10 },
            "mode": { "enum": ["near", "far"] },
            "blocks": { "type": "object", "additionalProperties": { "type": "string" } },
            "teams": { "type": "array", "items": { "type": "string" } }
        },
        "required": ["step"]
    }"#;

    fn check(options: &str) -> Result<String, OptionError> {
        Schema::parse(SCHEMA).unwrap().check(&serde_json::from_str(options).unwrap())
    }

    #[test]
    fn durations_arrive_in_seconds_and_the_rest_as_it_is() {
        let given =
            r#"{"step":3,"grace":"1h 30m","blocks":{"pay":"1-2"},"teams":["a"],"mode":"far"}"#;
        let taken = r#"{"blocks":{"pay":"1-2"},"grace":5400,"mode":"far","step":3,"teams":["a"]}"#;
        assert_eq!(check(given).unwrap(), taken);
    }

    #[test]
    fn every_wrong_option_is_named() {
        for (given, option, message) in [
            (r"{}", "step", "option `step`: it is required"),
            (r#"{"step":0}"#, "step", "option `step`: 0 is less than 1"),
            (r#"{"step":11}"#, "step", "option `step`: 11 is more than 10"),
            (r#"{"step":1.5}"#, "step", "option `step`: expected integer, found `1.5`"),
            (
                r#"{"step":1,"mode":"up"}"#,
                "mode",
                "option `mode`: `\"up\"` is not one of \"near\", \"far\"",
            ),
            (
                r#"{"step":1,"blocks":{"a":1}}"#,
                "blocks",
                "option `blocks.a`: expected string, found `1`",
            ),
            (r#"{"step":1,"teams":[1]}"#, "teams", "option `teams`: expected string, found `1`"),
            (
                r#"{"step":1,"grcae":"1m"}"#,
                "grcae",
                "option `grcae`: the plugin has no such option",
            ),
        ] {
            let error = check(given).unwrap_err();
            assert_eq!((error.option.as_str(), error.message.as_str()), (option, message));
        }
        let error = check(r#"{"step":1,"grcae":"1m"}"#).unwrap_err();
        assert_eq!(error.hint.as_deref(), Some("did you mean `grace`?"));
        assert!(
            check(r#"{"step":1,"grace":"soon"}"#).unwrap_err().message.contains("not a duration")
        );
    }

    #[test]
    fn a_schema_that_could_keep_the_host_busy_is_refused() {
        for schema in
            [r##"{"$ref":"#"}"##, r#"{"properties":{"a":{"pattern":"(a+)+$"}}}"#, "[", "1"]
        {
            assert!(Schema::parse(schema).is_err(), "{schema}");
        }
        let deep = "{\"items\":".repeat(10_000);
        assert!(Schema::parse(&deep).is_err());
    }
}

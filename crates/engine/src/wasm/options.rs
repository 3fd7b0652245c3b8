//! A plugin's options: checked against the schema that the plugin gives, and turned into the JSON
//! that it gets.
//!
//! The schema is a small part of JSON Schema (2020-12), enough to describe a table of options. The
//! rest is refused rather than ignored: references and patterns in a schema that comes from a
//! sandbox would let it keep the host busy for as long as it likes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
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

/// The size of a schema, in bytes.
const MAX_SCHEMA: usize = 64 << 10;

/// The length of the name of a property, in bytes.
const MAX_NAME: usize = 255;

/// How many properties an object of a schema may name.
const MAX_PROPERTIES: usize = 256;

/// How many of many items a message shows.
const SHOWN_ITEMS: usize = 8;

/// How much of a text a message shows, in characters.
const SHOWN_TEXT: usize = 80;

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
    #[serde(deserialize_with = "properties")]
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
        if text.len() > MAX_SCHEMA {
            return Err(format!(
                "it is {} bytes large, more than the {MAX_SCHEMA} that are allowed",
                text.len()
            ));
        }
        // What is unknown is named in the error, at any length.
        serde_json::from_str(text).map_err(|error| cut(&error.to_string(), 3 * SHOWN_TEXT))
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
            return Err(wrong(path, format!("expected {expected}, found `{}`", shown(value))));
        }
        if let Some(allowed) = self.r#enum.as_ref().filter(|allowed| !allowed.contains(value)) {
            let message =
                format!("`{}` is not one of {}", shown(value), list(allowed.iter().map(shown)));
            return Err(wrong(path, message));
        }
        match value {
            Value::String(text) if self.format == Some(Format::Duration) => {
                let duration = humantime::parse_duration(text).map_err(|error| {
                    let text = cut(text, SHOWN_TEXT);
                    // The error repeats what it does not know.
                    let error = cut(&error.to_string(), SHOWN_TEXT);
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
        // Likeness takes time in proportion to both lengths, and no name of an option is that long.
        let near = self
            .properties
            .keys()
            .filter(|_| name.len() <= MAX_NAME)
            .map(|known| (strsim::jaro_winkler(known, name), known))
            .filter(|(likeness, _)| *likeness > 0.8)
            .max_by(|(one, _), (other, _)| one.total_cmp(other));
        let hint = match near {
            Some((_, near)) => format!("did you mean `{}`?", cut(near, SHOWN_TEXT)),
            None if self.properties.is_empty() => "it takes no options here".to_owned(),
            None => {
                let known =
                    self.properties.keys().map(|known| format!("`{}`", cut(known, SHOWN_TEXT)));
                format!("its options here are {}", list(known))
            }
        };
        OptionError { hint: Some(hint), ..wrong(path, "the plugin has no such option".to_owned()) }
    }
}

/// The properties of an object, within bounds.
fn properties<'de, D: Deserializer<'de>>(source: D) -> Result<BTreeMap<String, Schema>, D::Error> {
    let properties = BTreeMap::<String, Schema>::deserialize(source)?;
    if properties.len() > MAX_PROPERTIES {
        return Err(D::Error::custom(format!(
            "an object has {} properties, more than the {MAX_PROPERTIES} that are allowed",
            properties.len()
        )));
    }
    match properties.keys().find(|name| name.len() > MAX_NAME) {
        Some(name) => Err(D::Error::custom(format!(
            "the name of the property `{}` is longer than {MAX_NAME} bytes",
            cut(name, SHOWN_TEXT)
        ))),
        None => Ok(properties),
    }
}

fn wrong(path: &[&str], message: String) -> OptionError {
    let place: Vec<_> = path.iter().take(SHOWN_ITEMS).map(|name| cut(name, SHOWN_TEXT)).collect();
    let more = if path.len() > SHOWN_ITEMS { ".\u{2026}" } else { "" };
    OptionError {
        option: path.first().copied().unwrap_or_default().to_owned(),
        message: format!("option `{}{more}`: {message}", place.join(".")),
        hint: None,
    }
}

/// The first of `items`, and how many there are more.
fn list(items: impl ExactSizeIterator<Item = String>) -> String {
    let more = items.len().saturating_sub(SHOWN_ITEMS);
    let mut shown: Vec<_> = items.take(SHOWN_ITEMS).collect();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    shown.join(", ")
}

/// The beginning of a value in JSON.
fn shown(value: &Value) -> String {
    cut(&value.to_string(), SHOWN_TEXT)
}

/// The first `most` characters of `text`, and a sign where there are more.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}\u{2026}", &text[..end]),
        None => text.to_owned(),
    }
}

fn seconds(duration: Duration) -> Number {
    Number::from(duration.as_secs())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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

    #[test]
    fn a_schema_has_bounds() {
        let object = |count: usize, length: usize| {
            let names = (0..count).map(|index| format!("\"{index:0length$}\":{{}}"));
            format!("{{\"properties\":{{{}}}}}", names.collect::<Vec<_>>().join(","))
        };
        assert!(Schema::parse(&object(256, 1)).is_ok());
        assert!(Schema::parse(&object(1, 255)).is_ok());
        let too_many = "an object has 257 properties, more than the 256 that are allowed";
        let too_long =
            format!("the name of the property `{}\u{2026}` is longer than", "0".repeat(80));
        for (schema, said) in [
            (object(257, 1), too_many),
            (format!("{{\"items\":{}}}", object(257, 1)), too_many),
            (object(1, 256), &too_long),
            (" ".repeat((64 << 10) + 1), "it is 65537 bytes large, more than the 65536"),
        ] {
            let why = Schema::parse(&schema).unwrap_err();
            assert!(why.contains(said), "{why}");
        }
        let unknown = format!("{{\"{}\":1}}", "x".repeat(60_000));
        assert!(Schema::parse(&unknown).unwrap_err().len() < 1024);
    }

    #[test]
    fn messages_show_the_beginning_of_what_is_long() {
        let long = "\u{e9}".repeat(5000);
        let values: Vec<_> = (0..5000).map(Value::from).collect();
        let names: serde_json::Map<_, _> =
            (0..200).map(|index| (format!("{index:0200}"), json!({}))).collect();
        // Tables in tables, as deep as TOML may be, with nothing wrong before the innermost.
        let deep = (0..50).fold(json!(1), |inner, _| json!({ long.as_str(): inner }));
        let strings = (0..50)
            .fold(json!({ "type": "string" }), |inner, _| json!({ "additionalProperties": inner }));
        for (schema, given) in [
            (json!({ "enum": values }), Value::from(long.as_str())),
            (json!({ "enum": [long, long] }), Value::from(1)),
            (json!({ "type": "integer" }), Value::from(long.as_str())),
            (json!({ "type": "string" }), Value::from(values.clone())),
            (json!({ "format": "duration" }), Value::from(format!("1{long}"))),
            (json!({ "properties": names }), json!({ long.as_str(): 1 })),
            (json!({ "properties": names }), json!({ "x": 1 })),
            (json!({ "properties": names }), json!({ format!("{:0200}x", 7): 1 })),
            (json!({ "required": [long] }), json!({})),
            (strings, deep),
        ] {
            let schema = json!({ "properties": { "a": schema } });
            let schema: Schema = serde_json::from_value(schema).unwrap();
            let error = schema.check(&BTreeMap::from([("a".to_owned(), given)])).unwrap_err();
            let said = format!("{}{}", error.message, error.hint.unwrap_or_default());
            assert!(said.chars().count() < 1200, "{said}");
        }
        assert_eq!(
            list((0..10).map(|index| index.to_string())),
            "0, 1, 2, 3, 4, 5, 6, 7, and 2 more"
        );
        assert_eq!(list((0..8).map(|index| index.to_string())), "0, 1, 2, 3, 4, 5, 6, 7");
    }
}

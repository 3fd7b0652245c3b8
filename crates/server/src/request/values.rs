//! Values that are written as text or numbers, read by their own rules, and the schemas that say so.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use hythe_engine::config::OnConflict;
use hythe_engine::{EventKind, Lease, Port, Scope};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use serde_json::{Value, json};

/// A value that is written as text. In a query everything is.
pub(super) fn text<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: FromStr<Err: Display>,
    D: Deserializer<'de>,
{
    Option::<String>::deserialize(deserializer)?.map(|text| parse(&text)).transpose()
}

/// A number, or the text of one, as in a query.
pub(super) fn number<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: FromStr<Err: Display>,
    D: Deserializer<'de>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Number(serde_json::Number),
        Text(String),
    }
    Option::<Number>::deserialize(deserializer)?
        .map(|number| match number {
            Number::Number(number) => parse(&number.to_string()),
            Number::Text(text) => parse(&text),
        })
        .transpose()
}

/// A list of values that are written as text.
pub(super) fn list<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: FromStr<Err: Display>,
    D: Deserializer<'de>,
{
    few(Vec::<String>::deserialize(deserializer)?)?.iter().map(|text| parse(text)).collect()
}

/// A list of ports.
pub(super) fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Port>, D::Error> {
    let numbers = few(Vec::<serde_json::Number>::deserialize(deserializer)?)?;
    numbers.iter().map(|number| parse(&number.to_string())).collect()
}

/// The longest list: all of it is one change, that others wait for.
const LONGEST: usize = 256;

/// A list, unless it is too long.
fn few<T, E: Error>(list: Vec<T>) -> Result<Vec<T>, E> {
    match list.len() {
        0..=LONGEST => Ok(list),
        count => Err(E::custom(format!("there are {count} items: at most {LONGEST} are taken"))),
    }
}

/// A duration such as `30d`.
pub(super) fn duration<'de, D>(deserializer: D) -> Result<Option<Duration>, D::Error>
where
    D: Deserializer<'de>,
{
    Option::<String>::deserialize(deserializer)?
        .map(|text| {
            humantime::parse_duration(&text).map_err(|error| {
                D::Error::custom(format!("{text:?} is not a duration such as `30d`: {error}"))
            })
        })
        .transpose()
}

fn parse<T: FromStr<Err: Display>, E: Error>(text: &str) -> Result<T, E> {
    text.parse().map_err(E::custom)
}

fn string(pattern: &str) -> Value {
    json!({ "type": "string", "pattern": pattern })
}

fn schema(value: Value) -> Schema {
    Schema::try_from(value).unwrap_or_default()
}

fn words(words: impl IntoIterator<Item = &'static str>) -> Schema {
    let words: Vec<_> = words.into_iter().map(Value::from).collect();
    json_schema!({ "type": "string", "enum": words })
}

/// As [`hythe_engine::Service`] has it; that it is not a number is not said.
const SERVICE: &str = "^[A-Za-z0-9._/@+][A-Za-z0-9._/@+-]{0,127}$";

pub(super) fn service(_: &mut SchemaGenerator) -> Schema {
    schema(string(SERVICE))
}

pub(super) fn services(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": string(SERVICE), "maxItems": LONGEST })
}

pub(super) fn port(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "minimum": 1, "maximum": 65535 })
}

pub(super) fn ports(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": port(generator), "maxItems": LONGEST })
}

pub(super) fn range(_: &mut SchemaGenerator) -> Schema {
    schema(string("^[0-9]{1,5}(-[0-9]{1,5})?$"))
}

pub(super) fn label(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "minLength": 1, "maxLength": 255 })
}

pub(super) fn directory(_: &mut SchemaGenerator) -> Schema {
    schema(string("^/"))
}

pub(super) fn duration_schema(_: &mut SchemaGenerator) -> Schema {
    schema(string("^[0-9]+ ?[a-zA-Z]+( ?[0-9]+ ?[a-zA-Z]+)*$"))
}

pub(super) fn scope(_: &mut SchemaGenerator) -> Schema {
    words(Scope::ALL.iter().map(|value| value.word()))
}

pub(super) fn lease(_: &mut SchemaGenerator) -> Schema {
    words(Lease::ALL.iter().map(|value| value.word()))
}

pub(super) fn on_conflict(_: &mut SchemaGenerator) -> Schema {
    words(OnConflict::ALL.iter().map(|value| value.word()))
}

pub(super) fn kind(_: &mut SchemaGenerator) -> Schema {
    words(EventKind::ALL.iter().map(|value| value.word()))
}

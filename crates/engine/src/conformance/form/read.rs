//! How values are read from TOML. An error stands where the value stands.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};
use toml::value::{Datetime, Offset};

use super::show::cut;
use crate::port::{Port, PortRange};
use crate::reservation::Key;
use crate::time::Timestamp;

/// A [`Port`] in a list, where a wrong one is found by its own position.
#[derive(Deserialize)]
#[serde(transparent)]
pub(in super::super) struct PortForm(#[serde(deserialize_with = "port")] pub(in super::super) Port);

/// A [`PortRange`] in a list.
#[derive(Deserialize)]
#[serde(transparent)]
pub(in super::super) struct RangeForm(
    #[serde(deserialize_with = "parsed")] pub(in super::super) PortRange,
);

/// A [`Timestamp`] with a position.
#[derive(Deserialize)]
#[serde(transparent)]
pub(in super::super) struct TimeForm(
    #[serde(deserialize_with = "time")] pub(in super::super) Timestamp,
);

/// A string that reads as a `T`.
pub(in super::super) fn parsed<'de, D: Deserializer<'de>, T>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr<Err: fmt::Display>,
{
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

pub(in super::super) fn some_parsed<'de, D: Deserializer<'de>, T>(
    deserializer: D,
) -> Result<Option<T>, D::Error>
where
    T: FromStr<Err: fmt::Display>,
{
    parsed(deserializer).map(Some)
}

pub(super) fn port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Port, D::Error> {
    let number = i64::deserialize(deserializer)?;
    u16::try_from(number)
        .ok()
        .and_then(Port::new)
        .ok_or_else(|| de::Error::custom(format_args!("`{number}` is not a port from 1 to 65535")))
}

pub(in super::super) fn some_port<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Port>, D::Error> {
    port(deserializer).map(Some)
}

pub(in super::super) fn ports<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Port>, D::Error> {
    let ports = Vec::<PortForm>::deserialize(deserializer)?;
    Ok(ports.into_iter().map(|PortForm(port)| port).collect())
}

/// Offsets in any order, as a policy sees them: ascending, each once, 0 first.
pub(in super::super) fn offsets<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<u16>, D::Error> {
    let mut offsets = Vec::<u16>::deserialize(deserializer)?;
    offsets.push(0);
    offsets.sort_unstable();
    offsets.dedup();
    Ok(offsets)
}

/// Ports in any order, as a policy sees them: ascending, each once.
pub(in super::super) fn ascending<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Port>, D::Error> {
    let mut ports = ports(deserializer)?;
    ports.sort_unstable();
    ports.dedup();
    Ok(ports)
}

/// The text of a key, as a key policy may answer it.
pub(in super::super) fn key<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() || text.len() > Key::MAX_LEN || text.chars().any(char::is_control) {
        let longest = Key::MAX_LEN;
        return Err(de::Error::custom(format_args!(
            "a key is 1 to {longest} bytes without control characters"
        )));
    }
    Ok(text)
}

pub(super) fn absolute<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let text = String::deserialize(deserializer)?;
    let path = PathBuf::from(&text);
    if path.is_absolute() {
        return Ok(path);
    }
    Err(de::Error::custom(format_args!("`{}` is not an absolute path", cut(&text))))
}

/// A TOML time with its offset, so that it means the same on every machine.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let written = Datetime::deserialize(deserializer)?;
    let minutes = match written.offset {
        Some(Offset::Z) => 0,
        Some(Offset::Custom { minutes }) => i64::from(minutes),
        None => {
            return Err(de::Error::custom(format_args!(
                "`{written}` has no offset from UTC: write it as in `2026-01-05T22:00:00Z`"
            )));
        }
    };
    let seconds = written
        .time
        .map(|time| toml::value::Time { second: Some(time.second.unwrap_or_default()), ..time });
    let local = Datetime { offset: None, time: seconds, ..written }.to_string();
    let wrong =
        |why: &dyn fmt::Display| de::Error::custom(format_args!("`{written}` is no time: {why}"));
    let local = local.parse::<Timestamp>().map_err(|error| wrong(&error))?;
    let millis = local.millis() - minutes * 60_000;
    let time = Timestamp::from_millis(millis);
    if time.millis() != millis {
        return Err(wrong(&"it lies outside the years 1970 to 9999"));
    }
    Ok(time)
}

pub(super) fn some_time<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Timestamp>, D::Error> {
    time(deserializer).map(Some)
}

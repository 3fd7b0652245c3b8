//! From a TOML value to a value of the domain. Pure, and without knowing where the value stands.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde_json::{Map, Number, Value};
use toml::de::{DeInteger, DeValue};

use super::digest::Digest;
use super::error::Fault;
use crate::port::{Port, PortRange};

/// What was expected, and what is there instead.
pub(super) fn found(expected: &str, value: &DeValue<'_>) -> String {
    let kind = match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    };
    format!("expected {expected}, found {kind}")
}

/// A key or name of a file as it is quoted in a message: shortened where nobody would read on.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 64;
    if text.chars().nth(LONGEST).is_none() {
        return text.to_owned();
    }
    text.chars().take(LONGEST).chain(['…']).collect()
}

/// A string.
pub(super) fn text<'a>(value: &'a DeValue<'_>) -> Result<&'a str, Fault> {
    value.as_str().ok_or_else(|| Fault::new(found("a string", value)))
}

/// A string that reads as a `T`.
pub(super) fn parsed<T>(value: &DeValue<'_>) -> Result<T, Fault>
where
    T: FromStr<Err: fmt::Display>,
{
    text(value)?.parse().map_err(Fault::new)
}

/// A port, as an integer.
pub(super) fn port(value: &DeValue<'_>) -> Result<Port, Fault> {
    match value {
        DeValue::Integer(number) => integer(number)
            .ok()
            .and_then(|number| Port::new(u16::try_from(number).ok()?))
            .ok_or_else(|| Fault::new(format_args!("`{number}` is not a port from 1 to 65535"))),
        other => Err(Fault::new(found("a port from 1 to 65535", other))),
    }
}

/// How far a port is above another: 0 to 65534.
pub(super) fn offset(value: &DeValue<'_>) -> Result<u16, Fault> {
    match value {
        DeValue::Integer(number) => integer(number)
            .ok()
            .and_then(|number| u16::try_from(number).ok())
            .filter(|number| *number < u16::MAX)
            .ok_or_else(|| Fault::new(format_args!("`{number}` is not an offset from 0 to 65534"))),
        other => Err(Fault::new(found("an offset from 0 to 65534", other))),
    }
}

/// A range of ports, as a string `FIRST-LAST`.
pub(super) fn range(value: &DeValue<'_>) -> Result<PortRange, Fault> {
    match value {
        DeValue::String(text) => text.parse().map_err(Fault::new),
        other => Err(Fault::new(found("a port range such as \"20000-29999\"", other))),
    }
}

/// A port as an integer, or a range of ports as a string.
pub(super) fn ports(value: &DeValue<'_>) -> Result<PortRange, Fault> {
    match value {
        DeValue::Integer(_) => port(value).map(PortRange::from),
        DeValue::String(_) => range(value),
        other => Err(Fault::new(found("a port, or a range such as \"28000-28099\"", other))),
    }
}

/// A length of time, in the words of humantime: `30d`, `1h 30m`, `0s`.
pub(super) fn duration(value: &DeValue<'_>) -> Result<Duration, Fault> {
    match value {
        DeValue::String(text) => humantime::parse_duration(text).map_err(|error| {
            Fault::new(format_args!("`{}` is not a duration: {error}", shown(text)))
                .hint("write a number with its unit, such as \"30s\", \"10m\" or \"30d\"")
        }),
        DeValue::Integer(number) => Err(Fault::new(found("a duration", value))
            .hint(format_args!("write it with its unit, such as \"{number}s\" for seconds"))),
        other => Err(Fault::new(found("a duration such as \"30d\"", other))),
    }
}

/// A whole number from 1 to 2⁶³ − 1, the largest that TOML promises.
pub(super) fn count(value: &DeValue<'_>) -> Result<u64, Fault> {
    match value {
        DeValue::Integer(number) => match u64::try_from(integer(number)?) {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(Fault::new(format_args!("`{number}` is not a number from 1 on"))),
        },
        other => Err(Fault::new(found("an integer", other))),
    }
}

/// The units of a size, the largest first.
pub(super) const UNITS: &[(&str, u64)] = &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// A size in bytes, at least 1: an integer, or a string such as `16MiB`.
pub(super) fn size(value: &DeValue<'_>) -> Result<u64, Fault> {
    let DeValue::String(text) = value else {
        return match value {
            DeValue::Integer(_) => count(value),
            other => Err(Fault::new(found("a size such as \"16MiB\"", other))),
        };
    };
    let wrong = || {
        Fault::new(format_args!("`{}` is not a size", shown(text)))
            .hint("write a number of bytes, or a number with KiB, MiB or GiB, such as \"16MiB\"")
    };
    let (number, factor) = UNITS
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))
        .unwrap_or((text, 1));
    let number = number.trim_end();
    let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    plain
        .then(|| number.parse::<u64>().ok()?.checked_mul(factor))
        .flatten()
        .filter(|size| *size > 0 && i64::try_from(*size).is_ok())
        .ok_or_else(wrong)
}

/// The size of a stack in bytes, 4 KiB to 1 MiB: policies run on the stack of their host's thread,
/// which is 8 MiB on Linux and macOS.
pub(super) fn stack(value: &DeValue<'_>) -> Result<u64, Fault> {
    let size = size(value)?;
    if (4 << 10..=1 << 20).contains(&size) {
        return Ok(size);
    }
    Err(Fault::new(format_args!("a stack of {size} bytes cannot be had"))
        .hint("a stack is 4KiB to 1MiB, such as \"256KiB\""))
}

/// The name of a plugin.
pub(super) fn plugin(name: &str) -> Result<String, Fault> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !name.is_empty() && name.len() <= 64 && name.bytes().all(plain) && !name.starts_with('-') {
        return Ok(name.to_owned());
    }
    Err(Fault::new(format_args!("`{}` cannot be the name of a plugin", shown(name)))
        .hint("a name is 1 to 64 lower-case letters, digits and `-`"))
}

/// The names of several plugins, in order.
pub(super) fn plugins(value: &DeValue<'_>) -> Result<Vec<String>, Fault> {
    match value {
        DeValue::Array(array) => array.iter().map(|item| plugin(text(item.get_ref())?)).collect(),
        other => Err(Fault::new(found("an array of plugin names", other))),
    }
}

/// The digest of a file.
pub(super) fn digest(value: &DeValue<'_>) -> Result<Digest, Fault> {
    text(value)?.parse().map_err(|error| {
        Fault::new(error)
            .hint("`sha256sum FILE` or `shasum -a 256 FILE` prints the digest of a file")
    })
}

/// Any value, as JSON. Dates and times become strings in RFC 3339.
pub(super) fn json(value: &DeValue<'_>) -> Result<Value, Fault> {
    Ok(match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => Value::Number(integer(number)?.into()),
        DeValue::Float(float) => {
            let number = float.as_str().parse().ok().and_then(Number::from_f64);
            let wrong = || Fault::new(format_args!("`{float}` is not a number that JSON can hold"));
            Value::Number(number.ok_or_else(wrong)?)
        }
        DeValue::Boolean(boolean) => Value::Bool(*boolean),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Array(array) => {
            Value::Array(array.iter().map(|item| json(item.get_ref())).collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => {
            let entries = table.iter();
            let entries =
                entries.map(|(key, value)| Ok((key.get_ref().to_string(), json(value.get_ref())?)));
            Value::Object(entries.collect::<Result<Map<_, _>, Fault>>()?)
        }
    })
}

/// The value of an option as TOML writes it, as the plugin's schema will see it. A word that is no
/// TOML, such as `30d`, is a string. Fails for what begins like a string, an array or a table and is
/// none.
pub fn option_value(text: &str) -> Result<Value, String> {
    match DeValue::parse(text) {
        Ok(value) => json(value.get_ref()).map_err(|fault| fault.message),
        Err(error) if text.starts_with(['{', '[', '"', '\'']) => {
            Err(format!("`{}` is no TOML value: {}", shown(text), error.message()))
        }
        Err(_) => Ok(Value::from(text)),
    }
}

fn integer(number: &DeInteger<'_>) -> Result<i64, Fault> {
    i64::from_str_radix(number.as_str(), number.radix())
        .map_err(|_| Fault::new(format_args!("`{}` is too large", shown(&number.to_string()))))
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use toml::de::DeValue;

    use super::*;

    fn value(text: &str) -> DeValue<'_> {
        DeValue::parse(text).unwrap().into_inner()
    }

    fn message<T: Debug>(result: Result<T, Fault>) -> String {
        let path = std::path::Path::new("f");
        result.unwrap_err().in_file(path).to_string()
    }

    #[test]
    fn ports_are_integers_and_ranges_are_strings() {
        assert_eq!(ports(&value("0x1F90")).unwrap().to_string(), "8080");
        assert_eq!(ports(&value("\"28000-28099\"")).unwrap().to_string(), "28000-28099");
        for text in ["0", "65536", "-1", "99999999999999999999"] {
            let expected = format!("f: `{text}` is not a port from 1 to 65535");
            assert_eq!(message(ports(&value(text))), expected);
        }
        assert_eq!(
            message(ports(&value("true"))),
            "f: expected a port, or a range such as \"28000-28099\", found a boolean"
        );
        assert_eq!(
            message(range(&value("3000"))),
            "f: expected a port range such as \"20000-29999\", found an integer"
        );
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration(&value("\"30d\"")).unwrap().as_secs(), 30 * 24 * 3600);
        assert_eq!(duration(&value("\"0s\"")).unwrap(), Duration::ZERO);
        assert_eq!(message(duration(&value("30"))), "f: expected a duration, found an integer");
        let fault = duration(&value("30")).unwrap_err().in_file("f".as_ref());
        assert_eq!(fault.hint.unwrap(), "write it with its unit, such as \"30s\" for seconds");
        for text in ["\"30\"", "\"\"", "\"-5s\"", "\"5 fortnights\"", "\"99999999999999999y\""] {
            assert!(message(duration(&value(text))).contains("is not a duration"), "{text}");
        }
    }

    #[test]
    fn sizes_are_bytes_or_have_a_binary_unit() {
        for (text, expected) in [
            ("1", 1),
            ("\"4096\"", 4096),
            ("\"256KiB\"", 256 << 10),
            ("\"16 MiB\"", 16 << 20),
            ("\"2GiB\"", 2 << 30),
        ] {
            assert_eq!(size(&value(text)).unwrap(), expected, "{text}");
        }
        for text in ["0", "-1", "\"0MiB\"", "\"16MB\"", "\"MiB\"", "\"+1\"", "\"9999999999GiB\""] {
            assert!(size(&value(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn toml_becomes_json() {
        let text =
            "{ a = [1, 2.5, true], t = 2026-01-02T03:04:05Z, d = 2026-01-02, s = { x.y = '' } }";
        assert_eq!(
            json(&value(text)).unwrap(),
            serde_json::json!({
                "a": [1, 2.5, true], "t": "2026-01-02T03:04:05Z", "d": "2026-01-02",
                "s": { "x": { "y": "" } },
            })
        );
        for text in ["inf", "nan", "[-inf]", "99999999999999999999"] {
            assert!(json(&value(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn plugin_names_are_plain() {
        assert_eq!(plugin("team-blocks2").unwrap(), "team-blocks2");
        for name in ["", "-x", "Team", "a b", "a/b", "ä", &"x".repeat(65)] {
            assert!(plugin(name).is_err(), "{name}");
        }
    }
}

//! Points in time: whole milliseconds of Unix time, written in RFC 3339.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};

/// Milliseconds since 1970-01-01T00:00:00Z, from 1970 to the end of the year 9999.
///
/// A clock outside these years is read as their nearest end, so that every timestamp can be
/// written in RFC 3339 (section 5.6, four-digit years).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The last millisecond of the year 9999.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// The timestamp of this many milliseconds since 1970, moved into the representable years.
    #[must_use]
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(0, Self::MAX.0))
    }

    /// Milliseconds since 1970, never negative.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970, never negative.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0 / 1000
    }

    /// How long after `earlier` this is; zero when it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }

    /// How far this and `other` lie apart, in whichever order: a clock that was set back must not
    /// make something last for ever.
    #[must_use]
    pub fn distance(self, other: Self) -> Duration {
        Duration::from_millis(self.0.abs_diff(other.0))
    }

    /// This time and `duration` more, at most the end of the year 9999.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.0.saturating_add(millis))
    }

    /// This time and `duration` less, at least 1970.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.0.saturating_sub(millis))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let millis = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        Self::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        UNIX_EPOCH + Duration::from_millis(time.0.unsigned_abs())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_millis((*self).into()).fmt(f)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a time: expected one such as 2026-01-21T14:30:00Z or 2026-01-21T14:30:00+02:00"
)]
pub struct TimeError(String);

impl FromStr for Timestamp {
    type Err = TimeError;

    /// Reads RFC 3339, with a blank for the `T` and without a zone, which is then UTC, as well.
    fn from_str(text: &str) -> Result<Self, TimeError> {
        let (local, offset) = with_offset(text).unwrap_or((text, Offset::Behind(Duration::ZERO)));
        // humantime passes over what stands behind a fraction of a second.
        let plain = local.bytes().all(|byte| byte.is_ascii_digit() || b"-:. TtZz".contains(&byte));
        let time = plain.then(|| humantime::parse_rfc3339_weak(local).ok()).flatten();
        let time =
            time.map(Self::from).ok_or_else(|| TimeError(text.chars().take(64).collect()))?;
        Ok(match offset {
            Offset::Ahead(offset) => time.before(offset),
            Offset::Behind(offset) => time.after(offset),
        })
    }
}

/// How far local time is from UTC.
enum Offset {
    Ahead(Duration),
    Behind(Duration),
}

/// A local time and the offset behind it, as in `…T14:30:00+02:00`.
fn with_offset(text: &str) -> Option<(&str, Offset)> {
    let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let (sign, offset) = offset.split_at_checked(1)?;
    let (hours, minutes) = offset.split_once(':')?;
    let number = |text: &str, below: u64| {
        let plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| text.parse::<u64>().ok()).flatten().filter(|number| *number < below)
    };
    let offset = Duration::from_secs(number(hours, 24)? * 3600 + number(minutes, 60)? * 60);
    // A zone after a zone is none.
    let local = Some(local).filter(|local| local.ends_with(|c: char| c.is_ascii_digit()))?;
    match sign {
        "+" => Some((local, Offset::Ahead(offset))),
        "-" => Some((local, Offset::Behind(offset))),
        _ => None,
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_timestamp_can_be_written() {
        assert_eq!(Timestamp::from_millis(i64::MIN).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::from_millis(i64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!(Timestamp::from(UNIX_EPOCH - Duration::from_secs(5)), Timestamp::from_millis(0));
    }

    #[test]
    fn times_have_any_offset() {
        let at = |text: &str| text.parse::<Timestamp>().map(|time| time.to_string());
        let noon = Ok("2026-01-21T12:00:00.000Z".to_owned());
        for text in [
            "2026-01-21T12:00:00Z",
            "2026-01-21 12:00:00",
            "2026-01-21T14:00:00+02:00",
            "2026-01-21T06:30:00-05:30",
            "2026-01-21T14:00:00.000+02:00",
        ] {
            assert_eq!(at(text), noon, "{text}");
        }
        let precise = "2026-01-21T12:00:00.123456789+00:00";
        assert_eq!(at(precise).unwrap(), "2026-01-21T12:00:00.123Z");
        for text in [
            "",
            "x",
            "2026-01-21T12:00:00+2:00",
            "2026-01-21T12:00:00*02:00",
            "2026-01-21T12:00:00Z+02:00",
            "2026-01-21T12:00:00.5+99:00",
            "2026-01-21T12:00:00.5 and more",
            "€€€€€€",
        ] {
            assert!(at(text).is_err(), "{text}");
        }
    }

    #[test]
    fn differences_never_underflow() {
        let (early, late) = (Timestamp::from_millis(1_000), Timestamp::from_millis(4_000));
        assert_eq!(late.since(early), Duration::from_secs(3));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(early.distance(late), Duration::from_secs(3));
        assert_eq!(early.before(Duration::from_secs(9)), Timestamp::from_millis(0));
        assert_eq!(early.after(Duration::MAX), Timestamp::MAX);
    }
}

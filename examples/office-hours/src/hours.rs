//! Working hours: a part of the day, on some days of the week.

use std::fmt;

/// As `days` has them. 1970-01-01, day 0 of Unix time, was a Thursday (ISO 8601).
const DAYS: [&str; 7] = ["thu", "fri", "sat", "sun", "mon", "tue", "wed"];

const MINUTES_A_DAY: u32 = 24 * 60;

/// When people work.
#[derive(Debug)]
pub struct Hours {
    /// Minutes after midnight, below a day.
    from: u32,
    /// Minutes after midnight, at most a day. Not above `from`, it is on the next day.
    to: u32,
    /// Whether work begins on each day of [`DAYS`].
    days: [bool; 7],
}

impl Hours {
    /// Hours from `from` to `to`, both as `HH:MM`, which begin on `days`.
    pub fn new(from: &str, to: &str, days: &[String]) -> Result<Self, String> {
        let time = |name: &str, text: &str| {
            minutes(text).ok_or_else(|| format!("`{name}` is `{text}`, not a time such as 08:30"))
        };
        let (from, to) = (time("from", from)?, time("to", to)?);
        if from == MINUTES_A_DAY {
            return Err("`from` is `24:00`, which only ends a day: it begins at 00:00".to_owned());
        }
        if from == to {
            return Err("`from` and `to` are the same; a whole day is 00:00 to 24:00".to_owned());
        }
        let mut on = [false; 7];
        for day in days {
            match DAYS.iter().position(|name| name == day) {
                Some(at) => on[at] = true,
                None => return Err(format!("`days` names `{day}`, not a day such as `mon`")),
            }
        }
        Ok(Self { from, to, days: on })
    }

    /// Whether people work at `local`: seconds of Unix time, moved by the offset from UTC.
    pub fn contain(&self, local: i64) -> bool {
        let minute = local.div_euclid(60);
        let day = minute.div_euclid(MINUTES_A_DAY.into());
        // Below a day.
        let minute = minute.rem_euclid(MINUTES_A_DAY.into()) as u32;
        let is_on = |day: i64| self.days[day.rem_euclid(7) as usize];
        if self.from < self.to {
            is_on(day) && (self.from..self.to).contains(&minute)
        } else {
            is_on(day) && minute >= self.from || is_on(day - 1) && minute < self.to
        }
    }
}

/// The hours of the day, as they are written in options.
impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, .. } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

/// The minutes after midnight of `HH:MM`, from `00:00` to `24:00`.
fn minutes(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    let two_digits = |text: &str| {
        let plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| text.parse::<u32>().ok()).flatten()
    };
    let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
    let all = hours * 60 + minutes;
    (minutes < 60 && all <= MINUTES_A_DAY).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;
    /// Monday, 2026-01-05T00:00:00Z, by `date -ud 2026-01-05 +%s`.
    const MONDAY: i64 = 1_767_571_200;

    fn hours(from: &str, to: &str, days: &[&str]) -> Result<Hours, String> {
        let days: Vec<_> = days.iter().map(|day| (*day).to_owned()).collect();
        Hours::new(from, to, &days)
    }

    #[test]
    fn a_day_begins_and_ends_to_the_minute() {
        let hours = hours("08:00", "18:00", &["mon"]).unwrap();
        for (local, open) in [
            (MONDAY + 8 * HOUR - 1, false),
            (MONDAY + 8 * HOUR, true),
            (MONDAY + 18 * HOUR - 1, true),
            (MONDAY + 18 * HOUR, false),
            (MONDAY + DAY + 12 * HOUR, false),
            (MONDAY - 7 * DAY + 12 * HOUR, true),
            (MONDAY - 6 * DAY + 12 * HOUR, false),
        ] {
            assert_eq!(hours.contain(local), open, "{local}");
        }
    }

    #[test]
    fn every_day_of_the_week_is_itself() {
        let week = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        for (at, day) in (0..).zip(week) {
            let hours = hours("00:00", "24:00", &[day]).unwrap();
            for other in 0..7 {
                assert_eq!(hours.contain(MONDAY + other * DAY), at == other, "{day} {other}");
                assert_eq!(hours.contain(MONDAY + other * DAY + DAY - 1), at == other, "{day}");
            }
        }
    }

    #[test]
    fn time_before_1970_has_days_as_well() {
        let wednesday = hours("00:00", "24:00", &["wed"]).unwrap();
        assert!(wednesday.contain(-1) && wednesday.contain(-DAY) && !wednesday.contain(-DAY - 1));
        let thursday = hours("00:00", "24:00", &["thu"]).unwrap();
        assert!(thursday.contain(0) && thursday.contain(DAY - 1) && !thursday.contain(DAY));
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_begins() {
        let night = hours("22:00", "06:00", &["fri"]).unwrap();
        let friday = MONDAY + 4 * DAY;
        assert!(!night.contain(friday + 5 * HOUR));
        assert!(night.contain(friday + 22 * HOUR) && night.contain(friday + DAY + 6 * HOUR - 1));
        assert!(!night.contain(friday + DAY + 6 * HOUR));
        assert!(!night.contain(friday + DAY + 23 * HOUR));
        let until_midnight = hours("22:00", "00:00", &["fri"]).unwrap();
        assert!(until_midnight.contain(friday + DAY - 1) && !until_midnight.contain(friday + DAY));
    }

    #[test]
    fn on_no_day_nobody_works() {
        let never = hours("08:00", "18:00", &[]).unwrap();
        assert!((0..7).all(|day| !never.contain(MONDAY + day * DAY + 12 * HOUR)));
        assert_eq!(never.to_string(), "08:00-18:00");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "8:00", "08:0", "08.00", "24:01", "08:60", "+8:00", "08:00:00", "０8:00"]
        {
            let reason = hours(text, "18:00", &["mon"]).unwrap_err();
            assert_eq!(reason, format!("`from` is `{text}`, not a time such as 08:30"));
        }
        assert!(hours("18:00", "18:00", &["mon"]).unwrap_err().contains("the same"));
        assert!(hours("24:00", "18:00", &["mon"]).unwrap_err().contains("only ends a day"));
        assert!(hours("08:00", "18:00", &["Mon"]).unwrap_err().contains("`Mon`"));
    }
}

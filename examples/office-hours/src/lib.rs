//! Releases ephemeral reservations outside working hours. What these are stands in [`hours`]; here
//! are the verdicts and the bindings.

mod hours;

use exports::hythe::policy::{cleanup, info};
use serde::Deserialize;

wit_bindgen::generate!({
    path: "../../wit",
    inline: "
        package example:office-hours;
        world office-hours {
            export hythe:policy/info@0.1.0;
            export hythe:policy/cleanup@0.1.0;
        }
    ",
});

struct OfficeHours;
export!(OfficeHours);

/// The table `[plugins.office-hours.options]`. Durations arrive in whole seconds.
#[derive(Deserialize)]
#[serde(default)]
struct Options {
    from: String,
    to: String,
    days: Vec<String>,
    utc_offset: i64,
    grace: i64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            from: "08:00".to_owned(),
            to: "18:00".to_owned(),
            days: ["mon", "tue", "wed", "thu", "fri"].map(str::to_owned).into(),
            utc_offset: 0,
            grace: 60 * 60,
        }
    }
}

impl info::Guest for OfficeHours {
    fn describe() -> info::Description {
        info::Description {
            name: env!("CARGO_PKG_NAME").into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: "releases idle ephemeral reservations outside working hours".into(),
            options_schema: r#"{
                "properties": {
                    "from": {
                        "description": "when work begins, as HH:MM",
                        "type": "string", "default": "08:00"
                    },
                    "to": {
                        "description": "when work ends, as HH:MM; before `from`, it is on the next day",
                        "type": "string", "default": "18:00"
                    },
                    "days": {
                        "description": "the days on which work begins",
                        "type": "array",
                        "items": { "enum": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] },
                        "default": ["mon", "tue", "wed", "thu", "fri"]
                    },
                    "utc_offset": {
                        "description": "how many minutes local time is ahead of UTC",
                        "type": "integer", "minimum": -720, "maximum": 840, "default": 0
                    },
                    "grace": {
                        "description": "how long after its last use a reservation stays in any case",
                        "type": "string", "format": "duration", "default": "1h"
                    }
                }
            }"#
            .into(),
        }
    }
}

impl cleanup::Guest for OfficeHours {
    fn review(
        now: i64,
        reservations: Vec<cleanup::Reservation>,
        options: String,
    ) -> Result<Vec<cleanup::Verdict>, String> {
        let options: Options = serde_json::from_str(&options).map_err(|error| error.to_string())?;
        let hours = hours::Hours::new(&options.from, &options.to, &options.days)?;
        let local = now.saturating_add(options.utc_offset * 60);
        let open = hours.contain(local);
        let verdict = |reservation: &cleanup::Reservation| {
            let idle = now.saturating_sub(reservation.last_used_at);
            if !open && is_idle(reservation) && idle >= options.grace {
                cleanup::Verdict::Release(format!("not in use outside working hours, {hours}"))
            } else {
                cleanup::Verdict::Pass
            }
        };
        Ok(reservations.iter().map(verdict).collect())
    }
}

/// Whether it is ephemeral, and nothing is known that uses it.
fn is_idle(reservation: &cleanup::Reservation) -> bool {
    reservation.lease == cleanup::Lease::Ephemeral
        && reservation.owner != cleanup::Liveness::Alive
        && reservation.listening == cleanup::Listening::None
}

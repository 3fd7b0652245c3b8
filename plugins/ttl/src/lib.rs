//! Releases what has not been used for longer than its time to live: its own, where it was reserved
//! with one, else that of its lease.

#![no_std]

extern crate alloc;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use exports::hythe::policy::{cleanup, info};
use serde::Deserialize;

wit_bindgen::generate!({
    path: "../../wit",
    inline: "
        package hythe:ttl;
        world ttl {
            export hythe:policy/info@0.1.0;
            export hythe:policy/cleanup@0.1.0;
        }
    ",
});

hythe_guest::runtime!();

struct Ttl;
export!(Ttl);

const DAY: i64 = 24 * 60 * 60;

/// Durations arrive in whole seconds; 0 means that nothing expires.
#[derive(Deserialize)]
#[serde(default)]
struct Options {
    persistent: i64,
    ephemeral: i64,
}

impl Default for Options {
    fn default() -> Self {
        Self { persistent: 30 * DAY, ephemeral: DAY }
    }
}

impl info::Guest for Ttl {
    fn describe() -> info::Description {
        info::Description {
            name: "ttl".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: "releases what has not been used for longer than its time to live".into(),
            options_schema: r#"{
                "properties": {
                    "persistent": {
                        "type": "string", "format": "duration", "default": "30d",
                        "description": "time to live of persistent reservations; 0s for no end"
                    },
                    "ephemeral": {
                        "type": "string", "format": "duration", "default": "1d",
                        "description": "time to live of ephemeral reservations; 0s for no end"
                    }
                }
            }"#
            .into(),
        }
    }
}

impl cleanup::Guest for Ttl {
    fn review(
        now: i64,
        reservations: Vec<cleanup::Reservation>,
        options: String,
    ) -> Result<Vec<cleanup::Verdict>, String> {
        let (options, _): (Options, _) =
            serde_json_core::from_str(&options).map_err(|error| error.to_string())?;
        Ok(reservations.iter().map(|reservation| verdict(now, reservation, &options)).collect())
    }
}

fn verdict(now: i64, reservation: &cleanup::Reservation, options: &Options) -> cleanup::Verdict {
    // A server that runs uses its port, whether or not anybody asks for the number again.
    if reservation.listening == cleanup::Listening::Mine {
        return cleanup::Verdict::Pass;
    }
    if let Some(end) = reservation.expires_at {
        return if now > end {
            cleanup::Verdict::Release("its own time to live is over".into())
        } else {
            cleanup::Verdict::Pass
        };
    }
    let ttl = match reservation.lease {
        cleanup::Lease::Persistent => options.persistent,
        cleanup::Lease::Ephemeral => options.ephemeral,
    };
    if ttl > 0 && now - reservation.last_used_at > ttl {
        cleanup::Verdict::Release(format!("not used for more than {}", duration(ttl)))
    } else {
        cleanup::Verdict::Pass
    }
}

/// Whole seconds in the largest unit that divides them: `30d`, `90m`.
fn duration(seconds: i64) -> String {
    let (unit, size) = [("d", DAY), ("h", 3600), ("m", 60), ("s", 1)]
        .into_iter()
        .find(|(_, size)| seconds % size == 0)
        .unwrap_or(("s", 1));
    format!("{}{unit}", seconds / size)
}

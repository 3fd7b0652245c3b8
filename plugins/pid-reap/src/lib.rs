//! Releases an ephemeral reservation when its owner is proven dead, nobody of its own listens on
//! its port, and it has not been asked for during a grace period.

#![no_std]

extern crate alloc;

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use exports::hythe::policy::{cleanup, info};
use serde::Deserialize;

wit_bindgen::generate!({
    path: "../../wit",
    inline: "
        package hythe:pid-reap;
        world pid-reap {
            export hythe:policy/info@0.1.0;
            export hythe:policy/cleanup@0.1.0;
        }
    ",
});

hythe_guest::runtime!();

struct PidReap;
export!(PidReap);

/// Durations arrive in whole seconds.
#[derive(Deserialize)]
#[serde(default)]
struct Options {
    grace: i64,
}

impl Default for Options {
    fn default() -> Self {
        Self { grace: 60 }
    }
}

impl info::Guest for PidReap {
    fn describe() -> info::Description {
        info::Description {
            name: "pid-reap".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: "releases an ephemeral reservation after its owner has died".into(),
            options_schema: r#"{
                "properties": {
                    "grace": {
                        "type": "string", "format": "duration", "default": "1m",
                        "description": "how long after its last use it stays, even without its owner"
                    }
                }
            }"#
            .into(),
        }
    }
}

impl cleanup::Guest for PidReap {
    fn review(
        now: i64,
        reservations: Vec<cleanup::Reservation>,
        options: String,
    ) -> Result<Vec<cleanup::Verdict>, String> {
        let (options, _): (Options, _) =
            serde_json_core::from_str(&options).map_err(|error| error.to_string())?;
        let verdict = |reservation: &cleanup::Reservation| {
            let orphaned = reservation.lease == cleanup::Lease::Ephemeral
                && reservation.owner == cleanup::Liveness::Dead;
            let unserved = matches!(
                reservation.listening,
                cleanup::Listening::None | cleanup::Listening::Foreign
            );
            if orphaned && unserved && now - reservation.last_used_at >= options.grace {
                cleanup::Verdict::Release("its owner is dead".into())
            } else {
                cleanup::Verdict::Pass
            }
        };
        Ok(reservations.iter().map(verdict).collect())
    }
}

use clap::Args;
use hythe_engine::Engine;
use serde_json::json;

use crate::args::OneService;
use crate::failure::Failure;
use crate::output::Output;

/// Lock the reservation of a service here
///
/// A locked reservation survives every policy, and never moves.
#[derive(Debug, Args)]
pub(crate) struct Lock {
    #[command(flatten)]
    one: OneService,
}

/// Unlock the reservation of a service here
#[derive(Debug, Args)]
pub(crate) struct Unlock {
    #[command(flatten)]
    one: OneService,
}

impl Lock {
    pub(crate) fn run(&self, engine: &Engine<'_>, output: &Output) -> Result<(), Failure> {
        set(&self.one, true, engine, output)
    }
}

impl Unlock {
    pub(crate) fn run(&self, engine: &Engine<'_>, output: &Output) -> Result<(), Failure> {
        set(&self.one, false, engine, output)
    }
}

fn set(
    one: &OneService,
    locked: bool,
    engine: &Engine<'_>,
    output: &Output,
) -> Result<(), Failure> {
    let reservation = engine.set_lock(&one.service, one.scope.scope, locked)?;
    if output.json {
        return output.print_json(&json!({
            "version": 1,
            "port": reservation.port,
            "service": reservation.service,
            "key": reservation.key.text,
            "locked": reservation.locked,
        }));
    }
    output.note(&format!(
        "{} port {} (`{}`)",
        if locked { "locked" } else { "unlocked" },
        reservation.port,
        reservation.service,
    ));
    Ok(())
}

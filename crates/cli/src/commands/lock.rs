use clap::Args;
use hythe_document::Failure;
use hythe_engine::{Engine, Reservation, Target};

use crate::args::OneService;
use crate::output::{Output, document};

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
    let target = Target::Services(vec![one.service.clone()], one.scope.scope);
    for reservation in engine.set_lock(&target, locked)? {
        tell(&reservation, output)?;
    }
    Ok(())
}

fn tell(reservation: &Reservation, output: &Output) -> Result<(), Failure> {
    if output.json {
        return output.print_json(&document::locked(reservation));
    }
    output.note(&format!(
        "{} port {} (`{}`)",
        if reservation.locked { "locked" } else { "unlocked" },
        reservation.port,
        reservation.service,
    ));
    Ok(())
}

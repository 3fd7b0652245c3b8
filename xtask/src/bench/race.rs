//! Races: who takes part, and how long each takes.

use std::process::{Command, Stdio};
use std::time::Instant;

use super::Outcome;
use super::row::{Goal, Row};
use super::yard::Program::{self, Floor, Hythe, Trop};
use super::yard::Yard;

/// Prepares the next command. What it does itself is not timed.
pub(super) type Turn<'a> = Box<dyn FnMut() -> Outcome<Command> + 'a>;

/// Who takes part in a race, beside the floor.
pub(super) struct Field<'a> {
    hythe: Turn<'a>,
    trop: Option<Turn<'a>>,
    beside: Option<(&'static str, Turn<'a>)>,
}

impl<'a> Field<'a> {
    /// Hythe alone: trop has no such thing.
    pub(super) fn hythe(hythe: Turn<'a>) -> Self {
        Self { hythe, trop: None, beside: None }
    }

    /// Hythe and trop.
    pub(super) fn both(turn: impl Fn(Program) -> Turn<'a>) -> Self {
        Self { trop: Some(turn(Trop)), ..Self::hythe(turn(Hythe)) }
    }

    /// And something else of Hythe's that it is measured by.
    pub(super) fn beside(self, name: &'static str, turn: Turn<'a>) -> Self {
        Self { beside: Some((name, turn)), ..self }
    }

    /// Runs each `runs` times and prints a row of medians.
    pub(super) fn race(self, yard: &Yard, name: &str, runs: usize, goals: &[Goal]) -> Outcome<()> {
        let world = yard.world()?;
        let floor: Turn<'_> = Box::new(|| Ok(world.command(Floor, &[])));
        let trop = self.trop.filter(|_| yard.has(Trop));
        let (label, beside) = self.beside.unzip();
        let turns = [Some(floor), trop, Some(self.hythe), beside];
        let [floor, trop, hythe, beside] = medians(runs, turns)?;
        Row { name, floor, trop, hythe, beside: label.zip(beside) }.print(goals);
        Ok(())
    }
}

/// The median wall time of each, in milliseconds.
fn medians<const N: usize>(
    runs: usize,
    mut turns: [Option<Turn<'_>>; N],
) -> Outcome<[Option<f64>; N]> {
    let mut times = [const { Vec::new() }; N];
    for round in 0..=runs {
        for place in 0..N {
            // Back and forth: nobody always follows the same neighbour.
            let place = if round % 2 == 0 { place } else { N - 1 - place };
            let Some(turn) = &mut turns[place] else { continue };
            let time = time(turn()?)?;
            // The first round warms the caches.
            if round > 0 {
                times[place].push(time);
            }
        }
    }
    Ok(times.map(|times| quantile(times, 50)))
}

/// From the start of a process to its end, in milliseconds. Fails when the process does.
fn time(mut command: Command) -> Outcome<f64> {
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let started = Instant::now();
    let output = command.spawn()?.wait_with_output()?;
    let time = started.elapsed().as_secs_f64() * 1e3;
    if output.status.success() {
        return Ok(time);
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
}

/// The value that this many of a hundred do not exceed; `None` of no values.
pub(super) fn quantile(mut values: Vec<f64>, percent: usize) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) * percent / 100).copied()
}

//! What does not depend on the neighbours: memory, system calls, instructions, and what the
//! policies take of a call.

use serde_json::Value;

use super::Outcome;
use super::race::quantile;
use super::row::{Goal, Row};
use super::world::World;
use super::yard::Program::{self, Floor, Hythe, Trop};
use super::yard::Yard;

/// A tool that runs a process and says on stderr what it took.
struct Counter {
    name: &'static str,
    /// The tool and its arguments.
    tool: &'static [&'static str],
    /// What stands before and after the number in its line.
    around: [&'static str; 2],
    /// How many of what is counted make one of what is printed.
    unit: f64,
    goals: &'static [Goal],
}

const COUNTERS: [Counter; 3] = [
    // GNU time: `ru_maxrss` of getrusage(2).
    Counter {
        name: "warm reserve, peak memory, MiB",
        tool: &["time", "-f", "peak %M KiB"],
        around: ["peak ", " KiB"],
        unit: 1024.0,
        goals: &[Goal::Absolute(12.0)],
    },
    Counter {
        name: "warm reserve, system calls",
        tool: &["strace", "-f", "-c", "-U", "calls,name"],
        around: ["", " total"],
        unit: 1.0,
        goals: &[],
    },
    Counter {
        name: "warm reserve, million instructions",
        tool: &["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"],
        around: ["Collected : ", ""],
        unit: 1e6,
        goals: &[],
    },
];

/// Prints what a warm reserve takes, as far as the tools are there.
pub(super) fn print(yard: &Yard, runs: usize) -> Outcome<()> {
    policies(yard, runs)?;
    let world = yard.settled()?;
    for counter in &COUNTERS {
        let count = |program| counter.count(&world, program);
        let (floor, trop, hythe) = (count(Floor), count(Trop), count(Hythe));
        Row { name: counter.name, floor, trop, hythe, beside: None }.print(counter.goals);
    }
    Ok(())
}

impl Counter {
    /// `None` when the tool or the program is not there, or the tool says something else.
    fn count(&self, world: &World<'_>, program: Program) -> Option<f64> {
        let output = world.under(self.tool, program, &["reserve"])?.output().ok()?;
        let said = String::from_utf8(output.stderr).ok()?;
        let [before, after] = self.around;
        let number = said.lines().find_map(|line| {
            line.split_once(before)?.1.strip_suffix(after)?.trim().parse::<f64>().ok()
        })?;
        output.status.success().then_some(number / self.unit)
    }
}

/// Prints what loading and calling policies takes of a warm reserve, by its own account.
fn policies(yard: &Yard, runs: usize) -> Outcome<()> {
    let world = yard.settled()?;
    let mut times = Vec::new();
    for _ in 0..runs {
        let answer = world.answer(Hythe, &["reserve", "--explain", "--json"])?;
        let answer: Value = serde_json::from_str(&answer)?;
        let policies = answer["explanation"]["policies"].as_array();
        let time = |policy: &Value| {
            Some(policy["load_microseconds"].as_f64()? + policy["call_microseconds"].as_f64()?)
        };
        let micros: Option<f64> = policies.and_then(|policies| policies.iter().map(time).sum());
        times.push(micros.ok_or("`reserve --explain --json` does not time policies")? / 1e3);
    }
    let hythe = quantile(times, 50);
    let row = Row { name: "warm reserve, policies' share", hythe, ..Row::default() };
    row.print(&[Goal::Absolute(0.3)]);
    Ok(())
}

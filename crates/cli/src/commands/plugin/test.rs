use std::path::{Path, PathBuf};

use anstyle::AnsiColor;
use clap::Args;
use hythe_engine::{Check, CheckOutcome, Engine, Suite, TestReport, TestRequest};
use serde_json::{Value, json};

use super::subject::SubjectArg;
use crate::failure::{ExitCode, Failure};
use crate::output::lines::Lines;
use crate::output::{Output, clean, document};

/// Run the conformance suite against a plugin, and its author's own cases
///
/// The suite asks each policy for every edge of the contract, for the same answer to the same
/// request, and whatever random requests bring up. Cases are requests and what is expected, in TOML.
#[derive(Debug, Args)]
pub(crate) struct Test {
    #[command(flatten)]
    subject: SubjectArg,
    /// The author's cases; by default cases.toml, if it is here
    #[arg(long, value_name = "FILE")]
    cases: Option<PathBuf>,
    /// How many random requests to make of each policy
    #[arg(long, value_name = "COUNT", default_value_t = 256,
        value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    runs: u32,
    /// What the random requests are made from
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
}

/// What stands before the seed of a random request that failed.
const SEED: &str = "found by seed ";

/// The cases that are taken when none are named.
const CASES: &str = "cases.toml";

impl Test {
    pub(crate) fn run(&self, engine: &Engine<'_>, output: &Output) -> Result<(), Failure> {
        let here = engine.place().directory.as_path();
        let report = engine.test_plugin(&TestRequest {
            subject: self.subject.subject(engine),
            cases: self.cases(here),
            suite: Suite { runs: self.runs, seed: self.seed },
        })?;
        let checks = report.checks.iter().map(|check| &check.outcome);
        let failed = checks.filter(|outcome| matches!(outcome, CheckOutcome::Failed(_))).count()
            + report.cases.iter().filter(|case| case.failure.is_some()).count();
        let passed = report.checks.len() + report.cases.len() - failed;
        if output.json {
            if failed == 0 {
                output.print_json(&self.document(&report))?;
            }
        } else {
            let mut lines = Lines::default();
            for check in &report.checks {
                judged(&mut lines, check, output);
            }
            for case in &report.cases {
                let problem = case.failure.as_deref();
                let place = problem.map_or(String::new(), |_| format!(" (line {})", case.line));
                let name = format!("case: {}{place}", case.name);
                verdict(&mut lines, &name, problem.map(|text| (Tone::Bad, text)), output);
            }
            for cost in &report.costs {
                lines.line(&document::cost_line(cost));
            }
            let noted = report.checks.iter();
            let noted =
                noted.filter(|check| matches!(check.outcome, CheckOutcome::Noted(_))).count();
            lines.line(&format!("{passed} passed, {noted} of them with a note, {failed} failed"));
            match failed {
                0 => output.print(lines.text())?,
                // A failure prints no result.
                _ => lines.text().lines().for_each(|line| output.say(line)),
            }
        }
        match failed {
            0 => Ok(()),
            _ => Err(Failure {
                code: ExitCode::Policy,
                message: format!("{failed} of {} checks failed", passed + failed),
                hint: self.hint(&report),
                details: self.document(&report),
            }),
        }
    }

    /// How to repeat the random request that failed, if one did.
    fn hint(&self, report: &TestReport) -> Option<String> {
        let mut failed = report.checks.iter().filter_map(|check| match &check.outcome {
            CheckOutcome::Failed(text) => text.rsplit_once(SEED),
            _ => None,
        });
        let plugin = self.subject.name();
        let (_, seed) = failed.next_back()?;
        Some(format!("hythe plugin test {plugin} --runs 1 --seed {seed}"))
    }

    fn cases(&self, here: &Path) -> Option<PathBuf> {
        let named = self.cases.as_ref().map(|cases| here.join(cases));
        named.or_else(|| Some(here.join(CASES)).filter(|cases| cases.exists()))
    }

    fn document(&self, report: &TestReport) -> Value {
        let check = |check: &Check| {
            let (outcome, text) = match &check.outcome {
                CheckOutcome::Passed => ("passed", None),
                CheckOutcome::Noted(text) => ("noted", Some(text)),
                CheckOutcome::Failed(text) => ("failed", Some(text)),
            };
            let (interface, name) = (check.interface, check.name);
            json!({ "interface": interface, "name": name, "outcome": outcome, "text": text })
        };
        let cases = report
            .cases
            .iter()
            .map(|case| json!({ "name": case.name, "line": case.line, "failure": case.failure }));
        json!({
            "version": 1,
            "runs": self.runs,
            "seed": self.seed,
            "checks": report.checks.iter().map(check).collect::<Vec<_>>(),
            "cases": cases.collect::<Vec<_>>(),
            "costs": report.costs.iter().map(document::cost).collect::<Vec<_>>(),
        })
    }
}

/// How a check came out, where there is something to be said.
#[derive(Clone, Copy)]
enum Tone {
    Bad,
    Remark,
}

fn judged(lines: &mut Lines, check: &Check, output: &Output) {
    let name = format!("{}: {}", check.interface, check.name);
    let said = match &check.outcome {
        CheckOutcome::Passed => None,
        CheckOutcome::Noted(text) => Some((Tone::Remark, text.as_str())),
        CheckOutcome::Failed(text) => Some((Tone::Bad, text.as_str())),
    };
    verdict(lines, &name, said, output);
}

fn verdict(lines: &mut Lines, name: &str, said: Option<(Tone, &str)>, output: &Output) {
    let (color, word) = match said {
        None => (AnsiColor::Green, "ok  "),
        Some((Tone::Remark, _)) => (AnsiColor::Yellow, "note"),
        Some((Tone::Bad, _)) => (AnsiColor::Red, "FAIL"),
    };
    lines.line(&format!("{}  {}", output.paint(color, word), clean(name)));
    if let Some((_, text)) = said {
        lines.line(&format!("      {}", clean(text)));
    }
}

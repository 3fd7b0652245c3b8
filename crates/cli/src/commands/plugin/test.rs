use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anstyle::AnsiColor;
use clap::Args;
use hythe_document::{ExitCode, Failure};
use hythe_engine::{
    Check, CheckOutcome, Engine, Subject, Suite, TestReport, TestRequest, Which, shell,
};
use serde_json::{Value, json};

use super::costs;
use super::subject::SubjectArg;
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
    /// The author's cases; by default cases.toml beside the plugin or here, if it is there
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

/// The cases that are taken when none are named.
const CASES: &str = "cases.toml";

/// What stands before the request in the text of a failure.
const REQUEST: &str = ", asked {";

impl Test {
    pub(crate) fn run(&self, engine: &Engine<'_>, output: &Output) -> Result<(), Failure> {
        let here = engine.place().directory.as_path();
        let subject = self.subject.subject(engine);
        let cases = self.cases(&subject, here);
        let without_cases = match (&cases, &subject.plugin) {
            (Some(_), _) => None,
            (None, Which::File(_)) => Some("is neither beside the plugin nor here"),
            (None, Which::Named(_)) => Some("is not here"),
        };
        let report = engine.test_plugin(&TestRequest {
            subject,
            cases,
            suite: Suite { runs: self.runs, seed: self.seed },
        })?;
        if let Some(why) = without_cases.filter(|_| !output.json) {
            output.note(&format!("no cases: {CASES} {why}"));
        }
        let checks = report.checks.iter().map(|check| &check.outcome);
        let failed =
            checks.filter(|outcome| matches!(outcome, CheckOutcome::Failed { .. })).count()
                + report.cases.iter().filter(|case| case.failure.is_some()).count();
        let passed = report.checks.len() + report.cases.len() - failed;
        if output.json {
            if failed == 0 {
                output.print_json(&self.document(&report))?;
            }
        } else {
            let mut lines = Lines::within(output.columns());
            let mut failures = HashSet::new();
            for check in &report.checks {
                judged(&mut lines, check, &mut failures, output);
            }
            for case in &report.cases {
                let problem = case.failure.as_deref();
                let place = problem.map_or(String::new(), |_| format!(" (line {})", case.line));
                let name = format!("case: {}{place}", case.name);
                verdict(&mut lines, &name, problem.map(|text| (Tone::Bad, text)), output);
            }
            costs::told(&mut lines, &report.costs);
            let noted = report.checks.iter();
            let noted =
                noted.filter(|check| matches!(check.outcome, CheckOutcome::Noted(_))).count();
            lines.line("");
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
        let mut seeds = report.checks.iter().filter_map(|check| match check.outcome {
            CheckOutcome::Failed { seed, .. } => seed,
            _ => None,
        });
        let seed = seeds.next_back()?;
        let plugin = shell::word(self.subject.name());
        let cases = self.cases.as_ref().map(|cases| shell::word(&cases.to_string_lossy()));
        let cases = cases.map(|cases| format!(" --cases {cases}")).unwrap_or_default();
        let options: String = self.subject.given().collect();
        Some(format!("hythe plugin test {plugin} --runs 1 --seed {seed}{cases}{options}"))
    }

    /// Where the author's cases are: what is tested needs none.
    fn cases(&self, subject: &Subject, here: &Path) -> Option<PathBuf> {
        if let Some(named) = &self.cases {
            return Some(here.join(named));
        }
        let beside = match &subject.plugin {
            Which::File(plugin) => Some(plugin.with_file_name(CASES)),
            Which::Named(_) => None,
        };
        beside.into_iter().chain([here.join(CASES)]).find(|cases| cases.exists())
    }

    fn document(&self, report: &TestReport) -> Value {
        let check = |check: &Check| {
            let (outcome, text) = match &check.outcome {
                CheckOutcome::Passed => ("passed", None),
                CheckOutcome::Noted(text) => ("noted", Some(text)),
                CheckOutcome::Failed { text, .. } => ("failed", Some(text)),
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

/// Says how a check came out; `failures` is how others have failed before.
fn judged<'a>(
    lines: &mut Lines,
    check: &'a Check,
    failures: &mut HashSet<&'a str>,
    output: &Output,
) {
    let name = format!("{}: {}", check.interface, check.name);
    let said = match &check.outcome {
        CheckOutcome::Passed => None,
        CheckOutcome::Noted(text) => Some((Tone::Remark, text.as_str())),
        CheckOutcome::Failed { text, .. } => {
            let failure = text.split_once(REQUEST).map_or(text.as_str(), |(failure, _)| failure);
            let text = if failures.insert(failure) { text } else { "the same as above" };
            Some((Tone::Bad, text))
        }
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
        lines.hanging("      ", text);
    }
}

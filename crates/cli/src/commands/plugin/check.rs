use clap::Args;
use hythe_document::Failure;
use hythe_engine::{CheckReport, Checked, Engine};
use serde_json::{Value, json};

use super::subject::SubjectArg;
use crate::output::lines::Lines;
use crate::output::{Output, document};

/// Check everything that loading and using a plugin would check, and that it is pure
///
/// It imports nothing, exports the contract's interfaces with their types in a version that this
/// hythe speaks, compiles within the limits, says what it is, takes its options, and gives fresh
/// instances of itself the same answers.
#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    subject: SubjectArg,
}

/// How many characters of what was found are shown.
const CHARACTERS: usize = 200;

impl Check {
    pub(crate) fn run(&self, engine: &Engine<'_>, output: &Output) -> Result<(), Failure> {
        let CheckReport { passed, failed } = engine.check_plugin(&self.subject.subject(engine));
        if !output.json {
            let mut lines = Lines::within(output.columns());
            for Checked { what, found } in &passed {
                let found = document::shortened(found, CHARACTERS);
                lines.hanging(&format!("ok  {what:<12} "), &found);
            }
            let text = lines.text();
            // A failure prints no result: what is in order is said beside it.
            match failed.is_some() {
                true => text.lines().for_each(|line| output.note(line)),
                false => output.print(text)?,
            }
        } else if failed.is_none() {
            let passed: Value =
                passed.iter().map(|it| json!({ "check": it.what, "found": it.found })).collect();
            output.print_json(&json!({ "version": 1, "ok": true, "passed": passed }))?;
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }
}

mod agent;
mod surroundings;

use anstyle::AnsiColor;
use clap::Args;
use hythe_document::{ExitCode, Failure};
use hythe_engine::config::Overrides;
use hythe_engine::{DoctorRequest, Engine, Finding, Host, Notice, Status};
use serde_json::{Value, json};

use self::agent::Agent;
use crate::environment::Environment;
use crate::output::Output;
use crate::output::lines::Lines;

/// Check everything that Hythe needs: configuration, ledger, files, ports, sockets, surroundings
///
/// Exits with 0 when there is no problem, notes or not, and with 7 when there is one. Changes nothing
/// without --fix, and releases no reservation with it.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Repair what can be repaired: permissions, files left behind, and a damaged ledger
    #[arg(long)]
    fix: bool,
    /// With --fix, say what would be repaired, and write nothing
    #[arg(short = 'n', long, requires = "fix")]
    dry_run: bool,
    /// Print the settings that a sandboxed agent needs to use hythe: claude or codex
    #[arg(long, value_name = "NAME", conflicts_with = "fix")]
    agent: Option<Agent>,
}

impl Doctor {
    /// Runs even where an engine cannot be opened. `overrides` are what flags and variables set.
    pub(crate) fn run(
        &self,
        environment: &Environment,
        overrides: Result<Overrides, Failure>,
        output: &Output,
    ) -> Result<(), Failure> {
        if let Some(agent) = self.agent {
            return agent.run(&environment.home, output);
        }
        let mut findings = surroundings::examine();
        let overrides = overrides.unwrap_or_else(|failure| {
            findings.push(Finding::problem("environment", failure.message, failure.hint));
            Overrides::default()
        });
        let report = |notice: &Notice| output.notice(notice);
        let (home, directory) = (&environment.home, &environment.directory);
        let (engine, faults) = Engine::open_despite(&Host, home, overrides, directory, &report)?;
        let request = DoctorRequest { fix: self.fix, dry_run: self.dry_run };
        findings.extend(engine.doctor(request, &faults));
        let problems = findings.iter().filter(|finding| finding.status == Status::Problem).count();
        self.print(&findings, problems == 0, output)?;
        let message = match problems {
            0 => return Ok(()),
            1 => "there is 1 problem".to_owned(),
            _ => format!("there are {problems} problems"),
        };
        Err(Failure { code: ExitCode::NotFound, message, hint: None, details: json!({}) })
    }

    fn print(&self, findings: &[Finding], ok: bool, output: &Output) -> Result<(), Failure> {
        if output.json {
            let checks: Value = findings.iter().map(document).collect();
            return output.print_json(&json!({
                "version": 1,
                "ok": ok,
                "dry_run": self.dry_run,
                "checks": checks,
            }));
        }
        let mut lines = Lines::within(output.columns());
        for finding in findings {
            let Finding { check, status, message, hint, repair } = finding;
            let color = match status {
                Status::Ok | Status::Fixed => AnsiColor::Green,
                Status::Note => AnsiColor::Yellow,
                Status::Problem => AnsiColor::Red,
            };
            // Painted afterwards: a colour takes no room.
            let hook = format!("{:<8} {check:<14}", status.word());
            let mut told = Lines::within(output.columns());
            told.hanging(&hook, message);
            let word = output.paint(color, status.word());
            lines.line(&told.text().trim_end().replacen(status.word(), &word, 1));
            let indent = " ".repeat(hook.len());
            if let Some(repair) = repair {
                let tense = if self.dry_run { "would be repaired: " } else { "repaired: " };
                lines.hanging(&format!("{indent}{tense}"), repair);
            }
            if let Some(hint) = hint {
                lines.hanging(&format!("{indent}hint: "), hint);
            }
        }
        output.print(lines.text())
    }
}

fn document(finding: &Finding) -> Value {
    json!({
        "check": finding.check,
        "status": finding.status.word(),
        "message": finding.message,
        "hint": finding.hint,
        "repair": finding.repair,
    })
}

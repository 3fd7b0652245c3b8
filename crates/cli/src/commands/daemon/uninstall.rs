use clap::Args;
use hythe_document::{ExitCode, Failure, path};
use serde_json::json;

use super::supervisor::{Installed, Step, Supervisor};
use crate::environment::Environment;
use crate::output::{Output, clean};

/// Stop the server that was installed, and have it started no more
///
/// Reservations stay, and so do all other commands. Exits with 7 when nothing is installed.
#[derive(Debug, Args)]
pub(crate) struct Uninstall {
    /// Remove a file of this name that hythe has not written
    #[arg(long)]
    force: bool,
    /// Say what would be done, and do nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Uninstall {
    pub(crate) fn run(&self, environment: &Environment, output: &Output) -> Result<(), Failure> {
        let manager = Supervisor::of_user(environment)?;
        match manager.installed()? {
            Installed::No => {
                let message = format!("the server is not installed: no {}", manager.file.display());
                let code = ExitCode::NotFound;
                return Err(Failure {
                    code,
                    ..Failure::usage(&message, Some("hythe daemon status"))
                });
            }
            Installed::Foreign if !self.force => return Err(manager.foreign("uninstall")),
            Installed::Own(_) | Installed::Foreign => {}
        }
        let (before, after) = manager.to_uninstall();
        if !self.dry_run {
            match manager.reach() {
                Ok(()) => {
                    before.iter().try_for_each(Step::run)?;
                    manager.remove()?;
                    after.iter().try_for_each(Step::run)?;
                }
                Err(failure) => {
                    output.remark(&failure.message);
                    manager.remove()?;
                }
            }
        }
        let file = &manager.file;
        let steps = || before.iter().chain(&after).map(Step::line);
        if output.json {
            return output.print_json(&json!({
                "version": 1,
                "dry_run": self.dry_run,
                "manager": manager.word(),
                "file": path(file),
                "commands": steps().collect::<Vec<_>>(),
            }));
        }
        if !self.dry_run {
            return output.print(&(clean(&format!("removed {}", file.display())) + "\n"));
        }
        let mut told = clean(&format!("would remove {}", file.display())) + "\n";
        told.extend(steps().map(|step| clean(&format!("would run {step}")) + "\n"));
        output.print(&told)
    }
}

use clap::Args;
use hythe_document::Failure;
use hythe_engine::{Engine, RemoveRequest};

use super::add::report;
use crate::args::TargetArg;
use crate::output::Output;

/// Take a plugin out of a configuration file, with its options and whatever selects it there
#[derive(Debug, Args)]
#[command(alias = "rm")]
pub(crate) struct Remove {
    /// Its name
    name: String,
    #[command(flatten)]
    target: TargetArg,
    /// Say what would change, and write nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Remove {
    pub(crate) fn run(&self, engine: &Engine<'_>, output: &Output) -> Result<(), Failure> {
        let declared = engine.remove_plugin(&RemoveRequest {
            name: self.name.clone(),
            role: self.target.role(),
            dry_run: self.dry_run,
        })?;
        report(&declared, self.dry_run, output)
    }
}

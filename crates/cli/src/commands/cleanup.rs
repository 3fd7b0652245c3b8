use std::time::Duration;

use clap::Args;
use hythe_document::Failure;
use hythe_engine::{CleanupRequest, Engine};

use super::release;
use crate::output::Output;

/// Run the cleanup policies now, and release what they say
///
/// What is locked, or whose own server runs or may run, is never released.
#[derive(Debug, Args)]
pub(crate) struct Cleanup {
    /// Only this cleanup policy; may be repeated
    #[arg(long, value_name = "NAME")]
    policy: Vec<String>,
    /// Release as well what has not been used for this long
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,
    /// Say what would be released, and write nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Cleanup {
    pub(crate) fn run(&self, engine: &Engine<'_>, output: &Output) -> Result<(), Failure> {
        let released = engine.cleanup(&CleanupRequest {
            policies: self.policy.clone(),
            older_than: self.older_than,
            dry_run: self.dry_run,
        })?;
        if released.is_empty() {
            output.note("nothing to release");
        }
        release::say(&released, self.dry_run, output)
    }
}

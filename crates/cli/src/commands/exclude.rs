use clap::Args;
use hythe_document::Failure;
use hythe_engine::{Configured, Engine, ExcludeRequest, PortRange};

use super::changed;
use crate::args::TargetArg;
use crate::output::{Output, document};

/// Never give these ports: writes them into a configuration file
///
/// Comments and order of the file stay as they are. A port that is reserved already stays reserved.
#[derive(Debug, Args)]
pub(crate) struct Exclude {
    /// Ports, and ranges such as 28000-28099
    #[arg(required = true, value_name = "PORT|FIRST-LAST")]
    ranges: Vec<PortRange>,
    /// Take them out of the file again, as they are written there
    #[arg(long)]
    remove: bool,
    #[command(flatten)]
    target: TargetArg,
    /// Say what would change, and write nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Exclude {
    pub(crate) fn run(&self, engine: &Engine<'_>, output: &Output) -> Result<(), Failure> {
        let Configured { file, changes } = engine.exclude(&ExcludeRequest {
            ranges: self.ranges.clone(),
            remove: self.remove,
            role: self.target.role(),
            dry_run: self.dry_run,
        })?;
        if output.json {
            return output.print_json(&document::configured(&file, &changes, self.dry_run));
        }
        if changes.is_empty() {
            output.note(&format!("all of them are excluded in {}", file.display()));
        }
        output.print(changed(&file, &changes, self.dry_run).text())
    }
}

use std::path::PathBuf;

use clap::Args;
use hythe_document::Failure;
use hythe_engine::{AddRequest, Declared, Engine};
use serde_json::json;

use crate::args::TargetArg;
use crate::commands::changed;
use crate::output::{Output, document};

/// Declare a plugin in a configuration file, pinned by its digest
///
/// Checks that it can be used first. What is declared already is pinned anew. Comments and order of
/// the file stay as they are.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The plugin's component
    file: PathBuf,
    /// What to call it; by default what it calls itself
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    target: TargetArg,
    /// Let it decide whatever it exports: as key and selection policy, and first at cleanup
    #[arg(long = "use")]
    select: bool,
    /// Say what would change, and write nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Add {
    pub(crate) fn run(&self, engine: &Engine<'_>, output: &Output) -> Result<(), Failure> {
        let declared = engine.add_plugin(&AddRequest {
            file: self.file.clone(),
            name: self.name.clone(),
            role: self.target.role(),
            select: self.select,
            dry_run: self.dry_run,
        })?;
        report(&declared, self.dry_run, output)
    }
}

/// Says what changed in a configuration file.
pub(super) fn report(declared: &Declared, dry_run: bool, output: &Output) -> Result<(), Failure> {
    let Declared { name, file, changes, options } = declared;
    if output.json {
        return output.print_json(&json!({
            "version": 1,
            "dry_run": dry_run,
            "name": name,
            "file": document::path(file),
            "changes": changes,
        }));
    }
    if changes.is_empty() {
        output.note(&format!("`{name}` is as it should be in {}", file.display()));
    }
    if let Some(wrong) = options {
        output.note(&format!("`{name}` cannot be used yet: {wrong}"));
        output.note(&format!("set it in [plugins.{name}.options] of {}", file.display()));
    }
    output.print(changed(file, changes, dry_run).text())
}

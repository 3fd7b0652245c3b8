use std::path::PathBuf;

use clap::Args;
use hythe_document::Failure;
use hythe_engine::{Change, Engine, RelocateRequest, Relocated};
use serde_json::{Value, json};

use crate::environment::Environment;
use crate::output::{Output, document};

/// Let the reservations of a directory that was moved or renamed keep their ports
///
/// Those of the directories below it follow as well. A copy is not a move: what is still there keeps
/// its ports, unless `--force` is given.
#[derive(Debug, Args)]
pub(crate) struct Move {
    /// Where the directory was; it need not exist any more
    from: PathBuf,
    /// Where it is
    to: PathBuf,
    /// Move the reservations although the old directory is still there
    #[arg(long)]
    force: bool,
    /// Say what would move, and write nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Move {
    pub(crate) fn run(
        &self,
        engine: &Engine<'_>,
        environment: &Environment,
        output: &Output,
    ) -> Result<(), Failure> {
        let relocated = engine.relocate(&RelocateRequest {
            from: environment.directory.join(&self.from),
            to: environment.directory.join(&self.to),
            force: self.force,
            dry_run: self.dry_run,
        })?;
        if output.json {
            return output.print_json(&self.document(&relocated));
        }
        for change in &relocated.changes {
            let Change::Relocated { from, to } = change else { continue };
            output.note(&format!(
                "{} port {} (`{}`) from {} to {}",
                if self.dry_run { "would move" } else { "moved" },
                to.port,
                to.service,
                from.display(),
                to.directory.display(),
            ));
        }
        for left in &relocated.left {
            output.note(&format!(
                "port {} (`{}`) stays with {}, which has not moved along",
                left.port,
                left.service,
                left.directory.display(),
            ));
        }
        Ok(())
    }

    fn document(&self, relocated: &Relocated) -> Value {
        let moved = relocated.changes.iter().filter_map(|change| match change {
            Change::Relocated { from, to } => Some(json!({
                "port": to.port,
                "scope": to.scope,
                "service": to.service,
                "from": document::path(from),
                "directory": document::path(&to.directory),
                "key": to.key.text,
            })),
            _ => None,
        });
        let left = relocated.left.iter().map(|left| {
            json!({
                "port": left.port,
                "scope": left.scope,
                "service": left.service,
                "directory": document::path(&left.directory),
                "key": left.key.text,
            })
        });
        json!({
            "version": 1,
            "dry_run": self.dry_run,
            "moved": moved.collect::<Vec<_>>(),
            "left": left.collect::<Vec<_>>(),
        })
    }
}

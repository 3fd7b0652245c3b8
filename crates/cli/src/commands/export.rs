use std::path::PathBuf;

use clap::Args;
use hythe_document::Failure;
use hythe_engine::Engine;
use serde_json::json;

use crate::output::{self, Output, document};

/// Print the whole ledger as one JSON document, which `hythe import --from hythe` reads
///
/// It holds every reservation and every port that was given back, not what happened to them: `hythe
/// log --json` prints that.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Write it to this file, whole or not at all
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Export {
    pub(crate) fn run(&self, engine: &Engine<'_>, output: &Output) -> Result<(), Failure> {
        let exported = engine.export()?;
        let Some(file) = &self.file else { return output.print_json(&exported) };
        engine.write_export(file, output::pretty_line(&exported).as_bytes())?;
        let count = |name: &str| exported[name].as_array().map_or(0, Vec::len);
        let (reservations, released) = (count("reservations"), count("released"));
        if output.json {
            return output.print_json(&json!({
                "version": 1,
                "file": document::path(&engine.place().directory.join(file)),
                "reservations": reservations,
                "released": released,
            }));
        }
        output.note(&format!("{}: {reservations} reservations", file.display()));
        Ok(())
    }
}

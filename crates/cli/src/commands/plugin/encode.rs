use std::path::PathBuf;

use clap::Args;
use hythe_document::Failure;
use hythe_engine::Engine;
use serde_json::json;

use crate::output::{Output, document};

/// Make a plugin of a core module: the last step of building one
///
/// A module of `wit-bindgen` says its own types. Of any other, what it exports is told by the names
/// of its functions, such as `hythe:policy/port-selection@0.1.0#select`.
#[derive(Debug, Args)]
pub(crate) struct Encode {
    /// The core module that a compiler for wasm32 has built
    module: PathBuf,
    /// The component to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

impl Encode {
    pub(crate) fn run(&self, engine: &Engine<'_>, output: &Output) -> Result<(), Failure> {
        let size = engine.encode_plugin(&self.module, &self.output)?;
        if output.json {
            let file = document::path(&engine.place().directory.join(&self.output));
            return output.print_json(&json!({ "version": 1, "file": file, "size": size }));
        }
        output.note(&format!("{}: {size} bytes", self.output.display()));
        Ok(())
    }
}

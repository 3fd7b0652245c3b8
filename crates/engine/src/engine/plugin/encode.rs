//! `plugin encode`: the end of building a plugin.

use std::io;
use std::path::Path;

use super::super::replace::replace;
use super::super::{Engine, Error};
use crate::wasm::{self, Problem};

impl Engine<'_> {
    /// Makes a component of the core module in a file; the size of the component in bytes.
    pub fn encode_plugin(&self, module: &Path, component: &Path) -> Result<usize, Error> {
        let limit = self.settings().limits.module_size.value;
        let module = self.place.directory.join(module);
        let bytes = wasm::read(&module, limit).map_err(|problem| Error::File {
            path: module.clone(),
            error: match problem {
                Problem::Unreadable { error, .. } => error,
                problem => io::Error::other(problem.to_string()),
            },
        })?;
        let encoded =
            wasm::encode(&bytes).map_err(|error| Error::Encode { path: module, error })?;
        let component = self.place.directory.join(component);
        replace(&component, &encoded).map_err(|error| Error::File { path: component, error })?;
        Ok(encoded.len())
    }
}

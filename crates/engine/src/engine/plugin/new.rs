//! `plugin new`: the beginning of a plugin.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::super::{Engine, Error};
use crate::scaffold::{self, Language};

impl Engine<'_> {
    /// Writes the beginning of a plugin into a new directory of its name; the files it wrote. The
    /// directory must not be there, and is not when this fails.
    pub fn new_plugin(&self, name: &str, language: Language) -> Result<Vec<PathBuf>, Error> {
        let files =
            scaffold::files(name, language).map_err(|error| Error::Usage(error.to_string()))?;
        let directory = self.place.directory.join(name);
        let failed = |error| Error::File { path: directory.clone(), error };
        fs::create_dir(&directory).map_err(failed)?;
        let written = files
            .into_iter()
            .map(|(path, text)| write(directory.join(path), &text))
            .collect::<Result<_, _>>();
        written.map_err(|error| {
            // It was empty a moment ago, and nobody else has been told of it.
            let _ = fs::remove_dir_all(&directory);
            failed(error)
        })
    }
}

fn write(path: PathBuf, text: &str) -> io::Result<PathBuf> {
    fs::create_dir_all(path.parent().unwrap_or(Path::new("")))?;
    fs::write(&path, text)?;
    Ok(path)
}

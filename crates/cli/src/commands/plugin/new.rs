use clap::Args;
use hythe_document::Failure;
use hythe_engine::{Engine, Language};
use serde_json::json;

use crate::output::{Output, clean, document};

/// Begin a plugin: a directory with a policy that builds, its cases, and what to do next
#[derive(Debug, Args)]
pub(crate) struct New {
    /// Its name, and that of the directory
    name: String,
    /// The language: rust, c or js
    #[arg(long, value_name = "LANGUAGE", default_value = "rust")]
    lang: Language,
}

impl New {
    pub(crate) fn run(&self, engine: &Engine<'_>, output: &Output) -> Result<(), Failure> {
        let files = engine.new_plugin(&self.name, self.lang)?;
        if output.json {
            let files: Vec<_> = files.iter().map(|file| document::path(file)).collect();
            return output.print_json(&json!({ "version": 1, "files": files }));
        }
        let mut text = String::new();
        for file in &files {
            text.push_str(&clean(&file.display().to_string()));
            text.push('\n');
        }
        output.print(&text)?;
        output.note(&format!("{}/README.md says how to build, test and pin it", self.name));
        Ok(())
    }
}

use std::path::PathBuf;

use clap::Args;
use hythe_document::Failure;
use hythe_engine::{Engine, Environment as Variables, EnvironmentRequest, Format};
use serde_json::{Map, Value, json};

use crate::args::ReserveArgs;
use crate::environment::Environment;
use crate::output::{Output, clean, document};

/// Print environment variables: the ports of the project's services, and what follows from them
///
/// Reserves every service that hythe.toml declares, all or none, or `main` when it declares none.
/// Then prints a variable for each, and those of its [env] table.
///
///   v=$(hythe env) && eval "$v"       sh, bash, zsh
///   hythe env --format fish | source
///   hythe env --write .env            between two marks; the rest of the file stays as it is
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Env {
    /// How to write them: shell, fish, powershell, dotenv or json; dotenv with --write, else shell
    #[arg(long, short)]
    format: Option<Format>,
    /// Write them into this file instead of printing them; may be repeated
    #[arg(long, short, value_name = "FILE")]
    write: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) common: ReserveArgs,
}

impl Env {
    pub(crate) fn run(
        &self,
        engine: &Engine<'_>,
        environment: &Environment,
        output: &Output,
    ) -> Result<(), Failure> {
        let files: Vec<_> =
            self.write.iter().map(|file| environment.directory.join(file)).collect();
        let format = match (self.format, files.is_empty()) {
            (Some(Format::Json), false) => {
                return Err(Failure::usage(
                    "a JSON file has no room for lines of ours among others",
                    Some("hythe env --format json > FILE"),
                ));
            }
            (Some(format), _) => format,
            (None, true) => Format::Shell,
            (None, false) => Format::Dotenv,
        };
        let reserve = self.common.request(Vec::new(), environment);
        let variables = engine.environment(&EnvironmentRequest { reserve, format, files })?;
        if output.json {
            return output.print_json(&self.document(&variables));
        }
        for (file, changed) in &variables.files {
            let did = match (changed, self.common.ask.dry_run) {
                (false, _) => "unchanged",
                (true, false) => "wrote",
                (true, true) => "would write",
            };
            output.note(&clean(&format!("{did}: {}", file.display())));
        }
        if variables.files.is_empty() { output.print(&variables.text) } else { Ok(()) }
    }

    fn document(&self, environment: &Variables) -> Value {
        let variables = environment.variables.iter();
        let variables: Map<_, _> = variables
            .map(|variable| (variable.name.to_string(), variable.value.clone().into()))
            .collect();
        let files = environment.files.iter();
        let files: Vec<_> = files
            .map(|(file, changed)| json!({ "file": document::path(file), "changed": changed }))
            .collect();
        let services = environment.reserved.iter().map(document::reserved).collect::<Vec<_>>();
        json!({
            "version": 1,
            "dry_run": self.common.ask.dry_run,
            "variables": variables,
            "services": services,
            "files": files,
        })
    }
}

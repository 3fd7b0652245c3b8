use clap::{Args, Subcommand};
use hythe_engine::Engine;
use hythe_engine::config::Candidate;
use serde_json::{Value, json};

use crate::environment::Environment;
use crate::failure::{ExitCode, Failure};
use crate::output::{Output, clean, document};

/// Show, check and find the configuration
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    Show(Show),
    Check(Check),
    Path(Path),
}

/// Show every setting as it holds here
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Say where each value was set
    #[arg(long)]
    origin: bool,
}

/// Check the files, and that every plugin they name can be used
#[derive(Debug, Args)]
pub(crate) struct Check {}

/// Print the files that are read here, the weakest first, and where the ledger is
#[derive(Debug, Args)]
pub(crate) struct Path {}

impl Config {
    pub(crate) fn run(
        &self,
        engine: &Engine<'_>,
        environment: &Environment,
        output: &Output,
    ) -> Result<(), Failure> {
        match self {
            Self::Show(show) => show.run(engine, output),
            Self::Check(_) => check(engine, output),
            Self::Path(_) => path(engine, environment, output),
        }
    }
}

impl Show {
    fn run(&self, engine: &Engine<'_>, output: &Output) -> Result<(), Failure> {
        let entries = engine.config().settings().entries();
        if output.json {
            let settings = entries.iter().map(|entry| {
                let origins: Vec<_> = entry.origins.iter().map(ToString::to_string).collect();
                json!({ "name": entry.name, "value": entry.value, "origins": origins })
            });
            let settings: Value = settings.collect();
            return output.print_json(&json!({ "version": 1, "settings": settings }));
        }
        let mut text = String::new();
        for entry in &entries {
            text.push_str(&clean(&format!("{} = {}", entry.name, entry.value)));
            if self.origin {
                let origins: Vec<_> = entry.origins.iter().map(ToString::to_string).collect();
                text.push_str(&clean(&format!("  # {}", origins.join(", "))));
            }
            text.push('\n');
        }
        output.print(&text)
    }
}

fn check(engine: &Engine<'_>, output: &Output) -> Result<(), Failure> {
    let mut errors: Vec<_> = engine.check().into_iter().map(Failure::from).collect();
    let Some(last) = errors.pop() else {
        if output.json {
            return output.print_json(&json!({ "version": 1, "ok": true }));
        }
        output.note("the configuration is in order");
        return Ok(());
    };
    errors.iter().for_each(|error| output.failure(error));
    Err(Failure { code: ExitCode::Configuration.max(last.code), ..last })
}

fn path(engine: &Engine<'_>, environment: &Environment, output: &Output) -> Result<(), Failure> {
    let files = engine.config().files();
    if output.json {
        let files: Value = files
            .iter()
            .map(|Candidate { file, exists }| {
                let role = file.role.word();
                json!({ "path": document::path(&file.path), "role": role, "exists": exists })
            })
            .collect();
        return output.print_json(&json!({
            "version": 1,
            "files": files,
            "ledger": document::path(&engine.ledger_path()),
            "cache": environment.home.cache.as_deref().map(document::path),
        }));
    }
    let mut text = String::new();
    for Candidate { file, exists } in files {
        let missing = if *exists { "" } else { " (missing)" };
        text.push_str(&clean(&format!("{:<8} {}{missing}", file.role, file.path.display())));
        text.push('\n');
    }
    text.push_str(&clean(&format!("ledger   {}", engine.ledger_path().display())));
    text.push('\n');
    if let Some(cache) = &environment.home.cache {
        text.push_str(&clean(&format!("cache    {}", cache.display())));
        text.push('\n');
    }
    output.print(&text)
}

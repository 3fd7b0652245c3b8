use clap::{Args, Subcommand};
use hythe_document::{ExitCode, Failure};
use hythe_engine::config::{Candidate, Setting, option_value};
use hythe_engine::{Configured, Engine, SetRequest, shell};
use serde_json::{Value, json};

use super::changed;
use crate::args::TargetArg;
use crate::environment::Environment;
use crate::output::{Output, clean, document};

/// Show, check, find and edit the configuration
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    Show(Show),
    Get(Get),
    Set(Set),
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

/// Print one setting as it holds here, or exit with 7
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The setting, as a dotted key: ports.range, services.web.port
    key: Setting,
}

/// Write one setting into a configuration file
///
/// Comments and order of the file stay as they are, and nothing is written that would be no valid
/// configuration.
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// The setting, as a dotted key: ports.range, services.web.port
    key: Setting,
    /// Its value as TOML has it; a word needs no quotes
    #[arg(value_parser = given, required_unless_present = "unset")]
    value: Option<Given>,
    /// Take it out of the file again; exits with 7 when it is not there
    #[arg(long, conflicts_with = "value")]
    unset: bool,
    #[command(flatten)]
    target: TargetArg,
    /// Say what would change, and write nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// A value, for the argument parser one word.
#[derive(Debug, Clone)]
struct Given(Value);

fn given(text: &str) -> Result<Given, String> {
    match option_value(text)? {
        Value::Object(_) => Err("a table is not written here: edit the file".to_owned()),
        value => Ok(Given(value)),
    }
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
            Self::Get(get) => get.run(engine, output),
            Self::Set(set) => set.run(engine, output),
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

impl Get {
    fn run(&self, engine: &Engine<'_>, output: &Output) -> Result<(), Failure> {
        let entries = engine.config().settings().entries();
        let name = self.key.to_string();
        let Some(entry) = entries.into_iter().find(|entry| entry.name == name) else {
            let message = format!("`{name}` is not set here");
            let hint = format!("hythe config set {} VALUE", shell::word(&name));
            let code = ExitCode::NotFound;
            return Err(Failure { code, ..Failure::usage(&message, Some(&hint)) });
        };
        if output.json {
            let origins: Vec<_> = entry.origins.iter().map(ToString::to_string).collect();
            return output.print_json(&json!({
                "version": 1,
                "name": entry.name,
                "value": entry.value,
                "origins": origins,
            }));
        }
        let text = match option_value(&entry.value) {
            Ok(Value::String(text)) => text,
            _ => entry.value,
        };
        output.print(&format!("{}\n", clean(&text)))
    }
}

impl Set {
    fn run(&self, engine: &Engine<'_>, output: &Output) -> Result<(), Failure> {
        let Configured { file, changes } = engine.set(&SetRequest {
            setting: self.key.clone(),
            value: self.value.clone().map(|Given(value)| value),
            role: self.target.role(),
            dry_run: self.dry_run,
        })?;
        if output.json {
            return output.print_json(&document::configured(&file, &changes, self.dry_run));
        }
        if changes.is_empty() {
            output.note(&format!("`{}` is as it should be in {}", self.key, file.display()));
        }
        output.print(changed(&file, &changes, self.dry_run).text())
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

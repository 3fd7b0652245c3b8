use clap::Args;
use hythe_engine::{Engine, FoundPlugin, PluginFacts};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::table::Table;
use crate::output::{Output, document};

/// List the plugins that this directory could use, and what it uses them for
#[derive(Debug, Args)]
#[command(alias = "ls")]
pub(crate) struct List {}

impl List {
    #[expect(clippy::unused_self, reason = "every command is run in the same way")]
    pub(crate) fn run(&self, engine: &Engine<'_>, output: &Output) -> Result<(), Failure> {
        let plugins = engine.plugins();
        if output.json {
            let plugins: Value = plugins.iter().map(document::plugin).collect();
            return output.print_json(&json!({ "version": 1, "plugins": plugins }));
        }
        let mut table = Table::new(
            &["NAME", "VERSION", "POLICIES", "USED HERE FOR", "SIZE", "SHA-256", "SOURCE"],
            6,
        );
        for plugin in &plugins {
            table.row(row(plugin));
        }
        output.print(&table.render(|_, cell| cell.to_owned()))
    }
}

fn row(plugin: &PluginFacts) -> [String; 7] {
    let source = plugin
        .path
        .as_ref()
        .map_or_else(|| "bundled".to_owned(), |path| path.display().to_string());
    let used = match plugin.used_for.as_slice() {
        [] => "-".to_owned(),
        used => used.join(", "),
    };
    match &plugin.found {
        Ok(FoundPlugin { description, policies, size, sha256 }) => {
            let policies: Vec<_> = policies.iter().map(|policy| policy.name()).collect();
            [
                plugin.name.clone(),
                description.version.clone(),
                policies.join(", "),
                used,
                size.to_string(),
                sha256.chars().take(12).collect(),
                source,
            ]
        }
        Err(error) => {
            let unknown = || "-".to_owned();
            let name = plugin.name.clone();
            [name, unknown(), unknown(), used, unknown(), unknown(), format!("{source}: {error}")]
        }
    }
}

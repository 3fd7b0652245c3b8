use clap::Args;
use hythe_document::Failure;
use hythe_engine::{Engine, FoundPlugin, Interface, PluginFacts};
use serde_json::{Value, json};

use crate::output::lines::Lines;
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
        // Where there is no room for all of it, what identifies a plugin's bytes is left to `inspect`.
        let wide = output.columns().is_none_or(|columns| columns >= WIDE);
        let shown: &[usize] = if wide { &[0, 1, 2, 3, 4, 5, 6] } else { &[0, 1, 2, 3, 6] };
        let headings: Vec<_> = shown.iter().map(|column| HEADINGS[*column]).collect();
        let mut table = Table::new(&headings, shown.len() - 1);
        let mut lines = Lines::within(output.columns());
        for plugin in &plugins {
            let cells = row(plugin);
            table.row(shown.iter().map(|column| cells[*column].clone()));
            if let Err(error) = &plugin.found {
                lines.hanging(&format!("{}: ", plugin.name), error);
            }
        }
        let table = table.render(|_, cell| cell.to_owned());
        output.print(&format!("{table}{}", lines.text()))
    }
}

const HEADINGS: [&str; 7] =
    ["NAME", "VERSION", "POLICIES", "USED HERE FOR", "SIZE", "SHA-256", "SOURCE"];

/// How many columns all headings need with paths of an ordinary length.
const WIDE: usize = 120;

/// A row with all columns. Why a plugin cannot be used stands below the table.
fn row(plugin: &PluginFacts) -> [String; 7] {
    let source = plugin
        .path
        .as_ref()
        .map_or_else(|| "bundled".to_owned(), |path| path.display().to_string());
    let used = match plugin.used_for.as_slice() {
        [] => "-".to_owned(),
        used => used.join(", "),
    };
    let name = plugin.name.clone();
    match &plugin.found {
        Ok(FoundPlugin { description, policies, size, sha256 }) => {
            let policies: Vec<_> = policies.iter().map(|policy| decides(*policy)).collect();
            let digest = sha256.chars().take(12).collect();
            let version = description.version.clone();
            [name, version, policies.join(", "), used, size.to_string(), digest, source]
        }
        Err(_) => {
            let unknown = || "-".to_owned();
            [name, unknown(), "unusable".to_owned(), used, unknown(), unknown(), source]
        }
    }
}

/// What a policy decides, in the words of `[strategy]`.
const fn decides(policy: Interface) -> &'static str {
    match policy {
        Interface::KeyDerivation => "key",
        Interface::PortSelection => "selection",
        Interface::Cleanup => "cleanup",
    }
}

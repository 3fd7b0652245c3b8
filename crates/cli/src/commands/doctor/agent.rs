//! The settings that a sandboxed agent needs, with the paths of this machine.
//!
//! Both agents let commands read nearly everything, write only below the project, and use the network
//! only as far as it is allowed. Hythe has to write to its state directory and to bind ports. It is
//! given nothing else: whoever can write to the cache of compiled plugins or to the user's configuration,
//! which names hooks, can run programs outside the sandbox.

use std::path::Path;

use clap::ValueEnum;
use hythe_document::Failure;
use hythe_engine::Home;
use hythe_engine::config::quoted;
use serde_json::json;

use crate::output::Output;

/// An agent that runs commands in a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Agent {
    /// Claude Code
    Claude,
    /// Codex
    Codex,
}

/// Settings for a file of an agent's.
struct Settings {
    file: &'static str,
    text: String,
    notes: &'static [&'static str],
}

impl Agent {
    pub(super) fn run(self, home: &Home, output: &Output) -> Result<(), Failure> {
        let state = home.state.to_str().ok_or_else(|| {
            Failure::configuration(
                "the path of the state directory is not UTF-8, and no setting can hold it",
                "HYTHE_STATE_DIR=DIR, or `--state-dir DIR`",
            )
        })?;
        let Settings { file, text, notes } = match self {
            Self::Claude => claude(state, home.config.home.as_deref()),
            Self::Codex => codex(state),
        };
        if output.json {
            return output.print_json(&json!({
                "version": 1,
                "agent": self.to_possible_value().map(|value| value.get_name().to_owned()),
                "file": file,
                "text": text,
                "notes": notes,
            }));
        }
        output.note(&format!("add this to {file}, or to the same file of the project:"));
        output.print(&text)?;
        notes.iter().for_each(|note| output.note(note));
        if !home.state.exists() {
            output.note(&format!(
                "{state} has to be there: `hythe reserve` outside the sandbox makes it"
            ));
        }
        Ok(())
    }
}

/// Claude Code's `settings.json` (<https://code.claude.com/docs/en/settings>, as of November 2026).
fn claude(state: &str, home: Option<&Path>) -> Settings {
    let below = home.and_then(|home| Path::new(state).strip_prefix(home).ok()?.to_str());
    // An absolute path with two slashes is one in every version; with one, older versions took it to
    // start from the settings file.
    let path = below.map_or_else(|| format!("/{state}"), |below| format!("~/{below}"));
    let settings = json!({
        "sandbox": {
            "filesystem": { "allowWrite": [path] },
            "network": { "allowLocalBinding": true },
        },
    });
    Settings {
        file: "~/.claude/settings.json",
        text: format!("{settings:#}\n"),
        notes: &[
            "allowLocalBinding is for macOS. On Linux the sandbox has a network of its own: a server in \
             it is reached from nowhere else, and `hythe` in it does not see who listens outside. To run \
             it outside, add to \"sandbox\": \"excludedCommands\": [\"hythe *\"]",
        ],
    }
}

/// Codex's `config.toml` (<https://developers.openai.com/codex/config-reference>, as of November 2026).
fn codex(state: &str) -> Settings {
    let roots = quoted(state);
    Settings {
        file: "~/.codex/config.toml",
        text: format!(
            "[sandbox_workspace_write]\nwritable_roots = [{roots}]\nnetwork_access = true\n"
        ),
        notes: &[
            "it holds with sandbox_mode = \"workspace-write\". Without network_access no socket may be \
             bound; with it commands reach all of the network",
            "where a permission profile is used instead, these settings do not count: give the profile \
             the directory to write to, and the network",
        ],
    }
}

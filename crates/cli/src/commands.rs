//! One file per command. Its doc comment is its help.

pub(crate) mod cleanup;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod daemon;
pub(crate) mod doctor;
pub(crate) mod env;
pub(crate) mod exclude;
pub(crate) mod export;
pub(crate) mod get;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod list;
pub(crate) mod lock;
pub(crate) mod log;
pub(crate) mod man;
pub(crate) mod map;
pub(crate) mod mcp;
pub(crate) mod move_;
pub(crate) mod plugin;
pub(crate) mod release;
pub(crate) mod reserve;
pub(crate) mod run;
pub(crate) mod scan;
pub(crate) mod serve;
pub(crate) mod show;
pub(crate) mod wait;
pub(crate) mod watch;

use std::path::Path;

use hythe_engine::Timestamp;

use crate::output::clean;
use crate::output::lines::Lines;

/// A time as tables show it: RFC 3339 to the second.
pub(crate) fn short(time: Timestamp) -> String {
    let text = time.to_string();
    format!("{}Z", text.split('.').next().unwrap_or(&text))
}

/// What changed in a configuration file, or would in a dry run.
fn changed(file: &Path, changes: &[String], dry_run: bool) -> Lines {
    let mut lines = Lines::default();
    let tense = if dry_run { "would change" } else { "changed" };
    for change in changes {
        lines.line(&clean(&format!("{tense} {change} in {}", file.display())));
    }
    lines
}

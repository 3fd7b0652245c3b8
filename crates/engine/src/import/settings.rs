//! The settings of another tool, written as Hythe's configuration for its user to look at.

use std::fmt::Write as _;
use std::path::Path;

use crate::config::{key, quoted};

/// A configuration file that says what another tool's settings say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translation {
    /// The name of Hythe's file: `config.toml`, the user's, or `hythe.toml`, a project's.
    pub file: &'static str,
    /// Its text, valid TOML without control characters other than line breaks.
    pub text: String,
}

/// A configuration that is being written: tables in the order in which they are first named, each line
/// with where it comes from.
pub(super) struct Draft {
    file: &'static str,
    title: String,
    tables: Vec<(String, Vec<(String, String)>)>,
    remarks: Vec<String>,
}

impl Draft {
    /// A `file` of Hythe's that says what `tool` keeps at `path`.
    pub(super) fn new(file: &'static str, tool: &str, path: Option<&Path>) -> Self {
        let path = path.map(|path| format!(" ({})", path.display())).unwrap_or_default();
        let title = format!("What {tool}{path} is set to, as Hythe's {file}.");
        // Settings that stand in no table come first, whenever they are said.
        Self { file, title, tables: vec![(String::new(), Vec::new())], remarks: Vec::new() }
    }

    /// Sets `setting` of `table` to a value in TOML, which comes from `origin`.
    pub(super) fn set(&mut self, table: &str, setting: &str, value: &str, origin: &str) {
        let line = (format!("{setting} = {value}"), origin.to_owned());
        match self.tables.iter_mut().find(|(name, _)| name == table) {
            Some((_, lines)) => lines.push(line),
            None => self.tables.push((table.to_owned(), vec![line])),
        }
    }

    /// Says something that is no setting.
    pub(super) fn remark(&mut self, text: impl Into<String>) {
        self.remarks.push(text.into());
    }

    pub(super) fn finish(self) -> Translation {
        let mut text = format!("# {}\n", plain(&self.title));
        for (name, lines) in &self.tables {
            if lines.is_empty() {
                continue;
            }
            text.push('\n');
            if !name.is_empty() {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "[{name}]");
            }
            let width = lines.iter().map(|(line, _)| line.chars().count()).max().unwrap_or(0);
            for (line, origin) in lines {
                let _ = writeln!(text, "{line:<width$}   # {}", plain(origin));
            }
        }
        if !self.remarks.is_empty() {
            text.push('\n');
        }
        for remark in self.remarks.iter().flat_map(|remark| remark.lines()) {
            let _ = writeln!(text, "# {}", plain(remark));
        }
        Translation { file: self.file, text }
    }
}

/// A string of TOML.
pub(super) fn string(text: &str) -> String {
    quoted(text)
}

/// The table of a service.
pub(super) fn service_table(service: &str) -> String {
    format!("services.{}", key(service))
}

/// A range of ports, when it is one.
pub(super) fn range(first: i64, last: i64) -> Result<String, String> {
    match (super::port(first), super::port(last)) {
        (Some(first), Some(last)) if first <= last => Ok(format!("{first}-{last}")),
        _ => Err(format!("{first} to {last} is no range of ports")),
    }
}

/// What may stand in a comment, and on a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

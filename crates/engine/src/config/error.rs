//! What can be wrong with a configuration, and where.

use std::fmt;
use std::path::{Path, PathBuf};

use super::origin::{Origin, Position};

/// A configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{location}: {message}")]
pub struct ConfigError {
    /// What it is about.
    pub location: Location,
    /// What is wrong, in one line without control characters.
    pub message: String,
    /// What can be done about it.
    pub hint: Option<String>,
}

impl ConfigError {
    /// The file; `None` when the value came from the environment or the command line.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.location {
            Location::File(path) => Some(path),
            Location::Origin(origin) => {
                origin.position().map(|position| position.file.path.as_path())
            }
        }
    }

    /// The line and column in the file, counted from 1; `None` when the whole file is meant.
    #[must_use]
    pub fn line_column(&self) -> Option<(usize, usize)> {
        match &self.location {
            Location::File(_) => None,
            Location::Origin(origin) => {
                origin.position().map(|position| (position.line, position.column))
            }
        }
    }
}

/// What a [`ConfigError`] is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A whole file.
    File(PathBuf),
    /// What was set there.
    Origin(Origin),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            // A rule's pattern is left out: the position alone is what an editor can jump to.
            Self::Origin(origin) => match origin.position() {
                Some(position) => position.fmt(f),
                None => origin.fmt(f),
            },
        }
    }
}

/// What is wrong, before it is known where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) message: String,
    hint: Option<String>,
}

impl Fault {
    pub(super) fn new(message: impl fmt::Display) -> Self {
        Self { message: printable(&message.to_string()), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(printable(&hint.to_string()));
        self
    }

    /// Names the known word that was probably meant, or else all of them.
    pub(super) fn suggest(self, word: &str, what: &str, known: &[&str]) -> Self {
        match similar(word, known) {
            Some(meant) => self.hint(format_args!("did you mean `{meant}`?")),
            None => self.hint(format_args!("{what}: {}", list(known))),
        }
    }

    pub(super) fn at(self, origin: &Origin) -> ConfigError {
        self.located(Location::Origin(origin.clone()))
    }

    pub(super) fn at_position(self, position: Position) -> ConfigError {
        self.located(Location::Origin(Origin::File(position)))
    }

    pub(super) fn in_file(self, path: &Path) -> ConfigError {
        self.located(Location::File(path.to_owned()))
    }

    fn located(self, location: Location) -> ConfigError {
        ConfigError { location, message: self.message, hint: self.hint }
    }
}

/// Text for one line of a terminal: a file may be anybody's, and what it contains is quoted here.
fn printable(text: &str) -> String {
    const LONGEST: usize = 1000;
    let mut out = String::with_capacity(text.len().min(LONGEST));
    for c in text.chars() {
        if out.len() >= LONGEST {
            out.push('…');
            break;
        }
        if c == '\n' {
            out.push(' ');
        } else if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// The word of `known` that was probably meant by `word`, if one is near enough.
#[must_use]
pub fn similar<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    // The distance takes time and memory of the product of both lengths.
    const LONGEST: usize = 64;
    if word.len() > LONGEST {
        return None;
    }
    known
        .iter()
        .map(|other| (strsim::osa_distance(word, other), *other))
        .filter(|(distance, other)| distance * 3 <= word.len().max(other.len()))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, other)| other)
}

fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_says_reaches_a_terminal_harmless_and_short() {
        let fault = Fault::new(format_args!("`\u{1b}[2J\n{}`", "x".repeat(5000)));
        assert!(fault.message.starts_with("`\\u{1b}[2J x"), "{}", fault.message);
        assert!(fault.message.len() < 1010);
    }

    #[test]
    fn only_near_words_are_suggested() {
        let known = ["range", "exclude", "freeze"];
        assert_eq!(similar("rnage", &known), Some("range"));
        assert_eq!(similar("excludes", &known), Some("exclude"));
        assert_eq!(similar("timeout", &known), None);
        assert_eq!(similar("", &known), None);
        assert_eq!(similar(&"range".repeat(1000), &known), None);
    }
}

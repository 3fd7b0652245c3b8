//! Text for people, line by line.

use super::clean;

/// How wide the names of fields are.
const NAME: usize = 13;

/// Lines to be written.
#[derive(Debug, Default)]
pub(crate) struct Lines(String);

impl Lines {
    /// A name and its value, cleaned of control characters.
    pub(crate) fn field(&mut self, name: &str, value: &str) {
        self.line(&format!("{name:<NAME$} {}", clean(value)));
    }

    /// A line that is clean, and perhaps painted.
    pub(crate) fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

//! What is written: results to stdout, everything else to stderr, nothing that could command a
//! terminal.

pub(crate) mod document;
pub(crate) mod lines;
pub(crate) mod listeners;
pub(crate) mod picture;
pub(crate) mod separated;
pub(crate) mod table;

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use hythe_document::Failure;
use hythe_engine::Notice;
use serde_json::Value;

use crate::args::{ColorChoice, Global};
use crate::environment;

/// Where and how this process writes.
pub(crate) struct Output {
    pub(crate) json: bool,
    quiet: bool,
    color_out: bool,
    color_err: bool,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Self {
        let color = |terminal: bool| match global.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => terminal && !environment::no_color(),
        };
        Self {
            json: global.json,
            quiet: global.quiet,
            color_out: color(io::stdout().is_terminal()),
            color_err: color(io::stderr().is_terminal()),
        }
    }

    /// Writes a result. A reader that has gone away has had enough: that is no failure.
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        self.deliver(text).map(drop)
    }

    /// Writes a part of a result. The answer is whether there is still a reader.
    #[expect(clippy::unused_self, reason = "who writes a result has been told how to write")]
    pub(crate) fn deliver(&self, text: &str) -> Result<bool, Failure> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Failure::output(&error)),
        }
    }

    pub(crate) fn print_json(&self, document: &Value) -> Result<(), Failure> {
        self.print(&pretty_line(document))
    }

    /// Whether nothing but results and errors is said.
    pub(crate) const fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Says something beside the result.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            say(&clean(text));
        }
    }

    /// Says what is already clean and painted beside the result.
    pub(crate) fn say(&self, line: &str) {
        if !self.quiet {
            say(line);
        }
    }

    /// How many columns a result may have; 80 where there is no terminal.
    pub(crate) fn width(&self) -> usize {
        self.columns().unwrap_or(80)
    }

    /// How many columns the terminal has that results are written to, if it is one.
    #[expect(clippy::unused_self, reason = "who writes a result has been told how to write")]
    pub(crate) fn columns(&self) -> Option<usize> {
        let terminal = terminal_size::terminal_size_of(io::stdout());
        terminal.map(|(width, _)| usize::from(width.0))
    }

    /// Passes on what the engine has to say beside the result.
    pub(crate) fn notice(&self, notice: &Notice) {
        self.remark(&notice.to_string());
        if let Some(hint) = notice.hint().filter(|_| !self.quiet) {
            self.hint(&hint);
        }
    }

    /// Says something beside the result that is not the result's, among what others say.
    pub(crate) fn remark(&self, text: &str) {
        if !self.quiet {
            let label = self.paint_err(AnsiColor::Yellow, "note:");
            say(&format!("{label} {}", clean(text)));
        }
    }

    /// Says why the command failed.
    pub(crate) fn failure(&self, failure: &Failure) {
        if self.json {
            say(&json(&failure.json()));
            return;
        }
        let label = self.paint_err(AnsiColor::Red, "error:");
        say(&format!("{label} {}", clean(&failure.message)));
        if let Some(hint) = &failure.hint {
            self.hint(hint);
        }
    }

    fn hint(&self, hint: &str) {
        let label = self.paint_err(AnsiColor::Cyan, "hint:");
        say(&format!("{label} {}", clean(hint)));
    }

    fn paint_err(&self, color: AnsiColor, text: &str) -> String {
        painted(self.color_err, color, text)
    }

    /// `text` in a colour, where results are coloured.
    pub(crate) fn paint(&self, color: AnsiColor, text: &str) -> String {
        painted(self.color_out, color, text)
    }
}

/// Writes one line to stderr.
fn say(line: &str) {
    // Nobody is left to be told when this fails.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Writes one line to stderr before there is an [`Output`].
pub(crate) fn complain(line: &str) {
    say(&clean(line));
}

/// A document on one line.
pub(crate) fn json(document: &Value) -> String {
    escaped(document.to_string())
}

/// A document on lines of its own.
pub(crate) fn pretty_line(document: &Value) -> String {
    escaped(format!("{document:#}\n"))
}

/// The same JSON without the control characters that RFC 8259 lets through: DEL and C1, among which
/// is one that begins a terminal's commands.
fn escaped(json: String) -> String {
    let harmless = |character: char| !character.is_control() || character == '\n';
    if json.chars().all(harmless) {
        return json;
    }
    json.chars().fold(String::with_capacity(json.len() + 8), |mut escaped, character| {
        // Writing to a string cannot fail.
        let _ = match harmless(character) {
            true => write!(escaped, "{character}"),
            false => write!(escaped, "\\u{:04x}", u32::from(character)),
        };
        escaped
    })
}

fn painted(on: bool, color: AnsiColor, text: &str) -> String {
    if !on {
        return text.to_owned();
    }
    let style = Style::new().fg_color(Some(color.into()));
    format!("{style}{text}{style:#}")
}

/// `text` without control characters, each written as Rust escapes it: names and paths are other
/// people's, and a terminal obeys what it reads. Line breaks of our own are put in afterwards.
pub(crate) fn clean(text: &str) -> String {
    let harmless = |byte: u8| (b' '..=b'~').contains(&byte);
    if text.bytes().all(harmless) || !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    text.chars().fold(String::with_capacity(text.len() + 8), |mut clean, character| {
        // Writing to a string cannot fail.
        let _ = match character.is_control() {
            true => write!(clean, "{}", character.escape_default()),
            false => write!(clean, "{character}"),
        };
        clean
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_commands_a_terminal_gets_through() {
        assert_eq!(clean("plain ünï"), "plain ünï");
        assert_eq!(clean("a\u{1b}[31mb\nc\u{9b}d"), "a\\u{1b}[31mb\\nc\\u{9b}d");
    }
}

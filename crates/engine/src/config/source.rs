//! The text of one configuration file, and where in it a byte lies.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::DeTable;

use super::error::{ConfigError, Fault};
use super::origin::{ConfigFile, Position, Role};

/// The largest configuration file in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// A configuration file that was read.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) file: Arc<ConfigFile>,
    text: String,
    marks: Vec<Mark>,
}

/// A place in the text from which others are counted.
#[derive(Debug, Clone, Copy)]
struct Mark {
    offset: usize,
    line: usize,
    column: usize,
}

impl Source {
    /// Reads a file; `None` when there is none and it is not `named` by the user.
    ///
    /// Fails when it cannot be read, is not UTF-8, is larger than [`MAX_FILE`], or is a directory.
    /// What is not a regular file is refused unless it is named: opening a pipe that somebody left
    /// in a checkout would wait for ever.
    pub(super) fn read(path: &Path, role: Role, named: bool) -> Result<Option<Self>, ConfigError> {
        let fault = |fault: Fault| fault.in_file(path);
        let unreadable =
            |error: io::Error| fault(Fault::new(format_args!("cannot read it: {error}")));
        let Some(metadata) = inspect(path).map_err(unreadable)? else {
            let missing = fault(Fault::new("there is no such file"));
            return if named { Err(missing) } else { Ok(None) };
        };
        if metadata.is_dir() {
            return Err(fault(Fault::new("it is a directory, not a file")));
        }
        if !metadata.is_file() && !named {
            return Err(fault(Fault::new("it is not a regular file")));
        }
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
            .map_err(unreadable)?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(fault(Fault::new("it is larger than 1 MiB")));
        }
        let file = Arc::new(ConfigFile { path: path.to_owned(), role });
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(Self::new(file, text))),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
                let fault =
                    Fault::new(format_args!("it is not UTF-8: wrong byte at offset {valid}"));
                Err(Self::new(file, text).fault(valid, fault))
            }
        }
    }

    /// A file of which the text is known.
    pub(super) fn of(path: &Path, role: Role, text: String) -> Self {
        Self::new(Arc::new(ConfigFile { path: path.to_owned(), role }), text)
    }

    fn new(file: Arc<ConfigFile>, text: String) -> Self {
        let marks = marks(&text);
        Self { file, text, marks }
    }

    /// The text as TOML, with the span of every key and value.
    pub(super) fn parse(&self) -> Result<Spanned<DeTable<'_>>, ConfigError> {
        DeTable::parse(&self.text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            self.fault(offset, Fault::new(error.message()))
        })
    }

    /// Where the byte at `offset` lies.
    pub(super) fn position(&self, offset: usize) -> Position {
        let next = self.marks.partition_point(|mark| mark.offset <= offset);
        let Mark { offset: start, line, column } = self.marks[next.saturating_sub(1)];
        let between = self.text.get(start..offset).unwrap_or_default();
        let column = column + between.chars().count();
        Position { file: Arc::clone(&self.file), line, column }
    }

    /// An error about what begins at `offset`.
    pub(super) fn fault(&self, offset: usize, fault: Fault) -> ConfigError {
        fault.at_position(self.position(offset))
    }
}

/// The beginning of every line and, so that a file of one long line is no trap, of every KiB in it.
fn marks(text: &str) -> Vec<Mark> {
    const STEP: usize = 1024;
    let mut last = Mark { offset: 0, line: 1, column: 1 };
    let mut marks = vec![last];
    let mut here = last;
    for (offset, c) in text.char_indices() {
        here.offset = offset;
        if offset - last.offset >= STEP {
            last = here;
            marks.push(last);
        }
        if c == '\n' {
            here = Mark { offset: offset + 1, line: here.line + 1, column: 1 };
            last = here;
            marks.push(last);
        } else {
            here.column += 1;
        }
    }
    marks
}

/// Whether anything lies at `path`, even if it cannot be looked at: reading it will say why.
pub(super) fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).map_or_else(|error| !is_absence(&error), |_| true)
}

/// What lies at `path`; `None` when nothing does. A symbolic link that leads nowhere is an error:
/// somebody wanted a file to be there.
fn inspect(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => fs::metadata(path).map(Some),
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if is_absence(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        let file = ConfigFile { path: "/c.toml".into(), role: Role::User };
        Source::new(Arc::new(file), text.to_owned())
    }

    #[test]
    fn columns_count_characters_and_lines_count_from_1() {
        let source = source("a = 1\r\nß = ü\n");
        let place = |offset| {
            let position = source.position(offset);
            (position.line, position.column)
        };
        assert_eq!(place(0), (1, 1));
        assert_eq!(place(7), (2, 1));
        assert_eq!(place("a = 1\r\nß = ".len()), (2, 5));
        assert_eq!(place("a = 1\r\nß = ü\n".len()), (3, 1));
        let long = format!("\n{}x", "ü".repeat(3000));
        let position = self::source(&long).position(long.len() - 1);
        assert_eq!((position.line, position.column), (2, 3001));
    }

    #[test]
    fn what_is_no_toml_is_refused_where_it_is() {
        for (text, expected) in [
            ("a = 1\na = 2\n", "/c.toml:2:1: duplicate key"),
            ("\n[ports", "/c.toml:2:7: unclosed table, expected `]`"),
            ("x = \"a", "/c.toml:1:7: invalid basic string, expected `\"`"),
        ] {
            assert_eq!(source(text).parse().unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn deep_nesting_is_refused_before_it_can_overflow_the_stack() {
        let dotted = format!("{}b = 1", "a.".repeat(400_000));
        let nested = format!("a = {}", "[".repeat(900_000));
        for text in [dotted, nested] {
            let message = source(&text).parse().unwrap_err().message;
            assert!(message.contains("recursion") || message.contains("recurse"), "{message}");
        }
    }
}

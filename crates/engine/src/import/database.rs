//! The SQLite databases of other tools, read from a copy.
//!
//! Opening a database in write-ahead mode, even for reading, makes or changes files beside it, and
//! reading it without its log would miss what was written last. So the database is copied with its log
//! or journal into a directory of our own, and SQLite recovers it there. If any of the files changed
//! meanwhile, the copy is thrown away and made again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use super::error::{ImportError, ImportProblem, alien, fail, unreadable};
use super::files::{MAX_MIB, irregular};

/// The database, and what SQLite may keep beside it (<https://www.sqlite.org/tempfiles.html>).
const PARTS: [&str; 3] = ["", "-wal", "-journal"];

/// How often a database that is being written to is copied anew.
const ATTEMPTS: usize = 16;

/// The most rows of a table: there are no more ports.
const MAX_ROWS: usize = 65_535;

/// A copy of another tool's database.
pub(super) struct Database {
    connection: Connection,
    path: PathBuf,
    /// Where the copy is; removed with it.
    _directory: TempDir,
}

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Null,
    Integer(i64),
    Text(String),
    /// Something that none of the tools writes.
    Other,
}

impl Cell {
    pub(super) fn integer(&self) -> Option<i64> {
        if let Self::Integer(number) = self { Some(*number) } else { None }
    }

    /// The text; empty for nothing.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Null => Some(""),
            Self::Text(text) => Some(text),
            Self::Integer(_) | Self::Other => None,
        }
    }
}

impl Database {
    /// Copies and opens the database at `path`; fails when it is not sound.
    pub(super) fn open(path: &Path) -> Result<Self, ImportError> {
        let directory =
            tempfile::tempdir().map_err(|error| fail(path, ImportProblem::Unreadable(error)))?;
        let copy = directory.path().join("copy.db");
        copy_parts(path, &copy)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&copy, flags)
            .map_err(|error| alien(path, error.to_string()))?;
        let database = Self { connection, path: path.to_owned(), _directory: directory };
        // What the file says about functions is not to be trusted.
        database
            .connection
            .pragma_update(None, "trusted_schema", false)
            .map_err(database.failed())?;
        let sound: String = database
            .connection
            .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
            .map_err(database.failed())?;
        if sound != "ok" {
            return Err(alien(path, format!("it is damaged: {sound}")));
        }
        Ok(database)
    }

    /// The values of `columns` in every row of `table`, by the first column.
    pub(super) fn rows(
        &self,
        table: &str,
        columns: &[&str],
    ) -> Result<Vec<Vec<Cell>>, ImportError> {
        // Neither a view nor a virtual table, which could compute whatever they like.
        let stored = "SELECT count(*) FROM sqlite_schema \
                      WHERE type = 'table' AND name = ? AND rootpage > 0";
        let stored: i64 =
            self.connection.query_row(stored, [table], |row| row.get(0)).map_err(self.failed())?;
        if stored != 1 {
            return Err(alien(&self.path, format!("it has no table `{table}`")));
        }
        let columns_text = columns.join(", ");
        let sql = format!("SELECT {columns_text} FROM {table} ORDER BY 1 LIMIT {}", MAX_ROWS + 1);
        let read = || {
            let mut statement = self.connection.prepare(&sql)?;
            let rows = statement.query_map([], |row| {
                (0..columns.len()).map(|at| row.get_ref(at).map(cell)).collect()
            })?;
            rows.collect::<rusqlite::Result<Vec<Vec<Cell>>>>()
        };
        let rows = read().map_err(self.failed())?;
        if rows.len() > MAX_ROWS {
            return Err(alien(&self.path, format!("`{table}` has more rows than there are ports")));
        }
        Ok(rows)
    }

    fn failed(&self) -> impl Fn(rusqlite::Error) -> ImportError {
        |error| alien(&self.path, error.to_string())
    }
}

fn cell(value: ValueRef<'_>) -> Cell {
    match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number) => Cell::Integer(number),
        ValueRef::Text(bytes) => match str::from_utf8(bytes) {
            Ok(text) => Cell::Text(text.to_owned()),
            Err(_) => Cell::Other,
        },
        ValueRef::Real(_) | ValueRef::Blob(_) => Cell::Other,
    }
}

fn copy_parts(from: &Path, to: &Path) -> Result<(), ImportError> {
    for _ in 0..ATTEMPTS {
        let before = stamps(from).map_err(|error| unreadable(from, error))?;
        for part in PARTS {
            let (source, copy) = (beside(from, part), beside(to, part));
            match copy_part(&source, &copy) {
                Ok(()) => {}
                Err(error) if !part.is_empty() && is_missing(&error) => {
                    remove(&copy).map_err(|error| unreadable(&source, error))?;
                }
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                    return Err(fail(&source, ImportProblem::TooLarge(MAX_MIB)));
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    return Err(irregular(&source));
                }
                Err(error) => return Err(unreadable(&source, error)),
            }
        }
        if stamps(from).is_ok_and(|after| after == before) {
            return Ok(());
        }
    }
    Err(fail(from, ImportProblem::Busy))
}

fn copy_part(from: &Path, to: &Path) -> io::Result<()> {
    if !fs::metadata(from)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let most = MAX_MIB << 20;
    let mut source = File::open(from)?.take(most + 1);
    let mut options = OpenOptions::new();
    let mut copy = options.write(true).create(true).truncate(true).mode(0o600).open(to)?;
    if io::copy(&mut source, &mut copy)? > most {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(())
}

/// What changes when a file is written to or replaced.
type Stamp = (u64, u64, i64, i64);

fn stamps(path: &Path) -> io::Result<Vec<Option<Stamp>>> {
    let stamp = |part: &&str| match fs::metadata(beside(path, part)) {
        Err(error) if !part.is_empty() && is_missing(&error) => Ok(None),
        metadata => metadata.map(|it| Some((it.ino(), it.size(), it.mtime(), it.mtime_nsec()))),
    };
    PARTS.iter().map(stamp).collect()
}

fn beside(path: &Path, part: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(part);
    name.into()
}

fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path).or_else(|error| if is_missing(&error) { Ok(()) } else { Err(error) })
}

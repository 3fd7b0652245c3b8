//! New ledgers, made aside and moved into their place whole.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rusqlite::OpenFlags;

use super::error::{fail, io_problem, ledger_error};
use super::{Ledger, Outcome, schema};
use crate::event::{Change, Event};
use crate::time::Timestamp;

impl Ledger {
    /// Makes a ledger that holds the first `changes` from its beginning; their events, with their
    /// numbers. The caller holds the file lock.
    pub fn create(
        path: &Path,
        at: Timestamp,
        changes: &[Change],
        cleaned: bool,
    ) -> Outcome<Vec<Event>> {
        make(path, |ledger| ledger.commit(at, changes, cleaned), || Ok(()))
    }

    /// The file that a new ledger is made in before it is moved to `path`.
    #[must_use]
    pub fn draft(path: &Path) -> PathBuf {
        path.with_extension("db.new")
    }
}

/// Makes a ledger that holds what `write` writes. When that is safely on the disk, `aside` makes room
/// for it, and it is moved into its place.
///
/// It is made elsewhere and moved into its place whole, so that no crash leaves half of one behind, an
/// empty file in its place always means damage, and one sync of it is enough.
pub(super) fn make<T>(
    path: &Path,
    write: impl FnOnce(&mut Ledger) -> Outcome<T>,
    aside: impl FnOnce() -> io::Result<()>,
) -> Outcome<T> {
    let io_error = |error: io::Error| fail(path, io_problem(&error));
    let draft = Ledger::draft(path);
    remove(&draft).map_err(io_error)?;
    // Made here rather than by SQLite, so that it is the user's alone from the first moment.
    let mut new = OpenOptions::new();
    new.write(true).create_new(true).mode(0o600).open(&draft).map_err(io_error)?;
    let written = fill(&draft, write).map_err(|error| fail(path, error.problem))?;
    File::open(&draft).and_then(|file| file.sync_all()).map_err(io_error)?;
    let directory = File::open(path.parent().unwrap_or(Path::new("."))).map_err(io_error)?;
    aside().map_err(io_error)?;
    // A journal without its ledger would be rolled back into the new one.
    remove(&journal(path)).map_err(io_error)?;
    fs::rename(&draft, path).map_err(io_error)?;
    directory.sync_all().map_err(io_error)?;
    Ok(written)
}

/// Writes the schema, and what `write` writes, into the empty file `draft`, which nobody else knows of.
fn fill<T>(draft: &Path, write: impl FnOnce(&mut Ledger) -> Outcome<T>) -> Outcome<T> {
    let mut ledger = Ledger::connect(draft, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let failed = |error| ledger_error(draft, &error);
    ledger.connection.pragma_update(None, "journal_mode", "OFF").map_err(failed)?;
    ledger.connection.pragma_update(None, "synchronous", "OFF").map_err(failed)?;
    schema::migrate(&ledger.connection, 0).map_err(failed)?;
    let written = write(&mut ledger)?;
    if let Some(connection) = Rc::into_inner(ledger.connection) {
        connection.close().map_err(|(_, error)| failed(error))?;
    }
    Ok(written)
}

/// The rollback journal of a database (<https://www.sqlite.org/tempfiles.html>).
pub(super) fn journal(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-journal");
    name.into()
}

/// Removes a file that need not be there.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

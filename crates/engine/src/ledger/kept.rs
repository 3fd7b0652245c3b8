//! A connection for reading that is kept for the next reader of the same thread. Opening one and reading
//! the schema takes longer than a look-up: a process that serves does it once for each of its threads.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rusqlite::Connection;

/// How much of the file a kept connection remembers, in KiB (<https://sqlite.org/pragma.html#pragma_cache_size>).
const REMEMBERED: i64 = 256;

struct Kept {
    path: PathBuf,
    file: (u64, u64),
    connection: Rc<Connection>,
}

thread_local! {
    static KEPT: RefCell<Option<Kept>> = const { RefCell::new(None) };
}

/// The connection that was kept for the file at `path`, unless somebody uses it, or the file is
/// another one by now.
pub(super) fn take(path: &Path) -> Option<Rc<Connection>> {
    KEPT.with_borrow(|kept| {
        let kept = kept.as_ref().filter(|kept| kept.path == path)?;
        let unused = Rc::strong_count(&kept.connection) == 1;
        (unused && file(path) == Some(kept.file)).then(|| Rc::clone(&kept.connection))
    })
}

/// Keeps a connection to the file at `path` instead of the one that was kept before.
pub(super) fn keep(path: &Path, connection: &Rc<Connection>) {
    let limited = connection.pragma_update(None, "cache_size", -REMEMBERED);
    let Some(file) = file(path).filter(|_| limited.is_ok()) else { return };
    let kept = Kept { path: path.to_owned(), file, connection: Rc::clone(connection) };
    KEPT.set(Some(kept));
}

/// What the file at a path is. It is not opened: closing it would take back SQLite's locks.
fn file(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// A transaction that only reads. It ends when this is dropped, and its connection may be used again.
pub(super) struct Reading(Rc<Connection>);

impl Reading {
    /// Begins one.
    pub(super) fn begin(connection: &Rc<Connection>) -> rusqlite::Result<Self> {
        connection.execute_batch("BEGIN")?;
        Ok(Self(Rc::clone(connection)))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        // A reader has nothing to lose: whether it is ended so or by an error is all the same.
        let _ = self.0.execute_batch("COMMIT");
    }
}

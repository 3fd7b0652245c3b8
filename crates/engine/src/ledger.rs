//! The ledger: who has which port, what was given back, and what happened.
//!
//! A handful of verbs over SQLite: open, look up, list, commit, events. Writers hold the file lock
//! of [`lock`](crate::lock), so that at most one of them is at work; readers never take it, never
//! create anything and need no right to write.
//!
//! The journal is a rollback journal that is deleted after each transaction: a reader finds nothing
//! but the database itself, and a directory it may not write to is no obstacle. Under a
//! write-ahead log each process would have to make, or recover, two more files before its first
//! look-up. `cargo bench -p hythe-engine --bench journal` measures both.

mod draft;
mod error;
mod events;
mod import;
mod kept;
mod rows;
mod salvage;
mod schema;
mod stamp;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

pub use error::{LedgerError, LedgerProblem};
pub use events::EventFilter;
pub use salvage::{Restored, Salvage};
pub use stamp::{Stamp, Stamps};

use crate::event::{Change, Event};
use crate::port::Port;
use crate::reservation::{Key, Reservation};
use crate::time::Timestamp;
use error::{fail, ledger_error};
use kept::Reading;

/// How long a reader waits for a commit that is just being written to disk.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The size of a page, unless SQLite is told otherwise (`SQLITE_DEFAULT_PAGE_SIZE`).
const PAGE_SIZE: u64 = 4096;

/// How a transaction begins that will write.
const BEGIN: &str = "BEGIN IMMEDIATE";

/// The most events that are kept; the oldest go first.
const MAX_EVENTS: i64 = 100_000;

/// An open ledger.
pub struct Ledger {
    /// The transaction of a reader. It ends before the connection does.
    reading: Option<Reading>,
    connection: Rc<Connection>,
    path: PathBuf,
}

/// Which ports are not free to be given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Occupancy {
    /// The ports that are reserved, in no particular order.
    pub reserved: Vec<Port>,
    /// The ports that were released within the freeze period.
    pub frozen: Vec<Port>,
    /// The port that was given most recently.
    pub latest: Option<Port>,
}

type Outcome<T> = Result<T, LedgerError>;

impl Ledger {
    /// Opens the ledger for reading; `None` when there is none. Creates nothing.
    pub fn open(path: &Path) -> Outcome<Option<Self>> {
        if is_missing(path) {
            return Ok(None);
        }
        if let Some(connection) = kept::take(path) {
            let kept = Self { reading: None, connection, path: path.to_owned() };
            // What is wrong with it is told by another one.
            if let Ok(snapshot) = kept.snapshot() {
                return Ok(Some(snapshot));
            }
        }
        let read_only = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
            .inspect(|ledger| kept::keep(path, &ledger.connection))
            .and_then(Self::snapshot);
        match read_only {
            // A writer was killed in the middle of its transaction: whoever may write rolls it back,
            // by opening the ledger for writing and looking at it.
            Err(LedgerError { problem: LedgerProblem::Unwritable(_), .. }) => {
                let ledger = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
                ledger.snapshot().map(Some)
            }
            snapshot => snapshot.map(Some),
        }
    }

    /// Begins the one transaction of a reader: all it reads is of one moment, and the file is locked
    /// and its change counter looked at once. Until the ledger is dropped, no writer can commit.
    fn snapshot(mut self) -> Outcome<Self> {
        self.reading = Some(Reading::begin(&self.connection).map_err(self.failed())?);
        if self.version()? < schema::VERSION {
            return Err(self.fail(LedgerProblem::Outdated));
        }
        Ok(self)
    }

    /// Opens the ledger for writing and brings its schema up to date; `None` when there is none. The
    /// caller holds the file lock.
    pub fn open_for_writing(path: &Path) -> Outcome<Option<Self>> {
        if is_missing(path) {
            return Ok(None);
        }
        let ledger = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let failed = |error| ledger_error(path, &error);
        // With less, the removal of the journal could be lost in a power cut, and the journal would
        // then take back a port that was printed.
        ledger.connection.pragma_update(None, "synchronous", "EXTRA").map_err(failed)?;
        // Without it a large transaction could shut readers out before it commits.
        ledger.connection.pragma_update(None, "cache_spill", false).map_err(failed)?;
        let version = ledger.version()?;
        if version < schema::VERSION {
            schema::migrate(&ledger.connection, version).map_err(failed)?;
        }
        // From here to the commit it is one transaction: each look-up of its own would lock the file,
        // look for a journal and let go again.
        ledger.connection.execute_batch(BEGIN).map_err(failed)?;
        Ok(Some(ledger))
    }

    fn connect(path: &Path, flags: OpenFlags) -> Outcome<Self> {
        let failed = |error| ledger_error(path, &error);
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        Ok(Self { reading: None, connection: Rc::new(connection), path: path.to_owned() })
    }

    /// The version of the schema; fails when the file is no ledger, or a later one.
    fn version(&self) -> Outcome<i32> {
        let (application, version) = schema::identity(&self.connection).map_err(self.failed())?;
        if application != schema::APPLICATION_ID {
            let empty = fs::metadata(&self.path).is_ok_and(|metadata| metadata.len() == 0);
            return Err(self.fail(if empty {
                LedgerProblem::Damaged("it is empty".to_owned())
            } else {
                LedgerProblem::Alien
            }));
        }
        // SQLite takes what is missing of the last page for zeros. No writer is at work: the lock of
        // the transaction, or of the file, is held.
        if fs::metadata(&self.path).is_ok_and(|metadata| metadata.len() % PAGE_SIZE != 0) {
            let cut = "it ends in the middle of a page".to_owned();
            return Err(self.fail(LedgerProblem::Damaged(cut)));
        }
        if version > schema::VERSION {
            let known = schema::VERSION;
            return Err(self.fail(LedgerProblem::Newer { found: version, known }));
        }
        Ok(version)
    }

    /// The reservation of a key.
    pub fn find(&self, key: &Key) -> Outcome<Option<Reservation>> {
        let sql =
            format!("SELECT {} FROM reservation WHERE key = ? AND realm = ?", rows::RESERVATION);
        self.connection
            .prepare(&sql)
            .and_then(|mut statement| {
                statement
                    .query_row((&key.text, rows::realm_bytes(&key.realm)), rows::reservation)
                    .optional()
            })
            .map_err(self.failed())
    }

    /// The reservation that has a port.
    pub fn at(&self, port: Port) -> Outcome<Option<Reservation>> {
        let sql = format!("SELECT {} FROM reservation WHERE port = ?", rows::RESERVATION);
        self.connection
            .query_row(&sql, [port.get()], rows::reservation)
            .optional()
            .map_err(self.failed())
    }

    /// Every reservation, by port.
    pub fn reservations(&self) -> Outcome<Vec<Reservation>> {
        let sql = format!("SELECT {} FROM reservation ORDER BY port", rows::RESERVATION);
        self.list(&sql, [], rows::reservation)
    }

    /// The ports that are taken or frozen: released less than `freeze` before or after `now`, by a
    /// clock that may have been set back.
    pub fn occupancy(&self, now: Timestamp, freeze: Duration) -> Outcome<Occupancy> {
        // Read from the narrow index on `created_at`: the latest comes last.
        let reserved =
            self.list("SELECT port FROM reservation ORDER BY created_at", [], rows::port)?;
        let frozen = if freeze.is_zero() {
            Vec::new()
        } else {
            // Not as timestamps: at either end of their years the period would be cut off.
            let freeze = i64::try_from(freeze.as_millis()).unwrap_or(i64::MAX);
            let now = now.millis();
            self.list(
                "SELECT port FROM released WHERE released_at > ? AND released_at < ?",
                [now.saturating_sub(freeze), now.saturating_add(freeze)],
                rows::port,
            )?
        };
        Ok(Occupancy { latest: reserved.last().copied(), reserved, frozen })
    }

    /// The ports that are taken by reservations of `directory` and the directories below it.
    pub fn occupied_below(&self, directory: &Path) -> Outcome<Occupancy> {
        let [first, end] = below(directory);
        let reserved = self.list(
            "SELECT port FROM reservation WHERE directory = ?1 \
                OR (directory >= ?2 AND directory < ?3) ORDER BY created_at",
            (directory.as_os_str().as_bytes(), first, end),
            rows::port,
        )?;
        let latest = reserved.last().copied();
        let mut occupancy = Occupancy { reserved, frozen: Vec::new(), latest };
        occupancy.reserved.sort_unstable();
        Ok(occupancy)
    }

    /// The ports that a key has given back and nobody has taken since, the latest first.
    pub fn released(&self, key: &Key) -> Outcome<Vec<Port>> {
        self.list(
            "SELECT port FROM released WHERE key = ? AND realm = ? ORDER BY released_at DESC, port",
            (&key.text, rows::realm_bytes(&key.realm)),
            rows::port,
        )
    }

    /// When the cleanup policies were last run over everything.
    pub fn cleaned_at(&self) -> Outcome<Timestamp> {
        self.connection
            .query_row("SELECT cleaned_at FROM state WHERE id = 1", [], |row| row.get(0))
            .map(Timestamp::from_millis)
            .map_err(self.failed())
    }

    /// Writes all of `changes` and their events, or nothing; the events, with their numbers. `cleaned`
    /// says that the cleanup policies were run over everything.
    pub fn commit(
        &mut self,
        at: Timestamp,
        changes: &[Change],
        cleaned: bool,
    ) -> Outcome<Vec<Event>> {
        self.transact(|connection| write(connection, at, changes, cleaned))
    }

    /// Commits what `work` writes, or undoes it.
    fn transact<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Outcome<T> {
        let connection = &self.connection;
        let written = || {
            if connection.is_autocommit() {
                connection.execute_batch(BEGIN)?;
            }
            let written = work(connection)?;
            connection.execute_batch("COMMIT")?;
            Ok(written)
        };
        written().map_err(|error| {
            // SQLite may have undone it by itself; that it is undone is all that matters.
            let _ = connection.execute_batch("ROLLBACK");
            ledger_error(&self.path, &error)
        })
    }

    /// What SQLite's own check of the whole file finds; empty when it is sound.
    pub fn check(&self) -> Outcome<Vec<String>> {
        let mut findings =
            self.list("PRAGMA integrity_check", [], |row| row.get::<_, String>(0))?;
        findings.retain(|finding| finding != "ok");
        Ok(findings)
    }

    fn list<T>(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Outcome<Vec<T>> {
        self.connection
            .prepare(sql)
            .and_then(|mut statement| statement.query_map(parameters, read)?.collect())
            .map_err(self.failed())
    }

    fn failed(&self) -> impl Fn(rusqlite::Error) -> LedgerError {
        |error| ledger_error(&self.path, &error)
    }

    fn fail(&self, problem: LedgerProblem) -> LedgerError {
        fail(&self.path, problem)
    }
}

/// What the paths below a directory lie between, as bytes: the first included, the last not.
fn below(directory: &Path) -> [Vec<u8>; 2] {
    // Everything below begins with the directory and a slash; `0` is the byte after the slash.
    let bytes = directory.as_os_str().as_bytes();
    // The root ends with its slash already.
    let bytes = bytes.strip_suffix(b"/").unwrap_or(bytes);
    [b'/', b'0'].map(|end| [bytes, &[end]].concat())
}

fn write(
    connection: &Connection,
    at: Timestamp,
    changes: &[Change],
    cleaned: bool,
) -> rusqlite::Result<Vec<Event>> {
    let mut events = Vec::new();
    let mut delete = connection.prepare("DELETE FROM reservation WHERE port = ?")?;
    let mut put = connection.prepare(rows::PUT_RESERVATION)?;
    let mut release = connection.prepare("INSERT OR REPLACE INTO released VALUES (?, ?, ?, ?)")?;
    let mut claim = connection.prepare("DELETE FROM released WHERE port = ?")?;
    let mut record = connection.prepare(rows::PUT_EVENT)?;
    // One may get the key that another still has.
    for change in changes.iter().filter(|change| matches!(change, Change::Relocated { .. })) {
        delete.execute([change.reservation().port.get()])?;
    }
    for change in changes {
        let reservation = change.reservation();
        let left = match change {
            Change::Released { .. } => Some(reservation.port),
            Change::Moved { from, .. } => Some(*from),
            _ => None,
        };
        if let Some(port) = left {
            let key = &reservation.key;
            release.execute((port.get(), rows::realm_bytes(&key.realm), &key.text, at.millis()))?;
            delete.execute([port.get()])?;
        }
        match change {
            Change::Released { .. } => {}
            Change::Relocated { .. } => {
                rows::insert(&mut put, reservation)?;
            }
            Change::Reserved(_)
            | Change::Returned(_)
            | Change::Imported { .. }
            | Change::Moved { .. } => {
                rows::insert(&mut put, reservation)?;
                claim.execute([reservation.port.get()])?;
            }
            Change::Updated(_) | Change::Locked(_) | Change::Unlocked(_) | Change::Touched(_) => {
                delete.execute([reservation.port.get()])?;
                rows::insert(&mut put, reservation)?;
            }
        }
        if let Some(mut event) = change.event(at) {
            rows::insert_event(&mut record, &event)?;
            event.id = connection.last_insert_rowid();
            events.push(event);
        }
    }
    if cleaned {
        connection.execute("UPDATE state SET cleaned_at = ? WHERE id = 1", [at.millis()])?;
    }
    connection
        .execute("DELETE FROM event WHERE id <= (SELECT max(id) FROM event) - ?", [MAX_EVENTS])?;
    Ok(events)
}

fn is_missing(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

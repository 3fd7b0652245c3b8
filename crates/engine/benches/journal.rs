//! `cargo bench -p hythe-engine --bench journal`: what a journal mode of SQLite costs a process that
//! opens the ledger, does one thing and ends.
//!
//! Each look-up and each transaction has a connection of its own, as in a process of its own. Modes
//! take turns, so that a machine whose speed drifts is slow for all of them. `TMPDIR` chooses the file
//! system; one in memory makes every sync free.
#![expect(clippy::print_stdout, reason = "the table is what this is for")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

type Result<T, E = rusqlite::Error> = std::result::Result<T, E>;

const SCHEMA: &str = include_str!("../src/ledger/schema/0001_initial.sql");

/// A reservation at a port, with a path of a usual length.
const RESERVE: &str = "INSERT INTO reservation (port, realm, key, scope, directory, service, lease, \
    locked, created_at, last_used_at, key_policy, selection_policy) \
    SELECT ?1, x'', 'directory:main:' || path, 'directory', CAST(path AS BLOB), 'main', \
    'persistent', 0, 1700000000000 + ?1, 1700000000000 + ?1, 'path-sticky 1.0.0', \
    'path-sticky 1.0.0' FROM (SELECT '/home/somebody/src/company/project-' || ?1 AS path)";

/// What is done to the reservation of a port: it is found, given up, and made again with its event.
const FIND: &str = "SELECT * FROM reservation WHERE realm = x'' \
    AND key = 'directory:main:/home/somebody/src/company/project-' || ?1";
const RELEASE: &str = "DELETE FROM reservation WHERE port = ?1";
const RECORD: &str = "INSERT INTO event (at, kind, port, key, scope, service, directory) \
    SELECT created_at, 'reserved', port, key, scope, service, directory FROM reservation \
    WHERE port = ?1";

/// The lowest port that is reserved.
const FIRST: u16 = 10_000;

/// How often each is done.
const ROUNDS: usize = 100;

/// How a ledger is kept.
struct Mode {
    name: &'static str,
    /// `PRAGMA journal_mode`.
    journal: &'static str,
    /// `PRAGMA synchronous`.
    synchronous: &'static str,
    /// Whether the log is left behind, as by a process that exits without closing the database.
    left: bool,
}

const fn mode(name: &'static str, journal: &'static str, synchronous: &'static str) -> Mode {
    Mode { name, journal, synchronous, left: false }
}

/// Without `EXTRA`, a power cut can bring a deleted journal back, and undo the last transaction.
const MODES: [Mode; 6] = [
    mode("delete, extra", "DELETE", "EXTRA"),
    mode("delete", "DELETE", "FULL"),
    mode("truncate", "TRUNCATE", "FULL"),
    mode("persist", "PERSIST", "FULL"),
    mode("wal, closed", "WAL", "FULL"),
    Mode { left: true, ..mode("wal, left behind", "WAL", "FULL") },
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("{:<20} {:>12} {:>12} {:>12}", "medians, µs", "reservations", "look-up", "commit");
    for count in [10, 10_000] {
        let directory = tempfile::tempdir()?;
        let ledgers = MODES
            .iter()
            .map(|mode| Ledger::create(mode, directory.path(), count))
            .collect::<Result<Vec<_>>>()?;
        let mut times = [const { (Vec::new(), Vec::new()) }; MODES.len()];
        let ports = (FIRST..FIRST + count).cycle().step_by(7);
        for port in ports.take(ROUNDS) {
            for (ledger, (look_ups, commits)) in ledgers.iter().zip(&mut times) {
                commits.push(timed(|| ledger.commit(port))?);
                look_ups.push(timed(|| ledger.look_up(port))?);
            }
        }
        for (mode, (look_ups, commits)) in MODES.iter().zip(times) {
            let (look_up, commit) = (median(look_ups), median(commits));
            println!("{:<20} {count:>12} {look_up:>12} {commit:>12}", mode.name);
        }
    }
    Ok(())
}

/// A database in a journal mode.
struct Ledger<'a> {
    mode: &'a Mode,
    path: PathBuf,
}

impl<'a> Ledger<'a> {
    fn create(mode: &'a Mode, directory: &Path, count: u16) -> Result<Self> {
        let ledger = Self { mode, path: directory.join(mode.name) };
        let mut connection = Connection::open(&ledger.path)?;
        connection.pragma_update(None, "journal_mode", mode.journal)?;
        let transaction = connection.transaction()?;
        transaction.execute_batch(SCHEMA)?;
        for port in FIRST..FIRST + count {
            transaction.execute(RESERVE, [port])?;
        }
        transaction.commit()?;
        close(connection)?;
        Ok(ledger)
    }

    /// What a reader does.
    fn look_up(&self, port: u16) -> Result<()> {
        let connection = self.open()?;
        connection.execute_batch("BEGIN")?;
        connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))?;
        connection.query_row(FIND, [port], |row| row.get::<_, u16>("port"))?;
        connection.execute_batch("COMMIT")?;
        close(connection)
    }

    /// What a writer does, in one transaction.
    fn commit(&self, port: u16) -> Result<()> {
        let mut connection = self.open()?;
        // Deleting is what SQLite does unasked, and a write-ahead log is a property of the file.
        if matches!(self.mode.journal, "TRUNCATE" | "PERSIST") {
            connection.pragma_update(None, "journal_mode", self.mode.journal)?;
        }
        connection.pragma_update(None, "synchronous", self.mode.synchronous)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for statement in [RELEASE, RESERVE, RECORD] {
            transaction.execute(statement, [port])?;
        }
        transaction.commit()?;
        close(connection)
    }

    fn open(&self) -> Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, self.mode.left)?;
        Ok(connection)
    }
}

fn close(connection: Connection) -> Result<()> {
    connection.close().map_err(|(_, error)| error)
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let started = Instant::now();
    work().map(|()| started.elapsed())
}

/// In microseconds; 0 of nothing.
fn median(mut times: Vec<Duration>) -> u128 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0, Duration::as_micros)
}

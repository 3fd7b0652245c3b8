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
use rusqlite::{Connection, OpenFlags, Result, TransactionBehavior};

const SCHEMA: &str = include_str!("../src/ledger/schema/0001_initial.sql");

/// How often each is done.
const ROUNDS: usize = 100;

/// How a ledger is kept.
struct Mode {
    name: &'static str,
    /// `PRAGMA journal_mode`.
    journal: &'static str,
    /// Whether the log is left behind, as by a process that exits without closing the database.
    left: bool,
}

const MODES: [Mode; 5] = [
    Mode { name: "delete", journal: "DELETE", left: false },
    Mode { name: "truncate", journal: "TRUNCATE", left: false },
    Mode { name: "persist", journal: "PERSIST", left: false },
    Mode { name: "wal, closed", journal: "WAL", left: false },
    Mode { name: "wal, left behind", journal: "WAL", left: true },
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
        for _ in 0..ROUNDS {
            for (ledger, (look_ups, commits)) in ledgers.iter().zip(&mut times) {
                commits.push(timed(|| ledger.commit())?);
                look_ups.push(timed(|| ledger.look_up())?);
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
        {
            let mut insert = transaction.prepare(INSERT)?;
            for port in (10_000..).take(count.into()) {
                insert.execute([port])?;
            }
        }
        transaction.commit()?;
        ledger.close(connection)?;
        Ok(ledger)
    }

    /// What a reader does.
    fn look_up(&self) -> Result<()> {
        let connection = self.connect()?;
        connection.execute_batch("BEGIN")?;
        for pragma in ["application_id", "user_version"] {
            connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0))?;
        }
        let sql = "SELECT * FROM reservation WHERE key = ? AND realm = ?";
        connection.query_row(sql, (KEY, [0_u8; 0]), |row| row.get::<_, u16>("port"))?;
        self.close(connection)
    }

    /// What a writer does: a reservation that moves, and its event.
    fn commit(&self) -> Result<()> {
        let mut connection = self.connect()?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute(MOVE, [])?;
        transaction.execute(EVENT, [])?;
        transaction.commit()?;
        self.close(connection)
    }
}

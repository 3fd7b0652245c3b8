//! What can still be read of a damaged ledger, and a new one made of it.
//!
//! Tables are read row by row. Where that comes to a damaged page, every key that a row could have is
//! looked up by itself: each look-up that meets no damaged page finds its row. A reservation whose row
//! is lost may still be in an index; then its key is known, and gets its port back when it asks again.
//!
//! The first page holds the schema and says where the tables begin. It is the same in every ledger that
//! began with this schema, so that a new one's can take its place; where it fits badly, fewer rows are read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, MAIN_DB, Row};

use super::error::{fail, io_problem, ledger_error};
use super::{Ledger, MAX_EVENTS, Outcome, PAGE_SIZE, draft, rows, schema};
use crate::event::Event;
use crate::port::Port;
use crate::reservation::{ReleasedPort, Reservation};
use crate::time::Timestamp;

/// The largest file that is read: a thousand times what a full ledger takes.
const MAX_FILE: u64 = 1 << 30;

/// The bytes of a page.
#[expect(clippy::cast_possible_truncation, reason = "it is 4096")]
const PAGE: usize = PAGE_SIZE as usize;

/// What was read of a damaged ledger.
#[derive(Debug, Default)]
pub struct Salvage {
    reservations: BTreeMap<i64, Reservation>,
    /// Reservations of which an index knows, by port: the realm and the key, where it knows them.
    indexed: BTreeMap<i64, Option<(Vec<u8>, String)>>,
    released: BTreeMap<i64, ReleasedPort>,
    events: BTreeMap<i64, Event>,
    cleaned_at: Timestamp,
    /// How many of the tables are there.
    tables: i64,
}

/// What became of a damaged ledger.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restored {
    /// How many reservations are as they were.
    pub reservations: usize,
    /// The ports of reservations that are lost, but whose keys get them back when they ask again.
    pub returnable: Vec<Port>,
    /// The ports of reservations that are lost.
    pub lost: Vec<Port>,
    /// How many events are there.
    pub events: usize,
    /// Where the damaged file is kept; `None` when nothing was written.
    pub kept: Option<PathBuf>,
}

impl Salvage {
    /// Reads what can be read of the ledger at `path`. Writes nothing.
    pub fn read(path: &Path) -> Outcome<Self> {
        let io_error = |error: io::Error| fail(path, io_problem(&error));
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(io_error)?;
        file.take(MAX_FILE).read_to_end(&mut bytes).map_err(io_error)?;
        Self::of(&bytes).map_err(|error| ledger_error(path, &error))
    }

    fn of(bytes: &[u8]) -> rusqlite::Result<Self> {
        const TABLES: i64 = 4;
        let as_it_is = if is_first_page(bytes) { read(&mended(bytes, None)) } else { None };
        match as_it_is {
            Some(salvage) if salvage.tables == TABLES => Ok(salvage),
            other => {
                let found = other.unwrap_or_default();
                let with_new = read(&mended(bytes, Some(&first_page()?))).unwrap_or_default();
                let worth = |it: &Self| (it.reservations.len(), it.events.len());
                Ok(if worth(&with_new) > worth(&found) { with_new } else { found })
            }
        }
    }

    /// What a new ledger would hold.
    #[must_use]
    pub fn summary(&self) -> Restored {
        let mut restored = Restored {
            reservations: self.reservations.len(),
            events: self.events.len(),
            ..Restored::default()
        };
        for (port, key) in self.missing() {
            match key {
                Some(_) => restored.returnable.push(port),
                None => restored.lost.push(port),
            }
        }
        restored
    }

    /// The reservations whose rows are lost.
    fn missing(&self) -> impl Iterator<Item = (Port, Option<&(Vec<u8>, String)>)> {
        let unread = |(port, _): &(&i64, _)| !self.reservations.contains_key(port);
        let known = self.indexed.iter().filter(unread);
        known.filter_map(|(port, key)| Some((port_of(*port)?, key.as_ref())))
    }

    /// Puts a ledger that holds all of it into the place of the damaged one, which is kept beside it. The
    /// caller holds the file lock.
    pub fn restore(&self, path: &Path, at: Timestamp) -> Outcome<Restored> {
        let real = fs::canonicalize(path).map_err(|error| fail(path, io_problem(&error)))?;
        let kept = kept(&real, at);
        let aside = || {
            // A second name for the same file: at no moment there is no ledger.
            fs::hard_link(&real, &kept).or_else(|_| fs::copy(&real, &kept).map(drop))?;
            match fs::rename(draft::journal(&real), draft::journal(&kept)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                renamed => renamed,
            }
        };
        let mut restored = draft::make(&real, |ledger| self.write(ledger, at), aside)?;
        restored.kept = Some(kept);
        Ok(restored)
    }

    fn write(&self, ledger: &mut Ledger, at: Timestamp) -> Outcome<Restored> {
        let path = ledger.path.clone();
        let failed = |error| ledger_error(&path, &error);
        let mut restored = self.summary();
        let transaction = ledger.connection.unchecked_transaction().map_err(failed)?;
        let mut write = || -> rusqlite::Result<()> {
            let mut put = transaction.prepare(rows::PUT_RESERVATION)?;
            // Of two that claim one key, the one that was used last.
            let mut reservations: Vec<_> = self.reservations.values().collect();
            reservations.sort_by_key(|it| std::cmp::Reverse(it.last_used_at));
            for reservation in reservations {
                if !is_written(rows::insert(&mut put, reservation))? {
                    restored.reservations -= 1;
                    restored.lost.push(reservation.port);
                }
            }
            let mut release = transaction.prepare(rows::PUT_RELEASED)?;
            for (port, key) in self.missing() {
                let Some((realm, key)) = key else { continue };
                is_written(release.execute((port.get(), realm, key, at.millis())))?;
            }
            for ReleasedPort { port, key, released_at } in self.released.values() {
                let realm = rows::realm_bytes(&key.realm);
                is_written(release.execute((port.get(), realm, &key.text, released_at.millis())))?;
            }
            let mut record = transaction.prepare(rows::PUT_EVENT)?;
            let mut number = transaction.prepare("UPDATE event SET id = ? WHERE id = ?")?;
            for event in self.events.values() {
                match is_written(rows::insert_event(&mut record, event))? {
                    true => drop(number.execute([event.id, transaction.last_insert_rowid()])?),
                    false => restored.events -= 1,
                }
            }
            // What is numbered anew begins above all that was.
            let last = self.events.keys().next_back().copied().unwrap_or(0);
            transaction
                .execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'event'", [last])?;
            let cleaned = [self.cleaned_at.millis()];
            transaction.execute("UPDATE state SET cleaned_at = ? WHERE id = 1", cleaned).map(drop)
        };
        write().map_err(failed)?;
        transaction.commit().map_err(failed)?;
        Ok(restored)
    }
}

/// Whether a row was written; what breaks a rule of the schema is left out.
fn is_written(outcome: rusqlite::Result<usize>) -> rusqlite::Result<bool> {
    match outcome {
        Err(error)
            if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) =>
        {
            Ok(false)
        }
        outcome => outcome.map(|_| true),
    }
}

/// A name for the damaged file that nothing has yet.
fn kept(path: &Path, at: Timestamp) -> PathBuf {
    let time: String = at.to_string().chars().take(19).filter(|c| !"-:".contains(*c)).collect();
    let name = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".damaged-{time}Z{suffix}"));
        PathBuf::from(name)
    };
    let names = std::iter::once(String::new()).chain((2_u32..).map(|number| format!("-{number}")));
    let mut free =
        names.map(|suffix| name(&suffix)).filter(|name| fs::symlink_metadata(name).is_err());
    free.next().unwrap_or_else(|| name(""))
}

/// Whether the file begins as a ledger's first page does: a database of SQLite, in pages of 4096 bytes,
/// of this application (<https://www.sqlite.org/fileformat.html#the_database_header>).
fn is_first_page(bytes: &[u8]) -> bool {
    bytes.starts_with(b"SQLite format 3\0")
        && bytes.get(16..18) == Some(&[0x10, 0])
        && bytes.get(68..72) == Some(&schema::APPLICATION_ID.to_be_bytes())
}

/// Whole pages, with another first one or their own, and a header that says how many they are: a file
/// that was cut off claims to be longer, and nothing of it could be read.
fn mended(bytes: &[u8], first: Option<&[u8]>) -> Vec<u8> {
    let mut pages = bytes.to_vec();
    pages.resize(bytes.len().div_ceil(PAGE).max(1) * PAGE, 0);
    if let Some(first) = first {
        pages[..PAGE].copy_from_slice(&first[..PAGE]);
    }
    let count = u32::try_from(pages.len() / PAGE).unwrap_or(u32::MAX);
    pages[28..32].copy_from_slice(&count.to_be_bytes());
    // The count holds only if it was written by the change that the counter names.
    pages.copy_within(24..28, 92);
    // No write-ahead log.
    pages[18..20].fill(1);
    pages
}

/// The first page of a new ledger.
fn first_page() -> rusqlite::Result<Vec<u8>> {
    let mut connection = Connection::open_in_memory()?;
    schema::migrate(&connection, 0)?;
    Ok(connection.serialize(MAIN_DB)?.to_vec())
}

/// Reads what can be read; `None` where that is nothing at all.
fn read(pages: &[u8]) -> Option<Salvage> {
    let mut connection = Connection::open_in_memory().ok()?;
    connection.deserialize_read_exact(MAIN_DB, pages, pages.len(), true).ok()?;
    let connection = &connection;
    let tables = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' \
        AND name IN ('reservation', 'released', 'event', 'state')";
    let tables = connection.query_row(tables, [], |row| row.get(0)).ok()?;
    let ports = || 1..=i64::from(u16::MAX);
    let reservations = Table { name: "reservation", id: "port", columns: rows::RESERVATION };
    let released = Table { name: "released", id: "port", columns: rows::RELEASED };
    let events = Table { name: "event", id: "id", columns: rows::EVENT };
    let cleaned_at = connection.query_row("SELECT cleaned_at FROM state", [], |row| row.get(0));
    Some(Salvage {
        reservations: reservations.read(connection, ports, rows::reservation),
        indexed: indexed(connection),
        released: released.read(connection, ports, rows::released),
        events: events.read(connection, || event_ids(connection), rows::event),
        cleaned_at: Timestamp::from_millis(cleaned_at.unwrap_or(0)),
        tables,
    })
}

/// A table with an integer for its primary key, the first of the columns.
struct Table {
    name: &'static str,
    id: &'static str,
    columns: &'static str,
}

impl Table {
    /// Every row that can be read, by its key. Where the table cannot be read from its beginning to its
    /// end, each of `ids` is looked up.
    fn read<T, I: Iterator<Item = i64>>(
        &self,
        connection: &Connection,
        ids: impl FnOnce() -> I,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> BTreeMap<i64, T> {
        let Self { name, id, columns } = self;
        let mut found = BTreeMap::new();
        let whole = format!("SELECT {columns} FROM {name} ORDER BY {id}");
        let mut take = |row: &Row<'_>| {
            if let (Ok(id), Ok(value)) = (row.get(0), read(row)) {
                found.insert(id, value);
            }
        };
        if each(connection, &whole, &mut take) {
            return found;
        }
        let one = format!("SELECT {columns} FROM {name} WHERE {id} = ?");
        let Ok(mut one) = connection.prepare(&one) else { return found };
        for id in ids() {
            if !found.contains_key(&id)
                && let Ok(value) = one.query_row([id], |row| read(row))
            {
                found.insert(id, value);
            }
        }
        found
    }
}

/// Gives every row of `sql` to `take`; whether it came to the end.
fn each(connection: &Connection, sql: &str, take: &mut dyn FnMut(&Row<'_>)) -> bool {
    let Ok(mut statement) = connection.prepare(sql) else { return false };
    let Ok(mut rows) = statement.query([]) else { return false };
    loop {
        match rows.next() {
            Ok(Some(row)) => take(row),
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

/// The reservations that the indexes know of, from both of their ends.
fn indexed(connection: &Connection) -> BTreeMap<i64, Option<(Vec<u8>, String)>> {
    let mut known = BTreeMap::new();
    for order in ["", "DESC"] {
        let ports = format!(
            "SELECT port FROM reservation INDEXED BY reservation_created_at ORDER BY created_at {order}"
        );
        each(connection, &ports, &mut |row| {
            if let Ok(port) = row.get(0) {
                known.entry(port).or_insert(None);
            }
        });
        let keys = format!(
            "SELECT port, realm, key FROM reservation INDEXED BY reservation_key \
                ORDER BY key {order}, realm {order}"
        );
        each(connection, &keys, &mut |row| {
            if let (Ok(port), Ok(realm), Ok(key)) = (row.get(0), row.get(1), row.get(2)) {
                known.insert(port, Some((realm, key)));
            }
        });
    }
    known
}

/// The numbers that events could have: as many as are kept, around the first and the last that can be
/// seen.
fn event_ids(connection: &Connection) -> impl Iterator<Item = i64> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).ok();
    let below = [
        number("SELECT id FROM event ORDER BY id DESC LIMIT 1"),
        number("SELECT seq FROM sqlite_sequence WHERE name = 'event'"),
    ];
    let below: BTreeSet<_> = below.into_iter().flatten().collect();
    let above = number("SELECT id FROM event ORDER BY id LIMIT 1").unwrap_or(1);
    let below = below.into_iter().flat_map(|last| last.saturating_sub(MAX_EVENTS).max(1)..=last);
    below.chain(above..=above.saturating_add(MAX_EVENTS))
}

fn port_of(number: i64) -> Option<Port> {
    Port::new(u16::try_from(number).ok()?)
}

#[cfg(test)]
mod tests;

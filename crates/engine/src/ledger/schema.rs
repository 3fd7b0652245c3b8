//! The schema of the ledger: append-only migrations, one file each, applied in order.

use rusqlite::{Connection, Result};

/// The migrations; the version of a schema is how many of them have been applied. A published one
/// is never edited: a change is a new file.
const MIGRATIONS: &[&str] =
    &[include_str!("schema/0001_initial.sql"), include_str!("schema/0002_relocated.sql")];

/// Marks the file as a ledger of Hythe: "Hyth" (`PRAGMA application_id`, SQLite file format 1.3.17).
pub(super) const APPLICATION_ID: i32 = 0x4879_7468;

/// The version that this program writes.
#[expect(clippy::cast_possible_wrap, clippy::cast_possible_truncation, reason = "a handful")]
pub(super) const VERSION: i32 = MIGRATIONS.len() as i32;

/// What the file says of itself: application id and schema version.
pub(super) fn identity(connection: &Connection) -> Result<(i32, i32)> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get(0));
    Ok((pragma("application_id")?, pragma("user_version")?))
}

/// Brings the schema from `version` to [`VERSION`], in one transaction.
pub(super) fn migrate(connection: &Connection, version: i32) -> Result<()> {
    // None has begun on a connection that was just opened.
    let transaction = connection.unchecked_transaction()?;
    let applied = usize::try_from(version).unwrap_or(0);
    for migration in MIGRATIONS.iter().skip(applied) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

//! Port Daddy 1: `~/.claude/port-daddy/port-registry.db`.
//!
//! A reservation is a project's only one. Its process is a bare pid, most often of a command that has
//! ended long ago. Times are milliseconds of Unix time. There are no settings but those built in.

use std::path::Path;

use super::database::{Cell, Database};
use super::error::ImportError;
use super::settings::{Draft, Translation, string};
use super::{Belongs, Entry, Fit, Record, Unfit, port, project};
use crate::reservation::Lease;
use crate::time::Timestamp;

/// The name of the database.
pub(super) const DATABASE: &str = "port-registry.db";

pub(super) fn read(path: &Path) -> Result<Vec<Entry>, ImportError> {
    let columns = ["port", "project", "pid", "started", "last_seen"];
    let rows = Database::open(path)?.rows("port_assignments", &columns)?;
    Ok(rows.iter().map(|row| entry(row)).collect())
}

/// A row, in the order of its columns.
pub(super) fn entry(row: &[Cell]) -> Entry {
    Entry {
        what: row.get(1).and_then(Cell::text).unwrap_or_default().to_owned(),
        port: row.first().and_then(Cell::integer).and_then(port),
        record: record(row),
    }
}

fn record(row: &[Cell]) -> Fit {
    let odd = || Unfit::Lost("its row is not one of Port Daddy's".to_owned());
    let [_, name, pid, started, last_seen] = row else { return Err(odd()) };
    let time = |cell: &Cell| cell.integer().map(Timestamp::from_millis).ok_or_else(odd);
    let name = project(name.text().ok_or_else(odd)?)?;
    let (started, last_seen) = (time(started)?, time(last_seen)?);
    let pid = pid.integer().and_then(|pid| u32::try_from(pid).ok());
    Ok(Record {
        project: Some(name.clone()),
        lease: Lease::Ephemeral,
        process: pid.map(|pid| (pid, started)),
        ..Record::new(Belongs::Project(name), "", started, last_seen)?
    })
}

pub(super) fn translate() -> Translation {
    let mut draft = Draft::new("config.toml", "Port Daddy", None);
    draft.set("ports", "range", &string("3100-9999"), "built into Port Daddy");
    draft.set("ports", "exclude", "[8000, 8080, 9876]", "reserved by Port Daddy");
    draft.set("services.main", "scope", &string("project"), "a port is a project's");
    draft.set("cleanup", "every", &string("5m"), "built into Port Daddy");
    draft.remark("Without [services.main], every checkout and worktree has a port of its own.");
    draft.finish()
}

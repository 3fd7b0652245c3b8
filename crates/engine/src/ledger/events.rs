//! What happened to reservations, looked up.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rusqlite::named_params;

use super::{Ledger, Outcome, below, rows};
use crate::event::{Event, EventKind};
use crate::port::Port;
use crate::reservation::{Label, Service};
use crate::time::Timestamp;

/// Which events are asked for. Every condition that is given must hold.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Only events with a higher number than this.
    pub after: Option<i64>,
    /// Only events at this time or later.
    pub since: Option<Timestamp>,
    /// Only events of this port, before or after a move.
    pub port: Option<Port>,
    /// Only events of this key.
    pub key: Option<String>,
    /// Only events of this kind.
    pub kind: Option<EventKind>,
    /// Only events of this service.
    pub service: Option<Service>,
    /// Only events of this project.
    pub project: Option<Label>,
    /// Only events of this directory, or one below it.
    pub directory: Option<PathBuf>,
    /// At most this many, the latest.
    pub limit: Option<u32>,
}

const CONDITIONS: &str = "id > :after AND at >= :since \
    AND (:port IS NULL OR port = :port OR from_port = :port) \
    AND (:key IS NULL OR key = :key) \
    AND (:kind IS NULL OR kind = :kind) \
    AND (:service IS NULL OR service = :service) \
    AND (:project IS NULL OR project = :project) \
    AND (:directory IS NULL OR directory = :directory \
        OR (directory >= :first AND directory < :end))";

impl Ledger {
    /// What happened, oldest first.
    pub fn events(&self, filter: &EventFilter) -> Outcome<Vec<Event>> {
        let mut events = self.select(filter, "DESC", filter.limit.map_or(-1, i64::from))?;
        events.reverse();
        Ok(events)
    }

    /// The first `most` of the events that `filter` admits, oldest first, whatever its own limit.
    pub fn next_events(&self, filter: &EventFilter, most: u32) -> Outcome<Vec<Event>> {
        self.select(filter, "ASC", i64::from(most))
    }

    /// The number of the latest event; 0 when nothing has happened yet.
    pub fn last_event(&self) -> Outcome<i64> {
        self.connection
            .query_row("SELECT coalesce(max(id), 0) FROM event", [], |row| row.get(0))
            .map_err(self.failed())
    }

    fn select(&self, filter: &EventFilter, order: &str, limit: i64) -> Outcome<Vec<Event>> {
        let columns = rows::EVENT;
        let sql = format!(
            "SELECT {columns} FROM event WHERE {CONDITIONS} ORDER BY id {order} LIMIT :limit"
        );
        let directory = filter.directory.as_deref();
        let [first, end] = directory.map_or_else(Default::default, below);
        self.list(
            &sql,
            named_params! {
                ":after": filter.after.unwrap_or(0),
                ":since": filter.since.map_or(0, Timestamp::millis),
                ":port": filter.port.map(Port::get),
                ":key": filter.key,
                ":kind": filter.kind.map(EventKind::word),
                ":service": filter.service.as_ref().map(Service::as_str),
                ":project": filter.project.as_ref().map(Label::as_str),
                ":directory": directory.map(|directory| directory.as_os_str().as_bytes()),
                ":first": first,
                ":end": end,
                ":limit": limit,
            },
            rows::event,
        )
    }
}

//! Rows of the ledger and the domain types they stand for.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use rusqlite::types::{FromSql, FromSqlError, Type};
use rusqlite::{Connection, Result, Row, Statement, named_params};

use crate::event::Event;
use crate::port::Port;
use crate::reservation::{Key, Label, Owner, Provenance, Realm, ReleasedPort, Reservation};
use crate::time::Timestamp;

/// The columns of a reservation, in the order of the table.
pub(super) const RESERVATION: &str = "port, realm, key, scope, directory, service, project, task, \
    agent, lease, locked, ttl, owner_pid, owner_start, owner_boot, owner_namespace, \
    owner_started_at, created_at, last_used_at, key_policy, selection_policy, listener";

pub(super) fn reservation(row: &Row<'_>) -> Result<Reservation> {
    let mut columns = Columns { row, next: 0 };
    let port = columns.port()?;
    let key = Key { realm: realm(columns.blob()?), text: columns.take()? };
    let scope = columns.parsed()?;
    let directory = path(columns.blob()?);
    let service = columns.parsed()?;
    let (project, task, agent) = (columns.label()?, columns.label()?, columns.label()?);
    let lease = columns.parsed()?;
    let locked = columns.take()?;
    let ttl: Option<i64> = columns.take()?;
    let owner = columns.owner()?;
    let (created_at, last_used_at) = (columns.timestamp()?, columns.timestamp()?);
    let strategy = Provenance { key: columns.take()?, selection: columns.take()? };
    Ok(Reservation {
        port,
        key,
        scope,
        directory,
        service,
        project,
        task,
        agent,
        lease,
        locked,
        owner,
        created_at,
        last_used_at,
        ttl: ttl.map(|millis| Duration::from_millis(unsigned(millis))),
        strategy,
        listener: columns.take()?,
    })
}

/// Reads a row from left to right: to find a column by its name takes longer than to read it.
struct Columns<'r> {
    row: &'r Row<'r>,
    next: usize,
}

impl<'r> Columns<'r> {
    fn take<T: FromSql>(&mut self) -> Result<T> {
        let column = self.index();
        self.row.get(column)
    }

    fn index(&mut self) -> usize {
        let column = self.next;
        self.next += 1;
        column
    }

    fn blob(&mut self) -> Result<&'r [u8]> {
        let column = self.index();
        Ok(self.row.get_ref(column)?.as_blob()?)
    }

    fn port(&mut self) -> Result<Port> {
        let number = self.take()?;
        Port::new(number).ok_or_else(|| FromSqlError::OutOfRange(i64::from(number)).into())
    }

    fn optional_port(&mut self) -> Result<Option<Port>> {
        let number: Option<u16> = self.take()?;
        Ok(number.and_then(Port::new))
    }

    fn timestamp(&mut self) -> Result<Timestamp> {
        self.take().map(Timestamp::from_millis)
    }

    fn parsed<T: Text>(&mut self) -> Result<T> {
        let column = self.index();
        parsed(self.row.get_ref(column)?.as_str()?, column)
    }

    fn label(&mut self) -> Result<Option<Label>> {
        let column = self.index();
        let text = self.row.get_ref(column)?.as_str_or_null()?;
        text.map(|text| parsed(text, column)).transpose()
    }

    fn owner(&mut self) -> Result<Option<Owner>> {
        let Some(pid) = self.take()? else {
            self.next += 4;
            return Ok(None);
        };
        Ok(Some(Owner {
            pid,
            start: unsigned(self.take()?),
            boot: self.take()?,
            namespace: unsigned(self.take()?),
            started_at: self.timestamp()?,
        }))
    }
}

/// What is written as text and read back.
trait Text: FromStr<Err: std::error::Error + Send + Sync + 'static> {}

impl<T: FromStr<Err: std::error::Error + Send + Sync + 'static>> Text for T {}

fn parsed<T: Text>(text: &str, column: usize) -> Result<T> {
    text.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })
}

/// Inserts a reservation, or overwrites the one that has its port and key.
pub(super) const PUT_RESERVATION: &str = "INSERT INTO reservation VALUES (:port, :realm, :key, \
    :scope, :directory, :service, :project, :task, :agent, :lease, :locked, :ttl, :owner_pid, \
    :owner_start, :owner_boot, :owner_namespace, :owner_started_at, :created_at, :last_used_at, \
    :key_policy, :selection_policy, :listener)";

pub(super) fn insert(statement: &mut Statement<'_>, reservation: &Reservation) -> Result<usize> {
    let owner = reservation.owner.as_ref();
    statement.execute(named_params! {
        ":port": reservation.port.get(),
        ":realm": realm_bytes(&reservation.key.realm),
        ":key": reservation.key.text,
        ":scope": reservation.scope.word(),
        ":directory": reservation.directory.as_os_str().as_bytes(),
        ":service": reservation.service.as_str(),
        ":project": reservation.project.as_ref().map(Label::as_str),
        ":task": reservation.task.as_ref().map(Label::as_str),
        ":agent": reservation.agent.as_ref().map(Label::as_str),
        ":lease": reservation.lease.word(),
        ":locked": reservation.locked,
        ":ttl": reservation.ttl.map(|ttl| i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX)),
        ":owner_pid": owner.map(|owner| owner.pid),
        ":owner_start": owner.map(|owner| owner.start.cast_signed()),
        ":owner_boot": owner.map(|owner| &owner.boot),
        ":owner_namespace": owner.map(|owner| owner.namespace.cast_signed()),
        ":owner_started_at": owner.map(|owner| owner.started_at.millis()),
        ":created_at": reservation.created_at.millis(),
        ":last_used_at": reservation.last_used_at.millis(),
        ":key_policy": reservation.strategy.key,
        ":selection_policy": reservation.strategy.selection,
        ":listener": reservation.listener,
    })
}

/// The columns of an event, in the order of the table.
pub(super) const EVENT: &str = "id, at, kind, port, from_port, key, scope, service, directory, \
    project, agent, policy, reason";

pub(super) fn event(row: &Row<'_>) -> Result<Event> {
    let mut columns = Columns { row, next: 0 };
    Ok(Event {
        id: columns.take()?,
        at: columns.timestamp()?,
        kind: columns.parsed()?,
        port: columns.port()?,
        from: columns.optional_port()?,
        key: columns.take()?,
        scope: columns.parsed()?,
        service: columns.parsed()?,
        directory: path(columns.blob()?),
        project: columns.label()?,
        agent: columns.label()?,
        policy: columns.take()?,
        reason: columns.take()?,
    })
}

/// A port that was given back: port, realm, key and time.
pub(super) fn released(row: &Row<'_>) -> Result<ReleasedPort> {
    let mut columns = Columns { row, next: 0 };
    Ok(ReleasedPort {
        port: columns.port()?,
        key: Key { realm: realm(columns.blob()?), text: columns.take()? },
        released_at: columns.timestamp()?,
    })
}

/// Inserts a port that was given back, its realm, key and time, unless it is reserved, or was given back
/// here.
pub(super) const PUT_RELEASED: &str = "INSERT OR IGNORE INTO released SELECT ?1, ?2, ?3, ?4 \
    WHERE NOT EXISTS (SELECT 1 FROM reservation WHERE port = ?1)";

/// The columns of a port that was given back, in the order of the table.
pub(super) const RELEASED: &str = "port, realm, key, released_at";

/// Inserts ports that were given back, but for those that are reserved, or were given back here.
pub(super) fn insert_released(connection: &Connection, released: &[ReleasedPort]) -> Result<()> {
    let mut insert = connection.prepare(PUT_RELEASED)?;
    for ReleasedPort { port, key, released_at } in released {
        let realm = realm_bytes(&key.realm);
        insert.execute((port.get(), realm, &key.text, released_at.millis()))?;
    }
    Ok(())
}

/// The port in the first column.
pub(super) fn port(row: &Row<'_>) -> Result<Port> {
    Columns { row, next: 0 }.port()
}

pub(super) const PUT_EVENT: &str = "INSERT INTO event (at, kind, port, from_port, key, scope, \
    service, directory, project, agent, policy, reason) VALUES (:at, :kind, :port, :from_port, \
    :key, :scope, :service, :directory, :project, :agent, :policy, :reason)";

pub(super) fn insert_event(statement: &mut Statement<'_>, event: &Event) -> Result<usize> {
    statement.execute(named_params! {
        ":at": event.at.millis(),
        ":kind": event.kind.word(),
        ":port": event.port.get(),
        ":from_port": event.from.map(Port::get),
        ":key": event.key,
        ":scope": event.scope.word(),
        ":service": event.service.as_str(),
        ":directory": event.directory.as_os_str().as_bytes(),
        ":project": event.project.as_ref().map(Label::as_str),
        ":agent": event.agent.as_ref().map(Label::as_str),
        ":policy": event.policy,
        ":reason": event.reason,
    })
}

pub(super) fn realm_bytes(realm: &Realm) -> &[u8] {
    match realm {
        Realm::User => &[],
        Realm::Project(directory) => directory.as_os_str().as_bytes(),
    }
}

fn realm(bytes: &[u8]) -> Realm {
    if bytes.is_empty() { Realm::User } else { Realm::Project(path(bytes)) }
}

fn path(bytes: &[u8]) -> PathBuf {
    OsStr::from_bytes(bytes).into()
}

/// SQLite knows signed integers only; the bits come back as they went in.
fn unsigned(value: i64) -> u64 {
    value.cast_unsigned()
}

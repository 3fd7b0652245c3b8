//! Rows of the ledger and the domain types they stand for.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use rusqlite::types::{FromSqlError, Type, ValueRef};
use rusqlite::{Result, Row, Statement, named_params};

use crate::event::Event;
use crate::port::Port;
use crate::reservation::{Key, Label, Owner, Provenance, Realm, Reservation};
use crate::time::Timestamp;

/// The columns of a reservation, in the order of the table.
pub(super) const RESERVATION: &str = "port, realm, key, scope, directory, service, project, task, \
    agent, lease, locked, ttl, owner_pid, owner_start, owner_boot, owner_namespace, \
    owner_started_at, created_at, last_used_at, key_policy, selection_policy, listener";

pub(super) fn reservation(row: &Row<'_>) -> Result<Reservation> {
    let owner = match row.get::<_, Option<u32>>("owner_pid")? {
        None => None,
        Some(pid) => Some(Owner {
            pid,
            start: unsigned(row.get("owner_start")?),
            boot: row.get("owner_boot")?,
            namespace: unsigned(row.get("owner_namespace")?),
            started_at: timestamp(row, "owner_started_at")?,
        }),
    };
    let ttl: Option<i64> = row.get("ttl")?;
    Ok(Reservation {
        port: port(row, "port")?,
        key: Key { realm: realm(row)?, text: row.get("key")? },
        scope: parsed(row, "scope")?,
        directory: path(row, "directory")?,
        service: parsed(row, "service")?,
        project: label(row, "project")?,
        task: label(row, "task")?,
        agent: label(row, "agent")?,
        lease: parsed(row, "lease")?,
        locked: row.get("locked")?,
        owner,
        created_at: timestamp(row, "created_at")?,
        last_used_at: timestamp(row, "last_used_at")?,
        ttl: ttl.map(|millis| Duration::from_millis(unsigned(millis))),
        strategy: Provenance {
            key: row.get("key_policy")?,
            selection: row.get("selection_policy")?,
        },
        listener: row.get("listener")?,
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

pub(super) fn event(row: &Row<'_>) -> Result<Event> {
    let from: Option<u16> = row.get("from_port")?;
    Ok(Event {
        id: row.get("id")?,
        at: timestamp(row, "at")?,
        kind: parsed(row, "kind")?,
        port: port(row, "port")?,
        from: from.and_then(Port::new),
        key: row.get("key")?,
        scope: parsed(row, "scope")?,
        service: parsed(row, "service")?,
        directory: path(row, "directory")?,
        project: label(row, "project")?,
        agent: label(row, "agent")?,
        policy: row.get("policy")?,
        reason: row.get("reason")?,
    })
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

fn realm(row: &Row<'_>) -> Result<Realm> {
    match row.get_ref("realm")?.as_blob()? {
        [] => Ok(Realm::User),
        directory => Ok(Realm::Project(Path::new(std::ffi::OsStr::from_bytes(directory)).into())),
    }
}

fn path(row: &Row<'_>, column: &str) -> Result<PathBuf> {
    Ok(OsString::from_vec(row.get_ref(column)?.as_blob()?.to_vec()).into())
}

pub(super) fn port(row: &Row<'_>, column: &str) -> Result<Port> {
    let number = row.get(column)?;
    Port::new(number).ok_or_else(|| FromSqlError::OutOfRange(i64::from(number)).into())
}

fn timestamp(row: &Row<'_>, column: &str) -> Result<Timestamp> {
    row.get(column).map(Timestamp::from_millis)
}

fn label(row: &Row<'_>, column: &str) -> Result<Option<Label>> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        _ => parsed(row, column).map(Some),
    }
}

fn parsed<T>(row: &Row<'_>, column: &str) -> Result<T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let index = row.as_ref().column_index(column)?;
    row.get_ref(index)?.as_str()?.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(index, Type::Text, Box::new(error))
    })
}

/// SQLite knows signed integers only; the bits come back as they went in.
fn unsigned(value: i64) -> u64 {
    value.cast_unsigned()
}

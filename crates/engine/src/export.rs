//! The ledger as one JSON document, and back: what `hythe export` writes and `hythe import` reads.
//!
//! Everything that a reservation is, but for the hint where its listener was last seen. A path is a
//! string when it is UTF-8, and `{"bytes": "2f746d70ff"}`, its bytes in hexadecimal, when it is not.
//! Times are exact: the ledger keeps milliseconds, and so do they.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::port::Port;
use crate::reservation::{
    Key, Label, Lease, Owner, Provenance, Realm, ReleasedPort, Reservation, Service,
};

/// The version of the document's shape.
const VERSION: u64 = 1;

/// What a ledger holds, without what happened to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Holdings {
    /// The reservations, by port.
    pub(crate) reservations: Vec<Reservation>,
    /// The ports that were given back, by port.
    pub(crate) released: Vec<ReleasedPort>,
}

impl Holdings {
    /// The document that says it all.
    pub(crate) fn document(&self) -> Value {
        let reservations: Vec<_> = self.reservations.iter().map(written).collect();
        let released: Vec<_> = self.released.iter().map(written_release).collect();
        json!({ "version": VERSION, "reservations": reservations, "released": released })
    }

    /// Reads the document; fails with what is wrong, and where.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        let document: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        match document.get("version").and_then(Value::as_u64) {
            Some(VERSION) => {}
            Some(other) => {
                return Err(format!("version {other} is not known: expected {VERSION}"));
            }
            None => return Err("it says no `version`: it is no export of hythe".to_owned()),
        }
        let Document { reservations, released, .. } =
            serde_json::from_value(document).map_err(|error| error.to_string())?;
        let rows = (0..).zip(reservations).map(|(at, row): (usize, Row)| {
            row.read().map_err(|error| format!("reservations[{at}]: {error}"))
        });
        let reservations = rows.collect::<Result<_, _>>()?;
        let rows = (0..).zip(released).map(|(at, row): (usize, ReleasedRow)| {
            row.read().map_err(|error| format!("released[{at}]: {error}"))
        });
        Ok(Self { reservations, released: rows.collect::<Result<_, _>>()? })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "version")]
    _version: u64,
    reservations: Vec<Row>,
    released: Vec<ReleasedRow>,
}

/// A reservation as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    port: u16,
    realm: Option<Text>,
    key: String,
    scope: String,
    directory: Text,
    service: String,
    project: Option<String>,
    task: Option<String>,
    agent: Option<String>,
    lease: String,
    locked: bool,
    owner: Option<OwnerRow>,
    created_at: String,
    last_used_at: String,
    ttl_milliseconds: Option<u64>,
    strategy: StrategyRow,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnerRow {
    pid: u32,
    start: u64,
    boot: String,
    namespace: u64,
    started_at: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StrategyRow {
    key: String,
    selection: String,
}

/// A port that was given back, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReleasedRow {
    port: u16,
    realm: Option<Text>,
    key: String,
    released_at: String,
}

/// A path, whatever its bytes are.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Text {
    Plain(String),
    Raw { bytes: String },
}

impl Text {
    fn of(path: &Path) -> Self {
        match path.to_str() {
            Some(text) => Self::Plain(text.to_owned()),
            None => {
                let mut bytes = String::new();
                for byte in path.as_os_str().as_bytes() {
                    // Writing to a string cannot fail.
                    let _ = write!(bytes, "{byte:02x}");
                }
                Self::Raw { bytes }
            }
        }
    }

    fn path(self) -> Result<PathBuf, String> {
        let path: PathBuf = match self {
            Self::Plain(text) => text.into(),
            Self::Raw { bytes } => OsString::from_vec(bytes_of(&bytes)?).into(),
        };
        let text = path.as_os_str().as_bytes();
        if !path.is_absolute() || text.contains(&0) {
            return Err(format!("`{}` is not an absolute path", path.display()));
        }
        Ok(path)
    }
}

/// The bytes that hexadecimal digits stand for.
fn bytes_of(digits: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("`{digits}` are no bytes in hexadecimal");
    let digits = digits.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return Err(wrong());
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|it| u8::try_from(it).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    digits.chunks(2).map(pair).collect::<Option<_>>().ok_or_else(wrong)
}

fn written(reservation: &Reservation) -> Value {
    let Reservation { key, owner, .. } = reservation;
    let owner = owner.as_ref().map(|owner| {
        json!({
            "pid": owner.pid,
            "start": owner.start,
            "boot": owner.boot,
            "namespace": owner.namespace,
            "started_at": owner.started_at,
        })
    });
    json!({
        "port": reservation.port,
        "realm": realm(&key.realm),
        "key": key.text,
        "scope": reservation.scope,
        "directory": Text::of(&reservation.directory),
        "service": reservation.service,
        "project": reservation.project,
        "task": reservation.task,
        "agent": reservation.agent,
        "lease": reservation.lease,
        "locked": reservation.locked,
        "owner": owner,
        "created_at": reservation.created_at,
        "last_used_at": reservation.last_used_at,
        "ttl_milliseconds": reservation
            .ttl
            .map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
        "strategy": reservation.strategy,
    })
}

fn written_release(released: &ReleasedPort) -> Value {
    json!({
        "port": released.port,
        "realm": realm(&released.key.realm),
        "key": released.key.text,
        "released_at": released.released_at,
    })
}

fn realm(realm: &Realm) -> Option<Text> {
    match realm {
        Realm::User => None,
        Realm::Project(directory) => Some(Text::of(directory)),
    }
}

impl Row {
    fn read(self) -> Result<Reservation, String> {
        let owner = self.owner.map(OwnerRow::read).transpose()?;
        let lease = parsed(&self.lease)?;
        if lease == Lease::Ephemeral && owner.is_none() {
            return Err("an ephemeral lease needs an owner".to_owned());
        }
        let label = |text: Option<String>| text.map(|text| parsed::<Label>(&text)).transpose();
        Ok(Reservation {
            port: port(self.port)?,
            key: key(self.realm, self.key)?,
            scope: parsed(&self.scope)?,
            directory: self.directory.path()?,
            service: parsed::<Service>(&self.service)?,
            project: label(self.project)?,
            task: label(self.task)?,
            agent: label(self.agent)?,
            lease,
            locked: self.locked,
            owner,
            created_at: parsed(&self.created_at)?,
            last_used_at: parsed(&self.last_used_at)?,
            ttl: self.ttl_milliseconds.map(Duration::from_millis),
            strategy: Provenance { key: self.strategy.key, selection: self.strategy.selection },
            listener: None,
        })
    }
}

impl OwnerRow {
    fn read(self) -> Result<Owner, String> {
        if self.pid == 0 {
            return Err("0 is the pid of no process".to_owned());
        }
        let started_at = parsed(&self.started_at)?;
        let Self { pid, start, boot, namespace, .. } = self;
        Ok(Owner { pid, start, boot, namespace, started_at })
    }
}

impl ReleasedRow {
    fn read(self) -> Result<ReleasedPort, String> {
        let released_at = parsed(&self.released_at)?;
        Ok(ReleasedPort { port: port(self.port)?, key: key(self.realm, self.key)?, released_at })
    }
}

fn port(number: u16) -> Result<Port, String> {
    Port::new(number).ok_or_else(|| "0 is not a port".to_owned())
}

fn key(realm: Option<Text>, text: String) -> Result<Key, String> {
    let realm = match realm {
        None => Realm::User,
        Some(directory) => Realm::Project(directory.path()?),
    };
    if text.is_empty() || text.len() > Key::MAX_LEN || text.chars().any(char::is_control) {
        let most = Key::MAX_LEN;
        return Err(format!("a key has 1 to {most} bytes and no control characters"));
    }
    Ok(Key { realm, text })
}

fn parsed<T: FromStr<Err: ToString>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reservation::Scope;
    use crate::time::Timestamp;

    fn holdings() -> Holdings {
        let raw = |bytes: &[u8]| PathBuf::from(OsString::from_vec(bytes.to_vec()));
        let plain = Reservation::sample();
        let odd = Reservation {
            port: Port::MIN,
            key: Key { realm: Realm::Project(raw(b"/w\xff")), text: "k%FF".to_owned() },
            scope: Scope::Project,
            directory: raw(b"/work/od\nd \xff\xfe"),
            project: Some("shop \u{9b}x".replace('\u{9b}', "ü").parse().unwrap()),
            lease: Lease::Ephemeral,
            locked: true,
            owner: Some(Owner {
                pid: 7,
                start: u64::MAX,
                boot: "b".to_owned(),
                namespace: 1 << 40,
                started_at: Timestamp::from_millis(1),
            }),
            created_at: Timestamp::from_millis(1_795_274_034_123),
            last_used_at: Timestamp::MAX,
            ttl: Some(Duration::from_millis(1)),
            ..plain.clone()
        };
        let released = ReleasedPort {
            port: Port::MAX,
            key: odd.key.clone(),
            released_at: Timestamp::default(),
        };
        Holdings { reservations: vec![odd, plain], released: vec![released] }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let holdings = holdings();
        let document = holdings.document();
        assert_eq!(document["reservations"][0]["directory"]["bytes"], "2f776f726b2f6f640a6420fffe");
        assert_eq!(Holdings::read(document.to_string().as_bytes()), Ok(holdings));
    }

    #[test]
    fn what_is_no_export_says_where_it_is_wrong() {
        let with = |change: &dyn Fn(&mut Value)| {
            let mut document = holdings().document();
            change(&mut document);
            Holdings::read(document.to_string().as_bytes()).unwrap_err()
        };
        let row = |name: &str, value: Value| {
            with(&|document| document["reservations"][1][name] = value.clone())
        };
        for (error, expected) in [
            (row("port", json!(0)), "reservations[1]: 0 is not a port"),
            (row("port", json!(65536)), "u16"),
            (row("directory", json!("work")), "reservations[1]: `work` is not an absolute path"),
            (row("directory", json!({ "bytes": "2f0" })), "no bytes in hexadecimal"),
            (row("directory", json!({ "bytes": "2fzz" })), "no bytes in hexadecimal"),
            (row("directory", json!({ "bytes": "2f00" })), "is not an absolute path"),
            (row("service", json!("8080")), "a number would be taken for a port"),
            (row("key", json!("a\nb")), "no control characters"),
            (row("lease", json!("ephemeral")), "an ephemeral lease needs an owner"),
            (row("created_at", json!("yesterday")), "reservations[1]: "),
            (row("colour", json!("red")), "unknown field `colour`"),
            (with(&|document| document["version"] = json!(2)), "version 2 is not known"),
            (with(&|document| document["version"] = Value::Null), "it is no export of hythe"),
            (with(&|document| document["released"] = Value::Null), "invalid type: null"),
        ] {
            assert!(error.contains(expected), "{error:?} says nothing of {expected:?}");
        }
    }

    #[test]
    fn half_a_document_is_none() {
        let text = holdings().document().to_string();
        for end in 0..text.len() {
            assert!(Holdings::read(&text.as_bytes()[..end]).is_err(), "{end}");
        }
    }
}

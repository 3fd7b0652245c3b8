//! portpls 1: `~/.local/share/portpls/allocations.json` and `~/.config/portpls/config.json`.
//!
//! A reservation is a directory and a name. What its scan found without a directory is called
//! `(unknown:PORT)`.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::{ImportError, alien};
use super::settings::{Draft, Translation, range, string};
use super::{Entry, Fit, Record, Unfit, directory, files, port};
use crate::time::TimeError;

/// The name of the file of reservations.
pub(super) const ALLOCATIONS: &str = "allocations.json";

const SETTINGS: &str = "config.json";

#[derive(Deserialize)]
struct File {
    version: Option<i64>,
    allocations: Map<String, Value>,
}

#[derive(Deserialize)]
struct Allocation {
    directory: String,
    #[serde(default)]
    name: String,
    assigned_at: String,
    last_used_at: String,
    #[serde(default)]
    locked: bool,
}

/// The entries of the file, by port; fails when it is something else.
pub(super) fn entries(bytes: &[u8]) -> Result<Vec<Entry>, String> {
    let file: File = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if let Some(version) = file.version.filter(|version| *version != 1) {
        return Err(format!("version {version} is not known: expected 1"));
    }
    let mut entries: Vec<_> =
        file.allocations.iter().map(|(key, value)| entry(key, value)).collect();
    entries.sort_by_key(|entry| entry.port);
    Ok(entries)
}

fn entry(key: &str, value: &Value) -> Entry {
    let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
    let what = format!("{} {}", text("directory"), text("name"));
    let number = key.parse().ok().and_then(port);
    let record = match number {
        Some(_) => record(value),
        None => Err(Unfit::Lost(format!("{key:?} is not a port"))),
    };
    Entry { what: what.trim_end().to_owned(), port: number, record }
}

fn record(value: &Value) -> Fit {
    let lost = |why: String| Unfit::Lost(why);
    let allocation = Allocation::deserialize(value).map_err(|error| lost(error.to_string()))?;
    if allocation.directory.starts_with("(unknown:") {
        return Err(Unfit::Nothing("nobody knows whose it was".to_owned()));
    }
    let time = |text: &str| text.parse().map_err(|error: TimeError| lost(error.to_string()));
    let belongs = directory(&allocation.directory)?;
    let (assigned, used) = (time(&allocation.assigned_at)?, time(&allocation.last_used_at)?);
    let record = Record::new(belongs, &allocation.name, assigned, used)?;
    Ok(Record { locked: allocation.locked, ..record })
}

pub(super) fn translate(path: &Path) -> Result<Translation, ImportError> {
    let file = files::within(path, SETTINGS)?;
    let bytes = files::read(&file)?;
    settings(&bytes, &file).map_err(|why| alien(&file, why))
}

#[derive(Deserialize)]
struct Settings {
    port_start: Option<i64>,
    port_end: Option<i64>,
    freeze_period: Option<String>,
    allocation_ttl: Option<String>,
    log_file: Option<String>,
}

pub(super) fn settings(bytes: &[u8], path: &Path) -> Result<Translation, String> {
    let settings: Settings = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let mut draft = Draft::new("config.toml", "portpls", Some(path));
    let (first, last) = (settings.port_start.unwrap_or(20000), settings.port_end.unwrap_or(22000));
    draft.set("ports", "range", &string(&range(first, last)?), "port_start, port_end");
    let known = |text: &str| match text {
        "0" | "" => Some("0s".to_owned()),
        text => humantime::parse_duration(text).is_ok().then(|| text.to_owned()),
    };
    if let Some(freeze) = &settings.freeze_period {
        match known(freeze) {
            Some(freeze) => draft.set("ports", "freeze", &string(&freeze), "freeze_period"),
            None => draft.remark(format!("freeze_period: {freeze:?} is no duration.")),
        }
    }
    // What never expires there is not released here for being unused.
    match settings.allocation_ttl.as_deref().map(|ttl| (ttl, known(ttl))) {
        None => {}
        Some((_, Some(ttl))) if ttl == "0s" => {
            draft.set("strategy", "cleanup", "[\"path-sticky\", \"pid-reap\"]", "allocation_ttl");
        }
        Some((_, Some(ttl))) => {
            draft.set("plugins.ttl.options", "persistent", &string(&ttl), "allocation_ttl");
        }
        Some((ttl, None)) => draft.remark(format!("allocation_ttl: {ttl:?} is no duration.")),
    }
    if settings.log_file.is_some_and(|file| !file.is_empty()) {
        draft.remark("log_file: `hythe log` shows what happened; the ledger remembers it.");
    }
    Ok(draft.finish())
}

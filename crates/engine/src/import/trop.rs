//! trop 0.2: `trop.db` and `config.yaml` in `$TROP_DATA_DIR` or `~/.trop`, and a project's `trop.yaml`.
//!
//! A reservation is a path, absolute, and a tag or none. The schema is version 1 as trop 0.2.0 writes
//! it, where no tag is NULL, or 2, where it is empty. Times are seconds of Unix time.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::database::{Cell, Database};
use super::error::{ImportError, alien};
use super::settings::{Draft, Translation, range, service_table, string};
use super::{Entry, Fit, Record, Unfit, directory, files, port, project, service};
use crate::reservation::Label;
use crate::time::Timestamp;

/// The name of the database.
pub(super) const DATABASE: &str = "trop.db";

const SETTINGS: &str = "config.yaml";

/// What trop chooses ports from unless it is told otherwise.
const BUILT_IN: (i64, i64) = (5000, 7000);

pub(super) fn read(path: &Path) -> Result<Vec<Entry>, ImportError> {
    if is_yaml(path) {
        let why = "it holds settings, not reservations: `--settings` translates them";
        return Err(alien(path, why.to_owned()));
    }
    let database = Database::open(path)?;
    let metadata = database.rows("metadata", &["key", "value"])?;
    let version = metadata.iter().find(|row| row[0].text() == Some("schema_version"));
    match version.and_then(|row| row[1].text()) {
        Some("1" | "2") => {}
        other => {
            let version = other.unwrap_or("none");
            return Err(alien(path, format!("schema version {version} is not known")));
        }
    }
    let columns = ["port", "path", "tag", "project", "task", "created_at", "last_used_at"];
    let rows = database.rows("reservations", &columns)?;
    Ok(rows.iter().map(|row| entry(row)).collect())
}

/// A row, in the order of its columns.
pub(super) fn entry(row: &[Cell]) -> Entry {
    let text = |at: usize| row.get(at).and_then(Cell::text);
    let what = [text(1), text(2)].map(Option::unwrap_or_default);
    Entry {
        what: what.join(" ").trim_end().to_owned(),
        port: row.first().and_then(Cell::integer).and_then(port),
        record: record(row),
    }
}

fn record(row: &[Cell]) -> Fit {
    let odd = || Unfit::Lost("its row is not one of trop's".to_owned());
    let [_, path, tag, project, task, created_at, last_used_at] = row else { return Err(odd()) };
    let label = |cell: &Cell| cell.text().map(Label::nearest).ok_or_else(odd);
    let seconds = |cell: &Cell| {
        let millis = cell.integer().map(|seconds| seconds.saturating_mul(1000));
        millis.map(Timestamp::from_millis).ok_or_else(odd)
    };
    let belongs = directory(path.text().ok_or_else(odd)?)?;
    let tag = tag.text().ok_or_else(odd)?;
    let record = Record::new(belongs, tag, seconds(created_at)?, seconds(last_used_at)?)?;
    Ok(Record { project: label(project)?, task: label(task)?, ..record })
}

pub(super) fn translate(path: &Path) -> Result<Translation, ImportError> {
    let directory = files::is_directory(path)?;
    let file = if directory { path.join(SETTINGS) } else { path.to_owned() };
    let bytes = files::kept(&file)?.unwrap_or_default();
    let users = directory || file.file_name().is_some_and(|name| name == SETTINGS);
    let settings = settings(&bytes, users, &file);
    settings.map_err(|why| alien(&file, why))
}

/// The settings of the user's `config.yaml`, or of a project's `trop.yaml`.
pub(super) fn settings(bytes: &[u8], users: bool, path: &Path) -> Result<Translation, String> {
    let text = str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let settings: Option<Settings> = match text.trim().is_empty() {
        true => None,
        false => serde_saphyr::from_str(text)
            .map_err(|error: serde_saphyr::Error| error.without_snippet().to_string())?,
    };
    let settings = settings.unwrap_or_default();
    let file = if users { "config.toml" } else { "hythe.toml" };
    let mut draft = Draft::new(file, "trop", (!bytes.is_empty()).then_some(path));
    settings.ports(users, &mut draft)?;
    settings.everywhere(users, &mut draft);
    if users {
        settings.cleanup(&mut draft);
    } else {
        settings.group(&mut draft)?;
    }
    settings.remarks(users, &mut draft);
    Ok(draft.finish())
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    project: Option<String>,
    ports: Option<Ports>,
    excluded_ports: Option<Vec<Exclusion>>,
    cleanup: Option<Cleanup>,
    occupancy_check: Option<BTreeMap<String, Option<bool>>>,
    reservations: Option<Group>,
    disable_autoinit: Option<bool>,
    disable_autoprune: Option<bool>,
    disable_autoexpire: Option<bool>,
    allow_unrelated_path: Option<bool>,
    allow_change_project: Option<bool>,
    allow_change_task: Option<bool>,
    allow_change: Option<bool>,
    maximum_lock_wait_seconds: Option<u64>,
    output_format: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ports {
    min: i64,
    max: Option<i64>,
    max_offset: Option<i64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Exclusion {
    Port(i64),
    Range { start: i64, end: i64 },
    Text(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cleanup {
    expire_after_days: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    base: Option<u16>,
    services: BTreeMap<String, Service>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Service {
    offset: Option<u16>,
    preferred: Option<u16>,
    env: Option<String>,
}

impl Settings {
    fn ports(&self, users: bool, draft: &mut Draft) -> Result<(), String> {
        let (first, last, origin) = match &self.ports {
            Some(Ports { min, max: Some(max), .. }) => (*min, *max, "ports.min, ports.max"),
            Some(Ports { min, max_offset: Some(offset), .. }) => {
                (*min, min.saturating_add(*offset), "ports.min, ports.max_offset")
            }
            Some(Ports { min, .. }) => (*min, BUILT_IN.1, "ports.min"),
            None if users => (BUILT_IN.0, BUILT_IN.1, "built into trop"),
            None => return Ok(()),
        };
        draft.set("ports", "range", &string(&range(first, last)?), origin);
        if !users {
            draft.remark("A project's ports.range has to lie inside that of your config.toml.");
        }
        Ok(())
    }

    /// What may stand in a user's file and in a project's.
    fn everywhere(&self, users: bool, draft: &mut Draft) {
        if let Some(name) = self.project.as_deref().filter(|_| !users) {
            match project(name) {
                Ok(name) => draft.set("", "project", &string(name.as_str()), "project"),
                Err(_) => draft.remark("project: it is no name."),
            }
        }
        let mut excluded = Vec::new();
        for exclusion in self.excluded_ports.iter().flatten() {
            match exclusion.written() {
                Ok(written) => excluded.push(written),
                Err(why) => draft.remark(format!("excluded_ports: {why}.")),
            }
        }
        if !excluded.is_empty() {
            let list = format!("[{}]", excluded.join(", "));
            draft.set("ports", "exclude", &list, "excluded_ports");
        }
    }

    /// What is the user's alone to say.
    fn cleanup(&self, draft: &mut Draft) {
        let on = |switch: Option<bool>| switch == Some(true);
        let (prune, expire) = (!on(self.disable_autoprune), !on(self.disable_autoexpire));
        if !prune || !expire {
            let policies = [("path-sticky", prune), ("pid-reap", true), ("ttl", expire)];
            let policies = policies.into_iter().filter(|(_, selected)| *selected);
            let policies: Vec<_> = policies.map(|(name, _)| string(name)).collect();
            let origin = "disable_autoprune, disable_autoexpire";
            draft.set("strategy", "cleanup", &format!("[{}]", policies.join(", ")), origin);
        }
        if let Some(days) = self.cleanup.as_ref().and_then(|cleanup| cleanup.expire_after_days) {
            let origin = "cleanup.expire_after_days";
            draft.set("plugins.ttl.options", "persistent", &string(&format!("{days}d")), origin);
        }
        if let Some(seconds) = self.maximum_lock_wait_seconds {
            let value = string(&format!("{seconds}s"));
            draft.set("ledger", "lock_timeout", &value, "maximum_lock_wait_seconds");
        }
    }

    /// The services of a project.
    fn group(&self, draft: &mut Draft) -> Result<(), String> {
        let Some(group) = &self.reservations else { return Ok(()) };
        let offsets = group.services.values().filter_map(|service| service.offset);
        let lowest = offsets.min();
        for (tag, definition) in &group.services {
            let (name, _) = service(tag)?;
            let table = service_table(name.as_str());
            let at = |field: &str| format!("reservations.services.{tag}.{field}");
            let lowest = definition.offset.filter(|offset| Some(*offset) == lowest);
            let based = lowest.and_then(|offset| group.base?.checked_add(offset));
            match (definition.preferred, based) {
                (Some(port), _) => draft.set(&table, "port", &port.to_string(), &at("preferred")),
                (None, Some(port)) => {
                    draft.set(&table, "port", &port.to_string(), "reservations.base");
                }
                (None, None) => {}
            }
            if let Some(offset) = definition.offset {
                draft.set(&table, "offset", &offset.to_string(), &at("offset"));
            }
            if let Some(variable) = &definition.env {
                draft.set(&table, "env", &string(variable), &at("env"));
            }
        }
        Ok(())
    }

    /// What nothing stands for.
    fn remarks(&self, users: bool, draft: &mut Draft) {
        let said = [
            (self.disable_autoinit.is_some(), "disable_autoinit: nothing has to be set up."),
            (
                self.allow_unrelated_path.is_some()
                    || self.allow_change.is_some()
                    || self.allow_change_project.is_some()
                    || self.allow_change_task.is_some(),
                "allow_*: project and task may always change; -C DIR works for another directory.",
            ),
            (self.output_format.is_some(), "output_format: `hythe list --format`."),
            (
                self.occupancy_check.is_some(),
                "occupancy_check: every address of the machine is tried, and what cannot be is not.",
            ),
            (
                !users && (self.cleanup.is_some() || self.maximum_lock_wait_seconds.is_some()),
                "cleanup, maximum_lock_wait_seconds: yours alone to say, in your config.toml.",
            ),
            (
                users && (self.project.is_some() || self.reservations.is_some()),
                "project, reservations: a project's to say, in its hythe.toml.",
            ),
        ];
        said.into_iter().filter(|(said, _)| *said).for_each(|(_, remark)| draft.remark(remark));
    }
}

impl Exclusion {
    /// The port or the range, as Hythe's configuration writes it.
    fn written(&self) -> Result<String, String> {
        let single = |number: i64| match port(number) {
            Some(port) => Ok(port.to_string()),
            None => Err(format!("{number} is not a port")),
        };
        match self {
            Self::Port(number) => single(*number),
            Self::Range { start, end } => range(*start, *end).map(|range| string(&range)),
            Self::Text(text) => {
                let number =
                    |text: &str| text.trim().parse().map_err(|_| format!("`{text}` is not a port"));
                match text.split_once("..") {
                    Some((start, end)) => {
                        range(number(start)?, number(end)?).map(|range| string(&range))
                    }
                    None => single(number(text)?),
                }
            }
        }
    }
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

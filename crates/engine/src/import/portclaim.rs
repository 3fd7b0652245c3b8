//! portclaim: `~/.portclaim/claims/PORT.json` and `~/.portclaim/config.toml`.
//!
//! A reservation is a project and a service. Its process is a bare pid, most often of a command that
//! has ended long ago.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::error::{ImportError, alien, fail, unreadable};
use super::settings::{Draft, Translation, range, service_table, string};
use super::{Belongs, Entry, Fit, ImportProblem, Record, Unfit, files, port, project, service};
use crate::reservation::{Label, Lease};
use crate::time::{TimeError, Timestamp};

const CLAIMS: &str = "claims";
const SETTINGS: &str = "config.toml";

/// What portclaim chooses ports from unless it is told otherwise.
const BUILT_IN: &str = "3000-9999";

/// The most files that are looked at: there are no more ports.
const MAX_FILES: usize = 65_535;

pub(super) fn read(path: &Path) -> Result<Vec<Entry>, ImportError> {
    if !files::is_directory(path)? {
        return Ok(vec![entry(&files::read(path)?)]);
    }
    let claims = match path.ends_with(CLAIMS) {
        true => path.to_owned(),
        false => path.join(CLAIMS),
    };
    let listed = fs::read_dir(&claims).map_err(|error| unreadable(&claims, error))?;
    let mut named = Vec::new();
    for file in listed {
        let file = file.map_err(|error| unreadable(&claims, error))?.path();
        // Beside the claims lie what interrupted writes left behind: `PORT.json.tmp`.
        if file.extension() == Some(OsStr::new("json")) {
            named.push(file);
        }
        if named.len() > MAX_FILES {
            return Err(alien(&claims, "it has more files than there are ports".to_owned()));
        }
    }
    named.sort();
    let read = |file: &std::path::PathBuf| match files::kept(file)? {
        Some(bytes) => Ok(entry(&bytes)),
        // Released meanwhile, or by the next look.
        None => Err(fail(file, ImportProblem::Busy)),
    };
    let mut entries = named.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(|entry| entry.port);
    Ok(entries)
}

#[derive(Deserialize)]
struct Claim {
    port: i64,
    pid: Option<i64>,
    agent: Option<String>,
    project: Option<String>,
    service: String,
    claimed_at: String,
    lease: Option<String>,
}

/// The claim that a file holds.
pub(super) fn entry(bytes: &[u8]) -> Entry {
    let claim: Claim = match serde_json::from_slice(bytes) {
        Ok(claim) => claim,
        Err(error) => {
            let record = Err(Unfit::Lost(format!("it is no claim: {error}")));
            return Entry { what: "a damaged claim".to_owned(), port: None, record };
        }
    };
    Entry {
        what: format!("{}/{}", claim.project.as_deref().unwrap_or_default(), claim.service),
        port: port(claim.port),
        record: record(&claim),
    }
}

fn record(claim: &Claim) -> Fit {
    let name = project(claim.project.as_deref().unwrap_or_default())?;
    let at = claim.claimed_at.parse();
    let at: Timestamp = at.map_err(|error: TimeError| Unfit::Lost(error.to_string()))?;
    let pid = claim.pid.and_then(|pid| u32::try_from(pid).ok());
    let lease = match claim.lease.as_deref() {
        Some("persistent") => Lease::Persistent,
        _ => Lease::Ephemeral,
    };
    Ok(Record {
        project: Some(name.clone()),
        agent: claim.agent.as_deref().and_then(Label::nearest),
        lease,
        process: pid.map(|pid| (pid, at)),
        ..Record::new(Belongs::Project(name), &claim.service, at, at)?
    })
}

pub(super) fn translate(path: &Path) -> Result<Translation, ImportError> {
    let file = match files::is_directory(path)? {
        true => path.join(SETTINGS),
        false => path.to_owned(),
    };
    let bytes = files::kept(&file)?.unwrap_or_default();
    settings(&bytes, &file).map_err(|why| alien(&file, why))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Settings {
    pool: Pool,
    projects: BTreeMap<String, Project>,
    services: BTreeMap<String, Service>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Pool {
    range: Option<String>,
    exclude: Vec<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Project {
    prefer: Option<i64>,
    range: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Service {
    port: Option<i64>,
    lease: Option<String>,
}

pub(super) fn settings(bytes: &[u8], path: &Path) -> Result<Translation, String> {
    let text = str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let settings: Settings = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    let mut draft = Draft::new("config.toml", "portclaim", (!bytes.is_empty()).then_some(path));
    match &settings.pool.range {
        Some(text) => draft.set("ports", "range", &string(&ports(text)?), "pool.range"),
        None => draft.set("ports", "range", &string(BUILT_IN), "built into portclaim"),
    }
    let excluded = settings.pool.exclude.iter().map(|number| match port(*number) {
        Some(port) => Ok(port.to_string()),
        None => Err(format!("{number} is not a port")),
    });
    let excluded = excluded.collect::<Result<Vec<_>, _>>()?;
    // The port of a service is tried first there, excluded or not; here what is excluded is never given.
    let wanted: Vec<_> = settings.services.values().filter_map(|service| service.port).collect();
    let wanted = |text: &String| wanted.iter().any(|port| port.to_string() == *text);
    let (own, excluded): (Vec<_>, Vec<_>) = excluded.into_iter().partition(wanted);
    if !excluded.is_empty() {
        let list = format!("[{}]", excluded.join(", "));
        draft.set("ports", "exclude", &list, "pool.exclude");
    }
    for port in own {
        draft.remark(format!("pool.exclude: {port} is the port of a service, and not excluded."));
    }
    for (name, definition) in &settings.services {
        let (known, _) = service(name)?;
        let table = service_table(known.as_str());
        let at = |field: &str| format!("services.{name}.{field}");
        draft.set(&table, "scope", &string("project"), "a claim is a project's");
        if let Some(number) = definition.port {
            let port = port(number).ok_or_else(|| format!("{number} is not a port"))?;
            draft.set(&table, "port", &port.to_string(), &at("port"));
        }
        match definition.lease.as_deref() {
            Some(lease @ ("persistent" | "ephemeral")) => {
                draft.set(&table, "lease", &string(lease), &at("lease"));
            }
            Some(other) => draft.remark(format!("{}: {other:?} is no lease.", at("lease"))),
            None => {}
        }
    }
    for (name, definition) in &settings.projects {
        draft.remark(projects_own(name, definition)?);
    }
    Ok(draft.finish())
}

/// What a project would say for itself.
fn projects_own(name: &str, definition: &Project) -> Result<String, String> {
    let mut lines = vec![
        format!("In the hythe.toml of the project {name:?}, which is a file of its own:"),
        format!("    project = {}", string(name)),
    ];
    if let Some(range) = &definition.range {
        lines.extend(["    [ports]".to_owned(), format!("    range = {}", string(&ports(range)?))]);
    }
    if let Some(prefer) = definition.prefer {
        let port = port(prefer).ok_or_else(|| format!("{prefer} is not a port"))?;
        lines.extend(["    [services.main]".to_owned(), format!("    port = {port}")]);
    }
    Ok(lines.join("\n"))
}

/// A range as portclaim writes it.
fn ports(text: &str) -> Result<String, String> {
    let wrong = || format!("{text:?} is no range of ports");
    let (first, last) = text.split_once('-').ok_or_else(wrong)?;
    let number = |text: &str| text.trim().parse().map_err(|_| wrong());
    range(number(first)?, number(last)?)
}

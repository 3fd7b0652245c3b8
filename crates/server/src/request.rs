//! What may be asked for, in JSON, and what that means to the engine. The HTTP API and MCP take the same
//! objects; their schemas are derived from these types.

mod agent;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use hythe_document::Failure;
use hythe_engine::config::{OnConflict, Origin, Overrides, Set};
use hythe_engine::{
    CleanupRequest, EventFilter, EventKind, Label, Lease, ListFilter, Port, PortRange,
    ReleaseRequest, ReserveRequest, Scope, Service, Target,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::verbs::Here;
pub use agent::{Explain, Find, ReleaseAny};
use values::{duration, number, text};

/// Asks for the port of each service of a directory, reserving what is missing: all of them or none.
/// The same directory and service always get the same port.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Reserve {
    /// The absolute path of the directory to work for.
    #[schemars(schema_with = "values::directory")]
    pub directory: Option<PathBuf>,
    /// The services; `main` when there is none.
    #[serde(deserialize_with = "values::list")]
    #[schemars(schema_with = "values::services")]
    pub services: Vec<Service>,
    /// What the reservations belong to: the directory's checkout, the project, or the machine.
    #[serde(deserialize_with = "text")]
    #[schemars(schema_with = "values::scope")]
    pub scope: Option<Scope>,
    /// Ports to try first, for a single service.
    #[serde(deserialize_with = "values::numbers")]
    #[schemars(schema_with = "values::ports")]
    pub prefer: Vec<Port>,
    /// Choose a new port in this range, such as `20000-20999`.
    #[serde(deserialize_with = "text")]
    #[schemars(schema_with = "values::range")]
    pub range: Option<PortRange>,
    /// The project it belongs to.
    #[serde(deserialize_with = "text")]
    #[schemars(schema_with = "values::label")]
    pub project: Option<Label>,
    /// The task it is for.
    #[serde(deserialize_with = "text")]
    #[schemars(schema_with = "values::label")]
    pub task: Option<Label>,
    /// The agent that asks.
    #[serde(deserialize_with = "text")]
    #[schemars(schema_with = "values::label")]
    pub agent: Option<Label>,
    /// How long it is meant to last: for good, or as long as the process `pid` lives.
    #[serde(deserialize_with = "text")]
    #[schemars(schema_with = "values::lease")]
    pub lease: Option<Lease>,
    /// The process that owns it.
    #[schemars(range(min = 1))]
    pub pid: Option<u32>,
    /// Let cleanup release it when it has not been used for this long, such as `7d`.
    #[serde(deserialize_with = "duration")]
    #[schemars(schema_with = "values::duration_schema")]
    pub ttl: Option<Duration>,
    /// Lock it as well: no policy releases it, and it never moves.
    pub lock: bool,
    /// Give it another port than it has.
    pub reallocate: bool,
    /// What happens when somebody else's process holds the reserved port.
    #[serde(deserialize_with = "text")]
    #[schemars(schema_with = "values::on_conflict")]
    pub on_conflict: Option<OnConflict>,
    /// Say what would be, and write nothing.
    pub dry_run: bool,
    /// Tell the whole decision.
    pub explain: bool,
}

impl Reserve {
    /// For whom, and what, the engine is asked.
    ///
    /// # Errors
    ///
    /// When it makes no sense.
    pub fn read(self) -> Result<(Here, ReserveRequest), Failure> {
        let mut services = self.services;
        if services.is_empty() {
            services.push(Service::default());
        }
        if !self.prefer.is_empty() && services.len() > 1 {
            return Err(Failure::usage(
                "`prefer` is for one service at a time",
                Some("[services.NAME] port = PORT in hythe.toml prefers a port for each"),
            ));
        }
        if self.lease == Some(Lease::Ephemeral) && self.pid.is_none() {
            return Err(Failure::usage(
                "an ephemeral lease belongs to a process, and none is named",
                Some(r#"{"lease": "ephemeral", "pid": PID}"#),
            ));
        }
        let overrides = Overrides {
            range: set("range", self.range),
            on_conflict: set("on_conflict", self.on_conflict),
            project: set("project", self.project),
            ..Overrides::default()
        };
        let here = Here { directory: Some(absolute(self.directory)?), overrides };
        let request = ReserveRequest {
            services,
            scope: self.scope,
            prefer: self.prefer,
            task: self.task,
            agent: self.agent,
            lease: self.lease,
            pid: self.pid,
            ttl: self.ttl,
            lock: self.lock,
            reallocate: self.reallocate,
            dry_run: self.dry_run,
            explain: self.explain,
            ..ReserveRequest::default()
        };
        Ok((here, request))
    }
}

/// Asks for reservations to be given back: of services, or everything of a directory.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Release {
    /// The absolute path of the directory to work for.
    #[schemars(schema_with = "values::directory")]
    pub directory: Option<PathBuf>,
    /// The services, as they are reserved there; `main` when nothing else is said.
    #[serde(deserialize_with = "values::list")]
    #[schemars(schema_with = "values::services")]
    pub services: Vec<Service>,
    /// What the reservations belong to.
    #[serde(deserialize_with = "text")]
    #[schemars(schema_with = "values::scope")]
    pub scope: Option<Scope>,
    /// Everything of this checkout or directory.
    pub all: bool,
    /// Everything of this directory and the directories below it, in this checkout.
    pub recursive: bool,
    /// What is locked, or belongs to another directory or checkout, as well.
    pub force: bool,
    /// Say what would be released, and write nothing.
    pub dry_run: bool,
}

impl Release {
    /// For whom, and what, the engine is asked.
    ///
    /// # Errors
    ///
    /// When it makes no sense.
    pub fn read(self) -> Result<(Here, ReleaseRequest), Failure> {
        let named = !self.services.is_empty() || self.scope.is_some();
        if usize::from(named) + usize::from(self.all) + usize::from(self.recursive) > 1 {
            return Err(Failure::usage(
                "`services`, `all` and `recursive` each say what is released",
                Some(r#"{"directory": "/path", "all": true}"#),
            ));
        }
        let target = match (self.recursive, self.all, self.services) {
            (true, ..) => Target::Below,
            (_, true, _) => Target::Here,
            (.., services) if services.is_empty() => {
                Target::Services(vec![Service::default()], self.scope)
            }
            (.., services) => Target::Services(services, self.scope),
        };
        let here = Here::at(absolute(self.directory)?);
        let Self { force, dry_run, .. } = self;
        Ok((here, ReleaseRequest { target, elsewhere: false, force, dry_run }))
    }
}

/// Asks for one reservation to be given back, wherever it belongs.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReleasePort {
    /// Although it is locked.
    pub force: bool,
    /// Say what would be released, and write nothing.
    pub dry_run: bool,
}

impl ReleasePort {
    /// What the engine is asked.
    #[must_use]
    pub fn read(self, port: Port) -> ReleaseRequest {
        let Self { force, dry_run } = self;
        ReleaseRequest { target: Target::Ports(vec![port]), elsewhere: true, force, dry_run }
    }
}

/// Asks for a reservation to be locked or unlocked.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// As it is to be.
    pub locked: bool,
}

/// Asks for the cleanup policies to be run now.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cleanup {
    /// Only these policies, by name.
    pub policies: Vec<String>,
    /// Release as well what has not been used for this long, such as `30d`.
    #[serde(deserialize_with = "duration")]
    #[schemars(schema_with = "values::duration_schema")]
    pub older_than: Option<Duration>,
    /// Say what would be released, and write nothing.
    pub dry_run: bool,
}

impl From<Cleanup> for CleanupRequest {
    fn from(cleanup: Cleanup) -> Self {
        let Cleanup { policies, older_than, dry_run } = cleanup;
        Self { policies, older_than, dry_run }
    }
}

/// Which reservations are listed. Every condition that is given must hold.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct List {
    /// Only of this project.
    #[serde(deserialize_with = "text")]
    #[schemars(schema_with = "values::label")]
    pub project: Option<Label>,
    /// Only of this service.
    #[serde(deserialize_with = "text")]
    #[schemars(schema_with = "values::service")]
    pub service: Option<Service>,
    /// Only of this agent.
    #[serde(deserialize_with = "text")]
    #[schemars(schema_with = "values::label")]
    pub agent: Option<Label>,
    /// Only of this directory and those below it: an absolute path.
    #[schemars(schema_with = "values::directory")]
    pub below: Option<PathBuf>,
    /// Only of this scope.
    #[serde(deserialize_with = "text")]
    #[schemars(schema_with = "values::scope")]
    pub scope: Option<Scope>,
}

impl List {
    /// What the engine is asked.
    ///
    /// # Errors
    ///
    /// When the directory is not absolute.
    pub fn read(self) -> Result<ListFilter, Failure> {
        let Self { project, service, agent, below, scope } = self;
        let directory = below.map(|below| absolute(Some(below)).map(existing)).transpose()?;
        Ok(ListFilter { project, service, agent, directory, scope })
    }
}

/// Which events are told, oldest first. Every condition that is given must hold.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Events {
    /// Only events with a higher number than this.
    #[serde(deserialize_with = "number")]
    pub after: Option<i64>,
    /// At most this many: the next ones when `after` is said, else the latest. 100 when nothing is
    /// said.
    #[serde(deserialize_with = "number")]
    #[schemars(range(min = 1, max = 10_000))]
    pub limit: Option<u32>,
    /// Only of this port.
    #[serde(deserialize_with = "text")]
    #[schemars(schema_with = "values::port")]
    pub port: Option<Port>,
    /// Only of this service.
    #[serde(deserialize_with = "text")]
    #[schemars(schema_with = "values::service")]
    pub service: Option<Service>,
    /// Only of this project.
    #[serde(deserialize_with = "text")]
    #[schemars(schema_with = "values::label")]
    pub project: Option<Label>,
    /// Only of this kind.
    #[serde(deserialize_with = "text")]
    #[schemars(schema_with = "values::kind")]
    pub kind: Option<EventKind>,
}

impl Events {
    /// What the engine is asked.
    ///
    /// # Errors
    ///
    /// When more is asked for than is told at once.
    pub fn read(self) -> Result<EventFilter, Failure> {
        let limit = self.limit.unwrap_or(100);
        if !(1..=10_000).contains(&limit) {
            return Err(Failure::usage(
                &format!("`limit` is {limit}: expected 1 to 10000"),
                Some("`after`, the number of the last event, asks for the next ones"),
            ));
        }
        Ok(EventFilter {
            after: self.after,
            limit: Some(limit),
            port: self.port,
            service: self.service,
            project: self.project,
            kind: self.kind,
            ..EventFilter::default()
        })
    }
}

/// Which picture is shown.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Map {
    /// Of this range instead of the one that the user's configuration says.
    #[serde(deserialize_with = "text")]
    #[schemars(schema_with = "values::range")]
    pub range: Option<PortRange>,
}

/// A directory that a request works for. Which one is never guessed.
fn absolute(directory: Option<PathBuf>) -> Result<PathBuf, Failure> {
    match directory {
        Some(directory) if directory.is_absolute() => Ok(directory),
        Some(directory) => Err(Failure::usage(
            &format!("the directory {} is not an absolute path", directory.display()),
            Some(r#"{"directory": "/path/of/the/checkout"}"#),
        )),
        None => Err(Failure::usage(
            "no directory is named to work for",
            Some(r#"{"directory": "/path/of/the/checkout"}"#),
        )),
    }
}

/// A directory as the ledger has it: without symbolic links where it exists.
fn existing(directory: PathBuf) -> PathBuf {
    directory.canonicalize().unwrap_or(directory)
}

pub(crate) fn set<T>(field: &'static str, value: Option<T>) -> Option<Set<T>> {
    value.map(|value| Set { value, origin: Origin::Request(field) })
}

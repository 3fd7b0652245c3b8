//! What an operation is asked for, and what it answers.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::Error;
use super::explain::Explanation;
use crate::observed::{Holder, Observed, Ownership};
use crate::port::{Port, PortError};
use crate::reservation::{Label, Lease, NameError, Reservation, Scope, Service};

/// Asks for the port of each service, reserving what is missing: all of them or none.
#[derive(Debug, Clone, Default)]
pub struct ReserveRequest {
    /// The services, each at most once.
    pub services: Vec<Service>,
    /// Services that are reserved with them, and that `server` does not serve.
    pub beside: Vec<Service>,
    /// What the reservations belong to; by default what the configuration says.
    pub scope: Option<Scope>,
    /// Ports to try first, for a request with a single service.
    pub prefer: Vec<Port>,
    /// The task; by default the linked worktree's name, or the branch.
    pub task: Option<Label>,
    /// The agent.
    pub agent: Option<Label>,
    /// The lease; by default what the configuration says.
    pub lease: Option<Lease>,
    /// The process that owns the reservations.
    pub pid: Option<u32>,
    /// The process that owns them if they are ephemeral and nothing else is said.
    pub parent: u32,
    /// A process that is about to serve on them. It owns what has no living owner, and makes
    /// ephemeral what is new, unless `lease` or the configuration says otherwise.
    pub server: Option<u32>,
    /// Their own time to live.
    pub ttl: Option<Duration>,
    /// Whether they are locked as well.
    pub lock: bool,
    /// Whether they get other ports than they have.
    pub reallocate: bool,
    /// Whether what does not belong to this directory alone keeps its port all the same.
    pub keep_shared: bool,
    /// Whether nothing is to be written.
    pub dry_run: bool,
    /// Whether the decision is to be explained.
    pub explain: bool,
}

impl ReserveRequest {
    /// The ports to try first for a service: those asked for, if it is asked for.
    pub(super) fn prefers(&self, service: &Service) -> &[Port] {
        if self.services.contains(service) { &self.prefer } else { &[] }
    }
}

/// The answer for one service.
#[derive(Debug, Clone)]
pub struct Reserved {
    /// What became of the request.
    pub outcome: Outcome,
    /// The reservation, and the world around it.
    pub observed: Observed,
    /// How it came about, where that was asked for.
    pub explanation: Option<Explanation>,
}

/// What became of a request for a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The key had a port already.
    Existing,
    /// The key got its first port.
    Created,
    /// A released key got its old port back.
    Returned,
    /// The key got another port than it had.
    Moved,
}

impl Outcome {
    /// The word that stands for it in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Existing => "existing",
            Self::Created => "created",
            Self::Returned => "returned",
            Self::Moved => "moved",
        }
    }
}

/// Asks for reservations to be given back.
#[derive(Debug, Clone, Default)]
pub struct ReleaseRequest {
    /// Which.
    pub target: Target,
    /// Whether those of other directories are meant as well.
    pub elsewhere: bool,
    /// Whether locked reservations and those of other directories are meant as well.
    pub force: bool,
    /// Whether nothing is to be written.
    pub dry_run: bool,
}

/// Which reservations an operation is about.
#[derive(Debug, Clone)]
pub enum Target {
    /// These services, as they are keyed here.
    Services(Vec<Service>, Option<Scope>),
    /// These ports.
    Ports(Vec<Port>),
    /// Everything that belongs to this directory.
    Here,
    /// Everything that belongs to this directory or one below it; of other checkouts only by force.
    Below,
    /// Everything that belongs to a project.
    Project(Label),
}

impl Default for Target {
    fn default() -> Self {
        Self::Services(vec![Service::default()], None)
    }
}

/// A port, or a service of this place. A service is no number, so that a text can only be one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// A port.
    Port(Port),
    /// A service.
    Service(Service),
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            text.parse().map(Self::Port).map_err(|error: PortError| error.to_string())
        } else {
            text.parse().map(Self::Service).map_err(|error: NameError| error.to_string())
        }
    }
}

/// A port that was asked for, and its reservation.
#[derive(Debug, Clone)]
pub(super) struct Sought {
    pub(super) port: Port,
    pub(super) reservation: Option<Reservation>,
}

impl Sought {
    pub(super) fn not_reserved(&self) -> Error {
        Error::NotFound {
            what: format!("port {} is not reserved", self.port),
            hint: Some("hythe list".to_owned()),
        }
    }
}

/// Which reservations are listed. Every condition that is given must hold.
#[derive(Debug, Clone, Default)]
pub struct ListFilter {
    /// The project.
    pub project: Option<Label>,
    /// The service.
    pub service: Option<Service>,
    /// The agent.
    pub agent: Option<Label>,
    /// The directory, or one below it.
    pub directory: Option<PathBuf>,
    /// The scope.
    pub scope: Option<Scope>,
}

impl ListFilter {
    pub(super) fn admits(&self, reservation: &Reservation) -> bool {
        let same =
            |wanted: &Option<Label>, found: &Option<Label>| wanted.is_none() || wanted == found;
        same(&self.project, &reservation.project)
            && same(&self.agent, &reservation.agent)
            && self.service.as_ref().is_none_or(|service| *service == reservation.service)
            && self.scope.is_none_or(|scope| scope == reservation.scope)
            && self
                .directory
                .as_ref()
                .is_none_or(|directory| reservation.directory.starts_with(directory))
    }
}

/// A reservation, the world around it, and who listens on its port.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The reservation, and the world around it.
    pub observed: Observed,
    /// Who listens on its port, as far as can be seen; `None` when that is nobody.
    pub holder: Option<Holder>,
    /// What is proven of each of them.
    pub ownership: Option<Ownership>,
}

/// Asks for the cleanup policies to be run now.
#[derive(Debug, Clone, Default)]
pub struct CleanupRequest {
    /// Only these policies, by name; all that the configuration selects when it is empty.
    pub policies: Vec<String>,
    /// Release as well what has not been used for this long.
    pub older_than: Option<Duration>,
    /// Whether nothing is to be written.
    pub dry_run: bool,
}

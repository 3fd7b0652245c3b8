//! What an operation is asked for, and what it answers.

use std::path::PathBuf;
use std::time::Duration;

use super::explain::Explanation;
use crate::observed::{Holder, Observed};
use crate::port::Port;
use crate::reservation::{Label, Lease, Scope, Service};

/// Asks for the port of each service, reserving what is missing: all of them or none.
#[derive(Debug, Clone, Default)]
pub struct ReserveRequest {
    /// The services, each at most once.
    pub services: Vec<Service>,
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
    /// Whether nothing is to be written.
    pub dry_run: bool,
    /// Whether the decision is to be explained.
    pub explain: bool,
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
    /// Everything that belongs to this directory or one below it.
    Below,
    /// Everything that belongs to a project.
    Project(Label),
}

impl Default for Target {
    fn default() -> Self {
        Self::Services(vec![Service::default()], None)
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
    pub(super) fn admits(&self, reservation: &crate::reservation::Reservation) -> bool {
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
    /// The processes that listen on its port, as far as they can be seen.
    pub holder: Option<Holder>,
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

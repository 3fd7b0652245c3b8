//! What an operation has to say beside its result. It is said while it happens, on stderr.

use std::fmt;
use std::path::PathBuf;

use crate::placement::Refusal;
use crate::port::Port;
use crate::reservation::Service;

/// Something worth knowing that does not stop the operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Another process holds the lock.
    Waiting {
        /// The lock file.
        lock: PathBuf,
    },
    /// A plugin is compiled, which takes a while.
    Compiling {
        /// Its name in the configuration.
        plugin: String,
    },
    /// Nobody listens yet, or still somebody does.
    WaitingFor {
        /// What is waited for.
        what: String,
    },
    /// Whose listener it is cannot be told, so that it counts as the reservation's own.
    ListenerUnknown {
        /// The port.
        port: Port,
        /// Who it is.
        holder: String,
    },
    /// A preferred port could not be had.
    PreferredRefused {
        /// The service it was wanted for.
        service: Service,
        /// The port.
        port: Port,
        /// Why not.
        refusal: Refusal,
        /// What more there is to say, such as who holds it.
        detail: Option<String>,
    },
    /// The key has another port than the one asked for.
    AlreadyReserved {
        /// The service.
        service: Service,
        /// The port it has.
        port: Port,
        /// The port that was asked for.
        asked: Port,
    },
    /// A reservation got another port, because somebody else's process holds the old one.
    Moved {
        /// The service.
        service: Service,
        /// The old port.
        from: Port,
        /// The new port.
        to: Port,
        /// Who holds the old one.
        holder: String,
    },
    /// A reservation keeps a port that somebody else's process holds.
    KeptHeld {
        /// The service.
        service: Service,
        /// The port.
        port: Port,
        /// Who holds it.
        holder: String,
        /// Whether it is kept because it is locked.
        locked: bool,
    },
    /// A port was given that could not be bound for a try: nothing is seen listening on it.
    Unprobed {
        /// The port.
        port: Port,
        /// Why it could not be tried.
        reason: String,
    },
    /// A port could not be kept until its server starts: somebody else may take it before.
    NotHeld {
        /// The service.
        service: Service,
        /// The port.
        port: Port,
        /// Why not.
        reason: String,
    },
    /// The use of a reservation could not be recorded.
    UseNotRecorded {
        /// Why.
        reason: String,
    },
    /// Cleanup on the side failed; nothing was released.
    CleanupFailed {
        /// Why.
        reason: String,
    },
    /// Cleanup on the side released reservations.
    CleanedUp {
        /// How many.
        count: usize,
    },
    /// A hook did not do its work. What it was told of has happened all the same.
    HookFailed {
        /// Where it is configured.
        hook: String,
        /// Its program.
        program: String,
        /// Why.
        reason: String,
    },
    /// A reservation was released while its server still runs.
    ReleasedWhileServed {
        /// The port.
        port: Port,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting { lock } => {
                write!(f, "waiting for another hythe process to let go of {}", lock.display())
            }
            Self::Compiling { plugin } => write!(f, "compiling plugin `{plugin}`, once"),
            Self::WaitingFor { what } => write!(f, "waiting for {what}"),
            Self::ListenerUnknown { port, holder } => {
                write!(f, "whether {holder} on port {port} is your server cannot be told")
            }
            Self::PreferredRefused { service, port, refusal, detail } => {
                write!(f, "`{service}` does not get its preferred port {port}: {refusal}")?;
                detail.as_ref().map_or(Ok(()), |detail| write!(f, " ({detail})"))
            }
            Self::AlreadyReserved { service, port, asked } => {
                write!(f, "`{service}` already has port {port}, not {asked}")
            }
            Self::Moved { service, from, to, holder } => {
                write!(f, "`{service}` moved from port {from} to {to}: {holder} holds {from}")
            }
            Self::KeptHeld { service, port, holder, locked } => {
                let why = if *locked { "it is locked" } else { "ports.on_conflict is `keep`" };
                write!(f, "`{service}` keeps port {port}, held by {holder}: {why}")
            }
            Self::Unprobed { port, reason } => {
                write!(f, "port {port} could not be tried ({reason}); nothing is listening on it")
            }
            Self::NotHeld { service, port, reason } => {
                write!(f, "port {port} of `{service}` is not held until it is served: {reason}")
            }
            Self::UseNotRecorded { reason } => {
                write!(f, "the use of this reservation was not recorded: {reason}")
            }
            Self::CleanupFailed { reason } => {
                write!(f, "cleanup failed and released nothing: {reason}")
            }
            Self::CleanedUp { count: 1 } => f.write_str("cleanup released 1 reservation"),
            Self::CleanedUp { count } => write!(f, "cleanup released {count} reservations"),
            Self::HookFailed { hook, program, reason } => {
                write!(f, "{hook}: hook `{program}` failed: {reason}")
            }
            Self::ReleasedWhileServed { port } => {
                write!(f, "port {port} was released while its server is still running")
            }
        }
    }
}

impl Notice {
    /// What to do about it, where something can be done.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::AlreadyReserved { service, asked, .. } => {
                Some(format!("hythe reserve {service} --prefer {asked} --reallocate"))
            }
            Self::PreferredRefused { port, refusal, .. } => match refusal {
                Refusal::Privileged | Refusal::BrowserBlocked | Refusal::Ephemeral => {
                    Some(format!("ports.allow = [{port}] in your config.toml allows it"))
                }
                Refusal::Reserved => Some(format!("hythe show {port}")),
                _ => None,
            },
            Self::ListenerUnknown { port, .. } => Some(format!("hythe show {port}")),
            Self::CleanedUp { .. } => Some("hythe log --kind released".to_owned()),
            Self::CleanupFailed { .. } => Some("hythe cleanup --dry-run".to_owned()),
            _ => None,
        }
    }
}

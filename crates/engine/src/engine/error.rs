//! Why an operation failed.

use std::io;
use std::path::{Path, PathBuf};

use super::strategy::COMMAND_LINE;
use crate::config::{ConfigError, EditError, Origin};
use crate::conformance::cases::CasesError;
use crate::import::{ImportError, ImportProblem};
use crate::ledger::{LedgerError, LedgerProblem};
use crate::lock::LockError;
use crate::placement::Refusal;
use crate::policy::{Failure, PolicyError};
use crate::port::PortRange;
use crate::reservation::Service;
use crate::shell;
use crate::wasm::{EncodeError, OptionError, PluginError, Problem};

/// A failed operation. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An option of a plugin is wrong.
    #[error("{origin}: plugin `{plugin}`: {error}")]
    Option {
        /// The plugin.
        plugin: String,
        /// Where the option is set.
        origin: Box<Origin>,
        /// What is wrong with it.
        error: Box<OptionError>,
    },
    /// A plugin cannot be used.
    #[error("{error}{}", selected(&.error.selected_by))]
    Plugin {
        /// Which plugin, and why.
        error: Box<PluginError>,
        /// The command that would pin it anew, where it is declared.
        pin: Option<String>,
    },
    /// A policy gave no usable answer.
    #[error("{error}{}", selected(&.error.selected_by))]
    Policy {
        /// Which policy, and why.
        #[from]
        error: PolicyError,
    },
    /// The directory cannot be worked in.
    #[error("{} is not a directory that can be used: {error}", .path.display())]
    Place {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The process that should own a reservation is not there.
    #[error("process {0} cannot own a reservation: it is not running")]
    Owner(u32),
    /// Every port that could be given was refused.
    #[error("no free port for `{service}` in {range}{}{}", few(.proposed, *.range), tally(.refused))]
    NoFreePort {
        /// What the selection policy left to choose from.
        proposed: Box<Proposed>,
        /// Why ports could not be tried, where some could not.
        unprobed: Option<String>,
        /// The service.
        service: Service,
        /// The range.
        range: PortRange,
        /// How many ports were refused for each reason, the most frequent first.
        refused: Vec<(Refusal, usize)>,
    },
    /// Another process holds the lock.
    #[error(transparent)]
    Lock(LockError),
    /// The ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The state directory cannot be used.
    #[error("the state directory {} cannot be used: {error}", .path.display())]
    State {
        /// The directory, or the lock file in it.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A file cannot be used.
    #[error("{}: {error}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A configuration file cannot be edited.
    #[error("{}", edit(.path, .error))]
    Edit {
        /// The file.
        path: PathBuf,
        /// Why.
        error: Box<EditError>,
    },
    /// A file of cases cannot be used.
    #[error("{}:{error}", .path.display())]
    Cases {
        /// The file.
        path: PathBuf,
        /// Where and why.
        error: CasesError,
    },
    /// A core module cannot be made a component.
    #[error("{}: {error}", .path.display())]
    Encode {
        /// The module.
        path: PathBuf,
        /// Why.
        error: EncodeError,
    },
    /// What another tool keeps cannot be imported.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// What was asked for is not there.
    #[error("{what}")]
    NotFound {
        /// What is not there.
        what: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// It is there, but may not be done to.
    #[error("{what}")]
    Refused {
        /// What may not be done, and why.
        what: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
}

/// What a selection policy proposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposed {
    /// The plugin, as `NAME VERSION`.
    pub plugin: String,
    /// What selected it: a file and line, or `built-in`.
    pub selected_by: String,
    /// How many ports.
    pub ports: usize,
}

/// The kinds of failure that programs can tell apart. Each has one exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request makes no sense.
    Usage,
    /// The configuration is wrong.
    Configuration,
    /// A policy or plugin failed or refused.
    Policy,
    /// There is no free port.
    NoFreePort,
    /// The lock was not had in time.
    LockTimeout,
    /// What was asked for is not there.
    NotFound,
    /// It is locked, in use, or somebody else's.
    Refused,
    /// The ledger is damaged or cannot be written.
    Ledger,
}

impl From<PluginError> for Error {
    fn from(error: PluginError) -> Self {
        Self::Plugin { error: Box::new(error), pin: None }
    }
}

impl From<LockError> for Error {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Unusable { path, error } => Self::State { path, error },
            timeout @ LockError::Timeout { .. } => Self::Lock(timeout),
        }
    }
}

impl Error {
    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Usage(_) | Self::Owner(_) | Self::Place { .. } | Self::File { .. } => {
                ErrorKind::Usage
            }
            Self::Edit { error, .. } => match **error {
                EditError::Invalid { .. } => ErrorKind::Configuration,
                EditError::Name(_) => ErrorKind::Usage,
                EditError::NotDeclared(_) | EditError::NotListed { .. } => ErrorKind::NotFound,
            },
            Self::Config(_) | Self::Option { .. } | Self::Cases { .. } => ErrorKind::Configuration,
            Self::Plugin { .. } | Self::Policy { .. } | Self::Encode { .. } => ErrorKind::Policy,
            Self::NoFreePort { .. } => ErrorKind::NoFreePort,
            Self::Lock(_) => ErrorKind::LockTimeout,
            Self::Ledger(LedgerError { problem: LedgerProblem::Busy, .. }) => {
                ErrorKind::LockTimeout
            }
            Self::Ledger(_) | Self::State { .. } => ErrorKind::Ledger,
            Self::Import(ImportError { problem: ImportProblem::Missing, .. })
            | Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Import(_) => ErrorKind::Usage,
            Self::Refused { .. } => ErrorKind::Refused,
        }
    }

    /// What to do about it, where something can be done.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Config(error) => error.hint.clone(),
            Self::Option { error, .. } => error.hint.clone(),
            Self::Plugin { error, pin } => plugin_hint(error, pin.as_deref()),
            Self::Policy { error } => policy_hint(error),
            Self::Encode { error, .. } => encode_hint(error),
            Self::Edit { error, .. } => match **error {
                EditError::Name(_) => Some("--name NAME".to_owned()),
                EditError::NotDeclared(_) => Some("hythe plugin list".to_owned()),
                _ => None,
            },
            Self::File { error, .. } => match error.kind() {
                io::ErrorKind::AlreadyExists => Some("choose another name".to_owned()),
                _ => None,
            },
            Self::Place { .. } | Self::Usage(_) | Self::Cases { .. } => None,
            Self::Import(error) => match error.problem {
                ImportProblem::Missing => Some("hythe import PATH --from TOOL".to_owned()),
                ImportProblem::Busy => Some("try again".to_owned()),
                _ => None,
            },
            Self::Owner(_) => Some("name a running process with `--pid`".to_owned()),
            Self::NoFreePort { proposed, range, .. } if proposed.ports < range.size() => Some(
                "the policy leaves the other ports out; to do without it once: \
                 --strategy selection=path-sticky"
                    .to_owned(),
            ),
            Self::NoFreePort { refused, unprobed, .. } => {
                Some(range_hint(refused, unprobed.as_deref()))
            }
            Self::Lock(_) => Some("try again, or wait longer with `--lock-timeout 60s`".to_owned()),
            Self::Ledger(error) => Some(ledger_hint(error)),
            Self::State { .. } => Some(STATE_HINT.to_owned()),
            Self::NotFound { hint, .. } | Self::Refused { hint, .. } => hint.clone(),
        }
    }
}

/// What made an operation use a plugin, where that is not the command itself.
fn selected(by: &str) -> String {
    if by == COMMAND_LINE { String::new() } else { format!(" (selected by {by})") }
}

fn edit(path: &Path, error: &EditError) -> String {
    match error {
        EditError::Invalid { .. } => format!("{}:{error}", path.display()),
        EditError::Name(_) => error.to_string(),
        EditError::NotDeclared(_) | EditError::NotListed { .. } => {
            format!("{}: {error}", path.display())
        }
    }
}

pub(super) const STATE_HINT: &str =
    "keep it where you may write: HYTHE_STATE_DIR=DIR, or `--state-dir DIR`";

fn few(proposed: &Proposed, range: PortRange) -> String {
    let Proposed { plugin, selected_by, ports } = proposed;
    if *ports >= range.size() {
        return String::new();
    }
    format!(", of which policy `{plugin}` (selected by {selected_by}) proposes {ports}")
}

fn tally(refused: &[(Refusal, usize)]) -> String {
    let reasons: Vec<_> =
        refused.iter().map(|(refusal, count)| format!("{count} {refusal}")).collect();
    if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join(", ")) }
}

fn range_hint(refused: &[(Refusal, usize)], unprobed: Option<&str>) -> String {
    if let Some(reason) = unprobed {
        return format!(
            "{reason}, and the socket tables cannot be read either; run hythe outside this sandbox"
        );
    }
    match refused.first() {
        Some((Refusal::Privileged | Refusal::BrowserBlocked | Refusal::Ephemeral, _)) => {
            "choose another `ports.range`, or list the ports in `ports.allow` of your config.toml"
                .to_owned()
        }
        Some((Refusal::Reserved | Refusal::Frozen, _)) => {
            "hythe cleanup --older-than 7d --dry-run".to_owned()
        }
        _ => "widen `ports.range` in your config.toml, or `--range FIRST-LAST`".to_owned(),
    }
}

fn ledger_hint(error: &LedgerError) -> String {
    match &error.problem {
        LedgerProblem::Unwritable(_) | LedgerProblem::Unreadable(_) => STATE_HINT.to_owned(),
        LedgerProblem::Full(_) => format!("make room on the disk; or {STATE_HINT}"),
        LedgerProblem::Io(_) => {
            format!(
                "look at the disk, and at the limits of this process (`ulimit -a`); or {STATE_HINT}"
            )
        }
        LedgerProblem::Outdated => "run `hythe reserve` where the ledger may be written".to_owned(),
        LedgerProblem::Newer { .. } => "upgrade hythe".to_owned(),
        LedgerProblem::Busy => "try again".to_owned(),
        LedgerProblem::Damaged(_) => {
            let path = error.path.display();
            format!(
                "what can be read of it is restored by `hythe doctor --fix`; to keep it and start anew: \
                 mv {path} {path}.damaged"
            )
        }
        LedgerProblem::Alien | LedgerProblem::Failed(_) => {
            let path = error.path.display();
            format!("keep it and start anew: mv {path} {path}.damaged")
        }
    }
}

fn plugin_hint(error: &PluginError, pin: Option<&str>) -> Option<String> {
    let hint = match &error.problem {
        Problem::Import(import) if import.starts_with("wasi:") => WITHOUT_WASI,
        Problem::Import(_) => WITHOUT_IMPORTS,
        Problem::CoreModule => "hythe plugin encode MODULE.wasm -o PLUGIN.wasm",
        Problem::Digest { path, .. } => {
            let file = shell::word(&path.to_string_lossy());
            let pin = pin.map_or_else(|| format!("hythe plugin add {file}"), str::to_owned);
            return Some(format!("if it is not your change, get the file again; if it is: {pin}"));
        }
        Problem::Version { newer: true, .. } => "upgrade hythe",
        Problem::Version { expected, .. } => {
            return Some(format!("rebuild the plugin for `{expected}`"));
        }
        Problem::TooLarge { .. } => "limits.module_size in your config.toml",
        Problem::TooSlow(_) => "limits.compile_time in your config.toml",
        Problem::MissingExport(export) if export.contains("/info@") => {
            "every plugin says what it is; `hythe plugin new` begins with one that does"
        }
        Problem::MissingExport(_) => "hythe plugin list",
        Problem::Unreadable { .. } if error.selected_by == COMMAND_LINE => {
            "no plugin here has this name, and paths start from this directory: hythe plugin list"
        }
        Problem::Unreadable { .. } => "relative paths start from the file that says them",
        _ => return None,
    };
    Some(hint.to_owned())
}

fn encode_hint(error: &EncodeError) -> Option<String> {
    let hint = match error {
        EncodeError::Component => "hythe plugin check FILE",
        EncodeError::Import(import) if import.starts_with("wasi") => WITHOUT_WASI,
        EncodeError::Import(_) => WITHOUT_IMPORTS,
        _ => return None,
    };
    Some(hint.to_owned())
}

const WITHOUT_WASI: &str = "build it for wasm32-unknown-unknown instead of a wasi target, and \
    make a component of it with `hythe plugin encode`";
const WITHOUT_IMPORTS: &str = "a policy gets all it may know as arguments; remove the import";

fn policy_hint(error: &PolicyError) -> Option<String> {
    let hint = match &error.failure {
        Failure::Fuel(_) => "limits.fuel in your config.toml",
        Failure::Memory(_) => "limits.memory in your config.toml",
        Failure::AnswerSize(_) => "limits.answer_size in your config.toml",
        // It has said itself what is to be done, if anything is.
        Failure::Refused(_) => return None,
        Failure::Stack | Failure::Trap(..) | Failure::Answer(_) | Failure::Mistyped(_) => {
            let policy = match error.function.split('.').next() {
                Some("key-derivation") => "key",
                Some("port-selection") => "selection",
                _ => "cleanup",
            };
            return Some(format!(
                "`hythe plugin test` shows its author when; to do without it once: \
                 --strategy {policy}=path-sticky"
            ));
        }
    };
    Some(hint.to_owned())
}

//! How a request fails: what is said, and the exit code that a command ends with.

use std::io;

use hythe_engine::{Error, ErrorKind};
use serde_json::json;

/// The exit codes. They are part of the interface: docs/cli.md lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ExitCode {
    /// It is done.
    Done = 0,
    /// Something that nobody could foresee.
    Unexpected = 1,
    /// What was asked for makes no sense.
    Usage = 2,
    /// The configuration is wrong.
    Configuration = 3,
    /// A policy or plugin failed or refused.
    Policy = 4,
    /// There is no free port.
    NoFreePort = 5,
    /// The lock was not had in time.
    LockTimeout = 6,
    /// What was asked for is not there, or not so.
    NotFound = 7,
    /// It is locked, in use, or somebody else's.
    Refused = 8,
    /// The ledger is damaged or cannot be written.
    Ledger = 9,
    /// `run`: the command cannot be executed.
    NotExecutable = 126,
    /// `run`: the command is not found.
    CommandNotFound = 127,
}

impl ExitCode {
    /// The word for it in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Unexpected => "unexpected",
            Self::Usage => "usage",
            Self::Configuration => "configuration",
            Self::Policy => "policy",
            Self::NoFreePort => "no-free-port",
            Self::LockTimeout => "lock-timeout",
            Self::NotFound => "not-found",
            Self::Refused => "refused",
            Self::Ledger => "ledger",
            Self::NotExecutable => "not-executable",
            Self::CommandNotFound => "command-not-found",
        }
    }
}

impl From<ErrorKind> for ExitCode {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Usage => Self::Usage,
            ErrorKind::Configuration => Self::Configuration,
            ErrorKind::Policy => Self::Policy,
            ErrorKind::NoFreePort => Self::NoFreePort,
            ErrorKind::LockTimeout => Self::LockTimeout,
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::Refused => Self::Refused,
            ErrorKind::Ledger => Self::Ledger,
        }
    }
}

/// A request that failed.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What kind of failure it is.
    pub code: ExitCode,
    /// What failed, on which subject.
    pub message: String,
    /// What can be done about it.
    pub hint: Option<String>,
    /// More for programs, beside the message.
    pub details: serde_json::Value,
}

impl Failure {
    /// A request that makes no sense.
    #[must_use]
    pub fn usage(message: &str, hint: Option<&str>) -> Self {
        Self {
            code: ExitCode::Usage,
            message: message.to_owned(),
            hint: hint.map(str::to_owned),
            details: json!({}),
        }
    }

    /// A configuration, or an environment, that is wrong.
    #[must_use]
    pub fn configuration(message: &str, hint: &str) -> Self {
        Self {
            code: ExitCode::Configuration,
            message: message.to_owned(),
            hint: Some(hint.to_owned()),
            details: json!({}),
        }
    }

    /// Something that the system refused, which nobody could foresee.
    #[must_use]
    pub fn unexpected(message: String) -> Self {
        Self { code: ExitCode::Unexpected, message, hint: None, details: json!({}) }
    }

    /// A result that could not be written.
    #[must_use]
    pub fn output(error: &io::Error) -> Self {
        Self {
            code: ExitCode::Unexpected,
            message: format!("the result could not be written: {error}"),
            hint: None,
            details: json!({}),
        }
    }

    /// The document for programs. Its schema: `error.json`.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        json!({
            "version": 1,
            "error": {
                "code": self.code.word(),
                "exit_code": self.code as u8,
                "message": self.message,
                "hint": self.hint,
                "details": self.details,
            },
        })
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let details = match &error {
            Error::Policy { error } => json!({
                "plugin": error.plugin,
                "function": error.function,
                "selected_by": error.selected_by,
            }),
            Error::Plugin { error, .. } => {
                json!({ "plugin": error.name, "selected_by": error.selected_by })
            }
            Error::Config(error) => json!({
                "path": error.path().map(|path| path.to_string_lossy()),
                "line": error.line_column().map(|(line, _)| line),
                "column": error.line_column().map(|(_, column)| column),
            }),
            Error::NoFreePort { service, range, refused, .. } => {
                let refused: serde_json::Map<_, _> = refused
                    .iter()
                    .map(|(refusal, count)| (refusal.to_string(), (*count).into()))
                    .collect();
                json!({ "service": service, "range": range, "refused": refused })
            }
            _ => json!({}),
        };
        Self { code: error.kind().into(), message: error.to_string(), hint: error.hint(), details }
    }
}

//! Where a value of the configuration was set, and whose word it therefore is.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use crate::reservation::{NameError, Realm, words};

/// A value, and where it was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set<T> {
    /// The value.
    pub value: T,
    /// Where it was set.
    pub origin: Origin,
}

impl<T> Set<T> {
    /// A value that no file, variable or flag set.
    pub const fn built_in(value: T) -> Self {
        Self { value, origin: Origin::BuiltIn }
    }
}

/// Where a value was set.
///
/// Written as people look for it: `built-in`, `/home/u/.config/hythe/config.toml:3:9`,
/// `/home/u/.config/hythe/config.toml:7:20 ([[directory]] match = "~/work/**")`, `HYTHE_RANGE`,
/// `--range`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: it is the default.
    BuiltIn,
    /// In a file.
    File(Position),
    /// In a `[[directory]]` rule of the user's file.
    Rule {
        /// Where in the file.
        position: Position,
        /// The pattern of the rule, as written.
        pattern: Arc<str>,
    },
    /// In an environment variable, by its name.
    Environment(&'static str),
    /// On the command line, by the flag's name with its dashes.
    Flag(&'static str),
    /// In a request of the HTTP API or of MCP, by the name of the field.
    Request(&'static str),
}

impl Origin {
    /// The place in a file; `None` when it was not set in one.
    #[must_use]
    pub const fn position(&self) -> Option<&Position> {
        match self {
            Self::File(position) | Self::Rule { position, .. } => Some(position),
            Self::BuiltIn | Self::Environment(_) | Self::Flag(_) | Self::Request(_) => None,
        }
    }

    /// Whose word it is: the project's when one of its files says it, else the user's.
    #[must_use]
    pub fn authority(&self) -> Authority {
        match self.position() {
            Some(position) if position.file.role != Role::User => {
                Authority::Project(position.file.directory().to_owned())
            }
            _ => Authority::User,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.pad("built-in"),
            Self::File(position) => position.fmt(f),
            Self::Rule { position, pattern } => {
                write!(f, "{position} ([[directory]] match = {pattern:?})")
            }
            Self::Environment(name) | Self::Flag(name) => f.pad(name),
            Self::Request(name) => write!(f, "`{name}` of the request"),
        }
    }
}

/// Who decides something, and therefore how far the decision reaches.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Authority {
    /// The user, about everything.
    User,
    /// The files of a project, about the reservations of that project alone: the directory of its
    /// `hythe.toml`.
    Project(PathBuf),
}

impl From<Authority> for Realm {
    fn from(authority: Authority) -> Self {
        match authority {
            Authority::User => Self::User,
            Authority::Project(directory) => Self::Project(directory),
        }
    }
}

/// A place in a configuration file, written `PATH:LINE:COLUMN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The file.
    pub file: Arc<ConfigFile>,
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters (Unicode scalar values), counted from 1.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.path.display(), self.line, self.column)
    }
}

/// A configuration file, which need not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFile {
    /// Its path.
    pub path: PathBuf,
    /// What it is for.
    pub role: Role,
}

impl ConfigFile {
    /// The directory that relative paths in the file start from.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }
}

/// What a configuration file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The user's own file, `config.toml`.
    User,
    /// A project's file, `hythe.toml`, shared by everybody who works on the project.
    Project,
    /// The untracked file beside it, `hythe.local.toml`.
    Local,
}

words!(Role, "role", User = "user", Project = "project", Local = "local");

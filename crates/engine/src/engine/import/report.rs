//! What an import is asked for, and what it answers.

use std::fmt;
use std::path::PathBuf;

use crate::import::Tool;
use crate::port::Port;
use crate::reservation::Reservation;

/// Asks for the reservations of another ledger, or of another tool.
#[derive(Debug, Clone)]
pub struct ImportRequest {
    /// Whose they are.
    pub tool: Tool,
    /// The file, or the directory that the tool keeps it in. Absolute.
    pub path: PathBuf,
    /// Import the rest when some cannot be had; else none are imported then.
    pub skip_conflicts: bool,
    /// Write nothing.
    pub dry_run: bool,
}

/// What became of everything that was found.
#[derive(Debug, Clone)]
pub struct ImportReport {
    /// What was found, by port.
    pub entries: Vec<ImportedEntry>,
    /// How many released ports came with it.
    pub released: usize,
    /// Whether conflicts kept everything from being imported.
    pub refused: bool,
}

/// What became of one reservation.
#[derive(Debug, Clone)]
pub struct ImportedEntry {
    /// What its tool calls it.
    pub what: String,
    /// Its port; `None` when it has none that could be one.
    pub port: Option<Port>,
    /// What it is here; `None` when it cannot be anything.
    pub reservation: Option<Reservation>,
    /// What became of it.
    pub fate: Fate,
    /// What is worth knowing about it.
    pub notes: Vec<ImportNote>,
}

/// What became of a reservation that was to be imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is imported, or would be.
    Imported,
    /// Its key has its port already.
    Existing,
    /// It cannot be had, for this reason.
    Conflict(String),
    /// It stands for nothing any more, for this reason.
    Skipped(String),
}

impl Fate {
    /// The word that stands for it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Imported => "imported",
            Self::Existing => "existing",
            Self::Conflict(_) => "conflict",
            Self::Skipped(_) => "skipped",
        }
    }

    /// Why it is not imported, where that needs to be said.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Imported | Self::Existing => None,
            Self::Conflict(why) | Self::Skipped(why) => Some(why),
        }
    }
}

/// What is worth knowing about a reservation that is imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportNote {
    /// Its port lies outside the range that is in force where it belongs, and is kept.
    OutsideRange,
    /// The kernel may give its port to an outgoing connection.
    Ephemeral,
    /// Another key gave its port back a moment ago, and does not get it back any more.
    Frozen,
    /// The tool calls the service otherwise.
    Renamed(String),
    /// It was a subdirectory's, and is its checkout's now.
    Widened(PathBuf),
    /// It was bound to a process that cannot be proven to be alive, and lasts until it is released.
    Unbound,
}

impl fmt::Display for ImportNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutsideRange => f.write_str("outside the range"),
            Self::Ephemeral => f.write_str("in the ephemeral range of the kernel"),
            Self::Frozen => f.write_str("released a moment ago by another key"),
            Self::Renamed(name) => write!(f, "called {name:?} there"),
            Self::Widened(directory) => write!(f, "was that of {}", directory.display()),
            Self::Unbound => f.write_str("bound to no process any more"),
        }
    }
}

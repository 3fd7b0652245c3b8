//! Why a ledger cannot be used, and how SQLite and the system say so.

use std::path::{Path, PathBuf};
use std::{fs, io};

use rusqlite::ErrorCode;
use rustix::fs::{Access, access};

/// A ledger that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the ledger {} {problem}", .path.display())]
pub struct LedgerError {
    /// The database file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: LedgerProblem,
}

/// What is wrong with a ledger.
#[derive(Debug, thiserror::Error)]
pub enum LedgerProblem {
    /// It is no SQLite database, or its pages contradict each other.
    #[error("is damaged: {0}")]
    Damaged(String),
    /// It is an SQLite database of something else.
    #[error("is the database of another program")]
    Alien,
    /// A later version of Hythe wrote it.
    #[error("has schema version {found}, but this hythe knows only up to {known}")]
    Newer {
        /// The version of the file.
        found: i32,
        /// The highest version this program knows.
        known: i32,
    },
    /// An earlier version of Hythe wrote it, and it has not been brought up to date.
    #[error("was written by an earlier hythe and has to be brought up to date")]
    Outdated,
    /// It, or its directory, may not be written to.
    #[error("cannot be written: {0}")]
    Unwritable(String),
    /// It may not be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// The disk is full.
    #[error("cannot grow: {0}")]
    Full(String),
    /// The system failed to read or write it.
    #[error("could not be read or written: {0}")]
    Io(String),
    /// Another process kept it busy.
    #[error("is kept busy by another process")]
    Busy,
    /// SQLite failed in some other way.
    #[error("failed: {0}")]
    Failed(String),
}

pub(super) fn fail(path: &Path, problem: LedgerProblem) -> LedgerError {
    LedgerError { path: path.to_owned(), problem }
}

pub(super) fn io_problem(error: &io::Error) -> LedgerProblem {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            LedgerProblem::Full(error.to_string())
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            LedgerProblem::Unwritable(error.to_string())
        }
        _ => LedgerProblem::Failed(error.to_string()),
    }
}

pub(super) fn ledger_error(path: &Path, error: &rusqlite::Error) -> LedgerError {
    let text = error.to_string();
    let problem = match error.sqlite_error_code() {
        Some(ErrorCode::ReadOnly) => LedgerProblem::Unwritable(text),
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => cannot_open(path, text),
        Some(ErrorCode::DiskFull) => LedgerProblem::Full(text),
        Some(ErrorCode::SystemIoFailure) => io_failure(error, text),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => LedgerProblem::Busy,
        Some(ErrorCode::ConstraintViolation | ErrorCode::OutOfMemory) => {
            LedgerProblem::Failed(text)
        }
        // Anything else means that the file is not what it says it is.
        _ => LedgerProblem::Damaged(text),
    };
    fail(path, problem)
}

/// Why a file could not be opened. The file is only looked at: opening and closing it would drop the
/// locks that this process holds on it (fcntl(2), "advisory record locking").
fn cannot_open(path: &Path, text: String) -> LedgerProblem {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => {
            LedgerProblem::Unreadable("it is not a regular file".to_owned())
        }
        Ok(_) => match access(path, Access::READ_OK) {
            Err(error) => LedgerProblem::Unreadable(error.to_string()),
            // The database can be opened, so it is the journal beside it that cannot.
            Ok(()) => LedgerProblem::Unwritable(text),
        },
        Err(error) => LedgerProblem::Unreadable(error.to_string()),
    }
}

fn io_failure(error: &rusqlite::Error, text: String) -> LedgerProblem {
    const IOERR_READ: i32 = 266;
    const IOERR_SHORT_READ: i32 = 522;
    match error.sqlite_error().map(|error| error.extended_code) {
        Some(IOERR_READ | IOERR_SHORT_READ) => LedgerProblem::Unreadable(text),
        _ => LedgerProblem::Io(text),
    }
}

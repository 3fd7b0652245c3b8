//! Why what another tool keeps cannot be imported.

use std::io;
use std::path::{Path, PathBuf};

/// Something that cannot be imported. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[error("{} {problem}", .path.display())]
pub struct ImportError {
    /// The file or directory.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: ImportProblem,
}

/// What is wrong with something that was to be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportProblem {
    /// It is not there.
    #[error("is not there")]
    Missing,
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// It is too large to be what it should be.
    #[error("is larger than {0} MiB")]
    TooLarge(u64),
    /// It was written to whenever it was looked at.
    #[error("is being written to")]
    Busy,
    /// It is damaged, or something else than it should be.
    #[error("cannot be imported: {0}")]
    Alien(String),
}

pub(super) fn fail(path: &Path, problem: ImportProblem) -> ImportError {
    ImportError { path: path.to_owned(), problem }
}

pub(super) fn alien(path: &Path, why: String) -> ImportError {
    fail(path, ImportProblem::Alien(why))
}

pub(super) fn unreadable(path: &Path, error: io::Error) -> ImportError {
    fail(
        path,
        match error.kind() {
            io::ErrorKind::NotFound => ImportProblem::Missing,
            _ => ImportProblem::Unreadable(error),
        },
    )
}

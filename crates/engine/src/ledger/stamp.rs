//! Whether a ledger has changed, without opening it.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

use super::error::fail;
use super::{LedgerProblem, Outcome};

/// Which file a ledger is, and how often it was written to. Two that are equal say that nothing was
/// committed in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    file: (u64, u64),
    counter: u32,
}

/// Where the file change counter is, in 4 bytes, the highest first: each transaction that changes a
/// database with a rollback journal increments it (<https://www.sqlite.org/fileformat.html>, 1.3.7).
const COUNTER: u64 = 24;

impl Stamp {
    /// Whether both are of the same file.
    #[must_use]
    pub fn is_of(&self, other: &Self) -> bool {
        self.file == other.file
    }
}

/// Reads the stamps of the ledger at one path, and keeps the file open: closing it would take back
/// SQLite's locks on it, whichever thread of this process has them
/// (<https://www.sqlite.org/howtocorrupt.html>, 2.2). Whoever drops one sees to it that no other
/// thread has the ledger open.
pub struct Stamps {
    path: PathBuf,
    file: Option<File>,
}

impl Stamps {
    /// Of the ledger at `path`, which need not be there yet.
    #[must_use]
    pub const fn of(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    /// The stamp as it is now; `None` when there is no ledger.
    pub fn read(&mut self) -> Outcome<Option<Stamp>> {
        let unreadable =
            |error: io::Error| fail(&self.path, LedgerProblem::Unreadable(error.to_string()));
        let found = match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => identity(&found.map_err(unreadable)?),
        };
        let open = match self.file.take() {
            Some(open) if identity(&open.metadata().map_err(unreadable)?) == found => open,
            // What is closed here is another file than the one at the path.
            _ => match File::open(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                file => file.map_err(unreadable)?,
            },
        };
        let file = identity(&open.metadata().map_err(unreadable)?);
        let mut counter = [0; 4];
        match open.read_exact_at(&mut counter, COUNTER) {
            // It is no ledger, as whoever reads it is told.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            read => read.map_err(unreadable)?,
        }
        self.file = Some(open);
        Ok(Some(Stamp { file, counter: u32::from_be_bytes(counter) }))
    }
}

/// What a file is, whatever it is called.
fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

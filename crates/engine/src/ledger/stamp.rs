//! Whether a ledger has changed, without opening it.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

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
    /// The stamp of the ledger at `path`; `None` when there is none.
    ///
    /// The caller has no ledger open: that the file is closed here would take back SQLite's locks on
    /// it (<https://www.sqlite.org/howtocorrupt.html>, 2.2).
    pub fn of(path: &Path) -> Outcome<Option<Self>> {
        let unreadable =
            |error: io::Error| fail(path, LedgerProblem::Unreadable(error.to_string()));
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(unreadable)?,
        };
        let metadata = file.metadata().map_err(unreadable)?;
        let mut counter = [0; 4];
        match file.read_exact_at(&mut counter, COUNTER) {
            // It is no ledger, as whoever reads it is told.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            read => read.map_err(unreadable)?,
        }
        let file = (metadata.dev(), metadata.ino());
        Ok(Some(Self { file, counter: u32::from_be_bytes(counter) }))
    }

    /// Whether both are of the same file.
    #[must_use]
    pub fn is_of(&self, other: &Self) -> bool {
        self.file == other.file
    }
}

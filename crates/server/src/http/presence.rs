//! Whether a server serves a ledger: at most one does, and says so beside it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use hythe_document::{ExitCode, Failure};
use hythe_engine::{Host, System};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// A server that serves a ledger, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Its process.
    pub pid: u32,
    /// Where it listens.
    pub listen: Vec<String>,
    /// Its version.
    pub version: String,
    /// When it began, in RFC 3339.
    pub since: String,
}

/// The lock that a server holds for as long as it lives, in the state directory.
const LOCK: &str = "serve.lock";

/// What it says of itself, beside the lock. Without the lock it is what a dead one has left behind.
const FILE: &str = "serve.json";

/// How long is waited for somebody who only looks whether there is a server.
const PATIENCE: Duration = Duration::from_millis(200);

impl Presence {
    /// The server of the ledger in the directory `state`; `None` when there is none. Beside it, what a
    /// server left behind that was killed.
    ///
    /// # Errors
    ///
    /// When that cannot be found out.
    pub fn of(state: &Path) -> io::Result<(Option<Self>, Option<Self>)> {
        let said =
            || fs::read(state.join(FILE)).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let lock = match File::open(state.join(LOCK)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((None, said())),
            lock => lock?,
        };
        match flock(&lock, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok((None, said())),
            Err(Errno::WOULDBLOCK) => match said() {
                Some(running) => Ok((Some(running), None)),
                None => Err(io::Error::other(format!(
                    "a server holds {LOCK}, and {FILE} does not say which"
                ))),
            },
            Err(error) => Err(error.into()),
        }
    }
}

/// The right to serve a ledger.
pub(super) struct Claim {
    state: PathBuf,
    /// The lock is held for as long as the file is open.
    _lock: File,
}

/// Claims the right to serve the ledger in the directory `state`.
pub(super) fn claim(state: &Path) -> Result<Claim, Failure> {
    let unusable = |error: io::Error| Failure {
        code: ExitCode::Ledger,
        ..Failure::usage(
            &format!("the state directory {} cannot be used: {error}", state.display()),
            Some("hythe doctor"),
        )
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(state).map_err(unusable)?;
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(state.join(LOCK))
        .map_err(unusable)?;
    let end = Instant::now() + PATIENCE;
    loop {
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                // What is left behind by one that was killed says nothing of this one.
                let _ = fs::remove_file(state.join(FILE));
                return Ok(Claim { state: state.to_owned(), _lock: lock });
            }
            Err(Errno::WOULDBLOCK) if Instant::now() < end => {
                thread::park_timeout(Duration::from_millis(10));
            }
            Err(Errno::WOULDBLOCK) => return Err(served(state)),
            Err(error) => return Err(unusable(error.into())),
        }
    }
}

/// Another server serves the ledger.
fn served(state: &Path) -> Failure {
    let other = match Presence::of(state) {
        Ok((Some(other), _)) => {
            format!(" at {}, as process {}", other.listen.join(", "), other.pid)
        }
        _ => String::new(),
    };
    Failure {
        code: ExitCode::Refused,
        ..Failure::usage(
            &format!("another server serves the ledger in {} already{other}", state.display()),
            Some("hythe daemon status"),
        )
    }
}

impl Claim {
    /// Says where the server listens, for those who look.
    pub(super) fn announce(&self, listen: &[String], version: &str) -> Result<(), Failure> {
        let presence = Presence {
            pid: process::id(),
            listen: listen.to_vec(),
            version: version.to_owned(),
            since: Host.now().to_string(),
        };
        let write = || {
            let draft = self.state.join(format!("{FILE}.new"));
            let mut options = OpenOptions::new();
            let mut file =
                options.create(true).truncate(true).write(true).mode(0o600).open(&draft)?;
            file.write_all(&serde_json::to_vec(&presence)?)?;
            fs::rename(&draft, self.state.join(FILE))
        };
        write().map_err(|error: io::Error| {
            let file = self.state.join(FILE);
            Failure::unexpected(format!("{} cannot be written: {error}", file.display()))
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // What is left behind is told from what is true by the lock.
        let _ = fs::remove_file(self.state.join(FILE));
    }
}

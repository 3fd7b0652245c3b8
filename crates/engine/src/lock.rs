//! One writer at a time: an advisory lock on a file that is never renamed or removed.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use fd_lock::RwLock;

/// How long somebody waits before being told what for.
pub const PATIENCE: Duration = Duration::from_millis(500);

/// A lock that was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else held it for the whole time.
    #[error("another process held the lock {} for {waited:?}", .path.display())]
    Timeout {
        /// The lock file.
        path: PathBuf,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The lock file cannot be used.
    #[error("the lock {} cannot be used: {error}", .path.display())]
    Unusable {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// Runs `work` while this process alone holds the lock on the file `path`, which is made when it is
/// missing.
///
/// Waits at most `timeout`; after [`PATIENCE`] it calls `waiting` once. Others wait in the kernel's
/// queue rather than by polling, so that a crowd is served in order and nobody starves (flock(2)).
pub fn hold<T>(
    path: &Path,
    timeout: Duration,
    waiting: impl FnOnce(&Path),
    work: impl FnOnce() -> T,
) -> Result<T, LockError> {
    let unusable = |error| LockError::Unusable { path: path.to_owned(), error };
    // Not truncated: what an administrator may have written into it is none of our business.
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(unusable)?;
    let mut lock = RwLock::new(file);
    match lock.try_write() {
        Ok(_held) => return Ok(work()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(error) => return Err(unusable(error)),
    }

    let start = Instant::now();
    let (acquired, outcome) = mpsc::channel();
    let (done, finished) = mpsc::channel::<()>();
    // The kernel cannot be told how long to wait, so a thread waits that can be left behind.
    thread::spawn(move || wait(lock, &acquired, &finished));
    let outcome_within =
        |limit: Duration| outcome.recv_timeout(limit.saturating_sub(start.elapsed()));
    let outcome = outcome_within(PATIENCE.min(timeout)).or_else(|_| {
        if timeout > PATIENCE {
            waiting(path);
        }
        outcome_within(timeout)
    });
    match outcome {
        Ok(Ok(())) => {
            let result = work();
            drop(done);
            Ok(result)
        }
        Ok(Err(error)) => Err(unusable(error)),
        Err(_) => Err(LockError::Timeout { path: path.to_owned(), waited: timeout }),
    }
}

/// Waits for the lock, says so, and holds it until `finished` is closed.
fn wait(
    mut lock: RwLock<File>,
    acquired: &mpsc::Sender<io::Result<()>>,
    finished: &mpsc::Receiver<()>,
) {
    match lock.write() {
        Ok(_held) => {
            if acquired.send(Ok(())).is_ok() {
                // Nothing is ever sent: this ends when the other side is dropped.
                let _ = finished.recv();
            }
        }
        Err(error) => {
            // Nobody listens any more after a timeout.
            let _ = acquired.send(Err(error));
        }
    }
}

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
/// queue (flock(2)) rather than by polling, so that a crowd costs nothing while it waits.
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Longer than any test waits.
    const LONG: Duration = Duration::from_mins(1);

    fn place() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.lock");
        (directory, path)
    }

    fn nobody_waits(_: &Path) {
        panic!("nobody was to wait so long");
    }

    /// Runs `work` while somebody else holds the lock.
    fn while_held<T>(path: &Path, work: impl FnOnce(&mpsc::Sender<()>) -> T) -> T {
        let (held, is_held) = mpsc::channel();
        let (let_go, wanted) = mpsc::channel::<()>();
        thread::scope(|scope| {
            scope.spawn(move || {
                hold(path, LONG, nobody_waits, || {
                    held.send(()).unwrap();
                    // Until somebody asks for it, or the test is over.
                    let _ = wanted.recv();
                })
                .unwrap();
            });
            is_held.recv().unwrap();
            let result = work(&let_go);
            drop(let_go);
            result
        })
    }

    #[test]
    fn one_at_a_time_holds_it() {
        let (_directory, path) = place();
        let (inside, runs) = (AtomicU32::new(0), AtomicU32::new(0));
        thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for _ in 0..8 {
                        let alone = || {
                            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                            thread::yield_now();
                            assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
                            runs.fetch_add(1, Ordering::SeqCst);
                        };
                        hold(&path, LONG, |_| {}, alone).unwrap();
                    }
                });
            }
        });
        assert_eq!(runs.into_inner(), 128);
    }

    #[test]
    fn whoever_waits_gets_it_when_it_is_let_go() {
        let (_directory, path) = place();
        let told = AtomicU32::new(0);
        while_held(&path, |let_go| {
            // Let go only after the wait was announced: nothing else would be sure to come after it.
            let waiting = |lock: &Path| {
                assert_eq!(lock, path);
                told.fetch_add(1, Ordering::SeqCst);
                let_go.send(()).unwrap();
            };
            assert_eq!(hold(&path, LONG, waiting, || 7).unwrap(), 7);
        });
        assert_eq!(told.into_inner(), 1);
    }

    #[test]
    fn a_wait_ends_in_time_and_leaves_nobody_holding_it() {
        let (_directory, path) = place();
        while_held(&path, |_| {
            for timeout in [Duration::ZERO, Duration::from_millis(20)] {
                let error = hold(&path, timeout, nobody_waits, || ()).unwrap_err();
                match error {
                    LockError::Timeout { path: lock, waited } => {
                        assert_eq!((lock, waited), (path.clone(), timeout));
                    }
                    other @ LockError::Unusable { .. } => panic!("{other}"),
                }
            }
        });
        // Those who gave up may get it after all, and let go at once.
        hold(&path, LONG, |_| {}, || ()).unwrap();
    }

    #[test]
    fn the_file_stays_and_keeps_what_is_in_it() {
        let (_directory, path) = place();
        hold(&path, LONG, nobody_waits, || ()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0);
        fs::write(&path, "do not remove").unwrap();
        hold(&path, LONG, nobody_waits, || ()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "do not remove");
    }

    #[test]
    fn a_lock_that_cannot_be_made_is_no_timeout() {
        let (directory, path) = place();
        for path in [path.join("below"), directory.path().to_owned()] {
            let error = hold(&path, LONG, nobody_waits, || ()).unwrap_err();
            assert!(matches!(error, LockError::Unusable { .. }), "{error}");
        }
    }

    #[test]
    fn a_panic_lets_it_go() {
        let (_directory, path) = place();
        let panicked = thread::scope(|scope| {
            let hold_and_panic = || hold(&path, LONG, nobody_waits, || panic!("as it should"));
            scope.spawn(hold_and_panic).join()
        });
        assert!(panicked.is_err());
        hold(&path, LONG, nobody_waits, || ()).unwrap();
    }
}

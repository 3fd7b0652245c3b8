//! What can be repaired, and repairing it.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::super::{Engine, Error};
use crate::ledger::{Restored, Salvage};
use crate::port::Port;

/// Something that can be repaired.
#[derive(Debug)]
pub(super) enum Repair {
    /// A file or directory gets this mode.
    Mode(PathBuf, u32),
    /// Files that nobody needs are removed.
    Remove(Vec<PathBuf>),
    /// What can be read of a damaged ledger is put into a new one.
    Ledger,
}

impl Engine<'_> {
    /// Repairs it; what was done, or would be in a dry run.
    pub(super) fn repair(&self, repair: &Repair, dry_run: bool) -> Result<String, Error> {
        let file_error = |path: &Path, error| Error::File { path: path.to_owned(), error };
        match repair {
            Repair::Mode(path, mode) => {
                if !dry_run {
                    let set = fs::set_permissions(path, Permissions::from_mode(*mode));
                    set.map_err(|error| file_error(path, error))?;
                }
                Ok(format!("chmod {mode:o} {}", path.display()))
            }
            Repair::Remove(paths) => {
                if !dry_run {
                    // Whoever is at work there holds the lock.
                    self.holding("ledger.lock", || {
                        let remove = |path: &PathBuf| match fs::remove_file(path) {
                            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                                Err(file_error(path, error))
                            }
                            _ => Ok(()),
                        };
                        paths.iter().try_for_each(remove)
                    })?;
                }
                let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
                Ok(format!("removed {}", paths.join(", ")))
            }
            Repair::Ledger => {
                let path = self.ledger_path();
                if dry_run {
                    return Ok(told(&Salvage::read(&path)?.summary()));
                }
                self.holding("ledger.lock", || match self.read_books() {
                    Ok(_) => Ok("somebody else has repaired it".to_owned()),
                    Err(_) => {
                        let salvage = Salvage::read(&path)?;
                        Ok(told(&salvage.restore(&path, self.system.now())?))
                    }
                })
            }
        }
    }
}

fn told(restored: &Restored) -> String {
    let Restored { reservations, returnable, lost, events, kept } = restored;
    let mut parts = vec![format!(
        "restored {} and {}",
        super::counted(*reservations, "reservation", "reservations"),
        super::counted(*events, "event", "events")
    )];
    if !returnable.is_empty() {
        let returnable = list(returnable);
        parts.push(format!("kept for who had them, for when they ask again: {returnable}"));
    }
    if !lost.is_empty() {
        parts.push(format!("lost: {}", list(lost)));
    }
    parts.extend(kept.as_ref().map(|kept| format!("the damaged ledger is {}", kept.display())));
    parts.join("; ")
}

/// Ports, of many of them the first.
pub(super) fn list(ports: &[Port]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<_> = ports.iter().take(SHOWN).map(ToString::to_string).collect();
    match ports.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

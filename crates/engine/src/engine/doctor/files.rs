//! The state directory, its file system, its lock, and what was left behind.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, access, statvfs};

use super::super::Engine;
use super::super::error::STATE_HINT;
use super::repair::Repair;
use super::{Finding, Symptom, counted, problem};
use crate::ledger::Ledger;
use crate::lock::{self, LockError};
use crate::shell;
use crate::time::Timestamp;
use crate::wasm;

/// Less room than this, in bytes, and the next transaction may not fit.
const NO_ROOM: u64 = 1 << 20;
/// Less room than this, in bytes, is worth knowing.
const LITTLE_ROOM: u64 = 64 << 20;
/// How long a lock is waited for before somebody is said to hold it.
const MOMENT: Duration = Duration::from_millis(500);
/// What is younger than this may still be written by somebody.
const ABANDONED: Duration = Duration::from_hours(1);

impl Engine<'_> {
    /// Whether the state directory and its files are there, the user's, private and writable.
    pub(super) fn state(&self) -> Vec<Symptom> {
        let state = &self.home.state;
        let shown = state.display();
        let metadata = match fs::metadata(state) {
            Ok(metadata) if metadata.is_dir() => metadata,
            Ok(_) => {
                let message = format!("{shown} is not a directory");
                return vec![
                    Finding::problem("state", message, Some(STATE_HINT.to_owned())).into(),
                ];
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.without_state(),
            Err(error) => {
                let message = format!("{shown} cannot be looked at: {error}");
                return vec![
                    Finding::problem("state", message, Some(STATE_HINT.to_owned())).into(),
                ];
            }
        };
        let mut symptoms = Vec::new();
        symptoms.extend(private(state, &metadata, 0o700));
        if let Err(error) = access(state, Access::WRITE_OK | Access::EXEC_OK) {
            let message = format!("{shown} cannot be written to: {error}");
            symptoms.push(Finding::problem("state", message, Some(STATE_HINT.to_owned())).into());
        }
        let enclosed = metadata.permissions().mode().trailing_zeros() >= 6;
        for name in ["ledger.db", "ledger.lock", "config.lock", "serve.lock", "serve.json"] {
            let path = state.join(name);
            // What is no file is for whoever opens it to complain about.
            if let Some(file) = fs::metadata(&path).ok().filter(Metadata::is_file) {
                // Nobody gets at a file that others see in a directory they cannot enter.
                let mask = if enclosed { 0o700 } else { 0o777 };
                symptoms.extend(private_within(&path, &file, 0o600, mask));
            }
        }
        if symptoms.is_empty() {
            symptoms.push(Finding::ok("state", format!("{shown} is yours alone")).into());
        }
        symptoms.extend(room(state));
        symptoms.extend(file_system(state));
        symptoms.extend(self.lock());
        symptoms
    }

    /// There is no state directory yet: whether one can be made.
    fn without_state(&self) -> Vec<Symptom> {
        let state = &self.home.state;
        let above = state.ancestors().skip(1).find(|path| path.exists()).unwrap_or(Path::new("/"));
        let writable = access(above, Access::WRITE_OK | Access::EXEC_OK);
        let finding = match writable {
            Ok(()) => {
                let message = format!("{} is made by the first reservation", state.display());
                Finding::ok("state", message)
            }
            Err(error) => {
                let (state, above) = (state.display(), above.display());
                let message = format!("{state} cannot be made: {above}: {error}");
                Finding::problem("state", message, Some(STATE_HINT.to_owned()))
            }
        };
        let mut symptoms = vec![finding.into()];
        symptoms.extend(room(above));
        symptoms.extend(file_system(above));
        symptoms
    }

    fn lock(&self) -> Option<Symptom> {
        let path = self.home.state.join("ledger.lock");
        if !path.exists() {
            return None;
        }
        Some(match lock::hold(&path, MOMENT, |_| {}, || ()) {
            Ok(()) => Finding::ok("lock", "can be taken").into(),
            Err(LockError::Timeout { .. }) => {
                let message = format!("another process holds {}", path.display());
                let hint = format!("who it is: fuser {}", shell::word(&path.to_string_lossy()));
                Finding::note("lock", message, Some(hint)).into()
            }
            Err(error) => problem("lock", &error.into()),
        })
    }

    /// What processes that were killed have left behind.
    pub(super) fn leftovers(&self) -> Vec<Symptom> {
        let state = &self.home.state;
        let now = self.system.now();
        let mut files: Vec<_> = temporary(state, now);
        files
            .extend([Ledger::draft(&self.ledger_path())].into_iter().filter(|path| path.is_file()));
        let users = self.home.config.user.as_deref().and_then(Path::parent);
        // Another directory than its own is not Hythe's to tidy.
        if let Some(own) = users.filter(|it| it.file_name() == Some(OsStr::new("hythe"))) {
            files.extend(temporary(own, now));
        }
        files.extend(self.home.cache.iter().flat_map(|cache| wasm::leftovers(cache)));
        let mut symptoms = Vec::new();
        if !files.is_empty() {
            let first = files.first().map(|path| path.display().to_string()).unwrap_or_default();
            let count = counted(files.len(), "file that nobody needs", "files that nobody needs");
            let finding = Finding::note("leftovers", format!("{count}: {first}"), None);
            symptoms.push(Symptom { finding, repair: Some(Repair::Remove(files)) });
        }
        let damaged: Vec<_> = named(state, |name| {
            name.starts_with("ledger.db.damaged") && !name.ends_with("-journal")
        });
        if let Some(first) = damaged.first() {
            let count =
                counted(damaged.len(), "damaged ledger is kept", "damaged ledgers are kept");
            let message = format!("{count}: {}", first.display());
            let hint = "remove it when nothing in it is missed".to_owned();
            symptoms.push(Finding::note("leftovers", message, Some(hint)).into());
        }
        if symptoms.is_empty() {
            symptoms.push(Finding::ok("leftovers", "none").into());
        }
        symptoms
    }
}

fn private(path: &Path, metadata: &Metadata, wanted: u32) -> Vec<Symptom> {
    private_within(path, metadata, wanted, 0o777)
}

/// What is wrong with the owner and the mode of a file that is to have the mode `wanted`, as far as the
/// bits in `mask` matter.
fn private_within(path: &Path, metadata: &Metadata, wanted: u32, mask: u32) -> Vec<Symptom> {
    let shown = path.display();
    let user = rustix::process::geteuid();
    let owner = metadata.uid();
    if owner != user.as_raw() {
        let message = format!("{shown} belongs to the user {owner}, not to you");
        let hint = format!("sudo chown -R \"$(id -u)\" {}", shell::word(&path.to_string_lossy()));
        let finding = match user.is_root() {
            true => Finding::note("state", message, None),
            false => Finding::problem("state", message, Some(hint)),
        };
        return vec![finding.into()];
    }
    let mode = metadata.permissions().mode() & 0o7777;
    let says = |what: &str| format!("{shown} {what} (mode {mode:04o})");
    let finding = if mode & wanted != wanted {
        Finding::problem("state", says("may not be used by its owner"), None)
    } else if mode & mask & 0o022 != 0 {
        Finding::problem("state", says("may be changed by others"), None)
    } else if mode & mask & 0o077 != 0 {
        Finding::note("state", says("may be read by others"), None)
    } else {
        return Vec::new();
    };
    let repair = Some(Repair::Mode(path.to_owned(), (mode | wanted) & !0o077));
    vec![Symptom { finding, repair }]
}

/// How much room there is for the ledger to grow.
fn room(path: &Path) -> Option<Symptom> {
    let found = statvfs(path).ok()?;
    let bytes = found.f_bavail.saturating_mul(found.f_frsize);
    let shown = path.display();
    let room = format!("{} MiB free at {shown}", bytes >> 20);
    let hint = Some(format!("make room on the disk; or {STATE_HINT}"));
    // A file system without a fixed number of files says 0 of 0.
    let finding = if found.f_files > 0 && found.f_favail == 0 {
        Finding::problem(
            "disk",
            format!("no file can be made at {shown}: there are too many"),
            hint,
        )
    } else if bytes < NO_ROOM {
        Finding::problem("disk", room, hint)
    } else if bytes < LITTLE_ROOM {
        Finding::note("disk", room, hint)
    } else {
        Finding::ok("disk", room)
    };
    Some(finding.into())
}

/// File systems on which the locks of one machine may not hold on another
/// (`include/uapi/linux/magic.h`; for those that are not in it, `fs/*/super.h` of the kernel).
#[cfg(target_os = "linux")]
const SHARED: &[(u64, &str)] = &[
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x0102_1997, "9P"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x6573_5546, "FUSE"),
];

/// Whether the ledger lies where locks may not hold.
#[cfg(target_os = "linux")]
fn file_system(path: &Path) -> Option<Symptom> {
    // The type is a number of 32 bits, whatever the width of the field.
    let kind = u64::try_from(rustix::fs::statfs(path).ok()?.f_type).ok()? & 0xffff_ffff;
    let (_, name) = SHARED.iter().find(|(magic, _)| *magic == kind)?;
    let message = format!(
        "{} is on {name}: locks may not hold between machines, and a power cut may lose what was written",
        path.display()
    );
    let hint = "keep the ledger on a local disk: HYTHE_STATE_DIR=DIR, or `--state-dir DIR`";
    Some(Finding::note("disk", message, Some(hint.to_owned())).into())
}

/// Whether the ledger lies where locks may not hold: not told here.
#[cfg(not(target_os = "linux"))]
fn file_system(_: &Path) -> Option<Symptom> {
    None
}

/// Files that were to be renamed when they were written, and nobody writes any more.
fn temporary(directory: &Path, now: Timestamp) -> Vec<PathBuf> {
    // As the crate `tempfile` names them: `.tmp` and six letters and digits.
    let mut files = named(directory, |name| {
        let rest = name.strip_prefix(".tmp");
        rest.is_some_and(|it| it.len() == 6 && it.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    });
    files.retain(|path| {
        let metadata = fs::symlink_metadata(path).ok().filter(Metadata::is_file);
        let modified = metadata.and_then(|metadata| metadata.modified().ok());
        modified.is_some_and(|modified| now.since(modified.into()) > ABANDONED)
    });
    files
}

fn named(directory: &Path, is_meant: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let meant = |name: &OsStr| name.to_str().is_some_and(&is_meant);
    let entries = entries.flatten().filter(|entry| meant(&entry.file_name()));
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

//! The directory of compiled components: what protects it, what an entry looks like, and when
//! entries go.
//!
//! An entry is the code followed by the CRC-32 (ITU-T V.42) of the entry's name and the code, in four
//! bytes, little-endian. The checksum finds damage, not malice: against that stands that nobody else
//! can write here.

use std::ffi::OsStr;
use std::fs::{self, DirEntry, File, Metadata};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An entry that no process has used for this long is removed when another one is stored.
const UNUSED: Duration = Duration::from_hours(30 * 24);
/// A file that a process left half-written is removed after this long.
const ABANDONED: Duration = Duration::from_hours(24);
/// How exactly the last use of an entry is known: a use within this time of another writes nothing.
const USE_RECORDED: Duration = Duration::from_hours(24);

const CHECKSUM: usize = size_of::<u32>();
const EXTENSION: &str = "cwasm";
const TEMPORARY: &str = ".hythe-";

/// A directory that nobody but this user can write to, or put another one in the place of.
pub(super) struct Cache(PathBuf);

/// Where the code of one component is or will be.
pub(super) struct Entry(PathBuf);

impl Cache {
    /// The directory at `path`, made when it is missing; `None` when it cannot be made or is not
    /// safe.
    pub(super) fn open(path: &Path) -> Option<Self> {
        match private(path) {
            Ok(path) => Some(Self(path)),
            Err(error) => {
                tracing::warn!(path = ?path, %error, "cache directory is not used");
                None
            }
        }
    }

    /// The entry for a component of this SHA-256 `digest`.
    ///
    /// Compiled code belongs to a component, a processor family and a build of wasmtime. wasmtime
    /// refuses what does not fit by itself; the name keeps two versions of Hythe from taking turns
    /// at overwriting each other's entries.
    pub(super) fn entry(&self, digest: &str) -> Entry {
        let (target, build) = (env!("HYTHE_TARGET"), env!("HYTHE_COMPATIBILITY"));
        Entry(self.0.join(format!("{digest}-{target}-{build}.{EXTENSION}")))
    }
}

impl Entry {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Whether the entry is there and as it was stored; notes that it is used.
    pub(super) fn is_intact(&self) -> bool {
        match self.verify() {
            Ok(intact) => intact,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::debug!(path = ?self.0, %error, "cached plugin cannot be read");
                }
                false
            }
        }
    }

    fn verify(&self) -> io::Result<bool> {
        let file = File::open(&self.0)?;
        let metadata = file.metadata()?;
        let length = metadata.len().saturating_sub(CHECKSUM as u64);
        let mut stored = [0; CHECKSUM];
        file.read_exact_at(&mut stored, length)?;
        if self.checksum(&mut BufReader::with_capacity(64 << 10, &file).take(length))?
            != u32::from_le_bytes(stored)
        {
            tracing::debug!(path = ?self.0, "cached plugin is damaged");
            return Ok(false);
        }
        if is_older(&metadata, USE_RECORDED)
            && let Err(error) = file.set_modified(now())
        {
            tracing::debug!(path = ?self.0, %error, "use of a cached plugin was not recorded");
        }
        Ok(true)
    }

    /// The checksum of the entry's name and of `code`: it is the code of this component and no other.
    fn checksum(&self, code: &mut impl BufRead) -> io::Result<u32> {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(self.0.file_name().unwrap_or_default().as_bytes());
        loop {
            let chunk = code.fill_buf()?;
            if chunk.is_empty() {
                return Ok(hasher.finalize());
            }
            hasher.update(chunk);
            let read = chunk.len();
            code.consume(read);
        }
    }

    /// Writes the entry whole or not at all, since readers map it, and removes what nobody uses.
    pub(super) fn store(&self, code: &[u8]) -> io::Result<()> {
        let directory = self.0.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(directory)?;
        file.write_all(code)?;
        file.write_all(&self.checksum(&mut &*code)?.to_le_bytes())?;
        file.persist(&self.0)?;
        prune(directory);
        Ok(())
    }
}

/// Removes entries that are not used any more, of whatever version of Hythe, and what a process left
/// that was stopped while it wrote. What cannot be removed stays.
fn prune(directory: &Path) {
    for path in leftovers(directory) {
        let removed = fs::remove_file(&path);
        tracing::debug!(?path, ?removed, "pruned a compiled plugin");
    }
}

/// The files of a cache directory that nobody needs: entries that are not used any more, and what a
/// process left half-written.
pub(crate) fn leftovers(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.flatten().filter(is_due).map(|entry| entry.path()).collect()
}

fn is_due(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let kept = if Path::new(&name).extension() == Some(OsStr::new(EXTENSION)) {
        UNUSED
    } else if name.to_string_lossy().starts_with(TEMPORARY) {
        ABANDONED
    } else {
        return false;
    };
    // The metadata of the link, if it is one.
    entry.metadata().is_ok_and(|metadata| metadata.is_file() && is_older(&metadata, kept))
}

/// Whether a file was last written longer ago than `age`; one from the future was not.
fn is_older(metadata: &Metadata, age: Duration) -> bool {
    let age_of = metadata.modified().ok().and_then(|modified| modified.elapsed().ok());
    age_of.is_some_and(|elapsed| elapsed > age)
}

#[expect(clippy::disallowed_methods, reason = "the age of a file decides nothing but its removal")]
fn now() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

/// Makes the directory when it is missing, and sees that only this user can write to it and that
/// nobody else can put another in its place; where it is, without symbolic links, which others might
/// turn elsewhere.
fn private(cache: &Path) -> io::Result<PathBuf> {
    let refused = |path: &Path, why: &str| {
        let message = format!("{} {why}", path.display());
        Err::<PathBuf, _>(io::Error::new(io::ErrorKind::PermissionDenied, message))
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(cache)?;
    let cache = fs::canonicalize(cache)?;
    let metadata = fs::metadata(&cache)?;
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    if metadata.uid() != user {
        return refused(&cache, "belongs to another user");
    }
    if metadata.permissions().mode() & 0o022 != 0 {
        return refused(&cache, "can be written to by others");
    }
    for above in cache.ancestors().skip(1) {
        let metadata = fs::metadata(above)?;
        if ![0, user].contains(&metadata.uid()) {
            return refused(above, "belongs to another user");
        }
        let mode = metadata.permissions().mode();
        // Where many users have one `umask 002`, each has a group of his own.
        let own_group = [0, group].contains(&metadata.gid());
        let writable = mode & 0o002 != 0 || (mode & 0o020 != 0 && !own_group);
        // In a sticky directory only the owner of an entry can rename or remove it (unlink(2)).
        if writable && mode & 0o1000 == 0 {
            return refused(above, "can be written to by others");
        }
    }
    Ok(cache)
}

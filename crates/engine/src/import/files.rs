//! Reading the files of other tools, within a bound.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::error::{ImportError, ImportProblem, fail, unreadable};

/// The largest file that is read, in MiB: a reservation takes a few hundred bytes, and there are 65,535
/// ports.
pub(super) const MAX_MIB: u64 = 64;

/// The bytes of a file that the user names, which may be a pipe.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, ImportError> {
    let mut bytes = Vec::new();
    let most = MAX_MIB << 20;
    File::open(path)
        .and_then(|file| file.take(most + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(path, error))?;
    if bytes.len() as u64 > most {
        return Err(fail(path, ImportProblem::TooLarge(MAX_MIB)));
    }
    Ok(bytes)
}

/// The bytes of a file that a tool keeps; `None` when there is none.
pub(super) fn kept(path: &Path) -> Result<Option<Vec<u8>>, ImportError> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(path, error)),
        // Opening a pipe that somebody left there would wait for ever.
        Ok(metadata) if !metadata.is_file() => Err(irregular(path)),
        Ok(_) => read(path).map(Some),
    }
}

/// The file itself, or the file called `name` in the directory.
pub(super) fn within(path: &Path, name: &str) -> Result<PathBuf, ImportError> {
    let metadata = fs::metadata(path).map_err(|error| unreadable(path, error))?;
    if !metadata.is_dir() {
        return Ok(path.to_owned());
    }
    let file = path.join(name);
    match fs::metadata(&file) {
        Err(error) => Err(unreadable(&file, error)),
        Ok(metadata) if !metadata.is_file() => Err(irregular(&file)),
        Ok(_) => Ok(file),
    }
}

/// Whether `path` is a directory; fails when nothing is there.
pub(super) fn is_directory(path: &Path) -> Result<bool, ImportError> {
    fs::metadata(path).map(|metadata| metadata.is_dir()).map_err(|error| unreadable(path, error))
}

pub(super) fn irregular(path: &Path) -> ImportError {
    let message = "it is not a regular file";
    unreadable(path, io::Error::new(io::ErrorKind::InvalidInput, message))
}

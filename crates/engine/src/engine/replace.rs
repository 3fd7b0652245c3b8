//! Files that are written whole or not at all.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::Access;

/// Writes `bytes` to the file `path`, or to what it is a link to, and keeps its permissions. A new
/// file gets the mode 0644. Fails when something else than a file is
/// there, or when the file is read-only for everybody.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = &match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        path => path?,
    };
    let permissions = permissions(path)?.unwrap_or_else(|| Permissions::from_mode(0o644));
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(path))?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(permissions)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// Fails when [`replace`] is bound to fail.
pub(super) fn replaceable(path: &Path) -> io::Result<()> {
    permissions(path)?;
    let directory = path.parent().unwrap_or(path);
    rustix::fs::access(directory, Access::WRITE_OK | Access::EXEC_OK)?;
    Ok(())
}

/// Those of a file that may be written, if it is there.
fn permissions(path: &Path) -> io::Result<Option<Permissions>> {
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata?,
    };
    if !metadata.is_file() {
        let message = "it is not a regular file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    // Renaming would go over it all the same.
    if metadata.permissions().readonly() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is read-only"));
    }
    Ok(Some(metadata.permissions()))
}

//! Compiled components: from this program, from the cache, or compiled now.
//!
//! Loading compiled code is as dangerous as running a program: it is not verified again, and a
//! flipped byte runs. It is therefore taken from two places only: from inside this program, and
//! from a cache directory that nobody but this user can write to. Any doubt about an entry of the
//! cache is a miss, never an error.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::{fs, io};

use wasmtime::component::Component;
use wasmtime::{Engine, Precompiled};

use super::{Problem, tunables};

/// A component that was compiled by this program's build.
pub(super) fn embedded(engine: &Engine, code: &'static [u8]) -> Result<Component, Problem> {
    deserialize(engine, Trusted::Embedded(code))
        .map_err(|error| Problem::Host(format!("{error:#}")))
}

/// The component `bytes` of this SHA-256 `digest`, from the directory `cache` or compiled and put
/// there.
pub(super) fn load(
    engine: &Engine,
    bytes: &[u8],
    digest: &str,
    cache: Option<&Path>,
) -> Result<Component, Problem> {
    let entry = cache.and_then(private).map(|cache| cache.join(entry_name(digest)));
    if let Some(path) = &entry
        && let Some(component) = cached(engine, path)
    {
        return Ok(component);
    }
    let code = compile(bytes)?;
    if let Some(path) = &entry
        && let Err(error) = store(path, &code)
    {
        tracing::warn!(path = %path.display(), %error, "compiled plugin was not cached");
    }
    deserialize(engine, Trusted::Compiled(&code))
        .map_err(|error| Problem::Host(format!("{error:#}")))
}

/// Compiled code belongs to a component, a processor family and a build of wasmtime. wasmtime refuses
/// what does not fit by itself; the name keeps two versions of Hythe from taking turns at
/// overwriting each other's entries.
fn entry_name(digest: &str) -> String {
    format!("{digest}-{}-{}.cwasm", env!("HYTHE_TARGET"), env!("HYTHE_COMPATIBILITY"))
}

fn compile(bytes: &[u8]) -> Result<Vec<u8>, Problem> {
    let invalid = |error: wasmtime::Error| Problem::Invalid(format!("{error:#}"));
    // The second half of the version field of a binary is its layer: 0 for a core module, 1 for a
    // component (component-model/design/mvp/Binary.md).
    if bytes.starts_with(b"\0asm\x01\0\0\0") {
        return Err(Problem::CoreModule);
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(Problem::Invalid("it does not begin like WebAssembly".to_owned()));
    }
    let started = std::time::Instant::now();
    let code = tunables::tunables(env!("HYTHE_TARGET"))
        .and_then(|config| Engine::new(&config))
        .map_err(|error| Problem::Host(format!("{error:#}")))?
        .precompile_component(bytes)
        .map_err(invalid)?;
    tracing::debug!(bytes = bytes.len(), elapsed = ?started.elapsed(), "compiled a plugin");
    Ok(code)
}

/// The directory `cache`, made when it is missing, if nobody but this user can write to it.
fn private(cache: &Path) -> Option<PathBuf> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(cache);
    let metadata = made.and_then(|()| fs::metadata(cache));
    match metadata {
        Ok(metadata) => {
            let others = metadata.permissions().mode() & 0o022 != 0;
            let mine = metadata.uid() == rustix::process::geteuid().as_raw();
            if others || !mine {
                tracing::warn!(path = %cache.display(), "cache directory is not private; not used");
            }
            (mine && !others).then(|| cache.to_owned())
        }
        Err(error) => {
            tracing::debug!(path = %cache.display(), %error, "cache directory cannot be used");
            None
        }
    }
}

fn cached(engine: &Engine, path: &Path) -> Option<Component> {
    // A file that is cut off or of another build is told by its header; looking first keeps the
    // common miss, no file at all, cheap.
    match Engine::detect_precompiled_file(path) {
        Ok(Some(Precompiled::Component)) => {}
        _ => return None,
    }
    match deserialize(engine, Trusted::Cached(path)) {
        Ok(component) => Some(component),
        Err(error) => {
            tracing::debug!(path = %path.display(), %error, "cached plugin is not usable");
            None
        }
    }
}

/// Writes the entry whole or not at all: readers map it.
fn store(path: &Path, code: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(code)?;
    file.persist(path)?;
    Ok(())
}

enum Trusted<'a> {
    Embedded(&'static [u8]),
    Compiled(&'a [u8]),
    Cached(&'a Path),
}

#[expect(unsafe_code, reason = "compiled code is taken on trust; here is why it may be")]
fn deserialize(engine: &Engine, code: Trusted<'_>) -> wasmtime::Result<Component> {
    match code {
        // SAFETY: both come from `Engine::precompile_component`, the first in this program's build
        // and the second a moment ago in this process.
        Trusted::Embedded(bytes) | Trusted::Compiled(bytes) => unsafe {
            Component::deserialize(engine, bytes)
        },
        // SAFETY: `private` has seen that only this user can write to the directory, and `store` is
        // the only one that does, by renaming whole files into it.
        Trusted::Cached(path) => unsafe { Component::deserialize_file(engine, path) },
    }
}

//! Compiled components: from this program, from the cache, or compiled now.
//!
//! Loading compiled code is as dangerous as running a program: it is not verified again, and a
//! flipped byte runs. It is therefore taken from two places only: from inside this program, and
//! from a cache directory that nobody but this user can write to. Any doubt about an entry of the
//! cache is a miss, never an error.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use wasmparser::{BinaryReaderError, Parser, Payload};
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
        tracing::warn!(path = ?path, %error, "compiled plugin was not cached");
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
    let instances = instances(bytes).map_err(|error| Problem::Invalid(error.to_string()))?;
    if instances > MAX_INSTANCES {
        return Err(Problem::TooComplex(format!("it nests up to {instances} instances")));
    }
    let engine = tunables::tunables(env!("HYTHE_TARGET"))
        .and_then(|config| Engine::new(&config))
        .map_err(|error| Problem::Host(format!("{error:#}")))?;
    let started = Instant::now();
    let (compiled, outcome) = mpsc::channel();
    let component = bytes.to_vec();
    // The compiler cannot be interrupted, so it works in a thread that can be left behind.
    thread::spawn(move || compiled.send(engine.precompile_component(&component)));
    let code = outcome.recv_timeout(COMPILE_TIME).map_err(|_| {
        Problem::TooComplex(format!("the compiler did not finish within {COMPILE_TIME:?}"))
    })?;
    tracing::debug!(bytes = bytes.len(), elapsed = ?started.elapsed(), "compiled a plugin");
    code.map_err(invalid)
}

/// How long compiling may take. A component of 20 KB takes 10 ms, one of 12 MB with a JavaScript
/// engine inside about 10 s.
const COMPILE_TIME: Duration = Duration::from_secs(30);

/// How many instances of modules and components may be nested within each other, counted together.
const MAX_INSTANCES: u64 = 100_000;

/// An upper bound on what instances of instances multiply to: a few hundred bytes can nest so many
/// that translating them takes all memory there is.
fn instances(bytes: &[u8]) -> Result<u64, BinaryReaderError> {
    let (mut open, mut product) = (Vec::new(), 1_u64);
    for payload in Parser::new(0).parse_all(bytes) {
        let count = match payload? {
            Payload::Version { .. } => {
                open.push(1_u64);
                continue;
            }
            Payload::InstanceSection(section) => section.count(),
            Payload::ComponentInstanceSection(section) => section.count(),
            Payload::End(_) => {
                product = product.saturating_mul(open.pop().unwrap_or(1));
                continue;
            }
            _ => continue,
        };
        if let Some(open) = open.last_mut() {
            *open = open.saturating_add(u64::from(count));
        }
    }
    Ok(product)
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
                tracing::warn!(path = ?cache, "cache directory is not private; not used");
            }
            (mine && !others).then(|| cache.to_owned())
        }
        Err(error) => {
            tracing::debug!(path = ?cache, %error, "cache directory cannot be used");
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
            tracing::debug!(path = ?path, %error, "cached plugin is not usable");
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

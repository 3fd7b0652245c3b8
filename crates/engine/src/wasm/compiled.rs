//! Compiled components: from this program, from the cache, or compiled now.
//!
//! Loading compiled code is as dangerous as running a program: nothing verifies it again. It is
//! therefore taken from two places only: from inside this program, and from a [`Cache`] that nobody
//! but this user can write to. Any doubt about an entry of the cache is a miss, never an error.

use std::path::Path;
use std::time::Duration;

use wasmtime::Engine;
use wasmtime::component::Component;

use super::Problem;
use super::cache::{Cache, Entry};
use super::compile::compile;

/// A component that was compiled by this program's build.
pub(super) fn embedded(engine: &Engine, code: &'static [u8]) -> Result<Component, Problem> {
    deserialize(engine, Trusted::Embedded(code))
        .map_err(|error| Problem::Host(format!("{error:#}")))
}

/// The component `bytes` of this SHA-256 `digest`, from the directory `cache`, or compiled within
/// `time` and put there; then `waiting` is called once if that takes a while.
pub(super) fn load(
    engine: &Engine,
    bytes: &[u8],
    digest: &str,
    cache: Option<&Path>,
    time: Duration,
    waiting: &dyn Fn(),
) -> Result<Component, Problem> {
    let entry = cache.and_then(Cache::open).map(|cache| cache.entry(digest));
    if let Some(component) = entry.as_ref().and_then(|entry| cached(engine, entry)) {
        return Ok(component);
    }
    let code = compile(bytes, time, waiting)?;
    if let Some(entry) = &entry
        && let Err(error) = entry.store(&code)
    {
        tracing::warn!(path = ?entry.path(), %error, "compiled plugin was not cached");
    }
    deserialize(engine, Trusted::Compiled(&code))
        .map_err(|error| Problem::Host(format!("{error:#}")))
}

fn cached(engine: &Engine, entry: &Entry) -> Option<Component> {
    if !entry.is_intact() {
        return None;
    }
    match deserialize(engine, Trusted::Cached(entry.path())) {
        Ok(component) => Some(component),
        Err(error) => {
            tracing::debug!(path = ?entry.path(), %error, "cached plugin is not usable");
            None
        }
    }
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
        // SAFETY: `Cache::open` has seen that only this user can write to the directory or replace
        // it. `Entry::store` is the only one that does, by renaming whole files into it, and
        // `Entry::is_intact` has seen that they are as they were stored.
        Trusted::Cached(path) => unsafe { Component::deserialize_file(engine, path) },
    }
}

//! The compile step and its bounds: a few bytes can be made to cost the compiler all memory and hours.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use wasmtime::Engine;

use super::complexity::{self, Refusal};
use super::{Problem, tunables};

/// How long somebody waits before being told what for.
const PATIENCE: Duration = Duration::from_millis(500);

/// The component `bytes` as code for this processor family. Fails when it is no component, could
/// take the compiler too much memory, or takes it longer than `time`. Calls `waiting` once when it takes
/// a while.
pub(super) fn compile(
    bytes: &[u8],
    time: Duration,
    waiting: &dyn Fn(),
) -> Result<Vec<u8>, Problem> {
    let invalid = |error: wasmtime::Error| Problem::Invalid(format!("{error:#}"));
    // The second half of the version field of a binary is its layer: 0 for a core module, 1 for a
    // component (component-model/design/mvp/Binary.md).
    if bytes.starts_with(b"\0asm\x01\0\0\0") {
        return Err(Problem::CoreModule);
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(Problem::Invalid("it does not begin like WebAssembly".to_owned()));
    }
    complexity::check(bytes).map_err(|refusal| match refusal {
        Refusal::Damaged(error) => Problem::Invalid(error.to_string()),
        Refusal::TooComplex(why) => Problem::TooComplex(why),
    })?;
    let engine = tunables::tunables(env!("HYTHE_TARGET"))
        .and_then(|config| Engine::new(&config))
        .map_err(|error| Problem::Host(format!("{error:#}")))?;
    let started = Instant::now();
    let (compiled, outcome) = mpsc::channel();
    let component = bytes.to_vec();
    // The compiler cannot be interrupted, so it works in a thread that can be left behind.
    thread::Builder::new()
        .name("compiler".to_owned())
        .spawn(move || compiled.send(engine.precompile_component(&component)))
        .map_err(|error| Problem::Host(format!("no thread for the compiler: {error}")))?;
    let patient = outcome.recv_timeout(time.min(PATIENCE)).or_else(|error| match error {
        RecvTimeoutError::Timeout if time > PATIENCE => {
            waiting();
            outcome.recv_timeout(time.saturating_sub(PATIENCE))
        }
        error => Err(error),
    });
    let code = patient.map_err(|error| match error {
        RecvTimeoutError::Timeout => Problem::TooSlow(time),
        // The thread has ended without an outcome.
        RecvTimeoutError::Disconnected => Problem::Host("the compiler failed".to_owned()),
    })?;
    let elapsed = started.elapsed();
    if elapsed > time {
        return Err(Problem::TooSlow(time));
    }
    tracing::debug!(bytes = bytes.len(), ?elapsed, "compiled a plugin");
    code.map_err(invalid)
}

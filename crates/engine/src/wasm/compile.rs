//! The compile step and its bounds: a few bytes can be made to cost the compiler all memory and hours.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use wasmparser::{BinaryReaderError, Parser, Payload};
use wasmtime::Engine;

use super::{Problem, tunables};

/// The component `bytes` as code for this processor family. Fails when it is no component, nests more
/// than [`MAX_INSTANCES`], or takes the compiler longer than `time`.
pub(super) fn compile(bytes: &[u8], time: Duration) -> Result<Vec<u8>, Problem> {
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
    let code = outcome.recv_timeout(time).map_err(|_| Problem::TooSlow(time))?;
    tracing::debug!(bytes = bytes.len(), elapsed = ?started.elapsed(), "compiled a plugin");
    code.map_err(invalid)
}

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

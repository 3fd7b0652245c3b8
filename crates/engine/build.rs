//! Compiles the bundled policies for the target, so that no process ever has to.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::{env, fs};

include!("src/wasm/tunables.rs");

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[expect(clippy::disallowed_methods, reason = "cargo speaks to build scripts in variables")]
fn main() -> Outcome {
    let target = env::var("TARGET")?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let bundled = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../plugins/bundled");
    println!("cargo::rustc-env=HYTHE_TARGET={target}");
    println!("cargo::rerun-if-changed=src/wasm/tunables.rs");

    let engine = wasmtime::Engine::new(&tunables(&target)?)?;
    println!("cargo::rustc-env=HYTHE_COMPATIBILITY={}", compatibility(&engine));
    for name in ["path-sticky", "pid-reap", "ttl"] {
        let component = bundled.join(name).with_extension("wasm");
        println!("cargo::rerun-if-changed={}", component.display());
        let code = engine.precompile_component(&fs::read(&component)?)?;
        fs::write(out.join(name).with_extension("cwasm"), code)?;
    }
    Ok(())
}

/// Tells compiled code that this wasmtime, under these settings, loads from any other.
fn compatibility(engine: &wasmtime::Engine) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

//! `cargo xtask bundle`: builds the default plugins and puts them under `plugins/bundled`.
//!
//! The components are committed, so that building Hythe needs no wasm target. `--check` builds them
//! again and compares byte for byte: what is embedded is what the sources say.

use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use wit_component::ComponentEncoder;

const PLUGINS: [&str; 3] = ["path-sticky", "pid-reap", "ttl"];

/// Builds the plugins of the workspace at `root`, then writes their components, or compares them
/// with those that are there.
pub(crate) fn run(root: &Path, check: bool) -> Result<(), Box<dyn Error>> {
    let target = build(root)?;
    let mut stale = Vec::new();
    for name in PLUGINS {
        let module = target.join(format!("{}.wasm", name.replace('-', "_")));
        let component = ComponentEncoder::default()
            .validate(true)
            .module(&fs::read(&module)?)?
            .encode()
            .map_err(|error| format!("{name}: {error:#}"))?;
        let bundled = root.join("plugins/bundled").join(name).with_extension("wasm");
        if !check {
            fs::write(&bundled, &component)?;
        } else if fs::read(&bundled)? != component {
            stale.push(name);
        }
        println!("{name}: {} bytes", component.len());
    }
    if stale.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the bundled plugins differ from what their sources build: {}\nhint: cargo xtask bundle",
        stale.join(", ")
    )
    .into())
}

/// Builds the core modules; where they are.
#[expect(clippy::disallowed_methods, reason = "cargo speaks to its tools in variables")]
fn build(root: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let root = &root.canonicalize()?;
    let target = root.join("target/plugins");
    let cargo_home = env::var_os("CARGO_HOME")
        .or_else(|| env::home_dir().map(|home| home.join(".cargo").into_os_string()))
        .unwrap_or_default();
    // One page of stack instead of sixteen: less memory to prepare at every call. And no path of
    // the machine that builds, or the bytes would differ from one to the next.
    let mut flags = OsString::from("-Clink-arg=-zstack-size=32768");
    for (from, to) in [(cargo_home.as_os_str(), "/cargo"), (root.as_os_str(), "/hythe")] {
        flags.push("\u{1f}--remap-path-prefix=");
        flags.push(from);
        flags.push("=");
        flags.push(to);
    }
    let status = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()))
        .args(["build", "--release", "--locked", "--target", "wasm32-unknown-unknown"])
        .current_dir(root.join("plugins"))
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .env_remove("RUSTFLAGS")
        .status()?;
    if !status.success() {
        return Err("the plugins do not build\n\
                    hint: rustup target add wasm32-unknown-unknown"
            .into());
    }
    Ok(target.join("wasm32-unknown-unknown/release"))
}

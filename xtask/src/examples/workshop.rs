//! Where plugins are built, and the tools that build them.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Outcome;

/// The binary of this repository, and everything needed to build plugins for it.
pub(super) struct Workshop {
    root: PathBuf,
    hythe: PathBuf,
    cc: String,
}

impl Workshop {
    /// Builds the binary of the repository at `root`; `cc` is the C compiler, as make gets it.
    pub(super) fn open(root: &Path, cc: &str) -> Outcome<Self> {
        let root = root.canonicalize()?;
        let mut built = command(cargo());
        run(built
            .args(["build", "--release", "--locked", "--package", "hythe"])
            .current_dir(&root))?;
        let hythe = target(&root).join("release/hythe");
        let workshop = Self { hythe, root, cc: cc.to_owned() };
        fs::create_dir_all(workshop.built())?;
        Ok(workshop)
    }

    /// The root of the repository.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where what is built goes.
    pub(super) fn built(&self) -> PathBuf {
        target(&self.root).join("examples")
    }

    /// Tests on this machine what a plugin in Rust decides; its bindings exist for the sandbox only.
    pub(super) fn cargo_test(&self, source: &Path) -> Outcome {
        let mut test = self.cargo_in(source);
        run(test.args(["test", "--quiet", "--locked", "--target", &host()?]))
    }

    /// Builds the plugin in Rust at `source`.
    pub(super) fn cargo(
        &self,
        source: &Path,
        name: &str,
        arguments: &[&str],
        component: &Path,
    ) -> Outcome {
        run(self.cargo_in(source).args(["build", "--release"]).args(arguments))?;
        let module = format!("wasm32-unknown-unknown/release/{}.wasm", name.replace('-', "_"));
        let mut encode = self.bare_hythe();
        let module = self.cargo_target().join(module);
        run(encode.args(["plugin", "encode"]).arg(module).arg("-o").arg(component))
    }

    fn cargo_in(&self, source: &Path) -> Command {
        let mut cargo = command(cargo());
        cargo
            .current_dir(source)
            .env("CARGO_TARGET_DIR", self.cargo_target())
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS");
        cargo
    }

    fn cargo_target(&self) -> PathBuf {
        self.built().join("cargo")
    }

    /// Builds the plugin in C at `source`, there.
    pub(super) fn make(&self, source: &Path) -> Outcome {
        let (cc, hythe) = (&self.cc, self.hythe.to_string_lossy());
        let mut make = command("make");
        run(make.arg(format!("CC={cc}")).arg(format!("HYTHE={hythe}")).current_dir(source))
    }

    /// A copy of the example's files where building may leave others, beside a copy of the contract.
    pub(super) fn copy(&self, example: &Path, name: &str) -> Outcome<PathBuf> {
        let copy = self.built().join("sources/examples").join(name);
        fs::create_dir_all(&copy)?;
        for entry in fs::read_dir(example)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                fs::copy(entry.path(), copy.join(entry.file_name()))?;
            }
        }
        let wit = self.built().join("sources/wit");
        fs::create_dir_all(&wit)?;
        fs::copy(self.root.join("wit/policy.wit"), wit.join("policy.wit"))?;
        Ok(copy)
    }

    /// Has the binary do something in `directory` for a user whose home is `home`.
    pub(super) fn hythe(&self, home: &Path, directory: &Path, arguments: &[&str]) -> Outcome {
        run(self.bare_hythe().args(arguments).current_dir(directory).env("HOME", home))
    }

    /// The binary, with nothing of whoever runs this: neither settings nor ledger.
    fn bare_hythe(&self) -> Command {
        let mut hythe = command(&self.hythe);
        for name in ["CONFIG", "STATE_DIR", "RANGE", "PROJECT", "TASK", "AGENT", "ON_CONFLICT"] {
            hythe.env_remove(format!("HYTHE_{name}"));
        }
        for name in ["XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"] {
            hythe.env_remove(name);
        }
        hythe
    }
}

/// Builds the plugin in JavaScript at `source`, there.
pub(super) fn npm(source: &Path) -> Outcome {
    run(command("npm").args(["install", "--no-audit", "--no-fund"]).current_dir(source))?;
    run(command("npm").args(["run", "build"]).current_dir(source))
}

fn command(program: impl AsRef<OsStr>) -> Command {
    Command::new(program)
}

fn run(command: &mut Command) -> Outcome {
    let shown = format!("{command:?}");
    let status = command.status().map_err(|error| format!("{shown}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{shown}: {status}").into()) }
}

#[expect(clippy::disallowed_methods, reason = "cargo speaks to its tools in variables")]
fn cargo() -> PathBuf {
    std::env::var_os("CARGO").unwrap_or("cargo".into()).into()
}

#[expect(clippy::disallowed_methods, reason = "cargo speaks to its tools in variables")]
fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

/// The target of this machine, as rustc calls it.
fn host() -> Outcome<String> {
    let output = command("rustc").arg("-vV").output()?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.ok_or("rustc does not say what this machine is")?.to_owned())
}

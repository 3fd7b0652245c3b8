//! The programs that are compared, and room for the worlds they run in.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use serde_json::Value;
use tempfile::TempDir;

use super::Outcome;
use super::world::World;

/// Who is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    /// Prints `hello`.
    Floor,
    /// The peer.
    Trop,
    /// Hythe.
    Hythe,
}

/// The programs, and room for worlds.
pub(super) struct Yard {
    floor: PathBuf,
    trop: Option<PathBuf>,
    hythe: PathBuf,
    plugin: PathBuf,
    scratch: TempDir,
}

impl Yard {
    /// Builds what is to be built of the repository at `root`, and looks for the rest.
    pub(super) fn open(root: &Path) -> Outcome<Self> {
        let root = root.canonicalize()?;
        let scratch = tempfile::tempdir()?;
        Ok(Self {
            floor: build_floor(&root, scratch.path())?,
            trop: on_path("trop"),
            hythe: build_hythe(&root)?,
            plugin: root.join("plugins/bundled/path-sticky.wasm"),
            scratch,
        })
    }

    /// Where a program is, if it is there at all.
    pub(super) fn executable(&self, program: Program) -> Option<&Path> {
        match program {
            Program::Floor => Some(&self.floor),
            Program::Trop => self.trop.as_deref(),
            Program::Hythe => Some(&self.hythe),
        }
    }

    pub(super) fn has(&self, program: Program) -> bool {
        self.executable(program).is_some()
    }

    /// A plugin.
    pub(super) fn plugin(&self) -> &Path {
        &self.plugin
    }

    /// A world without reservations.
    pub(super) fn world(&self) -> Outcome<World<'_>> {
        World::new(self, tempfile::tempdir_in(self.scratch.path().canonicalize()?)?)
    }

    /// A world where the place has its reservation.
    pub(super) fn settled(&self) -> Outcome<World<'_>> {
        let world = self.world()?;
        for program in [Program::Hythe, Program::Trop] {
            if self.has(program) {
                world.answer(program, &["reserve"])?;
            }
        }
        Ok(world)
    }
}

/// A release build of the smallest program, by the compiler of this repository.
fn build_floor(root: &Path, scratch: &Path) -> Outcome<PathBuf> {
    let (source, floor) = (scratch.join("floor.rs"), scratch.join("floor"));
    fs::write(&source, "fn main() { println!(\"hello\") }\n")?;
    let mut rustc = Command::new("rustc");
    rustc.args(["-O", "-Cpanic=abort", "-Cstrip=symbols", "--edition=2024", "-o"]);
    // Its directory says which toolchain.
    if rustc.args([&floor, &source]).current_dir(root).status()?.success() {
        return Ok(floor);
    }
    Err("the floor does not build".into())
}

/// The release build of Hythe.
fn build_hythe(root: &Path) -> Outcome<PathBuf> {
    build(root, &["--package=hythe"])
}

/// The release build of an example of the server's.
pub(super) fn build_example(root: &Path, name: &str) -> Outcome<PathBuf> {
    build(root, &["--package=hythe-server", "--example", name])
}

/// The executable of a release build.
#[expect(clippy::disallowed_methods, reason = "cargo speaks to its tools in variables")]
fn build(root: &Path, what: &[&str]) -> Outcome<PathBuf> {
    let output = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()))
        .args(["build", "--release", "--message-format=json-render-diagnostics"])
        .args(what)
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("{} does not build", what.join(" ")).into());
    }
    // The last message that names one is of the binary; build scripts are named before it.
    String::from_utf8(output.stdout)?
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .next_back()
        .ok_or_else(|| "cargo names no executable".into())
}

/// The file that the shell would run.
#[expect(clippy::disallowed_methods, reason = "looks for programs as the shell does")]
pub(super) fn on_path(program: &str) -> Option<PathBuf> {
    let directories = env::var_os("PATH")?;
    env::split_paths(&directories)
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

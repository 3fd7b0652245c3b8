//! A machine of its own for each test: home, state, cache and projects in a temporary directory,
//! and the real binary. An exit code that a test does not assert fails the test.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The real binary.
pub const HYTHE: &str = env!("CARGO_BIN_EXE_hythe");

/// A machine of its own.
pub struct World {
    root: TempDir,
}

impl World {
    pub fn new() -> Self {
        let world = Self { root: tempfile::tempdir().unwrap() };
        fs::create_dir(world.home()).unwrap();
        world
    }

    /// The directory that everything lies in, without symbolic links.
    pub fn root(&self) -> PathBuf {
        self.root.path().canonicalize().unwrap()
    }

    pub fn home(&self) -> PathBuf {
        self.root().join("home")
    }

    pub fn state(&self) -> PathBuf {
        self.home().join(".local/state/hythe")
    }

    pub fn ledger(&self) -> PathBuf {
        self.state().join("ledger.db")
    }

    pub fn cache(&self) -> PathBuf {
        self.home().join(".cache/hythe")
    }

    /// Makes a directory.
    pub fn dir(&self, name: impl AsRef<Path>) -> PathBuf {
        let directory = self.root().join(name);
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    /// Makes a git repository with one commit.
    pub fn repository(&self, name: &str) -> PathBuf {
        let directory = self.dir(name);
        self.git(&directory, &["init", "--quiet", "--initial-branch=main"]);
        self.git(&directory, &["commit", "--quiet", "--allow-empty", "--message=first"]);
        directory
    }

    pub fn git(&self, directory: &Path, arguments: &[&str]) {
        let status = Command::new("git")
            .args(["-c", "user.name=Test", "-c", "user.email=test@example.invalid"])
            .args(["-c", "protocol.file.allow=always"])
            .args(arguments)
            .current_dir(directory)
            .env("HOME", self.home())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .status()
            .unwrap();
        assert!(status.success(), "git {arguments:?}");
    }

    /// Writes the user's `config.toml`.
    pub fn config(&self, text: &str) -> PathBuf {
        let file = self.home().join(".config/hythe/config.toml");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        file
    }

    /// `hythe` in `directory`, with nothing of this process's environment but the search path.
    pub fn command(&self, directory: &Path) -> Command {
        let mut command = Command::new(HYTHE);
        command
            .current_dir(directory)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home())
            .stdin(Stdio::null());
        command
    }

    /// Runs `hythe ARGUMENTS` in `directory`.
    pub fn run<A: AsRef<OsStr>>(
        &self,
        directory: &Path,
        arguments: impl IntoIterator<Item = A>,
    ) -> Run {
        Run::of(self.command(directory).args(arguments))
    }

    /// The port that `hythe reserve ARGUMENTS` prints in `directory`.
    pub fn reserve(&self, directory: &Path, arguments: &[&str]) -> u16 {
        self.run(directory, [&["reserve"], arguments].concat()).port()
    }
}

/// A process that has ended. Its exit code must be looked at.
#[must_use]
pub struct Run {
    output: Output,
    checked: bool,
}

impl Run {
    pub fn of(command: &mut Command) -> Self {
        Self { output: command.output().unwrap(), checked: false }
    }

    pub fn from(output: Output) -> Self {
        Self { output, checked: false }
    }

    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// Asserts the exit code.
    #[track_caller]
    pub fn exits(mut self, code: i32) -> Self {
        self.checked = true;
        let (stdout, stderr) = (self.stdout(), self.stderr());
        let status = self.output.status;
        assert_eq!(status.code(), Some(code), "{status}\nstdout: {stdout}\nstderr: {stderr}");
        self
    }

    /// Asserts success; what was written to stdout.
    #[track_caller]
    pub fn ok(self) -> String {
        self.exits(0).stdout()
    }

    /// Asserts failure with this code and an empty stdout; what was written to stderr.
    #[track_caller]
    pub fn fails(self, code: i32) -> String {
        let run = self.exits(code);
        assert_eq!(run.stdout(), "", "a failure prints no result");
        assert!(!run.stderr().is_empty(), "a failure says why");
        run.stderr()
    }

    /// Asserts success and that stdout is nothing but a port.
    #[track_caller]
    pub fn port(self) -> u16 {
        let text = self.ok();
        let port = text.strip_suffix('\n').and_then(|line| line.parse().ok());
        port.unwrap_or_else(|| panic!("not a port and a line break: {text:?}"))
    }

    /// Asserts success; the JSON document on stdout.
    #[track_caller]
    pub fn json(self) -> Value {
        serde_json::from_str(&self.ok()).unwrap()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let looked = self.checked || std::thread::panicking();
        assert!(looked, "a test did not look at the exit code {}", self.output.status);
    }
}

//! The user's service manager: which one there is, where its files are, what it is told.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hythe_document::{ExitCode, Failure};
use hythe_engine::shell;
use hythe_server::daemon::{self, Service};
use serde_json::json;

use crate::environment::{self, Environment};

/// A service manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Systemd,
    Launchd,
}

/// The user's service manager.
pub(super) struct Supervisor {
    kind: Kind,
    /// Whether its tool is found.
    found: bool,
    /// The file that says how the server is started.
    pub(super) file: PathBuf,
    /// The file that launchd writes what it says to.
    log: PathBuf,
}

/// What is at the place of its file.
pub(super) enum Installed {
    /// Nothing.
    No,
    /// A text that Hythe has written.
    Own(String),
    /// Something else.
    Foreign,
}

/// A command that is run.
pub(super) struct Step {
    words: Vec<String>,
    /// Whether nothing is wrong when it fails.
    optional: bool,
}

impl Step {
    fn new(words: &[&str]) -> Self {
        Self { words: words.iter().map(|word| (*word).to_owned()).collect(), optional: false }
    }

    fn optional(self) -> Self {
        Self { optional: true, ..self }
    }

    /// The command, to be pasted.
    pub(super) fn line(&self) -> String {
        self.words.iter().map(|word| shell::word(word)).collect::<Vec<_>>().join(" ")
    }

    /// Runs it.
    pub(super) fn run(&self) -> Result<(), Failure> {
        tracing::debug!(command = self.line(), "running");
        let mut command = Command::new(&self.words[0]);
        let output = command.args(&self.words[1..]).stdin(Stdio::null()).output();
        let said = match output {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => match String::from_utf8_lossy(&output.stderr).trim() {
                "" => output.status.to_string(),
                said => said.to_owned(),
            },
            Err(error) => error.to_string(),
        };
        if self.optional { Ok(()) } else { Err(self.failed(&said)) }
    }

    fn failed(&self, said: &str) -> Failure {
        Failure {
            hint: Some("hythe daemon status".to_owned()),
            ..Failure::unexpected(format!("`{}` failed: {said}", self.line()))
        }
    }
}

/// How much of a file is read.
const LONGEST: u64 = 64 * 1024;

impl Supervisor {
    /// The one whose tool is found, or else that of the system. There is only one of them anywhere.
    pub(super) fn of_user(environment: &Environment) -> Result<Self, Failure> {
        let paths = environment::search_path();
        let has = |tool: &str| {
            let mode = |file: PathBuf| fs::metadata(file).ok().filter(fs::Metadata::is_file);
            let mut files = paths.iter().filter_map(|path| mode(path.join(tool)));
            files.any(|file| file.permissions().mode() & 0o111 != 0)
        };
        let (kind, found) = match (has("systemctl"), has("launchctl")) {
            (true, _) => (Kind::Systemd, true),
            (_, true) => (Kind::Launchd, true),
            _ if cfg!(target_os = "macos") => (Kind::Launchd, false),
            _ => (Kind::Systemd, false),
        };
        let home = environment.home.config.home.as_deref();
        let (Some(home), Some(config)) = (home, environment::config_directory()) else {
            let hint = "HOME=DIR";
            return Err(Failure::configuration("there is no home directory", hint));
        };
        let library = home.join("Library");
        let file = match kind {
            Kind::Systemd => config.join("systemd/user").join(daemon::NAME),
            Kind::Launchd => library.join(format!("LaunchAgents/{}.plist", daemon::LABEL)),
        };
        Ok(Self { kind, found, file, log: library.join("Logs/hythe.log") })
    }

    pub(super) fn word(&self) -> &'static str {
        match self.kind {
            Kind::Systemd => "systemd",
            Kind::Launchd => "launchd",
        }
    }

    /// The text of its file.
    pub(super) fn text(&self, service: &Service) -> Result<String, Failure> {
        let text = match self.kind {
            Kind::Systemd => daemon::unit(service),
            Kind::Launchd => daemon::plist(service, &self.log),
        };
        text.map_err(|error| Failure::usage(&error.to_string(), Some("give it another name")))
    }

    /// What is at the place of its file.
    pub(super) fn installed(&self) -> Result<Installed, Failure> {
        let file = match File::open(&self.file) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A link that leads nowhere is somebody's.
                let link = self.file.symlink_metadata().is_ok();
                return Ok(if link { Installed::Foreign } else { Installed::No });
            }
            Err(error) => return Err(self.unusable(&error)),
        };
        let mut bytes = Vec::new();
        file.take(LONGEST).read_to_end(&mut bytes).map_err(|error| self.unusable(&error))?;
        Ok(match String::from_utf8(bytes) {
            Ok(text) if daemon::is_own(&text) => Installed::Own(text),
            _ => Installed::Foreign,
        })
    }

    fn unusable(&self, error: &io::Error) -> Failure {
        Failure::usage(&format!("{} cannot be used: {error}", self.file.display()), None)
    }

    /// The file is somebody else's.
    pub(super) fn foreign(&self, command: &str) -> Failure {
        let what = format!("{} was not written by hythe", self.file.display());
        Failure {
            code: ExitCode::Refused,
            ..Failure::usage(&what, Some(&format!("hythe daemon {command} --force")))
        }
    }

    /// Writes its file, whole or not at all.
    pub(super) fn write(&self, text: &str) -> Result<(), Failure> {
        let write = || {
            // What it is a link to, where it is one.
            let file = &self.file.canonicalize().unwrap_or_else(|_| self.file.clone());
            let directory = file.parent().unwrap_or(Path::new("/"));
            fs::create_dir_all(directory)?;
            if let (Kind::Launchd, Some(logs)) = (self.kind, self.log.parent()) {
                fs::create_dir_all(logs)?;
            }
            let draft = directory.join(format!(".hythe.{}.new", std::process::id()));
            let mut new =
                OpenOptions::new().write(true).create_new(true).mode(0o644).open(&draft)?;
            let written = new
                .write_all(text.as_bytes())
                .and_then(|()| new.sync_all())
                .and_then(|()| fs::rename(&draft, file));
            if written.is_err() {
                // It is of no use to anybody.
                let _ = fs::remove_file(&draft);
            }
            written
        };
        write().map_err(|error| self.unusable(&error))
    }

    /// Removes its file, and what enabling it has made.
    pub(super) fn remove(&self) -> Result<(), Failure> {
        fs::remove_file(&self.file).map_err(|error| self.unusable(&error))?;
        if let (Kind::Systemd, Some(units)) = (self.kind, self.file.parent()) {
            let link = units.join("default.target.wants").join(daemon::NAME);
            // Nothing there is as it should be: `disable` has removed it.
            let _ = fs::remove_file(link);
        }
        Ok(())
    }

    /// Fails when the manager cannot be asked for anything.
    pub(super) fn reach(&self) -> Result<(), Failure> {
        let failure = |message: String| Failure {
            code: ExitCode::Refused,
            message,
            hint: Some("hythe serve, or: hythe daemon install --no-start".to_owned()),
            details: json!({}),
        };
        if !self.found {
            let message = "there is no service manager here: neither systemctl nor launchctl";
            return Err(failure(message.to_owned()));
        }
        let probe = match self.kind {
            Kind::Systemd => systemctl(&["show-environment"]),
            Kind::Launchd => Step::new(&["launchctl", "print", &domain()]),
        };
        probe.run().map_err(|error| {
            failure(format!("your service manager cannot be reached: {}", error.message))
        })
    }

    /// What it is told after its file was written, or found as it should be.
    pub(super) fn to_install(&self, was: Fate, start: bool) -> Vec<Step> {
        let (name, file) = (daemon::NAME, self.file.to_string_lossy());
        match (self.kind, was, start) {
            (Kind::Systemd, _, false) => {
                vec![systemctl(&["daemon-reload"]), systemctl(&["enable", name])]
            }
            (Kind::Systemd, Fate::Unchanged, _) => vec![systemctl(&["enable", "--now", name])],
            (Kind::Systemd, Fate::Installed, _) => {
                vec![systemctl(&["daemon-reload"]), systemctl(&["enable", "--now", name])]
            }
            (Kind::Systemd, Fate::Changed, _) => vec![
                systemctl(&["daemon-reload"]),
                systemctl(&["enable", name]),
                systemctl(&["restart", name]),
            ],
            // It is found when the user logs in.
            (Kind::Launchd, _, false) => Vec::new(),
            (Kind::Launchd, Fate::Changed, _) => vec![
                Step::new(&["launchctl", "bootout", &target()]).optional(),
                Step::new(&["launchctl", "bootstrap", &domain(), &file]),
            ],
            (Kind::Launchd, ..) => vec![
                // It may be known already.
                Step::new(&["launchctl", "bootstrap", &domain(), &file]).optional(),
                Step::new(&["launchctl", "kickstart", &target()]),
            ],
        }
    }

    /// What it is told before its file is removed, and after.
    pub(super) fn to_uninstall(&self) -> (Vec<Step>, Vec<Step>) {
        match self.kind {
            Kind::Systemd => (
                vec![systemctl(&["disable", "--now", daemon::NAME])],
                vec![systemctl(&["daemon-reload"])],
            ),
            Kind::Launchd => {
                (vec![Step::new(&["launchctl", "bootout", &target()]).optional()], Vec::new())
            }
        }
    }

    /// The command that starts an installed server anew.
    pub(super) fn restart(&self) -> Step {
        match self.kind {
            Kind::Systemd => systemctl(&["restart", daemon::NAME]),
            Kind::Launchd => Step::new(&["launchctl", "kickstart", "-k", &target()]),
        }
    }

    /// The command that shows what the server has said.
    pub(super) fn logs(&self, lines: Option<u32>, follow: bool, json: bool) -> Command {
        let lines = lines.map(|lines| lines.to_string());
        let mut command;
        match self.kind {
            Kind::Systemd => {
                command = Command::new("journalctl");
                command.args(["--user", "--unit", daemon::NAME]);
                command.args(lines.map(|lines| format!("--lines={lines}")));
                command.args(json.then_some("--output=json"));
                command.args(follow.then_some("--follow"));
            }
            Kind::Launchd => {
                command = Command::new("tail");
                let lines = lines.unwrap_or_else(|| "100".to_owned());
                command.args(["-n", &lines]).args(follow.then_some("-f")).arg(&self.log);
            }
        }
        command
    }

    /// Whether what the server says is kept in a form for programs.
    pub(super) fn keeps_documents(&self) -> bool {
        self.kind == Kind::Systemd
    }

    /// What to know once it is installed.
    pub(super) fn advice(&self) -> Option<&'static str> {
        (self.kind == Kind::Systemd)
            .then_some("it runs while you are logged in; `loginctl enable-linger` keeps it running")
    }
}

/// What became of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Installed,
    Changed,
    Unchanged,
}

impl Fate {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Installed => "installed",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
        }
    }
}

fn systemctl(words: &[&str]) -> Step {
    Step::new(&[&["systemctl", "--user"], words].concat())
}

/// The domain of the user's graphical session (launchctl(1)).
fn domain() -> String {
    format!("gui/{}", rustix::process::getuid().as_raw())
}

fn target() -> String {
    format!("{}/{}", domain(), daemon::LABEL)
}

//! The environment: variables, standard directories, and what flags make of them.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use etcetera::BaseStrategy;
use etcetera::base_strategy::Xdg;
use hythe_engine::config::{ConfigFiles, Origin, Overrides, Set};
use hythe_engine::{Home, Label};

use crate::args::{Global, SettingFlags};
use crate::completion;
use crate::failure::Failure;

/// What this process was given beside its arguments.
pub(crate) struct Environment {
    pub(crate) home: Home,
    pub(crate) directory: PathBuf,
    pub(crate) task: Option<Label>,
    pub(crate) agent: Option<Label>,
}

impl Environment {
    /// Reads the environment as far as the flags leave it open.
    pub(crate) fn read(global: &Global) -> Result<Self, Failure> {
        let here = current_dir();
        let resolve = |path: &Path| match &here {
            _ if path.is_absolute() => Ok(path.to_owned()),
            Ok(here) => Ok(here.join(path)),
            Err(failure) => Err(failure.clone()),
        };
        let xdg = Xdg::new().ok();
        let directory = match &global.directory {
            Some(directory) => resolve(directory)?,
            None => here.clone()?,
        };

        let named = global.config.clone().or_else(|| path("HYTHE_CONFIG"));
        let user = match &named {
            Some(file) => Some(resolve(file)?),
            None => xdg.as_ref().map(|xdg| xdg.config_dir().join("hythe/config.toml")),
        };
        let state = match global.state_dir.clone().or_else(|| path("HYTHE_STATE_DIR")) {
            Some(state) => resolve(&state)?,
            None => xdg
                .as_ref()
                .and_then(BaseStrategy::state_dir)
                .ok_or_else(|| {
                    Failure::configuration(
                        "there is no home directory for the ledger",
                        "HYTHE_STATE_DIR=DIR, or `--state-dir DIR`",
                    )
                })?
                .join("hythe"),
        };
        let home = Home {
            config: ConfigFiles {
                user,
                user_required: named.is_some(),
                home: xdg.as_ref().map(|xdg| xdg.home_dir().to_owned()),
            },
            state,
            cache: xdg.as_ref().map(|xdg| xdg.cache_dir().join("hythe")),
        };
        Ok(Self { home, directory, task: parsed("HYTHE_TASK")?, agent: parsed("HYTHE_AGENT")? })
    }

    /// A directory that was named, as the ledger has it: without symbolic links where it exists.
    pub(crate) fn existing(&self, directory: &Path) -> PathBuf {
        let directory = self.directory.join(directory);
        directory.canonicalize().unwrap_or(directory)
    }
}

/// The settings that flags and variables set; a flag is stronger.
pub(crate) fn overrides(global: &Global, flags: &SettingFlags) -> Result<Overrides, Failure> {
    let lock_timeout =
        |text: &str| humantime::parse_duration(text).map_err(|error| error.to_string());
    Ok(Overrides {
        range: set("--range", flags.range, "HYTHE_RANGE", parse)?,
        on_conflict: set("--on-conflict", flags.on_conflict, "HYTHE_ON_CONFLICT", parse)?,
        lock_timeout: set(
            "--lock-timeout",
            global.lock_timeout,
            "HYTHE_LOCK_TIMEOUT",
            lock_timeout,
        )?,
        project: set("--project", flags.project.clone(), "HYTHE_PROJECT", parse)?,
        strategy: global
            .strategy
            .iter()
            .map(|choice| Set { value: choice.clone(), origin: Origin::Flag("--strategy") })
            .collect(),
    })
}

/// The filter for log messages, where one is set.
pub(crate) fn log_filter() -> Option<String> {
    variable("HYTHE_LOG").map(|filter| filter.to_string_lossy().into_owned())
}

/// The shell that asks what could complete a line, if that is what this process is for.
pub(crate) fn completing() -> Option<OsString> {
    variable(completion::VARIABLE)
}

/// Whether the user wants no colour (<https://no-color.org>).
pub(crate) fn no_color() -> bool {
    variable("NO_COLOR").is_some()
}

fn set<T>(
    flag: &'static str,
    said: Option<T>,
    name: &'static str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<Set<T>>, Failure> {
    if let Some(value) = said {
        return Ok(Some(Set { value, origin: Origin::Flag(flag) }));
    }
    let Some(text) = variable(name) else { return Ok(None) };
    let value = parse(&text.to_string_lossy()).map_err(|error| wrong(name, &error))?;
    Ok(Some(Set { value, origin: Origin::Environment(name) }))
}

fn parse<T: FromStr<Err: ToString>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

fn parsed(name: &'static str) -> Result<Option<Label>, Failure> {
    let Some(text) = variable(name) else { return Ok(None) };
    text.to_string_lossy()
        .parse()
        .map(Some)
        .map_err(|error: hythe_engine::NameError| wrong(name, &error.to_string()))
}

fn wrong(name: &str, error: &str) -> Failure {
    Failure::configuration(&format!("the variable {name}: {error}"), &format!("unset {name}"))
}

fn path(name: &str) -> Option<PathBuf> {
    variable(name).map(PathBuf::from)
}

/// A variable that is set to something.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the working directory")]
pub(crate) fn current_dir() -> Result<PathBuf, Failure> {
    env::current_dir().map_err(|error| {
        Failure::usage(
            &format!("the working directory cannot be used: {error}"),
            Some("cd to a directory that exists, or `-C DIR`"),
        )
    })
}

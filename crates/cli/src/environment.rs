//! The environment: variables, standard directories, and what flags make of them.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use etcetera::BaseStrategy;
use etcetera::base_strategy::Xdg;
use hythe_document::Failure;
use hythe_engine::config::{ConfigFiles, Origin, Overrides, Set};
use hythe_engine::{Home, Label, Plugins, Tool};

use crate::args::{Global, SettingFlags};
use crate::completion;

/// The variables that are read.
pub(crate) const VARIABLES: &[&str] = &[
    "HYTHE_AGENT",
    "HYTHE_CONFIG",
    "HYTHE_HOOK",
    "HYTHE_LOCK_TIMEOUT",
    "HYTHE_LOG",
    "HYTHE_ON_CONFLICT",
    "HYTHE_PROJECT",
    "HYTHE_RANGE",
    "HYTHE_STATE_DIR",
    "HYTHE_TASK",
];

/// What this process was given beside its arguments.
pub(crate) struct Environment {
    pub(crate) home: Home,
    pub(crate) directory: PathBuf,
    /// Where relative paths of the environment start from.
    here: PathBuf,
    pub(crate) task: Option<Label>,
    pub(crate) agent: Option<Label>,
}

impl Environment {
    /// Where `tool` keeps its reservations, or its settings, unless it is told otherwise; `None` when
    /// there is no such place.
    pub(crate) fn place_of(&self, tool: Tool, settings: bool) -> Option<PathBuf> {
        let home = self.home.config.home.as_deref();
        match tool {
            Tool::Hythe => None,
            Tool::Trop => {
                let named = path("TROP_DATA_DIR").map(|named| self.here.join(named));
                named.or_else(|| Some(home?.join(".trop")))
            }
            Tool::Portclaim => Some(home?.join(".portclaim")),
            Tool::PortDaddy => Some(home?.join(".claude/port-daddy")),
            Tool::Portpls if settings => Some(home?.join(".config/portpls")),
            Tool::Portpls => Some(home?.join(".local/share/portpls")),
        }
    }

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
            containers: daemons(xdg.as_ref().map(Xdg::home_dir)),
            plugins: Plugins::default(),
        };
        let here = here.unwrap_or_else(|_| directory.clone());
        Ok(Self {
            home,
            directory,
            here,
            task: parsed("HYTHE_TASK")?,
            agent: parsed("HYTHE_AGENT")?,
        })
    }

    /// A directory that was named, as the ledger has it: without symbolic links where it exists.
    pub(crate) fn existing(&self, directory: &Path) -> PathBuf {
        let directory = self.directory.join(directory);
        directory.canonicalize().unwrap_or(directory)
    }
}

/// Where daemons of containers listen: the one that is said, Docker's and its rootless one's
/// (docs.docker.com, "Rootless mode" and "Docker contexts"), Podman's (podman-system-service(1)). What
/// runs on other machines publishes no port of this one.
fn daemons(home: Option<&Path>) -> Vec<PathBuf> {
    let said = ["DOCKER_HOST", "CONTAINER_HOST"].into_iter().filter_map(|name| {
        let address = variable(name)?.into_string().ok()?;
        address.strip_prefix("unix://").map(PathBuf::from)
    });
    let mut daemons: Vec<_> = said.collect();
    daemons.extend(["/var/run/docker.sock", "/run/podman/podman.sock"].map(PathBuf::from));
    if let Some(runtime) = path("XDG_RUNTIME_DIR") {
        daemons.extend(["docker.sock", "podman/podman.sock"].map(|name| runtime.join(name)));
    }
    daemons.extend(home.map(|home| home.join(".docker/run/docker.sock")));
    daemons
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
        hookless: variable("HYTHE_HOOK").is_some(),
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

/// The names of the variables that begin with `prefix`, in order.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub(crate) fn names_beginning_with(prefix: &str) -> Vec<String> {
    let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut names: Vec<_> = names.filter(|name| name.starts_with(prefix)).collect();
    names.sort();
    names
}

/// Where the user's configuration of every program is.
pub(crate) fn config_directory() -> Option<PathBuf> {
    Xdg::new().ok().map(|xdg| xdg.config_dir())
}

/// The directories in which a shell looks for programs.
pub(crate) fn search_path() -> Vec<PathBuf> {
    variable("PATH").map_or_else(Vec::new, |path| env::split_paths(&path).collect())
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

//! The command line: what may be typed. The doc comments are the help.

use std::os::unix::process::parent_id;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use hythe_engine::config::{Choice, OnConflict, Role};
use hythe_engine::{Label, Lease, PortRange, ReserveRequest, Scope, Service};

use crate::commands::{
    cleanup, completions, config, daemon, doctor, env, exclude, export, get, import, init, list,
    lock, log, man, map, mcp, move_, plugin, release, reserve, run, scan, serve, show, wait, watch,
};
use crate::environment::Environment;

/// Reserves TCP ports that are stable for a directory and service, free now, and nobody else's.
///
///   PORT=$(hythe reserve)          the port of this checkout
///   PORT=$(hythe reserve web)      the port of its service `web`
///
/// Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 unexpected, 2 usage,
/// 3 configuration, 4 policy failed, 5 no free port, 6 lock timeout, 7 not found, 8 refused,
/// 9 ledger damaged or unwritable, 126 command not executable, 127 command not found.
#[derive(Debug, Parser)]
#[command(name = "hythe", version, verbatim_doc_comment, max_term_width = 100)]
#[command(disable_help_subcommand = true, subcommand_required = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Work for this directory instead of the current one
    #[arg(short = 'C', long, global = true, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
    /// Read this file instead of the user's config.toml [env: HYTHE_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Keep the ledger in this directory [env: HYTHE_STATE_DIR]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Write one JSON document, and errors as JSON to stderr
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say nothing but results and errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Say what is being done; twice for more [env: HYTHE_LOG]
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: ColorChoice,
    /// Wait at most this long for another hythe process that writes [env: HYTHE_LOCK_TIMEOUT]
    #[arg(long, global = true, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) lock_timeout: Option<Duration>,
    /// Let this plugin decide here: key=NAME, selection=NAME or cleanup=NAME,NAME; may be repeated
    #[arg(long, global = true, value_name = "POLICY=PLUGIN")]
    pub(crate) strategy: Vec<Choice>,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Reserve(reserve::Reserve),
    Get(get::Get),
    Release(release::Release),
    List(list::List),
    Show(show::Show),
    Env(env::Env),
    Run(run::Run),
    Wait(wait::Wait),
    Lock(lock::Lock),
    Unlock(lock::Unlock),
    Cleanup(cleanup::Cleanup),
    Move(move_::Move),
    Log(log::Log),
    Watch(watch::Watch),
    Map(map::Map),
    Scan(scan::Scan),
    Exclude(exclude::Exclude),
    Doctor(doctor::Doctor),
    Init(init::Init),
    #[command(subcommand)]
    Config(config::Config),
    Import(import::Import),
    Export(export::Export),
    #[command(subcommand)]
    Plugin(plugin::Plugin),
    Serve(serve::Serve),
    Mcp(mcp::Mcp),
    #[command(subcommand)]
    Daemon(daemon::Daemon),
    Completions(completions::Completions),
    Man(man::Man),
}

/// The command line with the commands alone that are called most.
pub(crate) fn frequent() -> clap::Command {
    let named = |name| clap::Command::new(name);
    Global::augment_args(clap::Command::new("hythe").disable_help_subcommand(true))
        .subcommand(reserve::Reserve::augment_args(named("reserve")))
        .subcommand(get::Get::augment_args(named("get")))
}

/// A service of this place, where one is meant.
#[derive(Debug, Args)]
pub(crate) struct OneService {
    /// The service
    #[arg(default_value = "main")]
    pub(crate) service: Service,
    #[command(flatten)]
    pub(crate) scope: ScopeArg,
}

/// What every command can say that reserves.
#[derive(Debug, Args)]
pub(crate) struct AskArgs {
    /// Choose a new port in this range [env: HYTHE_RANGE]
    #[arg(long, value_name = "FIRST-LAST")]
    range: Option<PortRange>,
    /// The project the reservation belongs to [env: HYTHE_PROJECT]
    #[arg(long, value_name = "NAME")]
    project: Option<Label>,
    /// The task it is for [env: HYTHE_TASK]
    #[arg(long, value_name = "NAME")]
    task: Option<Label>,
    /// The agent that asks [env: HYTHE_AGENT]
    #[arg(long, value_name = "NAME")]
    agent: Option<Label>,
    /// How long it is meant to last: persistent, or ephemeral for as long as its owner lives
    #[arg(long)]
    lease: Option<Lease>,
    /// When somebody else's process holds the reserved port: keep, move or fail
    /// [env: HYTHE_ON_CONFLICT]
    #[arg(long, value_name = "RULE")]
    on_conflict: Option<OnConflict>,
    /// Say what would be, and write nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
}

impl AskArgs {
    /// The request for `services`.
    pub(crate) fn request(
        &self,
        services: Vec<Service>,
        environment: &Environment,
    ) -> ReserveRequest {
        ReserveRequest {
            services,
            task: self.task.clone().or_else(|| environment.task.clone()),
            agent: self.agent.clone().or_else(|| environment.agent.clone()),
            lease: self.lease,
            parent: parent_id(),
            dry_run: self.dry_run,
            ..ReserveRequest::default()
        }
    }

    fn settings(&self) -> SettingFlags {
        SettingFlags {
            range: self.range,
            on_conflict: self.on_conflict,
            project: self.project.clone(),
        }
    }
}

/// What commands can say beside it that only reserve.
#[derive(Debug, Args)]
pub(crate) struct ReserveArgs {
    #[command(flatten)]
    pub(crate) ask: AskArgs,
    /// The process that owns it; an ephemeral lease belongs to the calling process by default
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pid: Option<u32>,
    /// Let cleanup release it when it has not been used for this long
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    ttl: Option<Duration>,
    /// Lock it as well: no policy releases it, and it never moves
    #[arg(long)]
    lock: bool,
    /// Give it another port than it has
    #[arg(long)]
    reallocate: bool,
}

impl ReserveArgs {
    /// The request for `services`.
    pub(crate) fn request(
        &self,
        services: Vec<Service>,
        environment: &Environment,
    ) -> ReserveRequest {
        ReserveRequest {
            pid: self.pid,
            ttl: self.ttl,
            lock: self.lock,
            reallocate: self.reallocate,
            ..self.ask.request(services, environment)
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ScopeArg {
    /// What the reservation belongs to: directory, project or service
    #[arg(long)]
    pub(crate) scope: Option<Scope>,
}

/// Which configuration file is edited.
#[derive(Debug, Args)]
pub(crate) struct TargetArg {
    /// In the project's hythe.toml, for everybody who works on it; else in your config.toml
    #[arg(long, conflicts_with = "local")]
    project: bool,
    /// In the project's hythe.local.toml, for you alone
    #[arg(long)]
    local: bool,
}

impl TargetArg {
    /// Whether it is said.
    pub(crate) const fn is_given(&self) -> bool {
        self.project || self.local
    }

    pub(crate) fn role(&self) -> Role {
        match (self.project, self.local) {
            (true, _) => Role::Project,
            (_, true) => Role::Local,
            _ => Role::User,
        }
    }
}

/// What flags say about settings that files can say as well.
#[derive(Debug, Default)]
pub(crate) struct SettingFlags {
    pub(crate) range: Option<PortRange>,
    pub(crate) on_conflict: Option<OnConflict>,
    pub(crate) project: Option<Label>,
}

impl Command {
    /// The flags of this command that stand for settings.
    pub(crate) fn settings(&self) -> SettingFlags {
        match self {
            Self::Reserve(reserve) => reserve.common.ask.settings(),
            Self::Env(env) => env.common.ask.settings(),
            Self::Run(run) => run.ask.settings(),
            _ => SettingFlags::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::*;

    #[test]
    fn what_is_called_most_is_read_as_the_whole_would_read_it() {
        let read = |command: clap::Command, line: &str| {
            let matches = command.try_get_matches_from(line.split(' '));
            let cli = matches.and_then(|matches| Cli::from_arg_matches(&matches));
            cli.map(|cli| format!("{cli:?}")).map_err(|error| error.kind())
        };
        for line in [
            "hythe reserve",
            "hythe reserve web api --prefer 3000 -C /tmp --json -vv",
            "hythe --quiet reserve --range 20000-20009 --strategy key=ttl --lock-timeout 1s",
            "hythe get",
            "hythe get web --scope project --state-dir /tmp",
        ] {
            let frequent = read(frequent(), line);
            assert!(frequent.is_ok(), "{line}");
            assert_eq!(frequent, read(Cli::command(), line), "{line}");
        }
        for line in
            ["hythe", "hythe list", "hythe reserve --bogus", "hythe get 1", "hythe --version"]
        {
            assert!(read(frequent(), line).is_err(), "{line} is left to the whole");
        }
    }
}

//! What a shell offers when somebody presses Tab: commands, options, and what there is to name here.
//!
//! The shell asks this binary, with the variable [`VARIABLE`] set to its own name and the words of the
//! line after `--`. It is answered from the ledger and the configuration, which are only read; what
//! cannot be read is not offered, and nothing is an error.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::sync::Arc;

use clap::{Arg, Command, CommandFactory, FromArgMatches, ValueHint};
use clap_complete::engine::{
    ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter,
};
use clap_complete::env::{Bash, Elvish, EnvCompleter, Fish, Zsh};
use hythe_engine::config::OnConflict;
use hythe_engine::{Engine, EventKind, Host, Label, Lease, Reservation, Scope};

use crate::args::{Cli, Global, SettingFlags};
use crate::environment::{self, Environment};
use crate::output::clean;

/// What the shell sets to its name when it asks.
pub(crate) const VARIABLE: &str = "HYTHE_COMPLETE";

/// The shells that ask. PowerShell cannot: its side would evaluate the line that is being typed.
pub(crate) const SHELLS: [&dyn EnvCompleter; 4] = [&Bash, &Zsh, &Fish, &Elvish];

/// Answers the shell of this name. Who it is not made for gets no answer.
pub(crate) fn answer(name: &OsStr) {
    let Some(shell) = SHELLS.into_iter().find(|shell| OsStr::new(shell.name()) == name) else {
        return;
    };
    let words: Vec<_> = std::env::args_os().skip_while(|word| word != "--").skip(1).collect();
    if words.is_empty() {
        return;
    }
    let asked = Asked { global: Arc::new(global(&words)), bare: shell.name() == "bash" };
    let mut command = asked.completing(Cli::command());
    let mut text = Vec::new();
    let directory = environment::current_dir().ok();
    let written = shell.write_complete(&mut command, words, directory.as_deref(), &mut text);
    if written.is_ok() {
        // A shell that has gone away wants no answer.
        let _ = std::io::stdout().lock().write_all(&text);
    }
}

/// The global options on a line that is not finished.
fn global(words: &[OsString]) -> Option<Global> {
    let command = Cli::command().ignore_errors(true);
    let matches = command.try_get_matches_from(words).ok()?;
    Global::from_arg_matches(&matches).ok()
}

/// What is asked about.
#[derive(Clone)]
struct Asked {
    global: Arc<Option<Global>>,
    /// Whether the shell writes what it is offered into the line as it is.
    bare: bool,
}

/// Something to choose, and what it is.
type Offer = (String, Option<String>);

/// What there is to choose from.
type Source = fn(&Engine<'_>) -> Vec<Offer>;

impl Asked {
    /// The command, and those below it, with everything that can be named.
    fn completing(&self, command: Command) -> Command {
        let name = command.get_name().to_owned();
        command
            .mut_args(|arg| match source(&name, &arg) {
                Some(source) => self.offering(arg, source),
                None if arg.get_value_hint() == ValueHint::Unknown => arg,
                None => self.offering(arg, |_| Vec::new()),
            })
            .mut_subcommands(|command| self.completing(command))
    }

    fn offering(&self, arg: Arg, source: Source) -> Arg {
        let takes_files = arg.get_value_hint() != ValueHint::Unknown || arg.get_id() == "plugin";
        let asked = self.clone();
        arg.add(ArgValueCompleter::new(move |begun: &OsStr| {
            let mut offered = asked.choose(source);
            offered.retain(|(value, _)| value.as_bytes().starts_with(begun.as_encoded_bytes()));
            let candidates = offered.into_iter().map(|(value, help)| {
                let help = help.map(|help| clean(&help).into());
                CompletionCandidate::new(value).help(help)
            });
            let mut candidates: Vec<_> = candidates.collect();
            if takes_files {
                candidates.extend(PathCompleter::any().complete(begun));
            }
            candidates.retain(|candidate| !asked.bare || is_plain(candidate.get_value()));
            candidates
        }))
    }

    fn choose(&self, source: Source) -> Vec<Offer> {
        let ask = || {
            let global = self.global.as_ref().as_ref()?;
            let environment = Environment::read(global).ok()?;
            let overrides = environment::overrides(global, &SettingFlags::default()).ok()?;
            let (home, directory) = (&environment.home, &environment.directory);
            let engine = Engine::open(&Host, home, overrides, directory, &|_| {}).ok()?;
            Some(source(&engine))
        };
        let mut offered = ask().unwrap_or_default();
        let mut seen = std::collections::BTreeSet::new();
        offered.retain(|(value, _)| seen.insert(value.clone()));
        offered
    }
}

/// Whether `value` means nothing but itself to a shell.
fn is_plain(value: &OsStr) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-/@+:,%=~".contains(byte);
    value.as_encoded_bytes().iter().all(plain)
}

/// What an argument of the command `command` names; `None` when it names nothing that is known.
fn source(command: &str, arg: &Arg) -> Option<Source> {
    if !arg.get_num_args().is_none_or(|count| count.takes_values())
        || !arg.get_action().takes_values()
    {
        return None;
    }
    Some(match (command, arg.get_id().as_str()) {
        ("list" | "log" | "watch", "service") => |engine| all(engine, |it| it.service.to_string()),
        ("show", "what") => |engine| [services(engine), ports(engine)].concat(),
        (_, "services" | "service") => services,
        (_, "port") => ports,
        (_, "project") => |engine| labels(engine, |it| it.project.as_ref()),
        (_, "agent") => |engine| labels(engine, |it| it.agent.as_ref()),
        (_, "task") => |engine| labels(engine, |it| it.task.as_ref()),
        ("cleanup", "policy") => |engine| {
            let selected = &engine.config().settings().strategy.cleanup.value;
            selected.iter().map(|name| (name.clone(), None)).collect()
        },
        (_, "strategy") => strategies,
        (_, "plugin") => |engine| plugins(engine, false),
        ("remove", "name") => |engine| plugins(engine, true),
        ("config" | "get" | "set", "key") => keys,
        (_, "kind") => |_| words(EventKind::ALL.iter().map(|kind| kind.word())),
        (_, "scope") => |_| words(Scope::ALL.iter().map(|scope| scope.word())),
        (_, "lease") => |_| words(Lease::ALL.iter().map(|lease| lease.word())),
        (_, "on_conflict") => |_| words(OnConflict::ALL.iter().map(|rule| rule.word())),
        _ => return None,
    })
}

fn words<'a>(words: impl Iterator<Item = &'a str>) -> Vec<Offer> {
    words.map(|word| (word.to_owned(), None)).collect()
}

/// What is reserved or configured here.
fn services(engine: &Engine<'_>) -> Vec<Offer> {
    let services = engine.services().unwrap_or_default().into_iter();
    let told = |(service, port): (hythe_engine::Service, Option<hythe_engine::Port>)| {
        let help = port.map_or_else(|| "configured".to_owned(), |port| format!("port {port}"));
        (service.to_string(), Some(help))
    };
    services.map(told).collect()
}

fn ports(engine: &Engine<'_>) -> Vec<Offer> {
    let told = |it: &Reservation| {
        (it.port.to_string(), Some(format!("{} of {}", it.service, it.directory.display())))
    };
    engine.reservations().unwrap_or_default().iter().map(told).collect()
}

fn all(engine: &Engine<'_>, name: fn(&Reservation) -> String) -> Vec<Offer> {
    engine.reservations().unwrap_or_default().iter().map(|it| (name(it), None)).collect()
}

fn labels(engine: &Engine<'_>, label: fn(&Reservation) -> Option<&Label>) -> Vec<Offer> {
    let reservations = engine.reservations().unwrap_or_default();
    let labels = reservations.iter().filter_map(label);
    labels.map(|label| (label.to_string(), None)).collect()
}

/// The bundled plugins and those of the files; with `declared`, only the latter.
fn plugins(engine: &Engine<'_>, declared: bool) -> Vec<Offer> {
    let settings = engine.config().settings();
    let known = settings.plugins.iter().filter(|(_, plugin)| plugin.declaration.is_some());
    let mut offered: Vec<_> = known.map(|(name, _)| (name.clone(), None)).collect();
    if !declared {
        offered.extend(words(hythe_engine::config::BUNDLED.iter().copied()));
    }
    offered
}

fn strategies(engine: &Engine<'_>) -> Vec<Offer> {
    let policies = ["key", "selection", "cleanup"];
    let plugins = plugins(engine, false);
    let choices = policies.iter().flat_map(|policy| {
        plugins.iter().map(move |(plugin, _)| (format!("{policy}={plugin}"), None))
    });
    choices.collect()
}

fn keys(engine: &Engine<'_>) -> Vec<Offer> {
    let entries = engine.config().settings().entries();
    let told = |entry: hythe_engine::config::Entry<'_>| (entry.name, Some(entry.value));
    entries.into_iter().map(told).collect()
}

//! `hythe`: a thin command line over the engine. Each command is a file of its own under
//! `commands`; what it does is one verb of the engine.

#![allow(clippy::doc_markdown, reason = "the doc comments of arguments are the help, not Markdown")]

mod args;
mod commands;
mod completion;
mod environment;
mod output;

use std::io;
use std::process::ExitCode as ProcessExit;
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches};
use hythe_document::{ExitCode, Failure};
use hythe_engine::{Engine, Host, Notice};
use tracing_subscriber::EnvFilter;

use crate::args::{Cli, Command, Global};
use crate::environment::Environment;
use crate::output::Output;

fn main() -> ProcessExit {
    if let Some(code) = commands::run::take_over() {
        return ProcessExit::from(code);
    }
    // Without a handler, a limit on file sizes ends the process in the middle of a write (setrlimit(2),
    // `RLIMIT_FSIZE`); with one, the write fails and is reported. Nothing is lost if it has none.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
    if let Some(shell) = environment::completing() {
        completion::answer(&shell);
        return ProcessExit::SUCCESS;
    }
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) => return ProcessExit::from(answer(&error) as u8),
    };
    let output = Output::new(&cli.global);
    let outcome = log(&cli.global).and_then(|()| run(&cli, &output));
    let code = match outcome {
        Ok(code) => code,
        Err(failure) => {
            output.failure(&failure);
            failure.code as u8
        }
    };
    ProcessExit::from(code)
}

fn parse() -> Result<Cli, clap::Error> {
    // Describing every command costs more than all else that a repeat call does before it opens the
    // ledger. What scripts ask all the time is described alone; whatever that does not settle, help
    // and mistakes among it, is left to the whole.
    read(args::frequent()).or_else(|_| read(Cli::command()))
}

fn read(mut command: clap::Command) -> Result<Cli, clap::Error> {
    let matches = command.try_get_matches_from_mut(std::env::args_os());
    let cli = matches.and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = cli.map_err(|error| error.format(&mut command));
    // Taking a description apart would cost more than reading one command by it.
    std::mem::forget(command);
    cli
}

/// Runs the command; the exit code of one that has not failed.
fn run(cli: &Cli, output: &Output) -> Result<u8, Failure> {
    let done = |()| ExitCode::Done as u8;
    match &cli.command {
        Command::Completions(completions) => return completions.run(output).map(done),
        Command::Man(man) => return man.run(output).map(done),
        _ => {}
    }
    let mut environment = Environment::read(&cli.global)?;
    let overrides = environment::overrides(&cli.global, &cli.command.settings());
    // It tells what is wrong, where other commands fail.
    let overrides = match &cli.command {
        Command::Doctor(doctor) => return doctor.run(&environment, overrides, output).map(done),
        _ => overrides?,
    };
    // They work for directories that are named later, and never for this one.
    match &cli.command {
        Command::Serve(serve) => return serve.run(&environment, overrides, output).map(done),
        Command::Mcp(mcp) => {
            return mcp.run(&environment, &cli.global, overrides, output).map(done);
        }
        Command::Daemon(daemon) => {
            return daemon.run(&cli.global, &environment, output).map(done);
        }
        _ => {}
    }
    // The file that it writes need not be there, whoever named it.
    if let Command::Init(init) = &cli.command {
        environment.home.config.user_required &= !init.user;
    }
    let report = |notice: &Notice| output.notice(notice);
    let directory = &environment.directory;
    let engine = Engine::open(&Host, &environment.home, overrides, directory, &report)?;
    let outcome = match &cli.command {
        Command::Reserve(reserve) => reserve.run(&engine, &environment, output),
        Command::Get(get) => get.run(&engine, output),
        Command::Release(release) => release.run(&engine, output),
        Command::List(list) => list.run(&engine, &environment, output),
        Command::Show(show) => show.run(&engine, output),
        Command::Env(env) => env.run(&engine, &environment, output),
        Command::Wait(wait) => wait.run(&engine, output),
        Command::Run(run) => return run.run(&engine, &environment, output),
        Command::Lock(lock) => lock.run(&engine, output),
        Command::Unlock(unlock) => unlock.run(&engine, output),
        Command::Cleanup(cleanup) => cleanup.run(&engine, output),
        Command::Move(moved) => moved.run(&engine, &environment, output),
        Command::Log(log) => log.run(&engine, &environment, output),
        Command::Watch(watch) => watch.run(&engine, &environment, output),
        Command::Map(map) => map.run(&engine, output),
        Command::Scan(scan) => scan.run(&engine, output),
        Command::Exclude(exclude) => exclude.run(&engine, output),
        Command::Init(init) => init.run(&engine, output),
        Command::Config(config) => config.run(&engine, &environment, output),
        Command::Import(import) => import.run(&engine, &environment, output),
        Command::Export(export) => export.run(&engine, output),
        Command::Plugin(plugin) => plugin.run(&engine, output),
        Command::Doctor(_)
        | Command::Serve(_)
        | Command::Mcp(_)
        | Command::Daemon(_)
        | Command::Completions(_)
        | Command::Man(_) => Ok(()),
    };
    // The process ends here, and the system takes back its memory faster than we could.
    std::mem::forget(engine);
    outcome.map(done)
}

/// Starts logging, when it is asked for; otherwise every message costs one comparison.
fn log(global: &Global) -> Result<(), Failure> {
    let filter = match (environment::log_filter(), global.verbose) {
        (Some(filter), _) => filter,
        (None, 0) => return Ok(()),
        (None, 1) => "hythe=debug,hythe_engine=debug".to_owned(),
        (None, _) => "trace".to_owned(),
    };
    let filter = EnvFilter::try_new(&filter).map_err(|error| {
        Failure::configuration(
            &format!("the variable HYTHE_LOG is no log filter: {error}"),
            "HYTHE_LOG=hythe_engine=debug",
        )
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        .without_time()
        .init();
    Ok(())
}

/// Answers what clap answers by itself: help, the version, and wrong arguments.
fn answer(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return match error.print() {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                output::complain(&format!("error: {}", Failure::output(&error).message));
                ExitCode::Unexpected
            }
            _ => ExitCode::Done,
        };
    }
    let text = error.to_string();
    if std::env::args_os().any(|argument| argument == "--json") {
        let message = text.lines().next().unwrap_or_default();
        let message = message.strip_prefix("error: ").unwrap_or(message);
        output::complain(&output::json(&Failure::usage(message, Some("hythe --help")).json()));
    } else {
        text.lines().for_each(output::complain);
    }
    ExitCode::Usage
}

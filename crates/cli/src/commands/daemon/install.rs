use std::ffi::OsString;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use hythe_document::{ExitCode, Failure, path};
use hythe_engine::config::Choice;
use hythe_server::daemon::Service;
use hythe_server::{Presence, may_listen};
use serde_json::json;

use super::supervisor::{Fate, Installed, Step, Supervisor};
use crate::args::Global;
use crate::commands::serve::ServeArgs;
use crate::environment::Environment;
use crate::output::{Output, clean};

/// Have systemd or launchd start the server now, whenever you log in, and when it fails
///
/// Writes a unit of your own, or a launch agent, that runs `hythe serve` as it is told here. Said
/// again, it changes what is different, and starts the server anew only then.
#[derive(Debug, Args)]
pub(crate) struct Install {
    #[command(flatten)]
    server: ServeArgs,
    /// Only write the file; the server starts when you log in
    #[arg(long)]
    no_start: bool,
    /// Replace a file of this name that hythe has not written
    #[arg(long)]
    force: bool,
    /// Print the file and the commands, and write and run nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// How long is waited until the server listens.
const PATIENCE: Duration = Duration::from_secs(3);

impl Install {
    pub(crate) fn run(
        &self,
        global: &Global,
        environment: &Environment,
        output: &Output,
    ) -> Result<(), Failure> {
        may_listen(&self.server.listen, self.server.has_token())?;
        let manager = Supervisor::of_user(environment)?;
        let command = self.command(global, environment)?;
        let text = manager.text(&Service { command, version: env!("CARGO_PKG_VERSION") })?;
        let fate = match manager.installed()? {
            Installed::No => Fate::Installed,
            Installed::Own(there) if there == text => Fate::Unchanged,
            Installed::Foreign if !self.force => return Err(manager.foreign("install")),
            Installed::Own(_) | Installed::Foreign => Fate::Changed,
        };
        if fate == Fate::Installed && !self.no_start {
            unserved(environment)?;
        }
        let steps = manager.to_install(fate, !self.no_start);
        if self.dry_run {
            return self.tell(&manager, fate, &text, &steps, &[], output);
        }
        let reached = match manager.reach() {
            Err(failure) if !self.no_start => return Err(failure),
            reached => reached,
        };
        let advice = manager.advice().filter(|_| fate == Fate::Installed && reached.is_ok());
        // It is made here: what is wrong with it is said at once.
        self.server.token(environment)?;
        if fate != Fate::Unchanged {
            manager.write(&text)?;
        }
        match reached {
            Ok(()) => steps.iter().try_for_each(Step::run)?,
            Err(failure) => {
                output.remark(&failure.message);
                for step in &steps {
                    output.remark(&format!("later: {}", step.line()));
                }
            }
        }
        let places = if self.no_start { Vec::new() } else { listening(environment) };
        self.tell(&manager, fate, &text, &steps, &places, output)?;
        if !self.no_start && places.is_empty() {
            output.remark("it does not listen yet: `hythe daemon logs` shows why");
        }
        if let Some(advice) = advice {
            output.remark(advice);
        }
        Ok(())
    }

    /// The command line of the server. What this process was told by its environment is said in it: a
    /// service manager has another one.
    fn command(
        &self,
        global: &Global,
        environment: &Environment,
    ) -> Result<Vec<OsString>, Failure> {
        let program = std::env::current_exe().map_err(|error| {
            Failure::unexpected(format!("where this program is cannot be found out: {error}"))
        })?;
        let home = &environment.home;
        let standard = |place: &str| home.config.home.as_ref().map(|home| home.join(place));
        let mut words: Vec<OsString> = vec![program.into()];
        let mut say = |flag: &str, value: OsString| words.extend([flag.into(), value]);
        if home.config.user != standard(".config/hythe/config.toml")
            && let Some(file) = &home.config.user
            && (home.config.user_required || file.exists())
        {
            say("--config", file.into());
        }
        if Some(&home.state) != standard(".local/state/hythe").as_ref() {
            say("--state-dir", (&home.state).into());
        }
        if let Some(timeout) = global.lock_timeout {
            say("--lock-timeout", humantime::format_duration(timeout).to_string().into());
        }
        for choice in &global.strategy {
            let choice = match choice {
                Choice::Key(plugin) => format!("key={plugin}"),
                Choice::Selection(plugin) => format!("selection={plugin}"),
                Choice::Cleanup(plugins) => format!("cleanup={}", plugins.join(",")),
            };
            say("--strategy", choice.into());
        }
        words.extend((0..global.verbose).map(|_| "--verbose".into()));
        words.push("serve".into());
        words.extend(self.server.words(environment));
        Ok(words)
    }

    fn tell(
        &self,
        manager: &Supervisor,
        fate: Fate,
        text: &str,
        steps: &[Step],
        places: &[String],
        output: &Output,
    ) -> Result<(), Failure> {
        if output.json {
            return output.print_json(&json!({
                "version": 1,
                "dry_run": self.dry_run,
                "manager": manager.word(),
                "file": path(&manager.file),
                "outcome": fate.word(),
                "text": text,
                "commands": steps.iter().map(Step::line).collect::<Vec<_>>(),
                "listen": places,
            }));
        }
        let file = manager.file.display();
        if !self.dry_run {
            let mut told = clean(&format!("{} {file}", fate.word())) + "\n";
            told.extend(places.iter().map(|place| clean(&format!("serving at {place}")) + "\n"));
            return output.print(&told);
        }
        let mut told = match fate {
            Fate::Unchanged => clean(&format!("{file} is as it should be")),
            _ => clean(&format!("would write {file}")),
        };
        told.push_str("\n\n");
        told.extend(text.lines().map(|line| clean(line) + "\n"));
        told.push('\n');
        told.extend(steps.iter().map(|step| clean(&format!("would run {}", step.line())) + "\n"));
        output.print(&told)
    }
}

/// Fails when a server runs that no service manager knows of: another one would not start beside it.
fn unserved(environment: &Environment) -> Result<(), Failure> {
    let Some(presence) = presence(&environment.home.state) else { return Ok(()) };
    let Presence { pid, listen, .. } = presence;
    Err(Failure {
        code: ExitCode::Refused,
        ..Failure::usage(
            &format!("a server runs already, as process {pid}, at {}", listen.join(", ")),
            Some(&format!("stop it first: kill {pid}")),
        )
    })
}

fn presence(state: &Path) -> Option<Presence> {
    // Who cannot be told of is not waited for.
    Presence::of(state).ok().and_then(|(running, _)| running)
}

/// Where the server listens, once it does; nowhere when it does not in time.
fn listening(environment: &Environment) -> Vec<String> {
    let end = Instant::now() + PATIENCE;
    loop {
        match presence(&environment.home.state) {
            Some(presence) => return presence.listen,
            None if Instant::now() > end => return Vec::new(),
            None => thread::park_timeout(Duration::from_millis(20)),
        }
    }
}

use std::time::Duration;

use clap::Args;
use hythe_document::{ExitCode, Failure, path};
use hythe_server::{Presence, daemon};
use serde_json::{Value, json};

use super::supervisor::{Installed, Supervisor};
use crate::environment::Environment;
use crate::output::Output;
use crate::output::lines::Lines;

/// Show whether a server serves the ledger, where, and whether it answers
///
/// Exits with 0 when it does and answers, and with 7 when not. It need not be installed.
#[derive(Debug, Args)]
pub(crate) struct Status {}

/// How long is waited for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is known of the server.
struct Known {
    running: Option<Presence>,
    /// What a server left behind that was killed.
    left_behind: Option<Presence>,
    /// The status with which it answers; 200 when it is well.
    health: Option<u16>,
    installed: bool,
}

impl Known {
    fn is_well(&self) -> bool {
        self.health == Some(200)
    }

    /// Whether the server is of another version than this program.
    fn is_stale(&self) -> bool {
        self.running.as_ref().is_some_and(|it| it.version != env!("CARGO_PKG_VERSION"))
    }
}

impl Status {
    #[expect(clippy::unused_self, reason = "every command is run in the same way")]
    pub(crate) fn run(&self, environment: &Environment, output: &Output) -> Result<(), Failure> {
        let state = &environment.home.state;
        let manager = Supervisor::of_user(environment)?;
        let (running, left_behind) = Presence::of(state).map_err(|error| Failure {
            code: ExitCode::Ledger,
            ..Failure::usage(
                &format!("the state directory {} cannot be used: {error}", state.display()),
                Some("hythe doctor"),
            )
        })?;
        let places = running.iter().flat_map(|presence| &presence.listen);
        let health = places.filter_map(|place| daemon::health(place, PATIENCE)).min();
        let installed = matches!(manager.installed()?, Installed::Own(_));
        let known = Known { running, left_behind, health, installed };
        match output.json {
            true => output.print_json(&document(&known, &manager))?,
            false => output.print(&told(&known, &manager, output))?,
        }
        let message = match (&known.running, &known.left_behind, known.health) {
            (Some(_), _, Some(200)) => return Ok(()),
            (Some(running), _, Some(status)) => {
                format!(
                    "the server, process {}, answers that something is wrong: {status}",
                    running.pid
                )
            }
            (Some(running), ..) => {
                format!("the server, process {}, does not answer", running.pid)
            }
            (None, Some(left), _) => {
                format!("no server runs: process {} was killed", left.pid)
            }
            (None, None, _) => "no server runs".to_owned(),
        };
        let hint = match (known.installed, &known.running) {
            (true, _) if known.health.is_none() => "hythe daemon logs",
            (_, None) => "hythe daemon install",
            (_, Some(_)) => "hythe doctor",
        };
        let code = ExitCode::NotFound;
        Err(Failure { code, ..Failure::usage(&message, Some(hint)) })
    }
}

fn document(known: &Known, manager: &Supervisor) -> Value {
    let running = known.running.as_ref();
    let left = known.left_behind.as_ref();
    json!({
        "version": 1,
        "running": running.is_some(),
        "answers": running.map(|_| known.is_well()),
        "pid": running.map(|it| it.pid),
        "listen": running.map_or(&[][..], |it| &it.listen),
        "since": running.map(|it| &it.since),
        "server_version": running.map(|it| &it.version),
        "stale": known.is_stale(),
        "installed": known.installed,
        "file": path(&manager.file),
        "left_behind": left.map(|it| json!({ "pid": it.pid, "since": it.since })),
    })
}

fn told(known: &Known, manager: &Supervisor, output: &Output) -> String {
    let mut lines = Lines::within(output.columns());
    let mut line = |name: &str, text: &str| lines.hanging(&format!("{name:<10} "), text);
    match &known.running {
        Some(presence) => {
            line(
                "running",
                match known.health {
                    Some(200) => "yes",
                    Some(_) => "yes, but something is wrong",
                    None => "yes, but it does not answer",
                },
            );
            line("process", &presence.pid.to_string());
            for place in &presence.listen {
                line("address", place);
            }
            line("since", &presence.since);
            line("version", &presence.version);
        }
        None => line("running", "no"),
    }
    if let Some(left) = &known.left_behind {
        line("killed", &format!("process {}, which began at {}", left.pid, left.since));
    }
    let file = manager.file.display().to_string();
    line("installed", if known.installed { &file } else { "no" });
    if known.is_stale() {
        let restart = match (known.installed, &known.running) {
            (false, Some(presence)) => format!("kill {} && hythe serve", presence.pid),
            _ => manager.restart().line(),
        };
        let this = env!("CARGO_PKG_VERSION");
        line("outdated", &format!("this is hythe {this}; to start it anew: {restart}"));
    }
    lines.text().to_owned()
}

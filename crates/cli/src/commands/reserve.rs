use std::fmt::Write as _;
use std::os::unix::process::parent_id;
use std::time::Duration;

use clap::Args;
use hythe_engine::config::OnConflict;
use hythe_engine::{
    Engine, Explanation, Label, Lease, Outcome, Port, PortRange, ReserveRequest, Reserved, Service,
};
use serde_json::{Value, json};

use crate::args::ScopeArg;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::output::{Output, document};

/// Print the port of each service here, reserving what is missing
///
/// The same directory and service always get the same port. Several services are reserved all or
/// none, and their ports printed one a line, in order.
#[derive(Debug, Args)]
#[command(alias = "acquire")]
pub(crate) struct Reserve {
    /// The services
    #[arg(default_value = "main")]
    services: Vec<Service>,
    /// Try this port first; may be repeated
    #[arg(long, value_name = "PORT")]
    prefer: Vec<Port>,
    /// Choose a new port in this range [env: HYTHE_RANGE]
    #[arg(long, value_name = "FIRST-LAST")]
    pub(crate) range: Option<PortRange>,
    #[command(flatten)]
    scope: ScopeArg,
    /// The project the reservation belongs to [env: HYTHE_PROJECT]
    #[arg(long, value_name = "NAME")]
    pub(crate) project: Option<Label>,
    /// The task it is for [env: HYTHE_TASK]
    #[arg(long, value_name = "NAME")]
    task: Option<Label>,
    /// The agent that asks [env: HYTHE_AGENT]
    #[arg(long, value_name = "NAME")]
    agent: Option<Label>,
    /// How long it is meant to last: persistent, or ephemeral for as long as its owner lives
    #[arg(long)]
    lease: Option<Lease>,
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
    /// When somebody else's process holds the reserved port: keep, move or fail
    /// [env: HYTHE_ON_CONFLICT]
    #[arg(long, value_name = "RULE")]
    pub(crate) on_conflict: Option<OnConflict>,
    /// Tell the whole decision on stderr
    #[arg(long)]
    explain: bool,
    /// Print the port that would be reserved, and write nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Reserve {
    pub(crate) fn run(
        &self,
        engine: &Engine<'_>,
        environment: &Environment,
        output: &Output,
    ) -> Result<(), Failure> {
        if !self.prefer.is_empty() && self.services.len() > 1 {
            return Err(Failure::usage(
                "`--prefer` is for one service at a time",
                Some("[services.NAME] port = PORT in hythe.toml prefers a port for each"),
            ));
        }
        let reserved = engine.reserve(&ReserveRequest {
            services: self.services.clone(),
            scope: self.scope.scope,
            prefer: self.prefer.clone(),
            task: self.task.clone().or_else(|| environment.task.clone()),
            agent: self.agent.clone().or_else(|| environment.agent.clone()),
            lease: self.lease,
            pid: self.pid,
            parent: parent_id(),
            server: None,
            ttl: self.ttl,
            lock: self.lock,
            reallocate: self.reallocate,
            dry_run: self.dry_run,
            explain: self.explain,
        })?;
        if output.json {
            return output.print_json(&self.document(&reserved));
        }
        for answer in &reserved {
            if let Some(explanation) = &answer.explanation {
                explained(answer, explanation).iter().for_each(|line| output.note(line));
            } else if self.dry_run && answer.outcome != Outcome::Existing {
                let reservation = &answer.observed.reservation;
                output.note(&format!(
                    "dry run: `{}` would get port {}",
                    reservation.service, reservation.port
                ));
            }
        }
        let mut ports = String::new();
        for answer in &reserved {
            // Writing to a string cannot fail.
            let _ = writeln!(ports, "{}", answer.observed.reservation.port);
        }
        output.print(&ports)
    }

    /// One service stands at the top, several in a list.
    fn document(&self, reserved: &[Reserved]) -> Value {
        let mut document = match reserved {
            [only] => document::reserved(only),
            several => {
                let services: Vec<_> = several.iter().map(document::reserved).collect();
                json!({ "services": services })
            }
        };
        document["version"] = 1.into();
        document["dry_run"] = self.dry_run.into();
        document
    }
}

fn explained(reserved: &Reserved, explanation: &Explanation) -> Vec<String> {
    let reservation = &reserved.observed.reservation;
    let mut lines = vec![format!("`{}`: {}", reservation.service, explanation.decision)];
    for call in &explanation.calls {
        lines.push(format!(
            "  {} policy {} (selected by {}), {} µs to load, {} µs to decide",
            call.policy,
            call.plugin,
            call.selected_by,
            call.load.as_micros(),
            call.call.as_micros()
        ));
        if call.options.as_object().is_none_or(|options| !options.is_empty()) {
            lines.push(format!("    options {}", document::brief(&call.options)));
        }
        lines.push(format!("    told {}", document::brief(&call.told)));
        lines.push(format!("    answered {}", document::brief(&call.answered)));
    }
    if let Some(wish) = explanation.wish {
        lines.push(format!("  port {} was {}", reservation.port, wish.word()));
    }
    for (ports, refusal) in explanation.skipped.runs() {
        lines.push(format!("  skipped {ports}: {refusal}"));
    }
    lines
}

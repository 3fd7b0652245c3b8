use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use hythe_document::Failure;
use hythe_engine::{
    Engine, Event, EventFilter, EventKind, Host, Label, Port, Service, System, Timestamp,
};

use super::short;
use crate::environment::Environment;
use crate::output::{Output, clean, json};

/// Show what happened to reservations, oldest first
///
/// With --json, one document a line (NDJSON).
#[derive(Debug, Args)]
pub(crate) struct Log {
    #[command(flatten)]
    events: EventArgs,
    /// At most this many, the latest
    #[arg(short = 'n', long, value_name = "COUNT", default_value = "100")]
    limit: u32,
}

/// Which events are shown.
#[derive(Debug, Args)]
pub(super) struct EventArgs {
    /// Only this port
    #[arg(long, value_name = "PORT")]
    port: Option<Port>,
    /// Only events of this kind: reserved, returned, moved, updated, locked, unlocked, released,
    /// relocated
    #[arg(long, value_name = "KIND")]
    kind: Option<EventKind>,
    /// Only of this service
    #[arg(long, value_name = "NAME")]
    service: Option<Service>,
    /// Only of this project
    #[arg(long, value_name = "NAME")]
    project: Option<Label>,
    /// Only of this directory and those below it
    #[arg(long, value_name = "DIR")]
    below: Option<PathBuf>,
    /// Only since this time (RFC 3339), or for this long (`2h`)
    #[arg(long, value_name = "TIME|DURATION", value_parser = since)]
    since: Option<Since>,
}

/// A time, or how long ago it was.
#[derive(Debug, Clone, Copy)]
enum Since {
    Time(Timestamp),
    Ago(Duration),
}

fn since(text: &str) -> Result<Since, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        return Ok(Since::Ago(ago));
    }
    let wrong = |_| "expected a time such as `2026-01-31T12:00:00Z`, or a duration such as `2h`";
    text.parse().map(Since::Time).map_err(wrong).map_err(str::to_owned)
}

impl EventArgs {
    pub(super) fn filter(&self, environment: &Environment, limit: Option<u32>) -> EventFilter {
        EventFilter {
            since: self.since.map(|since| match since {
                Since::Time(time) => time,
                Since::Ago(ago) => Host.now().before(ago),
            }),
            port: self.port,
            kind: self.kind,
            service: self.service.clone(),
            project: self.project.clone(),
            directory: self.below.as_ref().map(|below| environment.existing(below)),
            limit,
            ..EventFilter::default()
        }
    }

    /// Whether it is said from when on.
    pub(super) fn is_dated(&self) -> bool {
        self.since.is_some()
    }
}

impl Log {
    pub(crate) fn run(
        &self,
        engine: &Engine<'_>,
        environment: &Environment,
        output: &Output,
    ) -> Result<(), Failure> {
        let events = engine.events(&self.events.filter(environment, Some(self.limit)))?;
        let lines: String = events.iter().map(|event| line(event, output)).collect();
        output.print(&lines)
    }
}

/// An event on a line of its own.
pub(super) fn line(event: &Event, output: &Output) -> String {
    let mut line = if output.json {
        json(&event.document())
    } else {
        let from = event.from.map(|from| format!(" (was {from})")).unwrap_or_default();
        let policy = event.policy.as_ref().map(|policy| format!(" ({policy})")).unwrap_or_default();
        let reason = event.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        clean(&format!(
            "{}  {:<9}  {}{from}  {}  {}{reason}{policy}",
            short(event.at),
            event.kind,
            event.port,
            event.service,
            event.directory.display()
        ))
    };
    line.push('\n');
    line
}

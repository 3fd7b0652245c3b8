use std::time::Duration;

use clap::Args;
use hythe_engine::{Engine, EventFilter, EventKind, Host, Port, System, Timestamp};

use super::short;
use crate::failure::Failure;
use crate::output::{Output, clean, json};

/// Show what happened to reservations, oldest first
///
/// With --json, one document a line (NDJSON).
#[derive(Debug, Args)]
pub(crate) struct Log {
    /// Only this port
    #[arg(long, value_name = "PORT")]
    port: Option<Port>,
    /// Only events of this kind: reserved, returned, moved, updated, locked, unlocked, released
    #[arg(long, value_name = "KIND")]
    kind: Option<EventKind>,
    /// Only since this time (RFC 3339), or for this long (`2h`)
    #[arg(long, value_name = "TIME|DURATION", value_parser = since)]
    since: Option<Since>,
    /// At most this many, the latest
    #[arg(short = 'n', long, value_name = "COUNT", default_value = "100")]
    limit: u32,
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

impl Log {
    pub(crate) fn run(&self, engine: &Engine<'_>, output: &Output) -> Result<(), Failure> {
        let events = engine.events(&EventFilter {
            since: self.since.map(|since| match since {
                Since::Time(time) => time,
                Since::Ago(ago) => Host.now().before(ago),
            }),
            port: self.port,
            kind: self.kind,
            limit: Some(self.limit),
            ..EventFilter::default()
        })?;
        let mut text = String::new();
        for event in &events {
            let line = if output.json {
                json(&event.document())
            } else {
                let from = event.from.map(|from| format!(" (was {from})")).unwrap_or_default();
                let policy =
                    event.policy.as_ref().map(|policy| format!(" ({policy})")).unwrap_or_default();
                let reason =
                    event.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
                clean(&format!(
                    "{}  {:<8}  {}{from}  {}  {}{reason}{policy}",
                    short(event.at),
                    event.kind,
                    event.port,
                    event.service,
                    event.directory.display()
                ))
            };
            text.push_str(&line);
            text.push('\n');
        }
        output.print(&text)
    }
}

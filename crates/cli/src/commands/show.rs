use clap::Args;
use hythe_engine::{Engine, Event, EventFilter, Listed, Listening, Liveness, Port, Service};
use serde_json::json;

use super::short;
use crate::args::ScopeArg;
use crate::failure::Failure;
use crate::output::{Output, clean, document};

/// Show one reservation: its facts, why it has this port, who listens, its history
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// A port, or a service as it is reserved here
    #[arg(default_value = "main", value_name = "PORT|SERVICE")]
    what: String,
    #[command(flatten)]
    scope: ScopeArg,
}

/// How much of its history is shown.
const EVENTS: u32 = 20;

impl Show {
    pub(crate) fn run(&self, engine: &Engine<'_>, output: &Output) -> Result<(), Failure> {
        let listed = match self.what.parse::<Port>() {
            Ok(port) => engine.show_port(port)?,
            Err(error) if self.what.bytes().all(|byte| byte.is_ascii_digit()) => {
                return Err(Failure::usage(&error.to_string(), None));
            }
            Err(_) => {
                let service = self
                    .what
                    .parse::<Service>()
                    .map_err(|error| Failure::usage(&error.to_string(), None))?;
                engine.show(&service, self.scope.scope)?
            }
        };
        let key = listed.observed.reservation.key.text.clone();
        let events = engine.events(&EventFilter {
            key: Some(key),
            limit: Some(EVENTS),
            ..EventFilter::default()
        })?;
        if output.json {
            let history: Vec<_> = events.iter().map(Event::document).collect();
            return output.print_json(&json!({
                "version": 1,
                "reservation": document::reservation(&listed.observed),
                "listeners": document::listeners(std::slice::from_ref(&listed)),
                "history": history,
            }));
        }
        output.print(&text(&listed, &events))
    }
}

fn text(listed: &Listed, events: &[Event]) -> String {
    let observed = &listed.observed;
    let reservation = &observed.reservation;
    let optional = |label: &Option<hythe_engine::Label>| {
        label.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)
    };
    let owner = reservation.owner.as_ref().map_or_else(
        || "-".to_owned(),
        |owner| {
            let state = match observed.owner {
                Some(Liveness::Alive) => "alive",
                Some(Liveness::Dead) => "dead",
                Some(Liveness::Unknown) | None => "unknown",
            };
            format!("pid {}, {state}, started {}", owner.pid, short(owner.started_at))
        },
    );
    let mut lines: Vec<(&str, String)> = vec![
        ("port", reservation.port.to_string()),
        ("service", reservation.service.to_string()),
        ("scope", reservation.scope.to_string()),
        ("directory", reservation.directory.display().to_string()),
        ("project", optional(&reservation.project)),
        ("task", optional(&reservation.task)),
        ("agent", optional(&reservation.agent)),
        ("lease", reservation.lease.to_string()),
        ("locked", if reservation.locked { "yes" } else { "no" }.to_owned()),
        ("owner", owner),
        ("created", short(reservation.created_at)),
        ("last used", short(reservation.last_used_at)),
        ("expires", reservation.expires_at().map_or_else(|| "-".to_owned(), short)),
        ("key", format!("{} (by {})", reservation.key.text, reservation.strategy.key)),
        ("chosen by", reservation.strategy.selection.clone()),
        ("listening", listening(listed)),
    ];
    for process in listed.holder.iter().flat_map(|holder| &holder.processes) {
        let place = process.place.as_ref().map_or_else(
            || "a directory that cannot be seen".to_owned(),
            |place| place.directory.display().to_string(),
        );
        lines.push(("", format!("pid {} `{}` in {place}", process.pid, process.command)));
    }
    for event in events {
        let from = event.from.map(|port| format!(" from {port}")).unwrap_or_default();
        let reason = event.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let text = format!("{}  {} {}{from}{reason}", short(event.at), event.kind, event.port);
        lines.push(("event", text));
    }
    let render = |(name, value): &(&str, String)| format!("{name:<10} {}\n", clean(value));
    lines.iter().map(render).collect()
}

fn listening(listed: &Listed) -> String {
    match listed.observed.listening {
        Listening::None => "nobody".to_owned(),
        Listening::Mine => "its own server".to_owned(),
        Listening::Foreign => "somebody else's process".to_owned(),
        Listening::Unknown => "a process that cannot be told from here".to_owned(),
    }
}

use clap::Args;
use hythe_document::Failure;
use hythe_engine::{
    Assertion, Engine, Event, EventFilter, Listed, Listening, Liveness, Named, Shown,
};

use super::short;
use crate::args::ScopeArg;
use crate::output::{Output, clean, document, listeners};

/// Show one reservation: its facts, why it has this port, who listens, its history
///
/// With an assertion, it exits with 7 when that is not so, and says why not; with --quiet it prints
/// nothing when it is.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// A port, or a service as it is reserved here
    #[arg(default_value = "main", value_name = "PORT|SERVICE")]
    what: Named,
    #[command(flatten)]
    scope: ScopeArg,
    /// Assert that it is reserved
    #[arg(long, group = "assertion")]
    reserved: bool,
    /// Assert that its own server listens
    #[arg(long, group = "assertion")]
    mine: bool,
    /// Assert that somebody listens
    #[arg(long, group = "assertion")]
    listening: bool,
    /// Assert that nobody holds it; and that a PORT is not reserved for another place
    #[arg(long, group = "assertion")]
    free: bool,
}

/// How much of its history is shown.
const EVENTS: u32 = 20;

impl Show {
    pub(crate) fn run(&self, engine: &Engine<'_>, output: &Output) -> Result<(), Failure> {
        let assertions = [
            (self.reserved, Assertion::Reserved),
            (self.mine, Assertion::Mine),
            (self.listening, Assertion::Listening),
            (self.free, Assertion::Free),
        ];
        let assertion = assertions.into_iter().find(|(asked, _)| *asked);
        let shown = match (&self.what, assertion) {
            (what, Some((_, assertion))) => {
                let shown = engine.assert(what, self.scope.scope, assertion)?;
                if output.is_quiet() {
                    return Ok(());
                }
                shown
            }
            (Named::Port(port), None) => Shown::of(engine.show_port(*port)?),
            (Named::Service(service), None) => Shown::of(engine.show(service, self.scope.scope)?),
        };
        let events = match &shown.listed {
            Some(listed) => engine.events(&EventFilter {
                key: Some(listed.observed.reservation.key.text.clone()),
                limit: Some(EVENTS),
                ..EventFilter::default()
            })?,
            None => Vec::new(),
        };
        let holder = shown.listed.as_ref().map_or(&shown.holder, |listed| &listed.holder).as_ref();
        let ownership = shown.listed.as_ref().and_then(|listed| listed.ownership.as_ref());
        if output.json {
            return output.print_json(&document::shown(&shown, &events));
        }
        let mut lines = match &shown.listed {
            Some(listed) => facts(listed),
            None => {
                let listening = if holder.is_some() { "somebody" } else { "nobody" };
                let facts = [("port", shown.port.to_string()), ("reserved", "no".to_owned())];
                facts.into_iter().chain([("listening", listening.to_owned())]).collect()
            }
        };
        if let Some(holder) = holder {
            let listeners = listeners::lines(holder, ownership);
            lines.extend(listeners.into_iter().map(|line| ("", line)));
        }
        lines.extend(events.iter().map(|event| ("event", happened(event))));
        let render = |(name, value): &(&str, String)| format!("{name:<10} {}\n", clean(value));
        output.print(&lines.iter().map(render).collect::<String>())
    }
}

fn facts(listed: &Listed) -> Vec<(&'static str, String)> {
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
    vec![
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
    ]
}

fn happened(event: &Event) -> String {
    let from = event.from.map(|port| format!(" from {port}")).unwrap_or_default();
    let reason = event.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("{}  {} {}{from}{reason}", short(event.at), event.kind, event.port)
}

fn listening(listed: &Listed) -> String {
    match listed.observed.listening {
        Listening::None => "nobody".to_owned(),
        Listening::Mine => "its own server".to_owned(),
        Listening::Foreign => "somebody else's process".to_owned(),
        Listening::Unknown => "a process that cannot be told from here".to_owned(),
    }
}

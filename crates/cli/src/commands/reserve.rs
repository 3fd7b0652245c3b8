use std::fmt::Write as _;

use clap::Args;
use hythe_document::Failure;
use hythe_engine::{Engine, Explanation, Outcome, Port, ReserveRequest, Reserved, Service};
use serde_json::{Value, json};

use crate::args::{ReserveArgs, ScopeArg};
use crate::environment::Environment;
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
    #[command(flatten)]
    scope: ScopeArg,
    #[command(flatten)]
    pub(crate) common: ReserveArgs,
    /// Tell the whole decision on stderr
    #[arg(long)]
    explain: bool,
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
            scope: self.scope.scope,
            prefer: self.prefer.clone(),
            explain: self.explain,
            ..self.common.request(self.services.clone(), environment)
        })?;
        if output.json {
            return output.print_json(&self.document(&reserved));
        }
        for answer in &reserved {
            if let Some(explanation) = &answer.explanation {
                explained(answer, explanation).iter().for_each(|line| output.note(line));
            } else if self.common.ask.dry_run && answer.outcome != Outcome::Existing {
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
        document["dry_run"] = self.common.ask.dry_run.into();
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

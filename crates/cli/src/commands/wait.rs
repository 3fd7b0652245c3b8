use std::time::Duration;

use clap::Args;
use hythe_document::Failure;
use hythe_engine::{Engine, Named, Until, WaitRequest};
use serde_json::{Value, json};

use crate::args::ScopeArg;
use crate::output::{Output, document};

/// Wait until your server listens on the reserved port
///
/// Exits with 0 as soon as it does, with 8 when somebody else's process listens there instead, with 7
/// when the time is over or nothing is reserved. It reads only, and takes no lock.
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// Services as they are reserved here, or ports: all of them
    #[arg(default_value = "main", value_name = "SERVICE|PORT")]
    named: Vec<Named>,
    #[command(flatten)]
    scope: ScopeArg,
    /// Wait at most this long; 0s for a single look
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "30s",
        value_parser = humantime::parse_duration
    )]
    timeout: Duration,
    /// Until anybody listens, whosever process it is
    #[arg(long, conflicts_with = "free")]
    listening: bool,
    /// The other way round: until nobody listens
    #[arg(long)]
    free: bool,
}

impl Wait {
    pub(crate) fn run(&self, engine: &Engine<'_>, output: &Output) -> Result<(), Failure> {
        let until = match (self.listening, self.free) {
            (true, _) => Until::Listening,
            (_, true) => Until::Free,
            _ => Until::Mine,
        };
        let waited = engine.wait(&WaitRequest {
            named: self.named.clone(),
            scope: self.scope.scope,
            until,
            timeout: self.timeout,
        })?;
        if !output.json {
            return Ok(());
        }
        let ports: Vec<Value> = waited
            .iter()
            .map(|waited| {
                json!({
                    "port": waited.port,
                    "service": waited.service,
                    "listening": match (&waited.holder, &waited.ownership) {
                        (None, _) => json!("none"),
                        (Some(_), ownership) => json!(ownership.as_ref().map(|it| it.listening)),
                    },
                })
            })
            .collect();
        let who = |of: document::Of| -> Vec<Value> {
            let who = waited.iter().flat_map(|waited| {
                of(waited.port, waited.holder.as_ref(), waited.ownership.as_ref())
            });
            who.collect()
        };
        output.print_json(&json!({
            "version": 1,
            "ports": ports,
            "listeners": who(document::processes),
            "containers": who(document::publishers),
        }))
    }
}

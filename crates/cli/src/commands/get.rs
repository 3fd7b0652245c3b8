use clap::Args;
use hythe_document::Failure;
use hythe_engine::Engine;
use serde_json::json;

use crate::args::OneService;
use crate::output::Output;

/// Print the reserved port of a service here, or exit with 7
///
/// Reads only: it creates nothing, takes no lock and probes nothing.
#[derive(Debug, Args)]
pub(crate) struct Get {
    #[command(flatten)]
    one: OneService,
}

impl Get {
    pub(crate) fn run(&self, engine: &Engine<'_>, output: &Output) -> Result<(), Failure> {
        let reservation = engine.get(&self.one.service, self.one.scope.scope)?;
        if output.json {
            return output.print_json(&json!({
                "version": 1,
                "port": reservation.port,
                "service": reservation.service,
                "key": reservation.key.text,
            }));
        }
        output.print(&format!("{}\n", reservation.port))
    }
}

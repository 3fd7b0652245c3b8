use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use hythe_document::{ExitCode, Failure};
use hythe_engine::{Engine, Watcher};

use super::log::{EventArgs, line};
use crate::environment::Environment;
use crate::output::Output;

/// Show what happens to reservations while it happens
///
/// Without --since or --limit, only what happens from now on. With --json, one document a line
/// (NDJSON). Reads only; where there is no ledger yet, it waits for one.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    #[command(flatten)]
    events: EventArgs,
    /// Begin with what happened already: at most this many events, the latest
    #[arg(short = 'n', long, value_name = "COUNT")]
    limit: Option<u32>,
    /// End after this many events
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after this long; exits with 7 when there was no event, or fewer than --count
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
}

impl Watch {
    pub(crate) fn run(
        &self,
        engine: &Engine<'_>,
        environment: &Environment,
        output: &Output,
    ) -> Result<(), Failure> {
        // A timeout that no clock can reach is none.
        let deadline = self.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let filter = self.events.filter(environment, self.limit);
        let past = self.limit.is_some() || self.events.is_dated();
        let mut watcher = engine.watch(&filter, past)?;
        let mut shown = 0;
        loop {
            // Looked at before asking, so that the last look is after the end.
            let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
            let events = watcher.poll()?;
            for event in &events {
                if !output.deliver(&line(event, output))? {
                    return Ok(());
                }
                shown += 1;
                if self.count == Some(shown) {
                    return Ok(());
                }
            }
            if left.is_some_and(|left| left.is_zero()) {
                return self.enough(shown);
            }
            if events.is_empty() {
                let pause = left.map_or(Watcher::INTERVAL, |left| left.min(Watcher::INTERVAL));
                // Nobody wakes it: it looks once more if somebody does.
                thread::park_timeout(pause);
            }
        }
    }

    /// Whether what was waited for has come in time.
    fn enough(&self, shown: u64) -> Result<(), Failure> {
        let wanted = self.count.unwrap_or(1);
        if shown >= wanted {
            return Ok(());
        }
        let timeout = humantime::format_duration(self.timeout.unwrap_or_default());
        let message = match self.count {
            Some(wanted) => format!("{shown} of {wanted} events came within {timeout}"),
            None => format!("nothing happened within {timeout}"),
        };
        Err(Failure { code: ExitCode::NotFound, ..Failure::usage(&message, Some("hythe log")) })
    }
}

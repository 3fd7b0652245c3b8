//! What was done through the paths of Port Daddy, in its numbers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use hythe_document::Failure;
use hythe_engine::{Host, System, Timestamp};
use serde_json::{Value, json};

use super::problem;
use crate::http::problem::Problem;

/// The numbers, since the server began.
#[derive(Debug)]
pub(in crate::http) struct Counters {
    since: Timestamp,
    assignments: AtomicU64,
    releases: AtomicU64,
    cleanups: AtomicU64,
    freed: AtomicU64,
    refused: AtomicU64,
    errors: AtomicU64,
}

impl Counters {
    pub(in crate::http) fn new() -> Self {
        let zero = AtomicU64::default;
        Self {
            since: Host.now(),
            assignments: zero(),
            releases: zero(),
            cleanups: zero(),
            freed: zero(),
            refused: zero(),
            errors: zero(),
        }
    }

    /// A project got a port.
    pub(super) fn assigned(&self) {
        add(&self.assignments, 1);
    }

    pub(super) fn released(&self, ports: usize) {
        add(&self.releases, ports);
    }

    /// The cleanup policies were run, and released this many ports.
    pub(in crate::http) fn cleaned_up(&self, ports: usize) {
        add(&self.cleanups, usize::from(ports > 0));
        add(&self.freed, ports);
    }

    /// A request made no sense.
    pub(super) fn refused(&self) {
        add(&self.refused, 1);
    }

    /// A request that made sense failed.
    pub(super) fn failed(&self, failure: Failure) -> Problem {
        add(&self.errors, 1);
        problem(failure)
    }

    /// The document of `/metrics`, while so many ports are reserved.
    pub(super) fn document(&self, active: usize, began: Instant) -> Value {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let uptime = began.elapsed().as_secs();
        json!({
            "total_assignments": count(&self.assignments),
            "total_releases": count(&self.releases),
            "total_cleanups": count(&self.cleanups),
            "ports_freed_by_cleanup": count(&self.freed),
            "validation_failures": count(&self.refused),
            // One writer at a time: nobody ever has to try again.
            "race_condition_retries": 0,
            "errors": count(&self.errors),
            "uptime_start": self.since.millis(),
            "active_ports": active,
            "uptime_seconds": uptime,
            "uptime_formatted": formatted(uptime),
        })
    }
}

fn add(counter: &AtomicU64, more: usize) {
    counter.fetch_add(more as u64, Ordering::Relaxed);
}

fn formatted(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}m"),
        (0, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h {minutes}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_there() {
        let written = [59, 60, 3599, 3600, 86_399, 90_061].map(formatted);
        assert_eq!(written, ["0m", "1m", "59m", "1h 0m", "23h 59m", "1d 1h 1m"]);
    }
}

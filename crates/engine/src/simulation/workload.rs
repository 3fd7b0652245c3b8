//! What is played: how many projects, what their people do, and what the machine does to them.

use std::time::Duration;

use crate::config::OnConflict;
use crate::reservation::{NameError, Scope};

/// A workload. The same workload is played to every strategy in the same way: which worktree asks
/// for what, and what the machine does, never depends on what policies answer.
///
/// Rates are numbers from 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// How many requests are made, 1 to [`Workload::MAX_REQUESTS`].
    pub requests: u32,
    /// How many projects there are, at least 1.
    pub projects: u32,
    /// How many worktrees each project has, its main one included, at least 1.
    pub worktrees: u32,
    /// How many services each worktree has, at least 1. With the projects and worktrees at most
    /// [`Workload::MAX_SERVICES`] in all.
    pub services: u32,
    /// The share of requests that give a port back instead of asking for one.
    pub release: f64,
    /// How often a linked worktree is deleted before a request is made. Its processes end with it.
    /// Within twelve hours it comes back under the same name, or a new one takes its place.
    pub die: f64,
    /// The share of the range that is held by strangers: processes that Hythe knows nothing of,
    /// each for a day on average.
    pub foreign: f64,
    /// The share of services that are reserved with an ephemeral lease, owned by a process of their
    /// worktree.
    pub ephemeral: f64,
    /// The share of the services of main worktrees whose reservation is locked.
    pub locked: f64,
    /// The share of requests after which the service has a running server.
    pub served: f64,
    /// What all that looks random follows from.
    pub seed: u64,
    /// The time from one request to the next, at most a day.
    pub interval: Duration,
    /// The time from one cleanup to the next; zero for no cleanup.
    pub cleanup_every: Duration,
    /// How long a released port is given to no other key.
    pub freeze: Duration,
    /// What becomes of a reservation whose port a stranger holds.
    pub on_conflict: OnConflict,
    /// What the reservations belong to.
    pub scope: Scope,
}

impl Workload {
    /// The most requests.
    pub const MAX_REQUESTS: u32 = 1_000_000;
    /// The most services of all worktrees together, more than there are ports.
    pub const MAX_SERVICES: u32 = 100_000;

    /// Whether it can be played.
    pub fn check(&self) -> Result<(), WorkloadError> {
        let wrong = |what: &'static str, is: String, expected: String| {
            Err(WorkloadError::Value { what, is, expected })
        };
        for (what, rate) in [
            ("release", self.release),
            ("die", self.die),
            ("foreign", self.foreign),
            ("ephemeral", self.ephemeral),
            ("locked", self.locked),
            ("served", self.served),
        ] {
            if !(0.0..=1.0).contains(&rate) {
                return wrong(what, rate.to_string(), "0 to 1".to_owned());
            }
        }
        for (what, number, most) in [
            ("requests", self.requests, Self::MAX_REQUESTS),
            ("projects", self.projects, Self::MAX_SERVICES),
            ("worktrees", self.worktrees, Self::MAX_SERVICES),
            ("services", self.services, Self::MAX_SERVICES),
        ] {
            if !(1..=most).contains(&number) {
                return wrong(what, number.to_string(), format!("1 to {most}"));
            }
        }
        let all = [self.projects, self.worktrees, self.services].map(u64::from);
        let all: u64 = all.iter().product();
        if all > u64::from(Self::MAX_SERVICES) {
            let expected = format!("at most {}", Self::MAX_SERVICES);
            return wrong("projects × worktrees × services", all.to_string(), expected);
        }
        if self.interval > Duration::from_hours(24) {
            let is = humantime::format_duration(self.interval).to_string();
            return wrong("interval", is, "at most 1day".to_owned());
        }
        Ok(())
    }
}

impl Default for Workload {
    /// Ten thousand requests in three and a half days.
    fn default() -> Self {
        Self {
            requests: 10_000,
            projects: 10,
            worktrees: 4,
            services: 3,
            release: 0.05,
            die: 0.01,
            foreign: 0.02,
            ephemeral: 0.3,
            locked: 0.05,
            served: 0.5,
            seed: 0,
            interval: Duration::from_secs(30),
            cleanup_every: Duration::from_hours(1),
            freeze: Duration::from_hours(1),
            on_conflict: OnConflict::Move,
            scope: Scope::Directory,
        }
    }
}

/// A workload that cannot be played.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkloadError {
    /// A value lies outside its bounds.
    #[error("`{what}` of the workload is {is}: expected {expected}")]
    Value {
        /// Which value.
        what: &'static str,
        /// What it is.
        is: String,
        /// What it may be.
        expected: String,
    },
    /// A project or a service was given a name that cannot be one.
    #[error(transparent)]
    Name(#[from] NameError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_bounds_is_named() {
        let said = |workload: Workload| workload.check().map_err(|error| error.to_string());
        let usual = Workload::default;
        assert_eq!(said(usual()), Ok(()));
        let most = Workload { requests: 1_000_000, release: 1.0, foreign: 0.0, ..usual() };
        assert_eq!(said(most), Ok(()));
        for (workload, expected) in [
            (
                Workload { requests: 0, ..usual() },
                "`requests` of the workload is 0: expected 1 to 1000000",
            ),
            (
                Workload { requests: 1_000_001, ..usual() },
                "`requests` of the workload is 1000001: expected 1 to 1000000",
            ),
            (
                Workload { services: 0, ..usual() },
                "`services` of the workload is 0: expected 1 to 100000",
            ),
            (Workload { die: 1.5, ..usual() }, "`die` of the workload is 1.5: expected 0 to 1"),
            (
                Workload { locked: f64::NAN, ..usual() },
                "`locked` of the workload is NaN: expected 0 to 1",
            ),
            (
                Workload { projects: 100_000, worktrees: 100_000, services: 100_000, ..usual() },
                "`projects × worktrees × services` of the workload is 1000000000000000: \
                 expected at most 100000",
            ),
            (
                Workload { interval: Duration::from_hours(25), ..usual() },
                "`interval` of the workload is 1day 1h: expected at most 1day",
            ),
        ] {
            assert_eq!(said(workload), Err(expected.to_owned()));
        }
    }
}

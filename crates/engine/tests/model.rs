//! A seeded random walk over a simulated machine: the real engine, with its real plugins, ledger
//! and lock, does what a simple reference says, and keeps every promise on the way.
//!
//! `HYTHE_TEST_SCALE=10` walks ten times as far; `HYTHE_TEST_SEED=7` walks that way alone.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "model/checks.rs"]
mod checks;
#[path = "model/configuration.rs"]
mod configuration;
#[path = "model/disturbances.rs"]
mod disturbances;
#[path = "model/facts.rs"]
mod facts;
#[path = "model/machine.rs"]
mod machine;
#[path = "model/random.rs"]
mod random;
#[path = "model/reference.rs"]
mod reference;
#[path = "model/requests.rs"]
mod requests;
#[path = "model/scene.rs"]
mod scene;
#[path = "model/walk.rs"]
mod walk;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use machine::Lie;
use reference::Mistake;
use walk::{Route, Tally, walk};

const SEEDS: u64 = 20;
const STEPS: usize = 300;

/// A number from the environment.
#[expect(clippy::disallowed_methods, reason = "tests are told their size in variables")]
fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is not a number")))
}

/// Walks with every seed below `end`, on all processors.
fn walk_all(end: u64) -> Vec<Result<Tally, String>> {
    let next = AtomicU64::new(0);
    let work = || {
        let mut results = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return results;
            }
            results.push(walk(Route { seed, steps: STEPS, ..Route::default() }));
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    })
}

#[test]
fn the_engine_keeps_its_promises_on_every_walk() {
    if let Some(seed) = variable("HYTHE_TEST_SEED") {
        let result = walk(Route { seed, steps: STEPS, ..Route::default() });
        return drop(result.unwrap_or_else(|failure| panic!("{failure}")));
    }
    let seeds = SEEDS * variable("HYTHE_TEST_SCALE").unwrap_or(1);
    let mut tally = Tally::new();
    let mut failures = Vec::new();
    for result in walk_all(seeds) {
        match result {
            Ok(counted) => counted.into_iter().for_each(|(what, count)| {
                *tally.entry(what).or_default() += count;
            }),
            Err(failure) => failures.push(failure),
        }
    }
    assert!(failures.is_empty(), "{} walks failed:\n\n{}", failures.len(), failures.join("\n\n"));
    // A walk that never gets into trouble proves nothing.
    for what in [
        "reserve Existing",
        "reserve Created",
        "reserve Returned",
        "reserve Moved",
        "reserve NoFreePort",
        "reserve Refused",
        "reserve Policy",
        "reserve Usage",
        "release Refused",
        "release NotFound",
        "cleanup Usage",
        "reserve: updated ",
        "reserve: locked ",
        "lock: unlocked ",
        "release: released ",
        "cleanup: released ttl",
        "cleanup: released pid-reap",
        "cleanup: released path-sticky",
        "cleanup: released --older-than",
        "reserve: released ttl",
        "reserve: released path-sticky",
        "a port that cleanup released was given at once",
        "notice KeptHeld",
        "notice Moved",
        "notice Unprobed",
        "notice PreferredRefused",
        "notice ReleasedWhileServed",
    ] {
        assert!(tally.contains_key(what), "{what:?} never happened: {tally:#?}");
    }
}

/// Whether some walk of a few notices what is wrong.
fn is_noticed(route: Route) -> bool {
    (0..SEEDS).any(|seed| walk(Route { seed, steps: STEPS, ..route }).is_err())
}

#[test]
fn a_machine_that_lies_is_found_out() {
    for lie in [
        Lie::EveryPortIsFree,
        Lie::NobodyListens,
        Lie::NobodyDies,
        Lie::NothingIsGone,
        Lie::NothingIsEphemeral,
        Lie::TheClockStands,
    ] {
        assert!(is_noticed(Route { lie: Some(lie), ..Route::default() }), "{lie:?}");
    }
}

#[test]
fn a_reference_that_errs_is_found_out() {
    for mistake in [
        Mistake::ForgetsReleases,
        Mistake::ReleasesLocked,
        Mistake::MovesOnDoubt,
        Mistake::GivesFrozen,
        Mistake::CleansTooOften,
        Mistake::ScattersBlocks,
    ] {
        assert!(is_noticed(Route { mistake: Some(mistake), ..Route::default() }), "{mistake:?}");
    }
}

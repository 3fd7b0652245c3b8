//! Simulations small enough to be followed, and invariants on large ones.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::config::OnConflict;
use crate::observed::{Listening, Observed};
use crate::policy::{Failure, SelectionRequest, Verdict};
use crate::port::PortRange;

fn port(number: u16) -> Port {
    Port::new(number).unwrap()
}

fn error(failure: Failure) -> PolicyError {
    let (plugin, selected_by) = ("native 1".to_owned(), "a test".to_owned());
    PolicyError { plugin, function: "interface.function", selected_by, failure }
}

/// One key for each directory and service; what was asked for is remembered.
#[derive(Default)]
struct ByDirectory(RefCell<Vec<String>>);

impl KeyDerivation for ByDirectory {
    fn derive(&self, request: &KeyRequest<'_>) -> Result<String, PolicyError> {
        let key = format!("{}:{}", request.place.root().display(), request.service);
        let branch = request.place.checkout.as_ref().and_then(|checkout| checkout.branch.clone());
        self.0.borrow_mut().push(format!("{key} {branch:?}"));
        Ok(key)
    }
}

struct ByService;

impl KeyDerivation for ByService {
    fn derive(&self, request: &KeyRequest<'_>) -> Result<String, PolicyError> {
        Ok(request.service.to_string())
    }
}

/// A slot hashed from the key, then onward and around.
struct Hashed;

impl PortSelection for Hashed {
    fn select(&self, request: &SelectionRequest<'_>) -> Result<Vec<PortRange>, PolicyError> {
        let hash = request.key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let size = u64::try_from(request.allowed.size()).unwrap();
        let slot = u16::try_from((hash ^ (hash >> 29)) % size).unwrap();
        let (first, last) = (request.allowed.first(), request.allowed.last());
        let slot = first.checked_add(slot).unwrap();
        Ok([PortRange::new(slot, last), PortRange::new(first, slot)]
            .into_iter()
            .flatten()
            .collect())
    }
}

/// The range from its beginning.
struct Ascending;

impl PortSelection for Ascending {
    fn select(&self, request: &SelectionRequest<'_>) -> Result<Vec<PortRange>, PolicyError> {
        assert!(request.reserved.is_sorted_by(|one, other| one < other));
        Ok(vec![request.allowed])
    }
}

/// The port after the latest, then onward and around.
struct RoundRobin;

impl PortSelection for RoundRobin {
    fn select(&self, request: &SelectionRequest<'_>) -> Result<Vec<PortRange>, PolicyError> {
        let next = request.latest.and_then(|latest| latest.checked_add(1));
        let next = next.and_then(|next| PortRange::new(next, request.allowed.last()));
        Ok(next.into_iter().chain([request.allowed]).collect())
    }
}

struct Constant(u16);

impl PortSelection for Constant {
    fn select(&self, _: &SelectionRequest<'_>) -> Result<Vec<PortRange>, PolicyError> {
        Ok(vec![port(self.0).into()])
    }
}

/// Fails in one way, whatever it is asked.
struct Failing(Failure);

impl PortSelection for Failing {
    fn select(&self, _: &SelectionRequest<'_>) -> Result<Vec<PortRange>, PolicyError> {
        Err(error(self.0.clone()))
    }
}

impl KeyDerivation for Failing {
    fn derive(&self, _: &KeyRequest<'_>) -> Result<String, PolicyError> {
        Err(error(self.0.clone()))
    }
}

impl Cleanup for Failing {
    fn review(&self, _: Timestamp, _: &[&Observed]) -> Result<Vec<Verdict>, PolicyError> {
        Err(error(self.0.clone()))
    }
}

/// Releases what it is shown if this says so.
struct Releasing(fn(&Observed) -> bool);

impl Cleanup for Releasing {
    fn review(&self, _: Timestamp, shown: &[&Observed]) -> Result<Vec<Verdict>, PolicyError> {
        let verdict = |observed: &&Observed| match self.0(observed) {
            true => Verdict::Release("it may go".to_owned()),
            false => Verdict::Pass,
        };
        Ok(shown.iter().map(verdict).collect())
    }
}

/// Releases what has not been used for so long.
struct Idle(Duration);

impl Cleanup for Idle {
    fn review(&self, now: Timestamp, shown: &[&Observed]) -> Result<Vec<Verdict>, PolicyError> {
        let verdict =
            |observed: &&Observed| match now.since(observed.reservation.last_used_at) > self.0 {
                true => Verdict::Release("it is idle".to_owned()),
                false => Verdict::Pass,
            };
        Ok(shown.iter().map(verdict).collect())
    }
}

const EVERYTHING: Releasing = Releasing(|_| true);
const GONE: Releasing = Releasing(|observed| observed.directory == Presence::Gone);
const ORPHANED: Releasing = Releasing(|observed| observed.owner == Some(Liveness::Dead));

fn filter(range: &str) -> Filter {
    Filter {
        range: range.parse().unwrap(),
        excluded: PortSet::new(),
        allowed: PortSet::new(),
        ephemeral: None,
        first_unprivileged: port(1024),
        reserved: PortSet::new(),
        frozen: PortSet::new(),
    }
}

/// One worktree where nothing happens but requests.
fn quiet(requests: u32, services: u32) -> Workload {
    Workload {
        requests,
        projects: 1,
        worktrees: 1,
        services,
        release: 0.0,
        die: 0.0,
        foreign: 0.0,
        ephemeral: 0.0,
        locked: 0.0,
        served: 0.0,
        ..Workload::default()
    }
}

fn run(
    workload: &Workload,
    filter: Filter,
    selection: &dyn PortSelection,
    cleanup: &[(&str, &dyn Cleanup)],
) -> Report {
    let key = &ByDirectory::default();
    let policies = Policies { key, selection, cleanup: cleanup.to_vec() };
    let report = simulate(workload, filter, &policies).unwrap();
    balanced(&report);
    report
}

/// Whatever happens, these agree.
#[track_caller]
fn balanced(report: &Report) {
    let counted = report.hits + report.placements() + report.exhausted + report.conflicts;
    assert_eq!(report.requests, counted + report.refused.count + report.released.by_user);
    let given: u32 = report.occupancy.given.iter().sum();
    assert_eq!(usize::try_from(given).unwrap(), report.placements());
    assert!(report.proposals.first_choice <= report.placements());
    assert!(report.keys.same_port <= report.keys.came_back);
    assert_eq!(report.keys.distinct + report.keys.came_back, report.new + report.returned);
    assert!(report.range.peak <= report.range.distinct);
}

fn skipped(report: &Report) -> Vec<(usize, &str)> {
    report.proposals.skipped.iter().map(|skips| (skips.count, skips.reason.as_str())).collect()
}

#[test]
fn the_first_free_port_is_the_first_choice_of_one_key_only() {
    let mut filter = filter("20000-20009");
    filter.excluded.insert(port(20001));
    let report = run(&quiet(100, 3), filter, &Ascending, &[]);
    assert_eq!((report.new, report.hits), (3, 97));
    assert_eq!(report.proposals.first_choice, 1);
    assert_eq!(
        skipped(&report),
        [(3, "reserved for another key"), (2, "excluded by configuration")]
    );
    assert_eq!(report.occupancy.given, [1, 0, 1, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(report.occupancy.reserved, [20000, 20002, 20003].map(port));
    assert_eq!(report.range, RangeUse { size: 10, peak: 3, distinct: 3 });
    let keys = Keys { distinct: 3, portable: 1, ..Keys::default() };
    assert_eq!(report.keys, keys, "on an empty machine, every key would get the same port");
    assert_eq!(report.seconds, 3_000);
}

#[test]
fn a_hashed_port_is_portable() {
    let report = run(&quiet(100, 3), filter("20000-29999"), &Hashed, &[]);
    assert_eq!((report.new, report.proposals.first_choice), (3, 3));
    assert_eq!((report.keys.distinct, report.keys.portable), (3, 3));
    assert_eq!(skipped(&report), []);
}

#[test]
fn the_latest_port_is_the_one_that_was_given_last() {
    let report = run(&quiet(100, 5), filter("20000-20009"), &RoundRobin, &[]);
    assert_eq!(report.occupancy.given, [1, 1, 1, 1, 1, 0, 0, 0, 0, 0]);
    assert_eq!(report.proposals.first_choice, 5);
}

#[test]
fn who_proposes_one_port_serves_one_key() {
    let report = run(&quiet(100, 2), filter("20000-20009"), &Constant(20005), &[]);
    assert_eq!((report.new, report.proposals.first_choice), (1, 1));
    assert!(report.exhausted > 20, "{report:?}");
    assert_eq!(report.hits + report.exhausted, 99);
    assert_eq!(skipped(&report), [], "what led to nothing is not counted");
}

#[test]
fn what_lies_outside_the_range_is_not_given() {
    let report = run(&quiet(10, 1), filter("20000-20009"), &Constant(80), &[]);
    assert_eq!((report.exhausted, report.new), (10, 0));
}

#[test]
fn a_key_that_comes_back_gets_its_port() {
    let workload = Workload { release: 1.0, ..quiet(10, 1) };
    let report = run(&workload, filter("20000-20009"), &Ascending, &[]);
    assert_eq!((report.new, report.returned, report.released.by_user), (1, 4, 5));
    assert_eq!((report.keys.came_back, report.keys.same_port), (4, 4));
    assert_eq!(report.occupancy.given[0], 5);
}

#[test]
fn what_is_locked_is_not_given_back() {
    let workload = Workload { release: 1.0, locked: 1.0, ..quiet(10, 1) };
    let report = run(&workload, filter("20000-20009"), &Ascending, &[]);
    assert_eq!((report.new, report.hits, report.released.by_user), (1, 9, 0));
}

#[test]
fn what_is_asked_for_is_not_idle() {
    let workload = Workload { cleanup_every: Duration::from_mins(1), ..quiet(100, 1) };
    for (seconds, released) in [(90, 0), (20, 50)] {
        let idle = Idle(Duration::from_secs(seconds));
        let report = run(&workload, filter("20000-20009"), &Ascending, &[("idle", &idle)]);
        assert_eq!(report.released.by_policy["idle"], released, "{seconds}");
    }
}

#[test]
fn a_released_port_is_frozen_for_others() {
    let workload = Workload { release: 1.0, ..quiet(200, 2) };
    let hour = run(&workload, filter("20000-20009"), &Ascending, &[]);
    assert_eq!(hour.range.distinct, 2, "each key has a port of its own");
    assert!(hour.proposals.skipped.iter().any(|skips| skips.reason == "released a moment ago"));
    let workload = Workload { freeze: Duration::ZERO, ..workload };
    let never = run(&workload, filter("20000-20009"), &Ascending, &[]);
    assert!(never.proposals.skipped.iter().all(|skips| skips.reason.starts_with("reserved")));
    assert!(never.keys.same_port < never.keys.came_back, "{never:?}");
    // Forty seconds are over at the second request after the release.
    let exhausted = |freeze| {
        let workload = Workload { freeze, ..workload.clone() };
        let report = run(&workload, filter("20000-20009"), &Constant(20000), &[]);
        (report.keys.distinct, report.exhausted)
    };
    let (alone, most) = exhausted(Duration::from_hours(1));
    assert_eq!(alone, 1, "its port is never free for long enough");
    let (both, some) = exhausted(Duration::from_secs(40));
    let (_, fewest) = exhausted(Duration::ZERO);
    assert!(both == 2 && fewest < some && some < most, "{fewest} {some} {most}");
}

#[test]
fn nothing_is_given_that_a_stranger_holds() {
    let all = Workload { foreign: 1.0, ..quiet(50, 2) };
    let report = run(&all, filter("20000-20009"), &Ascending, &[]);
    assert_eq!((report.exhausted, report.placements()), (50, 0));
    assert_eq!(report.occupancy.foreign.len(), 10);
    let half = Workload { foreign: 0.5, interval: Duration::ZERO, ..quiet(50, 40) };
    let report = run(&half, filter("20000-20099"), &Ascending, &[]);
    let reserved: BTreeSet<_> = report.occupancy.reserved.iter().collect();
    assert!(report.occupancy.foreign.iter().all(|port| !reserved.contains(port)));
    assert!(skipped(&report).iter().any(|(_, reason)| *reason == "held by a process"));
}

#[test]
fn a_stranger_on_a_reserved_port_is_met_as_the_rule_says() {
    let busy = |on_conflict| Workload {
        foreign: 0.5,
        interval: Duration::from_hours(12),
        on_conflict,
        ..quiet(300, 3)
    };
    let range = || filter("20000-20019");
    let report = run(&busy(OnConflict::Move), range(), &Ascending, &[]);
    assert!(report.moved > 10 && report.kept_held == 0 && report.conflicts == 0, "{report:?}");
    assert_eq!(report.keys.came_back, 0, "who moves was never away");
    let report = run(&busy(OnConflict::Keep), range(), &Ascending, &[]);
    assert!(report.moved == 0 && report.kept_held > 10 && report.conflicts == 0, "{report:?}");
    let report = run(&busy(OnConflict::Fail), range(), &Ascending, &[]);
    assert!(report.moved == 0 && report.kept_held == 0 && report.conflicts > 10, "{report:?}");
    let locked = Workload { locked: 1.0, ..busy(OnConflict::Move) };
    let report = run(&locked, range(), &Ascending, &[]);
    assert!(report.moved == 0 && report.kept_held > 10, "{report:?}");
    // Strangers do not get ports on which servers listen.
    let served = Workload { served: 1.0, ..busy(OnConflict::Move) };
    let report = run(&served, range(), &Ascending, &[]);
    assert_eq!((report.moved, report.kept_held), (0, 0));
}

#[test]
fn keys_without_a_directory_are_shared() {
    let workload = Workload { projects: 3, ..quiet(300, 2) };
    for (scope, key, distinct, shared) in [
        (Scope::Service, &ByService as &dyn KeyDerivation, 2, 2),
        // A server of any directory with the key is the reservation's own.
        (Scope::Directory, &ByService, 2, 2),
        (Scope::Directory, &ByDirectory::default(), 6, 0),
    ] {
        let workload = Workload { scope, served: 0.5, ..workload.clone() };
        let policies = Policies { key, selection: &Hashed, cleanup: Vec::new() };
        let report = simulate(&workload, filter("20000-29999"), &policies).unwrap();
        balanced(&report);
        assert_eq!((report.keys.distinct, report.keys.shared), (distinct, shared));
        assert_eq!(report.moved, 0);
    }
}

#[test]
fn refusals_are_counted_and_other_failures_end_it() {
    let workload = Workload { cleanup_every: Duration::from_mins(1), ..quiet(10, 1) };
    let refusing = Failing(Failure::Refused("not today".to_owned()));
    let said = "policy `native 1` failed in `interface.function`: not today";
    let refused = |count| Refused { count, first: Some(said.to_owned()) };
    let report = run(&workload, filter("20000-20009"), &refusing, &[]);
    assert_eq!((&report.refused, report.placements()), (&refused(10), 0));
    let report = run(&workload, filter("20000-20009"), &Ascending, &[("no", &refusing)]);
    assert_eq!((report.new, report.hits), (1, 9));
    assert_eq!((report.cleanups, &report.cleanups_refused), (5, &refused(5)));
    let policies = Policies { key: &refusing, selection: &Ascending, cleanup: Vec::new() };
    let report = simulate(&workload, filter("20000-20009"), &policies).unwrap();
    assert_eq!(report.refused, refused(10));

    let broken = Failing(Failure::Fuel(7));
    let key = ByDirectory::default();
    for policies in [
        Policies { key: &broken, selection: &Ascending, cleanup: Vec::new() },
        Policies { key: &key, selection: &broken, cleanup: Vec::new() },
        Policies { key: &key, selection: &Ascending, cleanup: vec![("no", &broken)] },
    ] {
        let ended = simulate(&workload, filter("20000-20009"), &policies);
        assert_eq!(ended, Err(SimulationError::Policy(error(Failure::Fuel(7)))));
    }
    let nothing = Workload { requests: 0, ..workload };
    let policies = Policies { key: &key, selection: &Ascending, cleanup: Vec::new() };
    let ended = simulate(&nothing, filter("20000-20009"), &policies);
    assert!(matches!(ended, Err(SimulationError::Workload(_))));
}

#[test]
fn a_full_range_is_tried_once_more_with_what_cleanup_releases() {
    let workload = Workload { cleanup_every: Duration::ZERO, ..quiet(100, 2) };
    let one = || filter("20000");
    let report = run(&workload, one(), &Ascending, &[("all", &EVERYTHING)]);
    assert_eq!((report.exhausted, report.cleanups), (0, 0));
    assert_eq!(report.released.by_policy["all"], report.placements() - 1);
    assert!(report.placements() > 20);
    assert_eq!(report.returned, 0, "another key has had the port since");
    assert_eq!(report.keys.same_port, report.keys.came_back);
    // What is locked or served is not released, and then there is no port.
    for workload in
        [Workload { locked: 1.0, ..workload.clone() }, Workload { served: 1.0, ..workload.clone() }]
    {
        let report = run(&workload, one(), &Ascending, &[("all", &EVERYTHING)]);
        assert_eq!((report.new, report.released.by_policy["all"]), (1, 0));
        assert!(report.exhausted > 20);
    }
}

#[test]
fn what_dies_is_released_by_the_policy_that_says_so() {
    let workload = Workload { die: 0.05, ephemeral: 0.5, ..Workload::default() };
    let policies: [(&str, &dyn Cleanup); 2] = [("orphaned", &ORPHANED), ("gone", &GONE)];
    let report = run(&workload, filter("20000-29999"), &Hashed, &policies);
    let by = &report.released.by_policy;
    assert!(by["orphaned"] > 100 && by["gone"] > 100, "{by:?}");
    assert!(report.cleanups >= 80, "{}", report.cleanups);
    assert!(report.keys.came_back > 100);
    assert!(report.keys.distinct > 150, "worktrees of new names come");
    let [idle, served] = [0.0, 1.0].map(|served| {
        let workload = Workload { served, ..workload.clone() };
        run(&workload, filter("20000-29999"), &Hashed, &policies).released
    });
    assert_eq!(idle, served, "servers end with their worktree");
    let alone = Workload { worktrees: 1, ..workload };
    let report = run(&alone, filter("20000-29999"), &Hashed, &policies);
    assert_eq!(
        report.released.by_policy,
        BTreeMap::from(["gone", "orphaned"].map(|policy| { (policy.to_owned(), 0) }))
    );
}

#[test]
fn the_same_seed_makes_the_same_report_and_every_strategy_meets_the_same_workload() {
    let workload = Workload { requests: 3_000, die: 0.05, foreign: 0.3, ..Workload::default() };
    let asked = |workload: &Workload, selection: &dyn PortSelection, range: &str| {
        let key = ByDirectory::default();
        let policies = Policies { key: &key, selection, cleanup: vec![("gone", &GONE)] };
        let report = simulate(workload, filter(range), &policies).unwrap();
        (report, key.0.into_inner())
    };
    let (one, asked_of_one) = asked(&workload, &Hashed, "20000-20199");
    let (same, _) = asked(&workload, &Hashed, "20000-20199");
    assert_eq!(one, same);
    let (other, asked_of_other) = asked(&workload, &Ascending, "20000-20199");
    assert_ne!(one, other);
    assert_eq!(asked_of_one, asked_of_other);
    assert_eq!(one.occupancy.foreign.len(), other.occupancy.foreign.len());
    let (different, _) = asked(&Workload { seed: 1, ..workload }, &Hashed, "20000-20199");
    assert_ne!(one, different);
    let ticket = |asked: &String| asked.contains("Some(\"feature/SHOP-");
    assert!(asked_of_one.iter().any(ticket));
    assert!(asked_of_one.iter().any(|asked| asked.ends_with("None")), "a detached head");
}

/// Plays a rough workload step by step and looks at the ledger after each.
#[test]
fn invariants_hold_at_every_step() {
    let mut moved = 0;
    for seed in 0..4 {
        let workload = Workload {
            requests: 2_000,
            foreign: 0.3,
            die: 0.05,
            locked: 0.1,
            release: if seed == 0 { 0.1 } else { 0.0 },
            interval: Duration::from_mins(10),
            cleanup_every: Duration::from_hours(12),
            seed,
            ..Workload::default()
        };
        let mut filter = filter("20000-20149");
        filter.excluded.extend((20_010..20_030).map(port));
        filter.reserved.insert(port(20_040));
        let selections: [&dyn PortSelection; 2] = [&Hashed, &Ascending];
        for selection in selections {
            let key = &ByDirectory::default();
            let cleanup: Vec<(&str, &dyn Cleanup)> = vec![("all", &EVERYTHING)];
            let policies = Policies { key, selection, cleanup };
            let (mut simulation, mut course) =
                Simulation::begin(&workload, filter.clone(), &policies).unwrap();
            let mut before: BTreeMap<Port, (KeyId, bool)> = BTreeMap::new();
            for _ in 0..workload.requests {
                simulation.step(&mut course).unwrap();
                before = checked(&simulation, &course, &before);
            }
            let report = simulation.finish();
            balanced(&report);
            assert!(report.released.by_policy["all"] > 100);
            moved += report.moved;
        }
    }
    assert!(moved > 10, "{moved}");
}

/// Each port's key, and whether nothing may take it away in the next step.
fn checked(
    simulation: &Simulation<'_>,
    course: &Course,
    before: &BTreeMap<Port, (KeyId, bool)>,
) -> BTreeMap<Port, (KeyId, bool)> {
    let Simulation { book, machine, empty, .. } = simulation;
    let mut keys = Vec::new();
    let mut after = BTreeMap::new();
    for (port, tenure) in book.tenures() {
        let reservation = &tenure.observed.reservation;
        assert_eq!(reservation.port, *port);
        assert!(!keys.contains(&tenure.key), "a key has two ports");
        keys.push(tenure.key);
        if before.get(port).is_none_or(|(key, _)| *key != tenure.key) {
            assert_eq!(empty.refusal(*port), None, "{port} may not be given");
            assert!(empty.range.contains(*port));
            assert!(!machine.strangers().contains(*port), "a stranger holds {port}");
        }
        let owner = liveness(&course.worktrees, reservation);
        let served = machine.listening(tenure, owner) == Listening::Mine;
        // A server may end with its worktree, and only then does the engine not know of it.
        let stays = reservation.locked || (served && is_main(&reservation.directory));
        after.insert(*port, (tenure.key, stays));
        assert!(book.filter().reserved.contains(*port));
        assert!(!book.filter().frozen.contains(*port));
    }
    let created = |port: &Port| book.tenures()[port].observed.reservation.created_at;
    assert_eq!(book.latest(), after.keys().copied().max_by_key(|port| (created(port), *port)));
    assert!(after.keys().all(|port| created(port) > Timestamp::from_millis(BEGIN)));
    let others = [port(20_040)];
    let all: BTreeSet<_> = after.keys().copied().chain(others).collect();
    assert!(book.reserved().iter().eq(&all), "{:?}", book.reserved());
    let lost: Vec<_> =
        before.iter().filter(|(port, (_, stays))| *stays && !after.contains_key(port)).collect();
    assert!(lost.is_empty() || simulation.workload.release > 0.0, "{lost:?} were taken away");
    after
}

fn is_main(directory: &std::path::Path) -> bool {
    !directory.starts_with("/work/worktrees")
}

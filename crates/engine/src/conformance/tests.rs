use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt::Display;

use super::*;
use crate::observed::{Liveness, Observed, Presence};
use crate::policy::{Failure, KeyRequest, PolicyError, SelectionRequest, Verdict};
use crate::port::{Port, PortRange};
use crate::reservation::{Lease, Scope};
use crate::time::Timestamp;

const SUITE: Suite = Suite { runs: 64, seed: 7 };

/// Policies that are closures.
struct Keys<F>(F);
struct Ports<F>(F);
struct Judge<F>(F);

impl<F: Fn(&KeyRequest<'_>) -> Result<String, Failure>> KeyDerivation for Keys<F> {
    fn derive(&self, request: &KeyRequest<'_>) -> Result<String, PolicyError> {
        (self.0)(request).map_err(error)
    }
}

impl<F: Fn(&SelectionRequest<'_>) -> Result<Vec<PortRange>, Failure>> PortSelection for Ports<F> {
    fn select(&self, request: &SelectionRequest<'_>) -> Result<Vec<PortRange>, PolicyError> {
        (self.0)(request).map_err(error)
    }
}

impl<F: Fn(Timestamp, &[&Observed]) -> Result<Vec<Verdict>, Failure>> Cleanup for Judge<F> {
    fn review(&self, now: Timestamp, them: &[&Observed]) -> Result<Vec<Verdict>, PolicyError> {
        (self.0)(now, them).map_err(error)
    }
}

fn error(failure: Failure) -> PolicyError {
    let (plugin, selected_by) = ("test 1".to_owned(), "built-in".to_owned());
    PolicyError { plugin, function: "test", selected_by, failure }
}

fn trap<T>(when: bool, otherwise: T) -> Result<T, Failure> {
    if when { Err(Failure::Trap("unreachable".to_owned(), Vec::new())) } else { Ok(otherwise) }
}

fn refuse<T>(when: bool, otherwise: T) -> Result<T, Failure> {
    if when { Err(Failure::Refused("no".to_owned())) } else { Ok(otherwise) }
}

/// The key of `path-sticky`, nearly.
fn key(request: &KeyRequest<'_>) -> String {
    let service = request.service;
    match request.scope {
        Scope::Directory => format!("d:{service}:{:?}", request.place.root()),
        Scope::Project => format!("p:{service}:{:?}", request.project),
        Scope::Service => format!("s:{service}"),
    }
}

/// From a port that the key chooses, upward and around.
fn ranges(request: &SelectionRequest<'_>) -> Vec<PortRange> {
    let sum: usize = request.key.bytes().map(usize::from).sum();
    let slot = request.allowed.ports().nth(sum % request.allowed.size()).unwrap();
    let onward = PortRange::new(slot, request.allowed.last());
    let before = Port::new(slot.get() - 1)
        .and_then(|before| PortRange::new(request.allowed.first(), before));
    onward.into_iter().chain(before).collect()
}

/// Releases what belongs to a directory that is gone.
fn verdict(observed: &Observed) -> Verdict {
    match observed.directory {
        Presence::Gone => Verdict::Release("gone".to_owned()),
        _ => Verdict::Pass,
    }
}

fn verdicts(them: &[&Observed]) -> Vec<Verdict> {
    them.iter().map(|observed| verdict(observed)).collect()
}

fn release(reason: &str) -> Verdict {
    Verdict::Release(reason.to_owned())
}

fn derivation(policy: impl Fn(&KeyRequest<'_>) -> Result<String, Failure>) -> Vec<Check> {
    SUITE.derivation(&Keys(policy))
}

fn selection(
    policy: impl Fn(&SelectionRequest<'_>) -> Result<Vec<PortRange>, Failure>,
) -> Vec<Check> {
    SUITE.selection(&Ports(policy))
}

fn cleanup(
    policy: impl Fn(Timestamp, &[&Observed]) -> Result<Vec<Verdict>, Failure>,
) -> Vec<Check> {
    SUITE.cleanup(&Judge(policy))
}

/// Asserts that `checks` complain about `name` in words that contain `words`, and remembers it.
#[track_caller]
fn complains(seen: &mut BTreeSet<&'static str>, checks: &[Check], name: &str, words: &str) {
    let check = checks.iter().find(|check| check.name == name).expect(name);
    let text = match &check.outcome {
        CheckOutcome::Passed => panic!("`{name}` passed: {checks:#?}"),
        CheckOutcome::Noted(text) => format!("noted: {text}"),
        CheckOutcome::Failed { text, .. } => format!("failed: {text}"),
    };
    assert!(text.contains(words), "{name}: {text}");
    assert!(!text.contains('\n') && text.len() < 4000, "{text}");
    seen.insert(check.name);
}

#[track_caller]
fn all_seen(seen: &BTreeSet<&'static str>, checks: &[Check]) {
    let all: Vec<_> = checks.iter().map(|check| check.name).collect();
    assert_eq!(seen, &all.iter().copied().collect(), "a check that nothing was seen to break");
    assert_eq!(seen.len(), all.len(), "two checks have a name");
}

#[track_caller]
fn all_pass(checks: &[Check]) {
    for check in checks {
        assert_eq!(check.outcome, CheckOutcome::Passed, "{}", check.name);
    }
}

/// A counter that makes a policy answer differently every time.
fn counter() -> impl Fn() -> u32 {
    let count = Cell::new(0);
    move || count.replace(count.get() + 1)
}

#[test]
fn good_policies_pass() {
    all_pass(&derivation(|request| Ok(key(request))));
    all_pass(&selection(|request| Ok(ranges(request))));
    all_pass(&cleanup(|_, them| Ok(verdicts(them))));
}

#[test]
fn every_check_of_key_derivation_can_complain() {
    let mut seen = BTreeSet::new();
    let mut trapping = |name: &str, when: fn(&KeyRequest<'_>) -> bool| {
        let checks = derivation(|request| trap(when(request), key(request)));
        complains(&mut seen, &checks, name, "failed: it fails: it trapped: unreachable, asked {");
    };
    trapping("a typical request", |request| request.place.directory.ends_with("web"));
    trapping("every scope, in every kind of checkout and in none", |request| {
        request.place.checkout.is_none()
    });
    trapping("the root directory", |request| request.place.root().parent().is_none());
    trapping("paths that are not UTF-8", |request| request.place.root().to_str().is_none());
    trapping("the longest paths", |request| request.place.root().as_os_str().len() == 4095);
    trapping("the longest service", |request| request.service.as_str().len() == 128);
    trapping("the longest project", |request| {
        request.project.is_some_and(|project| project.as_str().len() == 255)
    });
    let branch = |request: &KeyRequest<'_>| {
        request.place.checkout.as_ref().and_then(|checkout| checkout.branch.clone())
    };
    let checks = derivation(|request| {
        trap(branch(request).is_some_and(|branch| !branch.is_ascii()), key(request))
    });
    complains(&mut seen, &checks, "names that are not ASCII", "failed: it fails");
    let checks = derivation(|request| {
        let raw =
            format!("{}{}", branch(request).unwrap_or_default(), request.place.root().display());
        match raw.chars().any(char::is_control) {
            true => Err(Failure::Answer("the key contains control characters".to_owned())),
            false => Ok(raw),
        }
    });
    for name in ["paths", "a repository and a branch"] {
        let name = format!("{name} with control characters");
        complains(&mut seen, &checks, &name, "failed: it fails: its answer breaks the contract");
    }

    let checks = derivation(|request| refuse(request.project.is_none(), key(request)));
    complains(&mut seen, &checks, "no project", "noted: in 21 of 21 cases it refuses: no, asked {");

    let checks = derivation(|_| Ok("one for all".to_owned()));
    complains(&mut seen, &checks, "two services have two keys", "noted: two services");
    complains(&mut seen, &checks, "two checkouts have two keys", "noted: two checkouts");
    complains(&mut seen, &checks, "two worktrees have two keys", "noted: two worktrees");
    complains(&mut seen, &checks, "two scopes have two keys", "noted: the scopes");
    let checks = derivation(|request| Ok(format!("{:?}", request.place).replace('\u{85}', "")));
    for (name, words) in [
        (
            "a checkout has one key, in all its directories",
            "noted: the key depends on the directory",
        ),
        (
            "a checkout keeps its key when it changes its branch",
            "noted: the key depends on the branch",
        ),
        ("a project has one key in scope `project`", "noted: two checkouts of a project"),
        ("a service has one key in scope `service`", "noted: a service has two keys"),
    ] {
        complains(&mut seen, &checks, name, words);
    }
    let count = counter();
    let checks = derivation(|_| Ok(count().to_string()));
    for name in ["the same request gets the same answer", "requests at random"] {
        complains(&mut seen, &checks, name, "to the same request, asked {");
    }
    all_seen(&seen, &checks);
}

#[test]
fn every_check_of_port_selection_can_complain() {
    let mut seen = BTreeSet::new();
    let mut trapping = |name: &str, when: fn(&SelectionRequest<'_>) -> bool| {
        let checks = selection(|request| trap(when(request), ranges(request)));
        complains(&mut seen, &checks, name, "failed: it fails: it trapped: unreachable, asked {");
    };
    trapping("a typical request", |request| request.key == "directory:web:/work/shop");
    trapping("a range of one port", |request| request.allowed.size() == 1);
    trapping("the whole range, 1-65535", |request| request.allowed == PortRange::ALL);
    trapping("ranges at both ends", |request| {
        request.allowed.last() == Port::MAX && request.allowed.size() == 2
    });
    trapping("10,000 reserved ports", |request| request.reserved.len() == 10_000);
    trapping("preferred ports inside and outside the range", |request| {
        request.preferred.iter().any(|port| !request.allowed.contains(*port))
    });
    trapping("the latest port: none, first, last and outside the range", |request| {
        request.latest.is_some_and(|port| port > request.allowed.last())
    });
    trapping("offsets: a block of ports, as wide as the range, and wider", |request| {
        request.offsets.last().is_some_and(|last| usize::from(*last) >= request.allowed.size())
    });
    trapping("the shortest and the longest key, and one that is not ASCII", |request| {
        request.key.len() == 16 * 1024
    });
    trapping("projects and branches, and neither", |request| {
        request.project.is_none() && request.branch.is_none()
    });
    trapping("the longest service", |request| request.service.as_str().len() == 128);

    let checks = selection(|_| Ok(Vec::new()));
    complains(&mut seen, &checks, "a typical request", "noted: it proposes no port, asked {");
    complains(&mut seen, &checks, "requests at random", "noted: in 64 of 64 cases it proposes no");
    let checks = selection(|request| Ok(vec![request.allowed.first().into(); 2]));
    let left = "noted: it leaves out 9999 of 10000 ports";
    complains(&mut seen, &checks, "the whole range is proposed", left);
    complains(&mut seen, &checks, "no port is proposed twice", "noted: it proposes 20000 more");
    complains(
        &mut seen,
        &checks,
        "keys do not all begin at one port",
        "16 keys all begin at 20000",
    );
    let free = |request: &SelectionRequest<'_>| {
        let next = request.latest.and_then(|port| port.checked_add(1));
        let start = next.filter(|port| request.allowed.contains(*port));
        let start = start.unwrap_or(request.allowed.first());
        let free = request
            .allowed
            .ports()
            .find(|port| *port >= start && request.reserved.binary_search(port).is_err());
        Ok(free.map(PortRange::from).into_iter().collect())
    };
    let checks = selection(free);
    let moved = |what| format!("noted: {what} moves its first port from 20000 to 20001");
    let name = "what is reserved does not change the first port";
    complains(&mut seen, &checks, name, &moved("what is reserved"));
    let name = "the latest port does not change the first port";
    complains(&mut seen, &checks, name, &moved("the latest port"));
    let count = counter();
    let checks = selection(|request| {
        let port = request.allowed.ports().nth(count() as usize % request.allowed.size()).unwrap();
        Ok(vec![port.into()])
    });
    let name = "the same request gets the same answer";
    complains(&mut seen, &checks, name, "failed: it proposes 2");
    all_seen(&seen, &checks);
}

#[test]
fn every_check_of_cleanup_can_complain() {
    let mut seen = BTreeSet::new();
    let mut trapping = |name: &str, when: fn(&[&Observed]) -> bool| {
        let checks = cleanup(|_, them| trap(when(them), verdicts(them)));
        complains(&mut seen, &checks, name, "failed: it fails: it trapped: unreachable, asked {");
    };
    trapping("a typical request", |them| {
        them.iter().any(|observed| observed.reservation.key.text == "directory:web:/work/shop")
    });
    trapping("nothing to review", |them| them.is_empty());
    trapping("1,024 reservations", |them| them.len() == 1024);
    trapping("every scope, lease, directory, owner and listener", |them| {
        them.iter().any(|observed| observed.owner == Some(Liveness::Unknown))
    });
    trapping("times at both ends, and in the future", |them| {
        them.iter().any(|observed| observed.reservation.last_used_at == Timestamp::MAX)
    });
    trapping("the longest names, and none", |them| {
        them.iter().any(|observed| observed.reservation.key.text.len() == 16 * 1024)
    });

    let majority = cleanup(|_, them| {
        let say = if them.len() > 200 { Verdict::Keep } else { release("rare") };
        Ok(vec![say; them.len()])
    });
    let name = "a verdict does not depend on the others in the batch";
    let words = "says keep about port 20000 among 256 reservations, but says release: rare when";
    complains(&mut seen, &majority, name, words);
    for name in [
        "a fresh persistent reservation stays",
        "a reservation whose owner runs stays",
        "a reservation that was last used in the future stays",
    ] {
        complains(&mut seen, &majority, name, "noted: it says release: rare");
    }
    let silent = cleanup(|_, them| Ok(vec![release(""); them.len()]));
    complains(&mut seen, &silent, "a typical request", "noted: it releases without a reason");
    let count = counter();
    let checks =
        cleanup(|_, them| Ok(them.iter().map(|_| release(&count().to_string())).collect()));
    for name in ["the same request gets the same answer", "requests at random"] {
        complains(&mut seen, &checks, name, "to the same request, asked {");
    }
    all_seen(&seen, &checks);
}

#[test]
fn every_failure_but_a_refusal_fails() {
    let text = || "x".to_owned();
    for (failure, words) in [
        (Failure::Refused(text()), "noted: it refuses: x, asked {"),
        (Failure::Fuel(9), "failed: it fails: it used up its fuel of 9, asked {"),
        (Failure::Memory(9), "failed: it fails: it asked for more than 9 bytes"),
        (Failure::Stack, "failed: it fails: it overflowed its stack"),
        (Failure::AnswerSize(9), "failed: it fails: its answer is larger"),
        (Failure::Trap(text(), Vec::new()), "failed: it fails: it trapped: x"),
        (Failure::Answer(text()), "failed: it fails: its answer breaks the contract: x"),
        (Failure::Mistyped(text()), "failed: it fails: it does not have the types"),
    ] {
        let checks = derivation(|_| Err(failure.clone()));
        let seen = &mut BTreeSet::new();
        complains(seen, &checks, "a typical request", words);
        let start = words.split_once(':').unwrap().0;
        for name in ["two services have two keys", "requests at random"] {
            complains(seen, &checks, name, start);
        }
    }
}

/// The text of the failed check at random.
fn failed_at_random(checks: &[Check]) -> String {
    match &checks.last().unwrap().outcome {
        CheckOutcome::Failed { text, .. } => text.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_reported_seed_finds_the_same_simplified_request_again() {
    fn repeated(runs: u32, seed: &dyn Display, check: impl Fn(Suite) -> Vec<Check>) -> String {
        check(Suite { runs, seed: seed.to_string().parse().unwrap() })
            .pop()
            .map(|check| failed_at_random(&[check]))
            .unwrap()
    }
    let seed_of = |text: &str| text.rsplit_once("found by seed ").unwrap().1.to_owned();

    let only_projects = |suite: Suite| {
        suite.derivation(&Keys(|request: &KeyRequest<'_>| {
            trap(request.project.is_some() && request.scope == Scope::Service, key(request))
        }))
    };
    let first = repeated(1000, &0, only_projects);
    assert_eq!(repeated(1, &seed_of(&first), only_projects), first);
    assert!(first.contains(r#""directory":"/work","project""#), "{first}");
    assert!(!first.contains("checkout"), "{first}");

    let crowded = |suite: Suite| {
        suite.selection(&Ports(|request: &SelectionRequest<'_>| {
            trap(request.reserved.len() >= 3, ranges(request))
        }))
    };
    let first = repeated(1000, &0, crowded);
    assert_eq!(repeated(1, &seed_of(&first), crowded), first);
    for gone in ["project", "branch", "latest", "preferred", "more"] {
        assert!(!first.contains(gone), "{first}");
    }

    let pairs = |suite: Suite| {
        suite.cleanup(&Judge(|_: Timestamp, them: &[&Observed]| {
            let count = them.iter().filter(|one| one.reservation.lease == Lease::Ephemeral).count();
            trap(count == 2, verdicts(them))
        }))
    };
    let first = repeated(1000, &0, pairs);
    assert_eq!(repeated(1, &seed_of(&first), pairs), first);
    assert_eq!(first.matches("ephemeral").count(), 2, "{first}");
    assert_eq!(first.matches("\"port\"").count(), 2, "{first}");
    assert!(!first.contains("expires_at"), "{first}");
}

#[test]
fn a_seed_at_the_end_of_all_seeds_is_as_good_as_any() {
    let suite = Suite { runs: 3, seed: u64::MAX };
    all_pass(&suite.derivation(&Keys(|request: &KeyRequest<'_>| Ok(key(request)))));
}

#[test]
fn reported_requests_show_what_is_not_utf_8_and_leave_out_what_is_long() {
    let checks = derivation(|request| trap(request.place.root().to_str().is_none(), key(request)));
    let seen = &mut BTreeSet::new();
    complains(seen, &checks, "paths that are not UTF-8", r"/work/\\xff\\xfe\\xc3");
    complains(seen, &checks, "the longest paths", "bytes …");
    let checks = selection(|request| trap(request.reserved.len() == 10_000, ranges(request)));
    complains(seen, &checks, "10,000 reserved ports", r#"[20000,20001,20002,"… 9997 more"]"#);
}

#[test]
fn typical_calls_are_what_they_seem() {
    let derive = DeriveCall::typical();
    assert_eq!(derive.request().service.as_str(), "web");
    assert_eq!(derive.request().project.unwrap().as_str(), "shop");
    let select = SelectCall::typical();
    let request = select.request();
    assert!(request.reserved.is_sorted() && request.reserved.len() == 100);
    assert!(request.reserved.iter().all(|port| request.allowed.contains(*port)));
    let review = ReviewCall::typical();
    assert_eq!(review.now().to_string(), "2026-01-01T00:00:00.000Z");
    assert_eq!(review.reservations().len(), 1);
}

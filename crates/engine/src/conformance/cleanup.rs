//! The edges of `cleanup`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use super::call::{ReviewCall, default_now, port, service, verdict};
use super::exam::Exam;
use super::form::{OwnerForm, ReservationForm};
use super::generate::{LISTENERS, MAX_LABEL, MAX_PATH, MAX_SERVICE, OWNERS, PRESENCES};
use super::{Check, Suite};
use crate::policy::{Cleanup, Verdict};
use crate::reservation::{Key, Label, Lease, Scope};
use crate::time::Timestamp;

/// The most reservations of one call.
const BATCH: u16 = 1024;
const DAY: Duration = Duration::from_hours(24);

pub(super) fn checks(suite: Suite, policy: &dyn Cleanup) -> Vec<Check> {
    let mut exam = Exam::new(policy);
    exam.edge("a typical request", vec![ReviewCall::typical()]);
    exam.edge("nothing to review", vec![batch(default_now(), Vec::new())]);
    exam.edge("1,024 reservations", vec![crowd()]);
    exam.edge("every scope, lease, directory, owner and listener", vec![combinations()]);
    exam.edge("times at both ends, and in the future", times());
    exam.edge("the longest names, and none", vec![names()]);
    let batches = [vec![combinations(), names(), crowd()], times()].concat();
    exam.contradictions("a verdict does not depend on the others in the batch", &batches);
    let now = default_now();
    let fresh = ReservationForm::default;
    for (name, reservation) in [
        ("a fresh persistent reservation stays", fresh()),
        (
            "a reservation whose owner runs stays",
            ReservationForm { lease: Lease::Ephemeral, owner: OwnerForm::Alive, ..fresh() },
        ),
        (
            "a reservation that was last used in the future stays",
            ReservationForm { last_used_at: Some(now.after(DAY)), ..fresh() },
        ),
    ] {
        let call = batch(now, vec![reservation]);
        exam.compare(name, |exam| {
            let answer = exam.answer(&call)?;
            let released = answer.iter().find(|verdict| matches!(verdict, Verdict::Release(_)));
            Ok(released.map(|released| format!("it says {}", verdict(released))))
        });
    }
    exam.repeat();
    exam.random(suite);
    exam.into_checks()
}

fn batch(now: Timestamp, reservations: Vec<ReservationForm>) -> ReviewCall {
    let numbered = (20000..).zip(reservations);
    let observed = |(number, form)| ReservationForm { port: port(number), ..form }.observed(now);
    ReviewCall { now, reservations: numbered.map(observed).collect() }
}

fn crowd() -> ReviewCall {
    let reservation = |number| ReservationForm {
        key: format!("directory:web:/work/shop-{number}"),
        directory: format!("/work/shop-{number}").into(),
        project: Label::nearest("shop"),
        task: Label::nearest(&format!("task-{number}")),
        ..ReservationForm::default()
    };
    batch(default_now(), (0..BATCH).map(reservation).collect())
}

/// Everything that the engine may ask about: what is served by its own server is never reviewed.
fn combinations() -> ReviewCall {
    let mut reservations = Vec::new();
    for (scope, lease) in pairs(Scope::ALL, Lease::ALL) {
        for (directory_presence, owner) in pairs(&PRESENCES, &OWNERS) {
            reservations.extend(LISTENERS.map(|listening| ReservationForm {
                scope,
                directory_presence,
                lease,
                owner,
                listening,
                ..ReservationForm::default()
            }));
        }
    }
    batch(default_now(), reservations)
}

fn pairs<A: Copy, B: Copy>(ones: &[A], others: &[B]) -> impl Iterator<Item = (A, B)> {
    ones.iter().flat_map(|one| others.iter().map(|other| (*one, *other)))
}

/// At the beginning, in the middle and at the end of time: what was created and used at each of
/// these, or within a day of now, with and without a time to live. A clock that was set back makes
/// the last use lie in the future.
fn times() -> Vec<ReviewCall> {
    let (zero, end) = (Timestamp::default(), Timestamp::MAX);
    let review = |now: Timestamp| {
        let moments = [zero, now.before(DAY), now, now.after(DAY), end];
        let mut reservations = Vec::new();
        for created_at in moments {
            for last_used_at in moments {
                let lives = [None, Some(Duration::ZERO), Some(DAY), Some(Duration::MAX)];
                reservations.extend(lives.map(|life| ReservationForm {
                    lease: if life.is_some() { Lease::Ephemeral } else { Lease::Persistent },
                    created_at: Some(created_at),
                    last_used_at: Some(last_used_at),
                    expires_at: life.map(|life| last_used_at.after(life)),
                    ..ReservationForm::default()
                }));
            }
        }
        batch(now, reservations)
    };
    [zero, default_now(), end].map(review).into()
}

fn names() -> ReviewCall {
    let label = || Label::nearest(&"n".repeat(MAX_LABEL));
    let path = |byte| OsString::from_vec([vec![b'/'], vec![byte; MAX_PATH - 1]].concat());
    let longest = |byte| ReservationForm {
        key: "k".repeat(Key::MAX_LEN),
        service: service(&"s".repeat(MAX_SERVICE)),
        directory: path(byte).into(),
        project: label(),
        task: label(),
        agent: label(),
        ..ReservationForm::default()
    };
    let foreign = ReservationForm {
        key: "größe/端口/🚢".to_owned(),
        directory: "/".into(),
        project: Label::nearest("größe"),
        task: Label::nearest("端口"),
        agent: Label::nearest("🚢"),
        ..ReservationForm::default()
    };
    let shortest = ReservationForm { key: "k".to_owned(), ..ReservationForm::default() };
    batch(default_now(), vec![longest(b'a'), longest(0xff), foreign, shortest])
}

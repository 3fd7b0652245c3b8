//! Requests at random, with a liking for what lies at an edge, and simpler ones beside a request.

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use fastrand::Rng;

use super::call::{DeriveCall, ReviewCall, SelectCall, default_now, port, range, service};
use super::form::{OwnerForm, ReservationForm};
use crate::observed::{Listening, Observed, Presence};
use crate::place::{Checkout, CheckoutKind, Place};
use crate::port::{Port, PortRange};
use crate::reservation::{Key, Label, Lease, Scope, Service};
use crate::time::Timestamp;

/// The longest path in bytes: `PATH_MAX` of Linux without the zero at its end.
pub(super) const MAX_PATH: usize = 4095;
/// The longest service in bytes.
pub(super) const MAX_SERVICE: usize = 128;
/// The longest project, task or agent in bytes.
pub(super) const MAX_LABEL: usize = 255;
/// Every state of a directory.
pub(super) const PRESENCES: [Presence; 3] = [Presence::Present, Presence::Gone, Presence::Unknown];
/// Every state of an owner.
pub(super) const OWNERS: [OwnerForm; 4] =
    [OwnerForm::Unowned, OwnerForm::Alive, OwnerForm::Dead, OwnerForm::Unknown];
/// Who can listen on a port that a policy is asked about: what its own server holds, or may hold,
/// is never reviewed.
pub(super) const LISTENERS: [Listening; 2] = [Listening::None, Listening::Foreign];

pub(super) fn derive(rng: &mut Rng) -> DeriveCall {
    let directory = path(rng);
    let root = if rng.bool() { directory.clone() } else { path(rng) };
    let checkout = maybe(rng, |rng| Checkout {
        root,
        kind: if rng.bool() { CheckoutKind::Linked } else { CheckoutKind::Main },
        repository: maybe(rng, path),
        name: maybe(rng, |rng| text(rng, 1..=MAX_LABEL)),
        branch: maybe(rng, |rng| text(rng, 1..=MAX_LABEL)),
    });
    DeriveCall {
        scope: one_of(rng, Scope::ALL),
        service: name(rng),
        place: Place { directory, checkout },
        project: label(rng),
    }
}

pub(super) fn select(rng: &mut Rng) -> SelectCall {
    let allowed = match rng.u8(..4) {
        0 => PortRange::ALL,
        1 => PortRange::from(any_port(rng)),
        _ => range(rng.u16(1..), rng.u16(1..)),
    };
    let longest = one_of(rng, &[8, 200, Key::MAX_LEN]);
    let crowd = one_of(rng, &[0, 8, 5000]);
    let mut reserved: Vec<_> = (0..rng.usize(..=crowd)).map(|_| any_port(rng)).collect();
    reserved.sort_unstable();
    reserved.dedup();
    SelectCall {
        key: text(rng, 1..=longest),
        service: name(rng),
        project: label(rng),
        branch: maybe(rng, |rng| text(rng, 1..=MAX_LABEL)),
        allowed,
        preferred: (0..rng.usize(..4)).map(|_| port_near(rng, allowed)).collect(),
        reserved,
        latest: maybe(rng, |rng| port_near(rng, allowed)),
        offsets: offsets(rng),
    }
}

/// A single port as often as not, else a block of up to nine.
fn offsets(rng: &mut Rng) -> Vec<u16> {
    let mut offsets = vec![0];
    if rng.bool() {
        let widest = one_of(rng, &[8, 100, u16::MAX - 1]);
        offsets.extend((0..rng.usize(..=8)).map(|_| rng.u16(..=widest)));
        offsets.sort_unstable();
        offsets.dedup();
    }
    offsets
}

pub(super) fn review(rng: &mut Rng) -> ReviewCall {
    let now = match rng.u8(..8) {
        0 => Timestamp::default(),
        1 => Timestamp::MAX,
        _ => default_now(),
    };
    let reservations = (0..rng.usize(..8)).map(|_| reservation(rng).observed(now)).collect();
    ReviewCall { now, reservations }
}

fn reservation(rng: &mut Rng) -> ReservationForm {
    let last_used_at = time(rng);
    ReservationForm {
        port: any_port(rng),
        key: text(rng, 1..=200),
        scope: one_of(rng, Scope::ALL),
        service: name(rng),
        directory: path(rng),
        directory_presence: one_of(rng, &PRESENCES),
        project: label(rng),
        task: label(rng),
        agent: label(rng),
        lease: one_of(rng, Lease::ALL),
        owner: one_of(rng, &OWNERS),
        listening: one_of(rng, &LISTENERS),
        created_at: Some(time(rng)),
        last_used_at: Some(last_used_at),
        expires_at: maybe(rng, |rng| last_used_at.after(Duration::from_secs(seconds(rng)))),
    }
}

/// A time before or after that of most reviews, or at an end of all times.
fn time(rng: &mut Rng) -> Timestamp {
    match rng.u8(..8) {
        0 => Timestamp::default(),
        1 => Timestamp::MAX,
        2 => default_now().after(Duration::from_secs(seconds(rng))),
        _ => default_now().before(Duration::from_secs(seconds(rng))),
    }
}

/// Nothing, or seconds up to three years, short times as likely as long ones.
fn seconds(rng: &mut Rng) -> u64 {
    let longest = 1 << rng.u8(..27);
    rng.u64(..longest)
}

fn path(rng: &mut Rng) -> PathBuf {
    let length = one_of(rng, &[1, 40, 40, 40, MAX_PATH]);
    let plain = rng.bool();
    let mut bytes = vec![b'/'];
    while bytes.len() < length {
        let byte = if plain { rng.lowercase() as u8 } else { rng.u8(1..) };
        let separated = bytes.last() == Some(&b'/');
        bytes.push(if !separated && rng.u8(..8) == 0 { b'/' } else { byte });
    }
    PathBuf::from(OsString::from_vec(bytes))
}

fn name(rng: &mut Rng) -> Service {
    const LETTERS: &[u8] = b"abcXYZ019._-/@+";
    let length = one_of(rng, &[0, 4, MAX_SERVICE - 1]);
    // A letter first: neither an option nor a number.
    let rest = (0..length).map(|_| char::from(one_of(rng, LETTERS)));
    service(&std::iter::once('s').chain(rest).collect::<String>())
}

fn label(rng: &mut Rng) -> Option<Label> {
    let longest = one_of(rng, &[8, MAX_LABEL]);
    maybe(rng, |rng| text(rng, 1..=longest)).and_then(|text| Label::nearest(&text))
}

/// Text of a length in bytes, plain or with characters of one to four bytes, all of which can be
/// shown.
fn text(rng: &mut Rng, length: RangeInclusive<usize>) -> String {
    const ALPHABETS: [RangeInclusive<char>; 4] = [' '..='~', 'À'..='ÿ', '一'..='龥', '🌀'..='🗿'];
    let length = rng.usize(length);
    let plain = rng.bool();
    let mut text = String::with_capacity(length);
    while text.len() < length {
        let alphabet = &ALPHABETS[if plain { 0 } else { rng.usize(..ALPHABETS.len()) }];
        let character = rng.char(alphabet.clone());
        if text.len() + character.len_utf8() <= length {
            text.push(character);
        }
    }
    text
}

fn any_port(rng: &mut Rng) -> Port {
    port(rng.u16(1..))
}

fn port_near(rng: &mut Rng, allowed: PortRange) -> Port {
    match rng.u8(..4) {
        0 => allowed.first(),
        1 => allowed.last(),
        2 => port(rng.u16(allowed.first().get()..=allowed.last().get())),
        _ => any_port(rng),
    }
}

fn one_of<T: Copy>(rng: &mut Rng, values: &[T]) -> T {
    values[rng.usize(..values.len())]
}

fn maybe<T>(rng: &mut Rng, make: impl FnOnce(&mut Rng) -> T) -> Option<T> {
    if rng.bool() { Some(make(rng)) } else { None }
}

pub(super) fn simpler_derive(call: &DeriveCall) -> Vec<DeriveCall> {
    let mut changes = Changes::of(call);
    changes.when(call.place.checkout.is_some(), |call| call.place.checkout = None);
    changes.when(call.project.is_some(), |call| call.project = None);
    changes.when(call.service != Service::default(), |call| call.service = Service::default());
    let plain = PathBuf::from("/work");
    changes.when(call.place.directory != plain, |call| call.place.directory = plain);
    if let Some(checkout) = &call.place.checkout {
        let mut within = |there: bool, change: fn(&mut Checkout)| {
            changes.when(there, |call| {
                call.place.checkout.as_mut().map(change);
            });
        };
        within(checkout.name.is_some(), |checkout| checkout.name = None);
        within(checkout.branch.is_some(), |checkout| checkout.branch = None);
        within(checkout.repository.is_some(), |checkout| checkout.repository = None);
        within(checkout.root != *"/work", |checkout| checkout.root = "/work".into());
    }
    changes.calls
}

pub(super) fn simpler_select(call: &SelectCall) -> Vec<SelectCall> {
    let mut changes = Changes::of(call);
    changes.when(!call.reserved.is_empty(), |call| call.reserved.clear());
    changes.when(!call.preferred.is_empty(), |call| call.preferred.clear());
    changes.when(call.project.is_some(), |call| call.project = None);
    changes.when(call.branch.is_some(), |call| call.branch = None);
    changes.when(call.latest.is_some(), |call| call.latest = None);
    changes.when(call.offsets.len() > 1, |call| call.offsets.truncate(1));
    changes.when(call.service != Service::default(), |call| call.service = Service::default());
    changes.when(call.reserved.len() > 1, |call| call.reserved.truncate(call.reserved.len() / 2));
    changes.when(call.key.len() > 1, |call| {
        let half = call.key.ceil_char_boundary(call.key.len() / 2);
        call.key.truncate(half);
    });
    changes.calls
}

/// So many reservations are looked at one by one.
const FEW: usize = 16;

pub(super) fn simpler_review(call: &ReviewCall) -> Vec<ReviewCall> {
    let mut changes = Changes::of(call);
    let count = call.reservations.len();
    if count > 1 {
        changes.when(true, |call| call.reservations.truncate(count / 2));
        changes.when(true, |call| drop(call.reservations.drain(..count / 2)));
    }
    if count > FEW {
        return changes.calls;
    }
    for index in 0..count {
        changes.when(true, |call| drop(call.reservations.remove(index)));
    }
    for (index, Observed { reservation, .. }) in call.reservations.iter().enumerate() {
        let mut within = |there: bool, change: fn(&mut Observed)| {
            changes.when(there, |call| {
                call.reservations.get_mut(index).map(change);
            });
        };
        within(reservation.project.is_some(), |observed| observed.reservation.project = None);
        within(reservation.task.is_some(), |observed| observed.reservation.task = None);
        within(reservation.agent.is_some(), |observed| observed.reservation.agent = None);
        within(reservation.ttl.is_some(), |observed| observed.reservation.ttl = None);
        within(reservation.directory != *"/work", |observed| {
            observed.reservation.directory = "/work".into();
        });
        within(reservation.service != Service::default(), |observed| {
            observed.reservation.service = Service::default();
        });
        within(reservation.key.text != "key", |observed| {
            "key".clone_into(&mut observed.reservation.key.text);
        });
    }
    changes.calls
}

/// Copies of a call, each with one thing changed.
struct Changes<'a, C> {
    call: &'a C,
    calls: Vec<C>,
}

impl<'a, C: Clone> Changes<'a, C> {
    fn of(call: &'a C) -> Self {
        Self { call, calls: Vec::new() }
    }

    fn when(&mut self, there: bool, change: impl FnOnce(&mut C)) {
        if there {
            let mut call = self.call.clone();
            change(&mut call);
            self.calls.push(call);
        }
    }
}

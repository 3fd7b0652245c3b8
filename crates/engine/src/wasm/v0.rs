//! Version 0.1 of the contract, `wit/policy.wit`: the bindings, and the only conversions between
//! them and the domain.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use wasmtime::component::{Instance, InstancePre};
use wasmtime::{Result, Store};

use crate::observed::{self, Observed};
use crate::place::CheckoutKind;
use crate::policy::{KeyRequest, SelectionRequest, Verdict};
use crate::port::{Port, PortRange};
use crate::reservation::{self, Key};
use crate::time::Timestamp;

#[allow(clippy::pedantic, reason = "generated from the WIT file")]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "plugin",
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

use bindings::exports::hythe::policy::{cleanup, info, key_derivation, port_selection};

/// The interfaces of the contract, by the names they are exported under.
pub(super) mod interface {
    pub(in super::super) const INFO: &str = "hythe:policy/info@0.1.0";
    pub(in super::super) const KEY_DERIVATION: &str = "hythe:policy/key-derivation@0.1.0";
    pub(in super::super) const PORT_SELECTION: &str = "hythe:policy/port-selection@0.1.0";
    pub(in super::super) const CLEANUP: &str = "hythe:policy/cleanup@0.1.0";
    pub(in super::super) const ALL: [&str; 4] = [INFO, KEY_DERIVATION, PORT_SELECTION, CLEANUP];
}

/// The contract itself.
pub(super) const CONTRACT: &str = include_str!("../../../../wit/policy.wit");

/// The most port ranges that a selection may answer with.
const MAX_RANGES: usize = 4096;
/// The most bytes of a release reason or of a policy's own error; longer texts are cut.
const MAX_REASON: usize = 1024;

/// What a call came to: the domain's answer, the policy's own error, or an answer that breaks the
/// contract.
pub(super) enum Answer<T> {
    Good(T),
    Refused(String),
    Broken(String),
}

/// A function that does not have the types of the contract.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Mistyped(pub(super) String);

fn typed<T>(guest: Result<T>) -> Result<T> {
    guest.map_err(|error| wasmtime::Error::new(Mistyped(cut(format!("{error:#}")))))
}

/// Fails when a function that the component exports does not have the types of the contract. Calls
/// none of them.
pub(super) fn check<T: 'static>(
    component: &InstancePre<T>,
    store: &mut Store<T>,
    instance: &Instance,
) -> Result<()> {
    macro_rules! check {
        ($name:expr, $interface:ident) => {
            if component.component().get_export_index(None, $name).is_some() {
                let loaded = $interface::GuestIndices::new(component)
                    .and_then(|indices| indices.load(&mut *store, instance));
                typed(loaded.map(drop).map_err(|error| error.context($name)))?;
            }
        };
    }
    check!(interface::INFO, info);
    check!(interface::KEY_DERIVATION, key_derivation);
    check!(interface::PORT_SELECTION, port_selection);
    check!(interface::CLEANUP, cleanup);
    Ok(())
}

/// What a plugin says of itself.
pub(super) struct Description {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) summary: String,
    pub(super) options_schema: String,
}

pub(super) fn describe<T: 'static>(
    component: &InstancePre<T>,
    store: &mut Store<T>,
    instance: &Instance,
) -> Result<Description> {
    let guest = typed(
        info::GuestIndices::new(component).and_then(|indices| indices.load(&mut *store, instance)),
    )?;
    let description = guest.call_describe(store)?;
    Ok(Description {
        name: description.name,
        version: description.version,
        summary: description.summary,
        options_schema: description.options_schema,
    })
}

pub(super) fn derive<T: 'static>(
    component: &InstancePre<T>,
    store: &mut Store<T>,
    instance: &Instance,
    request: &KeyRequest<'_>,
    options: &str,
) -> Result<Answer<String>> {
    let guest = typed(
        key_derivation::GuestIndices::new(component)
            .and_then(|indices| indices.load(&mut *store, instance)),
    )?;
    let checkout = request.place.checkout.as_ref().map(|checkout| key_derivation::Checkout {
        root: bytes(&checkout.root),
        repository: checkout.repository.as_deref().map(bytes),
        name: checkout.name.as_deref(),
        branch: checkout.branch.as_deref(),
        linked: checkout.kind == CheckoutKind::Linked,
    });
    let answer = guest.call_derive(
        store,
        key_derivation::Request {
            scope: match request.scope {
                reservation::Scope::Directory => key_derivation::Scope::Directory,
                reservation::Scope::Project => key_derivation::Scope::Project,
                reservation::Scope::Service => key_derivation::Scope::Service,
            },
            service: request.service.as_str(),
            directory: bytes(&request.place.directory),
            checkout,
            project: request.project.map(reservation::Label::as_str),
        },
        options,
    )?;
    Ok(match answer {
        Err(reason) => Answer::Refused(cut(reason)),
        Ok(key) if key.is_empty() => Answer::Broken("the key is empty".into()),
        Ok(key) if key.len() > Key::MAX_LEN => Answer::Broken(format!(
            "the key is {} bytes long, more than {}",
            key.len(),
            Key::MAX_LEN
        )),
        Ok(key) if key.chars().any(char::is_control) => {
            Answer::Broken(format!("the key {:?} contains control characters", cut(key)))
        }
        Ok(key) => Answer::Good(key),
    })
}

pub(super) fn select<T: 'static>(
    component: &InstancePre<T>,
    store: &mut Store<T>,
    instance: &Instance,
    request: &SelectionRequest<'_>,
    options: &str,
) -> Result<Answer<Vec<PortRange>>> {
    let guest = typed(
        port_selection::GuestIndices::new(component)
            .and_then(|indices| indices.load(&mut *store, instance)),
    )?;
    let numbers = |ports: &[Port]| ports.iter().map(|port| port.get()).collect::<Vec<_>>();
    let (preferred, reserved) = (numbers(request.preferred), numbers(request.reserved));
    let answer = guest.call_select(
        store,
        port_selection::Request {
            key: request.key,
            service: request.service.as_str(),
            project: request.project.map(reservation::Label::as_str),
            branch: request.branch,
            allowed: port_selection::PortRange {
                first: request.allowed.first().get(),
                last: request.allowed.last().get(),
            },
            preferred: &preferred,
            reserved: &reserved,
            latest: request.latest.map(Port::get),
            offsets: request.offsets,
        },
        options,
    )?;
    Ok(match answer {
        Err(reason) => Answer::Refused(cut(reason)),
        Ok(ranges) if ranges.len() > MAX_RANGES => Answer::Broken(format!(
            "it proposes {} port ranges, more than {MAX_RANGES}",
            ranges.len()
        )),
        Ok(ranges) => ranges
            .into_iter()
            .map(|proposed| port_range(proposed, request.allowed))
            .collect::<Result<_, _>>()
            .map_or_else(Answer::Broken, Answer::Good),
    })
}

fn port_range(
    proposed: port_selection::PortRange,
    allowed: PortRange,
) -> Result<PortRange, String> {
    let port_selection::PortRange { first, last } = proposed;
    let range = Port::new(first).zip(Port::new(last)).and_then(|(a, b)| PortRange::new(a, b));
    match range {
        None => Err(format!("{first}-{last} is not a range of ports")),
        Some(range) if !allowed.covers(range) => {
            Err(format!("it proposes {range}, outside the allowed {allowed}"))
        }
        Some(range) => Ok(range),
    }
}

pub(super) fn review<T: 'static>(
    component: &InstancePre<T>,
    store: &mut Store<T>,
    instance: &Instance,
    now: Timestamp,
    reservations: &[&Observed],
    options: &str,
) -> Result<Answer<Vec<Verdict>>> {
    let guest = typed(
        cleanup::GuestIndices::new(component)
            .and_then(|indices| indices.load(&mut *store, instance)),
    )?;
    let asked: Vec<_> = reservations.iter().map(|observed| observed_record(observed)).collect();
    let answer = guest.call_review(store, now.seconds(), &asked, options)?;
    Ok(match answer {
        Err(reason) => Answer::Refused(cut(reason)),
        Ok(verdicts) if verdicts.len() != reservations.len() => Answer::Broken(format!(
            "it gives {} verdicts on {} reservations",
            verdicts.len(),
            reservations.len()
        )),
        Ok(verdicts) => Answer::Good(verdicts.into_iter().map(verdict).collect()),
    })
}

fn observed_record(observed: &Observed) -> cleanup::Reservation<'_> {
    let Observed { reservation, directory, owner, listening } = observed;
    cleanup::Reservation {
        port: reservation.port.get(),
        key: &reservation.key.text,
        scope: match reservation.scope {
            reservation::Scope::Directory => cleanup::Scope::Directory,
            reservation::Scope::Project => cleanup::Scope::Project,
            reservation::Scope::Service => cleanup::Scope::Service,
        },
        service: reservation.service.as_str(),
        directory: bytes(&reservation.directory),
        directory_presence: match directory {
            observed::Presence::Present => cleanup::Presence::Present,
            observed::Presence::Gone => cleanup::Presence::Gone,
            observed::Presence::Unknown => cleanup::Presence::Unknown,
        },
        project: reservation.project.as_ref().map(reservation::Label::as_str),
        task: reservation.task.as_ref().map(reservation::Label::as_str),
        agent: reservation.agent.as_ref().map(reservation::Label::as_str),
        lease: match reservation.lease {
            reservation::Lease::Persistent => cleanup::Lease::Persistent,
            reservation::Lease::Ephemeral => cleanup::Lease::Ephemeral,
        },
        owner: match owner {
            None => cleanup::Liveness::Unowned,
            Some(observed::Liveness::Alive) => cleanup::Liveness::Alive,
            Some(observed::Liveness::Dead) => cleanup::Liveness::Dead,
            Some(observed::Liveness::Unknown) => cleanup::Liveness::Unknown,
        },
        listening: match listening {
            observed::Listening::None => cleanup::Listening::None,
            observed::Listening::Mine => cleanup::Listening::Mine,
            observed::Listening::Foreign => cleanup::Listening::Foreign,
            observed::Listening::Unknown => cleanup::Listening::Unknown,
        },
        created_at: reservation.created_at.seconds(),
        last_used_at: reservation.last_used_at.seconds(),
        expires_at: reservation.expires_at().map(Timestamp::seconds),
    }
}

fn verdict(verdict: cleanup::Verdict) -> Verdict {
    match verdict {
        cleanup::Verdict::Pass => Verdict::Pass,
        cleanup::Verdict::Keep => Verdict::Keep,
        cleanup::Verdict::Release(reason) => Verdict::Release(cut(reason)),
    }
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

/// A plugin's text, short enough and harmless enough to be shown.
fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_REASON));
    if text.chars().any(char::is_control) {
        text = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    }
    text
}

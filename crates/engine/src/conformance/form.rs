//! How the arguments of a call are written: in the author's cases, and in what checks report. Both
//! have the same names, so that a reported request is easily made a case.

mod read;
mod show;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub(super) use read::{
    PortForm, RangeForm, TimeForm, ascending, key, offsets, parsed, ports, some_parsed, some_port,
};
pub(super) use show::{cut, json};

use read::{absolute, port, some_time};
use show::path;

use super::call::{DeriveCall, ReviewCall};
use crate::observed::{Listening, Liveness, Observed, Presence};
use crate::place::{Checkout, CheckoutKind, Place};
use crate::port::Port;
use crate::reservation::{
    Key, Label, Lease, Owner, Provenance, Realm, Reservation, Scope, Service,
};
use crate::time::Timestamp;

/// A [`DeriveCall`].
#[derive(Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct DeriveForm {
    #[serde(deserialize_with = "parsed")]
    scope: Scope,
    #[serde(deserialize_with = "parsed")]
    service: Service,
    #[serde(deserialize_with = "absolute", serialize_with = "path")]
    directory: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkout: Option<CheckoutForm>,
    #[serde(deserialize_with = "some_parsed", skip_serializing_if = "Option::is_none")]
    project: Option<Label>,
}

impl Default for DeriveForm {
    fn default() -> Self {
        Self {
            scope: Scope::default(),
            service: Service::default(),
            directory: "/work/project".into(),
            checkout: None,
            project: None,
        }
    }
}

/// A checkout. What is not said is unknown; the root is the directory of the request.
#[derive(Deserialize, Serialize, Default)]
#[serde(default, deny_unknown_fields)]
struct CheckoutForm {
    root: Option<PathForm>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<PathForm>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    branch: Option<String>,
    linked: bool,
}

#[derive(Deserialize, Serialize)]
#[serde(transparent)]
struct PathForm(#[serde(deserialize_with = "absolute", serialize_with = "path")] PathBuf);

impl From<DeriveForm> for DeriveCall {
    fn from(form: DeriveForm) -> Self {
        let directory = form.directory;
        let checkout = form.checkout.map(|checkout| Checkout {
            root: checkout.root.map_or_else(|| directory.clone(), |PathForm(root)| root),
            kind: if checkout.linked { CheckoutKind::Linked } else { CheckoutKind::Main },
            repository: checkout.repository.map(|PathForm(repository)| repository),
            name: checkout.name,
            branch: checkout.branch,
        });
        Self {
            scope: form.scope,
            service: form.service,
            place: Place { directory, checkout },
            project: form.project,
        }
    }
}

impl From<DeriveCall> for DeriveForm {
    fn from(call: DeriveCall) -> Self {
        let checkout = call.place.checkout.map(|checkout| CheckoutForm {
            root: Some(PathForm(checkout.root)),
            repository: checkout.repository.map(PathForm),
            name: checkout.name,
            branch: checkout.branch,
            linked: checkout.kind == CheckoutKind::Linked,
        });
        Self {
            scope: call.scope,
            service: call.service,
            directory: call.place.directory,
            checkout,
            project: call.project,
        }
    }
}

/// A [`ReviewCall`], as the two entries of a case that it is made of.
#[derive(Serialize)]
pub(super) struct ReviewForm {
    now: Timestamp,
    review: Vec<ReservationForm>,
}

impl From<ReviewCall> for ReviewForm {
    fn from(call: ReviewCall) -> Self {
        Self { now: call.now, review: call.reservations.into_iter().map(Into::into).collect() }
    }
}

/// One reservation of a review. Times that are not said are those of the review.
#[derive(Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ReservationForm {
    #[serde(deserialize_with = "port")]
    pub(super) port: Port,
    #[serde(deserialize_with = "key")]
    pub(super) key: String,
    #[serde(deserialize_with = "parsed")]
    pub(super) scope: Scope,
    #[serde(deserialize_with = "parsed")]
    pub(super) service: Service,
    #[serde(deserialize_with = "absolute", serialize_with = "path")]
    pub(super) directory: PathBuf,
    #[serde(with = "PresenceForm")]
    pub(super) directory_presence: Presence,
    #[serde(deserialize_with = "some_parsed", skip_serializing_if = "Option::is_none")]
    pub(super) project: Option<Label>,
    #[serde(deserialize_with = "some_parsed", skip_serializing_if = "Option::is_none")]
    pub(super) task: Option<Label>,
    #[serde(deserialize_with = "some_parsed", skip_serializing_if = "Option::is_none")]
    pub(super) agent: Option<Label>,
    #[serde(deserialize_with = "parsed")]
    pub(super) lease: Lease,
    pub(super) owner: OwnerForm,
    #[serde(with = "ListeningForm")]
    pub(super) listening: Listening,
    #[serde(deserialize_with = "some_time")]
    pub(super) created_at: Option<Timestamp>,
    #[serde(deserialize_with = "some_time")]
    pub(super) last_used_at: Option<Timestamp>,
    #[serde(deserialize_with = "some_time", skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<Timestamp>,
}

impl Default for ReservationForm {
    fn default() -> Self {
        Self {
            port: PORT,
            key: "key".to_owned(),
            scope: Scope::default(),
            service: Service::default(),
            directory: "/work/project".into(),
            directory_presence: Presence::Present,
            project: None,
            task: None,
            agent: None,
            lease: Lease::default(),
            owner: OwnerForm::Unowned,
            listening: Listening::None,
            created_at: None,
            last_used_at: None,
            expires_at: None,
        }
    }
}

/// The port of a reservation that names none.
const PORT: Port = match Port::new(20000) {
    Some(port) => port,
    None => Port::MIN,
};

#[derive(Deserialize, Serialize)]
#[serde(remote = "Presence", rename_all = "lowercase")]
enum PresenceForm {
    Present,
    Gone,
    Unknown,
}

/// Whether there is an owner, and whether it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum OwnerForm {
    Unowned,
    Alive,
    Dead,
    Unknown,
}

#[derive(Deserialize, Serialize)]
#[serde(remote = "Listening", rename_all = "lowercase")]
enum ListeningForm {
    None,
    Mine,
    Foreign,
    Unknown,
}

impl ReservationForm {
    /// The reservation as it is observed at `now`. One that expires before its last use is as one
    /// that expires with it: the engine counts from there.
    pub(super) fn observed(self, now: Timestamp) -> Observed {
        let last_used_at = self.last_used_at.unwrap_or(now);
        let owner = match self.owner {
            OwnerForm::Unowned => None,
            OwnerForm::Alive => Some(Liveness::Alive),
            OwnerForm::Dead => Some(Liveness::Dead),
            OwnerForm::Unknown => Some(Liveness::Unknown),
        };
        Observed {
            reservation: Reservation {
                port: self.port,
                key: Key { realm: Realm::User, text: self.key },
                scope: self.scope,
                directory: self.directory,
                service: self.service,
                project: self.project,
                task: self.task,
                agent: self.agent,
                lease: self.lease,
                locked: false,
                owner: owner.map(|_| Owner {
                    pid: 1,
                    start: 1,
                    boot: String::new(),
                    namespace: 0,
                    started_at: now,
                }),
                created_at: self.created_at.unwrap_or(now),
                last_used_at,
                ttl: self.expires_at.map(|end| end.since(last_used_at)),
                strategy: Provenance { key: String::new(), selection: String::new() },
                listener: None,
            },
            directory: self.directory_presence,
            owner,
            listening: self.listening,
        }
    }
}

impl From<Observed> for ReservationForm {
    fn from(observed: Observed) -> Self {
        let Observed { reservation, directory, owner, listening } = observed;
        let expires_at = reservation.expires_at();
        Self {
            port: reservation.port,
            key: reservation.key.text,
            scope: reservation.scope,
            service: reservation.service,
            directory: reservation.directory,
            directory_presence: directory,
            project: reservation.project,
            task: reservation.task,
            agent: reservation.agent,
            lease: reservation.lease,
            owner: match owner {
                None => OwnerForm::Unowned,
                Some(Liveness::Alive) => OwnerForm::Alive,
                Some(Liveness::Dead) => OwnerForm::Dead,
                Some(Liveness::Unknown) => OwnerForm::Unknown,
            },
            listening,
            created_at: Some(reservation.created_at),
            last_used_at: Some(reservation.last_used_at),
            expires_at,
        }
    }
}

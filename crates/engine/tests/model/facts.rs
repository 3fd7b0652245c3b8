//! What a request makes of a reservation.

use std::time::Duration;

use hythe_engine::{
    CheckoutKind, ErrorKind, Key, Label, Lease, Liveness, Owner, Port, Provenance, Realm,
    Reservation, ReserveRequest, Service, System,
};

use super::configuration::CONFIGURED;
use super::scene::Scene;

/// What a request says about one service's reservation.
pub(crate) struct Facts {
    request: ReserveRequest,
    project: Option<Label>,
    lease: Option<Lease>,
    ttl: Option<Duration>,
    owner: Option<Owner>,
    default_owner: Option<Owner>,
}

impl Facts {
    pub(crate) fn new(
        scene: Scene<'_>,
        request: &ReserveRequest,
        service: &Service,
    ) -> Result<Self, ErrorKind> {
        let here = scene.here();
        let configured =
            here.service.filter(|_| service.as_str() == CONFIGURED).unwrap_or_default();
        let lease = request.lease.or(configured.lease);
        let orphan = lease == Some(Lease::Ephemeral) && request.pid.is_none();
        Ok(Self {
            project: here.project.map(|project| project.name.parse().unwrap()),
            lease,
            ttl: request.ttl.or(configured.ttl.map(Duration::from_secs)),
            owner: request.pid.map(|pid| scene.owner(pid)).transpose()?,
            default_owner: orphan.then(|| scene.owner(request.parent)).transpose()?,
            request: request.clone(),
        })
    }

    pub(crate) fn reservation(
        &self,
        scene: Scene<'_>,
        request: &ReserveRequest,
        service: &Service,
        key: &str,
        port: Port,
    ) -> Reservation {
        let now = scene.machine.now();
        let checkout = scene.place.checkout.as_ref();
        let task = checkout.and_then(|checkout| match checkout.kind {
            CheckoutKind::Linked => Some(checkout.root.file_name()?.to_str()?.to_owned()),
            _ => checkout.branch.clone(),
        });
        Reservation {
            port,
            key: Key { realm: Realm::User, text: key.to_owned() },
            scope: scene.scope(service, request.scope),
            directory: scene.place.root().to_owned(),
            service: service.clone(),
            project: self.project.clone().or_else(|| scene.project()),
            task: request.task.clone().or_else(|| task?.parse().ok()),
            agent: request.agent.clone(),
            lease: self.lease.unwrap_or_default(),
            locked: request.lock,
            owner: self.owner.clone().or_else(|| self.default_owner.clone()),
            created_at: now,
            last_used_at: now,
            ttl: self.ttl,
            strategy: Provenance { key: String::new(), selection: String::new() },
            listener: None,
        }
    }

    pub(crate) fn applied(&self, held: &Reservation, owner: Option<Liveness>) -> Reservation {
        let request = &self.request;
        let mut changed = held.clone();
        changed.project = self.project.clone().or(changed.project);
        changed.task = request.task.clone().or(changed.task);
        changed.agent = request.agent.clone().or(changed.agent);
        changed.lease = self.lease.unwrap_or(changed.lease);
        changed.ttl = self.ttl.or(changed.ttl);
        changed.locked |= request.lock;
        changed.owner = match (&self.owner, self.lease) {
            (Some(owner), _) => Some(owner.clone()),
            (None, Some(Lease::Persistent)) => None,
            (None, Some(Lease::Ephemeral)) if owner != Some(Liveness::Alive) => {
                self.default_owner.clone()
            }
            _ => changed.owner,
        };
        changed
    }
}

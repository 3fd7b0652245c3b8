//! What is wanted for each service: the request, resolved against place and configuration.

use super::super::{Engine, Error, PolicyCall, ReserveRequest};
use crate::config::ServiceSettings;
use crate::place::CheckoutKind;
use crate::placement::Refusal;
use crate::plan::Facts;
use crate::port::Port;
use crate::reservation::{Key, Label, Lease, Owner, Provenance, Reservation, Scope, Service};
use crate::time::Timestamp;

/// What is wanted for one service.
pub(super) struct Want<'a> {
    pub(super) service: &'a Service,
    pub(super) scope: Scope,
    pub(super) key: Key,
    /// How the key was derived, where that is to be explained.
    pub(super) key_call: Option<PolicyCall>,
    pub(super) facts: Facts,
    /// The port that the configuration prefers, and why it is out of the question here.
    pub(super) configured: Option<(Port, Option<Refusal>)>,
    /// The scope of its block, where it belongs to one.
    pub(super) block: Option<Scope>,
}

impl Engine<'_> {
    /// Resolves the request against the configuration, and derives the keys.
    pub(super) fn wants<'r>(&self, request: &'r ReserveRequest) -> Result<Vec<Want<'r>>, Error> {
        let services: Vec<_> = request.services.iter().chain(&request.beside).collect();
        if let Some(twice) = first_duplicate(&services) {
            return Err(Error::Usage(format!("service `{twice}` is named twice")));
        }
        // The scope that is asked for is that of the services asked for.
        let mut keys = self.keys(&request.services, request.scope, request.explain)?;
        if !request.beside.is_empty() {
            keys.extend(self.keys(&request.beside, None, request.explain)?);
        }
        let wants = services.into_iter().zip(keys).map(|(service, (key, key_call))| {
            let asked = request.scope.filter(|_| request.services.contains(service));
            let scope = self.scope(service, asked);
            let configured = self.settings().services.get(service);
            let port = configured.and_then(|configured| configured.port.as_ref());
            Ok(Want {
                service,
                scope,
                key,
                key_call,
                facts: self.facts(service, request)?,
                configured: port.map(|port| (port.value, self.kept_for_main(scope))),
                block: configured
                    .filter(|configured| configured.offset.is_some())
                    .map(ServiceSettings::scope),
            })
        });
        wants.collect()
    }

    /// What the request and the configuration say about the reservation of a service.
    fn facts(&self, service: &Service, request: &ReserveRequest) -> Result<Facts, Error> {
        let server = request.server.filter(|_| request.services.contains(service));
        let configured = self.settings().services.get(service);
        let lease = request.lease.or_else(|| Some(configured?.lease.as_ref()?.value));
        let default_owner = match (lease, request.pid, server) {
            (_, None, Some(server)) => Some(self.owner(server)?),
            (Some(Lease::Ephemeral), None, None) => Some(self.owner(request.parent)?),
            _ => None,
        };
        Ok(Facts {
            project: self.settings().project.as_ref().map(|project| project.value.clone()),
            task: request.task.clone(),
            agent: request.agent.clone(),
            lease,
            owner: request.pid.map(|pid| self.owner(pid)).transpose()?,
            default_owner,
            serves: server.is_some(),
            ttl: request.ttl.or_else(|| Some(configured?.ttl.as_ref()?.value)),
            lock: request.lock,
        })
    }

    fn owner(&self, pid: u32) -> Result<Owner, Error> {
        self.system.identify(pid).ok_or(Error::Owner(pid))
    }

    /// The canonical port of a project is the main checkout's; linked worktrees get their own.
    pub(super) fn kept_for_main(&self, scope: Scope) -> Option<Refusal> {
        let checkout = self.place.checkout.as_ref();
        let linked = checkout.is_some_and(|checkout| checkout.kind == CheckoutKind::Linked);
        (linked && scope == Scope::Directory).then_some(Refusal::MainCheckout)
    }

    /// The reservation of a key that has none yet. What nobody said is taken from the checkout.
    pub(super) fn new_reservation(
        &self,
        want: &Want<'_>,
        port: Port,
        now: Timestamp,
        strategy: Provenance,
    ) -> Reservation {
        let facts = &want.facts;
        Reservation {
            port,
            key: want.key.clone(),
            scope: want.scope,
            directory: self.place.root().to_owned(),
            service: want.service.clone(),
            project: facts.project.clone().or_else(|| self.project()),
            task: facts.task.clone().or_else(|| self.task()),
            agent: facts.agent.clone(),
            lease: facts.lease.unwrap_or(match facts.serves {
                true => Lease::Ephemeral,
                false => Lease::default(),
            }),
            locked: facts.lock,
            owner: facts.owner.clone().or_else(|| facts.default_owner.clone()),
            created_at: now,
            last_used_at: now,
            ttl: facts.ttl,
            strategy,
            listener: None,
        }
    }

    /// The task at hand, as the checkout shows it: the linked worktree's name, or the branch.
    pub(in crate::engine) fn task(&self) -> Option<Label> {
        let checkout = self.place.checkout.as_ref()?;
        let name = match checkout.kind {
            CheckoutKind::Linked => checkout.root.file_name()?.to_str()?,
            _ => checkout.branch.as_deref()?,
        };
        Label::nearest(name)
    }
}

/// The first service that is named before.
pub(in super::super) fn first_duplicate<'a>(services: &[&'a Service]) -> Option<&'a Service> {
    let mut named = services.iter().enumerate();
    named.find(|(at, service)| services[..*at].contains(service)).map(|(_, service)| *service)
}

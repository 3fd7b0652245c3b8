//! `get`, `list`, `show`, `log`: what only looks.

use std::collections::{BTreeMap, BTreeSet};

use super::observe::Directories;
use super::release::missing;
use super::request::Sought;
use super::{Engine, Error, ListFilter, Listed, Named};
use crate::event::Event;
use crate::ledger::{EventFilter, Ledger};
use crate::port::{Port, PortSet};
use crate::reservation::{Label, Reservation, Scope, Service};

/// What a project has reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectUse {
    /// The project; `None` for what belongs to none.
    pub project: Option<Label>,
    /// How many reservations.
    pub reservations: usize,
    /// How many directories they belong to.
    pub directories: usize,
}

impl Engine<'_> {
    /// The reservation of a service in this place. Reads only; takes no lock and probes nothing.
    pub fn get(&self, service: &Service, scope: Option<Scope>) -> Result<Reservation, Error> {
        let keys = self.keys(std::slice::from_ref(service), scope, false)?;
        let found = self.ledger()?.map_or(Ok(None), |ledger| match keys.first() {
            Some((key, _)) => ledger.find(key),
            None => Ok(None),
        })?;
        found.ok_or_else(|| missing(service))
    }

    /// The reservations that `filter` admits, by port. Their directories are not looked at.
    pub fn list(&self, filter: &ListFilter) -> Result<Vec<Listed>, Error> {
        let mut reservations = match self.ledger()? {
            Some(ledger) => ledger.reservations()?,
            None => Vec::new(),
        };
        reservations.retain(|reservation| filter.admits(reservation));
        let ports = reservations.iter().map(|reservation| reservation.port).collect();
        Ok(self.look(reservations, Directories::Unseen, self.containers(&ports)))
    }

    /// The projects of the reservations that `filter` admits, by name; what belongs to none comes first.
    pub fn projects(&self, filter: &ListFilter) -> Result<Vec<ProjectUse>, Error> {
        let reservations = match self.ledger()? {
            Some(ledger) => ledger.reservations()?,
            None => Vec::new(),
        };
        let mut projects: BTreeMap<_, (usize, BTreeSet<_>)> = BTreeMap::new();
        for reservation in reservations.into_iter().filter(|it| filter.admits(it)) {
            let (reservations, directories) = projects.entry(reservation.project).or_default();
            *reservations += 1;
            directories.insert(reservation.directory);
        }
        let project = |(project, (reservations, directories)): (_, (_, BTreeSet<_>))| ProjectUse {
            project,
            reservations,
            directories: directories.len(),
        };
        Ok(projects.into_iter().map(project).collect())
    }

    /// Every reservation, by port, and nothing about the world around it. An outdated ledger is an
    /// error here: nothing is written, whatever happens.
    pub fn reservations(&self) -> Result<Vec<Reservation>, Error> {
        let ledger = Ledger::open(&self.ledger_path())?;
        Ok(ledger.map_or(Ok(Vec::new()), |ledger| ledger.reservations())?)
    }

    /// The services that can be named here, with their ports: those that are reserved for this place,
    /// its project or the machine, then those that are configured. Reads as [`Engine::reservations`].
    pub fn services(&self) -> Result<Vec<(Service, Option<Port>)>, Error> {
        let (root, project) = (self.place.root(), self.project());
        let mut reserved = self.reservations()?;
        reserved.retain(|reservation| match reservation.scope {
            Scope::Directory => reservation.directory == root,
            Scope::Project => reservation.project == project,
            Scope::Service => true,
        });
        let reserved = reserved.into_iter().map(|it| (it.service, Some(it.port)));
        let mut services: Vec<_> = reserved.collect();
        for service in self.settings().services.keys() {
            if !services.iter().any(|(known, _)| known == service) {
                services.push((service.clone(), None));
            }
        }
        Ok(services)
    }

    /// The reservation that has a port, and the world around it.
    pub fn show_port(&self, port: Port) -> Result<Listed, Error> {
        let found = self.ledger()?.map_or(Ok(None), |ledger| ledger.at(port))?;
        let reservation = found.ok_or_else(|| Error::NotFound {
            what: format!("port {port} is not reserved"),
            hint: Some("hythe list".to_owned()),
        })?;
        Ok(self.listed(reservation))
    }

    /// The reservation of a service in this place, and the world around it.
    pub fn show(&self, service: &Service, scope: Option<Scope>) -> Result<Listed, Error> {
        self.get(service, scope).map(|reservation| self.listed(reservation))
    }

    /// The ports that are named, and their reservations. A service without one is not found.
    pub(super) fn seek(&self, named: &[Named], scope: Option<Scope>) -> Result<Vec<Sought>, Error> {
        let seek = |named: &Named| match named {
            Named::Service(service) => {
                let reservation = self.get(service, scope)?;
                Ok(Sought { port: reservation.port, reservation: Some(reservation) })
            }
            Named::Port(port) => {
                let reservation = self.ledger()?.map_or(Ok(None), |ledger| ledger.at(*port))?;
                Ok(Sought { port: *port, reservation })
            }
        };
        let mut sought: Vec<Sought> = named.iter().map(seek).collect::<Result<_, Error>>()?;
        let mut ports = PortSet::new();
        sought.retain(|sought| ports.insert(sought.port));
        Ok(sought)
    }

    /// What happened, oldest first.
    pub fn events(&self, filter: &EventFilter) -> Result<Vec<Event>, Error> {
        let ledger: Option<Ledger> = self.ledger()?;
        Ok(ledger.map_or(Ok(Vec::new()), |ledger| ledger.events(filter))?)
    }

    /// The first `most` of the events that `filter` admits, oldest first, whatever its own limit.
    pub fn next_events(&self, filter: &EventFilter, most: u32) -> Result<Vec<Event>, Error> {
        let ledger: Option<Ledger> = self.ledger()?;
        Ok(ledger.map_or(Ok(Vec::new()), |ledger| ledger.next_events(filter, most))?)
    }
}

//! `get`, `list`, `show`, `log`: what only looks.

use super::observe::Directories;
use super::release::missing;
use super::request::Sought;
use super::{Engine, Error, ListFilter, Listed, Named};
use crate::event::Event;
use crate::ledger::{EventFilter, Ledger};
use crate::port::{Port, PortSet};
use crate::reservation::{Reservation, Scope, Service};

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
}

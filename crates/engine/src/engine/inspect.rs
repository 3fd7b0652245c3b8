//! `get`, `list`, `show`, `log`: what only looks.

use super::observe::Directories;
use super::release::missing;
use super::{Engine, Error, ListFilter, Listed};
use crate::event::Event;
use crate::ledger::{EventFilter, Ledger};
use crate::port::Port;
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
        let observed = self.observe(reservations, Directories::Unseen).into_iter();
        Ok(observed.map(|(observed, holder)| Listed { observed, holder }).collect())
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

    fn listed(&self, reservation: Reservation) -> Listed {
        let standing = self.standing(&reservation);
        let observed = self.observed(reservation, &standing);
        Listed { observed, holder: standing.holder }
    }

    /// What happened, oldest first.
    pub fn events(&self, filter: &EventFilter) -> Result<Vec<Event>, Error> {
        let ledger: Option<Ledger> = self.ledger()?;
        Ok(ledger.map_or(Ok(Vec::new()), |ledger| ledger.events(filter))?)
    }
}

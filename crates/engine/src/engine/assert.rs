//! `show`, asked whether something is so.

use super::observe::{Tables, Verdict, describe};
use super::{Engine, Error, Listed, Named};
use crate::observed::{Holder, Listening};
use crate::port::{Port, PortSet};
use crate::reservation::{Reservation, Scope};

/// What is asserted of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assertion {
    /// It is reserved.
    Reserved,
    /// Its reservation's own server listens: it is proven.
    Mine,
    /// Somebody listens.
    Listening,
    /// Nobody holds it; and where a port is named, it is not reserved for another place.
    Free,
}

/// What there is to show of a port.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The port.
    pub port: Port,
    /// Its reservation, if it has one.
    pub listed: Option<Listed>,
    /// Who listens on a port that is not reserved.
    pub holder: Option<Holder>,
}

impl Shown {
    /// A reservation, of which nothing is asserted.
    #[must_use]
    pub fn of(listed: Listed) -> Self {
        Self { port: listed.observed.reservation.port, listed: Some(listed), holder: None }
    }
}

impl Engine<'_> {
    /// What there is to show of a service in this place, or of a port, if what is asserted of it is so;
    /// else the error is of the kind [`super::ErrorKind::NotFound`].
    pub fn assert(
        &self,
        named: &Named,
        scope: Option<Scope>,
        assertion: Assertion,
    ) -> Result<Shown, Error> {
        let sought = self.seek(std::slice::from_ref(named), scope)?.into_iter().next();
        let Some(sought) = sought else { return Err(Error::Usage("nothing is named".to_owned())) };
        let port = sought.port;
        let Some(reservation) = sought.reservation.clone() else {
            return match assertion {
                Assertion::Reserved | Assertion::Mine => Err(sought.not_reserved()),
                Assertion::Listening | Assertion::Free => self.assert_unreserved(port, assertion),
            };
        };
        let elsewhere = matches!(named, Named::Port(_)) && !self.is_of_here(&reservation);
        let listed = self.listed(reservation);
        let Reservation { service, directory, .. } = &listed.observed.reservation;
        let told = || describe(listed.holder.as_ref());
        let why = match (assertion, listed.observed.listening) {
            (Assertion::Free, _) if elsewhere => {
                format!(
                    "port {port} is not free: it is reserved for `{service}` of {}",
                    directory.display()
                )
            }
            (Assertion::Reserved, _)
            | (Assertion::Mine, Listening::Mine)
            | (Assertion::Free, Listening::None) => {
                return Ok(Shown { port, listed: Some(listed), holder: None });
            }
            // Who only has a socket there does not listen.
            (Assertion::Listening, listening)
                if listed.holder.is_some() && listening != Listening::None =>
            {
                return Ok(Shown { port, listed: Some(listed), holder: None });
            }
            (Assertion::Free, _) => format!("port {port} is not free: it is held by {}", told()),
            (Assertion::Listening | Assertion::Mine, _) if listed.holder.is_none() => {
                format!("nobody listens on port {port} of `{service}`")
            }
            (Assertion::Mine, Listening::Foreign) => {
                format!("`{service}` does not listen on its port {port}: it is held by {}", told())
            }
            (Assertion::Listening | Assertion::Mine, _) => {
                format!("whether {} on port {port} is of `{service}` cannot be told", told())
            }
        };
        Err(Error::NotFound { what: why, hint: Some(format!("hythe show {port}")) })
    }

    fn assert_unreserved(&self, port: Port, assertion: Assertion) -> Result<Shown, Error> {
        let ports: PortSet = [port].into_iter().collect();
        let mut holders = self.system.holders(&ports, &[]).unwrap_or_default();
        super::wait::add(&mut holders, &self.containers(&ports), &ports);
        let holder = holders.remove(&port);
        let why = match (&holder, assertion) {
            (None, Assertion::Free) => {
                match self.is_free(port, &mut Tables::Unread, || ports.clone()) {
                    Verdict::Free | Verdict::Unlisted(_) => {
                        return Ok(Shown { port, listed: None, holder });
                    }
                    Verdict::Held => {
                        format!("port {port} is not free: it is held by {}", describe(None))
                    }
                    Verdict::Unknown(reason) => {
                        format!("whether port {port} is free cannot be told: {reason}")
                    }
                }
            }
            (None, _) => format!("nobody listens on port {port}"),
            (Some(holder), Assertion::Free) => {
                format!("port {port} is not free: it is held by {}", describe(Some(holder)))
            }
            (Some(_), _) => return Ok(Shown { port, listed: None, holder }),
        };
        Err(Error::NotFound { what: why, hint: Some(format!("hythe scan {port}")) })
    }

    /// Whether a reservation is one that this place uses.
    fn is_of_here(&self, reservation: &Reservation) -> bool {
        reservation.scope != Scope::Directory || reservation.directory == self.place.root()
    }
}

//! `scan --adopt`: reservations of ports that are in use already.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::super::{Engine, Error, Found, ReserveRequest, ScanRequest};
use crate::event::Change;
use crate::ledger::Ledger;
use crate::observed::{Holder, Holders};
use crate::place::Place;
use crate::placement::Refusal;
use crate::port::{Port, PortRange};
use crate::reservation::{Key, Provenance, Reservation, Service};
use crate::time::Timestamp;

/// The most names that are tried for one port before the port itself is a part of the name.
const MOST_NAMES: usize = 99;

/// The longest name that is made of a program's, in bytes: what makes it unique has to fit as well.
const LONGEST_NAME: usize = 100;

/// Asks for reservations of ports that somebody listens on.
#[derive(Debug, Clone, Default)]
pub struct AdoptRequest {
    /// Of these ports; of the range in force when there is none. A port that is named alone is
    /// adopted although it could not be given: outside the range, excluded, privileged.
    pub ranges: Vec<PortRange>,
    /// Whether nothing is to be written.
    pub dry_run: bool,
}

/// What became of the ports that somebody listens on and nobody had reserved.
#[derive(Debug, Clone, Default)]
pub struct Adopted {
    /// The reservations that were made, or would be in a dry run, by port.
    pub reservations: Vec<Reservation>,
    /// The ports that were passed over, and why.
    pub skipped: Vec<(Port, String)>,
}

/// Whose a port is to be.
#[derive(Debug, Clone)]
struct Claim {
    port: Port,
    place: Place,
    /// What it is to be called.
    name: String,
    /// The process that listens, its pid and start; `None` for a container.
    process: Option<(u32, u64)>,
}

/// Ports that are passed over, and why.
type Skipped = Vec<(Port, String)>;

/// The engines of the places that claims come from.
type Engines<'a> = BTreeMap<PathBuf, Result<Engine<'a>, String>>;

impl<'a> Engine<'a> {
    /// Records ports that are in use as reservations of the directories that their processes work in:
    /// all in one transaction. Reserving the same name there gives the same port from then on.
    ///
    /// The lock is held only to write: who listens is found out before, and looked at again then.
    pub fn adopt(&self, request: &AdoptRequest) -> Result<Adopted, Error> {
        let ranges = request.ranges.clone();
        let found = self.scan(&ScanRequest { ranges, unreserved: true })?;
        let mut skipped = Vec::new();
        let mut claims = Vec::new();
        for Found { port, holder, .. } in &found {
            match claim(*port, holder) {
                Ok(claim) => claims.push(claim),
                Err(why) => skipped.push((*port, why)),
            }
        }
        let mut engines = Engines::new();
        let named = |port: Port| request.ranges.contains(&port.into());
        let mut planned = self.plan(self.ledger()?.as_ref(), &claims, &named, &mut engines)?;
        if !request.dry_run && !planned.reservations.is_empty() {
            planned = self.writing(|ledger| {
                let (claims, gone) = self.still_there(&claims)?;
                let mut planned = self.plan(ledger.as_ref(), &claims, &named, &mut engines)?;
                planned.skipped.extend(gone);
                let changes: Vec<_> =
                    planned.reservations.iter().cloned().map(Change::Reserved).collect();
                self.commit(ledger, &changes, false)?;
                Ok(planned)
            })?;
        }
        planned.skipped.extend(skipped);
        planned.skipped.sort();
        Ok(planned)
    }

    /// Which of the claims hold at this moment.
    fn still_there(&self, claims: &[Claim]) -> Result<(Vec<Claim>, Skipped), Error> {
        let ports = claims.iter().map(|claim| claim.port).collect();
        let hints: Vec<_> = claims.iter().filter_map(|claim| Some(claim.process?.0)).collect();
        let holders: Holders = self.holders(&ports, &hints)?;
        let listens = |claim: &&Claim| {
            // A daemon may take its time, and everybody waits for the lock.
            let Some(identity) = claim.process else { return true };
            let mut processes = holders.get(&claim.port).into_iter().flat_map(|it| &it.processes);
            processes.any(|process| (process.pid, process.start) == identity)
        };
        let (there, gone): (Vec<_>, Vec<_>) = claims.iter().partition(listens);
        let gone = gone.into_iter().map(|claim| (claim.port, "it listens no more".to_owned()));
        Ok((there.into_iter().cloned().collect(), gone.collect()))
    }

    /// The reservations that claims come to, each under a name that is not taken in its place.
    fn plan(
        &self,
        ledger: Option<&Ledger>,
        claims: &[Claim],
        named: &dyn Fn(Port) -> bool,
        engines: &mut Engines<'a>,
    ) -> Result<Adopted, Error> {
        let now = self.system.now();
        let mut planned = Adopted::default();
        let mut given = BTreeSet::new();
        for claim in claims {
            let directory = claim.place.directory.clone();
            let engine = engines.entry(directory).or_insert_with_key(|directory| {
                self.elsewhere(directory).map_err(|error| error.to_string())
            });
            let there = match engine {
                Ok(there) => there,
                Err(why) => {
                    planned.skipped.push((claim.port, why.clone()));
                    continue;
                }
            };
            match there.adopted(ledger, claim, named(claim.port), &given, now) {
                Ok(reservation) => {
                    given.insert(reservation.key.clone());
                    planned.reservations.push(reservation);
                }
                Err(error @ Error::Ledger(_)) => return Err(error),
                Err(error) => planned.skipped.push((claim.port, error.to_string())),
            }
        }
        Ok(planned)
    }

    /// The reservation that a claim in this engine's place comes to.
    fn adopted(
        &self,
        ledger: Option<&Ledger>,
        claim: &Claim,
        named: bool,
        given: &BTreeSet<Key>,
        now: Timestamp,
    ) -> Result<Reservation, Error> {
        let port = claim.port;
        let refused =
            |why: &dyn std::fmt::Display| Error::Refused { what: why.to_string(), hint: None };
        if ledger.map_or(Ok(None), |ledger| ledger.at(port))?.is_some() {
            return Err(refused(&Refusal::Reserved));
        }
        if !named {
            let freeze = self.settings().ports.freeze.value;
            let occupancy = ledger.map(|ledger| ledger.occupancy(now, freeze)).transpose()?;
            let frozen = occupancy.unwrap_or_default().frozen.into_iter().collect();
            let filter = self.filter(crate::port::PortSet::new(), frozen);
            let outside = (!filter.range.contains(port)).then_some(Refusal::OutsideRange);
            if let Some(refusal) = outside.or_else(|| filter.refusal(port)) {
                return Err(refused(&refusal));
            }
        }
        let process = claim.process.map(|(pid, _)| pid);
        for service in self.names(claim) {
            let request = ReserveRequest {
                services: vec![service],
                // Where the service has an ephemeral lease, it lasts as long as what listens.
                parent: process.unwrap_or_default(),
                ..ReserveRequest::default()
            };
            let Some(want) = self.wants(&request)?.into_iter().next() else { break };
            let taken = ledger.map_or(Ok(None), |ledger| ledger.find(&want.key))?.is_some();
            if !taken && !given.contains(&want.key) {
                let key = self.key_policy()?.plugin().label();
                let strategy = Provenance { key, selection: "adopted".to_owned() };
                let reservation = self.new_reservation(&want, port, now, strategy);
                return Ok(Reservation { listener: process, ..reservation });
            }
        }
        Err(refused(&format!("every name such as `{}` is taken", claim.name)))
    }

    /// The names to try for a claim: of the service that is configured for its port, then what it is
    /// called, then that with a number, at last with its port.
    fn names(&self, claim: &Claim) -> Vec<Service> {
        let services = self.settings().services.iter();
        let configured = services.filter(|(_, service)| {
            service.port.as_ref().is_some_and(|port| port.value == claim.port)
        });
        let name = valid(&claim.name);
        let numbered = (2..=MOST_NAMES).map(|number| format!("{name}-{number}"));
        let called =
            std::iter::once(name.clone()).chain(numbered).chain([format!("{name}-{}", claim.port)]);
        let called = called.filter_map(|name| name.parse().ok());
        configured.map(|(service, _)| service.clone()).chain(called).collect()
    }
}

/// Whose the port is to be that `holder` listens on: a container's, where it was composed, else in the
/// checkout that it mounts; the first process's of which can be told where it works.
fn claim(port: Port, holder: &Holder) -> Result<Claim, String> {
    if let Some(container) = holder.containers.first() {
        let mounted = || container.mounts.iter().find(|place| place.checkout.is_some());
        let place = container.place.as_ref().or_else(mounted);
        let place = place.ok_or_else(|| {
            format!("container `{}` is not of compose and mounts no checkout", container.name)
        })?;
        let name = container.service.as_ref().unwrap_or(&container.name).clone();
        return Ok(Claim { port, place: place.clone(), name, process: None });
    }
    let mut processes = holder.processes.iter();
    let found = processes.find_map(|process| Some((process, process.workplace()?.1)));
    let Some((process, place)) = found else {
        return Err(match holder.processes.first() {
            Some(process) => format!("where process {} works cannot be seen", process.pid),
            None => "its process cannot be seen".to_owned(),
        });
    };
    let (name, process) = (process.program().to_owned(), Some((process.pid, process.start)));
    Ok(Claim { port, place: place.clone(), name, process })
}

/// A name that a service can have, as near as possible to `name`.
fn valid(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._@+".contains(c) { c } else { '-' };
    let mut valid: String = name.chars().map(plain).collect();
    valid.truncate(LONGEST_NAME);
    let valid = valid.trim_matches('-');
    match valid.parse::<Service>() {
        Ok(service) => service.as_str().to_owned(),
        Err(_) if valid.is_empty() => "server".to_owned(),
        Err(_) => format!("server-{valid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_has_a_name_that_a_service_can_have() {
        let long = "x".repeat(500);
        for (program, name) in [
            ("node", "node"),
            ("python3.13", "python3.13"),
            ("nginx:", "nginx"),
            ("-bash", "bash"),
            ("größe", "gr--e"),
            ("8080", "server-8080"),
            ("日本", "server"),
            ("", "server"),
            ("a\u{1b}[31m", "a--31m"),
            (&long, &long[..LONGEST_NAME]),
        ] {
            assert_eq!(valid(program), name, "{program:?}");
            assert!(format!("{}-65535", valid(program)).parse::<Service>().is_ok());
        }
    }
}

//! Looking at the machine: who listens, who lives, what is still there.

use std::collections::HashMap;
use std::path::PathBuf;

use super::{Engine, strategy};
use crate::observed::{Holder, Holders, Listening, Liveness, Observed, Presence, Probe, Process};
use crate::place::Place;
use crate::policy::{KeyDerivation, KeyRequest};
use crate::port::{Port, PortSet};
use crate::reservation::{Label, Realm, Reservation};

/// What stands behind a reserved port.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    pub(super) listening: Listening,
    /// The processes behind the port; `None` when nobody listens or nothing could be seen.
    pub(super) holder: Option<Holder>,
}

impl Standing {
    /// Who holds the port, for people.
    pub(super) fn describe(&self) -> String {
        describe(self.holder.as_ref())
    }
}

/// Who holds a port, for people.
pub(super) fn describe(holder: Option<&Holder>) -> String {
    match holder.and_then(|holder| holder.processes.first()) {
        Some(process) => format!("process {} `{}`", process.pid, process.command),
        None => "a process that cannot be seen from here".to_owned(),
    }
}

impl Engine<'_> {
    /// Finds out who holds the port of one reservation. A port that can be bound costs one bind.
    pub(super) fn standing(&self, reservation: &Reservation) -> Standing {
        let nobody = Standing { listening: Listening::None, holder: None };
        let probe = self.system.probe(reservation.port);
        tracing::debug!(port = %reservation.port, ?probe, "probed");
        let held = match probe {
            Probe::Free | Probe::Lingering => return nobody,
            Probe::Held => true,
            Probe::Inconclusive(_) => false,
        };
        let ports = [reservation.port].into_iter().collect();
        let hints: Vec<_> = hints(reservation).collect();
        let holder = match self.system.holders(&ports, &hints) {
            Ok(mut holders) => holders.remove(&reservation.port),
            Err(error) => {
                tracing::debug!(%error, "socket tables cannot be read");
                return Standing { listening: Listening::Unknown, holder: None };
            }
        };
        match holder {
            Some(holder) => {
                let owner = self.owner_liveness(reservation);
                let listening = self.judge(reservation, &holder, owner);
                Standing { listening, holder: Some(holder) }
            }
            // Bound, but not listening: somebody prepares to serve, or keeps the port for a moment.
            None if held => Standing { listening: Listening::Unknown, holder: None },
            None => nobody,
        }
    }

    /// Looks at many reservations at once: the socket tables are read a single time, and each
    /// directory is looked at once, if at all.
    pub(super) fn observe(
        &self,
        reservations: Vec<Reservation>,
        directories: Directories,
    ) -> Vec<(Observed, Option<Holder>)> {
        let ports: PortSet = reservations.iter().map(|reservation| reservation.port).collect();
        let hints: Vec<_> = reservations.iter().flat_map(hints).collect();
        let mut holders: Option<Holders> = if reservations.is_empty() {
            Some(Holders::new())
        } else {
            self.system
                .holders(&ports, &hints)
                .inspect_err(|error| tracing::debug!(%error, "socket tables cannot be read"))
                .ok()
        };
        let mut presence: HashMap<PathBuf, Presence> = HashMap::new();
        let observed = reservations.into_iter().map(|reservation| {
            let directory = match directories {
                Directories::Unseen => Presence::Unknown,
                Directories::Seen => *presence
                    .entry(reservation.directory.clone())
                    .or_insert_with(|| self.system.presence(&reservation.directory)),
            };
            let holder = holders.as_mut().and_then(|holders| holders.remove(&reservation.port));
            let owner = self.owner_liveness(&reservation);
            let listening = match (&holders, &holder) {
                (None, _) => Listening::Unknown,
                (Some(_), None) => Listening::None,
                (Some(_), Some(holder)) => self.judge(&reservation, holder, owner),
            };
            (Observed { reservation, directory, owner, listening }, holder)
        });
        observed.collect()
    }

    /// Whose listener `holder` is. A key policy may give the directories of several checkouts one
    /// key: then a process in any of them is the reservation's own.
    fn judge(
        &self,
        reservation: &Reservation,
        holder: &Holder,
        owner: Option<Liveness>,
    ) -> Listening {
        let judged = reservation.judge(holder, owner);
        if judged != Listening::Foreign || is_of_one_directory(reservation) {
            return judged;
        }
        let places = holder.processes.iter().filter_map(Process::workplace);
        let shared: Result<Vec<_>, _> =
            places.map(|place| self.has_key(place, reservation)).collect();
        match shared {
            Ok(shared) if shared.contains(&true) => Listening::Mine,
            Ok(_) => Listening::Foreign,
            Err(Unproven) => Listening::Unknown,
        }
    }

    /// Whether a request from another place would get this reservation. Fails where the policy that
    /// derived the key is not provably the one in force here, or gives no answer: that its port may
    /// be taken away must not follow from what somebody else's policy says.
    fn has_key(&self, place: &Place, reservation: &Reservation) -> Result<bool, Unproven> {
        if !self.derives_keys_of(reservation) {
            return Err(Unproven);
        }
        if let Realm::Project(directory) = &reservation.key.realm
            && !place.directory.starts_with(directory)
        {
            return Ok(false);
        }
        let policy = self.key_policy().map_err(|_| Unproven)?;
        if policy.plugin().label() != reservation.strategy.key {
            return Err(Unproven);
        }
        let name = place.checkout.as_ref().and_then(|checkout| checkout.name.as_deref());
        // Its own files may call its project otherwise than by its name, most likely as here.
        for project in [name.and_then(Label::nearest), self.project()] {
            let (scope, service) = (reservation.scope, &reservation.service);
            let request = KeyRequest { scope, service, place, project: project.as_ref() };
            if policy.derive(&request).map_err(|_| Unproven)? == reservation.key.text {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the key policy here, its code, options and authority, is the one that holds where the
    /// reservation was made.
    fn derives_keys_of(&self, reservation: &Reservation) -> bool {
        let here = self.settings();
        let name = &here.strategy.key.value;
        if strategy::realm(here, name) != reservation.key.realm {
            return false;
        }
        let project = here.project_directory.as_ref();
        if project.is_some_and(|project| reservation.directory.starts_with(project)) {
            return true;
        }
        let there = self.config.user_settings(&self.config.rules(&reservation.directory));
        there.strategy.key.value == *name && there.plugins.get(name) == here.plugins.get(name)
    }

    /// One reservation whose port is held as `standing` says.
    pub(super) fn observed(&self, reservation: Reservation, standing: &Standing) -> Observed {
        Observed {
            directory: self.system.presence(&reservation.directory),
            owner: self.owner_liveness(&reservation),
            listening: standing.listening,
            reservation,
        }
    }

    /// Whether the owner of a reservation still runs; `None` without an owner.
    fn owner_liveness(&self, reservation: &Reservation) -> Option<Liveness> {
        reservation.owner.as_ref().map(|owner| self.system.liveness(owner))
    }

    /// Whether `port` can be given: `Ok` when it can, with the reason when that was only read from
    /// the socket tables.
    pub(super) fn is_free(
        &self,
        port: Port,
        tables: &mut Tables,
        candidates: impl FnOnce() -> PortSet,
    ) -> Verdict {
        match self.system.probe(port) {
            Probe::Free | Probe::Lingering => Verdict::Free,
            Probe::Held => Verdict::Held,
            Probe::Inconclusive(reason) => {
                if matches!(tables, Tables::Unread) {
                    *tables = match self.system.holders(&candidates(), &[]) {
                        Ok(holders) => Tables::Read(holders),
                        Err(_) => Tables::Unreadable,
                    };
                }
                match tables {
                    Tables::Read(holders) if holders.contains_key(&port) => Verdict::Held,
                    Tables::Read(_) => Verdict::Unlisted(reason),
                    Tables::Unread | Tables::Unreadable => Verdict::Unknown(reason),
                }
            }
        }
    }
}

/// Whether the directories of reservations are looked at: one system call for each.
#[derive(Clone, Copy)]
pub(super) enum Directories {
    /// They matter.
    Seen,
    /// Nobody asks about them.
    Unseen,
}

/// The socket tables, read once, and only when binding is forbidden.
pub(super) enum Tables {
    /// Nobody needed them yet.
    Unread,
    /// They cannot be read either.
    Unreadable,
    /// Who listens on the ports in question.
    Read(Holders),
}

/// Whether a port can be given.
pub(super) enum Verdict {
    /// It could be bound.
    Free,
    /// Somebody holds it.
    Held,
    /// It could not be tried, for this reason, but nobody is listed as listening there.
    Unlisted(String),
    /// It could not be tried, for this reason, and nothing else could be found out.
    Unknown(String),
}

/// It cannot be told.
struct Unproven;

/// Whether the key names the directory that it stands for, as the keys of the bundled policy do: then
/// no other directory has it.
fn is_of_one_directory(reservation: &Reservation) -> bool {
    let directory = reservation.directory.to_str();
    directory.is_some_and(|directory| {
        let own = format!("directory:{}:{directory}", reservation.service);
        reservation.key.text == own
    })
}

/// Where to look first for the process that listens on a reserved port.
fn hints(reservation: &Reservation) -> impl Iterator<Item = u32> + '_ {
    let owner = reservation.owner.as_ref().map(|owner| owner.pid);
    reservation.listener.into_iter().chain(owner)
}

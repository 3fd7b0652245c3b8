//! Whose listener it is: what the machine shows, and what the key policy says where that leaves a
//! doubt.

use std::collections::HashMap;

use super::observe::{Directories, hints};
use super::{Engine, Listed, strategy};
use crate::observed::{
    Because, Containers, Holder, Holders, Listening, Liveness, Observed, Ownership, Presence,
    Verdict,
};
use crate::place::Place;
use crate::policy::{KeyDerivation, KeyRequest};
use crate::port::PortSet;
use crate::reservation::{Label, Realm, Reservation};

impl Engine<'_> {
    /// The containers that publish `ports`. Asking takes a while: nobody does who only wants a port.
    pub(super) fn containers(&self, ports: &PortSet) -> Containers {
        self.system.containers(&self.home.containers, ports)
    }

    /// One reservation, and all that can be found out about who listens on its port.
    pub(super) fn listed(&self, reservation: Reservation) -> Listed {
        let mut standing = self.standing(&reservation);
        let containers = self.containers(&[reservation.port].into_iter().collect());
        if let Some(containers) = containers.into_values().next() {
            standing.holder.get_or_insert_default().containers = containers;
        }
        let owner = self.owner_liveness(&reservation);
        let ownership =
            standing.holder.as_ref().map(|holder| self.judge(&reservation, holder, owner));
        if let Some(ownership) = &ownership {
            standing.listening = ownership.listening;
        }
        let observed = self.observed(reservation, &standing);
        Listed { observed, holder: standing.holder, ownership }
    }

    /// Looks at many reservations at once, like [`Engine::observe`], knowing the containers that
    /// publish their ports.
    pub(super) fn look(
        &self,
        reservations: Vec<Reservation>,
        directories: Directories,
        mut containers: Containers,
    ) -> Vec<Listed> {
        let ports: PortSet = reservations.iter().map(|reservation| reservation.port).collect();
        let hints: Vec<_> = reservations.iter().flat_map(hints).collect();
        let mut holders = if reservations.is_empty() {
            Some(Holders::new())
        } else {
            self.system
                .holders(&ports, &hints)
                .inspect_err(|error| tracing::debug!(%error, "socket tables cannot be read"))
                .ok()
        };
        let mut presence = HashMap::new();
        let listed = reservations.into_iter().map(|reservation| {
            let directory = match directories {
                Directories::Unseen => Presence::Unknown,
                Directories::Seen => *presence
                    .entry(reservation.directory.clone())
                    .or_insert_with(|| self.system.presence(&reservation.directory)),
            };
            let mut holder = holders.as_mut().and_then(|holders| holders.remove(&reservation.port));
            if let Some(containers) = containers.remove(&reservation.port) {
                holder.get_or_insert_default().containers = containers;
            }
            let owner = self.owner_liveness(&reservation);
            let ownership = holder.as_ref().map(|holder| self.judge(&reservation, holder, owner));
            let listening = match (&holders, &ownership) {
                (_, Some(ownership)) => ownership.listening,
                (None, None) => Listening::Unknown,
                (Some(_), None) => Listening::None,
            };
            let observed = Observed { reservation, directory, owner, listening };
            Listed { observed, holder, ownership }
        });
        listed.collect()
    }

    /// Whose listeners stand behind `holder`. A key policy may give the directories of several
    /// checkouts one key: then what runs in any of them is the reservation's own.
    pub(super) fn judge(
        &self,
        reservation: &Reservation,
        holder: &Holder,
        owner: Option<Liveness>,
    ) -> Ownership {
        let judged = reservation.judge(holder, owner);
        if judged.listening != Listening::Foreign || is_of_one_directory(reservation) {
            return judged;
        }
        let processes = holder.processes.iter().map(|process| process.workplace());
        let processes = processes.map(|workplace| workplace.map(|(_, place)| place));
        let containers = holder.containers.iter().map(|container| container.place.as_ref());
        let processes = self.judge_keys(reservation, judged.processes, processes);
        let containers = self.judge_keys(reservation, judged.containers, containers);
        Ownership::new(holder, processes, containers)
    }

    /// Corrects verdicts about strangers who work where the reservation's key is derived as well.
    fn judge_keys<'p>(
        &self,
        reservation: &Reservation,
        verdicts: Vec<Verdict>,
        places: impl Iterator<Item = Option<&'p Place>>,
    ) -> Vec<Verdict> {
        let corrected = verdicts.into_iter().zip(places).map(|(verdict, place)| {
            let Some(place) = place.filter(|_| verdict.because == Because::Elsewhere) else {
                return verdict;
            };
            let (listening, because) = match self.has_key(place, reservation) {
                Ok(true) => (Listening::Mine, Because::SameKey),
                Ok(false) => (Listening::Foreign, Because::Elsewhere),
                Err(Unproven) => (Listening::Unknown, Because::Unproven),
            };
            Verdict { listening, because, ..verdict }
        });
        corrected.collect()
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

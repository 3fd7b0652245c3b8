//! `release`, `lock` and `unlock`: what is done to reservations that are there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Engine, Error, Notice, ReleaseRequest, Target};
use crate::event::Change;
use crate::ledger::Ledger;
use crate::observed::Listening;
use crate::place::CheckoutKind;
use crate::port::PortSet;
use crate::reservation::{Lease, Reservation, Scope, Service};

impl Engine<'_> {
    /// Gives reservations back. The answer is what was released, or would be in a dry run.
    ///
    /// All or none: one that is locked, or belongs to another directory, refuses them all unless
    /// `force` is given.
    pub fn release(&self, request: &ReleaseRequest) -> Result<Vec<Change>, Error> {
        let targets = self.locate_targets(&request.target)?;
        let plan = |ledger: &Ledger| {
            let reservations = self.find_targets(ledger, &targets)?;
            if !request.force {
                if matches!(request.target, Target::Below) {
                    self.may_release_below(&reservations)?;
                }
                let may = |reservation| self.may_release(reservation, request.elsewhere);
                reservations.iter().try_for_each(may)?;
            }
            let reason = "asked to".to_owned();
            let release = |reservation| Change::Released {
                reservation,
                policy: None,
                reason: reason.clone(),
            };
            Ok::<_, Error>(reservations.into_iter().map(release).collect::<Vec<_>>())
        };
        let Some(ledger) = self.ledger()? else { return Err(nothing(&request.target)) };
        if request.dry_run {
            return plan(&ledger);
        }
        // What is not there needs no lock to be told.
        self.find_targets(&ledger, &targets)?;
        drop(ledger);
        self.writing(|ledger| {
            let changes = ledger.as_ref().map_or_else(|| Err(nothing(&request.target)), plan)?;
            let served = changes
                .iter()
                .map(Change::reservation)
                .filter(|reservation| self.standing(reservation).listening == Listening::Mine);
            let served: Vec<_> = served.map(|reservation| reservation.port).collect();
            self.commit(ledger, &changes, false)?;
            for port in served {
                self.tell(&Notice::ReleasedWhileServed { port });
            }
            Ok(changes)
        })
    }

    /// Gives back what was reserved for a process that has ended: what is still as `reservations` say,
    /// ephemeral and owned by that process, neither locked nor served. The answer is what was
    /// released.
    pub fn release_ended(&self, reservations: &[Reservation]) -> Result<Vec<Change>, Error> {
        if reservations.is_empty() {
            return Ok(Vec::new());
        }
        self.writing(|ledger| {
            let Some(found) = &ledger else { return Ok(Vec::new()) };
            let mut changes = Vec::new();
            for old in reservations {
                let Some(reservation) = found.find(&old.key)? else { continue };
                let is_same = (reservation.port, &reservation.owner) == (old.port, &old.owner);
                // Who has bound it and does not listen is somebody else.
                let unserved = || {
                    let standing = self.standing(&reservation);
                    standing.listening == Listening::Foreign || standing.holder.is_none()
                };
                if is_same
                    && reservation.lease == Lease::Ephemeral
                    && !reservation.locked
                    && unserved()
                {
                    let reason = "its process has ended".to_owned();
                    changes.push(Change::Released { reservation, policy: None, reason });
                }
            }
            self.commit(ledger, &changes, false)?;
            Ok(changes)
        })
    }

    /// Locks or unlocks reservations: all or none. A locked reservation keeps its port whatever
    /// policies say. The answer is how they are now.
    pub fn set_lock(&self, target: &Target, locked: bool) -> Result<Vec<Reservation>, Error> {
        let targets = self.locate_targets(target)?;
        let Some(ledger) = self.ledger()? else { return Err(nothing(target)) };
        self.find_targets(&ledger, &targets)?;
        drop(ledger);
        self.writing(|ledger| {
            let Some(found) = &ledger else { return Err(nothing(target)) };
            let mut reservations = self.find_targets(found, &targets)?;
            let mut changes = Vec::new();
            for reservation in reservations.iter_mut().filter(|it| it.locked != locked) {
                reservation.locked = locked;
                changes.push(match locked {
                    true => Change::Locked(reservation.clone()),
                    false => Change::Unlocked(reservation.clone()),
                });
            }
            self.commit(ledger, &changes, false)?;
            Ok(reservations)
        })
    }

    /// What a target means here, before the ledger is looked at.
    fn locate_targets(&self, target: &Target) -> Result<Located, Error> {
        Ok(match target {
            Target::Services(services, scope) => {
                let keys = self.keys(services, *scope, false)?;
                let keys = keys.into_iter().map(|(key, _)| key);
                Located::Keys(services.iter().cloned().zip(keys).collect())
            }
            other => Located::Matching(other.clone()),
        })
    }

    /// The reservations that are meant, each once.
    fn find_targets(&self, ledger: &Ledger, targets: &Located) -> Result<Vec<Reservation>, Error> {
        let mut found = self.find_named(ledger, targets)?;
        let mut seen = PortSet::new();
        found.retain(|reservation| seen.insert(reservation.port));
        Ok(found)
    }

    fn find_named(&self, ledger: &Ledger, targets: &Located) -> Result<Vec<Reservation>, Error> {
        let target = match targets {
            Located::Keys(keys) => {
                let find = |(service, key)| match ledger.find(key)? {
                    Some(reservation) => Ok(reservation),
                    None => Err(missing(service)),
                };
                return keys.iter().map(|(service, key)| find((service, key))).collect();
            }
            Located::Matching(target) => target,
        };
        if let Target::Ports(ports) = target {
            let find = |port| match ledger.at(port)? {
                Some(reservation) => Ok(reservation),
                None => Err(Error::NotFound {
                    what: format!("port {port} is not reserved"),
                    hint: Some("hythe list".to_owned()),
                }),
            };
            return ports.iter().copied().map(find).collect();
        }
        let mut reservations = ledger.reservations()?;
        reservations.retain(|reservation| match target {
            Target::Here => reservation.directory == self.place.root(),
            Target::Below => reservation.directory.starts_with(&self.place.directory),
            Target::Project(project) => reservation.project.as_ref() == Some(project),
            Target::Services(..) | Target::Ports(_) => false,
        });
        if reservations.is_empty() { Err(nothing(target)) } else { Ok(reservations) }
    }

    /// Whether what is below this directory may go with it: nothing of other checkouts, and not
    /// everything that the user has.
    fn may_release_below(&self, reservations: &[Reservation]) -> Result<(), Error> {
        let here = &self.place.directory;
        let everything = self.config.home().is_some_and(|home| home.starts_with(here))
            || here.parent().is_none();
        let what = if everything {
            let directories = reservations.iter().map(|reservation| reservation.directory.clone());
            format!(
                "{} contains the home directory: everything would go, {} in all, of {}",
                here.display(),
                reservations.len(),
                told(&directories.collect())
            )
        } else {
            let others = reservations.iter().filter(|it| it.scope == Scope::Directory);
            let others: Vec<_> =
                others.filter_map(|it| self.other_checkout(&it.directory)).collect();
            if others.is_empty() {
                return Ok(());
            }
            format!(
                "reservations of other checkouts are below {}, {} of {}: {}",
                here.display(),
                others.len(),
                reservations.len(),
                told(&others.into_iter().collect())
            )
        };
        let hint = "hythe release --recursive --force --dry-run, which shows all that would go";
        Err(Error::Refused { what, hint: Some(hint.to_owned()) })
    }

    /// The checkout that a directory below this one is in, when that is not the one that this one is
    /// in. A submodule is a part of the checkout around it.
    fn other_checkout(&self, directory: &Path) -> Option<PathBuf> {
        let here = self.place.checkout.as_ref().map(|checkout| &checkout.root);
        // What is gone was a part of what is still there around it.
        let mut place = directory.ancestors().find_map(|it| self.system.locate(it).ok())?;
        loop {
            let checkout = place.checkout.filter(|checkout| Some(&checkout.root) != here)?;
            let above = checkout.root.parent().and_then(|above| self.system.locate(above).ok());
            match above {
                Some(above) if checkout.kind == CheckoutKind::Submodule => place = above,
                _ => return Some(checkout.root),
            }
        }
    }

    fn may_release(&self, reservation: &Reservation, elsewhere: bool) -> Result<(), Error> {
        let Reservation { port, service, directory, .. } = reservation;
        let refused = |why: String| {
            Err(Error::Refused {
                what: format!("port {port} (`{service}`) is not released: {why}"),
                hint: Some(format!("hythe release --port {port} --force")),
            })
        };
        if reservation.locked {
            return refused("it is locked".to_owned());
        }
        let mine = [self.place.root(), &self.place.directory];
        let related = |mine: &&Path| directory.starts_with(mine);
        let of_here = reservation.scope != Scope::Directory || mine.iter().any(related);
        if !of_here && !elsewhere {
            return refused(format!("it belongs to {}", directory.display()));
        }
        Ok(())
    }
}

/// The first of the paths, and how many more there are.
fn told(paths: &BTreeSet<PathBuf>) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<_> = paths.iter().take(SHOWN).map(|path| path.display().to_string()).collect();
    let more = paths.len() - shown.len();
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", shown.join(", "))
}

enum Located {
    Keys(Vec<(Service, crate::reservation::Key)>),
    Matching(Target),
}

pub(super) fn missing(service: &Service) -> Error {
    Error::NotFound {
        what: format!("`{service}` has no reservation here"),
        hint: Some(format!("hythe reserve {service}")),
    }
}

fn nothing(target: &Target) -> Error {
    let what = match target {
        Target::Services(services, _) => {
            return missing(services.first().unwrap_or(&Service::default()));
        }
        Target::Ports(ports) => match ports.first() {
            Some(port) => format!("port {port} is not reserved"),
            None => "no port is named".to_owned(),
        },
        Target::Here => "this directory has no reservation".to_owned(),
        Target::Below => "neither this directory nor one below it has a reservation".to_owned(),
        Target::Project(project) => format!("project `{project}` has no reservation"),
    };
    Error::NotFound { what, hint: Some("hythe list".to_owned()) }
}

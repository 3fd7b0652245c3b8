//! `move`: reservations follow their directory.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::{Engine, Error};
use crate::event::Change;
use crate::ledger::Ledger;
use crate::reservation::{Realm, Reservation, Scope};
use crate::shell;

/// Says that a directory was moved. Both paths are absolute.
#[derive(Debug, Clone)]
pub struct RelocateRequest {
    /// Where it was; nothing need be there any more.
    pub from: PathBuf,
    /// Where it is.
    pub to: PathBuf,
    /// Whether what is still there counts as moved.
    pub force: bool,
    /// Whether nothing is to be written.
    pub dry_run: bool,
}

/// What followed a directory, or would in a dry run.
#[derive(Debug, Clone, Default)]
pub struct Relocated {
    /// The changes, by port: each is [`Change::Relocated`].
    pub changes: Vec<Change>,
    /// The reservations of directories below the old one that are not below the new one. They stay.
    pub left: Vec<Reservation>,
}

/// From where to where, as the ledger writes directories.
struct Route {
    from: PathBuf,
    to: PathBuf,
    force: bool,
}

/// Hythe as it is in each directory that something was moved to; `None` for one that is not there.
type Destinations<'a> = BTreeMap<PathBuf, Option<Engine<'a>>>;

impl<'a> Engine<'a> {
    /// Lets the reservations of a directory that was moved, and of those below it, keep their ports.
    ///
    /// Each gets its directory's new path, and one that belongs to its directory gets the key that is
    /// derived there now. All or none: a key that has a port already refuses them all.
    pub fn relocate(&self, request: &RelocateRequest) -> Result<Relocated, Error> {
        let unusable = |error| Error::Place { path: request.to.clone(), error };
        let to = self.system.locate(&request.to).map_err(unusable)?.directory;
        let from = self.former(&request.from, &to);
        if from == to {
            return Err(Error::Usage(format!("{} is where it was", to.display())));
        }
        let route = Route { from, to, force: request.force };
        let Some(ledger) = self.ledger()? else { return Err(route.empty()) };
        let mut destinations = Destinations::new();
        // Once before the lock: the policies that are needed are loaded then.
        let relocated = self.relocation(&ledger, &route, &mut destinations)?;
        if request.dry_run {
            return Ok(relocated);
        }
        drop(ledger);
        self.writing(|ledger| {
            let Some(known) = &ledger else { return Err(route.empty()) };
            let relocated = self.relocation(known, &route, &mut destinations)?;
            self.commit(ledger, &relocated.changes, false)?;
            Ok(relocated)
        })
    }

    /// A path that may lead nowhere any more, as the ledger would have it: symbolic links are
    /// resolved as far as there is something. One that was left behind and leads to `to` is not.
    fn former(&self, path: &Path, to: &Path) -> PathBuf {
        let path = lexical(path);
        for ancestor in path.ancestors() {
            match self.system.locate(ancestor) {
                Ok(place) if ancestor == path && place.directory != to => return place.directory,
                Ok(place) if ancestor != path => {
                    let rest = path.strip_prefix(ancestor).unwrap_or(&path);
                    return place.directory.join(rest);
                }
                _ => {}
            }
        }
        path
    }

    fn relocation(
        &self,
        ledger: &Ledger,
        route: &Route,
        destinations: &mut Destinations<'a>,
    ) -> Result<Relocated, Error> {
        let (moving, mut staying): (Vec<_>, Vec<_>) =
            ledger.reservations()?.into_iter().partition(|it| route.takes(&it.directory));
        if moving.is_empty() {
            return Err(route.empty());
        }
        // A link to the new place may have been left behind.
        let stands = || self.system.locate(&route.from).is_ok_and(|it| it.directory == route.from);
        if !route.force && stands() {
            return Err(route.copied());
        }
        let mut relocated = Relocated::default();
        for reservation in moving {
            let target = route.follow(&reservation.directory);
            if !destinations.contains_key(&target) {
                destinations.insert(target.clone(), self.destination(&target)?);
            }
            let Some(Some(destination)) = destinations.get(&target) else {
                staying.push(reservation.clone());
                relocated.left.push(reservation);
                continue;
            };
            let mut to = reservation.clone();
            destination.place().root().clone_into(&mut to.directory);
            match (to.scope, &mut to.key.realm) {
                (Scope::Directory, _) => destination.derive_anew(&mut to)?,
                (_, Realm::Project(project)) if project.starts_with(&route.from) => {
                    *project = route.follow(project);
                }
                _ => {}
            }
            relocated.changes.push(Change::Relocated { from: reservation.directory, to });
        }
        if relocated.changes.is_empty() {
            return Err(route.strange());
        }
        no_key_twice(&relocated.changes, &staying)?;
        Ok(relocated)
    }

    fn destination(&self, path: &Path) -> Result<Option<Self>, Error> {
        let place = match self.system.locate(path) {
            Ok(place) => place,
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => return Ok(None),
                _ => return Err(Error::Place { path: path.to_owned(), error }),
            },
        };
        let config = self.config.elsewhere(&self.home.config, &place)?;
        Ok(Some(self.at(place, config)))
    }

    /// Gives a reservation the key that a request from here would derive.
    fn derive_anew(&self, reservation: &mut Reservation) -> Result<(), Error> {
        let keys = self.keys([&reservation.service], Some(reservation.scope), false)?;
        if let Some((key, _)) = keys.into_iter().next() {
            reservation.key = key;
            reservation.strategy.key = self.key_policy()?.plugin().label();
        }
        Ok(())
    }
}

impl Route {
    /// Whether what belongs to `directory` is moved. What is there already is not, where the new
    /// place lies within the old one.
    fn takes(&self, directory: &Path) -> bool {
        let arrived = self.to.starts_with(&self.from) && directory.starts_with(&self.to);
        directory.starts_with(&self.from) && !arrived
    }

    /// Where `directory` is now.
    fn follow(&self, directory: &Path) -> PathBuf {
        // Component by component: joining nothing would add a slash.
        let below = directory.strip_prefix(&self.from).unwrap_or(Path::new("")).components();
        self.to.components().chain(below).collect()
    }

    fn empty(&self) -> Error {
        Error::NotFound {
            what: format!("nothing is reserved for {} or below it", self.from.display()),
            hint: Some("hythe list".to_owned()),
        }
    }

    fn strange(&self) -> Error {
        Error::NotFound {
            what: format!(
                "none of the directories of {} that have reservations is below {}",
                self.from.display(),
                self.to.display()
            ),
            hint: Some(format!("hythe list --below {}", word(&self.from))),
        }
    }

    fn copied(&self) -> Error {
        Error::Refused {
            what: format!(
                "{} is still there: a copy gets ports of its own, and what stays keeps its own",
                self.from.display()
            ),
            hint: Some(format!("hythe move --force {} {}", word(&self.from), word(&self.to))),
        }
    }
}

/// Refuses a key that would have two ports.
fn no_key_twice(changes: &[Change], staying: &[Reservation]) -> Result<(), Error> {
    let mut holders: BTreeMap<_, _> =
        staying.iter().map(|reservation| (&reservation.key, reservation)).collect();
    for to in changes.iter().map(Change::reservation) {
        let Some(holder) = holders.insert(&to.key, to) else { continue };
        return Err(Error::Refused {
            what: format!(
                "port {} (`{}`) cannot follow to {}: port {} is reserved for that already",
                to.port,
                to.service,
                to.directory.display(),
                holder.port
            ),
            hint: Some(format!("hythe release --port {} --force", holder.port)),
        });
    }
    Ok(())
}

/// `path` without `.` and `..`, as text: there may be nothing to ask about links.
fn lexical(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut path, component| {
        match component {
            Component::ParentDir => {
                path.pop();
            }
            Component::CurDir => {}
            other => path.push(other),
        }
        path
    })
}

fn word(path: &Path) -> String {
    shell::word(&path.to_string_lossy())
}

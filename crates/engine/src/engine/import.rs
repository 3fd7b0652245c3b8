//! `export` and `import`: the ledger as a document, and what another ledger or tool keeps.

mod report;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

pub use report::{Fate, ImportNote, ImportReport, ImportRequest, ImportedEntry};

use super::replace::replace;
use super::{Engine, Error, strategy};
use crate::event::Change;
use crate::export::Holdings;
use crate::import::{
    self, Belongs, Candidate, Entry, Found, Record, Settled, Tool, Translation, Unfit,
};
use crate::ledger::Ledger;
use crate::placement::{Filter, Refusal};
use crate::policy::{KeyDerivation, KeyRequest};
use crate::port::{Port, PortSet};
use crate::reservation::{
    Key, Label, Lease, Owner, Provenance, ReleasedPort, Reservation, Scope, Service,
};
use crate::time::Timestamp;

/// What is to be imported, before the ledger is looked at.
struct Wanted {
    entries: Vec<ImportedEntry>,
    /// Whether the entry at the same place was meant for the very directory it belongs to.
    exact: Vec<bool>,
    released: Vec<ReleasedPort>,
}

impl Engine<'_> {
    /// The whole ledger as one document.
    pub fn export(&self) -> Result<Value, Error> {
        Ok(self.holdings()?.document())
    }

    /// Writes `bytes` to `file`, whole or not at all. A relative path starts from this directory.
    pub fn write_export(&self, file: &Path, bytes: &[u8]) -> Result<(), Error> {
        let path = self.place.directory.join(file);
        replace(&path, bytes).map_err(|error| Error::File { path, error })
    }

    fn holdings(&self) -> Result<Holdings, Error> {
        let Some(ledger) = self.ledger()? else { return Ok(Holdings::default()) };
        let (reservations, released) = (ledger.reservations()?, ledger.released_ports()?);
        Ok(Holdings { reservations, released })
    }

    /// What the settings of another tool are as Hythe's configuration. Writes nothing.
    pub fn translate(&self, tool: Tool, path: &Path) -> Result<Translation, Error> {
        Ok(import::translate(tool, path)?)
    }

    /// Imports the reservations of another ledger or tool. Nothing that is there is overwritten: all
    /// of them are imported, or none, unless conflicts are to be skipped.
    pub fn import(&self, request: &ImportRequest) -> Result<ImportReport, Error> {
        let wanted = match import::read(request.tool, &request.path)? {
            Found::Holdings(holdings) => own(holdings),
            Found::Entries(entries) => self.wanted(entries),
        };
        let settle = |ledger: Option<&Ledger>| self.settled(ledger, &wanted, request);
        let (report, changes, released) = settle(self.ledger()?.as_ref())?;
        let nothing = changes.is_empty() && released.is_empty();
        if request.dry_run || report.refused || nothing {
            return Ok(report);
        }
        self.writing(|ledger| {
            let now = self.system.now();
            let ledger = match ledger {
                Some(ledger) => Some(ledger),
                None => {
                    Ledger::create(&self.ledger_path(), now, &[], false)?;
                    Ledger::open_for_writing(&self.ledger_path())?
                }
            };
            let (report, changes, released) = settle(ledger.as_ref())?;
            if let Some(mut ledger) = ledger.filter(|_| !report.refused) {
                let events = ledger.import(now, &changes, &released)?;
                self.untold.borrow_mut().extend(events);
                tracing::debug!(changes = changes.len(), released = released.len(), "imported");
            }
            Ok(report)
        })
    }

    /// What becomes of everything beside what is in the ledger, and what is to be written.
    fn settled(
        &self,
        ledger: Option<&Ledger>,
        wanted: &Wanted,
        request: &ImportRequest,
    ) -> Result<(ImportReport, Vec<Change>, Vec<ReleasedPort>), Error> {
        let there = ledger.map_or(Ok(Vec::new()), Ledger::reservations)?;
        let gone = ledger.map_or(Ok(Vec::new()), Ledger::released_ports)?;
        let mut entries = wanted.entries.clone();
        let (mut open, mut candidates) = (Vec::new(), Vec::new());
        for (at, (entry, exact)) in entries.iter().zip(&wanted.exact).enumerate() {
            if let (Fate::Imported, Some(reservation)) = (&entry.fate, &entry.reservation) {
                open.push(at);
                candidates.push(Candidate { reservation: reservation.clone(), exact: *exact });
            }
        }
        for (at, settled) in open.into_iter().zip(import::settle(&there, &candidates)) {
            entries[at].fate = match settled {
                Settled::Imported => Fate::Imported,
                Settled::Existing => Fate::Existing,
                Settled::Conflict(why) => Fate::Conflict(why),
            };
        }
        let conflicts = entries.iter().any(|entry| matches!(entry.fate, Fate::Conflict(_)));
        let refused = conflicts && !request.skip_conflicts;
        let mut changes = Vec::new();
        for entry in entries.iter_mut().filter(|entry| entry.fate == Fate::Imported) {
            let Some(reservation) = entry.reservation.clone() else { continue };
            if request.tool != Tool::Hythe && self.is_frozen(&gone, &reservation) {
                entry.notes.push(ImportNote::Frozen);
            }
            changes.push(Change::Imported { reservation, from: request.tool.to_string() });
        }
        let taken: PortSet = there
            .iter()
            .map(|reservation| reservation.port)
            .chain(gone.iter().map(|released| released.port))
            .chain(changes.iter().map(|change| change.reservation().port))
            .collect();
        let mut released = wanted.released.clone();
        released.retain(|released| !taken.contains(released.port));
        Ok((ImportReport { entries, released: released.len(), refused }, changes, released))
    }

    /// Whether another key gave the port back within the freeze period.
    fn is_frozen(&self, gone: &[ReleasedPort], reservation: &Reservation) -> bool {
        let freeze = self.settings().ports.freeze.value;
        let now = self.system.now();
        gone.iter().any(|released| {
            released.port == reservation.port
                && released.key != reservation.key
                && released.released_at.distance(now) < freeze
        })
    }

    /// What each entry would be here.
    fn wanted(&self, entries: Vec<Entry>) -> Wanted {
        let mut places: BTreeMap<Belongs, Vec<usize>> = BTreeMap::new();
        let mut wanted = Wanted { entries: Vec::new(), exact: Vec::new(), released: Vec::new() };
        let mut records = Vec::new();
        for (at, Entry { what, port, record }) in entries.into_iter().enumerate() {
            let (fate, record) = match (port, record) {
                (_, Err(Unfit::Nothing(why))) => (Fate::Skipped(why), None),
                (_, Err(Unfit::Lost(why))) => (Fate::Conflict(why), None),
                (None, Ok(_)) => (Fate::Conflict("it has no port".to_owned()), None),
                (Some(port), Ok(record)) => (Fate::Imported, Some((port, record))),
            };
            if let Some((_, record)) = &record {
                places.entry(record.belongs.clone()).or_default().push(at);
            }
            records.push(record);
            wanted.exact.push(false);
            wanted.entries.push(ImportedEntry {
                what,
                port,
                reservation: None,
                fate,
                notes: Vec::new(),
            });
        }
        for (belongs, members) in places {
            let engine = self.engine_for(&belongs);
            for at in members {
                let Some((port, record)) = records[at].take() else { continue };
                let made = match &engine {
                    Ok(engine) => engine.imported(port, record),
                    Err(fate) => Err(fate.clone()),
                };
                match made {
                    Ok((reservation, notes, exact)) => {
                        wanted.exact[at] = exact;
                        wanted.entries[at].reservation = Some(reservation);
                        wanted.entries[at].notes = notes;
                    }
                    Err(fate) => wanted.entries[at].fate = fate,
                }
            }
        }
        wanted
    }

    /// Hythe as it is where something belongs: in the directory or, for a project that lies anywhere,
    /// in the home directory, where the user's word alone counts.
    fn engine_for(&self, belongs: &Belongs) -> Result<Self, Fate> {
        let directory = match belongs {
            Belongs::Directory(directory) => directory.as_path(),
            Belongs::Project(_) => self.config.home().unwrap_or(&self.place.directory),
        };
        let engine = self.elsewhere(directory);
        engine.map_err(|error| match error {
            Error::Place { error, .. } => Fate::Skipped(match error.kind() {
                std::io::ErrorKind::NotFound => "its directory is gone".to_owned(),
                _ => format!("its directory cannot be used: {error}"),
            }),
            error => Fate::Conflict(error.to_string()),
        })
    }

    /// What a record would be in this place, what is worth knowing about it, and whether it was meant
    /// for the very directory that it would belong to.
    fn imported(
        &self,
        port: Port,
        record: Record,
    ) -> Result<(Reservation, Vec<ImportNote>, bool), Fate> {
        let Record { belongs, service, renamed, .. } = record;
        let scope = match belongs {
            Belongs::Directory(_) => self.scope(&service, None),
            Belongs::Project(_) => Scope::Project,
        };
        let project = record.project.or_else(|| self.project());
        let (key, policy) = self
            .key_of(scope, &service, project.as_ref())
            .map_err(|error| Fate::Conflict(error.to_string()))?;
        let mut notes = self.judged(port).map_err(Fate::Conflict)?;
        notes.extend(renamed.map(ImportNote::Renamed));
        let root = self.place.root().to_owned();
        let mut exact = true;
        if let Belongs::Directory(directory) = belongs
            && scope == Scope::Directory
            && self.place.directory != root
        {
            exact = false;
            notes.push(ImportNote::Widened(directory));
        }
        let owner = record.process.and_then(|(pid, at)| self.proven_owner(pid, at));
        let lease = match (record.lease, &owner) {
            (Lease::Ephemeral, None) => {
                notes.push(ImportNote::Unbound);
                Lease::Persistent
            }
            (lease, _) => lease,
        };
        let reservation = Reservation {
            port,
            key,
            scope,
            directory: root,
            service,
            project,
            task: record.task.or_else(|| self.task().filter(|_| scope == Scope::Directory)),
            agent: record.agent,
            lease,
            locked: record.locked,
            owner,
            created_at: record.created_at,
            last_used_at: record.last_used_at,
            ttl: None,
            strategy: Provenance { key: policy, selection: "imported".to_owned() },
            listener: None,
        };
        Ok((reservation, notes, exact))
    }

    fn key_of(
        &self,
        scope: Scope,
        service: &Service,
        project: Option<&Label>,
    ) -> Result<(Key, String), Error> {
        let policy = self.key_policy()?;
        let text = policy.derive(&KeyRequest { scope, service, place: &self.place, project })?;
        let realm = strategy::realm(self.settings(), &self.settings().strategy.key.value);
        Ok((Key { realm, text }, policy.plugin().label()))
    }

    /// Whether a port that another tool gave may be kept: what nobody could use, or the configuration
    /// forbids, may not.
    fn judged(&self, port: Port) -> Result<Vec<ImportNote>, String> {
        let filter: Filter = self.filter(PortSet::new(), PortSet::new());
        let mut notes = Vec::new();
        match filter.refusal(port) {
            None => {}
            Some(Refusal::Ephemeral) => notes.push(ImportNote::Ephemeral),
            Some(refusal) => return Err(format!("the port is {refusal}")),
        }
        if !filter.range.contains(port) {
            notes.push(ImportNote::OutsideRange);
        }
        Ok(notes)
    }

    /// The process that held this pid at that time, if it still runs: one that started before has held
    /// it ever since, and one that started later is another.
    fn proven_owner(&self, pid: u32, at: Timestamp) -> Option<Owner> {
        self.system.identify(pid).filter(|process| process.started_at <= at)
    }
}

/// What Hythe itself wrote is taken as it is.
fn own(holdings: Holdings) -> Wanted {
    let Holdings { reservations, released } = holdings;
    let entry = |reservation: Reservation| ImportedEntry {
        what: format!("{} {}", reservation.directory.display(), reservation.service),
        port: Some(reservation.port),
        reservation: Some(reservation),
        fate: Fate::Imported,
        notes: Vec::new(),
    };
    let exact = vec![true; reservations.len()];
    Wanted { entries: reservations.into_iter().map(entry).collect(), exact, released }
}

//! What must hold after every operation, whatever the reference says: seen from the ledger before,
//! the ledger after, and the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use hythe_engine::{
    Event, EventFilter, EventKind, Ledger, Listening, Port, Reservation, System, Timestamp,
    browser_blocked,
};

use super::configuration::CONFIGURED;
use super::scene::Scene;

/// The state directory at one time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    pub(crate) files: BTreeMap<OsString, Vec<u8>>,
    pub(crate) held: BTreeMap<String, Reservation>,
    pub(crate) rows: usize,
    pub(crate) cleaned_at: Timestamp,
    pub(crate) last_event: i64,
}

impl Snapshot {
    /// Reads the state directory, and the events since `after`.
    pub(crate) fn take(state: &Path, after: i64) -> (Self, Vec<Event>) {
        let mut snapshot = Self { last_event: after, ..Self::default() };
        for entry in fs::read_dir(state).into_iter().flatten() {
            let entry = entry.unwrap();
            snapshot.files.insert(entry.file_name(), fs::read(entry.path()).unwrap());
        }
        let Some(ledger) = Ledger::open(&state.join("ledger.db")).unwrap() else {
            return (snapshot, Vec::new());
        };
        let rows = ledger.reservations().unwrap();
        snapshot.rows = rows.len();
        snapshot.held = rows.into_iter().map(|row| (row.key.text.clone(), row)).collect();
        snapshot.cleaned_at = ledger.cleaned_at().unwrap();
        let filter = EventFilter { after: Some(after), ..EventFilter::default() };
        let events = ledger.events(&filter).unwrap();
        snapshot.last_event = events.last().map_or(after, |event| event.id);
        (snapshot, events)
    }
}

/// One operation that is over.
pub(crate) struct Done<'a> {
    pub(crate) scene: Scene<'a>,
    pub(crate) before: &'a Snapshot,
    pub(crate) after: &'a Snapshot,
    pub(crate) events: &'a [Event],
    /// Which key gave each port back, and when, before the operation.
    pub(crate) left: &'a BTreeMap<Port, (String, Timestamp)>,
    /// The ports that the operation names.
    pub(crate) asked: &'a [Port],
    /// Whether it asks for other ports.
    pub(crate) reallocate: bool,
}

type Verdict = Result<(), String>;

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(what()) }
}

/// Nothing was written: not by a reader, a dry run or a failure. Who meant to write has left the
/// file of the lock, no more.
pub(crate) fn nothing_written(before: &Snapshot, after: &Snapshot, locks: bool) -> Verdict {
    let mut files = before.files.clone();
    if let Some(lock) = after.files.get_key_value(&OsString::from("ledger.lock")).filter(|_| locks)
    {
        files.insert(lock.0.clone(), Vec::new());
    }
    let names = |files: &BTreeMap<OsString, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    ensure(files == after.files, || {
        format!("it wrote: {:?} became {:?}, or other bytes", names(&files), names(&after.files))
    })
}

impl Done<'_> {
    pub(crate) fn check(&self) -> Verdict {
        self.no_two_share()?;
        self.a_new_block_stands_together()?;
        self.every_change_is_an_event()?;
        for event in self.events {
            match event.kind {
                EventKind::Reserved | EventKind::Returned => self.may_be_given(event)?,
                EventKind::Moved => {
                    self.may_be_given(event)?;
                    self.may_be_moved(event)?;
                }
                EventKind::Released => self.may_be_released(event)?,
                EventKind::Updated | EventKind::Locked | EventKind::Unlocked => {}
            }
        }
        Ok(())
    }

    fn no_two_share(&self) -> Verdict {
        let held = &self.after.held;
        let ports: BTreeSet<_> = held.values().map(|held| held.port).collect();
        ensure(ports.len() == self.after.rows, || "two keys have the same port".to_owned())?;
        ensure(held.len() == self.after.rows, || "a key has two ports".to_owned())
    }

    /// Unless somebody names ports, what is reserved of a block that had none is at its offsets.
    fn a_new_block_stands_together(&self) -> Verdict {
        let member = |name: &str| self.scene.key(&name.parse().unwrap(), None).ok();
        let block: Vec<_> = self.scene.here().block.iter().collect();
        let keys = block.iter().filter_map(|(name, offset)| Some((member(name)?, *offset)));
        let keys: Vec<_> = keys.collect();
        if !self.asked.is_empty() || keys.iter().any(|(key, _)| self.before.held.contains_key(key))
        {
            return Ok(());
        }
        let held = keys.iter().filter_map(|(key, offset)| {
            Some(i32::from(self.after.held.get(key)?.port.get()) - i32::from(*offset))
        });
        let bases: BTreeSet<_> = held.collect();
        ensure(bases.len() <= 1, || format!("a block has the bases {bases:?}"))
    }

    /// Exactly one event for each key that changed in more than its last use.
    fn every_change_is_an_event(&self) -> Verdict {
        let now = self.scene.machine.now();
        let keys: BTreeSet<_> = self.before.held.keys().chain(self.after.held.keys()).collect();
        let mut expected = 0;
        for key in keys {
            let (before, after) = (self.before.held.get(key), self.after.held.get(key));
            let used = |held: &Reservation| Reservation {
                last_used_at: Timestamp::default(),
                listener: None,
                ..held.clone()
            };
            if before.map(used) == after.map(used) {
                continue;
            }
            expected += 1;
            let of_key: Vec<_> = self.events.iter().filter(|event| event.key == **key).collect();
            let [event] = of_key[..] else {
                return Err(format!("{} events about {key}", of_key.len()));
            };
            let fits = match (event.kind, before, after) {
                (EventKind::Reserved | EventKind::Returned, None, Some(after)) => {
                    event.port == after.port
                }
                (EventKind::Released, Some(before), None) => event.port == before.port,
                (EventKind::Moved, Some(before), Some(after)) => {
                    (event.from, event.port) == (Some(before.port), after.port)
                        && before.port != after.port
                        && before.created_at == after.created_at
                }
                (EventKind::Locked, Some(before), Some(after)) => !before.locked && after.locked,
                (EventKind::Unlocked, Some(before), Some(after)) => before.locked && !after.locked,
                (EventKind::Updated, Some(before), Some(after)) => before.port == after.port,
                _ => false,
            };
            ensure(fits && event.at == now, || format!("{event:?} does not tell what happened"))?;
        }
        ensure(self.events.len() == expected, || {
            format!("{} events about {expected} changes", self.events.len())
        })
    }

    /// The port was free, allowed and nobody else's.
    fn may_be_given(&self, event: &Event) -> Verdict {
        let Scene { machine, .. } = self.scene;
        let here = self.scene.here();
        let (port, number) = (event.port, event.port.get());
        let refuse =
            |why: &str| Err(format!("{} was given port {port}, which is {why}", event.key));
        let listened = machine.listeners(port).next().is_some();
        if listened || (machine.is_taken(port) && !machine.bind_forbidden) {
            return refuse("held");
        }
        if machine.bind_forbidden && machine.tables_unreadable {
            return refuse("unknown to be free");
        }
        let configured = here.service.as_ref().and_then(|service| service.port);
        let configured = event.service.as_str() == CONFIGURED && configured == Some(number);
        let inside = (here.range.0..=here.range.1).contains(&number);
        if !inside && !configured && !self.asked.contains(&port) {
            return refuse("outside the range");
        }
        if here.exclude.contains(&number) {
            return refuse("excluded");
        }
        let unsound = number < 1024
            || browser_blocked(port)
            || machine.ephemeral_range().is_some_and(|range| range.contains(port));
        if unsound && !here.allow.contains(&number) {
            return refuse("privileged, blocked or ephemeral");
        }
        let released_now = |port: Port| {
            self.events.iter().any(|other| other.kind == EventKind::Released && other.port == port)
        };
        let holder = self.before.held.values().find(|held| held.port == port);
        if holder.is_some() && !released_now(port) {
            return refuse("another key's");
        }
        let frozen = self.left.get(&port).is_some_and(|(key, at)| {
            *key != event.key && at.distance(event.at).as_millis() < u128::from(here.freeze) * 1000
        });
        if frozen && holder.is_none() {
            return refuse("frozen");
        }
        Ok(())
    }

    fn may_be_moved(&self, event: &Event) -> Verdict {
        let before = &self.before.held[&event.key];
        ensure(!before.locked, || format!("{} was moved although locked", event.key))?;
        ensure(self.reallocate || self.scene.probed(before) == Listening::Foreign, || {
            format!("{} was moved, and nobody is proven to hold its port", event.key)
        })
    }

    /// By a policy, neither what is locked nor what is being served.
    fn may_be_released(&self, event: &Event) -> Verdict {
        let Some(policy) = &event.policy else { return Ok(()) };
        let before = &self.before.held[&event.key];
        ensure(!before.locked, || format!("{policy} released {}, locked", event.key))?;
        let unserved = matches!(self.scene.listed(before), Listening::None | Listening::Foreign);
        ensure(unserved, || format!("{policy} released {}, perhaps served", event.key))
    }
}

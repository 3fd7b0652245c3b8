//! `watch`: events while they happen.

use std::time::Duration;

use super::{Engine, Error};
use crate::event::Event;
use crate::ledger::{EventFilter, Stamp, Stamps};
use crate::time::Timestamp;

/// The most events that are answered at once.
const BATCH: u32 = 1024;

/// Follows the ledger. It is asked again and again; asked while nothing has happened, it reads the
/// first bytes of one file. When it is dropped, no other thread of this process may have the ledger
/// open: SQLite's locks would be lost.
pub struct Watcher<'e, 'a> {
    engine: &'e Engine<'a>,
    stamps: Stamps,
    /// What is followed: `after` is the last event that was seen.
    filter: EventFilter,
    /// What is answered first.
    past: Vec<Event>,
    /// The ledger as it was when it was last read.
    read: Option<Stamp>,
    /// Whether there is no ledger since then.
    gone: bool,
    /// Whether there was more than could be answered at once.
    behind: bool,
    /// When it was last asked.
    asked: Timestamp,
}

impl<'a> Engine<'a> {
    /// Begins to follow what happens. With `past`, what `filter` admits of what has happened already
    /// comes first. Reads only, and creates nothing; where there is no ledger yet, it is waited for.
    pub fn watch<'e>(&'e self, filter: &EventFilter, past: bool) -> Result<Watcher<'e, 'a>, Error> {
        let mut watcher = Watcher {
            engine: self,
            stamps: Stamps::of(self.ledger_path()),
            filter: filter.clone(),
            past: Vec::new(),
            read: None,
            gone: false,
            behind: false,
            asked: self.system.now(),
        };
        // All of it, in batches, as if it happened now.
        let replayed = past && filter.limit.is_none();
        if !replayed && let Some(ledger) = self.ledger()? {
            watcher.filter.after = Some(ledger.last_event()?);
            watcher.past = if past { ledger.events(filter)? } else { Vec::new() };
            // While a reader has the ledger, nobody commits. It comes last: where this fails, nothing
            // may have opened the file that would now be closed, and take SQLite's locks with it.
            watcher.read = watcher.stamps.read()?;
        }
        tracing::debug!(after = watcher.filter.after, "watching");
        Ok(watcher)
    }
}

impl Watcher<'_, '_> {
    /// How long to wait before asking again: what happens is told this much later at most.
    pub const INTERVAL: Duration = Duration::from_millis(200);

    /// What has happened since it was last asked, oldest first: at most 1,024 events, unless more of
    /// the past was asked for. When the ledger is another one, what happened in that since then.
    pub fn poll(&mut self) -> Result<Vec<Event>, Error> {
        if !self.past.is_empty() {
            return Ok(std::mem::take(&mut self.past));
        }
        let asked = std::mem::replace(&mut self.asked, self.engine.system.now());
        let found = self.stamps.read()?;
        if found.is_some() && found == self.read && !self.gone && !self.behind {
            return Ok(Vec::new());
        }
        let ledger = if found.is_some() { self.engine.ledger()? } else { None };
        let (Some(found), Some(ledger)) = (found, ledger) else {
            self.gone = self.read.is_some();
            return Ok(Vec::new());
        };
        let last = ledger.last_event()?;
        let other = self.read.is_some_and(|read| !read.is_of(&found)) || self.gone;
        if other || self.filter.after.is_some_and(|after| last < after) {
            self.filter.after = None;
            self.filter.since = self.filter.since.max(Some(asked));
        }
        let events = ledger.next_events(&self.filter, BATCH)?;
        let full = events.last().filter(|_| events.len() == BATCH as usize);
        self.behind = full.is_some();
        self.filter.after = Some(full.map_or(last, |event| event.id));
        self.read = Some(found);
        self.gone = false;
        Ok(events)
    }
}

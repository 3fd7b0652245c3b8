//! Whether the ledger is sound, and its times are of the past.

use std::time::Duration;

use super::super::{Engine, Error};
use super::repair::Repair;
use super::{Finding, Symptom, counted, problem};
use crate::event::Event;
use crate::ledger::{EventFilter, Ledger, LedgerError, LedgerProblem};
use crate::reservation::Reservation;
use crate::time::Timestamp;

/// How far clocks may lie apart without anybody having set one.
const TOLERANCE: Duration = Duration::from_mins(1);

/// A clock that says less has not been set: 2024-01-01, before Hythe was written.
const YOUNGEST: i64 = 1_704_067_200_000;

/// How much of what SQLite finds is shown.
const SHOWN: usize = 3;

/// What is in the ledger.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// Whether there is one.
    found: bool,
    pub(super) reservations: Vec<Reservation>,
    events: Vec<Event>,
}

impl Engine<'_> {
    /// Whether every row of the ledger can be read and its pages agree.
    pub(super) fn books(
        &self,
        read: Result<&Books, LedgerError>,
        interrupted: bool,
    ) -> Vec<Symptom> {
        let path = self.ledger_path();
        let mut symptoms = Vec::new();
        match read {
            Ok(Books { found: false, .. }) => {
                let message = format!("{} is made by the first reservation", path.display());
                symptoms.push(Finding::ok("ledger", message).into());
            }
            Ok(Books { reservations, events, .. }) => {
                let message = format!(
                    "{} is sound: {}, {}",
                    path.display(),
                    counted(reservations.len(), "reservation", "reservations"),
                    counted(events.len(), "event", "events"),
                );
                symptoms.push(Finding::ok("ledger", message).into());
                symptoms.push(clock(self.system.now(), reservations, events).into());
            }
            Err(LedgerError { problem: LedgerProblem::Outdated, .. }) => {
                let message = format!("{} was written by an earlier hythe", path.display());
                let hint = "the next reservation brings it up to date".to_owned();
                symptoms.push(Finding::note("ledger", message, Some(hint)).into());
            }
            Err(error) => {
                let damaged = matches!(error.problem, LedgerProblem::Damaged(_));
                let mut symptom = problem("ledger", &Error::from(error));
                if damaged {
                    symptom.finding.hint = None;
                    symptom.repair = Some(Repair::Ledger);
                }
                symptoms.push(symptom);
            }
        }
        if interrupted {
            // A journal belongs to the ledger, and is never to be removed by itself.
            let message = match self.has_journal() {
                true => "another process is writing to the ledger, or was interrupted",
                false => "a process was interrupted while it wrote; what it wrote was taken back",
            };
            symptoms.push(Finding::note("ledger", message, None).into());
        }
        symptoms
    }

    /// Whether a transaction is being written, or was when its process was stopped.
    pub(super) fn has_journal(&self) -> bool {
        let journal = self.ledger_path().with_extension("db-journal");
        journal.metadata().is_ok_and(|metadata| metadata.len() > 0)
    }

    /// Reads all of the ledger.
    pub(super) fn read_books(&self) -> Result<Books, LedgerError> {
        let Some(ledger) = Ledger::open(&self.ledger_path())? else { return Ok(Books::default()) };
        let mut findings = ledger.check()?;
        if !findings.is_empty() {
            let more = findings.len().saturating_sub(SHOWN);
            findings.truncate(SHOWN);
            let findings = findings.join("; ").replace('\n', " ");
            let more = if more == 0 { String::new() } else { format!("; and {more} more") };
            let problem = LedgerProblem::Damaged(findings + &more);
            return Err(LedgerError { path: self.ledger_path(), problem });
        }
        let reservations = ledger.reservations()?;
        let events = ledger.events(&EventFilter::default())?;
        // The tables that are left.
        ledger.occupancy(self.system.now(), Duration::MAX)?;
        ledger.cleaned_at()?;
        Ok(Books { found: true, reservations, events })
    }
}

/// Whether the clock agrees with the times that were recorded.
fn clock(now: Timestamp, reservations: &[Reservation], events: &[Event]) -> Finding {
    let recorded = reservations.iter().map(|it| it.last_used_at.max(it.created_at));
    let latest = recorded.chain(events.iter().map(|event| event.at)).max().unwrap_or_default();
    if now.millis() < YOUNGEST {
        let message = format!("the clock says {now}: it has not been set");
        let hint = "times to live and freezes are wrong until the clock is set".to_owned();
        return Finding::problem("clock", message, Some(hint));
    }
    if latest.since(now) > TOLERANCE {
        let message = format!("the ledger has times up to {latest}, and the clock says {now}");
        let hint =
            "one of them is wrong; cleanup by age waits until the clock is past it".to_owned();
        return Finding::note("clock", message, Some(hint));
    }
    Finding::ok("clock", "later than everything that was recorded")
}

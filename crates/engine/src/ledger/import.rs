//! What goes out of a ledger, and comes into it, as a whole.

use super::{Ledger, Outcome, rows, write};
use crate::event::{Change, Event};
use crate::reservation::ReleasedPort;
use crate::time::Timestamp;

impl Ledger {
    /// Every port that was given back and that nobody has taken since, by port.
    pub fn released_ports(&self) -> Outcome<Vec<ReleasedPort>> {
        let sql = format!("SELECT {} FROM released ORDER BY port", rows::RELEASED);
        self.list(&sql, [], rows::released)
    }

    /// Writes all of `changes`, their events, and the ports that another ledger says were given back,
    /// unless this one knows better; or nothing. The events, with their numbers.
    pub fn import(
        &mut self,
        at: Timestamp,
        changes: &[Change],
        released: &[ReleasedPort],
    ) -> Outcome<Vec<Event>> {
        self.transact(|connection| {
            let events = write(connection, at, changes, false)?;
            rows::insert_released(connection, released)?;
            Ok(events)
        })
    }
}

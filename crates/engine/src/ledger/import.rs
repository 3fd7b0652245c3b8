//! What goes out of a ledger, and comes into it, as a whole.

use rusqlite::TransactionBehavior;

use super::error::ledger_error;
use super::{Ledger, Outcome, rows, write};
use crate::event::Change;
use crate::reservation::ReleasedPort;
use crate::time::Timestamp;

impl Ledger {
    /// Every port that was given back and that nobody has taken since, by port.
    pub fn released_ports(&self) -> Outcome<Vec<ReleasedPort>> {
        let sql = "SELECT port, realm, key, released_at FROM released ORDER BY port";
        self.list(sql, [], rows::released)
    }

    /// Writes all of `changes`, their events, and the ports that another ledger says were given back,
    /// unless this one knows better; or nothing.
    pub fn import(
        &mut self,
        at: Timestamp,
        changes: &[Change],
        released: &[ReleasedPort],
    ) -> Outcome<()> {
        let path = &self.path;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| ledger_error(path, &error))?;
        write(&transaction, at, changes, false)
            .and_then(|()| rows::insert_released(&transaction, released))
            .and_then(|()| transaction.commit())
            .map_err(|error| ledger_error(path, &error))
    }
}

//! What the engine answers, as the JSON documents that programs read: the command line's `--json`,
//! the HTTP API and the MCP server show the same ones.
//!
//! ```text
//! reservation   a reservation, alone and listed, shown, reserved, released, locked
//! listener      who is behind a port: processes and containers
//! explanation   why a port was chosen
//! map           a range and what is with each of its ports
//! failure       how a request fails: code, exit code, message, hint, details
//! schema        the JSON schemas of all of them, which lie in docs/schema
//! ```

mod explanation;
mod failure;
mod listener;
mod map;
mod reservation;
pub mod schema;

pub use explanation::explanation;
pub use failure::{ExitCode, Failure};
pub use listener::{Of, containers, listeners, processes, publishers, user, user_name};
pub use map::map;
pub use reservation::{
    Listing, listed, locked, projects, released, reservation, reserved, reserved_all, shown,
};

use std::path::Path;

use serde_json::Value;

/// A path, with U+FFFD for what is not UTF-8: the reservation's key has the exact bytes.
#[must_use]
pub fn path(path: &Path) -> Value {
    path.to_string_lossy().into()
}

//! The server as a service of the user's: what a service manager is told, as text, and whether a server
//! answers. Nothing here writes a file or runs a command.

mod health;
mod launchd;
mod systemd;

use std::ffi::{OsStr, OsString};

pub use health::health;
pub use launchd::{LABEL, plist};
pub use systemd::{NAME, unit};

/// How a service manager starts the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The program, by its absolute path, and its arguments.
    pub command: Vec<OsString>,
    /// The version of the program: the text changes with it, and a server is started anew when its text
    /// has changed.
    pub version: &'static str,
}

/// A word that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` cannot be written into a file of the service manager: {why}")]
pub struct Unwritable {
    word: String,
    why: &'static str,
}

impl Unwritable {
    fn new(word: &OsStr, why: &'static str) -> Self {
        Self { word: word.to_string_lossy().into_owned(), why }
    }
}

/// What every text says that was made here.
const MARK: &str = "Written by `hythe daemon install`";

/// Whether a text was made here, by any version.
#[must_use]
pub fn is_own(text: &str) -> bool {
    text.contains(MARK)
}

/// A word as text: the files of both service managers are UTF-8.
fn text(word: &OsStr) -> Result<&str, Unwritable> {
    word.to_str().ok_or_else(|| Unwritable::new(word, "it is not UTF-8"))
}

//! A reservation: a key that holds a port, and the names it is made of.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use crate::port::Port;
use crate::time::Timestamp;

/// A port and the key that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The port; no other reservation has it.
    pub port: Port,
    /// What identifies the reservation; no other reservation has it.
    pub key: Key,
    /// What the reservation belongs to.
    pub scope: Scope,
    /// The checkout root or directory that reserved it first.
    pub directory: PathBuf,
    /// The name within its scope.
    pub service: Service,
    /// The project, for people and filters.
    pub project: Option<Label>,
    /// The task: by default the linked worktree's name, or the branch.
    pub task: Option<Label>,
    /// The agent that asked for it.
    pub agent: Option<Label>,
    /// How long it is meant to last.
    pub lease: Lease,
    /// Whether it is protected from every policy and from reallocation.
    pub locked: bool,
    /// The process it is bound to; always there for an ephemeral lease.
    pub owner: Option<Owner>,
    /// When the key got a reservation.
    pub created_at: Timestamp,
    /// When it was last asked for, exact to about a minute.
    pub last_used_at: Timestamp,
    /// How long it may stay unused, where it was reserved with a time to live of its own; `None`
    /// leaves that to the policies.
    pub ttl: Option<Duration>,
    /// The policies that made it.
    pub strategy: Provenance,
    /// The process that was last seen listening on it, a hint where to look first.
    pub listener: Option<u32>,
}

impl Reservation {
    /// When its own time to live is over, unless it is used before; `None` without one.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.ttl.map(|ttl| self.last_used_at.after(ttl))
    }
}

/// A port that its key has given back and nobody has taken since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleasedPort {
    /// The port.
    pub port: Port,
    /// The key that had it, and gets it back if it asks before another does.
    pub key: Key,
    /// When it was given back.
    pub released_at: Timestamp,
}

/// Which policies derived the key and chose the port, as `NAME VERSION`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Provenance {
    /// The key policy.
    pub key: String,
    /// The selection policy, `preferred` when a preferred port was given, `returned` when the key got
    /// a port back that it had before, `imported` when another tool had given it, or `adopted` when the
    /// port was in use already.
    pub selection: String,
}

/// What identifies a reservation: the same key always gets the same port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Whose word the key is. Keys of different realms never meet.
    pub realm: Realm,
    /// What the key policy answered: 1 to [`Key::MAX_LEN`] bytes without control characters.
    pub text: String,
}

impl Key {
    /// The longest key in bytes: four times `PATH_MAX` (4,096 on Linux), so that a path of any
    /// length fits with every byte escaped as `%XX`, and a service after it.
    pub const MAX_LEN: usize = 16 * 1024;
}

/// Whose word a key is, so that no project's plugin can name another project's reservation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Realm {
    /// The user: a bundled plugin, or one that the user's own files declare.
    User,
    /// The project whose files declare the key policy: the directory of its `hythe.toml`.
    Project(PathBuf),
}

/// What a reservation belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// A checkout, or a directory outside git.
    #[default]
    Directory,
    /// A project, shared by its checkouts.
    Project,
    /// The whole machine: one for everybody who names the service.
    Service,
}

/// How long a reservation is meant to last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Lease {
    /// Until it is released, or a policy finds it unused.
    #[default]
    Persistent,
    /// As long as its owner lives.
    Ephemeral,
}

/// Gives an enum its lower-case names, for people, for the database and back.
macro_rules! words {
    ($type:ident, $what:literal, $($variant:ident = $word:literal),+) => {
        impl $type {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word that stands for it everywhere: on the command line, in JSON, in the database.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::ALL.iter().copied().find(|value| value.word() == text).ok_or_else(|| {
                    let words: Vec<_> = Self::ALL.iter().map(|value| value.word()).collect();
                    NameError::new($what, text, format!("expected {}", words.join(" or ")))
                })
            }
        }
    };
}
pub(crate) use words;

words!(Scope, "scope", Directory = "directory", Project = "project", Service = "service");
words!(Lease, "lease", Persistent = "persistent", Ephemeral = "ephemeral");

/// A process: its pid says nothing without its start and the boot it started in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The process id, in `namespace`.
    pub pid: u32,
    /// When it started, in the kernel's own unit: clock ticks since boot on Linux (`proc_pid_stat(5)`,
    /// field 22). Only compared, never computed with.
    pub start: u64,
    /// The boot it started in (`/proc/sys/kernel/random/boot_id`, `proc_sys_kernel(5)`).
    pub boot: String,
    /// The pid namespace that `pid` means something in (`pid_namespaces(7)`); 0 where there is none.
    /// In a container of its own, every application is pid 2.
    pub namespace: u64,
    /// When it started by the wall clock, to be shown to people.
    pub started_at: Timestamp,
}

/// A name within a scope: `web`, `api`, `@shop/admin`; `main` by default.
///
/// 1 to 128 ASCII letters, digits and `. _ - / @ +`, not beginning with `-`, and not a number, so
/// that it can never be mistaken for an option or a port, nor mean anything to a shell.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Service(String);

impl Service {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Service {
    fn default() -> Self {
        Self("main".to_owned())
    }
}

impl FromStr for Service {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/@+".contains(&byte);
        let wrong = |why: &str| Err(NameError::new("service", text, why.to_owned()));
        if text.is_empty() || text.len() > 128 {
            wrong("expected 1 to 128 characters")
        } else if !text.bytes().all(plain) {
            wrong("expected letters, digits and `. _ - / @ +`")
        } else if text.starts_with('-') {
            wrong("it begins with `-`")
        } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
            wrong("a number would be taken for a port")
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A project, task or agent: 1 to 255 bytes of text without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Label(String);

impl Label {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The label that comes nearest to a name found on disk, where anything goes: control
    /// characters become `_`, and what is too long is cut. `None` when nothing is left.
    #[must_use]
    pub fn nearest(name: &str) -> Option<Self> {
        let mut text: String =
            name.trim().chars().map(|c| if c.is_control() { '_' } else { c }).collect();
        text.truncate(text.floor_char_boundary(255));
        text.parse().ok()
    }
}

impl FromStr for Label {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = |why: &str| Err(NameError::new("name", text, why.to_owned()));
        if text.trim().is_empty() || text.len() > 255 {
            wrong("expected 1 to 255 bytes")
        } else if text.chars().any(char::is_control) {
            wrong("it contains control characters")
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Text that cannot be the name it was meant to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {what}: {why}")]
pub struct NameError {
    what: &'static str,
    text: String,
    why: String,
}

impl NameError {
    pub(crate) fn new(what: &'static str, text: &str, why: String) -> Self {
        Self { what, text: text.to_owned(), why }
    }
}

#[cfg(test)]
impl Reservation {
    /// A persistent reservation of `web` in `/work/shop` that nobody owns, for tests to vary.
    pub(crate) fn sample() -> Self {
        Self {
            port: Port::MAX,
            key: Key { realm: Realm::User, text: "key".to_owned() },
            scope: Scope::Directory,
            directory: "/work/shop".into(),
            service: "web".parse().unwrap(),
            project: None,
            task: None,
            agent: None,
            lease: Lease::Persistent,
            locked: false,
            owner: None,
            created_at: Timestamp::default(),
            last_used_at: Timestamp::default(),
            ttl: None,
            strategy: Provenance { key: String::new(), selection: String::new() },
            listener: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_can_be_neither_an_option_nor_a_port_nor_shell_syntax() {
        for text in ["web", "api.v2", "@shop/admin", "node-20", "a+b", "0x"] {
            assert_eq!(text.parse::<Service>().unwrap().as_str(), text);
        }
        let long = "x".repeat(129);
        for text in ["", "-web", "8080", "a b", "a$b", "a;b", "a\nb", "größe", "`id`", &long] {
            assert!(text.parse::<Service>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_nearest_label_of_a_hostile_name_is_harmless() {
        assert_eq!(Label::nearest("shop\u{1b}[31m\n").unwrap().as_str(), "shop_[31m");
        assert_eq!(Label::nearest(" \t"), None);
        assert_eq!(Label::nearest(&"ß".repeat(200)).unwrap().as_str().len(), 254);
    }

    #[test]
    fn words_read_back() {
        assert_eq!("project".parse(), Ok(Scope::Project));
        assert_eq!(Lease::Ephemeral.to_string(), "ephemeral");
        let error = "forever".parse::<Lease>().unwrap_err().to_string();
        assert_eq!(error, "\"forever\" is not a lease: expected persistent or ephemeral");
    }
}

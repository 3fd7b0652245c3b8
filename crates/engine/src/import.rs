//! What other tools keep, in Hythe's words: their reservations, and their settings.
//!
//! Each tool has a file of its own, and each is pure: bytes or rows in, entries out. Files are read
//! in `files` and databases in `database`, never written to and never beyond a bound. What becomes of
//! an entry is decided in `settle`, pure as well.

mod database;
mod error;
mod files;
mod port_daddy;
mod portclaim;
mod portpls;
mod settings;
mod settle;
#[cfg(test)]
mod tests;
mod trop;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub use error::{ImportError, ImportProblem};
pub use settings::Translation;
pub(crate) use settle::{Candidate, Settled, settle};

use crate::export::Holdings;
use crate::port::Port;
use crate::reservation::{Label, Lease, NameError, Service, words};
use crate::time::Timestamp;

/// Whose reservations are imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tool {
    /// What `hythe export` wrote.
    Hythe,
    /// trop 0.2: an SQLite database of paths and tags.
    Trop,
    /// portclaim: a JSON file for each claim.
    Portclaim,
    /// Port Daddy 1: an SQLite database of projects.
    PortDaddy,
    /// portpls 1: a JSON file of directories and names.
    Portpls,
}

words!(
    Tool,
    "tool",
    Hythe = "hythe",
    Trop = "trop",
    Portclaim = "portclaim",
    PortDaddy = "port-daddy",
    Portpls = "portpls"
);

/// What was found.
pub(crate) enum Found {
    /// A ledger of Hythe.
    Holdings(Holdings),
    /// What another tool keeps.
    Entries(Vec<Entry>),
}

/// A reservation as another tool keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// What the tool's users call it.
    pub(crate) what: String,
    /// Its port; `None` when it has none that could be one.
    pub(crate) port: Option<Port>,
    /// What it says, or why it says nothing that Hythe could keep.
    pub(crate) record: Result<Record, Unfit>,
}

/// What another tool's reservation says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// What it belongs to.
    pub(crate) belongs: Belongs,
    /// Its name there.
    pub(crate) service: Service,
    /// Its name as the tool has it, where Hythe cannot call it that.
    pub(crate) renamed: Option<String>,
    /// The project.
    pub(crate) project: Option<Label>,
    /// The task.
    pub(crate) task: Option<Label>,
    /// The agent.
    pub(crate) agent: Option<Label>,
    /// Whether it is protected.
    pub(crate) locked: bool,
    /// The lease.
    pub(crate) lease: Lease,
    /// The process that it is bound to, and when it was.
    pub(crate) process: Option<(u32, Timestamp)>,
    /// When it was made.
    pub(crate) created_at: Timestamp,
    /// When it was last used.
    pub(crate) last_used_at: Timestamp,
}

/// What a reservation of another tool belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Belongs {
    /// A directory.
    Directory(PathBuf),
    /// A project, wherever it lies.
    Project(Label),
}

/// Why an entry says nothing that Hythe could keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It stands for nothing.
    Nothing(String),
    /// It stands for something, and would be lost.
    Lost(String),
}

/// Reads what `tool` keeps at `path`: a file, or the directory that the tool keeps it in.
pub(crate) fn read(tool: Tool, path: &Path) -> Result<Found, ImportError> {
    let entries = match tool {
        Tool::Hythe => {
            let bytes = files::read(path)?;
            let holdings = Holdings::read(&bytes);
            return Ok(Found::Holdings(holdings.map_err(|why| error::alien(path, why))?));
        }
        Tool::Trop => trop::read(&files::within(path, trop::DATABASE)?)?,
        Tool::PortDaddy => port_daddy::read(&files::within(path, port_daddy::DATABASE)?)?,
        Tool::Portclaim => portclaim::read(path)?,
        Tool::Portpls => {
            let path = files::within(path, portpls::ALLOCATIONS)?;
            let entries = portpls::entries(&files::read(&path)?);
            entries.map_err(|why| error::alien(&path, why))?
        }
    };
    Ok(Found::Entries(entries))
}

/// What the settings of `tool` at `path`, a file or the directory that it keeps them in, are in the
/// words of Hythe's configuration.
pub(crate) fn translate(tool: Tool, path: &Path) -> Result<Translation, ImportError> {
    match tool {
        Tool::Hythe => Err(error::alien(path, "an export holds no settings".to_owned())),
        Tool::Trop => trop::translate(path),
        Tool::Portclaim => portclaim::translate(path),
        Tool::PortDaddy => Ok(port_daddy::translate()),
        Tool::Portpls => portpls::translate(path),
    }
}

impl Record {
    /// A reservation that nobody is bound to.
    fn new(belongs: Belongs, name: &str, created_at: Timestamp, last_used_at: Timestamp) -> Fit {
        let (service, renamed) = service(name).map_err(Unfit::Lost)?;
        Ok(Self {
            belongs,
            service,
            renamed,
            project: None,
            task: None,
            agent: None,
            locked: false,
            lease: Lease::Persistent,
            process: None,
            created_at,
            last_used_at,
        })
    }
}

/// A record, or why there is none.
type Fit = Result<Record, Unfit>;

/// The longest path (`PATH_MAX`, limits.h).
const LONGEST_PATH: usize = 4096;

/// A directory that an entry names.
fn directory(text: &str) -> Result<Belongs, Unfit> {
    let path = PathBuf::from(text);
    if !path.is_absolute() || text.contains('\0') || text.len() > LONGEST_PATH {
        return Err(Unfit::Lost("its directory is not an absolute path".to_owned()));
    }
    Ok(Belongs::Directory(path))
}

/// A project that an entry names.
fn project(text: &str) -> Result<Label, Unfit> {
    Label::nearest(text).ok_or_else(|| Unfit::Lost("it names no project".to_owned()))
}

/// The service of this name, and the name itself where the service has to be called otherwise: what a
/// service cannot contain becomes `-`. No name at all is `main`.
fn service(name: &str) -> Result<(Service, Option<String>), String> {
    if name.is_empty() {
        return Ok((Service::default(), None));
    }
    if let Ok(service) = name.parse() {
        return Ok((service, None));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/@+".contains(c);
    let mut words = name.split(|c| !plain(c)).filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default().to_owned();
    let text = words.fold(first, |text, word| text + "-" + word);
    let text = text.trim_start_matches('-');
    let text = &text[..text.floor_char_boundary(128)];
    match text.parse() {
        Ok(service) => Ok((service, Some(name.to_owned()))),
        Err(_) => {
            let wrong: NameError = match name.parse::<Service>() {
                Err(wrong) => wrong,
                Ok(service) => return Ok((service, None)),
            };
            Err(wrong.to_string())
        }
    }
}

/// The port of this number.
fn port(number: i64) -> Option<Port> {
    u16::try_from(number).ok().and_then(Port::new)
}

//! `init`: a configuration file to begin with.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::configure::inside;
use super::replace::replace;
use super::{Engine, Error};
use crate::config::{Config, ConfigError, ConfigFile, Draft, PROJECT_FILE, Role, template};
use crate::place::{Checkout, CheckoutKind, Place};
use crate::port::Port;
use crate::reservation::{Label, Service};

/// Asks for a configuration file to begin with.
#[derive(Debug, Clone)]
pub struct InitRequest {
    /// Which file, and what it says.
    pub contents: Contents,
    /// Write over a file that is there.
    pub force: bool,
    /// Write nothing.
    pub dry_run: bool,
}

/// What a new configuration file says.
#[derive(Debug, Clone)]
pub enum Contents {
    /// The user's file, with every setting commented out.
    User,
    /// A project's file, in this directory.
    Project {
        /// The project's name; by default left out.
        project: Option<Label>,
        /// Its services and their preferred ports; when there are none, those that its files name.
        services: Vec<(Service, Option<Port>)>,
    },
}

/// A file to begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// The file.
    pub file: PathBuf,
    /// What it says.
    pub text: String,
    /// The services that it says.
    pub services: Vec<Service>,
    /// Where the services were found, if nobody named them.
    pub found_in: Option<PathBuf>,
    /// The file of a directory above that is not read here any more.
    pub hides: Option<PathBuf>,
}

/// The largest file that is looked at for services, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// The most services that are taken from a file.
const MAX_SERVICES: usize = 64;

impl Engine<'_> {
    /// Writes a configuration file to begin with. One that is there is written over only with `force`.
    pub fn init(&self, request: &InitRequest) -> Result<Begun, Error> {
        let (file, begun) = match &request.contents {
            Contents::User => {
                let file = self.config_file(Role::User)?;
                let text = template::user();
                let path = file.path.clone();
                let begun =
                    Begun { file: path, text, services: Vec::new(), found_in: None, hides: None };
                (file, begun)
            }
            Contents::Project { project, services } => {
                self.begin_project(project.as_ref(), services)?
            }
        };
        if !request.force && fs::symlink_metadata(&file.path).is_ok() {
            return Err(there(&file.path));
        }
        let draft = Draft { path: file.path.clone(), text: begun.text.clone() };
        // As it will be read once it is there.
        let root = self.place.directory.clone();
        let checkout = Checkout {
            root: root.clone(),
            kind: CheckoutKind::Main,
            repository: None,
            name: None,
            branch: None,
        };
        let place = Place { directory: root, checkout: Some(checkout) };
        Config::check_draft(&self.home.config, &place, &draft).map_err(|error| {
            let message = format!("nothing was written, because then {}", error.message);
            ConfigError { message, ..error }
        })?;
        if !request.dry_run {
            self.holding("config.lock", || write(&file, &begun.text, request.force))?;
        }
        Ok(begun)
    }

    fn begin_project(
        &self,
        project: Option<&Label>,
        asked: &[(Service, Option<Port>)],
    ) -> Result<(ConfigFile, Begun), Error> {
        let directory = &self.place.directory;
        let path = directory.join(PROJECT_FILE);
        let procfile = directory.join("Procfile");
        let found = if asked.is_empty() { processes(&procfile) } else { Vec::new() };
        let found_in = (!found.is_empty()).then_some(procfile);
        let found: Vec<_> = found.into_iter().map(|service| (service, None)).collect();
        let services = if asked.is_empty() { &found } else { asked };
        for (at, (service, _)) in services.iter().enumerate() {
            if services[..at].iter().any(|(other, _)| other == service) {
                return Err(Error::Usage(format!("`{service}` is named twice")));
            }
        }
        let above = self.settings().project_directory.as_ref().filter(|above| *above != directory);
        let begun = Begun {
            file: path.clone(),
            text: template::project(project, services),
            services: services.iter().map(|(service, _)| service.clone()).collect(),
            found_in,
            hides: above.map(|above| above.join(PROJECT_FILE)),
        };
        Ok((ConfigFile { path, role: Role::Project }, begun))
    }
}

fn there(path: &Path) -> Error {
    Error::Refused {
        what: format!("{} is there already", path.display()),
        hint: Some("`--force` writes over it".to_owned()),
    }
}

/// Writes the file whole or not at all, over nothing but what was asked for.
fn write(file: &ConfigFile, text: &str, force: bool) -> Result<(), Error> {
    let failed = |error| Error::File { path: file.path.clone(), error };
    let directory = file.directory();
    // The first configuration of all: XDG wants its directory private.
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    if force {
        inside(file)?;
        return replace(&file.path, text.as_bytes()).map_err(failed);
    }
    let mut draft = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    let written = draft.write_all(text.as_bytes()).and_then(|()| {
        draft.as_file().set_permissions(Permissions::from_mode(0o644))?;
        draft.as_file().sync_all()
    });
    written.map_err(failed)?;
    match draft.persist_noclobber(&file.path) {
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Err(there(&file.path)),
        persisted => persisted.map(drop).map_err(|error| failed(error.error)),
    }
}

/// The process types of a Procfile, as far as they can be the names of services: lines of a name, a colon
/// and a command (<https://devcenter.heroku.com/articles/procfile#procfile-format>).
fn processes(path: &Path) -> Vec<Service> {
    let Ok(metadata) = fs::metadata(path) else { return Vec::new() };
    if !metadata.is_file() || metadata.len() > MAX_FILE {
        return Vec::new();
    }
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text));
    if read.is_err() {
        return Vec::new();
    }
    let mut services: Vec<Service> = Vec::new();
    for line in text.lines() {
        let Some((name, command)) = line.split_once(':') else { continue };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        // `release` is what is done before a release, and serves nothing.
        let serves = !command.trim().is_empty() && name.bytes().all(plain) && name != "release";
        if let Some(service) = name.parse().ok().filter(|_| serves)
            && !services.contains(&service)
            && services.len() < MAX_SERVICES
        {
            services.push(service);
        }
    }
    services
}

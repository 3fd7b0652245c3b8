//! Configuration files, edited for people who read and edit them themselves.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::replace::replace;
use super::{Engine, Error};
use crate::config::edit::PortList;
use crate::config::{Config, ConfigError, ConfigFile, Draft, EditError, Edited, Role, edit};
use crate::port::PortRange;

/// Which ports are never to be given, and who says so.
#[derive(Debug, Clone)]
pub struct ExcludeRequest {
    /// The ports and ranges.
    pub ranges: Vec<PortRange>,
    /// Take them out of the list again.
    pub remove: bool,
    /// The configuration file.
    pub role: Role,
    /// Write nothing.
    pub dry_run: bool,
}

/// A configuration file that was, or would be, changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configured {
    /// The file.
    pub file: PathBuf,
    /// What changed in it, as dotted keys. Empty when all was as it should be.
    pub changes: Vec<String>,
}

impl Engine<'_> {
    /// Adds ports to `ports.exclude` of a configuration file, or takes them out of it. Either all of
    /// them, or none.
    pub fn exclude(&self, request: &ExcludeRequest) -> Result<Configured, Error> {
        let target = self.config_file(request.role)?;
        let changes = self.edit_config(&target, request.dry_run, |text| {
            let mut edited = Edited { text: text.to_owned(), changes: Vec::new() };
            for range in &request.ranges {
                let change = if request.remove { edit::remove_ports } else { edit::add_ports };
                let next = change(&edited.text, PortList::Exclude, *range)?;
                edited.text = next.text;
                edited.changes.extend(next.changes);
            }
            edited.changes.dedup();
            Ok(edited)
        })?;
        Ok(Configured { file: target.path, changes })
    }

    pub(super) fn config_file(&self, role: Role) -> Result<ConfigFile, Error> {
        let mut files = self.config.files().iter().map(|candidate| &candidate.file);
        let file = files.find(|file| file.role == role).ok_or_else(|| Error::NotFound {
            what: "there is no place for your configuration: HOME is not set".to_owned(),
            hint: Some("name a file with `--config FILE`".to_owned()),
        })?;
        Ok(ConfigFile::clone(file))
    }

    /// Edits a configuration file while no other process does, and writes it whole or not at all.
    /// A result that would be no valid configuration of this place is not written.
    pub(super) fn edit_config(
        &self,
        file: &ConfigFile,
        dry_run: bool,
        change: impl FnOnce(&str) -> Result<Edited, EditError>,
    ) -> Result<Vec<String>, Error> {
        let failed = |error| Error::File { path: file.path.clone(), error };
        let edit = || {
            let text = match fs::read_to_string(&file.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
                text => text.map_err(failed)?,
            };
            let edited = change(&text)
                .map_err(|error| Error::Edit { path: file.path.clone(), error: Box::new(error) })?;
            if !edited.changes.is_empty() {
                let draft = Draft { path: file.path.clone(), text: edited.text };
                Config::check_draft(&self.home.config, &self.place, &draft).map_err(|error| {
                    let message = format!("nothing was changed, because then {}", error.message);
                    ConfigError { message, ..error }
                })?;
                inside(file)?;
                if !dry_run {
                    // The first configuration of all: XDG wants its directory private.
                    let mut directory = DirBuilder::new();
                    directory.recursive(true).mode(0o700);
                    directory.create(file.directory()).map_err(failed)?;
                    replace(&draft.path, draft.text.as_bytes()).map_err(failed)?;
                }
            }
            Ok(edited.changes)
        };
        if dry_run { edit() } else { self.holding("config.lock", edit) }
    }
}

/// A project's file may be a link of whoever made the checkout; what it leads to is not a project's.
pub(super) fn inside(file: &ConfigFile) -> Result<(), Error> {
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if file.role == Role::User || real(&file.path).starts_with(real(file.directory())) {
        return Ok(());
    }
    Err(Error::Refused {
        what: format!("{} is a link that leads out of the project", file.path.display()),
        hint: None,
    })
}

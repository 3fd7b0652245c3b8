//! `plugin add`, `plugin remove`: declarations in configuration files, written for people who read
//! and edit them.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::{Engine, Error, strategy};
use super::Which;
use crate::config::{Authority, BUNDLED, ConfigFile, Edited, Role, edit};
use crate::shell;
use crate::wasm::{Interface, Plugin};

/// What to declare, and where.
#[derive(Debug, Clone)]
pub struct AddRequest {
    /// The plugin's component. Relative paths start from the directory of the engine.
    pub file: PathBuf,
    /// What it is to be called; by default what it calls itself.
    pub name: Option<String>,
    /// The configuration file.
    pub role: Role,
    /// Whether it is to decide whatever it exports.
    pub select: bool,
    /// Write nothing.
    pub dry_run: bool,
}

/// What to take out of the configuration, and where.
#[derive(Debug, Clone)]
pub struct RemoveRequest {
    /// The name in the configuration.
    pub name: String,
    /// The configuration file.
    pub role: Role,
    /// Write nothing.
    pub dry_run: bool,
}

/// A configuration file that was, or would be, changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// The plugin's name there.
    pub name: String,
    /// The file.
    pub file: PathBuf,
    /// What changed in it, as dotted keys. Empty when all was as it should be.
    pub changes: Vec<String>,
    /// Why the plugin does not take the options that it has there, if it does not.
    pub options: Option<String>,
}

impl Engine<'_> {
    /// Declares a plugin that can be used, pinned by its digest, and selects it where that is asked
    /// for. What is declared under its name already is pinned anew.
    pub fn add_plugin(&self, request: &AddRequest) -> Result<Declared, Error> {
        let file = self.place.directory.join(&request.file);
        let file = fs::canonicalize(&file).map_err(|error| Error::File { path: file, error })?;
        let plugin = self.usable(&Which::File(file.clone()))?;
        let name = match &request.name {
            Some(name) => name.clone(),
            None => self.own_name(&plugin, &file)?,
        };
        if BUNDLED.contains(&&*name) {
            return Err(Error::Refused {
                what: format!("`{name}` is the name of a bundled plugin"),
                hint: Some("--name NAME".to_owned()),
            });
        }
        let target = self.config_file(request.role)?;
        let path = path_in(&target, &file)?;
        let digest = plugin.digest();
        let exports = |interface| request.select && plugin.exports(interface);
        let cleanup = self.cleanup_beside(&target);
        let changes = self.edit_config(&target, request.dry_run, |text| {
            let declared = edit::declare(text, &name, &path, &digest)?;
            let selected = edit::select(
                &declared.text,
                &name,
                exports(Interface::KeyDerivation),
                exports(Interface::PortSelection),
                exports(Interface::Cleanup).then_some(cleanup.as_slice()),
            )?;
            let changes = [declared.changes, selected.changes].concat();
            Ok(Edited { text: selected.text, changes })
        })?;
        let given = strategy::options(self.settings(), &name);
        let options = plugin.check(&given).err().map(|error| error.to_string());
        Ok(Declared { name, file: target.path, changes, options })
    }

    /// What the plugin in `file` calls itself, unless another one has that name here: a plugin does
    /// not choose whom it replaces.
    fn own_name(&self, plugin: &Plugin, file: &Path) -> Result<String, Error> {
        let name = plugin.describe()?.name.clone();
        match strategy::declaration(self.settings(), &name) {
            Some(other) if fs::canonicalize(&other.path).is_ok_and(|path| path != file) => {
                let path = other.path.display();
                Err(Error::Refused {
                    what: format!("`{name}` is already {path}, declared at {}", other.origin),
                    hint: Some(format!("--name {name} to replace it, --name NAME beside it")),
                })
            }
            _ => Ok(name),
        }
    }

    /// The cleanup policies in force, as far as everybody has them who reads the file.
    fn cleanup_beside(&self, target: &ConfigFile) -> Vec<String> {
        let cleanup = &self.settings().strategy.cleanup;
        let private = cleanup.origin.authority() == Authority::User;
        if target.role == Role::Project && private {
            return BUNDLED.iter().map(|name| (*name).to_owned()).collect();
        }
        cleanup.value.clone()
    }

    /// Takes a plugin out of a configuration file, and whatever selects it there.
    pub fn remove_plugin(&self, request: &RemoveRequest) -> Result<Declared, Error> {
        let target = self.config_file(request.role)?;
        let changes = self
            .edit_config(&target, request.dry_run, |text| edit::undeclare(text, &request.name))?;
        let name = request.name.clone();
        Ok(Declared { name, file: target.path, changes, options: None })
    }
}

/// The plugin's path as the configuration file is to say it: a project's is the same on every
/// machine.
fn path_in(target: &ConfigFile, plugin: &Path) -> Result<String, Error> {
    let directory = target.directory();
    let directory = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
    let path = match (plugin.strip_prefix(&directory), target.role) {
        (Ok(inside), _) => inside,
        (Err(_), Role::User) => plugin,
        (Err(_), Role::Project | Role::Local) => {
            let word = |path: &Path| shell::word(&path.to_string_lossy());
            let hint = format!("cp {} {}/", word(plugin), word(&directory));
            let (plugin, directory) = (plugin.display(), directory.display());
            return Err(Error::Refused {
                what: format!("{plugin} lies outside the project {directory}"),
                hint: Some(hint),
            });
        }
    };
    let text = path.to_str().ok_or_else(|| {
        Error::Usage(format!("the path {} is not UTF-8, as TOML has to be", path.display()))
    })?;
    // `~` at the beginning would stand for the home directory.
    Ok(if text.starts_with('~') { format!("./{text}") } else { text.to_owned() })
}

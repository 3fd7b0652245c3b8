//! The policies that the configuration selects, loaded when they are needed.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::{fmt, fs};

use serde_json::Value;

use super::error::Error;
use crate::bundled;
use crate::config::{Authority, Declaration, Digest, Limits, Origin, Role, Settings};
use crate::reservation::Realm;
use crate::shell;
use crate::wasm::{
    self, Interface, NotAPolicy, OptionError, Plugin, PluginError, PluginHost, Policy, Problem,
    Source, Survey, Waiting,
};

/// Plugins that were loaded, for the engines of one process to share: clones have the same ones. A
/// process that opens many engines loads each plugin once, and again when its file has changed.
#[derive(Clone, Default)]
pub struct Plugins(Arc<Mutex<BTreeMap<Place, Arc<Shelf>>>>);

/// What all plugins of a shelf have in common: their limits, and where they are kept compiled.
type Place = (wasm::Limits, Option<PathBuf>);

/// Plugins under the same limits.
struct Shelf {
    host: PluginHost,
    loaded: Mutex<BTreeMap<Id, Loaded>>,
}

/// A plugin, and what its file was when it was read.
struct Loaded {
    version: Option<Version>,
    plugin: Arc<Plugin>,
}

/// A plugin by name, what selected it and, unless it is bundled, file and pin: what one configuration
/// pins says nothing about what another does.
type Id = (String, String, Option<Pinned>);

/// A component's file, and the digest that its bytes must have.
type Pinned = (PathBuf, Option<Digest>);

/// What a file was when it was read: device, inode, size, and when it was changed, with nanoseconds.
type Version = (u64, u64, u64, i64, i64);

/// The most plugins that a shelf has; then it is emptied.
const MOST: usize = 256;

impl fmt::Debug for Plugins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plugins")
    }
}

impl Plugins {
    fn under(&self, limits: wasm::Limits, cache: Option<&Path>) -> Result<Arc<Shelf>, Error> {
        let place = (limits, cache.map(Path::to_owned));
        // Nothing that can panic is done while it is held.
        let mut shelves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = shelves.get(&place) {
            return Ok(Arc::clone(found));
        }
        let host = PluginHost::new(limits, place.1.clone())?;
        let empty = Arc::new(Shelf { host, loaded: Mutex::default() });
        shelves.insert(place, Arc::clone(&empty));
        Ok(empty)
    }
}

/// Loads plugins by the names that the configuration gives them.
#[derive(Clone)]
pub(super) struct Strategies<'a> {
    shelf: Arc<Shelf>,
    waiting: Rc<Waiting<'a>>,
}

impl<'a> Strategies<'a> {
    /// Strategies of `plugins`, whose compiled forms are kept in the directory `cache`; `waiting` is
    /// told the name of one that takes a while to be compiled.
    pub(super) fn new(
        plugins: &Plugins,
        limits: &Limits,
        cache: Option<&Path>,
        waiting: Rc<Waiting<'a>>,
    ) -> Result<Self, Error> {
        let limits = wasm::Limits {
            fuel: limits.fuel.value,
            memory: limits.memory.value,
            module_size: limits.module_size.value,
            answer_size: limits.answer_size.value,
            stack: limits.stack.value,
            compile_time: limits.compile_time.value,
        };
        Ok(Self { shelf: plugins.under(limits, cache)?, waiting })
    }

    /// The plugin `name`, which `selected_by` asks for.
    pub(super) fn plugin(
        &self,
        settings: &Settings,
        name: &str,
        selected_by: &Origin,
    ) -> Result<Arc<Plugin>, Error> {
        let selected_by = selected_by.to_string();
        match (declaration(settings, name), bundled::source(name)) {
            (Some(declaration @ Declaration { path, sha256, .. }), _) => {
                let digest = sha256.as_ref().map(ToString::to_string);
                let source = Source::File { path, sha256: digest.as_deref() };
                self.once(name, selected_by, source, *sha256).map_err(|error| Error::Plugin {
                    error: Box::new(error),
                    pin: pin(name, declaration),
                })
            }
            (None, Some(source)) => Ok(self.once(name, selected_by, source, None)?),
            (None, None) => {
                let name = name.to_owned();
                Err(PluginError { name, selected_by, problem: Problem::Unknown }.into())
            }
        }
    }

    /// The plugin in a file that need not be declared, called `name` in messages.
    pub(super) fn file(&self, name: &str, path: &Path) -> Result<Arc<Plugin>, Error> {
        let source = Source::File { path, sha256: None };
        Ok(self.once(name, COMMAND_LINE.to_owned(), source, None)?)
    }

    /// Loads a plugin, unless it has been loaded and its file is still the same.
    fn once(
        &self,
        name: &str,
        selected_by: String,
        source: Source<'_>,
        pin: Option<Digest>,
    ) -> Result<Arc<Plugin>, PluginError> {
        let path = match source {
            Source::File { path, .. } => Some(path),
            Source::Bundled { .. } => None,
        };
        let id = (name.to_owned(), selected_by, path.map(|path| (path.to_owned(), pin)));
        // Looked at before it is read: what changes in between is read again the next time.
        let version = path.and_then(version);
        let loaded = || self.shelf.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = loaded().get(&id)
            && known.version == version
        {
            return Ok(Arc::clone(&known.plugin));
        }
        let plugin = self.shelf.host.load(name, id.1.clone(), source, &*self.waiting)?;
        let plugin = Arc::new(plugin);
        let mut loaded = loaded();
        if loaded.len() >= MOST {
            loaded.clear();
        }
        loaded.insert(id, Loaded { version, plugin: Arc::clone(&plugin) });
        Ok(plugin)
    }

    /// What the bytes of the plugin `name` show, or those of a `file` that need not be declared.
    pub(super) fn survey(
        &self,
        settings: &Settings,
        name: &str,
        file: Option<&Path>,
    ) -> Result<Survey, Error> {
        let declared = declaration(settings, name).map(|declaration| declaration.path.as_path());
        let source = match file.or(declared) {
            Some(path) => Some(Source::File { path, sha256: None }),
            None => bundled::source(name),
        };
        let selected_by = match file {
            Some(_) => COMMAND_LINE.to_owned(),
            None => declared_by(settings, name).to_string(),
        };
        Ok(match source {
            Some(source) => self.shelf.host.survey(name, selected_by, source)?,
            None => {
                let name = name.to_owned();
                Err(PluginError { name, selected_by, problem: Problem::Unknown })?
            }
        })
    }

    /// The plugin `name` with its options, ready to decide about `interface`.
    pub(super) fn policy(
        &self,
        settings: &Settings,
        name: &str,
        selected_by: &Origin,
        interface: Interface,
    ) -> Result<Policy, Error> {
        let plugin = self.plugin(settings, name, selected_by)?;
        plugin
            .policy(interface, &options(settings, name), selected_by.to_string())
            .map_err(|error| refine(settings, name, error))
    }

    /// Checks the options of the plugin `name` against its schema.
    pub(super) fn check(
        &self,
        settings: &Settings,
        name: &str,
        selected_by: &Origin,
    ) -> Result<(), Error> {
        let plugin = self.plugin(settings, name, selected_by)?;
        plugin
            .check(&options(settings, name))
            .map(drop)
            .map_err(|error| refine(settings, name, error))
    }
}

/// What the file at `path` is now; `None` when that cannot be told.
fn version(path: &Path) -> Option<Version> {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.size(), found.ctime(), found.ctime_nsec()))
}

/// The command that pins a declared plugin anew.
fn pin(name: &str, declaration: &Declaration) -> Option<String> {
    let role = declaration.origin.position().map(|position| position.file.role)?;
    let flag = match role {
        Role::User => "",
        Role::Project => " --project",
        Role::Local => " --local",
    };
    Some(format!(
        "hythe plugin add {} --name {name}{flag}",
        shell::word(&declaration.path.to_string_lossy())
    ))
}

/// What selects a plugin that nothing but a command names.
pub(super) const COMMAND_LINE: &str = "the command line";

/// Where the plugin `name` is declared.
pub(super) fn declared_by(settings: &Settings, name: &str) -> Origin {
    declaration(settings, name).map_or(Origin::BuiltIn, |declaration| declaration.origin.clone())
}

pub(super) fn declaration<'a>(settings: &'a Settings, name: &str) -> Option<&'a Declaration> {
    settings.plugins.get(name).and_then(|plugin| plugin.declaration.as_ref())
}

/// Whose word the plugin's code is.
pub(super) fn authority(settings: &Settings, name: &str) -> Authority {
    declaration(settings, name)
        .map_or(Authority::User, |declaration| declaration.origin.authority())
}

/// The realm of the keys that the plugin `name` derives. What a project's files decide about the
/// plugin, its code or only one of its options, confines the keys to the project: they must not
/// meet anybody else's. The bundled plugins cannot be led astray by options.
pub(super) fn realm(settings: &Settings, name: &str) -> Realm {
    let Some(plugin) = settings.plugins.get(name) else { return Realm::User };
    let Some(declaration) = &plugin.declaration else { return Realm::User };
    plugin
        .options
        .values()
        .map(|option| option.origin.authority())
        .chain([declaration.origin.authority()])
        .max()
        .map_or(Realm::User, Realm::from)
}

pub(super) fn options(settings: &Settings, name: &str) -> BTreeMap<String, Value> {
    settings.plugins.get(name).map_or_else(BTreeMap::new, |plugin| {
        let value = |(option, value): (&String, &crate::config::Set<Value>)| {
            (option.clone(), value.value.clone())
        };
        plugin.options.iter().map(value).collect()
    })
}

/// Says where the configuration sets a wrong option.
pub(super) fn refine(settings: &Settings, name: &str, error: NotAPolicy) -> Error {
    let set = |option: &str| {
        let plugin = settings.plugins.get(name);
        let set = plugin.and_then(|plugin| plugin.options.get(option));
        set.map_or_else(|| declared_by(settings, name), |option| option.origin.clone())
    };
    match error {
        NotAPolicy::Plugin(error) => error.into(),
        NotAPolicy::Option(error) => wrong_option(name, set(&error.option), error),
    }
}

/// An option that the plugin `name` does not take, set at `origin`.
pub(super) fn wrong_option(name: &str, origin: Origin, error: OptionError) -> Error {
    Error::Option { plugin: name.to_owned(), origin: Box::new(origin), error: Box::new(error) }
}

//! The policies that the configuration selects, loaded when they are needed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

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

/// Loads plugins by the names that the configuration gives them, each at most once.
pub(super) struct Strategies<'a> {
    host: PluginHost<'a>,
    loaded: RefCell<Loaded>,
}

/// Plugins by name and, unless they are bundled, file and pin: what one configuration pins says
/// nothing about what another does.
type Loaded = BTreeMap<(String, Option<Pinned>), Rc<Plugin>>;

/// A component's file, and the digest that its bytes must have.
type Pinned = (PathBuf, Option<Digest>);

impl<'a> Strategies<'a> {
    /// Strategies whose compiled plugins are kept in the directory `cache`; `waiting` is told the name
    /// of one that takes a while to be compiled.
    pub(super) fn new(
        limits: &Limits,
        cache: Option<&Path>,
        waiting: Waiting<'a>,
    ) -> Result<Self, Error> {
        let limits = wasm::Limits {
            fuel: limits.fuel.value,
            memory: limits.memory.value,
            module_size: limits.module_size.value,
            answer_size: limits.answer_size.value,
            stack: limits.stack.value,
            compile_time: limits.compile_time.value,
        };
        let host = PluginHost::new(limits, cache.map(Path::to_owned), waiting)?;
        Ok(Self { host, loaded: RefCell::default() })
    }

    /// The plugin `name`, which `selected_by` asks for.
    pub(super) fn plugin(
        &self,
        settings: &Settings,
        name: &str,
        selected_by: &Origin,
    ) -> Result<Rc<Plugin>, Error> {
        let declaration = declaration(settings, name);
        let pinned = declaration.map(|it| (it.path.clone(), it.sha256));
        self.once(name, pinned, || match (declaration, bundled::source(name)) {
            (Some(declaration @ Declaration { path, sha256, .. }), _) => {
                let sha256 = sha256.as_ref().map(ToString::to_string);
                let source = Source::File { path, sha256: sha256.as_deref() };
                let loaded = self.host.load(name, selected_by.to_string(), source);
                loaded.map_err(|error| Error::Plugin {
                    error: Box::new(error),
                    pin: pin(name, declaration),
                })
            }
            (None, Some(source)) => Ok(self.host.load(name, selected_by.to_string(), source)?),
            (None, None) => {
                let name = name.to_owned();
                let selected_by = selected_by.to_string();
                Err(PluginError { name, selected_by, problem: Problem::Unknown }.into())
            }
        })
    }

    /// The plugin in a file that need not be declared, called `name` in messages.
    pub(super) fn file(&self, name: &str, path: &Path) -> Result<Rc<Plugin>, Error> {
        self.once(name, Some((path.to_owned(), None)), || {
            let source = Source::File { path, sha256: None };
            Ok(self.host.load(name, COMMAND_LINE.to_owned(), source)?)
        })
    }

    /// What `load` loads, unless the plugin of this name, and this file and pin, has been loaded.
    fn once(
        &self,
        name: &str,
        pinned: Option<Pinned>,
        load: impl FnOnce() -> Result<Plugin, Error>,
    ) -> Result<Rc<Plugin>, Error> {
        let id = (name.to_owned(), pinned);
        if let Some(plugin) = self.loaded.borrow().get(&id) {
            return Ok(Rc::clone(plugin));
        }
        let plugin = Rc::new(load()?);
        self.loaded.borrow_mut().insert(id, Rc::clone(&plugin));
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
            Some(source) => self.host.survey(name, selected_by, source)?,
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

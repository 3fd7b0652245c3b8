//! The plugin host: policies as WebAssembly components in a sandbox without a single import.
//!
//! ```text
//! bytes ── load (digest, imports, versions) ──> Plugin ── with options ──> Policy
//!                   │                                                        │
//!               compiled.rs: once, then from the cache        v0.rs: one call, one fresh instance
//! ```
//!
//! A call runs in an instance of its own, with limits on fuel, memory, stack and the size of its
//! answer, and the instance is thrown away afterwards. Nothing of wasmtime leaves this module.

mod compiled;
mod error;
mod guard;
mod options;
mod tunables;
mod v0;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use wasmtime::component::{Component, Instance, InstancePre, Linker, types::ComponentItem};
use wasmtime::{Engine, Store};

pub use error::{PluginError, Problem};
pub use options::OptionError;

use crate::observed::Observed;
use crate::policy::{
    Cleanup, Failure, KeyDerivation, KeyRequest, PolicyError, PortSelection, SelectionRequest,
    Verdict,
};
use crate::port::PortRange;
use crate::time::Timestamp;
use guard::Guard;
use v0::{Answer, interface};

/// What a policy may use in one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Fuel: about one unit for each WebAssembly instruction.
    pub fuel: u64,
    /// Linear memory, in bytes.
    pub memory: u64,
    /// The size of a plugin's file, in bytes.
    pub module_size: u64,
    /// What an answer may hold, in bytes.
    pub answer_size: u64,
    /// The stack of the WebAssembly code, in bytes.
    pub stack: u64,
}

/// Loads plugins and runs them within its limits.
pub struct PluginHost {
    engine: Engine,
    limits: Limits,
    cache: Option<PathBuf>,
}

/// Where a plugin's code comes from.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// Part of this program: the component and its compiled form.
    Bundled {
        /// The component.
        component: &'static [u8],
        /// The component, compiled by this program's build.
        compiled: &'static [u8],
    },
    /// A component in a file.
    File {
        /// Where it is.
        path: &'a Path,
        /// The SHA-256 it must have, in hexadecimal, where the configuration pins it.
        sha256: Option<&'a str>,
    },
}

/// One policy interface of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interface {
    /// Derives keys.
    KeyDerivation,
    /// Selects ports.
    PortSelection,
    /// Reviews reservations.
    Cleanup,
}

impl Interface {
    /// Every policy interface.
    pub const ALL: [Self; 3] = [Self::KeyDerivation, Self::PortSelection, Self::Cleanup];

    /// The name of the interface, without package and version.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::KeyDerivation => "key-derivation",
            Self::PortSelection => "port-selection",
            Self::Cleanup => "cleanup",
        }
    }

    const fn export(self) -> &'static str {
        match self {
            Self::KeyDerivation => interface::KEY_DERIVATION,
            Self::PortSelection => interface::PORT_SELECTION,
            Self::Cleanup => interface::CLEANUP,
        }
    }
}

impl PluginHost {
    /// A host that keeps what it compiles in the directory `cache`, or nowhere.
    pub fn new(limits: Limits, cache: Option<PathBuf>) -> Result<Self, PluginError> {
        let engine = tunables::tunables(env!("HYTHE_TARGET"))
            .and_then(|mut config| {
                config.max_wasm_stack(usize::try_from(limits.stack)?);
                // Loading needs no compiler; `compiled` makes one when it has to.
                config.enable_compiler(false);
                Engine::new(&config)
            })
            .map_err(|error| PluginError {
                name: "host".to_owned(),
                selected_by: "built-in".to_owned(),
                problem: Problem::Host(format!("{error:#}")),
            })?;
        Ok(Self { engine, limits, cache })
    }

    /// Loads the plugin that the configuration calls `name`, as selected by `selected_by`.
    pub fn load(
        &self,
        name: &str,
        selected_by: String,
        source: Source<'_>,
    ) -> Result<Plugin, PluginError> {
        match self.admit(source) {
            Ok(admitted) => Ok(Plugin {
                name: name.to_owned(),
                selected_by,
                limits: self.limits,
                component: admitted.component,
                size: admitted.size,
                digest: admitted.digest,
                description: OnceCell::new(),
            }),
            Err(problem) => Err(PluginError { name: name.to_owned(), selected_by, problem }),
        }
    }

    fn admit(&self, source: Source<'_>) -> Result<Admitted, Problem> {
        match source {
            Source::Bundled { component: bytes, compiled } => {
                let component = compiled::embedded(&self.engine, compiled)?;
                let component = self.link(&component)?;
                Ok(Admitted { component, size: bytes.len(), digest: DigestOf::Embedded(bytes) })
            }
            Source::File { path, sha256 } => {
                let bytes = read(path, self.limits.module_size)?;
                let digest = hex(&Sha256::digest(&bytes));
                if let Some(pinned) = sha256
                    && !pinned.eq_ignore_ascii_case(&digest)
                {
                    return Err(Problem::Digest { found: digest, pinned: pinned.to_owned() });
                }
                let component =
                    compiled::load(&self.engine, &bytes, &digest, self.cache.as_deref())?;
                let component = self.inspect(&component)?;
                Ok(Admitted { component, size: bytes.len(), digest: DigestOf::Known(digest) })
            }
        }
    }

    /// Refuses what imports anything, and what speaks another version of the contract.
    fn inspect(&self, component: &Component) -> Result<InstancePre<Guard>, Problem> {
        let r#type = component.component_type();
        if let Some((name, _)) = r#type.imports(&self.engine).next() {
            return Err(Problem::Import(name.to_owned()));
        }
        for (name, item) in r#type.exports(&self.engine) {
            let Some(expected) =
                interface::ALL.into_iter().find(|known| same_interface(name, known))
            else {
                continue;
            };
            let instance = matches!(item.ty, ComponentItem::ComponentInstance(_));
            if !instance || component.get_export_index(None, expected).is_none() {
                return Err(Problem::Version { found: name.to_owned(), expected });
            }
        }
        if component.get_export_index(None, interface::INFO).is_none() {
            return Err(Problem::MissingExport(interface::INFO));
        }
        self.link(component)
    }

    fn link(&self, component: &Component) -> Result<InstancePre<Guard>, Problem> {
        Linker::new(&self.engine)
            .instantiate_pre(component)
            .map_err(|error| Problem::Invalid(format!("{error:#}")))
    }
}

/// Whether two exported names differ at most in their version.
fn same_interface(one: &str, other: &str) -> bool {
    let bare =
        |name: &str| name.split_once('@').map_or(name.to_owned(), |(bare, _)| bare.to_owned());
    bare(one) == bare(other)
}

struct Admitted {
    component: InstancePre<Guard>,
    size: usize,
    digest: DigestOf,
}

enum DigestOf {
    /// Only computed when somebody asks.
    Embedded(&'static [u8]),
    Known(String),
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Problem> {
    let unreadable = |error| Problem::Unreadable { path: path.to_owned(), error };
    // Opening a pipe would wait for somebody to write into it.
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(unreadable(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file",
        )));
    }
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > limit {
        return Err(Problem::TooLarge { size: metadata.len().max(limit + 1), limit });
    }
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A plugin that was admitted: it imports nothing and speaks this host's version of the contract.
pub struct Plugin {
    name: String,
    selected_by: String,
    limits: Limits,
    component: InstancePre<Guard>,
    size: usize,
    digest: DigestOf,
    description: OnceCell<Description>,
}

/// What a plugin says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its own name for itself.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One line for people.
    pub summary: String,
    /// The JSON Schema of its options, empty when it has none.
    pub options_schema: String,
}

impl Plugin {
    /// The size of its component, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// The SHA-256 of its component, in hexadecimal.
    #[must_use]
    pub fn digest(&self) -> String {
        match &self.digest {
            DigestOf::Embedded(bytes) => hex(&Sha256::digest(bytes)),
            DigestOf::Known(digest) => digest.clone(),
        }
    }

    /// Whether it exports this policy.
    #[must_use]
    pub fn exports(&self, interface: Interface) -> bool {
        self.component.component().get_export_index(None, interface.export()).is_some()
    }

    /// What it says of itself.
    pub fn describe(&self) -> Result<&Description, PluginError> {
        if let Some(description) = self.description.get() {
            return Ok(description);
        }
        let description =
            guard::call(&self.component, self.limits, |component, store, instance| {
                v0::describe(component, store, instance)
            })
            .map_err(|failure| self.problem(Problem::Description(failure.to_string())))?;
        let plain = |text: &str| text.len() <= 255 && !text.chars().any(char::is_control);
        let texts = [&description.name, &description.version, &description.summary];
        if !texts.into_iter().all(|text| plain(text)) {
            return Err(self.problem(Problem::Description(
                "its name, version or summary is longer than 255 bytes or contains control \
                 characters"
                    .to_owned(),
            )));
        }
        Ok(self.description.get_or_init(|| Description {
            name: description.name,
            version: description.version,
            summary: description.summary,
            options_schema: description.options_schema,
        }))
    }

    /// Its name and version, as it says them itself, or its configured name when it cannot.
    #[must_use]
    pub fn label(&self) -> String {
        self.describe().map_or_else(
            |_| self.name.clone(),
            |description| format!("{} {}", description.name, description.version),
        )
    }

    /// This plugin with its options, ready to decide; fails when it does not export `interface` or
    /// does not take the options.
    pub fn policy(
        self: &Rc<Self>,
        interface: Interface,
        options: &BTreeMap<String, Value>,
    ) -> Result<Policy, NotAPolicy> {
        if !self.exports(interface) {
            return Err(self.problem(Problem::MissingExport(interface.export())).into());
        }
        // The bundled plugins need no options: asking them for their schema would be for nothing.
        let unasked = options.is_empty() && matches!(self.digest, DigestOf::Embedded(_));
        let options = if unasked { "{}".to_owned() } else { self.check(options)? };
        Ok(Policy { plugin: Rc::clone(self), options })
    }

    /// The options as this plugin gets them, in JSON; fails when its schema does not allow them.
    pub fn check(&self, options: &BTreeMap<String, Value>) -> Result<String, NotAPolicy> {
        let schema = &self.describe()?.options_schema;
        let schema = options::Schema::parse(schema)
            .map_err(|reason| self.problem(Problem::Schema(reason)))?;
        Ok(schema.check(options)?)
    }

    fn problem(&self, problem: Problem) -> PluginError {
        PluginError { name: self.name.clone(), selected_by: self.selected_by.clone(), problem }
    }
}

/// Why a plugin and its options do not make a policy.
#[derive(Debug, thiserror::Error)]
pub enum NotAPolicy {
    /// The plugin cannot be used at all.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// An option is not what the plugin's schema allows.
    #[error(transparent)]
    Option(#[from] OptionError),
}

/// A plugin and its options: one or more policies, ready to decide.
pub struct Policy {
    plugin: Rc<Plugin>,
    options: String,
}

impl Policy {
    /// The plugin that decides.
    #[must_use]
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    fn ask<R>(
        &self,
        function: &'static str,
        call: impl FnOnce(
            &InstancePre<Guard>,
            &mut Store<Guard>,
            &Instance,
        ) -> wasmtime::Result<Answer<R>>,
    ) -> Result<R, PolicyError> {
        let failure = match guard::call(&self.plugin.component, self.plugin.limits, call) {
            Ok(Answer::Good(answer)) => return Ok(answer),
            Ok(Answer::Refused(reason)) => Failure::Refused(reason),
            Ok(Answer::Broken(what)) => Failure::Answer(what),
            Err(failure) => failure,
        };
        Err(PolicyError {
            plugin: self.plugin.label(),
            function,
            selected_by: self.plugin.selected_by.clone(),
            failure,
        })
    }
}

impl KeyDerivation for Policy {
    fn derive(&self, request: &KeyRequest<'_>) -> Result<String, PolicyError> {
        self.ask("key-derivation.derive", |component, store, instance| {
            v0::derive(component, store, instance, request, &self.options)
        })
    }
}

impl PortSelection for Policy {
    fn select(&self, request: &SelectionRequest<'_>) -> Result<Vec<PortRange>, PolicyError> {
        self.ask("port-selection.select", |component, store, instance| {
            v0::select(component, store, instance, request, &self.options)
        })
    }
}

impl Cleanup for Policy {
    fn review(
        &self,
        now: Timestamp,
        reservations: &[&Observed],
    ) -> Result<Vec<Verdict>, PolicyError> {
        self.ask("cleanup.review", |component, store, instance| {
            v0::review(component, store, instance, now, reservations, &self.options)
        })
    }
}

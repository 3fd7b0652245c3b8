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

mod cache;
mod compile;
mod compiled;
mod complexity;
mod encode;
mod error;
mod guard;
mod options;
mod plugin;
mod policy;
mod survey;
mod tunables;
mod v0;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre, Linker, types::ComponentItem};

pub(crate) use cache::leftovers;
pub use encode::{EncodeError, encode};
pub use error::{PluginError, Problem};
pub use guard::Usage;
pub use options::OptionError;
pub use plugin::{Description, NotAPolicy, Plugin};
pub use policy::Policy;
pub use survey::Survey;

use guard::Guard;
use plugin::DigestOf;
use v0::interface;

/// What a policy may use in one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
    /// How long compiling a plugin may take.
    pub compile_time: Duration,
}

/// Loads plugins and runs them within its limits.
pub struct PluginHost {
    engine: Engine,
    limits: Limits,
    cache: Option<PathBuf>,
}

/// Is told the name of a plugin that takes a while to be compiled.
pub type Waiting<'a> = dyn Fn(&str) + 'a;

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

    /// Its function, as `INTERFACE.FUNCTION`.
    #[must_use]
    pub const fn function(self) -> &'static str {
        match self {
            Self::KeyDerivation => "key-derivation.derive",
            Self::PortSelection => "port-selection.select",
            Self::Cleanup => "cleanup.review",
        }
    }

    /// The name it is exported under, with package and version.
    #[must_use]
    pub const fn export(self) -> &'static str {
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

    /// Loads the plugin that the configuration calls `name`, as selected by `selected_by`; `waiting` is
    /// told when that takes a while.
    pub fn load(
        &self,
        name: &str,
        selected_by: String,
        source: Source<'_>,
        waiting: &Waiting<'_>,
    ) -> Result<Plugin, PluginError> {
        match self.admit(name, source, waiting) {
            Ok(admitted) => Ok(Plugin {
                name: name.to_owned(),
                selected_by,
                limits: self.limits,
                component: admitted.component,
                size: admitted.size,
                digest: admitted.digest,
                description: OnceLock::new(),
                keys: Mutex::default(),
            }),
            Err(problem) => Err(PluginError { name: name.to_owned(), selected_by, problem }),
        }
    }

    /// What the bytes of a plugin show, whether or not it can be used.
    pub fn survey(
        &self,
        name: &str,
        selected_by: String,
        source: Source<'_>,
    ) -> Result<Survey, PluginError> {
        let survey = |bytes: &[u8]| Survey::read(bytes).map_err(Problem::Invalid);
        let surveyed = match source {
            Source::Bundled { component, .. } => survey(component),
            Source::File { path, .. } => {
                read(path, self.limits.module_size).and_then(|bytes| survey(&bytes))
            }
        };
        let name = name.to_owned();
        surveyed.map_err(|problem| PluginError { name, selected_by, problem })
    }

    fn admit(
        &self,
        name: &str,
        source: Source<'_>,
        waiting: &Waiting<'_>,
    ) -> Result<Admitted, Problem> {
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
                    let (path, pinned) = (path.to_owned(), pinned.to_owned());
                    return Err(Problem::Digest { path, found: digest, pinned });
                }
                let time = self.limits.compile_time;
                let cache = self.cache.as_deref();
                let component =
                    compiled::load(&self.engine, &bytes, &digest, cache, time, &|| {
                        waiting(name);
                    })?;
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
                let newer = version(name) > version(expected);
                return Err(Problem::Version { found: name.to_owned(), expected, newer });
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

/// The version in an exported name; `None`, the oldest of all, when there is none.
fn version(name: &str) -> Option<semver::Version> {
    name.split_once('@').and_then(|(_, version)| version.parse().ok())
}

struct Admitted {
    component: InstancePre<Guard>,
    size: usize,
    digest: DigestOf,
}

/// The bytes of a file of at most `limit` bytes.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Problem> {
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

/// In hexadecimal, lower case.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

//! `plugin …`: what the authors and the users of policies ask about plugins.

mod declare;
mod encode;
mod examine;
mod exercise;
mod measure;
mod new;
mod simulate;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::strategy::{COMMAND_LINE, Strategies};
use super::{Engine, Error, strategy};
use crate::config::{BUNDLED, Origin, Set};
use crate::wasm::{
    Description, Interface, NotAPolicy, OptionError, Plugin, PluginError, Policy, Problem,
};

pub use declare::{AddRequest, Declared, RemoveRequest};
pub use examine::{CheckReport, Checked, Inspection, TypicalCall};
pub use exercise::{BenchReport, TestReport, TestRequest};
pub use measure::Cost;
pub use simulate::Simulated;

/// A plugin that somebody asks about, and how.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Which one.
    pub plugin: Which,
    /// Options for this question alone. Those of a declared plugin replace the configured ones one
    /// by one.
    pub options: BTreeMap<String, Value>,
}

/// Which plugin is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// One that is bundled or declared here, by its name.
    Named(String),
    /// One in a file, whether or not it is declared.
    File(PathBuf),
}

impl Which {
    /// The name that messages call it by.
    fn name(&self) -> String {
        match self {
            Self::Named(name) => name.clone(),
            Self::File(path) => path.file_name().map_or_else(
                || path.display().to_string(),
                |name| name.to_string_lossy().into_owned(),
            ),
        }
    }
}

/// What is known of a plugin that this place could use.
#[derive(Debug, Clone)]
pub struct PluginFacts {
    /// The name the configuration gives it.
    pub name: String,
    /// Where it comes from: `None` for a bundled one, else the file.
    pub path: Option<PathBuf>,
    /// Where that was said.
    pub declared_by: Origin,
    /// What this place uses it for, as in `key`, `selection`, `cleanup`.
    pub used_for: Vec<&'static str>,
    /// What was found in it; `Err` says why it cannot be used.
    pub found: Result<FoundPlugin, String>,
}

/// What was found in a plugin.
#[derive(Debug, Clone)]
pub struct FoundPlugin {
    /// What it says of itself.
    pub description: Description,
    /// The policies it exports.
    pub policies: Vec<Interface>,
    /// The size of its component, in bytes.
    pub size: usize,
    /// The SHA-256 of its component, in hexadecimal.
    pub sha256: String,
}

impl Engine<'_> {
    /// The plugin that `text` means: the name of one that is bundled or declared here, else a path
    /// that starts from this directory.
    #[must_use]
    pub fn which(&self, text: &str) -> Which {
        if BUNDLED.contains(&text) || strategy::declaration(self.settings(), text).is_some() {
            Which::Named(text.to_owned())
        } else {
            Which::File(self.place.directory.join(text))
        }
    }

    /// The plugins that this place could use: the bundled ones, then what its files declare.
    #[must_use]
    pub fn plugins(&self) -> Vec<PluginFacts> {
        let declared = self.settings().plugins.keys().map(String::as_str);
        let declared = declared.filter(|name| !BUNDLED.contains(name));
        BUNDLED.iter().copied().chain(declared).map(|name| self.plugin_facts(name)).collect()
    }

    fn plugin_facts(&self, name: &str) -> PluginFacts {
        let declaration = strategy::declaration(self.settings(), name);
        let declared_by = strategy::declared_by(self.settings(), name);
        let found = self
            .strategies
            .plugin(self.settings(), name, &declared_by)
            .and_then(|plugin| found(&plugin));
        PluginFacts {
            name: name.to_owned(),
            path: declaration.map(|declaration| declaration.path.clone()),
            declared_by,
            used_for: self.used_for(name),
            found: found.map_err(|error| error.to_string()),
        }
    }

    fn used_for(&self, name: &str) -> Vec<&'static str> {
        let strategy = &self.settings().strategy;
        [
            ("key", strategy.key.value == name),
            ("selection", strategy.selection.value == name),
            ("cleanup", strategy.cleanup.value.iter().any(|cleanup| cleanup == name)),
        ]
        .into_iter()
        .filter_map(|(policy, used)| used.then_some(policy))
        .collect()
    }

    /// Checks what reading the files alone cannot tell: that every plugin that is declared or used can
    /// be used, and takes the options it is given; and that every variable of `[env]` has a value here.
    /// Answers with everything that is wrong.
    #[must_use]
    pub fn check(&self) -> Vec<Error> {
        let settings = self.settings();
        let strategy = &settings.strategy;
        let used = |choice: &Set<String>, interface| {
            self.strategies.policy(settings, &choice.value, &choice.origin, interface).map(drop)
        };
        let declared = settings.plugins.keys().map(|name| {
            self.strategies.check(settings, name, &strategy::declared_by(settings, name))
        });
        let mut errors: Vec<_> = declared.filter_map(Result::err).collect();
        errors.extend(used(&strategy.key, Interface::KeyDerivation).err());
        errors.extend(used(&strategy.selection, Interface::PortSelection).err());
        for name in &strategy.cleanup.value {
            let choice = Set { value: name.clone(), origin: strategy.cleanup.origin.clone() };
            errors.extend(used(&choice, Interface::Cleanup).err());
        }
        errors.extend(self.check_environment());
        let mut seen = std::collections::HashSet::new();
        errors.retain(|error| seen.insert(error.to_string()));
        errors
    }

    /// The plugin that is asked about.
    fn asked(&self, which: &Which) -> Result<Arc<Plugin>, Error> {
        self.asked_of(&self.strategies, which)
    }

    /// The plugin that is asked about, which has to decide something, in the types of the contract,
    /// and to take options.
    fn usable(&self, which: &Which) -> Result<Arc<Plugin>, Error> {
        let plugin = self.asked(which)?;
        if plugin.policies().is_empty() {
            return Err(self.problem(which, Problem::NoPolicy));
        }
        plugin.check_types()?;
        plugin.check_schema()?;
        Ok(plugin)
    }

    fn problem(&self, which: &Which, problem: Problem) -> Error {
        PluginError { name: which.name(), selected_by: self.asked_by(which), problem }.into()
    }

    fn asked_by(&self, which: &Which) -> String {
        match which {
            Which::Named(name) => strategy::declared_by(self.settings(), name).to_string(),
            Which::File(_) => COMMAND_LINE.to_owned(),
        }
    }

    fn asked_of(&self, strategies: &Strategies<'_>, which: &Which) -> Result<Arc<Plugin>, Error> {
        match which {
            Which::Named(name) => {
                let declared_by = strategy::declared_by(self.settings(), name);
                strategies.plugin(self.settings(), name, &declared_by)
            }
            Which::File(path) => strategies.file(&which.name(), path),
        }
    }

    /// The file of the plugin that is asked about; `None` for a bundled one.
    fn path<'s>(&'s self, which: &'s Which) -> Option<&'s Path> {
        match which {
            Which::Named(name) => strategy::declaration(self.settings(), name)
                .map(|declaration| declaration.path.as_path()),
            Which::File(path) => Some(path),
        }
    }

    /// The options of the plugin that is asked about.
    fn options(&self, subject: &Subject) -> BTreeMap<String, Value> {
        let mut options = match &subject.plugin {
            Which::Named(name) => strategy::options(self.settings(), name),
            Which::File(_) => BTreeMap::new(),
        };
        options.extend(subject.options.clone());
        options
    }

    /// The plugin that is asked about with its options, ready to decide about `interface`.
    fn asked_policy(&self, subject: &Subject, interface: Interface) -> Result<Policy, Error> {
        let plugin = self.asked(&subject.plugin)?;
        let policy =
            plugin.policy(interface, &self.options(subject), self.asked_by(&subject.plugin));
        policy.map_err(|error| self.blame(subject, error))
    }

    /// Says who set a wrong option: the command line, or the configuration of a declared plugin.
    fn blame(&self, subject: &Subject, error: NotAPolicy) -> Error {
        let name = subject.plugin.name();
        let declared = matches!(subject.plugin, Which::Named(_));
        match error {
            NotAPolicy::Option(wrong)
                if !declared || subject.options.contains_key(&wrong.option) =>
            {
                let given = subject.options.contains_key(&wrong.option);
                let hint = (!given).then(|| format!("--option {}=VALUE", wrong.option));
                let wrong = OptionError { hint: wrong.hint.clone().or(hint), ..wrong };
                strategy::wrong_option(&name, Origin::Flag("--option"), wrong)
            }
            error => strategy::refine(self.settings(), &name, error),
        }
    }
}

fn found(plugin: &Arc<Plugin>) -> Result<FoundPlugin, Error> {
    Ok(FoundPlugin {
        description: plugin.describe()?.clone(),
        policies: plugin.policies(),
        size: plugin.size(),
        sha256: plugin.digest(),
    })
}

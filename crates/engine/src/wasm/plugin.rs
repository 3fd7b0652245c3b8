//! A plugin that was admitted, and what it says of itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use wasmtime::component::InstancePre;

use super::guard::{self, Guard};
use super::options::{OptionError, Schema};
use super::policy::Policy;
use super::{Interface, Limits, PluginError, Problem, hex, v0};
use crate::policy::{Failure, KeyFacts};

/// A plugin that was admitted: it imports nothing and speaks this host's version of the contract.
pub struct Plugin {
    pub(super) name: String,
    pub(super) selected_by: String,
    pub(super) limits: Limits,
    pub(super) component: InstancePre<Guard>,
    pub(super) size: usize,
    pub(super) digest: DigestOf,
    pub(super) description: OnceLock<Description>,
    /// The keys it has derived, by its options and what it was told.
    pub(super) keys: Mutex<BTreeMap<(String, KeyFacts), String>>,
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

    /// The policies that it exports.
    #[must_use]
    pub fn policies(&self) -> Vec<Interface> {
        Interface::ALL.into_iter().filter(|interface| self.exports(*interface)).collect()
    }

    /// Fails when one of its functions does not have the types of the contract.
    pub fn check_types(&self) -> Result<(), PluginError> {
        let (outcome, _) = guard::call(&self.component, self.limits, v0::check);
        outcome.map_err(|failure| {
            self.problem(match failure {
                Failure::Mistyped(what) => Problem::Types(what),
                failure => Problem::Invalid(failure.to_string()),
            })
        })
    }

    /// What it says of itself.
    pub fn describe(&self) -> Result<&Description, PluginError> {
        if let Some(description) = self.description.get() {
            return Ok(description);
        }
        let (description, _) =
            guard::call(&self.component, self.limits, |component, store, instance| {
                v0::describe(component, store, instance)
            });
        let description = description
            .map_err(|failure| self.problem(Problem::Description(failure.to_string())))?;
        let texts = [&description.name, &description.version, &description.summary];
        if !texts.into_iter().all(|text| plain(text)) {
            return Err(self.problem(Problem::Description(
                "its name, version or summary is longer than 255 bytes, or contains control \
                 characters or others that hide or reorder text"
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

    /// This plugin with its options, selected by `selected_by` and ready to decide; fails when it does not export `interface` or
    /// does not take the options.
    pub fn policy(
        self: &Arc<Self>,
        interface: Interface,
        options: &BTreeMap<String, Value>,
        selected_by: String,
    ) -> Result<Policy, NotAPolicy> {
        if !self.exports(interface) {
            let (name, problem) = (self.name.clone(), Problem::MissingExport(interface.export()));
            return Err(PluginError { name, selected_by, problem }.into());
        }
        // The bundled plugins need no options: asking them for their schema would be for nothing.
        let unasked = options.is_empty() && matches!(self.digest, DigestOf::Embedded(_));
        let options = if unasked { "{}".to_owned() } else { self.check(options)? };
        Ok(Policy::new(Arc::clone(self), options, selected_by))
    }

    /// Fails when the schema of its options cannot be used.
    pub fn check_schema(&self) -> Result<(), PluginError> {
        self.schema().map(drop)
    }

    fn schema(&self) -> Result<Schema, PluginError> {
        Schema::parse(&self.describe()?.options_schema)
            .map_err(|reason| self.problem(Problem::Schema(reason)))
    }

    /// The options as this plugin gets them, in JSON; fails when its schema does not allow them.
    pub fn check(&self, options: &BTreeMap<String, Value>) -> Result<String, NotAPolicy> {
        Ok(self.schema()?.check(options)?)
    }

    fn problem(&self, problem: Problem) -> PluginError {
        PluginError { name: self.name.clone(), selected_by: self.selected_by.clone(), problem }
    }
}

/// Whether `text` is short and looks like what it is: some characters without a shape of their own
/// reorder or hide what stands around them (Unicode 17.0, 23.2 and UAX #9).
fn plain(text: &str) -> bool {
    let disguises = |c: char| {
        matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    text.len() <= 255 && !text.chars().any(|c| c.is_control() || disguises(c))
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

/// How the digest of a plugin is known.
pub(super) enum DigestOf {
    /// Only computed when somebody asks.
    Embedded(&'static [u8]),
    Known(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_says_of_itself_looks_like_what_it_is() {
        for text in ["", "stick\u{e9}", "\u{645}\u{646}\u{641}\u{630}", &"x".repeat(255)] {
            assert!(plain(text), "{text:?}");
        }
        let wrong =
            "\n\u{1b}\u{85}\u{200b}\u{200e}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}\u{feff}";
        for wrong in wrong.chars() {
            assert!(!plain(&format!("a{wrong}b")), "{wrong:?}");
        }
        assert!(!plain(&"x".repeat(256)));
    }
}

//! A plugin with its options: the policies of the domain, each call in an instance of its own.

use std::cell::Cell;
use std::sync::{Arc, PoisonError};

use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use super::Interface;
use super::guard::{self, Guard, Usage};
use super::plugin::Plugin;
use super::v0::{self, Answer};
use crate::observed::Observed;
use crate::policy::{
    Cleanup, Failure, KeyDerivation, KeyFacts, KeyRequest, PolicyError, PortSelection,
    SelectionRequest, Verdict,
};
use crate::port::PortRange;
use crate::time::Timestamp;

/// How many keys a plugin remembers; then it forgets them all.
const MOST_KEYS: usize = 4096;

/// A plugin and its options: one or more policies, ready to decide.
pub struct Policy {
    plugin: Arc<Plugin>,
    options: String,
    selected_by: String,
    usage: Cell<Usage>,
}

impl Policy {
    pub(super) fn new(plugin: Arc<Plugin>, options: String, selected_by: String) -> Self {
        Self { plugin, options, selected_by, usage: Cell::default() }
    }

    /// The plugin that decides.
    #[must_use]
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// Its options, as it gets them: a JSON object.
    #[must_use]
    pub fn options(&self) -> &str {
        &self.options
    }

    /// What the last call used; nothing before the first.
    #[must_use]
    pub fn last_usage(&self) -> Usage {
        self.usage.get()
    }

    /// As [`KeyDerivation::derive`], but what was derived before from the same facts is not derived
    /// again: a policy is a pure function. A process that serves is asked for the same keys all day.
    pub fn derive_once(&self, request: &KeyRequest<'_>) -> Result<String, PolicyError> {
        let asked = (self.options.clone(), KeyFacts::from(request));
        // Nothing that can panic is done while they are held.
        let keys = || self.plugin.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = keys().get(&asked) {
            return Ok(key.clone());
        }
        let key = self.derive(request)?;
        let mut keys = keys();
        if keys.len() >= MOST_KEYS {
            keys.clear();
        }
        keys.insert(asked, key.clone());
        Ok(key)
    }

    fn ask<R>(
        &self,
        interface: Interface,
        call: impl FnOnce(
            &InstancePre<Guard>,
            &mut Store<Guard>,
            &Instance,
        ) -> wasmtime::Result<Answer<R>>,
    ) -> Result<R, PolicyError> {
        let (outcome, usage) = guard::call(&self.plugin.component, self.plugin.limits, call);
        self.usage.set(usage);
        let failure = match outcome {
            Ok(Answer::Good(answer)) => return Ok(answer),
            Ok(Answer::Refused(reason)) => Failure::Refused(reason),
            Ok(Answer::Broken(what)) => Failure::Answer(what),
            Err(failure) => failure,
        };
        Err(PolicyError {
            plugin: self.plugin.label(),
            function: interface.function(),
            selected_by: self.selected_by.clone(),
            failure,
        })
    }
}

impl KeyDerivation for Policy {
    fn derive(&self, request: &KeyRequest<'_>) -> Result<String, PolicyError> {
        self.ask(Interface::KeyDerivation, |component, store, instance| {
            v0::derive(component, store, instance, request, &self.options)
        })
    }
}

impl PortSelection for Policy {
    fn select(&self, request: &SelectionRequest<'_>) -> Result<Vec<PortRange>, PolicyError> {
        self.ask(Interface::PortSelection, |component, store, instance| {
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
        self.ask(Interface::Cleanup, |component, store, instance| {
            v0::review(component, store, instance, now, reservations, &self.options)
        })
    }
}

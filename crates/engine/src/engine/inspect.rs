//! `get`, `list`, `show`, `log`, `plugin list`: what only looks.

use std::rc::Rc;

use super::release::missing;
use super::{Engine, Error, ListFilter, Listed, strategy};
use crate::config::{BUNDLED, Origin, Set};
use crate::event::Event;
use crate::ledger::{EventFilter, Ledger};
use crate::port::Port;
use crate::reservation::{Reservation, Scope, Service};
use crate::wasm::{Description, Interface, Plugin};

/// What is known of a plugin that this place could use.
#[derive(Debug, Clone)]
pub struct PluginFacts {
    /// The name the configuration gives it.
    pub name: String,
    /// Where it comes from: `None` for a bundled one, else the file.
    pub path: Option<std::path::PathBuf>,
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
    /// The reservation of a service in this place. Reads only; takes no lock and probes nothing.
    pub fn get(&self, service: &Service, scope: Option<Scope>) -> Result<Reservation, Error> {
        let keys = self.keys(std::slice::from_ref(service), scope, false)?;
        let found = self.ledger()?.map_or(Ok(None), |ledger| match keys.first() {
            Some((key, _)) => ledger.find(key),
            None => Ok(None),
        })?;
        found.ok_or_else(|| missing(service))
    }

    /// The reservations that `filter` admits, by port.
    pub fn list(&self, filter: &ListFilter) -> Result<Vec<Listed>, Error> {
        let mut reservations = match self.ledger()? {
            Some(ledger) => ledger.reservations()?,
            None => Vec::new(),
        };
        reservations.retain(|reservation| filter.admits(reservation));
        let observed = self.observe(reservations).into_iter();
        Ok(observed.map(|(observed, holder)| Listed { observed, holder }).collect())
    }

    /// The reservation that has a port, and the world around it.
    pub fn show_port(&self, port: Port) -> Result<Listed, Error> {
        let found = self.ledger()?.map_or(Ok(None), |ledger| ledger.at(port))?;
        let reservation = found.ok_or_else(|| Error::NotFound {
            what: format!("port {port} is not reserved"),
            hint: Some("hythe list".to_owned()),
        })?;
        Ok(self.listed(reservation))
    }

    /// The reservation of a service in this place, and the world around it.
    pub fn show(&self, service: &Service, scope: Option<Scope>) -> Result<Listed, Error> {
        self.get(service, scope).map(|reservation| self.listed(reservation))
    }

    fn listed(&self, reservation: Reservation) -> Listed {
        let standing = self.standing(&reservation);
        let observed = self.observed(reservation, &standing);
        Listed { observed, holder: standing.holder }
    }

    /// What happened, oldest first.
    pub fn events(&self, filter: &EventFilter) -> Result<Vec<Event>, Error> {
        let ledger: Option<Ledger> = self.ledger()?;
        Ok(ledger.map_or(Ok(Vec::new()), |ledger| ledger.events(filter))?)
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
        let declared_by =
            declaration.map_or(Origin::BuiltIn, |declaration| declaration.origin.clone());
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

    /// Checks what only loading can tell: that every plugin that is declared or used can be used,
    /// and takes the options it is given. Answers with everything that is wrong.
    #[must_use]
    pub fn check(&self) -> Vec<Error> {
        let settings = self.settings();
        let strategy = &settings.strategy;
        let used = |choice: &Set<String>, interface| {
            self.strategies.policy(settings, &choice.value, &choice.origin, interface).map(drop)
        };
        let declared = settings.plugins.keys().map(|name| {
            let origin = strategy::declaration(settings, name)
                .map_or(Origin::BuiltIn, |declaration| declaration.origin.clone());
            self.strategies.check(settings, name, &origin)
        });
        let mut errors: Vec<_> = declared.filter_map(Result::err).collect();
        errors.extend(used(&strategy.key, Interface::KeyDerivation).err());
        errors.extend(used(&strategy.selection, Interface::PortSelection).err());
        for name in &strategy.cleanup.value {
            let choice = Set { value: name.clone(), origin: strategy.cleanup.origin.clone() };
            errors.extend(used(&choice, Interface::Cleanup).err());
        }
        let mut seen = std::collections::HashSet::new();
        errors.retain(|error| seen.insert(error.to_string()));
        errors
    }
}

fn found(plugin: &Rc<Plugin>) -> Result<FoundPlugin, Error> {
    Ok(FoundPlugin {
        description: plugin.describe()?.clone(),
        policies: Interface::ALL.into_iter().filter(|policy| plugin.exports(*policy)).collect(),
        size: plugin.size(),
        sha256: plugin.digest(),
    })
}

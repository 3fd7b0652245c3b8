//! `plugin simulate`: a strategy at work for days, without touching the ledger.

use super::super::{Engine, Error};
use super::measure::{Cost, Measured};
use super::{Subject, Which};
use crate::config::Set;
use crate::policy::Cleanup;
use crate::port::PortSet;
use crate::simulation::{self, Policies, Report, SimulationError, Workload};
use crate::wasm::{Interface, Policy};

/// What a simulation found out.
#[derive(Debug)]
pub struct Simulated {
    /// Who decided: `key`, `selection` or `cleanup`, and the plugin, as `NAME VERSION`.
    pub strategy: Vec<(&'static str, String)>,
    /// What came of the workload.
    pub report: Report,
    /// What the calls of each policy cost.
    pub costs: Vec<Cost>,
}

impl Engine<'_> {
    /// Plays a workload through the strategy of this place, in which `subject`, if there is one,
    /// decides whatever it exports. The ports, `ports.freeze` and `ports.on_conflict` are those of
    /// the configuration; what they say in `workload` does not matter.
    pub fn simulate(
        &self,
        subject: Option<&Subject>,
        workload: &Workload,
    ) -> Result<Simulated, Error> {
        let settings = self.settings();
        let workload = Workload {
            freeze: settings.ports.freeze.value,
            on_conflict: settings.ports.on_conflict.value,
            ..workload.clone()
        };
        let strategy = &settings.strategy;
        let key = self.simulated(subject, &strategy.key, Interface::KeyDerivation)?;
        let selection = self.simulated(subject, &strategy.selection, Interface::PortSelection)?;
        let cleanup = self.simulated_cleanup(subject)?;
        let mut plugins = vec![("key", key.policy()), ("selection", selection.policy())];
        plugins.extend(cleanup.iter().map(|(_, policy)| ("cleanup", policy.policy())));
        let plugins = plugins.into_iter();
        let names = plugins.map(|(policy, plugin)| (policy, plugin.plugin().label())).collect();
        let policies = Policies {
            key: &key,
            selection: &selection,
            cleanup: cleanup
                .iter()
                .map(|(name, policy)| (name.as_str(), policy as &dyn Cleanup))
                .collect(),
        };
        let filter = self.filter(PortSet::new(), PortSet::new());
        let report =
            simulation::simulate(&workload, filter, &policies).map_err(|error| match error {
                SimulationError::Policy(error) => error.into(),
                SimulationError::Workload(error) => Error::Usage(error.to_string()),
            })?;
        let mut costs = Vec::new();
        costs.extend(key.cost(Interface::KeyDerivation.function()));
        costs.extend(selection.cost(Interface::PortSelection.function()));
        let cleanup = cleanup.into_iter();
        costs.extend(cleanup.filter_map(|(_, policy)| policy.cost(Interface::Cleanup.function())));
        Ok(Simulated { strategy: names, report, costs })
    }

    /// The subject, where it decides this, else what the configuration selects.
    fn simulated(
        &self,
        subject: Option<&Subject>,
        choice: &Set<String>,
        interface: Interface,
    ) -> Result<Measured, Error> {
        let policy = match self.deciding(subject, interface)? {
            Some(policy) => policy,
            None => {
                let settings = self.settings();
                self.strategies.policy(settings, &choice.value, &choice.origin, interface)?
            }
        };
        Ok(Measured::new(policy))
    }

    /// The cleanup policies in force, after the subject where it is one.
    fn simulated_cleanup(
        &self,
        subject: Option<&Subject>,
    ) -> Result<Vec<(String, Measured)>, Error> {
        let settings = self.settings();
        let choice = &settings.strategy.cleanup;
        let first = self.deciding(subject, Interface::Cleanup)?;
        let first = first
            .into_iter()
            .zip(subject)
            .map(|(policy, subject)| Ok((subject.plugin.name(), Measured::new(policy))));
        let named = subject.map(|subject| &subject.plugin);
        let rest = choice.value.iter().filter(|name| named != Some(&Which::Named((*name).clone())));
        let rest = rest.map(|name| {
            let policy =
                self.strategies.policy(settings, name, &choice.origin, Interface::Cleanup)?;
            Ok((name.clone(), Measured::new(policy)))
        });
        first.chain(rest).collect()
    }

    fn deciding(
        &self,
        subject: Option<&Subject>,
        interface: Interface,
    ) -> Result<Option<Policy>, Error> {
        let Some(subject) = subject else { return Ok(None) };
        match self.usable(&subject.plugin)?.exports(interface) {
            true => self.asked_policy(subject, interface).map(Some),
            false => Ok(None),
        }
    }
}

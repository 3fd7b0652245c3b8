//! The verbs of Hythe, and the only place that orders effects: open, observe, plan, apply.

mod assert;
mod cleanup;
mod configure;
mod doctor;
mod environment;
mod error;
mod explain;
mod hold;
mod hooks;
mod import;
mod init;
mod inspect;
mod map;
mod notice;
mod observe;
mod ownership;
mod plugin;
mod release;
mod relocate;
mod replace;
mod request;
mod reserve;
mod scan;
mod strategy;
mod wait;
mod watch;

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

pub use assert::{Assertion, Shown};
pub use configure::{Configured, ExcludeRequest, SetRequest};
pub use doctor::{DoctorRequest, Finding, Status};
pub use environment::{Environment, EnvironmentRequest};
pub use error::{Error, ErrorKind, Proposed};
pub use explain::{Explanation, PolicyCall};
pub use hold::{Heed, Held};
pub use import::{Fate, ImportNote, ImportReport, ImportRequest, ImportedEntry};
pub use init::{Begun, Contents, InitRequest};
pub use inspect::ProjectUse;
pub use map::{PortMap, PortState};
pub use notice::Notice;
pub use plugin::{
    AddRequest, BenchReport, CheckReport, Checked, Cost, Declared, FoundPlugin, Inspection,
    PluginFacts, RemoveRequest, Simulated, Subject, TestReport, TestRequest, TypicalCall, Which,
};
pub use relocate::{RelocateRequest, Relocated};
pub use request::{
    CleanupRequest, ListFilter, Listed, Named, Outcome, ReleaseRequest, ReserveRequest, Reserved,
    Target,
};
pub use reserve::{AdoptRequest, Adopted};
pub use scan::{Found, ScanRequest, compact};
pub use strategy::Plugins;
pub use wait::{Until, WaitRequest, Waited};
pub use watch::Watcher;

use crate::config::{Config, ConfigError, ConfigFiles, Overrides, Set, Settings};
use crate::event::{Change, Event};
use crate::ledger::{Ledger, LedgerError, LedgerProblem};
use crate::lock;
use crate::place::Place;
use crate::placement::Filter;
use crate::policy::{KeyDerivation, KeyRequest};
use crate::port::{PortRange, PortSet};
use crate::reservation::{Key, Label, Scope, Service};
use crate::system::System;
use crate::wasm::{Interface, Policy};
use strategy::Strategies;

/// Where an engine finds what it works with. Every path is absolute.
#[derive(Debug, Clone)]
pub struct Home {
    /// Where the user's configuration is.
    pub config: ConfigFiles,
    /// The directory of the ledger and its lock.
    pub state: PathBuf,
    /// The directory of compiled plugins; without one they are compiled each time.
    pub cache: Option<PathBuf>,
    /// The sockets of daemons that may run containers, such as Docker's. Those that are not there
    /// are passed over.
    pub containers: Vec<PathBuf>,
    /// Plugins that were loaded already, by engines of this process that had them as well.
    pub plugins: Plugins,
}

/// Hythe as it is for one directory: its place, its configuration, its policies.
pub struct Engine<'a> {
    system: &'a dyn System,
    report: &'a dyn Fn(&Notice),
    place: Place,
    config: Config,
    strategies: Strategies<'a>,
    home: &'a Home,
    /// What was committed and no hook has been told of yet.
    untold: RefCell<Vec<Event>>,
}

impl<'a> Engine<'a> {
    /// Opens the engine for `directory`. Reads configuration and nothing else: no plugin is loaded
    /// and no ledger opened before an operation needs it.
    ///
    /// `report` is told what an operation has to say beside its result, while it happens.
    pub fn open(
        system: &'a dyn System,
        home: &'a Home,
        overrides: Overrides,
        directory: &Path,
        report: &'a dyn Fn(&Notice),
    ) -> Result<Self, Error> {
        let place = locate(system, directory)?;
        let config = Config::load(&home.config, &place, overrides)?;
        Self::with(system, home, place, config, report)
    }

    /// Opens the engine although its configuration may be wrong: then what is built in holds instead.
    /// Beside it, what is wrong.
    pub fn open_despite(
        system: &'a dyn System,
        home: &'a Home,
        overrides: Overrides,
        directory: &Path,
        report: &'a dyn Fn(&Notice),
    ) -> Result<(Self, Vec<ConfigError>), Error> {
        let place = locate(system, directory)?;
        let (config, faults) = match Config::load(&home.config, &place, overrides) {
            Ok(config) => (config, Vec::new()),
            Err(error) => {
                let mut faults = Config::faults(&home.config, &place);
                // Only what flags or variables say is wrong.
                if faults.is_empty() {
                    faults.push(error);
                }
                (Config::built_in(&home.config), faults)
            }
        };
        Ok((Self::with(system, home, place, config, report)?, faults))
    }

    fn with(
        system: &'a dyn System,
        home: &'a Home,
        place: Place,
        config: Config,
        report: &'a dyn Fn(&Notice),
    ) -> Result<Self, Error> {
        tracing::debug!(root = ?place.root(), state = ?home.state, "opened");
        let waiting = |plugin: &str| report(&Notice::Compiling { plugin: plugin.to_owned() });
        let limits = &config.settings().limits;
        let cache = home.cache.as_deref();
        let strategies = Strategies::new(&home.plugins, limits, cache, Rc::new(waiting))?;
        let untold = RefCell::default();
        Ok(Self { system, report, place, config, strategies, home, untold })
    }

    /// Hythe as it is for another directory. What flags and variables say holds here alone.
    fn elsewhere(&self, directory: &Path) -> Result<Self, Error> {
        let place = locate(self.system, directory)?;
        let config = Config::load(&self.home.config, &place, Overrides::default())?;
        Ok(self.at(place, config))
    }

    /// Hythe as it is for another place, under this configuration of it. Plugins are loaded once.
    fn at(&self, place: Place, config: Config) -> Self {
        let Self { system, report, home, .. } = *self;
        let strategies = self.strategies.clone();
        Self { system, report, place, config, strategies, home, untold: RefCell::default() }
    }

    /// The directory the engine works for, and the checkout around it.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// The configuration that holds there.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The file of the ledger.
    #[must_use]
    pub fn ledger_path(&self) -> PathBuf {
        self.home.state.join("ledger.db")
    }

    fn settings(&self) -> &Settings {
        self.config.settings()
    }

    fn tell(&self, notice: &Notice) {
        (self.report)(notice);
    }

    /// The ledger for reading; `None` when there is none. One that an earlier version wrote is brought
    /// up to date first, and that alone needs the right to write.
    fn ledger(&self) -> Result<Option<Ledger>, Error> {
        match Ledger::open(&self.ledger_path()) {
            Err(LedgerError { problem: LedgerProblem::Outdated, .. }) => {
                self.writing(|_| Ok(()))?;
                Ok(Ledger::open(&self.ledger_path())?)
            }
            ledger => Ok(ledger?),
        }
    }

    /// Runs `work` on the ledger, if there is one, while no other process writes to it; then the hooks
    /// of what it has committed.
    fn writing<T>(
        &self,
        work: impl FnOnce(Option<Ledger>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let path = self.ledger_path();
        let outcome = self.holding("ledger.lock", || work(Ledger::open_for_writing(&path)?));
        self.run_hooks();
        outcome
    }

    /// Runs `work` while this process alone holds a lock in the state directory.
    fn holding<T>(&self, lock: &str, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let state = &self.home.state;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(state)
            .map_err(|error| Error::State { path: state.clone(), error })?;
        let waiting = |lock: &Path| self.tell(&Notice::Waiting { lock: lock.to_owned() });
        lock::hold(&state.join(lock), self.settings().lock_timeout.value, waiting, work)?
    }

    /// Writes what was decided, into a new ledger when there is none yet.
    fn commit(
        &self,
        ledger: Option<Ledger>,
        changes: &[Change],
        cleaned: bool,
    ) -> Result<(), Error> {
        if changes.is_empty() && !cleaned {
            return Ok(());
        }
        let now = self.system.now();
        let events = match ledger {
            Some(mut ledger) => ledger.commit(now, changes, cleaned)?,
            None => Ledger::create(&self.ledger_path(), now, changes, cleaned)?,
        };
        self.untold.borrow_mut().extend(events);
        tracing::debug!(changes = changes.len(), cleaned, "committed");
        Ok(())
    }

    /// The project that this place belongs to: as configured, else the name of its repository.
    fn project(&self) -> Option<Label> {
        let configured = self.settings().project.as_ref().map(|project| project.value.clone());
        configured.or_else(|| {
            let checkout = self.place.checkout.as_ref()?;
            checkout.name.as_deref().and_then(Label::nearest)
        })
    }

    /// What may be given here, while these ports are reserved and frozen.
    fn filter(&self, reserved: PortSet, frozen: PortSet) -> Filter {
        let ports = &self.settings().ports;
        let set = |ranges: &[Set<PortRange>]| -> PortSet {
            ranges.iter().flat_map(|range| range.value.ports()).collect()
        };
        Filter {
            range: ports.range.value,
            excluded: set(&ports.exclude),
            allowed: set(&ports.allow),
            ephemeral: self.system.ephemeral_range(),
            first_unprivileged: self.system.first_unprivileged(),
            reserved,
            frozen,
        }
    }

    /// What the reservation of a service belongs to: as asked for, else as configured.
    fn scope(&self, service: &Service, asked: Option<Scope>) -> Scope {
        let configured = || Some(self.settings().services.get(service)?.scope());
        asked.or_else(configured).unwrap_or_default()
    }

    fn key_policy(&self) -> Result<Policy, Error> {
        let choice = &self.settings().strategy.key;
        let interface = Interface::KeyDerivation;
        self.strategies.policy(self.settings(), &choice.value, &choice.origin, interface)
    }

    /// The keys of services in this place, and how they were derived, where that is to be explained.
    fn keys<'s>(
        &self,
        services: impl IntoIterator<Item = &'s Service>,
        asked: Option<Scope>,
        explained: bool,
    ) -> Result<Vec<(Key, Option<PolicyCall>)>, Error> {
        let choice = &self.settings().strategy.key;
        let (policy, mut load) = explain::timed(|| self.key_policy());
        let policy = policy?;
        let project = self.project();
        let derive = |service: &Service| {
            let request = KeyRequest {
                scope: self.scope(service, asked),
                service,
                place: &self.place,
                project: project.as_ref(),
            };
            // What is explained is asked anew.
            let (text, call) = explain::timed(|| match explained {
                true => policy.derive(&request),
                false => policy.derive_once(&request),
            });
            let key = Key { realm: strategy::realm(self.settings(), &choice.value), text: text? };
            tracing::debug!(%service, key = key.text, plugin = choice.value, ?load, ?call, "derived");
            let call = explained.then(|| PolicyCall {
                policy: "key",
                plugin: policy.plugin().label(),
                selected_by: choice.origin.to_string(),
                options: explain::options(&policy),
                told: explain::told_key(&request),
                answered: key.text.clone().into(),
                load: std::mem::take(&mut load),
                call,
            });
            Ok((key, call))
        };
        services.into_iter().map(derive).collect()
    }
}

fn locate(system: &dyn System, directory: &Path) -> Result<Place, Error> {
    let unusable = |error| Error::Place { path: directory.to_owned(), error };
    system.locate(directory).map_err(unusable)
}

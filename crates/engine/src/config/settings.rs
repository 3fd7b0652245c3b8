//! What the configuration comes to for one directory.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;

use super::choice::Choice;
use super::digest::Digest;
use super::file::Layer;
use super::hook::Hook;
use super::origin::{Authority, Origin, Set};
use crate::port::{Port, PortRange};
use crate::reservation::{Label, Lease, NameError, Scope, Service, words};
use crate::variable::{Template, VariableName};

/// The plugins that need no declaration.
pub const BUNDLED: &[&str] = &["path-sticky", "pid-reap", "ttl"];

/// Every setting that holds for a directory, and where each was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `[ports]`
    pub ports: Ports,
    /// `[strategy]`
    pub strategy: Strategy,
    /// `[plugins]`: the plugins that a file mentions, bundled ones among them. Every plugin that
    /// [`Settings::strategy`] names is bundled or has a declaration here.
    pub plugins: BTreeMap<String, PluginSettings>,
    /// `[services]`: the services that a file mentions.
    pub services: BTreeMap<Service, ServiceSettings>,
    /// `[env]`: variables that follow from ports, project and checkout.
    pub env: BTreeMap<VariableName, Set<Template>>,
    /// `project`: the name of the project; `None` leaves it to be found out.
    pub project: Option<Set<Label>>,
    /// `cleanup.every`: how often cleanup runs of itself when a new key is reserved. The user's
    /// word alone. Built in: one hour.
    pub cleanup_every: Set<Duration>,
    /// `ledger.lock_timeout`: how long to wait for another writer. The user's word alone. Built in:
    /// ten seconds.
    pub lock_timeout: Set<Duration>,
    /// `[limits]`
    pub limits: Limits,
    /// `[[hook]]`: what is run after events, in the order of the file. The user's word alone.
    pub hooks: Vec<Set<Hook>>,
    /// The directory of the project's files; `None` when there are none.
    pub project_directory: Option<PathBuf>,
}

/// Which ports are given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports {
    /// `ports.range`: where new ports are chosen. A project can only narrow it. Built in:
    /// 20000-29999, below the ephemeral range of every system and above the well-known services.
    pub range: Set<PortRange>,
    /// `ports.exclude`: ports that are never given, in all layers together, the weakest first.
    pub exclude: Vec<Set<PortRange>>,
    /// `ports.allow`: ports that the user wants although they are privileged, blocked by browsers
    /// or ephemeral. The user's word alone.
    pub allow: Vec<Set<PortRange>>,
    /// `ports.freeze`: how long a released port is given to no other key. The user's word alone,
    /// because it protects others. Built in: one hour.
    pub freeze: Set<Duration>,
    /// `ports.on_conflict`. Built in: [`OnConflict::Move`].
    pub on_conflict: Set<OnConflict>,
}

/// What happens when somebody else's process holds a reserved port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnConflict {
    /// The reservation keeps its port.
    Keep,
    /// The reservation gets another port.
    #[default]
    Move,
    /// The operation fails.
    Fail,
}

words!(OnConflict, "conflict rule", Keep = "keep", Move = "move", Fail = "fail");

/// The policies in force, by the names of their plugins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strategy {
    /// `strategy.key`: derives keys. Built in: `path-sticky`.
    pub key: Set<String>,
    /// `strategy.selection`: selects ports. Built in: `path-sticky`.
    pub selection: Set<String>,
    /// `strategy.cleanup`: the first of them that does not pass decides. Built in: `path-sticky`,
    /// `pid-reap`, `ttl`.
    pub cleanup: Set<Vec<String>>,
}

/// What the files say about one plugin.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PluginSettings {
    /// Where it is; `None` for a bundled plugin that no file of the user's replaces.
    pub declaration: Option<Declaration>,
    /// Its options. Each comes from the strongest layer that says it; the plugin's own schema says
    /// which there are.
    pub options: BTreeMap<String, Set<Value>>,
}

/// Where a plugin is. Its [`Origin::authority`] says how far it may decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    /// The component, absolute.
    pub path: PathBuf,
    /// What its bytes must hash to; always there when a project declares it.
    pub sha256: Option<Digest>,
    /// Where its path was set.
    pub origin: Origin,
}

/// What the files say about one service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceSettings {
    /// The preferred port.
    pub port: Option<Set<Port>>,
    /// What its reservation belongs to.
    pub scope: Option<Set<Scope>>,
    /// How long its reservation is meant to last.
    pub lease: Option<Set<Lease>>,
    /// How long its reservation lives without being asked for.
    pub ttl: Option<Set<Duration>>,
    /// The variable that gets its port; by default [`VariableName::of`] the service.
    pub env: Option<Set<VariableName>>,
    /// How far its port is above the base of its block: services with an offset and the same scope
    /// get ports from a common base.
    pub offset: Option<Set<u16>>,
    /// Where the project's files mention it first: such services are the project's group. `None` for
    /// a service of which only the user's file says something.
    pub declared: Option<Origin>,
}

/// What a plugin may use, in one call or before the first. The user's word alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Fuel, roughly one unit for each WebAssembly instruction. Built in: 10,000,000.
    pub fuel: Set<u64>,
    /// Linear memory in bytes. Built in: 16 MiB.
    pub memory: Set<u64>,
    /// The component's file in bytes. Built in: 4 MiB.
    pub module_size: Set<u64>,
    /// An answer in bytes. Built in: 1 MiB.
    pub answer_size: Set<u64>,
    /// The stack in bytes. Built in: 256 KiB.
    pub stack: Set<u64>,
    /// How long compiling a plugin may take. Built in: one minute.
    pub compile_time: Set<Duration>,
}

/// What flags and environment variables say, each value with the [`Origin`] of the one that won.
/// They are the user's word and stronger than every file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `ports.range`
    pub range: Option<Set<PortRange>>,
    /// `ports.on_conflict`
    pub on_conflict: Option<Set<OnConflict>>,
    /// `ledger.lock_timeout`
    pub lock_timeout: Option<Set<Duration>>,
    /// `project`
    pub project: Option<Set<Label>>,
    /// `strategy`: of several choices for the same policy the last one holds.
    pub strategy: Vec<Set<Choice>>,
    /// Whether no hook is run: what a hook does must not run hooks.
    pub hookless: bool,
}

impl Overrides {
    /// These, and where they say nothing, `weaker` ones.
    #[must_use]
    pub fn over(self, weaker: &Self) -> Self {
        let weaker = weaker.clone();
        Self {
            range: self.range.or(weaker.range),
            on_conflict: self.on_conflict.or(weaker.on_conflict),
            lock_timeout: self.lock_timeout.or(weaker.lock_timeout),
            project: self.project.or(weaker.project),
            strategy: weaker.strategy.into_iter().chain(self.strategy).collect(),
            hookless: self.hookless || weaker.hookless,
        }
    }
}

impl From<Overrides> for Layer {
    fn from(overrides: Overrides) -> Self {
        let Overrides { range, on_conflict, lock_timeout, project, strategy, hookless } = overrides;
        let mut layer =
            Self { project, range, on_conflict, lock_timeout, hookless, ..Self::default() };
        for Set { value, origin } in strategy {
            match value {
                Choice::Key(value) => layer.key = Some(Set { value, origin }),
                Choice::Selection(value) => layer.selection = Some(Set { value, origin }),
                Choice::Cleanup(value) => layer.cleanup = Some(Set { value, origin }),
            }
        }
        layer
    }
}

impl Settings {
    /// What holds when nobody says anything.
    #[must_use]
    pub fn built_in() -> Self {
        const FIRST: Option<Port> = Port::new(20_000);
        const LAST: Option<Port> = Port::new(29_999);
        let range = FIRST.zip(LAST).and_then(|(first, last)| PortRange::new(first, last));
        let name = || Set::built_in(BUNDLED[0].to_owned());
        Self {
            ports: Ports {
                // The constants are a range, as a test says.
                range: Set::built_in(range.unwrap_or(PortRange::ALL)),
                exclude: Vec::new(),
                allow: Vec::new(),
                freeze: Set::built_in(Duration::from_hours(1)),
                on_conflict: Set::built_in(OnConflict::default()),
            },
            strategy: Strategy {
                key: name(),
                selection: name(),
                cleanup: Set::built_in(BUNDLED.iter().map(|name| (*name).to_owned()).collect()),
            },
            plugins: BTreeMap::new(),
            services: BTreeMap::new(),
            env: BTreeMap::new(),
            project: None,
            cleanup_every: Set::built_in(Duration::from_hours(1)),
            lock_timeout: Set::built_in(Duration::from_secs(10)),
            limits: Limits {
                fuel: Set::built_in(10_000_000),
                memory: Set::built_in(16 << 20),
                module_size: Set::built_in(4 << 20),
                answer_size: Set::built_in(1 << 20),
                stack: Set::built_in(256 << 10),
                compile_time: Set::built_in(Duration::from_mins(1)),
            },
            hooks: Vec::new(),
            project_directory: None,
        }
    }

    /// Adds a stronger layer.
    pub(super) fn apply(&mut self, layer: &Layer) {
        replace(&mut self.ports.range, layer.range.as_ref());
        self.ports.exclude.extend_from_slice(&layer.exclude);
        self.ports.allow.extend_from_slice(&layer.allow);
        replace(&mut self.ports.freeze, layer.freeze.as_ref());
        replace(&mut self.ports.on_conflict, layer.on_conflict.as_ref());
        replace(&mut self.strategy.key, layer.key.as_ref());
        replace(&mut self.strategy.selection, layer.selection.as_ref());
        replace(&mut self.strategy.cleanup, layer.cleanup.as_ref());
        for (name, (_, said)) in &layer.plugins {
            let plugin = self.plugins.entry(name.clone()).or_default();
            // What the user has declared stays the user's, though a project declares the same bytes.
            let is_users = |it: &Declaration| it.origin.authority() == Authority::User;
            let kept = plugin.declaration.as_ref().is_some_and(is_users);
            let said_now = said.declaration.as_ref().filter(|it| !kept || is_users(it));
            fill(&mut plugin.declaration, said_now);
            let options = said.options.iter().map(|(key, value)| (key.clone(), value.clone()));
            plugin.options.extend(options);
        }
        for (name, said) in &layer.services {
            let service = self.services.entry(name.clone()).or_default();
            fill(&mut service.port, said.port.as_ref());
            fill(&mut service.scope, said.scope.as_ref());
            fill(&mut service.lease, said.lease.as_ref());
            fill(&mut service.ttl, said.ttl.as_ref());
            fill(&mut service.env, said.env.as_ref());
            fill(&mut service.offset, said.offset.as_ref());
            if service.declared.is_none() {
                service.declared.clone_from(&said.declared);
            }
        }
        self.env.extend(layer.env.iter().map(|(name, value)| (name.clone(), value.clone())));
        fill(&mut self.project, layer.project.as_ref());
        replace(&mut self.cleanup_every, layer.cleanup_every.as_ref());
        replace(&mut self.lock_timeout, layer.lock_timeout.as_ref());
        replace(&mut self.limits.fuel, layer.fuel.as_ref());
        replace(&mut self.limits.memory, layer.memory.as_ref());
        replace(&mut self.limits.module_size, layer.module_size.as_ref());
        replace(&mut self.limits.answer_size, layer.answer_size.as_ref());
        replace(&mut self.limits.stack, layer.stack.as_ref());
        replace(&mut self.limits.compile_time, layer.compile_time.as_ref());
        if layer.hookless {
            self.hooks.clear();
        }
        self.hooks.extend_from_slice(&layer.hooks);
    }
}

fn replace<T: Clone>(value: &mut T, stronger: Option<&T>) {
    if let Some(stronger) = stronger {
        value.clone_from(stronger);
    }
}

fn fill<T: Clone>(value: &mut Option<T>, stronger: Option<&T>) {
    if let Some(stronger) = stronger {
        *value = Some(stronger.clone());
    }
}

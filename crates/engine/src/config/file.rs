//! What a file can say: the keys of `config.toml`, `hythe.toml` and `hythe.local.toml`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use toml::de::DeValue;

use super::error::{ConfigError, Fault};
use super::hook::{self, Hook};
use super::origin::{Origin, Role, Set};
use super::rule::{Pattern, Rule, anchor};
use super::settings::{Declaration, OnConflict, PluginSettings, ServiceSettings};
use super::source::Source;
use super::table::Table;
use super::value;
use crate::port::PortRange;
use crate::reservation::{Label, Service};
use crate::variable::{Template, VariableName};

/// What one file, or one rule of it, says: everything is optional.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer {
    pub(super) project: Option<Set<Label>>,
    pub(super) range: Option<Set<PortRange>>,
    pub(super) exclude: Vec<Set<PortRange>>,
    pub(super) allow: Vec<Set<PortRange>>,
    pub(super) freeze: Option<Set<Duration>>,
    pub(super) on_conflict: Option<Set<OnConflict>>,
    pub(super) key: Option<Set<String>>,
    pub(super) selection: Option<Set<String>>,
    pub(super) cleanup: Option<Set<Vec<String>>>,
    /// With the place where each plugin is first mentioned.
    pub(super) plugins: BTreeMap<String, (Origin, PluginSettings)>,
    pub(super) services: BTreeMap<Service, ServiceSettings>,
    pub(super) env: BTreeMap<VariableName, Set<Template>>,
    pub(super) cleanup_every: Option<Set<Duration>>,
    pub(super) lock_timeout: Option<Set<Duration>>,
    pub(super) fuel: Option<Set<u64>>,
    pub(super) memory: Option<Set<u64>>,
    pub(super) module_size: Option<Set<u64>>,
    pub(super) answer_size: Option<Set<u64>>,
    pub(super) stack: Option<Set<u64>>,
    pub(super) compile_time: Option<Set<Duration>>,
    pub(super) hooks: Vec<Set<Hook>>,
    /// Whether the hooks of the weaker layers do not run.
    pub(super) hookless: bool,
}

/// A whole file. Only the user's has rules.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) layer: Layer,
    pub(super) rules: Vec<Rule>,
}

impl File {
    /// Reads a file; `~/` in it stands for `home`.
    pub(super) fn read(source: &Source, home: Option<&Path>) -> Result<Self, ConfigError> {
        let document = source.parse()?;
        let mut table = Table::root(source, document.get_ref());
        table.only_the_user_may_say(&["cleanup", "ledger", "limits", "hook", "directory"])?;
        let mut layer = Layer::read(&mut table, home)?;
        if let Some(mut cleanup) = table.take_table("cleanup")? {
            layer.cleanup_every = cleanup.take("every", value::duration)?;
            cleanup.finish()?;
        }
        if let Some(mut ledger) = table.take_table("ledger")? {
            layer.lock_timeout = ledger.take("lock_timeout", value::duration)?;
            ledger.finish()?;
        }
        if let Some(mut limits) = table.take_table("limits")? {
            layer.fuel = limits.take("fuel", value::count)?;
            layer.memory = limits.take("memory", value::size)?;
            layer.module_size = limits.take("module_size", value::size)?;
            layer.answer_size = limits.take("answer_size", value::size)?;
            layer.stack = limits.take("stack", value::stack)?;
            layer.compile_time = limits.take("compile_time", value::duration)?;
            limits.finish()?;
        }
        let hooks = table.take_tables("hook")?.into_iter();
        layer.hooks = hooks.map(|hook| hook::read(hook, home)).collect::<Result<_, _>>()?;
        let rules = table.take_tables("directory")?.into_iter();
        let rules = rules.map(|rule| read_rule(rule, home)).collect::<Result<_, _>>()?;
        table.finish()?;
        Ok(Self { layer, rules })
    }
}

impl Layer {
    /// Reads the keys that every file and every rule can have.
    fn read(table: &mut Table<'_>, home: Option<&Path>) -> Result<Self, ConfigError> {
        let mut layer = Self { project: table.take("project", value::parsed)?, ..Self::default() };
        if let Some(mut ports) = table.take_table("ports")? {
            ports.only_the_user_may_say(&["allow", "freeze"])?;
            layer.range = ports.take("range", value::range)?;
            layer.exclude = ports.take_each("exclude", value::ports)?;
            layer.allow = ports.take_each("allow", value::ports)?;
            layer.freeze = ports.take("freeze", value::duration)?;
            layer.on_conflict = ports.take("on_conflict", value::parsed)?;
            ports.finish()?;
        }
        if let Some(mut strategy) = table.take_table("strategy")? {
            layer.key = strategy.take("key", |name| value::plugin(value::text(name)?))?;
            layer.selection =
                strategy.take("selection", |name| value::plugin(value::text(name)?))?;
            layer.cleanup = strategy.take("cleanup", value::plugins)?;
            strategy.finish()?;
        }
        if let Some(plugins) = table.take_table("plugins")? {
            for (name, plugin) in plugins.tables(value::plugin)? {
                let settings = read_plugin(plugin, &name.value, home)?;
                layer.plugins.insert(name.value, (name.origin, settings));
            }
        }
        if let Some(services) = table.take_table("services")? {
            for (name, service) in services.tables(|name| name.parse().map_err(Fault::new))? {
                layer.services.insert(name.value, read_service(service, name.origin)?);
            }
        }
        if let Some(env) = table.take_table("env")? {
            for (name, value) in
                env.entries(|name| name.parse::<VariableName>().map_err(Fault::new), value::parsed)?
            {
                if name.value.is_sensitive() && table.source.file.role != Role::User {
                    let message = format!("only the user's file may set `{}`", name.value);
                    return Err(Fault::new(message).hint(SENSITIVE).at(&name.origin));
                }
                layer.env.insert(name.value, value);
            }
        }
        Ok(layer)
    }
}

fn read_rule(mut table: Table<'_>, home: Option<&Path>) -> Result<Rule, ConfigError> {
    let directory = table.source.file.directory();
    let read = |text: &str| Ok((text.to_owned(), Pattern::new(text, directory, home)?));
    let Some(pattern) = table.take("match", |pattern| read(value::text(pattern)?))? else {
        let fault = Fault::new("this [[directory]] rule says no `match`")
            .hint("say which directories it is about, such as `match = \"~/work/**\"`");
        return Err(table.fault_at("match", fault));
    };
    let (text, pattern) = pattern.value;
    table.begin_rule(&text);
    let layer = Layer::read(&mut table, home)?;
    table.finish()?;
    Ok(Rule { pattern, layer })
}

fn read_plugin(
    mut table: Table<'_>,
    name: &str,
    home: Option<&Path>,
) -> Result<PluginSettings, ConfigError> {
    let file = &table.source.file;
    let resolve = |text: &str| {
        if text.is_empty() {
            return Err(Fault::new("a path cannot be empty"));
        }
        let (anchor, rest) = anchor(text, file.directory(), home)?;
        Ok(anchor.join(rest.trim_start_matches('/')))
    };
    let path = table.take("path", |path| resolve(value::text(path)?))?;
    let sha256 = table.take("sha256", value::digest)?.map(|digest| digest.value);
    let options = match table.take_table("options")? {
        Some(options) => options.values(value::json)?,
        None => Vec::new(),
    };
    let options = options.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let declaration = match (path, sha256) {
        (Some(path), sha256) => {
            if sha256.is_none() && file.role != Role::User {
                let fault = Fault::new(format_args!(
                    "plugin `{name}` is not pinned: `sha256` is missing"
                ))
                .hint("add its `sha256`, which `sha256sum FILE` or `shasum -a 256 FILE` prints");
                return Err(table.fault_at("path", fault));
            }
            Some(Declaration { path: path.value, sha256, origin: path.origin })
        }
        (None, Some(_)) => {
            let fault = Fault::new(format_args!("plugin `{name}` has a `sha256` but no `path`"))
                .hint("a file that pins a plugin says its `path` as well");
            return Err(table.fault_at("sha256", fault));
        }
        (None, None) => None,
    };
    table.finish()?;
    Ok(PluginSettings { declaration, options })
}

/// Why a project may not set a variable.
const SENSITIVE: &str =
    "it decides which programs run or what they load; call the variable otherwise";

fn read_service(mut table: Table<'_>, name: Origin) -> Result<ServiceSettings, ConfigError> {
    let role = table.source.file.role;
    let env = |value: &DeValue<'_>| {
        let name: VariableName = value::parsed(value)?;
        if name.is_sensitive() && role != Role::User {
            return Err(
                Fault::new(format_args!("only the user's file may set `{name}`")).hint(SENSITIVE)
            );
        }
        Ok(name)
    };
    let service = ServiceSettings {
        port: table.take("port", value::port)?,
        scope: table.take("scope", value::parsed)?,
        lease: table.take("lease", value::parsed)?,
        ttl: table.take("ttl", value::duration)?,
        env: table.take("env", env)?,
        offset: table.take("offset", value::offset)?,
        declared: (role != Role::User).then_some(name),
    };
    table.finish()?;
    Ok(service)
}

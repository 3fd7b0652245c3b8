//! Settings as a list of names and values, in the words of the configuration files.

use std::time::Duration;

use serde_json::Value;

use super::hook::Hook;
use super::origin::{Origin, Set};
use super::settings::Settings;
use super::value::UNITS;
use crate::port::PortRange;

/// One setting, as a file could say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The dotted key, as in `ports.range` or `services."@shop/web".port`.
    pub name: String,
    /// The value in TOML.
    pub value: String,
    /// Where it was set; for a list that all layers add to, one for each element, or the built-in
    /// origin when it is empty.
    pub origins: Vec<&'a Origin>,
}

impl Settings {
    /// Every setting that has a value, always in the same order.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry<'_>> {
        let mut list = Entries(Vec::new());
        let ports = &self.ports;
        list.add("ports.range", &ports.range, |range| quoted(&range.to_string()));
        list.union("ports.exclude", &ports.exclude);
        list.union("ports.allow", &ports.allow);
        list.add("ports.freeze", &ports.freeze, duration);
        list.add("ports.on_conflict", &ports.on_conflict, |word| quoted(word.word()));
        list.add("strategy.key", &self.strategy.key, |name| quoted(name));
        list.add("strategy.selection", &self.strategy.selection, |name| quoted(name));
        list.add("strategy.cleanup", &self.strategy.cleanup, |names| {
            array(names.iter().map(|name| quoted(name)))
        });
        for (name, plugin) in &self.plugins {
            let prefix = format!("plugins.{}", key(name));
            if let Some(declaration) = &plugin.declaration {
                let path = quoted(&declaration.path.to_string_lossy());
                list.push(format!("{prefix}.path"), path, &declaration.origin);
                if let Some(digest) = &declaration.sha256 {
                    let digest = quoted(&digest.to_string());
                    list.push(format!("{prefix}.sha256"), digest, &declaration.origin);
                }
            }
            for (option, value) in &plugin.options {
                list.add(&format!("{prefix}.options.{}", key(option)), value, toml);
            }
        }
        for (name, service) in &self.services {
            let name = |field| format!("services.{}.{field}", key(name.as_str()));
            list.add_some(&name("port"), service.port.as_ref(), ToString::to_string);
            list.add_some(&name("scope"), service.scope.as_ref(), |word| quoted(word.word()));
            list.add_some(&name("lease"), service.lease.as_ref(), |word| quoted(word.word()));
            list.add_some(&name("ttl"), service.ttl.as_ref(), duration);
        }
        list.add_some("project", self.project.as_ref(), |project| quoted(project.as_str()));
        list.add("cleanup.every", &self.cleanup_every, duration);
        list.add("ledger.lock_timeout", &self.lock_timeout, duration);
        list.add("limits.fuel", &self.limits.fuel, ToString::to_string);
        list.add("limits.memory", &self.limits.memory, |bytes| size(*bytes));
        list.add("limits.module_size", &self.limits.module_size, |bytes| size(*bytes));
        list.add("limits.answer_size", &self.limits.answer_size, |bytes| size(*bytes));
        list.add("limits.stack", &self.limits.stack, |bytes| size(*bytes));
        list.add("limits.compile_time", &self.limits.compile_time, duration);
        list.each("hook", &self.hooks, hook);
        list.0
    }
}

struct Entries<'a>(Vec<Entry<'a>>);

impl<'a> Entries<'a> {
    fn push(&mut self, name: String, value: String, origin: &'a Origin) {
        self.0.push(Entry { name, value, origins: vec![origin] });
    }

    fn add<T>(&mut self, name: &str, set: &'a Set<T>, write: impl FnOnce(&T) -> String) {
        self.push(name.to_owned(), write(&set.value), &set.origin);
    }

    fn add_some<T>(
        &mut self,
        name: &str,
        set: Option<&'a Set<T>>,
        write: impl FnOnce(&T) -> String,
    ) {
        if let Some(set) = set {
            self.add(name, set, write);
        }
    }

    fn union(&mut self, name: &str, ranges: &'a [Set<PortRange>]) {
        self.each(name, ranges, |range| ports(*range));
    }

    fn each<T>(&mut self, name: &str, elements: &'a [Set<T>], write: impl Fn(&T) -> String) {
        let value = array(elements.iter().map(|element| write(&element.value)));
        let mut origins: Vec<_> = elements.iter().map(|element| &element.origin).collect();
        if origins.is_empty() {
            origins.push(&Origin::BuiltIn);
        }
        self.0.push(Entry { name: name.to_owned(), value, origins });
    }
}

pub(super) fn ports(range: PortRange) -> String {
    if range.first() == range.last() {
        range.first().to_string()
    } else {
        quoted(&range.to_string())
    }
}

fn hook(hook: &Hook) -> String {
    let on = array(hook.on.iter().map(|kind| quoted(kind.word())));
    let command = array(hook.command().map(|word| quoted(&word.to_string_lossy())));
    let timeout = duration(&hook.timeout);
    format!("{{ on = {on}, command = {command}, timeout = {timeout} }}")
}

fn duration(duration: &Duration) -> String {
    quoted(&humantime::format_duration(*duration).to_string())
}

fn size(bytes: u64) -> String {
    match UNITS.iter().find(|(_, factor)| bytes.is_multiple_of(*factor)) {
        Some((unit, factor)) => quoted(&format!("{}{unit}", bytes / factor)),
        None => bytes.to_string(),
    }
}

fn toml(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(items) => array(items.iter().map(toml)),
        Value::Object(entries) => {
            let entries: Vec<_> = entries
                .iter()
                .map(|(name, value)| format!("{} = {}", key(name), toml(value)))
                .collect();
            if entries.is_empty() {
                "{}".to_owned()
            } else {
                format!("{{ {} }}", entries.join(", "))
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

fn array(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// A key, bare where TOML allows it (<https://toml.io/en/v1.0.0#keys>).
pub(crate) fn key(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !name.is_empty() && name.bytes().all(bare) { name.to_owned() } else { quoted(name) }
}

/// `text` as a basic string of TOML (<https://toml.io/en/v1.0.0#string>).
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.extend(format!("\\u{:04X}", u32::from(c)).chars()),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_toml_and_means_the_same() {
        let text = "tab\t, quote \", back\\slash, bell \u{7}, delete \u{7f}, ß, 🦀, line\nline";
        let value = serde_json::json!({
            "a.b": [1, -2.5, 1e300, true, text], "": {}, "c-d": { "ß": [], "e": "x" },
        });
        let document = format!("x = {}", toml(&value));
        let read: toml::Table = toml::from_str(&document).unwrap();
        assert_eq!(serde_json::to_value(&read["x"]).unwrap(), value, "{document}");
    }

    #[test]
    fn sizes_are_written_in_their_largest_unit() {
        let written = [1, 1024, 1536, 16 << 20, 3 << 30, 1025].map(size);
        assert_eq!(written, ["1", "\"1KiB\"", "1536", "\"16MiB\"", "\"3GiB\"", "1025"]);
    }
}

//! Reading a TOML table key by key, so that every value keeps its place and no key is overlooked.

use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::error::{ConfigError, Fault};
use super::origin::{Origin, Role, Set};
use super::source::Source;
use super::value::{found, shown};

/// A table whose keys are asked for one after the other. [`Table::finish`] refuses what nobody
/// asked for.
pub(super) struct Table<'a> {
    pub(super) source: &'a Source,
    entries: &'a DeTable<'a>,
    /// Where it begins.
    offset: usize,
    /// The keys that lead here; none for the whole file.
    path: Vec<String>,
    /// The pattern of the `[[directory]]` rule that it belongs to.
    rule: Option<Arc<str>>,
    known: Vec<&'static str>,
}

/// Names and values, each with its place.
type Entries<N, T> = Vec<(Set<N>, Set<T>)>;

impl<'a> Table<'a> {
    /// The whole file.
    pub(super) fn root(source: &'a Source, entries: &'a DeTable<'a>) -> Self {
        Self { source, entries, offset: 0, path: Vec::new(), rule: None, known: Vec::new() }
    }

    /// From now on the values belong to the rule with this pattern.
    pub(super) fn begin_rule(&mut self, pattern: &str) {
        self.rule = Some(pattern.into());
    }

    /// The value of `key`, if it is there.
    pub(super) fn take<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, Fault>,
    ) -> Result<Option<Set<T>>, ConfigError> {
        self.get(key).map(|value| self.read(value, read)).transpose()
    }

    /// The elements of the array `key`; none if it is not there.
    pub(super) fn take_each<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&DeValue<'_>) -> Result<T, Fault>,
    ) -> Result<Vec<Set<T>>, ConfigError> {
        let Some(value) = self.get(key) else {
            return Ok(Vec::new());
        };
        match value.get_ref() {
            DeValue::Array(array) => array.iter().map(|item| self.read(item, &read)).collect(),
            other => Err(self.fault(value, Fault::new(found("an array", other)))),
        }
    }

    /// The table `key`, if it is there.
    pub(super) fn take_table(&mut self, key: &'static str) -> Result<Option<Self>, ConfigError> {
        self.get(key).map(|value| self.child(key, value)).transpose()
    }

    /// The tables `[[key]]`, in order.
    pub(super) fn take_tables(&mut self, key: &'static str) -> Result<Vec<Self>, ConfigError> {
        let Some(value) = self.get(key) else {
            return Ok(Vec::new());
        };
        match value.get_ref() {
            DeValue::Array(array) => array.iter().map(|item| self.child(key, item)).collect(),
            other => {
                let fault = Fault::new(found("an array of tables", other));
                Err(self.fault(value, fault.hint(format_args!("write `[[{key}]]`"))))
            }
        }
    }

    /// Every entry of a table whose keys are names, each read by `read`.
    pub(super) fn values<T>(
        &self,
        read: impl Fn(&DeValue<'_>) -> Result<T, Fault>,
    ) -> Result<Vec<(&'a str, Set<T>)>, ConfigError> {
        let entries = self.entries.iter();
        entries.map(|(key, value)| Ok((key.get_ref().as_ref(), self.read(value, &read)?))).collect()
    }

    /// Every entry of a table whose keys are names and whose values are tables. The names come with
    /// their places, read by `name`.
    pub(super) fn tables<T>(
        &self,
        name: impl Fn(&str) -> Result<T, Fault>,
    ) -> Result<Vec<(Set<T>, Self)>, ConfigError> {
        let entries = self.entries.iter();
        entries
            .map(|(key, value)| {
                Ok((self.name_of(key, &name)?, self.child(key.get_ref().as_ref(), value)?))
            })
            .collect()
    }

    /// Every entry of a table whose keys are names, the names with their places, each read by `name`,
    /// and the values by `read`.
    pub(super) fn entries<N, T>(
        &self,
        name: impl Fn(&str) -> Result<N, Fault>,
        read: impl Fn(&DeValue<'_>) -> Result<T, Fault>,
    ) -> Result<Entries<N, T>, ConfigError> {
        let entries = self.entries.iter();
        entries
            .map(|(key, value)| Ok((self.name_of(key, &name)?, self.read(value, &read)?)))
            .collect()
    }

    /// Refuses `keys` in the files of a project.
    pub(super) fn only_the_user_may_say(&self, keys: &[&str]) -> Result<(), ConfigError> {
        if self.source.file.role == Role::User {
            return Ok(());
        }
        let said = self.entries.keys().filter(|key| keys.contains(&key.get_ref().as_ref()));
        match said.min_by_key(|key| key.span().start) {
            None => Ok(()),
            Some(key) => {
                let mut path = self.path.clone();
                path.push(key.get_ref().to_string());
                let fault =
                    Fault::new(format_args!("only the user's file may say `{}`", path.join(".")))
                        .hint("`hythe config path` names the user's file");
                Err(self.source.fault(key.span().start, fault))
            }
        }
    }

    /// Refuses every key that was not asked for.
    pub(super) fn finish(self) -> Result<(), ConfigError> {
        let unknown =
            self.entries.keys().filter(|key| !self.known.contains(&key.get_ref().as_ref()));
        let Some(key) = unknown.min_by_key(|key| key.span().start) else {
            return Ok(());
        };
        let name = self.name();
        let text = key.get_ref();
        let (fault, what) = if name.is_empty() {
            (format!("unknown key `{}`", shown(text)), "the keys are".to_owned())
        } else {
            let what = format!("the keys of {name} are");
            (format!("unknown key `{}` in {name}", shown(text)), what)
        };
        let fault = Fault::new(fault).suggest(text, &what, &self.known).of_unknown_key();
        Err(self.source.fault(key.span().start, fault))
    }

    /// An error about the key `key`, or about the whole table when the key is not there.
    pub(super) fn fault_at(&self, key: &str, fault: Fault) -> ConfigError {
        let key = self.entries.get_key_value(key);
        self.source.fault(key.map_or(self.offset, |(key, _)| key.span().start), fault)
    }

    fn get(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.push(key);
        self.entries.get(key)
    }

    fn name_of<T>(
        &self,
        key: &Spanned<DeString<'_>>,
        read: impl Fn(&str) -> Result<T, Fault>,
    ) -> Result<Set<T>, ConfigError> {
        let offset = key.span().start;
        let value = read(key.get_ref()).map_err(|fault| self.source.fault(offset, fault))?;
        Ok(Set { value, origin: self.origin(offset) })
    }

    fn read<T>(
        &self,
        value: &Spanned<DeValue<'_>>,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, Fault>,
    ) -> Result<Set<T>, ConfigError> {
        match read(value.get_ref()) {
            Ok(read) => Ok(Set { value: read, origin: self.origin(value.span().start) }),
            Err(fault) => Err(self.fault(value, fault)),
        }
    }

    fn child(&self, key: &str, value: &'a Spanned<DeValue<'a>>) -> Result<Self, ConfigError> {
        let DeValue::Table(entries) = value.get_ref() else {
            return Err(self.fault(value, Fault::new(found("a table", value.get_ref()))));
        };
        let mut path = self.path.clone();
        path.push(key.to_owned());
        let rule = self.rule.clone();
        let offset = value.span().start;
        Ok(Self { source: self.source, entries, offset, path, rule, known: Vec::new() })
    }

    fn fault(&self, value: &Spanned<DeValue<'_>>, fault: Fault) -> ConfigError {
        self.source.fault(value.span().start, fault)
    }

    fn origin(&self, offset: usize) -> Origin {
        let position = self.source.position(offset);
        match &self.rule {
            Some(pattern) => Origin::Rule { position, pattern: Arc::clone(pattern) },
            None => Origin::File(position),
        }
    }

    fn name(&self) -> String {
        match self.path.as_slice() {
            [] => String::new(),
            [only] if only == "directory" => "[[directory]]".to_owned(),
            path => format!("[{}]", path.join(".")),
        }
    }
}

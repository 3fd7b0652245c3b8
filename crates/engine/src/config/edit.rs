//! Edits of configuration files that leave everything else as it is written: comments, order,
//! quotes, indentation, line ends.
//!
//! Pure: from text to text. An edit says what it changed in the words of the file, and changes
//! nothing that already is as it should be. The result is TOML; whether it is a configuration is
//! for [`Config`](super::Config) to say, before and after.
//!
//! `reader` reads a file into what `syntax` says of it, `draft` collects what changes in it,
//! `write` finds the place for a value, `remove` what has to go along with one. An edit in several
//! steps reads the file again for each of them.

mod draft;
mod reader;
mod remove;
mod syntax;
#[cfg(test)]
mod tests;
mod write;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use toml::de::DeValue;

use self::draft::Draft;
use self::remove::Removal;
use self::syntax::{Document, Pair, Place};
use self::write::{insert, quoted_like, set, string};
use super::entries::{self, ports, quoted};
use super::{Setting, value};
use crate::port::PortRange;

/// A file after an edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// Its text.
    pub text: String,
    /// What it says otherwise than before, in the order of the file: a dotted key such as
    /// `strategy.selection`, in a rule followed by ` ([[directory]] match = "…")`. Empty when
    /// nothing had to be changed.
    pub changes: Vec<String>,
}

/// An edit that cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// What stands there is not TOML, or not what Hythe reads at that place.
    #[error("{line}:{column}: {message}")]
    Invalid {
        /// The line, counted from 1.
        line: usize,
        /// The column in characters (Unicode scalar values), counted from 1.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// No plugin can have this name: why, in words.
    #[error("{0}")]
    Name(String),
    /// The file says no `path` for the plugin.
    #[error("plugin `{0}` is not declared in this file")]
    NotDeclared(String),
    /// The file does not say the setting.
    #[error("`{0}` is not set in this file")]
    NotSet(String),
    /// The list has no such element.
    #[error("`{range}` is not in `ports.{}` of this file", .list.key())]
    NotListed {
        /// The list.
        list: PortList,
        /// What was to be removed.
        range: PortRange,
    },
}

/// A list of ports in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortList {
    /// `ports.exclude`
    Exclude,
    /// `ports.allow`
    Allow,
}

impl PortList {
    const fn key(self) -> &'static str {
        match self {
            Self::Exclude => "exclude",
            Self::Allow => "allow",
        }
    }
}

impl EditError {
    fn at(text: &str, offset: usize, message: String) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        let line = before.matches('\n').count() + 1;
        Self::Invalid { line, column: before[start..].chars().count() + 1, message }
    }
}

/// Says where plugin `name` is, and what its file must hash to.
///
/// `path` and `sha256` are replaced where they are said, in whatever way. A plugin that the file
/// does not know gets a table after those of the other plugins. Rules are left alone.
pub fn declare(text: &str, name: &str, path: &str, sha256: &str) -> Result<Edited, EditError> {
    let name = plugin(name)?;
    let document = Document::read(text)?;
    let table = ["plugins", &name];
    // Both are looked for before anything is written, so that an error says where the file has it.
    let path_known = document.find(&["plugins", &name, "path"])?.is_some();
    let known = document.find(&["plugins", &name, "sha256"])?.is_some() || path_known;
    let mut edited = Edited { text: text.to_owned(), changes: Vec::new() };
    for (key, value, earlier) in [("path", path, &[][..]), ("sha256", sha256, &["path"])] {
        if let Some(text) = set(&edited.text, &table, key, value, earlier)? {
            edited.text = text;
            edited.changes.push(format!("plugins.{name}.{key}"));
        }
    }
    if !known {
        edited.changes = vec![format!("plugins.{name}")];
    }
    Ok(edited)
}

/// Puts plugin `name` in force: as `strategy.key`, as `strategy.selection`, and at the front of
/// `strategy.cleanup`, each where it is asked for.
///
/// `cleanup` is the list that holds now. It is written as a whole, with `name` before it, when the
/// file has none.
pub fn select(
    text: &str,
    name: &str,
    key: bool,
    selection: bool,
    cleanup: Option<&[String]>,
) -> Result<Edited, EditError> {
    let name = plugin(name)?;
    let document = Document::read(text)?;
    for key in ["key", "selection"] {
        document.find(&["strategy", key])?;
    }
    array(&document, &["strategy", "cleanup"])?;
    let mut edited = Edited { text: text.to_owned(), changes: Vec::new() };
    let single = [("key", key, &[][..]), ("selection", selection, &["key"])];
    for (key, _, earlier) in single.into_iter().filter(|(_, wanted, _)| *wanted) {
        if let Some(text) = set(&edited.text, &["strategy"], key, &name, earlier)? {
            edited.text = text;
            edited.changes.push(format!("strategy.{key}"));
        }
    }
    if let Some(current) = cleanup
        && let Some(text) = put_first(&edited.text, &name, current)?
    {
        edited.text = text;
        edited.changes.push("strategy.cleanup".to_owned());
    }
    Ok(edited)
}

/// The text with `name` at the front of `strategy.cleanup`; `None` when it is there and nowhere
/// else in the list.
fn put_first(text: &str, name: &str, current: &[String]) -> Result<Option<String>, EditError> {
    let document = Document::read(text)?;
    let Some(list) = array(&document, &["strategy", "cleanup"])? else {
        let others = current.iter().map(String::as_str).filter(|other| *other != name);
        let names: Vec<_> = [name].into_iter().chain(others).map(quoted).collect();
        let value = format!("[{}]", names.join(", "));
        let earlier = &["key", "selection"];
        return Ok(Some(insert(&document, &["strategy"], "cleanup", &value, earlier)));
    };
    let list = &document.lists[list];
    let written: Vec<_> = list.items.iter().map(|item| &text[item.span.clone()]).collect();
    let same: Vec<_> = written.iter().map(|it| string(it).as_deref() == Some(name)).collect();
    let first = same.first() == Some(&true);
    if first && same.iter().filter(|same| **same).count() == 1 {
        return Ok(None);
    }
    let mut draft = Draft::new(&document);
    draft.remove_items(list, |index| same[index] && !(first && index == 0));
    if !first {
        let like = written.first().copied().unwrap_or_default();
        draft.insert_item(list, 0, &quoted_like(like, name));
    }
    Ok(Some(draft.finish()))
}

/// Takes plugin `name` out of the file: its declaration, its options, and every mention in
/// `strategy`, in rules as well.
///
/// What a mention decided is decided by the weaker layers again, except that `strategy.cleanup`
/// stays where it was said, even as `[]`: whoever chose the list did not choose the built-in one.
/// Comments that belong to what goes, on its lines or directly above, go with it, and so do tables
/// that nothing is left of. A rule stays.
pub fn undeclare(text: &str, name: &str) -> Result<Edited, EditError> {
    let name = plugin(name)?;
    let document = Document::read(text)?;
    let table = ["plugins", &name];
    let is_declaration =
        |place: &Place<'_>| ["path", "sha256"].iter().any(|key| place.at(&["plugins", &name, key]));
    if !document.pairs.iter().any(|pair| is_declaration(&pair.place)) {
        return Err(EditError::NotDeclared(name));
    }
    let mut removal = Removal::new(&document);
    for (index, line) in document.lines.iter().enumerate() {
        if line.header().is_some_and(|place| place.below(&table)) {
            removal.table(index);
        }
    }
    let is_name = |written: &str| string(written).as_deref() == Some(&name);
    let mut changes = Changes::new(&document);
    for (index, pair) in document.pairs.iter().enumerate() {
        let written = &text[pair.value.clone()];
        if pair.place.below(&table) {
            removal.pair(index);
            changes.add(&pair.place, &format!("plugins.{name}"));
        } else if pair.place.at(&["strategy", "cleanup"]) {
            let Some(list) = pair.list else { continue };
            for (item, element) in document.lists[list].items.iter().enumerate() {
                if is_name(&text[element.span.clone()]) {
                    removal.item(list, item);
                    changes.add(&pair.place, "strategy.cleanup");
                }
            }
        } else {
            for key in ["key", "selection"] {
                if pair.place.at(&["strategy", key]) && is_name(written) {
                    removal.pair(index);
                    changes.add(&pair.place, &format!("strategy.{key}"));
                }
            }
        }
    }
    let changes = changes.list;
    Ok(Edited { text: removal.finish(), changes })
}

/// Adds `range` to the end of a list of ports, if the list does not have this element.
pub fn add_ports(text: &str, list: PortList, range: PortRange) -> Result<Edited, EditError> {
    let document = Document::read(text)?;
    let key = list.key();
    let text = match array(&document, &["ports", key])? {
        None => {
            let value = format!("[{}]", ports(range));
            insert(&document, &["ports"], key, &value, &["range", "exclude"])
        }
        Some(list) => {
            let list = &document.lists[list];
            if list.items.iter().any(|item| is_range(&text[item.span.clone()], range)) {
                return Ok(Edited { text: text.to_owned(), changes: Vec::new() });
            }
            let mut draft = Draft::new(&document);
            draft.insert_item(list, list.items.len(), &ports(range));
            draft.finish()
        }
    };
    Ok(Edited { text, changes: vec![format!("ports.{key}")] })
}

/// Takes the element `range` out of a list of ports. A list that has no other goes: all layers add
/// up, and an empty one adds nothing.
pub fn remove_ports(text: &str, list: PortList, range: PortRange) -> Result<Edited, EditError> {
    let document = Document::read(text)?;
    let path = ["ports", list.key()];
    let mut removal = Removal::new(&document);
    let mut left = 0;
    let mut found = false;
    if let Some(array) = array(&document, &path)? {
        for (index, item) in document.lists[array].items.iter().enumerate() {
            if is_range(&text[item.span.clone()], range) {
                removal.item(array, index);
                found = true;
            } else {
                left += 1;
            }
        }
        if left == 0 {
            let pair = document.pairs.iter().position(|pair| pair.list == Some(array));
            pair.into_iter().for_each(|pair| removal.pair(pair));
        }
    }
    if !found {
        return Err(EditError::NotListed { list, range });
    }
    Ok(Edited { text: removal.finish(), changes: vec![path.join(".")] })
}

/// Says that a setting is `value`.
pub fn assign(text: &str, setting: &Setting, value: &Value) -> Result<Edited, EditError> {
    let document = Document::read(text)?;
    let path = setting.path();
    let written = entries::toml(value);
    let text = match (document.find(&path)?, path.split_last()) {
        (Some(pair), _) => {
            let there = &text[pair.value.clone()];
            if value::option_value(there).is_ok_and(|there| there == *value) {
                return Ok(Edited { text: text.to_owned(), changes: Vec::new() });
            }
            let written = match value {
                Value::String(value) => quoted_like(there, value),
                _ => written,
            };
            let mut draft = Draft::new(&document);
            draft.replace(pair.value.clone(), written);
            draft.finish()
        }
        (None, Some((key, table))) => insert(&document, table, key, &written, &[]),
        (None, None) => text.to_owned(),
    };
    Ok(Edited { text, changes: vec![setting.to_string()] })
}

/// Takes a setting out, with the comments that belong to it and the tables that it leaves empty.
pub fn unassign(text: &str, setting: &Setting) -> Result<Edited, EditError> {
    let document = Document::read(text)?;
    let path = setting.path();
    document.find(&path)?;
    let said = |pair: &Pair<'_>| pair.place.rule.is_none() && pair.place.at(&path);
    let Some(pair) = document.pairs.iter().position(said) else {
        return Err(EditError::NotSet(setting.to_string()));
    };
    let mut removal = Removal::new(&document);
    removal.pair(pair);
    Ok(Edited { text: removal.finish(), changes: vec![setting.to_string()] })
}

fn plugin(name: &str) -> Result<String, EditError> {
    value::plugin(name).map_err(|fault| EditError::Name(fault.message))
}

/// The array that says `path` outside of all rules.
fn array(document: &Document<'_>, path: &[&str]) -> Result<Option<usize>, EditError> {
    let Some(pair) = document.find(path)? else {
        return Ok(None);
    };
    match pair.list {
        Some(list) if !document.lists[list].table => Ok(Some(list)),
        _ => {
            let message = format!("`{}` is not an array", path.join("."));
            Err(EditError::at(document.text, pair.value.start, message))
        }
    }
}

fn is_range(written: &str, range: PortRange) -> bool {
    let value = DeValue::parse(written);
    value.is_ok_and(|value| value::ports(value.get_ref()).is_ok_and(|it| it == range))
}

/// What an edit changed, each once.
struct Changes {
    /// The pattern of each rule.
    patterns: BTreeMap<usize, String>,
    seen: BTreeSet<String>,
    list: Vec<String>,
}

impl Changes {
    fn new(document: &Document<'_>) -> Self {
        let matches = document.pairs.iter().filter(|pair| pair.place.at(&["match"]));
        let patterns = matches.filter_map(|pair| {
            Some((pair.place.rule?, string(&document.text[pair.value.clone()])?))
        });
        Self { patterns: patterns.collect(), seen: BTreeSet::new(), list: Vec::new() }
    }

    fn add(&mut self, place: &Place<'_>, what: &str) {
        let change = match place.rule.and_then(|rule| self.patterns.get(&rule)) {
            Some(pattern) => format!("{what} ([[directory]] match = {pattern:?})"),
            None => what.to_owned(),
        };
        if self.seen.insert(change.clone()) {
            self.list.push(change);
        }
    }
}

//! Edits of files that are written in all the ways that TOML allows.

mod exact;
mod setting;

use std::fs;

use toml::{Table, Value};

use super::*;
use crate::config::{Config, ConfigFiles, Overrides, Settings};
use crate::place::Place as Directory;

const DIGEST: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn parsed(text: &str) -> Table {
    toml::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// What the user's file `text` comes to.
fn settings(text: &str) -> Settings {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.toml");
    fs::write(&path, text).unwrap();
    let files = ConfigFiles { user: Some(path), user_required: true, home: Some("/home/u".into()) };
    let place = Directory { directory: "/work/shop".into(), checkout: None };
    let config = Config::load(&files, &place, Overrides::default());
    config.unwrap_or_else(|error| panic!("{error}\n{text}")).settings().clone()
}

/// Files that declare `a` and `b`, and name both, in every combination of spellings.
fn corpus() -> Vec<String> {
    let plugins = [
        "# a\n[plugins.a]\npath = \"a\" # where\nsha256 = 'D'\n\n# its own\n[plugins.a.options]\n\
         x = 1\n\n[plugins.b]\npath = 'b'\n",
        "[plugins]\na = { path = \"a\", sha256 = \"D\", options = { x = 1 } }\n\
         b = {path='b'} # b\n",
        "[plugins]\na.path = 'a'\na.sha256 = 'D'\n# more\na.options.x = 1\n\n[plugins.b]\n\
         path = 'b'\n",
        "[plugins.b]\n  path   = 'b'\n[plugins.a.options]\nx = 1\n[plugins . \"a\"]\n\
         path = '''a'''\nsha256 = \"D\"\n",
        "[plugins.a]\n\n# where\npath = 'a'\n\n# what\nsha256 = 'D'\n\
         options = { x = 1,\n  # two\n  y = [\n    2, # of them\n  ],\n}\n# the end\n\n\
         # not its own\n\n[plugins.b]\npath = 'b'\n",
    ];
    let roots = [
        "plugins.a.path = 'a'\nproject = 'shop'\nplugins.a . sha256 = 'D'\n\
         plugins.b = { path = 'b' }\n",
        "plugins = { a = { path = 'a', sha256 = 'D', options.x = 1 }, b.path = 'b' } # all\n",
        "plugins = {\n  # a\n  a = { path = 'a', sha256 = 'D' },\n  # b\n  b.path = 'b', # b\n}\n",
        "plugins = {\n  b.path = 'b',\n  a.path = 'a',\n  a.sha256 = 'D'\n}\n",
    ];
    let strategies = [
        "",
        "[strategy]\nkey = \"a\"\nselection = 'b' # b\ncleanup = ['b', \"a\", 'ttl']\n",
        "[strategy]\n# a\nkey = 'a'\n\n# all of them\n\
         cleanup = [\n  # a\n  \"a\", # a\n  \"b\" # b\n]\n",
        "[strategy]\ncleanup = [ 'a' ]\nselection = 'a'\n",
        "[strategy]\ncleanup = [\"b\", \"a\",\n  \"a\"]\n# key = 'a'\n",
        "[strategy]\ncleanup = []\n",
    ];
    let rules = [
        "",
        "[[directory]]\nmatch = '/work/**'\nstrategy.key = 'a'\nstrategy.cleanup = [\"a\"]\n\
         plugins.a.options = { x = 2 }\nplugins.b.options.x = 2\n",
        "[[directory]]\nmatch = '/a'\n\n[directory.strategy]\nselection = \"b\"\nkey = \"a\"\n\n\
         [directory.plugins.a]\noptions.x = 2\n\n[[directory]]\nmatch = '/b'\n\
         strategy = { key = 'a' }\n",
    ];
    let mut files = Vec::new();
    for strategy in strategies {
        for rule in rules {
            for (head, tail) in
                roots.map(|root| (root, "")).into_iter().chain(plugins.map(|it| ("", it)))
            {
                for parts in [[head, strategy, tail, rule], [head, rule, tail, strategy]] {
                    let parts: Vec<_> = parts.into_iter().filter(|it| !it.is_empty()).collect();
                    files.extend([parts.join("\n"), parts.concat()]);
                }
            }
        }
    }
    let files = files.into_iter().map(|file| {
        let file = file.replace("'D'", &format!("'{DIGEST}'"));
        file.replace("\"D\"", &format!("\"{DIGEST}\""))
    });
    let others = [
        "",
        "\n\n",
        "# nothing\n",
        "project = 'shop'\n\n\n# the end\n\n",
        "[plugins.ttl.options]\npersistent = '1d'\n\n[cleanup]\nevery = '1h'\n",
    ];
    files.chain(others.map(str::to_owned)).collect()
}

/// The corpus, one file as it is and the next ones with other line ends, without the last line end,
/// without both, and with a byte order mark.
fn variants() -> impl Iterator<Item = String> {
    corpus().into_iter().enumerate().map(|(index, file)| {
        let windows = || file.replace('\n', "\r\n");
        let open = |file: String| file.strip_suffix(['\n']).map_or(file.clone(), str::to_owned);
        match index % 5 {
            0 => file,
            1 => windows(),
            2 => open(file),
            3 => open(windows()).trim_end_matches('\r').to_owned(),
            _ => format!("\u{feff}{file}"),
        }
    })
}

/// Every line ends as the file's lines do, and the last one only if it did.
fn assert_line_ends(before: &str, after: &str) {
    if before.contains("\r\n") {
        assert_eq!(after.matches('\n').count(), after.matches("\r\n").count(), "{after:?}");
    } else {
        assert!(!after.contains('\r'), "{after:?}");
    }
    if !before.trim_start_matches('\u{feff}').is_empty() && !after.is_empty() {
        assert_eq!(before.ends_with('\n'), after.ends_with('\n'), "{before:?}\n{after:?}");
    }
    assert_eq!(before.starts_with('\u{feff}'), after.starts_with('\u{feff}'));
}

/// The lines of `part` that are not, in their order, among those of `whole`.
fn missing<'a>(part: &'a str, whole: &'a str) -> Vec<&'a str> {
    let lines = |text: &'a str| text.trim_start_matches('\u{feff}').lines();
    let mut rest: Vec<_> = lines(whole).rev().collect();
    let mut missing = Vec::new();
    for line in lines(part) {
        match rest.iter().rposition(|other| *other == line) {
            Some(index) => rest.truncate(index),
            None => missing.push(line),
        }
    }
    missing
}

/// Whether `line` is `other` without some of its characters.
fn is_part(line: &str, other: &str) -> bool {
    let mut other = other.chars();
    line.trim_end().chars().all(|c| other.any(|it| it == c))
}

/// What a file means without a plugin.
fn without(mut table: Table, name: &str) -> Table {
    if let Some(plugins) = table.get_mut("plugins").and_then(Value::as_table_mut) {
        plugins.remove(name);
    }
    if let Some(strategy) = table.get_mut("strategy").and_then(Value::as_table_mut) {
        let single = |key: &str| ["key", "selection"].contains(&key);
        strategy.retain(|key, value| !single(key) || value.as_str() != Some(name));
        if let Some(cleanup) = strategy.get_mut("cleanup").and_then(Value::as_array_mut) {
            cleanup.retain(|value| value.as_str() != Some(name));
        }
    }
    if let Some(rules) = table.get_mut("directory").and_then(Value::as_array_mut) {
        for rule in rules {
            *rule = without(rule.as_table().unwrap().clone(), name).into();
        }
    }
    table.retain(|_, value| value.as_table().is_none_or(|table| !table.is_empty()));
    table
}

/// A file's meaning, where an empty table means as much as none.
fn pruned(text: &str) -> Table {
    without(parsed(text), "")
}

#[test]
fn a_declaration_is_added_and_taken_back_without_a_trace() {
    for file in variants() {
        let declared = declare(&file, "new", "p/new.wasm", DIGEST).unwrap();
        assert_eq!(declared.changes, ["plugins.new"]);
        assert_line_ends(&file, &declared.text);
        let changed = missing(&file, &declared.text);
        assert!(changed.len() <= usize::from(file.contains("plugins = {")), "{changed:?}\n{file}");
        let mut expected = parsed(&file);
        let new = [("path", "p/new.wasm"), ("sha256", DIGEST)];
        let new = new.map(|(key, value)| (key.to_owned(), Value::from(value)));
        let plugins = expected.entry("plugins").or_insert_with(|| Value::Table(Table::new()));
        plugins.as_table_mut().unwrap().insert("new".to_owned(), Table::from_iter(new).into());
        assert_eq!(parsed(&declared.text), expected, "{file}\n----\n{}", declared.text);
        let again = declare(&declared.text, "new", "p/new.wasm", DIGEST).unwrap();
        assert_eq!(again, Edited { text: declared.text.clone(), changes: Vec::new() });
        let back = undeclare(&declared.text, "new").unwrap();
        assert_eq!(back.text, file, "{}", declared.text);
        assert_eq!(back.changes, ["plugins.new"]);
    }
}

#[test]
fn a_declaration_is_updated_where_it_is() {
    for file in variants().filter(|file| file.contains(DIGEST)) {
        let digest = "00".repeat(32);
        let declared = declare(&file, "a", "new/a.wasm", &digest).unwrap();
        assert_eq!(declared.changes, ["plugins.a.path", "plugins.a.sha256"]);
        assert_line_ends(&file, &declared.text);
        assert_eq!(declared.text.lines().count(), file.lines().count());
        let mut expected = parsed(&file);
        let plugin = expected["plugins"]["a"].as_table_mut().unwrap();
        plugin.insert("path".to_owned(), "new/a.wasm".into());
        plugin.insert("sha256".to_owned(), digest.clone().into());
        assert_eq!(parsed(&declared.text), expected, "{}", declared.text);
        assert_eq!(declare(&declared.text, "a", "new/a.wasm", &digest).unwrap().changes, [""; 0]);
        // Only the quotes of what had three of them are others.
        let back = declare(&declared.text, "a", "a", DIGEST).unwrap();
        assert_eq!(back.text.replace("'''a'''", "'a'"), file.replace("'''a'''", "'a'"));
    }
}

#[test]
fn a_plugin_goes_with_everything_that_names_it_and_nothing_else_does() {
    for file in variants() {
        for name in ["a", "b"] {
            let edited = match undeclare(&file, name) {
                Ok(edited) => edited,
                Err(error) => {
                    assert!(!file.contains(DIGEST), "{error}\n{file}");
                    assert_eq!(error, EditError::NotDeclared(name.to_owned()));
                    continue;
                }
            };
            let text = &edited.text;
            assert_line_ends(&file, text);
            for line in missing(text, &file) {
                assert!(file.lines().any(|it| is_part(line, it)), "{line}\n{file}\n{text}");
            }
            assert_eq!(pruned(text), without(parsed(&file), name), "{file}\n---\n{text}");
            assert!(edited.changes.contains(&format!("plugins.{name}")));
            assert_eq!(undeclare(text, name), Err(EditError::NotDeclared(name.to_owned())));
        }
    }
}

#[test]
fn a_selected_plugin_is_in_force_and_everything_else_stays() {
    let current = ["path-sticky".to_owned(), "ttl".to_owned()];
    for file in variants() {
        let selected = select(&file, "ttl", true, true, Some(&current)).unwrap();
        let text = &selected.text;
        assert_line_ends(&file, text);
        let mut expected = parsed(&file);
        let strategy = expected.entry("strategy").or_insert_with(|| Value::Table(Table::new()));
        let strategy = strategy.as_table_mut().unwrap();
        strategy.insert("key".to_owned(), "ttl".into());
        strategy.insert("selection".to_owned(), "ttl".into());
        let cleanup = strategy.entry("cleanup").or_insert_with(|| vec!["path-sticky"].into());
        let cleanup = cleanup.as_array_mut().unwrap();
        cleanup.retain(|name| name.as_str() != Some("ttl"));
        cleanup.insert(0, "ttl".into());
        assert_eq!(parsed(text), expected, "{file}\n---\n{text}");
        assert_eq!(selected.changes, ["strategy.key", "strategy.selection", "strategy.cleanup"]);
        let again = select(text, "ttl", true, true, Some(&current)).unwrap();
        assert_eq!(again, Edited { text: text.clone(), changes: Vec::new() });
        let nothing = select(&file, "ttl", false, false, None).unwrap();
        assert_eq!(nothing, Edited { text: file, changes: Vec::new() });
    }
}

#[test]
fn ports_are_added_and_taken_back_without_a_trace() {
    let range: PortRange = "28000-28099".parse().unwrap();
    let lists = [
        "[ports]\nexclude = [27017, '30000-30009'] # db\n",
        "[ports]\nexclude = [\n  # db\n  27017, # and\n]\n",
        "[ports]\nexclude = [\n  27017 # db\n]\n",
        "[ports]\nrange = '20000-29999'\nallow = [6000]\n",
        "ports = { exclude = [1,], range = '20000-29999' }\n",
        "ports = { range = '20000-29999' }\n",
        "ports.exclude = [1] # one\n",
        "ports.range = '20000-29999'\n",
        "  [ports]\n  range = '20000-29999'\n",
    ];
    let lists = lists.into_iter().map(str::to_owned);
    let others = variants().filter(|file| !file.contains("plugins"));
    for file in lists.flat_map(|it| [it.replace('\n', "\r\n"), it]).chain(others) {
        let added = add_ports(&file, PortList::Exclude, range).unwrap();
        assert_eq!(added.changes, ["ports.exclude"]);
        assert_line_ends(&file, &added.text);
        let ports = &parsed(&added.text)["ports"]["exclude"];
        assert_eq!(ports.as_array().unwrap().last().unwrap().as_str(), Some("28000-28099"));
        let again = add_ports(&added.text, PortList::Exclude, range).unwrap();
        assert_eq!(again, Edited { text: added.text.clone(), changes: Vec::new() });
        let back = remove_ports(&added.text, PortList::Exclude, range).unwrap();
        assert_eq!(back.text, file, "{}", added.text);
        assert_eq!(back.changes, ["ports.exclude"]);
        let error = remove_ports(&file, PortList::Exclude, range).unwrap_err();
        assert_eq!(error.to_string(), "`28000-28099` is not in `ports.exclude` of this file");
    }
}

#[test]
fn what_is_written_is_a_configuration() {
    let current = Settings::built_in().strategy.cleanup.value;
    let files = corpus().into_iter().filter(|file| file.contains(DIGEST));
    for file in files.step_by(7) {
        let declared = declare(&file, "new", "/p/new.wasm", DIGEST).unwrap().text;
        let selected = select(&declared, "new", true, true, Some(&current)).unwrap().text;
        let Settings { plugins, strategy, .. } = settings(&selected);
        let declaration = plugins["new"].declaration.as_ref().unwrap();
        assert_eq!(declaration.path.to_str(), Some("/p/new.wasm"));
        assert_eq!(declaration.sha256.unwrap().to_string(), DIGEST);
        assert_eq!(strategy.selection.value, "new");
        settings(&undeclare(&selected, "new").unwrap().text);
    }
}

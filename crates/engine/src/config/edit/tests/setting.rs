//! Single settings, written and taken out.

use serde_json::json;

use super::*;

fn setting(key: &str) -> Setting {
    key.parse().unwrap()
}

/// What the parts of a key lead to.
fn said<'t>(table: &'t Table, setting: &Setting) -> Option<&'t Value> {
    let path = setting.path();
    let (last, above) = path.split_last().unwrap();
    let table = above.iter().try_fold(table, |table, key| table.get(*key)?.as_table());
    table?.get(*last)
}

/// `table` without what the parts of a key lead to, and without the tables that are empty then.
fn without(table: &Table, path: &[&str]) -> Table {
    let mut table = table.clone();
    match path {
        [] => {}
        [key] => drop(table.remove(*key)),
        [key, below @ ..] => {
            if let Some(inner) = table.get(*key).and_then(Value::as_table) {
                let inner = without(inner, below);
                if inner.is_empty() {
                    table.remove(*key);
                } else {
                    table.insert((*key).to_owned(), Value::Table(inner));
                }
            }
        }
    }
    table
}

#[test]
fn a_setting_is_written_into_every_file_and_nothing_else_changes() {
    let values = [
        ("project", json!("shop")),
        ("ports.range", json!("20000-20099")),
        ("ports.exclude", json!([1, "2-3"])),
        ("strategy.key", json!("b")),
        ("strategy.cleanup", json!(["ttl"])),
        ("plugins.a.options.x", json!(7)),
        ("plugins.ttl.options.\"a b\"", json!([true, "c"])),
        ("services.\"@shop/web\".port", json!(3000)),
        ("limits.fuel", json!(9)),
    ];
    for file in corpus() {
        for (key, value) in &values {
            let setting = setting(key);
            let before = parsed(&file);
            let edited = assign(&file, &setting, value).unwrap_or_else(|error| {
                panic!("{key}: {error}\n{file}");
            });
            let after = parsed(&edited.text);
            let is = serde_json::to_value(said(&after, &setting)).unwrap();
            assert_eq!(is, *value, "{key}\n{file}\n{}", edited.text);
            let path = setting.path();
            assert_eq!(without(&after, &path), without(&before, &path), "{key}\n{}", edited.text);
            let comments = |text: &str| text.matches('#').count();
            assert!(comments(&edited.text) >= comments(&file).saturating_sub(4), "{}", edited.text);
            let again = assign(&edited.text, &setting, value).unwrap();
            assert_eq!((again.text, again.changes), (edited.text.clone(), Vec::new()));

            let removed = unassign(&edited.text, &setting).unwrap();
            let left = parsed(&removed.text);
            assert_eq!(without(&left, &path), without(&before, &path), "{key}\n{}", removed.text);
            assert_eq!(said(&left, &setting), None);
            let error = unassign(&removed.text, &setting).unwrap_err();
            assert_eq!(error, EditError::NotSet(setting.to_string()));
        }
    }
}

#[test]
fn a_setting_is_written_where_it_belongs() {
    for (file, key, value, expected) in [
        ("", "project", json!("p"), "project = \"p\"\n"),
        ("# mine\n", "project", json!("p"), "# mine\nproject = \"p\"\n"),
        ("# r\n[ports]\n", "project", json!("p"), "project = \"p\"\n\n# r\n[ports]\n"),
        (
            "a.b = 1 # x\r\n[c]\r\n",
            "project",
            json!("p"),
            "a.b = 1 # x\r\nproject = \"p\"\r\n[c]\r\n",
        ),
        (
            "[ports]\n# r\nrange = '1-2' # r\n",
            "ports.range",
            json!("3-4"),
            "[ports]\n# r\nrange = '3-4' # r\n",
        ),
        (
            "[ports]\nrange = '1-2'",
            "ports.freeze",
            json!("2h"),
            "[ports]\nfreeze = \"2h\"\nrange = '1-2'",
        ),
        (
            "services = { web = {} }\n",
            "services.web.port",
            json!(5),
            "services = { web = { port = 5 } }\n",
        ),
        (
            "[[directory]]\nmatch = '/x'\nports.range = '1-2'\n",
            "ports.range",
            json!("3-4"),
            "[[directory]]\nmatch = '/x'\nports.range = '1-2'\n\n[ports]\nrange = \"3-4\"\n",
        ),
    ] {
        assert_eq!(assign(file, &setting(key), &value).unwrap().text, expected, "{file}");
    }
    let error = assign("ports = 1\n", &setting("ports.range"), &json!("1-2")).unwrap_err();
    assert_eq!(error.to_string(), "1:9: `ports` is not a table");
    let error = unassign("[ports.range]\n", &setting("ports.range")).unwrap_err();
    assert_eq!(error.to_string(), "1:1: `ports.range` is not a value");
}

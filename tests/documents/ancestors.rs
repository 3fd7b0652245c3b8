//! The tables of what the ancestors do, and of what the server promises, name commands and tests that
//! there are.

use std::collections::BTreeSet;
use std::path::Path;

use super::help;
use super::markdown::{read, root};

/// The rows of a document's tables: what they do, Hythe's answer, what shows it.
fn table(document: &str) -> Vec<[String; 3]> {
    let text = read(document);
    let lines = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let rows = lines.map(|line| {
        let cells: Vec<_> = line.split(" | ").map(str::to_owned).collect();
        cells.try_into().unwrap_or_else(|cells| panic!("not three cells: {cells:?}"))
    });
    rows.filter(|row: &[String; 3]| row[2] != "shown by").collect()
}

/// The words between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_test_that_is_named_is_there() {
    let mut named = BTreeSet::new();
    for row in table("docs/ancestors.md").into_iter().chain(table("docs/security.md")) {
        let [_, _, shown] = &row;
        if shown == "not yet" {
            continue;
        }
        let mut file = None;
        let mut tests = 0;
        for word in quoted(shown) {
            if Path::new(word).extension().is_some_and(|it| it == "rs") {
                assert!(root().join(word).exists(), "{word}: {row:?}");
                file = Some((word, read(word)));
                continue;
            }
            let (name, text) = file.as_ref().unwrap_or_else(|| panic!("no file: {row:?}"));
            let found = text.lines().any(|line| line.trim() == format!("fn {word}() {{"));
            assert!(found && text.contains("#[test]"), "{name} has no test {word}: {row:?}");
            named.insert(word.to_owned());
            tests += 1;
        }
        assert!(tests > 0, "no test: {row:?}");
    }
    assert!(named.len() > 50, "{named:?}");
}

#[test]
fn every_command_that_is_named_is_there() {
    let named: BTreeSet<_> = table("docs/ancestors.md")
        .iter()
        .flat_map(|row| quoted(&row[1]).map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|code| Some(code.strip_prefix("hythe ")?.split(' ').next()?.to_owned()))
        .filter(|name| !name.starts_with('-'))
        .collect();
    assert!(named.len() > 10, "{named:?}");
    for name in named {
        help(&[&name]);
    }
}

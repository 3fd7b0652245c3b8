//! What an edit writes, letter by letter.

use super::*;

fn declared(text: &str) -> String {
    declare(text, "new", "new.wasm", "00").unwrap().text
}

fn undeclared(text: &str) -> String {
    undeclare(text, "a").unwrap().text
}

#[test]
fn a_new_plugin_stands_after_the_others() {
    let table = "[plugins.new]\npath = \"new.wasm\"\nsha256 = \"00\"\n";
    let a = "[plugins.a]\npath = 'a'\n";
    for (before, after) in [
        ("", ""),
        ("# mine\n\n", "\n\n"),
        (
            "[strategy]\nkey = 'a'\n\n[plugins.a]\npath = 'a'\n# that was a\n\n",
            "\n# b\n\
            [cleanup]\n",
        ),
        ("[plugins.a]\npath = 'a'\n\n[plugins.a.options]\nx = 1\n\n", "\n# b\n\n[cleanup]\n"),
        // Where tables follow one another without a blank line, they go on doing so.
        (a, "# cleanup\n[cleanup]\nevery = '1h'\n"),
        ("[[directory]]\nmatch = '/x'\nplugins.a.path = 'a'\n\n", ""),
        ("[plugins]\na.path = 'a'\n\n", "\n[[directory]]\nmatch = '/x'\n"),
    ] {
        // The blank line before the table is written with it.
        let blank = before.ends_with("\n\n");
        let file = format!("{}{after}", if blank { &before[..before.len() - 1] } else { before });
        assert_eq!(declared(&file), format!("{before}{table}{after}"));
    }
    // Its options may be there already.
    let options = "[plugins.b]\npath = 'b'\n\n# new\n[plugins.new.options]\nx = 1\n";
    let (b, new) = options.split_at(options.find('#').unwrap());
    assert_eq!(declared(options), format!("{b}{table}\n{new}"));
}

#[test]
fn a_plugin_is_declared_in_the_way_of_the_file() {
    for (file, expected) in [
        ("plugins={}", "plugins={ new = { path = \"new.wasm\", sha256 = \"00\" } }"),
        (
            "plugins = {\n  # none\n}",
            "plugins = { new = { path = \"new.wasm\", sha256 = \"00\" }\n  # none\n}",
        ),
        ("plugins.new = { }\n", "plugins.new = { path = \"new.wasm\", sha256 = \"00\" }\n"),
        (
            "plugins = { a.path = 'a' } # a\n",
            "plugins = { a.path = 'a', new = { path = \"new.wasm\", sha256 = \"00\" } } # a\n",
        ),
        (
            "plugins.new.path = 'old' # here\n",
            "plugins.new.path = 'new.wasm' # here\nplugins.new.sha256 = \"00\"\n",
        ),
        (
            "[plugins]\n\t# one\n\t'new'.options.x = 1\n",
            "[plugins]\n\t'new'.path = \"new.wasm\"\n\
             \t'new'.sha256 = \"00\"\n\t# one\n\t'new'.options.x = 1\n",
        ),
        (
            "[plugins.new]\n  # which\n  options = {}\n",
            "[plugins.new]\npath = \"new.wasm\"\nsha256 = \"00\"\n  # which\n  options = {}\n",
        ),
        (
            "[plugins]\nnew = {\n  options = {}, # none\n}\n",
            "[plugins]\nnew = {\n\x20 path = \"new.wasm\",\n\x20 sha256 = \"00\",\n\
             \x20 options = {}, # none\n}\n",
        ),
        (
            "[plugins]\nnew = { sha256 = '11' }",
            "[plugins]\nnew = { path = \"new.wasm\", sha256 = '00' }",
        ),
    ] {
        assert_eq!(declared(file), expected);
    }
}

#[test]
fn strategies_are_written_above_plugins_and_in_their_order() {
    let current = ["path-sticky".to_owned(), "a".to_owned()];
    let all = |file: &str| select(file, "a", true, true, Some(&current)).unwrap().text;
    let table = "[strategy]\nkey = \"a\"\nselection = \"a\"\ncleanup = [\"a\", \"path-sticky\"]\n";
    assert_eq!(all(""), table);
    assert_eq!(all("[ports]\n"), format!("[ports]\n\n{table}"));
    assert_eq!(
        all("[ports]\n\n# a\n[plugins.a]\npath = 'a'\n"),
        format!("[ports]\n\n{table}\n# a\n[plugins.a]\npath = 'a'\n")
    );
    for (file, expected) in [
        (
            "[strategy]\n# all\n  selection = 'b' # b\n",
            "[strategy]\nkey = \"a\"\n\
             # all\n  selection = 'a' # b\n  cleanup = [\"a\", \"path-sticky\"]\n",
        ),
        (
            "strategy = { key = 'b' }",
            "strategy = { key = 'a', selection = \"a\", cleanup = [\"a\", \"path-sticky\"] }",
        ),
        (
            "strategy.cleanup = []\n",
            "strategy.key = \"a\"\nstrategy.selection = \"a\"\nstrategy.cleanup = [\"a\"]\n",
        ),
    ] {
        assert_eq!(all(file), expected);
    }
}

#[test]
fn cleanup_begins_with_the_selected_plugin() {
    for (list, expected) in [
        ("[]", "[\"a\"]"),
        ("[ ] # none", "[\"a\"] # none"),
        ("['b']", "['a', 'b']"),
        ("[ \"b\", 'a' ]", "[ \"a\", \"b\" ]"),
        ("['b', 'a', 'c', 'a',]", "['a', 'b', 'c',]"),
        ("['a', 'b', 'a']", "['a', 'b']"),
        ("[\n  # b\n  'b', # b\n  'a', # a\n  'c'\n]", "[\n  'a',\n  # b\n  'b', # b\n  'c'\n]"),
        ("[\n  # none yet\n]", "[\"a\"\n  # none yet\n]"),
    ] {
        let file = format!("strategy.cleanup = {list}\n");
        let edited = select(&file, "a", false, false, Some(&[])).unwrap();
        assert_eq!(edited.text, format!("strategy.cleanup = {expected}\n"));
        assert_eq!(edited.changes, ["strategy.cleanup"]);
    }
}

#[test]
fn comments_go_with_what_they_belong_to() {
    for (file, expected) in [
        (
            "# Ours.\n\n# The team's.\n[plugins.a] # a\n# where\npath = 'a'\n# the end of a\n\n\
             # Rest.\n",
            "# Ours.\n\n# Rest.\n",
        ),
        (
            "[plugins.a]\npath = 'a'\n# of b\n[plugins.b]\npath = 'b'\n",
            "# of b\n[plugins.b]\n\
            path = 'b'\n",
        ),
        (
            "[strategy]\n# a\nkey = 'a' # a\n\n# b\nselection = 'b'\n\n[plugins]\n\n# a\n\
             a.path = 'a'\n\n# b\nb.path = 'b'\n",
            "[strategy]\n\n# b\nselection = 'b'\n\n[plugins]\n\n# b\nb.path = 'b'\n",
        ),
        // A table with a comment of its own is not empty, and one that was is left as it was.
        (
            "[strategy]\nkey = 'a'\n# key = 'b'\n\n[plugins]\n\n[plugins.a]\npath = 'a'\n",
            "[strategy]\n# key = 'b'\n\n[plugins]\n",
        ),
        ("plugins = {\n  # Ours.\n\n  # a\n  a.path = 'a',\n}\n", "plugins = {\n  # Ours.\n\n}\n"),
        ("[strategy]\nkey = 'a'\n\n\n[plugins.a]\npath = 'a'\n\n\n[ports]\n", "[ports]\n"),
        ("[ports]\n\n[strategy]\nkey = 'a'\n\n[plugins.a]\npath = 'a'", "[ports]"),
    ] {
        assert_eq!(undeclared(file), expected);
    }
}

#[test]
fn items_go_with_their_commas() {
    for (list, expected) in [
        ("['a']", "[]"),
        ("[ 'a', ]", "[]"),
        ("['a', 'b']", "['b']"),
        ("['b', 'a']", "['b']"),
        ("['b', 'a',]", "['b',]"),
        ("[ 'b', 'a', 'c' ]", "[ 'b', 'c' ]"),
        ("['b' , 'a' , 'c']", "['b' , 'c']"),
        ("['a', 'b', 'a', 'a']", "['b']"),
        ("[\n  'b', # b\n  # a\n  'a', # a\n  # c\n  'c',\n]", "[\n  'b', # b\n  # c\n  'c',\n]"),
        ("[\n  'b', # b\n  'a' # a\n]", "[\n  'b' # b\n]"),
        ("[\n  'a', # a\n]", "[\n]"),
        ("[ 'b'\n, 'a' # a\n, 'c' ]", "[ 'b'\n,  # a\n'c' ]"),
        ("['b', 'a', # both\n 'c']", "['b', # both\n 'c']"),
    ] {
        let declaration = "\n[plugins.a]\npath = 'a'\n";
        let edited = undeclare(
            &format!(
                "[strategy]\ncleanup = {list}\n\
            {declaration}"
            ),
            "a",
        )
        .unwrap();
        assert_eq!(edited.text, format!("[strategy]\ncleanup = {expected}\n"));
        assert_eq!(edited.changes, ["strategy.cleanup", "plugins.a"]);
    }
}

#[test]
fn rules_are_edited_as_well_and_named_in_the_changes() {
    let file = "[strategy]\nselection = 'a'\nkey = 'b'\n\n\
                [[directory]]\nmatch = \"~/\\\"x\"\nstrategy = { key = 'a', cleanup = ['a'] }\n\n\
                [directory.plugins.a]\npath = 'a'\n\n\
                [[directory]]\nmatch = '/y'\nstrategy.cleanup = ['ttl', 'a']\n\n\
                [plugins.a.options]\nx = 1\n";
    let edited = undeclare(file, "a").unwrap();
    assert_eq!(
        edited.text,
        "[strategy]\nkey = 'b'\n\n\
         [[directory]]\nmatch = \"~/\\\"x\"\nstrategy = { cleanup = [] }\n\n\
         [[directory]]\nmatch = '/y'\nstrategy.cleanup = ['ttl']\n"
    );
    assert_eq!(
        edited.changes,
        [
            "strategy.selection",
            "strategy.key ([[directory]] match = \"~/\\\"x\")",
            "strategy.cleanup ([[directory]] match = \"~/\\\"x\")",
            "plugins.a ([[directory]] match = \"~/\\\"x\")",
            "strategy.cleanup ([[directory]] match = \"/y\")",
            "plugins.a",
        ]
    );
    let inline = "directory = [\n  { match = '/x', plugins = { a = { path = 'a' } } },\n]\n";
    assert_eq!(undeclared(inline), "directory = [\n  { match = '/x' },\n]\n");
}

#[test]
fn ports_are_written_as_numbers_and_ranges_as_strings() {
    let add = |file: &str, range: &str| {
        add_ports(file, PortList::Allow, range.parse().unwrap()).unwrap().text
    };
    assert_eq!(add("", "6000-6000"), "[ports]\nallow = [6000]\n");
    assert_eq!(
        add("ports.allow = [\n 0x1770,\n]\n", "6000-6000"),
        "ports.allow = [\n 0x1770,\n\
        ]\n"
    );
    assert_eq!(add("ports.allow = [6000]\n", "6000-6001"), "ports.allow = [6000, \"6000-6001\"]\n");
    let removed = remove_ports(
        "[ports]\n# X11\nallow = [0x1770]\n\n\
                                [x]\n",
        PortList::Allow,
        "6000-6000".parse().unwrap(),
    );
    assert_eq!(removed.unwrap().text, "[x]\n");
}

#[test]
fn what_cannot_be_a_name_is_refused_and_everything_else_is_quoted() {
    for name in ["", "a.b", "\"", "a\nb", "[x]", "A", "-a", &"x".repeat(65)] {
        for result in [
            declare("", name, "p", DIGEST),
            select("", name, true, false, None),
            undeclare("[plugins.a]\npath = 'a'\n", name),
        ] {
            let error = result.unwrap_err();
            assert!(matches!(error, EditError::Name(_)), "{error}");
            assert!(!error.to_string().contains(char::is_control), "{error}");
        }
    }
    for path in ["a\"b", "a'b", "a\nb\\", "\u{7f}", "#", "ü\t"] {
        for file in ["", "plugins.a.path = ''\n", "plugins.a.path = \"\"\n"] {
            let text = declare(file, "a", path, path).unwrap().text;
            let plugin = &parsed(&text)["plugins"]["a"];
            assert_eq!(
                (plugin["path"].as_str(), plugin["sha256"].as_str()),
                (Some(path), Some(path))
            );
        }
    }
}

#[test]
fn what_is_not_understood_is_refused_where_it_is() {
    let every = |file: &str| {
        let errors = [
            declare(file, "a", "p", DIGEST).err(),
            select(file, "a", true, true, Some(&[])).err(),
            add_ports(file, PortList::Exclude, PortRange::ALL).err(),
        ];
        errors.map(|error| error.map(|error| error.to_string()).unwrap_or_default())
    };
    let broken = "\r\nß = \"ü\" x\r\n";
    let error = undeclare(broken, "a").unwrap_err().to_string();
    assert!(error.starts_with("2:9: "), "{error}");
    assert_eq!(every(broken), [(); 3].map(|()| error.clone()));
    for (file, expected) in [
        ("plugins = 1\n", ["1:11: `plugins` is not a table", "", ""]),
        ("\n[[plugins]]\n", ["2:1: `plugins` is not a table", "", ""]),
        ("[plugins]\na = []\n", ["2:5: `plugins.a` is not a table", "", ""]),
        ("[plugins.a.path]\n", ["1:1: `plugins.a.path` is not a value", "", ""]),
        ("strategy = []\n", ["", "1:12: `strategy` is not a table", ""]),
        ("strategy.key.x = 1\n", ["", "1:18: `strategy.key` is not a value", ""]),
        ("strategy.cleanup = 'a'\n", ["", "1:20: `strategy.cleanup` is not an array", ""]),
        ("[ports]\nexclude = {}\n", ["", "", "2:11: `ports.exclude` is not an array"]),
    ] {
        assert_eq!(every(file), expected, "{file}");
    }
    let deep = format!("a = {}", "[".repeat(100_000));
    assert!(every(&deep).iter().all(|error| error.contains("recurs")));
}

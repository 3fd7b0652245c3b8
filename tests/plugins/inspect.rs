//! `plugin inspect`: what is to be seen of a plugin, whether or not it can be used.

use std::fs;

use serde_json::{Value, json};

use super::{bring, complete, declared, demanding, ends, error, install, no_plugins, pipe};
use crate::component::{Plugin, sha256};
use crate::support::World;

const INFO: &str = "hythe:policy/info@0.1.0";
const SELECTION: &str = "hythe:policy/port-selection@0.1.0";

#[test]
fn a_file_is_shown_with_what_it_says_and_does() {
    let world = World::new();
    let directory = world.dir("project");
    let file = bring(&directory, "all", complete("all-in-one"));
    let arguments = ["-C", "project", "plugin", "inspect", "all.wasm", "--json"];
    let shown = world.run(&world.root(), arguments).json();
    assert_eq!(shown["file"], file.to_str().unwrap());
    assert_eq!([&shown["name"], &shown["declared_by"], &shown["error"]], [&Value::Null; 3]);
    assert_eq!(shown["kind"], "component");
    assert_eq!(shown["size"], fs::metadata(&file).unwrap().len());
    assert_eq!(shown["sha256"], sha256(&file).as_str());
    assert_eq!(shown["imports"], json!([]));
    let exports =
        json!([INFO, "hythe:policy/key-derivation@0.1.0", SELECTION, "hythe:policy/cleanup@0.1.0"]);
    assert_eq!(shown["exports"], exports);
    assert_eq!(shown["policies"], json!(["key-derivation", "port-selection", "cleanup"]));
    assert_eq!(shown["description"]["name"], "all-in-one");
    assert_eq!(shown["description"]["version"], "1.0.0");
    let calls = shown["typical_calls"].as_array().unwrap();
    let said: Vec<_> = calls.iter().map(|call| (&call["function"], &call["answer"])).collect();
    let expected = [
        (json!("key-derivation.derive"), json!("k")),
        (json!("port-selection.select"), json!(["20000-29999"])),
        (json!("cleanup.review"), json!([{ "release": "spring" }])),
    ];
    assert_eq!(said, expected.each_ref().map(|(function, answer)| (function, answer)));
    assert!(calls.iter().all(|call| call["fuel"].as_u64().unwrap() > 0));

    let text = world.run(&directory, ["plugin", "inspect", "all.wasm"]).ok();
    for word in ["all-in-one 1.0.0", "port-selection.select", SELECTION, &sha256(&file)] {
        assert!(text.contains(word), "no {word} in {text}");
    }
    assert!(!world.state().exists(), "looking at a plugin needs no ledger");
}

#[test]
fn of_a_long_answer_people_see_the_beginning() {
    let world = World::new();
    let directory = world.dir("project");
    let ranges: Vec<_> = (0..12).map(|range| (20_000 + 10 * range, 20_001 + 10 * range)).collect();
    bring(&directory, "many", Plugin::new("many").ranges(&ranges));
    let text = world.run(&directory, ["plugin", "inspect", "many.wasm"]).ok();
    assert!(text.contains(r#""20070-20071",… 4 more]"#), "{text}");
    let shown = world.run(&directory, ["plugin", "inspect", "many.wasm", "--json"]).json();
    assert_eq!(shown["typical_calls"][0]["answer"].as_array().unwrap().len(), 12);
}

#[test]
fn a_name_is_shown_with_where_it_is_declared_and_what_it_is_used_for() {
    let world = World::new();
    install(&world, "mine", complete("its-own-name"));
    let strategy = "[strategy]\nselection = \"mine\"\ncleanup = [\"ttl\", \"mine\"]\n";
    let config = world.config(&format!("{strategy}{}", declared("mine")));
    let directory = world.dir("project");
    let show = |name: &str| world.run(&directory, ["plugin", "inspect", name, "--json"]).json();
    let mine = show("mine");
    assert_eq!((&mine["name"], &mine["file"]), (&json!("mine"), &Value::Null));
    let declared_by = mine["declared_by"].as_str().unwrap();
    assert!(declared_by.starts_with(&format!("{}:6:", config.display())), "{declared_by}");
    assert_eq!(mine["used_for"], json!(["selection", "cleanup"]));
    assert_eq!(mine["description"]["name"], "its-own-name");
    let ttl = show("ttl");
    assert_eq!((&ttl["declared_by"], &ttl["used_for"]), (&json!("built-in"), &json!(["cleanup"])));
    let options = &ttl["description"]["options_schema"]["properties"];
    assert_eq!(options["persistent"]["default"], "30d");
    let text = world.run(&directory, ["plugin", "inspect", "ttl"]).ok();
    assert!(text.contains("persistent: duration, by default \"30d\""), "{text}");
}

#[test]
fn what_cannot_be_used_is_shown_with_the_reason() {
    let world = World::new();
    let directory = world.dir("project");
    let clock = r#"(import "wasi:clocks/wall-clock@0.2.0" (instance))"#;
    let derive = r#"(param "request" $request) (param "options" string)
      (result (result string (error (list u8))))"#;
    for (name, plugin, kept, said) in [
        ("wasi", complete("p").import(clock), "wall-clock", "may import nothing"),
        ("newer", complete("p").contract("0.2.0"), "cleanup@0.2.0", "this hythe speaks"),
        ("mute", complete("p").without_info(), SELECTION, INFO),
        (
            "spins",
            complete("p").function("describe", "(loop $l (br $l)) (i32.const 0)"),
            INFO,
            "fuel",
        ),
        ("traps", complete("p").function("describe", "unreachable"), INFO, "trapped"),
        ("schema", complete("p").schema(r##"{"$ref":"#"}"##), INFO, "$ref"),
        ("types", complete("p").signature("derive", derive), INFO, "types of the contract"),
        ("idle", Plugin::new("idle"), INFO, "exports no policy"),
    ] {
        let file = bring(&directory, name, plugin);
        let arguments = ["plugin", "inspect", file.to_str().unwrap()];
        let shown = world.run(&directory, [&arguments[..], &["--json"]].concat()).json();
        assert!(shown.to_string().contains(kept), "{name}: {shown}");
        assert_eq!(shown["sha256"], sha256(&file).as_str(), "{name}");
        let message = shown["error"]["message"].as_str();
        let message = message.unwrap_or_else(|| panic!("{name} can be used: {shown}"));
        assert!(message.contains(said), "{name}: {message}");
        let text = world.run(&directory, arguments).ok();
        let line = text.lines().find(|line| line.starts_with("unusable")).unwrap();
        assert!(line.contains(said), "{name}: {line}");
    }
}

#[test]
fn a_core_module_is_shown_without_what_its_names_would_do_to_a_terminal() {
    let world = World::new();
    let directory = world.dir("project");
    let module = r#"(module (import "env" "clock" (func)) (func (export "\1b[2J")))"#;
    fs::write(directory.join("core.wasm"), wat::parse_str(module).unwrap()).unwrap();
    let arguments = ["plugin", "inspect", "core.wasm"];
    let shown = world.run(&directory, [&arguments[..], &["--json"]].concat()).json();
    assert_eq!(shown["kind"], "module");
    assert_eq!(shown["imports"], json!(["env::clock"]));
    assert_eq!(shown["exports"], json!(["\u{1b}[2J"]));
    assert!(shown["error"]["hint"].as_str().unwrap().contains("hythe plugin encode"));
    let text = world.run(&directory, arguments).ok();
    assert!(text.contains("core module") && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn where_there_is_nothing_to_look_at_it_fails() {
    let world = World::new();
    let directory = world.dir("project");
    for (name, bytes) in no_plugins() {
        fs::write(directory.join(name), bytes).unwrap();
        let message = world.run(&directory, ["plugin", "inspect", name]).fails(4);
        assert!(message.contains(&format!("`{name}`")), "{message}");
        assert!(message.lines().count() <= 2 && !message.contains("0x61"), "{message}");
    }
    world.dir("project/directory");
    pipe(&directory.join("pipe"));
    for name in ["directory", "pipe", "nobody", "../nobody.wasm"] {
        let failed = error(ends(&world, &directory, &["plugin", "inspect", name, "--json"]), 4);
        let message = failed["message"].as_str().unwrap();
        assert!(message.contains(name), "{message}");
        // No file says this path.
        let hint = failed["hint"].as_str().unwrap_or_default();
        assert!(!hint.contains("the file that says them"), "{hint}");
    }
}

#[test]
fn options_that_are_missing_or_wrong_hide_nothing_of_a_plugin() {
    let world = World::new();
    let directory = world.dir("project");
    bring(&directory, "demanding", demanding());
    let show = |options: &[&str]| {
        let arguments = [&["plugin", "inspect", "demanding.wasm", "--json"], options].concat();
        world.run(&directory, arguments).json()
    };
    let good = show(&["--option", "team=blue"]);
    assert_eq!(good["typical_calls"][0]["answer"], json!(["20000-29999"]));
    assert_eq!(good["error"], Value::Null);
    for (options, said) in [
        (&[][..], "`team`"),
        (&["--option", "team=1"], "--option"),
        (&["--option", "team=x", "--option", "step=10"], "10 is more than 9"),
    ] {
        let shown = show(options);
        assert!(shown.to_string().contains(said), "{shown}");
        assert!(!shown.to_string().contains("built-in"), "{shown}");
        let properties = &shown["description"]["options_schema"]["properties"];
        assert_eq!(properties["team"]["description"], "whose ports they are", "{shown}");
    }
}

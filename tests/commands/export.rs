//! `hythe export`, and `hythe import --from hythe`: a ledger goes out and comes back as it was.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde_json::{Value, json};

use super::ports;
use crate::listener::Harbour;
use crate::support::World;

/// A world with a reservation of every kind, and one that was given back.
fn varied() -> Harbour {
    let world = Harbour::new();
    let shop = world.repository("shop");
    world.reserve(&shop, &["owned", "--lease", "ephemeral", "--agent", "a", "--task", "t"]);
    world.reserve(&shop, &["expires", "--ttl", "5m", "--lock"]);
    world.reserve(&shop, &["shared", "--scope", "service"]);
    world.reserve(&world.dir(OsStr::from_bytes(b"od\nd \xff\xc2\x9b")), &[]);
    world.reserve(&shop, &["returned"]);
    world.run(&shop, ["release", "returned"]).ok();
    world
}

fn exported(world: &World, state: &Path) -> String {
    let state = state.to_str().unwrap();
    world.run(&world.root(), ["export", "--state-dir", state]).ok()
}

#[test]
fn what_is_exported_comes_back_byte_by_byte() {
    let world = varied();
    let text = exported(&world, &world.state());
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["version"], 1);
    assert_eq!(document["reservations"].as_array().unwrap().len(), 4);
    assert_eq!(document["released"].as_array().unwrap().len(), 1);
    let odd = document["reservations"].as_array().unwrap().iter();
    let odd = odd.filter_map(|it| it["directory"]["bytes"].as_str());
    assert!(odd.collect::<String>().ends_with("2f6f640a6420ffc29b"), "{text}");

    let file = world.root().join("ledger.json");
    let said = world.run(&world.root(), ["export", "--file", "ledger.json"]).exits(0);
    assert_eq!(said.stdout(), "");
    assert_eq!(fs::read_to_string(&file).unwrap(), text);

    let other = world.root().join("other");
    let import = |arguments: &[&str]| {
        let state = ["--state-dir", other.to_str().unwrap(), "--from", "hythe"];
        world.run(&world.root(), [&["import", "ledger.json"], &state[..], arguments].concat())
    };
    let dry = import(&["--dry-run"]).ok();
    assert_eq!(dry.lines().filter(|line| line.starts_with("would import")).count(), 4);
    assert!(!other.exists(), "a dry run makes nothing");
    assert_eq!(import(&["--json"]).json()["released"], 1);
    assert_eq!(exported(&world, &other), text);
    let again = import(&["--json"]).json();
    assert!(again["entries"].as_array().unwrap().iter().all(|it| it["outcome"] == "existing"));
    assert_eq!(again["released"], 0);
    assert_eq!(exported(&world, &other), text);

    // It is the same ledger: the same key has its port, and gets the released one back.
    let shop = world.root().join("shop");
    let there = |arguments: &[&str]| {
        let state = ["--state-dir", other.to_str().unwrap()];
        world.run(&shop, [arguments, &state].concat())
    };
    assert_eq!(there(&["get", "expires"]).port(), world.run(&shop, ["get", "expires"]).port());
    let returned = there(&["reserve", "returned", "--json"]).json();
    assert_eq!(returned["outcome"], "returned");
    assert_eq!(returned["port"], document["released"][0]["port"]);
    let log = there(&["log"]).ok();
    assert_eq!(log.matches(": imported from hythe").count(), 4, "{log}");
}

#[test]
fn an_empty_ledger_is_a_document_too() {
    let world = World::new();
    let document = world.run(&world.root(), ["export"]).json();
    assert_eq!(document, json!({ "version": 1, "reservations": [], "released": [] }));
    assert!(!world.state().exists(), "an export makes nothing");
    world.run(&world.root(), ["export", "--file", "none.json", "--json"]).ok();
    let run = world.run(&world.root(), ["import", "none.json", "--from", "hythe"]).exits(0);
    assert!(run.stderr().contains("there is nothing to import"), "{}", run.stderr());
    assert!(!world.state().exists(), "nothing was imported");
    world.run(&world.root(), ["export", "--file", "/proc/none.json"]).fails(2);
    world.run(&world.root(), ["export", "--file", "home"]).fails(2);
}

#[test]
fn nothing_that_is_there_is_overwritten() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let [web, api] = ["web", "api"].map(|service| world.reserve(&shop, &[service]));
    let text = exported(&world, &world.state());
    fs::write(world.root().join("ledger.json"), &text).unwrap();
    let moved = world.reserve(&shop, &["web", "--reallocate"]);
    world.run(&shop, ["release", "api"]).ok();
    let before = exported(&world, &world.state());

    let import = ["import", "ledger.json", "--from", "hythe"];
    let error = world.run(&world.root(), import).fails(8);
    assert!(error.contains(&format!("`web` of {} has port {moved}", shop.display())), "{error}");
    assert!(error.contains(&format!("would import  {api}")), "{error}");
    assert!(error.contains("error: nothing was imported: 1 of 2 cannot be had"), "{error}");
    assert!(
        error.contains("hint: hythe import ledger.json --from hythe --skip-conflicts"),
        "{error}"
    );
    assert_eq!(exported(&world, &world.state()), before);
    let error = world.run(&world.root(), [&import[..], &["--dry-run", "--json"]].concat()).fails(8);
    let error: Value = serde_json::from_str(error.lines().last().unwrap()).unwrap();
    assert_eq!(error["error"]["details"]["entries"].as_array().unwrap().len(), 2);

    world.run(&world.root(), [&import[..], &["--skip-conflicts"]].concat()).ok();
    assert_eq!(world.run(&shop, ["get", "web"]).port(), moved);
    assert_eq!(world.run(&shop, ["get", "api"]).port(), api);
    assert!(!ports(&world).contains(&web));
}

#[test]
fn what_is_no_export_changes_nothing() {
    let world = varied();
    let text = exported(&world, &world.state());
    let file = world.root().join("ledger.json");
    let refused = |text: &str, expected: &str| {
        fs::write(&file, text).unwrap();
        let error = world.run(&world.root(), ["import", "ledger.json", "--from", "hythe"]).fails(2);
        let path = file.display().to_string();
        assert!(error.contains(&path) && error.contains(expected), "{error}");
    };
    refused("", "EOF");
    refused("[]", "it is no export of hythe");
    refused(&text.replace("\"version\": 1", "\"version\": 2"), "version 2 is not known");
    refused(&text.replace("\"locked\": true", "\"locked\": 1"), "invalid type");
    refused(&text.replace("\"owned\"", "\"8080\""), "reservations[");
    refused(&text.replace("/shop\"", "/shop\", \"more\": 1"), "unknown field `more`");
    let half = text.len() / 2;
    refused(&text[..half], "EOF");
    assert_eq!(exported(&world, &world.state()), text);
    world.run(&world.root(), ["import", "missing.json", "--from", "hythe"]).fails(7);
    world.run(&world.root(), ["import", "--from", "hythe"]).fails(2);
    world.run(&world.root(), ["import", "ledger.json"]).fails(2);
    world.run(&world.root(), ["import", "ledger.json", "--from", "other"]).fails(2);
    world.run(&world.root(), ["import", "ledger.json", "--from", "hythe", "--settings"]).fails(2);
}

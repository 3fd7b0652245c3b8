//! Every field of every JSON document is explained.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::markdown::{rows, sections};
use crate::component::Plugin;
use crate::daemon::{Daemon, container};
use crate::listener::Server;
use crate::support::World;

/// A core module that can be encoded.
const MODULE: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0))
    (func (export "hythe:policy/info@0.1.0#describe") (result i32) (i32.const 0)))"#;

/// A case of a cleanup policy.
const CASE: &str = "[[case]]\nname = \"none\"\nreview = []\nexpect = { verdicts = [] }\n";

/// The fields of a JSON object.
fn fields(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

#[expect(clippy::too_many_lines, reason = "each command has a line")]
#[test]
fn every_json_field_is_documented() {
    let world = World::new();
    let shop = world.repository("shop");
    let json = |arguments: &[&str]| world.run(&shop, [arguments, &["--json"]].concat()).json();
    let documented = sections("docs/json.md", "##");
    fs::write(shop.join("mine.wasm"), Plugin::new("mine").key("k").build()).unwrap();
    fs::write(shop.join("module.wasm"), wat::parse_str(MODULE).unwrap()).unwrap();
    let table = |name: &str| -> BTreeSet<String> {
        let rows = rows(&documented[name]).into_iter().filter(|row| row[0] != "field");
        rows.map(|row| row[0].clone()).collect()
    };

    let reserved = json(&["reserve", "--explain"]);
    assert_eq!(table("reserve"), fields(&reserved));
    let port = u16::try_from(reserved["port"].as_u64().unwrap()).unwrap();
    let _server = Server::start(&shop, "127.0.0.1", port);
    let daemon = Daemon::start(&world);
    daemon.runs(&[container("front", port, Some(&shop), &[])]);
    let two = json(&["reserve", "a", "b"]);
    assert_eq!(fields(&two), ["dry_run", "services", "version"].map(str::to_owned).into());
    let reservation = fields(&reserved["reservation"]);
    assert_eq!(table("A reservation"), reservation);
    assert_eq!(fields(&json(&["list"])["reservations"][0]), reservation);
    assert_eq!(fields(&json(&["show"])["reservation"]), reservation);
    for (name, arguments) in [
        ("get", &["get"][..]),
        ("list", &["list"]),
        ("show", &["show"]),
        ("log, watch", &["log", "--limit", "1"]),
        ("log, watch", &["watch", "--limit", "1", "--count", "1"]),
        ("wait", &["wait"]),
        ("scan", &["scan"]),
        ("env", &["env"]),
        ("lock, unlock", &["lock", "a"]),
        ("lock, unlock", &["unlock", "a"]),
        ("release, cleanup", &["release", "a"]),
        ("release, cleanup", &["cleanup"]),
        ("doctor", &["doctor"]),
        ("doctor --agent", &["doctor", "--agent", "codex"]),
        ("mcp settings", &["mcp", "settings", "zed"]),
        ("init", &["init", "--dry-run"]),
        ("config show", &["config", "show"]),
        ("config get", &["config", "get", "ports.range"]),
        ("config set", &["config", "set", "ports.freeze", "2h", "--dry-run"]),
        ("config check", &["config", "check"]),
        ("config path", &["config", "path"]),
        ("export", &["export"]),
        ("export --file", &["export", "--file", "ledger.json"]),
        ("import", &["import", "ledger.json", "--from", "hythe"]),
        ("import --settings", &["import", "--from", "port-daddy", "--settings"]),
        ("daemon install", &["daemon", "install", "--dry-run"]),
        ("daemon install", &["daemon", "install", "--no-start"]),
        ("daemon uninstall", &["daemon", "uninstall"]),
        ("plugin list", &["plugin", "list"]),
        ("plugin inspect", &["plugin", "inspect", "ttl"]),
        ("plugin check", &["plugin", "check", "ttl"]),
        ("plugin test", &["plugin", "test", "ttl", "--runs", "1"]),
        ("plugin bench", &["plugin", "bench", "ttl", "--calls", "1"]),
        ("plugin simulate", &["plugin", "simulate", "--requests", "100"]),
        ("plugin new", &["plugin", "new", "mine"]),
        ("plugin encode", &["plugin", "encode", "module.wasm", "-o", "component.wasm"]),
        ("plugin add, remove", &["plugin", "add", "mine.wasm"]),
        ("plugin add, remove", &["plugin", "remove", "mine"]),
    ] {
        assert_eq!(table(name), fields(&json(arguments)), "{arguments:?}");
    }
    let old = world.dir("old");
    world.reserve(&old, &["moved"]);
    fs::remove_dir(&old).unwrap();
    let moved = json(&["move", "../old", "."]);
    assert_eq!(table("move"), fields(&moved));
    fs::write(shop.join("cases.toml"), CASE).unwrap();
    let tested = ["plugin", "test", "ttl", "--runs", "1"];
    let simulated = json(&["plugin", "simulate", "--requests", "100"]);
    // What stands behind the command is the command's.
    let planned = world.run(&shop, ["run", "--dry-run", "--json", "vite"]).json();
    assert_eq!(table("run"), fields(&planned));
    let status = world.run(&shop, ["daemon", "status", "--json"]).exits(7).stdout();
    assert_eq!(table("daemon status"), fields(&serde_json::from_str(&status).unwrap()));
    let nested = [
        ("move", moved["moved"][0].clone()),
        ("env", json(&["env", "--write", ".env"])["files"][0].clone()),
        ("release, cleanup", json(&["release", "b"])["released"][0].clone()),
        ("doctor", json(&["doctor"])["checks"][0].clone()),
        ("run", planned["services"][0].clone()),
        ("config show", json(&["config", "show"])["settings"][0].clone()),
        ("config path", json(&["config", "path"])["files"][0].clone()),
        ("export", json(&["export"])["reservations"][0].clone()),
        ("export", json(&["export"])["released"][0].clone()),
        ("import", json(&["import", "ledger.json", "--from", "hythe"])["entries"][0].clone()),
        ("plugin list", json(&["plugin", "list"])["plugins"][0].clone()),
        ("reserve", reserved["explanation"].clone()),
        ("plugin inspect", json(&["plugin", "inspect", "ttl"])["description"].clone()),
        ("plugin inspect", json(&["plugin", "inspect", "ttl"])["typical_calls"][0].clone()),
        ("plugin check", json(&["plugin", "check", "ttl"])["passed"][0].clone()),
        ("plugin test", json(&tested)["checks"][0].clone()),
        ("plugin test", json(&tested)["cases"][0].clone()),
        ("plugin bench", json(&tested)["costs"][0].clone()),
        ("wait", json(&["wait"])["ports"][0].clone()),
        ("scan", json(&["scan"])["ports"][0].clone()),
        ("Who listens", json(&["show"])["listeners"][0].clone()),
        ("Who listens", json(&["list"])["listeners"][0]["user"].clone()),
        ("Who listens", json(&["list"])["containers"][0].clone()),
        ("plugin simulate", simulated["strategy"][0].clone()),
        ("The report of a simulation", simulated["report"].clone()),
    ];
    let parts = ["refused", "released", "proposals", "keys", "range", "occupancy"];
    let report = "The report of a simulation";
    let nested =
        nested.into_iter().chain(parts.map(|part| (report, simulated["report"][part].clone())));
    for (name, value) in nested {
        for field in fields(&value) {
            assert!(documented[name].contains(&format!("`{field}`")), "{name}: {field}");
        }
    }
}

//! The JSON documents of the `plugin` commands are what their schemas in `docs/schema` say.

use std::fs;

use serde_json::{Value, json};

use super::{bring, complete, declared, demanding, install, no_plugins, refusing};
use crate::component::Plugin;
use crate::schema::valid;
use crate::support::World;

/// A world whose directory `project` has plugins of every kind.
fn shelf() -> World {
    let world = World::new();
    install(&world, "mine", complete("its-own-name"));
    let directory = world.dir("project");
    for (name, plugin) in [
        ("all", complete("all")),
        ("demanding", demanding()),
        ("refusing", refusing("refusing", "not today")),
        ("idle", Plugin::new("idle")),
        ("traps", complete("traps").function("select", "unreachable")),
        ("broken", complete("broken").function("describe", "unreachable")),
    ] {
        bring(&directory, name, plugin);
    }
    let core = wat::parse_str(r#"(module (import "env" "clock" (func)))"#).unwrap();
    fs::write(directory.join("core.wasm"), core).unwrap();
    world.config(&format!("[strategy]\ncleanup = [\"mine\"]\n{}", declared("mine")));
    world
}

/// The document of `hythe plugin ARGUMENTS --json`, checked against the schema `name`.
#[track_caller]
fn checked(world: &World, name: &str, arguments: &[&str]) -> Value {
    let arguments = [&["plugin"], arguments, &["--json"]].concat();
    valid(name, world.run(&world.dir("project"), arguments).json())
}

/// The error document of `hythe plugin ARGUMENTS --json`, which exits with `code`.
#[track_caller]
fn failed(world: &World, arguments: &[&str], code: i32) -> Value {
    let arguments = [&["plugin"], arguments, &["--json"]].concat();
    let stderr = world.run(&world.dir("project"), arguments).fails(code);
    valid("error", serde_json::from_str(stderr.lines().last().unwrap()).unwrap())
}

#[test]
fn inspect() {
    let world = shelf();
    for plugin in ["mine", "ttl", "all.wasm", "refusing.wasm", "core.wasm"] {
        checked(&world, "plugin-inspect", &["inspect", plugin]);
    }
    for plugin in ["demanding.wasm", "traps.wasm", "broken.wasm", "idle.wasm"] {
        checked(&world, "plugin-inspect", &["inspect", plugin]);
    }
    checked(&world, "plugin-inspect", &["inspect", "demanding.wasm", "--option", "team=blue"]);
    for (name, bytes) in no_plugins() {
        fs::write(world.dir("project").join(name), bytes).unwrap();
        failed(&world, &["inspect", name], 4);
    }
}

#[test]
fn check() {
    let world = shelf();
    for plugin in ["mine", "ttl", "all.wasm"] {
        checked(&world, "plugin-check", &["check", plugin]);
    }
    for plugin in ["core.wasm", "traps.wasm", "broken.wasm", "idle.wasm", "nobody"] {
        failed(&world, &["check", plugin], 4);
    }
    failed(&world, &["check", "demanding.wasm"], 3);
}

#[test]
fn conformance() {
    let world = shelf();
    let cases = world.dir("project").join("cases.toml");
    checked(&world, "plugin-test", &["test", "path-sticky", "--runs", "4"]);
    fs::write(&cases, "[[case]]\nname = \"a\"\nselect = {}\nexpect = { first = 20000 }\n").unwrap();
    let report = failed(&world, &["test", "all.wasm", "--runs", "4"], 4);
    valid("plugin-test", report["error"]["details"].clone());
    fs::write(&cases, "[[case]]\nname = \"a\"\nreview = []\nexpect = { verdicts = [] }\n").unwrap();
    let report = checked(&world, "plugin-test", &["test", "ttl", "--runs", "0"]);
    assert_eq!(report["cases"], json!([{ "name": "a", "line": 2, "failure": null }]));
    fs::write(&cases, "x").unwrap();
    failed(&world, &["test", "ttl"], 3);
}

#[test]
fn bench() {
    let world = shelf();
    for plugin in ["ttl", "mine", "all.wasm", "refusing.wasm"] {
        checked(&world, "plugin-bench", &["bench", plugin, "--calls", "1"]);
    }
    failed(&world, &["bench", "traps.wasm"], 4);
}

#[test]
fn simulate() {
    let world = shelf();
    for plugin in [&[][..], &["all.wasm"], &["refusing.wasm"]] {
        let arguments = [&["simulate", "--requests", "200"], plugin].concat();
        checked(&world, "plugin-simulate", &arguments);
    }
    for arguments in [["--foreign=1", "--die=1"], ["--scope=service", "--ephemeral=1"]] {
        let arguments = [&["simulate", "--requests=200", "--release=0.5"], &arguments[..]].concat();
        checked(&world, "plugin-simulate", &arguments);
    }
    failed(&world, &["simulate", "--requests", "0"], 2);
    failed(&world, &["simulate", "traps.wasm"], 4);
}

#[test]
fn encode() {
    let world = shelf();
    let describe =
        r#"(func (export "hythe:policy/info@0.1.0#describe") (result i32) (i32.const 0))"#;
    let module = format!(
        r#"(module (memory (export "memory") 1)
          (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
          {describe})"#
    );
    fs::write(world.dir("project").join("info.wasm"), wat::parse_str(module).unwrap()).unwrap();
    checked(&world, "plugin-encode", &["encode", "info.wasm", "-o", "out.wasm"]);
    failed(&world, &["encode", "core.wasm", "-o", "out.wasm"], 4);
    failed(&world, &["encode", "nobody.wasm", "-o", "out.wasm"], 2);
}

#[test]
fn edit() {
    let world = shelf();
    for arguments in [
        &["add", "all.wasm"][..],
        &["add", "all.wasm"],
        &["add", "all.wasm", "--use", "-n"],
        &["remove", "all"],
        &["remove", "mine"],
        &["add", "all.wasm", "--use", "--project"],
        &["remove", "all", "--project", "--dry-run"],
        &["remove", "all", "--project"],
    ] {
        checked(&world, "plugin-edit", arguments);
    }
    failed(&world, &["add", "core.wasm"], 4);
    failed(&world, &["add", "all.wasm", "--project", "--name", "ttl"], 8);
}

//! `--strategy POLICY=PLUGIN`: who decides in one call.

use std::fs;

use serde_json::json;

use super::{call, declared, error, explained, install};
use crate::component::Plugin;
use crate::listener::Harbour;
use crate::support::World;

/// Two selection policies, one of which the project's own file selects.
fn contested() -> (Harbour, [u16; 2]) {
    let harbour = Harbour::new();
    let [one, two] = [5, 9].map(|index| harbour.port(index));
    install(&harbour, "one", Plugin::new("one").ranges(&[(one, one)]));
    install(&harbour, "two", Plugin::new("two").ranges(&[(two, two)]).key("two's"));
    harbour.configure(&format!("{}{}", declared("one"), declared("two")));
    fs::write(harbour.dir("project").join("hythe.local.toml"), "strategy.selection = \"one\"\n")
        .unwrap();
    (harbour, [one, two])
}

#[test]
fn the_flag_is_the_strongest_and_is_not_remembered() {
    let (harbour, [one, two]) = contested();
    let project = harbour.dir("project");
    let flag = ["--strategy", "selection=two"];
    let run = |arguments: &[&str]| harbour.run(&project, arguments);
    let answer = run(&[&["reserve", "a", "--explain", "--json"], &flag[..]].concat()).json();
    let selection = call(&answer["explanation"], "selection");
    assert_eq!(selection["plugin"], "two 1.0.0");
    assert_eq!(selection["selected_by"], "--strategy");
    assert_eq!(answer["port"], two);
    // Before the command it is the same.
    assert_eq!(run(&[&flag[..], &["reserve", "a"]].concat()).port(), two);
    assert_eq!(call(&explained(&harbour, &project, "b"), "selection")["plugin"], "one 1.0.0");
    assert_eq!(run(&["get", "b"]).port(), one);
    run(&[&["reserve", "c"], &flag[..]].concat()).fails(5);
}

#[test]
fn every_command_decides_by_the_flag() {
    let (harbour, _) = contested();
    let project = harbour.dir("project");
    let own = harbour.reserve(&project, &["a"]);
    let shared =
        harbour.reserve(&project, &["a", "--strategy", "key=two", "--strategy", "selection=two"]);
    assert_ne!(own, shared);
    assert_eq!(harbour.run(&project, ["get", "a"]).port(), own);
    assert_eq!(harbour.run(&project, ["get", "a", "--strategy", "key=two"]).port(), shared);
    let shown = ["config", "show", "--origin", "--strategy", "cleanup=ttl,pid-reap"];
    let shown = harbour.run(&project, shown).ok();
    let line = "strategy.cleanup = [\"ttl\", \"pid-reap\"]  # --strategy";
    assert!(shown.lines().any(|it| it == line), "{shown}");
    let list = ["plugin", "list", "--json", "--strategy", "key=two", "--strategy", "cleanup=ttl"];
    let list = harbour.run(&project, list).json();
    let used_for = |name: &str| {
        let plugins = list["plugins"].as_array().unwrap();
        plugins.iter().find(|plugin| plugin["name"] == name).unwrap()["used_for"].clone()
    };
    assert_eq!(used_for("two"), json!(["key"]));
    assert_eq!(used_for("ttl"), json!(["cleanup"]));
    assert_eq!(used_for("path-sticky"), json!([]));
    let simulate =
        ["plugin", "simulate", "--requests", "5", "--strategy", "selection=two", "--json"];
    let simulated = harbour.run(&project, simulate).json();
    assert_eq!(simulated["strategy"][1], json!({ "policy": "selection", "plugin": "two 1.0.0" }));
}

#[test]
fn cleanup_follows_the_list_of_the_flag() {
    let world = World::new();
    install(&world, "tidy", Plugin::new("tidy").release_all("spring"));
    world.config(&declared("tidy"));
    let project = world.dir("project");
    let port = world.reserve(&project, &[]);
    let cleanup = |flag: &str| {
        world.run(&project, ["cleanup", "--dry-run", "--json", "--strategy", flag]).json()
    };
    assert_eq!(cleanup("cleanup=")["released"], json!([]));
    assert_eq!(cleanup("cleanup=ttl,path-sticky")["released"], json!([]));
    let released = &cleanup("cleanup=ttl,tidy")["released"];
    assert_eq!((&released[0]["port"], &released[0]["policy"]), (&json!(port), &json!("tidy")));
}

#[test]
fn what_cannot_decide_is_refused() {
    let world = World::new();
    let project = world.dir("project");
    let run = |flag: &str| world.run(&project, ["reserve", "--json", "--strategy", flag]);
    for malformed in ["", "key", "key=", "=ttl", "lease=ttl", "key=a b", "cleanup=ttl,,pid-reap"] {
        error(run(malformed), 2);
    }
    let failed = error(run("selection=nobody"), 3);
    let message = failed["message"].as_str().unwrap();
    assert!(message.contains("--strategy") && message.contains("`nobody`"), "{message}");
    assert!(failed["hint"].as_str().unwrap().contains("`path-sticky`"), "{failed}");
    let failed = error(run("key=ttl"), 4);
    let message = failed["message"].as_str().unwrap();
    assert!(message.contains("key-derivation") && message.contains("--strategy"), "{message}");
    assert_eq!(failed["details"]["selected_by"], "--strategy");
    assert!(!world.ledger().exists(), "nothing was reserved");
}

//! `plugin bench`: what compiling, loading and calling cost.

use serde_json::{Value, json};

use super::{bring, complete, ends, error, refusing};
use crate::component::Plugin;
use crate::support::World;

#[test]
fn every_policy_is_measured_and_no_ledger_is_needed() {
    let world = World::new();
    let directory = world.dir("project");
    bring(&directory, "all", complete("all-in-one"));
    let arguments = ["plugin", "bench", "all.wasm", "--calls", "7"];
    let report = world.run(&directory, [&arguments[..], &["--json"]].concat()).json();
    assert!(report["compile_microseconds"].as_f64().unwrap() > 0.0);
    assert!(report["load_microseconds"].as_f64().unwrap() > 0.0);
    let costs = report["costs"].as_array().unwrap();
    let functions: Vec<_> = costs.iter().map(|cost| cost["function"].as_str().unwrap()).collect();
    let all = ["key-derivation.derive", "port-selection.select", "cleanup.review"];
    assert_eq!(functions, all);
    for cost in costs {
        assert_eq!((&cost["plugin"], &cost["calls"]), (&json!("all-in-one 1.0.0"), &json!(7)));
        assert!(
            cost["median_microseconds"].as_f64().unwrap()
                <= cost["p99_microseconds"].as_f64().unwrap()
        );
        assert!(cost["fuel"].as_u64().unwrap() > 0 && cost["memory"].as_u64().unwrap() >= 65536);
    }
    let text = world.run(&directory, arguments).ok();
    let (_, table) = text.split_once("\n\n").unwrap();
    let cells: Vec<Vec<_>> = table.lines().map(|row| row.split_whitespace().collect()).collect();
    assert_eq!(cells[0], ["PLUGIN", "FUNCTION", "CALLS", "MEDIAN", "P99", "FUEL", "MEMORY"]);
    let called: Vec<_> = cells[1..].iter().map(|row| (row[2], row[3])).collect();
    assert_eq!(called, all.map(|function| (function, "7")), "{text}");
    assert!(!world.state().exists());
}

#[test]
fn a_bundled_plugin_is_not_compiled() {
    let world = World::new();
    let directory = world.dir("project");
    let arguments = ["plugin", "bench", "ttl", "--calls", "1", "--json"];
    let report = world.run(&directory, arguments).json();
    assert_eq!(report["compile_microseconds"], Value::Null);
    assert_eq!(report["costs"].as_array().unwrap().len(), 1);
    assert!(!world.cache().exists());
}

#[test]
fn what_gives_no_answer_is_not_measured() {
    let world = World::new();
    let directory = world.dir("project");
    bring(&directory, "traps", Plugin::new("traps").function("select", "unreachable"));
    let failed = error(world.run(&directory, ["plugin", "bench", "traps.wasm", "--json"]), 4);
    assert_eq!(failed["details"]["function"], "port-selection.select");
    bring(&directory, "idle", Plugin::new("idle"));
    let stderr = world.run(&directory, ["plugin", "bench", "idle.wasm"]).fails(4);
    assert!(stderr.contains("exports no policy"), "{stderr}");
    world.run(&directory, ["plugin", "bench", "nobody"]).fails(4);
    // A refusal is an answer.
    bring(&directory, "refusing", refusing("refusing", "not today"));
    world.run(&directory, ["plugin", "bench", "refusing.wasm", "--calls", "1"]).ok();
}

#[test]
fn as_many_calls_as_nobody_waits_for_are_refused() {
    let world = World::new();
    let directory = world.dir("project");
    bring(&directory, "all", complete("all-in-one"));
    for calls in ["0", "x", "4294967295", "4294967296"] {
        let arguments = ["plugin", "bench", "all.wasm", "--calls", calls];
        ends(&world, &directory, &arguments).fails(2);
    }
}

//! `plugin simulate`: a workload played through a strategy.

use std::fs;

use serde_json::{Value, json};

use super::{bring, complete, declared, demanding, files, install, refusing};
use crate::component::Plugin;
use crate::listener::Harbour;
use crate::support::World;

/// A simulation without what depends on the machine.
fn timeless(mut simulated: Value) -> Value {
    simulated.as_object_mut().unwrap().remove("costs").unwrap();
    simulated
}

/// The rows of the picture in a report.
fn picture(text: &str) -> Vec<&str> {
    text.rsplit_once("\n\n").unwrap().1.lines().collect()
}

#[test]
fn the_same_seed_makes_the_same_report_and_nothing_is_touched() {
    let harbour = Harbour::new();
    let directory = harbour.dir("project");
    harbour.reserve(&directory, &[]);
    let before = files(&harbour.root());
    let changed = || fs::metadata(harbour.ledger()).unwrap().modified().unwrap();
    let time = changed();
    let run = |seed: &str| {
        let arguments = ["plugin", "simulate", "--requests", "300", "--json", "--seed", seed];
        timeless(harbour.run(&directory, arguments).json())
    };
    let report = run("7");
    assert_eq!(run("7"), report);
    assert_ne!(run("8")["report"], report["report"]);
    assert_eq!(report["report"]["range"]["size"], 32, "the ports are those of the configuration");
    assert_eq!(files(&harbour.root()), before);
    assert_eq!(changed(), time);
    let world = World::new();
    world.run(&world.dir("project"), ["plugin", "simulate", "--requests", "50"]).ok();
    assert!(!world.state().exists());
}

#[test]
fn the_numbers_of_a_report_add_up() {
    let world = World::new();
    let directory = world.dir("project");
    let simulated =
        world.run(&directory, ["plugin", "simulate", "--requests", "400", "--json"]).json();
    let report = &simulated["report"];
    let number = |name: &str| report[name].as_u64().unwrap();
    assert_eq!(number("requests"), 400);
    assert!(number("new") > 0 && number("hits") > 0, "{report}");
    let calls = |function: &str| {
        let costs = simulated["costs"].as_array().unwrap().iter();
        let calls = costs.filter(|cost| cost["function"] == function);
        calls.map(|cost| cost["calls"].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!(calls("key-derivation.derive"), 400);
    let strategy = simulated["strategy"].as_array().unwrap();
    assert!(strategy.contains(&json!({ "policy": "key", "plugin": "path-sticky 1.0.0" })));
    assert_eq!(calls("cleanup.review"), 3 * number("cleanups"));
    let distinct = report["range"]["distinct"].as_u64().unwrap();
    let placed = number("new") + number("returned") + number("moved");
    assert!(distinct <= placed && report["range"]["peak"].as_u64().unwrap() <= distinct);
}

#[test]
fn a_plugin_decides_what_it_exports_and_the_directory_the_rest() {
    let world = World::new();
    install(&world, "tidy", Plugin::new("tidy").release_all("spring"));
    world.config(&format!(
        "[strategy]\ncleanup = [\"ttl\", \"tidy\"]\n[ports]\nrange = \"20000-20099\"\n{}",
        declared("tidy")
    ));
    let directory = world.dir("project");
    bring(&directory, "low", Plugin::new("low").ranges(&[(20_000, 20_009)]));
    let strategy = |arguments: &[&str]| {
        let command = ["plugin", "simulate", "--requests", "200", "--json"];
        let simulated = world.run(&directory, [&command[..], arguments].concat()).json();
        let strategy = simulated["strategy"].as_array().unwrap().iter();
        let told = |policy: &Value| {
            format!("{}={}", policy["policy"].as_str().unwrap(), policy["plugin"].as_str().unwrap())
        };
        (strategy.map(told).collect::<Vec<_>>(), simulated["report"].clone())
    };
    let (low, report) = strategy(&["low.wasm"]);
    let expected =
        ["key=path-sticky 1.0.0", "selection=low 1.0.0", "cleanup=ttl 1.0.0", "cleanup=tidy 1.0.0"];
    assert_eq!(low, expected);
    assert_eq!(report["range"]["size"], 100);
    assert!(report["range"]["distinct"].as_u64().unwrap() <= 10);
    assert!(report["exhausted"].as_u64().unwrap() > 0);
    // It is asked first, and once.
    let (tidy, report) = strategy(&["tidy"]);
    let expected = [
        "key=path-sticky 1.0.0",
        "selection=path-sticky 1.0.0",
        "cleanup=tidy 1.0.0",
        "cleanup=ttl 1.0.0",
    ];
    assert_eq!(tidy, expected);
    assert!(report["released"]["by_policy"]["tidy"].as_u64().unwrap() > 0, "{report}");
}

#[test]
fn refusals_are_counted_and_nothing_untrue_is_said() {
    let world = World::new();
    let directory = world.dir("project");
    bring(&directory, "refusing", refusing("refusing", "not today"));
    bring(&directory, "empty", Plugin::new("empty").ranges(&[]));
    let run = |plugin: &str| {
        let arguments = ["plugin", "simulate", plugin, "--requests", "60"];
        let text = world.run(&directory, arguments).ok();
        (
            world.run(&directory, [&arguments[..], &["--json"]].concat()).json()["report"].clone(),
            text,
        )
    };
    let (report, refusing) = run("refusing.wasm");
    let asked = report["refused"]["count"].as_u64().unwrap();
    assert!(asked > 0 && report["new"] == 0, "{report}");
    assert!(report["refused"]["first"].as_str().unwrap().contains("not today"), "{report}");
    assert!(refusing.contains("not today"), "{refusing}");
    let (report, empty) = run("empty.wasm");
    assert_eq!((&report["exhausted"], &report["refused"]["count"]), (&json!(asked), &json!(0)));
    // Nobody came back, and no port was given: nothing can be said of those.
    for text in [refusing, empty] {
        for untrue in ["none of the keys", "none of them", "none of 0", "NaN"] {
            assert!(!text.contains(untrue), "{untrue}: {text}");
        }
    }
}

#[test]
fn a_policy_that_fails_ends_the_simulation() {
    let world = World::new();
    let directory = world.dir("project");
    let spin = "(loop $l (br $l)) (i32.const 0)";
    for (name, plugin, said) in [
        ("traps", Plugin::new("traps").function("select", "unreachable"), "trapped"),
        ("spins", Plugin::new("spins").function("derive", spin), "fuel"),
        ("outside", Plugin::new("outside").ranges(&[(1, 10)]), "outside the allowed"),
        ("idle", Plugin::new("idle"), "exports no policy"),
    ] {
        bring(&directory, name, plugin);
        let file = format!("{name}.wasm");
        let stderr = world.run(&directory, ["plugin", "simulate", &file]).fails(4);
        assert!(stderr.contains(said), "{stderr}");
    }
    world.run(&directory, ["plugin", "simulate", "nobody"]).fails(4);
    assert!(!world.state().exists());
}

#[test]
fn what_is_out_of_bounds_is_named() {
    let world = World::new();
    let directory = world.dir("project");
    let run =
        |arguments: &[&str]| world.run(&directory, [&["plugin", "simulate"], arguments].concat());
    let product = ["--projects=100", "--worktrees=100", "--services=11"];
    for (arguments, said) in [
        (&["--requests=0"][..], "requests"),
        (&["--requests=1000001"], "requests"),
        (&["--requests=x"], "requests"),
        (&["--projects=0"], "projects"),
        (&["--projects=100001"], "projects"),
        (&["--worktrees=0"], "worktrees"),
        (&["--services=0"], "services"),
        (&product, "100000"),
        (&["--release=1.01"], "release"),
        (&["--release=-0.1"], "release"),
        (&["--release=nan"], "release"),
        (&["--die=inf"], "die"),
        (&["--foreign=2"], "foreign"),
        (&["--ephemeral=x"], "ephemeral"),
        (&["--scope=galaxy"], "scope"),
        (&["--seed=18446744073709551616"], "seed"),
        (&["--option=a=1"], "--option a"),
    ] {
        let stderr = run(arguments).fails(2);
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
    }
    // The bounds themselves are inside.
    for arguments in [
        ["--requests=1", "--projects=1", "--worktrees=1", "--services=1"],
        ["--requests=40", "--release=1", "--die=1", "--ephemeral=1"],
        ["--requests=40", "--foreign=1", "--ephemeral=0", "--die=0"],
        ["--requests=40", "--services=2500", "--scope=service", "--seed=18446744073709551615"],
    ] {
        run(&arguments).ok();
    }
}

#[test]
fn the_picture_shows_the_range_and_fits_80_columns() {
    let world = World::new();
    let directory = world.dir("project");
    let run = |arguments: &[&str]| {
        let command = ["plugin", "simulate", "--requests", "60"];
        world.run(&directory, [&command[..], arguments].concat()).ok()
    };
    for (range, first) in [("20000-29999", "20000  "), ("1-65535", "1  "), ("20000", "20000  ")] {
        world.config(&format!(
            "[ports]\nrange = \"{range}\"\nallow = [\"1-65535\"]\n[strategy]\ncleanup = []\n"
        ));
        let text = run(&[]);
        let rows = picture(&text);
        assert!(rows[0].trim_start().starts_with(first), "{text}");
        for row in rows {
            assert!(row.chars().count() <= 80, "{row}");
        }
        // Without cleanup policies there is nothing to list.
        assert!(text.lines().all(|line| !line.ends_with([',', ' '])), "{text}");
        assert!(!text.contains('\u{1b}'));
    }
    let text = run(&[]);
    assert!(!text.contains("reserved at the end"), "{text}");
    assert!(text.starts_with("strategy      key path-sticky 1.0.0, selection path-sticky 1.0.0\n"));
    world.config("[strategy]\ncleanup = [\"ttl\", \"pid-reap\"]\n");
    let text = run(&["--color", "always"]);
    assert!(text.contains(", selection path-sticky 1.0.0, cleanup ttl 1.0.0, pid-reap 1.0.0\n"));
    assert!(text.contains("coloured:\u{1b}[0m reserved at the end"), "{text}");
}

#[test]
fn options_reach_the_plugin() {
    let world = World::new();
    let directory = world.dir("project");
    bring(&directory, "demanding", demanding());
    bring(&directory, "all", complete("all"));
    let run = |arguments: &[&str]| {
        let command = ["plugin", "simulate", "--requests", "10"];
        world.run(&directory, [&command[..], arguments].concat())
    };
    run(&["demanding.wasm", "--option", "team=blue"]).ok();
    let stderr = run(&["demanding.wasm"]).fails(3);
    assert!(stderr.contains("`team`") && !stderr.contains("built-in"), "{stderr}");
    let stderr = run(&["all.wasm", "--option", "team=blue"]).fails(3);
    assert!(stderr.contains("--option") && stderr.contains("no such option"), "{stderr}");
}

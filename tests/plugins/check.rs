//! `plugin check`: whether a plugin can be used, and the first thing that is against it.

use std::fs;

use super::{
    bring, complete, declared, demanding, ends, error, install, no_plugins, pipe, refusing,
};
use crate::component::{Plugin, sha256};
use crate::support::World;

#[test]
fn a_good_plugin_passes_every_check() {
    let world = World::new();
    let directory = world.dir("project");
    let file = bring(&directory, "all", complete("all-in-one"));
    let report = world.run(&directory, ["plugin", "check", "all.wasm", "--json"]).json();
    assert_eq!(report["ok"], true);
    let passed = report["passed"].as_array().unwrap();
    let names: Vec<_> = passed.iter().map(|check| check["check"].as_str().unwrap()).collect();
    let all = [
        "size",
        "digest",
        "imports",
        "interfaces",
        "loaded",
        "types",
        "description",
        "options",
        "answer",
        "answer",
        "answer",
        "purity",
    ];
    assert_eq!(names, all);
    let digest = format!("sha256 {}", sha256(&file));
    assert_eq!(passed[1]["found"], digest.as_str());
    let run = world.run(&directory, ["plugin", "check", "all.wasm"]).exits(0);
    assert_eq!(run.stdout().lines().count(), all.len());
    assert!(run.stdout().lines().all(|line| line.starts_with("ok")));
    assert_eq!(run.stderr(), "");
    for bundled in ["path-sticky", "pid-reap", "ttl"] {
        world.run(&directory, ["plugin", "check", bundled]).ok();
    }
    assert!(!world.state().exists(), "checking needs no ledger");
}

#[test]
fn the_first_thing_that_is_wrong_ends_it() {
    let world = World::new();
    let directory = world.dir("project");
    let clock = r#"(import "wasi:clocks/wall-clock@0.2.0" (instance))"#;
    let derive = r#"(param "request" $request) (param "options" string)
      (result (result string (error (list u8))))"#;
    let spin = "(loop $l (br $l)) (i32.const 0)";
    for (name, plugin, passed, said) in [
        ("wasi", complete("p").import(clock), "size", "wasi:clocks/wall-clock@0.2.0"),
        ("newer", complete("p").contract("0.2.0"), "size", "@0.2.0"),
        ("mute", complete("p").without_info(), "size", "hythe:policy/info@0.1.0"),
        ("idle", Plugin::new("idle"), "imports", "exports no policy"),
        ("types", complete("p").signature("derive", derive), "loaded", "expected `string`"),
        ("tells-forever", complete("p").function("describe", spin), "types", "fuel"),
        ("tells-nothing", complete("p").function("describe", "unreachable"), "types", "trapped"),
        ("schema", complete("p").schema(r##"{"$ref":"#"}"##), "description", "`$ref`"),
        ("traps", complete("p").function("derive", "unreachable"), "options", "derive"),
        ("spins", complete("p").function("select", spin), "answer", "port-selection.select"),
        ("outside", Plugin::new("p").ranges(&[(1, 10)]), "options", "outside the allowed"),
    ] {
        let file = bring(&directory, name, plugin);
        let path = file.to_str().unwrap();
        let stderr = world.run(&directory, ["plugin", "check", path]).fails(4);
        let mut passes = stderr.lines().filter_map(|line| line.strip_prefix("ok"));
        let last = passes.next_back().unwrap();
        assert_eq!(last.split_whitespace().next(), Some(passed), "{name}: {stderr}");
        assert!(stderr.contains(said), "{name}: {stderr}");
        let failed = error(world.run(&directory, ["plugin", "check", path, "--json"]), 4);
        assert!(failed["message"].as_str().unwrap().contains(said), "{name}: {failed}");
    }
    // To refuse is an answer.
    bring(&directory, "refusing", refusing("refusing", "not today"));
    world.run(&directory, ["plugin", "check", "refusing.wasm"]).ok();
}

#[test]
fn a_long_answer_is_cut() {
    let world = World::new();
    let directory = world.dir("project");
    let key = format!("begins-{}-ends", "k".repeat(300));
    bring(&directory, "long", Plugin::new("long").key(&key));
    let text = world.run(&directory, ["plugin", "check", "long.wasm"]).ok();
    let answer = text.lines().find(|line| line.starts_with("ok  answer")).unwrap();
    assert!(answer.contains("begins-k") && answer.contains("k-ends"), "{answer}");
    assert!(answer.contains('…') && answer.chars().count() < 220, "{answer}");
    let report = world.run(&directory, ["plugin", "check", "long.wasm", "--json"]).json();
    assert!(report.to_string().contains(&key), "{report}");
}

#[test]
fn what_is_no_plugin_at_all_is_refused() {
    let world = World::new();
    let directory = world.dir("project");
    for (name, bytes) in no_plugins() {
        fs::write(directory.join(name), bytes).unwrap();
        let message = world.run(&directory, ["plugin", "check", name]).fails(4);
        assert!(message.contains(&format!("`{name}`")), "{message}");
    }
    let core = wat::parse_str("(module (memory (export \"memory\") 1))").unwrap();
    fs::write(directory.join("core.wasm"), core).unwrap();
    let message = world.run(&directory, ["plugin", "check", "core.wasm"]).fails(4);
    assert!(message.contains("core module") && message.contains("plugin encode"), "{message}");
    pipe(&directory.join("pipe"));
    for name in ["pipe", "..", "nobody", "/dev/zero"] {
        ends(&world, &directory, &["plugin", "check", name]).fails(4);
    }
    let large = fs::File::create(directory.join("large")).unwrap();
    large.set_len(5 << 20).unwrap();
    let message = world.run(&directory, ["plugin", "check", "large"]).fails(4);
    assert!(message.contains("limits.module_size"), "{message}");
}

#[test]
fn a_digest_that_is_not_the_pinned_one_is_not_in_order() {
    let world = World::new();
    install(&world, "mine", complete("mine"));
    world.config(&format!("{}sha256 = \"{}\"\n", declared("mine"), "0".repeat(64)));
    let directory = world.dir("project");
    let stderr = world.run(&directory, ["plugin", "check", "mine"]).fails(4);
    assert!(stderr.contains(&"0".repeat(64)), "{stderr}");
    assert!(!stderr.lines().any(|line| line.starts_with("ok  digest")), "{stderr}");
}

#[test]
fn options_are_checked_and_a_message_says_who_set_them() {
    let world = World::new();
    install(&world, "mine", demanding());
    let directory = world.dir("project");
    bring(&directory, "demanding", demanding());
    let run = |plugin: &str, options: &[&str]| {
        let options = options.iter().flat_map(|option| ["--option", option]);
        world.run(&directory, ["plugin", "check", plugin].into_iter().chain(options))
    };
    let file = |options: &[&str]| run("demanding.wasm", options);
    file(&["team=blue"]).ok();
    file(&["team=\"blue\"", "step=9"]).ok();
    for (options, said) in [
        (&["team=1"][..], "--option: plugin `demanding.wasm`: option `team`: expected string"),
        (&["team=x", "step=0"], "--option: plugin `demanding.wasm`: option `step`"),
        (&["team=x", "stp=1"], "did you mean `step`?"),
    ] {
        let stderr = file(options).fails(3);
        assert!(stderr.contains(said), "{stderr}");
    }
    let stderr = file(&[]).fails(3);
    assert!(stderr.contains("`team`") && !stderr.contains("built-in"), "{stderr}");
    for malformed in ["team", "team=[1", "=blue"] {
        file(&[malformed]).fails(2);
    }
    // Of a declared plugin, the options on the command line replace the configured ones.
    let config = world.config(&format!("{}options = {{ team = 1, step = 2 }}\n", declared("mine")));
    let stderr = run("mine", &[]).fails(3);
    assert!(stderr.contains(&format!("{}:4:", config.display())), "{stderr}");
    run("mine", &["team=blue"]).ok();
    let stderr = run("mine", &["team=blue", "step=70"]).fails(3);
    assert!(stderr.contains("--option: plugin `mine`: option `step`"), "{stderr}");
}

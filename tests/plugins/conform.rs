//! `plugin test`: the conformance suite, and an author's own cases.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::{bring, complete, demanding, ends, error, pipe};
use crate::component::Plugin;
use crate::support::{HYTHE, Run, World};

/// A report without what depends on the machine.
fn timeless(mut report: Value) -> Value {
    report.as_object_mut().unwrap().remove("costs").unwrap();
    report
}

/// What the checks of a report say that came out as `outcome`, by interface and name.
fn checks<'a>(report: &'a Value, outcome: &str) -> Vec<(&'a str, &'a str, Option<&'a str>)> {
    let checks = report["checks"].as_array().unwrap().iter();
    let checks = checks.filter(|check| check["outcome"] == outcome);
    let text = |value: &'a Value| value.as_str();
    let told = |check: &'a Value| {
        (text(&check["interface"]).unwrap(), text(&check["name"]).unwrap(), text(&check["text"]))
    };
    checks.map(told).collect()
}

/// A world whose directory `project` has the plugin fixed.wasm, which begins at 20000 whatever it is
/// asked, and cases.toml.
fn project(cases: &str) -> World {
    let world = World::new();
    let directory = world.dir("project");
    bring(&directory, "fixed", Plugin::new("fixed").ranges(&[(20_000, 20_001)]));
    fs::write(directory.join("cases.toml"), cases).unwrap();
    world
}

#[test]
fn the_bundled_plugins_pass_on_all_machines_alike() {
    let world = World::new();
    let directory = world.dir("project");
    for name in ["path-sticky", "pid-reap", "ttl"] {
        let run = || {
            let arguments = ["plugin", "test", name, "--runs", "8", "--seed", "3", "--json"];
            timeless(world.run(&directory, arguments).json())
        };
        let report = run();
        assert_eq!(checks(&report, "failed"), []);
        assert_eq!((&report["runs"], &report["seed"]), (&json!(8), &json!(3)));
        assert_eq!(report["cases"], json!([]));
        let interfaces = report["checks"].as_array().unwrap().iter();
        let of_cleanup = interfaces.filter(|check| check["interface"] == "cleanup").count();
        assert!(of_cleanup > 5, "{report}");
        assert_eq!(run(), report);
    }
    assert!(!world.state().exists());
}

#[test]
fn what_breaks_the_contract_fails_and_a_random_request_can_be_repeated() {
    let world = project("[[case]]\nname = \"c\"\nselect = {}\nexpect = { first = 20000 }\n");
    let directory = world.dir("project");
    let run = |arguments: &[&str]| {
        let command = ["plugin", "test", "fixed.wasm"];
        world.run(&directory, [&command[..], arguments].concat())
    };
    let failed = error(run(&["--json"]), 4);
    let report = &failed["details"];
    let found = checks(report, "failed");
    let random = |found: &[(&str, &str, Option<&str>)]| {
        let random = found.iter().find(|(_, name, _)| *name == "requests at random");
        random.and_then(|(_, _, text)| Some((*text)?.to_owned())).unwrap()
    };
    let text = random(&found);
    assert!(text.contains("outside the allowed"), "{text}");
    let (_, seed) = text.rsplit_once("found by seed ").unwrap();
    let again = error(run(&["--runs", "1", "--seed", seed, "--json"]), 4);
    assert_eq!(random(&checks(&again["details"], "failed")), text);

    let stderr = run(&[]).fails(4);
    assert_eq!(stderr.lines().filter(|line| line.starts_with("FAIL")).count(), found.len());
    assert!(stderr.contains(&format!("{} of ", found.len())), "{stderr}");
    let stderr = run(&["--quiet"]).fails(4);
    assert!(stderr.lines().all(|line| line.starts_with("error: ") || line.starts_with("hint: ")));
}

#[test]
fn cases_are_taken_from_where_they_are_and_told_by_name_and_line() {
    let cases = "[[case]]\nname = \"begins low\"\nselect = {}\n\
         expect = { ranges = [\"20000-20001\"] }\n\n\
         [[case]]\nname = \"begins \\u00fcberall\"\nselect = { allowed = \"20000-29999\" }\n\
         expect = { first = 20001 }\n\n\
         [[case]]\nname = \"refuses\"\nselect = { allowed = \"1-9\" }\n\
         expect = { error = \"\" }\n\n\
         [[case]]\nname = \"derives\"\nderive = {}\nexpect = { key = \"k\" }\n";
    let world = project(cases);
    let run = |directory: &Path, arguments: &[&str]| {
        let command = ["plugin", "test", "--runs", "0"];
        world.run(directory, [&command[..], arguments].concat())
    };
    let project = world.dir("project");
    let failed = error(run(&project, &["fixed.wasm", "--json"]), 4);
    let told = failed["details"]["cases"].as_array().unwrap().iter();
    let told: Vec<_> = told
        .map(|case| (case["name"].clone(), case["line"].clone(), case["failure"].clone()))
        .collect();
    assert_eq!(told[0], (json!("begins low"), json!(2), Value::Null));
    assert_eq!((&told[1].0, &told[1].1), (&json!("begins \u{fc}berall"), &json!(7)));
    let failure = told[1].2.as_str().unwrap();
    assert!(failure.contains("20001 first") && failure.contains("20000-20001"), "{failure}");
    assert!(told[2].2.as_str().unwrap().contains("outside the allowed 1-9"), "{told:?}");
    assert!(told[3].2.as_str().unwrap().contains("key-derivation"), "{told:?}");
    let stderr = run(&project, &["fixed.wasm"]).fails(4);
    for line in ["ok    case: begins low", "FAIL  case: begins \u{fc}berall"] {
        assert!(stderr.lines().any(|it| it.starts_with(line)), "no {line} in {stderr}");
    }

    // The cases beside the plugin, else here; or those that are named, from here as well.
    let elsewhere = world.dir("elsewhere");
    let count = |arguments: &[&str]| {
        let failed = error(run(&elsewhere, &[arguments, &["--json"]].concat()), 4);
        failed["details"]["cases"].as_array().unwrap().len()
    };
    assert_eq!(count(&["-C", "../project", "fixed.wasm"]), 4);
    assert_eq!(count(&["../project/fixed.wasm"]), 4);
    fs::write(elsewhere.join("one.toml"), cases.split_inclusive("\n\n").next().unwrap()).unwrap();
    assert_eq!(count(&["../project/fixed.wasm", "--cases", "one.toml"]), 1);
    fs::copy(elsewhere.join("one.toml"), elsewhere.join("cases.toml")).unwrap();
    assert_eq!(count(&["../project/fixed.wasm"]), 4, "those beside it are its own");
    fs::remove_file(project.join("cases.toml")).unwrap();
    assert_eq!(count(&["../project/fixed.wasm"]), 1);
    fs::remove_file(elsewhere.join("cases.toml")).unwrap();
    assert_eq!(count(&["../project/fixed.wasm"]), 0);
}

#[test]
fn that_there_are_no_cases_is_said() {
    let world = World::new();
    let directory = world.dir("project");
    bring(&directory, "all", complete("all-in-one"));
    let noted = |plugin: &str, flags: &[&str], code: i32| {
        let arguments = [&["plugin", "test", plugin, "--runs", "0"], flags].concat();
        world.run(&directory, arguments).exits(code).stderr()
    };
    let text = noted("all.wasm", &[], 4);
    assert!(text.starts_with("no cases: cases.toml is neither beside the plugin nor here\n"));
    assert_eq!(noted("ttl", &[], 0), "no cases: cases.toml is not here\n");
    assert_eq!([noted("ttl", &["--json"], 0), noted("ttl", &["-q"], 0)], ["", ""]);
    let case = "[[case]]\nname = \"c\"\nselect = {}\nexpect = { first = 20000 }\n";
    fs::write(directory.join("cases.toml"), case).unwrap();
    assert!(!noted("all.wasm", &[], 4).contains("no cases"));
}

#[test]
fn a_hint_repeats_a_random_request_whatever_is_in_the_way() {
    let world = World::new();
    let directory = world.dir("my project's");
    let schema = r#"{"properties":{"team":{"type":"string"}},"required":["team"]}"#;
    let plugin = Plugin::new("fixed").schema(schema).ranges(&[(20_000, 20_001)]);
    bring(&directory, "fixed", plugin);
    fs::rename(directory.join("fixed.wasm"), directory.join("fixed $(1).wasm")).unwrap();
    let arguments =
        ["plugin", "test", "./fixed $(1).wasm", "--option", "team=blue; found by seed 9"];
    let stderr = world.run(&directory, arguments).fails(4);
    let hint = stderr.lines().find_map(|line| line.strip_prefix("hint: hythe ")).unwrap();
    let expected = "plugin test './fixed $(1).wasm' --runs 1 --seed ";
    assert!(hint.starts_with(expected), "{hint}");
    assert!(hint.ends_with(" --option team='blue; found by seed 9'"), "{hint}");

    // A shell reads the hint as what is meant.
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec \"$0\" {hint} --json"), HYTHE]).current_dir(&directory);
    shell.env_clear().envs(
        world.command(&directory).get_envs().filter_map(|(name, value)| Some((name, value?))),
    );
    let again = error(Run::from(shell.output().unwrap()), 4);
    assert_eq!(again["details"]["runs"], 1);
    let found = checks(&again["details"], "failed");
    assert!(found.iter().any(|(_, name, _)| *name == "requests at random"), "{found:?}");
}

#[test]
fn what_fails_alike_is_told_once() {
    let world = World::new();
    let directory = world.dir("project");
    bring(&directory, "traps", Plugin::new("traps").function("select", "unreachable"));
    let stderr = world.run(&directory, ["plugin", "test", "traps.wasm", "--runs", "1"]).fails(4);
    let failures = stderr.lines().filter(|line| line.starts_with("FAIL")).count();
    let same = stderr.lines().filter(|line| *line == "      the same as above").count();
    assert!(failures > 5, "{stderr}");
    assert_eq!(same, failures - 1, "{stderr}");
    assert_eq!(stderr.matches(", asked {").count(), 1, "{stderr}");
    // For programs every failure has its own text.
    let run = world.run(&directory, ["plugin", "test", "traps.wasm", "--runs", "1", "--json"]);
    let failed = error(run, 4);
    let found = checks(&failed["details"], "failed");
    assert!(found.iter().all(|(.., text)| text.unwrap().contains("trapped")), "{found:?}");
}

#[test]
fn cases_that_make_no_sense_are_refused_at_their_place() {
    let world = project("");
    let directory = world.dir("project");
    let file = directory.join("cases.toml");
    let case = |text: &str| format!("[[case]]\nname = \"a\"\n{text}\n");
    let good = case("select = {}\nexpect = { first = 20000 }");
    for (text, place, said) in [
        ("x = ", "1:5", ""),
        ("x = 1", "1:1", "`x`"),
        ("", "1:1", "no case"),
        ("[[case]]\nselect = {}\nexpect = { first = 1 }", "1:1", "`name`"),
        (&case("select = {}"), "1:1", "`expect`"),
        (&case("select = {}\nexpect = {}"), "4:10", "`first`"),
        (&case("select = {}\nexpect = { key = \"k\" }"), "4:10", "`first`"),
        (&case("select = { kee = 1 }\nexpect = { first = 1 }"), "3:12", "`kee`"),
        (&case("select = { allowed = \"9-8\" }\nexpect = { first = 1 }"), "3:22", "`9-8`"),
        (&case("select = {}\nexpect = { first = 70000 }"), "4:20", "70000"),
        (&case("select = {}\nderive = {}\nexpect = { first = 1 }"), "2:8", "`derive`"),
        (&case("derive = {}\nexpect = { same_as = \"b\" }"), "4:22", "`b`"),
        (&case("review = [{}]\nexpect = { verdicts = [] }"), "4:10", "0 verdicts"),
        (&case("review = [{}]\nexpect = { verdicts = [\"so\"] }"), "4:24", "`so`"),
        (&good.repeat(2), "6:8", "`a`"),
    ] {
        fs::write(&file, text).unwrap();
        let stderr = world.run(&directory, ["plugin", "test", "fixed.wasm"]).fails(3);
        assert!(
            stderr.starts_with(&format!("error: {}:{place}: ", file.display())),
            "{text}\n{stderr}"
        );
        assert!(stderr.contains(said), "{text}\n{stderr}");
        assert!(!stderr.contains("ok "), "no check is worth running: {stderr}");
    }
}

#[test]
fn files_of_cases_that_cannot_be_read_are_named() {
    let world = project("");
    let directory = world.dir("project");
    fs::write(directory.join("latin"), [0xff]).unwrap();
    let large = fs::File::create(directory.join("large")).unwrap();
    large.set_len(64 << 20).unwrap();
    pipe(&directory.join("pipe"));
    for (name, code) in [("nobody.toml", 2), (".", 2), ("latin", 2), ("pipe", 2), ("large", 3)] {
        let arguments = ["plugin", "test", "fixed.wasm", "--cases", name];
        let stderr = ends(&world, &directory, &arguments).fails(code);
        let path = directory.join(name);
        assert!(stderr.contains(&format!("{}:", path.display())), "{stderr}");
    }
}

#[test]
fn the_options_of_the_cases_are_those_of_the_suite() {
    let world = World::new();
    let directory = world.dir("project");
    bring(&directory, "demanding", demanding());
    let file = directory.join("cases.toml");
    let case = "[[case]]\nname = \"a\"\nselect = {}\nexpect = { first = 20000 }\n";
    let run = |cases: &str, options: &[&str]| {
        fs::write(&file, cases).unwrap();
        let arguments = ["plugin", "test", "demanding.wasm", "--runs", "0", "--json"];
        world.run(&directory, [&arguments[..], options].concat())
    };
    let failed = error(run(&format!("[options]\nteam = \"x\"\n{case}"), &[]), 4);
    assert_eq!(failed["details"]["cases"], json!([{ "name": "a", "line": 4, "failure": null }]));
    let failed = error(run(case, &["--option", "team=x"]), 4);
    assert!(!checks(&failed["details"], "passed").is_empty(), "{failed}");
    error(run(case, &[]), 3);
    // Who says an option is to blame for it.
    let failed = error(run(&format!("[options]\nteam = 1\n{case}"), &[]), 3);
    let message = failed["message"].as_str().unwrap();
    assert!(message.contains("`team`") && !message.contains("--option"), "{message}");
    assert!(message.contains("cases.toml"), "{message}");
}

#[test]
fn what_has_no_policy_or_cannot_be_used_does_not_pass() {
    let world = World::new();
    let directory = world.dir("project");
    bring(&directory, "idle", Plugin::new("idle"));
    let stderr = world.run(&directory, ["plugin", "test", "idle.wasm"]).fails(4);
    assert!(stderr.contains("exports no policy"), "{stderr}");
    bring(&directory, "traps", Plugin::new("traps").function("select", "unreachable"));
    let stderr = world.run(&directory, ["plugin", "test", "traps.wasm", "--runs", "1"]).fails(4);
    assert!(stderr.contains("trapped"), "{stderr}");
    bring(&directory, "mute", complete("mute").without_info());
    world.run(&directory, ["plugin", "test", "mute.wasm"]).fails(4);
    let stderr = world.run(&directory, ["plugin", "test", "nobody"]).fails(4);
    assert!(!stderr.contains("no cases"), "{stderr}");
    for (flag, number) in
        [("--runs", "4294967295"), ("--runs", "x"), ("--seed", "-1"), ("--seed", "1e9")]
    {
        ends(&world, &directory, &["plugin", "test", "ttl", flag, number]).fails(2);
    }
}

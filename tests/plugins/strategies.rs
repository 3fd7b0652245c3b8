//! Which policies decide for a directory, and which line of which file says so.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{call, declared, explained, install};
use crate::component::{Plugin, sha256};
use crate::listener::Harbour;
use crate::support::{Run, World};

/// Where `value` begins in a file, as messages say it. It is there once.
#[track_caller]
fn place(file: &Path, value: &str) -> String {
    let text = fs::read_to_string(file).unwrap();
    let [before, _] = <[&str; 2]>::try_from(text.split(value).collect::<Vec<_>>()).unwrap();
    let line = before.lines().count() + usize::from(before.ends_with('\n'));
    let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
    format!("{}:{line}:{column}", file.display())
}

/// Where a setting comes from, as `config show --origin` tells it.
#[track_caller]
fn origin(world: &World, directory: &Path, name: &str) -> String {
    let text = world.run(directory, ["config", "show", "--origin"]).ok();
    let line = text.lines().find(|line| line.starts_with(&format!("{name} = ")));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).split_once("  # ").unwrap().1.to_owned()
}

/// Plugin, answer and origin of both decisions about `service` in `directory`.
fn decisions(world: &World, directory: &Path, service: &str) -> [(Value, Value, String); 2] {
    let explanation = explained(world, directory, service);
    ["key", "selection"].map(|policy| {
        let call = call(&explanation, policy);
        let by = call["selected_by"].as_str().unwrap().to_owned();
        (call["plugin"].clone(), call["answered"].clone(), by)
    })
}

#[test]
fn an_explanation_tells_the_options_of_a_policy_that_has_some() {
    let harbour = Harbour::new();
    let schema = r#"{"properties":{"team":{"type":"string"}}}"#;
    let port = harbour.port(3);
    install(&harbour, "mine", Plugin::new("mine").schema(schema).ranges(&[(port, port + 1)]));
    let options = "[plugins.mine.options]\nteam = \"blue\"\n";
    harbour.configure(&format!("[strategy]\nselection = \"mine\"\n{}{options}", declared("mine")));
    let directory = harbour.dir("project");
    let explanation = explained(&harbour, &directory, "json");
    assert_eq!(call(&explanation, "selection")["options"], json!({ "team": "blue" }));
    assert_eq!(call(&explanation, "key")["options"], json!({}));
    let text = harbour.run(&directory, ["reserve", "text", "--explain"]).exits(0).stderr();
    let told: Vec<_> = text.lines().filter(|line| line.starts_with("    options ")).collect();
    assert_eq!(told, [r#"    options {"team":"blue"}"#], "{text}");
}

#[test]
fn two_directories_get_ports_by_different_strategies() {
    let harbour = Harbour::new();
    let [low, high] = [3, 20].map(|index| harbour.port(index));
    let block = Plugin::new("block").ranges(&[(low, low + 1)]).release_all("the sprint is over");
    install(&harbour, "block", block);
    install(&harbour, "shared", Plugin::new("shared").key("one for all"));
    install(&harbour, "high", Plugin::new("high").ranges(&[(high, high)]));
    let root = harbour.root();
    let root = root.display();
    let rules = [format!("{root}/shop/**"), format!("{root}/bank")];
    harbour.configure(&format!(
        "{}{}{}\n[[directory]]\nmatch = \"{}\"\n\
         strategy = {{ key = \"shared\", selection = \"block\", cleanup = [\"block\"] }}\n\
         [[directory]]\nmatch = \"{}\"\nstrategy.selection = \"high\"\n\
         [cleanup]\nevery = \"0s\"\n",
        declared("block"),
        declared("shared"),
        declared("high"),
        rules[0],
        rules[1],
    ));
    let [web, api, bank, rest] = ["shop/web", "shop/api", "bank", "rest"].map(|it| harbour.dir(it));
    let file = harbour.home().join(".config/hythe/config.toml");
    let by = |value: &str, rule: usize| {
        format!("{} ([[directory]] match = {:?})", place(&file, value), rules[rule])
    };

    let [key, selection] = decisions(&harbour, &web, "web");
    assert_eq!(key, (json!("shared 1.0.0"), json!("one for all"), by("\"shared\",", 0)));
    let answered = json!([format!("{low}-{}", low + 1)]);
    assert_eq!(selection, (json!("block 1.0.0"), answered, by("\"block\",", 0)));
    // The port is there: it was reserved by the explained command.
    assert_eq!(harbour.run(&web, ["get", "web"]).port(), low);
    assert_eq!(harbour.reserve(&api, &["web"]), low, "the key is the same in both");

    let [(plugin, _, built_in), selection] = decisions(&harbour, &bank, "web");
    assert_eq!((plugin, built_in), (json!("path-sticky 1.0.0"), "built-in".to_owned()));
    let answered = json!([high.to_string()]);
    assert_eq!(selection, (json!("high 1.0.0"), answered, by("\"high\"\n", 1)));
    assert_eq!(harbour.run(&bank, ["get", "web"]).port(), high);

    for (plugin, _, by) in decisions(&harbour, &rest, "web") {
        assert_eq!((plugin, by), (json!("path-sticky 1.0.0"), "built-in".to_owned()));
    }
    // Each reservation is judged by the strategy of its own directory, wherever cleanup runs.
    let done = harbour.run(&rest, ["cleanup", "--json"]).json();
    let released = done["released"].as_array().unwrap();
    assert_eq!(released.len(), 1, "{done}");
    let released = (&released[0]["port"], &released[0]["policy"], &released[0]["reason"]);
    assert_eq!(released, (&json!(low), &json!("block"), &json!("the sprint is over")));
}

#[test]
fn the_last_rule_that_matches_wins_setting_by_setting() {
    let world = World::new();
    for name in ["one", "two", "three"] {
        install(&world, name, Plugin::new(name).key(name).ranges(&[(20_000, 29_999)]));
    }
    let (shop, deep) = (world.dir("work/shop"), world.dir("work/shop/deep"));
    let work = world.root().join("work").display().to_string();
    let file = world.config(&format!(
        "strategy.cleanup = [\"ttl\"]\nstrategy.key = \"one\"\nstrategy.selection = \"one\"\n\
         {}{}{}\n\
         [[directory]]\nmatch = \"{work}/**\"\nstrategy = {{ key = \"two\", selection = \"two\" }}\n\
         [[directory]]\nmatch = \"{work}/shop\"\nstrategy.selection = \"three\"\n\
         [[directory]]\nmatch = \"{work}/*/deep\"\nstrategy.cleanup = []\n\
         [[directory]]\nmatch = \"{work}/elsewhere/**\"\nstrategy.key = \"three\"\n",
        declared("one"),
        declared("two"),
        declared("three"),
    ));
    let rule = |value: &str, rule: &str| {
        format!("{} ([[directory]] match = \"{work}/{rule}\")", place(&file, value))
    };
    let by = |directory: &Path, name: &str| origin(&world, directory, &format!("strategy.{name}"));
    assert_eq!(by(&world.dir("rest"), "key"), place(&file, "\"one\"\nstrategy.selection"));
    assert_eq!(by(&shop, "key"), rule("\"two\", selection", "**"));
    assert_eq!(by(&shop, "selection"), rule("\"three\"\n[[directory]]\nmatch = ", "shop"));
    assert_eq!(by(&shop, "cleanup"), place(&file, "[\"ttl\"]"));
    assert_eq!(by(&deep, "selection"), rule("\"two\" }", "**"));
    assert_eq!(by(&deep, "cleanup"), rule("[]", "*/deep"));

    // What is shown is what decides.
    let decides = |directory: &Path, answer: &str| {
        let [(_, key, key_by), (_, _, selection_by)] = decisions(&world, directory, "web");
        let shown = ["key", "selection"].map(|name| by(directory, name));
        assert_eq!([key_by, selection_by], shown);
        assert_eq!(key, answer);
    };
    decides(&deep, "two");

    // The project's files are stronger than all rules, and the local one is the strongest.
    let project = shop.join("hythe.toml");
    fs::write(&project, "\n[strategy]\nselection = \"one\"\nkey = 'one'\n").unwrap();
    assert_eq!(by(&shop, "selection"), place(&project, "\"one\""));
    let local = shop.join("hythe.local.toml");
    fs::write(&local, "strategy = { selection = \"path-sticky\" }\n").unwrap();
    assert_eq!(by(&shop, "selection"), place(&local, "\"path-sticky\""));
    assert_eq!(by(&shop, "key"), place(&project, "'one'"));

    decides(&shop, "one");
}

/// Neither their files nor what is beside them is looked at: declaring costs a few lines of TOML.
#[test]
fn what_is_declared_and_not_used_is_not_opened() {
    let world = World::new();
    let directory = world.dir("project");
    let beside = world.home().join(".config/hythe");
    install(&world, "used", Plugin::new("used").key("k"));
    let mut text = format!("[strategy]\nkey = \"used\"\n{}", declared("used"));
    for number in 0..10 {
        text.push_str(&declared(&format!("unused-{number}")));
    }
    // The others are not there.
    fs::create_dir(beside.join("unused-0.wasm")).unwrap();
    let made = Command::new("mkfifo").arg(beside.join("unused-1.wasm")).status().unwrap();
    assert!(made.success());
    fs::write(beside.join("unused-2.wasm"), "no component").unwrap();
    write!(text, "sha256 = \"{}\"\n[plugins.unused-9.options]\nnone = \"such\"\n", "0".repeat(64))
        .unwrap();
    world.config(&text);
    let file = directory.join("unused.wasm");
    fs::write(&file, "no component either").unwrap();
    let digest = sha256(&file);
    fs::write(
        directory.join("hythe.toml"),
        format!("[plugins.unused]\npath = \"unused.wasm\"\nsha256 = \"{digest}\"\n"),
    )
    .unwrap();
    let port = world.reserve(&directory, &[]);

    let log = world.root().join("log");
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-e", "trace=%file", "-o"]).arg(&log);
    if !traced.arg("true").stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        io::stderr().write_all(b"skipped: needs `strace`, and the right to trace\n").unwrap();
        return;
    }
    for arguments in [&["reserve"][..], &["get"], &["reserve", "new"], &["cleanup"]] {
        let command = world.command(&directory);
        let mut traced = Command::new("strace");
        traced.args(["-f", "-qq", "-s", "4096", "-e", "trace=%file", "-o"]).arg(&log);
        traced.arg(command.get_program()).args(arguments).current_dir(&directory).env_clear();
        let path = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
        let run = Run::of(traced.envs(path)).exits(0);
        if arguments == ["reserve"] {
            assert_eq!(run.stdout(), format!("{port}\n"));
        }
        let calls = fs::read_to_string(&log).unwrap();
        for (seen, name) in
            [(true, "config.toml"), (arguments != ["cleanup"], "/used.wasm"), (false, "unused")]
        {
            let found = calls.lines().find(|line| line.contains(name));
            assert_eq!(found.is_some(), seen, "{arguments:?}: {found:?}");
        }
    }
}

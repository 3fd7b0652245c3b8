//! Plugins of one's own: how they are chosen, what they are told, and that their answers count.

mod bench;
mod cache;
mod check;
mod compatibility;
mod conform;
mod edit;
mod encode;
mod inspect;
mod schema;
mod sharing;
mod simulate;
mod strategies;
mod strategy_flag;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::component::Plugin;
use crate::listener::{Harbour, eventually};
use crate::support::{Run, World};

/// Puts a plugin beside the user's file, which declares it as `name` with the path `NAME.wasm`.
fn install(world: &World, name: &str, plugin: Plugin) {
    let file = world.home().join(format!(".config/hythe/{name}.wasm"));
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, plugin.build()).unwrap();
}

/// Puts a plugin into `directory`, as NAME.wasm.
fn bring(directory: &Path, name: &str, plugin: Plugin) -> PathBuf {
    let file = directory.join(format!("{name}.wasm"));
    fs::write(&file, plugin.build()).unwrap();
    file
}

/// A plugin that decides everything, always in the same way.
fn complete(name: &str) -> Plugin {
    Plugin::new(name).key("k").ranges(&[(20_000, 29_999)]).release_all("spring")
}

/// A selection policy that refuses every request, for this reason.
fn refusing(name: &str, reason: &str) -> Plugin {
    let mut plugin = Plugin::new(name);
    let text = plugin.put(reason.as_bytes());
    plugin.function("select", &format!("(call $err {text})"))
}

/// A selection policy with an option that it needs, `team`, and one that it can do without.
fn demanding() -> Plugin {
    let schema = r#"{"properties":{
        "team":{"type":"string","description":"whose ports they are"},
        "step":{"type":"integer","minimum":1,"maximum":9,"default":3}},
        "required":["team"]}"#;
    Plugin::new("demanding").schema(schema).ranges(&[(20_000, 29_999)])
}

/// What makes no plugin, whatever it may be: a name and the bytes.
fn no_plugins() -> Vec<(&'static str, Vec<u8>)> {
    let whole = complete("whole").build();
    vec![
        ("empty", Vec::new()),
        ("text", b"(component)".to_vec()),
        ("cut", whole[..whole.len() / 2].to_vec()),
        ("damaged", [&whole[..8], &[0xff; 64]].concat()),
    ]
}

fn pipe(file: &Path) {
    assert!(Command::new("mkfifo").arg(file).status().unwrap().success());
}

/// A command that must end by itself soon, with little to say.
#[track_caller]
fn ends(world: &World, directory: &Path, arguments: &[&str]) -> Run {
    let mut command = world.command(directory);
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    if !eventually(|| child.try_wait().unwrap().is_some()) {
        child.kill().unwrap();
        child.wait().unwrap();
        panic!("it does not end: {arguments:?}");
    }
    Run::from(child.wait_with_output().unwrap())
}

/// The error document of a command that fails with `code`.
#[track_caller]
fn error(run: Run, code: i32) -> Value {
    let stderr = run.fails(code);
    let document: Value = serde_json::from_str(stderr.lines().last().unwrap()).unwrap();
    assert_eq!(document["error"]["exit_code"], code);
    document["error"].clone()
}

/// All files below `directory` with their contents, except those of the cache.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true if path.ends_with(".cache") => {}
                true => left.push(path),
                false => drop(found.insert(path.clone(), fs::read(&path).unwrap())),
            }
        }
    }
    found
}

fn declared(name: &str) -> String {
    format!("\n[plugins.{name}]\npath = \"{name}.wasm\"\n")
}

/// How the port of `service` comes about in `directory`.
fn explained(world: &World, directory: &Path, service: &str) -> Value {
    let answer = world.run(directory, ["reserve", service, "--explain", "--json"]).json();
    answer["explanation"].clone()
}

/// What the explanation says of one policy.
fn call<'a>(explanation: &'a Value, policy: &str) -> &'a Value {
    let calls = explanation["policies"].as_array().unwrap();
    calls.iter().find(|call| call["policy"] == policy).unwrap()
}

#[test]
fn a_selection_policy_decides_the_port() {
    let harbour = Harbour::new();
    let [high, low] = [20, 10].map(|index| harbour.port(index));
    let ranges = [(high, high + 1), (low, low)];
    install(&harbour, "fixed", Plugin::new("fixed").ranges(&ranges));
    harbour.configure(&format!("[strategy]\nselection = \"fixed\"{}", declared("fixed")));
    let project = harbour.dir("project");
    assert_eq!(harbour.reserve(&project, &["one"]), high);
    let explanation = explained(&harbour, &project, "two");
    let two = call(&explanation, "selection");
    assert_eq!(two["plugin"], "fixed 1.0.0");
    assert_eq!(two["answered"], json!([format!("{high}-{}", high + 1), low.to_string()]));
    assert_eq!(explanation["skipped"][0]["ports"], high.to_string());
    assert_eq!(harbour.reserve(&project, &["two"]), high + 1);
    assert_eq!(harbour.reserve(&project, &["three"]), low);
    // A preferred port comes before everything a policy proposes.
    let asked = harbour.port(3);
    assert_eq!(harbour.reserve(&project, &["four", "--prefer", &asked.to_string()]), asked);
    harbour.run(&project, ["reserve", "five"]).fails(5);
}

#[test]
fn directories_with_the_same_key_share_a_port() {
    let harbour = Harbour::new();
    install(&harbour, "constant", Plugin::new("constant").key("the one"));
    harbour.configure(&format!("[strategy]\nkey = \"constant\"{}", declared("constant")));
    let [one, two] = ["one", "two"].map(|name| harbour.dir(name));
    let port = harbour.reserve(&one, &[]);
    assert_eq!(harbour.reserve(&two, &["web"]), port);
    assert_eq!(harbour.run(&two, ["get"]).port(), port);
    let list = harbour.run(&one, ["list", "--json"]).json();
    assert_eq!(list["reservations"].as_array().unwrap().len(), 1);
    assert_eq!(list["reservations"][0]["key"], "the one");
    assert_eq!(list["reservations"][0]["strategy"]["key"], "constant 1.0.0");
}

#[test]
fn a_cleanup_policy_releases_with_its_reason() {
    let harbour = Harbour::new();
    install(&harbour, "tidy", Plugin::new("tidy").release_all("spring"));
    let project = harbour.dir("project");
    let port = harbour.reserve(&project, &[]);
    // The policies before it have kept nothing, and `ttl` would keep nothing either.
    let strategy = "[strategy]\ncleanup = [\"ttl\", \"tidy\"]";
    harbour.configure(&format!("{strategy}{}", declared("tidy")));
    let none = harbour.run(&project, ["cleanup", "--policy", "ttl", "--json"]).json();
    assert_eq!(none["released"], json!([]));
    let done = harbour.run(&project, ["cleanup", "--json"]).json();
    assert_eq!(done["released"][0]["port"], port);
    assert_eq!(done["released"][0]["policy"], "tidy");
    assert_eq!(done["released"][0]["reason"], "spring");
    harbour.run(&project, ["cleanup", "--policy", "pid-reap"]).fails(2);
}

#[test]
fn plugins_are_listed_with_what_they_are_for() {
    let world = World::new();
    let all = Plugin::new("all-in-one").key("k").ranges(&[(20000, 20000)]).release_all("why");
    install(&world, "mine", all);
    world.config(&format!(
        "[strategy]\nkey = \"mine\"\ncleanup = [\"mine\", \"ttl\"]\n{}{}",
        declared("mine"),
        declared("gone")
    ));
    let directory = world.dir("project");
    let list = world.run(&directory, ["plugin", "list", "--json"]).json();
    let plugin = |name: &str| {
        let plugins = list["plugins"].as_array().unwrap();
        plugins.iter().find(|plugin| plugin["name"] == name).unwrap()
    };
    let names: Vec<_> =
        list["plugins"].as_array().unwrap().iter().map(|plugin| &plugin["name"]).collect();
    assert_eq!(names, ["path-sticky", "pid-reap", "ttl", "gone", "mine"]);
    let mine = plugin("mine");
    let file = world.home().join(".config/hythe/mine.wasm");
    assert_eq!(mine["policies"], json!(["key-derivation", "port-selection", "cleanup"]));
    assert_eq!(mine["used_for"], json!(["key", "cleanup"]));
    assert_eq!(mine["source"], file.to_str().unwrap());
    assert_eq!(mine["version"], "1.0.0");
    assert_eq!(mine["sha256"], crate::component::sha256(&file).as_str());
    assert_eq!(mine["size"], fs::metadata(&file).unwrap().len());
    assert_eq!(plugin("ttl")["used_for"], json!(["cleanup"]));
    assert_eq!(plugin("ttl")["source"], "bundled");
    assert!(plugin("gone")["error"].as_str().unwrap().contains("No such file"));
    let table = world.run(&directory, ["plugin", "list"]).ok();
    for line in ["mine         1.0.0", "gone         -        unusable", "gone: plugin `gone`"] {
        assert!(table.lines().any(|row| row.starts_with(line)), "{table}");
    }
}

#[test]
fn a_declared_plugin_that_nobody_uses_costs_nothing() {
    let world = World::new();
    world.config(&declared("gone"));
    let directory = world.dir("project");
    let run = world.run(&directory, ["reserve"]).exits(0);
    assert_eq!(run.stderr(), "");
    world.run(&directory, ["cleanup"]).ok();
    assert!(!world.cache().exists());
    let stderr = world.run(&directory, ["config", "check"]).fails(4);
    assert!(stderr.contains("`gone`") && stderr.contains("config.toml:3:"), "{stderr}");
}

#[test]
fn a_directory_rule_chooses_the_policies_of_its_directories() {
    let harbour = Harbour::new();
    let [one, two] = [5, 9].map(|index| harbour.port(index));
    install(&harbour, "one", Plugin::new("one").ranges(&[(one, one)]));
    install(&harbour, "two", Plugin::new("two").ranges(&[(two, two)]));
    let root = harbour.root();
    harbour.configure(&format!(
        "{}{}\n[[directory]]\nmatch = \"{}/work/**\"\nstrategy.selection = \"one\"\n\
         [[directory]]\nmatch = \"{}/play\"\nstrategy.selection = \"two\"\n",
        declared("one"),
        declared("two"),
        root.display(),
        root.display(),
    ));
    let [work, play, rest] = ["work/deep/down", "play", "rest"].map(|name| harbour.dir(name));
    let selected = |directory: &Path| {
        let explanation = explained(&harbour, directory, "web");
        let call = call(&explanation, "selection").clone();
        (call["plugin"].clone(), call["selected_by"].as_str().unwrap().to_owned())
    };
    let (plugin, by) = selected(&work);
    assert_eq!(plugin, "one 1.0.0");
    assert!(by.contains("/config.toml:12:") && by.contains("work/**"), "{by}");
    let (plugin, by) = selected(&play);
    assert_eq!(plugin, "two 1.0.0");
    assert!(by.contains("/config.toml:15:") && by.contains("/play\""), "{by}");
    let (plugin, by) = selected(&rest);
    assert!(plugin.as_str().unwrap().starts_with("path-sticky "), "{plugin}");
    assert_eq!(by, "built-in");
    assert_eq!(harbour.reserve(&work, &["web"]), one);
    assert_eq!(harbour.reserve(&play, &["web"]), two);
}

/// The plugin answers with the options it is given, as the key.
#[test]
fn options_reach_the_plugin_with_durations_in_seconds() {
    let harbour = Harbour::new();
    let schema = r#"{"properties":{
        "grace":{"type":"string","format":"duration"},
        "step":{"type":"integer"},
        "teams":{"type":"array","items":{"type":"string"}},
        "blocks":{"type":"object","additionalProperties":{"type":"string"}}}}"#;
    let echo = Plugin::new("echo").schema(schema).function(
        "derive",
        "(call $ok (i32.load offset=84 (local.get $request))
           (i32.load offset=88 (local.get $request)))",
    );
    install(&harbour, "echo", echo);
    let directory = harbour.dir("project");
    let key = |options: &str| {
        harbour.configure(&format!("[strategy]\nkey = \"echo\"{}{options}", declared("echo")));
        call(&explained(&harbour, &directory, "web"), "key")["answered"].clone()
    };
    assert_eq!(key(""), "{}");
    let options = "options = { grace = \"1h 30m\", step = 3, teams = [\"a\", \"ü\"] }\n";
    assert_eq!(key(options), r#"{"grace":5400,"step":3,"teams":["a","ü"]}"#);
    let options = "[plugins.echo.options.blocks]\npay = \"1-2\"\n";
    assert_eq!(key(options), r#"{"blocks":{"pay":"1-2"}}"#);
}

/// Offsets of the canonical ABI: what the plugin is told arrives where the contract says.
#[test]
fn a_key_policy_is_told_where_the_request_comes_from() {
    let harbour = Harbour::new();
    for (name, offset) in [("service", 4), ("directory", 12)] {
        let body = format!(
            "(call $ok (i32.load offset={offset} (local.get $request))
               (i32.load offset={} (local.get $request)))",
            offset + 4
        );
        install(&harbour, name, Plugin::new(name).function("derive", &body));
    }
    let directory = harbour.dir("project");
    for (name, told) in [("service", "web"), ("directory", directory.to_str().unwrap())] {
        harbour.configure(&format!("[strategy]\nkey = \"{name}\"{}", declared(name)));
        assert_eq!(call(&explained(&harbour, &directory, "web"), "key")["answered"], told);
    }
}

/// What one file pins says nothing about what another does, though it is the same file.
#[test]
fn a_pin_holds_for_those_whose_file_says_it() {
    let world = World::new();
    let (project, other) = (world.dir("project"), world.dir("other"));
    let file = project.join("p.wasm");
    fs::write(&file, Plugin::new("p").release_all("p").build()).unwrap();
    let digest = crate::component::sha256(&file);
    let path = file.display();
    fs::write(
        project.join("hythe.toml"),
        format!(
            "[plugins.p]\npath = \"p.wasm\"\nsha256 = \"{digest}\"\n[strategy]\ncleanup = [\"p\"]\n"
        ),
    )
    .unwrap();
    world.reserve(&project, &[]);
    world.reserve(&other, &[]);
    world.config(&format!(
        "[[directory]]\nmatch = \"{}\"\nstrategy.cleanup = [\"p\"]\n\
         plugins.p = {{ path = \"{path}\", sha256 = \"{}\" }}\n",
        other.display(),
        "0".repeat(64),
    ));
    let stderr = world.run(&project, ["cleanup"]).fails(4);
    assert!(stderr.contains("its digest is"), "{stderr}");
    assert_eq!(
        world.run(&other, ["list", "--json"]).json()["reservations"].as_array().unwrap().len(),
        2
    );
}

#[test]
fn the_services_of_one_command_are_told_of_each_other() {
    let harbour = Harbour::new();
    let project = harbour.dir("project");
    harbour.configure("");
    let answer = harbour.run(&project, ["reserve", "a", "b", "--explain", "--json"]).json();
    let told = |index: usize| {
        let service = &answer["services"][index];
        (call(&service["explanation"], "selection")["told"].clone(), service["port"].clone())
    };
    let (first, given) = told(0);
    let (second, _) = told(1);
    assert_eq!((&first["reserved"], &first["latest"]), (&json!(0), &Value::Null));
    assert_eq!((&second["reserved"], &second["latest"]), (&json!(1), &given));
}

/// An empty range and a narrow policy are told apart.
#[test]
fn a_policy_that_leaves_nothing_is_to_blame_for_it() {
    let harbour = Harbour::new();
    let port = harbour.port(7);
    install(&harbour, "one", Plugin::new("one").ranges(&[(port, port)]));
    harbour.configure(&format!("[strategy]\nselection = \"one\"{}", declared("one")));
    let project = harbour.dir("project");
    harbour.reserve(&project, &["a"]);
    let stderr = harbour.run(&project, ["reserve", "b"]).fails(5);
    assert!(stderr.contains("policy `one 1.0.0`") && stderr.contains("proposes 1"), "{stderr}");
    assert!(stderr.contains("hint: the policy leaves the other ports out"), "{stderr}");
}

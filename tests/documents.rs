//! The documents tell the truth: what they show runs, and what there is they tell.

mod ancestors;
mod excerpts;
mod fields;
mod guide;
mod markdown;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use self::markdown::{Block, anchor, blocks, blocks_of, documents, read, root, rows, sections};
use super::component::{Plugin, sha256};
use super::support::{HYTHE, Run, World};

/// Where commands are looked for: `hythe` is the binary under test.
fn search_path() -> OsString {
    let bin = Path::new(HYTHE).parent().unwrap().to_owned();
    let path = std::env::var_os("PATH").unwrap();
    std::env::join_paths([bin].into_iter().chain(std::env::split_paths(&path))).unwrap()
}

/// Runs a block in the checkout `shop` of a world, or where its document says.
fn run(world: &World, block: &Block) -> Run {
    let shop = world.repository("shop");
    let directory = match Path::new(&block.document).parent() {
        Some(parent) if parent.starts_with("examples") => root().join(parent),
        _ => shop,
    };
    Run::of(
        Command::new("sh")
            .args(["-euc", &block.text])
            .current_dir(directory)
            .env_clear()
            .env("PATH", search_path())
            .env("HOME", world.home())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .stdin(Stdio::null()),
    )
}

#[test]
fn every_shell_block_runs() {
    std::thread::scope(|scope| {
        for block in blocks("sh") {
            scope.spawn(move || {
                let run = run(&World::new(), &block).exits(0);
                // What fails in the background has no exit code that anybody looks at.
                assert!(!run.stderr().contains("error:"), "{}{}", block.name(), run.stderr());
                // Lines are broken, not escaped.
                assert!(!run.stderr().contains("\\n"), "{}{}", block.name(), run.stderr());
            });
        }
    });
}

#[test]
fn every_block_is_of_a_kind_that_is_looked_at() {
    let shell = ["sh", "sh build", "sh no-test", "sh no-test install", "sh no-test test"];
    let toml = ["toml config.toml", "toml hythe.toml", "toml cases.toml"];
    let kinds = [&shell[..], &toml, &["wit"]].concat();
    // What belongs to a crate of the reader's own, and an example of an answer.
    let others = ["toml", "rust", "json", "text"];
    for block in documents().iter().flat_map(|document| blocks_of(document)) {
        let known = kinds.contains(&&*block.info) || others.contains(&&*block.info);
        // Lines of a file, which `excerpts` compares.
        let known = known || block.info.starts_with("text examples/");
        assert!(known, "`{}` at {}", block.info, block.name());
    }
}

#[test]
fn forty_agents_get_forty_ports() {
    let block = blocks_of("README.md").into_iter().find(|block| block.text.contains("seq 40"));
    let listed = run(&World::new(), &block.unwrap()).ok();
    let agents = listed.lines().filter(|line| line.contains("/agent-")).map(|line| &line[..5]);
    assert_eq!(agents.collect::<BTreeSet<_>>().len(), 40, "{listed}");
}

#[test]
fn the_two_commands_are_there_for_ci_to_run() {
    let promised: Vec<_> = blocks_of("README.md")
        .into_iter()
        .filter_map(|block| Some((block.info.strip_prefix("sh no-test ")?.to_owned(), block.text)))
        .collect();
    let expected = [
        ("install", "cargo install --path crates/cli --locked && hythe reserve\n"),
        (
            "test",
            "rustup target add wasm32-unknown-unknown && cargo test --workspace --release --locked\n",
        ),
    ];
    assert_eq!(promised, expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
}

/// Puts a plugin that can decide everything, with whatever options, in the place of each that `text`
/// declares beside `file`; what `text` says then.
fn declared(text: &str, file: &Path) -> String {
    let stand_in = Plugin::new("stand-in").schema(r#"{"additionalProperties": true}"#);
    let stand_in = stand_in.key("k").ranges(&[]).release_all("x").build();
    let mut digest = String::new();
    for quoted in text.split('"').filter(|quoted| quoted.starts_with("policies/")) {
        let component = file.with_file_name(quoted);
        fs::create_dir_all(component.parent().unwrap()).unwrap();
        fs::write(&component, &stand_in).unwrap();
        digest = sha256(&component);
    }
    text.replace("\"…\"", &format!("\"{digest}\""))
}

/// Checks a user's file and a project's, in a few directories that examples speak of.
fn check(user: &str, project: &str, name: &str) {
    let world = World::new();
    let shop = world.repository("shop");
    let config = world.config(user);
    fs::write(&config, declared(user, &config)).unwrap();
    let file = shop.join("hythe.toml");
    fs::write(&file, declared(project, &file)).unwrap();
    let work =
        ["home/work/payments", "home/work/x", "home/experiments/x"].map(|dir| world.dir(dir));
    for directory in work.iter().chain([&shop]) {
        let run = world.run(directory, ["config", "check"]).exits(0);
        assert!(run.stderr().contains("in order"), "{name}: {}", run.stderr());
    }
}

#[test]
fn every_configuration_that_is_shown_is_accepted() {
    for block in blocks("toml config.toml") {
        check(&block.text, "", &block.name());
    }
    for block in blocks("toml hythe.toml") {
        check("", &block.text, &block.name());
    }
}

#[test]
fn every_case_that_is_shown_holds() {
    for block in blocks("toml cases.toml") {
        let world = World::new();
        let cases = world.root().join("cases.toml");
        fs::write(&cases, &block.text).unwrap();
        let run = world.run(&world.root(), ["plugin", "test", "path-sticky", "--json"]).json();
        let count = block.text.matches("[[case]]").count();
        assert_eq!(run["cases"].as_array().unwrap().len(), count, "{}", block.name());
    }
}

#[test]
fn every_example_is_listed() {
    let listed = read("examples/README.md");
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name == "README.md" || listed.contains(&format!("]({name})")), "{name}");
    }
}

#[test]
fn every_example_configuration_is_accepted_and_listed() {
    let directory = "examples/configurations";
    let listed = read(&format!("{directory}/README.md"));
    for entry in fs::read_dir(root().join(directory)).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let text = read(&format!("{directory}/{name}"));
        match name.split_once('-') {
            Some(("user", _)) => check(&text, "", &name),
            Some(("project", _)) => check("", &text, &name),
            _ => assert_eq!(name, "README.md"),
        }
        assert!(name == "README.md" || listed.contains(&format!("]({name})")), "{name}");
    }
}

/// The settings that hold in a world, by name, with value and origins.
fn settings(world: &World, directory: &Path) -> BTreeMap<String, (String, String)> {
    let shown = world.run(directory, ["config", "show", "--json"]).json();
    let settings = shown["settings"].as_array().unwrap().iter().map(|setting| {
        let text = |name: &str| setting[name].as_str().unwrap().to_owned();
        (text("name"), (text("value"), setting["origins"].to_string()))
    });
    settings.collect()
}

#[test]
fn the_example_with_everything_says_what_is_built_in() {
    let world = World::new();
    let shop = world.dir("shop");
    let built_in = settings(&world, &shop);
    world.config(&read("examples/configurations/user-everything.toml"));
    let said = settings(&world, &shop);
    for (name, (value, _)) in &built_in {
        let (now, origins) = &said[name];
        assert_eq!(now, value, "{name}");
        assert!(now == "[]" || origins.contains("config.toml:"), "{name} is not said: {origins}");
    }
}

#[test]
fn every_setting_is_documented_with_its_built_in_value() {
    let world = World::new();
    let shop = world.dir("shop");
    let built_in = settings(&world, &shop);
    world.config(
        "project = 'x'\n[services.NAME]\nport = 1\nscope = 'project'\nlease = 'ephemeral'\n\
         ttl = '1s'\nenv = 'X'\noffset = 0\n[env]\nVARIABLE = 'x'\n[plugins.ttl]\npath = 'x'\nsha256 = '0000000000000000000000000000000000000000\
         000000000000000000000000'\noptions = { OPTION = 1 }\n",
    );
    let every = settings(&world, &shop).into_keys().map(|name| {
        let value = built_in.get(&name).map_or_else(String::new, |(value, _)| value.clone());
        (name.replace("plugins.ttl", "plugins.NAME"), value)
    });
    let documented = rows(&sections("docs/configuration.md", "##")["Settings"]);
    let documented = documented.into_iter().skip(1).map(|row| (row[0].clone(), row[1].clone()));
    let documented: BTreeMap<_, _> = documented.collect();
    assert_eq!(documented, every.collect());

    for row in rows(&sections("docs/policies.md", "##")["Limits"]).iter().skip(1) {
        assert_eq!(documented.get(&row[0]), Some(&row[1]), "docs/policies.md: {}", row[0]);
    }
}

fn help(path: &[&str]) -> String {
    let world = World::new();
    world.run(&world.root(), [path, &["--help"]].concat()).ok()
}

/// The commands that a help text lists.
fn subcommands(help: &str) -> Vec<String> {
    let Some((_, list)) = help.split_once("\nCommands:\n") else { return Vec::new() };
    let lines = list.lines().take_while(|line| !line.is_empty());
    // What is indented further goes on with the line above.
    let lines = lines.filter_map(|line| line.strip_prefix("  ").filter(|it| !it.starts_with(' ')));
    lines.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

/// The words of `text` that begin with `prefix`, without what follows them.
fn words(text: &str, prefix: &str) -> BTreeSet<String> {
    let part = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let words = text.split(|c| !part(c)).filter(|word| word.starts_with(prefix));
    words.filter(|word| word.len() > prefix.len()).map(str::to_owned).collect()
}

/// The options that `help` explains between two headings.
fn options(help: &str, from: &str, to: &str) -> BTreeSet<String> {
    let text = help.split_once(from).map_or("", |(_, text)| text);
    let text = text.split_once(to).map_or(text, |(text, _)| text);
    let heads = text.lines().filter(|line| line.starts_with("  -") || line.starts_with("      --"));
    words(&heads.collect::<Vec<_>>().join("\n"), "--")
}

#[test]
fn every_command_and_option_is_documented() {
    let top = help(&[]);
    let mut commands = BTreeMap::new();
    for name in subcommands(&top) {
        let text = help(&[&name]);
        let below = subcommands(&text);
        for sub in &below {
            commands.insert(format!("hythe {name} {sub}"), help(&[&name, sub]));
        }
        // One that can be called with a command below it or without.
        if below.is_empty() || text.contains(" [COMMAND]\n") {
            commands.insert(format!("hythe {name}"), text);
        }
    }
    let documented = sections("docs/cli.md", "##");
    let listed: Vec<_> = documented.keys().filter(|name| name.starts_with("hythe ")).collect();
    assert_eq!(listed, commands.keys().collect::<Vec<_>>());

    let first_cells = |text: &str| {
        let cells = rows(text).into_iter().map(|row| row[0].clone());
        words(&cells.collect::<Vec<_>>().join("\n"), "--")
    };
    for (name, text) in &commands {
        let mut options = options(text, "\nOptions:\n", "\nGlobal options:\n");
        options.remove("--help");
        assert_eq!(first_cells(&documented[name]), options, "{name}");
    }
    let mut global = options(&top, "\nGlobal options:\n", "\0");
    global.extend(["--help".to_owned(), "--version".to_owned()]);
    assert_eq!(first_cells(&documented["Global options"]), global);

    let variables = |text: &str| words(text, "HYTHE_");
    let read: BTreeSet<_> = commands.values().chain([&top]).flat_map(|it| variables(it)).collect();
    let told: BTreeSet<_> = documented.values().flat_map(|text| variables(text)).collect();
    assert_eq!(told, read);

    let readme = &sections("README.md", "##")["Commands"];
    for name in commands.keys() {
        let words: Vec<_> = name.split(' ').skip(1).collect();
        assert!(words.iter().all(|word| readme.contains(word)), "README.md: {name}");
    }
}

#[test]
fn every_exit_code_is_documented() {
    let codes = |text: &str| {
        let pairs = text.split_once("Exit codes: ").unwrap().1.split_once('.').unwrap().0;
        let pairs = pairs.split(',').map(|pair| pair.trim().split_once([' ', '\n']).unwrap().0);
        pairs.map(|code| code.parse().unwrap()).collect::<BTreeSet<u8>>()
    };
    let codes = codes(&help(&[]));
    let numbers = |text: &str| {
        let cells = rows(text).into_iter().flatten();
        cells.filter_map(|cell| cell.parse().ok()).collect::<BTreeSet<u8>>()
    };
    assert_eq!(numbers(&sections("docs/cli.md", "##")["Exit codes"]), codes);
    assert_eq!(numbers(&sections("README.md", "##")["Commands"]), codes);

    let errors = rows(&sections("docs/json.md", "##")["Errors"]);
    let words: BTreeMap<_, _> = errors.iter().skip(1).map(|row| (&*row[0], &*row[1])).collect();
    assert_eq!(words.len(), codes.len() - 1, "every code but 0");
    let world = World::new();
    world.config("range = 1");
    for (arguments, code) in
        [(&["get"][..], 3), (&["--config", "/dev/null", "get"], 7), (&["x"], 2)]
    {
        let error = world.run(&world.root(), [arguments, &["--json"]].concat()).fails(code);
        let error: Value = serde_json::from_str(&error).unwrap();
        let said = error["error"]["code"].as_str().unwrap();
        assert_eq!(words[said], code.to_string(), "{error}");
    }
}

#[test]
fn the_contract_is_quoted_as_it_is() {
    let contract = read("wit/policy.wit");
    let lines: BTreeSet<_> = contract.lines().map(str::trim).collect();
    for block in blocks("wit") {
        for line in block.text.lines() {
            assert!(lines.contains(line.trim()), "{}is not in the contract: {line}", block.name());
        }
    }
    let interfaces = contract
        .lines()
        .filter_map(|line| Some(line.strip_prefix("interface ")?.split_once(' ')?.0.to_owned()));
    let sections = sections("docs/policies.md", "###").into_keys();
    assert_eq!(sections.collect::<BTreeSet<_>>(), interfaces.collect());
}

#[test]
fn every_link_leads_somewhere() {
    for document in documents() {
        let text = read(&document);
        for link in text.split("](").skip(1).map(|rest| rest.split_once(')').unwrap().0) {
            if link.starts_with("https://") {
                continue;
            }
            let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
            let here = Path::new(&document).parent().unwrap().join(path);
            let target = if path.is_empty() { PathBuf::from(&document) } else { here };
            assert!(root().join(&target).exists(), "{document}: {link}");
            if !fragment.is_empty() {
                let headings = fs::read_to_string(root().join(target)).unwrap();
                let mut headings = headings.lines().filter(|line| line.starts_with('#'));
                let leads = |line: &str| anchor(line.trim_start_matches('#').trim()) == fragment;
                assert!(headings.any(leads), "{document}: {link}");
            }
        }
    }
}

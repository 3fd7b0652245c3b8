//! What is printed for agents to be told: their settings, a skill, instructions.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::Client;
use crate::listener::Harbour;
use crate::schema::valid;
use crate::support::{HYTHE, Run, World};

/// Each agent, where its settings have the servers, and whether a command adds one.
const AGENTS: [(&str, &str, Option<&str>); 9] = [
    ("claude-code", "mcpServers", Some("claude mcp add ")),
    ("claude-desktop", "mcpServers", None),
    ("codex", "mcp_servers", Some("codex mcp add ")),
    ("cursor", "mcpServers", None),
    ("vscode", "servers", Some("code --add-mcp ")),
    ("gemini", "mcpServers", Some("gemini mcp add ")),
    ("windsurf", "mcpServers", None),
    ("zed", "context_servers", None),
    ("opencode", "mcp", None),
];

/// The words that start the server, as settings have them.
fn words(agent: &str, servers: &str, text: &str) -> Vec<String> {
    let settings: Value = match agent {
        "codex" => serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap(),
        _ => serde_json::from_str(text).unwrap(),
    };
    assert_eq!(settings.as_object().unwrap().len(), 1, "{text}");
    let server = &settings[servers]["hythe"];
    match (&server["type"], ["claude-code", "cursor", "vscode"].contains(&agent)) {
        (kind, true) => assert_eq!(kind, "stdio", "{text}"),
        (kind, false) => assert!(kind.is_null() || kind == "local", "{text}"),
    }
    let strings = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
    };
    match server["command"].as_str() {
        Some(command) => [vec![command.to_owned()], strings(&server["args"])].concat(),
        None => strings(&server["command"]),
    }
}

#[test]
fn settings_start_a_server() {
    let world = Harbour::new();
    let shop = world.dir("it's a shop");
    let directory = shop.to_str().unwrap();
    for (agent, servers, adds) in AGENTS {
        let run = world.run(&shop, ["mcp", "settings", agent]).exits(0);
        assert_eq!(words(agent, servers, &run.stdout()), [HYTHE, "mcp"], "{agent}");
        assert!(run.stderr().starts_with("add this to "), "{}", run.stderr());
        let given = ["-C", directory, "mcp", "settings", agent, "--json"];
        let document = valid("mcp-settings", world.run(&world.root(), given).json());
        let text = document["text"].as_str().unwrap();
        let words = words(agent, servers, text);
        assert_eq!(words, [HYTHE, "-C", directory, "mcp"], "{agent}");

        // What is started with them is a server for that directory.
        let arguments: Vec<_> = words[1..words.len() - 1].iter().map(String::as_str).collect();
        let mut client = Client::with_roots(&world, &arguments, None);
        let (answer, _) = client.succeeds("reserve", json!({}));
        assert_eq!(answer["services"][0]["reservation"]["directory"], directory);

        let command = document["command"].as_str();
        assert_eq!(command.is_some(), adds.is_some(), "{agent}");
        let (Some(command), Some(adds)) = (command, adds) else { continue };
        assert!(command.starts_with(adds) && run.stderr().contains(adds), "{command}");
        let added = added(&world, command);
        match agent {
            "vscode" => {
                let added: Value = serde_json::from_str(&added[1]).unwrap();
                let expected =
                    json!({ "name": "hythe", "command": HYTHE, "args": ["-C", directory, "mcp"] });
                assert_eq!(added, expected);
            }
            "gemini" => assert!(
                added.ends_with(
                    &[vec![HYTHE.to_owned(), "--".to_owned()], words[1..].to_vec()].concat()
                ),
                "{added:?}"
            ),
            _ => assert!(
                added.ends_with(&[vec!["--".to_owned()], words.clone()].concat()),
                "{added:?}"
            ),
        }
    }
    assert!(world.run(&shop, ["mcp", "settings", "emacs"]).fails(2).contains("claude-code"));
}

/// The words that a shell gives the program of a command.
fn added(world: &World, command: &str) -> Vec<String> {
    let (program, _) = command.split_once(' ').unwrap();
    let script = format!("{program}() {{ printf '%s\\n' \"$@\"; }}\n{command}");
    let output = Command::new("sh").args(["-euc", &script]).current_dir(world.root()).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{command}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn settings_name_hythe_as_a_shell_finds_it() {
    let world = World::new();
    let bin = world.dir("bin");
    let link = bin.join("hythe");
    std::os::unix::fs::symlink(HYTHE, &link).unwrap();
    let mut command = world.command(&world.root());
    let path = format!("relative:{}:/usr/bin", bin.display());
    let run = Run::of(command.env("PATH", path).args(["mcp", "settings", "codex"]));
    let expected =
        format!("[mcp_servers.hythe]\ncommand = \"{}\"\nargs = [\"mcp\"]\n", link.display());
    assert_eq!(run.exits(0).stdout(), expected);
}

/// The shell blocks of a text.
fn blocks(text: &str) -> Vec<&str> {
    text.split("```sh\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect()
}

/// Runs each block in a checkout, with the binary under test.
fn assert_runs(text: &str, least: usize) {
    let blocks = blocks(text);
    assert!(blocks.len() >= least, "{text}");
    let world = Harbour::new();
    let shop = world.repository("shop");
    let bin = Path::new(HYTHE).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    for block in blocks {
        let mut command = Command::new("sh");
        command.args(["-euc", block]).current_dir(&shop).env_clear().stdin(Stdio::null());
        let run = Run::of(command.env("PATH", &path).env("HOME", world.home())).exits(0);
        assert!(!run.stderr().contains("error:"), "{block}\n{}", run.stderr());
    }
    // What is said beside blocks is said of commands that there are.
    for code in text.split('`').filter(|code| code.starts_with("hythe ")) {
        let command = code.split(' ').nth(1).unwrap();
        world.run(&shop, [command, "--help"]).ok();
    }
}

#[test]
fn the_skill_is_one_and_its_commands_run() {
    let world = World::new();
    let text = world.run(&world.root(), ["mcp", "skill"]).ok();
    // agentskills.io/specification: a name as of a directory, a description of at most 1024 characters.
    let (front, body) = text.strip_prefix("---\n").unwrap().split_once("\n---\n").unwrap();
    let field = |name: &str| {
        front.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap()
    };
    assert_eq!(field("name"), "hythe");
    let description = field("description");
    assert!(
        (100..=1024).contains(&description.len()) && !description.contains(": "),
        "{description}"
    );
    assert_eq!(front.lines().count(), 2);
    assert_runs(body, 4);
}

#[test]
fn the_instructions_can_be_appended_and_their_commands_run() {
    let world = World::new();
    let text = world.run(&world.root(), ["mcp", "instructions"]).ok();
    assert!(text.starts_with("## ") && text.ends_with('\n'), "{text}");
    assert_runs(&text, 1);
}

#[test]
fn what_models_are_told_names_tools_that_there_are() {
    let world = World::new();
    let mut client = Client::start(&world, &[]);
    let instructions = client.hello("2025-11-25")["instructions"].as_str().unwrap().to_owned();
    let tools = client.request("tools/list", json!({}))["result"]["tools"].to_string();
    let skill = world.run(&world.root(), ["mcp", "skill"]).ok();
    let (_, listed) = skill.split_once("## With the MCP tools").unwrap();
    let (listed, _) = listed.split_once("\n## ").unwrap();
    let listed = listed.lines().filter_map(|line| line.strip_prefix("- `")?.split('`').next());
    let named = instructions.split('`').skip(1).step_by(2).filter(|word| *word != "directory");
    let mut count = 0;
    for tool in named.chain(listed) {
        assert!(tools.contains(&format!(r#""name":"{tool}""#)), "{tool}");
        count += 1;
    }
    assert!(count >= 8, "{count}");
    let docs =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/mcp.md")).unwrap();
    for tool in ["reserve", "release", "find", "list", "cleanup", "explain"] {
        assert!(docs.contains(&format!("| `{tool}` | ")), "docs/mcp.md: {tool}");
    }
}

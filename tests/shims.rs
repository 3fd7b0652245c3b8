//! The shims of `examples/shims`: scripts that answer to the ancestors' commands, as scripts call them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::listener::{Harbour, Server};
use crate::support::{HYTHE, Run};

const SHIMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/shims");

/// Every shim.
const NAMES: [&str; 6] = ["get-port", "list-ports", "portclaim", "portpls", "release-port", "trop"];

/// A machine on which the shims stand before everything else.
struct Shore(Harbour);

impl Shore {
    fn new() -> Self {
        Self(Harbour::of_size(16))
    }

    fn command(&self, directory: &Path, words: &[&str]) -> Command {
        let bin = Path::new(HYTHE).parent().unwrap().to_owned();
        let path = std::env::var_os("PATH").unwrap();
        let path = [SHIMS.into(), bin].into_iter().chain(std::env::split_paths(&path));
        let path = std::env::join_paths(path).unwrap();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(directory).env_clear();
        command.env("PATH", path).env("HOME", self.0.home());
        command
    }

    fn run(&self, directory: &Path, words: &[&str]) -> Run {
        Run::of(&mut self.command(directory, words))
    }

    /// As a script calls it.
    fn script(&self, directory: &Path, script: &str) -> Run {
        self.run(directory, &["sh", "-euc", script])
    }

    fn hythe(&self, directory: &Path, arguments: &[&str]) -> Run {
        self.0.run(directory, arguments)
    }

    fn dirs(&self) -> [PathBuf; 2] {
        ["shop", "blog"].map(|name| self.0.dir(name))
    }

    fn show(&self, directory: &Path, port: u16) -> Value {
        self.hythe(directory, &["show", &port.to_string(), "--json"]).json()["reservation"].clone()
    }
}

/// The JSON that a shim prints.
fn document(run: Run) -> Value {
    serde_json::from_str(&run.ok()).unwrap()
}

#[test]
fn scripts_are_sound() {
    let mut shellcheck = Command::new("shellcheck");
    let tools = Path::new(HYTHE).ancestors().nth(2).unwrap().join("tools/recipes/bin/shellcheck");
    if tools.exists() {
        shellcheck = Command::new(tools);
    }
    for name in NAMES {
        let script = Path::new(SHIMS).join(name);
        assert!(fs::read_to_string(&script).unwrap().starts_with("#!/bin/sh\n"), "{name}");
        let status = Command::new("sh").arg("-n").arg(&script).status().unwrap();
        assert!(status.success(), "{name}");
        shellcheck.arg(script);
    }
    shellcheck.arg(Path::new(SHIMS).join("../recipes/git-hook/hooks/post-checkout"));
    match shellcheck.output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
        Err(_) => {
            use std::io::Write;
            writeln!(std::io::stderr(), "skipped: scripts_are_sound: needs shellcheck").unwrap();
        }
    }
}

#[test]
fn what_is_not_answered_names_a_command() {
    let shore = Shore::new();
    let [shop, _] = shore.dirs();
    for words in [
        &["get-port"][..],
        &["get-port", ""],
        &["get-port", "--help"],
        &["get-port", "shop", "3000", "3001"],
        &["release-port"],
        &["release-port", ""],
        &["release-port", "--all"],
        &["release-port", "shop", "blog"],
        &["list-ports", "shop"],
        &["portclaim"],
        &["portclaim", "frobnicate"],
        &["portclaim", "--version"],
        &["portclaim", "watch"],
        &["portclaim", "doctor"],
        &["portclaim", "http", "--port", "8484"],
        &["portclaim", "mcp-serve"],
        &["portclaim", "completions", "bash"],
        &["portclaim", "acquire", "--help"],
        &["portclaim", "acquire", "--service", "web", "--frobnicate"],
        &["portclaim", "list", "web"],
        &["portclaim", "reap", "--max-age", "1h"],
        &["portclaim", "reap", "--lease", "persistent"],
        &["portpls"],
        &["portpls", "frobnicate"],
        &["portpls", "scan"],
        &["portpls", "get", "web"],
        &["portpls", "get", "--frobnicate"],
        &["portpls", "--config", "file", "get"],
        &["portpls", "--allocations", "file", "get"],
        &["portpls", "forget", "--all", "--all-directories"],
        &["portpls", "config", "port_start", "5000"],
        &["portpls", "config", "freeze_period", "2h"],
        &["portpls", "config", "allocation_ttl", "2h"],
        &["trop"],
        &["trop", "frobnicate"],
        &["trop", "--help"],
        &["trop", "reserve", "--frobnicate"],
        &["trop", "reserve", "--overwrite"],
        &["trop", "reserve", "--ignore-occupied"],
        &["trop", "reserve", "--ignore-exclusions"],
        &["trop", "reserve", "--skip-occupancy-check"],
        &["trop", "reserve", "--disable-autoclean"],
        &["trop", "reserve-group", "trop.yaml"],
        &["trop", "autoreserve"],
        &["trop", "scan"],
        &["trop", "exclude", "8080"],
        &["trop", "compact-exclusions", "trop.yaml"],
        &["trop", "validate", "trop.yaml"],
        &["trop", "migrate", "--from", "a", "--to", "b"],
        &["trop", "show-data-dir"],
        &["trop", "assert-data-dir"],
        &["trop", "show-path"],
        &["trop", "completions", "bash"],
    ] {
        let said = shore.run(&shop, words).fails(2);
        assert!(said.contains("hythe has: "), "{words:?}: {said}");
    }
    for words in [
        &["portclaim", "acquire"][..],
        &["portclaim", "acquire", "--service"],
        &["portclaim", "acquire", "--service", ""],
        &["portclaim", "acquire", "--service="],
        &["portclaim", "acquire", "--service", "web", "--prefer", "many"],
        &["portclaim", "acquire", "--service", "web", "--prefer", "70000"],
        &["portclaim", "acquire", "--service", "web", "--lease", "long"],
        &["portclaim", "acquire", "--service", "web", "--pid", "0"],
        &["portclaim", "acquire", "--service", "3000"],
        &["portclaim", "release"],
        &["portclaim", "release", "70000"],
        &["portclaim", "find"],
        &["get-port", "shop", "many"],
        &["get-port", "shop", "0"],
        &["release-port", "70000"],
        &["portpls", "get", "--name"],
        &["portpls", "get", "-n", "3000"],
        &["portpls", "--directory", "nowhere", "get"],
        &["portpls", "list", "-f", "xml"],
        &["portpls", "forget"],
        &["portpls", "forget", "--name", "web", "--all"],
        &["trop", "list", "--format", "xml"],
        &["trop", "assert-port"],
        &["trop", "assert-port", "70000"],
        &["trop", "port-info", "web"],
        &["trop", "expire", "--days", "many"],
    ] {
        shore.run(&shop, words).fails(2);
    }
    assert!(!shore.0.state().exists(), "nothing was reserved");
}

#[test]
fn port_daddy() {
    let shore = Shore::new();
    let [shop, blog] = shore.dirs();
    let get = |directory: &Path, project: &str| shore.run(directory, &["get-port", project]).port();
    let port = get(&shop, "shop");
    assert_eq!(get(&blog, "shop"), port, "a project has its port wherever it is asked for");
    let names = ["blog", "my.app-2", "it's \"mine\"", "a b", "$(reboot)"];
    let mut ports = names.map(|name| get(&shop, name)).to_vec();
    ports.push(port);
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 6);
    let wish = (0..16).map(|index| shore.0.port(index)).find(|port| !ports.contains(port)).unwrap();
    assert_eq!(shore.run(&shop, &["get-port", "wish", &wish.to_string()]).port(), wish);
    assert_eq!(get(&shop, "wish"), wish);

    let listed = shore.run(&shop, &["list-ports"]).ok();
    let lines: Vec<_> = listed.lines().collect();
    assert_eq!(&lines[..3], ["PORT DADDY - Active Port Assignments", &"=".repeat(60), ""]);
    assert_eq!(&lines[10..], ["", "Total: 7 port(s)"]);
    let line = |project: &str| {
        let port = get(&shop, project);
        lines.iter().find(|line| line.starts_with(&format!("{port} | {project} | PID:"))).unwrap()
    };
    for name in names {
        line(name);
    }
    assert!(line("shop").contains(" | PID:- | 💤 | 20"), "{listed}");

    let release = |what: &str| shore.run(&shop, &["release-port", what]).ok();
    assert_eq!(release("blog"), "released 1 port(s) for project blog\n");
    assert_eq!(release("blog"), "released 0 port(s) for project blog\n");
    assert_eq!(release("it's \"mine\""), "released 1 port(s) for project it's \"mine\"\n");
    assert_eq!(release(&wish.to_string()), format!("released 1 port(s): {wish}\n"));
    assert_eq!(release(&wish.to_string()), format!("released 0 port(s): {wish}\n"));
    assert!(shore.run(&shop, &["list-ports"]).ok().ends_with("Total: 4 port(s)\n"));
    // What belongs to somebody, or is locked, is not taken away.
    let others = shore.hythe(&blog, &["reserve", "web"]).port();
    let said = shore.run(&shop, &["release-port", &others.to_string()]).fails(8);
    assert!(said.contains("it belongs to"), "{said}");
}

/// Nothing is printed when there is no port, so that nobody takes a random one for it.
#[test]
fn port_daddy_fails_when_there_is_no_port() {
    let shore = Shore::new();
    let [shop, blog] = shore.dirs();
    let mut full = shore.command(&shop, &["get-port", "shop"]);
    let single = format!("{0}-{0}", shore.0.port(0));
    assert_eq!(Run::of(full.env("HYTHE_RANGE", &single)).port(), shore.0.port(0));
    let mut full = shore.command(&shop, &["get-port", "blog"]);
    let said = Run::of(full.env("HYTHE_RANGE", &single)).fails(5);
    assert!(said.contains("no free port"), "{said}");
    let mut broken = shore.command(&shop, &["get-port", "blog"]);
    Run::of(broken.env("HYTHE_CONFIG", blog.join("missing"))).fails(3);
    let mut broken = shore.command(&shop, &["list-ports"]);
    Run::of(broken.env("HYTHE_CONFIG", blog.join("missing"))).fails(3);
    let mut broken = shore.command(&shop, &["release-port", "blog"]);
    Run::of(broken.env("HYTHE_CONFIG", blog.join("missing"))).fails(3);
    // All calls for one project get one port, and its own server changes nothing.
    let children: Vec<_> = (0..32)
        .map(|_| {
            let mut command = shore.command(&shop, &["get-port", "blog"]);
            command.stdout(std::process::Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let ports =
        children.into_iter().map(|child| Run::from(child.wait_with_output().unwrap()).port());
    let ports: std::collections::BTreeSet<_> = ports.collect();
    assert_eq!(ports.len(), 1, "{ports:?}");
    let port = *ports.first().unwrap();
    let server = Server::start(&blog, "127.0.0.1", port);
    for directory in [&shop, &blog] {
        assert_eq!(shore.run(directory, &["get-port", "blog"]).port(), port);
    }
    let listed = shore.run(&shop, &["list-ports"]).ok();
    assert!(listed.contains(&format!("{port} | blog | PID:{} | ✅ | ", server.pid())), "{listed}");
}

#[test]
fn portclaim_acquires_bare_ports() {
    let shore = Shore::new();
    let [shop, blog] = shore.dirs();
    let acquire = "PORT=$(portclaim acquire --service next-dev); echo $PORT";
    let port = shore.script(&shop, acquire).port();
    assert_eq!(shore.script(&shop, acquire).port(), port);
    assert_ne!(shore.script(&blog, acquire).port(), port, "the project is the directory's name");
    let there = ["portclaim", "acquire", "--service", "next-dev", "--project", "shop"];
    assert_eq!(shore.run(&blog, &there).port(), port);
    let made = shore.show(&shop, port);
    assert_eq!(
        [&made["scope"], &made["project"], &made["lease"]],
        ["project", "shop", "ephemeral"]
    );

    let taken = shore.hythe(&shop, &["list"]).ok();
    let free = |port: &u16| !taken.contains(&port.to_string());
    let wish = (0..16).map(|index| shore.0.port(index)).find(free).unwrap();
    let words = ["portclaim", "acquire", "--service=api", "--lease=persistent", "--agent", "me"];
    let prefer = ["--prefer", &wish.to_string(), "--project", "o'x \"y\" \\z"];
    assert_eq!(shore.run(&shop, &[&words[..], &prefer].concat()).port(), wish);
    let made = shore.show(&shop, wish);
    assert_eq!([&made["agent"], &made["lease"]], ["me", "persistent"]);
    assert_eq!((&made["project"], &made["owner"]), (&json!("o'x \"y\" \\z"), &Value::Null));

    // Claims in the names of others.
    let pid = std::process::id();
    let words = ["portclaim", "acquire", "--service", "db", "--pid", &pid.to_string(), "--json"];
    let mut command = shore.command(&shop, &words);
    let claim = document(Run::of(command.env("PORTCLAIM_AGENT", "claude")));
    assert_eq!(claim["pid"], pid);
    assert_eq!([&claim["agent"], &claim["project"], &claim["service"]], ["claude", "shop", "db"]);
    assert_eq!(claim["lease"], "ephemeral");
    assert!(claim["claimed_at"].as_str().unwrap().ends_with('Z'), "{claim}");
    let port = u16::try_from(claim["port"].as_u64().unwrap()).unwrap();
    assert_eq!(shore.show(&shop, port)["owner"]["pid"], pid);

    // Names that a service cannot have, and what the project's file says about a lease.
    let run = shore.run(&shop, &["portclaim", "acquire", "--service", "a b\"c", "--json"]).exits(0);
    assert!(run.stderr().contains("hythe calls `a b\"c` `a-b-c`"), "{}", run.stderr());
    let claim: Value = serde_json::from_str(&run.stdout()).unwrap();
    assert_eq!(claim["service"], "a-b-c");
    fs::write(shop.join("hythe.toml"), "[services.redis]\nlease = 'persistent'\n").unwrap();
    let claim = document(shore.run(&shop, &["portclaim", "acquire", "--service=redis", "--json"]));
    assert_eq!([&claim["lease"], &claim["pid"]], [&json!("persistent"), &Value::Null]);
    shore.run(&shop, &["portclaim", "init"]).ok();
}

/// The owner of a claim is the process that called, and lives on.
#[test]
fn portclaim_claims_for_its_caller() {
    let shore = Shore::new();
    let [shop, _] = shore.dirs();
    for script in [
        "PORT=$(portclaim acquire --service web); hythe show $PORT --json; :",
        "portclaim acquire --service api > port; hythe show $(cat port) --json; :",
        "portclaim acquire --service db --json > claim; hythe show db --scope project --json; :",
    ] {
        let mut command = shore.command(&shop, &["sh", "-euc", script]);
        let shown = document(Run::of(command.env("HYTHE_PROJECT", "shop")));
        assert_eq!(shown["reservation"]["owner"]["alive"], true, "{script}");
    }
    // And what is served stays when it has ended: its shell is gone by now.
    let port = shore.script(&shop, "portclaim acquire --service web").port();
    let server = Server::start(&shop, "127.0.0.1", port);
    let ledger = rusqlite::Connection::open(shore.0.ledger()).unwrap();
    ledger.execute("UPDATE reservation SET last_used_at = last_used_at - 600000", []).unwrap();
    let reap = shore.run(&shop, &["portclaim", "reap"]).exits(0);
    assert!(!reap.stderr().contains(&port.to_string()), "{}", reap.stderr());
    assert_eq!(shore.run(&shop, &["portclaim", "find", "--service", "web"]).port(), port);
    drop(server);
    let dry =
        shore.run(&shop, &["portclaim", "reap", "--dry-run", "--lease", "ephemeral"]).exits(0);
    assert!(dry.stderr().contains(&format!("would release port {port}")), "{}", dry.stderr());
    let reap = shore.run(&shop, &["portclaim", "reap"]).exits(0);
    assert!(reap.stderr().contains(&format!("released port {port}")), "{}", reap.stderr());
}

#[test]
fn portclaim_finds_lists_and_releases() {
    let shore = Shore::new();
    let [shop, blog] = shore.dirs();
    let acquire = |directory: &Path, service: &str, more: &[&str]| {
        let words = ["portclaim", "acquire", "--service", service];
        shore.run(directory, &[&words[..], more].concat()).port()
    };
    let web = acquire(&shop, "web", &["--agent", "me"]);
    let api = acquire(&shop, "api", &[]);
    let other = acquire(&blog, "web", &[]);
    let pg = acquire(&blog, "postgres", &["--lease", "persistent"]);
    // No claim: it belongs to a directory.
    shore.hythe(&shop, &["reserve", "web"]).port();

    let find = |directory: &Path, more: &[&str]| {
        shore.run(directory, &[&["portclaim", "find"], more].concat())
    };
    assert_eq!(find(&shop, &["--service", "web"]).port(), web);
    assert_eq!(find(&blog, &["--service", "web"]).port(), other);
    assert_eq!(find(&shop, &["--service=postgres"]).port(), pg);
    assert_eq!(find(&shop, &["--service", "web", "--project", "blog"]).port(), other);
    assert_eq!(document(find(&shop, &["--service", "api", "--json"]))["port"], api);
    find(&shore.0.dir("else"), &["--service", "web"]).fails(2);
    find(&shop, &["--project", "shop"]).fails(2);
    find(&shop, &["--service", "nothing"]).fails(7);

    let list = |more: &[&str]| {
        let listed = document(shore.run(&shop, &[&["portclaim", "list"], more].concat()));
        let claims = listed.as_array().unwrap().clone();
        claims.iter().map(|claim| u16::try_from(claim["port"].as_u64().unwrap()).unwrap()).collect()
    };
    let sorted = |mut ports: Vec<u16>| {
        ports.sort_unstable();
        ports
    };
    let all: Vec<u16> = list(&[]);
    assert_eq!(all, sorted(vec![web, api, other, pg]), "JSON, as stdout is no terminal");
    assert_eq!(list(&["--json", "--project", "blog"]), sorted(vec![other, pg]));
    assert_eq!(list(&["--agent=me"]), [web]);
    assert_eq!(list(&["--project", "nobody"]), [0; 0]);

    let release = |more: &[&str]| shore.run(&shop, &[&["portclaim", "release"], more].concat());
    assert_eq!(release(&[&web.to_string()]).ok(), "");
    release(&[&web.to_string()]).fails(7);
    release(&["--service", "api"]).ok();
    release(&["--service", "api"]).fails(7);
    release(&["--service", "postgres"]).fails(7);
    release(&["--service", "postgres", "--project", "blog"]).ok();
    acquire(&blog, "postgres", &[]);
    release(&["--project", "blog"]).ok();
    release(&["--project", "blog"]).fails(7);
    assert_eq!(list(&[]), [0; 0]);
    assert!(shore.hythe(&shop, &["get", "web"]).port() > 0, "what is no claim stays");
}

#[test]
fn portpls() {
    let shore = Shore::new();
    let [shop, blog] = shore.dirs();
    let run =
        |directory: &Path, words: &[&str]| shore.run(directory, &[&["portpls"], words].concat());
    let main = run(&shop, &["get"]).port();
    assert_eq!(run(&shop, &["get"]).port(), main);
    assert_eq!(run(&blog, &["--directory", "../shop", "get", "-n", "main"]).port(), main);
    assert_ne!(run(&blog, &["get"]).port(), main);
    let web = run(&shop, &["get", "--name", "web"]).port();
    assert_eq!(run(&shop, &["get", "--name=web", "--verbose"]).port(), web);
    let named = run(&shop, &["get", "-n", "it's a \"name\""]).exits(0);
    assert!(named.stderr().contains("`it-s-a-name`"), "{}", named.stderr());

    run(&shop, &["lock"]).ok();
    run(&shop, &["lock", "--name", "db"]).ok();
    assert!(shore.hythe(&shop, &["get", "db"]).port() > 0, "it allocates");
    let _server = Server::start(&shop, "127.0.0.1", web);
    let listed = document(run(&shop, &["list", "-f", "json"]));
    let find = |name: &str| {
        let its = |entry: &&Value| entry["name"] == name && entry["directory"] == json!(shop);
        listed.as_array().unwrap().iter().find(its).unwrap_or_else(|| panic!("{name}: {listed}"))
    };
    assert_eq!([&find("main")["port"], &find("main")["locked"]], [&json!(main), &json!(true)]);
    assert_eq!([&find("web")["status"], &find("db")["status"]], ["busy", "free"]);
    assert_eq!(find("web")["locked"], false);
    for field in ["assigned_at", "last_used_at"] {
        assert!(find("web")[field].as_str().unwrap().ends_with('Z'), "{listed}");
    }
    let table = run(&shop, &["list"]).ok();
    let mut lines = table.lines();
    let head: Vec<_> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["PORT", "DIRECTORY", "NAME", "STATUS", "LOCKED", "ASSIGNED", "LAST_USED"]);
    let row = lines.find(|line| line.starts_with(&main.to_string())).unwrap();
    let row: Vec<_> = row.split_whitespace().take(5).collect();
    assert_eq!(row, [&main.to_string(), shop.to_str().unwrap(), "main", "free", "yes"]);

    let said = run(&shop, &["forget", "--name"]).fails(2);
    assert!(said.contains("it is locked"), "{said}");
    for name in [&[][..], &["-n", "db"]] {
        run(&shop, &[&["unlock"], name].concat()).ok();
    }
    run(&shop, &["unlock", "-n", "nothing"]).fails(1);
    let cleared = format!("for {} (was port {main})\n", shop.display());
    assert_eq!(
        run(&shop, &["forget", "--name"]).ok(),
        format!("Cleared allocation 'main' {cleared}")
    );
    run(&shop, &["forget", "--name", "main"]).fails(1);
    let cleared = format!("Cleared 3 allocation(s) for {}\n", shop.display());
    assert_eq!(run(&shop, &["forget", "--all"]).ok(), cleared);
    run(&shop, &["forget", "--all"]).fails(1);
    assert_eq!(document(run(&shop, &["list", "--format=json"])).as_array().unwrap().len(), 1);
    run(&blog, &["forget", "-n", "main"]).ok();
    assert_eq!(run(&shop, &["list", "--format", "json"]).ok(), "[]\n");
}

#[test]
fn portpls_settings_and_failures() {
    let shore = Shore::new();
    let [shop, _] = shore.dirs();
    let range = shore.0.range();
    let (first, last) = range.split_once('-').unwrap();
    let run = |words: &[&str]| shore.run(&shop, &[&["portpls"], words].concat());
    let all =
        format!("port_start: {first}\nport_end: {last}\nfreeze_period: 1h\nallocation_ttl: 30d\n");
    assert_eq!(run(&["config"]).ok(), all);
    assert_eq!(run(&["config", "port_start"]).ok(), format!("{first}\n"));
    run(&["config", "log_file"]).fails(1);
    run(&["config", "log_file", "x"]).fails(1);
    shore.0.configure("freeze = '2h'\n[plugins.ttl.options]\npersistent = '7d'\n");
    assert_eq!(run(&["config", "freeze_period"]).ok(), "2h\n");
    assert_eq!(run(&["config", "allocation_ttl"]).ok(), "7d\n");

    shore.0.config(&format!("[ports]\nrange = \"{first}-{first}\"\n"));
    run(&["get"]).port();
    run(&["get", "-n", "web"]).fails(1);
    run(&["lock", "-n", "web"]).fails(1);
    shore.0.config("nonsense");
    for words in
        [&["get"][..], &["lock"], &["unlock"], &["forget", "--all"], &["list"], &["config"]]
    {
        run(words).fails(2);
    }
}

#[test]
fn trop_reserves_and_releases() {
    let shore = Shore::new();
    let [shop, blog] = shore.dirs();
    let run = |directory: &Path, words: &[&str]| shore.run(directory, &[&["trop"], words].concat());
    let port = run(&shop, &["reserve"]).port();
    assert_eq!(run(&shop, &["reserve"]).port(), port);
    assert_eq!(run(&blog, &["reserve", "--path", "../shop", "--force"]).port(), port);
    let mut there = shore.command(&blog, &["trop", "reserve"]);
    assert_eq!(Run::of(there.env("TROP_PATH", &shop)).port(), port);
    let web = run(&shop, &["reserve", "--tag", "web", "--project", "p", "--task", "t"]).port();
    // A project can be named at any time.
    assert_eq!(run(&shop, &["reserve", "--tag=web", "--project", "o'x \"y\""]).port(), web);
    assert_eq!(shore.show(&shop, web)["project"], "o'x \"y\"");
    let mut named = shore.command(&shop, &["trop", "reserve", "--tag", "a b"]);
    let named = Run::of(named.env("TROP_PROJECT", "q").env("TROP_TASK", "u")).exits(0);
    assert!(named.stderr().contains("hythe calls `a b` `a-b`"), "{}", named.stderr());
    let made = shore.show(&shop, named.stdout().trim().parse().unwrap());
    assert_eq!([&made["service"], &made["project"], &made["task"]], ["a-b", "q", "u"]);

    let wish = (0..16)
        .map(|index| shore.0.port(index))
        .find(|wish| ![port, web].contains(wish) && made["port"] != *wish);
    let wish = wish.unwrap().to_string();
    let wished =
        run(&shop, &["reserve", "--tag", "wish", "--port", &wish, "--check-all-interfaces"]);
    assert_eq!(wished.port().to_string(), wish);
    let limits = ["--min", &wish, "--max", &wish];
    let other = [&["reserve", "--tag", "other"], &limits[..]].concat();
    let said = run(&shop, &other).fails(6);
    assert!(said.contains("no free port"), "{said}");
    // Four ports are reserved, so that one of the last five is free.
    let least = shore.0.port(11);
    let dry = ["reserve", "--tag", "last", "--min", &least.to_string(), "--dry-run"];
    let run_dry = run(&shop, &dry).exits(0);
    assert_eq!(run_dry.stdout(), "", "as trop has it");
    let said = run_dry.stderr();
    let would = said.split("`last` would get port ").nth(1).unwrap_or_default();
    let would: u16 = would.trim().parse().unwrap_or_else(|_| panic!("{said}"));
    assert!((least..=shore.0.port(15)).contains(&would), "{would}");
    run(&shop, &["reserve", "--port", "70000"]).fails(4);
    run(&shop, &["reserve", "--tag", ""]).fails(4);
    run(&shop, &["reserve", "--tag", "3000"]).fails(4);
    run(&shop, &["reserve", "--path", "nowhere"]).fails(4);
    shore.0.config("nonsense");
    run(&shop, &["reserve"]).fails(1);
    shore.0.configure("");

    let dry = run(&shop, &["release", "--dry-run"]).exits(0);
    assert!(dry.stderr().contains(&format!("would release port {port}")), "{}", dry.stderr());
    let tagged = run(&shop, &["release", "--tag", "web"]).exits(0);
    assert!(tagged.stderr().contains(&format!("released port {web}")), "{}", tagged.stderr());
    run(&shop, &["release", "--tag", "web"]).ok();
    run(&blog, &["release", "--path", "../shop", "--untagged-only"]).ok();
    shore.hythe(&shop, &["get"]).fails(7);
    run(&blog, &["reserve"]).port();
    run(&shore.0.root(), &["release", "--recursive"]).fails(1);
    run(&shop, &["release", "--recursive"]).ok();
    run(&blog, &["assert-reservation"]).port();
    run(&shop, &["init"]).ok();
}

#[test]
fn trop_tells() {
    let shore = Shore::new();
    let [shop, blog] = shore.dirs();
    let run = |words: &[&str]| shore.run(&shop, &[&["trop"], words].concat());
    let port = run(&["reserve"]).port();
    let web = run(&["reserve", "--tag", "web", "--project", "o'x, \"y\"", "--task", "t"]).port();
    let other = run(&["reserve", "--path", "../blog"]).port();
    let rows = |text: String| -> Vec<Vec<String>> {
        let cells = |line: &str| line.split('\t').map(str::to_owned).collect();
        text.lines().map(cells).collect()
    };
    let table = rows(run(&["list", "--show-full-paths"]).ok());
    let head = ["PORT", "PATH", "TAG", "PROJECT", "TASK", "CREATED_AT", "LAST_USED_AT"];
    assert_eq!(table[0], head);
    assert_eq!(table.len(), 4);
    let row = table.iter().find(|row| row[0] == port.to_string()).unwrap();
    assert_eq!(row[1..5], [shop.to_str().unwrap(), "-", "-", "-"].map(str::to_owned));
    let (day, time) = row[5].split_once(' ').unwrap();
    assert!(day.len() == 10 && time.len() == 8, "{row:?}");
    let tsv = rows(run(&["list", "--format", "tsv", "--filter-tag", "web"]).ok());
    assert_eq!(tsv[0], head.map(str::to_lowercase));
    assert_eq!(tsv[1][..5], [&web.to_string(), shop.to_str().unwrap(), "web", "o'x, \"y\"", "t"]);
    let csv = run(&["list", "--format=csv", "--filter-project", "o'x, \"y\""]).ok();
    let expected = format!("{web},{},web,\"o'x, \"\"y\"\"\",t,", shop.display());
    assert!(csv.lines().nth(1).unwrap().starts_with(&expected), "{csv}");
    let mut json = shore.command(&shop, &["trop", "list", "--filter-path", "../blog"]);
    let json = document(Run::of(json.env("TROP_OUTPUT_FORMAT", "json")));
    let fields = ["port", "path", "tag", "project", "task"].map(|field| json[0][field].clone());
    assert_eq!(fields, [json!(other), json!(blog), Value::Null, Value::Null, Value::Null]);
    assert_eq!(json.as_array().unwrap().len(), 1);
    assert_eq!(run(&["list", "--format", "json", "--filter-tag", "nothing"]).ok(), "[]\n");
    assert_eq!(run(&["list-projects"]).ok(), "o'x, \"y\"\n");

    assert_eq!(run(&["assert-reservation"]).port(), port);
    assert_eq!(run(&["assert-reservation", "--path", "../blog"]).port(), other);
    run(&["assert-reservation", "--tag", "nothing"]).fails(1);
    assert_eq!(run(&["assert-reservation", "--tag", "nothing", "--not"]).ok(), "");
    run(&["assert-reservation", "--not"]).fails(1);
    let [port, free] = [port, 1].map(|port| port.to_string());
    assert_eq!(run(&["assert-port", &port]).ok(), "");
    run(&["assert-port", "--not", &port]).fails(1);
    run(&["assert-port", &free]).fails(1);
    assert_eq!(run(&["assert-port", &free, "--not"]).ok(), "");
    assert_eq!(run(&["port-info", &free]).ok(), "Port 1 is not reserved\n");
    let info = run(&["port-info", &web.to_string()]).ok();
    let lines: Vec<_> = info.lines().collect();
    let first = [format!("Port: {web}"), format!("Path: {}", shop.display())];
    assert_eq!(lines[..2], first);
    assert_eq!(lines[2..5], ["Tag: web", "Project: o'x, \"y\"", "Task: t"]);
    assert_eq!(lines[7], "Path exists: yes");
    let _server = Server::start(&shop, "127.0.0.1", web);
    let info = run(&["port-info", "--include-occupancy", &web.to_string()]).ok();
    assert!(info.ends_with("Occupancy status:\n  Port is occupied\n"), "{info}");

    // Another ledger is another directory for its state.
    let elsewhere = shore.0.root().join("elsewhere");
    let there = ["--data-dir", elsewhere.to_str().unwrap(), "--busy-timeout", "3", "list"];
    assert_eq!(rows(run(&there).ok()).len(), 1);
    let mut there = shore.command(&shop, &["trop", "assert-port", &port]);
    assert_eq!(Run::of(there.env("TROP_DATA_DIR", &elsewhere)).exits(1).stdout(), "");
}

#[test]
fn trop_cleans_up_and_sets_up() {
    let shore = Shore::new();
    let [shop, blog] = shore.dirs();
    let run = |words: &[&str]| shore.run(&shop, &[&["trop"], words].concat());
    let port = run(&["reserve", "--path", "../blog"]).port();
    let old = run(&["reserve", "--tag", "old"]).port();
    fs::remove_dir_all(&blog).unwrap();
    let would = run(&["prune", "--dry-run"]).exits(0).stderr();
    assert!(would.contains(&format!("would release port {port}")), "{would}");
    let pruned = run(&["prune"]).exits(0).stderr();
    assert!(pruned.contains(&format!("released port {port}")), "{pruned}");
    assert!(!pruned.contains(&old.to_string()), "{pruned}");
    let ledger = rusqlite::Connection::open(shore.0.ledger()).unwrap();
    let week = 7 * 86_400_000_i64;
    ledger.execute("UPDATE reservation SET last_used_at = last_used_at - ?1", [week]).unwrap();
    assert!(!run(&["expire"]).exits(0).stderr().contains("released"));
    assert!(!run(&["expire", "--days", "8"]).exits(0).stderr().contains("released"));
    let would = run(&["autoclean", "--days=3", "--dry-run"]).exits(0).stderr();
    assert!(would.contains(&format!("would release port {old}")), "{would}");
    let expired = run(&["expire", "--days", "3"]).exits(0).stderr();
    assert!(expired.contains(&format!("released port {old}")), "{expired}");
    run(&["autoclean"]).ok();

    fs::write(shop.join("hythe.toml"), "[services.web]\n[env]\nURL = 'http://x:{port:web}/'\n")
        .unwrap();
    let told = run(&["autoreserve"]).ok();
    let web = shore.hythe(&shop, &["get", "web"]).port();
    assert_eq!(told, format!("export WEB_PORT={web}\nexport URL=http://x:{web}/\n"));
    assert_eq!(run(&["autoreserve", "--shell", "zsh", "--task", "t"]).ok(), told);
    assert!(run(&["autoreserve", "--shell", "fish"]).ok().starts_with("set -gx WEB_PORT"));
    assert!(run(&["autoreserve", "--format", "dotenv"]).ok().starts_with("WEB_PORT="));
    assert_eq!(document(run(&["autoreserve", "--format", "json"]))["WEB_PORT"], web.to_string());
    run(&["autoreserve", "--format", "human"]).fails(2);
}

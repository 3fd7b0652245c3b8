//! The commands beside `reserve`: what they do to a ledger, and what they say about it.

mod cleanup;
mod completions;
mod config;
mod daemon;
mod doctor;
mod env;
mod exclude;
mod export;
mod hooks;
mod import;
mod init;
mod list;
mod log;
mod looks;
mod map;
mod mcp;
mod move_;
mod release;
mod run;
mod scan;
mod show;
mod terminal;
mod wait;
mod watch;

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::listener::{Harbour, Server};
use crate::support::World;

/// Changes the ledger behind the back of hythe.
fn edit(world: &World, sql: &str) {
    let ledger = rusqlite::Connection::open(world.ledger()).unwrap();
    assert!(ledger.execute(sql, []).unwrap() > 0, "{sql} changed nothing");
}

/// The ports of all reservations, ascending.
fn ports(world: &World) -> Vec<u16> {
    let list = world.run(&world.root(), ["list", "--json"]).json();
    let reservations = list["reservations"].as_array().unwrap();
    let port = |reservation: &Value| reservation["port"].as_u64().unwrap().try_into().unwrap();
    reservations.iter().map(port).collect()
}

#[test]
fn get_only_looks() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let error = world.run(&shop, ["get", "web"]).fails(7);
    assert!(error.contains("error: `web` has no reservation here"), "{error}");
    assert!(error.contains("hint: hythe reserve web"), "{error}");
    assert!(!world.state().exists());
    let port = world.reserve(&shop, &["web"]);
    assert_eq!(world.run(&shop, ["get", "web"]).port(), port);
    assert_eq!(world.run(&world.dir("shop/deep"), ["get", "web"]).port(), port);
    world.run(&shop, ["get"]).fails(7);
    world.run(&shop, ["get", "web", "--scope", "service"]).fails(7);
    world.run(&world.root(), ["get", "web"]).fails(7);
    let document = world.run(&shop, ["get", "web", "--json"]).json();
    assert_eq!(document["port"], port);
    assert_eq!(document["service"], "web");
    // It neither probes nor judges: whoever listens there, it is the reserved port.
    let _stranger = Server::start(&world.dir("elsewhere"), "127.0.0.1", port);
    assert_eq!(world.run(&shop, ["get", "web"]).port(), port);
}

#[test]
fn show_tells_all_about_a_reservation() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let arguments = ["web", "--task", "t-1", "--agent", "claude", "--ttl", "2h"];
    let port = world.reserve(&shop, &arguments);
    let server = Server::start(&shop, "127.0.0.1", port);
    let by_port = port.to_string();
    for what in ["web", &by_port] {
        let text = world.run(&shop, ["show", what]).ok();
        for (name, value) in [
            ("port", port.to_string()),
            ("service", "web".to_owned()),
            ("scope", "directory".to_owned()),
            ("directory", shop.display().to_string()),
            ("project", "shop".to_owned()),
            ("task", "t-1".to_owned()),
            ("agent", "claude".to_owned()),
            ("lease", "persistent".to_owned()),
            ("locked", "no".to_owned()),
            ("key", format!("directory:web:{} (by path-sticky 1.0.0)", shop.display())),
            ("chosen by", "path-sticky 1.0.0".to_owned()),
            ("listening", "its own server".to_owned()),
        ] {
            let line = format!("{name:<10} {value}\n");
            assert!(text.contains(&line), "no {line:?} in {text}");
        }
        assert!(text.contains(&format!("pid {} `", server.pid())), "{text}");
        let why = format!("in {}; mine: it runs in its directory\n", shop.display());
        assert!(text.contains(&why), "{text}");
        assert!(text.contains(&format!("reserved {port}\n")), "its history: {text}");
    }
    world.run(&world.root(), ["show", "web"]).fails(7);
    assert!(world.run(&world.root(), ["show", &by_port]).ok().contains("service    web\n"));
    world.run(&shop, ["show", "20000"]).fails(7);
    world.run(&shop, ["show", "no such"]).fails(2);
}

#[test]
fn show_knows_owners_and_strangers() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let mut owner = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let pid = owner.id();
    let port = world.reserve(&shop, &["--pid", &pid.to_string()]);
    let told = || world.run(&shop, ["show"]).ok();
    assert!(told().contains(&format!("owner      pid {pid}, alive, started 20")), "{}", told());
    owner.kill().unwrap();
    owner.wait().unwrap();
    assert!(told().contains(&format!("owner      pid {pid}, dead, started 20")), "{}", told());
    let _stranger = Server::start(&world.dir("elsewhere"), "127.0.0.1", port);
    assert!(told().contains("listening  somebody else's process\n"), "{}", told());
    let elsewhere = world.root().join("elsewhere").display().to_string();
    let why = format!("in {elsewhere}; foreign: it works in {elsewhere}\n");
    assert!(told().contains(&why), "{}", told());
}

#[test]
fn a_lock_can_be_set_and_taken_off() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let error = world.run(&shop, ["lock"]).fails(7);
    assert!(error.contains("hint: hythe reserve main"), "{error}");
    let port = world.reserve(&shop, &[]);
    let locked = || world.run(&shop, ["show", "--json"]).json()["reservation"]["locked"].clone();
    for _ in 0..2 {
        let run = world.run(&shop, ["lock"]).exits(0);
        assert_eq!(
            (run.stdout(), run.stderr()),
            (String::new(), format!("locked port {port} (`main`)\n"))
        );
        assert_eq!(locked(), true);
    }
    assert!(world.run(&shop, ["list"]).ok().contains("persistent, locked"));
    assert!(world.run(&shop, ["release"]).fails(8).contains("it is locked"));
    for _ in 0..2 {
        let document = world.run(&shop, ["unlock", "--json"]).json();
        assert_eq!((&document["locked"], &document["port"]), (&false.into(), &port.into()));
        assert_eq!(locked(), false);
    }
    world.run(&shop, ["release"]).ok();
    let log = world.run(&shop, ["log"]).ok();
    let kinds: Vec<_> = log.lines().map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    assert_eq!(
        kinds,
        ["reserved", "locked", "unlocked", "released"],
        "what is so already is no event"
    );
}

#[test]
fn plugins_are_listed_with_what_they_are_used_for() {
    let world = World::new();
    let shop = world.dir("shop");
    let text = world.run(&shop, ["plugin", "list"]).ok();
    let cells = |line: &str| {
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
    };
    let rows: Vec<Vec<String>> = text.lines().map(cells).collect();
    assert_eq!(
        rows[0],
        ["NAME", "VERSION", "POLICIES", "USED HERE FOR", "SIZE", "SHA-256", "SOURCE"]
    );
    let names: Vec<_> = rows[1..].iter().map(|row| row[0].as_str()).collect();
    assert_eq!(names, ["path-sticky", "pid-reap", "ttl"]);
    assert_eq!(rows[1][2], "key, selection, cleanup");
    assert_eq!(rows[1][3], "key, selection, cleanup");
    assert!(rows[1..].iter().all(|row| row[6] == "bundled" && row[5].len() == 12), "{text}");

    // The digest and size are those of the component: a copy of it can be pinned by them.
    let bundled = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/bundled/ttl.wasm");
    let list = world.run(&shop, ["plugin", "list", "--json"]).json();
    let ttl = list["plugins"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(ttl["size"], fs::metadata(bundled).unwrap().len());
    fs::copy(bundled, shop.join("ours.wasm")).unwrap();
    let digest = ttl["sha256"].as_str().unwrap();
    let pinned = |digest: &str| {
        let text = format!(
            "[plugins.ours]\npath = \"ours.wasm\"\nsha256 = \"{digest}\"\n\
             [strategy]\ncleanup = [\"ours\"]\n"
        );
        fs::write(shop.join("hythe.toml"), text).unwrap();
        let list = world.run(&shop, ["plugin", "list", "--json"]).json();
        list["plugins"].as_array().unwrap().last().unwrap().clone()
    };
    let ours = pinned(digest);
    assert_eq!(ours["error"], Value::Null, "{ours}");
    assert_eq!(
        (&ours["name"], &ours["used_for"]),
        (&"ours".into(), &serde_json::json!(["cleanup"]))
    );
    assert_eq!(ours["sha256"], digest);
    let declared = ours["declared_by"].as_str().unwrap();
    assert!(declared.ends_with("hythe.toml:2:8"), "{declared}");
    let wrong = pinned(&digest.chars().rev().collect::<String>());
    assert!(wrong["error"].is_string(), "{wrong}");
    assert_eq!(wrong["version"], Value::Null);
}

/// The title, and what every page of `man` has (man(7)).
#[test]
fn every_command_has_a_manual_page() {
    let world = World::new();
    for (arguments, title) in [
        (&[][..], "hythe"),
        (&["reserve"], "hythe-reserve"),
        (&["acquire"], "hythe-reserve"),
        (&["plugin", "add"], "hythe-plugin-add"),
    ] {
        let page = world.run(&world.root(), [&["man"], arguments].concat()).ok();
        assert!(page.contains(&format!("\n.TH {title} 1 ")), "{page}");
        for section in [".SH NAME", ".SH SYNOPSIS", ".SH OPTIONS"] {
            assert!(page.contains(section), "{title}: {section}");
        }
    }
    let stderr = world.run(&world.root(), ["man", "plugin", "ad"]).fails(2);
    assert!(stderr.contains("`hythe plugin` has no command `ad`"), "{stderr}");
}

#[test]
fn help_and_version_are_results() {
    let world = World::new();
    let root = world.root();
    let run = world.run(&root, ["--version"]).exits(0);
    assert_eq!((run.stdout(), run.stderr()), (format!("hythe {VERSION}\n"), String::new()));
    let help = world.run(&root, ["--help"]).exits(0);
    assert_eq!(help.stderr(), "");
    for command in COMMANDS {
        assert!(help.stdout().contains(&format!("\n  {command}")), "{command}");
        let run = world.run(&root, [command, "--help"]).exits(0);
        assert!(run.stdout().contains("Usage: hythe"), "{command}");
        assert!(world.run(&root, [command, "-h"]).ok().contains("Usage: hythe"), "{command}");
    }
    for code in (0..=9).chain([126, 127]) {
        assert!(help.stdout().contains(&format!("{code} ")), "exit code {code} is explained");
    }
    assert!(world.run(&root, [""; 0]).fails(2).contains("Usage: hythe"));
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

const COMMANDS: [&str; 28] = [
    "reserve",
    "get",
    "release",
    "list",
    "show",
    "env",
    "run",
    "wait",
    "lock",
    "unlock",
    "cleanup",
    "move",
    "log",
    "watch",
    "map",
    "scan",
    "exclude",
    "doctor",
    "init",
    "config",
    "import",
    "export",
    "plugin",
    "mcp",
    "serve",
    "daemon",
    "completions",
    "man",
];

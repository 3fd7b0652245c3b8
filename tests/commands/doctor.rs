//! `hythe doctor`: it finds what is wrong, repairs what it says, and releases nothing.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use super::edit;
use crate::listener::{Harbour, Server};
use crate::schema::valid;
use crate::support::{Run, World};

/// What `hythe doctor ARGUMENTS --json` finds in `directory`, and its exit code, which is 0 or 7.
fn examine(world: &World, directory: &Path, arguments: &[&str]) -> (Vec<Value>, bool) {
    let run = world.run(directory, [&["doctor", "--json"], arguments].concat());
    let document: Value = serde_json::from_str(&run.stdout()).unwrap();
    let document = valid("doctor", document);
    let ok = document["ok"].as_bool().unwrap();
    let run = run.exits(if ok { 0 } else { 7 });
    if !ok {
        let error = run.stderr().lines().last().map(|line| serde_json::from_str(line).unwrap());
        assert_eq!(valid("error", error.unwrap())["error"]["exit_code"], 7);
    }
    (document["checks"].as_array().unwrap().clone(), ok)
}

/// The findings of a check with this status, as text.
fn said(findings: &[Value], check: &str, status: &str) -> String {
    let meant = findings.iter().filter(|it| it["check"] == check && it["status"] == status);
    let texts = meant.map(|it| format!("{} {} {}\n", it["message"], it["hint"], it["repair"]));
    texts.collect()
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn all_is_well_on_a_new_machine_and_after_use() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let (findings, ok) = examine(&world, &shop, &[]);
    assert!(ok, "{findings:#?}");
    assert!(!world.state().exists(), "it only looks");
    let port = world.reserve(&shop, &["web"]);
    let _server = Server::start(&shop, "127.0.0.1", port);
    let (findings, ok) = examine(&world, &shop, &[]);
    assert!(ok, "{findings:#?}");
    let checks: BTreeSet<_> = findings.iter().map(|it| it["check"].as_str().unwrap()).collect();
    let all = [
        "clock",
        "configuration",
        "disk",
        "environment",
        "ledger",
        "leftovers",
        "lock",
        "network",
        "plugins",
        "range",
        "reservations",
        "sockets",
        "state",
    ];
    assert_eq!(checks, all.into());
    assert!(said(&findings, "reservations", "ok").contains("1 reservation, 1 being served"));
    let text = world.run(&shop, ["doctor"]).exits(0);
    assert!(text.stdout().contains("ok       ledger "), "{}", text.stdout());
    assert_eq!(text.stderr(), "");
}

#[test]
fn wrong_configuration_is_told_file_by_file() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    world.reserve(&shop, &[]);
    world.config("[ports]\nrnage = 1\n");
    fs::write(shop.join("hythe.toml"), "project = 1\n").unwrap();
    fs::write(shop.join("hythe.local.toml"), "[hook]\n").unwrap();
    let (findings, ok) = examine(&world, &shop, &[]);
    assert!(!ok);
    let problems = said(&findings, "configuration", "problem");
    for text in ["did you mean `range`?", "hythe.toml:1:11", "hythe.local.toml:1:2"] {
        assert!(problems.contains(text), "{text}: {problems}");
    }
    assert!(said(&findings, "ledger", "ok").contains("is sound"), "the rest is looked at");
    // Each by itself right, and not together.
    world.configure("");
    fs::remove_file(shop.join("hythe.local.toml")).unwrap();
    fs::write(shop.join("hythe.toml"), "ports.range = \"1024-2000\"\n").unwrap();
    let problems = said(&examine(&world, &shop, &[]).0, "configuration", "problem");
    assert!(problems.contains("lies outside"), "{problems}");
    fs::write(shop.join("hythe.toml"), "strategy.key = \"x\"\n").unwrap();
    assert!(!examine(&world, &shop, &[]).1);
    fs::remove_file(shop.join("hythe.toml")).unwrap();
    world.configure("[plugins.broken]\npath = \"missing.wasm\"\n");
    let problems = said(&examine(&world, &shop, &[]).0, "plugins", "problem");
    assert!(problems.contains("broken"), "{problems}");
}

#[test]
fn variables_and_other_programs_are_looked_at() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let bin = world.dir("bin");
    fs::write(bin.join("hythe"), "#!/bin/sh\n").unwrap();
    mode(&bin.join("hythe"), 0o755);
    let mut command = world.command(&shop);
    command.args(["doctor", "--json"]).env("PATH", &bin);
    command.env("HYTHE_STATEDIR", "x").env("HYTHE_WHATEVER_IT_IS", "x").env("HYTHE_TASK", "t");
    let document = valid("doctor", Run::of(&mut command).json());
    let notes = said(document["checks"].as_array().unwrap(), "environment", "note");
    for text in ["HYTHE_STATEDIR", "did you mean HYTHE_STATE_DIR?", "HYTHE_WHATEVER_IT_IS"] {
        assert!(notes.contains(text), "{text}: {notes}");
    }
    assert!(!notes.contains("HYTHE_TASK\\\"") && notes.contains("bin/hythe"), "{notes}");
    let mut command = world.command(&shop);
    command.arg("doctor").env("HYTHE_RANGE", "nonsense");
    let run = Run::of(&mut command).exits(7);
    assert!(run.stdout().contains("HYTHE_RANGE"), "{}", run.stdout());
}

#[test]
fn permissions_are_repaired() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    world.reserve(&shop, &[]);
    mode(&world.state(), 0o775);
    mode(&world.ledger(), 0o646);
    let (findings, ok) = examine(&world, &shop, &[]);
    assert!(!ok && said(&findings, "state", "problem").contains("may be changed by others"));
    let (findings, ok) = examine(&world, &shop, &["--fix", "--dry-run"]);
    assert!(!ok && said(&findings, "state", "problem").contains("chmod 700"), "{findings:#?}");
    assert_eq!(mode_of(&world.state()), 0o775);
    let (findings, ok) = examine(&world, &shop, &["--fix"]);
    assert!(ok && said(&findings, "state", "fixed").contains("chmod 600"), "{findings:#?}");
    assert_eq!((mode_of(&world.state()), mode_of(&world.ledger())), (0o700, 0o600));
    // What others may only read is not wrong, and can be had otherwise.
    mode(&world.state(), 0o755);
    mode(&world.ledger(), 0o644);
    assert!(examine(&world, &shop, &[]).1);
    assert!(examine(&world, &shop, &["--fix"]).1);
    assert_eq!((mode_of(&world.state()), mode_of(&world.ledger())), (0o700, 0o600));
    mode(&world.ledger(), 0o400);
    assert!(said(&examine(&world, &shop, &["--fix"]).0, "state", "fixed").contains("chmod 600"));
}

#[test]
fn what_was_left_behind_is_removed() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    world.reserve(&shop, &[]);
    let old = std::time::SystemTime::now() - std::time::Duration::from_hours(48);
    let cache = world.dir("home/.cache/hythe");
    let leftovers = [
        world.state().join("ledger.db.new"),
        world.state().join(".tmpAb1234"),
        world.home().join(".config/hythe/.tmpZZZZZZ"),
        cache.join(".hythe-abc"),
    ];
    let kept = [world.state().join(".tmp-young"), world.state().join("notes.txt")];
    for file in leftovers.iter().chain(&kept) {
        fs::write(file, "x").unwrap();
    }
    let young = world.state().join(".tmpYoung1");
    fs::write(&young, "x").unwrap();
    for file in leftovers.iter().chain([&kept[1]]) {
        fs::File::options().write(true).open(file).unwrap().set_modified(old).unwrap();
    }
    let (findings, ok) = examine(&world, &shop, &[]);
    assert!(ok && said(&findings, "leftovers", "note").contains("4 files that nobody needs"));
    assert!(leftovers.iter().all(|file| file.exists()));
    let (findings, _) = examine(&world, &shop, &["--fix"]);
    assert!(said(&findings, "leftovers", "fixed").contains("removed "), "{findings:#?}");
    assert!(leftovers.iter().all(|file| !file.exists()));
    assert!(kept.iter().chain([&young]).all(|file| file.exists()));
}

/// A reservation is nobody's to take because its server has not started, or its directory is gone.
#[test]
fn oddities_are_told_and_nothing_is_released() {
    let world = Harbour::new();
    let [gone, locked, shop, stranger] = ["gone", "locked", "shop", "x"].map(|it| world.dir(it));
    world.reserve(&gone, &[]);
    world.reserve(&locked, &["--lock"]);
    world.reserve(&shop, &["idle"]);
    let mut owner = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let pid = owner.id().to_string();
    world.run(&shop, ["reserve", "owned", "--lease", "ephemeral", "--pid", &pid]).ok();
    owner.kill().unwrap();
    owner.wait().unwrap();
    let port = world.reserve(&shop, &["stolen"]);
    let _thief = Server::start(&stranger, "127.0.0.1", port);
    fs::remove_dir(&gone).unwrap();
    fs::remove_dir(&locked).unwrap();
    let before = super::ports(&world);
    for arguments in [&[][..], &["--fix"]] {
        let (findings, ok) = examine(&world, &shop, arguments);
        assert!(ok, "{findings:#?}");
        let notes = said(&findings, "reservations", "note");
        for text in [
            "1 of directories that are gone: ",
            "1 of directories that are gone, and locked",
            "1 of processes that have ended: ",
            "1 held by somebody else's process: ",
        ] {
            assert!(notes.contains(text), "{text}: {notes}");
        }
        assert_eq!(super::ports(&world), before);
    }
}

#[test]
fn ranges_are_looked_at() {
    let world = World::new();
    let shop = world.dir("shop");
    for (ports, status, text) in [
        ("range = \"32800-33000\"", "problem", "0 ports of 32800-33000 can be given"),
        ("range = \"29000-33000\"", "note", "the node ports of Kubernetes"),
        ("range = \"29000-33000\"", "note", "the kernel serves outgoing connections"),
        ("range = \"20000-20009\"", "note", "10 ports of 20000-20009 can be given"),
        ("range = \"20000-20009\"\nexclude = [\"20000-20008\"]", "note", "1 port of"),
        ("range = \"6000-6100\"", "ok", "blocked by browsers"),
    ] {
        world.config(&format!("[ports]\n{ports}\n"));
        let (findings, ok) = examine(&world, &shop, &[]);
        assert_eq!(ok, status != "problem", "{ports}: {findings:#?}");
        assert!(said(&findings, "range", status).contains(text), "{ports}: {findings:#?}");
    }
    let world = Harbour::of_size(2);
    world.run(&shop, ["list"]).ok();
    let shop = world.dir("shop");
    world.run(&shop, ["reserve", "a", "b"]).ok();
    let (findings, ok) = examine(&world, &shop, &[]);
    assert!(!ok && said(&findings, "range", "problem").contains("all of them are reserved"));
}

#[test]
fn a_clock_that_was_set_back_is_told() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    world.reserve(&shop, &[]);
    edit(&world, "UPDATE reservation SET last_used_at = 4102444800000");
    let (findings, ok) = examine(&world, &shop, &[]);
    assert!(ok && said(&findings, "clock", "note").contains("2100-01-01"), "{findings:#?}");
}

#[test]
fn a_held_lock_is_told_and_waited_for_no_longer_than_a_moment() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    world.reserve(&shop, &[]);
    let lock = fs::File::open(world.state().join("ledger.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let (findings, ok) = examine(&world, &shop, &[]);
    assert!(ok && said(&findings, "lock", "note").contains("another process holds"));
}

#[test]
fn a_damaged_ledger_is_repaired_and_kept() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let services: Vec<_> = (0..20).map(|number| format!("s{number}")).collect();
    let services: Vec<_> = services.iter().map(String::as_str).collect();
    let before = world.run(&shop, [&["reserve"], &services[..]].concat()).ok();
    let sound = fs::read(world.ledger()).unwrap();
    // The first page: nothing is a ledger any more.
    let mut damaged = sound.clone();
    damaged[..4096].fill(0xaa);
    fs::write(world.ledger(), &damaged).unwrap();
    let (findings, ok) = examine(&world, &shop, &[]);
    assert!(!ok && said(&findings, "ledger", "problem").contains("hythe doctor --fix"));
    let (findings, ok) = examine(&world, &shop, &["--fix", "-n"]);
    assert!(!ok && said(&findings, "ledger", "problem").contains("restored 20 reservations"));
    assert!(fs::read(world.ledger()).unwrap() == damaged);
    let (findings, ok) = examine(&world, &shop, &["--fix"]);
    assert!(ok && said(&findings, "ledger", "fixed").contains("restored 20 reservations"));
    assert_eq!(world.run(&shop, [&["reserve"], &services[..]].concat()).ok(), before);
    let (findings, ok) = examine(&world, &shop, &[]);
    assert!(ok && said(&findings, "leftovers", "note").contains("1 damaged ledger is kept"));
    let kept = fs::read_dir(world.state()).unwrap().map(|entry| entry.unwrap().path());
    let kept = kept.filter(|path| path.to_str().unwrap().contains(".damaged-"));
    assert!(kept.map(|path| fs::read(path).unwrap()).collect::<Vec<_>>() == [damaged]);
    assert_eq!(mode_of(&world.ledger()), 0o600);

    for bytes in [&b""[..], b"This is no database.", &sound[..sound.len() - 4096], &vec![7; 20_000]]
    {
        fs::write(world.ledger(), bytes).unwrap();
        world.run(&shop, ["list"]).fails(9);
        let (findings, ok) = examine(&world, &shop, &["--fix"]);
        assert!(ok, "{findings:#?}");
        world.run(&shop, ["list"]).ok();
        world.run(&shop, ["reserve", "new"]).ok();
    }
}

#[test]
fn what_belongs_to_others_is_not_touched() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    world.reserve(&shop, &[]);
    let sound = fs::read(world.ledger()).unwrap();
    for sql in ["PRAGMA application_id = 1", "PRAGMA user_version = 99"] {
        fs::write(world.ledger(), &sound).unwrap();
        rusqlite::Connection::open(world.ledger()).unwrap().execute_batch(sql).unwrap();
        let bytes = fs::read(world.ledger()).unwrap();
        let (findings, ok) = examine(&world, &shop, &["--fix"]);
        assert!(!ok && !said(&findings, "ledger", "problem").is_empty(), "{sql}");
        assert!(fs::read(world.ledger()).unwrap() == bytes, "{sql}");
        assert_eq!(fs::read_dir(world.state()).unwrap().count(), 2, "{sql}");
    }
    fs::remove_file(world.ledger()).unwrap();
    fs::create_dir(world.ledger()).unwrap();
    assert!(!examine(&world, &shop, &["--fix"]).1);
    assert!(world.ledger().is_dir());
    fs::remove_dir_all(world.state()).unwrap();
    fs::write(world.state(), "mine").unwrap();
    assert!(!examine(&world, &shop, &["--fix"]).1);
    assert_eq!(fs::read_to_string(world.state()).unwrap(), "mine");
}

#[test]
fn agents_are_told_what_they_need_and_no_more() {
    let world = World::new();
    let shop = world.dir("shop");
    let run = world.run(&shop, ["doctor", "--agent", "claude"]).exits(0);
    let settings: Value = serde_json::from_str(&run.stdout()).unwrap();
    let sandbox = &settings["sandbox"];
    assert_eq!(sandbox["filesystem"]["allowWrite"][0], "~/.local/state/hythe");
    assert_eq!(sandbox["network"]["allowLocalBinding"], true);
    assert!(run.stderr().contains("~/.claude/settings.json"), "{}", run.stderr());
    let odd = world.root().join("st\"ate \\ é");
    let odd = odd.to_str().unwrap();
    let arguments = ["doctor", "--agent", "claude", "--state-dir", odd];
    let settings: Value = serde_json::from_str(&world.run(&shop, arguments).ok()).unwrap();
    assert_eq!(settings["sandbox"]["filesystem"]["allowWrite"][0], format!("/{odd}"));

    let arguments = ["doctor", "--agent", "codex", "--state-dir", odd];
    let run = world.run(&shop, arguments).exits(0);
    let settings: toml::Table = toml::from_str(&run.stdout()).unwrap();
    let settings = &settings["sandbox_workspace_write"];
    assert_eq!(settings["writable_roots"][0].as_str(), Some(odd));
    assert_eq!(settings["network_access"].as_bool(), Some(true));
    assert!(run.stderr().contains("~/.codex/config.toml"), "{}", run.stderr());
    for agent in ["claude", "codex"] {
        let document = world.run(&shop, ["doctor", "--agent", agent, "--json"]).json();
        let document = valid("doctor-agent", document);
        assert_eq!(document["agent"], agent);
        // Whoever writes there runs programs outside the sandbox.
        let text = document["text"].as_str().unwrap();
        assert!(!text.contains(".config") && !text.contains(".cache"), "{text}");
    }
    assert!(!world.state().exists());
    world.run(&shop, ["doctor", "--agent", "hal"]).fails(2);
    world.run(&shop, ["doctor", "--dry-run"]).fails(2);
    world.run(&shop, ["doctor", "--agent", "codex", "--fix"]).fails(2);
}

/// Every variable that help and documents speak of is known to be read.
#[test]
fn no_variable_that_is_documented_is_unknown() {
    let world = World::new();
    let help = ["--help"].map(|it| world.run(&world.root(), [it]).ok()).concat()
        + &world.run(&world.root(), ["reserve", "--help"]).ok();
    let part = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    let names: BTreeSet<_> = help.split(part).filter(|it| it.starts_with("HYTHE_")).collect();
    assert!(names.len() >= 9, "{names:?}");
    let mut command = world.command(&world.root());
    command.args(["doctor", "--json"]).envs(names.iter().map(|name| (name, "")));
    let document = Run::of(&mut command).json();
    let notes = said(document["checks"].as_array().unwrap(), "environment", "note");
    assert!(!notes.contains("nobody reads"), "{notes}");
}

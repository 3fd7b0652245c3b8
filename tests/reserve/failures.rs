//! `PORT=$(hythe reserve)` yields a port or nothing, and the exit code says why.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use rusqlite::Connection;
use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use crate::listener::{Harbour, Server};
use crate::support::{HYTHE, Run, World};

/// Asserts that `hythe ARGUMENTS` fails with `code` and the word for it, with or without JSON,
/// prints nothing, and leaves a shell's variable empty; what it says.
#[track_caller]
fn fails(world: &World, directory: &Path, arguments: &[&str], code: i32) -> String {
    let kind = [
        "",
        "",
        "usage",
        "configuration",
        "policy",
        "no-free-port",
        "lock-timeout",
        "not-found",
        "refused",
        "ledger",
    ][usize::try_from(code).unwrap()];
    let json = world.run(directory, [arguments, &["--json"]].concat()).fails(code);
    let document: Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
    assert_eq!(document["error"]["code"], kind);
    assert_eq!(document["error"]["exit_code"], code);

    let mut shell = Command::new("sh");
    let script = r#"PORT=$("$@"); code=$?; printf %s "$PORT"; exit $code"#;
    shell.args(["-c", script, "sh", HYTHE]).args(arguments).current_dir(directory).env_clear();
    for (name, value) in world.command(directory).get_envs() {
        shell.env(name, value.unwrap());
    }
    Run::of(&mut shell).fails(code);
    let error = world.run(directory, arguments).fails(code);
    let told = error.lines().any(|line| line.starts_with("error: "));
    assert!(told, "no line begins with `error:` in {error}");
    error
}

/// Holds the lock of the ledger.
fn hold(world: &World) -> File {
    fs::create_dir_all(world.state()).unwrap();
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(world.state().join("ledger.lock"))
        .unwrap();
    flock(&file, FlockOperation::LockExclusive).unwrap();
    file
}

#[test]
fn two_is_for_wrong_usage() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let mut dead = super::idle();
    let pid = dead.id().to_string();
    dead.kill().unwrap();
    dead.wait().unwrap();
    for arguments in [
        &["reserve", "--no-such-flag"][..],
        &["no-such-command"],
        &[],
        &["reserve", "8080"],
        &["reserve", "a b"],
        &["reserve", "$(id)"],
        &["reserve", "web", "web"],
        &["reserve", "web", "api", "--prefer", "20000"],
        &["reserve", "--prefer", "0"],
        &["reserve", "--prefer", "65536"],
        &["reserve", "--range", "30000-20000"],
        &["reserve", "--scope", "planet"],
        &["reserve", "--lease", "eternal"],
        &["reserve", "--on-conflict", "fight"],
        &["reserve", "--ttl", "5"],
        &["reserve", "--pid", "0"],
        &["reserve", "--project", "\u{1b}[31m"],
        &["reserve", "--pid", &pid],
        &["reserve", "-C", "no/such/directory"],
        &["cleanup", "--policy", "no-such-policy"],
        &["log", "--since", "yesterday"],
    ] {
        // What clap refuses on its own it says in its own words.
        let error = world.run(&shop, arguments).fails(2);
        assert!(error.contains("error: ") || arguments.is_empty(), "{arguments:?}: {error}");
        let error = world.run(&shop, [&["--json"], arguments].concat()).fails(2);
        let document: Value = serde_json::from_str(error.lines().last().unwrap()).unwrap();
        assert_eq!(document["error"]["code"], "usage", "{arguments:?}");
    }
    let error = world.run(&shop, ["list", "--json", "--format", "csv"]).fails(2);
    assert!(error.contains("cannot be used with"), "{error}");
    assert!(!world.state().exists(), "nothing was written");
}

#[test]
fn three_is_for_the_configuration() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    fs::write(shop.join("hythe.toml"), "[ports]\nrnage = \"20000-20001\"\n").unwrap();
    let error = fails(&world, &shop, &["reserve"], 3);
    assert!(error.contains("hythe.toml:2:1: unknown key `rnage` in [ports]"), "{error}");
    assert!(error.contains("hint: did you mean `range`?"), "{error}");
    fs::remove_file(shop.join("hythe.toml")).unwrap();
    fails(&world, &shop, &["reserve", "--config", "missing.toml"], 3);
    for (name, value) in [
        ("HYTHE_RANGE", "many"),
        ("HYTHE_ON_CONFLICT", "fight"),
        ("HYTHE_LOCK_TIMEOUT", "5"),
        ("HYTHE_TASK", "\u{1b}[31m"),
        ("HYTHE_LOG", "hythe=loud=er"),
    ] {
        let error = Run::of(world.command(&shop).arg("reserve").env(name, value)).fails(3);
        assert!(error.contains(name), "{error}");
        assert!(!error.contains('\u{1b}'), "{error:?}");
    }
    assert!(!world.state().exists(), "nothing was written");
}

#[test]
fn four_is_for_policies() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let error = fails(&world, &shop, &["reserve", "--scope", "project"], 4);
    assert!(error.contains("belongs to no project"), "{error}");
    fs::write(world.home().join("broken.wasm"), "not a component").unwrap();
    world.configure(
        "[strategy]\nselection = \"mine\"\n[plugins.mine]\npath = \"../../broken.wasm\"\n",
    );
    let error = fails(&world, &shop, &["reserve"], 4);
    assert!(error.contains("mine"), "{error}");
    assert!(error.contains("config.toml:4:13"), "it says what selected it: {error}");
    assert!(!world.ledger().exists(), "nothing was written");
}

#[test]
fn five_is_for_a_full_range() {
    let world = Harbour::new();
    let (shop, other) = (world.dir("shop"), world.dir("other"));
    let port = world.port(3);
    let range = format!("{port}-{port}");
    let stranger = Server::start(&other, "127.0.0.1", port);
    let error = fails(&world, &shop, &["reserve", "--range", &range], 5);
    let told = format!("no free port for `main` in {port}: 1 held by a process");
    assert!(error.contains(&told), "{error}");
    drop(stranger);
    assert_eq!(world.reserve(&other, &["--range", &range]), port);
    let error = fails(&world, &shop, &["reserve", "--range", &range], 5);
    assert!(error.contains("1 reserved for another key"), "{error}");
    let error = fails(&world, &shop, &["reserve", "--range", "6665-6669"], 5);
    assert!(error.contains("5 blocked by browsers"), "{error}");
    assert!(error.contains("ports.allow"), "{error}");
}

#[test]
fn six_is_for_waiting_in_vain() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let _held = hold(&world);
    let error = fails(&world, &shop, &["reserve", "--lock-timeout", "600ms"], 6);
    let lock = world.state().join("ledger.lock");
    let waiting =
        format!("note: waiting for another hythe process to let go of {}", lock.display());
    assert!(error.starts_with(&waiting), "{error}");
    assert!(error.contains("600ms"), "{error}");
    assert!(error.contains("hint: try again, or wait longer"), "{error}");

    let quiet = world.run(&shop, ["reserve", "-q", "--lock-timeout", "600ms"]).fails(6);
    assert!(!quiet.contains("waiting for"), "{quiet}");
    let at_once = world.run(&shop, ["reserve", "--lock-timeout", "0s"]).fails(6);
    assert!(!at_once.contains("waiting for"), "{at_once}");
    let mut command = world.command(&shop);
    Run::of(command.arg("reserve").env("HYTHE_LOCK_TIMEOUT", "1ms")).fails(6);
    world.configure("[ledger]\nlock_timeout = \"1ms\"\n");
    world.run(&shop, ["reserve"]).fails(6);
}

#[test]
fn who_waits_gets_the_lock_when_it_is_let_go() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let held = hold(&world);
    let mut waiting = world
        .command(&shop)
        .args(["reserve", "--lock-timeout", "60s"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(waiting.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("waiting for"), "{line}");
    drop(held);
    let port = Run::from(waiting.wait_with_output().unwrap()).port();
    assert_eq!(world.run(&shop, ["get"]).port(), port);
    assert!(world.state().join("ledger.lock").exists(), "the lock file is never removed");
}

#[test]
fn readers_do_not_wait() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let port = world.reserve(&shop, &[]);
    let _held = hold(&world);
    for arguments in [
        &["reserve"][..],
        &["reserve", "--dry-run"],
        &["reserve", "new", "--dry-run"],
        &["get"],
        &["list"],
        &["show"],
        &["log"],
        &["cleanup", "--dry-run"],
        &["release", "--dry-run"],
        &["plugin", "list"],
        &["config", "check"],
    ] {
        world.run(&shop, [arguments, &["--lock-timeout", "0s"]].concat()).ok();
    }
    assert_eq!(world.reserve(&shop, &["--lock-timeout", "0s"]), port);
    for arguments in [&["release"][..], &["lock"], &["unlock"], &["cleanup"], &["reserve", "new"]] {
        world.run(&shop, [arguments, &["--lock-timeout", "0s"]].concat()).fails(6);
    }
}

#[test]
fn seven_is_for_what_is_not_there() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let all: [&[&str]; 11] = [
        &["get"],
        &["get", "web"],
        &["show"],
        &["show", "20000"],
        &["lock"],
        &["unlock"],
        &["release"],
        &["release", "--all"],
        &["release", "--recursive"],
        &["release", "--port", "20000"],
        &["release", "--project", "none"],
    ];
    for arguments in all {
        fails(&world, &shop, arguments, 7);
    }
    assert!(!world.state().exists(), "looking for something creates nothing");
    world.reserve(&world.dir("other"), &[]);
    for arguments in all {
        fails(&world, &shop, arguments, 7);
    }
}

#[test]
fn eight_is_for_what_is_refused() {
    let world = Harbour::new();
    let (shop, other) = (world.dir("shop"), world.dir("other"));
    let port = world.reserve(&shop, &["--lock"]).to_string();
    let other_port = world.reserve(&other, &[]).to_string();
    for arguments in [
        &["reserve", "--reallocate"][..],
        &["release"],
        &["release", "--port", &port],
        &["release", "--port", &other_port],
    ] {
        fails(&world, &shop, arguments, 8);
    }
    assert_eq!(world.run(&other, ["list", "--format", "tsv"]).ok().lines().count(), 3);
}

#[test]
fn nine_is_for_the_ledger() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let commands: [&[&str]; 8] = [
        &["reserve"],
        &["get"],
        &["list"],
        &["show"],
        &["log"],
        &["lock"],
        &["release"],
        &["cleanup"],
    ];
    fs::create_dir_all(world.state()).unwrap();
    for damage in [&b""[..], b"SQLite format 3\0 and then nonsense", &[0xa5; 8192]] {
        fs::write(world.ledger(), damage).unwrap();
        for arguments in commands {
            let error = fails(&world, &shop, arguments, 9);
            assert!(error.contains("hint: "), "{error}");
            assert_eq!(fs::read(world.ledger()).unwrap(), damage, "it is never reset in silence");
        }
    }

    fs::remove_file(world.ledger()).unwrap();
    world.reserve(&shop, &[]);
    Connection::open(world.ledger()).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = fails(&world, &shop, &["reserve"], 9);
    assert!(error.contains("has schema version 99"), "{error}");
    assert!(error.contains("hint: upgrade hythe"), "{error}");

    let file = world.root().join("file");
    fs::write(&file, "").unwrap();
    let state = file.to_str().unwrap();
    let error = fails(&world, &shop, &["reserve", "--state-dir", state], 9);
    assert!(error.contains(state) && error.contains("HYTHE_STATE_DIR"), "{error}");
}

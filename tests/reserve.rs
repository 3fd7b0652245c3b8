//! `hythe reserve`: the same port for the same key, different ports for different keys, and never
//! one that somebody holds.

mod conflict;
mod failures;
mod selection;
mod warm;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::listener::{Harbour, Server, addresses};
use crate::support::{HYTHE, Run, World};

/// The document of `hythe reserve --json ARGUMENTS` in `directory`.
fn reserved(world: &World, directory: &Path, arguments: &[&str]) -> Value {
    world.run(directory, [&["reserve", "--json"], arguments].concat()).json()
}

/// Changes the ledger behind the back of hythe.
fn edit(world: &World, sql: &str) {
    let changed = Connection::open(world.ledger()).unwrap().execute(sql, []).unwrap();
    assert!(changed > 0, "{sql} changed nothing");
}

/// A process that does nothing until it is killed.
fn idle() -> Child {
    Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
}

#[test]
fn the_same_checkout_has_the_same_port() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let deep = world.dir("shop/packages/web");
    let port = world.reserve(&shop, &[]);
    assert_eq!(world.reserve(&shop, &[]), port, "twice");
    assert_eq!(world.reserve(&deep, &[]), port, "from a subdirectory");
    symlink(&shop, world.root().join("link")).unwrap();
    symlink(&deep, world.root().join("deep")).unwrap();
    assert_eq!(world.reserve(&world.root().join("link"), &[]), port, "through a symbolic link");
    assert_eq!(world.reserve(&world.root().join("link/packages"), &[]), port);
    assert_eq!(world.reserve(&world.root().join("deep"), &[]), port, "through one into it");
    assert_eq!(world.reserve(&world.root(), &["-C", "link"]), port, "with -C");
    let list = world.run(&shop, ["list", "--json"]).json();
    assert_eq!(list["reservations"].as_array().unwrap().len(), 1);
}

#[test]
fn a_released_port_comes_back() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let first = reserved(&world, &shop, &[]);
    assert_eq!(first["outcome"], "created");
    assert_eq!(reserved(&world, &shop, &[])["outcome"], "existing");
    world.run(&shop, ["release"]).ok();
    let back = reserved(&world, &shop, &[]);
    assert_eq!((&back["outcome"], &back["port"]), (&json!("returned"), &first["port"]));
    assert_eq!(reserved(&world, &shop, &[])["outcome"], "existing");
    let log = world.run(&shop, ["log", "--json"]).ok();
    let kinds: Vec<_> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["event"].clone())
        .collect();
    assert_eq!(kinds, ["reserved", "released", "returned"]);
}

#[test]
fn a_lost_ledger_loses_no_port() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let port = world.reserve(&shop, &[]);
    fs::remove_dir_all(world.state()).unwrap();
    let again = reserved(&world, &shop, &[]);
    assert_eq!((&again["outcome"], &again["port"]), (&json!("created"), &json!(port)));
}

#[test]
fn its_own_server_may_listen() {
    for host in addresses() {
        let world = Harbour::new();
        let shop = world.repository("shop");
        let port = world.reserve(&shop, &[]);
        let _server = Server::start(&world.dir("shop/web"), &host, port);
        let run = world.run(&shop, ["reserve", "--json"]).exits(0);
        assert_eq!(run.stderr(), "", "{host}: there is nothing to be said");
        let document: Value = serde_json::from_str(&run.stdout()).unwrap();
        assert_eq!(document["port"], port, "{host}");
        assert_eq!(document["outcome"], "existing", "{host}");
        assert_eq!(document["reservation"]["listening"], "mine", "{host}");
    }
}

#[test]
fn a_reboot_changes_no_port() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let mut owner = idle();
    let pid = owner.id().to_string();
    let first = reserved(&world, &shop, &["--lease", "ephemeral", "--pid", &pid]);
    assert_eq!(first["reservation"]["lease"], "ephemeral");
    assert_eq!(first["reservation"]["owner"]["pid"], owner.id());
    assert_eq!(first["reservation"]["owner"]["alive"], true);

    edit(&world, "UPDATE reservation SET owner_boot = '00000000-0000-0000-0000-000000000000'");
    let after = reserved(&world, &shop, &[]);
    assert_eq!((&after["outcome"], &after["port"]), (&json!("existing"), &first["port"]));
    assert_eq!(after["reservation"]["owner"]["pid"], owner.id());
    assert_eq!(after["reservation"]["owner"]["alive"], false, "the same pid is no proof");

    // Whoever asks for an ephemeral lease now becomes its owner.
    let renewed = reserved(&world, &shop, &["--lease", "ephemeral"]);
    assert_eq!((&renewed["outcome"], &renewed["port"]), (&json!("existing"), &first["port"]));
    assert_eq!(renewed["reservation"]["owner"]["pid"], std::process::id());
    assert_eq!(renewed["reservation"]["owner"]["alive"], true);
    owner.kill().unwrap();
    owner.wait().unwrap();
}

#[test]
fn two_worktrees_have_two_ports() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    world.git(&shop, &["worktree", "add", "--quiet", "-b", "feature", "../checkout-2"]);
    let linked = world.root().join("checkout-2");
    let (main, other) = (reserved(&world, &shop, &[]), reserved(&world, &linked, &[]));
    assert_ne!(main["port"], other["port"]);
    let labels = |document: &Value| {
        let reservation = &document["reservation"];
        (reservation["project"].clone(), reservation["task"].clone())
    };
    assert_eq!(labels(&main), (json!("shop"), json!("main")), "the branch is the task");
    assert_eq!(labels(&other), (json!("shop"), json!("checkout-2")), "the worktree is the task");
    assert_eq!(world.reserve(&world.dir("checkout-2/web"), &[]), other["port"]);
}

#[test]
fn services_have_ports_of_their_own_all_or_none() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let text = world.run(&shop, ["reserve", "web", "api", "@shop/admin"]).ok();
    let ports: Vec<u16> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 3, "{ports:?}");
    for (service, port) in ["web", "api", "@shop/admin"].into_iter().zip(&ports) {
        assert_eq!(world.reserve(&shop, &[service]), *port, "in the order they were named");
    }

    let other = world.dir("other");
    let single = format!("{0}-{0}", world.port(0));
    let error = world.run(&other, ["reserve", "a", "b", "--range", &single]).fails(5);
    assert!(error.contains("no free port for `"), "{error}");
    for service in ["a", "b"] {
        world.run(&other, ["get", service]).fails(7);
    }
}

#[test]
fn a_crowd_gets_different_ports() {
    let world = Harbour::of_size(160);
    let started: Vec<_> = (0..64)
        .map(|number| {
            let mut command = world.command(&world.dir(format!("app-{number}")));
            command.arg("reserve").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let ports: BTreeSet<_> = started
        .into_iter()
        .map(|process| Run::from(process.wait_with_output().unwrap()).port())
        .collect();
    assert_eq!(ports.len(), 64);
    let list = world.run(&world.root(), ["list", "--json"]).json();
    let listed: BTreeSet<_> = list["reservations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|reservation| u16::try_from(reservation["port"].as_u64().unwrap()).unwrap())
        .collect();
    assert_eq!(listed, ports, "what was printed is what is recorded");
}

#[test]
fn a_crowd_with_one_key_gets_one_port() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let started: Vec<_> = (0..64)
        .map(|_| {
            let mut command = world.command(&shop);
            command.args(["reserve", "--json"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let documents: Vec<_> = started
        .into_iter()
        .map(|process| Run::from(process.wait_with_output().unwrap()).json())
        .collect();
    let ports: BTreeSet<_> = documents.iter().map(|document| document["port"].as_u64()).collect();
    assert_eq!(ports.len(), 1, "{ports:?}");
    let created = documents.iter().filter(|document| document["outcome"] == "created").count();
    assert_eq!(created, 1);
    assert_eq!(world.run(&shop, ["log", "--json"]).ok().lines().count(), 1);
}

#[test]
fn a_port_that_anybody_listens_on_is_never_given() {
    for host in addresses() {
        // Not even if the listener runs in the very directory: nothing was reserved for it.
        for listens_in in ["elsewhere", "shop"] {
            let world = Harbour::new();
            let shop = world.dir("shop");
            let slot = world.reserve(&shop, &["--dry-run"]);
            let _server = Server::start(&world.dir(listens_in), &host, slot);
            let run = world.run(&shop, ["reserve", "--explain"]).exits(0);
            assert_ne!(run.stdout().trim().parse::<u16>().unwrap(), slot, "{host}");
            let skipped = format!("skipped {slot}: held by a process");
            assert!(run.stderr().contains(&skipped), "{host}: {}", run.stderr());
        }
    }
}

#[test]
fn a_port_that_is_bound_without_listening_is_never_given() {
    use socket2::{Domain, Socket, Type};

    let world = Harbour::new();
    let shop = world.dir("shop");
    let slot = world.reserve(&shop, &["--dry-run"]);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    let address: std::net::SocketAddr = ([127, 0, 0, 1], slot).into();
    #[expect(clippy::disallowed_methods, reason = "stands for another program")]
    socket.bind(&address.into()).unwrap();
    assert_ne!(world.reserve(&shop, &[]), slot);
}

#[test]
fn a_dry_run_says_what_would_happen_and_writes_nothing() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let run = world.run(&shop, ["reserve", "--dry-run"]).exits(0);
    let port: u16 = run.stdout().trim().parse().unwrap();
    assert!(run.stderr().contains(&format!("`main` would get port {port}")), "{}", run.stderr());
    assert!(!world.state().exists(), "not even the directory of the ledger is made");
    assert_eq!(world.reserve(&shop, &[]), port, "and it is what happens");
    let document = reserved(&world, &shop, &["--dry-run", "--reallocate"]);
    assert_eq!((&document["dry_run"], &document["outcome"]), (&json!(true), &json!("moved")));
    assert_eq!(world.reserve(&shop, &[]), port);
}

#[test]
fn a_shell_gets_a_port_and_nothing_else() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    for arguments in [
        "",
        "web",
        "-vv --explain api",
        "--prefer 1 --explain admin",
        "--project other --task t --agent a",
        "--ttl 5m --lock worker",
        "--lease ephemeral tests",
        "--reallocate",
        "--quiet",
        "--color always",
    ] {
        let script = format!(r#"PORT=$("$1" reserve {arguments}) || exit; printf %s "$PORT""#);
        let mut command = world.command(&shop);
        let mut shell = Command::new("sh");
        shell.args(["-c", &script, "sh", HYTHE]).current_dir(&shop).env_clear();
        for (name, value) in command.env("HYTHE_LOG", "trace").get_envs() {
            shell.env(name, value.unwrap());
        }
        let port = Run::of(&mut shell).ok();
        let number: u16 = port.parse().unwrap_or_else(|_| panic!("{arguments}: {port:?}"));
        assert!((world.port(0)..=world.port(31)).contains(&number), "{arguments}: {number}");
    }
}

#[test]
fn an_explanation_is_told_line_by_line() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let run = world.run(&shop, ["reserve", "--explain"]).exits(0);
    let (port, text) = (run.stdout(), run.stderr());
    let first = text.lines().next().unwrap();
    assert_eq!(first, format!("`main`: port {} is reserved", port.trim()));
    for expected in [
        "  key policy path-sticky 1.0.0 (selected by built-in), ",
        "    answered \"directory:main:/",
        "  selection policy path-sticky 1.0.0 (selected by built-in), ",
        &format!("  port {} was proposed by policy", port.trim()),
    ] {
        let found = text.lines().any(|line| line.starts_with(expected));
        assert!(found, "no line begins with {expected:?} in {text}");
    }
    let again = world.run(&shop, ["reserve", "--explain"]).exits(0).stderr();
    assert!(again.starts_with("`main`: the key already has port"), "{again}");
}

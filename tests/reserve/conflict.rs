//! What happens when somebody else's process holds a reserved port.

use serde_json::{Value, json};

use super::reserved;
use crate::listener::{Harbour, Server};

/// A reservation, and a stranger's server on its port.
fn conflict(world: &Harbour) -> (std::path::PathBuf, u16, Server) {
    let shop = world.repository("shop");
    let port = world.reserve(&shop, &[]);
    let stranger = Server::start(&world.dir("elsewhere"), "127.0.0.1", port);
    (shop, port, stranger)
}

#[test]
fn a_reservation_moves_away_from_a_stranger() {
    let world = Harbour::new();
    let (shop, port, stranger) = conflict(&world);
    let run = world.run(&shop, ["reserve"]).exits(0);
    let moved: u16 = run.stdout().trim().parse().unwrap();
    assert_ne!(moved, port);
    let told =
        format!("note: `main` moved from port {port} to {moved}: process {}", stranger.pid());
    assert!(run.stderr().starts_with(&told), "{}", run.stderr());
    assert_eq!(world.reserve(&shop, &[]), moved, "once and for all");

    let log = world.run(&shop, ["log", "--json", "--kind", "moved"]).ok();
    let event: Value = serde_json::from_str(&log).unwrap();
    assert_eq!((&event["port"], &event["from"]), (&json!(moved), &json!(port)));
    let reason = event["reason"].as_str().unwrap();
    assert!(reason.starts_with(&format!("held by process {}", stranger.pid())), "{reason}");
    drop(stranger);
    assert_eq!(world.reserve(&shop, &[]), moved, "and it does not move back");
}

#[test]
fn moving_is_an_outcome() {
    let world = Harbour::new();
    let (shop, port, _stranger) = conflict(&world);
    let document = reserved(&world, &shop, &[]);
    assert_eq!(document["outcome"], "moved");
    assert_ne!(document["port"], port);
    assert_eq!(document["reservation"]["listening"], "none");
}

#[test]
fn a_reservation_can_keep_its_port() {
    let world = Harbour::new();
    let (shop, port, stranger) = conflict(&world);
    let keeps = |run: crate::support::Run| {
        let run = run.exits(0);
        assert_eq!(run.stdout(), format!("{port}\n"));
        let told = format!("`main` keeps port {port}, held by process {}", stranger.pid());
        assert!(run.stderr().contains(&told), "{}", run.stderr());
        assert!(run.stderr().contains("ports.on_conflict is `keep`"), "{}", run.stderr());
    };
    keeps(world.run(&shop, ["reserve", "--on-conflict", "keep"]));
    let mut command = world.command(&shop);
    keeps(crate::support::Run::of(command.arg("reserve").env("HYTHE_ON_CONFLICT", "keep")));
    world.configure("on_conflict = \"keep\"\n");
    keeps(world.run(&shop, ["reserve"]));
    let document = reserved(&world, &shop, &[]);
    assert_eq!(document["outcome"], "existing");
    assert_eq!(document["reservation"]["listening"], "foreign");
    assert_eq!(world.run(&shop, ["reserve", "--quiet"]).exits(0).stderr(), "");
}

#[test]
fn a_conflict_can_be_a_failure() {
    let world = Harbour::new();
    let (shop, port, stranger) = conflict(&world);
    let error = world.run(&shop, ["reserve", "--on-conflict", "fail"]).fails(8);
    let told = format!("`main` cannot use its port {port}: held by process {}", stranger.pid());
    assert!(error.contains(&told), "{error}");
    assert!(error.contains("hint: stop that process, or: hythe reserve main"), "{error}");
    assert_eq!(world.run(&shop, ["get"]).port(), port, "and nothing has changed");
    drop(stranger);
    let free = || world.run(&shop, ["reserve", "--on-conflict", "fail"]).exits(0).stdout();
    assert_eq!(free(), format!("{port}\n"));
}

#[test]
fn what_is_locked_never_moves() {
    let world = Harbour::new();
    let (shop, port, _stranger) = conflict(&world);
    world.run(&shop, ["lock"]).ok();
    let run = world.run(&shop, ["reserve"]).exits(0);
    assert_eq!(run.stdout(), format!("{port}\n"));
    assert!(run.stderr().contains("it is locked"), "{}", run.stderr());
    world.run(&shop, ["reserve", "--on-conflict", "fail"]).fails(8);
    let error = world.run(&shop, ["reserve", "--reallocate"]).fails(8);
    assert!(error.contains(&format!("`main` keeps port {port}: it is locked")), "{error}");
    assert!(error.contains("hint: hythe unlock main"), "{error}");
    assert_eq!(world.run(&shop, ["get"]).port(), port);
}

#[test]
fn a_reservation_moves_when_asked_to() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let port = world.reserve(&shop, &[]);
    let document = reserved(&world, &shop, &["--reallocate"]);
    assert_eq!(document["outcome"], "moved");
    assert_ne!(document["port"], port);
    assert_eq!(world.run(&shop, ["get"]).port(), document["port"]);
    let log = world.run(&shop, ["log", "--json", "--kind", "moved"]).ok();
    let event: Value = serde_json::from_str(&log).unwrap();
    assert_eq!(event["reason"], "asked to");
    let used = [json!(port), document["port"].clone()];
    let wish = (0..3).map(|index| world.port(index)).find(|port| !used.contains(&json!(port)));
    let wish = wish.unwrap();
    let arguments = ["--reallocate", "--prefer", &wish.to_string()];
    let document = reserved(&world, &shop, &arguments);
    assert_eq!((&document["outcome"], &document["port"]), (&json!("moved"), &json!(wish)));
}

#[test]
fn what_is_not_proven_moves_nothing() {
    use socket2::{Domain, Socket, Type};

    let world = Harbour::new();
    let shop = world.dir("shop");
    let port = world.reserve(&shop, &[]);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let address: std::net::SocketAddr = ([127, 0, 0, 1], port).into();
    #[expect(clippy::disallowed_methods, reason = "stands for another program")]
    socket.bind(&address.into()).unwrap();
    // Somebody has it, but nobody listens, so no table says who.
    let document = reserved(&world, &shop, &["--on-conflict", "fail"]);
    assert_eq!(document["port"], port);
    assert_eq!(document["reservation"]["listening"], "unknown");
}

#[test]
fn what_the_machine_shares_belongs_to_everybody() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let port = world.reserve(&shop, &["postgres", "--scope", "service"]);
    let _server = Server::start(&world.dir("elsewhere"), "0.0.0.0", port);
    assert_eq!(world.reserve(&shop, &["postgres", "--scope", "service"]), port);
}

#[test]
fn a_checkout_inside_another_is_a_stranger() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    world.git(&shop, &["worktree", "add", "--quiet", "-b", "feature", ".worktrees/feature"]);
    let port = world.reserve(&shop, &[]);
    let _server = Server::start(&shop.join(".worktrees/feature"), "::1", port);
    let document = reserved(&world, &shop, &[]);
    assert_eq!(document["outcome"], "moved", "it was testing another worktree's server");
}

//! `hythe wait`: until a server listens, or none does any more.

use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::daemon::{Daemon, container};
use crate::listener::{Harbour, Server};
use crate::support::Run;

/// `hythe wait ARGUMENTS` in `shop`, which has begun to wait: it says so after a second.
fn waiting(world: &Harbour, arguments: &[&str]) -> Child {
    let mut command = world.command(&world.dir("shop"));
    command.arg("wait").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn ended(child: Child) -> Run {
    Run::from(child.wait_with_output().unwrap())
}

#[test]
fn it_ends_as_soon_as_the_server_listens() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let port = world.reserve(&shop, &["web"]);
    let child = waiting(&world, &["web"]);
    thread::park_timeout(Duration::from_millis(1200));
    let server = Server::start(&shop, "127.0.0.1", port);
    let start = Instant::now();
    let run = ended(child).exits(0);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(run.stdout(), "");
    let expected = format!("note: waiting for `web` to listen on port {port}\n");
    assert_eq!(run.stderr(), expected);
    // It listens already: there is nothing to say.
    let run = world.run(&shop, ["wait", &port.to_string()]).exits(0);
    assert_eq!((run.stdout(), run.stderr()), (String::new(), String::new()));
    let document = world.run(&shop, ["wait", "web", "--json"]).json();
    assert_eq!(document["ports"][0]["port"], port);
    assert_eq!(document["ports"][0]["service"], "web");
    assert_eq!(document["ports"][0]["listening"], "mine");
    assert_eq!(document["listeners"][0]["pid"], server.pid());
}

#[test]
fn what_is_not_reserved_is_not_waited_for() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let error = world.run(&shop, ["wait", "web"]).fails(7);
    assert!(error.contains("`web` has no reservation here"), "{error}");
    let port = world.port(0).to_string();
    assert!(world.run(&shop, ["wait", &port]).fails(7).contains("is not reserved"));
    assert!(!world.state().exists());
    for wrong in [&["wait", "0"][..], &["wait", "99999"], &["wait", "no such"]] {
        world.run(&shop, wrong).fails(2);
    }
    world.run(&shop, ["wait", "--timeout", "soon"]).fails(2);
    world.run(&shop, ["wait", "--free", "--listening"]).fails(2);
}

#[test]
fn a_stranger_ends_it_at_once() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let port = world.reserve(&shop, &["web"]);
    let other = world.dir("other");
    let stranger = Server::start(&other, "127.0.0.1", port);
    let error = world.run(&shop, ["wait", "web", "--timeout", "1h"]).fails(8);
    let who = format!(
        "`web` does not listen on its port {port}: it is held by process {}",
        stranger.pid()
    );
    assert!(error.contains(&who), "{error}");
    assert!(error.contains(&format!(" in {}\n", other.display())), "{error}");
    assert!(error.contains(&format!("hint: hythe show {port}")), "{error}");
    world.run(&shop, ["wait", "web", "--listening"]).ok();
    let refused = world.run(&shop, ["wait", "web", "--json"]).fails(8);
    assert!(refused.contains("\"exit_code\":8"), "{refused}");
    // It comes while it is waited for another.
    let free = world.reserve(&shop, &["api"]);
    let child = waiting(&world, &["api", "-q", "--timeout", "1h"]);
    let _second = Server::start(&other, "127.0.0.1", free);
    assert!(ended(child).fails(8).contains("`api` does not listen on its port"));
}

#[test]
fn the_time_is_over() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let port = world.reserve(&shop, &["web"]);
    let start = Instant::now();
    let error = world.run(&shop, ["wait", "web", "--timeout", "300ms"]).fails(7);
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert!(
        error.contains(&format!("`web` does not listen on port {port} after 300ms")),
        "{error}"
    );
    let error = world.run(&shop, ["wait", "web", "--listening", "--timeout", "0s"]).fails(7);
    assert!(error.contains(&format!("nobody listens on port {port} after 0s")), "{error}");
    let server = Server::start(&shop, "127.0.0.1", port);
    let error = world.run(&shop, ["wait", "web", "--free", "--timeout", "0s"]).fails(7);
    let held = format!("port {port} is still held after 0s, by process {} `", server.pid());
    assert!(error.contains(&held), "{error}");
    world.run(&shop, ["wait", "web", "--timeout", "0s"]).ok();
}

#[test]
fn all_of_several_have_to_listen() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let [web, api] = ["web", "api"].map(|service| world.reserve(&shop, &[service]));
    let _web = Server::start(&shop, "127.0.0.1", web);
    let error = world.run(&shop, ["wait", "web", "api", "--timeout", "0s"]).fails(7);
    assert!(error.contains(&format!("`api` does not listen on port {api}")), "{error}");
    let child = waiting(&world, &["web", "api"]);
    let _api = Server::start(&shop, "::1", api);
    ended(child).ok();
    world.run(&shop, ["wait", "web", "web", &web.to_string()]).ok();
}

#[test]
fn it_is_free_when_nobody_listens_any_more() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let port = world.reserve(&shop, &["web", "--prefer", &world.port(0).to_string()]);
    world.run(&shop, ["wait", "web", "--free"]).ok();
    let server = Server::start(&shop, "127.0.0.1", port);
    let child = waiting(&world, &["web", "--free"]);
    thread::park_timeout(Duration::from_millis(100));
    drop(server);
    ended(child).ok();
    // Of a port that is nobody's as well.
    let other = world.port(20).to_string();
    world.run(&shop, ["wait", &other, "--free", "--timeout", "0s"]).ok();
    world.run(&shop, ["wait", &other, "--listening", "--timeout", "0s"]).fails(7);
    let _server = Server::start(&shop, "127.0.0.2", world.port(20));
    let document = world.run(&shop, ["wait", &other, "--listening", "--json"]).json();
    assert_eq!(document["ports"][0]["service"], serde_json::Value::Null);
}

#[test]
fn a_container_is_a_server_too() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let port = world.reserve(&shop, &["web"]);
    let daemon = Daemon::start(&world);
    daemon.runs(&[container("web", port, Some(&world.dir("other")), &[])]);
    let error = world.run(&shop, ["wait", "web"]).fails(8);
    let who = format!("held by container `web` in {}\n", world.root().join("other").display());
    assert!(error.contains(&who), "{error}");
    // Of whom nothing is known counts as one's own, with a note.
    daemon.runs(&[container("web", port, None, &[])]);
    let run = world.run(&shop, ["wait", "web"]).exits(0);
    let note = format!("whether container `web` on port {port} is your server cannot be told");
    assert!(run.stderr().contains(&note), "{}", run.stderr());
    daemon.runs(&[]);
    let child = waiting(&world, &["web"]);
    daemon.runs(&[container("web", port, Some(&shop), &[])]);
    ended(child).ok();
    world.run(&shop, ["wait", "web", "--free", "--timeout", "0s"]).fails(7);
}

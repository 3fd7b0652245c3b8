//! Which port a new key gets: preferred ones first, and what stands against them.

use std::fs;
use std::io::{self, Write};
use std::net::UdpSocket;

use serde_json::json;

use super::reserved;
use crate::listener::{Harbour, Server};

/// What was said about the preferred port, and the port that was given instead.
#[track_caller]
fn instead(world: &Harbour, directory: &str, preferred: u16) -> (String, u16) {
    let run =
        world.run(&world.dir(directory), ["reserve", "--prefer", &preferred.to_string()]).exits(0);
    let port = run.stdout().trim().parse().unwrap();
    assert_ne!(port, preferred);
    let told = format!("note: `main` does not get its preferred port {preferred}: ");
    let rest = run.stderr().strip_prefix(&told).map(str::to_owned);
    (rest.unwrap_or_else(|| panic!("{}", run.stderr())), port)
}

#[test]
fn a_preferred_port_is_given_even_outside_the_range() {
    let world = Harbour::new();
    let inside = world.port(7);
    let document = reserved(&world, &world.dir("a"), &["--prefer", &inside.to_string()]);
    assert_eq!(document["port"], inside);
    assert_eq!(document["reservation"]["strategy"]["selection"], "preferred");

    let outside = Harbour::new().port(0);
    let run = world.run(&world.dir("b"), ["reserve", "--prefer", &outside.to_string()]).exits(0);
    assert_eq!((run.stdout(), run.stderr()), (format!("{outside}\n"), String::new()));
}

#[test]
fn several_ports_can_be_preferred() {
    let world = Harbour::new();
    let (taken, free) = (world.port(0), world.port(1));
    let _stranger = Server::start(&world.dir("elsewhere"), "127.0.0.1", taken);
    let (taken, free) = (taken.to_string(), free.to_string());
    let run =
        world.run(&world.dir("shop"), ["reserve", "--prefer", &taken, "--prefer", &free]).exits(0);
    assert_eq!(run.stdout().trim(), free);
    assert!(run.stderr().contains(&format!("preferred port {taken}: held by")), "{}", run.stderr());
}

#[test]
fn a_held_port_is_refused_with_its_holder() {
    let world = Harbour::new();
    let preferred = world.port(0);
    let stranger = Server::start(&world.dir("elsewhere"), "127.0.0.2", preferred);
    let (told, _) = instead(&world, "shop", preferred);
    let holder = format!("held by a process (process {} `", stranger.pid());
    assert!(told.starts_with(&holder), "{told}");
}

#[test]
fn another_keys_port_is_refused() {
    let world = Harbour::new();
    let preferred = world.reserve(&world.dir("first"), &[]);
    let (told, _) = instead(&world, "second", preferred);
    assert_eq!(told, format!("reserved for another key\nhint: hythe show {preferred}\n"));
}

#[test]
fn a_port_that_browsers_block_is_refused_unless_it_is_allowed() {
    let world = Harbour::new();
    let (told, _) = instead(&world, "a", 6000);
    assert!(told.starts_with("blocked by browsers\n"), "{told}");
    assert!(told.contains("hint: ports.allow = [6000] in your config.toml"), "{told}");

    // Any of these that nobody on this machine has.
    let blocked = [6666, 6667, 6668, 6669, 6566, 5061];
    world.configure("allow = [6666, \"6667-6669\", 6566, 5061]\n");
    let wishes: Vec<_> =
        blocked.iter().flat_map(|port| ["--prefer".to_owned(), port.to_string()]).collect();
    let mut arguments = vec!["reserve"];
    arguments.extend(wishes.iter().map(String::as_str));
    assert!(blocked.contains(&world.run(&world.dir("b"), arguments).port()));
}

#[test]
fn a_privileged_port_is_refused() {
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    let first: u16 = first.trim().parse().unwrap();
    let world = Harbour::new();
    if first < 2 {
        io::stderr().write_all(b"skipped: this machine knows no privileged ports\n").unwrap();
        return;
    }
    let (told, _) = instead(&world, "shop", first - 1);
    assert!(told.starts_with("privileged\n"), "{told}");
}

#[test]
fn a_port_of_outgoing_connections_is_refused() {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let bounds: Vec<u16> = range.split_whitespace().map(|bound| bound.parse().unwrap()).collect();
    for (directory, bound) in ["first", "last"].into_iter().zip(bounds) {
        let (told, _) = instead(&Harbour::new(), directory, bound);
        assert!(told.starts_with("in the ephemeral range of the kernel\n"), "{told}");
    }
}

#[test]
fn a_datagram_socket_is_in_nobodys_way() {
    let world = Harbour::new();
    let port = world.port(0);
    let _socket = UdpSocket::bind(("0.0.0.0", port)).unwrap();
    assert_eq!(world.reserve(&world.dir("shop"), &["--prefer", &port.to_string()]), port);
}

#[test]
fn a_reservation_keeps_its_port_whatever_is_preferred_later() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let port = world.reserve(&shop, &[]);
    let wish = if port == world.port(0) { world.port(1) } else { world.port(0) };
    let run = world.run(&shop, ["reserve", "--prefer", &wish.to_string()]).exits(0);
    assert_eq!(run.stdout(), format!("{port}\n"));
    let told = format!("note: `main` already has port {port}, not {wish}\n");
    assert!(run.stderr().starts_with(&told), "{}", run.stderr());
    // What the hint says works.
    let hint = format!("hint: hythe reserve main --prefer {wish} --reallocate");
    assert!(run.stderr().contains(&hint), "{}", run.stderr());
    let arguments = ["reserve", "main", "--prefer", &wish.to_string(), "--reallocate"];
    assert_eq!(world.run(&shop, arguments).port(), wish);
}

#[test]
fn the_main_checkout_gets_the_configured_port_and_no_other_does() {
    for linked_first in [false, true] {
        let world = Harbour::new();
        let shop = world.repository("shop");
        let canonical = world.port(5);
        let text = format!("project = \"shop\"\n[services.web]\nport = {canonical}\n");
        fs::write(shop.join("hythe.toml"), &text).unwrap();
        world.git(&shop, &["worktree", "add", "--quiet", "-b", "feature", "../linked"]);
        let linked = world.root().join("linked");
        fs::write(linked.join("hythe.toml"), &text).unwrap();

        let main = || assert_eq!(world.reserve(&shop, &["web"]), canonical);
        if !linked_first {
            main();
        }
        let run = world.run(&linked, ["reserve", "web"]).exits(0);
        assert_ne!(run.stdout().trim(), canonical.to_string());
        let told = format!(
            "`web` does not get its preferred port {canonical}: kept for the main checkout"
        );
        assert!(run.stderr().contains(&told), "{}", run.stderr());
        main();
    }
}

#[test]
fn a_configured_port_outside_the_range_is_given() {
    let world = Harbour::new();
    let outside = Harbour::new().port(3);
    let shop = world.dir("shop");
    fs::write(shop.join("hythe.toml"), format!("[services]\nweb.port = {outside}\n")).unwrap();
    assert_eq!(world.reserve(&shop, &["web"]), outside);
    assert_ne!(world.reserve(&shop, &["api"]), outside);
}

#[test]
fn an_excluded_port_is_never_given() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let slot = world.reserve(&shop, &["--dry-run"]);
    world.configure(&format!("exclude = [{slot}]\n"));
    let run = world.run(&shop, ["reserve", "--explain"]).exits(0);
    assert_ne!(run.stdout().trim(), slot.to_string());
    let skipped = format!("skipped {slot}: excluded by configuration");
    assert!(run.stderr().contains(&skipped), "{}", run.stderr());
    let (told, _) = instead(&world, "other", slot);
    assert_eq!(told, "excluded by configuration\n");

    // What the user and the project exclude adds up.
    let project = world.dir("project");
    let slot = world.reserve(&project, &["--dry-run"]);
    fs::write(project.join("hythe.toml"), format!("ports.exclude = [\"{slot}-{slot}\"]\n"))
        .unwrap();
    assert_ne!(world.reserve(&project, &[]), slot);
}

#[test]
fn a_released_port_is_frozen_for_others() {
    let world = Harbour::new();
    let first = world.dir("first");
    let port = world.reserve(&first, &[]);
    world.run(&first, ["release"]).ok();
    let (told, _) = instead(&world, "second", port);
    assert_eq!(told, "released a moment ago\n");
    let back = reserved(&world, &first, &[]);
    assert_eq!((&back["port"], &back["outcome"]), (&json!(port), &json!("returned")));
}

#[test]
fn a_port_thaws() {
    let world = Harbour::new();
    let (first, second) = (world.dir("first"), world.dir("second"));
    let port = world.reserve(&first, &[]);
    world.run(&first, ["release"]).ok();
    super::edit(&world, "UPDATE released SET released_at = released_at - 2 * 3600 * 1000");
    assert_eq!(world.reserve(&second, &["--prefer", &port.to_string()]), port);
    let document = reserved(&world, &first, &[]);
    assert_eq!(document["outcome"], "created", "somebody else has its old port now");
    assert_ne!(document["port"], port);

    // Without a freeze it is free at once.
    world.configure("freeze = \"0s\"\n");
    world.run(&second, ["release"]).ok();
    assert_eq!(world.reserve(&world.dir("third"), &["--prefer", &port.to_string()]), port);
}

#[test]
fn a_range_can_be_asked_for() {
    let world = Harbour::new();
    let range = format!("{}-{}", world.port(3), world.port(4));
    let ports: Vec<_> = ["a", "b"]
        .into_iter()
        .map(|name| world.reserve(&world.dir(name), &["--range", &range]))
        .collect();
    let mut sorted = ports.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, [world.port(3), world.port(4)]);
    let mut command = world.command(&world.dir("c"));
    command.arg("reserve").env("HYTHE_RANGE", &range);
    crate::support::Run::of(&mut command).fails(5);
    // Who has a port keeps it, whatever range is asked for later.
    let elsewhere = format!("{}-{}", world.port(8), world.port(9));
    assert_eq!(world.reserve(&world.dir("a"), &["--range", &elsewhere]), ports[0]);
}

#[test]
fn a_full_range_is_cleaned_up_when_that_helps() {
    let world = Harbour::new();
    let range = format!("{0}-{0}", world.port(0));
    let gone = world.dir("gone");
    let port = world.reserve(&gone, &["--range", &range]);
    fs::remove_dir(&gone).unwrap();
    let shop = world.dir("shop");
    let run = world.run(&shop, ["reserve", "--range", &range]).exits(0);
    assert_eq!(run.stdout(), format!("{port}\n"));
    assert!(run.stderr().contains("cleanup released 1 reservation"), "{}", run.stderr());
    let log = world.run(&shop, ["log", "--kind", "released"]).ok();
    assert!(log.contains("its directory is gone (path-sticky)"), "{log}");
}

#[test]
fn a_cleanup_that_does_not_help_is_not_kept() {
    let world = Harbour::new();
    let range = format!("{0}-{0}", world.port(0));
    let gone = world.dir("gone");
    world.reserve(&gone, &["--range", &format!("{0}-{0}", world.port(1))]);
    fs::remove_dir(&gone).unwrap();
    world.configure("[cleanup]\nevery = \"0s\"\n");
    world.reserve(&world.dir("shop"), &["--range", &range]);
    world.run(&world.dir("other"), ["reserve", "--range", &range]).fails(5);
    let list = world.run(&world.root(), ["list", "--json"]).json();
    assert_eq!(list["reservations"].as_array().unwrap().len(), 2);
}

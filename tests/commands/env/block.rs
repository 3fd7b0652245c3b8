//! Blocks: services that stand together above a common base.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::{given, ports, project};
use crate::listener::{Harbour, Server};

const BLOCK: &str =
    "[services.web]\noffset = 0\n[services.api]\noffset = 1\n[services.db]\noffset = 10\n";
const NAMES: [&str; 3] = ["WEB_PORT", "API_PORT", "DB_PORT"];

/// Asserts that web, api and db stand at their offsets; the base.
#[track_caller]
fn base(world: &Harbour, directory: &Path) -> u16 {
    let [web, api, db] = given(world, directory, NAMES);
    assert_eq!((api, db), (web + 1, web + 10));
    web
}

#[test]
fn a_block_stands_together_whoever_asks_first() {
    let world = Harbour::new();
    let shop = project(&world, BLOCK);
    // One that is asked for alone leaves room for the others.
    let api = world.reserve(&shop, &["api"]);
    assert_eq!(base(&world, &shop), api - 1);
    let other = world.dir("other");
    fs::write(other.join("hythe.toml"), BLOCK).unwrap();
    assert_ne!(base(&world, &other), api - 1);
    assert_eq!(ports(&world).len(), 6);
}

#[test]
fn the_policy_is_told_the_offsets_and_the_base_that_is_preferred() {
    let world = Harbour::new();
    let (db, web) = (world.port(25), world.port(15));
    let shop = project(&world, &format!("{BLOCK}port = {db}\n"));
    let explained = |services: &[&str]| {
        let arguments = [&["reserve", "--explain", "--json", "-n"], services].concat();
        world.run(&shop, arguments).json()
    };
    let document = explained(&["db", "web"]);
    for service in document["services"].as_array().unwrap() {
        let explanation = &service["explanation"];
        let told = &explanation["policies"][1]["told"];
        assert_eq!(told["offsets"], json!([0, 1, 10]));
        assert_eq!(told["preferred"], json!([web]));
        assert_eq!(explanation["wish"], "configured");
    }
    assert_eq!(explained(&["other"])["explanation"]["policies"][1]["told"]["offsets"], json!([0]));
    assert_eq!(base(&world, &shop), web);
}

#[test]
fn a_block_grows_in_place() {
    let world = Harbour::of_size(8);
    let shop = project(&world, "[services.web]\noffset = 0\n");
    let web = world.reserve(&shop, &["web", "--prefer", &world.port(2).to_string()]);
    let file = shop.join("hythe.toml");
    fs::write(&file, "[services.web]\noffset = 1\n[services.api]\noffset = 2\n[services.db]\n")
        .unwrap();
    let document = world.run(&shop, ["reserve", "api", "--explain", "--json"]).json();
    assert_eq!(document["port"], web + 1);
    assert_eq!(document["explanation"]["wish"], "beside its block");
    // Where that is somebody else's, it is said.
    let taken = world.reserve(&world.dir("other"), &["--prefer", &world.port(1).to_string()]);
    let text =
        "[services.web]\noffset = 1\n[services.api]\noffset = 2\n[services.low]\noffset = 0\n";
    fs::write(&file, text).unwrap();
    let run = world.run(&shop, ["env"]).exits(0);
    let said = format!("`low` does not get its preferred port {taken}: reserved for another key");
    assert!(run.stderr().contains(&said), "{}", run.stderr());
    let [low, web_now] = given(&world, &shop, ["LOW_PORT", "WEB_PORT"]);
    assert_eq!(web_now, web, "the others stay");
    assert!(ports(&world).contains(&low));
}

#[test]
fn a_preferred_block_grows_outside_of_the_range() {
    let world = Harbour::new();
    let (first, last) = (world.port(8), world.port(31));
    world.config(&format!("[ports]\nrange = \"{first}-{last}\"\n"));
    let port = world.port(0);
    let shop = project(&world, &format!("[services.web]\noffset = 0\nport = {port}\n"));
    assert_eq!(world.reserve(&shop, &["web"]), port);
    let text = format!("[services.api]\noffset = 1\n[services.web]\noffset = 0\nport = {port}\n");
    fs::write(shop.join("hythe.toml"), text).unwrap();
    assert_eq!(given(&world, &shop, ["WEB_PORT", "API_PORT"]), [port, port + 1]);
}

#[test]
fn linked_worktrees_get_blocks_of_their_own() {
    let world = Harbour::of_size(64);
    let (port, first, last) = (world.port(0), world.port(20), world.port(63));
    world.config(&format!("[ports]\nrange = \"{first}-{last}\"\n"));
    let shop = project(&world, &format!("{BLOCK}port = {}\n", port + 10));
    world.git(&shop, &["add", "hythe.toml"]);
    world.git(&shop, &["commit", "--quiet", "--message=services"]);
    world.git(&shop, &["worktree", "add", "--quiet", "-b", "fix", "../fix"]);
    let fix = world.root().join("fix");
    // Even before the main checkout has asked.
    assert_ne!(base(&world, &fix), port);
    assert_eq!(base(&world, &shop), port);
    assert_eq!(ports(&world).len(), 6);
}

#[test]
fn who_loses_its_port_to_a_stranger_moves_alone() {
    let world = Harbour::new();
    let shop = project(&world, BLOCK);
    let web = base(&world, &shop);
    let stranger = Server::start(&world.dir("elsewhere"), "127.0.0.1", web + 1);
    let run = world.run(&shop, ["env"]).exits(0);
    assert!(run.stderr().contains("`api` moved from port"), "{}", run.stderr());
    let [again, api, db] = given(&world, &shop, NAMES);
    assert_eq!((again, db), (web, web + 10));
    assert_ne!(api, web + 1);
    drop(stranger);
    // Given back and asked for again, they stand together again.
    world.run(&shop, ["release", "--all"]).ok();
    assert_eq!(base(&world, &shop), web);
}

#[test]
fn a_block_keeps_within_the_range_or_says_that_it_does_not_fit() {
    let world = Harbour::of_size(11);
    let shop = project(&world, BLOCK);
    assert_eq!(base(&world, &shop), world.port(0), "there is one place");
    let other = world.dir("other");
    fs::write(other.join("hythe.toml"), "[services.a]\noffset = 7\n[services.b]\noffset = 17\n")
        .unwrap();
    let error = world.run(&other, ["env"]).fails(5);
    assert!(error.contains("no free port for `a` with all 2 ports of its block"), "{error}");
    assert_eq!(ports(&world).len(), 3);
    // One port is always found.
    fs::write(other.join("hythe.toml"), "[services.a]\n[services.b]\n").unwrap();
    world.run(&other, ["env"]).ok();
}

#[test]
fn a_stranger_on_one_port_keeps_the_block_off_all() {
    let world = Harbour::of_size(13);
    let shop = project(&world, BLOCK);
    let _stranger = Server::start(&world.dir("elsewhere"), "127.0.0.1", world.port(11));
    // At the bases 1 and 2, db or api would have the ports 11 and 12, or 2 and 3.
    assert_ne!(base(&world, &shop), world.port(1));
}

#[test]
fn what_somebody_else_gave_back_a_moment_ago_is_in_no_block() {
    let world = Harbour::of_size(3);
    let shop = project(&world, "[services.web]\noffset = 0\n[services.api]\noffset = 1\n");
    let [low, middle, high] = [0, 1, 2].map(|index| world.port(index));
    let other = world.dir("other");
    for (directory, service, port) in [(&other, "main", low), (&shop, "api", middle)] {
        world.reserve(directory, &[service, "--prefer", &port.to_string()]);
        world.run(directory, ["release", service]).ok();
    }
    // The port that api had would put web on one that is frozen for all but its last key.
    assert_eq!(given(&world, &shop, ["WEB_PORT", "API_PORT"]), [middle, high]);
}

#[test]
fn services_of_another_scope_form_another_block() {
    let world = Harbour::new();
    let shared = "project = 'p'\n[services.web]\noffset = 0\n[services.api]\noffset = 3\n\
                  [services.db]\noffset = 0\nscope = 'project'\n\
                  [services.cache]\noffset = 1\nscope = 'project'\n";
    let all = ["WEB_PORT", "API_PORT", "DB_PORT", "CACHE_PORT"];
    let of = |name| {
        let directory = world.dir(name);
        fs::write(directory.join("hythe.toml"), shared).unwrap();
        given(&world, &directory, all)
    };
    let (one, two) = (of("one"), of("two"));
    for [web, api, db, cache] in [one, two] {
        assert_eq!((api, cache), (web + 3, db + 1));
    }
    assert_eq!(one[2..], two[2..]);
    assert_ne!(one[0], two[0]);
}

#[test]
fn a_block_that_cannot_be_is_a_wrong_configuration() {
    let world = Harbour::new();
    for (text, message) in [
        (
            "[services.web]\noffset = 1\n[services.api]\noffset = 1\n",
            "hythe.toml:2:10: `api` and `web` have the same offset, 1",
        ),
        (
            "[services.web]\noffset = 0\nport = 3000\n[services.api]\noffset = 1\nport = 3005\n",
            "hythe.toml:6:8: port 3005 of `api` does not fit its offset beside `web`, 3001 would",
        ),
        (
            "[services.web]\noffset = 0\n[services.api]\noffset = 20\nport = 15\n",
            "hythe.toml:5:8: port 15 of `api` leaves no room for its block, 20 below",
        ),
        ("[services.web]\noffset = 70000\n", "`70000` is not an offset from 0 to 65534"),
    ] {
        let shop = project(&world, text);
        let error = world.run(&shop, ["env"]).fails(3);
        assert!(error.contains(message), "{error}");
        world.run(&shop, ["config", "check"]).fails(3);
    }
}

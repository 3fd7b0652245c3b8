//! A key that several checkouts share: whose server runs on its port.

use super::{declared, install};
use crate::component::Plugin;
use crate::listener::{Harbour, Server};

/// Two directories whose keys `key` derives, and the port that the first of them reserved.
fn sharing(key: &str) -> (Harbour, [std::path::PathBuf; 2], u16) {
    let world = Harbour::new();
    install(&world, "one", Plugin::new("one").key("of everybody"));
    install(&world, "two", Plugin::new("two").key("of somebody else"));
    let plugins = ["one", "two"].map(declared).concat();
    world.configure(&format!("[strategy]\nkey = \"{key}\"{plugins}"));
    let directories = ["first", "second"].map(|name| world.repository(name));
    let port = world.reserve(&directories[0], &["db"]);
    (world, directories, port)
}

fn listening(world: &Harbour, directory: &std::path::Path, port: u16) -> String {
    let shown = world.run(directory, ["show", &port.to_string(), "--json"]).json();
    shown["reservation"]["listening"].as_str().unwrap().to_owned()
}

#[test]
fn a_server_in_any_checkout_that_shares_the_key_is_its_own() {
    let (world, [first, second], port) = sharing("one");
    let _server = Server::start(&second, "127.0.0.1", port);
    for directory in [&first, &second] {
        assert_eq!(listening(&world, directory, port), "mine");
        assert_eq!(world.reserve(directory, &["db"]), port, "it does not move from its own server");
    }
    // The directory that reserved it first is gone, and the port is still served.
    std::fs::remove_dir_all(&first).unwrap();
    world.run(&second, ["cleanup"]).ok();
    assert_eq!(world.reserve(&second, &["db"]), port);
}

#[test]
fn a_server_of_a_directory_that_has_another_key_is_a_stranger() {
    let world = Harbour::new();
    world.configure("");
    let shop = world.repository("shop");
    let port = world.reserve(&shop, &["db"]);
    let _server = Server::start(&world.repository("other"), "127.0.0.1", port);
    assert_eq!(listening(&world, &shop, port), "foreign");
}

#[test]
fn what_another_policy_derived_proves_nothing() {
    let (world, [first, second], port) = sharing("one");
    let _server = Server::start(&second, "127.0.0.1", port);
    let shown = |strategy: &str| {
        let show = ["--strategy", strategy, "show", &port.to_string(), "--json"];
        world.run(&first, show).json()["reservation"]["listening"].clone()
    };
    assert_eq!(shown("key=two"), "unknown");
    assert_eq!(shown("key=path-sticky"), "unknown");
    assert_eq!(shown("key=one"), "mine");
}

/// What a project's files say about the policy must not turn its own server into a stranger.
#[test]
fn options_of_a_project_prove_nothing_about_others() {
    let (world, [_first, second], port) = sharing("one");
    let _server = Server::start(&second, "127.0.0.1", port);
    let clone = world.repository("clone");
    install(&world, "one", Plugin::new("one").key("of everybody").schema(ANY));
    std::fs::write(clone.join("hythe.toml"), "[plugins.one.options]\nshared = false\n").unwrap();
    assert_eq!(listening(&world, &clone, port), "unknown");
    let cleanup = ["cleanup", "--older-than", "1ms", "--dry-run", "--json"];
    assert_eq!(world.run(&clone, cleanup).json()["released"], serde_json::json!([]));
}

const ANY: &str = r#"{"additionalProperties": true}"#;

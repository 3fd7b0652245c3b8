//! Plugins that a server has loaded already.

use std::fs;

use super::Port;
use crate::component::Plugin;

#[test]
fn a_plugin_is_loaded_again_when_its_file_is_another_one() {
    let port =
        Port::configured("[plugins.team]\npath = 'team.wasm'\n[strategy]\nkey = 'team'\n", &[]);
    let file = port.world.home().join(".config/hythe/team.wasm");
    let install = |key: &str| fs::write(&file, Plugin::new("team").key(key).build()).unwrap();
    let key = || {
        let answer = port.serving.reserve(&port.place, "main").done();
        answer["services"][0]["reservation"]["key"].as_str().unwrap().to_owned()
    };
    install("one");
    assert_eq!([key(), key()], ["one", "one"]);
    install("two");
    assert_eq!([key(), key()], ["two", "two"]);
    fs::remove_file(&file).unwrap();
    let problem = port.serving.reserve(&port.place, "main").fails(422);
    assert_eq!(problem["code"], "policy", "{problem}");
    install("one");
    assert_eq!(key(), "one");
}

#[test]
fn a_configuration_that_changes_holds_at_once() {
    let port = Port::new();
    let first = port.serving.port_of(&port.place, "web");
    port.world.configure("nonsense = 1\n");
    assert_eq!(port.serving.reserve(&port.place, "web").fails(422)["code"], "configuration");
    port.world.configure("");
    assert_eq!(port.serving.port_of(&port.place, "web"), first);
}

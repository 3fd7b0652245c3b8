//! `hythe map`: what every port of the range is.

use serde_json::{Value, json};

use crate::listener::{Harbour, Server};

/// What the map says of each port that is not free, by its place in the harbour's range.
fn states(world: &Harbour) -> Vec<(String, String)> {
    let document = world.run(&world.root(), ["map", "--json"]).json();
    assert_eq!(document["range"], world.range());
    let runs = document["ports"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    runs.map(|run| (text(&run["ports"]), text(&run["state"])))
        .filter(|(_, state)| state != "free")
        .collect()
}

#[test]
fn every_state_is_shown_and_nothing_is_written() {
    let world = Harbour::new();
    let [idle, served, stolen, frozen, excluded, strange] =
        [0, 2, 4, 6, 8, 10].map(|index| world.port(index));
    world.configure(&format!("exclude = [{excluded}]\non_conflict = \"keep\"\n"));
    assert_eq!(states(&world), [(excluded.to_string(), "excluded".to_owned())]);
    assert!(!world.state().exists(), "a map needs no ledger");

    let project = world.dir("project");
    for (service, port) in
        [("idle", idle), ("served", served), ("stolen", stolen), ("frozen", frozen)]
    {
        world.reserve(&project, &[service, "--prefer", &port.to_string()]);
    }
    world.run(&project, ["release", "frozen"]).ok();
    let _own = Server::start(&project, "127.0.0.1", served);
    let elsewhere = world.dir("elsewhere");
    let _thief = Server::start(&elsewhere, "127.0.0.1", stolen);
    let _stranger = Server::start(&elsewhere, "127.0.0.1", strange);
    let expected = [
        (idle, "reserved"),
        (served, "listening"),
        (stolen, "foreign"),
        (frozen, "frozen"),
        (excluded, "excluded"),
        (strange, "foreign"),
    ];
    let expected = expected.map(|(port, state)| (port.to_string(), state.to_owned()));
    assert_eq!(states(&world), expected);

    let text = world.run(&project, ["map"]).ok();
    for words in ["1 reserved", "1 listening", "2 foreign", "1 frozen", "1 excluded"] {
        assert!(text.lines().last().unwrap().contains(words), "{words}: {text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn another_range_can_be_looked_at() {
    let world = Harbour::new();
    let document = world.run(&world.root(), ["map", "1-1024", "--json"]).json();
    assert_eq!(document["range"], "1-1024");
    assert_eq!(document["ports"][0], json!({ "ports": "1-1023", "state": "excluded" }));
    world.run(&world.root(), ["map", "9-8"]).fails(2);
    world.run(&world.root(), ["map", "0"]).fails(2);
}

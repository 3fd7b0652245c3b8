//! `hythe log`: what happened, filtered, for people and as NDJSON.

use serde_json::Value;

use super::edit;
use crate::listener::Harbour;

fn events(world: &Harbour, arguments: &[&str]) -> Vec<Value> {
    let text = world.run(&world.root(), [&["log", "--json"], arguments].concat()).ok();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event"].as_str().unwrap()).collect()
}

/// A world where everything has happened once.
fn eventful() -> (Harbour, u16, u16) {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let first = world.reserve(&shop, &[]);
    world.reserve(&shop, &["--task", "t"]);
    world.run(&shop, ["lock"]).ok();
    world.run(&shop, ["unlock"]).ok();
    let second = world.reserve(&shop, &["--reallocate"]);
    world.run(&shop, ["release"]).ok();
    assert_eq!(world.reserve(&shop, &[]), second, "the port it had last");
    (world, first, second)
}

#[test]
fn everything_that_happens_is_logged_in_order() {
    let (world, first, second) = eventful();
    let events = events(&world, &[]);
    let expected = ["reserved", "updated", "locked", "unlocked", "moved", "released", "returned"];
    assert_eq!(kinds(&events), expected);
    let ids: Vec<_> = events.iter().map(|event| event["id"].as_u64().unwrap()).collect();
    assert!(ids.is_sorted_by(|one, next| one < next), "{ids:?}");
    assert_eq!((&events[4]["from"], &events[4]["port"]), (&first.into(), &second.into()));
    assert_eq!(events[5]["reason"], "asked to");
    let text = world.run(&world.root(), ["log"]).ok();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 7);
    let shop = world.root().join("shop");
    let told = format!("Z  reserved   {first}  main  {}", shop.display());
    assert!(lines[0].ends_with(&told), "{}", lines[0]);
    assert!(lines[4].contains(&format!("moved      {second} (was {first})")), "{}", lines[4]);
    assert!(lines[5].ends_with(": asked to"), "{}", lines[5]);
}

#[test]
fn a_log_is_filtered() {
    let (world, first, second) = eventful();
    let first = first.to_string();
    let by_port = events(&world, &["--port", &first]);
    assert_eq!(kinds(&by_port), ["reserved", "updated", "locked", "unlocked", "moved"]);
    let by_port = events(&world, &["--port", &second.to_string()]);
    assert_eq!(kinds(&by_port), ["moved", "released", "returned"]);
    assert_eq!(kinds(&events(&world, &["--kind", "locked"])), ["locked"]);
    assert_eq!(kinds(&events(&world, &["-n", "2"])), ["released", "returned"], "the latest");
    assert_eq!(events(&world, &["--limit", "0"]), Vec::<Value>::new());
    assert_eq!(kinds(&events(&world, &["--kind", "moved", "--port", &first])), ["moved"]);

    world.reserve(&world.dir("shop/web"), &["web", "--project", "p"]);
    let below = world.root().join("shop/web").to_str().unwrap().to_owned();
    for by in [&["--service", "web"][..], &["--project", "p"], &["--below", &below]] {
        assert_eq!(kinds(&events(&world, by)), ["reserved"], "{by:?}");
        assert_eq!(events(&world, by)[0]["service"], "web", "{by:?}");
    }
    assert_eq!(events(&world, &["--below", "shop"]).len(), 8);
    assert_eq!(events(&world, &["--below", "sho"]).len(), 0, "not every path that begins so");
    world.run(&world.dir("shop/web"), ["release", "web"]).ok();
    edit(&world, "DELETE FROM event WHERE service = 'web'");

    edit(&world, "UPDATE event SET at = at - 7200000 WHERE id <= 3");
    assert_eq!(events(&world, &["--since", "1h"]).len(), 4);
    assert_eq!(events(&world, &["--since", "3h"]).len(), 7);
    assert_eq!(events(&world, &["--since", "2100-01-01T00:00:00Z"]).len(), 0);
    assert_eq!(events(&world, &["--since", "2020-01-01T00:00:00Z"]).len(), 7);
    let since = events(&world, &[])[3]["at"].as_str().unwrap().to_owned();
    assert_eq!(events(&world, &["--since", &since]).len(), 4, "this very time included");
    for wrong in [&["--kind", "exploded"][..], &["--port", "0"], &["--since", "soon"]] {
        world.run(&world.root(), [&["log"], wrong].concat()).fails(2);
    }
}

#[test]
fn a_log_without_a_ledger_is_empty() {
    let world = Harbour::new();
    assert_eq!(events(&world, &[]), Vec::<Value>::new());
    assert_eq!(world.run(&world.root(), ["log"]).ok(), "");
    assert!(!world.state().exists());
}

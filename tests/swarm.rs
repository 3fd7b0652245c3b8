//! A swarm: a server, other processes and streams of events on one ledger. SQLite's locks belong to a
//! process, so that one that closes the ledger's file anywhere loses those of all its threads: readers
//! would then see what is being written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::chance::{Dice, scale};
use crate::crowd::world;
use crate::rig::{Books, ends, hythe};
use crate::serving::{Listener, Serving, port_in};
use crate::support::World;

/// The ports that an answer to a list tells, each for one key.
fn listed(document: &Value) -> BTreeMap<(PathBuf, String), u16> {
    let reservations = document["reservations"].as_array().unwrap();
    let text = |one: &Value, name: &str| one[name].as_str().unwrap().to_owned();
    let ports: BTreeMap<_, _> = reservations
        .iter()
        .map(|one| {
            let port = u16::try_from(one["port"].as_u64().unwrap()).unwrap();
            ((text(one, "directory").into(), text(one, "service")), port)
        })
        .collect();
    assert_eq!(ports.len(), reservations.len(), "a key is there twice");
    let distinct: BTreeSet<_> = ports.values().collect();
    assert_eq!(distinct.len(), ports.len(), "a port is there twice");
    ports
}

/// One thing that a client does, by the server or as a process of its own.
fn act(world: &World, serving: &Serving, dice: &mut Dice, places: &[PathBuf]) {
    let place = dice.one(places).clone();
    let service = *dice.one(&["main", "web", "api"]);
    let body = json!({ "directory": place, "services": [service] });
    match dice.below(8) {
        0..3 => {
            serving.reserve(&place, service).done();
        }
        3 => {
            let answer = serving.call("POST", "/v1/release", Some(&body));
            assert!([200, 404].contains(&answer.status), "{answer:?}");
        }
        4 => {
            let ttl = json!({ "directory": place, "services": [service, "both"], "ttl": "1d" });
            serving.call("POST", "/v1/reservations", Some(&ttl)).done();
        }
        5 => {
            listed(&serving.get("/v1/reservations"));
        }
        6 => drop(hythe(world, &place, &["reserve", service]).port()),
        _ => {
            let mut command = world.command(&place);
            let _: (i32, Output) = ends(command.args(["release", service]), &[0, 7]);
        }
    }
}

#[test]
fn a_swarm_of_clients_processes_and_streams_agrees_with_the_ledger() {
    let world = world("24000-24999");
    let places: Vec<_> = (0..12).map(|number| world.dir(format!("place/{number}"))).collect();
    world.reserve(&places[0], &["main"]);
    let serving = Serving::start(&world, &["--cleanup-every", "1s"]);
    let over = AtomicBool::new(false);
    let working = AtomicUsize::new(6);
    let mut streams = [0; 3].map(|after| Listener::start(&serving, Some(after)));
    thread::scope(|scope| {
        let (world, serving, places, over, working) = (&world, &serving, &places, &over, &working);
        for seed in 0..6 {
            scope.spawn(move || {
                let mut dice = Dice(seed);
                for _ in 0..40 * scale() {
                    act(world, serving, &mut dice, places);
                }
                if working.fetch_sub(1, Ordering::Relaxed) == 1 {
                    over.store(true, Ordering::Relaxed);
                }
            });
        }
        // Streams come and go, and so do readers of the ledger in the same process.
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let after = serving.last_event();
                drop(Listener::start(serving, Some(after.max(2) - 2)));
                drop(serving.get("/v1/events?limit=50"));
            }
        });
    });

    let last = serving.last_event();
    for stream in &mut streams {
        assert_eq!(stream.until(last), (1..=last).collect::<Vec<_>>());
    }
    let books = Books::open(&world);
    let reserved = books.ports();
    assert_eq!(books.replayed(), reserved, "the events tell another story");
    assert_eq!(listed(&serving.get("/v1/reservations")), reserved);
}

#[test]
fn a_crowd_at_a_server_and_beside_it_gets_one_port_for_each_key() {
    let world = world("24000-24999");
    let places: Vec<_> = (0..20).map(|number| world.dir(format!("place/{number}"))).collect();
    let serving = Serving::start(&world, &[]);
    let ports: Vec<_> = thread::scope(|scope| {
        let (world, serving) = (&world, &serving);
        let clients: Vec<_> = (0..100 * scale())
            .map(|number| {
                let place = &places[number % places.len()];
                scope.spawn(move || match number / 20 % 2 {
                    0 => port_in(&serving.reserve(place, "main").done()),
                    _ => hythe(world, place, &["reserve"]).port(),
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let books = Books::open(&world);
    let reserved = books.ports();
    assert_eq!(reserved.len(), places.len());
    assert_eq!(books.number("SELECT count(*) FROM event"), 20, "each was reserved once");
    for (number, port) in ports.into_iter().enumerate() {
        let key = (places[number % places.len()].clone(), "main".to_owned());
        assert_eq!(reserved[&key], port);
    }
}

//! Crowds: hundreds of processes on one ledger, readers and strangers between them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::SystemTime;

use crate::chance::{Dice, scale};
use crate::rig::{Books, calm, contents, ends, hythe};
use crate::support::{Run, World};

/// A world that gives ports of this range, waits long for its turn, and moves nobody.
pub(crate) fn world(range: &str) -> World {
    let world = World::new();
    world.config(&format!(
        "[ledger]\nlock_timeout = \"2m\"\n[ports]\nrange = \"{range}\"\non_conflict = \"keep\"\n"
    ));
    world
}

/// Runs them all at once; how each of them ended.
fn all_at_once(commands: Vec<Command>) -> Vec<Output> {
    thread::scope(|scope| {
        let started: Vec<_> = commands
            .into_iter()
            .map(|mut command| scope.spawn(move || calm(&mut command)))
            .collect();
        started.into_iter().map(|process| process.join().unwrap()).collect()
    })
}

fn reserve(world: &World, directory: &Path, service: &str) -> Command {
    let mut command = world.command(directory);
    command.args(["reserve", service]);
    command
}

/// Somebody else's server on `port`; `None` where there is one already.
#[expect(clippy::disallowed_methods, reason = "stands for another program")]
pub(crate) fn stranger(port: u16) -> Option<TcpListener> {
    TcpListener::bind(("127.0.0.1", port)).ok()
}

/// Takes and leaves ports of the range as long as `work` runs.
fn among_strangers<T>(first: u16, count: u16, work: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut dice = Dice(1);
            let mut held = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let port = first + u16::try_from(dice.below(count.into())).unwrap();
                held.extend(stranger(port));
                if held.len() > usize::from(count) / 8 {
                    held.swap_remove(dice.below(16));
                }
                thread::yield_now();
            }
        });
        let outcome = work();
        over.store(true, Ordering::Relaxed);
        outcome
    })
}

/// Reads all the time while `work` runs. No reader ever fails.
fn among_readers<T>(world: &World, directory: &Path, work: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for reader in [&["list", "--json"][..], &["get", "known"], &["log"], &["show", "known"]] {
            let over = &over;
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let answer = hythe(world, directory, reader).ok();
                    assert!(!answer.is_empty(), "{reader:?}");
                }
            });
        }
        let outcome = work();
        over.store(true, Ordering::Relaxed);
        outcome
    })
}

#[test]
fn a_crowd_with_distinct_keys_gets_distinct_ports_and_readers_look_on() {
    let world = world("20000-20999");
    let known = world.dir("known");
    world.reserve(&known, &["known"]);
    // These were there first, and stay.
    let lasting: Vec<_> = (20_000..20_999).step_by(5).filter_map(stranger).collect();
    let lasting: BTreeMap<_, _> =
        lasting.into_iter().map(|server| (server.local_addr().unwrap().port(), server)).collect();
    let directories: Vec<_> =
        (0..200 * scale().min(2)).map(|number| world.dir(format!("crowd/{number}"))).collect();
    let commands = directories.iter().map(|directory| reserve(&world, directory, "main"));
    let commands: Vec<_> = commands.collect();
    let outputs =
        among_strangers(20_000, 1_000, || among_readers(&world, &known, || all_at_once(commands)));

    let ports: Vec<_> = outputs.into_iter().map(|output| Run::from(output).port()).collect();
    let distinct: BTreeSet<_> = ports.iter().copied().collect();
    assert_eq!(distinct.len(), ports.len(), "a port was given twice");
    assert!(distinct.iter().all(|port| (20_000..=20_999).contains(port)));
    assert!(distinct.iter().all(|port| !lasting.contains_key(port)), "a port was not free");
    let books = Books::open(&world);
    let reserved = books.ports();
    assert_eq!(reserved.len(), ports.len() + 1);
    assert_eq!(books.replayed(), reserved);
    for (directory, port) in directories.into_iter().zip(ports) {
        assert_eq!(reserved[&(directory, "main".to_owned())], port);
    }
}

#[test]
fn a_crowd_with_one_key_gets_one_port() {
    let world = world("21000-21999");
    let project = world.dir("project");
    let commands = (0..200 * scale()).map(|_| reserve(&world, &project, "main")).collect();
    let outputs = among_strangers(21_000, 1_000, || all_at_once(commands));
    let ports: BTreeSet<_> = outputs.into_iter().map(|output| Run::from(output).port()).collect();
    assert_eq!(ports.len(), 1, "{ports:?}");
    let books = Books::open(&world);
    let key = (project, "main".to_owned());
    assert_eq!(books.ports(), BTreeMap::from([(key, *ports.first().unwrap())]));
    assert_eq!(books.number("SELECT count(*) FROM event"), 1, "it was reserved once");
}

#[test]
fn a_mixed_crowd_loses_nothing() {
    let world = world("22000-22999");
    let directories: Vec<_> = (0..8).map(|number| world.dir(format!("place/{number}"))).collect();
    world.reserve(&directories[0], &["main"]);
    // What each may answer: nothing there (7), or it is locked (8).
    let verbs: [(&[&str], &[i32]); 8] = [
        (&["reserve"], &[0]),
        (&["reserve", "--lock"], &[0]),
        (&["reserve", "--ttl", "1d"], &[0]),
        (&["release"], &[0, 7, 8]),
        (&["get"], &[0, 7]),
        (&["lock"], &[0, 7]),
        (&["unlock"], &[0, 7]),
        (&["list"], &[0]),
    ];
    let mut dice = Dice(2);
    let mut pick = |end: usize| dice.below(end);
    let picked: Vec<_> = (0..200 * scale())
        .map(|_| (pick(verbs.len()), directories[pick(8)].clone(), ["main", "web"][pick(2)]))
        .collect();
    let command = |(verb, directory, service): &(usize, PathBuf, &str)| {
        let mut command = world.command(directory);
        command.args(verbs[*verb].0);
        if verbs[*verb].0 != ["list"] {
            command.arg(service);
        }
        command
    };
    let commands = picked.iter().map(command).collect();
    let outputs = among_strangers(22_000, 1_000, || all_at_once(commands));

    let books = Books::open(&world);
    let reserved = books.ports();
    assert_eq!(books.replayed(), reserved, "the events tell another story");
    let distinct: BTreeSet<_> = reserved.values().collect();
    assert_eq!(distinct.len(), reserved.len());
    for ((verb, directory, service), output) in picked.iter().zip(outputs) {
        let (words, codes) = verbs[*verb];
        let code = output.status.code().unwrap();
        assert!(codes.contains(&code), "{words:?}: {output:?}");
        if words[0] == "reserve" {
            let port = Run::from(output).port();
            let sql = format!(
                "SELECT count(*) FROM event WHERE kind IN ('reserved', 'returned') \
                    AND port = {port} AND service = '{service}' \
                    AND directory = CAST('{}' AS BLOB)",
                directory.display()
            );
            assert!(books.number(&sql) > 0, "{port} was printed and never reserved");
        }
    }
}

#[test]
fn a_crowd_at_the_first_ledger_makes_one() {
    for round in 0..2 * scale() {
        let world = world("23000-23999");
        let places: Vec<_> =
            (0..64).map(|number| world.dir(format!("place/{round}/{}", number / 2))).collect();
        let commands = places.iter().map(|place| reserve(&world, place, "main")).collect();
        let ports = all_at_once(commands).into_iter().map(|output| Run::from(output).port());
        let reserved = Books::open(&world).ports();
        assert_eq!(reserved.len(), 32);
        for (place, port) in places.iter().zip(ports) {
            assert_eq!(reserved[&(place.clone(), "main".to_owned())], port);
        }
        let files: Vec<_> = contents(&world.state()).into_keys().collect();
        assert_eq!(files, [world.ledger(), world.state().join("ledger.lock")]);
    }
}

/// Names, sizes and times of the files in the state directory, and of the directory itself.
fn state(world: &World) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    let entries = fs::read_dir(world.state()).unwrap().map(|entry| entry.unwrap().path());
    let described = entries.chain([world.state()]).map(|path| {
        let metadata = path.metadata().unwrap();
        (path, (metadata.len(), metadata.modified().unwrap()))
    });
    described.collect()
}

#[test]
fn readers_answer_while_a_writer_holds_the_lock_and_leave_no_trace() {
    let world = world("23000-23999");
    let project = world.dir("project");
    let port = world.reserve(&project, &[]);
    let lock = File::options().write(true).open(world.state().join("ledger.lock")).unwrap();
    lock.lock().unwrap();

    let before = state(&world);
    assert_eq!(hythe(&world, &project, &["get"]).port(), port);
    assert_eq!(hythe(&world, &project, &["reserve"]).port(), port, "a fresh one needs no lock");
    for reader in [&["list"][..], &["show", "main"], &["log"], &["reserve", "new", "--dry-run"]] {
        assert!(!hythe(&world, &project, reader).ok().is_empty(), "{reader:?}");
    }
    assert_eq!(state(&world), before);

    for writer in [&["reserve", "new"][..], &["release"], &["lock"]] {
        let (_, output) =
            ends(world.command(&project).args(writer).args(["--lock-timeout", "20ms"]), &[6]);
        assert!(String::from_utf8_lossy(&output.stderr).contains("ledger.lock"), "{output:?}");
    }
    // The answer is known; only its use cannot be recorded.
    Books::open(&world).change("UPDATE reservation SET last_used_at = last_used_at - 3600000");
    let stale = hythe(&world, &project, &["reserve", "--lock-timeout", "20ms"]);
    assert!(stale.stderr().contains("not recorded"), "{}", stale.stderr());
    assert_eq!(stale.port(), port);

    lock.unlock().unwrap();
    assert_ne!(hythe(&world, &project, &["reserve", "new"]).port(), port);
}

#[test]
fn readers_make_nothing_where_nothing_is() {
    let world = world("23000-23999");
    let project = world.dir("project");
    let readers: [(&[&str], i32); 6] = [
        (&["get"], 7),
        (&["show", "main"], 7),
        (&["list"], 0),
        (&["log"], 0),
        (&["release"], 7),
        (&["reserve", "--dry-run"], 0),
    ];
    for (reader, code) in readers {
        let _: (i32, Output) = ends(world.command(&project).args(reader), &[code]);
        assert!(!world.state().exists(), "{reader:?}");
    }
}

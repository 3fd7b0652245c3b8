//! Kills: at random moments and at every write, whoever comes next finds everything in order.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::chance::{Dice, scale};
use crate::rig::{
    Books, calm, contents, hythe, injected, leave_a_hot_journal, no_panic, quiet_world, restore,
    strace,
};
use crate::support::{Run, World};

/// The system calls that change files. A number that a processor family lacks is ignored.
const WRITES: [&str; 14] = [
    "?mkdir",
    "mkdirat",
    "pwrite64",
    "write",
    "ftruncate",
    "fsync",
    "fdatasync",
    "?unlink",
    "unlinkat",
    "?rename",
    "?renameat",
    "renameat2",
    "openat",
    "flock",
];

/// Nothing needs as many.
const MOST: usize = 200;

/// One way to be killed, again and again, from the same beginning.
struct Deathbed<'a> {
    world: &'a World,
    /// The state directory at the beginning; `None` when there is none.
    before: Option<BTreeMap<PathBuf, Vec<u8>>>,
    place: &'a Path,
    arguments: &'a [&'a str],
}

impl Deathbed<'_> {
    /// Kills at every write, one run each, and lets `check` look at what is left.
    fn die_at_every_write(&self, check: impl Fn(&str)) {
        let mut deaths = 0;
        for call in WRITES {
            for number in 1.. {
                assert!(number < MOST, "it never comes to an end");
                if self.die(&format!("{call}:signal=KILL:when={number}")) {
                    break;
                }
                deaths += 1;
                check(&format!("{:?} killed at {call} {number}", self.arguments));
            }
        }
        assert!(deaths > 5, "only {deaths} deaths");
    }

    /// Begins anew and runs under `inject`; whether it survived, and did its work.
    fn die(&self, inject: &str) -> bool {
        match &self.before {
            Some(before) => restore(before, &self.world.state()),
            None if self.world.state().exists() => {
                fs::remove_dir_all(self.world.state()).unwrap();
            }
            None => {}
        }
        let mut command = self.world.command(self.place);
        command.args(self.arguments);
        let output = calm(&mut injected(self.world, inject, &command));
        match (output.status.code(), output.status.signal()) {
            (Some(0), _) => true,
            (_, Some(9)) | (Some(137), _) => {
                assert!(output.stdout.is_empty(), "it was printed before it was written");
                false
            }
            _ => panic!("{inject}: {output:?}"),
        }
    }
}

/// What holds after every kill: readers work, the reservation that was acknowledged is there, the
/// next one to come gets what it wants, and nothing is left lying about.
#[track_caller]
fn in_order(world: &World, place: &Path, acknowledged: Option<u16>, what: &str) {
    match acknowledged {
        Some(port) => assert_eq!(hythe(world, place, &["get"]).port(), port, "{what}"),
        None => drop(hythe(world, place, &["list"]).ok()),
    }
    let port = hythe(world, place, &["reserve"]).port();
    assert!(acknowledged.is_none_or(|acknowledged| acknowledged == port), "{what}");
    let books = Books::open(world);
    let reserved = books.ports();
    assert_eq!(reserved[&(place.to_owned(), "main".to_owned())], port, "{what}");
    assert_eq!(books.replayed(), reserved, "{what}");
    drop(books);
    // Whoever writes next rolls back, or begins anew.
    hythe(world, place, &["reserve", "next"]).port();
    let files: Vec<_> = contents(&world.state()).into_keys().collect();
    assert_eq!(files, [world.ledger(), world.state().join("ledger.lock")], "{what}");
}

#[test]
fn killed_at_every_write_of_the_first_ledger() {
    if !strace("killed_at_every_write_of_the_first_ledger") {
        return;
    }
    let world = quiet_world();
    let place = world.dir("place");
    let deathbed = Deathbed { world: &world, before: None, place: &place, arguments: &["reserve"] };
    deathbed.die_at_every_write(|what| in_order(&world, &place, None, what));
}

#[test]
fn killed_at_every_write_of_a_new_reservation() {
    if !strace("killed_at_every_write_of_a_new_reservation") {
        return;
    }
    let world = quiet_world();
    let place = world.dir("place");
    let port = world.reserve(&place, &[]);
    let arguments = ["reserve", "api", "web"];
    let before = Some(contents(&world.state()));
    let deathbed = Deathbed { world: &world, before, place: &place, arguments: &arguments };
    deathbed.die_at_every_write(|what| {
        in_order(&world, &place, Some(port), what);
        // Both or none.
        let ports = Books::open(&world).ports();
        let has = |service: &str| ports.contains_key(&(place.clone(), service.to_owned()));
        assert_eq!(has("api"), has("web"), "{what}");
    });
}

#[test]
fn killed_at_every_write_of_a_touch() {
    if !strace("killed_at_every_write_of_a_touch") {
        return;
    }
    let world = quiet_world();
    let place = world.dir("place");
    let port = world.reserve(&place, &[]);
    Books::open(&world).change("UPDATE reservation SET last_used_at = last_used_at - 3600000");
    let before = Some(contents(&world.state()));
    let deathbed = Deathbed { world: &world, before, place: &place, arguments: &["reserve"] };
    deathbed.die_at_every_write(|what| in_order(&world, &place, Some(port), what));
}

#[test]
fn killed_at_every_write_of_a_release() {
    if !strace("killed_at_every_write_of_a_release") {
        return;
    }
    let world = quiet_world();
    let place = world.dir("place");
    let port = world.reserve(&place, &[]);
    let other = world.reserve(&place, &["other"]);
    let before = Some(contents(&world.state()));
    let arguments = ["release", "other"];
    let deathbed = Deathbed { world: &world, before, place: &place, arguments: &arguments };
    deathbed.die_at_every_write(|what| {
        in_order(&world, &place, Some(port), what);
        // Released or not: the key that asks again gets its port back.
        assert_eq!(hythe(&world, &place, &["reserve", "other"]).port(), other, "{what}");
    });
}

#[test]
fn killed_while_it_rolls_back_for_one_that_was_killed() {
    if !strace("killed_while_it_rolls_back_for_one_that_was_killed") {
        return;
    }
    let world = quiet_world();
    let place = world.dir("place");
    let port = world.reserve(&place, &[]);
    leave_a_hot_journal(&world, world.command(&place).args(["reserve", "lost"]));
    let before = Some(contents(&world.state()));
    for arguments in [&["get"][..], &["reserve", "next"]] {
        let before = before.clone();
        let second = Deathbed { world: &world, before, place: &place, arguments };
        second.die_at_every_write(|what| in_order(&world, &place, Some(port), what));
    }
}

#[test]
fn what_is_left_of_a_half_made_ledger_is_no_obstacle() {
    let mut dice = Dice(3);
    for length in [0, 1, 100, 4096, 40_960] {
        let world = quiet_world();
        let place = world.dir("place");
        fs::create_dir_all(world.state()).unwrap();
        fs::write(world.state().join("ledger.db.new"), dice.bytes(length)).unwrap();
        hythe(&world, &place, &["get"]).fails(7);
        in_order(&world, &place, None, "ledger.db.new");
    }
}

/// Everybody is killed at some moment of their life, all together on one ledger.
#[test]
fn killed_at_random() {
    const WRITERS: u64 = 4;

    let world = quiet_world();
    let place = world.dir("place");
    world.reserve(&place, &["known"]);
    let start = Instant::now();
    for service in ["a", "b", "c", "d"] {
        world.reserve(&place, &[service]);
    }
    // With the others at work, each takes longer than alone.
    let lifetime = (start.elapsed() * 2 / 4).max(Duration::from_millis(6));
    let over = AtomicBool::new(false);
    let world = &world;
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                hythe(world, &place, &["get", "known"]).port();
                assert!(!hythe(world, &place, &["list"]).ok().is_empty());
            }
        });
        let writers: Vec<_> = (0..WRITERS)
            .map(|number| scope.spawn(move || storm(world, number, lifetime)))
            .collect();
        let survived: Vec<_> = writers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        over.store(true, Ordering::Relaxed);
        reader.join().unwrap();
        for ports in survived {
            let ports = ports.unwrap();
            let books = Books::open(world);
            let reserved = books.ports();
            assert_eq!(books.replayed(), reserved);
            for (key, port) in ports {
                assert_eq!(reserved.get(&key), Some(&port), "{key:?}");
            }
        }
    });
}

/// One of them, with keys of its own: what it was told, and must find again.
fn storm(world: &World, number: u64, lifetime: Duration) -> BTreeMap<(PathBuf, String), u16> {
    let mut dice = Dice(100 + number);
    let place = world.dir(format!("storm/{number}"));
    let mut acknowledged = BTreeMap::new();
    for _ in 0..60 * scale() {
        let service = format!("service-{}", dice.below(12));
        let key = (place.clone(), service.clone());
        let verb = ["reserve", "reserve", "reserve", "release", "lock"][dice.below(5)];
        let mut command = world.command(&place);
        let child = command.args([verb, &service]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let moment =
            lifetime.mul_f64(f64::from(u32::try_from(dice.below(1_000)).unwrap()) / 1_000.0);
        kill_after(child.spawn().unwrap(), moment, |output| {
            match (verb, output.status.code()) {
                ("reserve", _) if output.stdout.ends_with(b"\n") => {
                    let port: u16 = String::from_utf8_lossy(&output.stdout).trim().parse().unwrap();
                    let known = acknowledged.insert(key.clone(), port);
                    assert!(known.is_none_or(|known| known == port), "{key:?} lost {known:?}");
                }
                // Done, or perhaps done.
                ("release", Some(0) | None) => drop(acknowledged.remove(&key)),
                ("release" | "lock", Some(7)) => {
                    assert_eq!(acknowledged.get(&key), None, "{key:?} is gone");
                }
                // What is locked is not released.
                ("release", Some(8)) | ("reserve" | "lock", Some(0) | None) => {}
                (verb, code) => panic!("{verb} exits with {code:?}: {output:?}"),
            }
        });
        if dice.below(8) == 0 {
            // Nobody kills this one.
            let port = Run::from(calm(world.command(&place).args(["reserve", &service]))).port();
            let known = acknowledged.insert((place.clone(), service), port);
            assert!(known.is_none_or(|known| known == port), "{known:?} was lost, now {port}");
        }
    }
    acknowledged
}

#[expect(clippy::disallowed_methods, reason = "the moment of death is a matter of time")]
fn kill_after(mut child: Child, moment: Duration, look: impl FnOnce(std::process::Output)) {
    thread::sleep(moment);
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    no_panic(&output);
    look(output);
}

/// The order in which things reach the disk, as `strace` sees it.
#[test]
fn what_is_printed_is_on_disk() {
    if !strace("what_is_printed_is_on_disk") {
        return;
    }
    let world = quiet_world();
    let place = world.dir("place");
    let trace = world.root().join("trace");
    let mut command = Command::new("strace");
    let calls = "trace=pwrite64,ftruncate,fsync,fdatasync,/unlink,/rename,write";
    command.args(["-f", "-qq", "-y", "-s", "0", "-e", calls, "-o"]).arg(&trace);
    let hythe = world.command(&place);
    command.arg(hythe.get_program()).arg("reserve").current_dir(&place).env("HOME", world.home());
    Run::from(calm(&mut command)).port();
    let trace = fs::read_to_string(trace).unwrap();
    let state = world.state();
    let state = state.to_str().unwrap();
    let calls: Vec<_> = trace.lines().filter(|line| line.contains(state)).collect();
    let last = |names: &[&str]| {
        calls.iter().rposition(|line| names.iter().any(|name| line.contains(name)))
    };
    // A journal that comes back after a power cut takes the reservation with it.
    let (removed, synced) = (last(&["unlink"]), last(&["fsync(", "fdatasync("]));
    let end = &calls[calls.len().saturating_sub(4)..];
    assert!(removed.is_some() && removed < synced, "not synced at the end: {end:#?}");
}

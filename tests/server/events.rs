//! The stream of events: nothing is told twice, and nothing is left out.

use std::fs;
use std::path::PathBuf;
use std::thread;

use rustix::fs::OFlags;

use crate::chance::scale;
use crate::listener::eventually;
use crate::serving::Listener;

use super::Port;

/// Locks and unlocks, by the server and by other processes in turn.
fn changes(port: &Port, count: usize) {
    let given = port.serving.port_of(&port.place, "main");
    for number in 0..count {
        let lock = number % 2 == 0;
        if number % 5 == 0 {
            let verb = if lock { "lock" } else { "unlock" };
            port.world.run(&port.place, [verb, "main"]).ok();
        } else {
            let body = serde_json::json!({ "locked": lock });
            let path = format!("/v1/reservations/{given}/lock");
            port.serving.call("PUT", &path, Some(&body)).done();
        }
    }
}

fn all(from: i64, to: i64) -> Vec<i64> {
    (from..=to).collect()
}

#[test]
fn whoever_comes_back_misses_nothing_and_hears_nothing_twice() {
    let port = Port::new();
    port.world.reserve(&port.place, &["main"]);
    let mut listener = Listener::start(&port.serving, Some(0));
    let mut heard = listener.until(1);
    thread::scope(|scope| {
        let port = &port;
        scope.spawn(move || changes(port, 60 * scale()));
        for _ in 0..6 {
            heard.extend(listener.until(heard[heard.len() - 1] + 5));
            // It goes away in the middle, and comes back.
            listener = Listener::start(&port.serving, heard.last().copied());
        }
    });
    let last = port.serving.last_event();
    heard.extend(listener.until(last));
    assert_eq!(heard, all(1, last));
    assert!(last > 40, "{last}");
    // All of it again, for somebody new; and nothing of it, for somebody else.
    assert_eq!(Listener::start(&port.serving, Some(0)).until(last), all(1, last));
    let mut new = Listener::start(&port.serving, None);
    changes(&port, 2);
    assert_eq!(new.until(last + 2), all(last + 1, last + 2));
}

#[test]
fn the_first_listener_misses_nothing() {
    for _ in 0..5 * scale() {
        let port = Port::new();
        port.world.reserve(&port.place, &["main"]);
        thread::scope(|scope| {
            let writing = scope.spawn(|| changes(&port, 20));
            let mut listener = Listener::start(&port.serving, Some(0));
            writing.join().unwrap();
            let last = port.serving.last_event();
            assert_eq!(listener.until(last), all(1, last));
        });
    }
}

#[test]
fn more_than_a_stream_keeps_is_read_from_the_ledger() {
    let port = Port::new();
    port.world.reserve(&port.place, &["main"]);
    // As if much had happened: more than one batch.
    let ledger = rusqlite::Connection::open(port.world.ledger()).unwrap();
    let copy = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) \
        INSERT INTO event SELECT (SELECT max(id) FROM event) + i, ";
    let columns: Vec<String> = ledger
        .prepare("SELECT name FROM pragma_table_info('event') WHERE name <> 'id' ORDER BY cid")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let mut listener = Listener::start(&port.serving, None);
    let columns = columns.join(", ");
    let rows = format!("{copy} {columns} FROM n, (SELECT * FROM event LIMIT 1)");
    ledger.execute_batch(&rows).unwrap();
    assert_eq!(listener.until(3_001), all(2, 3_001));
    assert_eq!(Listener::start(&port.serving, Some(0)).until(3_001), all(1, 3_001));
}

/// The descriptors of a server by which the ledger is open, but for SQLite's own: those do not follow
/// symbolic links (open(2), `O_NOFOLLOW`).
fn open(port: &Port) -> Vec<PathBuf> {
    let process = PathBuf::from(format!("/proc/{}", port.serving.pid()));
    let followed = |file: &PathBuf| {
        // It may have been closed since it was listed.
        let info =
            fs::read_to_string(process.join("fdinfo").join(file.file_name().unwrap())).ok()?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?.trim();
        Some(u32::from_str_radix(flags, 8).unwrap() & OFlags::NOFOLLOW.bits() == 0)
    };
    let files = fs::read_dir(process.join("fd")).unwrap().map(|file| file.unwrap().path());
    let ledgers =
        files.filter(|file| fs::read_link(file).is_ok_and(|to| to == port.world.ledger()));
    ledgers.filter(|file| followed(file) == Some(true)).collect()
}

#[test]
fn the_ledger_that_is_followed_is_never_closed() {
    // SQLite's locks of all threads would go with it.
    let port = Port::new();
    port.world.reserve(&port.place, &["main"]);
    assert_eq!(open(&port).len(), 0);
    let listener = Listener::start(&port.serving, None);
    assert!(eventually(|| open(&port).len() == 1));
    let followed = open(&port);
    drop(listener);
    for _ in 0..10 {
        let listener = Listener::start(&port.serving, Some(0));
        port.serving.reserve(&port.place, "main").done();
        changes(&port, 2);
        drop(listener);
        assert!(eventually(|| open(&port) == followed), "{:?}", open(&port));
    }
}

#[test]
fn streams_outlive_a_ledger_that_is_replaced() {
    let port = Port::new();
    port.world.reserve(&port.place, &["main"]);
    let mut listener = Listener::start(&port.serving, Some(0));
    listener.until(1);
    changes(&port, 4);
    listener.until(5);
    let moved = port.world.state().join("moved");
    fs::rename(port.world.ledger(), &moved).unwrap();
    assert_eq!(port.serving.count(), 0);
    fs::rename(&moved, port.world.ledger()).unwrap();
    changes(&port, 2);
    assert_eq!(listener.until(7), [6, 7]);
}

#[test]
fn another_ledger_is_followed_from_its_first_event() {
    let port = Port::new();
    port.world.reserve(&port.place, &["main"]);
    changes(&port, 6);
    let mut listener = Listener::start(&port.serving, Some(0));
    listener.until(7);
    fs::remove_file(port.world.ledger()).unwrap();
    port.world.reserve(&port.place, &["main"]);
    port.world.reserve(&port.place, &["api"]);
    assert_eq!(listener.until(2), [1, 2]);
    // Nor does who comes back with a number of the old one wait for it.
    assert_eq!(Listener::start(&port.serving, Some(7)).until(2), [1, 2]);
}

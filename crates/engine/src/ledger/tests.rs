use std::ffi::OsStr;

use super::*;
use crate::event::{Event, EventKind};
use crate::reservation::{Lease, Owner, Provenance, Realm, Scope};

fn port(number: u16) -> Port {
    Port::new(number).unwrap()
}

fn key(text: &str) -> Key {
    Key { realm: Realm::User, text: text.to_owned() }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn reservation(number: u16, text: &str) -> Reservation {
    Reservation {
        port: port(number),
        key: key(text),
        service: text.parse().unwrap(),
        created_at: at(1),
        last_used_at: at(1),
        strategy: Provenance { key: "k 1".to_owned(), selection: "s 1".to_owned() },
        ..Reservation::sample()
    }
}

fn released(number: u16, text: &str) -> Change {
    let reservation = reservation(number, text);
    Change::Released { reservation, policy: None, reason: "asked to".to_owned() }
}

/// A directory, and the path of a ledger in it that is not there yet.
fn nowhere() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.db");
    (directory, path)
}

/// Opens the ledger for writing as an operation does.
fn writable(path: &Path) -> Outcome<Ledger> {
    if !path.exists() {
        Ledger::create(path, Timestamp::default(), &[], false)?;
    }
    Ok(Ledger::open_for_writing(path)?.expect("there is one now"))
}

/// A new ledger with these changes, each committed at its time.
fn ledger(changes: &[(i64, Change)]) -> (tempfile::TempDir, Ledger) {
    let (directory, path) = nowhere();
    let mut ledger = writable(&path).unwrap();
    for (millis, change) in changes {
        ledger.commit(at(*millis), std::slice::from_ref(change), false).unwrap();
    }
    (directory, ledger)
}

fn names(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn reading_creates_nothing_and_writing_leaves_nothing_but_the_ledger() {
    let (directory, path) = nowhere();
    assert!(Ledger::open(&path).unwrap().is_none());
    assert!(Ledger::open_for_writing(&path).unwrap().is_none());
    assert!(names(directory.path()).is_empty());
    // What a writer that was killed has left.
    fs::write(path.with_extension("db.new"), "half").unwrap();
    let mut ledger = writable(&path).unwrap();
    ledger.commit(at(1), &[Change::Reserved(reservation(20000, "web"))], false).unwrap();
    assert_eq!(names(directory.path()), ["ledger.db"]);
    let reader = Ledger::open(&path).unwrap().unwrap();
    assert_eq!(reader.reservations().unwrap(), [reservation(20000, "web")]);
    assert_eq!(names(directory.path()), ["ledger.db"]);
}

#[test]
fn every_fact_comes_back_as_it_went_in() {
    let full = Reservation {
        key: Key {
            realm: Realm::Project(OsStr::from_bytes(b"/work/\xff\n").into()),
            text: "größe %0A".to_owned(),
        },
        scope: Scope::Service,
        directory: OsStr::from_bytes(b"/work/\xfe'\"").into(),
        project: Some("shop".parse().unwrap()),
        task: Some("a \"task\"".parse().unwrap()),
        agent: Some("🦀".parse().unwrap()),
        lease: Lease::Ephemeral,
        locked: true,
        owner: Some(Owner {
            pid: u32::MAX,
            start: u64::MAX,
            boot: String::new(),
            namespace: u64::MAX - 1,
            started_at: Timestamp::MAX,
        }),
        created_at: at(0),
        last_used_at: Timestamp::MAX,
        ttl: Some(Duration::from_millis(u64::MAX >> 1)),
        listener: Some(u32::MAX),
        ..reservation(65535, "@shop/admin")
    };
    let (_directory, ledger) = ledger(&[(1, Change::Reserved(full.clone()))]);
    assert_eq!(ledger.find(&full.key).unwrap(), Some(full.clone()));
    assert_eq!(ledger.at(full.port).unwrap(), Some(full.clone()));
    assert_eq!(ledger.find(&key(&full.key.text)).unwrap(), None, "a key of another realm");
    let event = ledger.events(&EventFilter::default()).unwrap().pop().unwrap();
    assert_eq!(Some(Event { id: 0, ..event }), Change::Reserved(full).event(at(1)));
}

#[test]
fn a_port_and_a_key_belong_to_one_reservation() {
    let (_directory, mut ledger) = ledger(&[(1, Change::Reserved(reservation(20000, "web")))]);
    for second in [reservation(20000, "api"), reservation(20002, "web")] {
        let changes = [Change::Reserved(reservation(20001, "db")), Change::Reserved(second)];
        let error = ledger.commit(at(2), &changes, true).unwrap_err();
        assert!(matches!(error.problem, LedgerProblem::Failed(_)), "{error}");
        // All or nothing.
        assert_eq!(ledger.reservations().unwrap(), [reservation(20000, "web")]);
        assert_eq!(ledger.events(&EventFilter::default()).unwrap().len(), 1);
        assert_eq!(ledger.cleaned_at().unwrap(), at(0));
    }
}

#[test]
fn what_a_key_gave_back_is_kept_for_it_until_another_key_gets_it() {
    let moved = Change::Moved {
        from: port(20000),
        to: reservation(20001, "web"),
        reason: "asked to".to_owned(),
    };
    let (_directory, mut ledger) = ledger(&[
        (1, Change::Reserved(reservation(20000, "web"))),
        (2, moved),
        (3, released(20001, "web")),
    ]);
    assert_eq!(ledger.released(&key("web")).unwrap(), [port(20001), port(20000)]);
    ledger.commit(at(4), &[Change::Reserved(reservation(20001, "api"))], false).unwrap();
    assert_eq!(ledger.released(&key("web")).unwrap(), [port(20000)]);
    ledger.commit(at(5), &[Change::Returned(reservation(20000, "web"))], false).unwrap();
    assert!(ledger.released(&key("web")).unwrap().is_empty());
    // In one transaction, given back and given at once.
    let changes = [released(20001, "api"), Change::Reserved(reservation(20001, "db"))];
    ledger.commit(at(6), &changes, false).unwrap();
    assert!(ledger.released(&key("api")).unwrap().is_empty());
}

#[test]
fn a_released_port_is_frozen_around_its_release_at_every_end_of_time() {
    let minute = Duration::from_mins(1);
    let max = Timestamp::MAX.millis();
    for (released_at, now, frozen) in [
        (1_000_000, 1_000_000, true),
        (1_000_000, 1_059_999, true),
        (1_000_000, 1_060_000, false),
        // The clock was set back.
        (1_000_000, 940_001, true),
        (1_000_000, 940_000, false),
        // Before 1970 and after 9999 it stands still.
        (0, 0, true),
        (0, 30_000, true),
        (max, max, true),
        (max, max - 30_000, true),
    ] {
        let change = Change::Reserved(reservation(20000, "web"));
        let (_directory, ledger) = ledger(&[(1, change), (released_at, released(20000, "web"))]);
        let found = ledger.occupancy(at(now), minute).unwrap().frozen;
        assert_eq!(found == [port(20000)], frozen, "{released_at} {now}");
        assert!(ledger.occupancy(at(now), Duration::ZERO).unwrap().frozen.is_empty());
        assert_eq!(ledger.occupancy(at(now), Duration::MAX).unwrap().frozen, [port(20000)]);
    }
}

#[test]
fn a_directory_contains_what_is_below_it_and_not_what_begins_alike() {
    let places = ["/a/b", "/a/b/c", "/a/b.c", "/a/b0", "/a/b-", "/a", "/"];
    let changes = places.iter().zip(20000..).map(|(directory, number)| {
        let service = format!("s{number}");
        let found = Reservation { directory: directory.into(), ..reservation(number, &service) };
        (1, Change::Reserved(found))
    });
    let (_directory, ledger) = ledger(&changes.collect::<Vec<_>>());
    let below = |directory: &str| {
        let found = ledger.occupied_below(directory.as_ref()).unwrap().reserved;
        found.into_iter().map(Port::get).collect::<Vec<_>>()
    };
    assert_eq!(below("/a/b"), [20000, 20001]);
    assert_eq!(below("/a"), [20000, 20001, 20002, 20003, 20004, 20005]);
    assert_eq!(below("/"), [20000, 20001, 20002, 20003, 20004, 20005, 20006]);
    assert_eq!(below("/b"), [0; 0]);
}

#[test]
fn the_latest_is_what_was_given_last() {
    let given = |number, text, millis| {
        let made = Reservation { created_at: at(millis), ..reservation(number, text) };
        (millis, Change::Reserved(made))
    };
    let (_directory, ledger) =
        ledger(&[given(20009, "web", 5), given(20001, "api", 9), given(20005, "db", 7)]);
    let occupancy = ledger.occupancy(at(9), Duration::ZERO).unwrap();
    assert_eq!(occupancy.latest, Some(port(20001)));
    assert_eq!(occupancy.reserved.len(), 3);
}

#[test]
fn a_commit_answers_with_the_events_that_it_wrote() {
    let (_directory, path) = nowhere();
    let changes =
        [20000, 20001].map(|port| Change::Reserved(reservation(port, &format!("s{port}"))));
    let mut events = Ledger::create(&path, at(1), &changes, false).unwrap();
    let mut ledger = writable(&path).unwrap();
    let touched = [Change::Touched(reservation(20000, "s20000"))];
    assert_eq!(ledger.commit(at(2), &touched, true).unwrap(), []);
    events.extend(ledger.commit(at(3), &[released(20000, "s20000")], false).unwrap());
    assert_eq!(events.iter().map(|event| event.id).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(events, ledger.events(&EventFilter::default()).unwrap());
}

#[test]
fn events_are_found_by_what_they_are_about() {
    let moved = Change::Moved {
        from: port(20000),
        to: reservation(20001, "web"),
        reason: "asked to".to_owned(),
    };
    let touched = Change::Touched(reservation(20001, "web"));
    let (_directory, ledger) = ledger(&[
        (1, Change::Reserved(reservation(20000, "web"))),
        (2, moved),
        (3, touched),
        (4, Change::Reserved(reservation(20000, "api"))),
        (5, released(20001, "web")),
    ]);
    let found = |filter: EventFilter| {
        let events = ledger.events(&filter).unwrap();
        events.iter().map(|event| event.at.millis()).collect::<Vec<_>>()
    };
    let any = EventFilter::default;
    assert_eq!(found(any()), [1, 2, 4, 5], "a use is no event");
    assert_eq!(found(EventFilter { limit: Some(2), ..any() }), [4, 5]);
    assert_eq!(found(EventFilter { limit: Some(0), ..any() }), [0; 0]);
    assert_eq!(found(EventFilter { after: Some(2), ..any() }), [4, 5]);
    assert_eq!(found(EventFilter { since: Some(at(2)), ..any() }), [2, 4, 5]);
    assert_eq!(found(EventFilter { port: Some(port(20000)), ..any() }), [1, 2, 4]);
    assert_eq!(found(EventFilter { key: Some("web".to_owned()), ..any() }), [1, 2, 5]);
    assert_eq!(found(EventFilter { kind: Some(EventKind::Moved), ..any() }), [2]);
}

#[test]
fn the_oldest_events_go_when_there_are_too_many() {
    let (_directory, mut ledger) = ledger(&[
        (1, Change::Reserved(reservation(20000, "web"))),
        (2, Change::Reserved(reservation(20001, "api"))),
    ]);
    // As if that many had been written since.
    let skip = "UPDATE sqlite_sequence SET seq = ? WHERE name = 'event'";
    ledger.connection.execute(skip, [MAX_EVENTS]).unwrap();
    ledger.commit(at(3), &[Change::Reserved(reservation(20002, "db"))], false).unwrap();
    let events = ledger.events(&EventFilter::default()).unwrap();
    assert_eq!(events.iter().map(|event| event.id).collect::<Vec<_>>(), [2, MAX_EVENTS + 1]);
}

#[test]
fn events_are_followed_in_order_and_in_parts() {
    let (directory, mut ledger) = ledger(&[
        (1, Change::Reserved(reservation(20000, "web"))),
        (2, Change::Reserved(reservation(20001, "api"))),
        (3, Change::Locked(reservation(20000, "web"))),
    ]);
    let ids = |events: Vec<Event>| events.iter().map(|event| event.id).collect::<Vec<_>>();
    let after = |after| EventFilter { after: Some(after), ..EventFilter::default() };
    assert_eq!(ids(ledger.next_events(&after(0), 2).unwrap()), [1, 2]);
    assert_eq!(ids(ledger.next_events(&after(2), 2).unwrap()), [3]);
    assert_eq!(ids(ledger.next_events(&after(3), 2).unwrap()), [0; 0]);
    assert_eq!(ledger.last_event().unwrap(), 3);
    let below = |directory: &str| {
        let filter = EventFilter { directory: Some(directory.into()), ..EventFilter::default() };
        ids(ledger.next_events(&filter, 9).unwrap())
    };
    assert_eq!(below("/work"), [1, 2, 3]);
    assert_eq!(below("/"), [1, 2, 3]);
    assert_eq!(below("/work/sho"), [0; 0]);

    let path = directory.path().join("ledger.db");
    let mut stamps = Stamps::of(path.clone());
    let before = stamps.read().unwrap();
    assert_eq!(stamps.read().unwrap(), before, "nothing happened");
    ledger.commit(at(4), &[Change::Unlocked(reservation(20000, "web"))], false).unwrap();
    let after = stamps.read().unwrap();
    assert_ne!(after, before);
    assert!(after.unwrap().is_of(&before.unwrap()));
    assert_eq!(Stamps::of(path.with_extension("none")).read().unwrap(), None);
}

#[test]
fn a_reservation_may_follow_to_the_key_that_another_leaves() {
    let (_directory, mut ledger) = ledger(&[
        (1, Change::Reserved(reservation(20000, "outer"))),
        (2, Change::Reserved(reservation(20001, "inner"))),
    ]);
    let follow = |number, name| Change::Relocated {
        from: "/old".into(),
        to: Reservation { directory: "/new".into(), ..reservation(number, name) },
    };
    let changes = [follow(20001, "outer"), follow(20000, "other")];
    ledger.commit(at(3), &changes, false).unwrap();
    assert_eq!(ledger.find(&key("outer")).unwrap().unwrap().port, port(20001));
    assert_eq!(ledger.find(&key("inner")).unwrap(), None);
    assert_eq!(ledger.released(&key("inner")).unwrap(), [], "no port was given back");
    let event = ledger.events(&EventFilter::default()).unwrap().pop().unwrap();
    assert_eq!((event.kind, event.reason.as_deref()), (EventKind::Relocated, Some("from /old")));
}

#[test]
fn a_ledger_of_the_first_version_is_brought_up_to_date_with_all_it_holds() {
    let (_directory, path) = nowhere();
    let first = Connection::open(&path).unwrap();
    first.execute_batch(include_str!("schema/0001_initial.sql")).unwrap();
    first.pragma_update(None, "application_id", schema::APPLICATION_ID).unwrap();
    first.pragma_update(None, "user_version", 1).unwrap();
    first
        .execute_batch(
            "INSERT INTO event VALUES (7, 1, 'moved', 20001, 20000, 'web', 'directory', 'web', \
             x'2f61', NULL, NULL, NULL, 'asked to')",
        )
        .unwrap();
    drop(first);
    let outdated = Ledger::open(&path).map(drop).unwrap_err();
    assert!(matches!(outdated.problem, LedgerProblem::Outdated), "{outdated}");
    let mut ledger = Ledger::open_for_writing(&path).unwrap().unwrap();
    let to = reservation(20001, "web");
    ledger.commit(at(2), &[Change::Reserved(to.clone())], false).unwrap();
    ledger.commit(at(3), &[Change::Relocated { from: "/a".into(), to }], false).unwrap();
    drop(ledger);
    let ledger = Ledger::open(&path).unwrap().unwrap();
    let events = ledger.events(&EventFilter::default()).unwrap();
    let told: Vec<_> = events.iter().map(|event| (event.id, event.kind)).collect();
    let expected = [(7, EventKind::Moved), (8, EventKind::Reserved), (9, EventKind::Relocated)];
    assert_eq!(told, expected, "numbers go on where they were");
    assert_eq!(ledger.check().unwrap(), [""; 0]);
}

#[test]
fn what_is_no_ledger_is_refused_and_left_alone() {
    let (_directory, good) = ledger(&[(1, Change::Reserved(reservation(20000, "web")))]);
    let sound = fs::read(&good.path).unwrap();
    let truncated = sound[..sound.len() / 2].to_vec();
    let noise: Vec<u8> =
        (0..8192_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (_other, alien) = nowhere();
    Connection::open(&alien).unwrap().execute_batch("CREATE TABLE recipe (name TEXT)").unwrap();
    let (_newer, newer) = ledger(&[]);
    newer.connection.pragma_update(None, "user_version", schema::VERSION + 1).unwrap();
    newer.connection.execute_batch("COMMIT").unwrap();

    for (what, bytes, expected) in [
        ("empty", Vec::new(), "is damaged"),
        ("noise", noise, "is damaged"),
        ("truncated", truncated, "is damaged"),
        ("alien", fs::read(&alien).unwrap(), "is the database of another program"),
        ("newer", fs::read(&newer.path).unwrap(), "has schema version"),
    ] {
        let (directory, path) = nowhere();
        fs::write(&path, &bytes).unwrap();
        let read = Ledger::open(&path).and_then(|ledger| ledger.unwrap().reservations());
        let written = writable(&path).and_then(|mut ledger| {
            ledger.commit(at(2), &[Change::Reserved(reservation(20001, "api"))], false)
        });
        for error in [read.unwrap_err(), written.unwrap_err()] {
            assert!(error.problem.to_string().starts_with(expected), "{what}: {error}");
            assert_eq!(error.path, path);
        }
        assert_eq!(fs::read(&path).unwrap(), bytes, "{what}");
        assert_eq!(names(directory.path()), ["ledger.db"], "{what}");
    }
}

#[test]
fn a_ledger_without_a_directory_says_so() {
    let (_directory, path) = nowhere();
    let path = path.join("ledger.db");
    assert!(Ledger::open(&path).unwrap().is_none());
    let error = writable(&path).map(drop).unwrap_err();
    assert!(matches!(error.problem, LedgerProblem::Failed(_)), "{error}");
}

#[test]
fn a_check_finds_what_reading_overlooks() {
    let (_directory, ledger) = ledger(&[(1, Change::Reserved(reservation(20000, "web")))]);
    assert_eq!(ledger.check().unwrap(), [""; 0]);
    ledger
        .connection
        .execute_batch(
            "PRAGMA writable_schema = ON; \
             DELETE FROM sqlite_schema WHERE name = 'reservation_created_at'; \
             PRAGMA writable_schema = RESET",
        )
        .unwrap();
    let path = ledger.path.clone();
    drop(ledger);
    let ledger = Ledger::open(&path).unwrap().unwrap();
    assert_eq!(ledger.reservations().unwrap().len(), 1);
    assert_ne!(ledger.check().unwrap(), [""; 0]);
}

#[test]
fn a_kept_connection_reads_what_is_there_now_and_keeps_nobody_out() {
    let (_directory, mut ledger) = ledger(&[(1, Change::Reserved(reservation(20000, "web")))]);
    let path = ledger.path.clone();
    let ports = || {
        let ledger = Ledger::open(&path).unwrap().unwrap();
        ledger.reservations().unwrap().iter().map(|it| it.port.get()).collect::<Vec<_>>()
    };
    assert_eq!(ports(), [20000]);
    // Its transaction has ended: a writer may commit, and the next reader sees it.
    ledger.commit(at(2), &[Change::Reserved(reservation(20001, "api"))], false).unwrap();
    assert_eq!(ports(), [20000, 20001]);
    // Two readers at once have a connection each, and each its own moment.
    let first = Ledger::open(&path).unwrap().unwrap();
    let second = Ledger::open(&path).unwrap().unwrap();
    assert!(!Rc::ptr_eq(&first.connection, &second.connection));
    drop((first, second));
    // Another file at the same path is read, and none is missed.
    let (_elsewhere, other) = self::ledger(&[(1, Change::Reserved(reservation(20007, "web")))]);
    fs::rename(&other.path, &path).unwrap();
    assert_eq!(ports(), [20007]);
    writable(&path).unwrap().commit(at(2), &[released(20007, "web")], false).unwrap();
    assert_eq!(ports(), [0; 0]);
    fs::remove_file(&path).unwrap();
    assert!(Ledger::open(&path).unwrap().is_none());
}

//! What is damaged, cut off or hostile is told apart, and nothing panics.

use std::path::Path;

use super::database::Cell;
use super::*;

const ALLOCATIONS: &str = r#"{"version": 1, "last_issued_port": 20001, "allocations": {
    "20001": {"directory": "/work/shop", "name": "web", "assigned_at": "2026-01-21T10:00:00Z",
              "last_used_at": "2026-01-21T14:30:00.5+02:00", "locked": true},
    "20000": {"directory": "(unknown:20000)", "name": "main", "assigned_at": "2026-01-21T10:00:00Z",
              "last_used_at": "2026-01-21T10:00:00Z", "locked": false}}}"#;

const CLAIM: &str = r#"{"port": 3000, "pid": 48291, "agent": "claude-code", "project": "my-app",
    "service": "next-dev", "claimed_at": "2026-03-17T14:32:01.123456Z", "lease": "ephemeral"}"#;

const YAML: &str = "project: shop\nports: {min: 5000, max_offset: 10}\nexcluded_ports: [5001, 5002..5003, \
    {start: 5004, end: 5005}]\nreservations:\n  base: 5006\n  services:\n    web: {offset: 0, env: WEB}\n\
    \x20   api: {offset: 1, preferred: 5009}\n";

const TOML: &str = "[pool]\nrange = \"3000-9999\"\nexclude = [5432, 6379]\n[projects.my-app]\n\
    prefer = 3000\nrange = \"3000-3009\"\n[services.redis]\nport = 6379\nlease = \"persistent\"\n";

fn lost(entry: &Entry) -> &str {
    match &entry.record {
        Err(Unfit::Lost(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn names_become_services_or_say_why_not() {
    let named = |name| service(name).map(|(service, was)| (service.to_string(), was));
    let same = |name: &str| Ok((name.to_owned(), None));
    assert_eq!(named(""), same("main"));
    assert_eq!(named("@shop/web"), same("@shop/web"));
    let other = |new: &str, old: &str| Ok((new.to_owned(), Some(old.to_owned())));
    assert_eq!(named("my service"), other("my-service", "my service"));
    assert_eq!(named("-größe!"), other("gr-e", "-größe!"));
    let long = "x y".repeat(99);
    assert_eq!(named(&long).unwrap().0.len(), 128);
    for name in ["8080", "日本", "--", "\n"] {
        assert!(named(name).unwrap_err().contains("is not a service"), "{name}");
    }
}

#[test]
fn allocations_are_told_apart() {
    let entries = portpls::entries(ALLOCATIONS.as_bytes()).unwrap();
    assert!(matches!(entries[0].record, Err(Unfit::Nothing(_))), "{entries:?}");
    let web = entries[1].record.as_ref().unwrap();
    assert_eq!(entries[1].port, Port::new(20001));
    assert_eq!(web.belongs, Belongs::Directory("/work/shop".into()));
    assert_eq!((web.service.as_str(), web.locked), ("web", true));
    assert_eq!(web.last_used_at.to_string(), "2026-01-21T12:30:00.500Z");
    let odd = |row: &str| {
        let text = format!(r#"{{"allocations": {{{row}}}}}"#);
        lost(&portpls::entries(text.as_bytes()).unwrap()[0]).to_owned()
    };
    assert_eq!(odd(r#""0": {}"#), "\"0\" is not a port");
    assert!(odd(r#""1": {"directory": 3}"#).contains("invalid type"));
    let times = r#""assigned_at": "x", "last_used_at": "x""#;
    let timeless = odd(&format!(r#""1": {{"directory": "/", {times}}}"#));
    assert!(timeless.starts_with("\"x\" is not a time"), "{timeless}");
    let relative = odd(&format!(r#""1": {{"directory": "w", {times}}}"#));
    assert_eq!(relative, "its directory is not an absolute path");
    let later = portpls::entries(br#"{"version": 2, "allocations": {}}"#);
    assert_eq!(later, Err("version 2 is not known: expected 1".to_owned()));
}

#[test]
fn claims_and_rows_are_told_apart() {
    let claim = portclaim::entry(CLAIM.as_bytes());
    assert_eq!((claim.what.as_str(), claim.port), ("my-app/next-dev", Port::new(3000)));
    let record = claim.record.unwrap();
    assert_eq!(record.belongs, Belongs::Project("my-app".parse().unwrap()));
    assert_eq!((record.lease, record.process.unwrap().0), (Lease::Ephemeral, 48291));
    assert!(lost(&portclaim::entry(b"{}")).contains("missing field"));
    let nameless = CLAIM.replace("my-app", " ");
    assert_eq!(lost(&portclaim::entry(nameless.as_bytes())), "it names no project");

    let text = |text: &str| Cell::Text(text.to_owned());
    let row = [
        Cell::Integer(5000),
        text("/work/shop"),
        Cell::Null,
        text("shop"),
        Cell::Null,
        Cell::Integer(i64::MAX),
        Cell::Integer(1_795_274_034),
    ];
    let entry = trop::entry(&row);
    let record = entry.record.as_ref().unwrap();
    assert_eq!((entry.what.as_str(), record.service.as_str()), ("/work/shop", "main"));
    assert_eq!(record.created_at, Timestamp::MAX);
    assert_eq!(record.last_used_at.to_string(), "2026-11-21T15:13:54.000Z");
    assert_eq!(trop::entry(&[Cell::Integer(0)]).port, None);
    // Whatever stands in a column, it is told.
    for at in 0..row.len() {
        for odd in [Cell::Other, text("x\u{1b}"), Cell::Integer(-1), Cell::Null] {
            let mut row = row.clone();
            row[at] = odd.clone();
            trop::entry(&row);
            port_daddy::entry(&row);
            port_daddy::entry(&row[..5]);
        }
    }
}

#[test]
fn a_group_becomes_a_block() {
    let text = trop::settings(YAML.as_bytes(), false, Path::new("/x")).unwrap().text;
    let lines = text.lines().map(|line| line.split("  ").next().unwrap());
    let lines: Vec<_> = lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let expected = [
        "project = \"shop\"",
        "[ports]",
        "range = \"5000-5010\"",
        "exclude = [5001, \"5002-5003\", \"5004-5005\"]",
        "[services.api]",
        "port = 5009",
        "offset = 1",
        "[services.web]",
        "port = 5006",
        "offset = 0",
        "env = \"WEB\"",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn settings_that_make_no_sense_are_errors() {
    let path = Path::new("/x");
    for text in [
        "[",
        "ports: 3",
        "ports: {min: 0, max: 1}",
        "colour: red",
        "reservations: {services: {1: {}}}",
        "a: &a [*a]",
    ] {
        assert!(trop::settings(text.as_bytes(), false, path).is_err(), "{text}");
    }
    for text in ["pool = 3", "[pool]\nrange = \"9-8\"", "[pool]\nexclude = [0]", "[services.8080]"]
    {
        assert!(portclaim::settings(text.as_bytes(), path).is_err(), "{text}");
    }
    for text in ["", "[]", r#"{"port_start": 0}"#, r#"{"port_start": 3, "port_end": 2}"#] {
        assert!(portpls::settings(text.as_bytes(), path).is_err(), "{text}");
    }
}

#[test]
fn nothing_panics_on_half_a_file_or_on_noise() {
    let path = Path::new("/x");
    let all = |bytes: &[u8]| {
        let _ = portpls::entries(bytes);
        let _ = portclaim::entry(bytes);
        let _ = trop::settings(bytes, true, path);
        let _ = trop::settings(bytes, false, path);
        let _ = portclaim::settings(bytes, path);
        let _ = portpls::settings(bytes, path);
        let _ = Holdings::read(bytes);
    };
    let mut random = fastrand::Rng::with_seed(7);
    for text in [ALLOCATIONS, CLAIM, YAML, TOML] {
        for end in 0..text.len() {
            all(&text.as_bytes()[..end]);
        }
        for _ in 0..200 {
            let mut bytes = text.as_bytes().to_vec();
            for _ in 0..random.usize(1..8) {
                let at = random.usize(..bytes.len());
                bytes[at] = random.u8(..);
            }
            all(&bytes);
        }
    }
}

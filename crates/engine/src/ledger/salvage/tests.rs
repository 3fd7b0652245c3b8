use super::*;
use crate::event::Change;
use crate::ledger::{EventFilter, LedgerProblem};
use crate::reservation::{Key, Lease, Provenance, Realm, Scope};

fn reservation(number: u16) -> Reservation {
    let directory = PathBuf::from(format!("/work/a-checkout-with-a-long-name/{number}"));
    Reservation {
        port: Port::new(number).unwrap(),
        key: Key { realm: Realm::User, text: format!("directory:web:{}", directory.display()) },
        scope: Scope::Directory,
        directory,
        service: "web".parse().unwrap(),
        project: None,
        task: None,
        agent: None,
        lease: Lease::Persistent,
        locked: number.is_multiple_of(2),
        owner: None,
        created_at: Timestamp::from_millis(i64::from(number)),
        last_used_at: Timestamp::from_millis(i64::from(number)),
        ttl: None,
        strategy: Provenance { key: "k 1.0.0".to_owned(), selection: "s 1.0.0".to_owned() },
        listener: None,
    }
}

/// A ledger with many pages: its path, its reservations and its bytes.
fn ledger() -> (tempfile::TempDir, PathBuf, Vec<Reservation>, Vec<u8>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().canonicalize().unwrap().join("ledger.db");
    let reservations: Vec<_> = (20_000..20_300).map(reservation).collect();
    let reserved: Vec<_> = reservations.iter().cloned().map(Change::Reserved).collect();
    Ledger::create(&path, Timestamp::from_millis(1), &reserved, true).unwrap();
    let mut ledger = Ledger::open_for_writing(&path).unwrap().unwrap();
    let released = Change::Released {
        reservation: reservation(20_299),
        policy: None,
        reason: "asked to".to_owned(),
    };
    ledger.commit(Timestamp::from_millis(2), &[released], false).unwrap();
    drop(ledger);
    let bytes = fs::read(&path).unwrap();
    assert!(bytes.len() > 30 * PAGE);
    (directory, path, reservations[..299].to_vec(), bytes)
}

fn restore(path: &Path) -> Restored {
    let at = Timestamp::from_millis(1_800_000_000_000);
    Salvage::read(path).unwrap().restore(path, at).unwrap()
}

#[test]
fn what_is_sound_comes_back_whole() {
    let (_directory, path, reservations, bytes) = ledger();
    let events = Ledger::open(&path).unwrap().unwrap().events(&EventFilter::default()).unwrap();
    let restored = restore(&path);
    let kept = restored.kept.clone().unwrap();
    assert!(fs::read(&kept).unwrap() == bytes);
    assert!(kept.to_str().unwrap().ends_with("ledger.db.damaged-20270115T080000Z"), "{kept:?}");
    assert_eq!((restored.reservations, restored.events), (299, 301));
    assert!(restored.lost.is_empty() && restored.returnable.is_empty(), "{restored:?}");
    let ledger = Ledger::open(&path).unwrap().unwrap();
    assert_eq!(ledger.check().unwrap(), [""; 0]);
    assert!(ledger.reservations().unwrap() == reservations);
    assert!(ledger.events(&EventFilter::default()).unwrap() == events);
    assert_eq!(ledger.released(&reservation(20_299).key).unwrap(), [reservation(20_299).port]);
    assert_eq!(ledger.cleaned_at().unwrap(), Timestamp::from_millis(1));
    drop(ledger);
    let mut ledger = Ledger::open_for_writing(&path).unwrap().unwrap();
    let next = Change::Reserved(reservation(20_500));
    assert_eq!(ledger.commit(Timestamp::MAX, &[next], false).unwrap()[0].id, 302);
    drop(ledger);
    assert_ne!(restore(&path).kept.unwrap(), kept, "what is kept is not overwritten");
}

/// Whichever page is lost, what is not on it comes back, and nothing else does.
#[test]
fn a_lost_page_loses_what_is_on_it() {
    let (_directory, path, reservations, bytes) = ledger();
    for page in 0..bytes.len() / PAGE {
        for fill in [0, 0xff] {
            let mut damaged = bytes.clone();
            damaged[page * PAGE..][..PAGE].fill(fill);
            fs::write(&path, &damaged).unwrap();
            let what = format!("page {page}, {fill:#x}");
            let restored = restore(&path);
            let ledger = Ledger::open(&path).unwrap().unwrap();
            assert_eq!(ledger.check().unwrap(), [""; 0], "{what}");
            let found = ledger.reservations().unwrap();
            assert!(found.iter().all(|it| reservations.contains(it)), "{what}");
            assert_eq!(found.len(), restored.reservations, "{what}");
            // A page holds a dozen; the root of a table leads to all of them.
            let rest = 299 - found.len();
            assert!(rest <= 40 || found.is_empty(), "{what}: {rest} are lost");
            assert_eq!(restored.returnable.len() + restored.lost.len(), rest, "{what}");
            for port in &restored.returnable {
                assert_eq!(
                    ledger.released(&reservation(port.get()).key).unwrap(),
                    [*port],
                    "{what}"
                );
            }
            assert!(fs::read(restored.kept.unwrap()).unwrap() == damaged, "{what}");
        }
    }
}

#[test]
fn what_is_left_of_a_truncated_ledger_comes_back() {
    let (_directory, path, reservations, bytes) = ledger();
    for length in [0, 1, 100, PAGE, 10 * PAGE, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&path, &bytes[..length]).unwrap();
        let restored = restore(&path);
        let ledger = Ledger::open(&path).unwrap().unwrap();
        let found = ledger.reservations().unwrap();
        assert!(found.iter().all(|it| reservations.contains(it)), "{length}");
        assert_eq!(found.len(), restored.reservations);
        if length >= bytes.len() / 2 {
            assert!(!found.is_empty(), "{length}");
        }
    }
}

#[test]
fn of_what_is_no_ledger_nothing_comes_back() {
    let (_directory, path, ..) = ledger();
    for bytes in [b"This is no database.".repeat(900), vec![0; 9 * PAGE], vec![0xff; PAGE]] {
        fs::write(&path, &bytes).unwrap();
        let restored = restore(&path);
        assert_eq!((restored.reservations, restored.events), (0, 0));
        assert_eq!(Ledger::open(&path).unwrap().unwrap().check().unwrap(), [""; 0]);
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let error = Salvage::read(&path).map(drop).unwrap_err();
    assert!(matches!(error.problem, LedgerProblem::Failed(_)), "{error}");
}

/// A journal may hold what the damaged ledger lacks.
#[test]
fn its_journal_stays_with_a_damaged_ledger() {
    let (_directory, path, _, bytes) = ledger();
    fs::write(&path, &bytes[..5 * PAGE]).unwrap();
    fs::write(draft::journal(&path), "a journal").unwrap();
    let kept = restore(&path).kept.unwrap();
    assert_eq!(fs::read_to_string(draft::journal(&kept)).unwrap(), "a journal");
    assert!(!draft::journal(&path).exists());
}

//! Damaged ledgers, full disks and failing ones: exit code 9, a remedy, and not a byte changed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::chance::{Dice, scale};
use crate::rig::{
    Books, calm, contents, ends, hythe, in_shell, injected, leave_a_hot_journal, powerless,
    quiet_world, restore, strace, under, unshare,
};
use crate::support::{Run, World};

/// SQLite's pages, in bytes.
const PAGE: usize = 4096;

/// Every verb that needs the ledger.
const VERBS: [&[&str]; 9] = [
    &["get"],
    &["list"],
    &["log"],
    &["show", "main"],
    &["reserve"],
    &["reserve", "new"],
    &["release"],
    &["lock"],
    &["cleanup"],
];

/// A world whose ledger has some pages.
struct Ward {
    world: World,
    place: PathBuf,
    port: u16,
    sound: BTreeMap<PathBuf, Vec<u8>>,
}

impl Ward {
    fn new() -> Self {
        let world = quiet_world();
        let place = world.dir("place");
        let port = world.reserve(&place, &[]);
        let services: Vec<_> = (0..60).map(|number| format!("service-{number}")).collect();
        let mut command = world.command(&place);
        Run::from(calm(command.arg("reserve").args(&services))).ok();
        let sound = contents(&world.state());
        Self { world, place, port, sound }
    }

    fn ledger(&self) -> &[u8] {
        &self.sound[&self.world.ledger()]
    }

    /// Puts these bytes in the ledger's place.
    fn put(&self, bytes: &[u8]) {
        restore(&self.sound, &self.world.state());
        fs::write(self.world.ledger(), bytes).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Run {
        hythe(&self.world, &self.place, arguments)
    }

    /// Every verb fails with a remedy, and leaves the file as it is.
    #[track_caller]
    fn is_refused(&self, bytes: &[u8], what: &str) {
        self.put(bytes);
        for verb in VERBS {
            let mut command = self.world.command(&self.place);
            let output = calm(command.args(verb));
            assert_eq!(output.status.code(), Some(9), "{what}: {verb:?}: {output:?}");
            let said = Run::from(output).fails(9);
            let path = self.world.ledger();
            assert!(said.contains(path.to_str().unwrap()), "{what}: {verb:?}: {said}");
            assert!(said.contains("hint:"), "{what}: {verb:?}: {said}");
            assert!(fs::read(path).unwrap() == bytes, "{what}: {verb:?} changed the ledger");
        }
    }
}

#[test]
fn what_is_no_ledger_is_refused() {
    let ward = Ward::new();
    let mut dice = Dice(4);
    ward.is_refused(b"", "empty");
    ward.is_refused(b"SQLite format 3\0", "a header");
    for length in [1, 17, 100, 512, PAGE, 10 * PAGE] {
        ward.is_refused(&dice.bytes(length), "random bytes");
        ward.is_refused(&vec![0; length], "zeros");
    }
    let mut garbled = ward.ledger().to_vec();
    garbled[..PAGE].copy_from_slice(&dice.bytes(PAGE));
    ward.is_refused(&garbled, "a first page of random bytes");
}

#[test]
fn a_truncated_ledger_is_refused() {
    let ward = Ward::new();
    let whole = ward.ledger();
    let mut lengths: Vec<_> = (0..whole.len()).step_by(PAGE).collect();
    let mut dice = Dice(5);
    lengths.extend((0..6 * scale()).map(|_| dice.below(whole.len())));
    lengths.extend([1, 99, 100, 101, whole.len() - 1]);
    for length in lengths {
        ward.is_refused(&whole[..length], &format!("cut to {length} bytes"));
    }
}

/// The bytes of the ledger after `sql`.
fn altered(ward: &Ward, sql: &str) -> Vec<u8> {
    restore(&ward.sound, &ward.world.state());
    Connection::open(ward.world.ledger()).unwrap().execute_batch(sql).unwrap();
    fs::read(ward.world.ledger()).unwrap()
}

#[test]
fn the_databases_of_others_are_refused() {
    let ward = Ward::new();
    ward.is_refused(&altered(&ward, "PRAGMA application_id = 1"), "another application");
    ward.is_refused(&altered(&ward, "PRAGMA application_id = 0"), "no application");
    ward.is_refused(&altered(&ward, "PRAGMA user_version = 3"), "a later schema");
    ward.is_refused(&altered(&ward, "PRAGMA user_version = 2147483647"), "the last schema");
    ward.is_refused(&altered(&ward, "PRAGMA user_version = -1"), "a schema before the first");

    ward.put(&altered(&ward, "PRAGMA user_version = 3"));
    assert!(ward.run(&["get"]).fails(9).contains("upgrade hythe"));
    let mut command = ward.world.command(&ward.place);
    let said = Run::from(calm(command.args(["get", "--json"]))).fails(9);
    let document: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(document["error"]["code"], "ledger");
    assert!(document["error"]["hint"].is_string());
}

#[test]
fn a_ledger_without_its_tables_is_never_a_new_one() {
    let ward = Ward::new();
    for table in ["reservation", "released", "event", "state"] {
        let bytes = altered(&ward, &format!("DROP TABLE {table}"));
        for verb in VERBS {
            ward.put(&bytes);
            let mut command = ward.world.command(&ward.place);
            let (code, output) = ends(command.args(verb), &[0, 9]);
            // Who does not look at the table does not miss it.
            if code == 9 {
                assert!(fs::read(ward.world.ledger()).unwrap() == bytes, "{table}: {verb:?}");
            } else if let ["get" | "reserve"] = verb {
                assert_eq!(Run::from(output).port(), ward.port, "{table}: {verb:?}");
            }
            assert!(code == 9 || table != "reservation" || *verb == ["log"], "{table}: {verb:?}");
        }
    }
}

/// The right answer or none, whichever page is lost.
#[test]
fn a_lost_page_never_loses_a_reservation_quietly() {
    let ward = Ward::new();
    let pages = ward.ledger().len() / PAGE;
    let mut dice = Dice(6);
    for page in 0..pages {
        for fill in [vec![0; PAGE], vec![0xff; PAGE], dice.bytes(PAGE)] {
            let mut bytes = ward.ledger().to_vec();
            bytes[page * PAGE..][..PAGE].copy_from_slice(&fill);
            for verb in [&["get"][..], &["list"], &["reserve"], &["reserve", "new"], &["cleanup"]] {
                ward.put(&bytes);
                let mut command = ward.world.command(&ward.place);
                let (code, output) = ends(command.args(verb), &[0, 9]);
                let what = format!("page {page} of {pages}, {verb:?}");
                match (code, verb) {
                    (9, _) => {
                        assert!(fs::read(ward.world.ledger()).unwrap() == bytes, "{what}");
                    }
                    (_, ["get" | "reserve"]) => {
                        assert_eq!(Run::from(output).port(), ward.port, "{what}");
                    }
                    (_, ["reserve", "new"]) => {
                        let port = Run::from(output).port();
                        assert_eq!(ward.run(&["get", "new"]).port(), port, "{what}");
                        // Nobody else had it.
                        let had = ports(&ward);
                        assert!(!had.contains(&port), "{what}: {port} was taken");
                    }
                    (_, ["list"]) => {
                        let listed = String::from_utf8_lossy(&output.stdout).lines().count();
                        assert_eq!(listed, 62, "{what}");
                    }
                    _ => {}
                }
            }
        }
    }
}

/// The ports of the sound ledger.
fn ports(ward: &Ward) -> Vec<u16> {
    let file = ward.world.root().join("sound.db");
    fs::write(&file, ward.ledger()).unwrap();
    let connection = Connection::open(file).unwrap();
    let mut statement = connection.prepare("SELECT port FROM reservation").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// A flipped bit may be a plausible lie; it is never a panic, a hang or an unknown exit code.
#[test]
fn flipped_bits_never_panic() {
    let ward = Ward::new();
    let mut dice = Dice(7);
    for _ in 0..40 * scale() {
        let mut bytes = ward.ledger().to_vec();
        for _ in 0..=dice.below(8) {
            let at = dice.below(bytes.len());
            bytes[at] ^= 1 << dice.below(8);
        }
        // Headers of pages more often than their share.
        let page = dice.below(bytes.len() / PAGE);
        bytes[page * PAGE + dice.below(64)] ^= 1 << dice.below(8);
        for verb in [&["list"][..], &["get"], &["log"], &["reserve", "new"], &["cleanup"]] {
            ward.put(&bytes);
            let mut command = ward.world.command(&ward.place);
            let (code, _) = ends(command.args(verb), &[0, 4, 7, 9]);
            if code == 9 {
                assert!(fs::read(ward.world.ledger()).unwrap() == bytes, "{verb:?}");
            }
        }
    }
}

#[test]
fn things_that_are_no_file_are_refused() {
    let ward = Ward::new();
    let ledger = ward.world.ledger();
    let refused = |what: &str| {
        for verb in VERBS {
            let said = ward.run(verb).fails(9);
            assert!(said.contains(ledger.to_str().unwrap()), "{what}: {verb:?}: {said}");
            assert!(said.contains("hint:"), "{what}: {verb:?}: {said}");
        }
    };
    fs::remove_file(&ledger).unwrap();
    fs::create_dir(&ledger).unwrap();
    refused("a directory");
    assert!(ledger.is_dir());
    fs::remove_dir(&ledger).unwrap();
    std::os::unix::fs::symlink(ward.world.root().join("nowhere"), &ledger).unwrap();
    refused("a link to nowhere");
    assert!(ledger.is_symlink() && !ward.world.root().join("nowhere").exists());

    // The lock is needed by writers only.
    restore(&ward.sound, &ward.world.state());
    let lock = ward.world.state().join("ledger.lock");
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    assert_eq!(ward.run(&["reserve"]).port(), ward.port);
    let said = ward.run(&["reserve", "new"]).fails(9);
    assert!(said.contains(lock.to_str().unwrap()) && said.contains("hint:"), "{said}");

    // The whole state directory is a file.
    fs::remove_dir_all(ward.world.state()).unwrap();
    fs::write(ward.world.state(), "").unwrap();
    let said = ward.run(&["reserve"]).fails(9);
    assert!(said.contains(ward.world.state().to_str().unwrap()), "{said}");
}

#[test]
fn files_that_may_not_be_opened() {
    let test = "files_that_may_not_be_opened";
    let ward = Ward::new();
    let powerless = |arguments: &[&str]| {
        let mut command = ward.world.command(&ward.place);
        command.args(arguments);
        powerless(test, &command).map(|mut command| Run::from(calm(&mut command)))
    };
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let ledger = ward.world.ledger();
    mode(&ledger, 0o000);
    for verb in VERBS {
        let Some(run) = powerless(verb) else { return };
        let said = run.fails(9);
        assert!(said.contains(ledger.to_str().unwrap()), "{verb:?}: {said}");
        assert!(said.contains("hint:"), "{verb:?}: {said}");
    }
    mode(&ledger, 0o644);
    let lock = ward.world.state().join("ledger.lock");
    for locked in [0o000, 0o444] {
        mode(&lock, locked);
        assert_eq!(powerless(&["reserve"]).unwrap().port(), ward.port);
        let said = powerless(&["reserve", "new"]).unwrap().fails(9);
        assert!(said.contains(lock.to_str().unwrap()) && said.contains("hint:"), "{said}");
    }
    mode(&lock, 0o600);
    // A directory that may be looked at, but not entered.
    mode(&ward.world.state(), 0o444);
    for verb in [&["reserve"][..], &["get"], &["list"]] {
        let said = powerless(verb).unwrap().fails(9);
        assert!(said.contains("hint:"), "{verb:?}: {said}");
    }
    mode(&ward.world.state(), 0o755);
    assert!(contents(&ward.world.state()) == ward.sound);
}

/// The remedy that is printed works as it stands.
#[test]
fn the_remedy_for_a_damaged_ledger_works() {
    let ward = Ward::new();
    let damaged = b"This is no database.".repeat(500);
    ward.put(&damaged);
    let said = ward.run(&["reserve"]).fails(9);
    let (_, remedy) = said.split_once("mv ").unwrap();
    let remedy = format!("mv {}", remedy.lines().next().unwrap());
    let moved = calm(std::process::Command::new("sh").args(["-c", &remedy]));
    assert!(moved.status.success(), "{remedy}");

    let port = ward.run(&["reserve"]).port();
    let other = ward.run(&["reserve", "other"]).port();
    assert_eq!(ward.run(&["get"]).port(), port);
    let reserved = Books::open(&ward.world).ports();
    assert_eq!(reserved.into_values().collect::<Vec<_>>(), [port, other]);
    let kept = fs::read(ward.world.state().join("ledger.db.damaged")).unwrap();
    assert!(kept == damaged, "the damaged ledger is kept");
}

/// A journal that belongs to a ledger that is gone is no part of the next one.
#[test]
fn a_journal_without_its_ledger_is_nobodys() {
    if !strace("a_journal_without_its_ledger_is_nobodys") {
        return;
    }
    let ward = Ward::new();
    let mut writer = ward.world.command(&ward.place);
    leave_a_hot_journal(&ward.world, writer.args(["reserve", "lost"]));
    fs::remove_file(ward.world.ledger()).unwrap();
    let port = ward.run(&["reserve", "fresh"]).port();
    assert_eq!(ward.run(&["get", "fresh"]).port(), port);
    assert_eq!(Books::open(&ward.world).ports().len(), 1);
}

/// Every call that can fail does, once: the answer is right, or there is none and nothing changed.
fn failing(calls: &[&str], error: &str, arguments: &[&str]) {
    let ward = Ward::new();
    let before = ports(&ward);
    for call in calls {
        for number in 1.. {
            assert!(number < 300, "it never comes to an end");
            restore(&ward.sound, &ward.world.state());
            let mut command = ward.world.command(&ward.place);
            command.args(arguments);
            let inject = format!("{call}:error={error}:when={number}");
            let (code, output) = ends(&mut injected(&ward.world, &inject, &command), &[0, 9]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let what = format!("{arguments:?}, {inject}: {said}");
            assert_eq!(ward.run(&["get"]).port(), ward.port, "{what}");
            let after: Vec<_> = Books::open(&ward.world).ports().into_values().collect();
            if code == 9 {
                assert!(said.contains("hint:"), "{what}");
                assert!(before.iter().all(|port| after.contains(port)), "{what}");
                // To unlock, or to sync the directory that the journal was in, can fail when all is
                // written: nothing was promised then, and the port is kept.
                let written = usize::from(matches!(*call, "fcntl" | "fsync"));
                assert!(after.len() <= before.len() + written, "{what}");
                continue;
            }
            let port = Run::from(output).port();
            assert!(after.contains(&port), "{what}");
            // Nothing was left to break.
            if said.is_empty() && !touched(&ward, &inject, arguments) {
                break;
            }
        }
    }
}

/// Whether the injection of an error came to pass.
fn touched(ward: &Ward, inject: &str, arguments: &[&str]) -> bool {
    let trace = ward.world.root().join("trace");
    let mut command = ward.world.command(&ward.place);
    command.args(arguments);
    let mut command = injected(&ward.world, inject, &command);
    let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let program = command.get_program().to_owned();
    let at = arguments.iter().position(|argument| argument == "/dev/null").unwrap();
    command = std::process::Command::new(program);
    command.args(&arguments[..at]).arg(&trace).args(&arguments[at + 1..]);
    command.env("HOME", ward.world.home()).current_dir(&ward.place);
    restore(&ward.sound, &ward.world.state());
    let _: std::process::Output = calm(&mut command);
    fs::read_to_string(trace).unwrap().contains("(INJECTED)")
}

#[test]
fn writes_that_fail() {
    if strace("writes_that_fail") {
        failing(&["pwrite64", "fsync", "ftruncate", "?unlink"], "EIO", &["reserve", "new"]);
        failing(&["pwrite64"], "ENOSPC", &["reserve", "new"]);
    }
}

#[test]
fn reads_and_opens_that_fail() {
    if strace("reads_and_opens_that_fail") {
        failing(&["pread64", "openat", "flock", "fcntl"], "EIO", &["reserve", "new"]);
        failing(&["pread64", "openat"], "EIO", &["reserve"]);
        failing(&["pread64", "openat"], "EIO", &["get"]);
    }
}

/// The first ledger is made, or is not there.
#[test]
fn a_first_ledger_that_fails() {
    if !strace("a_first_ledger_that_fails") {
        return;
    }
    let world = quiet_world();
    let place = world.dir("place");
    for call in ["?mkdir", "pwrite64", "fsync", "?rename", "openat"] {
        for number in 1.. {
            if world.state().exists() {
                fs::remove_dir_all(world.state()).unwrap();
            }
            let mut command = world.command(&place);
            command.arg("reserve");
            let inject = format!("{call}:error=EIO:when={number}");
            let (code, output) = ends(&mut injected(&world, &inject, &command), &[0, 9]);
            if code == 0 {
                let port = Run::from(output).port();
                assert_eq!(hythe(&world, &place, &["get"]).port(), port, "{inject}");
                break;
            }
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains("hint:"), "{inject}: {said}");
            // To sync the directory can fail when all is written: nothing was promised then, and the
            // port is kept.
            let possible: &[i32] = if call == "fsync" { &[0, 7] } else { &[7] };
            ends(world.command(&place).arg("get"), possible);
            hythe(&world, &place, &["reserve"]).port();
            Books::open(&world);
        }
    }
}

/// A limit on the size of files (setrlimit(2), `RLIMIT_FSIZE`) is a full disk, and no death.
#[test]
fn a_limit_on_file_sizes() {
    let ward = Ward::new();
    let cold = quiet_world();
    let place = cold.dir("place");
    for blocks in [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512] {
        let limit = format!("ulimit -f {blocks} && exec \"$@\"");
        restore(&ward.sound, &ward.world.state());
        let mut command = ward.world.command(&ward.place);
        command.args(["reserve", "new"]);
        let (code, output) = ends(&mut in_shell(&limit, &command), &[0, 9]);
        if code == 9 {
            assert!(String::from_utf8_lossy(&output.stderr).contains("hint:"), "{output:?}");
            // Half a transaction is rolled back by whoever is next and may write as much as it takes.
            assert_eq!(ward.run(&["get"]).port(), ward.port);
            assert!(contents(&ward.world.state()) == ward.sound, "{blocks} blocks: it changed");
        } else {
            let port = Run::from(output).port();
            assert_eq!(ward.run(&["get", "new"]).port(), port);
        }
        assert_eq!(ward.run(&["get"]).port(), ward.port);
        Books::open(&ward.world);

        let mut command = cold.command(&place);
        command.arg("reserve");
        if cold.state().exists() {
            fs::remove_dir_all(cold.state()).unwrap();
        }
        let (code, output) = ends(&mut in_shell(&limit, &command), &[0, 9]);
        if code == 9 {
            assert!(!cold.ledger().exists() || Books::open(&cold).ports().is_empty());
        } else {
            let port = Run::from(output).port();
            assert_eq!(hythe(&cold, &place, &["get"]).port(), port);
        }
        hythe(&cold, &place, &["reserve"]).port();
    }
}

/// A disk of 256 KiB that runs full. What hythe says is looked at where the disk is mounted.
#[test]
fn a_full_disk() {
    let test = "a_full_disk";
    let Some(unshare) = unshare(test, &["--mount"]) else { return };
    let world = quiet_world();
    let place = world.dir("place");
    fs::create_dir_all(world.state()).unwrap();
    let script = r#"
        set -eu
        fail() { echo "FAILED: $*" >&2; exit 99; }
        mount -t tmpfs -o size=256k,mode=700 none "$STATE"
        fill() { cat /dev/zero > "$STATE/filler" 2> "$STATE/../said" || true; }
        refused() {
            code=0; "$@" 2> "$STATE/../said" || code=$?
            [ $code = 9 ] || fail "$* exits with $code: $(cat "$STATE/../said")"
            grep -q hint: "$STATE/../said" || fail "no hint: $(cat "$STATE/../said")"
            grep -q "$STATE" "$STATE/../said" || fail "no path: $(cat "$STATE/../said")"
        }

        fill
        refused "$@" reserve
        [ ! -e "$STATE/ledger.db" ] || fail "half a ledger"
        rm "$STATE/filler"
        port=$("$@" reserve)
        "$@" reserve other > "$STATE/../said"

        fill
        cp "$STATE/ledger.db" "$STATE/../before"
        refused "$@" reserve new
        refused "$@" release other
        cmp "$STATE/ledger.db" "$STATE/../before" || fail "it changed"
        [ "$("$@" get)" = "$port" ] || fail "it was lost"
        [ "$("$@" reserve)" = "$port" ] || fail "it was lost"

        rm "$STATE/filler"
        "$@" reserve new
        [ "$("$@" get)" = "$port" ] || fail "it was lost in the end"
        ls "$STATE"
    "#;
    let mut command = world.command(&place);
    command.env("STATE", world.state());
    let said = Run::from(calm(&mut under(&unshare, &in_shell(script, &command)))).ok();
    assert!(said.ends_with("ledger.db\nledger.lock\n"), "{said}");
}

//! Components that were good once, each broken by chance in another way: nothing but their own
//! operation fails, whatever they are.

mod binary;
mod bodies;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};

use super::{CLEANUP, KEY, POLICIES, Policy, SELECTION, contents, evil};
use crate::chance::{Dice, scale};
use crate::listener::eventually;
use crate::support::{Run, World};

/// How many components there are at the usual scale.
const COMPONENTS: usize = 300;
const THREADS: usize = 2;
/// The range of ports that policies choose from.
const RANGE: std::ops::RangeInclusive<u16> = 21_000..=21_099;

/// What comes of a component.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum End {
    /// It is still a policy.
    Works,
    /// It is not loaded, or cannot say what it is.
    Refused,
    /// It is called, and gives no usable answer.
    Fails,
    /// Its options or what it proposes come to nothing.
    Nothing,
}

/// A user with reservations of every kind, who then lets `evil` decide.
struct Household {
    world: World,
    directory: PathBuf,
    before: BTreeMap<PathBuf, Vec<u8>>,
    rows: Vec<Row>,
}

/// What must outlive every policy of a reservation: port, realm, key and lock.
type Row = (u16, Vec<u8>, String, bool);

impl Household {
    fn new() -> Self {
        let world = World::new();
        let range = format!("{}-{}", RANGE.start(), RANGE.end());
        world.config(&format!("[ports]\nrange = \"{range}\"\n"));
        let directory = world.dir("project");
        let beside = world.dir("beside");
        for (place, arguments) in [
            (&directory, &["api"][..]),
            (&directory, &["kept", "--lock"]),
            (&directory, &["tests", "--lease", "ephemeral"]),
            (&directory, &["cache", "--scope", "project", "--project", "shop", "--ttl", "1h"]),
            (&beside, &["db", "--scope", "service"]),
            (&beside, &["web", "--task", "t-1", "--agent", "größe"]),
        ] {
            world.reserve(place, arguments);
        }
        let before = contents(&world.state());
        let rows = rows(&world);
        assert_eq!(rows.len(), 6);
        Self { world, directory, before, rows }
    }

    /// Lets `component` decide about `policy`, and asserts what holds whatever it is.
    fn survives(&self, policy: &Policy, component: &[u8]) -> End {
        let file = self.world.home().join(".config/hythe/evil.wasm");
        fs::write(file, component).unwrap();
        let value = if policy.strategy == "cleanup" { "[\"evil\"]" } else { "\"evil\"" };
        self.world.config(&format!(
            "[ports]\nrange = \"{}-{}\"\n[strategy]\n{} = {value}\n[plugins.evil]\n\
             path = \"evil.wasm\"\n",
            RANGE.start(),
            RANGE.end(),
            policy.strategy
        ));
        let mut command = self.world.command(&self.directory);
        command.args(policy.command).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (code, run) = ended(command.spawn().unwrap());
        let stderr = run.stderr();
        assert!(!stderr.contains("panicked at"), "{stderr}");
        assert!(!stderr.chars().any(|c| c.is_control() && c != '\n'), "{stderr:?}");
        assert!(stderr.len() < 8192, "{} bytes: {stderr}", stderr.len());
        if code == 0 {
            self.holds_after(policy, &run.ok());
            self.restore();
            return End::Works;
        }
        run.fails(code);
        assert_eq!(contents(&self.world.state()), self.before, "{stderr}");
        match code {
            3 | 5 => End::Nothing,
            4 if stderr.contains("cannot be used: ") => End::Refused,
            4 if stderr.contains("failed in `") => End::Fails,
            _ => panic!("exit code {code}: {stderr}"),
        }
    }

    /// What holds when the command succeeded: what there was, and at most one port more, of the
    /// range; or what there was without what no lock keeps.
    fn holds_after(&self, policy: &Policy, stdout: &str) {
        let after = rows(&self.world);
        let lost: Vec<_> = self.rows.iter().filter(|row| !after.contains(row)).collect();
        let new: Vec<_> = after.iter().filter(|row| !self.rows.contains(row)).collect();
        if policy.strategy == "cleanup" {
            assert!(new.is_empty(), "{new:?}");
            assert!(lost.iter().all(|(.., locked)| !locked), "{lost:?}");
        } else {
            assert!(lost.is_empty() && new.len() <= 1, "{lost:?}, {new:?}");
            assert!(new.iter().all(|(port, ..)| RANGE.contains(port)), "{new:?}");
            let port: u16 = stdout.strip_suffix('\n').unwrap().parse().unwrap();
            assert!(after.iter().any(|(reserved, ..)| *reserved == port), "{port}: {after:?}");
        }
    }

    fn restore(&self) {
        for file in contents(&self.world.state()).keys() {
            if !self.before.contains_key(file) {
                fs::remove_file(file).unwrap();
            }
        }
        for (file, bytes) in &self.before {
            fs::write(file, bytes).unwrap();
        }
    }
}

/// The reservations of a ledger, ascending.
fn rows(world: &World) -> Vec<Row> {
    let ledger =
        Connection::open_with_flags(world.ledger(), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let check: Value = ledger.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, Value::Text("ok".to_owned()));
    let mut rows =
        ledger.prepare("SELECT port, realm, key, locked FROM reservation ORDER BY port").unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
    rows.query_map([], row).unwrap().map(Result::unwrap).collect()
}

/// Waits for the end of a process, but not for ever: how it ended by itself.
fn ended(mut child: Child) -> (i32, Run) {
    let ended = eventually(|| child.try_wait().unwrap().is_some());
    if !ended {
        child.kill().unwrap();
    }
    let output = child.wait_with_output().unwrap();
    assert!(ended, "it did not end: {output:?}");
    let code = output.status.code();
    (code.unwrap_or_else(|| panic!("{}: {output:?}", output.status)), Run::from(output))
}

/// The components that are broken: the bundled ones, and one that is written by hand.
fn healthy() -> Vec<Vec<u8>> {
    let bundled = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/bundled"));
    let mut components: Vec<_> = ["path-sticky", "pid-reap", "ttl"]
        .map(|name| fs::read(bundled.join(name).with_extension("wasm")).unwrap())
        .into();
    let schema = r#"{"properties":{"step":{"type":"integer"}}}"#;
    let ranges = [(21_050, 21_099), (21_000, 21_049)];
    let all = evil().schema(schema).key("the key").ranges(&ranges).release_all("why");
    // Chance hits what decides more often when there is less else.
    components.extend((0..3).map(|_| all.clone().build()));
    components
}

/// The component of this number, and the policy it is asked for.
fn component(number: usize, healthy: &[Vec<u8>]) -> (&'static Policy, Vec<u8>) {
    let mut dice = Dice(u64::try_from(number).unwrap());
    if dice.below(3) == 0 {
        let policy = *dice.one(&POLICIES);
        return (policy, bodies::plugin(&mut dice, policy).build());
    }
    let which = dice.below(healthy.len());
    // Two of the bundled ones export one policy alone.
    let policies =
        if which == 1 || which == 2 { &[&CLEANUP][..] } else { &[&KEY, &SELECTION, &CLEANUP] };
    (*dice.one(policies), binary::broken(&mut dice, which, healthy))
}

#[test]
fn broken_components_break_nothing_else() {
    let healthy = healthy();
    let (next, count) = (AtomicUsize::new(0), COMPONENTS * scale());
    let work = || {
        let household = Household::new();
        let mut ends = BTreeMap::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return ends;
            }
            let (policy, component) = component(number, &healthy);
            let survived = std::panic::AssertUnwindSafe(|| household.survives(policy, &component));
            let Ok(end) = std::panic::catch_unwind(survived) else {
                panic!("component {number}, asked for {}", policy.called);
            };
            *ends.entry(end).or_insert(0_usize) += 1;
        }
    };
    let ends = thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        let mut ends = BTreeMap::new();
        for worker in workers {
            for (end, times) in worker.join().unwrap() {
                *ends.entry(end).or_insert(0) += times;
            }
        }
        ends
    });
    // The corpus is one that gets in everywhere.
    assert_eq!(ends.values().sum::<usize>(), count);
    for end in [End::Works, End::Refused, End::Fails] {
        assert!(ends.get(&end).is_some_and(|times| *times >= count / 20), "{ends:?}");
    }
}

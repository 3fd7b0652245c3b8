//! A walk: one operation after the other, on the engine and on the reference, while the machine and
//! the configuration change between them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::OnceLock;

use hythe_engine::config::{ConfigFiles, Origin, Overrides, Set};
use hythe_engine::{
    Change, CheckoutKind, CleanupRequest, Engine, Error, ErrorKind, Event, EventFilter, EventKind,
    Home, Ledger, ListFilter, Notice, Outcome, Plugins, Port, Provenance, ReleaseRequest,
    Reservation, ReserveRequest, System, Target, Timestamp,
};
use tempfile::TempDir;

use super::checks::{Done, Snapshot, nothing_written};
use super::configuration::Configuration;
use super::machine::{Lie, Machine};
use super::random::Random;
use super::reference::{Happened, Mistake, Reference};
use super::requests::{CONFLICTS, DAY, Operation, RANGES, SCOPES};
use super::scene::Scene;

/// What to walk through.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Route {
    pub(crate) seed: u64,
    pub(crate) steps: usize,
    pub(crate) lie: Option<Lie>,
    pub(crate) mistake: Option<Mistake>,
}

/// How often each thing happened.
pub(crate) type Tally = BTreeMap<String, usize>;

/// The last steps that are told when a walk fails.
const TOLD: usize = 30;

/// Walks until something is wrong.
pub(crate) fn walk(route: Route) -> Result<Tally, String> {
    let mut walk = Walk::new(route);
    for step in 0..route.steps {
        walk.step().and_then(|()| walk.audit(step % 16 == 0)).map_err(|what| {
            let told = walk.trace.len().saturating_sub(TOLD);
            let trace = walk.trace[told..].join("\n  ");
            format!("seed {}, step {step}: {what}\nthe last steps:\n  {trace}", route.seed)
        })?;
    }
    walk.audit(true).map_err(|what| format!("seed {}: {what}", route.seed))?;
    Ok(walk.tally)
}

/// Everything that a walk goes through.
pub(crate) struct Walk {
    pub(crate) random: Random,
    pub(crate) machine: Machine,
    pub(crate) lie: Option<Lie>,
    pub(crate) configuration: Configuration,
    pub(crate) reference: Reference,
    /// Which key gave each port back, and when; told by events alone.
    pub(crate) left: BTreeMap<Port, (String, Timestamp)>,
    pub(crate) last_event: i64,
    pub(crate) directories: Vec<PathBuf>,
    pub(crate) home: Home,
    pub(crate) trace: Vec<String>,
    pub(crate) tally: Tally,
    /// Hold the files; they are let go of at the end.
    _files: TempDir,
    _ground: Ground,
}

/// What an operation comes to.
type Answer = Result<Vec<(Option<Outcome>, Port)>, ErrorKind>;

/// Where an operation runs, and with which flags.
#[derive(Debug, Clone)]
struct At {
    directory: PathBuf,
    range: Option<(u16, u16)>,
    on_conflict: Option<&'static str>,
}

/// Real storage would only wait for the disk.
fn temporary() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Where the simulated directories are: always the same for a route, because the ports follow from
/// it. Removed when it is dropped.
struct Ground(PathBuf);

impl Ground {
    /// Of the processes that walk, one at a time is on the ground.
    fn enter(Route { seed, lie, mistake, .. }: Route) -> Self {
        static ALONE: OnceLock<File> = OnceLock::new();
        let temporary = std::env::temp_dir().canonicalize().unwrap();
        ALONE.get_or_init(|| {
            let lock = File::create(temporary.join("hythe-model.lock")).unwrap();
            lock.lock().unwrap();
            lock
        });
        let path = temporary.join(format!("hythe-model-{seed}-{lie:?}-{mistake:?}"));
        // Configuration is read from real files.
        fs::create_dir_all(path.join("shop")).unwrap();
        Self(path)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

impl Walk {
    fn new(route: Route) -> Self {
        let files = temporary();
        let root = files.path().canonicalize().unwrap();
        let ground = Ground::enter(route);
        let work = ground.0.clone();
        let mut machine = Machine::new(1_800_000_000_000);
        let mut directories = Vec::new();
        let mut add = |name: &str, checkout: Option<(CheckoutKind, &str)>| {
            machine.add_directory(&work.join(name), checkout);
            directories.push(work.join(name));
        };
        add("", None);
        add("home", None);
        add("shop", Some((CheckoutKind::Main, "shop")));
        add("shop/web", None);
        add("shop-fix", Some((CheckoutKind::Linked, "shop")));
        add("shop-agent", Some((CheckoutKind::Linked, "shop")));
        add("blog", Some((CheckoutKind::Main, "blog")));
        add("blog/vendor", Some((CheckoutKind::Submodule, "vendor")));
        add("blog/nested", Some((CheckoutKind::Main, "nested")));
        add("blog/nested/src", None);
        add("bare.git", Some((CheckoutKind::Bare, "bare")));
        for number in 0..6 {
            add(&format!("plain-{number}"), None);
        }
        add("plain-0/below", None);
        let home = Home {
            config: ConfigFiles {
                user: Some(root.join("config.toml")),
                user_required: false,
                home: Some(work.join("home")),
            },
            state: root.join("state"),
            cache: None,
            containers: Vec::new(),
            plugins: Plugins::default(),
        };
        let configuration = Configuration {
            range: RANGES[0],
            exclude: Vec::new(),
            allow: Vec::new(),
            on_conflict: "move",
            cleanup: vec!["path-sticky", "pid-reap", "ttl"],
            freeze: 3600,
            every: 3600,
            persistent: 30 * DAY,
            ephemeral: DAY,
            grace: 60,
            service: None,
            block: &[],
            rule: None,
            project: None,
        };
        let walk = Self {
            random: Random(route.seed),
            machine,
            lie: route.lie,
            configuration,
            reference: Reference { mistake: route.mistake, ..Reference::default() },
            left: BTreeMap::new(),
            last_event: 0,
            directories,
            home,
            trace: Vec::new(),
            tally: Tally::new(),
            _files: files,
            _ground: ground,
        };
        walk.write_configuration();
        walk
    }

    fn step(&mut self) -> Result<(), String> {
        for _ in 0..self.random.below(3) {
            self.disturb();
        }
        if self.random.chance(8) {
            self.configure();
        }
        let at = At {
            directory: self.random.pick(&self.directories),
            range: self.random.maybe(4, &RANGES),
            on_conflict: self.random.maybe(6, &CONFLICTS),
        };
        let operation = match self.random.below(100) {
            0..60 => Operation::Reserve(self.reserve_request()),
            60..74 => Operation::Release(self.release_request()),
            74..80 => Operation::Cleanup(self.cleanup_request()),
            80..87 => {
                let scope = self.random.maybe(20, &SCOPES);
                Operation::Lock(self.service(), scope, self.random.chance(60))
            }
            _ => return self.look(&at),
        };
        self.operate(&at, &operation)
    }

    /// Runs `work` with an engine, or says why there is none. Also answers with the notices.
    fn with_engine<T>(
        &self,
        at: &At,
        work: impl FnOnce(&Engine<'_>) -> Result<T, Error>,
    ) -> (Result<T, ErrorKind>, Vec<Notice>) {
        let told = Machine { lie: self.lie, ..self.machine.clone() };
        let notices = RefCell::new(Vec::new());
        let report = |notice: &Notice| notices.borrow_mut().push(notice.clone());
        let flag = Origin::Flag("--test");
        let range = at.range.map(|(first, last)| Set {
            value: format!("{first}-{last}").parse().unwrap(),
            origin: flag.clone(),
        });
        let on_conflict =
            at.on_conflict.map(|word| Set { value: word.parse().unwrap(), origin: flag.clone() });
        let overrides = Overrides { range, on_conflict, ..Overrides::default() };
        let result = Engine::open(&told, &self.home, overrides, &at.directory, &report)
            .and_then(|engine| work(&engine))
            .map_err(|error| error.kind());
        (result, notices.into_inner())
    }

    /// Runs `work` with the reference, which has no place to be where there is no directory.
    fn with_scene<T>(
        &self,
        at: &At,
        work: impl FnOnce(Scene<'_>) -> Result<T, ErrorKind>,
    ) -> Result<T, ErrorKind> {
        let place = self.machine.locate(&at.directory).map_err(|_| ErrorKind::Usage)?;
        work(Scene {
            machine: &self.machine,
            place: &place,
            configuration: &self.configuration,
            home: self.home.config.home.as_ref().unwrap(),
            range: at.range,
            on_conflict: at.on_conflict,
        })
    }

    fn run(&self, at: &At, operation: &Operation, dry_run: bool) -> (Answer, Vec<Notice>) {
        let released = |changes: Vec<Change>| {
            changes.iter().map(|change| (None, change.reservation().port)).collect()
        };
        self.with_engine(at, |engine| match operation.clone() {
            Operation::Reserve(request) => {
                let answers = engine.reserve(&ReserveRequest { dry_run, ..request })?;
                let answer = |answer: &hythe_engine::Reserved| {
                    (Some(answer.outcome), answer.observed.reservation.port)
                };
                Ok(answers.iter().map(answer).collect())
            }
            Operation::Release(request) => {
                engine.release(&ReleaseRequest { dry_run, ..request }).map(released)
            }
            Operation::Cleanup(request) => {
                engine.cleanup(&CleanupRequest { dry_run, ..request }).map(released)
            }
            Operation::Lock(service, scope, locked) => engine
                .set_lock(&Target::Services(vec![service], scope), locked)
                .map(|locked| locked.iter().map(|it| (None, it.port)).collect()),
        })
    }

    fn expect(&mut self, at: &At, operation: &Operation) -> Answer {
        let mut reference = self.reference.clone();
        let none = |ports: Vec<Port>| ports.into_iter().map(|port| (None, port)).collect();
        let answer = self.with_scene(at, |scene| match operation {
            Operation::Reserve(request) => {
                let answers = reference.reserve(scene, request)?;
                Ok(answers.into_iter().map(|(outcome, port)| (Some(outcome), port)).collect())
            }
            Operation::Release(request) => reference.release(scene, request).map(none),
            Operation::Cleanup(request) => reference.cleanup(scene, request).map(none),
            Operation::Lock(service, scope, locked) => {
                reference.set_lock(scene, service, *scope, *locked).map(|port| vec![(None, port)])
            }
        });
        self.reference = reference;
        answer
    }

    fn operate(&mut self, at: &At, operation: &Operation) -> Result<(), String> {
        self.trace.push(format!("{operation:?} in {at:?}"));
        let (before, _) = Snapshot::take(&self.home.state, self.last_event);
        let rehearsed = match operation {
            Operation::Lock(..) => None,
            _ => self.random.chance(40).then(|| self.run(at, operation, true)),
        };
        if let Some((_, notices)) = &rehearsed {
            let (after, _) = Snapshot::take(&self.home.state, self.last_event);
            nothing_written(&before, &after, false)?;
            same("released beside a dry run", &released_beside(notices), &0)?;
        }
        let (answer, notices) = self.run(at, operation, false);
        let (after, events) = Snapshot::take(&self.home.state, self.last_event);
        if let Some((rehearsed, _)) = &rehearsed {
            same("the dry run against the real one", rehearsed, &answer)?;
        }
        if answer.is_err() {
            nothing_written(&before, &after, true)?;
        }
        self.count(operation, &answer, &events, &notices);
        let (asked, reallocate) = match operation {
            Operation::Reserve(request) => (request.prefer.as_slice(), request.reallocate),
            _ => (&[][..], false),
        };
        let left = &self.left;
        // Without a place there was no engine, and nothing was written.
        if self.machine.locate(&at.directory).is_ok() {
            self.with_scene(at, |scene| {
                let (before, after, events) = (&before, &after, &events[..]);
                Ok(Done { scene, before, after, events, left, asked, reallocate }.check())
            })
            .unwrap()?;
        }
        let beside = events.iter().filter(|event| event.policy.is_some()).count();
        if matches!(operation, Operation::Reserve(_)) {
            same("releases that were told", &released_beside(&notices), &beside)?;
        }
        for event in &events {
            let released = (event.kind == EventKind::Released).then_some(event.port);
            if let Some(port) = event.from.or(released) {
                self.left.insert(port, (event.key.clone(), event.at));
            }
        }
        self.last_event = after.last_event;

        let known = self.reference.events.len();
        let expected = self.expect(at, operation);
        same("the answer", &answer, &expected)?;
        let happened: Vec<_> = events.iter().map(happened).collect();
        same("the events", &happened, &self.reference.events[known..].to_vec())?;
        same("the last cleanup", &after.cleaned_at, &self.reference.cleaned_at)?;
        let held: BTreeMap<_, _> =
            after.held.iter().map(|(key, held)| (key.clone(), nameless(held))).collect();
        for (key, held) in &held {
            same("a reservation", &Some(held), &self.reference.held.get(key))?;
        }
        same("how many are reserved", &held.len(), &self.reference.held.len())
    }

    fn count(
        &mut self,
        operation: &Operation,
        answer: &Answer,
        events: &[Event],
        notices: &[Notice],
    ) {
        let mut count = |what: String| *self.tally.entry(what).or_default() += 1;
        let name = match operation {
            Operation::Reserve(_) => "reserve",
            Operation::Release(_) => "release",
            Operation::Cleanup(_) => "cleanup",
            Operation::Lock(..) => "lock",
        };
        match answer {
            Err(kind) => count(format!("{name} {kind:?}")),
            Ok(answers) => answers.iter().filter_map(|(outcome, _)| *outcome).for_each(|outcome| {
                count(format!("{name} {outcome:?}"));
            }),
        }
        for event in events {
            let policy = event.policy.as_deref().unwrap_or_default();
            count(format!("{name}: {} {policy}", event.kind));
        }
        let taken_over = events.iter().any(|event| {
            event.policy.is_some()
                && events.iter().any(|other| other.policy.is_none() && other.port == event.port)
        });
        if taken_over {
            count("a port that cleanup released was given at once".to_owned());
        }
        for notice in notices {
            let text = format!("{notice:?}");
            count(format!("notice {}", text.split([' ', '{']).next().unwrap()));
        }
    }

    /// Looks at everything, and finds what is there without leaving a trace.
    fn look(&mut self, at: &At) -> Result<(), String> {
        self.trace.push(format!("look in {at:?}"));
        let (before, _) = Snapshot::take(&self.home.state, self.last_event);
        let wanted = self.service();
        let scope = self.random.maybe(25, &SCOPES);
        let watched = self.port();
        let (seen, _) = self.with_engine(at, |engine| {
            let port = |reservation: &Reservation| reservation.port;
            let got = engine.get(&wanted, scope).map(|found| port(&found));
            let shown = engine
                .show(&wanted, scope)
                .map(|found| (port(&found.observed.reservation), found.observed.listening));
            let listed = engine.list(&ListFilter::default())?;
            let listed: Vec<_> = listed
                .iter()
                .map(|listed| (port(&listed.observed.reservation), listed.observed.listening))
                .collect();
            let filter = EventFilter { port: Some(watched), ..EventFilter::default() };
            let events: Vec<_> = engine.events(&filter)?.iter().map(happened).collect();
            let missing = |error: Error| error.kind();
            Ok((got.map_err(missing), shown.map_err(missing), listed, events))
        });
        let expected = self.with_scene(at, |scene| {
            let held = &self.reference.held;
            let found =
                scene.key(&wanted, scope).and_then(|key| held.get(&key).ok_or(ErrorKind::NotFound));
            let mut listed: Vec<_> =
                held.values().map(|held| (held.port, scene.listed(held))).collect();
            listed.sort_by_key(|(port, _)| *port);
            let events = self.reference.events.iter();
            let events = events
                .filter(|event| event.port == watched || event.from == Some(watched))
                .cloned();
            Ok((
                found.map(|found| found.port),
                found.map(|found| (found.port, scene.probed(found))),
                listed,
                events.collect::<Vec<_>>(),
            ))
        });
        same("what is seen", &seen, &expected)?;
        let (after, _) = Snapshot::take(&self.home.state, self.last_event);
        nothing_written(&before, &after, false)
    }

    /// Compares what no operation answers with; all of it, if `thorough`.
    fn audit(&self, thorough: bool) -> Result<(), String> {
        let path = self.home.state.join("ledger.db");
        let ledger = Ledger::open(&path).map_err(|error| error.to_string())?;
        same("whether there is a ledger", &ledger.is_some(), &self.reference.exists)?;
        let Some(ledger) = ledger.filter(|_| thorough) else { return Ok(()) };
        let findings = ledger.check().map_err(|error| error.to_string())?;
        same("what SQLite finds", &findings, &Vec::new())?;
        let mut released: BTreeMap<&String, Vec<(Timestamp, Port)>> = BTreeMap::new();
        for (port, (key, at)) in &self.reference.released {
            released.entry(key).or_default().push((*at, *port));
        }
        for (text, mut ports) in released {
            ports.sort_by_key(|(at, port)| (std::cmp::Reverse(*at), *port));
            let key = hythe_engine::Key { realm: hythe_engine::Realm::User, text: text.clone() };
            let kept = ledger.released(&key).map_err(|error| error.to_string())?;
            let expected: Vec<_> = ports.into_iter().map(|(_, port)| port).collect();
            same(&format!("what is kept for {text}"), &kept, &expected)?;
        }
        Ok(())
    }
}

/// A reservation without the names of the policies that made it.
fn nameless(held: &Reservation) -> Reservation {
    let strategy = Provenance { key: String::new(), selection: String::new() };
    Reservation { strategy, ..held.clone() }
}

fn happened(event: &Event) -> Happened {
    Happened {
        at: event.at,
        kind: event.kind,
        port: event.port,
        from: event.from,
        key: event.key.clone(),
        policy: event.policy.clone(),
    }
}

/// How many releases the notices tell of.
fn released_beside(notices: &[Notice]) -> usize {
    let count = |notice: &Notice| match notice {
        Notice::CleanedUp { count } => *count,
        _ => 0,
    };
    notices.iter().map(count).sum()
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: &T, should: &T) -> Result<(), String> {
    if is == should {
        Ok(())
    } else {
        Err(format!("{what}: it is\n    {is:?}\n  and should be\n    {should:?}"))
    }
}

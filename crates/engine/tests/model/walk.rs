//! A walk: one operation after the other, on the engine and on the reference, while the machine and
//! the configuration change between them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hythe_engine::config::{ConfigFiles, Origin, Overrides, Set};
use hythe_engine::{
    Change, CheckoutKind, CleanupRequest, Engine, Error, ErrorKind, Event, EventFilter, EventKind,
    Home, Lease, Ledger, ListFilter, Notice, Outcome, Port, Presence, Provenance, ReleaseRequest,
    Reservation, ReserveRequest, Scope, Service, System, Target, Timestamp,
};
use tempfile::TempDir;

use super::checks::{Done, Snapshot, nothing_written};
use super::configuration::{CONFIGURED, Configuration, Project, Rule};
use super::machine::{Lie, Machine, Pid};
use super::random::Random;
use super::reference::{Happened, Mistake, Reference, Scene};

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

struct Walk {
    random: Random,
    machine: Machine,
    lie: Option<Lie>,
    configuration: Configuration,
    reference: Reference,
    /// Which key gave each port back, and when; told by events alone.
    left: BTreeMap<Port, (String, Timestamp)>,
    last_event: i64,
    directories: Vec<PathBuf>,
    home: Home,
    trace: Vec<String>,
    tally: Tally,
    /// Hold the files; they are let go of at the end.
    _files: TempDir,
    _ground: File,
}

/// An operation that may be tried dry first.
#[derive(Debug, Clone)]
enum Operation {
    Reserve(ReserveRequest),
    Release(ReleaseRequest),
    Cleanup(CleanupRequest),
    Lock(Service, Option<Scope>, bool),
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

const SERVICES: [&str; 4] = ["main", "web", CONFIGURED, "@shop/admin"];
const SCOPES: [Scope; 3] = [Scope::Directory, Scope::Project, Scope::Service];
const CONFLICTS: [&str; 3] = ["keep", "move", "fail"];
/// Small, so that they are exhausted; the last ones lie across what may not be given.
const RANGES: [(u16, u16); 6] =
    [(20000, 20023), (20000, 20007), (20010, 20049), (6660, 6699), (1016, 1035), (32750, 32780)];
const CLEANUPS: [&[&str]; 5] = [
    &["path-sticky", "pid-reap", "ttl"],
    &["ttl", "pid-reap"],
    &["path-sticky"],
    &["pid-reap", "ttl", "path-sticky"],
    &[],
];
const DAY: u64 = 24 * 60 * 60;

fn service(name: &str) -> Service {
    name.parse().unwrap()
}

fn port(number: u16) -> Port {
    Port::new(number).unwrap()
}

/// Real storage would only wait for the disk.
fn temporary() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Where the simulated directories are, always the same for a route: the ports follow from it. One
/// walk at a time has it.
fn ground(Route { seed, lie, mistake, .. }: Route) -> (PathBuf, File) {
    let name = format!("hythe-model/{seed}-{lie:?}-{mistake:?}");
    let work = std::env::temp_dir().canonicalize().unwrap().join(name);
    fs::create_dir_all(&work).unwrap();
    let lock = File::create(work.join("lock")).unwrap();
    lock.lock().unwrap();
    (work, lock)
}

impl Walk {
    fn new(route: Route) -> Self {
        let files = temporary();
        let root = files.path().canonicalize().unwrap();
        let (work, ground) = ground(route);
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
        // Configuration is read from real files.
        fs::create_dir_all(work.join("shop")).unwrap();
        let home = Home {
            config: ConfigFiles {
                user: Some(root.join("config.toml")),
                user_required: false,
                home: Some(work.join("home")),
            },
            state: root.join("state"),
            cache: None,
        };
        let configuration = Configuration {
            range: RANGES[0],
            exclude: Vec::new(),
            allow: Vec::new(),
            on_conflict: "move",
            cleanup: CLEANUPS[0].to_vec(),
            freeze: 3600,
            every: 3600,
            persistent: 30 * DAY,
            ephemeral: DAY,
            grace: 60,
            service: None,
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

    fn service(&mut self) -> Service {
        service(self.random.pick(&SERVICES))
    }

    fn reserve_request(&mut self) -> ReserveRequest {
        let count = if self.random.chance(75) { 1 } else { 1 + self.random.below(3) };
        let pids: Vec<_> = self.machine.processes.keys().map(|(_, pid)| *pid).collect();
        let prefer = if self.random.chance(20) { 1 + self.random.below(2) } else { 0 };
        ReserveRequest {
            services: (0..count).map(|_| self.service()).collect(),
            scope: self.random.maybe(25, &SCOPES),
            prefer: (0..prefer).map(|_| self.port()).collect(),
            task: self.random.maybe(5, &["fix-1", "fix-2"]).map(|task| task.parse().unwrap()),
            agent: self.random.maybe(5, &["ada", "bob"]).map(|agent| agent.parse().unwrap()),
            lease: self.random.maybe(35, &[Lease::Persistent, Lease::Ephemeral, Lease::Ephemeral]),
            pid: if self.random.chance(3) { Some(99) } else { self.random.maybe(15, &pids) },
            parent: self.random.maybe(95, &pids).unwrap_or(98),
            ttl: self.random.maybe(10, &[0, 45, 7200]).map(Duration::from_secs),
            lock: self.random.chance(6),
            reallocate: self.random.chance(8),
            dry_run: false,
            explain: self.random.chance(20),
        }
    }

    /// A port that might matter.
    fn port(&mut self) -> Port {
        let held: Vec<_> = self.reference.held.values().map(|held| held.port).collect();
        let (first, last) = self.configuration.range;
        match self.random.below(10) {
            0..2 => port(self.random.pick(&[80, 3000, 3001, 6000, 6666, 32768, 40000, 65535])),
            2..5 => self.random.maybe(100, &held).unwrap_or(port(first)),
            _ => port(first + u16::try_from(self.random.below(usize::from(last - first))).unwrap()),
        }
    }

    fn release_request(&mut self) -> ReleaseRequest {
        let target = match self.random.below(20) {
            0..10 => {
                let count = 1 + self.random.below(2);
                let services = (0..count).map(|_| self.service()).collect();
                Target::Services(services, self.random.maybe(25, &SCOPES))
            }
            10..16 => {
                let count = 1 + self.random.below(2);
                Target::Ports((0..count).map(|_| self.port()).collect())
            }
            16..18 => Target::Here,
            18 => Target::Below,
            _ => Target::Project(self.random.pick(&["shop", "blog"]).parse().unwrap()),
        };
        ReleaseRequest { target, force: self.random.chance(50), dry_run: false }
    }

    fn cleanup_request(&mut self) -> CleanupRequest {
        let policies = self.random.maybe(40, &["ttl", "pid-reap", "path-sticky", "nobody"]);
        CleanupRequest {
            policies: policies.into_iter().map(str::to_owned).collect(),
            older_than: self.random.maybe(30, &[0, 100, DAY]).map(Duration::from_secs),
            dry_run: false,
        }
    }

    /// Something happens to the machine.
    fn disturb(&mut self) {
        let random = &mut self.random;
        let machine = &mut self.machine;
        // What hinders every reservation does not last.
        machine.bind_forbidden &= random.chance(60);
        machine.tables_unreadable &= random.chance(60);
        if random.chance(30) {
            machine.namespace = 1;
        }
        machine.ticks += random.below(3) as u64;
        let pids: Vec<_> = machine.processes.keys().copied().collect();
        let what = match random.below(24) {
            0..4 => {
                let unit = random.pick(&[1_000, 60_000, 3_600_000, 86_400_000]);
                machine.clock += unit * i64::try_from(random.below(40)).unwrap();
                format!("the clock goes on to {}", machine.now())
            }
            4 => {
                machine.clock -= random.pick(&[1_000, 3_600_000, 86_400_000, 900_000_000_000]);
                format!("the clock is set back to {}", machine.now())
            }
            5 => {
                let clock = [-86_400_000, 0, 1_800_000_000_000, 1_800_000_000_000, i64::MAX / 2];
                machine.clock = random.pick(&clock);
                format!("the clock jumps to {}", machine.now())
            }
            6..8 => {
                let directory = random.pick(&self.directories);
                let presence = random.pick(&[Presence::Gone, Presence::Gone, Presence::Unknown]);
                machine.set_presence(&directory, presence);
                format!("{} is {presence:?}", directory.display())
            }
            8..11 => {
                let directory = random.pick(&self.directories);
                machine.set_presence(&directory, Presence::Present);
                let ancestors = directory.ancestors().map(Path::to_owned).collect::<Vec<_>>();
                for ancestor in ancestors {
                    if let Some(found) = machine.directories.get_mut(&ancestor) {
                        found.presence = Presence::Present;
                    }
                }
                format!("{} appears", directory.display())
            }
            11..17 => self.serve(),
            17..19 => match random.maybe(85, &pids) {
                Some(pid) => {
                    let left: Vec<_> = machine.sockets.keys().copied().collect();
                    machine.kill(pid);
                    for port in left {
                        if !machine.is_taken(port) {
                            machine.lingering.insert(port);
                        }
                    }
                    format!("process {pid:?} dies")
                }
                None => {
                    let alike = random.chance(60);
                    machine.reboot(alike);
                    format!("the machine boots, alike: {alike}")
                }
            },
            19 => {
                machine.lingering.clear();
                "closed connections expire".to_owned()
            }
            20 => {
                machine.bind_forbidden = true;
                "binding is forbidden".to_owned()
            }
            21 => {
                machine.tables_unreadable = true;
                "the socket tables cannot be read".to_owned()
            }
            22 => {
                machine.namespace = 2;
                "hythe runs in a container".to_owned()
            }
            _ => match random.maybe(100, &pids) {
                Some(pid) => {
                    let running = machine.processes.get_mut(&pid).unwrap();
                    running.veiled = !running.veiled;
                    format!("process {pid:?} is veiled: {}", running.veiled)
                }
                None => return,
            },
        };
        self.trace.push(what);
    }

    /// A process starts and, as a rule, takes a port.
    fn serve(&mut self) -> String {
        let pids: Vec<_> = self.machine.processes.keys().copied().collect();
        let held: Vec<_> = self.reference.held.values().cloned().collect();
        let reservation = self.random.maybe(75, &held);
        let number = u32::try_from(100 + self.random.below(25)).unwrap();
        let pid: Pid = (self.machine.namespace, number);
        let parent = self.random.maybe(50, &pids);
        let directory = match (&reservation, self.random.below(10)) {
            (Some(reservation), 0..5) => reservation.directory.clone(),
            (_, 5) => "/".into(),
            _ => self.random.pick(&self.directories),
        };
        let taken = reservation.map_or_else(|| self.port(), |reservation| reservation.port);
        if self.machine.processes.contains_key(&pid) {
            self.machine.kill(pid);
        }
        let parent = parent.filter(|parent| self.machine.processes.contains_key(parent));
        self.machine.spawn(pid, parent, &directory);
        let mut what = format!("process {pid:?} of {parent:?} starts in {}", directory.display());
        if self.random.chance(75) {
            let listens = self.random.chance(90);
            self.machine.listen(pid, taken, listens);
            what += &format!(" and takes port {taken}, listening: {listens}");
        }
        what
    }

    /// Somebody edits the configuration.
    fn configure(&mut self) {
        let random = &mut self.random;
        let configuration = &mut self.configuration;
        let (first, last) = configuration.range;
        let mut some =
            |percent| -> Vec<u16> { (first..=last).filter(|_| random.chance(percent)).collect() };
        let (few, many) = (some(10), some(60));
        let cleanup = random.pick(&CLEANUPS).to_vec();
        match random.below(12) {
            0..3 => configuration.range = random.pick(&RANGES),
            3 => configuration.exclude = few,
            4 => configuration.allow = many,
            5 => configuration.on_conflict = random.pick(&CONFLICTS),
            6 => configuration.cleanup = cleanup,
            7 => configuration.freeze = random.pick(&[0, 60, 3600, 10 * DAY]),
            8 => configuration.every = random.pick(&[0, 1, 3600, DAY]),
            9 => {
                configuration.persistent = random.pick(&[0, 3600, 30 * DAY]);
                configuration.ephemeral = random.pick(&[0, 60, DAY]);
                configuration.grace = random.pick(&[0, 60]);
            }
            10 => {
                let service = super::configuration::Service {
                    port: random.maybe(70, &[first, last, 3000, 6000]),
                    scope: random.maybe(30, &SCOPES),
                    lease: random.maybe(30, &[Lease::Persistent, Lease::Ephemeral]),
                    ttl: random.maybe(30, &[60, DAY]),
                };
                configuration.service = random.maybe(80, &[service]);
            }
            _ => {
                let directory = random.pick(&self.directories);
                let persistent = random.pick(&[0, 600]);
                let rule = Rule { directory, persistent, cleanup: cleanup.clone() };
                configuration.rule = random.maybe(70, &[rule]);
                let project = Project {
                    root: self.directories[2].clone(),
                    name: random.pick(&["shop", "store"]),
                    exclude: few,
                    on_conflict: random.pick(&CONFLICTS),
                    cleanup,
                };
                configuration.project = random.maybe(70, &[project]);
            }
        }
        self.trace.push(format!("configured: {:?}", self.configuration));
        self.write_configuration();
    }

    fn write_configuration(&self) {
        let user = self.home.config.user.as_ref().unwrap();
        fs::write(user, self.configuration.user_file()).unwrap();
        let file = self.directories[2].join("hythe.toml");
        match &self.configuration.project {
            Some(project) => fs::write(file, Configuration::project_file(project)).unwrap(),
            None => fs::remove_file(file).unwrap_or_default(),
        }
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
                .set_lock(&service, scope, locked)
                .map(|reservation| vec![(None, reservation.port)]),
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

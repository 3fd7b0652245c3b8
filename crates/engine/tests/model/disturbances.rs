//! What happens on a walk between operations.

use std::fs;
use std::path::Path;

use hythe_engine::{Lease, Presence, System};

use super::configuration::{BLOCKS, Configuration, Project, Rule, Service};
use super::machine::Pid;
use super::requests::{CONFLICTS, DAY, RANGES, SCOPES};
use super::walk::Walk;

const CLEANUPS: [&[&str]; 5] = [
    &["path-sticky", "pid-reap", "ttl"],
    &["ttl", "pid-reap"],
    &["path-sticky"],
    &["pid-reap", "ttl", "path-sticky"],
    &[],
];

impl Walk {
    /// Something happens to the machine.
    pub(crate) fn disturb(&mut self) {
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
            17..19 => {
                if let Some(pid) = random.maybe(85, &pids) {
                    machine.kill(pid);
                    format!("process {pid:?} dies")
                } else {
                    let alike = random.chance(60);
                    machine.reboot(alike);
                    format!("the machine boots, alike: {alike}")
                }
            }
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
        let what = format!("process {pid:?} of {parent:?} starts in {}", directory.display());
        if self.random.chance(75) {
            let listens = self.random.chance(90);
            self.machine.listen(pid, taken, listens);
            let doing = if listens { "listens on" } else { "is bound to" };
            return format!("{what} and {doing} port {taken}");
        }
        what
    }

    /// Somebody edits the configuration.
    pub(crate) fn configure(&mut self) {
        let random = &mut self.random;
        let configuration = &mut self.configuration;
        let (first, last) = configuration.range;
        let mut some =
            |percent| -> Vec<u16> { (first..=last).filter(|_| random.chance(percent)).collect() };
        let (few, many) = (some(10), some(60));
        let cleanup = random.pick(&CLEANUPS).to_vec();
        match random.below(14) {
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
                let service = Service {
                    port: random.maybe(70, &[first, last, 3000, 6000]),
                    scope: random.maybe(30, &SCOPES),
                    lease: random.maybe(30, &[Lease::Persistent, Lease::Ephemeral]),
                    ttl: random.maybe(30, &[60, DAY]),
                };
                configuration.service = random.maybe(80, &[service]);
            }
            11..13 => configuration.block = random.pick(&BLOCKS),
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

    pub(crate) fn write_configuration(&self) {
        let user = self.home.config.user.as_ref().unwrap();
        fs::write(user, self.configuration.user_file()).unwrap();
        let file = self.directories[2].join("hythe.toml");
        match &self.configuration.project {
            Some(project) => fs::write(file, Configuration::project_file(project)).unwrap(),
            None => fs::remove_file(file).unwrap_or_default(),
        }
    }
}

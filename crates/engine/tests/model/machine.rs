//! A machine that exists only here: its clock, directories, processes and sockets do what the walk
//! says.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use hythe_engine::{
    Checkout, CheckoutKind, Containers, Hold, Holder, Holders, Liveness, Owner, Parent, Place,
    Port, PortRange, PortSet, Presence, Probe, Process, System, Timestamp,
};

/// A pid namespace and a pid in it.
pub(crate) type Pid = (u64, u32);

/// The whole machine. It only changes between operations.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    /// Milliseconds of Unix time, negative before 1970.
    pub(crate) clock: i64,
    pub(crate) boot: u32,
    /// Since boot, whatever the clock says.
    pub(crate) ticks: u64,
    /// The pid namespace that the engine runs in.
    pub(crate) namespace: u64,
    pub(crate) directories: BTreeMap<PathBuf, Directory>,
    pub(crate) processes: BTreeMap<Pid, Running>,
    pub(crate) sockets: BTreeMap<Port, Vec<Socket>>,
    /// Ports with nothing but closed connections.
    pub(crate) lingering: BTreeSet<Port>,
    pub(crate) bind_forbidden: bool,
    pub(crate) tables_unreadable: bool,
    /// What the engine is told wrongly, to see whether anybody notices.
    pub(crate) lie: Option<Lie>,
}

#[derive(Debug, Clone)]
pub(crate) struct Directory {
    pub(crate) presence: Presence,
    /// The checkout that has its root here.
    pub(crate) checkout: Option<Checkout>,
}

#[derive(Debug, Clone)]
pub(crate) struct Running {
    pub(crate) start: u64,
    pub(crate) started_at: Timestamp,
    pub(crate) parent: Option<Pid>,
    pub(crate) directory: PathBuf,
    /// Another user's: its sockets are seen, it is not.
    pub(crate) veiled: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Socket {
    pub(crate) process: Pid,
    /// Else it is only bound.
    pub(crate) listens: bool,
}

/// A way in which the machine answers wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    EveryPortIsFree,
    NobodyListens,
    NobodyDies,
    NothingIsGone,
    NothingIsEphemeral,
    TheClockStands,
}

impl Machine {
    pub(crate) fn new(clock: i64) -> Self {
        let root = Directory { presence: Presence::Present, checkout: None };
        Self {
            clock,
            boot: 1,
            ticks: 100,
            namespace: 1,
            directories: [(PathBuf::from("/"), root)].into(),
            processes: BTreeMap::new(),
            sockets: BTreeMap::new(),
            lingering: BTreeSet::new(),
            bind_forbidden: false,
            tables_unreadable: false,
            lie: None,
        }
    }

    pub(crate) fn add_directory(&mut self, path: &Path, checkout: Option<(CheckoutKind, &str)>) {
        let checkout = checkout.map(|(kind, name)| Checkout {
            root: path.to_owned(),
            kind,
            repository: None,
            name: Some(name.to_owned()),
            branch: (kind == CheckoutKind::Main).then(|| "main".to_owned()),
        });
        let directory = Directory { presence: Presence::Present, checkout };
        self.directories.insert(path.to_owned(), directory);
    }

    /// Makes `path` and everything below it as `presence` says.
    pub(crate) fn set_presence(&mut self, path: &Path, presence: Presence) {
        for (below, directory) in &mut self.directories {
            if below.starts_with(path) {
                directory.presence = presence;
            }
        }
    }

    pub(crate) fn spawn(&mut self, pid: Pid, parent: Option<Pid>, directory: &Path) {
        let running = Running {
            start: self.ticks,
            started_at: self.now(),
            parent,
            directory: directory.to_owned(),
            veiled: false,
        };
        self.processes.insert(pid, running);
    }

    pub(crate) fn listen(&mut self, pid: Pid, port: Port, listens: bool) {
        self.lingering.remove(&port);
        self.sockets.entry(port).or_default().push(Socket { process: pid, listens });
    }

    /// Ends a process: its sockets close and leave connections behind, its children belong to
    /// nobody.
    pub(crate) fn kill(&mut self, pid: Pid) {
        self.processes.remove(&pid);
        for running in self.processes.values_mut().filter(|running| running.parent == Some(pid)) {
            running.parent = None;
        }
        for sockets in self.sockets.values_mut() {
            sockets.retain(|socket| socket.process != pid);
        }
        let closed = self.sockets.extract_if(.., |_, sockets| sockets.is_empty());
        self.lingering.extend(closed.map(|(port, _)| port));
    }

    /// Boots. If `alike`, the same processes start with the same pids at the same time since boot,
    /// as the applications of a container do.
    pub(crate) fn reboot(&mut self, alike: bool) {
        self.boot += 1;
        self.lingering.clear();
        if !alike {
            self.processes.clear();
            self.sockets.clear();
            self.ticks = 100;
        }
    }

    /// Whether any socket is bound to `port`, whoever may see it.
    pub(crate) fn is_taken(&self, port: Port) -> bool {
        self.sockets.contains_key(&port)
    }

    /// The processes that listen on `port`, whoever may see them.
    pub(crate) fn listeners(&self, port: Port) -> impl Iterator<Item = Pid> + '_ {
        let sockets = self.sockets.get(&port).into_iter().flatten();
        sockets.filter(|socket| socket.listens).map(|socket| socket.process)
    }

    /// The process, if the engine can see it.
    pub(crate) fn visible(&self, pid: Pid) -> Option<&Running> {
        self.processes.get(&pid).filter(|running| !running.veiled && pid.0 == self.namespace)
    }

    /// A process that the engine can see, and its parents as far as it can see them.
    pub(crate) fn lineage(&self, pid: Pid) -> Vec<(Pid, &Running)> {
        let mut lineage = Vec::new();
        let mut next = Some(pid);
        while let Some((pid, running)) = next.and_then(|pid| Some((pid, self.visible(pid)?))) {
            lineage.push((pid, running));
            next = running.parent;
        }
        lineage
    }

    fn is_told(&self, lie: Lie) -> bool {
        self.lie == Some(lie)
    }
}

impl System for Machine {
    fn now(&self) -> Timestamp {
        let clock = if self.is_told(Lie::TheClockStands) { 0 } else { self.clock };
        Timestamp::from_millis(clock)
    }

    fn locate(&self, path: &Path) -> io::Result<Place> {
        match self.presence(path) {
            Presence::Present => {}
            Presence::Gone => return Err(io::ErrorKind::NotFound.into()),
            Presence::Unknown => return Err(io::ErrorKind::PermissionDenied.into()),
        }
        let checkout =
            path.ancestors().find_map(|path| self.directories.get(path)?.checkout.clone());
        Ok(Place { directory: path.to_owned(), checkout })
    }

    fn presence(&self, path: &Path) -> Presence {
        let presence = self.directories.get(path).map_or(Presence::Gone, |found| found.presence);
        match presence {
            Presence::Gone if self.is_told(Lie::NothingIsGone) => Presence::Present,
            presence => presence,
        }
    }

    fn probe(&self, port: Port) -> Probe {
        if self.is_told(Lie::EveryPortIsFree) {
            Probe::Free
        } else if self.bind_forbidden {
            Probe::Inconclusive("Operation not permitted".to_owned())
        } else if self.is_taken(port) {
            Probe::Held
        } else if self.lingering.contains(&port) {
            Probe::Lingering
        } else {
            Probe::Free
        }
    }

    /// Nothing here starts a server.
    fn hold(&self, _port: Port) -> io::Result<Hold> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn holders(&self, ports: &PortSet, _hints: &[u32]) -> io::Result<Holders> {
        if self.tables_unreadable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut holders = Holders::new();
        for port in ports.iter().filter(|_| !self.is_told(Lie::NobodyListens)) {
            for pid in self.listeners(port) {
                let holder: &mut Holder = holders.entry(port).or_default();
                let lineage = self.lineage(pid);
                let Some((_, running)) = lineage.first() else {
                    holder.hidden = true;
                    continue;
                };
                let parents = lineage.iter().skip(1).map(|((_, pid), parent)| Parent {
                    pid: *pid,
                    start: parent.start,
                    place: self.locate(&parent.directory).ok(),
                });
                holder.processes.push(Process {
                    pid: pid.1,
                    start: running.start,
                    started_at: running.started_at,
                    user: None,
                    command: "server".to_owned(),
                    place: self.locate(&running.directory).ok(),
                    parents: parents.collect(),
                });
            }
        }
        Ok(holders)
    }

    fn containers(&self, _daemons: &[PathBuf], _ports: &PortSet) -> Containers {
        Containers::new()
    }

    fn identify(&self, pid: u32) -> Option<Owner> {
        let running = self.visible((self.namespace, pid))?;
        Some(Owner {
            pid,
            start: running.start,
            boot: format!("boot-{}", self.boot),
            namespace: self.namespace,
            started_at: running.started_at,
        })
    }

    fn liveness(&self, owner: &Owner) -> Liveness {
        if self.is_told(Lie::NobodyDies) {
            return Liveness::Alive;
        }
        if owner.boot != format!("boot-{}", self.boot) {
            return Liveness::Dead;
        }
        if owner.namespace != self.namespace {
            return Liveness::Unknown;
        }
        match self.processes.get(&(owner.namespace, owner.pid)) {
            Some(running) if running.start == owner.start => Liveness::Alive,
            _ => Liveness::Dead,
        }
    }

    fn ephemeral_range(&self) -> Option<PortRange> {
        let range = "32768-60999".parse().unwrap();
        (!self.is_told(Lie::NothingIsEphemeral)).then_some(range)
    }

    fn first_unprivileged(&self) -> Port {
        Port::new(1024).unwrap()
    }

    fn has_address(&self, _address: std::net::IpAddr) -> bool {
        true
    }
}

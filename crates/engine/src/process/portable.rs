//! Processes on systems without `/proc`, through the `listeners` and `sysinfo` crates.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::io;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use listeners::{Listener, Protocol, SocketState};
use rustix::io::Errno;
use sysinfo::{Pid, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, System, UpdateKind};

use super::{MOST_PARENTS, command_line};
use crate::git;
use crate::observed::{Holders, Liveness, Parent, Process};
use crate::place::Place;
use crate::port::{Port, PortSet};
use crate::reservation::Owner;
use crate::time::Timestamp;

/// The listening TCP sockets of the processes that can be seen. Nothing shows the sockets of the
/// others.
fn listening() -> io::Result<impl Iterator<Item = (Port, u32, IpAddr)>> {
    let listeners = listeners::get_all().map_err(|error| io::Error::other(error.to_string()))?;
    let is_listening = |listener: &Listener| {
        listener.protocol == Protocol::TCP && listener.state == SocketState::Listen
    };
    Ok(listeners.into_iter().filter(is_listening).filter_map(
        |Listener { socket, process, .. }| {
            Some((Port::new(socket.port())?, process.pid, socket.ip().to_canonical()))
        },
    ))
}

/// Whether a socket listens on `port`, as far as it can be seen.
pub(crate) fn is_listening(port: Port) -> io::Result<bool> {
    Ok(listening()?.any(|(listening, ..)| listening == port))
}

/// Whether connections that their process has closed are all that is left on `port`.
///
/// Such connections belong to no process, so nothing here shows them. Of a port that can be bound
/// with `SO_REUSEADDR`, and that nobody listens on, it is always true: unlike Linux, macOS and the
/// BSDs allow no such bind beside a socket that is bound to the same address.
#[expect(clippy::unnecessary_wraps, reason = "the same as on Linux")]
pub(crate) fn is_closing(_port: Port) -> io::Result<bool> {
    Ok(true)
}

/// Who listens on `ports`, see [`crate::system::System::holders`]. Every process is looked at in
/// any case, so there is no use for hints.
pub(crate) fn holders(ports: &PortSet, _hints: &[u32]) -> io::Result<Holders> {
    let mut sockets: BTreeSet<_> =
        listening()?.filter(|(port, ..)| ports.contains(*port)).collect();
    let mut holders = Holders::new();
    if sockets.is_empty() {
        return Ok(holders);
    }
    let system = seen(ProcessesToUpdate::All).ok_or(io::ErrorKind::Unsupported)?;
    let mut processes = Processes { system, places: HashMap::new() };
    while let Some((port, pid, address)) = sockets.pop_first() {
        let holder = holders.entry(port).or_default();
        if !holder.addresses.contains(&address) {
            holder.addresses.push(address);
        }
        match processes.describe(pid) {
            Some(process) if holder.processes.iter().any(|known| known.pid == process.pid) => {}
            Some(process) => {
                holder.users.extend(process.user);
                holder.processes.push(process);
            }
            None => holder.hidden = true,
        }
    }
    for holder in holders.values_mut() {
        holder.addresses.sort_unstable();
        holder.users.sort_unstable();
        holder.users.dedup();
    }
    Ok(holders)
}

/// The identity of the running process `pid`, see [`crate::system::System::identify`].
///
/// The start is in seconds since 1970 and tells boots apart by itself, and there are no pid
/// namespaces.
pub(crate) fn identify(pid: u32) -> Option<Owner> {
    let pid = Pid::from_u32(pid);
    let system = seen(ProcessesToUpdate::Some(&[pid]))?;
    let process = system.process(pid).filter(|process| !is_over(process))?;
    Some(Owner {
        pid: pid.as_u32(),
        start: process.start_time(),
        boot: String::new(),
        namespace: 0,
        started_at: started_at(process),
    })
}

/// Whether the process still runs, see [`crate::system::System::liveness`].
pub(crate) fn liveness(owner: &Owner) -> Liveness {
    if !owner.boot.is_empty() || owner.namespace != 0 {
        return Liveness::Unknown;
    }
    let pid = Pid::from_u32(owner.pid);
    let Some(system) = seen(ProcessesToUpdate::Some(&[pid])) else {
        return Liveness::Unknown;
    };
    match system.process(pid) {
        Some(process) if process.start_time() == owner.start && !is_over(process) => {
            Liveness::Alive
        }
        Some(_) => Liveness::Dead,
        None if is_gone(owner.pid) => Liveness::Dead,
        None => Liveness::Unknown,
    }
}

/// Whether no process has this pid (kill(2) with signal 0).
fn is_gone(pid: u32) -> bool {
    match i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
        Some(pid) => rustix::process::test_kill_process(pid) == Err(Errno::SRCH),
        None => true,
    }
}

/// The processes that can be seen; `None` on a system that `sysinfo` does not know.
fn seen(pids: ProcessesToUpdate<'_>) -> Option<System> {
    let mut system = System::new().ok()?;
    let wanted = ProcessRefreshKind::nothing()
        .with_cmd(UpdateKind::Always)
        .with_cwd(UpdateKind::Always)
        .with_user(UpdateKind::Always)
        .without_tasks();
    system.refresh_processes_specifics(pids, true, wanted);
    Some(system)
}

fn is_over(process: &sysinfo::Process) -> bool {
    matches!(process.status(), ProcessStatus::Zombie | ProcessStatus::Dead)
}

fn started_at(process: &sysinfo::Process) -> Timestamp {
    let seconds = i64::try_from(process.start_time()).unwrap_or(i64::MAX);
    Timestamp::from_millis(seconds.saturating_mul(1000))
}

/// The processes of one moment.
struct Processes {
    system: System,
    /// Where the directories met so far are: a process mostly works where its parents do.
    places: HashMap<PathBuf, Option<Place>>,
}

impl Processes {
    /// What is known of a process; `None` when it is over.
    fn describe(&mut self, pid: u32) -> Option<Process> {
        let Self { system, places } = self;
        let process = system.process(Pid::from_u32(pid)).filter(|process| !is_over(process))?;
        Some(Process {
            pid,
            start: process.start_time(),
            started_at: started_at(process),
            user: process.effective_user_id().map(|user| **user),
            command: command(process),
            place: place(process, places),
            parents: parents(system, process, places),
        })
    }
}

/// The command line; the name in brackets where there is none, as ps(1) does.
fn command(process: &sysinfo::Process) -> String {
    if process.cmd().is_empty() {
        format!("[{}]", process.name().display())
    } else {
        command_line(process.cmd().iter().map(|argument: &OsString| argument.as_bytes()))
    }
}

/// The parents, nearest first, up to the first process, which adopts every orphan: to be its child
/// proves nothing. A parent never starts after its child: one that does got the number of a parent
/// that is over.
fn parents(
    system: &System,
    child: &sysinfo::Process,
    places: &mut HashMap<PathBuf, Option<Place>>,
) -> Vec<Parent> {
    let mut parents = Vec::new();
    let mut child = child;
    while parents.len() < MOST_PARENTS {
        let parent = child.parent().filter(|pid| pid.as_u32() > 1);
        let Some(parent) = parent.and_then(|pid| system.process(pid)) else { break };
        if parent.start_time() > child.start_time() {
            break;
        }
        parents.push(Parent {
            pid: parent.pid().as_u32(),
            start: parent.start_time(),
            place: place(parent, places),
        });
        child = parent;
    }
    parents
}

/// Where a process works; `None` when it cannot be read or is deleted.
fn place(
    process: &sysinfo::Process,
    places: &mut HashMap<PathBuf, Option<Place>>,
) -> Option<Place> {
    let path = process.cwd().filter(|path: &&Path| path.is_absolute())?;
    if let Some(place) = places.get(path) {
        return place.clone();
    }
    let place = git::locate(path).ok();
    places.insert(path.to_owned(), place.clone());
    place
}

//! Processes on Linux, read from `/proc` (proc(5)).

mod entry;
mod sockets;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::iter;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::OnceLock;

use rustix::io::Errno;
use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, getpid, test_kill_process};

use self::entry::{BUFFER, Entry, Stat};
use self::sockets::{LISTEN, Socket, States, sockets};
use super::MOST_PARENTS;
use crate::git;
use crate::observed::{Holders, Liveness, Parent, Process};
use crate::place::Place;
use crate::port::{Port, PortSet};
use crate::reservation::Owner;
use crate::time::Timestamp;

/// Whether a socket listens on `port`.
pub(crate) fn is_listening(port: Port) -> io::Result<bool> {
    Ok(!sockets(LISTEN, Some(port))?.is_empty())
}

/// Whether connections that their process has closed are all that is left on `port`.
pub(crate) fn is_closing(port: Port) -> io::Result<bool> {
    let sockets = sockets(States::ALL, Some(port))?;
    Ok(!sockets.is_empty() && sockets.into_iter().all(Socket::is_closing))
}

/// Who listens on `ports`, see [`crate::system::System::holders`].
///
/// Processes that fork share their sockets. Of those that share one, the hinted or else the newest
/// is named, and its parents as far up as they have it too: a worker that went to another directory
/// is named together with the server that started it. To find every last one would mean to read
/// every file descriptor of the machine, every time.
pub(crate) fn holders(ports: &PortSet, hints: &[u32]) -> io::Result<Holders> {
    let mut search = Search::default();
    for socket in sockets(LISTEN, None)? {
        if ports.contains(socket.port) {
            let holder = search.holders.entry(socket.port).or_default();
            insert(&mut holder.addresses, socket.address.to_canonical());
            insert(&mut holder.users, socket.user);
            search.missing.insert(socket.inode, socket);
        }
    }
    let newest_first = iter::once_with(newest_first).flatten();
    for pid in hints.iter().copied().chain(newest_first) {
        if search.missing.is_empty() {
            break;
        }
        search.look_at(pid);
    }
    for socket in search.missing.into_values() {
        search.holders.entry(socket.port).or_default().hidden = true;
    }
    Ok(search.holders)
}

/// Adds to a list that is ascending, unless it is there.
fn insert<T: Ord>(list: &mut Vec<T>, new: T) {
    if let Err(at) = list.binary_search(&new) {
        list.insert(at, new);
    }
}

/// The processes that can be seen, highest pid first: a server that was just started comes early.
/// None where `/proc` cannot be read.
fn newest_first() -> Vec<u32> {
    let mut pids: Vec<u32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable_by_key(|pid| Reverse(*pid));
    pids
}

/// The identity of the running process `pid`, see [`crate::system::System::identify`].
pub(crate) fn identify(pid: u32) -> Option<Owner> {
    let world = World::get()?;
    let stat = Entry::open(pid).ok()?.stat(&mut [0; BUFFER]).ok()?;
    if stat.over {
        return None;
    }
    Some(Owner {
        pid,
        start: stat.start,
        boot: world.boot.clone(),
        namespace: world.namespace,
        started_at: started_at(boot_time()?, stat.start),
    })
}

/// Whether the process still runs, see [`crate::system::System::liveness`].
pub(crate) fn liveness(owner: &Owner) -> Liveness {
    let Some(world) = World::get() else {
        return Liveness::Unknown;
    };
    if owner.boot != world.boot {
        return Liveness::Dead;
    }
    if owner.namespace != world.namespace {
        return Liveness::Unknown;
    }
    match Entry::open(owner.pid).and_then(|entry| entry.stat(&mut [0; BUFFER])) {
        Ok(stat) if stat.start == owner.start && !stat.over => Liveness::Alive,
        Ok(_) => Liveness::Dead,
        Err(Errno::NOENT | Errno::SRCH) if is_gone(owner.pid) => Liveness::Dead,
        Err(_) => Liveness::Unknown,
    }
}

/// Whether no process has this pid. The option `hidepid` of `/proc` hides other users' processes,
/// but not from kill(2).
fn is_gone(pid: u32) -> bool {
    match i32::try_from(pid).ok().and_then(Pid::from_raw) {
        Some(pid) => test_kill_process(pid) == Err(Errno::SRCH),
        None => true,
    }
}

/// What pids mean here, the same as long as this process runs.
struct World {
    /// See [`Owner::boot`].
    boot: String,
    /// The pid namespace of this process, see [`Owner::namespace`]. Every pid is recorded as a
    /// number of this one, even that of a process in a namespace below it.
    namespace: u64,
}

impl World {
    /// `None` where `/proc` is missing, or belongs to another pid namespace: then its numbers are
    /// not those that processes here know each other by.
    fn get() -> Option<&'static Self> {
        static WORLD: OnceLock<World> = OnceLock::new();
        if let Some(world) = WORLD.get() {
            return Some(world);
        }
        let world = Self::read()?;
        Some(WORLD.get_or_init(|| world))
    }

    fn read() -> Option<Self> {
        let own = fs::read_link("/proc/self").ok()?;
        if own.to_str()?.parse() != Ok(getpid().as_raw_nonzero().get()) {
            return None;
        }
        let boot = text("/proc/sys/kernel/random/boot_id")?;
        let namespace = match fs::metadata("/proc/self/ns/pid") {
            Ok(metadata) => metadata.ino(),
            // The kernel was built without namespaces.
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(_) => return None,
        };
        Some(Self { boot: boot.trim().to_owned(), namespace })
    }
}

/// When this machine was booted, in seconds since 1970: `btime` (`proc_stat(5)`).
fn boot_time() -> Option<i64> {
    text("/proc/stat")?.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// A file of the kernel's, which grows with the number of processors and interrupts at most.
fn text(path: &str) -> Option<String> {
    const LARGEST: u64 = 4 * 1024 * 1024;

    let mut text = String::new();
    File::open(path).ok()?.take(LARGEST).read_to_string(&mut text).ok()?;
    Some(text)
}

/// When a process started that many ticks after `boot_time`.
fn started_at(boot_time: i64, ticks: u64) -> Timestamp {
    let millis = u128::from(ticks) * 1000 / u128::from(clock_ticks_per_second().max(1));
    let millis = i64::try_from(millis).unwrap_or(i64::MAX);
    Timestamp::from_millis(boot_time.saturating_mul(1000).saturating_add(millis))
}

/// The search for the processes behind listening sockets.
#[derive(Default)]
struct Search {
    holders: Holders,
    /// The sockets, by inode, whose process is not found yet.
    missing: HashMap<u64, Socket>,
    /// Where the directories met so far are: a process mostly works where its parents do.
    places: HashMap<PathBuf, Option<Place>>,
    boot_time: Option<i64>,
}

impl Search {
    /// Names the process where it has a missing socket, and its parents as far up as they do.
    fn look_at(&mut self, pid: u32) {
        let Ok(entry) = Entry::open(pid) else { return };
        let inodes = entry.sockets(&self.missing);
        if inodes.is_empty() {
            return;
        }
        let user = inodes.first().and_then(|inode| self.missing.get(inode)).map(|it| it.user);
        let Some(process) = self.process(pid, &entry, user) else { return };
        let mut shared = HashMap::new();
        for inode in inodes {
            shared.extend(self.missing.remove_entry(&inode));
        }
        let parents = process.parents.clone();
        self.name(&process, shared.values());
        for parent in parents {
            let Ok(entry) = Entry::open(parent.pid) else { return };
            let inodes = entry.sockets(&shared);
            if inodes.is_empty() {
                return;
            }
            let Some(process) = self.process(parent.pid, &entry, user) else { return };
            self.name(&process, inodes.iter().filter_map(|inode| shared.get(inode)));
        }
    }

    fn name<'a>(&mut self, process: &Process, sockets: impl Iterator<Item = &'a Socket>) {
        for socket in sockets {
            let processes = &mut self.holders.entry(socket.port).or_default().processes;
            if !processes.iter().any(|known| known.pid == process.pid) {
                processes.push(process.clone());
            }
        }
    }

    /// What is known of a process whose socket this `user` opened; `None` when it is over.
    fn process(&mut self, pid: u32, entry: &Entry, user: Option<u32>) -> Option<Process> {
        let mut buffer = [0; BUFFER];
        let stat = entry.stat(&mut buffer).ok()?;
        if self.boot_time.is_none() {
            self.boot_time = boot_time();
        }
        Some(Process {
            pid,
            start: stat.start,
            started_at: started_at(self.boot_time?, stat.start),
            user,
            command: entry.command(&mut buffer, &stat),
            place: self.place(entry),
            parents: self.parents(&stat),
        })
    }

    /// The parents, nearest first, up to the first process, which adopts every orphan: to be its
    /// child proves nothing. A parent never starts after its child: one that does got the number of
    /// a parent that is over.
    fn parents(&mut self, child: &Stat) -> Vec<Parent> {
        let mut parents = Vec::new();
        let (mut pid, mut latest) = (child.parent, child.start);
        while pid > 1 && parents.len() < MOST_PARENTS {
            let Ok(entry) = Entry::open(pid) else { break };
            let Ok(stat) = entry.stat(&mut [0; BUFFER]) else { break };
            if stat.start > latest {
                break;
            }
            parents.push(Parent { pid, start: stat.start, place: self.place(&entry) });
            (pid, latest) = (stat.parent, stat.start);
        }
        parents
    }

    /// Where a process works. The link names the directory as its own mount namespace does, so it
    /// counts only where the same name leads to the same directory here: not when it is deleted,
    /// and not when it is inside a container.
    fn place(&mut self, entry: &Entry) -> Option<Place> {
        let mut buffer = [0; BUFFER];
        let (path, theirs) = entry.directory(&mut buffer).ok()?;
        let ours = path.is_absolute().then(|| path.metadata())?.ok()?;
        if (theirs.st_dev, theirs.st_ino) != (ours.dev(), ours.ino()) {
            return None;
        }
        if let Some(place) = self.places.get(path) {
            return place.clone();
        }
        let place = git::locate(path).ok();
        self.places.insert(path.to_owned(), place.clone());
        place
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::mem::MaybeUninit;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::path::Path;
    use std::process::{Child, Command, id};

    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    use socket2::{Domain, Type};
    use tempfile::TempDir;

    use super::*;
    use crate::observed::Holder;
    use crate::process::tests::eventually;

    /// A socket that listens without a bind: it gets its port from the kernel.
    fn listener() -> (socket2::Socket, Port) {
        let socket = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.listen(1).unwrap();
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        (socket, Port::new(port).unwrap())
    }

    fn holder(port: Port, hints: &[u32]) -> Holder {
        holders(&[port].into_iter().collect(), hints).unwrap().remove(&port).unwrap()
    }

    /// A process that is ended with the test.
    struct Sleeper(Child);

    impl Sleeper {
        /// Starts it in `directory`, with `socket` as its input.
        fn new(directory: &Path, socket: &socket2::Socket) -> Self {
            let input = socket.as_fd().try_clone_to_owned().unwrap();
            let mut command = Command::new("sleep");
            let command = command.arg("60").current_dir(directory).stdin(input);
            let sleeper = Self(command.spawn().unwrap());
            // It has started a moment before its arguments can be read.
            let arguments = format!("/proc/{}/cmdline", sleeper.0.id());
            assert!(eventually(|| fs::read(&arguments).unwrap() == b"sleep\x0060\0"));
            sleeper
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    #[test]
    fn the_own_process_is_found_with_and_without_a_hint() {
        let (_socket, port) = listener();
        let place = git::locate(Path::new("/proc/self/cwd")).unwrap();
        let start = identify(id()).unwrap().start;
        for hints in [&[][..], &[u32::MAX, 0, id()]] {
            assert!(eventually(|| {
                let found = holder(port, hints);
                let [process] = &found.processes[..] else { return false };
                (process.pid, process.start, process.place.as_ref()) == (id(), start, Some(&place))
                    && !found.hidden
            }));
        }
    }

    #[test]
    fn a_shared_socket_names_the_child_and_its_parent() {
        let (socket, port) = listener();
        let directory = TempDir::new().unwrap();
        let child = Sleeper::new(directory.path(), &socket);
        let found = holder(port, &[child.0.id()]);
        let [first, second] = &found.processes[..] else { panic!("{found:?}") };
        assert_eq!((first.pid, first.command.as_str()), (child.0.id(), "sleep 60"));
        let place = first.place.as_ref().unwrap();
        assert_eq!(place.directory, directory.path().canonicalize().unwrap());
        assert_eq!((second.pid, second.start), (first.parents[0].pid, first.parents[0].start));
        assert_eq!(second.pid, id());
        assert_eq!(second.place, first.parents[0].place);

        drop(socket);
        assert!(eventually(|| holder(port, &[child.0.id()]).processes.len() == 1));
    }

    #[test]
    fn a_deleted_directory_is_no_place_even_where_its_name_is_taken() {
        let (socket, port) = listener();
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("gone");
        fs::create_dir(&path).unwrap();
        let child = Sleeper::new(&path, &socket);
        let place = || holder(port, &[child.0.id()]).processes[0].place.clone();
        assert_eq!(place().unwrap().directory, path.canonicalize().unwrap());
        fs::remove_dir(&path).unwrap();
        assert_eq!(place(), None);
        // What the link says of a deleted directory.
        fs::create_dir(directory.path().join("gone (deleted)")).unwrap();
        assert_eq!(place(), None);
    }

    #[test]
    fn a_socket_without_a_visible_process_is_hidden() {
        let (socket, port) = listener();
        // On its way from one process to the other, a socket belongs to none.
        let (sender, _receiver) = UnixStream::pair().unwrap();
        let sockets = [socket.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut message = SendAncillaryBuffer::new(&mut space);
        assert!(message.push(SendAncillaryMessage::ScmRights(&sockets)));
        sendmsg(&sender, &[IoSlice::new(b"x")], &mut message, SendFlags::empty()).unwrap();
        drop(socket);
        assert!(eventually(|| {
            let found = holder(port, &[id()]);
            // Who opened it is told all the same.
            found.hidden && found.processes.is_empty() && found.users.len() == 1
        }));
    }

    #[test]
    fn a_zombie_and_a_reused_pid_are_dead() {
        let mut child = Sleeper::new(Path::new("/"), &listener().0);
        let owner = identify(child.0.id()).unwrap();
        assert_eq!(liveness(&owner), Liveness::Alive);
        let other = Owner { start: owner.start + 1, ..owner.clone() };
        assert_eq!(liveness(&other), Liveness::Dead);

        child.0.kill().unwrap();
        let pid = Pid::from_child(&child.0);
        waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
        assert_eq!(liveness(&owner), Liveness::Dead);
        assert_eq!(identify(owner.pid), None);
    }

    #[test]
    fn another_boot_is_over_and_another_namespace_unknown() {
        let owner = identify(id()).unwrap();
        assert_eq!(liveness(&owner), Liveness::Alive);
        let boot = "00000000-0000-0000-0000-000000000000".to_owned();
        let rebooted = Owner { boot, ..owner.clone() };
        assert_eq!(liveness(&rebooted), Liveness::Dead);
        let elsewhere = Owner { namespace: owner.namespace + 1, ..owner.clone() };
        assert_eq!(liveness(&elsewhere), Liveness::Unknown);
        for pid in [0, u32::MAX] {
            assert_eq!(identify(pid), None);
            assert_eq!(liveness(&Owner { pid, ..owner.clone() }), Liveness::Dead);
        }
    }
}

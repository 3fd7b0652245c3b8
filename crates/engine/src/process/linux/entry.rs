//! What `/proc` says about one process (`proc_pid(5)`).

use std::collections::HashMap;
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawDir, openat, readlinkat_raw, statat};
use rustix::io::{Errno, read};

use super::sockets::Socket;
use crate::process::{LONGEST_COMMAND, command_line};

/// The most that is read of a file about a process, in bytes: enough for a whole `stat`, for any
/// path (`PATH_MAX`, limits.h) and for what is kept of a command line.
pub(super) const BUFFER: usize = LONGEST_COMMAND;

/// `/proc/PID`, held open: everything read through it is about one process, even when its number is
/// given to another one meanwhile.
pub(super) struct Entry(OwnedFd);

impl Entry {
    pub(super) fn open(pid: u32) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(CWD, format!("/proc/{pid}"), flags, Mode::empty()).map(Self)
    }

    /// Where the process works: as its own mount namespace names it, and what is there.
    pub(super) fn directory<'b>(
        &self,
        buffer: &'b mut [u8; BUFFER],
    ) -> Result<(&'b Path, rustix::fs::Stat), Errno> {
        let length = readlinkat_raw(&self.0, "cwd", buffer.as_mut_slice())?;
        let directory = statat(&self.0, "cwd", AtFlags::empty())?;
        Ok((Path::new(OsStr::from_bytes(&buffer[..length])), directory))
    }

    /// The beginning of a file, as far as it fits.
    fn read<'b>(&self, name: &str, buffer: &'b mut [u8; BUFFER]) -> Result<&'b [u8], Errno> {
        let file = openat(&self.0, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut length = 0;
        while length < buffer.len() {
            match read(&file, &mut buffer[length..])? {
                0 => break,
                more => length += more,
            }
        }
        Ok(&buffer[..length])
    }

    pub(super) fn stat(&self, buffer: &mut [u8; BUFFER]) -> Result<Stat, Errno> {
        Stat::parse(self.read("stat", buffer)?).ok_or(Errno::INVAL)
    }

    /// The command line; the name in brackets where there is none, as ps(1) does.
    pub(super) fn command(&self, buffer: &mut [u8; BUFFER], stat: &Stat) -> String {
        let bytes = self.read("cmdline", buffer).unwrap_or_default();
        let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
        if bytes.is_empty() {
            format!("[{}]", stat.name)
        } else {
            command_line(bytes.split(|byte| *byte == 0))
        }
    }

    /// Which of the `wanted` sockets, by inode, the process has. None where it is another user's.
    pub(super) fn sockets(&self, wanted: &HashMap<u64, Socket>) -> Vec<u64> {
        let mut found = Vec::new();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(links) = openat(&self.0, "fd", flags, Mode::empty()) else { return found };
        let mut names = [MaybeUninit::uninit(); BUFFER];
        let mut names = RawDir::new(&links, &mut names);
        while let Some(Ok(name)) = names.next() {
            let mut target = [0; 32];
            let Ok(length) = readlinkat_raw(&links, name.file_name(), &mut target) else {
                continue;
            };
            let inode = parse_socket(&target[..length]);
            found
                .extend(inode.filter(|inode| wanted.contains_key(inode) && !found.contains(inode)));
            if found.len() == wanted.len() {
                break;
            }
        }
        found
    }
}

/// Reads `socket:[INODE]` (`proc_pid_fd(5)`); `None` for anything else that is open.
fn parse_socket(target: &[u8]) -> Option<u64> {
    let inode = target.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    str::from_utf8(inode).ok()?.parse().ok()
}

/// What is needed of `/proc/PID/stat` (`proc_pid_stat(5)`).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// The name of the program, lossy, at most 15 bytes or, of a kernel thread, 63.
    pub(super) name: String,
    /// Whether it has ended and only waits to be noticed by its parent. A process whose first
    /// thread has ended looks the same but for its other threads.
    pub(super) over: bool,
    /// The pid of its parent; 0 where there is none.
    pub(super) parent: u32,
    /// See [`Owner::start`].
    pub(super) start: u64,
}

impl Stat {
    /// The name may contain anything, blanks and parentheses too: it ends at the last one.
    fn parse(line: &[u8]) -> Option<Self> {
        let open = line.iter().position(|byte| *byte == b'(')?;
        let close = line.iter().rposition(|byte| *byte == b')')?;
        let name = String::from_utf8_lossy(line.get(open + 1..close)?).into_owned();
        // The first is field 3 of the manual page.
        let mut fields = str::from_utf8(&line[close + 1..]).ok()?.split_ascii_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        let threads: u32 = fields.nth(15)?.parse().ok()?;
        let start = fields.nth(1)?.parse().ok()?;
        let over = matches!(state, "Z" | "X" | "x") && threads <= 1;
        Some(Self { name, over, parent, start })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_look_like_the_fields_after_it() {
        let line =
            b"4711 (a) Z 1 (\xff) S 12 4711 4711 0 -1 4194560 91 0 0 0 1 2 3 4 20 0 7 0 204795 9";
        let name = "a) Z 1 (\u{fffd}".to_owned();
        let expected = Stat { name, over: false, parent: 12, start: 204_795 };
        assert_eq!(Stat::parse(line), Some(expected));
    }

    #[test]
    fn a_zombie_is_over_unless_other_threads_run() {
        let over = |state: &str, threads: u32| {
            let line = format!("1 (x) {state} 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 {threads} 0 5 9");
            Stat::parse(line.as_bytes()).unwrap().over
        };
        assert_eq!(
            [over("Z", 1), over("X", 0), over("Z", 2), over("S", 1)],
            [true, true, false, false]
        );
    }

    #[test]
    fn a_cut_line_is_no_answer() {
        for line in ["", "1", "1 (x", "1 (x)", "1 (x) S 1", "1 )x( S 1", "1 (x) S x"] {
            assert_eq!(Stat::parse(line.as_bytes()), None, "{line:?}");
        }
    }

    #[test]
    fn only_sockets_have_a_socket_inode() {
        assert_eq!(parse_socket(b"socket:[28514]"), Some(28514));
        for target in ["pipe:[28514]", "socket:[]", "socket:[28514", "/socket:[1]", ""] {
            assert_eq!(parse_socket(target.as_bytes()), None, "{target:?}");
        }
    }
}

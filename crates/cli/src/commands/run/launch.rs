//! Starting a command that finds its ports held until the very moment it begins.
//!
//! Hythe first starts itself, under another name. That process waits, so that there is a process to own
//! the reservations before the command runs. Over its standard input, a socket, it is sent the command
//! line, the variables, the input that the command shall have, and the sockets that hold the ports.
//! Hythe closes its own copies of those and says go; the process becomes the command by execve(2), and
//! in that instant the kernel closes the sockets. To hand over listening sockets instead, they stay
//! open, as `sd_listen_fds(3)` has it.
//!
//! Whatever ends Hythe before that closes the socket, and the waiting process ends as well.

use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use hythe_document::{ExitCode, Failure};
use hythe_engine::Hold;
use hythe_engine::invocation::Invocation;
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// What the waiting process is called in a list of processes, and how it is told from any other.
const NAME: &str = "hythe: waits to become a command";

/// The most services: their sockets and the input are sent at once, and the kernel allows 253
/// (`SCM_MAX_FD`, include/net/scm.h).
pub(super) const MOST_SERVICES: usize = 128;

/// The number of the first socket that is handed over (`SD_LISTEN_FDS_START`, `sd_listen_fds(3)`).
const FIRST_SOCKET: i32 = 3;

/// The longest message. The kernel lets no command line and environment be larger than that: 6 MiB
/// (`bprm_set_stack_rlimit` in fs/exec.c).
const LONGEST: u32 = 6 << 20;

/// A process that waits to become a command.
pub(super) struct Launch {
    child: Child,
    control: UnixStream,
}

/// Why a command did not begin.
pub(super) enum StartError {
    /// Nothing could be told to the process that should become it.
    Handover(io::Error),
    /// The system does not start it.
    Refused(io::Error),
}

impl StartError {
    pub(super) fn failure(&self, program: &str) -> Failure {
        let (code, message) = match self {
            Self::Handover(error) => {
                return Failure::unexpected(format!("`{program}` cannot be started: {error}"));
            }
            Self::Refused(error) if error.kind() == io::ErrorKind::NotFound => {
                (ExitCode::CommandNotFound, format!("`{program}` is not found"))
            }
            Self::Refused(error) => {
                (ExitCode::NotExecutable, format!("`{program}` cannot be started: {error}"))
            }
        };
        Failure { code, message, hint: None, details: serde_json::json!({}) }
    }
}

impl Launch {
    /// Starts the process, to work in `directory`. With `hand_over`, it inherits no descriptors but the
    /// standard ones: the numbers of others are needed.
    pub(super) fn new(directory: &Path, hand_over: bool) -> io::Result<Self> {
        if hand_over {
            close_fds::set_fds_cloexec(FIRST_SOCKET, &[]);
        }
        let (control, theirs) = UnixStream::pair()?;
        let child = Command::new(own_program()?)
            .arg0(NAME)
            .current_dir(directory)
            .stdin(OwnedFd::from(theirs))
            .spawn()?;
        Ok(Self { child, control })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has the process become the command; returns when it has. The ports are held until then, or
    /// handed over.
    pub(super) fn start(
        mut self,
        invocation: &Invocation,
        holds: Vec<Hold>,
        hand_over: bool,
    ) -> Result<Child, StartError> {
        match self.hand_over(invocation, holds, hand_over).map_err(StartError::Handover)? {
            None => Ok(self.child),
            Some(answer) => {
                // It has ended, or is about to.
                self.child.wait().map_err(StartError::Handover)?;
                let error = io::Error::from_raw_os_error(answer);
                Err(match error.kind() {
                    io::ErrorKind::ResourceBusy => StartError::Handover(error),
                    _ => StartError::Refused(error),
                })
            }
        }
    }

    /// What the process answers, if it does not become the command.
    fn hand_over(
        &mut self,
        invocation: &Invocation,
        holds: Vec<Hold>,
        hand_over: bool,
    ) -> io::Result<Option<i32>> {
        let message = Message { hand_over, invocation }.bytes()?;
        let (length, rest) = message.split_at(size_of::<u32>());
        let sockets: Vec<OwnedFd> = holds.into_iter().map(OwnedFd::from).collect();
        let input = io::stdin();
        // In the order in which they get their numbers: the input is moved to its place.
        let sent: Vec<BorrowedFd<'_>> =
            sockets.iter().map(AsFd::as_fd).chain([input.as_fd()]).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_SERVICES + 1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(&sent)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let parts = [IoSlice::new(length)];
        if sendmsg(&self.control, &parts, &mut ancillary, SendFlags::NOSIGNAL)? != length.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.control.write_all(rest)?;
        // From here on the other process alone has them.
        drop(sockets);
        self.control.write_all(GO)?;
        let mut answer = [0; size_of::<i32>()];
        match self.control.read_exact(&mut answer) {
            Ok(()) => Ok(Some(i32::from_le_bytes(answer))),
            // Its end of the socket was closed as it became the command, or died.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What is said when everything is sent and closed.
const GO: &[u8] = b"!";

/// The program that runs now, even where its file was replaced since.
fn own_program() -> io::Result<PathBuf> {
    match cfg!(target_os = "linux") {
        true => Ok(PathBuf::from("/proc/self/exe")),
        false => std::env::current_exe(),
    }
}

/// What the waiting process is to become.
struct Message<'a> {
    hand_over: bool,
    invocation: &'a Invocation,
}

impl Message<'_> {
    /// Its length, and then parts that end with a zero each, which no argument and no variable
    /// contains: whether sockets are handed over, the variables, an empty part, and the arguments.
    fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        let mut part = |bytes: &[u8]| {
            body.extend(bytes);
            body.push(0);
        };
        part(if self.hand_over { b"hand over" } else { b"hold" });
        for (name, value) in &self.invocation.variables {
            part(format!("{name}={value}").as_bytes());
        }
        part(b"");
        self.invocation.arguments.iter().for_each(|argument| part(argument.as_bytes()));
        let length = u32::try_from(body.len()).ok().filter(|length| *length <= LONGEST);
        let length = length.ok_or_else(|| io::Error::from(Errno::TOOBIG))?;
        Ok([&length.to_le_bytes()[..], &body].concat())
    }
}

/// Becomes the command, where this process was started for that. Returns only when that fails.
pub(crate) fn take_over() -> Option<u8> {
    if std::env::args_os().next().is_none_or(|name| name != OsStr::new(NAME)) {
        return None;
    }
    // Nobody is told of a failure: whoever started this has gone, or is waiting for the answer.
    let _ = become_command();
    Some(ExitCode::Unexpected as u8)
}

fn become_command() -> io::Result<()> {
    let mut length = [0; size_of::<u32>()];
    // What is received takes the lowest numbers, so nothing may be opened before.
    let (mut sockets, input) = receive(&mut length)?;
    let mut control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut body = Vec::new();
    let length = u32::from_le_bytes(length).min(LONGEST);
    (&control).take(length.into()).read_to_end(&mut body)?;
    control.read_exact(&mut [0; GO.len()])?;

    let mut parts = body.split(|byte| *byte == 0);
    let hand_over = parts.next() == Some(b"hand over");
    let variables: Vec<_> = parts
        .by_ref()
        .take_while(|part| !part.is_empty())
        .filter_map(|part| {
            let at = part.iter().position(|byte| *byte == b'=')?;
            Some((OsStr::from_bytes(&part[..at]), OsStr::from_bytes(&part[at + 1..])))
        })
        .collect();
    let mut arguments: Vec<_> = parts.map(|part| OsString::from_vec(part.to_vec())).collect();
    // After the last zero there is nothing.
    arguments.pop();
    let Some((program, arguments)) = arguments.split_first() else {
        return Err(io::ErrorKind::InvalidData.into());
    };

    let mut command = Command::new(program);
    command.args(arguments).envs(variables).stdin(input);
    if hand_over {
        for (socket, number) in sockets.iter_mut().zip(FIRST_SOCKET..) {
            if socket.as_raw_fd() != number {
                return control.write_all(&Errno::BUSY.raw_os_error().to_le_bytes());
            }
            fcntl_setfd(&*socket, FdFlags::empty())?;
        }
        command.env("LISTEN_PID", std::process::id().to_string());
    }
    let error = command.exec();
    let errno = error.raw_os_error().unwrap_or(Errno::INVAL.raw_os_error());
    control.write_all(&errno.to_le_bytes())
}

/// The sockets and the input of the command, which come with the length of the message. They are
/// closed when the command begins.
fn receive(length: &mut [u8]) -> io::Result<(Vec<OwnedFd>, OwnedFd)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_SERVICES + 1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let parts = &mut [IoSliceMut::new(length)];
    let received = recvmsg(io::stdin().as_fd(), parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    match descriptors.pop() {
        Some(input) if received.bytes == size_of::<u32>() => Ok((descriptors, input)),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

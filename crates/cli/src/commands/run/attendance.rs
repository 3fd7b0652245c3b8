//! Attending to a command while it runs: signals are passed on, its end is waited for, and now and
//! then it is looked at whether it listens where it should.

use std::fs::File;
use std::io::{self, Read};
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use hythe_engine::{Heed, Port};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use signal_hook::consts::{
    SIGALRM, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2, SIGWINCH,
};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::emulate_default_handler;
use signal_hook::low_level::siginfo::{Cause, Origin};

/// The signals that are passed on.
const PASSED: [i32; 10] =
    [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGWINCH, SIGTSTP, SIGCONT];

/// The signals that tell a command to end: one that does has lost no port.
const ENDING: [i32; 4] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT];

/// How long after its start the command is looked at, in seconds. It is said to listen elsewhere when
/// two looks in a row find that: a debugger's port may be open earlier than the server's own.
const LOOKS: [u64; 4] = [2, 4, 8, 16];

/// More bytes than the kernel writes into a status, which has some sixty short lines.
const LARGEST_STATUS: u64 = 64 * 1024;

enum Happening {
    Signal(Origin),
    Ended,
}

/// Waits for signals from now on, so that they do not end this process.
pub(super) struct Attendance {
    sender: Sender<Happening>,
    receiver: Receiver<Happening>,
}

/// Where a command should listen, and what is done when it does not.
pub(super) struct Served<'a> {
    /// Whether that is looked at.
    pub(super) watched: bool,
    pub(super) look: &'a dyn Fn(u32) -> Heed,
    pub(super) elsewhere: &'a dyn Fn(&[Port]),
}

impl Attendance {
    pub(super) fn begin() -> io::Result<Self> {
        // What is ignored stays so, for the command as well: that is what nohup(1) is for.
        let ignored = ignored();
        let passed = PASSED.iter().filter(|signal| (ignored >> (**signal - 1)) & 1 == 0);
        let mut signals = SignalsInfo::<WithOrigin>::new(passed)?;
        let (sender, receiver) = channel();
        let heard = sender.clone();
        thread::spawn(move || {
            for origin in &mut signals {
                if heard.send(Happening::Signal(origin)).is_err() {
                    return;
                }
            }
        });
        Ok(Self { sender, receiver })
    }

    /// Waits for the end of the command, and whether it was told to end.
    pub(super) fn attend(
        &self,
        mut child: Child,
        served: &Served<'_>,
    ) -> io::Result<(ExitStatus, bool)> {
        let pid = Pid::from_child(&child);
        let ended = self.sender.clone();
        thread::spawn(move || {
            // Its number stays its own until it is waited for below.
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while waitid(WaitId::Pid(pid), options).is_err_and(|errno| errno == Errno::INTR) {}
            // Nobody listens when this process is about to end.
            let _ = ended.send(Happening::Ended);
        });
        let started = Instant::now();
        let mut looks = LOOKS.iter().filter(|_| served.watched).map(|it| Duration::from_secs(*it));
        let mut next = looks.next();
        let mut before = Heed::Unknown;
        let mut told = false;
        loop {
            let happening = match next {
                Some(next) => self.receiver.recv_timeout(next.saturating_sub(started.elapsed())),
                None => self.receiver.recv().map_err(Into::into),
            };
            match happening {
                Ok(Happening::Signal(origin)) => {
                    told |= ENDING.contains(&origin.signal);
                    pass_on(&origin, pid);
                }
                Ok(Happening::Ended) | Err(RecvTimeoutError::Disconnected) => {
                    return Ok((child.wait()?, told));
                }
                Err(RecvTimeoutError::Timeout) => {
                    next = looks.next();
                    let now = (served.look)(child.id());
                    match &now {
                        Heed::Heeds | Heed::Unknown => next = None,
                        Heed::Elsewhere(ports) if now == before => {
                            (served.elsewhere)(ports);
                            next = None;
                        }
                        Heed::Elsewhere(_) | Heed::Nowhere => {}
                    }
                    before = now;
                }
            }
        }
    }
}

/// Passes a signal on that was sent to this process. What the kernel sends, such as Ctrl-C of a
/// terminal, goes to the whole foreground group, and so to the command as well.
fn pass_on(origin: &Origin, pid: Pid) {
    let alone = origin.cause != Cause::Kernel;
    if let Some(signal) = Signal::from_named_raw(origin.signal).filter(|_| alone) {
        // It may have ended by now.
        let _ = kill_process(pid, signal);
    }
    if origin.signal == SIGTSTP {
        // Stops this process. Where that is refused, it just goes on.
        let _ = emulate_default_handler(SIGTSTP);
    }
}

/// The signals that this process was told to ignore, bit 0 for signal 1 (`SigIgn`,
/// `proc_pid_status(5)`); none where the system does not say.
fn ignored() -> u64 {
    let mut status = String::new();
    if let Ok(file) = File::open("/proc/self/status") {
        // What cannot be read says nothing.
        let _ = file.take(LARGEST_STATUS).read_to_string(&mut status);
    }
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

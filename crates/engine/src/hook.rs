//! A command that is run without a shell, reads what it is told from its stdin, and ends in time.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{self, Child, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// Set for a hook and all that it starts: what they ask Hythe for runs no hooks.
pub(crate) const VARIABLE: &str = "HYTHE_HOOK";

/// What is run.
#[derive(Debug)]
pub(crate) struct Command<'a> {
    /// A path, or a name that is looked for on the search path.
    pub(crate) program: &'a OsStr,
    pub(crate) arguments: &'a [String],
    /// Where it is run.
    pub(crate) directory: &'a Path,
    /// After this long it is killed, with everything that it started and left in its process group.
    pub(crate) timeout: Duration,
}

/// A command that did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HookError {
    /// It could not be started.
    #[error("it could not be started: {0}")]
    Start(io::Error),
    /// It ended with a failure.
    #[error("{0}")]
    Exit(ExitStatus),
    /// It did not end in time.
    #[error("killed after {}", humantime::format_duration(*.0))]
    Timeout(Duration),
}

/// Runs `command` to its end, with `input` on its stdin. What it writes, to stdout or stderr, goes to
/// the stderr of this process. That it does not read is no failure.
pub(crate) fn run(command: &Command<'_>, input: String) -> Result<(), HookError> {
    let mut child = process::Command::new(command.program)
        .args(command.arguments)
        .current_dir(command.directory)
        .env(VARIABLE, "1")
        .stdin(Stdio::piped())
        .stdout(io::stderr())
        // A group of its own, so that what it started can be killed with it.
        .process_group(0)
        .spawn()
        .map_err(HookError::Start)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A reader that stops reading stops the writer, which must not stop us. Nobody waits for it, and
        // a pipe that is closed has had enough.
        thread::spawn(move || {
            let _ = stdin.write_all(input.as_bytes());
        });
    }
    let status = match ends_within(&child, command.timeout) {
        true => child.wait(),
        false => {
            kill(&mut child);
            let _ = child.wait();
            return Err(HookError::Timeout(command.timeout));
        }
    };
    match status.map_err(HookError::Start)? {
        status if status.success() => Ok(()),
        status => Err(HookError::Exit(status)),
    }
}

/// Whether the process has ended after this time at most. It is not reaped: until then nobody else gets
/// its process id.
fn ends_within(child: &Child, limit: Duration) -> bool {
    let Some(pid) = pid(child) else { return true };
    let (ended, end) = mpsc::channel();
    thread::spawn(move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while waitid(WaitId::Pid(pid), options).is_err_and(|error| error == rustix::io::Errno::INTR)
        {
        }
        // Nobody listens any more after the time is up.
        let _ = ended.send(());
    });
    end.recv_timeout(limit).is_ok()
}

fn kill(child: &mut Child) {
    // Where it has left its group, it alone.
    let killed = pid(child).is_some_and(|pid| kill_process_group(pid, Signal::KILL).is_ok());
    if !killed {
        let _ = child.kill();
    }
}

fn pid(child: &Child) -> Option<Pid> {
    Pid::from_raw(child.id().try_into().ok()?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    fn shell(script: &str, timeout: Duration, input: &str) -> Result<(), String> {
        let arguments = ["-c".to_owned(), script.to_owned()];
        let command = Command {
            program: OsStr::new("sh"),
            arguments: &arguments,
            directory: Path::new("/"),
            timeout,
        };
        run(&command, input.to_owned()).map_err(|error| error.to_string())
    }

    #[test]
    fn it_reads_what_it_is_told_and_knows_that_it_is_a_hook() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("told");
        let script = format!("{{ cat; echo \"$HYTHE_HOOK $PWD\"; }} > '{}'", file.display());
        let input = "line\n".repeat(100_000);
        shell(&script, LONG, &input).unwrap();
        assert!(fs::read_to_string(file).unwrap() == format!("{input}1 /\n"));
    }

    #[test]
    fn what_goes_wrong_is_told() {
        assert_eq!(shell("exit 3", LONG, "").unwrap_err(), "exit status: 3");
        assert!(shell("kill -9 $$", LONG, "").unwrap_err().starts_with("signal: 9"));
        let command = Command {
            program: OsStr::new("/no/such/program"),
            arguments: &[],
            directory: Path::new("/"),
            timeout: LONG,
        };
        let error = run(&command, String::new()).unwrap_err().to_string();
        assert!(error.starts_with("it could not be started: "), "{error}");
    }

    #[test]
    fn who_does_not_read_does_not_fail() {
        let much = "x".repeat(1 << 20);
        shell("true", LONG, &much).unwrap();
        shell("exec <&-", LONG, &much).unwrap();
    }

    #[test]
    fn who_is_slow_is_killed_with_what_it_started() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        let script = format!("sleep 600 & echo $! > '{}'; wait", file.display());
        let start = Instant::now();
        let error = shell(&script, Duration::from_millis(200), "").unwrap_err();
        assert_eq!(error, "killed after 200ms");
        assert!(start.elapsed() < LONG);
        let pid: i32 = fs::read_to_string(file).unwrap().trim().parse().unwrap();
        // Its parent is gone: whoever reaps it may take a moment.
        let deadline = Instant::now() + Duration::from_secs(10);
        let alive = || {
            let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            state.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
        };
        while alive() && Instant::now() < deadline {
            thread::park_timeout(Duration::from_millis(5));
        }
        assert!(!alive(), "{pid} lives");
    }
}

//! Processes: who listens on a port, what a process is, and whether it still runs.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(any(not(target_os = "linux"), test))]
#[cfg_attr(target_os = "linux", allow(dead_code, reason = "only what is compared is used here"))]
mod portable;

#[cfg(target_os = "linux")]
use linux as platform;
#[cfg(not(target_os = "linux"))]
use portable as platform;

pub(crate) use platform::{holders, identify, is_closing, is_listening, liveness};

/// The longest command line that is kept, in bytes.
const LONGEST_COMMAND: usize = 4096;

/// The most parents that are named of a process.
const MOST_PARENTS: usize = 64;

/// A command line as text: arguments joined by blanks, lossy, cut at [`LONGEST_COMMAND`].
fn command_line<'a>(arguments: impl Iterator<Item = &'a [u8]>) -> String {
    let mut text = String::new();
    for (index, argument) in arguments.enumerate() {
        if index > 0 {
            text.push(' ');
        }
        text.push_str(&String::from_utf8_lossy(argument));
        if text.len() > LONGEST_COMMAND {
            text.truncate(text.floor_char_boundary(LONGEST_COMMAND));
            break;
        }
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    /// Whether `condition` comes true. Other tests start processes, and until those have begun their
    /// own program, they share every socket that is open here.
    pub(crate) fn eventually(mut condition: impl FnMut() -> bool) -> bool {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !condition() {
            if Instant::now() > deadline {
                return false;
            }
            thread::yield_now();
        }
        true
    }

    #[test]
    fn a_command_line_is_cut_between_characters() {
        assert_eq!(command_line([&b"npm"[..], b"run \xff", b""].into_iter()), "npm run \u{fffd} ");
        let text = command_line(std::iter::repeat("größe".as_bytes()));
        assert!((LONGEST_COMMAND - 1..=LONGEST_COMMAND).contains(&text.len()), "{}", text.len());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn both_ways_to_look_at_processes_agree() {
        use socket2::{Domain, Socket, Type};

        use crate::observed::{Holders, Process};
        use crate::port::{Port, PortSet};

        // A socket that listens without a bind gets a port from the kernel.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.listen(1).unwrap();
        let port = Port::new(socket.local_addr().unwrap().as_socket().unwrap().port()).unwrap();
        let ports: PortSet = [port].into_iter().collect();

        // The start is in another unit.
        let facts = |process: &Process| {
            let parents: Vec<_> =
                process.parents.iter().map(|parent| (parent.pid, parent.place.clone())).collect();
            (process.pid, process.user, process.command.clone(), process.place.clone(), parents)
        };
        let agree = |one: &Holders, other: &Holders| {
            let ([one], [other]) = (&one[&port].processes[..], &other[&port].processes[..]) else {
                return false;
            };
            facts(one) == facts(other) && one.started_at.distance(other.started_at).as_secs() < 2
        };
        assert!(eventually(|| {
            let linux = holders(&ports, &[]).unwrap();
            let portable = portable::holders(&ports, &[]).unwrap();
            linux.len() == 1 && portable.len() == 1 && agree(&linux, &portable)
        }));
        assert!(is_listening(port).unwrap());
        assert!(portable::is_listening(port).unwrap());

        drop(socket);
        assert!(eventually(|| !is_listening(port).unwrap()));
        assert!(eventually(|| !portable::is_listening(port).unwrap()));
        assert!(holders(&ports, &[]).unwrap().is_empty());
        assert!(portable::holders(&ports, &[]).unwrap().is_empty());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn both_ways_know_the_dead_from_the_living() {
        use crate::observed::Liveness;

        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let owner = identify(child.id()).unwrap();
        let same = portable::identify(child.id()).unwrap();
        assert!(owner.started_at.distance(same.started_at).as_secs() < 2);
        let both = || (liveness(&owner), portable::liveness(&same));
        assert_eq!(both(), (Liveness::Alive, Liveness::Alive));
        // An owner from a system of the other kind.
        assert_eq!(portable::liveness(&owner), Liveness::Unknown);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(both(), (Liveness::Dead, Liveness::Dead));
        assert_eq!(identify(child.id()), None);
        assert_eq!(portable::identify(child.id()), None);
    }
}

//! Machines that lack something: an address family, a right, a home, room.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::rig::{
    Books, calm, contents, ends, hythe, in_shell, leave_a_hot_journal, powerless, python,
    quiet_world, restore, skipped, strace, under, unshare, works, world_in,
};
use crate::support::{Run, World};

/// Runs a command in a sandbox that answers system calls with errors, by a seccomp filter
/// (seccomp(2)): `bind=1` answers every bind with error 1, `socket:10=97` every socket of family 10
/// with error 97.
const SANDBOX: &str = r#"
import ctypes, os, platform, struct, sys

SOCKET, BIND = {"x86_64": (41, 49), "aarch64": (198, 200)}[platform.machine()]
program = b""

def step(code, yes, no, value):
    global program
    program += struct.pack("HBBI", code, yes, no, value)

rules = sys.argv[1:sys.argv.index("--")]
for rule in rules:
    call, error = rule.split("=")
    call, _, family = call.partition(":")
    step(0x20, 0, 0, 0)
    step(0x15, 0, 3 if family else 1, {"socket": SOCKET, "bind": BIND}[call])
    if family:
        step(0x20, 0, 0, 16)
        step(0x15, 0, 1, int(family))
    step(0x06, 0, 0, 0x00050000 | int(error))
step(0x06, 0, 0, 0x7FFF0000)

class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("program", ctypes.c_char_p)]

libc = ctypes.CDLL(None, use_errno=True)
arguments = Filter(len(program) // 8, program)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.byref(arguments), 0, 0):
    sys.exit("prctl: " + os.strerror(ctypes.get_errno()))
command = sys.argv[sys.argv.index("--") + 1:]
os.execvp(command[0], command)
"#;

/// Listens on an address and port, and runs a command meanwhile.
const SERVER: &str = r#"
import socket, subprocess, sys

address, port = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
server = socket.socket(family, socket.SOCK_STREAM)
if family == socket.AF_INET6:
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
server.bind((address, port))
server.listen(1)
sys.exit(subprocess.run(sys.argv[3:]).returncode)
"#;

const EPERM: i32 = 1;
const EAFNOSUPPORT: i32 = 97;
const AF_INET: i32 = 2;
const AF_INET6: i32 = 10;

/// Runs `command` under seccomp rules.
fn sandboxed(python: &str, rules: &[String], command: &Command) -> Command {
    let rules = rules.iter().map(String::as_str);
    let tool: Vec<_> = [python, "-c", SANDBOX].into_iter().chain(rules).chain(["--"]).collect();
    under(&tool, command)
}

/// Whether the kernel knows IPv6 at all.
fn has_ipv6() -> bool {
    Path::new("/proc/net/if_inet6").exists()
}

/// Somebody else's server.
#[expect(clippy::disallowed_methods, reason = "stands for another program")]
fn stranger(address: &str, ports: std::ops::Range<u16>) -> (TcpListener, u16) {
    let mut servers =
        ports.filter_map(|port| Some((TcpListener::bind((address, port)).ok()?, port)));
    servers.next().unwrap()
}

fn reserve(world: &World, place: &Path, arguments: &[&str]) -> Command {
    let mut command = world.command(place);
    command.arg("reserve").args(arguments);
    command
}

#[test]
fn networks_without_an_address_or_a_family() {
    let test = "networks_without_an_address_or_a_family";
    let (Some(unshare), Some(python)) = (unshare(test, &["--net"]), python(test)) else { return };
    let up = "ip link set lo up";
    let machines = [
        ("true".to_owned(), "0.0.0.0"),
        (up.to_owned(), "127.0.0.1"),
        (up.to_owned(), "::1"),
        (format!("{up} && echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6"), "127.0.0.1"),
        (format!("{up} && ip -4 address del 127.0.0.1/8 dev lo"), "::1"),
    ];
    for (machine, address) in machines {
        if address == "::1" && !has_ipv6() {
            skipped(test, "without IPv4, needs IPv6");
            continue;
        }
        let shell = [&unshare[..], &["sh", "-c", &machine]].concat();
        if !works(&shell) {
            skipped(test, &format!("needs `{machine}` to be allowed"));
            continue;
        }
        let world = quiet_world();
        let place = world.dir("place");
        let inside = |command: &Command| {
            under(&unshare, &in_shell(&format!("{machine} && exec \"$@\""), command))
        };
        let port = Run::from(calm(&mut inside(&reserve(&world, &place, &[])))).port();
        assert_eq!(Run::from(calm(&mut inside(&reserve(&world, &place, &[])))).port(), port);
        // A server is seen, whatever is missing.
        let server = [python, "-c", SERVER, address, "25000"];
        let asks = under(&server, &reserve(&world, &place, &["other", "--prefer", "25000"]));
        let run = Run::from(calm(&mut inside(&asks)));
        assert!(run.stderr().contains("preferred port 25000"), "{machine}: {}", run.stderr());
        assert_ne!(run.port(), 25_000, "{machine}");
    }
}

#[test]
fn sandboxes_without_a_family() {
    let test = "sandboxes_without_a_family";
    let Some(python) = python(test) else { return };
    let missing = |family| format!("socket:{family}={EAFNOSUPPORT}");
    for family in [AF_INET6, AF_INET] {
        if family == AF_INET && !has_ipv6() {
            return skipped(test, "without IPv4, needs IPv6");
        }
        let rules = [missing(family)];
        let world = world_in("24000-24499");
        let place = world.dir("place");
        let (_server, held) = stranger("127.0.0.1", 24_000..24_499);
        let run = |arguments: &[&str]| {
            Run::from(calm(&mut sandboxed(python, &rules, &reserve(&world, &place, arguments))))
        };
        let port = run(&[]);
        assert_eq!(port.stderr(), "", "{rules:?}");
        let port = port.port();
        assert_eq!(run(&[]).port(), port);
        let other = run(&["other", "--prefer", &held.to_string()]);
        assert!(other.stderr().contains("preferred port"), "{rules:?}: {}", other.stderr());
        assert_ne!(other.port(), held, "{rules:?}");
    }
}

/// Without a bind, what the socket tables say is good enough, and is said.
#[test]
fn sandboxes_that_forbid_to_bind() {
    let test = "sandboxes_that_forbid_to_bind";
    let Some(python) = python(test) else { return };
    let missing = [AF_INET, AF_INET6].map(|family| format!("socket:{family}={EAFNOSUPPORT}"));
    let sandboxes =
        [vec![format!("bind={EPERM}")], vec![format!("socket={EPERM}")], missing.to_vec()];
    for rules in sandboxes {
        let world = world_in("24500-24999");
        let place = world.dir("place");
        let (_server, held) = stranger("127.0.0.1", 24_500..24_999);
        let port = world.reserve(&place, &[]);
        let run = |arguments: &[&str]| {
            Run::from(calm(&mut sandboxed(python, &rules, &reserve(&world, &place, arguments))))
        };
        assert_eq!(run(&[]).port(), port);
        let other = run(&["other", "--prefer", &held.to_string()]);
        let said = other.stderr();
        assert!(said.contains("preferred port"), "{rules:?}: {said}");
        assert!(said.contains("could not be tried"), "{rules:?}: {said}");
        let given = other.port();
        assert!(given != held && given != port, "{rules:?}");
        assert_eq!(run(&["other"]).port(), given);
    }
}

/// Where nothing can be found out, nothing new is given.
#[test]
fn sandboxes_that_hide_the_socket_tables_as_well() {
    let test = "sandboxes_that_hide_the_socket_tables_as_well";
    let (Some(unshare), Some(python)) = (unshare(test, &["--mount"]), python(test)) else { return };
    let world = quiet_world();
    let place = world.dir("place");
    let port = world.reserve(&place, &[]);
    let run = |arguments: &[&str]| {
        let rules = [format!("socket={EPERM}")];
        let inner = sandboxed(python, &rules, &reserve(&world, &place, arguments));
        let hidden = in_shell("mount -t tmpfs none /proc && exec \"$@\"", &inner);
        Run::from(calm(&mut under(&unshare, &hidden)))
    };
    assert_eq!(run(&[]).port(), port);
    let said = run(&["other"]).fails(5);
    assert!(said.contains("sandbox") && said.contains("hint:"), "{said}");
    assert_eq!(Books::open(&world).ports().len(), 1);
}

/// What may be done with a ledger that may only be read. `run` runs hythe there.
fn only_read(world: &World, port: u16, run: impl Fn(&[&str]) -> Run) {
    let before = contents(&world.state());
    assert_eq!(run(&["get"]).port(), port);
    assert_eq!(run(&["reserve"]).port(), port);
    assert!(run(&["list"]).ok().contains(&port.to_string()));
    assert!(!run(&["log"]).ok().is_empty());
    let stale = run(&["reserve", "stale"]);
    assert!(stale.stderr().contains("not recorded"), "{}", stale.stderr());
    stale.port();
    for writer in [&["reserve", "new"][..], &["release"], &["lock"], &["cleanup"]] {
        let said = run(writer).fails(9);
        assert!(said.contains(world.state().to_str().unwrap()), "{writer:?}: {said}");
        assert!(said.contains("HYTHE_STATE_DIR"), "{writer:?}: {said}");
    }
    assert_eq!(contents(&world.state()), before);
}

/// A world with a fresh reservation and a stale one.
fn fresh_and_stale() -> (World, std::path::PathBuf, u16) {
    let world = quiet_world();
    let place = world.dir("place");
    let port = world.reserve(&place, &[]);
    world.reserve(&place, &["stale"]);
    Books::open(&world).change(
        "UPDATE reservation SET last_used_at = last_used_at - 3600000 WHERE service = 'stale'",
    );
    (world, place, port)
}

fn set_mode(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_state_directory_without_the_right_to_write() {
    let test = "a_state_directory_without_the_right_to_write";
    // Whether the lock can be opened or not: neither is enough to write.
    for lock in [0o644, 0o444] {
        let (world, place, port) = fresh_and_stale();
        if powerless(test, &world.command(&place)).is_none() {
            return;
        }
        set_mode(world.ledger(), 0o444);
        set_mode(world.state().join("ledger.lock"), lock);
        set_mode(world.state(), 0o555);
        only_read(&world, port, |arguments| {
            let mut command = world.command(&place);
            command.args(arguments);
            Run::from(calm(&mut powerless(test, &command).unwrap()))
        });
        set_mode(world.state(), 0o755);
    }
}

#[test]
fn a_state_directory_on_a_read_only_mount() {
    let test = "a_state_directory_on_a_read_only_mount";
    let Some(unshare) = unshare(test, &["--mount"]) else { return };
    let (world, place, port) = fresh_and_stale();
    let state = world.state();
    let mount = format!(
        "mount --bind '{0}' '{0}' && mount -o remount,ro,bind '{0}' && exec \"$@\"",
        state.display()
    );
    only_read(&world, port, |arguments| {
        let mut command = world.command(&place);
        command.args(arguments);
        Run::from(calm(&mut under(&unshare, &in_shell(&mount, &command))))
    });
}

/// Half a transaction of a killed writer is in the way, and may not be rolled back: to answer from
/// it would be to invent.
#[test]
fn a_hot_journal_that_may_not_be_rolled_back() {
    let test = "a_hot_journal_that_may_not_be_rolled_back";
    let world = quiet_world();
    let place = world.dir("place");
    if !strace(test) || powerless(test, &world.command(&place)).is_none() {
        return;
    }
    let port = world.reserve(&place, &[]);
    leave_a_hot_journal(&world, &reserve(&world, &place, &["lost"]));
    set_mode(world.state(), 0o555);
    for verb in ["get", "list", "reserve"] {
        let mut command = world.command(&place);
        command.arg(verb);
        let said = Run::from(calm(&mut powerless(test, &command).unwrap())).fails(9);
        assert!(said.contains("HYTHE_STATE_DIR"), "{verb}: {said}");
    }
    set_mode(world.state(), 0o755);
    assert_eq!(hythe(&world, &place, &["get"]).port(), port);
}

#[test]
fn no_home_and_no_standard_directories() {
    let world = quiet_world();
    let place = world.dir("place");
    let state = world.dir("elsewhere");
    let port = {
        let mut command = reserve(&world, &place, &[]);
        command.env_remove("HOME").env("HYTHE_STATE_DIR", &state);
        Run::from(calm(&mut command)).port()
    };
    assert!(state.join("ledger.db").exists() && !world.state().exists());
    // Relative directories are invalid, and ignored (XDG Base Directory Specification).
    let mut command = reserve(&world, &place, &[]);
    command.env("XDG_STATE_HOME", "relative").env("XDG_CACHE_HOME", "relative");
    Run::from(calm(&mut command)).port();
    assert!(world.ledger().exists() && !place.join("relative").exists());

    let mut command = world.command(&place);
    command.arg("get").env_remove("HOME").env("HYTHE_STATE_DIR", &state);
    assert_eq!(Run::from(calm(&mut command)).port(), port);
}

#[test]
fn a_user_that_nobody_has_heard_of_and_no_home() {
    let test = "a_user_that_nobody_has_heard_of_and_no_home";
    let tool = ["unshare", "--user", "--map-user=54321"];
    if !works(&[&tool[..], &["true"]].concat()) {
        return skipped(test, "needs `unshare --user` to be allowed");
    }
    let world = World::new();
    let place = world.dir("place");
    for verb in ["reserve", "get"] {
        let mut command = world.command(&place);
        command.arg(verb).env_remove("HOME");
        let said = Run::from(calm(&mut under(&tool, &command))).fails(3);
        assert!(said.contains("HYTHE_STATE_DIR") && said.contains("hint:"), "{said}");
    }
}

#[test]
fn a_home_without_the_right_to_write() {
    let test = "a_home_without_the_right_to_write";
    let world = quiet_world();
    let place = world.dir("place");
    set_mode(world.home(), 0o555);
    for (verb, code) in [("reserve", 9), ("get", 7)] {
        let mut command = world.command(&place);
        command.arg(verb);
        let Some(mut command) = powerless(test, &command) else { return };
        let said = Run::from(calm(&mut command)).fails(code);
        assert_eq!(said.contains("HYTHE_STATE_DIR"), code == 9, "{said}");
    }
    assert!(!world.state().exists());
}

/// Reservations of processes, an hour old.
fn aged(world: &World) {
    Books::open(world).change("UPDATE reservation SET last_used_at = last_used_at - 3600000");
}

fn services(world: &World) -> Vec<String> {
    Books::open(world).ports().into_keys().map(|(_, service)| service).collect()
}

#[test]
fn only_owners_that_are_proven_dead_lose_their_ports() {
    let world = quiet_world();
    let place = world.dir("place");
    let mut dead = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
    let (living, dying) = (std::process::id().to_string(), dead.id().to_string());
    for (service, owner) in
        [("alive", &living), ("dead", &dying), ("reused", &living), ("rebooted", &living)]
    {
        world.reserve(&place, &[service, "--lease", "ephemeral", "--pid", owner]);
    }
    dead.kill().unwrap();
    dead.wait().unwrap();
    let books = Books::open(&world);
    books.change("UPDATE reservation SET owner_start = owner_start - 1 WHERE service = 'reused'");
    books.change("UPDATE reservation SET owner_boot = 'before' WHERE service = 'rebooted'");
    drop(books);
    // Within the grace period nobody is reaped.
    hythe(&world, &place, &["cleanup"]).ok();
    assert_eq!(services(&world), ["alive", "dead", "rebooted", "reused"]);
    aged(&world);
    hythe(&world, &place, &["cleanup"]).ok();
    assert_eq!(services(&world), ["alive"]);
}

#[test]
fn owners_in_other_pid_namespaces_are_never_reaped() {
    let test = "owners_in_other_pid_namespaces_are_never_reaped";
    let Some(unshare) = unshare(test, &["--pid", "--fork", "--mount-proc"]) else { return };
    let world = quiet_world();
    let place = world.dir("place");
    // The shell is process 1 there, and owns it; here process 1 is somebody else. It lives until its
    // input ends: the number of a namespace that is over may be given to the next.
    let command = reserve(&world, &place, &["there", "--lease", "ephemeral"]);
    let mut inside = under(&unshare, &in_shell("\"$@\"; read end", &command))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut port = String::new();
    BufReader::new(inside.stdout.take().unwrap()).read_line(&mut port).unwrap();
    assert!(port.trim().parse::<u16>().is_ok(), "{port}");
    world.reserve(&place, &["here", "--lease", "ephemeral", "--pid", "1"]);
    aged(&world);
    hythe(&world, &place, &["cleanup"]).ok();
    assert_eq!(services(&world), ["here", "there"]);
    // Nor from another namespace: neither is its own.
    let mut cleanup = world.command(&place);
    cleanup.arg("cleanup");
    Run::from(calm(&mut under(&unshare, &in_shell("\"$@\"; exit $?", &cleanup)))).ok();
    assert_eq!(services(&world), ["here", "there"]);
    drop(inside.stdin.take());
    inside.wait().unwrap();
}

#[test]
fn a_proc_of_another_pid_namespace_proves_nothing() {
    let test = "a_proc_of_another_pid_namespace_proves_nothing";
    let Some(unshare) = unshare(test, &["--pid", "--fork"]) else { return };
    let world = quiet_world();
    let place = world.dir("place");
    let mut dead = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
    world.reserve(&place, &["dead", "--lease", "ephemeral", "--pid", &dead.id().to_string()]);
    dead.kill().unwrap();
    dead.wait().unwrap();
    aged(&world);
    let inside = |arguments: &[&str]| {
        let mut command = world.command(&place);
        command.args(arguments);
        Run::from(calm(&mut under(&unshare, &in_shell("\"$@\"; exit $?", &command))))
    };
    inside(&["cleanup"]).ok();
    assert_eq!(services(&world), ["dead"]);
    inside(&["reserve"]).port();
    let said = inside(&["reserve", "other", "--lease", "ephemeral"]).fails(2);
    assert!(said.contains("cannot own"), "{said}");
}

#[test]
fn closed_and_full_outputs() {
    let world = quiet_world();
    let place = world.dir("place");
    let port = world.reserve(&place, &[]);
    // The files of the ledger must never get the numbers of the standard streams.
    let closings = ["<&-", ">&-", "2>&-", "<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"];
    for (number, closed) in closings.into_iter().enumerate() {
        for service in ["main", &format!("service-{number}")] {
            let command = reserve(&world, &place, &[service, "--explain"]);
            let mut command = in_shell(&format!("exec \"$@\" {closed}"), &command);
            Run::from(calm(&mut command)).ok();
            Books::open(&world);
        }
    }
    let command = reserve(&world, &place, &["unheard"]);
    if Path::new("/dev/full").exists() {
        let said = Run::from(calm(&mut in_shell("exec \"$@\" > /dev/full", &command))).fails(1);
        assert!(said.contains("could not be written"), "{said}");
        Run::from(calm(&mut in_shell("exec \"$@\" 2> /dev/full", &command))).port();
    }
    assert_eq!(hythe(&world, &place, &["get"]).port(), port);
}

#[test]
fn little_address_space() {
    let world = quiet_world();
    let place = world.dir("place");
    let limit = "ulimit -v 524288 && exec \"$@\"";
    let port = Run::from(calm(&mut in_shell(limit, &reserve(&world, &place, &[])))).port();
    assert_eq!(Run::from(calm(&mut in_shell(limit, &reserve(&world, &place, &[])))).port(), port);
    let mut cleanup = world.command(&place);
    cleanup.arg("cleanup");
    Run::from(calm(&mut in_shell(limit, &cleanup))).ok();
}

#[test]
fn few_open_files() {
    // The loader's own failure, before hythe begins.
    const NOT_LOADED: i32 = 127;

    let world = quiet_world();
    let place = world.dir("place");
    let port = world.reserve(&place, &[]);
    let before = contents(&world.state());
    for files in 3..=16 {
        for service in ["main", "new"] {
            restore(&before, &world.state());
            let limit = format!("ulimit -n {files} && exec \"$@\"");
            let mut command = in_shell(&limit, &reserve(&world, &place, &[service]));
            let (code, output) = ends(&mut command, &[0, 5, 9, NOT_LOADED]);
            let said = String::from_utf8_lossy(&output.stderr);
            match code {
                0 if service == "main" => assert_eq!(Run::from(output).port(), port),
                0 => assert_ne!(Run::from(output).port(), port),
                NOT_LOADED => assert!(files < 6, "{said}"),
                _ => assert!(files < 12 && said.contains("hint:"), "{files}: {said}"),
            }
            assert_eq!(hythe(&world, &place, &["get"]).port(), port);
            Books::open(&world);
        }
    }
}

#[test]
fn a_working_directory_on_another_mount() {
    let test = "a_working_directory_on_another_mount";
    let Some(unshare) = unshare(test, &["--mount"]) else { return };
    let world = quiet_world();
    let place = world.dir("place");
    let outside = world.reserve(&place, &[]);
    let script = format!(
        "mount -t tmpfs none '{0}' && mkdir '{0}/below' && cd '{0}/below' && exec \"$@\"",
        place.display()
    );
    let run =
        || Run::from(calm(&mut under(&unshare, &in_shell(&script, &reserve(&world, &place, &[])))));
    let port = run().port();
    assert_eq!(run().port(), port, "a path is a path, whatever is mounted there");
    assert_ne!(port, outside);
    // It is gone from here, and cleanup says so; its neighbour stays.
    hythe(&world, &place, &["cleanup"]).ok();
    assert_eq!(Books::open(&world).ports().into_values().collect::<Vec<_>>(), [outside]);
}

//! Many `hythe run` at once, and strangers that want their ports.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use rusqlite::{Connection, OpenFlags};
use socket2::{Domain, Socket, Type};

use crate::chance::scale;
use crate::crowd::{stranger, world};
use crate::rig::{Books, hythe, strace, under};
use crate::support::World;

/// Says to [`serves`] that it is no test.
const SERVES: &str = "HYTHE_TEST_SERVES";

#[test]
#[ignore = "no test, but what `hythe run` runs"]
#[expect(clippy::disallowed_methods, reason = "stands for another program")]
fn serves() {
    if env::var_os(SERVES).is_none() {
        return;
    }
    let port = env::var("PORT").unwrap();
    let Ok(_listener) = TcpListener::bind(format!("127.0.0.1:{port}")) else { process::exit(1) };
    println!("it listens on {port}");
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// A `hythe run` of [`serves`] in a directory of its own, which ends with its standard input.
fn serving(world: &World, number: usize) -> Child {
    let mut command = world.command(&world.dir(format!("run/{number}")));
    let name = concat!(module_path!(), "::serves").split_once("::").unwrap().1;
    command
        .args(["run", "--retries", "100", "--"])
        .arg(env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", name])
        .env(SERVES, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Takes reserved ports, and keeps them, as soon as they can be bound, as long as `work` runs: `most` of
/// them at most. How many were taken, and what comes of the work.
fn among_thieves<T>(world: &World, most: usize, work: impl FnOnce() -> T) -> (usize, T) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let thief = scope.spawn(|| {
            let mut taken = Vec::new();
            while !over.load(Ordering::Relaxed) && taken.len() < most {
                if let Some(ports) = reserved(world) {
                    taken.extend(ports.into_iter().filter_map(stranger));
                }
                thread::yield_now();
            }
            taken
        });
        let outcome = work();
        over.store(true, Ordering::Relaxed);
        (thief.join().unwrap().len(), outcome)
    })
}

/// The ports that are reserved; `None` while there is no ledger, or somebody writes to it.
fn reserved(world: &World) -> Option<Vec<u16>> {
    let ledger = Connection::open_with_flags(world.ledger(), OpenFlags::SQLITE_OPEN_READ_ONLY);
    let ledger = ledger.ok()?;
    let mut ports = ledger.prepare("SELECT port FROM reservation").ok()?;
    ports.query_map([], |row| row.get(0)).ok()?.collect::<Result<_, _>>().ok()
}

#[test]
fn a_crowd_of_commands_gets_ports_that_it_can_bind() {
    let world = world("24000-24999");
    world.config("[ledger]\nlock_timeout = \"2m\"\n[ports]\nrange = \"24000-24999\"\n");
    let count = 20 * scale();
    let (stolen, given): (_, Vec<u16>) = among_thieves(&world, count / 2, || {
        let mut running: Vec<_> = (0..count).map(|number| serving(&world, number)).collect();
        let ports = running.iter_mut().map(|child| {
            let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
            let said = lines.find_map(|line| {
                let line = line.unwrap();
                Some(line.split_once("it listens on ")?.1.parse().unwrap())
            });
            said.expect("a command ended before it listened")
        });
        let ports = ports.collect();
        // All of them listen now.
        let reserved = Books::open(&world).ports();
        let listed: BTreeSet<_> = reserved.values().copied().collect();
        assert_eq!((reserved.len(), listed.len()), (count, count));
        for child in &mut running {
            drop(child.stdin.take());
        }
        for child in running {
            let output = child.wait_with_output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {stderr}", output.status);
            assert!(!stderr.contains("panicked"), "{stderr}");
        }
        ports
    });
    println!("{stolen} ports were stolen from {count} commands");
    let distinct: BTreeSet<_> = given.iter().collect();
    assert_eq!(distinct.len(), count, "two commands listened on one port");
    let books = Books::open(&world);
    assert!(books.ports().is_empty(), "{:?}", books.ports());
    assert!(books.replayed().is_empty());
}

/// Whether a stranger can bind `port` now, and perhaps even listen.
#[expect(clippy::disallowed_methods, reason = "stands for another program")]
fn takes(port: u16, host: &str, reuse: bool) -> bool {
    let address: std::net::SocketAddr = format!("{host}:{port}").parse().unwrap();
    let Ok(socket) = Socket::new(Domain::for_address(address), Type::STREAM, None) else {
        return false;
    };
    socket.set_reuse_address(reuse).unwrap();
    socket.bind(&address.into()).is_ok()
}

/// How long a port is held without a break before that counts: a probe holds it for a moment, and
/// between that and the hold lies a transaction.
const STEADY: Duration = Duration::from_millis(300);

/// How often strangers could bind `port` from the moment in which it is held, for as long as
/// `while_held` goes on; and how often they tried.
fn raced(port: u16, while_held: impl FnOnce(&dyn Fn())) -> (usize, usize) {
    let (held, over) = (AtomicBool::new(false), AtomicBool::new(false));
    let (taken, tried) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        let strangers = [("127.0.0.1", false), ("0.0.0.0", true), ("127.0.0.1", true)];
        for (host, reuse) in strangers {
            let (held, over, taken, tried) = (&held, &over, &taken, &tried);
            scope.spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    let counts = held.load(Ordering::SeqCst);
                    if counts {
                        tried.fetch_add(1, Ordering::SeqCst);
                        taken.fetch_add(takes(port, host, reuse).into(), Ordering::SeqCst);
                    }
                    thread::yield_now();
                }
            });
        }
        let until_held = || {
            let deadline = Instant::now() + Duration::from_secs(20);
            let mut since = Instant::now();
            while since.elapsed() < STEADY {
                assert!(Instant::now() < deadline, "the port is never held");
                if takes(port, "127.0.0.1", true) {
                    since = Instant::now();
                }
                thread::park_timeout(Duration::from_millis(1));
            }
            held.store(true, Ordering::SeqCst);
        };
        while_held(&until_held);
        over.store(true, Ordering::SeqCst);
    });
    (taken.load(Ordering::SeqCst), tried.load(Ordering::SeqCst))
}

#[test]
fn nobody_can_bind_a_port_before_its_command_begins() {
    if !strace("nobody_can_bind_a_port_before_its_command_begins") {
        return;
    }
    let world = world("24000-24999");
    let project = world.dir("held");
    let port = world.reserve(&project, &["web"]);
    // The last step, from which the ports are free, takes two seconds.
    let mut command = world.command(&project);
    command.args(["run", "-s", "web", "--", "/bin/echo", "begun"]);
    let delay = "inject=execve:delay_enter=2000000";
    let tool = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=execve", "-e", delay];
    let mut child = None;
    let (taken, tried) = raced(port, |until_held| {
        let mut traced = under(&tool, &command);
        child = Some(traced.stdout(Stdio::piped()).spawn().unwrap());
        until_held();
        thread::park_timeout(Duration::from_millis(700));
    });
    let output = child.unwrap().wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout, b"begun\n");
    assert_eq!(taken, 0, "of {tried} attempts");
    assert!(tried >= 10, "only {tried} attempts");
}

#[test]
fn a_port_that_is_handed_over_is_never_free() {
    let world = world("24000-24999");
    let project = world.dir("handed");
    let port = world.reserve(&project, &["web"]);
    let begun = project.join("begun");
    let mut command: Command = world.command(&project);
    command.args(["run", "--listen-fds", "-s", "web", "--", "sh", "-c", "echo >begun; read x"]);
    let mut child = None;
    let (taken, tried) = raced(port, |until_held| {
        child = Some(command.stdin(Stdio::piped()).spawn().unwrap());
        until_held();
        let deadline = Instant::now() + Duration::from_secs(20);
        while fs::metadata(&begun).is_err() {
            assert!(Instant::now() < deadline, "the command never begins");
            thread::park_timeout(Duration::from_millis(1));
        }
        thread::park_timeout(Duration::from_millis(200));
    });
    let output = child.unwrap().wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "`read` found the end of its input");
    assert_eq!(taken, 0, "of {tried} attempts");
    assert!(tried >= 10, "only {tried} attempts");
    assert_eq!(hythe(&world, &project, &["get", "web"]).port(), port);
}

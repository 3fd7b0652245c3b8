//! `hythe show` and `hythe list`: who listens, and whose it is.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::daemon::{Daemon, Manner, container};
use crate::listener::{Harbour, Server, addresses};
use crate::support::Run;

/// What `show` says of the first service of a directory: whose the port is, then of each listener and
/// container whose it is and why.
fn judged(world: &Harbour, directory: &Path) -> (String, Vec<(String, String)>) {
    let document = world.run(directory, ["show", "--json"]).json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let elements = |name: &str| document[name].as_array().unwrap().clone();
    let who = elements("listeners").into_iter().chain(elements("containers"));
    let verdicts = who.map(|who| (text(&who["listening"]), text(&who["reason"])));
    (text(&document["reservation"]["listening"]), verdicts.collect())
}

fn told(listening: &str, why: &str) -> (String, Vec<(String, String)>) {
    (listening.to_owned(), vec![(listening.to_owned(), why.to_owned())])
}

#[test]
fn why_a_listener_is_judged_as_it_is() {
    let world = Harbour::new();
    let [shop, deep, other] = ["shop", "shop/web", "other"].map(|name| world.dir(name));
    let port = world.reserve(&shop, &[]);
    assert_eq!(judged(&world, &shop), ("none".to_owned(), vec![]));
    let server = Server::start(&deep, "127.0.0.1", port);
    assert_eq!(judged(&world, &shop), told("mine", "it runs in its directory"));
    drop(server);
    let stranger = Server::start(&other, "::1", port);
    let why = format!("it works in {}", other.display());
    assert_eq!(judged(&world, &shop), told("foreign", &why));
    let pid = stranger.pid().to_string();
    world.reserve(&shop, &["--pid", &pid, "--on-conflict", "keep"]);
    assert_eq!(judged(&world, &shop), told("mine", "it is the owner"));
}

#[test]
fn a_daemon_is_judged_by_its_parents() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let port = world.reserve(&shop, &[]);
    // A shell in the directory, and its server, which has gone to `/`.
    let script = format!(
        "import os, socket, sys\nos.chdir('/')\ns = socket.socket()\n\
         s.bind(('127.0.0.1', {port}))\ns.listen()\nprint('it listens', flush=True)\nsys.stdin.read()"
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", "python3 -c \"$0\"; exit", &script]).current_dir(&shop).process_group(0);
    let mut shell = Group(shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    let mut output = std::io::BufReader::new(shell.0.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut output, &mut line).unwrap();
    assert_eq!(line, "it listens\n");
    let why = format!("its parent {} runs in its directory", shell.0.id());
    assert_eq!(judged(&world, &shop), told("mine", &why));
    let text = world.run(&shop, ["show"]).ok();
    assert!(text.contains(&format!(" in /; mine: {why}\n")), "{text}");
}

/// A process and all that it started; ended with the test.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        let _ = self.0.wait();
    }
}

#[test]
fn listeners_are_seen_on_every_address() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let port = world.reserve(&shop, &[]);
    for host in addresses() {
        let _server = Server::start(&shop, &host, port);
        assert_eq!(judged(&world, &shop).0, "mine", "{host}");
    }
}

#[test]
fn a_listener_has_a_user_and_a_start() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let port = world.reserve(&shop, &[]);
    let server = Server::start(&shop, "127.0.0.1", port);
    let document = world.run(&shop, ["show", "--json"]).json();
    let listener = &document["listeners"][0];
    assert_eq!(listener["pid"], server.pid());
    assert_eq!(listener["user"]["id"], rustix::process::getuid().as_raw());
    let who = Run::of(Command::new("id").arg("-un")).ok();
    assert_eq!(listener["user"]["name"], who.trim());
    let text = world.run(&shop, ["show"]).ok();
    let expected = format!("` by {} since 20", who.trim());
    assert!(text.contains(&expected), "{text}");
}

/// Another user's process, which only root can start.
#[test]
fn what_cannot_be_seen_is_said_with_its_user() {
    let world = Harbour::new();
    if !rustix::process::getuid().is_root() {
        eprintln!("skipped: another user's process needs root");
        return;
    }
    let shop = world.dir("shop");
    let port = world.reserve(&shop, &["--prefer", &world.port(3).to_string()]);
    let _server = Server::start(&world.dir("other"), "127.0.0.1", port);
    // The other way round: it is this one that cannot be seen by nobody, who has no ledger but a copy.
    let copy = world.dir("copy");
    std::fs::copy(world.ledger(), copy.join("ledger.db")).unwrap();
    let open = |path: &Path| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    };
    open(&world.root());
    open(&copy);
    open(&copy.join("ledger.db"));
    let mut command = world.command(&shop);
    command.uid(65534).gid(65534).args(["show", &port.to_string(), "--state-dir"]).arg(&copy);
    let Ok(output) = command.output() else {
        eprintln!("skipped: nobody may not run the binary under test");
        return;
    };
    let text = Run::from(output).ok();
    assert!(text.contains("listening  a process that cannot be told from here\n"), "{text}");
    assert!(text.contains("a process that cannot be seen; by root\n"), "{text}");
}

#[test]
fn a_container_is_mine_where_it_was_composed_or_mounts_from() {
    let world = Harbour::new();
    let [shop, deep, other] = ["shop", "shop/deploy", "other"].map(|name| world.dir(name));
    let port = world.reserve(&shop, &["--prefer", &world.port(0).to_string()]);
    let daemon = Daemon::start(&world);
    std::fs::write(deep.join("nginx.conf"), "").unwrap();
    let conf = deep.join("nginx.conf");
    let missing = world.root().join("missing");
    let unseen = "it works where it cannot be seen";
    for (composed, mounts, listening, why) in [
        (Some(&deep), vec![], "mine", "it runs in its directory".to_owned()),
        (Some(&other), vec![shop.clone()], "foreign", format!("it works in {}", other.display())),
        (Some(&missing), vec![], "unknown", unseen.to_owned()),
        (None, vec![other.clone(), shop.clone()], "mine", format!("it mounts {}", shop.display())),
        (None, vec![conf], "mine", format!("it mounts {}", deep.display())),
        (None, vec![other.clone()], "unknown", unseen.to_owned()),
        (None, vec![], "unknown", unseen.to_owned()),
    ] {
        let composed = composed.map(std::path::PathBuf::as_path);
        daemon.runs(&[container("shop-front-1", port, composed, &mounts)]);
        for manner in [Manner::Whole, Manner::Chunked] {
            daemon.answers(manner);
            // There is no socket at all: a packet filter publishes it.
            assert_eq!(judged(&world, &shop), told(listening, &why));
        }
    }
    daemon.runs(&[container("shop-front-1", port, Some(&shop), &[])]);
    let text = world.run(&shop, ["show"]).ok();
    let line = format!(
        "container `shop-front-1` (8dfafdbc3a40) of nginx:1.29, service front of shop, composed in {}; \
         mine: it runs in its directory\n",
        shop.display()
    );
    assert!(text.contains(&line), "{text}");
    assert!(text.contains("listening  its own server\n"), "{text}");
    let list = world.run(&shop, ["list"]).ok();
    assert!(list.lines().nth(1).unwrap().ends_with("  shop-front-1"), "{list}");
    let document = world.run(&shop, ["list", "--json"]).json();
    assert_eq!(document["reservations"][0]["listening"], "mine");
    assert_eq!(document["containers"][0]["service"], "front");
    // The proxy of a container works nowhere in particular.
    let _proxy = Server::start(&other, "127.0.0.1", port);
    assert_eq!(judged(&world, &shop).0, "mine");
    let map = world.run(&shop, ["map", "--json"]).json();
    assert_eq!(map["ports"][0], json!({ "ports": port.to_string(), "state": "listening" }));
    assert!(daemon.asked().iter().all(|asked| asked == "GET /containers/json HTTP/1.1"));
}

#[test]
fn a_daemon_that_misbehaves_is_no_daemon() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let port = world.reserve(&shop, &[]);
    let daemon = Daemon::start(&world);
    daemon.runs(&[container("web", port, Some(&shop), &[])]);
    assert_eq!(judged(&world, &shop).0, "mine");
    for manner in [
        Manner::Failing,
        Manner::Slow,
        Manner::Endless,
        Manner::Garbage,
        Manner::NoJson,
        Manner::Silent,
    ] {
        daemon.answers(manner);
        let start = Instant::now();
        assert_eq!(judged(&world, &shop), ("none".to_owned(), vec![]), "{manner:?}");
        assert!(start.elapsed() < Duration::from_secs(3), "{manner:?}: {:?}", start.elapsed());
    }
    let logged = world.run(&shop, ["show", "-v"]).exits(0).stderr();
    assert!(logged.contains("containers cannot be told"), "{logged}");
    // What only wants a port asks nobody.
    let before = daemon.asked().len();
    world.reserve(&shop, &[]);
    world.run(&shop, ["get"]).ok();
    world.reserve(&shop, &["new"]);
    world.run(&shop, ["release", "new"]).ok();
    world.run(&shop, ["cleanup"]).ok();
    assert_eq!(daemon.asked().len(), before);
}

#[test]
fn daemons_are_found_where_they_listen() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let port = world.reserve(&shop, &[]);
    let runtime = world.dir("run");
    let variables = [
        ("DOCKER_HOST", format!("unix://{}/own.sock", runtime.display()), runtime.join("own.sock")),
        ("CONTAINER_HOST", format!("unix://{}/c.sock", runtime.display()), runtime.join("c.sock")),
        ("XDG_RUNTIME_DIR", runtime.display().to_string(), runtime.join("docker.sock")),
        ("XDG_RUNTIME_DIR", runtime.display().to_string(), runtime.join("podman/podman.sock")),
    ];
    for (name, value, path) in variables {
        let daemon = Daemon::at(&path);
        daemon.runs(&[container("web", port, Some(&shop), &[])]);
        let run = Run::of(world.command(&shop).args(["show", "--json"]).env(name, value)).json();
        assert_eq!(run["containers"][0]["name"], "web", "{name} {}", path.display());
        std::fs::remove_file(&path).unwrap();
    }
    // What is somewhere else publishes nothing here.
    for value in ["tcp://192.0.2.1:2375", "ssh://nobody@192.0.2.1", "unix://", "\n"] {
        let run = Run::of(world.command(&shop).args(["show", "--json"]).env("DOCKER_HOST", value));
        assert_eq!(run.json()["containers"], json!([]), "{value:?}");
    }
}

#[test]
fn a_container_can_be_called_anything() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let port = world.reserve(&shop, &[]);
    let evil = "a\u{1b}[31mb\u{9b}2Jc\nd\te\u{7f}";
    let mut container = container(evil, port, Some(&shop), &[]);
    container["Image"] = evil.into();
    container["Labels"]["com.docker.compose.service"] = evil.into();
    Daemon::start(&world).runs(&[container]);
    for arguments in [&["show"][..], &["list"], &["show", "--json"], &["list", "--json"]] {
        let text = world.run(&shop, arguments).ok();
        let odd = text.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(odd, None, "{arguments:?}: {text:?}");
        assert!(text.contains("\\u{1b}[31m") || text.contains("\\u001b[31m"), "{text}");
    }
}

#[test]
fn show_asserts() {
    let world = Harbour::new();
    let [shop, other] = ["shop", "other"].map(|name| world.dir(name));
    let port = world.port(0).to_string();
    world.reserve(&shop, &["--prefer", &port]);
    let open = world.port(20).to_string();
    let asserts = |directory: &Path, arguments: &[&str], code: i32, says: &str| {
        let run = world.run(directory, [&["show"], arguments].concat());
        let text = if code == 0 { run.ok() } else { run.fails(code) };
        assert!(text.contains(says), "{arguments:?}: {text}");
    };
    asserts(&shop, &["--reserved"], 0, &port);
    asserts(&shop, &["--free"], 0, "listening  nobody\n");
    asserts(&shop, &[&port, "--free"], 0, &port);
    asserts(&shop, &["--mine"], 7, "nobody listens on port");
    asserts(&shop, &["--listening"], 7, "nobody listens on port");
    asserts(&other, &[&port, "--free"], 7, "it is reserved for `main` of ");
    asserts(&other, &["--free"], 7, "`main` has no reservation here");
    asserts(&shop, &[&open, "--free"], 0, "reserved   no\nlistening  nobody\n");
    asserts(&shop, &[&open, "--reserved"], 7, "is not reserved");
    asserts(&shop, &[&open, "--mine"], 7, "is not reserved");
    asserts(&shop, &[&open, "--listening"], 7, "nobody listens on port");
    let document = world.run(&shop, ["show", &open, "--free", "--json"]).json();
    assert_eq!((&document["reservation"], &document["history"]), (&Value::Null, &json!([])));

    let own = Server::start(&shop, "127.0.0.1", port.parse().unwrap());
    asserts(&shop, &["--mine"], 0, "its own server");
    asserts(&shop, &["--listening"], 0, "its own server");
    asserts(&shop, &["--free"], 7, &format!("it is held by process {} `", own.pid()));
    for quiet in [&["show", "--mine", "-q"][..], &["show", "-q", "--reserved"]] {
        let run = world.run(&shop, quiet).exits(0);
        assert_eq!((run.stdout(), run.stderr()), (String::new(), String::new()));
    }
    assert!(!world.run(&shop, ["show", "-q"]).ok().is_empty());
    drop(own);
    let _stranger = Server::start(&other, "127.0.0.1", port.parse().unwrap());
    asserts(&shop, &["--mine"], 7, "it is held by process");
    asserts(&shop, &["--listening"], 0, "somebody else's process");
    let _unreserved = Server::start(&other, "::1", open.parse().unwrap());
    asserts(&shop, &[&open, "--listening"], 0, "listening  somebody\n");
    asserts(&shop, &[&open, "--free"], 7, "is not free: it is held by process");
    // Bound, but not listening.
    let bound = world.port(21);
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], bound));
    socket.bind(&address.into()).unwrap();
    asserts(&shop, &[&bound.to_string(), "--free"], 7, "is not free");
    asserts(&shop, &[&bound.to_string(), "--listening"], 7, "nobody listens");
    for wrong in [&["--free", "--mine"][..], &["0", "--free"], &["99999"], &["no such"]] {
        asserts(&shop, wrong, 2, "error: ");
    }
}

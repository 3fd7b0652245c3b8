//! `hythe run`: commands that find their ports held until they begin.

mod handed;
mod signals;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::ports;
use crate::listener::{Harbour, Server, eventually};
use crate::support::{HYTHE, Run, World};

/// Runs `hythe run ARGUMENTS` in `directory`.
fn run(world: &World, directory: &Path, arguments: &[&str]) -> Run {
    world.run(directory, [&["run"], arguments].concat())
}

/// A `hythe run` that goes on, and what its command writes.
struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn new(world: &World, directory: &Path, arguments: &[&str]) -> Self {
        Self::start(world.command(directory).arg("run").args(arguments))
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end; the lines that were not read, and stderr.
    fn end(mut self) -> Run {
        drop(self.child.stdin.take());
        let mut stdout = String::new();
        for line in &mut self.lines {
            stdout.push_str(&line.unwrap());
            stdout.push('\n');
        }
        let mut stderr = Vec::new();
        self.child.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
        let status = self.child.wait().unwrap();
        Run::from(Output { status, stdout: stdout.into_bytes(), stderr })
    }
}

/// What a web server answers on a port, once it does.
fn fetched(port: u16) -> String {
    let mut answer = String::new();
    assert!(eventually(|| {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
        answer.clear();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").is_ok()
            && stream.read_to_string(&mut answer).is_ok()
            && answer.starts_with("HTTP/1.")
    }));
    answer
}

/// Puts a program into a directory of the search path; that directory.
fn program(world: &World, name: &str, script: &str) -> String {
    let directory = world.dir("programs");
    let file = directory.join(name);
    fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", directory.display(), std::env::var("PATH").unwrap())
}

#[test]
fn the_command_finds_its_ports_and_gives_them_back() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let script = r#"echo "$PORT $WEB_PORT $API_PORT"; printf '%s\n' "$@"; cat; pwd"#;
    let mut command = world.command(&shop);
    command.args(["run", "-s", "web", "--service", "api", "--"]).args(["sh", "-c", script, "sh"]);
    command.args(["{port}", "http://h:{port:api}/", "{{port}} {x}"]);
    let mut running = Running::start(&mut command);
    running.child.stdin.as_mut().unwrap().write_all(b"from stdin\n").unwrap();
    let output = running.end().ok();
    let lines: Vec<_> = output.lines().collect();
    let (web, api) = (lines[1], lines[2].trim_start_matches("http://h:").trim_end_matches('/'));
    assert_ne!(web, api);
    let expected = format!(
        "{web} {web} {api}\n{web}\nhttp://h:{api}/\n{{port}} {{x}}\nfrom stdin\n{}\n",
        shop.display()
    );
    assert_eq!(output, expected);
    assert!(ports(&world).is_empty());
    // The same ones come back.
    let again = run(&world, &shop, &["-s", "web", "--", "sh", "-c", "echo $PORT"]).port();
    assert_eq!(again.to_string(), web);
    let log = world.run(&shop, ["log", "--port", web]).ok();
    let kinds: Vec<_> = log.lines().map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    assert_eq!(kinds, ["reserved", "released", "returned", "released"]);
    assert!(log.contains("its process has ended"), "{log}");
}

#[test]
fn it_works_where_it_is_told_to_and_needs_no_dashes() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let deep = world.dir("shop/deep");
    let output = world.run(&world.root(), ["run", "-C", "shop/deep", "sh", "-c", "pwd"]).ok();
    assert_eq!(output, format!("{}\n", deep.display()));
    assert!(world.run(&shop, ["log"]).ok().contains(&shop.display().to_string()));
}

#[test]
fn what_was_there_before_stays() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let web = world.reserve(&shop, &["web"]);
    let look = format!("'{HYTHE}' show $0 --json");
    let shown = |service: &str| {
        let arguments = ["-s", service, "--", "sh", "-c", &format!("echo $$; {look}"), service];
        let output = run(&world, &shop, &arguments).ok();
        let (pid, document) = output.split_once('\n').unwrap();
        let document: serde_json::Value = serde_json::from_str(document).unwrap();
        let reservation = document["reservation"].clone();
        assert_eq!(reservation["owner"]["pid"].to_string(), pid, "{reservation}");
        assert_eq!(reservation["owner"]["alive"], true, "{reservation}");
        reservation
    };
    assert_eq!(shown("web")["lease"], "persistent");
    assert_eq!(shown("new")["lease"], "ephemeral");
    assert_eq!(ports(&world), [web]);

    // An ephemeral one of somebody who is alive stays theirs.
    let pid = std::process::id().to_string();
    let kept = world.reserve(&shop, &["kept", "--lease", "ephemeral", "--pid", &pid]);
    run(&world, &shop, &["-s", "kept", "--", "true"]).ok();
    let kept = world.run(&shop, ["show", &kept.to_string(), "--json"]).json();
    assert_eq!(kept["reservation"]["owner"]["pid"].to_string(), pid);

    // One whose owner has ended is the command's, and ends with it.
    let mut owner = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    world.reserve(&shop, &["left", "--lease", "ephemeral", "--pid", &owner.id().to_string()]);
    owner.kill().unwrap();
    owner.wait().unwrap();
    run(&world, &shop, &["-s", "left", "--", "true"]).ok();
    assert_eq!(world.run(&shop, ["get", "left"]).fails(7).lines().count(), 2);

    // The configuration or a flag can say that new ones last.
    fs::write(shop.join("hythe.toml"), "[services.api]\nlease = \"persistent\"\n").unwrap();
    run(&world, &shop, &["-s", "api", "--", "true"]).ok();
    run(&world, &shop, &["-s", "db", "--lease", "persistent", "--", "true"]).ok();
    world.run(&shop, ["get", "api"]).port();
    world.run(&shop, ["get", "db"]).port();
}

#[test]
fn exit_codes_are_passed_on_and_nothing_is_left() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    fs::write(shop.join("data"), "text").unwrap();
    for (command, code) in [
        (&["true"][..], 0),
        (&["sh", "-c", "exit 1"], 1),
        (&["sh", "-c", "exit 255"], 255),
        (&["sh", "-c", "kill -TERM $$"], 143),
        (&["sh", "-c", "kill -KILL $$"], 137),
    ] {
        let ended = run(&world, &shop, &[&["--"], command].concat()).exits(code);
        assert_eq!((ended.stdout(), ended.stderr()), (String::new(), String::new()));
        assert!(ports(&world).is_empty(), "{command:?}");
    }
    for (command, code, said) in [
        ("no-such-command", 127, "error: `no-such-command` is not found\n"),
        ("./missing", 127, "error: `./missing` is not found\n"),
        ("./data", 126, "error: `./data` cannot be started: Permission denied"),
        ("/", 126, "error: `/` cannot be started: Permission denied"),
    ] {
        let stderr = run(&world, &shop, &["--", command]).fails(code);
        assert!(stderr.starts_with(said), "{stderr}");
        assert!(ports(&world).is_empty(), "{command}");
        let stderr = run(&world, &shop, &["--json", "--", command]).fails(code);
        let error = serde_json::from_str(&stderr).unwrap();
        assert_eq!(crate::schema::valid("error", error)["error"]["exit_code"], code);
    }
}

#[test]
fn what_makes_no_sense_starts_nothing() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let touch = ["--", "touch", "started"];
    for (arguments, said) in [
        (vec!["-s", "web", "--", "touch", "started{port:api}"], "`{port:api}` names a service"),
        (vec!["--", "touch", "{port:a b}"], "`{port:a b}` is no placeholder"),
        (vec!["-s", "a", "-s", "a"], "service `a` is named twice"),
        (vec!["-s", "a", "-s", "b", "--prefer", "3000"], "one service at a time"),
        (vec!["--retries", "101"], "101 is not in 0..=100"),
        (vec!["-s", "3000"], "3000"),
    ] {
        let arguments = match arguments.contains(&"--") {
            true => arguments,
            false => [&arguments[..], &touch].concat(),
        };
        let stderr = run(&world, &shop, &arguments).fails(2);
        assert!(stderr.contains(said), "{stderr}");
    }
    assert!(run(&world, &shop, &[]).fails(2).contains("<COMMAND>..."));
    let many: Vec<_> = (0..129).map(|number| format!("--service=s{number}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).chain(touch).collect();
    assert!(run(&world, &shop, &many).fails(2).contains("at most 128 ports"));
    world.configure("nonsense = 1\n");
    run(&world, &shop, &touch).fails(3);
    let range = world.range();
    world.configure(&format!("exclude = [\"{range}\"]\n"));
    run(&world, &shop, &touch).fails(5);
    assert!(!shop.join("started").exists());
    assert!(!world.ledger().exists());
}

#[test]
fn a_dry_run_says_all_and_does_nothing() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let arguments = ["-s", "web", "-s", "api", "--dry-run", "--", "npx", "vite", "it's {port:api}"];
    let planned = run(&world, &shop, &arguments).exits(0);
    let port = world.reserve(&shop, &["web", "--dry-run"]);
    let lines: Vec<_> = planned.stdout().lines().map(str::to_owned).collect();
    let api = lines[2].strip_prefix("API_PORT=").unwrap();
    let expected = [
        format!("PORT={port}"),
        format!("WEB_PORT={port}"),
        format!("API_PORT={api}"),
        format!(r"npx vite 'it'\''s {api}' --port {port} --strictPort"),
    ];
    assert_eq!(lines, expected);
    assert!(planned.stderr().contains("note: added `--port "), "{}", planned.stderr());
    let json = run(&world, &shop, &[&["--json"], &arguments[..]].concat()).json();
    let document = crate::schema::valid("run", json);
    assert_eq!(document["environment"]["API_PORT"], *api);
    assert_eq!(document["added"], json!(["--port", port.to_string(), "--strictPort"]));
    assert_eq!(document["services"][0]["outcome"], "created");
    assert!(!world.state().exists());
}

#[test]
fn a_server_runs_on_its_port_and_a_second_one_is_refused() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    fs::write(shop.join("index.html"), "the shop").unwrap();
    let arguments = ["-s", "web", "--", "python3", "-m", "http.server", "--bind", "127.0.0.1"];
    let running = Running::new(&world, &shop, &arguments);
    let mut port = 0;
    assert!(eventually(|| match &ports(&world)[..] {
        [only] => {
            port = *only;
            true
        }
        _ => false,
    }));
    assert!(fetched(port).ends_with("the shop"));
    let shown = world.run(&shop, ["show", "web", "--json"]).json();
    assert_eq!(shown["reservation"]["listening"], "mine");
    assert_eq!(shown["listeners"][0]["pid"], shown["reservation"]["owner"]["pid"]);

    let stderr = run(&world, &shop, &["-s", "web", "--", "touch", "started"]).fails(8);
    let said =
        format!("error: `web` is served already: process {} `", shown["listeners"][0]["pid"]);
    assert!(stderr.contains(&said), "{stderr}");
    assert!(stderr.contains(&format!("hint: hythe show {port}")), "{stderr}");
    assert!(!shop.join("started").exists());
    let still = world.run(&shop, ["show", "web", "--json"]).json();
    assert_eq!(still["reservation"]["owner"], shown["reservation"]["owner"]);

    running.signal(Signal::TERM);
    let ended = running.end().exits(143);
    assert!(ended.stderr().contains(&format!("note: added `{port}`, so that http.server")));
    assert!(ports(&world).is_empty());
}

#[test]
fn a_node_server_reads_port() {
    let Ok(version) = Command::new("node").arg("--version").output() else { return };
    assert!(version.status.success());
    let world = Harbour::new();
    let shop = world.repository("shop");
    let server = "const server = require('http').createServer((_, answer) => answer.end('node'));\n\
        server.listen(process.env.PORT, () => console.log(server.address().port));\n";
    fs::write(shop.join("server.js"), server).unwrap();
    let mut running = Running::new(&world, &shop, &["--", "node", "server.js"]);
    let port = running.line().parse().unwrap();
    assert_eq!(ports(&world), [port]);
    assert!(fetched(port).ends_with("node"));
    running.signal(Signal::INT);
    assert_eq!(running.end().exits(130).stdout(), "");
    assert!(ports(&world).is_empty());
    // Its connections linger now, and that hinders nobody.
    let mut running = Running::new(&world, &shop, &["--", "node", "server.js"]);
    assert_eq!(running.line(), port.to_string());
    running.signal(Signal::TERM);
    assert_eq!(running.end().exits(143).stdout(), "");
}

#[test]
fn well_known_servers_are_kept_on_their_port() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let path = program(&world, "vite", r#"echo "$@""#);
    let vite = |arguments: &[&str]| {
        let mut command = world.command(&shop);
        Run::of(command.env("PATH", &path).arg("run").args(arguments)).exits(0)
    };
    let port = world.reserve(&shop, &[]);
    let strict = vite(&["--", "vite", "--open"]);
    assert_eq!(strict.stdout(), format!("--open --port {port} --strictPort\n"));
    let note = format!(
        "note: added `--port {port} --strictPort`, so that vite goes to no other port; \
         --no-strict-port leaves it out\n"
    );
    assert_eq!(strict.stderr(), note);
    for (arguments, stdout) in [
        (&["--no-strict-port", "--", "vite", "--open"][..], "--open\n"),
        (&["--", "vite", "--port", "3000"], "--port 3000\n"),
        (&["--", "vite", "build"], "build\n"),
        (&["--listen-fds", "--", "vite"], "\n"),
    ] {
        let run = vite(arguments);
        assert_eq!((run.stdout().as_str(), run.stderr().as_str()), (stdout, ""));
    }
    let quiet = vite(&["-q", "--", "vite"]);
    assert_eq!(
        (quiet.stderr(), quiet.stdout()),
        (String::new(), format!("--port {port} --strictPort\n"))
    );
}

#[test]
fn a_port_that_is_taken_moves_or_is_refused() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let port = world.reserve(&shop, &["web"]);
    let stranger = Server::start(&world.dir("elsewhere"), "127.0.0.1", port);
    let print = ["-s", "web", "--", "sh", "-c", "echo $PORT"];
    for rule in ["keep", "fail"] {
        let stderr = run(&world, &shop, &[&["--on-conflict", rule], &print[..]].concat()).fails(8);
        let said = format!("`web` cannot use its port {port}: held by process {}", stranger.pid());
        assert!(stderr.contains(&said), "{stderr}");
    }
    let moved = run(&world, &shop, &print).exits(0);
    assert!(moved.stderr().contains(&format!("note: `web` moved from port {port} to ")));
    assert_eq!(moved.stdout(), format!("{}\n", ports(&world)[0]));
    assert_ne!(moved.stdout(), format!("{port}\n"));
}

/// A command that fails as long as its port is the first one it was given, once that is taken.
const LOSER: &str = r"
echo $PORT >> ports
while [ ! -e taken ]; do sleep 0.01; done
if [ $(wc -l < ports) -gt $1 ]; then echo $PORT; else exit 3; fi";

/// Runs the loser, which loses this often, while its first port is taken from it.
fn lose(world: &World, shop: &Path, arguments: &[&str], times: &str) -> (Run, u16) {
    let running =
        Running::new(world, shop, &[arguments, &["--", "sh", "-c", LOSER, "sh", times]].concat());
    let file = shop.join("ports");
    assert!(eventually(|| fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n'))));
    let first = fs::read_to_string(&file).unwrap().trim().parse().unwrap();
    let _stranger = Server::start(&world.dir("elsewhere"), "127.0.0.1", first);
    fs::write(shop.join("taken"), "").unwrap();
    (running.end(), first)
}

#[test]
fn a_command_that_lost_its_port_is_started_again_with_another() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let (ended, first) = lose(&world, &shop, &["-s", "web"], "1");
    let ended = ended.exits(0);
    let stderr = ended.stderr();
    assert!(stderr.contains("note: `web` lost its port to process "), "{stderr}");
    assert!(stderr.contains("; starting again, 1 of 3\n"), "{stderr}");
    assert!(stderr.contains(&format!("note: `web` moved from port {first} to ")), "{stderr}");
    let second: u16 = ended.stdout().trim().parse().unwrap();
    assert_ne!(first, second);
    assert!(ports(&world).is_empty());
}

#[test]
fn a_lost_port_ends_it_when_it_may_not_start_again() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let (ended, _) = lose(&world, &shop, &["--retries", "0"], "9");
    let stderr = ended.fails(8);
    assert!(stderr.contains("error: `main` lost its port to process "), "{stderr}");
    assert!(ports(&world).is_empty());

    // Nor does a failure that has another cause.
    let shop = world.repository("other");
    fs::write(shop.join("taken"), "").unwrap();
    let command = ["--", "sh", "-c", LOSER, "sh", "9"];
    assert_eq!(run(&world, &shop, &command).exits(3).stdout(), "");
    assert_eq!(fs::read_to_string(shop.join("ports")).unwrap().lines().count(), 1);

    // `fail` moves nobody.
    let shop = world.repository("third");
    let (ended, first) = lose(&world, &shop, &["--on-conflict", "fail"], "9");
    let stderr = ended.fails(8);
    assert!(stderr.contains(&format!("`main` cannot use its port {first}")), "{stderr}");
}

#[test]
fn a_command_that_listens_elsewhere_is_reported() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let due = world.run(&shop, ["reserve", "--dry-run", "--json"]).json();
    let mut others = [31, 30].map(|index| world.port(index)).into_iter();
    let elsewhere = others.find(|other| due["port"] != *other).unwrap();
    let script = "import socket, sys, time\n\
        server = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n\
        print('listens', flush=True)\n\
        sys.stdin.read()\n";
    let number = elsewhere.to_string();
    let mut running = Running::new(&world, &shop, &["--", "python3", "-c", script, &number]);
    assert_eq!(running.line(), "listens");
    let port = ports(&world)[0];
    let mut stderr = BufReader::new(running.child.stderr.take().unwrap());
    let mut note = String::new();
    stderr.read_line(&mut note).unwrap();
    let said =
        format!("note: the command listens on port {elsewhere}, and not on {port} (`main`)\n");
    assert_eq!(note, said);
    running.child.stderr = Some(stderr.into_inner());
    running.end().ok();
}

#[test]
fn a_command_is_told_the_whole_group() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let declared = "[services.web]\n[services.api]\n[services.db]\nscope = \"service\"\n\
        [env]\nAPI_URL = \"http://localhost:{port:api}\"\n";
    fs::write(shop.join("hythe.toml"), declared).unwrap();
    let tell = ["sh", "-c", "echo $PORT $WEB_PORT $API_PORT $DB_PORT $API_URL $0", "{port:db}"];
    let told = run(&world, &shop, &[&["-s", "web", "--"][..], &tell].concat()).ok();
    let port = |service: &str| world.run(&shop, ["get", service]).port().to_string();
    let (api, db) = (port("api"), port("db"));
    let words: Vec<_> = told.split_whitespace().collect();
    assert_eq!(words[0], words[1]);
    let url = format!("http://localhost:{api}");
    assert_eq!(words[2..], [&*api, &db, &url, &db], "{told}");
    // What it served has ended with it; the others stay.
    world.run(&shop, ["get", "web"]).fails(7);

    let error = run(&world, &shop, &["--", "true"]).fails(2);
    assert!(error.contains("here are api, db, web"), "{error}");
    let listening =
        ["-s", "web", "--listen-fds", "--", "sh", "-c", "echo $LISTEN_FDS $LISTEN_FDNAMES"];
    assert_eq!(run(&world, &shop, &listening).ok(), "1 web\n");
    let twice = run(&world, &shop, &["-s", "a-b", "-s", "a_b", "--", "true"]).fails(3);
    assert!(twice.contains("A_B_PORT is set twice"), "{twice}");

    fs::write(shop.join("hythe.toml"), "[services.web]\n[env]\nURL = \"x{port}\"\n").unwrap();
    let told = run(&world, &shop, &["--", "sh", "-c", "echo $PORT $WEB_PORT $URL"]).ok();
    let words: Vec<_> = told.split_whitespace().collect();
    assert_eq!(words, [words[0], words[0], &format!("x{}", words[0])]);
    let told = run(&world, &shop, &["-s", "other", "--", "sh", "-c", "echo $URL"]).ok();
    assert_eq!(told, format!("x{}\n", port("web")));
    fs::write(shop.join("hythe.toml"), "[services.web]\n[services.main]\n").unwrap();
    let told = run(&world, &shop, &["--", "sh", "-c", "echo $PORT $WEB_PORT"]).ok();
    assert!(told.ends_with(&format!(" {}\n", port("web"))), "{told}");
}

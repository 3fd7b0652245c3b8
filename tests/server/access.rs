//! Who may ask: others than this machine's users need a token, and nobody else may use a socket.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::process::Signal;

use crate::listener::Harbour;
use crate::serving::{Answer, HOST, PATIENCE, Serving, drain, request};

use super::Port;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o777
}

#[test]
fn others_than_this_machine_need_a_token() {
    let world = Harbour::new();
    for open in ["0.0.0.0:0", "[::]:0", "192.0.2.1:9876"] {
        let said = world.run(&world.root(), ["serve", "--listen", open]).fails(8);
        assert!(said.contains("a token is needed"), "{said}");
        assert!(said.contains("--token-file"), "{said}");
        // One that is private does not make the other one so.
        let both = ["serve", "--listen", "127.0.0.1:0", "--listen", open];
        world.run(&world.root(), both).fails(8);
    }
    assert!(!world.state().join("serve.json").exists());
}

#[test]
fn a_token_is_made_for_its_owner_alone() {
    let Port { world, serving, .. } = Port::configured("", &["--token-file", "made/token"]);
    let file = world.root().join("made/token");
    assert_eq!(mode(&file), 0o600);
    let token = fs::read_to_string(&file).unwrap();
    assert_eq!(token.trim_end().len(), 64);
    assert!(token.trim_end().bytes().all(|byte| byte.is_ascii_hexdigit()));
    drop(serving);
    // It stays the same, and so does the file.
    let _again = Serving::start(&world, &["--token-file", "made/token"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), token);

    let refused = |text: &str, mode: u32, why: &str| {
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--token-file", "made/token"];
        let said = world.run(&world.root(), arguments).fails(3);
        assert!(said.contains(why), "{said}");
        assert!(text.is_empty() || !said.contains(text.trim()), "the token is shown: {said}");
    };
    for open in [0o640, 0o604, 0o644, 0o660] {
        refused(&token, open, "others may read it");
    }
    refused("", 0o600, "16 or more");
    refused("secret-of-15-ch", 0o600, "16 or more");
    refused("a secret with spaces in it", 0o600, "16 or more");
    for other in ["made", "/dev/null"] {
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--token-file", other];
        world.run(&world.root(), arguments).fails(3);
    }
}

#[test]
fn who_has_no_token_is_told_nothing_and_is_slowed_down() {
    let arguments = ["--token-file", "token", "-vv"];
    let Port { world, mut serving, place } = Port::configured("", &arguments);
    let token = fs::read_to_string(world.root().join("token")).unwrap().trim_end().to_owned();
    let with = |line: &str, path: &str| serving.ask(&format!("GET {path}"), &[HOST, line], b"");
    let right = format!("Authorization: Bearer {token}");
    with(&right, "/v1/reservations").done();

    let problem = with("X: y", "/v1/reservations").fails(401);
    assert_eq!(problem["code"], "unauthorized");
    assert_eq!(with("X: y", "/v1/reservations").header("www-authenticate"), Some("Bearer"));
    let body = format!("{{\"directory\": \"{}\"}}", place.display());
    let change = ["Content-Type: application/json", HOST];
    assert!(
        [401, 429].contains(&serving.ask("POST /v1/reservations", &change, body.as_bytes()).status)
    );
    assert!(!world.ledger().exists(), "something was written");

    let mut slowed = 0;
    let (begins, longer) = (&token[..63], format!("{token}0"));
    for wrong in ["", begins, longer.as_str(), "x", &token.to_uppercase()] {
        for line in [
            format!("Authorization: Bearer {wrong}"),
            format!("Authorization: Basic {token}"),
            format!("Authorization: {token}"),
            format!("Cookie: token={token}"),
        ] {
            for path in ["/v1/reservations", "/v1/openapi.json", "/nothing", "/v1/metrics"] {
                let answer = with(&line, path);
                assert!([401, 429].contains(&answer.status), "{line}: {answer:?}");
                slowed += usize::from(answer.status == 429);
            }
        }
        with("X: y", &format!("/v1/reservations?token={token}"));
    }
    assert!(slowed > 10, "{slowed}");
    // Whoever has it is not slowed down by those who guess, and the page asks for it.
    with(&right, "/v1/reservations").done();
    with(&right.replace("Bearer", "bearer"), "/v1/reservations").done();
    for open in ["/", "/dashboard.js", "/dashboard.css", "/favicon.svg"] {
        let answer = with("X: y", open);
        assert_eq!(answer.status, 200, "{open}");
        assert!(!answer.body.contains(&token));
    }
    // A right token makes no other host this one.
    serving.ask("GET /v1/map", &["Host: attacker.example", &right], b"").fails(403);

    let (status, _) = serving.end(Signal::TERM);
    assert!(status.success());
    let log = serving.log();
    assert!(!log.contains(&token), "the token is in the log: {log}");
}

#[test]
fn a_ledger_has_one_server() {
    let Port { world, serving, .. } = Port::new();
    let second = ["serve", "--listen", "127.0.0.1:0"];
    let said = world.run(&world.root(), second).fails(8);
    assert!(said.contains(&serving.pid().to_string()), "{said}");
    assert!(said.contains(&format!("http://127.0.0.1:{}", serving.port())), "{said}");
    // Nor do two ledgers share a port.
    let place = format!("127.0.0.1:{}", serving.port());
    let other = world.dir("other");
    let other = other.to_str().unwrap();
    let said =
        world.run(&world.root(), ["serve", "--listen", &place, "--state-dir", other]).fails(8);
    assert!(said.contains("cannot listen"), "{said}");
    drop(serving);
    drop(Serving::start(&world, &[]));
}

#[test]
fn a_socket_is_its_owners_and_replaces_nothing_else() {
    let world = Harbour::new();
    let directory = world.dir("socket");
    let socket = directory.join("hythe.sock");
    let listen = format!("unix:{}", socket.display());
    let arguments = ["--listen", listen.as_str()];
    let asked = || {
        let mut client = UnixStream::connect(&socket).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(&request("GET /v1/reservations", &[HOST], b"")).unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut client, &mut bytes).unwrap();
        Answer::of(&bytes).done()
    };
    let (mut serving, place) = Serving::listening(&world, &arguments);
    assert_eq!(place, listen);
    assert_eq!(mode(&socket), 0o600);
    assert!(asked()["reservations"].as_array().unwrap().is_empty());
    let state = world.dir("other");
    let twice = [&["serve", "--state-dir", state.to_str().unwrap()], &arguments[..]].concat();
    world.run(&world.root(), twice).fails(8);
    asked();

    // One that a killed server left behind is replaced; what another one left is nothing.
    serving.end(Signal::KILL);
    assert!(socket.exists());
    let (mut serving, _) = Serving::listening(&world, &arguments);
    asked();
    assert!(serving.end(Signal::TERM).0.success());
    assert!(!socket.exists());
    let links = world.root().join("links");
    fs::write(&links, "mine").unwrap();
    let replaced = |what: &str| {
        let serve = [&["serve"], &arguments[..]].concat();
        let said = world.run(&world.root(), serve).fails(8);
        assert!(said.contains("something else"), "{what}: {said}");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "{what}");
    };
    fs::write(&socket, "mine").unwrap();
    replaced("a file");
    assert_eq!(fs::read_to_string(&socket).unwrap(), "mine");
    fs::remove_file(&socket).unwrap();
    std::os::unix::fs::symlink(&links, &socket).unwrap();
    replaced("a link");
    assert_eq!(fs::read_to_string(&links).unwrap(), "mine");
    fs::remove_file(&socket).unwrap();
    fs::create_dir(&socket).unwrap();
    replaced("a directory");
    assert!(!fs::symlink_metadata(&socket).unwrap().file_type().is_socket());
}

#[test]
fn who_asks_too_often_is_told_to_wait() {
    let Port { world: _world, serving, .. } = Port::configured("", &["--rate-limit", "5"]);
    let mut client = serving.connect();
    let ask = format!("GET /v1/map HTTP/1.1\r\n{HOST}\r\n\r\n").repeat(30);
    client.write_all(ask.as_bytes()).unwrap();
    client.write_all(&request("GET /v1/map", &[HOST], b"")).unwrap();
    let said = String::from_utf8(drain(&mut client)).unwrap();
    let (done, refused) = (said.matches("HTTP/1.1 200 ").count(), said.matches("HTTP/1.1 429 "));
    assert!(done >= 5, "{said}");
    assert!(refused.count() > 10, "{said}");
    assert!(said.contains("too-many-requests"), "{said}");
}

#[test]
fn what_cannot_serve_does_not_begin() {
    let world = Harbour::of_size(4);
    let place = world.root();
    let serve = |arguments: &[&str]| {
        world.run(&place, [&["serve", "--listen", "127.0.0.1:0"], arguments].concat())
    };
    for wrong in ["build.example:9876", "", "*", "a b"] {
        serve(&["--allow-host", wrong]).fails(2);
    }
    serve(&["--cleanup-every", "1ns"]).fails(2);
    serve(&["--config", "nowhere.toml"]).fails(3);
    fs::write(place.join("long"), "x".repeat(5000)).unwrap();
    fs::set_permissions(place.join("long"), Permissions::from_mode(0o600)).unwrap();
    assert!(serve(&["--token-file", "long"]).fails(3).contains("longer than 4096 bytes"));
    let made = std::process::Command::new("mkfifo").arg(place.join("pipe")).status();
    assert!(made.unwrap().success());
    assert!(serve(&["--token-file", "pipe"]).fails(3).contains("not a regular file"));
    world.configure("nonsense = 1\n");
    serve(&[]).fails(3);
    world.configure("");
    fs::create_dir_all(world.state()).unwrap();
    fs::write(world.ledger(), "no ledger").unwrap();
    serve(&[]).fails(9);
}

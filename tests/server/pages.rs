//! What a web page can have a browser send: to a name that its owner points to this machine (DNS
//! rebinding), and to this server from another origin (CSRF).

use crate::serving::{Answer, HOST, JSON, Serving, request};

use super::Port;

const LIST: &str = "GET /v1/reservations";
const CLEANUP: &str = "POST /v1/cleanup";

fn listed(serving: &Serving, lines: &[&str]) -> Answer {
    serving.ask(LIST, lines, b"")
}

fn cleaned_up(serving: &Serving, lines: &[&str]) -> Answer {
    serving.ask(CLEANUP, lines, b"{}")
}

#[test]
fn a_name_that_somebody_else_chose_is_refused() {
    let Port { world: _world, serving, .. } = Port::new();
    let own = format!("127.0.0.1:{}", serving.port());
    let mine = ["localhost", "LocalHost:80", "app.localhost", "127.0.0.1", "127.0.0.2", "[::1]:1"];
    for host in mine.into_iter().chain([own.as_str()]) {
        listed(&serving, &[&format!("Host: {host}")]).done();
    }
    for host in [
        "attacker.example",
        "attacker.example:9876",
        "localhost.attacker.example",
        "attacker-localhost",
        "localhost.",
        "127.0.0.1.",
        "127.0.0.1.nip.example",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0.0.0.0",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[localhost]",
        "192.0.2.1",
    ] {
        let problem = listed(&serving, &[&format!("Host: {host}")]).fails(403);
        assert_eq!(problem["code"], "forbidden", "{host}");
    }
    for host in [
        "",
        "localhost@attacker.example",
        "attacker.example@localhost",
        "user@localhost",
        "localhost:99999",
        "localhost:http",
        "localhost/",
        "localhost attacker.example",
        "::1",
        "[::1",
    ] {
        listed(&serving, &[&format!("Host: {host}")]).fails(400);
    }
}

#[test]
fn one_host_is_named_and_the_target_names_no_other() {
    let Port { world: _world, serving, .. } = Port::new();
    listed(&serving, &[]).fails(400);
    listed(&serving, &[HOST, HOST]).fails(400);
    listed(&serving, &[HOST, "Host: attacker.example"]).fails(400);
    let target = |target: &str, host: &str| {
        serving.ask(&format!("GET {target}/v1/reservations"), &[host], b"")
    };
    target("http://localhost", HOST).done();
    target("http://attacker.example", HOST).fails(403);
    target("http://localhost", "Host: attacker.example").fails(403);
    target("http://attacker.example@localhost", HOST).fails(400);
    // Without a name, HTTP/1.0 is no way around it.
    serving.answer(b"GET /v1/reservations HTTP/1.0\r\n\r\n").fails(400);
}

#[test]
fn a_host_can_be_allowed() {
    let Port { world: _world, serving, .. } =
        Port::configured("", &["--allow-host", "Box.example"]);
    listed(&serving, &["Host: box.example:9876"]).done();
    listed(&serving, &["Host: a.box.example"]).fails(403);
}

#[test]
fn another_origin_is_refused() {
    let Port { world, serving, place } = Port::new();
    let host = format!("Host: localhost:{}", serving.port());
    let own = format!("Origin: http://localhost:{}", serving.port());
    listed(&serving, &[&host, &own]).done();
    cleaned_up(&serving, &[&host, &own, JSON]).done();
    let neighbour = format!("http://127.0.0.1:{}", serving.port());
    for origin in [
        "http://attacker.example",
        "http://localhost",
        "http://localhost:3000",
        neighbour.as_str(),
        "null",
        "file://",
        "",
        "localhost",
        &format!("localhost:{}", serving.port()),
        &format!("tauri://localhost:{}", serving.port()),
        &format!("http://localhost:{}@attacker.example", serving.port()),
    ] {
        let origin = format!("Origin: {origin}");
        listed(&serving, &[&host, &origin]).fails(403);
        cleaned_up(&serving, &[&host, &origin, JSON]).fails(403);
        let taken = format!("{{\"directory\": \"{}\"}}", place.display());
        serving.ask("POST /v1/reservations", &[&host, &origin, JSON], taken.as_bytes()).fails(403);
        serving.ask("DELETE /v1/reservations/1", &[&host, &origin], b"").fails(403);
    }
    cleaned_up(&serving, &[&host, &own, "Origin: null", JSON]).fails(403);
    assert!(!world.ledger().exists(), "something was written");
}

#[test]
fn what_a_form_can_send_changes_nothing() {
    let Port { world, serving, .. } = Port::new();
    for media in [
        "text/plain",
        "text/plain; application/json",
        "text/plain, application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "",
    ] {
        let problem = cleaned_up(&serving, &[HOST, &format!("Content-Type: {media}")]).fails(415);
        assert_eq!(problem["code"], "unsupported-media-type", "{media}");
    }
    cleaned_up(&serving, &[HOST]).fails(415);
    cleaned_up(&serving, &[HOST, JSON, "Content-Type: text/plain"]).fails(415);
    // A page can send nothing at all without saying so, but not where from.
    serving.ask(CLEANUP, &[HOST, "Origin: http://localhost"], b"").fails(415);
    serving.ask(CLEANUP, &[HOST, "Referer: http://localhost/"], b"").fails(415);
    cleaned_up(&serving, &[HOST, "Content-Type: Application/JSON; charset=utf-8"]).done();
    assert!(!world.ledger().exists(), "something was written");
}

#[test]
fn what_a_browser_says_of_another_site_is_believed() {
    let Port { world: _world, serving, .. } = Port::new();
    let site = |site: &str| format!("Sec-Fetch-Site: {site}");
    for own in ["same-origin", "none"] {
        listed(&serving, &[HOST, &site(own)]).done();
        cleaned_up(&serving, &[HOST, &site(own), JSON]).done();
    }
    for other in ["cross-site", "same-site", "Cross-Site", "anything", ""] {
        listed(&serving, &[HOST, &site(other)]).fails(403);
        cleaned_up(&serving, &[HOST, &site(other), JSON]).fails(403);
        // Whoever follows a link sees the page, and changes nothing by it.
        let follows = [HOST, &site(other), "Sec-Fetch-Mode: navigate"];
        assert_eq!(serving.ask("GET /", &follows, b"").status, 200);
        cleaned_up(&serving, &[&follows[..], &[JSON]].concat()).fails(403);
    }
}

#[test]
fn no_other_origin_is_given_permission() {
    let Port { world: _world, serving, place } = Port::new();
    serving.reserve(&place, "main").done();
    let preflight = |origin: &str| {
        let asked = ["Access-Control-Request-Method: POST", "Access-Control-Request-Headers: x"];
        let private = "Access-Control-Request-Private-Network: true";
        let lines = [&[HOST, origin, private][..], &asked].concat();
        request("OPTIONS /v1/reservations", &lines, b"")
    };
    let asked = [
        preflight("Origin: http://attacker.example"),
        preflight("Origin: http://localhost"),
        preflight("X: y"),
        request("OPTIONS *", &[HOST], b""),
        request("GET /", &[HOST, "Origin: http://localhost"], b""),
        request(LIST, &[HOST, "Origin: http://localhost"], b""),
        request(LIST, &[HOST, "Origin: http://attacker.example"], b""),
        request("GET /v1/openapi.json", &[HOST], b""),
        request("GET /nothing", &[HOST, "Origin: http://localhost"], b""),
    ];
    for (number, bytes) in asked.iter().enumerate() {
        let answer = serving.answer(bytes);
        let head = answer.head.to_ascii_lowercase();
        assert!(!head.contains("access-control-"), "{head}");
        assert!(number > 3 || answer.status >= 400, "{head}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{head}");
        }
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'"), "{head}");
        assert!(policy.contains("frame-ancestors 'none'"), "{head}");
        assert!(!policy.contains("unsafe"), "{head}");
    }
}

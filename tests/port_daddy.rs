//! The server as clients of Port Daddy 1 know it: every path, every answer, every mistake.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::listener::{Harbour, Server};
use crate::serving::{Answer, Serving};

/// A world and its server.
struct Pier {
    serving: Serving,
    world: Harbour,
}

impl Pier {
    fn new() -> Self {
        Self::with(&[])
    }

    fn with(arguments: &[&str]) -> Self {
        let world = Harbour::of_size(16);
        let serving = Serving::start(&world, arguments);
        Self { serving, world }
    }

    fn ask(&self, call: &str, body: impl Into<Option<Value>>) -> Answer {
        self.serving.send(call, &[], body)
    }

    /// What `POST /ports/request` answers, which is what it says that it answers.
    #[track_caller]
    fn request(&self, body: Value) -> Value {
        let answer = self.ask("POST /ports/request", body).json(200);
        self.valid("/ports/request", "post", answer)
    }

    #[track_caller]
    fn port(&self, project: &str) -> u16 {
        self.request(json!({ "project": project }))["port"].as_u64().unwrap().try_into().unwrap()
    }

    /// What a project or port is released with.
    #[track_caller]
    fn release(&self, body: Value) -> String {
        let answer = self.ask("DELETE /ports/release", body).json(200);
        let answer = self.valid("/ports/release", "delete", answer);
        answer["message"].as_str().unwrap().to_owned()
    }

    /// What a path answers to GET.
    #[track_caller]
    fn get(&self, path: &str) -> Value {
        let answer = self.ask(&format!("GET {path}"), None).json(200);
        self.valid(path.split('?').next().unwrap(), "get", answer)
    }

    #[track_caller]
    fn error(&self, call: &str, body: impl Into<Option<Value>>, status: u16) -> String {
        error(&self.ask(call, body), status)
    }

    /// Asserts that an answer is what the OpenAPI document says; the answer.
    #[track_caller]
    fn valid(&self, path: &str, method: &str, answer: Value) -> Value {
        let described = self.ask("GET /v1/openapi.json", None).json(200);
        let schema = &described["paths"][path][method]["responses"]["200"]["content"]["application/json"]
            ["schema"];
        assert!(schema.is_object(), "{path} is not described");
        let validator = jsonschema::options().should_validate_formats(true).build(schema).unwrap();
        let errors: Vec<_> = validator.iter_errors(&answer).map(|it| it.to_string()).collect();
        assert!(errors.is_empty(), "{path}: {errors:?}\n{answer:#}");
        answer
    }
}

/// What is wrong, and nothing else, in the form that these clients read.
#[track_caller]
fn error(answer: &Answer, status: u16) -> String {
    let document = answer.json(status);
    let members = document.as_object().unwrap();
    assert_eq!(members.keys().collect::<Vec<_>>(), ["error"], "{document}");
    document["error"].as_str().unwrap().to_owned()
}

#[test]
fn a_project_has_the_port_that_commands_and_the_import_know() {
    let pier = Pier::new();
    let shop = pier.world.repository("shop");
    let first = pier.request(json!({ "project": "shop" }));
    assert_eq!(first["message"], "port assigned successfully");
    assert_eq!(first["existing"], false);
    let again = pier.request(json!({ "project": "shop", "preferred": 3221, "unknown": 1 }));
    assert_eq!(again["message"], "existing assignment renewed");
    assert_eq!((&again["existing"], &again["port"]), (&json!(true), &first["port"]));

    let port = pier.port("shop");
    let arguments = ["--scope", "project", "--project", "shop"];
    for directory in [&shop, &pier.world.root(), &pier.world.dir("elsewhere")] {
        assert_eq!(pier.world.reserve(directory, &arguments), port);
    }
    // Beside the port that the checkout has.
    assert_ne!(pier.world.reserve(&shop, &[]), port);
    let shown = pier.world.run(&shop, ["show", &port.to_string(), "--json"]).json();
    let shown = &shown["reservation"];
    let said = ["scope", "service", "project", "lease", "directory"].map(|name| &shown[name]);
    assert_eq!(said, ["project", "main", "shop", "persistent", "/"]);
    let made = pier.world.reserve(&shop, &["--scope", "project", "--project", "made-here"]);
    assert_eq!(pier.port("made-here"), made);

    let file = pier.world.dir("home/.claude/port-daddy").join("port-registry.db");
    let registry = Connection::open(file).unwrap();
    let imported = (0..16).map(|at| pier.world.port(at));
    let active = pier.get("/ports/active").to_string();
    let imported = imported.into_iter().find(|port| !active.contains(&port.to_string())).unwrap();
    registry
        .execute_batch(&format!(
            "CREATE TABLE port_assignments (port INTEGER PRIMARY KEY, project TEXT NOT NULL,
                 pid INTEGER NOT NULL, started INTEGER NOT NULL, last_seen INTEGER NOT NULL);
             INSERT INTO port_assignments VALUES ({imported}, 'old', 999999, 1770463572228, 0);"
        ))
        .unwrap();
    pier.world.run(&shop, ["import", "--from", "port-daddy"]).ok();
    assert_eq!(pier.port("old"), imported);
}

#[test]
fn all_who_ask_at_once_for_a_project_get_its_one_port() {
    let pier = Pier::new();
    let ask = || pier.ask("POST /ports/request", json!({ "project": "shop" })).json(200);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..64).map(|_| scope.spawn(ask)).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    let ports: BTreeSet<_> = answers.iter().map(|it| it["port"].as_u64().unwrap()).collect();
    assert_eq!(ports.len(), 1, "{ports:?}");
    let new = answers.iter().filter(|answer| answer["existing"] == false).count();
    assert_eq!(new, 1, "one of them got it first");
}

#[test]
fn a_preferred_port_is_tried_first() {
    let pier = Pier::new();
    let free = pier.world.port(3);
    let answer = pier.request(json!({ "project": "a", "preferred": free }));
    assert_eq!(answer["message"], "assigned preferred port");
    assert_eq!((&answer["port"], &answer["existing"]), (&json!(free), &json!(false)));
    // Shells quote what they do not know, and say nothing by `null`.
    let wish = pier.world.port(4).to_string();
    let answer = pier.request(json!({ "project": "b", "preferred": wish }));
    assert_eq!(answer["port"], pier.world.port(4));
    let kept = pier.request(json!({ "project": "c", "preferred": null }));
    assert_eq!(kept["message"], "port assigned successfully");
    // One that somebody has, or holds, is not given, and no other one is made up.
    let answer = pier.request(json!({ "project": "d", "preferred": free }));
    assert_eq!(answer["message"], "port assigned successfully");
    let range = pier.world.port(0)..=pier.world.port(15);
    assert!(range.contains(&u16::try_from(answer["port"].as_u64().unwrap()).unwrap()));
    let given = [&answer["port"], &kept["port"]];
    let unknown = |port: &u16| given.iter().all(|given| **given != *port);
    let held = (5..16).map(|at| pier.world.port(at)).find(unknown).unwrap();
    let _stranger = Server::start(&pier.world.dir("elsewhere"), "127.0.0.1", held);
    let answer = pier.request(json!({ "project": "e", "preferred": held }));
    assert_ne!(answer["port"], held);
    let other = pier.request(json!({ "project": "c", "preferred": held }));
    assert_eq!(other["existing"], true, "what it has, it keeps");
}

#[test]
fn what_makes_no_sense_is_said() {
    let pier = Pier::new();
    pier.world.configure("exclude = [18080]\n");
    let long = "x".repeat(256);
    for (body, said) in [
        (json!({}), "non-empty string"),
        (json!({ "project": "" }), "non-empty string"),
        (json!({ "project": 7 }), "non-empty string"),
        (json!(["shop"]), "an object"),
        (json!(null), "non-empty string"),
        (json!({ "project": long }), "too long"),
        (json!({ "project": "a b" }), "invalid characters"),
        (json!({ "project": "../a" }), "invalid characters"),
        (json!({ "project": "a", "preferred": "x" }), "number between"),
        (json!({ "project": "a", "preferred": 0 }), "number between"),
        (json!({ "project": "a", "preferred": 70000 }), "number between"),
        (json!({ "project": "a", "preferred": 3000.5 }), "number between"),
        (json!({ "project": "a", "preferred": 18080 }), "reserved"),
        (json!({ "project": "a", "preferred": 6000 }), "reserved"),
        (json!("no JSON"), "the body"),
    ] {
        let told = pier.error("POST /ports/request", body.clone(), 400);
        assert!(told.contains(said), "{body}: {told}");
    }
    for pid in ["0", "-1", "abc", "1.5", "99999999999999999999"] {
        let body = json!({ "project": "a" });
        let answer = pier.serving.send("POST /ports/request", &[("X-PID", pid)], body);
        assert!(error(&answer, 400).contains("PID"), "{pid}: {}", answer.body);
    }
    for (body, said) in [
        (json!({}), "port or project required"),
        (json!({ "port": "x" }), "number between"),
        (json!({ "port": 0 }), "number between"),
        (json!({ "project": "" }), "non-empty string"),
        (json!({ "project": "a/b" }), "invalid characters"),
    ] {
        let told = pier.error("DELETE /ports/release", body.clone(), 400);
        assert!(told.contains(said), "{body}: {told}");
    }
    assert!(pier.error("GET /ports/system?range_only=maybe", None, 400).contains("maybe"));
    assert_eq!(pier.get("/ports/active")["count"], 0, "nothing was reserved");
    assert_eq!(pier.get("/metrics")["validation_failures"], 25);
}

#[test]
fn a_process_that_runs_owns_what_it_asks_for() {
    let pier = Pier::new();
    let owner = || {
        let list = pier.world.run(&pier.world.root(), ["list", "--json"]).json();
        list["reservations"][0]["owner"]["pid"].clone()
    };
    let ask = |pid: u32| {
        let body = json!({ "project": "shop" });
        let pid = pid.to_string();
        pier.serving.send("POST /ports/request", &[("X-PID", &pid)], body).json(200)
    };
    let active = || {
        let active = pier.get("/ports/active")["ports"][0].clone();
        (active["pid"].clone(), active["alive"].clone())
    };
    let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let port = u16::try_from(ask(child.id())["port"].as_u64().unwrap()).unwrap();
    assert_eq!(owner(), child.id());
    assert_eq!(active(), (json!(child.id()), json!(true)));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(active(), (json!(child.id()), json!(false)), "it is over, and still to be known");
    // A process that is over is no reason to be refused, and owns nothing.
    let answer = ask(child.id());
    assert_eq!((&answer["port"], &answer["existing"]), (&json!(port), &json!(true)));
    assert_eq!(owner(), Value::Null);
    assert_eq!(active(), (Value::Null, json!(false)));
    assert_eq!(pier.ask("POST /ports/cleanup", None).json(200)["count"], 0, "it stays reserved");

    // Its own server changes nothing, wherever it works.
    let server = Server::start(&pier.world.repository("shop"), "127.0.0.1", port);
    assert_eq!(pier.port("shop"), port);
    assert_eq!(active(), (json!(server.pid()), json!(true)));
}

#[test]
fn what_is_given_back_is_told_even_when_it_is_nothing() {
    let pier = Pier::new();
    let port = pier.port("shop");
    pier.port("blog");
    let checkout = pier.world.repository("shop");
    let others = pier.world.reserve(&checkout, &["web"]);
    assert_eq!(pier.release(json!({ "project": "shop" })), "released 1 port(s) for project shop");
    assert_eq!(pier.release(json!({ "project": "shop" })), "released 0 port(s) for project shop");
    assert_eq!(pier.port("shop"), port, "it comes back");
    assert_eq!(pier.release(json!({ "port": port })), format!("released port {port}"));
    let nothing = format!("released 0 port(s): {port} is not reserved");
    assert_eq!(pier.release(json!({ "port": port.to_string() })), nothing);
    assert_eq!(pier.world.run(&checkout, ["get", "web"]).port(), others, "that is the checkout's");
    assert_eq!(pier.release(json!({ "port": others })), format!("released port {others}"));
    // What is locked is not taken away.
    let locked = pier.port("locked").to_string();
    pier.world.run(&checkout, ["release", "--port", &locked]).ok();
    pier.world.reserve(&checkout, &["--scope", "project", "--project", "locked", "--lock"]);
    for body in [json!({ "project": "locked" }), json!({ "port": locked })] {
        assert!(pier.error("DELETE /ports/release", body, 409).contains("locked"));
    }
    let active = pier.get("/ports/active");
    assert_eq!(active["count"], 2, "{active}");
    assert_eq!(pier.get("/metrics")["total_releases"], 3);
}

#[test]
fn everything_that_is_reserved_is_active() {
    let pier = Pier::new();
    let port = pier.port("shop");
    let shop = pier.world.repository("shop");
    pier.world.reserve(&shop, &["web"]);
    pier.world.reserve(&pier.world.dir("plain"), &[]);
    pier.world.reserve(&shop, &["redis", "--scope", "service"]);
    let active = pier.get("/ports/active");
    let ports = active["ports"].as_array().unwrap();
    let mut names: Vec<_> = ports.iter().map(|it| it["project"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["/redis", "plain/main", "shop", "shop/web"]);
    assert_eq!(active["count"], 4);
    let own = ports.iter().find(|it| it["project"] == "shop").unwrap();
    assert_eq!((&own["port"], &own["alive"]), (&json!(port), &json!(false)));
    let shown = pier.world.run(&shop, ["show", &port.to_string(), "--json"]).json();
    assert_eq!(own["started_at"], shown["reservation"]["created_at"]);
    assert_eq!(own["last_seen_at"], shown["reservation"]["last_used_at"]);
    assert_eq!(own["age_minutes"], 0);
    let started = own["started"].as_i64().unwrap();
    assert!(own["started_at"].as_str().unwrap().ends_with(&format!(".{:03}Z", started % 1000)));
}

#[test]
fn who_listens_is_told_with_what_is_reserved() {
    let pier = Pier::new();
    let port = pier.port("shop");
    let stranger = (0..16).map(|at| pier.world.port(at)).find(|it| *it != port).unwrap();
    let elsewhere = pier.world.dir("elsewhere");
    let servers = [port, stranger].map(|port| Server::start(&elsewhere, "127.0.0.1", port));
    let ports = |path: &str| {
        let told = pier.get(path);
        let ports = told["ports"].as_array().unwrap().clone();
        assert_eq!(told["count"], ports.len());
        assert!(told["total_system_ports"].as_u64().unwrap() >= 3, "{told}");
        ports
    };
    let find = |ports: &[Value], port: u16| ports.iter().find(|it| it["port"] == port).cloned();
    let all = ports("/ports/system");
    let own = find(&all, port).unwrap();
    assert_eq!((&own["managed_by_port_daddy"], &own["project"]), (&json!(true), &json!("shop")));
    assert_eq!(own["pid"], servers[0].pid());
    assert!(own["command"].as_str().unwrap().starts_with("e2e"), "{own}");
    assert!(own["user"].is_string());
    let other = find(&all, stranger).unwrap();
    assert_eq!((&other["managed_by_port_daddy"], &other["project"]), (&json!(false), &Value::Null));
    let server = pier.serving.port();
    assert_eq!(find(&all, server).unwrap()["command"], "hythe");

    let within = ports("/ports/system?range_only=true");
    assert_eq!(within.len(), 2, "{within:?}");
    let unmanaged = ports("/ports/system?unmanaged_only=true&range_only=false");
    assert!(find(&unmanaged, port).is_none() && find(&unmanaged, server).is_some());
    let both = ports("/ports/system?unmanaged_only&range_only&unknown=1");
    assert_eq!(both, [other]);
}

#[test]
fn cleanup_tells_what_it_frees() {
    // Nor does the server clean up by itself.
    let pier = Pier::with(&["--cleanup-every", "0s"]);
    let gone = pier.world.dir("gone");
    let port = pier.world.reserve(&gone, &[]);
    fs::remove_dir(&gone).unwrap();
    let cleanup = || {
        let answer = pier.ask("POST /ports/cleanup", None).json(200);
        pier.valid("/ports/cleanup", "post", answer)
    };
    let freed = json!([{ "port": port, "project": "gone/main" }]);
    assert_eq!(cleanup(), json!({ "freed": freed, "count": 1 }));
    assert_eq!(cleanup(), json!({ "freed": [], "count": 0 }));
    let counted = pier.get("/metrics");
    let counted = ["total_cleanups", "ports_freed_by_cleanup"].map(|name| &counted[name]);
    assert_eq!(counted, [1, 1]);
}

#[test]
fn health_version_and_metrics_are_there() {
    let pier = Pier::new();
    pier.port("shop");
    pier.port("shop");
    let version = env!("CARGO_PKG_VERSION");
    let health = pier.get("/health");
    let said = ["status", "version", "active_ports", "pid"].map(|name| health[name].clone());
    assert_eq!(said, [json!("ok"), json!(version), json!(1), json!(pier.serving.pid())]);
    assert_eq!(pier.get("/version"), json!({ "version": version, "service": "hythe" }));
    let metrics = pier.get("/metrics");
    assert_eq!((&metrics["total_assignments"], &metrics["active_ports"]), (&json!(1), &json!(1)));
    assert_eq!(metrics["uptime_formatted"], "0m");
    let get = |path: &str, accept: &str| {
        pier.serving.send(&format!("GET {path}"), &[("Accept", accept)], None)
    };
    assert_eq!(get("/metrics", "application/json, */*").json(200)["errors"], 0);
    for accept in ["text/plain", "application/openmetrics-text;version=1.0.0,*/*;q=0.1"] {
        let answer = get("/metrics", accept);
        assert!(answer.body.starts_with("# HELP hythe_"), "{}", answer.body);
        assert_eq!(
            answer.header("content-type").unwrap(),
            get("/v1/metrics", "*/*").header("content-type").unwrap()
        );
    }
    fs::write(pier.world.ledger(), "nonsense").unwrap();
    for path in ["/health", "/metrics", "/ports/active"] {
        assert!(pier.error(&format!("GET {path}"), None, 503).contains("ledger"), "{path}");
    }
}

/// What portclaim has as `GET /api/claims` and `POST /api/reap`.
#[test]
fn the_api_has_what_is_listed_and_cleaned_up_elsewhere() {
    let pier = Pier::new();
    let port = pier.port("shop");
    let gone = pier.world.dir("gone");
    let other = pier.world.reserve(&gone, &[]);
    fs::remove_dir(&gone).unwrap();
    let listed = pier.ask("GET /v1/reservations", None).json(200);
    let listed = crate::schema::valid("list", listed);
    let ports = listed["reservations"].as_array().unwrap().iter().map(|it| it["port"].clone());
    let mut expected = [port, other];
    expected.sort_unstable();
    assert_eq!(ports.collect::<Vec<_>>(), expected);
    let cleaned = pier.ask("POST /v1/cleanup", json!({})).json(200);
    let cleaned = crate::schema::valid("released", cleaned);
    assert_eq!(cleaned["released"][0]["port"], other);
}

#[test]
fn a_full_range_is_an_error_and_no_port_is_made_up() {
    let pier = Pier::new();
    let port = pier.world.port(0);
    pier.world.config(&format!("[ports]\nrange = \"{port}-{port}\"\n"));
    assert_eq!(pier.port("shop"), port);
    let told = pier.error("POST /ports/request", json!({ "project": "blog" }), 503);
    assert!(told.contains("no free port"), "{told}");
    assert_eq!(pier.get("/metrics")["errors"], 1);
    pier.world.config("[ports]\nrnage = 1\n");
    let told = pier.error("POST /ports/request", json!({ "project": "blog" }), 422);
    assert!(told.contains("rnage"), "{told}");
}

#[test]
fn whoever_is_turned_away_is_told_in_the_same_form() {
    let token = "a-token-of-sixteen-characters";
    let world = Harbour::new();
    let file = world.root().join("token");
    fs::write(&file, token).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let serving = Serving::start(&world, &["--token-file", file.to_str().unwrap()]);
    let bearer = format!("Bearer {token}");
    let ask = |headers: &[(&str, &str)], body: &str| {
        let headers = [&[("Authorization", bearer.as_str())], headers].concat();
        serving.send("POST /ports/request", &headers, json!(body))
    };
    let shop = r#"{"project": "shop"}"#;
    assert_eq!(ask(&[], shop).json(200)["existing"], false);
    for (header, value, status) in [
        ("Host", "evil.example", 403),
        ("Origin", "http://evil.example", 403),
        ("Sec-Fetch-Site", "cross-site", 403),
        ("Content-Type", "text/plain", 415),
    ] {
        error(&ask(&[(header, value)], shop), status);
    }
    let large = format!("{{\"project\": \"shop\"{}}}", " ".repeat(10 * 1024));
    assert!(error(&ask(&[], &large), 413).contains("10240"));
    assert_eq!(ask(&[], &format!("{shop}{}", " ".repeat(10_000))).status, 200);
    let stranger = serving.send("GET /ports/active", &[], None);
    assert!(error(&stranger, 401).contains("token"));
    assert_eq!(stranger.header("www-authenticate").unwrap(), "Bearer");
    assert_eq!(serving.send("GET /health", &[], None).status, 200, "it needs none");
    let known = [("Authorization", bearer.as_str())];
    for (call, status) in [("GET /ports/request", 405), ("GET /ports/none", 404)] {
        error(&serving.send(call, &known, None), status);
    }
    // Elsewhere it is what it is everywhere.
    let problem = serving.send("GET /v1/reservations", &[], None);
    assert_eq!(problem.header("content-type").unwrap(), "application/problem+json");
}

#[test]
fn how_often_may_be_asked_is_told_and_health_is_free() {
    let pier = Pier::with(&["--rate-limit", "2"]);
    let mut refused = None;
    for _ in 0..40 {
        assert_eq!(pier.ask("GET /health", None).status, 200);
        let answer = pier.ask("GET /ports/active", None);
        assert_eq!(answer.header("ratelimit-limit").unwrap(), "2");
        assert_eq!(answer.header("ratelimit-reset").unwrap(), "1");
        let left: u32 = answer.header("ratelimit-remaining").unwrap().parse().unwrap();
        assert!(left < 2, "{left}");
        if answer.status == 429 {
            assert_eq!(left, 0);
            refused = Some(error(&answer, 429));
        }
    }
    assert!(refused.unwrap().contains("too often"));
}

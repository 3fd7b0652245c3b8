//! Every JSON document is what its schema in `docs/schema` says.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use jsonschema::Registry;
use serde_json::{Value, json};

use crate::daemon::{Daemon, container};
use crate::listener::{Harbour, Server};
use crate::support::{Run, World};

/// The schemas, by name.
fn schemas() -> Vec<(String, Value)> {
    let directory = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/schema"));
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let schema = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, serde_json::from_slice(&fs::read(&path).unwrap()).unwrap())
    };
    files.map(schema).collect()
}

/// Asserts that `document` is what the schema `name` says; the document.
#[track_caller]
pub(crate) fn valid(name: &str, document: Value) -> Value {
    let schemas = schemas();
    let resources = schemas.iter().map(|(_, schema)| (schema["$id"].as_str().unwrap(), schema));
    let registry = resources
        .fold(Registry::new(), |registry, (id, schema)| registry.add(id, schema).unwrap())
        .prepare()
        .unwrap();
    let (_, schema) = schemas.iter().find(|(known, _)| known == name).unwrap();
    let validator = jsonschema::options()
        .with_registry(&registry)
        .should_validate_formats(true)
        .build(schema)
        .unwrap();
    let errors: Vec<_> = validator
        .iter_errors(&document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{name}: {errors:#?}\n{document:#}");
    document
}

/// The document of `hythe ARGUMENTS --json`, checked against the schema `name`.
#[track_caller]
fn checked(world: &World, directory: &str, name: &str, arguments: &[&str]) -> Value {
    valid(name, world.run(&world.dir(directory), [arguments, &["--json"]].concat()).json())
}

/// The error document of `hythe ARGUMENTS --json`, which exits with `code`.
#[track_caller]
fn error(world: &World, directory: &str, arguments: &[&str], code: i32) -> Value {
    let stderr = world.run(&world.dir(directory), [arguments, &["--json"]].concat()).fails(code);
    let document = valid("error", serde_json::from_str(stderr.lines().last().unwrap()).unwrap());
    assert_eq!(document["error"]["exit_code"], code);
    document
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Makes every reservation look unused for more than a year.
fn age(world: &World) {
    let year = 400_i64 * 24 * 60 * 60 * 1000;
    let ledger = rusqlite::Connection::open(world.ledger()).unwrap();
    let sql = "UPDATE reservation SET last_used_at = last_used_at - ?";
    assert!(ledger.execute(sql, [year]).unwrap() > 0);
}

/// A world with one reservation of every kind: served by its own server, held by a stranger, with
/// an owner, with a time to live, locked, and of a directory whose name is no text.
fn varied() -> (Harbour, [Server; 2]) {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let mine = world.reserve(&shop, &["mine", "--agent", "a", "--task", "t"]);
    let foreign = world.reserve(&shop, &["foreign"]);
    world.reserve(&shop, &["owned", "--lease", "ephemeral"]);
    world.reserve(&shop, &["expires", "--ttl", "5m", "--lock"]);
    world.reserve(&shop, &["shared", "--scope", "service"]);
    let odd: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"od\nd \xff");
    world.reserve(&world.dir(odd), &[]);
    let elsewhere = world.dir("elsewhere");
    let servers =
        [Server::start(&shop, "127.0.0.1", mine), Server::start(&elsewhere, "127.0.0.1", foreign)];
    (world, servers)
}

#[test]
fn the_schemas_are_schemas_and_leave_nothing_open() {
    fn closed(schema: &Value, place: &str) {
        match schema {
            Value::Object(entries) => {
                if schema["type"] == "object" && schema.get("properties").is_some() {
                    assert_eq!(schema["additionalProperties"], false, "{place}");
                }
                entries.iter().for_each(|(key, value)| closed(value, &format!("{place}/{key}")));
            }
            Value::Array(items) => items.iter().for_each(|item| closed(item, place)),
            _ => {}
        }
    }
    let schemas = schemas();
    for (name, schema) in &schemas {
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{name}");
        let id = schema["$id"].as_str().unwrap();
        assert!(id.ends_with(&format!("/docs/schema/{name}.json")), "{id}");
        assert!(schema["title"].is_string(), "{name}");
        assert!(jsonschema::meta::is_valid(schema), "{name}");
        closed(schema, name);
    }
    let names: BTreeSet<_> = schemas.iter().map(|(name, _)| name.as_str()).collect();
    let documents = [
        "reserve",
        "get",
        "list",
        "list-projects",
        "show",
        "env",
        "released",
        "move",
        "lock",
        "log",
        "log-event",
        "run",
        "map",
        "scan",
        "wait",
        "exclude",
        "doctor",
        "doctor-agent",
        "mcp-settings",
        "init",
        "plugin-list",
        "plugin-inspect",
        "plugin-check",
        "plugin-test",
        "plugin-bench",
        "plugin-simulate",
        "plugin-new",
        "plugin-encode",
        "plugin-edit",
        "config-show",
        "config-get",
        "config-set",
        "config-path",
        "config-check",
        "daemon-install",
        "daemon-status",
        "daemon-uninstall",
        "import",
        "import-settings",
        "export",
        "export-file",
        "error",
        "problem",
        "reserved",
    ];
    let parts = ["reservation", "listeners", "containers", "plugin-costs"];
    assert_eq!(names, documents.into_iter().chain(parts).collect());
}

#[test]
fn a_reservation_has_the_same_fields_everywhere() {
    let (world, _servers) = varied();
    let expected = BTreeSet::from([
        "port",
        "scope",
        "directory",
        "service",
        "project",
        "task",
        "agent",
        "lease",
        "locked",
        "owner",
        "created_at",
        "last_used_at",
        "expires_at",
        "listening",
        "key",
        "strategy",
    ]);
    let shop = world.root().join("shop");
    let list = world.run(&shop, ["list", "--json"]).json();
    let reservations = list["reservations"].as_array().unwrap();
    assert_eq!(reservations.len(), 6);
    let shown = world.run(&shop, ["show", "owned", "--json"]).json();
    let reserved = world.run(&shop, ["reserve", "owned", "--json"]).json();
    let single = [&shown["reservation"], &reserved["reservation"]];
    for reservation in single.into_iter().chain(reservations) {
        assert_eq!(keys(reservation), expected);
        assert_eq!(keys(&reservation["strategy"]), BTreeSet::from(["key", "selection"]));
        if !reservation["owner"].is_null() {
            let expected = BTreeSet::from(["pid", "started_at", "alive"]);
            assert_eq!(keys(&reservation["owner"]), expected);
        }
    }
    assert_eq!(shown["reservation"], reserved["reservation"]);
    assert!(reservations.contains(&shown["reservation"]));
    let top = BTreeSet::from(["version", "port", "outcome", "reservation", "dry_run"]);
    assert_eq!(keys(&reserved), top);
    assert_eq!(reserved["port"], reserved["reservation"]["port"]);
}

#[test]
fn reserve() {
    let world = Harbour::new();
    world.repository("shop");
    let outcome = |arguments: &[&str]| {
        let document = checked(&world, "shop", "reserve", arguments);
        document["outcome"].as_str().map(str::to_owned)
    };
    assert_eq!(outcome(&["reserve", "--dry-run"]).unwrap(), "created");
    assert_eq!(outcome(&["reserve", "--explain"]).unwrap(), "created");
    assert_eq!(outcome(&["reserve", "--explain"]).unwrap(), "existing");
    assert_eq!(outcome(&["reserve", "--reallocate", "--explain"]).unwrap(), "moved");
    world.run(&world.dir("shop"), ["release"]).ok();
    assert_eq!(outcome(&["reserve", "--explain"]).unwrap(), "returned");
    assert_eq!(
        outcome(&["reserve", "--ttl", "9999y", "--lease", "ephemeral"]).unwrap(),
        "existing"
    );
    assert_eq!(outcome(&["reserve", "a", "b", "--explain", "--ttl", "1s"]), None);
    assert_eq!(outcome(&["reserve", "c", "--explain", "--prefer", "6000"]).unwrap(), "created");
    // In a world of its own, where nothing else is in the way.
    let world = Harbour::new();
    let taken = world.reserve(&world.dir("other"), &["--dry-run"]);
    let stranger = Server::start(&world.dir("elsewhere"), "127.0.0.1", taken);
    let document = checked(&world, "other", "reserve", &["reserve", "--explain"]);
    let skipped = json!([{ "ports": taken.to_string(), "reason": "held by a process" }]);
    assert_eq!(document["explanation"]["skipped"], skipped);
    drop(stranger);
}

#[test]
fn get_and_lock() {
    let (world, _servers) = varied();
    for service in ["mine", "foreign", "owned", "expires"] {
        checked(&world, "shop", "get", &["get", service]);
    }
    let document = checked(&world, "shop", "lock", &["lock", "mine"]);
    assert_eq!(document["locked"], true);
    assert_eq!(checked(&world, "shop", "lock", &["unlock", "mine"])["locked"], false);
}

#[test]
fn run() {
    let (world, _servers) = varied();
    let document = checked(&world, "shop", "run", &["run", "-n", "--json", "--", "npx", "vite"]);
    assert_eq!(document["command"].as_array().unwrap().len(), 6, "and what this test adds");
    checked(&world, "shop", "run", &["run", "-n", "-s", "mine", "--listen-fds", "--json", "x"]);
    error(&world, "shop", &["run", "--json", "--", "./no-such-command"], 127);
    error(&world, "shop", &["run", "--json", "--", "/"], 126);
}

#[test]
fn map_and_exclude() {
    let (world, _servers) = varied();
    checked(&world, "shop", "map", &["map"]);
    checked(&world, "shop", "map", &["map", "1-65535"]);
    checked(&world, "shop", "exclude", &["exclude", "65000", "--project", "--dry-run"]);
    checked(&world, "shop", "exclude", &["exclude", "65000", "--local"]);
    checked(&world, "shop", "config-set", &["config", "set", "project", "p", "--local"]);
    checked(&world, "shop", "config-set", &["config", "set", "project", "p", "--local", "-n"]);
    checked(&world, "shop", "config-get", &["config", "get", "ports.exclude"]);
    checked(&world, "shop", "config-get", &["config", "get", "ports.range"]);
}

#[test]
fn scan_and_wait() {
    let (world, _servers) = varied();
    let shop = world.root().join("shop");
    let listed = world.run(&shop, ["list", "--json"]).json();
    let reserved = listed["reservations"].as_array().unwrap();
    let mut free = (0..32)
        .map(|at| world.port(at))
        .filter(|port| reserved.iter().all(|reservation| reservation["port"] != *port));
    let [published, strange] = [free.next(), free.next()].map(Option::unwrap);
    Daemon::start(&world).runs(&[container("a", published, Some(&shop), &[])]);
    let _stranger = Server::start(&shop, "::1", strange);
    let document = checked(&world, "shop", "scan", &["scan"]);
    assert_eq!(document["ports"].as_array().unwrap().len(), 4);
    checked(&world, "shop", "scan", &["scan", "--all"]);
    checked(&world, "shop", "scan", &["scan", "--exclude", "--dry-run"]);
    checked(&world, "shop", "scan", &["scan", "--adopt", "--dry-run"]);
    let named = strange.to_string();
    let document = checked(&world, "shop", "scan", &["scan", &named, "--adopt"]);
    assert_eq!(document["adopted"].as_array().unwrap().len(), 1, "{document}");
    let document = checked(&world, "shop", "wait", &["wait", "mine", &named]);
    assert_eq!(document["ports"].as_array().unwrap().len(), 2);
    let published = published.to_string();
    checked(&world, "shop", "wait", &["wait", &published, "--listening"]);
    checked(&world, "shop", "wait", &["wait", "owned", "--free"]);
    checked(&world, "shop", "show", &["show", &published, "--listening"]);
    error(&world, "shop", &["wait", "foreign"], 8);
    error(&world, "shop", &["wait", "owned", "--timeout", "0s"], 7);
    error(&world, "shop", &["show", "owned", "--mine"], 7);
}

#[test]
fn list() {
    let (world, servers) = varied();
    let document = checked(&world, "shop", "list", &["list"]);
    let listening = document["reservations"].as_array().unwrap().iter();
    let listening: Vec<_> =
        listening.map(|reservation| reservation["listening"].as_str().unwrap()).collect();
    let count = |word| listening.iter().filter(|found| **found == word).count();
    assert_eq!((count("mine"), count("foreign"), count("none")), (1, 1, 4));
    let listeners = document["listeners"].as_array().unwrap().iter();
    let pids: BTreeSet<_> = listeners.map(|listener| listener["pid"].as_u64().unwrap()).collect();
    assert_eq!(pids, servers.iter().map(|server| u64::from(server.pid())).collect());
    let reserved = |at: usize| document["reservations"][at]["port"].as_u64().unwrap();
    let port = u16::try_from(reserved(0)).unwrap();
    let shop = world.root().join("shop");
    let mounts = [world.root()];
    let containers = [container("a", port, Some(&shop), &[]), container("b", port, None, &mounts)];
    Daemon::start(&world).runs(&containers);
    let document = checked(&world, "shop", "list", &["list"]);
    assert_eq!(document["containers"].as_array().unwrap().len(), 2);
    checked(&world, "shop", "show", &["show", &port.to_string()]);
    checked(&world, "shop", "list", &["list", "--service", "none"]);
    checked(&Harbour::new(), "shop", "list", &["list"]);
}

#[test]
fn show() {
    let (world, servers) = varied();
    for service in ["mine", "foreign", "owned", "expires"] {
        let document = checked(&world, "shop", "show", &["show", service]);
        assert_eq!(document["history"][0]["event"], "reserved");
    }
    let document = checked(&world, "shop", "show", &["show", "mine"]);
    assert_eq!(document["listeners"][0]["pid"], servers[0].pid());
    assert_eq!(document["listeners"][0]["port"], document["reservation"]["port"]);
    // The history is the latest part of it.
    for _ in 0..12 {
        world.run(&world.dir("shop"), ["lock", "mine"]).ok();
        world.run(&world.dir("shop"), ["unlock", "mine"]).ok();
    }
    let document = checked(&world, "shop", "show", &["show", "mine"]);
    let history = document["history"].as_array().unwrap();
    assert_eq!((history.len(), &history[19]["event"]), (20, &json!("unlocked")));
}

#[test]
fn env() {
    let (world, _servers) = varied();
    let shop = world.dir("shop");
    checked(&world, "shop", "env", &["env"]);
    let text = "[services.mine]\nenv = 'MINE'\n[services.web]\noffset = 0\n\
                [services.api]\noffset = 1\n[env]\nURL = 'http://localhost:{port:web}'\n";
    fs::write(shop.join("hythe.toml"), text).unwrap();
    let dry = checked(&world, "shop", "env", &["env", "--dry-run", "--write", ".env"]);
    assert_eq!(keys(&dry["variables"]), ["API_PORT", "MINE", "URL", "WEB_PORT"].into());
    let written = checked(&world, "shop", "env", &["env", "--write", ".env", "--agent", "a"]);
    assert_eq!(written["files"][0]["changed"], true);
    assert_eq!(written["services"][2]["reservation"]["service"], "web");
    let explained = ["reserve", "db", "--explain"];
    let text = "[services.web]\noffset = 0\n[services.db]\noffset = 2\n";
    let room = Harbour::new();
    fs::write(room.dir("other").join("hythe.toml"), text).unwrap();
    room.reserve(&room.dir("other"), &["web", "--prefer", &room.port(0).to_string()]);
    let beside = checked(&room, "other", "reserve", &explained);
    assert_eq!(beside["explanation"]["wish"], "beside its block");
}

#[test]
fn released() {
    let (world, servers) = varied();
    drop(servers);
    checked(&world, "shop", "released", &["release", "mine", "--dry-run"]);
    checked(&world, "shop", "released", &["release", "mine", "foreign"]);
    let document = checked(&world, "shop", "released", &["cleanup"]);
    assert_eq!(document["released"], json!([]));
    age(&world);
    let document = checked(&world, "shop", "released", &["cleanup", "--dry-run"]);
    assert!(!document["released"].as_array().unwrap().is_empty());
    assert!(document["released"][0]["policy"].is_string());
    checked(&world, "shop", "released", &["cleanup", "--older-than", "1d"]);
    let all = ["release", "--recursive", "--force", "-C", ".."];
    checked(&world, "shop", "released", &all);
}

#[test]
fn log_events() {
    let (world, servers) = varied();
    let shop = world.dir("shop");
    world.reserve(&shop, &["foreign"]);
    world.reserve(&shop, &["mine", "--task", "other"]);
    world.run(&shop, ["lock", "mine"]).ok();
    world.run(&shop, ["unlock", "mine"]).ok();
    drop(servers);
    world.run(&shop, ["release", "mine"]).ok();
    world.reserve(&shop, &["mine"]);
    age(&world);
    world.run(&shop, ["cleanup"]).ok();
    fs::rename(&shop, world.root().join("store")).unwrap();
    for dry in [&["--dry-run"][..], &[]] {
        let arguments = [&["move", "../shop", "."], dry].concat();
        checked(&world, "store", "move", &arguments);
    }
    let arguments = ["log", "--json", "--limit", "1000"];
    let text = world.run(&world.dir("store"), arguments).ok();
    let watched = ["watch", "--json", "--since", "1h", "--timeout", "0s"];
    assert_eq!(world.run(&world.dir("store"), watched).ok(), text);
    let events = text.lines().map(|line| valid("log-event", serde_json::from_str(line).unwrap()));
    let kinds: BTreeSet<_> =
        events.map(|event| event["event"].as_str().unwrap().to_owned()).collect();
    let all =
        ["locked", "moved", "released", "relocated", "reserved", "returned", "unlocked", "updated"];
    assert_eq!(kinds, all.map(str::to_owned).into());
}

#[test]
fn beginnings() {
    let world = World::new();
    checked(&world, "shop", "init", &["init", "--service", "web=3000", "--dry-run"]);
    checked(&world, "shop", "init", &["init", "--user"]);
    checked(&world, "shop", "doctor", &["doctor"]);
    checked(&world, "shop", "doctor", &["doctor", "--fix", "--dry-run"]);
    checked(&world, "shop", "doctor-agent", &["doctor", "--agent", "claude"]);
}

#[test]
fn plugins() {
    let world = World::new();
    checked(&world, "shop", "plugin-list", &["plugin", "list"]);
    fs::write(world.home().join("broken.wasm"), "nonsense").unwrap();
    let bundled = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/bundled/ttl.wasm");
    fs::copy(bundled, world.home().join("mine.wasm")).unwrap();
    world.config(
        "[plugins.broken]\npath = \"~/broken.wasm\"\n[plugins.mine]\npath = \"~/mine.wasm\"\n\
         [strategy]\nkey = \"broken\"\ncleanup = [\"mine\"]\n",
    );
    let document = checked(&world, "shop", "plugin-list", &["plugin", "list"]);
    let plugins = document["plugins"].as_array().unwrap();
    assert_eq!(plugins.len(), 5);
    assert_eq!(plugins.iter().filter(|plugin| plugin["error"].is_null()).count(), 4);
}

#[test]
fn configuration() {
    let world = World::new();
    world.config(
        "[ports]\nexclude = [1, \"2-3\"]\nallow = [6000]\n[plugins.ttl.options]\n\
         persistent = \"9d\"\n[services.web]\nport = 3000\n",
    );
    for arguments in [&["config", "show"][..], &["config", "show", "--origin"]] {
        checked(&world, "shop", "config-show", arguments);
    }
    checked(&world, "shop", "config-check", &["config", "check"]);
    checked(&world, "shop", "config-path", &["config", "path"]);
    let mut command = world.command(&world.dir("shop"));
    command.args(["config", "path", "--json"]).env("XDG_CACHE_HOME", world.root());
    valid("config-path", Run::of(&mut command).json());
}

#[test]
fn import_and_export() {
    let (world, _servers) = varied();
    world.run(&world.dir("shop"), ["release", "shared", "--scope", "service"]).ok();
    let document = checked(&world, "shop", "export", &["export"]);
    let bytes = document["reservations"].as_array().unwrap().iter();
    assert_eq!(bytes.filter(|it| it["directory"]["bytes"].is_string()).count(), 1);
    checked(&world, "shop", "export-file", &["export", "--file", "ledger.json"]);
    let import = ["import", "ledger.json", "--from", "hythe"];
    checked(&world, "shop", "import", &[&import[..], &["--dry-run"]].concat());
    let empty = Harbour::new();
    checked(&empty, "shop", "export", &["export"]);
    fs::copy(world.dir("shop").join("ledger.json"), empty.dir("shop").join("ledger.json")).unwrap();
    let imported = checked(&empty, "shop", "import", &import);
    assert_eq!(imported["entries"].as_array().unwrap().len(), 5);
    let claims = r#"{"version": 1, "allocations": {"3000": {"directory": "/", "name": "x y",
        "assigned_at": "2026-01-01T00:00:00Z", "last_used_at": "2026-01-01T00:00:00Z"}, "x": {}}}"#;
    fs::write(world.dir("shop").join("claims.json"), claims).unwrap();
    let import = ["import", "claims.json", "--from", "portpls"];
    let refused = error(&world, "shop", &import, 8);
    valid("import", refused["error"]["details"].clone());
    checked(&world, "shop", "import", &[&import[..], &["--skip-conflicts"]].concat());
    let settings = ["import", "--from", "port-daddy", "--settings"];
    checked(&world, "shop", "import-settings", &settings);
}

#[test]
fn errors() {
    let world = Harbour::new();
    let port = world.reserve(&world.dir("shop"), &["--lock"]);
    let range = format!("{port}-{port}");
    error(&world, "shop", &["reserve", "--no-such-flag"], 2);
    error(&world, "shop", &["reserve", "a", "a"], 2);
    let policy = error(&world, "shop", &["reserve", "--scope", "project"], 4);
    assert_eq!(policy["error"]["details"]["plugin"], "path-sticky 1.0.0");
    let full = error(&world, "other", &["reserve", "--range", &range], 5);
    let refused = json!({ "reserved for another key": 1 });
    assert_eq!(full["error"]["details"]["refused"], refused);
    error(&world, "other", &["get"], 7);
    error(&world, "shop", &["release"], 8);

    fs::write(world.dir("shop").join("hythe.toml"), "[ports]\nrnage = 1\n").unwrap();
    let wrong = error(&world, "shop", &["reserve"], 3);
    assert_eq!(wrong["error"]["hint"], "did you mean `range`?");
    fs::write(world.dir("shop").join("hythe.toml"), [0xff]).unwrap();
    error(&world, "shop", &["reserve"], 3);
    error(&world, "other", &["reserve", "--config", "missing.toml"], 3);
    fs::write(world.home().join("broken.wasm"), "nonsense").unwrap();
    world.configure("[plugins.p]\npath = \"~/broken.wasm\"\n[strategy]\nkey = \"p\"\n");
    let broken = error(&world, "other", &["get"], 4);
    assert_eq!(broken["error"]["details"]["plugin"], "p");
    world.configure("[plugins.ttl.options]\nforever = true\n");
    error(&world, "other", &["config", "check"], 3);
    world.configure("");

    let lock = fs::File::open(world.state().join("ledger.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    error(&world, "other", &["reserve", "--lock-timeout", "0s"], 6);
    drop(lock);
    fs::write(world.ledger(), "nonsense").unwrap();
    error(&world, "other", &["get"], 9);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = world.command(&world.dir("other"));
    command.args(["config", "show", "--json"]).stdout(full).stderr(std::process::Stdio::piped());
    let stderr = Run::from(command.spawn().unwrap().wait_with_output().unwrap()).fails(1);
    valid("error", serde_json::from_str(&stderr).unwrap());
}

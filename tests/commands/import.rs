//! `hythe import`: what other tools keep is Hythe's from then on, and their files stay as they are.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::{Run, World};

/// What becomes of each entry: its outcome and reason, by port.
fn outcomes(document: &Value) -> BTreeMap<u64, String> {
    let entries = document["entries"].as_array().unwrap().iter();
    let outcome = |entry: &Value| {
        let reason = entry["reason"].as_str().map(|why| format!(": {why}")).unwrap_or_default();
        let outcome = format!("{}{reason}", entry["outcome"].as_str().unwrap());
        (entry["port"].as_u64().unwrap_or(0), outcome)
    };
    entries.map(outcome).collect()
}

/// Every file in a directory with its bytes.
fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

/// What the real trop wrote, moved into this world, with its directories but for `gone`.
fn trop(world: &World) -> PathBuf {
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/import/trop/trop.db");
    let directory = world.dir("home/.trop");
    let database = directory.join("trop.db");
    fs::copy(fixture, &database).unwrap();
    let connection = Connection::open(&database).unwrap();
    let root = world.root();
    let sql = "UPDATE reservations SET path = replace(path, '/srv/hythe-fixture', ?)";
    assert_eq!(connection.execute(sql, [root.to_str().unwrap()]).unwrap(), 8);
    connection.close().unwrap();
    let shop = world.repository("shop");
    world.git(&shop, &["worktree", "add", "--quiet", "../shop-agent", "-b", "agent"]);
    world.dir("shop/docs");
    world.dir("blog");
    directory
}

#[test]
fn a_real_trop_database_is_taken_over() {
    let world = World::new();
    let directory = trop(&world);
    let before = contents(&directory);
    let shop = world.root().join("shop");
    let error = world.run(&shop, ["import", "--from", "trop"]).fails(8);
    assert!(error.contains("hint: hythe import --from trop --skip-conflicts"), "{error}");
    assert!(!world.state().exists(), "nothing was imported");

    let import = ["import", "--from", "trop", "--skip-conflicts", "--json"];
    let document = world.run(&shop, import).json();
    let root = world.root();
    let has = format!("conflict: `web` of {} has port 5001", shop.display());
    let number = "conflict: \"8080\" is not a service: a number would be taken for a port";
    let expected = [
        (5000, "imported"),
        (5001, "imported"),
        (5002, "imported"),
        (5003, has.as_str()),
        (5004, "imported"),
        (5005, number),
        (5006, "skipped: its directory is gone"),
        (6000, "conflict: the port is blocked by browsers"),
    ];
    assert_eq!(outcomes(&document), expected.map(|(port, is)| (port, is.to_owned())).into());
    assert_eq!(contents(&directory), before, "trop's files are only read");

    // They are what `reserve` finds, with what trop knew of them.
    for (directory, service, port) in [
        ("shop", "main", 5000),
        ("shop/docs", "web", 5001),
        ("shop", "my-service", 5002),
        ("shop-agent", "web", 5004),
    ] {
        assert_eq!(world.run(&root.join(directory), ["get", service]).port(), port);
    }
    let shown = world.run(&shop, ["show", "web", "--json"]).json();
    let web = &shown["reservation"];
    assert_eq!((&web["project"], &web["task"]), (&json!("shop"), &json!("T-1")));
    assert_eq!(web["created_at"], "2026-11-21T15:40:46.000Z");
    assert_eq!(web["strategy"], json!({ "key": "path-sticky 1.0.0", "selection": "imported" }));
    assert_eq!(shown["history"][0]["reason"], "imported from trop");
    let again = world.run(&shop, import).json();
    assert_eq!(outcomes(&again)[&5000], "existing");
    let list = world.run(&shop, ["list", "--json"]).json();
    assert_eq!(list["reservations"].as_array().unwrap().len(), 4);
}

#[test]
fn a_database_in_use_is_read_with_its_log_and_left_alone() {
    let world = World::new();
    let directory = trop(&world);
    let database = directory.join("trop.db");
    let writer = Connection::open(&database).unwrap();
    writer.pragma_update(None, "journal_mode", "WAL").unwrap();
    writer.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    let blog = world.root().join("blog");
    let sql = "INSERT INTO reservations VALUES (?, 'new', 5555, NULL, NULL, 0, 0)";
    writer.execute(sql, [blog.to_str().unwrap()]).unwrap();
    writer.execute_batch("BEGIN IMMEDIATE; DELETE FROM reservations;").unwrap();
    let before = contents(&directory);
    assert_eq!(before.len(), 3, "the database, its log and its index");
    let file = database.to_str().unwrap();
    world.run(&blog, ["import", file, "--from", "trop", "--skip-conflicts"]).ok();
    assert_eq!(world.run(&blog, ["get", "new"]).port(), 5555);
    assert_eq!(contents(&directory), before);
}

#[test]
fn the_configuration_of_each_directory_decides_its_key() {
    let world = World::new();
    let directory = trop(&world);
    fs::write(world.root().join("shop/hythe.toml"), "[services.web]\nscope = \"service\"\n")
        .unwrap();
    world.config("[ports]\nexclude = [5004]\nallow = [6000]\nrange = \"5000-7000\"\n");
    let named = ["import", directory.to_str().unwrap(), "--from", "trop", "--skip-conflicts"];
    let document = world.run(&world.root(), [&named[..], &["--json"]].concat()).json();
    let outcomes = outcomes(&document);
    assert_eq!(outcomes[&5004], "conflict: the port is excluded by configuration");
    assert_eq!(outcomes[&6000], "imported");
    let shop = world.root().join("shop");
    let shown = world.run(&shop, ["show", "5001", "--json"]).json();
    assert_eq!(shown["reservation"]["key"], "service:web");

    fs::write(shop.join("hythe.toml"), "ports = 3\n").unwrap();
    let dry = world.run(&world.root(), [&named[..], &["--dry-run", "--json"]].concat()).json();
    let wrong = dry["entries"][0]["reason"].as_str().unwrap();
    assert!(wrong.contains("hythe.toml:1:"), "{wrong}");
}

fn claim(world: &World, port: u16, service: &str, more: &str) {
    let text = format!(
        "{{\"port\": {port}, \"agent\": \"claude-code\", \"project\": \"my-app\", \
         \"service\": \"{service}\", {more}}}"
    );
    fs::write(world.dir("home/.portclaim/claims").join(format!("{port}.json")), text).unwrap();
}

#[test]
fn claims_belong_to_projects_and_to_processes_that_provably_live() {
    let world = World::new();
    let mut owner = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let pid = owner.id();
    // Of two claims of one living process, one was made before it began: that was another process.
    let with =
        |at: &str| format!("\"pid\": {pid}, \"claimed_at\": \"{at}\", \"lease\": \"ephemeral\"");
    claim(&world, 3000, "next-dev", &with("2999-01-01T00:00:00.123456Z"));
    claim(&world, 3001, "api", &with("2001-01-01T00:00:00Z"));
    let persistent =
        "\"pid\": 1, \"claimed_at\": \"2001-01-01T00:00:00Z\", \"lease\": \"persistent\"";
    claim(&world, 5432, "postgres", persistent);
    let orphan = world.root().join("home/.portclaim/claims/9.json.tmp");
    fs::write(orphan, "half").unwrap();

    let app = world.repository("my-app");
    let document = world.run(&app, ["import", "--from", "portclaim", "--json"]).json();
    assert_eq!(document["entries"].as_array().unwrap().len(), 3);
    assert_eq!(document["entries"][0]["what"], "my-app/next-dev");
    for (service, port) in [("next-dev", 3000), ("api", 3001), ("postgres", 5432)] {
        let get = ["get", service, "--scope", "project"];
        assert_eq!(world.run(&app, get).port(), port);
    }
    let shown =
        |port: &str| world.run(&app, ["show", port, "--json"]).json()["reservation"].clone();
    let bound = shown("3000");
    assert_eq!((&bound["lease"], &bound["owner"]["pid"]), (&json!("ephemeral"), &json!(pid)));
    assert_eq!(bound["agent"], "claude-code");
    let unbound = shown("3001");
    assert_eq!((&unbound["lease"], &unbound["owner"]), (&json!("persistent"), &Value::Null));
    owner.kill().unwrap();
    owner.wait().unwrap();

    fs::write(world.root().join("home/.portclaim/claims/7.json"), "{").unwrap();
    let error = world.run(&app, ["import", "--from", "portclaim"]).fails(8);
    assert!(error.contains("conflict      -      a damaged claim: it is no claim: "), "{error}");
}

#[test]
fn a_port_of_port_daddy_is_its_projects() {
    let world = World::new();
    let file = world.dir("home/.claude/port-daddy").join("port-registry.db");
    let registry = Connection::open(file).unwrap();
    registry
        .execute_batch(
            "PRAGMA journal_mode = WAL;
             CREATE TABLE port_assignments (port INTEGER PRIMARY KEY, project TEXT NOT NULL,
                 pid INTEGER NOT NULL, started INTEGER NOT NULL, last_seen INTEGER NOT NULL);
             INSERT INTO port_assignments VALUES (3100, 'my-app', 999999, 1770463572228, 1770463577664),
                 (3101, '', 1, 0, 0), (3102, 'odd', 'x', 'y', 'z');",
        )
        .unwrap();
    let app = world.repository("my-app");
    let run = world.run(&app, ["import", "--from", "port-daddy", "--skip-conflicts"]).exits(0);
    let expected = "imported  3100   my-app main\n\
                    conflict  3101   : it names no project\n\
                    conflict  3102   odd: its row is not one of Port Daddy's\n";
    assert_eq!(run.stdout(), expected);
    assert!(run.stderr().contains("1 of them keep ports outside the range"), "{}", run.stderr());
    assert!(run.stderr().contains("cannot be proven to be alive"), "{}", run.stderr());
    assert_eq!(world.run(&app, ["get", "--scope", "project"]).port(), 3100);
    let used = world.run(&app, ["show", "3100", "--json"]).json();
    assert_eq!(used["reservation"]["last_used_at"], "2026-02-07T11:26:17.664Z");
}

#[test]
fn allocations_keep_their_locks_and_names() {
    let world = World::new();
    let app = world.repository("my-app");
    let root = world.root();
    let allocation = |directory: &str, name: &str, locked: bool| {
        json!({
            "directory": directory, "name": name, "locked": locked,
            "assigned_at": "2026-01-21T10:00:00Z", "last_used_at": "2026-01-21T16:00:00+02:00",
        })
    };
    let file = world.dir("home/.local/share/portpls").join("allocations.json");
    let app_name = app.to_str().unwrap();
    let document = json!({ "version": 1, "last_issued_port": 20005, "allocations": {
        "20000": allocation(app_name, "main", true),
        "20001": allocation(app_name, "web", false),
        "20005": allocation("(unknown:20005)", "main", false),
        "20006": allocation(root.join("gone").to_str().unwrap(), "main", false),
    }});
    fs::write(&file, document.to_string()).unwrap();
    let run = world.run(&root, ["import", "--from", "portpls"]).exits(0);
    let expected = format!(
        "imported  20000  {app_name} main\nimported  20001  {app_name} web\n\
         skipped   20005  (unknown:20005) main: nobody knows whose it was\n\
         skipped   20006  {}/gone main: its directory is gone\n",
        root.display()
    );
    assert_eq!(run.stdout(), expected);
    let shown = world.run(&app, ["show", "--json"]).json();
    assert_eq!(shown["reservation"]["locked"], true);
    assert_eq!(shown["reservation"]["last_used_at"], "2026-01-21T14:00:00.000Z");
    assert_eq!(world.run(&app, ["get", "web"]).port(), 20001);
}

#[test]
fn what_is_not_there_or_not_theirs_is_said_and_changes_nothing() {
    let world = World::new();
    let root = world.root();
    for tool in ["trop", "portclaim", "port-daddy", "portpls"] {
        let error = world.run(&root, ["import", "--from", tool]).fails(7);
        assert!(error.contains("is not there"), "{error}");
        world.run(&root, ["import", "missing", "--from", tool]).fails(7);
    }
    let noise = root.join("noise");
    fs::write(&noise, [&b"SQLite format 3\0"[..], &[7; 4096]].concat()).unwrap();
    let alien = Connection::open(root.join("alien")).unwrap();
    let sql =
        "CREATE TABLE metadata (key, value); INSERT INTO metadata VALUES ('schema_version', '9');
               CREATE VIEW port_assignments AS WITH RECURSIVE n(port) AS
                   (SELECT 1 UNION ALL SELECT port FROM n) SELECT * FROM n;";
    alien.execute_batch(sql).unwrap();
    drop(alien);
    fs::write(root.join("trop.yaml"), "project: x\n").unwrap();
    fs::write(root.join("empty"), "").unwrap();
    for (file, tool, expected) in [
        ("noise", "trop", "cannot be imported"),
        ("noise", "port-daddy", "cannot be imported"),
        ("noise", "portpls", "cannot be imported"),
        ("empty", "trop", "no table `metadata`"),
        ("alien", "trop", "schema version 9 is not known"),
        ("alien", "port-daddy", "no table `port_assignments`"),
        ("trop.yaml", "trop", "it holds settings"),
        ("/dev/null", "trop", "not a regular file"),
        ("/dev/null", "portpls", "EOF"),
    ] {
        let error = world.run(&root, ["import", file, "--from", tool]).fails(2);
        assert!(error.contains(expected), "{file} {tool}: {error}");
    }
    // A database cut anywhere is sound, or said not to be.
    let whole = fs::read(trop(&world).join("trop.db")).unwrap();
    for end in (0..whole.len()).step_by(1001) {
        fs::write(&noise, &whole[..end]).unwrap();
        world.run(&root, ["import", "noise", "--from", "trop", "--skip-conflicts"]).fails(2);
    }
    let pipe = world.dir("home/.portclaim/claims").join("1.json");
    assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
    let error = world.run(&root, ["import", "--from", "portclaim"]).fails(2);
    assert!(error.contains("not a regular file"), "{error}");
    assert!(!world.state().exists(), "nothing was imported");
}

#[test]
fn another_writer_is_waited_for() {
    let world = World::new();
    trop(&world);
    world.reserve(&world.dir("other"), &[]);
    let lock = fs::File::open(world.state().join("ledger.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let arguments = ["import", "--from", "trop", "--skip-conflicts", "--lock-timeout", "0s"];
    world.run(&world.root(), arguments).fails(6);
    // What writes nothing waits for nobody.
    world.run(&world.root(), [&arguments[..], &["--dry-run"]].concat()).ok();
}

/// What `import --settings` prints; and that Hythe takes it.
fn settings(world: &World, arguments: &[&str]) -> String {
    let text = world.run(&world.root(), [&["import", "--settings"], arguments].concat()).ok();
    let other = World::new();
    let project = other.repository("project");
    match text.lines().next().unwrap().ends_with("hythe.toml.") {
        true => {
            other.config("[ports]\nrange = \"1024-65535\"\n");
            fs::write(project.join("hythe.toml"), &text).unwrap();
        }
        false => drop(other.config(&text)),
    }
    let run = other.run(&project, ["config", "check"]).exits(0);
    assert!(run.stderr().contains("in order"), "{text}{}", run.stderr());
    text
}

#[track_caller]
fn says(text: &str, lines: &[&str]) {
    let said: Vec<_> = text.lines().map(|line| line.split("   #").next().unwrap().trim()).collect();
    for line in lines {
        assert!(said.contains(line), "no {line:?} in\n{text}");
    }
}

#[test]
fn settings_of_trop_are_shown_in_hythes_words() {
    let world = World::new();
    let directory = world.dir("home/.trop");
    says(&settings(&world, &["--from", "trop"]), &["range = \"5000-7000\""]);
    let file = directory.join("config.yaml");
    let yaml = "ports:\n  min: 5000\n  max_offset: 99\nexcluded_ports: [5001, 5002..5003, \"5004\"]\n\
                cleanup: {expire_after_days: 14}\nmaximum_lock_wait_seconds: 7\n\
                disable_autoprune: true\noccupancy_check: {skip_ip6: true}\noutput_format: json\n";
    fs::write(&file, yaml).unwrap();
    let text = settings(&world, &["--from", "trop"]);
    says(
        &text,
        &[
            "[ports]",
            "range = \"5000-5099\"",
            "exclude = [5001, \"5002-5003\", 5004]",
            "[strategy]",
            "cleanup = [\"pid-reap\", \"ttl\"]",
            "[plugins.ttl.options]",
            "persistent = \"14d\"",
            "[ledger]",
            "lock_timeout = \"7s\"",
        ],
    );
    assert!(text.contains("# output_format: `hythe list --format`."), "{text}");
    let mut command = world.command(&world.root());
    command.args(["import", "--settings", "--from", "trop"]).env("TROP_DATA_DIR", "home/.trop");
    assert_eq!(Run::of(command.env("HOME", "/nowhere")).ok(), text);

    let project = world.root().join("trop.yaml");
    let group = "project: shop\nports: {min: 5000, max: 5999}\nreservations:\n  services:\n    \
                 \"web\": {preferred: 5050}\n    my api: {}\n    db: {preferred: 5432}\n";
    fs::write(&project, group).unwrap();
    let text = settings(&world, &["trop.yaml", "--from", "trop"]);
    says(
        &text,
        &[
            "project = \"shop\"",
            "range = \"5000-5999\"",
            "[services.web]",
            "port = 5050",
            "[services.db]",
            "port = 5432",
        ],
    );
    fs::write(&project, "project: [x\n").unwrap();
    let wrong = ["import", "trop.yaml", "--from", "trop", "--settings"];
    assert!(world.run(&world.root(), wrong).fails(2).contains("trop.yaml cannot be imported"));
}

#[test]
fn settings_of_the_others_are_shown_in_hythes_words() {
    let world = World::new();
    world.run(&world.root(), ["import", "--settings", "--from", "portclaim"]).fails(7);
    let toml = "[pool]\nrange = \"3000-9999\"\nexclude = [5433, 6379]\n[projects.my-app]\nprefer = 3000\n\
                range = \"3000-3009\"\n[services.redis]\nport = 6379\nlease = \"persistent\"\n\
                [services.\"@x/y\"]\nlease = \"ephemeral\"\n";
    fs::write(world.dir("home/.portclaim").join("config.toml"), toml).unwrap();
    let text = settings(&world, &["--from", "portclaim"]);
    says(
        &text,
        &[
            "range = \"3000-9999\"",
            "exclude = [5433]",
            "[services.redis]",
            "scope = \"project\"",
            "port = 6379",
            "lease = \"persistent\"",
            "[services.\"@x/y\"]",
            "lease = \"ephemeral\"",
        ],
    );
    // What a project would say for itself is right as well.
    let own: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("#     ")).collect();
    let expected =
        "project = \"my-app\"\n[ports]\nrange = \"3000-3009\"\n[services.main]\nport = 3000";
    assert_eq!(own.join("\n"), expected);

    let text = settings(&world, &["--from", "port-daddy"]);
    says(&text, &["range = \"3100-9999\"", "exclude = [8000, 8080, 9876]", "[services.main]"]);

    let json = json!({ "port_start": 20000, "port_end": 22000, "freeze_period": "24h",
        "allocation_ttl": "30d", "log_file": "/x" });
    let file = world.dir("home/.config/portpls").join("config.json");
    fs::write(&file, json.to_string()).unwrap();
    let text = settings(&world, &["--from", "portpls"]);
    says(&text, &["range = \"20000-22000\"", "freeze = \"24h\"", "persistent = \"30d\""]);
    assert!(text.contains("# log_file: "), "{text}");
    fs::write(&file, json!({ "allocation_ttl": "0", "freeze_period": "\u{1b}[2J" }).to_string())
        .unwrap();
    let text = settings(&world, &["--from", "portpls"]);
    says(&text, &["cleanup = [\"path-sticky\", \"pid-reap\"]"]);
    assert!(!text.contains('\u{1b}'), "{text:?}");
    let document =
        world.run(&world.root(), ["import", "--settings", "--from", "portpls", "--json"]).json();
    assert_eq!((&document["file"], &document["text"]), (&json!("config.toml"), &json!(text)));
    let both = ["import", "--settings", "--skip-conflicts", "--from", "portpls"];
    world.run(&world.root(), both).fails(2);
}

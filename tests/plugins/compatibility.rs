//! Plugins of every published version of the contract: they load, and decide as they always did.
//! `tests/fixtures/README.md` says what they are.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::call;
use crate::component::{Plugin, sha256};
use crate::listener::{Harbour, Server};
use crate::support::{Run, World};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/plugins");

/// A plugin that was published: for which version of the contract, its name, its SHA-256, and the
/// policies that it exports.
type Published = (&'static str, &'static str, &'static str, &'static [&'static str]);

/// Only ever added to.
const PUBLISHED: [Published; 4] = [
    (
        "0.1.0",
        "everything",
        "7c064e10c3603d2bad1e1a1b0cda0297ada7852e8f5ba41264cf4dc67a16c136",
        &["key-derivation", "port-selection", "cleanup"],
    ),
    (
        "0.1.0",
        "path-sticky",
        "d6c1696a7b84d0762b487644d9a8743d44b52efa3384670220d6c3514eeaa45f",
        &["key-derivation", "port-selection", "cleanup"],
    ),
    (
        "0.1.0",
        "pid-reap",
        "55e58e796deb2986db21e2294d92da41c709fdc12faea97eefdea29781fde060",
        &["cleanup"],
    ),
    (
        "0.1.0",
        "ttl",
        "1af93d401531e992bde431b8518bfcd7d7e4d9968f023d7bd6cbfd1cae23bfee",
        &["cleanup"],
    ),
];

fn fixture(version: &str, name: &str) -> PathBuf {
    Path::new(FIXTURES).join(version).join(name).with_extension("wasm")
}

/// Declares the fixtures of a version, each as `old-NAME`.
fn declarations(version: &str) -> String {
    let mut text = String::new();
    for (published, name, sha256, _) in PUBLISHED {
        if published == version {
            let path = fixture(version, name).canonicalize().unwrap();
            let path = path.display();
            writeln!(text, "[plugins.old-{name}]\npath = '{path}'\nsha256 = \"{sha256}\"").unwrap();
        }
    }
    text
}

/// Makes every reservation look made and used this many seconds earlier.
fn age(world: &World, seconds: u32) {
    let ledger = rusqlite::Connection::open(world.ledger()).unwrap();
    let by = 1000 * seconds;
    let sql = format!(
        "UPDATE reservation SET created_at = created_at - {by}, last_used_at = last_used_at - {by}"
    );
    assert!(ledger.execute(&sql, []).unwrap() > 0);
}

/// What `hythe cleanup` would release: port, policy and reason, by port.
fn released(world: &World) -> Vec<(u64, String, String)> {
    let document = world.run(&world.root(), ["cleanup", "--dry-run", "--json"]).json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let released = document["released"].as_array().unwrap().iter();
    let mut released: Vec<_> = released
        .map(|one| (one["port"].as_u64().unwrap(), text(&one["policy"]), text(&one["reason"])))
        .collect();
    released.sort();
    released
}

#[test]
fn what_was_published_is_kept_as_it_was() {
    let mut files = BTreeSet::new();
    for version in fs::read_dir(FIXTURES).unwrap() {
        let entries = fs::read_dir(version.unwrap().path()).unwrap();
        files.extend(entries.map(|entry| entry.unwrap().path()));
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "wasm"));
    let known = PUBLISHED.map(|(version, name, ..)| fixture(version, name));
    assert_eq!(files, BTreeSet::from(known));
    for (version, name, digest, _) in PUBLISHED {
        assert_eq!(sha256(&fixture(version, name)), digest, "{name} for {version}");
    }
}

#[test]
fn what_was_published_loads() {
    let world = World::new();
    let directory = world.dir("project");
    world.config(&declarations("0.1.0"));
    world.run(&directory, ["config", "check"]).ok();
    let list = world.run(&directory, ["plugin", "list", "--json"]).json();
    for (_, name, digest, policies) in PUBLISHED {
        let plugins = list["plugins"].as_array().unwrap();
        let plugin = plugins.iter().find(|it| it["name"] == format!("old-{name}")).unwrap();
        assert_eq!(plugin["version"], "1.0.0");
        assert_eq!(plugin["policies"], json!(policies));
        assert_eq!(plugin["sha256"], digest);
    }
}

#[test]
fn old_path_sticky_derives_and_selects_as_it_did() {
    let world = World::new();
    let shop = world.repository("shop");
    world.config(&format!(
        "strategy = {{ key = \"old-path-sticky\", selection = \"old-path-sticky\" }}\n{}",
        declarations("0.1.0")
    ));
    for (service, ranges) in
        [("web", ["24945-29999", "20000-24944"]), ("postgres", ["25383-29999", "20000-25382"])]
    {
        let arguments =
            ["reserve", service, "--scope", "service", "--dry-run", "--explain", "--json"];
        let answer = world.run(&shop, arguments).json();
        let [key, selection] =
            ["key", "selection"].map(|policy| call(&answer["explanation"], policy));
        assert_eq!(key["answered"], format!("service:{service}"));
        assert_eq!(selection["answered"], json!(ranges));
        assert_eq!(selection["plugin"], "path-sticky 1.0.0");
    }
    let key = |arguments: &[&str]| {
        let always = ["reserve", "web", "--dry-run", "--json"];
        let mut answer = world.run(&shop, [&always[..], arguments].concat()).json();
        answer["reservation"]["key"].take()
    };
    assert_eq!(key(&[]), format!("directory:web:{}", shop.display()));
    assert_eq!(key(&["--scope", "project"]), "project:web:shop");
    assert_eq!(key(&["--scope", "project", "--project", "100%\u{fc}"]), "project:web:100%25ü");
}

#[test]
fn old_cleanup_policies_release_as_they_did() {
    let harbour = Harbour::new();
    let [shop, gone] = ["shop", "gone"].map(|name| harbour.dir(name));
    harbour.configure(&format!(
        "[strategy]\ncleanup = [\"old-path-sticky\", \"old-pid-reap\", \"old-ttl\"]\n{}\
         [plugins.old-ttl.options]\npersistent = \"2h\"\n[cleanup]\nevery = \"0s\"\n",
        declarations("0.1.0")
    ));
    let lost = harbour.reserve(&gone, &[]);
    let unused = harbour.reserve(&shop, &["unused"]);
    let short = harbour.reserve(&shop, &["short", "--ttl", "1m"]);
    let orphan = harbour.reserve(&shop, &["orphan", "--lease", "ephemeral"]);
    harbour.reserve(&shop, &["long", "--ttl", "90d"]);
    harbour.reserve(&shop, &["owned", "--lease", "ephemeral"]);
    fs::remove_dir(&gone).unwrap();
    age(&harbour, 3 * 60 * 60);
    let ledger = rusqlite::Connection::open(harbour.ledger()).unwrap();
    ledger.execute("UPDATE reservation SET owner_boot = 'x' WHERE service = 'orphan'", []).unwrap();
    drop(ledger);
    let verdict = |port: u16, policy: &str, reason: &str| {
        (u64::from(port), policy.to_owned(), reason.to_owned())
    };
    let mut expected = vec![
        verdict(lost, "old-path-sticky", "its directory is gone"),
        verdict(unused, "old-ttl", "not used for more than 2h"),
        verdict(short, "old-ttl", "its own time to live is over"),
        verdict(orphan, "old-pid-reap", "its owner is dead"),
    ];
    expected.sort();
    assert_eq!(released(&harbour), expected);
}

/// A user for whom the old `everything` decides about everything.
fn told() -> (World, String) {
    let world = World::new();
    let strategy = "key = \"old-everything\"\nselection = \"old-everything\"\n\
         cleanup = [\"old-everything\"]\n[cleanup]\nevery = \"0s\"\n";
    let options = "[plugins.old-everything.options]\nwait = \"2h\"\n";
    world.config(&format!("[strategy]\n{strategy}{}{options}", declarations("0.1.0")));
    let root = world.root().display().to_string();
    (world, root)
}

/// Every field of every request is where a plugin of 0.1.0 looks for it.
#[test]
fn old_policies_are_told_everything_of_a_request() {
    let (world, root) = told();
    let shop = world.repository("shop");
    let tree = format!("{root}/feature");
    world.git(&shop, &["worktree", "add", "--quiet", "-b", "feature", &tree]);
    let (loose, deep) = (world.dir("loose"), world.dir("feature/deep"));
    let above = |base: usize, distances: &[usize]| -> Vec<String> {
        distances.iter().map(|distance| (base + distance).to_string()).collect()
    };
    let decided = |directory: &Path, arguments: &[&str]| {
        let always = ["reserve", "--explain", "--json"];
        let answer = world.run(directory, [&always[..], arguments].concat()).json();
        let [key, ranges] = ["key", "selection"]
            .map(|policy| call(&answer["explanation"], policy)["answered"].clone());
        (answer["port"].to_string(), key, ranges)
    };

    let (port, answered, ranges) = decided(&loose, &["web", "--prefer", "20777"]);
    let key = format!("0|web|{root}/loose|-|-|{{\"wait\":7200}}");
    assert_eq!(answered, key.as_str());
    let mut expected = vec!["20000-29999".to_owned(), "20777".to_owned()];
    expected.extend(above(20_000, &[key.len(), "web".len(), 0, 0, 0, 1]));
    assert_eq!(ranges, json!(expected));

    let (_, answered, ranges) = decided(&deep, &["api", "--scope", "project"]);
    let key =
        format!("1|api|{tree}/deep|{tree}|{root}/shop/.git|shop|feature|1|shop|{{\"wait\":7200}}");
    assert_eq!(answered, key.as_str());
    let mut expected = vec!["20000-29999".to_owned(), port.clone(), port];
    let lengths = [key.len(), "api".len(), "shop".len(), "feature".len(), 0, 1];
    expected.extend(above(20_000, &lengths));
    assert_eq!(ranges, json!(expected));

    // Its own error is said in its own words.
    fs::write(loose.join("hythe.toml"), "plugins.old-everything.options.refuse = true\n").unwrap();
    let stderr = world.run(&loose, ["reserve", "x", "--scope", "service"]).fails(4);
    let said = format!("`key-derivation.derive`: 2|x|{root}/loose|-|-|{{\"refuse\":true,\"wait\"");
    assert!(stderr.contains(&said), "{stderr}");
}

#[test]
fn old_policies_are_told_everything_of_a_reservation() {
    let (world, root) = told();
    let [shop, gone] = ["shop", "gone"].map(|name| world.dir(name));
    let elsewhere = world.dir("elsewhere");
    let ephemeral = ["--lease", "ephemeral"];
    let reserve = |directory: &Path, arguments: &[&str]| {
        u64::from(world.reserve(directory, &[arguments, &ephemeral].concat()))
    };
    let expired = ["expired", "--task", "t-1", "--agent", "me", "--ttl", "1h"];
    let expired = reserve(&shop, &expired);
    let orphan = reserve(&shop, &["orphan", "--ttl", "90d"]);
    age(&world, 2 * 60 * 60);
    let ledger = rusqlite::Connection::open(world.ledger()).unwrap();
    let sql = "UPDATE reservation SET owner_boot = 'x' WHERE service = 'orphan'";
    assert_eq!(ledger.execute(sql, []).unwrap(), 1);
    drop(ledger);
    let lost = reserve(&gone, &["lost"]);
    let shared = reserve(&shop, &["shared", "--scope", "project", "--project", "p"]);
    // What this process owns, its children may listen for.
    let mut owner = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let held = reserve(&shop, &["held", "--pid", &owner.id().to_string()]);
    // The first is kept, the second passed on.
    reserve(&shop, &["postgres", "--scope", "service"]);
    world.reserve(&shop, &["unowned"]);
    fs::remove_dir(&gone).unwrap();
    let _stranger = Server::start(&elsewhere, "127.0.0.1", u16::try_from(held).unwrap());

    let reason = |numbers: &str, service: &str, directory: &str, rest: &str| {
        let scope = &numbers[..1];
        let project = rest.split('|').next().unwrap();
        let key = format!("{scope}|{service}|{root}/{directory}|-|{project}|{{\"wait\":7200}}");
        format!("{numbers}|{key}|{service}|{root}/{directory}|{rest}")
    };
    let expected = [
        (expired, reason("00110", "expired", "shop", "-|t-1|me|cue")),
        (orphan, reason("00120", "orphan", "shop", "-|-|-|cu")),
        (lost, reason("01110", "lost", "gone", "-|-|-|")),
        (shared, reason("10110", "shared", "shop", "p|-|-|")),
        (held, reason("00112", "held", "shop", "-|-|-|")),
    ];
    let mut expected =
        expected.map(|(port, reason)| (port, "old-everything".to_owned(), reason)).to_vec();
    expected.sort();
    let released = released(&world);
    owner.kill().unwrap();
    owner.wait().unwrap();
    assert_eq!(released, expected);
}

/// What the fixture `everything` would be if it had been built for another version of the contract,
/// which is as long to write.
fn built_for(version: &str) -> Vec<u8> {
    let bytes = fs::read(fixture("0.1.0", "everything")).unwrap();
    let (mut rest, mut built) = (&bytes[..], Vec::new());
    while let Some((first, behind)) = rest.split_first() {
        if let Some(behind) = rest.strip_prefix(b"@0.1.0") {
            built.extend(b"@");
            built.extend(version.as_bytes());
            rest = behind;
        } else {
            built.push(*first);
            rest = behind;
        }
    }
    assert_eq!(built.len(), bytes.len());
    assert_ne!(built, bytes);
    built
}

/// A user whose keys a plugin of these bytes derives.
fn reserved_by(plugin: &[u8]) -> Run {
    let world = World::new();
    let file = world.config("[strategy]\nkey = \"mine\"\n[plugins.mine]\npath = \"mine.wasm\"\n");
    fs::write(file.with_file_name("mine.wasm"), plugin).unwrap();
    world.run(&world.dir("project"), ["reserve", "--dry-run"])
}

#[test]
fn plugins_of_other_versions_are_told_what_to_do() {
    for (version, hint) in [
        ("0.2.0", "upgrade hythe"),
        ("0.9.9", "upgrade hythe"),
        ("1.0.0", "upgrade hythe"),
        ("9.0.0", "upgrade hythe"),
        ("0.0.9", "rebuild the plugin for `hythe:policy/"),
        ("0.0.1", "rebuild the plugin for `hythe:policy/"),
    ] {
        let stderr = reserved_by(&built_for(version)).fails(4);
        for word in [&format!("@{version}`, but this hythe speaks `hythe:policy/"), hint] {
            assert!(stderr.contains(word), "no {word:?} in {stderr}");
        }
    }
    // Versions are compared as numbers, and one that was only being prepared comes before its own.
    for (version, hint) in [
        ("0.10.0", "upgrade hythe"),
        ("0.100.0", "upgrade hythe"),
        ("10.0.0", "upgrade hythe"),
        ("0.1.0-rc.1", "rebuild the plugin for `hythe:policy/key-derivation@0.1.0`"),
        ("0.2.0-rc.1", "upgrade hythe"),
        ("0.0.10", "rebuild the plugin for `hythe:policy/key-derivation@0.1.0`"),
    ] {
        let stderr = reserved_by(&Plugin::new("mine").key("k").contract(version).build()).fails(4);
        assert!(stderr.contains(&format!("key-derivation@{version}`")), "{stderr}");
        assert!(stderr.contains(&format!("\nhint: {hint}")), "{version}: {stderr}");
    }
}

/// Versions that differ in the last number alone are one version to WebAssembly's tools (semantic
/// versioning, <https://semver.org>): a plugin of either is a plugin of the other.
#[test]
fn the_last_number_of_a_version_makes_no_difference() {
    for version in ["0.1.1", "0.1.9"] {
        reserved_by(&built_for(version)).port();
    }
}

/// An author who supports an old Hythe and a new one exports both versions.
#[test]
fn a_plugin_can_speak_several_versions() {
    let newer = r#"(instance $newer)
        (export "hythe:policy/key-derivation@0.2.0" (instance $newer))
        (export "hythe:policy/cleanup@1.0.0" (instance $newer))"#;
    let both = |plugin: Plugin| plugin.import(newer).build();
    reserved_by(&both(Plugin::new("mine").key("k").release_all("why"))).port();
    // But what it has in another version alone is not read as if it were not there.
    let stderr = reserved_by(&both(Plugin::new("mine").key("k"))).fails(4);
    assert!(stderr.contains("it exports `hythe:policy/cleanup@1.0.0`"), "{stderr}");
    assert!(stderr.contains("hint: upgrade hythe"), "{stderr}");
}

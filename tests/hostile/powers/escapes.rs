//! How a project's files might try to get beyond their project: by layers, links, nesting and
//! worktrees.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{contents, declare, evil, reserved, select};
use crate::component::sha256;
use crate::listener::{Harbour, Server, addresses};
use crate::support::World;

/// The ports that `hythe cleanup ARGUMENTS` releases in `directory`, ascending.
fn released(world: &World, directory: &Path, arguments: &[&str]) -> Vec<u16> {
    let done = world.run(directory, [&["cleanup", "--json"], arguments].concat()).json();
    let port = |released: &Value| u16::try_from(released["port"].as_u64().unwrap()).unwrap();
    let mut ports: Vec<_> = done["released"].as_array().unwrap().iter().map(port).collect();
    ports.sort_unstable();
    ports
}

fn sorted<const N: usize>(mut ports: [u16; N]) -> [u16; N] {
    ports.sort_unstable();
    ports
}

/// A plugin of a project: its file, and its declaration with its digest.
fn pinned(project: &Path, name: &str, file: &str) -> (PathBuf, String) {
    let path = project.join(file);
    if !path.exists() {
        fs::write(&path, evil().key(file).release_all("mine").build()).unwrap();
    }
    let digest = sha256(&path);
    let text = format!("[plugins.{name}]\npath = \"{file}\"\nsha256 = \"{digest}\"\n");
    (path, text)
}

#[test]
fn no_file_of_a_project_drops_the_digest_that_another_pins() {
    let world = World::new();
    let project = world.dir("project");
    world.reserve(&project, &["before"]);
    let before = contents(&world.state());
    let (file, text) = pinned(&project, "ours", "ours.wasm");
    let (_, other) = pinned(&project, "ours", "other.wasm");
    let digest = sha256(&file);
    fs::write(project.join("hythe.toml"), format!("strategy.key = \"ours\"\n{text}")).unwrap();
    let local = project.join("hythe.local.toml");
    for (text, code, said) in [
        ("path = \"other.wasm\"", 3, "hythe.local.toml:2:1: plugin `ours` is not pinned"),
        ("path = \"ours.wasm\"", 3, "hythe.local.toml:2:1: plugin `ours` is not pinned"),
        (&format!("sha256 = \"{digest}\""), 3, "has a `sha256` but no `path`"),
        ("sha256 = \"\"", 3, "not a SHA-256 digest"),
        ("path = \"ours.wasm\"\nsha256 = \"\"", 3, "not a SHA-256 digest"),
        ("path = \"ours.wasm\"\nsha256 = false", 3, "hythe.local.toml:3:10: "),
        (&format!("path = \"other.wasm\"\nsha256 = \"{digest}\""), 4, "its digest is "),
        // The digest stands beside a name that has no options, and nothing else.
        ("options = { sha256 = \"\" }", 3, "option `sha256`"),
    ] {
        fs::write(&local, format!("[plugins.ours]\n{text}\n")).unwrap();
        let stderr = world.run(&project, ["reserve"]).fails(code);
        assert!(stderr.contains(said), "{text}: no {said:?} in {stderr}");
        assert_eq!(contents(&world.state()), before, "{text}");
    }
    // An empty table says nothing: what was pinned still is.
    fs::write(&local, "[plugins.ours]\n").unwrap();
    world.reserve(&project, &["--dry-run"]);
    fs::write(&file, evil().key("changed").build()).unwrap();
    let stderr = world.run(&project, ["reserve"]).fails(4);
    assert!(stderr.contains("but the configuration pins"), "{stderr}");
    // Both together replace both.
    fs::write(&local, other).unwrap();
    let explained = world.run(&project, ["reserve", "--explain", "--json"]).json();
    assert_eq!(explained["explanation"]["policies"][0]["answered"], "other.wasm");
}

#[test]
fn a_project_replaces_nobodys_plugin_but_its_own() {
    let world = World::new();
    let project = world.dir("project");
    let beside = world.config("").with_file_name("mine.wasm");
    fs::write(&beside, evil().key("the user's").build()).unwrap();
    let mine = "path = \"mine.wasm\"\n";
    let user = world.config(&format!(
        "strategy.key = \"mine\"\n[plugins.mine]\n{mine}[[directory]]\nmatch = \"{}\"\n\
         [directory.plugins.ruled]\n{mine}",
        project.display()
    ));
    let port = world.reserve(&project, &[]);
    let before = contents(&world.state());
    let declared = |line: u8| format!("is already declared by {}:{line}:8", user.display());
    for (name, said) in [
        ("mine", declared(3)),
        ("ruled", format!("{} ([[directory]]", declared(7))),
        ("path-sticky", "is bundled and only the user can replace it".to_owned()),
        ("ttl", "is bundled and only the user can replace it".to_owned()),
    ] {
        let (_, text) = pinned(&project, name, "own.wasm");
        for file in ["hythe.toml", "hythe.local.toml"] {
            fs::write(project.join(file), &text).unwrap();
            let stderr = world.run(&project, ["reserve", "more"]).fails(3);
            let place = format!("{}:2:8: plugin `{name}` ", project.join(file).display());
            for word in [&place, &said] {
                assert!(stderr.contains(word), "no {word:?} in {stderr}");
            }
            fs::remove_file(project.join(file)).unwrap();
        }
    }
    assert_eq!(contents(&world.state()), before);
    assert_eq!(world.reserve(&project, &[]), port);
}

/// The project names the user's plugin, and one of its files says what to tell it.
#[test]
fn a_users_plugin_that_a_project_selects_and_tells_is_confined() {
    let harbour = Harbour::new();
    let schema = r#"{"properties":{"team":{"type":"string"}}}"#;
    select(&harbour, "", evil().key("k").schema(schema));
    let [plain, told, local] = ["plain", "told", "local"].map(|name| harbour.dir(name));
    let options = "[plugins.evil.options]\nteam = \"k\"\n";
    let strategy = "strategy.key = \"evil\"\n";
    for directory in [&plain, &local] {
        fs::write(directory.join("hythe.toml"), strategy).unwrap();
    }
    fs::write(told.join("hythe.toml"), format!("{strategy}{options}")).unwrap();
    fs::write(local.join("hythe.local.toml"), options).unwrap();
    let [plain, told, local] = [&plain, &told, &local].map(|it| harbour.reserve(it, &[]));
    assert!(plain != told && told != local && local != plain, "{plain}, {told}, {local}");
    // The user's own say keeps the user's key.
    select(&harbour, "[strategy]\nkey = \"evil\"", evil().key("k").schema(schema));
    assert_eq!(harbour.reserve(&harbour.dir("another"), &[]), plain);
}

#[test]
fn projects_within_projects_are_two() {
    let harbour = Harbour::new();
    harbour.configure("[cleanup]\nevery = \"0s\"\n");
    let [outer, inner, deep] =
        ["outer", "outer/inner", "outer/inner/deep"].map(|name| harbour.dir(name));
    for project in [&outer, &inner] {
        declare(
            project,
            "key = \"evil\"\ncleanup = [\"evil\"]",
            evil().key("k").release_all("mine"),
        );
    }
    let outers = harbour.reserve(&outer, &[]);
    let inners = harbour.reserve(&deep, &[]);
    assert_ne!(outers, inners, "the same plugin in another project has other keys");
    assert_eq!(harbour.reserve(&inner, &[]), inners);
    assert_eq!(harbour.run(&deep, ["get"]).port(), inners);

    assert_eq!(released(&harbour, &deep, &[]), [inners]);
    assert_eq!(reserved(&harbour), [outers]);
    // What lies below the outer project is the outer project's as well.
    let inners = harbour.reserve(&deep, &[]);
    assert_eq!(released(&harbour, &outer, &[]), sorted([outers, inners]));
}

#[test]
fn links_bring_nothing_into_a_project() {
    let harbour = Harbour::new();
    harbour.configure("[cleanup]\nevery = \"0s\"\n");
    let [project, victim] = ["project", "victim"].map(|name| harbour.dir(name));
    let theirs = harbour.reserve(&victim, &[]);
    declare(&project, "key = \"evil\"\ncleanup = [\"evil\"]", evil().key("k").release_all("mine"));
    let own = harbour.reserve(&project, &[]);
    let link = project.join("link");
    symlink(&victim, &link).unwrap();
    for directory in [link.to_str().unwrap(), "link", "link/../victim"] {
        assert_eq!(harbour.reserve(&project, &["-C", directory]), theirs);
    }
    assert!(released(&harbour, &link, &[]).is_empty());
    assert_eq!(released(&harbour, &project, &[]), [own]);
    assert_eq!(reserved(&harbour), [theirs]);
}

#[test]
fn a_linked_file_speaks_for_where_the_link_is() {
    let harbour = Harbour::new();
    let quiet = "[cleanup]\nevery = \"0s\"\n";
    harbour.configure(quiet);
    let [shared, one, two] = ["shared", "one", "two"].map(|name| harbour.dir(name));
    declare(&shared, "key = \"evil\"\ncleanup = [\"evil\"]", evil().key("k").release_all("mine"));
    for project in [&one, &two] {
        symlink(shared.join("hythe.toml"), project.join("hythe.toml")).unwrap();
        let stderr = harbour.run(project, ["reserve"]).fails(4);
        let looked = project.join("evil.wasm");
        assert!(stderr.contains(looked.to_str().unwrap()), "{stderr}");
        fs::copy(shared.join("evil.wasm"), looked).unwrap();
    }
    let [shared, first, second] = [&shared, &one, &two].map(|it| harbour.reserve(it, &[]));
    assert!(shared != first && first != second && second != shared);
    assert_eq!(released(&harbour, &one, &[]), [first]);
    assert_eq!(reserved(&harbour), sorted([shared, second]));

    // Even the user's own file is a project's where a project links to it.
    harbour.configure(&format!("allow = [80]\n{quiet}"));
    let user = harbour.home().join(".config/hythe/config.toml");
    fs::remove_file(one.join("hythe.toml")).unwrap();
    symlink(&user, one.join("hythe.toml")).unwrap();
    let stderr = harbour.run(&one, ["reserve"]).fails(3);
    let place = format!("error: {}:4:2: only the user's file", one.join("hythe.toml").display());
    assert!(stderr.starts_with(&place), "{stderr}");
}

#[test]
fn every_worktree_has_its_own_files() {
    let harbour = Harbour::new();
    harbour.configure("[cleanup]\nevery = \"0s\"\n");
    let shop = harbour.repository("shop");
    let [feature, plain] = ["feature", "plain"].map(|name| {
        let tree = harbour.root().join(name);
        harbour.git(&shop, &["worktree", "add", "--quiet", "-b", name, tree.to_str().unwrap()]);
        tree
    });
    // Says that it is the same worktree as another one.
    let forged = harbour.dir("forged");
    fs::copy(feature.join(".git"), forged.join(".git")).unwrap();
    for (project, reason) in [(&shop, "main"), (&feature, "feature"), (&forged, "forged")] {
        declare(
            project,
            "key = \"evil\"\ncleanup = [\"evil\"]",
            evil().key("k").release_all(reason),
        );
    }
    let places = [&shop, &feature, &plain, &forged];
    let ports = places.map(|place| harbour.reserve(place, &[]));
    assert_eq!(reserved(&harbour), sorted(ports), "the same key in each, and no port twice");
    let [main, branch, other, fake] = ports;
    assert!(released(&harbour, &plain, &[]).is_empty());
    assert_eq!(released(&harbour, &forged, &[]), [fake]);
    assert_eq!(released(&harbour, &feature, &[]), [branch]);
    assert_eq!(released(&harbour, &shop, &[]), [main]);
    assert_eq!(reserved(&harbour), [other]);
}

/// A project's cleanup that answers *release* for everything, as often as it is asked: by command,
/// beside a new key, and when the range is full.
#[test]
fn a_projects_cleanup_takes_what_is_its_own_and_idle() {
    let hosts = addresses();
    let (servers, size) = (u16::try_from(hosts.len()).unwrap(), 16);
    let harbour = Harbour::of_size(size);
    harbour.configure("freeze = \"0s\"\n[cleanup]\nevery = \"1ms\"\n");
    let project = harbour.repository("project");
    let [below, outside] = ["project/packages/web", "outside"].map(|name| harbour.dir(name));
    let mut kept = vec![
        harbour.reserve(&project, &["locked", "--lock"]),
        harbour.reserve(&below, &["postgres", "--scope", "service"]),
        harbour.reserve(&outside, &[]),
        harbour.reserve(&outside, &["tests", "--lease", "ephemeral", "--ttl", "1h"]),
        harbour.reserve(&outside, &["shared", "--scope", "project", "--project", "project"]),
    ];
    // Served on every address, from the checkout and from below.
    let listeners: Vec<_> = hosts
        .iter()
        .enumerate()
        .map(|(number, host)| {
            let port = harbour.reserve(&project, &[&format!("served-{number}")]);
            kept.push(port);
            Server::start(if number % 2 == 0 { &project } else { &below }, host, port)
        })
        .collect();
    let mut idle = vec![
        harbour.reserve(&project, &["idle"]),
        harbour.reserve(&project, &["tests", "--lease", "ephemeral"]),
    ];
    kept.sort_unstable();
    idle.sort_unstable();
    declare(&project, "cleanup = [\"evil\"]", evil().release_all("mine"));

    assert_eq!(released(&harbour, &project, &["--dry-run"]), idle);
    assert_eq!(released(&harbour, &below, &["--policy", "evil"]), idle);
    assert_eq!(reserved(&harbour), kept);
    // Beside new keys, which fill the range: those of the project go, and it is not enough for all.
    let left = size - u16::try_from(kept.len()).unwrap();
    assert!(left > 2, "{servers} servers leave no room");
    for number in 0..3 * left {
        harbour.reserve(&project, &[&format!("new-{number}")]);
        let now = reserved(&harbour);
        assert!(kept.iter().all(|port| now.contains(port)), "{now:?}");
    }
    released(&harbour, &project, &[]);
    assert_eq!(reserved(&harbour), kept);
    for number in 0..left {
        kept.push(harbour.reserve(&outside, &[&format!("other-{number}")]));
    }
    kept.sort_unstable();
    harbour.run(&project, ["reserve", "one-too-many"]).fails(5);
    assert_eq!(reserved(&harbour), kept);
    drop(listeners);
}

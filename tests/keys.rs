//! What identifies a reservation: any directory that a Unix system allows, any state of git.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::listener::Harbour;
use crate::support::{HYTHE, Run, World};

/// The reservation that `hythe reserve ARGUMENTS` answers with in `directory`.
fn reservation(world: &World, directory: &Path, arguments: &[&str]) -> Value {
    let mut document = world.run(directory, [&["reserve", "--json"], arguments].concat()).json();
    document["reservation"].take()
}

fn key(world: &World, directory: &Path) -> String {
    reservation(world, directory, &[])["key"].as_str().unwrap().to_owned()
}

/// A linked worktree of `repository` on a branch of its own.
fn worktree(world: &World, repository: &Path, name: &str) -> PathBuf {
    let path = world.root().join(name);
    let place = path.to_str().unwrap();
    world.git(repository, &["worktree", "add", "--quiet", "-b", name, place]);
    path
}

#[test]
fn any_directory_is_a_key_of_its_own() {
    let world = Harbour::new();
    let long = vec!["d".repeat(200); 15].join("/");
    let names: [&[u8]; 14] = [
        b"plain",
        b"\xff",
        b"\xfe",
        b"%FF",
        b"%25FF",
        b"line\nbreak",
        b"line",
        b"\x1b[31mred",
        b"sp ace",
        b" ",
        b"-rf",
        b"'\"$(id)`;",
        "größe".as_bytes(),
        long.as_bytes(),
    ];
    let mut seen = std::collections::BTreeMap::new();
    for name in names {
        let directory = world.dir(OsStr::from_bytes(name));
        let reserved = reservation(&world, &directory, &[]);
        let (key, port) = (reserved["key"].to_string(), reserved["port"].as_u64().unwrap());
        assert!(!key.chars().any(char::is_control), "{key:?}");
        assert_eq!(seen.insert(key, port), None, "{name:?}");
        assert_eq!(u64::from(world.run(&directory, ["get"]).port()), port, "{name:?}");
        assert_eq!(u64::from(world.reserve(&directory, &[])), port, "{name:?}");
    }
    let ports: std::collections::BTreeSet<_> = seen.values().collect();
    assert_eq!(ports.len(), names.len());
}

#[test]
fn keys_say_where_they_come_from() {
    let world = Harbour::new();
    let root = world.root().to_str().unwrap().to_owned();
    let odd = world.dir(OsStr::from_bytes(b"100%\n\xff"));
    assert_eq!(key(&world, &odd), format!("directory:main:{root}/100%25%0A%FF"));
    let shop = world.repository("shop");
    assert_eq!(key(&world, &world.dir("shop/web")), format!("directory:main:{root}/shop"));
    let project = reservation(&world, &shop, &["api", "--scope", "project"]);
    assert_eq!(project["key"], "project:api:shop");
    let service = reservation(&world, &shop, &["postgres", "--scope", "service"]);
    assert_eq!(service["key"], "service:postgres");
}

#[test]
fn a_checkout_may_have_any_name() {
    let world = Harbour::new();
    let shop = world.dir(OsStr::from_bytes(b"sh\nop \xff"));
    world.git(&shop, &["init", "--quiet"]);
    let deep = shop.join(OsStr::from_bytes(b"\xfe"));
    fs::create_dir(&deep).unwrap();
    let reserved = reservation(&world, &shop, &[]);
    assert_eq!(reserved["project"], Value::Null, "a name that is no text is no project");
    assert_eq!(world.reserve(&deep, &[]), reserved["port"]);
}

#[test]
fn outside_git_every_directory_is_a_key() {
    let world = Harbour::new();
    let (shop, web) = (world.dir("shop"), world.dir("shop/web"));
    assert_ne!(world.reserve(&shop, &[]), world.reserve(&web, &[]));
    assert_eq!(reservation(&world, &shop, &[])["project"], Value::Null);
}

#[test]
fn branches_and_heads_change_no_key() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let port = world.reserve(&shop, &[]);
    world.git(&shop, &["switch", "--quiet", "--create", "feature"]);
    assert_eq!(world.reserve(&shop, &[]), port);
    world.git(&shop, &["switch", "--quiet", "--detach"]);
    assert_eq!(world.reserve(&shop, &[]), port);
    let detached = reservation(&world, &shop, &["new"]);
    assert_eq!(detached["task"], Value::Null, "a detached head is no task");
    world.git(&shop, &["switch", "--quiet", "feature"]);
    assert_eq!(reservation(&world, &shop, &["newer"])["task"], "feature");
}

#[test]
fn a_submodule_is_a_checkout_of_its_own() {
    let world = Harbour::new();
    let library = world.repository("library");
    let shop = world.repository("shop");
    world.git(&shop, &["submodule", "add", "--quiet", library.to_str().unwrap(), "vendor/lib"]);
    let module = shop.join("vendor/lib");
    let ports = [&shop, &library, &module].map(|directory| world.reserve(directory, &[]));
    assert!(ports[0] != ports[1] && ports[1] != ports[2] && ports[0] != ports[2], "{ports:?}");
    assert_eq!(world.reserve(&shop.join("vendor"), &[]), ports[0]);
    fs::create_dir(module.join("src")).unwrap();
    assert_eq!(world.reserve(&module.join("src"), &[]), ports[2]);
    assert_eq!(reservation(&world, &module, &[])["project"], "lib");
    // It is no linked worktree, so a configured port is its.
    let wanted = Harbour::new().port(0);
    fs::write(module.join("hythe.toml"), format!("[services]\nweb.port = {wanted}\n")).unwrap();
    assert_eq!(world.reserve(&module, &["web"]), wanted);
}

#[test]
fn a_bare_repository_is_a_place_and_so_are_its_worktrees() {
    let world = Harbour::new();
    let shop = world.repository("origin");
    world.git(&shop, &["clone", "--quiet", "--bare", ".", "../shop.git"]);
    let bare = world.root().join("shop.git");
    let reserved = reservation(&world, &bare, &[]);
    assert_eq!(reserved["project"], "shop");
    assert_eq!(world.reserve(&bare.join("refs/heads"), &[]), reserved["port"]);
    let tree = worktree(&world, &bare, "feature");
    let linked = reservation(&world, &tree, &[]);
    assert_ne!(linked["port"], reserved["port"]);
    assert_eq!((&linked["project"], &linked["task"]), (&json!("shop"), &json!("feature")));
}

#[test]
fn a_damaged_repository_is_survived() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let web = world.dir("shop/web");
    let port = world.reserve(&web, &[]);
    // What is left is still seen to be a checkout: its port does not change.
    fs::write(shop.join(".git/HEAD"), vec![0xff; 100_000]).unwrap();
    assert_eq!(world.reserve(&web, &[]), port, "the head is nonsense");
    fs::remove_file(shop.join(".git/HEAD")).unwrap();
    assert_eq!(world.reserve(&web, &[]), port, "there is no head");

    for (name, link) in [
        ("dangling", &b"gitdir: /no/where/at/all\n"[..]),
        ("itself", b"gitdir: .git\n"),
        ("empty", b"gitdir: "),
        ("binary", b"gitdir: \xff\x00\xfe"),
    ] {
        let tree = world.dir(name);
        fs::write(tree.join(".git"), link).unwrap();
        let port = world.reserve(&tree, &[]);
        assert_eq!(world.reserve(&world.dir(format!("{name}/web")), &[]), port, "{name}");
    }
    // What was never a repository is none.
    for (name, text) in [("prose", "nothing of git's\n"), ("void", "")] {
        let tree = world.dir(name);
        fs::write(tree.join(".git"), text).unwrap();
        let port = world.reserve(&tree, &[]);
        assert_ne!(world.reserve(&world.dir(format!("{name}/web")), &[]), port, "{name}");
    }
    let endless = world.dir("endless");
    let made = Command::new("mkfifo").arg(endless.join(".git")).status().unwrap();
    assert!(made.success());
    world.reserve(&endless, &[]);
}

#[test]
fn a_deleted_directory_is_no_place() {
    let world = Harbour::new();
    let (gone, shop) = (world.dir("gone"), world.dir("shop"));
    let in_gone = |arguments: &[&str]| {
        let script = r#"cd "$1" && rmdir "$1" && shift && "$@"; code=$?; mkdir "$0"; exit $code"#;
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).arg(&gone).arg(&gone).arg(HYTHE).args(arguments).env_clear();
        for (name, value) in world.command(&gone).get_envs() {
            shell.env(name, value.unwrap());
        }
        Run::of(&mut shell)
    };
    let error = in_gone(&["reserve"]).fails(2);
    assert!(error.contains("the working directory cannot be used"), "{error}");
    assert!(error.contains("hint: cd to a directory that exists, or `-C DIR`"), "{error}");
    let port = in_gone(&["reserve", "-C", shop.to_str().unwrap()]).port();
    assert_eq!(world.reserve(&shop, &[]), port);
    let error = world.run(&shop, ["reserve", "-C", "../missing"]).fails(2);
    assert!(error.contains("missing is not a directory that can be used"), "{error}");
    fs::write(shop.join("file"), "").unwrap();
    world.run(&shop, ["reserve", "-C", "file"]).fails(2);
}

#[test]
fn a_project_is_shared_by_its_checkouts() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let tree = worktree(&world, &shop, "feature");
    let port = world.reserve(&shop, &["api", "--scope", "project"]);
    assert_eq!(world.reserve(&tree, &["api", "--scope", "project"]), port);
    assert_ne!(world.reserve(&shop, &["api"]), port, "another scope is another key");
    assert_ne!(world.reserve(&shop, &["web", "--scope", "project"]), port);
    // A name makes a project of any directory.
    let loose = world.dir("loose");
    let named = ["api", "--scope", "project", "--project", "shop"];
    assert_eq!(world.reserve(&loose, &named), port);
    fs::write(loose.join("hythe.toml"), "project = \"shop\"\nservices.api.scope = \"project\"\n")
        .unwrap();
    assert_eq!(world.reserve(&loose, &["api"]), port);
}

#[test]
fn a_service_is_shared_by_the_machine() {
    let world = Harbour::new();
    let (shop, other) = (world.repository("shop"), world.dir("other"));
    let port = world.reserve(&shop, &["postgres", "--scope", "service"]);
    assert_eq!(world.reserve(&other, &["postgres", "--scope", "service"]), port);
    assert_ne!(world.reserve(&other, &["postgres"]), port);
    world.configure("[services.postgres]\nscope = \"service\"\n");
    let configured = world.dir("configured");
    assert_eq!(world.reserve(&configured, &["postgres"]), port);
    assert_eq!(world.run(&configured, ["get", "postgres"]).port(), port);
    let directory = ["postgres", "--scope", "directory"];
    assert_ne!(world.reserve(&configured, &directory), port, "a flag is stronger");
}

#[test]
fn a_project_cannot_be_mistaken_for_another_key() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    // The colon separates the parts of a key; a service never contains one.
    let keys = ["a:b", "a", "a%3Ab", "ü"].map(|project| {
        let arguments = ["b", "--scope", "project", "--project", project];
        reservation(&world, &shop, &arguments)["key"].as_str().unwrap().to_owned()
    });
    let expected = ["project:b:a:b", "project:b:a", "project:b:a%253Ab", "project:b:ü"];
    assert_eq!(keys, expected);
}

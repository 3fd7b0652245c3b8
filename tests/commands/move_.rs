//! `hythe move`: reservations that follow their directory.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};

use super::ports;
use crate::listener::Harbour;

/// The ports that a document of `hythe move` says have followed.
fn moved(document: &Value) -> Vec<u64> {
    let moved = document["moved"].as_array().unwrap();
    moved.iter().map(|one| one["port"].as_u64().unwrap()).collect()
}

/// The directories and keys of everything that is reserved.
fn state(world: &Harbour) -> Vec<(Value, Value)> {
    let list = world.run(&world.root(), ["list", "--json"]).json();
    let reservations = list["reservations"].as_array().unwrap().iter();
    reservations.map(|one| (one["directory"].clone(), one["key"].clone())).collect()
}

fn rename(world: &Harbour, from: &str, to: &str) {
    fs::rename(world.root().join(from), world.root().join(to)).unwrap();
}

#[test]
fn a_renamed_checkout_keeps_its_ports() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let [web, api] = ["web", "api"].map(|service| world.reserve(&shop, &[service, "--lock"]));
    let db = world.reserve(&shop, &["db", "--scope", "service"]);
    let cache = world.reserve(&shop, &["cache", "--scope", "project", "--project", "p"]);
    let other = world.reserve(&world.dir("shopping"), &[]);
    rename(&world, "shop", "store");
    let store = world.root().join("store");
    world.run(&store, ["get", "web"]).fails(7);

    let before = state(&world);
    let dry = world.run(&world.root(), ["move", "shop", "store", "--dry-run"]).exits(0);
    let told =
        format!("would move port {web} (`web`) from {} to {}", shop.display(), store.display());
    assert!(dry.stderr().contains(&told), "{}", dry.stderr());
    assert_eq!(state(&world), before);
    // Told from inside, by a relative path.
    let run = world.run(&store, ["move", "../shop", "."]).exits(0);
    assert_eq!(run.stdout(), "");
    assert!(run.stderr().contains(&told.replace("would move", "moved")), "{}", run.stderr());

    for (service, port) in [("web", web), ("api", api)] {
        assert_eq!(world.run(&store, ["get", service]).port(), port);
        assert_eq!(world.reserve(&store, &[service]), port);
    }
    let scoped = |service, scope| world.run(&store, ["show", service, "--scope", scope, "--json"]);
    let db_now = scoped("db", "service").json();
    assert_eq!(
        (&db_now["reservation"]["port"], &db_now["reservation"]["directory"]),
        (&db.into(), &store.to_str().unwrap().into())
    );
    let cache_now = world.run(&store, ["show", &cache.to_string(), "--json"]).json();
    assert_eq!(cache_now["reservation"]["key"], "project:cache:p", "{cache_now}");
    assert_eq!(cache_now["reservation"]["directory"], store.to_str().unwrap());
    let web_now = world.run(&store, ["show", "web", "--json"]).json();
    assert_eq!(web_now["reservation"]["locked"], true);
    let history = web_now["history"].as_array().unwrap();
    assert_eq!(history[0]["event"], "relocated");
    assert_eq!(history[0]["reason"], format!("from {}", shop.display()));
    assert_eq!(world.run(&world.root().join("shopping"), ["get"]).port(), other);
    let log = world.run(&store, ["log", "--kind", "relocated"]).ok();
    assert_eq!(log.lines().count(), 4, "{log}");
    // A new checkout at the old place begins anew.
    let again = world.repository("shop");
    assert!(![web, api].contains(&world.reserve(&again, &["web"])));
}

#[test]
fn a_worktree_and_everything_below_follow() {
    let world = Harbour::new();
    let shop = world.repository("work/shop");
    world.git(&shop, &["worktree", "add", "--quiet", "../fix"]);
    let fix = world.root().join("work/fix");
    let port = world.reserve(&fix, &[]);
    world.git(&shop, &["worktree", "move", "../fix", "../fixed"]);
    world.run(&world.root(), ["move", "work/fix", "work/fixed"]).ok();
    assert_eq!(world.run(&world.root().join("work/fixed"), ["get"]).port(), port);

    let main = world.reserve(&shop, &[]);
    let gone = world.reserve(&world.dir("work/gone"), &[]);
    fs::remove_dir(world.root().join("work/gone")).unwrap();
    rename(&world, "work", "moved");
    let document = world.run(&world.root(), ["move", "work/", "./moved", "--json"]).json();
    let mut expected = [main, port].map(u64::from);
    expected.sort_unstable();
    assert_eq!(moved(&document), expected);
    assert_eq!(document["left"][0]["port"], gone);
    assert_eq!(world.run(&world.root().join("moved/shop"), ["get"]).port(), main);
    // What is left alone cannot be moved.
    let error = world.run(&world.root(), ["move", "work", "moved"]).fails(7);
    assert!(error.contains("none of the directories"), "{error}");
}

#[test]
fn a_copy_is_no_move() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let port = world.reserve(&shop, &[]);
    world.repository("copy");
    let error = world.run(&world.root(), ["move", "shop", "copy"]).fails(8);
    assert!(error.contains("is still there"), "{error}");
    assert!(error.contains("hint: hythe move --force "), "{error}");
    world.run(&world.root(), ["move", "shop", "copy", "--dry-run"]).fails(8);
    assert_eq!(world.run(&shop, ["get"]).port(), port);
    world.run(&world.root(), ["move", "shop", "copy", "--force"]).ok();
    assert_eq!(world.run(&world.root().join("copy"), ["get"]).port(), port);
    world.run(&shop, ["get"]).fails(7);
}

#[test]
fn a_link_may_be_left_behind() {
    let world = Harbour::new();
    let port = world.reserve(&world.repository("shop"), &[]);
    rename(&world, "shop", "store");
    symlink("store", world.root().join("shop")).unwrap();
    // The way to the old place may lead over links as well.
    symlink(world.root(), world.root().join("way")).unwrap();
    world.run(&world.root(), ["move", "way/shop", "way/store"]).ok();
    assert_eq!(world.run(&world.root().join("store"), ["get"]).port(), port);
}

#[test]
fn a_directory_may_move_into_itself_and_out_again() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let port = world.reserve(&shop, &[]);
    rename(&world, "shop", "main");
    world.dir("shop");
    rename(&world, "main", "shop/main");
    // The old directory is there again: only its owner knows that it is another one.
    world.run(&world.root(), ["move", "shop", "shop/main"]).fails(8);
    world.run(&world.root(), ["move", "shop", "shop/main", "--force"]).ok();
    let inside = world.root().join("shop/main");
    assert_eq!(world.run(&inside, ["get"]).port(), port);
    let error = world.run(&world.root(), ["move", "shop", "shop/main", "--force"]).fails(7);
    assert!(error.contains("nothing is reserved"), "what has arrived is not moved again: {error}");

    rename(&world, "shop", "was");
    rename(&world, "was/main", "shop");
    world.run(&world.root(), ["move", "shop/main", "shop"]).ok();
    assert_eq!(world.run(&shop, ["get"]).port(), port);
}

#[test]
fn a_key_that_has_a_port_refuses_them_all() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let [web, api] = ["web", "api"].map(|service| world.reserve(&shop, &[service]));
    rename(&world, "shop", "store");
    let store = world.root().join("store");
    let taken = world.reserve(&store, &["web"]);
    let before = state(&world);
    for dry in [&[][..], &["--dry-run"]] {
        let arguments = [&["move", "shop", "store"], dry].concat();
        let error = world.run(&world.root(), arguments).fails(8);
        let told = format!("port {web} (`web`) cannot follow to {}: port {taken}", store.display());
        assert!(error.contains(&told), "{error}");
        assert!(error.contains(&format!("hint: hythe release --port {taken} --force")), "{error}");
        assert_eq!(state(&world), before, "all or none");
    }
    world.run(&world.root(), ["release", "--port", &taken.to_string(), "--force"]).ok();
    world.run(&world.root(), ["move", "shop", "store"]).ok();
    for (service, port) in [("web", web), ("api", api)] {
        assert_eq!(world.run(&store, ["get", service]).port(), port);
    }
}

#[test]
fn what_makes_no_sense_is_refused_and_creates_nothing() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    fs::write(world.root().join("file"), "").unwrap();
    for (arguments, code, told) in [
        (["old", "shop"], 7, "nothing is reserved for "),
        (["old", "nowhere"], 2, "nowhere is not a directory"),
        (["old", "file"], 2, "file is not a directory"),
        (["shop", "./x/../shop"], 2, "is not a directory"),
        (["x/../shop", "shop"], 2, "is where it was"),
    ] {
        let error = world.run(&world.root(), [&["move"], &arguments[..]].concat()).fails(code);
        assert!(error.contains(told), "{arguments:?}: {error}");
    }
    world.run(&shop, ["move", "shop"]).fails(2);
    assert!(!world.state().exists());
    world.reserve(&shop, &[]);
    world.run(&world.root(), ["move", "sho", "shop"]).fails(7);
    assert_eq!(ports(&world).len(), 1);
}

/// A project's plugin decides about its project alone, before and after.
#[test]
fn a_project_takes_its_realm_along() {
    let world = Harbour::new();
    let plugin = crate::component::Plugin::new("same").key("the key").build();
    let project = |name: &str| {
        let directory = world.repository(name);
        fs::write(directory.join("same.wasm"), &plugin).unwrap();
        let digest = crate::component::sha256(&directory.join("same.wasm"));
        let text = format!(
            "[plugins.same]\npath = \"same.wasm\"\nsha256 = \"{digest}\"\n\
             [strategy]\nkey = \"same\"\n"
        );
        fs::write(directory.join("hythe.toml"), text).unwrap();
        directory
    };
    let (shop, blog) = (project("shop"), project("blog"));
    let [mine, other] = [&shop, &blog].map(|directory| world.reserve(directory, &[]));
    let shared =
        world.reserve(&shop, &["db", "--scope", "project", "--strategy", "key=path-sticky"]);
    rename(&world, "shop", "store");
    let store = world.root().join("store");
    // The same key in another realm is another key.
    world.run(&world.root(), ["move", "shop", "store"]).ok();
    let get = |directory: &Path, arguments: &[&str]| {
        world.run(directory, [&["get"], arguments].concat()).port()
    };
    assert_eq!((get(&store, &[]), get(&blog, &[])), (mine, other));
    assert!(ports(&world).contains(&shared));
    // What the project's plugin says of another directory's reservation stays in its realm.
    let plain = world.dir("plain");
    let port = world.reserve(&plain, &[]);
    fs::remove_dir(&plain).unwrap();
    let error = world.run(&world.root(), ["move", "plain", "store"]).fails(8);
    assert!(error.contains(&format!("port {mine} is reserved for that already")), "{error}");
    assert_eq!(get(&store, &[]), mine);
    let list = world.run(&world.root(), ["list", "--json"]).json();
    assert!(list["reservations"].as_array().unwrap().iter().any(|one| one["port"] == json!(port)));
}

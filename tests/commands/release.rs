//! `hythe release`: what is given back, and what is not.

use serde_json::Value;

use super::ports;
use crate::listener::{Harbour, Server};

/// The ports of a document of what was released.
fn released(document: &Value) -> Vec<u64> {
    let released = document["released"].as_array().unwrap();
    released.iter().map(|one| one["port"].as_u64().unwrap()).collect()
}

#[test]
fn services_are_released_by_name() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let [main, web, api] = ["main", "web", "api"].map(|service| world.reserve(&shop, &[service]));
    let run = world.run(&shop, ["release"]).exits(0);
    assert_eq!(run.stdout(), "");
    let told = format!("released port {main} (`main` of {})\n", shop.display());
    assert_eq!(run.stderr(), told);
    // All or none: one that is not there keeps the others.
    world.run(&shop, ["release", "web", "none"]).fails(7);
    assert_eq!(ports(&world).len(), 2);
    let document = world.run(&shop, ["release", "web", "api", "--json"]).json();
    assert_eq!(released(&document), [web, api].map(u64::from));
    assert_eq!(document["released"][0]["reason"], "asked to");
    assert!(ports(&world).is_empty());
    world.run(&shop, ["release", "web"]).fails(7);
}

#[test]
fn a_service_named_twice_is_released_once() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let port = world.reserve(&shop, &["web"]).to_string();
    let document = world.run(&shop, ["release", "web", "web", "--json"]).json();
    assert_eq!(released(&document).len(), 1, "{document}");
    world.reserve(&shop, &["web"]);
    let arguments = ["release", "--port", &port, "--port", &port, "--json"];
    assert_eq!(released(&world.run(&shop, arguments).json()).len(), 1);
    let log = world.run(&shop, ["log", "--kind", "released"]).ok();
    assert_eq!(log.lines().count(), 2, "{log}");
}

#[test]
fn ports_are_released_by_number() {
    let world = Harbour::new();
    let (shop, other) = (world.dir("shop"), world.dir("other"));
    let mine = world.reserve(&shop, &[]).to_string();
    let others = world.reserve(&other, &[]).to_string();
    let error = world.run(&shop, ["release", "--port", &mine, "--port", &others]).fails(8);
    assert!(error.contains(&format!("it belongs to {}", other.display())), "{error}");
    assert!(error.contains(&format!("hint: hythe release --port {others} --force")), "{error}");
    assert_eq!(ports(&world).len(), 2, "all or none");
    world.run(&shop, ["release", "--port", &mine]).ok();
    world.run(&shop, ["release", "--port", &others, "--force"]).ok();
    assert!(ports(&world).is_empty());
}

#[test]
fn everything_here_is_released() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let nested = world.repository("shop/nested");
    for service in ["main", "web"] {
        world.reserve(&shop, &[service]);
    }
    let kept = world.reserve(&nested, &[]);
    world.run(&world.dir("shop/deep"), ["release", "--all"]).ok();
    assert_eq!(ports(&world), [kept], "another checkout is another place");
    world.run(&shop, ["release", "--all"]).fails(7);
}

#[test]
fn everything_below_is_released_but_not_the_home_directory() {
    let world = Harbour::new();
    let work = world.dir("home/work");
    for name in ["home/work", "home/work/a", "home/work/a/b"] {
        world.reserve(&world.dir(name), &[]);
    }
    let beside = world.reserve(&world.dir("home/workshop"), &[]);
    for directory in [world.home(), world.root(), "/".into()] {
        for dry in [&[][..], &["--dry-run"]] {
            let error = world.run(&directory, [&["release", "--recursive"], dry].concat()).fails(8);
            let told = format!(
                "contains the home directory: everything would go, 4 in all, of {}, ",
                work.display()
            );
            assert!(error.contains(&told), "{error}");
            assert!(error.contains(" and 1 more"), "{error}");
            assert!(error.contains("hint: hythe release --recursive --force --dry-run"), "{error}");
        }
    }
    assert_eq!(ports(&world).len(), 4);
    let document = world.run(&work, ["release", "--recursive", "--json"]).json();
    assert_eq!(released(&document).len(), 3);
    assert_eq!(ports(&world), [beside]);
    let all = ["release", "--recursive", "--force"];
    let shown = world.run(&world.home(), [&all[..], &["--dry-run", "--json"]].concat()).json();
    assert_eq!(released(&shown), [u64::from(beside)]);
    world.run(&world.home(), all).ok();
    assert!(ports(&world).is_empty());
    world.run(&world.home(), ["release", "--recursive"]).fails(7);
}

#[test]
fn a_recursive_release_stays_in_its_checkout() {
    let world = Harbour::new();
    let shop = world.repository("work/shop");
    let blog = world.repository("work/blog");
    let plain = world.dir("work/plain");
    world.git(&shop, &["worktree", "add", "--quiet", ".worktrees/fix"]);
    let fix = shop.join(".worktrees/fix");
    let [shops, blogs, plains, fixes] =
        [&shop, &blog, &plain, &fix].map(|directory| world.reserve(directory, &[]));
    let work = world.dir("work");
    let recursive = |directory: &std::path::Path, more: &[&str]| {
        world.run(directory, [&["release", "--recursive"], more].concat())
    };
    for dry in [&[][..], &["--dry-run"]] {
        let error = recursive(&work, dry).fails(8);
        let told = format!(
            "reservations of other checkouts are below {}, 3 of 4: {}, {}, {}\n",
            work.display(),
            blog.display(),
            shop.display(),
            fix.display()
        );
        assert!(error.contains(&told), "{error}");
        // A worktree that lies in the main one is another agent's.
        let error = recursive(&shop, dry).fails(8);
        assert!(error.contains(&format!(", 1 of 2: {}\n", fix.display())), "{error}");
    }
    assert_eq!(ports(&world).len(), 4);
    let shown = recursive(&work, &["--force", "-n", "--json"]).json();
    assert_eq!(released(&shown).len(), 4);
    recursive(&fix, &[]).ok();
    recursive(&shop, &[]).ok();
    assert!(![shops, fixes].iter().any(|port| ports(&world).contains(port)));
    // A checkout that is gone is nobody's.
    std::fs::remove_dir_all(&blog).unwrap();
    let document = recursive(&work, &["--json"]).json();
    assert_eq!(released(&document).len(), 2);
    assert!(![blogs, plains].iter().any(|port| ports(&world).contains(port)));
}

#[test]
fn a_submodule_goes_with_its_checkout() {
    let world = Harbour::new();
    let library = world.repository("library");
    let shop = world.repository("shop");
    let address = library.to_str().unwrap();
    world.git(&shop, &["submodule", "--quiet", "add", address, "vendor/library"]);
    let module = shop.join("vendor/library");
    let main = world.reserve(&shop, &[]);
    world.reserve(&module, &[]);
    world.run(&module, ["release", "--recursive"]).ok();
    assert_eq!(ports(&world), [main]);
    world.reserve(&module, &[]);
    let document = world.run(&shop, ["release", "--recursive", "--json"]).json();
    assert_eq!(released(&document).len(), 2);
}

#[test]
fn a_project_is_released_by_name() {
    let world = Harbour::new();
    let (a, b) = (world.dir("a"), world.dir("b"));
    world.reserve(&a, &["--project", "shop"]);
    world.reserve(&b, &["--project", "shop"]);
    let kept = world.reserve(&a, &["web", "--project", "other"]);
    world.run(&a, ["release", "--project", "shop"]).fails(8);
    world.run(&a, ["release", "--project", "shop", "--force"]).ok();
    assert_eq!(ports(&world), [kept]);
    let error = world.run(&a, ["release", "--project", "shop"]).fails(7);
    assert!(error.contains("project `shop` has no reservation"), "{error}");
}

#[test]
fn force_overrules_a_lock() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let port = world.reserve(&shop, &["--lock"]);
    let error = world.run(&shop, ["release"]).fails(8);
    assert!(error.contains(&format!("port {port} (`main`) is not released: it is locked")));
    world.run(&shop, ["release", "--all"]).fails(8);
    world.run(&shop, ["release", "--force"]).ok();
    assert!(ports(&world).is_empty());
}

#[test]
fn a_dry_run_releases_nothing() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let port = world.reserve(&shop, &[]);
    let run = world.run(&shop, ["release", "--dry-run"]).exits(0);
    assert!(run.stderr().starts_with(&format!("would release port {port}")), "{}", run.stderr());
    let document = world.run(&shop, ["release", "-n", "--json"]).json();
    assert_eq!((&document["dry_run"], released(&document)), (&true.into(), vec![u64::from(port)]));
    assert_eq!(ports(&world), [port]);
    world.reserve(&world.dir("other"), &["--lock"]);
    world.run(&world.root().join("other"), ["release", "--dry-run"]).fails(8);
}

#[test]
fn a_server_that_still_runs_is_mentioned() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let port = world.reserve(&shop, &[]);
    let _server = Server::start(&shop, "127.0.0.1", port);
    let note = format!("port {port} was released while its server is still running");
    let dry = world.run(&shop, ["release", "--dry-run"]).exits(0);
    assert!(!dry.stderr().contains(&note), "nothing was released: {}", dry.stderr());
    let run = world.run(&shop, ["release"]).exits(0);
    assert!(run.stderr().contains(&note), "{}", run.stderr());
    assert!(ports(&world).is_empty());
}

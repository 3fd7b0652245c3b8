//! `hythe env`: the services of a project as a group, and what follows from their ports.

mod block;
mod readers;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::ports;
use crate::listener::{Harbour, Server};
use crate::support::{Run, World};

/// The checkout `shop`, whose hythe.toml is `text`.
fn project(world: &World, text: &str) -> PathBuf {
    let shop = world.repository("shop");
    fs::write(shop.join("hythe.toml"), text).unwrap();
    shop
}

/// The variables that `hythe env ARGUMENTS` comes to.
#[track_caller]
fn variables(world: &World, directory: &Path, arguments: &[&str]) -> BTreeMap<String, String> {
    let document = world.run(directory, [&["env", "--json"], arguments].concat()).json();
    serde_json::from_value(document["variables"].clone()).unwrap()
}

/// The ports of some variables.
#[track_caller]
fn given<const N: usize>(world: &World, directory: &Path, names: [&str; N]) -> [u16; N] {
    let variables = variables(world, directory, &[]);
    names.map(|name| variables[name].parse().unwrap())
}

#[test]
fn the_group_is_what_the_projects_files_declare() {
    let world = Harbour::new();
    world.configure("[services.mine]\nport = 3000\n");
    let shop = project(&world, "[services.web]\n[services.'@shop/admin']\nenv = 'ADMIN'\n");
    fs::write(shop.join("hythe.local.toml"), "[services.api]\nlease = 'persistent'\n").unwrap();
    let text = world.run(&world.dir("shop/deep"), ["env"]).ok();
    let port = |service| world.run(&shop, ["get", service]).port();
    let [admin, api, web] = ["@shop/admin", "api", "web"].map(port);
    let lines = format!("export ADMIN={admin}\nexport API_PORT={api}\nexport WEB_PORT={web}\n");
    assert_eq!(text, lines);
    assert_eq!(ports(&world).len(), 3, "what only the user's file mentions is no group");
    assert_eq!(world.run(&shop, ["env"]).ok(), lines, "it is stable");

    // A project that declares nothing has one service.
    let plain = world.dir("plain");
    let text = world.run(&plain, ["env"]).ok();
    assert_eq!(text, format!("export PORT={}\n", world.run(&plain, ["get"]).port()));
}

#[test]
fn values_follow_from_ports_project_and_checkout() {
    let world = Harbour::of_size(12);
    let text = "project = 'The Shop'\n[services.web]\n[services.api]\n[env]\n\
                API_URL = 'http://localhost:{port:api}/{{v1}}'\n\
                COMPOSE_PROJECT_NAME = '{slug}'\nDB = '{slug:project}_{slug:branch|none}'\n\
                WHO = '{project}@{branch|nowhere}'\n";
    let shop = project(&world, text);
    let of = |directory: &Path| variables(&world, directory, &[]);
    let main = of(&shop);
    assert_eq!(main["API_URL"], format!("http://localhost:{}/{{v1}}", main["API_PORT"]));
    assert_eq!((&*main["DB"], &*main["WHO"]), ("the-shop_main", "The Shop@main"));
    assert!(main["COMPOSE_PROJECT_NAME"].starts_with("shop-"), "{main:?}");
    assert_eq!(main, of(&shop));

    world.git(&shop, &["worktree", "add", "--quiet", "-b", "fix/Größe_2", "../fix"]);
    fs::write(world.root().join("fix/hythe.toml"), text).unwrap();
    let linked = of(&world.root().join("fix"));
    assert_eq!(linked["DB"], "the-shop_fix-gr-e-2");
    assert_ne!(linked["COMPOSE_PROJECT_NAME"], main["COMPOSE_PROJECT_NAME"]);

    let bare = world.dir("bare");
    fs::write(bare.join("hythe.toml"), text).unwrap();
    assert_eq!(of(&bare)["WHO"], "The Shop@nowhere");
}

#[test]
fn all_of_them_or_none() {
    let world = Harbour::of_size(4);
    world.configure("on_conflict = \"fail\"\n");
    let shop = project(&world, "[services.api]\n[services.db]\n[services.web]\n");
    // One that cannot be had.
    let stolen = world.reserve(&shop, &["web"]);
    let thief = Server::start(&world.dir("elsewhere"), "127.0.0.1", stolen);
    let error = world.run(&shop, ["env"]).fails(8);
    assert!(error.contains("`web` cannot use its port"), "{error}");
    assert_eq!(ports(&world), [stolen]);
    drop(thief);
    variables(&world, &shop, &[]);
    assert_eq!(ports(&world).len(), 3);
    // One that there is no room for.
    let other = world.dir("other");
    fs::write(other.join("hythe.toml"), "[services.api]\n[services.db]\n").unwrap();
    let error = world.run(&other, ["env"]).fails(5);
    assert!(error.contains("no free port for `db`"), "{error}");
    assert_eq!(ports(&world).len(), 3);
}

#[test]
fn processes_at_once_get_whole_groups() {
    let world = Harbour::of_size(7);
    let names = ["a", "b", "c"];
    let group = "[services.x]\noffset = 0\n[services.y]\noffset = 1\n[services.z]\n";
    for name in names {
        fs::write(world.dir(name).join("hythe.toml"), group).unwrap();
    }
    let calls = names.iter().cycle().take(12).map(|name| {
        let mut command = world.command(&world.dir(name));
        command.args(["env", "--json"]).stdout(std::process::Stdio::piped());
        (name, command.stderr(std::process::Stdio::null()).spawn().unwrap())
    });
    let mut answers: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (name, child) in calls.collect::<Vec<_>>() {
        let output = child.wait_with_output().unwrap();
        let answer = match output.status.code() {
            Some(0) => {
                serde_json::from_slice::<Value>(&output.stdout).unwrap()["variables"].to_string()
            }
            code => format!("{code:?}"),
        };
        answers.entry(name).or_default().insert(answer);
    }
    // Three groups of three do not fit into seven ports, two do.
    assert!(answers.values().all(|of| of.len() == 1), "{answers:?}");
    let failed = answers.values().filter(|of| of.contains("Some(5)")).count();
    assert_eq!((failed, ports(&world).len()), (1, 6), "{answers:?}");
}

#[test]
fn given_back_and_asked_again_it_is_the_same() {
    let world = Harbour::new();
    let shop = project(
        &world,
        "[services.api]\noffset = 1\n[services.db]\nscope = 'service'\n[services.web]\noffset = 0\n",
    );
    let first = variables(&world, &shop, &[]);
    world.run(&shop, ["release", "--all"]).ok();
    assert!(ports(&world).is_empty());
    let document = world.run(&shop, ["env", "--json"]).json();
    assert_eq!(document["variables"], json!(first));
    let outcomes = document["services"].as_array().unwrap().iter();
    let outcomes: Vec<_> = outcomes.map(|service| service["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["returned"; 3]);
}

#[test]
fn reallocating_leaves_what_others_share_and_what_is_locked() {
    let world = Harbour::new();
    let text = "project = 'shop'\n[services.api]\noffset = 1\n[services.web]\noffset = 0\n\
                [services.db]\nscope = 'project'\n";
    let shop = project(&world, text);
    let before = variables(&world, &shop, &[]);
    let after = variables(&world, &shop, &["--reallocate"]);
    assert_eq!(after["DB_PORT"], before["DB_PORT"]);
    let [web, api] = ["WEB_PORT", "API_PORT"].map(|name| after[name].parse::<u16>().unwrap());
    assert_eq!(api, web + 1, "a block moves together");
    assert!(
        before
            .values()
            .all(|port| port == &before["DB_PORT"] || !after.values().any(|it| it == port))
    );

    world.run(&shop, ["lock", "api"]).ok();
    let error = world.run(&shop, ["env", "--reallocate"]).fails(8);
    assert!(error.contains("`api` keeps port"), "{error}");
    assert_eq!(variables(&world, &shop, &[]), after);
}

#[test]
fn a_dry_run_writes_nothing() {
    let world = Harbour::new();
    let shop = project(&world, "[services.web]\n[env]\nURL = 'http://localhost:{port}'\n");
    let text = world.run(&shop, ["env", "--dry-run", "--write", ".env"]).exits(0);
    assert_eq!(text.stderr(), format!("would write: {}\n", shop.join(".env").display()));
    assert!(!shop.join(".env").exists());
    let document = world.run(&shop, ["env", "--dry-run", "--json"]).json();
    assert_eq!(document["dry_run"], true);
    assert!(!world.state().exists());
    let variables = variables(&world, &shop, &[]);
    assert_eq!(document["variables"], json!(variables));
    assert_eq!(variables["URL"], format!("http://localhost:{}", variables["WEB_PORT"]));
}

#[test]
fn what_is_reserved_is_told_as_by_reserve() {
    let world = Harbour::new();
    let shop = project(&world, "[services.web]\n[services.api]\n");
    let arguments = ["--agent", "a", "--task", "t", "--ttl", "2h", "--lock", "--json"];
    let document = world.run(&shop, [&["env"], &arguments[..]].concat()).json();
    for service in document["services"].as_array().unwrap() {
        let reservation = &service["reservation"];
        assert_eq!((&reservation["agent"], &reservation["task"]), (&json!("a"), &json!("t")));
        assert_eq!(
            (&reservation["locked"], &service["outcome"]),
            (&json!(true), &json!("created"))
        );
        assert!(reservation["expires_at"].is_string());
    }
}

/// What `hythe env` says is wrong; `hythe config check` says so too. Nothing is reserved.
#[track_caller]
fn wrong(text: &str) -> String {
    let world = Harbour::of_size(4);
    let shop = project(&world, text);
    let check = world.run(&shop, ["config", "check"]).fails(3);
    let error = world.run(&shop, ["env", "--write", ".env"]).fails(3);
    assert!(check.contains(&error), "{check}\n{error}");
    assert!(!world.state().exists() && !shop.join(".env").exists());
    error.replace(&format!("{}/", shop.display()), "")
}

#[test]
fn what_makes_no_sense_is_found_before_anything_is_reserved() {
    for (text, message) in [
        (
            "[services.web]\n[env]\nURL = 'x:{port:api}'\n",
            "error: hythe.toml:3:7: URL has no value: `{port:api}`: no service `api` is declared here\n\
             hint: declare it: [services.\"api\"]\n",
        ),
        (
            "[services.web]\n[services.api]\n[env]\nURL = '{port}'\n",
            "error: hythe.toml:4:7: URL has no value: `{port}`: there is more than one service\n\
             hint: name the service, as in {port:web}\n",
        ),
        (
            "[services.a-b]\n[services.a_b]\n",
            "error: hythe.toml:2:11: A_B_PORT is set twice: by the port of `a-b`, and by the port of `a_b`\n\
             hint: [services.\"a_b\"] env = \"ANOTHER_NAME\"\n",
        ),
        (
            "[services.web]\nenv = 'URL'\n[env]\nURL = 'x'\n",
            "error: hythe.toml:4:7: URL is set twice: by the port of `web`, and by [env]\n\
             hint: call one of them otherwise\n",
        ),
    ] {
        assert_eq!(wrong(text), message);
    }
    // All that is wrong at once.
    let world = World::new();
    let shop = project(&world, "[services.web]\n[env]\nA = '{port:a}'\nB = '{port:b}'\n");
    let check = world.run(&shop, ["config", "check"]).fails(3);
    assert!(check.contains("A has no value") && check.contains("B has no value"), "{check}");
}

#[test]
fn a_project_cannot_set_what_programs_obey() {
    for text in [
        "[env]\nLD_PRELOAD = './evil.so'\n",
        "[env]\npath = '.'\n",
        "[services.web]\nenv = 'BASH_ENV'\n",
        "[env]\nHYTHE_CONFIG = 'x'\n",
    ] {
        let error = wrong(text);
        assert!(error.contains("only the user's file may set `"), "{error}");
        let world = Harbour::of_size(4);
        world.configure(text);
        world.run(&world.dir("shop"), ["env"]).ok();
    }
    let world = World::new();
    let shop = project(&world, "[env]\n'A;touch pwned;' = 'x'\n");
    assert!(world.run(&shop, ["env"]).fails(3).contains("is not a variable name"));
    assert!(!shop.join("pwned").exists());
}

#[test]
fn flags_that_are_for_one_service_are_not_there() {
    let world = World::new();
    let shop = world.dir("shop");
    for flag in ["--prefer=3000", "--scope=project", "--format=csv", "web"] {
        world.run(&shop, ["env", flag]).fails(2);
    }
    let mut command = world.command(&shop);
    let port = Run::of(command.args(["env", "--format", "json"]).env("HYTHE_AGENT", "ada")).json();
    assert!(port["PORT"].as_str().unwrap().parse::<u16>().is_ok());
}

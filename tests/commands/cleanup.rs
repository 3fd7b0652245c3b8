//! `hythe cleanup`: what the default policies release, why, and what they never touch.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{edit, ports};
use crate::listener::{Harbour, Server, eventually};

const DAY: u64 = 24 * 60 * 60 * 1000;

/// Makes every reservation look unused for this long, in milliseconds.
fn age(world: &Harbour, by: u64) {
    edit(world, &format!("UPDATE reservation SET last_used_at = last_used_at - {by}"));
}

/// Port, policy and reason of everything that `hythe cleanup ARGUMENTS` releases.
fn cleanup(world: &Harbour, arguments: &[&str]) -> Vec<(u16, String, String)> {
    let document = world.run(&world.root(), [&["cleanup", "--json"], arguments].concat()).json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let released = document["released"].as_array().unwrap().iter().map(|one| {
        (
            one["port"].as_u64().unwrap().try_into().unwrap(),
            text(&one["policy"]),
            text(&one["reason"]),
        )
    });
    released.collect()
}

fn verdict(port: u16, policy: &str, reason: &str) -> (u16, String, String) {
    (port, policy.to_owned(), reason.to_owned())
}

#[test]
fn there_is_nothing_to_release_at_first() {
    let world = Harbour::new();
    let run = world.run(&world.root(), ["cleanup"]).exits(0);
    assert_eq!((run.stdout(), run.stderr()), (String::new(), "nothing to release\n".to_owned()));
    assert!(!world.state().exists());
    let port = world.reserve(&world.dir("shop"), &[]);
    assert_eq!(cleanup(&world, &[]), []);
    assert_eq!(ports(&world), [port]);
}

#[test]
fn a_directory_that_is_gone_needs_no_port() {
    let world = Harbour::new();
    let gone = world.dir("gone");
    let port = world.reserve(&gone, &[]);
    // What does not belong to the directory stays.
    let mut kept = [
        world.reserve(&gone, &["db", "--scope", "service"]),
        world.reserve(&gone, &["api", "--scope", "project", "--project", "p"]),
        world.reserve(&world.dir("shop"), &[]),
    ];
    kept.sort_unstable();
    fs::remove_dir(&gone).unwrap();
    let dry = world.run(&world.root(), ["cleanup", "--dry-run"]).exits(0);
    let told = format!(
        "would release port {port} (`main` of {}): its directory is gone (path-sticky)\n",
        gone.display()
    );
    assert_eq!((dry.stdout(), dry.stderr()), (String::new(), told));
    assert_eq!(ports(&world).len(), 4, "a dry run releases nothing");
    let expected = verdict(port, "path-sticky", "its directory is gone");
    assert_eq!(cleanup(&world, &[]), [expected]);
    assert_eq!(ports(&world), kept);
    let log = world.run(&world.root(), ["log", "--json", "--kind", "released"]).ok();
    let event: Value = serde_json::from_str(&log).unwrap();
    assert_eq!(event["policy"], "path-sticky");
    assert_eq!(event["reason"], "its directory is gone");
}

#[test]
fn what_is_not_used_for_long_expires() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let unused = world.reserve(&shop, &["unused"]);
    let own = world.reserve(&shop, &["own", "--ttl", "5m"]);
    let long = world.reserve(&shop, &["long", "--ttl", "90d"]);
    let mut expected = vec![verdict(own, "ttl", "its own time to live is over")];
    age(&world, 10 * 60 * 1000);
    assert_eq!(cleanup(&world, &[]), expected);
    age(&world, 31 * DAY);
    expected = vec![verdict(unused, "ttl", "not used for more than 30d")];
    assert_eq!(cleanup(&world, &[]), expected);
    assert_eq!(ports(&world), [long]);
    // Being asked for is being used.
    world.reserve(&shop, &["long"]);
    age(&world, 80 * DAY);
    world.reserve(&shop, &["long"]);
    age(&world, 80 * DAY);
    assert_eq!(cleanup(&world, &[]), []);
}

#[test]
fn options_say_how_long() {
    let world = Harbour::new();
    world.configure("[plugins.ttl.options]\npersistent = \"2h\"\nephemeral = \"0s\"\n");
    let shop = world.dir("shop");
    let port = world.reserve(&shop, &[]);
    let ephemeral = world.reserve(&shop, &["tests", "--lease", "ephemeral"]);
    age(&world, DAY * 300);
    assert_eq!(cleanup(&world, &[]), [verdict(port, "ttl", "not used for more than 2h")]);
    assert_eq!(ports(&world), [ephemeral], "its owner, this process, lives");
}

#[test]
fn an_ephemeral_reservation_ends_with_its_owner() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let mut owner = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let pid = owner.id().to_string();
    let port = world.reserve(&shop, &["--lease", "ephemeral", "--pid", &pid]);
    let persistent = world.reserve(&shop, &["web", "--pid", &pid]);
    age(&world, 2 * 60 * 1000);
    assert_eq!(cleanup(&world, &[]), [], "its owner lives");
    owner.kill().unwrap();
    owner.wait().unwrap();
    age(&world, 2 * 60 * 1000);
    assert_eq!(cleanup(&world, &[]), [verdict(port, "pid-reap", "its owner is dead")]);
    assert_eq!(ports(&world), [persistent]);
}

#[test]
fn an_owner_that_has_just_died_is_waited_for() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let mut owner = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let port = world.reserve(&shop, &["--lease", "ephemeral", "--pid", &owner.id().to_string()]);
    owner.kill().unwrap();
    owner.wait().unwrap();
    assert_eq!(cleanup(&world, &[]), [], "agents ask from a fresh shell each time");
    world.configure("[plugins.pid-reap.options]\ngrace = \"0s\"\n");
    assert_eq!(cleanup(&world, &[]), [verdict(port, "pid-reap", "its owner is dead")]);
}

#[test]
fn another_boot_has_other_processes() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let port = world.reserve(&shop, &["--lease", "ephemeral"]);
    age(&world, 2 * 60 * 1000);
    assert_eq!(cleanup(&world, &[]), []);
    edit(&world, "UPDATE reservation SET owner_boot = '00000000-0000-0000-0000-000000000000'");
    assert_eq!(cleanup(&world, &[]), [verdict(port, "pid-reap", "its owner is dead")]);
}

#[test]
fn what_is_locked_or_served_is_never_released() {
    let world = Harbour::new();
    let (shop, gone) = (world.dir("shop"), world.dir("gone"));
    let locked = world.reserve(&gone, &["--lock"]);
    let served = world.reserve(&shop, &["--ttl", "1s", "--lease", "ephemeral"]);
    edit(&world, "UPDATE reservation SET owner_boot = 'x' WHERE owner_pid IS NOT NULL");
    fs::remove_dir(&gone).unwrap();
    let running = Server::start(&shop, "127.0.0.1", served);
    age(&world, 400 * DAY);
    let mut both = [locked, served];
    both.sort_unstable();
    assert_eq!(cleanup(&world, &[]), []);
    assert_eq!(cleanup(&world, &["--older-than", "1d"]), []);
    assert_eq!(ports(&world), both);
    drop(running);
    assert!(eventually(|| !cleanup(&world, &[]).is_empty()));
    assert_eq!(ports(&world), [locked]);
    world.run(&world.root(), ["release", "--port", &locked.to_string(), "--force"]).ok();
}

#[test]
fn one_policy_can_be_run_alone_or_an_age_be_given() {
    let world = Harbour::new();
    let (shop, gone) = (world.dir("shop"), world.dir("gone"));
    let (old, lost) = (world.reserve(&shop, &[]), world.reserve(&gone, &[]));
    fs::remove_dir(&gone).unwrap();
    age(&world, 2 * DAY);
    let young = world.reserve(&world.dir("young"), &[]);
    assert_eq!(cleanup(&world, &["--policy", "ttl"]), []);
    let expected = verdict(old, "--older-than", "not used for more than 1day");
    let both = cleanup(&world, &["--policy", "ttl", "--older-than", "1d", "--dry-run"]);
    assert!(both.contains(&expected) && both.len() == 2, "{both:?}");
    let expected = [verdict(lost, "path-sticky", "its directory is gone")];
    assert_eq!(cleanup(&world, &["--policy", "path-sticky"]), expected);
    assert_eq!(cleanup(&world, &["--older-than", "1d"]).len(), 1);
    assert_eq!(ports(&world), [young]);
    let error = world.run(&shop, ["cleanup", "--policy", "nobody's"]).fails(2);
    assert!(error.contains("they are path-sticky, pid-reap, ttl"), "{error}");
}

#[test]
fn cleanup_runs_beside_a_new_key_now_and_then() {
    let world = Harbour::new();
    let gone = world.dir("gone");
    let port = world.reserve(&gone, &[]);
    fs::remove_dir(&gone).unwrap();
    let shop = world.dir("shop");
    let run = world.run(&shop, ["reserve"]).exits(0);
    assert!(run.stderr().contains("note: cleanup released 1 reservation\n"), "{}", run.stderr());
    assert!(run.stderr().contains("hint: hythe log --kind released\n"), "{}", run.stderr());
    assert!(!ports(&world).contains(&port));
    // Not again within the hour, and never for a key that is known.
    let other = world.dir("other");
    world.reserve(&other, &[]);
    fs::remove_dir(&other).unwrap();
    world.reserve(&world.dir("third"), &[]);
    assert_eq!(ports(&world).len(), 3);
    edit(&world, "UPDATE state SET cleaned_at = cleaned_at - 2 * 3600 * 1000");
    assert_eq!(world.run(&shop, ["reserve"]).exits(0).stderr(), "");
    assert_eq!(ports(&world).len(), 3);
    world.configure("[cleanup]\nevery = \"0s\"\n");
    world.reserve(&world.dir("fourth"), &[]);
    assert_eq!(ports(&world).len(), 4, "0s switches it off");
    world.configure("");
    world.reserve(&world.dir("fifth"), &[]);
    assert_eq!(ports(&world).len(), 4, "one came, one went");
}

#[test]
fn a_projects_policies_judge_its_own_directories_alone() {
    let world = Harbour::new();
    let (project, other) = (world.dir("project"), world.dir("other"));
    let (mine, others) = (world.reserve(&project, &[]), world.reserve(&other, &[]));
    let text = "[strategy]\ncleanup = [\"ttl\"]\n[plugins.ttl.options]\npersistent = \"1h\"\n";
    fs::write(project.join("hythe.toml"), text).unwrap();
    age(&world, DAY);
    let document = world.run(&project, ["cleanup", "--json"]).json();
    let ports: Vec<_> = document["released"].as_array().unwrap().iter().collect();
    assert_eq!(ports.len(), 1);
    assert_eq!(ports[0]["port"], json!(mine));
    assert_eq!(super::ports(&world), [others]);
}

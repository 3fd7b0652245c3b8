//! What a policy cannot do, however it answers: take away what is locked or being served, give what
//! is not to be given, and decide beyond the project that declares it.

mod escapes;

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{CLEANUP, KEY, SELECTION, Victim, contents, evil};
use crate::component::{Plugin, sha256};
use crate::listener::{Harbour, Server};
use crate::support::World;

/// The ports that are reserved, ascending.
fn reserved(world: &World) -> Vec<u16> {
    let list = world.run(&world.root(), ["list", "--json"]).json();
    let port = |listed: &Value| u16::try_from(listed["port"].as_u64().unwrap()).unwrap();
    list["reservations"].as_array().unwrap().iter().map(port).collect()
}

/// Lets the files of a project declare `evil`, and select it.
fn declare(project: &Path, strategy: &str, plugin: Plugin) {
    let file = project.join("evil.wasm");
    fs::write(&file, plugin.build()).unwrap();
    let text = format!(
        "[strategy]\n{strategy}\n\n[plugins.evil]\npath = \"evil.wasm\"\nsha256 = \"{}\"\n",
        sha256(&file)
    );
    fs::write(project.join("hythe.toml"), text).unwrap();
}

/// Lets the user's file declare `evil`, and select it.
fn select(harbour: &Harbour, text: &str, plugin: Plugin) {
    harbour.configure(&format!("{text}\n[plugins.evil]\npath = \"evil.wasm\"\n"));
    fs::write(harbour.home().join(".config/hythe/evil.wasm"), plugin.build()).unwrap();
}

#[test]
fn broken_cleanup_does_not_stop_a_reservation() {
    let victim = Victim::new();
    let noise = b"no component".to_vec();
    let trap = evil().function("review", "(unreachable)").build();
    for (service, plugin) in [("noise", noise), ("trap", trap)] {
        fs::write(victim.file(), plugin).unwrap();
        victim.select(&CLEANUP, "\n[cleanup]\nevery = \"1ms\"\n");
        let run = victim.world.run(&victim.directory, ["reserve", service]).exits(0);
        assert!(run.stdout().trim_end().parse::<u16>().is_ok(), "{}", run.stdout());
        let stderr = run.stderr();
        for word in ["note: cleanup failed and released nothing: ", "`evil", "config.toml:2:"] {
            assert!(stderr.contains(word), "no {word:?} in {stderr}");
        }
    }
    assert_eq!(reserved(&victim.world).len(), 3);
    // Nor does its age let a reservation be released by a command that fails.
    let before = contents(&victim.world.state());
    victim.world.run(&victim.directory, ["cleanup", "--older-than", "0s"]).fails(4);
    assert_eq!(contents(&victim.world.state()), before);
}

#[test]
fn what_is_locked_or_served_stays() {
    let harbour = Harbour::new();
    let project = harbour.dir("project");
    let locked = harbour.reserve(&project, &["locked", "--lock"]);
    let served = harbour.reserve(&project, &["served"]);
    let _listener = Server::start(&project, "127.0.0.1", served);
    let idle = harbour.reserve(&project, &["idle"]);
    select(&harbour, "[strategy]\ncleanup = [\"evil\"]", evil().release_all("because I can"));

    let dry = harbour.run(&project, ["cleanup", "--dry-run", "--json"]).json();
    let done = harbour.run(&project, ["cleanup", "--json"]).json();
    assert_eq!(dry["released"], done["released"]);
    assert_eq!(done["released"].as_array().unwrap().len(), 1);
    let released = &done["released"][0];
    assert_eq!(released["port"], idle);
    assert_eq!(released["policy"], "evil");
    assert_eq!(released["reason"], "because I can");
    let mut kept = [locked, served];
    kept.sort_unstable();
    assert_eq!(reserved(&harbour), kept);
}

#[test]
fn a_projects_cleanup_ends_with_the_project() {
    let harbour = Harbour::new();
    let [project, below, beside] =
        ["project", "project/below", "project-2"].map(|name| harbour.dir(name));
    harbour.reserve(&project, &[]);
    harbour.run(&below, ["reserve", "web", "api"]).ok();
    let shared = harbour.reserve(&project, &["postgres", "--scope", "service"]);
    let outside = harbour.reserve(&beside, &[]);
    declare(&project, "cleanup = [\"evil\"]", evil().release_all("mine"));

    harbour.run(&beside, ["cleanup"]).ok();
    assert_eq!(reserved(&harbour).len(), 5, "elsewhere the project has no say");
    let done = harbour.run(&below, ["cleanup", "--json"]).json();
    assert_eq!(done["released"].as_array().unwrap().len(), 3, "{done}");
    let mut kept = [shared, outside];
    kept.sort_unstable();
    assert_eq!(reserved(&harbour), kept);
}

#[test]
fn a_projects_keys_never_meet_the_keys_of_others() {
    let harbour = Harbour::new();
    let victim = harbour.dir("victim");
    let theirs = harbour.reserve(&victim, &[]);
    let list = harbour.run(&victim, ["list", "--json"]).json();
    let key = list["reservations"][0]["key"].as_str().unwrap().to_owned();

    let project = harbour.dir("project");
    declare(&project, "key = \"evil\"", evil().key(&key));
    harbour.run(&project, ["get"]).fails(7);
    harbour.run(&project, ["release"]).fails(7);
    let own = harbour.reserve(&project, &[]);
    assert_ne!(own, theirs);

    // The same plugin with the same digest in another project: another realm.
    let other = harbour.dir("other");
    declare(&other, "key = \"evil\"", evil().key(&key));
    let third = harbour.reserve(&other, &[]);
    assert!(third != own && third != theirs);

    harbour.run(&project, ["release", "--force"]).ok();
    let mut kept = [theirs, third];
    kept.sort_unstable();
    assert_eq!(reserved(&harbour), kept);
    assert_eq!(harbour.reserve(&victim, &[]), theirs);
}

/// The code is the user's, but what it is told is the project's.
#[test]
fn options_of_a_project_confine_keys_as_well() {
    let harbour = Harbour::new();
    let schema = r#"{"properties":{"team":{"type":"string"}}}"#;
    select(&harbour, "[strategy]\nkey = \"evil\"", evil().key("k").schema(schema));
    let [one, two, project] = ["one", "two", "project"].map(|name| harbour.dir(name));
    let theirs = harbour.reserve(&one, &[]);
    assert_eq!(harbour.reserve(&two, &[]), theirs, "the same key has the same port");
    fs::write(project.join("hythe.toml"), "[plugins.evil.options]\nteam = \"k\"\n").unwrap();
    assert_ne!(harbour.reserve(&project, &[]), theirs);
}

#[test]
fn a_projects_selection_is_not_told_of_others() {
    let harbour = Harbour::new();
    let [project, outside] = ["project", "outside"].map(|name| harbour.dir(name));
    harbour.reserve(&outside, &[]);
    harbour.reserve(&project, &["mine"]);
    let range = (harbour.port(0), harbour.port(31));
    declare(&project, "selection = \"evil\"", evil().ranges(&[range]));
    let answer = harbour.run(&project, ["reserve", "web", "--explain", "--json"]).json();
    let selection = answer["explanation"]["policies"]
        .as_array()
        .unwrap()
        .iter()
        .find(|call| call["policy"] == "selection")
        .unwrap();
    assert_eq!(selection["told"]["reserved"], 1, "{selection}");
    let selected_by = format!("{}:2:13", project.join("hythe.toml").display());
    assert_eq!(selection["selected_by"], selected_by.as_str());
}

#[test]
fn proposing_a_port_does_not_make_it_free() {
    let harbour = Harbour::new();
    let project = harbour.dir("project");
    let taken = harbour.reserve(&project, &["taken"]);
    let mut free = (0..32).map(|index| harbour.port(index)).filter(|port| *port != taken);
    let (excluded, served) = (free.next().unwrap(), free.next().unwrap());
    let _server = Server::start(&harbour.dir("elsewhere"), "127.0.0.1", served);
    let frozen =
        harbour.reserve(&project, &["frozen", "--prefer", &free.next().unwrap().to_string()]);
    harbour.run(&project, ["release", "frozen"]).ok();
    for (port, why) in [
        (taken, "reserved"),
        (excluded, "excluded"),
        (served, "held by a process"),
        (frozen, "released a moment ago"),
    ] {
        let text = format!("exclude = [{excluded}]\n[strategy]\nselection = \"evil\"");
        select(&harbour, &text, evil().ranges(&[(port, port)]));
        let before = reserved(&harbour);
        let stderr = harbour.run(&project, ["reserve", "web"]).fails(5);
        assert!(stderr.contains(&format!("1 {why}")), "no {why:?} in {stderr}");
        assert_eq!(reserved(&harbour), before);
    }
}

/// A key or a range that is good is used: the tests above do not pass because nothing works.
#[test]
fn the_same_plugin_without_its_malice_works() {
    let victim = Victim::new();
    for policy in [&KEY, &SELECTION, &CLEANUP] {
        let good = evil().key("k").ranges(&[(20000, 29999)]).release_all("why").build();
        fs::write(victim.file(), good).unwrap();
        victim.select(policy, "");
        victim.run(policy).ok();
    }
    assert!(reserved(&victim.world).is_empty());
}

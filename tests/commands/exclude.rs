//! `hythe exclude`: ports that are never given, in files that people write.

use std::fs;

use serde_json::json;

use crate::support::World;

#[test]
fn what_is_excluded_is_not_given_and_comments_stay() {
    let world = World::new();
    let project = world.dir("project");
    let config = world.config("# mine\n[ports]\nexclude = [27017]   # mongo\n");
    let port = world.reserve(&project, &["web"]).to_string();
    let document = world.run(&project, ["exclude", &port, "28000-28099", "--json"]).json();
    assert_eq!(document["changes"], json!(["ports.exclude"]));
    assert_eq!(document["file"], config.to_str().unwrap());
    let written =
        format!("# mine\n[ports]\nexclude = [27017, {port}, \"28000-28099\"]   # mongo\n");
    assert_eq!(fs::read_to_string(&config).unwrap(), written);
    // What is reserved stays so; nobody else gets it.
    assert_eq!(world.reserve(&project, &["web"]).to_string(), port);
    let other = world.dir("other");
    assert_ne!(world.reserve(&other, &["web", "--prefer", &port]).to_string(), port);

    let again = world.run(&project, ["exclude", &port]).exits(0);
    assert_eq!(again.stdout(), "");
    assert!(again.stderr().contains("all of them are excluded"), "{}", again.stderr());
    world.run(&project, ["exclude", "--remove", &port, "28000-28099"]).ok();
    assert_eq!(
        fs::read_to_string(&config).unwrap(),
        "# mine\n[ports]\nexclude = [27017]   # mongo\n"
    );
    let stderr = world.run(&project, ["exclude", "--remove", &port]).fails(7);
    assert!(stderr.contains(&format!("{}: ", config.display())), "{stderr}");
}

#[test]
fn all_of_them_or_none() {
    let world = World::new();
    let project = world.dir("project");
    let text = "[ports]\nexclude = [3000]\n";
    let config = world.config(text);
    world.run(&project, ["exclude", "--remove", "3000", "3001"]).fails(7);
    world.run(&project, ["exclude", "3001", "port"]).fails(2);
    world.run(&project, ["exclude", "0"]).fails(2);
    world.run(&project, ["exclude"]).fails(2);
    let dry = world.run(&project, ["exclude", "3001", "--dry-run"]).ok();
    assert!(dry.starts_with("would change ports.exclude in "), "{dry}");
    assert_eq!(fs::read_to_string(&config).unwrap(), text);
}

#[test]
fn a_project_excludes_for_everybody() {
    let world = World::new();
    let project = world.repository("project");
    world.run(&project, ["exclude", "20000-24999", "--project"]).ok();
    let written = fs::read_to_string(project.join("hythe.toml")).unwrap();
    assert_eq!(written, "[ports]\nexclude = [\"20000-24999\"]\n");
    for service in ["a", "b", "c", "d"] {
        assert!(world.reserve(&project, &[service]) >= 25_000);
    }
    world.run(&project, ["exclude", "30000", "--local"]).ok();
    assert!(project.join("hythe.local.toml").exists());
}

//! `plugin add` and `plugin remove`: configuration files that people write are edited.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::thread;

use serde_json::json;

use super::{
    bring, call, complete, declared, demanding, ends, error, explained, files, install, pipe,
};
use crate::component::{Plugin, sha256};
use crate::listener::Harbour;
use crate::support::World;

fn user_file(world: &World) -> PathBuf {
    world.home().join(".config/hythe/config.toml")
}

fn text(file: &Path) -> String {
    fs::read_to_string(file).unwrap()
}

#[test]
fn the_first_plugin_makes_the_file() {
    let world = World::new();
    let directory = world.dir("project");
    let file = bring(&directory, "tidy", Plugin::new("tidy").release_all("spring"));
    let config = user_file(&world);
    let added = world.run(&directory, ["plugin", "add", "tidy.wasm", "--json"]).json();
    assert_eq!(added["name"], "tidy");
    assert_eq!(added["file"], config.to_str().unwrap());
    assert_eq!((&added["changes"], &added["dry_run"]), (&json!(["plugins.tidy"]), &json!(false)));
    let path = file.display();
    let written = format!("[plugins.tidy]\npath = \"{path}\"\nsha256 = \"{}\"\n", sha256(&file));
    assert_eq!(text(&config), written);
    let mode = fs::metadata(&config).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode & 0o022, 0, "{mode:o}: nobody else may write it");
    // All is as it should be now.
    let again = world.run(&directory, ["plugin", "add", "tidy.wasm", "--json"]).json();
    assert_eq!(again["changes"], json!([]));
    let run = world.run(&directory, ["plugin", "add", "tidy.wasm"]).exits(0);
    assert_eq!(run.stdout(), "");
    assert_eq!(text(&config), written);
    world.run(&directory, ["config", "check"]).ok();
}

#[test]
fn a_plugin_that_is_used_decides_from_then_on() {
    let harbour = Harbour::new();
    let port = harbour.port(4);
    let directory = harbour.dir("project");
    let plugin = complete("mine").ranges(&[(port, port)]);
    bring(&directory, "mine", plugin);
    let arguments = ["plugin", "add", "mine.wasm", "--project", "--use", "--json"];
    let added = harbour.run(&directory, arguments).json();
    let changes = json!(["plugins.mine", "strategy.key", "strategy.selection", "strategy.cleanup"]);
    assert_eq!(added["changes"], changes);
    let file = directory.join("hythe.toml");
    let written = text(&file);
    assert!(written.contains("path = \"mine.wasm\""), "{written}");
    assert!(
        written.contains(r#"cleanup = ["mine", "path-sticky", "pid-reap", "ttl"]"#),
        "{written}"
    );
    let explanation = explained(&harbour, &directory, "web");
    for policy in ["key", "selection"] {
        let call = call(&explanation, policy);
        assert_eq!(call["plugin"], "mine 1.0.0");
        let by = call["selected_by"].as_str().unwrap();
        assert!(by.starts_with(&format!("{}:", file.display())), "{by}");
    }
    assert_eq!(harbour.run(&directory, ["get", "web"]).port(), port);
    let released = harbour.run(&directory, ["cleanup", "--dry-run", "--json"]).json();
    assert_eq!(released["released"][0]["policy"], "mine");
    // A declaration alone selects nothing.
    let other = harbour.dir("other");
    bring(&other, "mine", complete("mine"));
    harbour.run(&other, ["plugin", "add", "mine.wasm", "--project"]).ok();
    let explanation = explained(&harbour, &other, "web");
    assert_eq!(call(&explanation, "selection")["selected_by"], "built-in");
}

/// Those who share the project have neither the plugin nor the list of this user.
#[test]
fn what_one_user_has_does_not_get_into_a_file_for_everybody() {
    let world = World::new();
    install(&world, "private", Plugin::new("private").release_all("mine"));
    let strategy = "[strategy]\ncleanup = [\"private\", \"ttl\"]\n";
    let config = world.config(&format!("{strategy}{}", declared("private")));
    let directory = world.dir("project");
    bring(&directory, "ours", complete("ours"));
    world.run(&directory, ["plugin", "add", "ours.wasm", "--project", "--use"]).ok();
    let written = text(&directory.join("hythe.toml"));
    assert!(!written.contains("private"), "{written}");
    fs::remove_file(config).unwrap();
    world.run(&directory, ["config", "check"]).ok();
}

#[test]
fn a_rebuilt_plugin_is_pinned_anew_and_the_rest_of_the_file_stays() {
    let harbour = Harbour::new();
    let [one, two] = [3, 8].map(|index| harbour.port(index));
    let directory = harbour.dir("project");
    let file = bring(&directory, "mine", Plugin::new("mine").ranges(&[(one, one)]));
    let old = sha256(&file);
    let written = |digest: &str| {
        format!(
            "# What we agreed on.\n[strategy]\nselection = 'mine'   # since spring\n\n\
             [plugins.mine] # ours\n  path = 'mine.wasm'  # built by hand\n  sha256 = '{digest}' # pin\n\
             \n[services.web]\nport = 3000\n"
        )
    };
    let config = directory.join("hythe.toml");
    fs::write(&config, written(&old)).unwrap();
    assert_eq!(harbour.reserve(&directory, &["a"]), one);
    bring(&directory, "mine", Plugin::new("mine").ranges(&[(two, two)]));
    let stderr = harbour.run(&directory, ["reserve", "b"]).fails(4);
    assert!(stderr.contains(&old), "{stderr}");
    let added =
        harbour.run(&directory, ["plugin", "add", "mine.wasm", "--project", "--json"]).json();
    assert_eq!(added["changes"], json!(["plugins.mine.sha256"]));
    let changed = text(&config);
    assert!(changed.contains(&sha256(&file)));
    assert_eq!(changed.replace(&sha256(&file), &old), written(&old));
    assert_eq!(harbour.reserve(&directory, &["b"]), two);
}

#[test]
fn the_paths_of_a_project_are_those_of_every_machine() {
    let world = World::new();
    let project = world.repository("project");
    let deep = world.dir("project/deep/down");
    fs::create_dir(project.join("policies")).unwrap();
    bring(&project.join("policies"), "tidy", Plugin::new("tidy").release_all("spring"));
    let relative = "../../policies/tidy.wasm";
    for (flag, name) in [("--project", "hythe.toml"), ("--local", "hythe.local.toml")] {
        world.run(&deep, ["plugin", "add", relative, flag]).ok();
        let written = text(&project.join(name));
        assert!(written.contains("path = \"policies/tidy.wasm\""), "{written}");
    }
    world
        .run(
            &world.root(),
            ["-C", "project", "plugin", "add", "policies/tidy.wasm", "--name", "mine"],
        )
        .ok();
    let path = project.join("policies/tidy.wasm");
    assert!(text(&user_file(&world)).contains(&format!("path = \"{}\"", path.display())));

    let before = files(&project);
    let outside = bring(&world.root(), "outside", complete("outside"));
    let arguments = ["plugin", "add", outside.to_str().unwrap(), "--project"];
    let stderr = world.run(&project, arguments).fails(8);
    assert!(stderr.contains("outside the project"), "{stderr}");
    world.run(&project, ["plugin", "add", "x.wasm", "--project", "--local"]).fails(2);
    assert_eq!(files(&project), before);
}

#[test]
fn a_project_does_not_replace_what_is_bundled() {
    let world = World::new();
    let directory = world.dir("project");
    bring(&directory, "impostor", Plugin::new("path-sticky").key("k"));
    bring(&directory, "mine", complete("mine"));
    let before = files(&directory);
    for flag in ["--project", "--local"] {
        for arguments in [&["impostor.wasm", "--use"][..], &["mine.wasm", "--name", "ttl"]] {
            let arguments = [&["plugin", "add", flag], arguments].concat();
            let stderr = world.run(&directory, arguments).fails(8);
            assert!(stderr.contains("bundled"), "{stderr}");
            assert_eq!(files(&directory), before);
        }
    }
    // Another name is all it takes.
    let arguments = ["plugin", "add", "impostor.wasm", "--name", "ours", "--project"];
    world.run(&directory, arguments).ok();
}

#[test]
fn a_dry_run_writes_nothing() {
    let world = World::new();
    let directory = world.dir("project");
    bring(&directory, "mine", complete("mine"));
    let before = files(&world.root());
    for flags in [&["-n"][..], &["--dry-run", "--use"], &["-n", "--project"], &["-n", "--local"]] {
        let arguments = [&["plugin", "add", "mine.wasm", "--json"], flags].concat();
        let said = world.run(&directory, arguments).json();
        assert_eq!(said["dry_run"], true);
        assert_eq!(said["changes"][0], "plugins.mine");
        assert_eq!(files(&world.root()), before);
    }
    world.run(&directory, ["plugin", "add", "mine.wasm", "--use"]).ok();
    let before = files(&world.root());
    let said = world.run(&directory, ["plugin", "remove", "mine", "-n", "--json"]).json();
    assert_eq!(said["changes"].as_array().unwrap().len(), 4);
    assert_eq!(files(&world.root()), before);
}

#[test]
fn links_and_permissions_stay() {
    let world = World::new();
    let directory = world.dir("project");
    bring(&directory, "mine", complete("mine"));
    let real = world.dir("dotfiles").join("hythe.toml");
    fs::write(&real, "# mine\n").unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    let link = world.config("");
    fs::remove_file(&link).unwrap();
    symlink(&real, &link).unwrap();
    world.run(&directory, ["plugin", "add", "mine.wasm"]).ok();
    assert_eq!(fs::read_link(&link).unwrap(), real);
    assert!(text(&real).starts_with("# mine\n"));
    assert!(text(&real).contains("[plugins.mine]"));
    assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
    let beside = fs::read_dir(real.parent().unwrap()).unwrap().count();
    assert_eq!(beside, 1, "no temporary file is left");
}

#[test]
fn a_file_that_is_no_configuration_stays_as_it_is() {
    let world = World::new();
    let directory = world.dir("project");
    bring(&directory, "mine", complete("mine"));
    for (written, place) in [
        (&b"a = \n"[..], ":1:5: "),
        (b"\xff\n", ":1:1: "),
        (b"[ports]\nrnage = 1\n", ":2:1: "),
        (b"[plugins]\nmine = 3\n", ":2:8: "),
        (b"strategy = 3\n", ":1:12: "),
        (b"[plugins.mine]\npath = \"x\"\npath = \"y\"\n", ":3:1: "),
    ] {
        let config = world.config("");
        fs::write(&config, written).unwrap();
        let stderr = world.run(&directory, ["plugin", "add", "mine.wasm", "--use"]).fails(3);
        assert!(stderr.contains(&format!("{}{place}", config.display())), "{stderr}");
        assert_eq!(fs::read(&config).unwrap(), written);
        world.run(&directory, ["plugin", "remove", "mine"]).fails(3);
        assert_eq!(fs::read(&config).unwrap(), written);
    }
    let config = user_file(&world);
    fs::remove_file(&config).unwrap();
    fs::create_dir(&config).unwrap();
    world.run(&directory, ["plugin", "add", "mine.wasm"]).fails(3);
    fs::remove_dir(&config).unwrap();
    pipe(&config);
    ends(&world, &directory, &["plugin", "add", "mine.wasm"]).fails(3);
}

#[test]
fn what_cannot_be_used_is_not_declared() {
    let world = World::new();
    let directory = world.dir("project");
    let derive = r#"(param "request" $request) (param "options" string)
      (result (result string (error (list u8))))"#;
    let clock = r#"(import "wasi:clocks/wall-clock@0.2.0" (instance))"#;
    for (name, plugin) in [
        ("wasi", complete("p").import(clock)),
        ("mute", complete("p").without_info()),
        ("types", complete("p").signature("derive", derive)),
        ("traps", complete("p").function("describe", "unreachable")),
        ("schema", complete("p").schema(r##"{"$ref":"#"}"##)),
        ("idle", Plugin::new("idle")),
    ] {
        bring(&directory, name, plugin);
        let file = format!("{name}.wasm");
        world.run(&directory, ["plugin", "add", &file]).fails(4);
        assert!(!user_file(&world).exists(), "{name}");
    }
    world.run(&directory, ["plugin", "add", "nobody.wasm"]).fails(2);
    pipe(&directory.join("pipe"));
    ends(&world, &directory, &["plugin", "add", "pipe"]).fails(4);
    assert!(!user_file(&world).exists());
}

#[test]
fn names_that_no_plugin_can_have_are_refused() {
    let world = World::new();
    let directory = world.dir("project");
    bring(&directory, "mine", complete("mine"));
    bring(&directory, "proud", complete("My Own"));
    for arguments in [
        &["mine.wasm", "--name", "My Own"][..],
        &["mine.wasm", "--name", ""],
        &["mine.wasm", "--name", "a.b"],
        &["proud.wasm"],
    ] {
        let arguments = [&["plugin", "add", "--json"], arguments].concat();
        let failed = error(world.run(&directory, arguments), 2);
        // The file has nothing to do with it.
        let message = failed["message"].as_str().unwrap();
        assert!(!message.contains("config.toml"), "{message}");
    }
    assert!(!user_file(&world).exists());
    world.run(&directory, ["plugin", "add", "proud.wasm", "--name", "humble"]).ok();
}

#[test]
fn two_at_the_same_moment_are_both_in_the_file() {
    const PLUGINS: usize = 8;
    let world = World::new();
    let directory = world.dir("project");
    bring(&directory, "tidy", Plugin::new("tidy").release_all("spring"));
    thread::scope(|scope| {
        for number in 0..PLUGINS {
            let (world, directory) = (&world, &directory);
            scope.spawn(move || {
                let name = format!("tidy-{number}");
                let arguments = ["plugin", "add", "tidy.wasm", "--project", "--use", "--name"];
                world.run(directory, arguments.into_iter().chain([&*name])).ok();
            });
        }
    });
    let written = text(&directory.join("hythe.toml"));
    for number in 0..PLUGINS {
        let table = format!("[plugins.tidy-{number}]");
        assert_eq!(written.matches(&table).count(), 1, "{written}");
        let selected = format!("\"tidy-{number}\"");
        assert_eq!(written.matches(&selected).count(), 1, "{written}");
    }
    world.run(&directory, ["config", "check"]).ok();
}

#[test]
fn what_is_removed_decides_nowhere_any_more() {
    let world = World::new();
    install(&world, "mine", complete("mine"));
    let rule = format!("{}/project/**", world.root().display());
    let kept = "# Ours.\n[ports]\nrange = \"20000-29999\"  # wide\n";
    let config = world.config(&format!(
        "{kept}\n[strategy]\nselection = \"mine\"\ncleanup = [\"mine\", \"ttl\"]\n\n\
         [[directory]]\nmatch = \"{rule}\"\nstrategy = {{ key = \"mine\", cleanup = [\"mine\"] }}\n\
         {}options = {{}}\n",
        declared("mine"),
    ));
    let directory = world.dir("project");
    let removed = world.run(&directory, ["plugin", "remove", "mine", "--json"]).json();
    let in_rule = |what: &str| format!("{what} ([[directory]] match = {rule:?})");
    let changes = json!([
        "strategy.selection",
        "strategy.cleanup",
        in_rule("strategy.key"),
        in_rule("strategy.cleanup"),
        "plugins.mine",
    ]);
    assert_eq!(removed["changes"], changes);
    let left = text(&config);
    assert!(left.starts_with(kept) && !left.contains("mine"), "{left}");
    assert!(left.contains("cleanup = [\"ttl\"]") && left.contains("cleanup = []"), "{left}");
    world.run(&directory, ["config", "check"]).ok();
    let explanation = explained(&world, &directory, "web");
    for policy in ["key", "selection"] {
        assert_eq!(call(&explanation, policy)["selected_by"], "built-in");
    }
}

#[test]
fn only_what_the_file_declares_can_be_removed() {
    let world = World::new();
    install(&world, "mine", complete("mine"));
    let config = world.config(&declared("mine"));
    let directory = world.dir("project");
    for arguments in [&["nobody"][..], &["ttl"], &["mine", "--project"], &["mine", "--local"]] {
        let arguments = [&["plugin", "remove"], arguments].concat();
        let stderr = world.run(&directory, &arguments).fails(7);
        assert!(
            stderr.contains(&format!(": plugin `{}` is not declared", arguments[2])),
            "{stderr}"
        );
    }
    assert_eq!(text(&config), declared("mine"));
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    // Out of the project's file nothing else's is taken.
    bring(&directory, "ours", complete("ours"));
    world.run(&directory, ["plugin", "add", "ours.wasm", "--project", "--use"]).ok();
    world.run(&directory, ["plugin", "remove", "ours", "--project"]).ok();
    assert!(!text(&directory.join("hythe.toml")).contains("ours"));
    assert_eq!(text(&config), declared("mine"));
    // A name is one plugin's: a project declares none that its user has declared.
    bring(&directory, "mine", complete("mine").schema("{}"));
    let add = ["plugin", "add", "mine.wasm", "--project", "--name", "mine"];
    let stderr = world.run(&directory, add).fails(3);
    assert!(stderr.contains("already declared"), "{stderr}");
}

#[test]
fn a_plugin_that_needs_options_is_not_put_in_force_in_silence() {
    let world = World::new();
    let directory = world.dir("project");
    bring(&directory, "demanding", demanding());
    let run = world.run(&directory, ["plugin", "add", "demanding.wasm", "--use"]).exits(0);
    assert!(run.stderr().contains("`team`"), "nothing says that it needs `team`: {}", run.stderr());
    world.run(&directory, ["config", "check"]).fails(3);
}

/// What a file calls itself is its own word: it takes nobody's place by it.
#[test]
fn a_plugin_does_not_choose_whom_it_replaces() {
    let world = World::new();
    let directory = world.dir("project");
    install(&world, "mine", complete("mine"));
    world.config(&declared("mine"));
    bring(&directory, "other", complete("mine"));
    bring(&directory, "forged", complete("path-sticky"));
    let before = files(&world.home());
    let stderr = world.run(&directory, ["plugin", "add", "other.wasm"]).fails(8);
    assert!(stderr.contains("`mine` is already") && stderr.contains("--name"), "{stderr}");
    let stderr = world.run(&directory, ["plugin", "add", "forged.wasm"]).fails(8);
    assert!(stderr.contains("bundled"), "{stderr}");
    assert_eq!(files(&world.home()).len(), before.len());
    world.run(&directory, ["plugin", "add", "other.wasm", "--name", "mine"]).ok();
}

#[test]
fn a_project_whose_file_is_a_link_does_not_get_at_the_users() {
    let world = World::new();
    let directory = world.dir("clone");
    let config = world.config("# mine\n");
    symlink(&config, directory.join("hythe.toml")).unwrap();
    bring(&directory, "evil", complete("evil"));
    let stderr =
        world.run(&directory, ["plugin", "add", "evil.wasm", "--project", "--use"]).fails(8);
    assert!(stderr.contains("leads out of the project"), "{stderr}");
    assert_eq!(text(&config), "# mine\n");
}

#[test]
fn a_path_is_written_so_that_it_is_found_again() {
    let world = World::new();
    let directory = world.dir("project");
    bring(&directory, "~odd", complete("odd"));
    world.run(&directory, ["plugin", "add", "./~odd.wasm", "--project"]).ok();
    assert!(text(&directory.join("hythe.toml")).contains("path = \"./~odd.wasm\""));
    world.run(&directory, ["plugin", "check", "odd"]).ok();
}

/// Who has a plugin already can work in a project that has it as well.
#[test]
fn the_same_bytes_are_no_conflict_and_other_bytes_are() {
    let world = World::new();
    let directory = world.dir("project");
    bring(&directory, "mine", complete("mine"));
    world.run(&directory, ["plugin", "add", "mine.wasm", "--use"]).ok();
    world.run(&directory, ["plugin", "add", "mine.wasm", "--project", "--use"]).ok();
    let explanation = explained(&world, &directory, "web");
    assert_eq!(call(&explanation, "key")["plugin"], "mine 1.0.0");
    world.run(&directory, ["config", "check"]).ok();
    bring(&directory, "mine", complete("mine").schema("{}"));
    let stderr = world.run(&directory, ["plugin", "add", "mine.wasm", "--project"]).fails(3);
    assert!(stderr.contains("nothing was changed"), "{stderr}");
    assert!(stderr.contains("already declared"), "{stderr}");
}

/// The hint of a wrong digest is the command that mends it.
#[test]
fn the_hint_pins_the_plugin_where_it_is_pinned() {
    let world = World::new();
    let directory = world.dir("a project");
    bring(&directory, "mine", complete("mine"));
    let add = ["plugin", "add", "mine.wasm", "--project", "--use", "--name", "ours"];
    world.run(&directory, add).ok();
    bring(&directory, "mine", complete("mine").schema("{}"));
    let stderr = world.run(&directory, ["reserve"]).fails(4);
    let file = directory.join("mine.wasm");
    let command = format!("hythe plugin add '{}' --name ours --project", file.display());
    assert!(stderr.contains(&command), "{stderr}");
    let mut shell = world.command(&directory);
    let pasted = command.replace("hythe ", &format!("{} ", crate::support::HYTHE));
    let mut sh = std::process::Command::new("sh");
    sh.args(["-c", &pasted]).current_dir(&directory).env("HOME", world.home());
    crate::support::Run::of(&mut sh).ok();
    crate::support::Run::of(shell.arg("reserve")).ok();
}

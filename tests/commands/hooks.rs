//! Hooks: commands of the user's that are told of events, and can break nothing.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::Value;

use crate::listener::Harbour;
use crate::schema::valid;
use crate::support::Run;

/// A hook of one shell script.
fn hook(script: &str, rest: &str) -> String {
    format!("[[hook]]\ncommand = [\"sh\", \"-c\", '''{script}''']\n{rest}\n")
}

/// A world whose hook appends what it is told to a file, once for each run with `--` at its end.
fn told(rest: &str) -> (Harbour, PathBuf) {
    let world = Harbour::new();
    let file = world.root().join("told");
    let script = format!("{{ cat; echo --; }} >> \"{}\"", file.display());
    world.configure(&hook(&script, rest));
    (world, file)
}

/// The events that each run of the hook was told.
fn runs(file: &PathBuf) -> Vec<Vec<Value>> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let runs = text.split_terminator("--\n");
    runs.map(|run| run.lines().map(|line| serde_json::from_str(line).unwrap()).collect()).collect()
}

fn kinds(run: &[Value]) -> Vec<&str> {
    run.iter().map(|event| event["event"].as_str().unwrap()).collect()
}

#[test]
fn a_hook_is_told_of_every_event_as_the_log_has_it() {
    let (world, file) = told("");
    let shop = world.dir("shop");
    world.reserve(&shop, &["web"]);
    assert_eq!(runs(&file).len(), 1, "it has run before the port is printed");
    world.reserve(&shop, &["web"]);
    assert_eq!(runs(&file).len(), 1, "nothing happened");
    world.run(&shop, ["reserve", "a", "b", "--dry-run"]).ok();
    world.run(&shop, ["lock", "web"]).ok();
    world.run(&shop, ["lock", "web"]).ok();
    world.run(&shop, ["unlock", "web"]).ok();
    world.reserve(&shop, &["web", "--reallocate"]);
    world.run(&shop, ["reserve", "a", "b", "c"]).ok();
    world.run(&shop, ["release", "--all"]).ok();
    world.run(&shop, ["release", "--all"]).fails(7);
    let runs = runs(&file);
    let expected = [
        &["reserved"][..],
        &["locked"],
        &["unlocked"],
        &["moved"],
        &["reserved", "reserved", "reserved"],
        &["released", "released", "released", "released"],
    ];
    assert_eq!(runs.iter().map(|run| kinds(run)).collect::<Vec<_>>(), expected);
    let log = world.run(&shop, ["log", "--json"]).ok();
    let log: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(runs.concat(), log);
    runs.concat().into_iter().for_each(|event| drop(valid("log-event", event)));
}

#[test]
fn a_hook_hears_what_it_asks_for() {
    let (world, file) = told("on = [\"released\", \"moved\"]");
    let shop = world.dir("shop");
    world.run(&shop, ["reserve", "a", "b"]).ok();
    assert!(!file.exists());
    world.reserve(&shop, &["a", "--reallocate"]);
    world.run(&shop, ["release", "b"]).ok();
    let heard = runs(&file);
    assert_eq!(heard.iter().map(|run| kinds(run)).collect::<Vec<_>>(), [["moved"], ["released"]]);
}

#[test]
fn cleanup_runs_a_hook_once_for_all_that_it_releases() {
    let (world, file) = told("on = [\"released\"]");
    let directories = ["one", "two", "three"].map(|name| world.dir(name));
    for directory in &directories {
        world.reserve(directory, &[]);
    }
    directories.into_iter().for_each(|directory| fs::remove_dir(directory).unwrap());
    world.run(&world.root(), ["cleanup"]).ok();
    let heard = runs(&file);
    assert_eq!((heard.len(), heard[0].len()), (1, 3));
    assert!(heard[0].iter().all(|event| event["policy"] == "path-sticky"), "{heard:?}");
}

#[test]
fn hooks_run_in_order_and_say_what_they_say_on_stderr() {
    let world = Harbour::new();
    let hooks = ["echo first", "echo second >&2", "pwd; echo $HYTHE_HOOK"];
    let hooks: String = hooks.iter().map(|script| hook(script, "")).collect();
    world.configure(&hooks);
    let run = world.run(&world.dir("shop"), ["reserve"]).exits(0);
    assert_eq!(run.stderr(), format!("first\nsecond\n{}\n1\n", world.home().display()));
    assert_eq!(run.stdout().lines().count(), 1, "stdout is the port alone");
}

#[test]
fn a_hook_that_fails_changes_nothing_but_a_note() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let config = world.home().join(".config/hythe/config.toml");
    for (number, (hook, why)) in [
        (hook("exit 3", ""), "hook `sh` failed: exit status: 3"),
        (hook("kill -9 $$", ""), "hook `sh` failed: signal: 9"),
        (
            "[[hook]]\ncommand = [\"no-such-program\"]\n".to_owned(),
            "hook `no-such-program` failed: it could not be started: ",
        ),
        (hook("sleep 600", "timeout = \"100ms\""), "hook `sh` failed: killed after 100ms"),
    ]
    .into_iter()
    .enumerate()
    {
        world.configure(&hook);
        let started = Instant::now();
        let service = format!("s{number}");
        let run = world.run(&shop, ["reserve", &service]).exits(0);
        assert!(started.elapsed().as_secs() < 60);
        let place = format!("note: {}:4:11: {why}", config.display());
        assert!(run.stderr().contains(&place), "{place}: {}", run.stderr());
        assert_eq!(world.run(&shop, ["get", &service]).ok(), run.stdout());
        assert_eq!(
            world.run(&shop, ["reserve", &format!("q{number}"), "-q"]).exits(0).stderr(),
            ""
        );
    }
    // Neither that nobody reads, nor that it is gone before, is a failure.
    world.configure(&hook("exec <&-; true", ""));
    assert_eq!(world.run(&shop, ["reserve", "unread"]).exits(0).stderr(), "");
}

/// What a hook does to the ledger is done, without a lock in its way, and runs no hook.
#[test]
fn a_hook_may_ask_hythe_and_goes_round_in_no_circle() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let file = world.root().join("ran");
    let script = format!(
        "echo ran >> \"{}\"; \"{}\" reserve from-hook -C \"{}\" --lock-timeout 5s",
        file.display(),
        crate::support::HYTHE,
        shop.display(),
    );
    world.configure(&hook(&script, ""));
    let run = world.run(&shop, ["reserve", "web"]).exits(0);
    let port = world.run(&shop, ["get", "from-hook"]).port();
    assert_eq!(run.stderr(), format!("{port}\n"));
    assert_eq!(fs::read_to_string(&file).unwrap(), "ran\n");
    // Below a hook there are none.
    let mut command = world.command(&shop);
    command.args(["config", "show"]).env("HYTHE_HOOK", "1");
    assert!(Run::of(&mut command).ok().contains("hook = []\n"));
}

#[test]
fn paths_of_programs_start_at_the_file_or_at_home() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let marker = world.root().join("marker");
    let make = |path: PathBuf| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\necho \"$1\" >> {}\n", marker.display())).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&path, mode).unwrap();
    };
    make(world.home().join("bin/a"));
    make(world.home().join(".config/hythe/hooks/b"));
    world.configure(
        "[[hook]]\ncommand = [\"~/bin/a\", \"$HOME `x`\"]\n\
         [[hook]]\ncommand = [\"./hooks/b\", \"~/b\"]\n",
    );
    world.reserve(&shop, &[]);
    assert_eq!(fs::read_to_string(&marker).unwrap(), "$HOME `x`\n~/b\n", "no shell looks at them");
}

#[test]
fn a_hook_is_the_users_word_alone_and_said_properly() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let marker = world.root().join("marker");
    let touch = format!("[[hook]]\ncommand = [\"touch\", \"{}\"]\n", marker.display());
    for file in ["hythe.toml", "hythe.local.toml"] {
        fs::write(shop.join(file), &touch).unwrap();
        let stderr = world.run(&shop, ["reserve"]).fails(3);
        assert!(stderr.contains("only the user's file may say `hook`"), "{stderr}");
        fs::remove_file(shop.join(file)).unwrap();
    }
    for (text, said) in [
        ("[[hook]]\n", "this [[hook]] says no `command`"),
        ("[[hook]]\ncommand = []\n", "a command begins with a program"),
        ("[[hook]]\ncommand = [\"\"]\n", "a command begins with a program"),
        ("[[hook]]\ncommand = \"touch x\"\n", "expected an array of strings, found a string"),
        ("[[hook]]\ncommand = [1]\n", "expected a string, found an integer"),
        ("[[hook]]\ncommand = [\"a\\u0000\"]\n", "cannot contain the character NUL"),
        ("[[hook]]\ncommand = [\"~bob/x\"]\n", "names another user's home"),
        ("[[hook]]\ncommand = [\"x\"]\non = [\"move\"]\n", "move"),
        ("[[hook]]\ncommand = [\"x\"]\ntimeout = 5\n", "expected a duration"),
        ("[[hook]]\ncommand = [\"x\"]\ntimeout = \"0s\"\n", "a hook needs some time"),
        ("[[hook]]\ncommand = [\"x\"]\nshell = true\n", "unknown key `shell` in [hook]"),
        ("[hook]\ncommand = [\"x\"]\n", "expected an array of tables"),
        ("[[directory]]\nmatch = \"~/x\"\nhook = []\n", "unknown key `hook`"),
    ] {
        world.configure(text);
        let stderr = world.run(&shop, ["reserve"]).fails(3);
        assert!(stderr.contains(said), "{text}: {stderr}");
        assert!(!world.state().exists() && !marker.exists());
    }
}

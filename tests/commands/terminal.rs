//! What reaches a terminal, a pipe or a full disk.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

use crate::listener::{Harbour, Server};
use crate::support::{HYTHE, Run, World};

/// What people type that has a result.
const RESULTS: [&[&str]; 16] = [
    &["reserve"],
    &["reserve", "--json"],
    &["get"],
    &["list"],
    &["list", "--json"],
    &["list", "--format", "csv"],
    &["show"],
    &["map"],
    &["scan", "--json"],
    &["log"],
    &["watch", "--since", "1h", "--count", "1"],
    &["config", "show", "--origin"],
    &["config", "path"],
    &["plugin", "list"],
    &["completions", "bash"],
    &["man"],
];

/// The write end of a pipe that nobody reads.
fn closed_pipe() -> Stdio {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    writer.into()
}

#[test]
fn a_reader_that_has_had_enough_is_no_failure() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    world.reserve(&shop, &[]);
    for arguments in RESULTS.iter().chain(&[&["--help"][..], &["--version"]]) {
        let mut command = world.command(&shop);
        command.args(*arguments).stdout(closed_pipe()).stderr(Stdio::piped());
        let run = Run::from(command.spawn().unwrap().wait_with_output().unwrap()).exits(0);
        assert_eq!(run.stderr(), "", "{arguments:?}");
    }
    // Nobody who listens to errors is no failure either.
    let mut command = world.command(&shop);
    command.args(["reserve", "--explain"]).stdout(Stdio::piped()).stderr(closed_pipe());
    Run::from(command.spawn().unwrap().wait_with_output().unwrap()).port();
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    world.reserve(&shop, &[]);
    let mut lost = Vec::new();
    for arguments in RESULTS.iter().chain(&[&["--help"][..], &["--version"]]) {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = world.command(&shop);
        command.args(*arguments).stdout(full).stderr(Stdio::piped());
        let output = command.spawn().unwrap().wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        if output.status.code() != Some(1) || !error.contains("could not be written") {
            lost.push((arguments.join(" "), output.status.code(), error.into_owned()));
        }
    }
    assert_eq!(lost, []);
}

#[test]
fn quiet_leaves_results_and_errors() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let run = world.run(&shop, ["reserve", "-q", "--prefer", "6000", "--explain"]).exits(0);
    assert_eq!((run.stdout().lines().count(), run.stderr()), (1, String::new()));
    for arguments in
        [&["lock", "-q"][..], &["unlock", "-q"], &["cleanup", "-q"], &["release", "-q"]]
    {
        let run = world.run(&shop, arguments).exits(0);
        assert_eq!((run.stdout(), run.stderr()), (String::new(), String::new()), "{arguments:?}");
    }
    assert!(world.run(&shop, ["get", "-q"]).fails(7).contains("error: "));
}

#[test]
fn logging_goes_to_stderr_when_it_is_asked_for() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let port = world.reserve(&shop, &[]);
    assert_eq!(world.run(&shop, ["reserve"]).exits(0).stderr(), "");
    let mut command = world.command(&shop);
    let logged = Run::of(command.arg("reserve").env("HYTHE_LOG", "trace")).exits(0);
    assert_eq!(logged.stdout(), format!("{port}\n"));
    assert!(!logged.stderr().is_empty());
    assert!(!world.run(&shop, ["reserve", "-vv"]).exits(0).stderr().is_empty());
}

#[test]
fn colour_is_for_terminals_or_on_demand() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let port = world.reserve(&shop, &[]);
    let _stranger = Server::start(&world.dir("elsewhere"), "127.0.0.1", port);
    let colourful = |arguments: &[&str], environment: &[(&str, &str)]| {
        let mut command = world.command(&shop);
        let run = Run::of(command.args(arguments).envs(environment.iter().copied()));
        let run = run.exits(if arguments[0] == "get" { 7 } else { 0 });
        (run.stdout().contains('\u{1b}'), run.stderr().contains('\u{1b}'))
    };
    assert_eq!(colourful(&["list"], &[]), (false, false), "this is a pipe");
    assert_eq!(colourful(&["list", "--color", "always"], &[]), (true, false));
    assert_eq!(colourful(&["get", "none"], &[]), (false, false));
    assert_eq!(colourful(&["get", "none", "--color", "always"], &[]), (false, true));
    assert_eq!(colourful(&["list", "--color", "never"], &[]), (false, false));
    let no_color = [("NO_COLOR", "1")];
    assert_eq!(colourful(&["list", "--color", "always"], &no_color), (true, false));
}

#[test]
fn only_what_listens_is_coloured() {
    let world = Harbour::new();
    let odd = world.dir("x  foreign  y  mine  z");
    world.reserve(&odd, &[]);
    let list = world.run(&odd, ["list", "--color", "always"]).ok();
    assert!(list.contains("x  foreign  y  mine  z"), "{list:?}");
}

/// What appears on a terminal when `hythe ARGUMENTS` is typed there; `None` where `script` is
/// missing, whose terminal it is. `NO_COLOR` is set to what is given.
fn on_terminal(world: &World, arguments: &[&str], no_color: Option<&str>) -> Option<String> {
    on_terminal_of(world, arguments, no_color, None)
}

/// The same on a terminal of so many columns.
pub(super) fn on_terminal_of(
    world: &World,
    arguments: &[&str],
    no_color: Option<&str>,
    columns: Option<u16>,
) -> Option<String> {
    let (typed, typescript) = (world.root().join("typed.sh"), world.root().join("typescript"));
    let words: Vec<_> = arguments.iter().map(|word| format!("'{word}'")).collect();
    let sized =
        columns.map_or_else(String::new, |columns| format!("stty rows 24 cols {columns}\n"));
    fs::write(&typed, format!("{sized}exec '{HYTHE}' {}\n", words.join(" "))).unwrap();
    let shell = format!("sh '{}'", typed.display());
    let mut command = Command::new("script");
    command.args(["--quiet", "--command", &shell]).arg(&typescript).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::null()).current_dir(world.root());
    for (name, value) in world.command(&world.root()).get_envs() {
        command.env(name, value.unwrap());
    }
    command.envs(no_color.map(|value| ("NO_COLOR", value)));
    let status = command.env("TERM", "xterm").env("SHELL", "/bin/sh").status();
    if !status.is_ok_and(|status| status.success()) {
        io::stderr().write_all(b"skipped: a terminal needs `script` of util-linux\n").unwrap();
        return None;
    }
    let text = String::from_utf8_lossy(&fs::read(typescript).unwrap()).into_owned();
    // Around it, `script` notes when it ran.
    let text = text.lines().filter(|line| !line.starts_with("Script "));
    Some(text.collect::<Vec<_>>().join("\n"))
}

#[test]
fn a_terminal_shows_colour_unless_it_is_unwanted() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let port = world.reserve(&shop, &[]);
    let _stranger = Server::start(&world.dir("elsewhere"), "127.0.0.1", port);
    let typed = |arguments: &[&str], no_color| on_terminal(&world, arguments, no_color);
    let Some(text) = typed(&["list"], None) else { return };
    assert!(text.contains("\u{1b}[31mforeign\u{1b}[0m"), "{text:?}");
    for (arguments, no_color) in [(&["list"][..], Some("1")), (&["list", "--color", "never"], None)]
    {
        let text = typed(arguments, no_color).unwrap();
        assert!(text.contains("  foreign  ") && !text.contains("\u{1b}[31m"), "{text:?}");
    }
    let text = typed(&["list"], Some("")).unwrap();
    assert!(text.contains("\u{1b}[31m"), "an empty NO_COLOR says nothing (no-color.org)");
    let forced = typed(&["list", "--color", "always"], Some("1")).unwrap();
    assert!(forced.contains("\u{1b}[31mforeign"), "a flag is stronger: {forced:?}");
}

/// Control characters except line breaks: C0, DEL and C1, as bytes or as UTF-8.
fn commands_a_terminal(text: &str) -> Option<char> {
    text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\r'))
}

#[test]
fn names_and_paths_never_command_a_terminal() {
    let world = Harbour::new();
    let evil = "a\u{1b}[31mb\u{7}c\u{9b}2Jd\u{7f}e\u{85}f\rg\nh";
    let home = world.dir(evil);
    let shop = home.join("shop");
    fs::create_dir(&shop).unwrap();
    world.git(&home, &["init", "--quiet"]);
    let port = world.reserve(&home, &["web"]);
    world.run(&home, ["release", "web"]).ok();
    world.reserve(&home, &["web"]);
    let _server = Server::start(&shop, "127.0.0.1", port);
    // A basic string (<https://toml.io/en/v1.0.0#string>).
    let quoted: Vec<_> = evil.chars().map(|c| format!("\\u{:04X}", u32::from(c))).collect();
    let quoted = quoted.concat();
    let text = format!("[plugins.x]\npath = \"{quoted}\"\n");
    fs::write(home.join("hythe.toml"), &text).unwrap();
    let wrong_file = world.run(&home, ["reserve"]).fails(3);
    assert_eq!(commands_a_terminal(&wrong_file), None, "{wrong_file:?}");
    fs::remove_file(home.join("hythe.toml")).unwrap();
    world.config(&text);

    let cases: [(&[&str], i32); 35] = [
        (&["reserve", "web", "--explain"], 0),
        (&["reserve", "api", "--explain"], 0),
        (&["reserve", "web", "--json", "--explain"], 0),
        (&["-vv", "reserve", "web"], 0),
        (&["reserve", "web", "--on-conflict", "keep"], 0),
        (&["get", "web", "--json"], 0),
        (&["get", "none"], 7),
        (&["list"], 0),
        (&["list", "--json"], 0),
        (&["list", "--format", "csv"], 0),
        (&["list", "--format", "tsv"], 0),
        (&["show", "web"], 0),
        (&["show", "web", "--json"], 0),
        (&["wait", "web", "--json"], 0),
        (&["wait", "web", "--free", "--timeout", "0s"], 7),
        (&["scan"], 0),
        (&["scan", "--json"], 0),
        (&["scan", "--format", "csv"], 0),
        (&["scan", "--format", "tsv"], 0),
        (&["log"], 0),
        (&["log", "--json"], 0),
        (&["config", "path"], 0),
        (&["config", "path", "--json"], 0),
        (&["config", "show", "--origin"], 0),
        (&["config", "show", "--json"], 0),
        (&["config", "check"], 4),
        (&["plugin", "list"], 0),
        (&["plugin", "list", "--json"], 0),
        (&["release", "web", "--dry-run"], 0),
        (&["release", "web", "--dry-run", "--json"], 0),
        (&["cleanup", "--dry-run", "--json"], 0),
        (&["reserve", "-C", evil], 2),
        (&["show", evil], 2),
        (&["reserve", "--state-dir", ".git/HEAD/x", "new"], 9),
        (&["reserve", "--config", evil], 3),
    ];
    let mut obeyed = Vec::new();
    for (arguments, code) in cases {
        // A plugin at such a path is in nobody's way but its users'.
        let run = world.run(&home, arguments).exits(code);
        for (stream, text) in [("stdout", run.stdout()), ("stderr", run.stderr())] {
            let command = commands_a_terminal(&text.replace('\t', " "));
            obeyed.extend(command.map(|command| (arguments, stream, command)));
        }
    }
    assert_eq!(obeyed, []);
}

#[test]
fn wrong_arguments_never_command_a_terminal() {
    let world = World::new();
    let evil = "x\u{7}\u{9b}2J\u{1b}]0;t\u{7f}";
    let mut obeyed = Vec::new();
    for arguments in [
        &[evil][..],
        &["reserve", evil],
        &["reserve", "--scope", evil],
        &["reserve", "--ttl", evil],
        &["completions", evil],
        &[&format!("--{evil}")],
        &["--json", "reserve", evil],
        &["list", "--json", "--scope", evil],
    ] {
        let error = world.run(&world.root(), arguments).fails(2);
        obeyed.extend(
            commands_a_terminal(&error).map(|command| (arguments.join(" "), "pipe", command)),
        );
        if let Some(text) = on_terminal(&world, arguments, Some("1")) {
            assert!(text.contains("error"), "{text:?}");
            obeyed.extend(
                commands_a_terminal(&text).map(|command| (arguments.join(" "), "tty", command)),
            );
        }
    }
    assert_eq!(obeyed, []);
    let name = OsStr::from_bytes(b"\x9b2J\xff");
    let error = world.run(&world.root(), [OsStr::new("reserve"), name]).fails(2);
    assert_eq!(commands_a_terminal(&error), None, "{error:?}");
}

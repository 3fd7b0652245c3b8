//! `hythe completions`, and what a shell is offered.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::listener::Harbour;
use crate::support::{HYTHE, Run, World};

/// What `shell` is told when the last of `words` is to be completed, line by line.
fn told(world: &World, directory: &Path, shell: &str, words: &[&str]) -> Vec<String> {
    let mut command = world.command(directory);
    command
        .args(["--", "hythe"])
        .args(words)
        .env("HYTHE_COMPLETE", shell)
        .env("_CLAP_COMPLETE_INDEX", words.len().to_string())
        .env("_CLAP_IFS", "\n");
    let run = Run::of(&mut command).exits(0);
    assert_eq!(run.stderr(), "", "{words:?}");
    run.stdout().lines().map(str::to_owned).collect()
}

/// What is offered for the last of `words`, without options.
fn offered(world: &World, directory: &Path, words: &[&str]) -> Vec<String> {
    let told = told(world, directory, "bash", words);
    told.into_iter().filter(|word| !word.starts_with('-')).collect()
}

/// A world with something to complete, and its checkout.
fn furnished() -> (Harbour, std::path::PathBuf) {
    let world = Harbour::new();
    let shop = world.repository("shop");
    fs::write(shop.join("hythe.toml"), "[services.api]\nport = 20000\n").unwrap();
    world.reserve(&shop, &["web", "--agent", "claude", "--prefer", &world.port(0).to_string()]);
    world.reserve(&shop, &["db", "--scope", "service", "--prefer", &world.port(1).to_string()]);
    let blog = world.dir("blog");
    let port = world.port(2).to_string();
    world.reserve(&blog, &["draft", "--project", "blog", "--prefer", &port]);
    (world, shop)
}

#[test]
fn a_script_is_made_for_each_shell() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = world.run(&world.root(), ["completions", shell]).ok();
        let asks = script.contains(&format!("HYTHE_COMPLETE={shell}"))
            || script.contains(&format!("HYTHE_COMPLETE=\"{shell}\""));
        // Its way to ask would evaluate what is being typed.
        assert_eq!(asks, shell != "powershell", "{script}");
        assert!(!script.contains("Invoke-Expression"), "{script}");
        // Whoever is installed here reads it.
        let checks: &[(&str, &[&str])] =
            &[("bash", &["-n"]), ("zsh", &["-n"]), ("fish", &["--no-execute"])];
        let Some((_, check)) = checks.iter().find(|(name, _)| *name == shell) else { continue };
        let mut command = Command::new(shell);
        command.args(*check).stdin(Stdio::piped());
        let Ok(mut reader) = command.spawn() else { continue };
        reader.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(reader.wait().unwrap().success(), "{shell}");
    }
    world.run(&world.root(), ["completions", "cmd.exe"]).fails(2);
    assert!(!world.state().exists());
    // They need neither a home nor a directory that exists.
    let mut command = world.command(&world.root());
    command.args(["completions", "bash"]).env_remove("HOME");
    assert!(!Run::of(&mut command).ok().is_empty());
}

#[test]
fn everything_that_can_be_named_is_offered() {
    let (world, shop) = furnished();
    let [web, db, draft] = [0, 1, 2].map(|index| world.port(index).to_string());
    fs::write(shop.join("mine.wasm"), "").unwrap();
    let project =
        "[plugins.ttl.options]\nunused = \"3d\"\n[plugins.ours]\npath = \"~/ours.wasm\"\n";
    world.config(project);
    let here = |words: &[&str]| offered(&world, &shop, words);
    for command in ["reserve", "get", "release", "lock", "unlock"] {
        assert_eq!(here(&[command, ""]), ["web", "db", "api"], "{command}");
        assert_eq!(here(&[command, "w"]), ["web"], "{command}");
    }
    assert_eq!(here(&["release", "web", "d"]), ["db"], "one after the other");
    assert_eq!(here(&["show", ""]), ["web", "db", "api", &web, &db, &draft]);
    assert_eq!(here(&["release", "--port", ""]), [&*web, &db, &draft]);
    assert_eq!(here(&["log", "--port", ""]), [&*web, &db, &draft]);
    assert_eq!(here(&["list", "--service", ""]), ["web", "db", "draft"]);
    assert_eq!(here(&["list", "--project", ""]), ["shop", "blog"]);
    assert_eq!(here(&["list", "--agent", ""]), ["claude"]);
    assert_eq!(here(&["get", "--scope", ""]), ["directory", "project", "service"]);
    assert_eq!(here(&["watch", "--kind", "re"]), ["reserved", "returned", "released", "relocated"]);
    assert_eq!(here(&["cleanup", "--policy", ""]), ["path-sticky", "pid-reap", "ttl"]);
    let plugins = here(&["plugin", "inspect", ""]);
    for name in ["ours", "path-sticky", "pid-reap", "ttl", "mine.wasm"] {
        assert!(plugins.contains(&name.to_owned()), "{name}: {plugins:?}");
    }
    assert_eq!(here(&["plugin", "remove", ""]), ["ours"]);
    assert_eq!(here(&["plugin", "test", "path"]), ["path-sticky"]);
    assert!(here(&["get", "--strategy", "key="]).contains(&"key=ttl".to_owned()));
    assert_eq!(here(&["config", "get", "ports.r"]), ["ports.range"]);
    assert!(here(&["wa"]).contains(&"watch".to_owned()));
    assert_eq!(told(&world, &shop, "bash", &["list", "--form"]), ["--format"]);
    // As the line says, not as it happens to be here.
    assert_eq!(offered(&world, &world.root(), &["-C", "blog", "get", ""]), ["db", "draft"]);
    let elsewhere = ["--state-dir", "nowhere", "show", ""];
    assert_eq!(offered(&world, &shop, &elsewhere), ["api"], "another ledger");
}

#[test]
fn what_is_offered_is_described_where_the_shell_can_show_it() {
    let (world, shop) = furnished();
    let web = world.port(0);
    let fish = told(&world, &shop, "fish", &["show", ""]);
    assert_eq!(fish[0], format!("web\tport {web}"));
    assert!(fish.contains(&"api\tconfigured".to_owned()), "{fish:?}");
    assert!(fish.contains(&format!("{web}\tweb of {}", shop.display())), "{fish:?}");
    let zsh = told(&world, &shop, "zsh", &["show", "w"]);
    assert_eq!(zsh, [format!("web:port {web}")]);
    assert_eq!(told(&world, &shop, "elvish", &["show", "w"]), ["web"]);
}

#[test]
fn nothing_that_is_offered_means_anything_to_a_shell() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let wild = ["$(touch pwned)", "a b", "`id`", "x;y", "it's", "*", "ü"];
    for (index, name) in wild.iter().enumerate() {
        world.reserve(&shop, &[&format!("s{index}"), "--project", name]);
        fs::write(shop.join(name), "").unwrap();
    }
    world.reserve(&shop, &["plain", "--project", "plain"]);
    assert_eq!(offered(&world, &shop, &["list", "--project", ""]), ["plain"]);
    let files = offered(&world, &shop, &["list", "--config", ""]);
    assert!(wild.iter().all(|name| !files.contains(&(*name).to_owned())), "{files:?}");
    // These write what is chosen as one word.
    assert_eq!(told(&world, &shop, "fish", &["list", "--project", "a"]), ["a b"]);
    // A directory commands no terminal.
    let odd: &OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"od\x1b[2Jd\tx");
    let port = world.reserve(&world.dir(odd), &["odd"]).to_string();
    let line = told(&world, &shop, "fish", &["show", &port]).concat();
    assert!(line.ends_with("od\\u{1b}[2Jd\\tx"), "{line}");
}

#[test]
fn what_cannot_be_read_is_not_offered() {
    let (world, shop) = furnished();
    let state = |bytes: &[u8]| fs::write(world.ledger(), bytes).unwrap();
    let sound = fs::read(world.ledger()).unwrap();
    for damaged in [&b"nonsense"[..], &b""[..], &sound[..5000]] {
        state(damaged);
        assert_eq!(offered(&world, &shop, &["list", "--project", ""]), [""; 0]);
        assert_eq!(fs::read(world.ledger()).unwrap(), damaged);
    }
    // One that an earlier version wrote is left for a command to bring up to date.
    state(&sound);
    let ledger = rusqlite::Connection::open(world.ledger()).unwrap();
    ledger.pragma_update(None, "user_version", 1).unwrap();
    drop(ledger);
    let outdated = fs::read(world.ledger()).unwrap();
    assert_eq!(offered(&world, &shop, &["show", ""]), [""; 0]);
    assert_eq!(fs::read(world.ledger()).unwrap(), outdated);
    state(&sound);
    world.config("nonsense = [");
    assert_eq!(offered(&world, &shop, &["show", ""]), [""; 0]);
    assert!(offered(&world, &shop, &["sho"]).contains(&"show".to_owned()), "commands are known");

    let empty = World::new();
    for words in [&["show", ""][..], &["list", "--project", ""], &["nothing", ""], &["--", ""]] {
        told(&empty, &empty.root(), "bash", words);
    }
    assert!(!empty.state().exists() && !empty.cache().exists(), "nothing is created");
    for shell in ["powershell", "sh", "1", "/bin/bash"] {
        assert_eq!(told(&empty, &empty.root(), shell, &["sho"]), [""; 0], "{shell}");
    }
    // No words, no index, no home, no directory.
    let mut command = empty.command(&empty.root());
    command.env("HYTHE_COMPLETE", "fish").env_remove("HOME");
    assert_eq!(Run::of(&mut command).ok(), "");
    command.args(["--", "hythe", "show", ""]);
    let run = Run::of(&mut command).exits(0);
    assert_eq!(run.stderr(), "");
}

#[test]
fn an_empty_variable_is_none() {
    let world = World::new();
    let mut command = world.command(&world.root());
    command.args(["--version"]).env("HYTHE_COMPLETE", "");
    assert!(Run::of(&mut command).ok().starts_with("hythe "));
}

#[test]
fn real_shells_complete() {
    let (world, shop) = furnished();
    let bin = Path::new(HYTHE).parent().unwrap().to_owned();
    let path = std::env::var_os("PATH").unwrap();
    let path = std::env::join_paths([bin].into_iter().chain(std::env::split_paths(&path)));
    let path = path.unwrap();
    let bash = "source <(hythe completions bash)\n\
        COMP_WORDS=(hythe release w) COMP_CWORD=2 COMP_TYPE=9\n\
        _clap_complete_hythe hythe w release\n\
        printf '%s\\n' \"${COMPREPLY[@]}\"\n";
    let fish = "hythe completions fish | source\ncomplete --do-complete 'hythe release w'\n";
    let zsh = "compdef() { :; }\n_describe() { print -rl -- ${(P)3} }\n\
        words=(hythe release w) CURRENT=3\nsource <(hythe completions zsh)\n\
        _clap_dynamic_completer_hythe\n";
    let mut asked = 0;
    for (shell, flag, script) in
        [("bash", "--norc", bash), ("fish", "--no-config", fish), ("zsh", "-f", zsh)]
    {
        let mut command = Command::new(shell);
        command.args([flag, "-c", script]).current_dir(&shop).env_clear();
        command.env("PATH", &path).env("HOME", world.home());
        let Ok(output) = command.output() else { continue };
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.starts_with("web"), "{shell}: {text:?} {:?}", output.stderr);
        assert_eq!(text.lines().count(), 1, "{shell}: {text}");
        asked += 1;
    }
    assert!(asked > 0, "bash at least is there");
}

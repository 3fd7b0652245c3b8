//! Who reads what `hythe env` prints: shells, and readers of `.env` files. Branches, which are
//! anybody's words, are read back as they are, and nothing that they contain is run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::project;
use crate::listener::Harbour;
use crate::support::{HYTHE, World};

/// Names that git takes for branches.
const BRANCHES: [&str; 7] = [
    "x$(echo>pwned)",
    "x`echo>pwned`",
    "';echo>pwned;'",
    "\";echo>pwned;\"",
    "x&touch${IFS}pwned|%PATH%!!#{a,b}",
    "größe/’;echo>pwned;‘",
    "it's$HOME",
];

/// A checkout with a variable that contains its branch.
fn checkout(world: &World, branch: &str) -> PathBuf {
    let text = "[services.web]\n[env]\nBRANCH = 'on {branch}'\nEMPTY = ''\n";
    let shop = project(world, text);
    world.git(&shop, &["checkout", "--quiet", "-B", branch]);
    shop
}

/// What a program prints in `directory`, if it is there.
#[track_caller]
fn printed(world: &World, directory: &Path, program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory).stdin(Stdio::null());
    command.env("HYTHE", HYTHE).env("HOME", world.home());
    let output = match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        output => output.unwrap(),
    };
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), &*stderr), (Some(0), ""), "{program}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn shells_read_back_what_was_meant() {
    let print = r#"printf '%s|%s|%s' "$WEB_PORT" "$BRANCH" "$EMPTY""#;
    let eval = format!(r#"eval "$("$HYTHE" env)" && {print}"#);
    let dotted =
        format!(r#""$HYTHE" env --quiet --format shell --write .envrc && . ./.envrc && {print}"#);
    let fish = format!("$HYTHE env --format fish | source; and {print}");
    for branch in BRANCHES {
        let world = Harbour::of_size(4);
        let shop = checkout(&world, branch);
        let port = world.reserve(&shop, &["web"]);
        let expected = format!("{port}|on {branch}|");
        for (program, script) in [
            ("sh", &eval),
            ("bash", &eval),
            ("zsh", &eval),
            ("fish", &fish),
            ("sh", &dotted),
            ("bash", &dotted),
        ] {
            let found = printed(&world, &shop, program, &["-c", script]);
            assert!(found.is_some() || program != "sh");
            assert!(found.is_none_or(|found| found == expected), "{program}: {branch}");
        }
        assert!(!shop.join("pwned").exists(), "{branch}");
    }
}

#[test]
fn readers_of_env_files_read_back_what_was_meant() {
    let node =
        "const e = process.env; process.stdout.write(`${e.WEB_PORT}|${e.BRANCH}|${e.EMPTY}`)";
    let python = "import importlib.util as u, sys\n\
                  if not u.find_spec('dotenv'): sys.exit(0)\n\
                  import dotenv\n\
                  e = dotenv.dotenv_values('.env')\n\
                  print(e['WEB_PORT'], e['BRANCH'], e['EMPTY'], sep='|', end='')";
    let shell = r#"set -a; . ./.env; printf '%s|%s|%s' "$WEB_PORT" "$BRANCH" "$EMPTY""#;
    for branch in BRANCHES {
        let world = Harbour::of_size(4);
        let shop = checkout(&world, branch);
        // No spelling of these is read alike by all.
        if branch.contains("${") || branch.contains('\'') && branch.contains('$') {
            let error = world.run(&shop, ["env", "--write", ".env"]).fails(2);
            assert!(error.contains("BRANCH has"), "{error}");
            assert!(!shop.join(".env").exists() && !world.state().exists());
            continue;
        }
        world.run(&shop, ["env", "--write", ".env"]).ok();
        let port = world.reserve(&shop, &["web"]);
        let expected = format!("{port}|on {branch}|");
        let mut readers = vec![("sh", vec!["-c", shell]), ("python3", vec!["-c", python])];
        let flags = printed(&world, &shop, "node", &["--help"]);
        if flags.is_some_and(|flags| flags.contains("--env-file")) {
            readers.push(("node", vec!["--env-file=.env", "-e", node]));
        }
        for (program, arguments) in readers {
            let found = printed(&world, &shop, program, &arguments);
            let found = found.filter(|found| !found.is_empty());
            assert!(found.is_none_or(|found| found == expected), "{program}: {branch}");
        }
        assert!(!shop.join("pwned").exists(), "{branch}");
    }
}

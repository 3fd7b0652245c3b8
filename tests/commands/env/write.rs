//! `hythe env --write`: our lines in files of others.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::project;
use crate::listener::Harbour;
use crate::support::World;

const BEGIN: &str = "# >>> hythe >>> written by `hythe env --write`";
const END: &str = "# <<< hythe <<<";

fn shop(world: &World) -> PathBuf {
    project(world, "[services.web]\n")
}

/// Our lines in a file of `world`.
fn ours(world: &World, directory: &Path) -> String {
    let port = world.run(directory, ["get", "web"]).port();
    format!("{BEGIN}\nWEB_PORT={port}\n{END}\n")
}

#[test]
fn our_lines_stand_between_two_marks_and_all_else_stays() {
    let world = Harbour::of_size(4);
    let shop = shop(&world);
    let file = shop.join(".env");
    let write = |expected: &str| {
        let run = world.run(&shop, ["env", "--write", ".env"]).exits(0);
        assert_eq!(run.stdout(), "");
        assert_eq!(run.stderr(), format!("{expected}: {}\n", file.display()));
        fs::read_to_string(&file).unwrap()
    };
    let text = write("wrote");
    let ours = ours(&world, &shop);
    assert_eq!(text, ours);
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o644);
    for (before, after) in [
        ("A=1\n\tB = 'x'  \n".to_owned(), format!("A=1\n\tB = 'x'  \n\n{ours}")),
        ("A=1".to_owned(), format!("A=1\n\n{ours}")),
        ("A=1\r\nB=2\r\n".to_owned(), format!("A=1\nB=2\n\n{ours}").replace('\n', "\r\n")),
        (format!("A=1\n{BEGIN}\nOLD=1\n\nX\n{END}\nB=2"), format!("A=1\n{ours}B=2")),
        (format!("# >>> hythe >>> otherwise\n{END}"), ours.clone()),
    ] {
        fs::write(&file, before).unwrap();
        assert_eq!(write("wrote"), after);
        assert_eq!(write("unchanged"), after);
    }
}

#[test]
fn an_unchanged_file_is_not_touched_and_permissions_are_kept() {
    let world = Harbour::of_size(4);
    let shop = shop(&world);
    let file = shop.join(".env");
    fs::write(&file, "SECRET=1\n").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let document = world.run(&shop, ["env", "--write", ".env", "--json"]).json();
    assert_eq!(document["files"], json!([{ "file": file, "changed": true }]));
    let before = fs::metadata(&file).unwrap();
    assert_eq!(before.mode() & 0o777, 0o600);
    // Nor is anything made for writing it.
    fs::remove_file(world.state().join("config.lock")).unwrap();
    let document = world.run(&shop, ["env", "--write", ".env", "--json"]).json();
    assert_eq!(document["files"], json!([{ "file": file, "changed": false }]));
    assert!(!world.state().join("config.lock").exists());
    let after = fs::metadata(&file).unwrap();
    assert_eq!(
        (before.ino(), before.modified().unwrap()),
        (after.ino(), after.modified().unwrap())
    );
}

#[test]
fn several_files_from_anywhere_in_any_format() {
    let world = Harbour::of_size(4);
    let shop = shop(&world);
    let deep = world.dir("shop/deep");
    let arguments = ["env", "-C", "shop", "-w", ".env", "-w", "deep/../deep/.env", "--quiet"];
    let run = world.run(&world.root(), arguments).exits(0);
    assert_eq!((run.stdout(), run.stderr()), (String::new(), String::new()));
    for directory in [&shop, &deep] {
        assert_eq!(fs::read_to_string(directory.join(".env")).unwrap(), ours(&world, &shop));
    }
    for (format, line) in [
        ("shell", "export WEB_PORT="),
        ("fish", "set -gx WEB_PORT "),
        ("powershell", "$env:WEB_PORT = "),
    ] {
        let script = world.root().join(format);
        world.run(&deep, ["env", "--format", format, "-w", script.to_str().unwrap()]).ok();
        assert!(fs::read_to_string(script).unwrap().contains(&format!("\n{line}")), "{format}");
    }
    let error = world.run(&shop, ["env", "--format", "json", "--write", "x.json"]).fails(2);
    assert!(error.contains("hint: hythe env --format json > FILE"), "{error}");
    assert!(!shop.join("x.json").exists());
}

/// `hythe env --write FILE` fails with `code`, and neither reserves nor writes anything.
#[track_caller]
fn refused(world: &World, directory: &Path, file: &str, code: i32) -> String {
    // Another file that could be written.
    let error = world.run(directory, ["env", "--write", "fine.env", "--write", file]).fails(code);
    assert!(!world.state().exists(), "{error}");
    assert!(!directory.join("fine.env").exists(), "{error}");
    error
}

#[test]
fn marks_that_do_not_fit_are_refused() {
    let world = Harbour::of_size(4);
    let shop = shop(&world);
    let file = shop.join(".env");
    for (text, why) in [
        (format!("A=1\n{BEGIN}\nB=1\n"), ":2 begins what hythe writes, and no line ends it"),
        (format!("{END}\n"), "1 ends what hythe writes, and no line begins it"),
        (format!("{BEGIN}\n{END}\n{BEGIN}\n{END}\n"), "3 begins what hythe writes a second time"),
    ] {
        fs::write(&file, &text).unwrap();
        let error = refused(&world, &shop, ".env", 8);
        let why = why.trim_start_matches(':');
        assert!(error.contains(&format!("{}: line {why}", file.display())), "{error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
}

#[test]
fn what_is_no_file_that_can_be_written_is_refused_at_once() {
    let world = Harbour::of_size(4);
    let shop = shop(&world);
    fs::create_dir(shop.join("directory")).unwrap();
    assert!(Command::new("mkfifo").arg(shop.join("fifo")).status().unwrap().success());
    fs::write(shop.join("large"), vec![b'\n'; 2 << 20]).unwrap();
    fs::write(shop.join("read-only"), "A=1\n").unwrap();
    fs::set_permissions(shop.join("read-only"), Permissions::from_mode(0o444)).unwrap();
    symlink("nowhere", shop.join("dangling")).unwrap();
    for (file, why) in [
        ("directory", "it is not a regular file"),
        ("", ""),
        (".", "it is not a regular file"),
        ("fifo", "it is not a regular file"),
        ("/dev/null", "it is not a regular file"),
        ("/dev/stdout", ""),
        ("large", "it is larger than 1 MiB"),
        ("read-only", "it is read-only"),
        ("dangling", "it is a link to nothing"),
        ("missing/.env", "No such file or directory"),
        ("missing/../.env", "No such file or directory"),
        ("hythe.toml/.env", "Not a directory"),
    ] {
        let error = refused(&world, &shop, file, 2);
        assert!(error.contains(why), "{file}: {error}");
    }
    assert_eq!(fs::read_to_string(shop.join("read-only")).unwrap(), "A=1\n");
}

#[test]
fn a_link_within_the_checkout_is_followed_and_one_out_of_it_is_not() {
    let world = Harbour::of_size(4);
    let shop = shop(&world);
    let deep = world.dir("shop/deep");
    let outside = world.dir("outside");
    let precious = outside.join("precious");
    fs::write(&precious, "mine\n").unwrap();
    symlink("../outside/precious", shop.join("out")).unwrap();
    symlink(&outside, shop.join("away")).unwrap();
    symlink("../out", deep.join("further")).unwrap();
    symlink("shop", world.root().join("alias")).unwrap();
    for (directory, file) in [
        (&shop, "out"),
        (&shop, "away/new"),
        (&shop, "deep/further"),
        (&deep, "../out"),
        (&deep, "further"),
        (&world.root().join("alias"), "out"),
        (&shop, "../shop/out"),
    ] {
        let run = world.run(directory, ["env", "--write", file]);
        let error = run.fails(8);
        assert!(
            error.contains("leads out of") && error.contains("hint: if that is meant"),
            "{error}"
        );
    }
    assert!(!world.state().exists());
    let from_alias = ["-C", "alias", "env", "--write", "out"];
    world.run(&world.root(), from_alias).fails(8);
    assert_eq!(fs::read_to_string(&precious).unwrap(), "mine\n");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);

    // What is meant can be said, and inside everything is the project's.
    let named = precious.to_str().unwrap();
    world.run(&shop, ["env", "--write", named]).ok();
    assert_eq!(fs::read_to_string(&precious).unwrap(), format!("mine\n\n{}", ours(&world, &shop)));
    fs::write(shop.join("real"), "").unwrap();
    symlink("../real", deep.join("inside")).unwrap();
    world.run(&deep, ["env", "--write", "inside"]).ok();
    assert_eq!(fs::read_to_string(shop.join("real")).unwrap(), ours(&world, &shop));
    assert!(deep.join("inside").is_symlink());
    // A link of yours, outside of any checkout, is yours.
    world.run(&world.root(), ["env", "-C", "shop", "--write", "../alias/alias.env"]).ok();
    assert!(shop.join("alias.env").exists());
}

//! What commands look like on a terminal: pictures of 80 and of 200 columns, with and without colour, kept
//! in `tests/looks`. `HYTHE_TEST_LOOKS=write` takes them anew, to be looked at before they are committed.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::terminal::on_terminal_of;
use crate::support::World;

/// What is looked at, and the name of its pictures.
const COMMANDS: [(&str, &[&str]); 6] = [
    ("list", &["list"]),
    ("show", &["show", "web", "-C", "shop"]),
    ("map", &["map"]),
    ("log", &["log"]),
    ("env", &["env", "-C", "shop"]),
    ("config-show", &["config", "show", "--origin", "-C", "shop"]),
];

/// A machine with three reservations, the same each time but for the name of its directory and times.
fn world() -> World {
    let world = World::new();
    world.config("[ports]\nrange = \"26000-26999\"\nexclude = [\"26100-26199\"]\n");
    let (shop, blog) = (world.repository("shop"), world.dir("a-blog-with-a-rather-long-name"));
    let declared = "[services.web]\nport = 26001\n[env]\nURL = \"http://localhost:{port}\"\n";
    fs::write(shop.join("hythe.toml"), declared).unwrap();
    world.reserve(&shop, &["web", "--task", "fix-1", "--agent", "claude"]);
    world.reserve(&shop, &["api", "--prefer", "26500", "--ttl", "2h"]);
    world.reserve(&blog, &["@blog/admin", "--prefer", "26990", "--lock"]);
    world
}

/// `text` with what differs from run to run put in the place of something as long.
fn still(text: &str, root: &Path) -> String {
    // A path in /tmp is as long as another, and so is the project that is called by its end.
    let name = root.file_name().unwrap().to_str().unwrap();
    let text = text.replace(name, "own-world!");
    let mut still = String::with_capacity(text.len());
    let mut rest = &text[..];
    while let Some(first) = rest.chars().next() {
        let like = |shape: &str| {
            rest.len() >= shape.len()
                && rest.bytes().zip(shape.bytes()).all(|(byte, shape)| match shape {
                    b'0' => byte.is_ascii_digit(),
                    _ => byte == shape,
                })
        };
        let time = "0000-00-00T00:00:00Z";
        if like(time) {
            still.push_str("2026-01-02T03:04:05Z");
            rest = &rest[time.len()..];
            continue;
        }
        match first {
            '\u{1b}' => still.push_str("\\e"),
            '\r' => {}
            other => still.push(other),
        }
        rest = &rest[first.len_utf8()..];
    }
    still
}

#[test]
fn what_is_seen_is_what_was_looked_at() {
    let kept = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/looks"));
    let write = env::var_os("HYTHE_TEST_LOOKS").is_some_and(|what| what == "write");
    let world = world();
    // Tables are cut by the lengths of paths.
    if world.root().as_os_str().len() != "/tmp/.tmpXXXXXX".len() {
        io::stderr().write_all(b"skipped: the pictures are of worlds in /tmp\n").unwrap();
        return;
    }
    for (name, arguments) in COMMANDS {
        for columns in [80, 200] {
            for color in ["never", "always"] {
                let arguments = [arguments, &["--color", color]].concat();
                let Some(text) = on_terminal_of(&world, &arguments, None, Some(columns)) else {
                    return;
                };
                let seen = still(&text, &world.root()) + "\n";
                let file = kept.join(format!("{name}-{columns}-{color}.txt"));
                if write {
                    fs::create_dir_all(&kept).unwrap();
                    fs::write(&file, &seen).unwrap();
                }
                let looked_at = fs::read_to_string(&file).unwrap_or_default();
                assert_eq!(seen, looked_at, "{}", file.display());
            }
        }
    }
}

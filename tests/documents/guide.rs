//! The author's guide, from an empty directory to a plugin that decides: what it shows is done.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use super::markdown::{blocks_of, root};
use super::search_path;
use crate::support::{Run, World};

const GUIDE: &str = "docs/plugins.md";

/// Where a tool of Rust keeps what it has, in the home of whoever runs the tests.
fn kept(variable: &str, directory: &str) -> OsString {
    let home = || Path::new(&env::var_os("HOME").unwrap()).join(directory).into_os_string();
    env::var_os(variable).unwrap_or_else(home)
}

/// A command in a directory of the reader's, who has Rust and what this machine needs to reach its
/// registry, and nothing of hythe's.
fn reader(world: &World, program: &str, directory: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if ["HYTHE_", "XDG_", "GIT_"].iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(&*name);
        }
    }
    command
        .current_dir(directory)
        .env("PATH", search_path())
        .env("HOME", world.home())
        .env("CARGO_HOME", kept("CARGO_HOME", ".cargo"))
        .env("RUSTUP_HOME", kept("RUSTUP_HOME", ".rustup"))
        // Only what is built on the way is shared by all runs: the module is where the guide says.
        .env_remove("CARGO_TARGET_DIR")
        .env("CARGO_BUILD_BUILD_DIR", root().join("target/guide"))
        .stdin(Stdio::null());
    command
}

/// Whether the compiler has the target of plugins, which the README's test command adds.
fn has_target(world: &World) -> bool {
    let target = ["--print", "target-libdir", "--target", "wasm32-unknown-unknown"];
    let output = reader(world, "rustc", &world.root()).args(target).output().unwrap();
    Path::new(String::from_utf8(output.stdout).unwrap().trim()).is_dir()
}

#[test]
fn the_authors_guide_works() {
    let world = World::new();
    assert!(has_target(&world), "hint: rustup target add wasm32-unknown-unknown");
    let shop = world.repository("shop");
    let mut steps = blocks_of(GUIDE).into_iter().filter(|block| block.info == "sh build");
    // Alone, so that it is seen whose port this is.
    let first = steps.next().unwrap().text;
    let run = Run::of(reader(&world, "bash", &shop).args(["-euc", &first])).exits(0);
    let port = run.stdout().lines().last().unwrap().parse::<u16>().unwrap();
    let decided = format!("port {port} was proposed by policy\n");
    assert!(run.stderr().contains("selection policy first-port 0.1.0"), "{}", run.stderr());
    assert!(run.stderr().contains(&decided), "{}", run.stderr());

    for block in steps {
        let mut bash = reader(&world, "bash", &shop);
        let run = Run::of(bash.args(["-euc", &block.text])).exits(0);
        assert!(!run.stderr().contains("error:"), "{}{}", block.name(), run.stderr());
    }
    // What was configured on the way holds, and who has a port keeps it.
    let told = world.run(&shop, ["reserve", "web", "--explain"]).exits(0);
    assert!(told.stdout().trim().parse::<u16>().unwrap() >= 27000, "{}", told.stderr());
    assert_eq!(world.reserve(&shop, &[]), port);
}

//! Who can write to a cache, or put another one in its place, can run anything: the cache must be
//! out of the reach of others, and Hythe works without one.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{chown, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{User, set_mode};
use crate::support::Run;

const NOBODY: u32 = 65_534;

/// The directory of the cache, and the one that it is in.
fn cache(user: &User) -> (PathBuf, PathBuf) {
    let cache = user.world.cache();
    fs::create_dir_all(&cache).unwrap();
    set_mode(&cache, 0o700);
    let above = cache.parent().unwrap().to_owned();
    (cache, above)
}

#[test]
fn a_cache_that_others_can_replace_is_not_used() {
    let user = User::new();
    let (_, above) = cache(&user);
    for directory in [&above, &user.world.home(), &user.world.root()] {
        for mode in [0o777, 0o707, 0o703, 0o702] {
            set_mode(directory, mode);
            assert!(user.compiles() && user.compiles(), "{mode:o} of {}", directory.display());
            assert!(user.entries().is_empty());
        }
        set_mode(directory, 0o700);
    }
    // In a sticky directory everybody removes and renames his own alone.
    set_mode(&above, 0o1777);
    assert!(user.compiles() && !user.compiles());
    set_mode(&above, 0o777);
    assert!(user.compiles());
    set_mode(&above, 0o755);
    assert!(!user.compiles());
}

#[test]
fn a_cache_in_somebody_elses_directory_is_not_used() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let user = User::new();
    let (_, above) = cache(&user);
    for directory in [&above, &user.world.home(), &user.world.root()] {
        chown(directory, Some(NOBODY), None).unwrap();
        // Its owner can change the mode, and is not kept by the sticky bit.
        for mode in [0o755, 0o500, 0o1755] {
            set_mode(directory, mode);
            assert!(user.compiles() && user.compiles(), "{mode:o} of {}", directory.display());
        }
        chown(directory, Some(0), None).unwrap();
        set_mode(directory, 0o700);
    }
    assert!(user.entries().is_empty());
    // A group that is not one's own are others.
    chown(&above, None, Some(NOBODY)).unwrap();
    set_mode(&above, 0o770);
    assert!(user.compiles() && user.compiles());
    set_mode(&above, 0o750);
    assert!(user.compiles() && !user.compiles());
}

/// What counts is where the cache is, not how it is called.
#[test]
fn links_lead_to_no_cache_that_others_can_replace() {
    let user = User::new();
    let (cache, _) = cache(&user);
    let open = user.world.dir("open");
    set_mode(&open, 0o777);
    let inside = open.join("cache");
    fs::create_dir(&inside).unwrap();
    set_mode(&inside, 0o700);
    fs::remove_dir(&cache).unwrap();
    symlink(&inside, &cache).unwrap();
    assert!(user.compiles() && user.compiles());
    assert!(user.entries().is_empty());
    set_mode(&open, 0o755);
    assert!(user.compiles() && !user.compiles());
}

/// Whatever cannot be written is compiled each time, and nobody is bothered with it.
#[test]
fn a_cache_that_takes_nothing_is_no_error() {
    let user = User::new();
    let (cache, _) = cache(&user);
    let works = |tool: &mut Command| {
        tool.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        tool.status().is_ok_and(|status| status.success())
    };
    for options in ["ro", "size=4k", "nr_inodes=1"] {
        let mount = format!("mount -t tmpfs -o mode=700,{options} tmpfs \"$0\"");
        let inside = |script: &str| {
            let mut command = Command::new("unshare");
            command.args(["--mount", "sh", "-c", &format!("{mount} && {script}")]).arg(&cache);
            command
        };
        if !works(&mut inside("true")) {
            io::stderr().write_all(b"skipped: needs root, and the right to mount\n").unwrap();
            return;
        }
        let command = user.command();
        let mut full = inside("\"$@\" && \"$@\" && ls -A \"$0\"");
        full.arg(command.get_program()).args(command.get_args()).env_clear();
        full.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let run = Run::of(full.current_dir(&user.directory)).exits(0);
        let stdout = run.stdout();
        let [first, second] = <[&str; 2]>::try_from(stdout.lines().collect::<Vec<_>>())
            .unwrap_or_else(|lines| panic!("{options} leaves something: {lines:?}"));
        assert!(first == second && first.parse::<u16>().is_ok(), "{stdout}");
        assert_eq!(run.stderr().matches("compiled a plugin").count(), 2, "{}", run.stderr());
    }
    // Who does not ask for details hears nothing.
    fs::remove_dir(&cache).unwrap();
    fs::write(&cache, "").unwrap();
    let run = user.world.run(&user.directory, ["reserve"]).exits(0);
    assert_eq!(run.stderr(), "");
}

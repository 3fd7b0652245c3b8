//! The cache of compiled plugins: it saves time and decides nothing.

mod damage;
mod safety;
mod upkeep;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{declared, install};
use crate::component::Plugin;
use crate::support::{Run, World};

/// A user whose keys a plugin derives.
struct User {
    world: World,
    directory: PathBuf,
}

impl User {
    fn new() -> Self {
        let world = World::new();
        install(&world, "mine", Plugin::new("mine").key("the key"));
        world.config(&format!("[strategy]\nkey = \"mine\"{}", declared("mine")));
        let directory = world.dir("project");
        Self { world, directory }
    }

    fn command(&self) -> Command {
        let mut command = self.world.command(&self.directory);
        command.args(["reserve", "--dry-run"]).env("HYTHE_LOG", "hythe_engine=debug");
        command
    }

    /// Whether the plugin is compiled by a command that uses it. The command succeeds.
    #[track_caller]
    fn compiles(&self) -> bool {
        let run = Run::of(&mut self.command()).exits(0);
        assert!(run.stdout().trim_end().parse::<u16>().is_ok(), "{}", run.stdout());
        run.stderr().contains("compiled a plugin")
    }

    /// The files of the cache.
    fn entries(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.world.cache()).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    fn entry(&self) -> PathBuf {
        let [entry] = <[PathBuf; 1]>::try_from(self.entries()).unwrap();
        assert_eq!(entry.extension().unwrap(), "cwasm");
        entry
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// What tells a file from another one that took its place.
fn identity(path: &Path) -> (u64, i64, i64) {
    let metadata = fs::metadata(path).unwrap();
    (metadata.ino(), metadata.mtime(), metadata.mtime_nsec())
}

#[test]
fn a_plugin_is_compiled_once() {
    let user = User::new();
    assert!(user.compiles());
    let entry = user.entry();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&user.world.cache()), 0o700);
    assert_eq!(mode(&entry) & 0o077, 0);
    let before = identity(&entry);
    assert!(!user.compiles());
    assert_eq!(identity(&user.entry()), before);
    // Another content is another plugin, whatever its name is.
    install(&user.world, "mine", Plugin::new("mine").key("another key"));
    assert!(user.compiles());
    assert_eq!(user.entries().len(), 2);
}

#[test]
fn the_bundled_plugins_need_no_compiler_and_no_cache() {
    let world = World::new();
    let directory = world.dir("project");
    let mut command = world.command(&directory);
    let run = Run::of(command.arg("reserve").env("HYTHE_LOG", "hythe_engine=debug")).exits(0);
    assert!(!run.stderr().contains("compiled"), "{}", run.stderr());
    assert!(!world.cache().exists());
}

#[test]
fn a_damaged_entry_is_compiled_again() {
    let user = User::new();
    assert!(user.compiles());
    let entry = user.entry();
    let whole = fs::read(&entry).unwrap();
    let noise = b"no compiled code".repeat(1000);
    let cuts = [0, 1, 4, 64, 100, 4096, whole.len() / 2, whole.len() - 4096, whole.len() - 1];
    let cuts = cuts.into_iter().map(|length| &whole[..length]);
    let headed = [&whole[..64], &noise].concat();
    for damaged in cuts.chain([&noise[..], &headed]) {
        fs::write(&entry, damaged).unwrap();
        assert!(user.compiles(), "{} bytes", damaged.len());
        assert!(!user.compiles());
        assert_eq!(fs::read(user.entry()).unwrap().len(), whole.len());
    }
    // Something else than a file has its name: it is left alone.
    fs::remove_file(&entry).unwrap();
    fs::create_dir(&entry).unwrap();
    assert!(user.compiles());
    assert!(user.compiles());
    assert_eq!(user.entry(), entry);
}

/// Compiled code is not checked when it is loaded: who can write it can run anything.
#[test]
fn a_cache_that_others_can_write_to_is_not_used() {
    let user = User::new();
    let cache = user.world.cache();
    fs::create_dir_all(&cache).unwrap();
    for mode in [0o770, 0o707, 0o777, 0o1777, 0o722] {
        set_mode(&cache, mode);
        assert!(user.compiles() && user.compiles(), "{mode:o}");
        assert!(user.entries().is_empty(), "{mode:o}");
    }
    // Others may look.
    set_mode(&cache, 0o755);
    assert!(user.compiles() && !user.compiles());
    // What was put there before is not used either, once others could have written it.
    set_mode(&cache, 0o777);
    let entry = user.entry();
    let before = identity(&entry);
    assert!(user.compiles());
    assert_eq!(identity(&entry), before);
}

#[test]
fn a_cache_of_another_user_is_not_used() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let user = User::new();
    let cache = user.world.cache();
    fs::create_dir_all(&cache).unwrap();
    set_mode(&cache, 0o700);
    std::os::unix::fs::chown(&cache, Some(65_534), None).unwrap();
    assert!(user.compiles() && user.compiles());
    assert!(user.entries().is_empty());
}

#[test]
fn without_a_cache_everything_works() {
    // A file is where the directory should be; there is no way to it; nothing can be made there.
    let user = User::new();
    fs::create_dir_all(user.world.cache().parent().unwrap()).unwrap();
    File::create(user.world.cache()).unwrap();
    assert!(user.compiles() && user.compiles());
    for cache in ["/dev/null/cache", "/proc/cache", "relative/cache"] {
        let mut command = user.command();
        let run = Run::of(command.env("XDG_CACHE_HOME", cache)).exits(0);
        assert!(run.stderr().contains("compiled a plugin"), "{}", run.stderr());
    }
    assert!(!user.directory.join("relative").exists());
}

/// Neither is there a home, nor anything that can be written.
#[test]
fn a_plugin_needs_no_home() {
    let user = User::new();
    let config = user.world.home().join(".config/hythe/config.toml");
    let state = user.world.dir("state");
    let run = |command: &mut Command| Run::of(command.arg("--config").arg(&config)).ok();
    let mut nowhere = user.command();
    // The home that the system's list of users knows is nobody's to write to here.
    nowhere.env_remove("HOME").env("XDG_CACHE_HOME", "/dev/null");
    run(nowhere.env("HYTHE_STATE_DIR", &state));
    // Read-only, also for those whom modes do not stop.
    let mut readonly = user.command();
    run(readonly.env("HOME", "/proc/self").env("HYTHE_STATE_DIR", &state));
    set_mode(&user.world.home(), 0o500);
    assert!(user.compiles());
    set_mode(&user.world.home(), 0o700);
}

#[test]
fn those_who_compile_at_once_do_not_disturb_each_other() {
    let user = User::new();
    let children: Vec<_> = (0..6)
        .map(|_| user.command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
        .collect();
    let ports = children.into_iter().map(|child| {
        let run = Run::from(child.wait_with_output().unwrap());
        run.port()
    });
    let ports: Vec<_> = ports.collect();
    assert_eq!(ports.len(), 6);
    user.entry();
    assert!(!user.compiles());
}

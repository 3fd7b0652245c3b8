//! What is not used any more goes, and nothing else.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{User, identity};
use crate::component::Plugin;
use crate::plugins::install;

const HOUR: u64 = 60 * 60;
const DAY: u64 = 24 * HOUR;

/// Makes a file look written this many seconds ago.
fn age(path: &Path, seconds: u64) {
    let then = SystemTime::now() - Duration::from_secs(seconds);
    File::open(path).unwrap().set_modified(then).unwrap();
}

/// How many seconds ago a file was written.
fn age_of(path: &Path) -> u64 {
    fs::metadata(path).unwrap().modified().unwrap().elapsed().unwrap().as_secs()
}

impl User {
    /// Puts a file of this age into the cache.
    fn file(&self, name: &str, seconds: u64) -> PathBuf {
        let path = self.world.cache().join(name);
        fs::write(&path, "left behind").unwrap();
        age(&path, seconds);
        path
    }

    /// Another plugin takes the place of the plugin, and is compiled and stored.
    fn stores(&self, key: &str) {
        install(&self.world, "mine", Plugin::new("mine").key(key));
        assert!(self.compiles());
    }
}

#[test]
fn what_nobody_uses_goes_when_something_is_stored() {
    let user = User::new();
    assert!(user.compiles());
    let entry = user.entry();
    let digest = "0".repeat(64);
    let due = [
        user.file(&format!("{digest}-x86_64-0123456789abcdef.cwasm"), 31 * DAY),
        user.file("of-another-time.cwasm", 400 * DAY),
        user.file(".hythe-AbC123", 25 * HOUR),
    ];
    let mut kept = vec![
        entry,
        user.file(&format!("{digest}-x86_64-fedcba9876543210.cwasm"), 29 * DAY),
        // Somebody may still be writing it.
        user.file(".hythe-DeF456", 23 * HOUR),
        // Nothing that Hythe has put there.
        user.file("notes.txt", 400 * DAY),
        user.file(".hidden", 400 * DAY),
        user.file("cwasm", 400 * DAY),
    ];
    let directory = user.world.cache().join("directory.cwasm");
    fs::create_dir(&directory).unwrap();
    age(&directory, 400 * DAY);
    kept.push(directory);
    let ahead = user.file("of-tomorrow.cwasm", 0);
    File::open(&ahead).unwrap().set_modified(SystemTime::now() + Duration::from_secs(DAY)).unwrap();
    kept.push(ahead);

    // Using what is there looks after nothing else.
    assert!(!user.compiles());
    assert!(due.iter().chain(&kept).all(|path| path.exists()));
    user.stores("another key");
    for path in &due {
        assert!(!path.exists(), "{}", path.display());
    }
    for path in &kept {
        assert!(path.exists(), "{}", path.display());
    }
    assert_eq!(user.entries().len(), kept.len() + 1);
}

#[test]
fn what_is_used_is_not_forgotten() {
    let user = User::new();
    assert!(user.compiles());
    let entry = user.entry();
    age(&entry, 40 * DAY);
    assert!(!user.compiles());
    assert!(age_of(&entry) < HOUR, "{} seconds", age_of(&entry));
    // Once a day is often enough.
    age(&entry, 23 * HOUR);
    let before = identity(&entry);
    assert!(!user.compiles());
    assert_eq!(identity(&entry), before);
    // Its use has kept it; without that it goes.
    user.stores("another key");
    assert!(entry.exists());
    age(&entry, 31 * DAY);
    user.stores("a third key");
    assert!(!entry.exists());
}

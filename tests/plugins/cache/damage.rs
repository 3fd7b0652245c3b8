//! Whatever happened to an entry: it is compiled again, put right, and never run.

use std::fs;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::User;
use crate::component::Plugin;
use crate::plugins::{declared, install};
use crate::support::Run;

/// A user whose plugin is compiled, and its entry.
fn compiled() -> (User, Vec<u8>) {
    let user = User::new();
    assert!(user.compiles());
    let whole = fs::read(user.entry()).unwrap();
    (user, whole)
}

impl User {
    /// Damages the entry, and asserts that the plugin works all the same, and from its entry again
    /// afterwards. Compiling gives the same code, but not always the same bytes.
    fn mends(&self, damaged: &[u8], what: &str) {
        let entry = self.entry();
        fs::write(&entry, damaged).unwrap();
        let compiles = || {
            let caught = std::panic::AssertUnwindSafe(|| self.compiles());
            std::panic::catch_unwind(caught).unwrap_or_else(|_| panic!("{what}: it fails"))
        };
        assert!(compiles(), "{what}: it is used");
        assert!(!compiles(), "{what}: it is not put right");
        assert_eq!(self.entry(), entry);
        assert!(fs::read(&entry).unwrap() != damaged, "{what}");
    }
}

#[test]
fn no_flipped_bit_is_run() {
    const PLACES: usize = 200;
    let next = AtomicUsize::new(0);
    let work = || {
        let (user, whole) = compiled();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            // From the first byte to the last.
            let Some(at) = (place < PLACES).then(|| place * (whole.len() - 1) / (PLACES - 1))
            else {
                return;
            };
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << (place % 8);
            user.mends(&damaged, &format!("bit {} of byte {at}", place % 8));
        }
    };
    thread::scope(|scope| {
        let (one, two) = (scope.spawn(work), scope.spawn(work));
        one.join().and(two.join()).unwrap();
    });
}

#[test]
fn no_entry_is_run_that_is_too_short_or_too_long() {
    let (user, whole) = compiled();
    for cut in [1, 2, 3, 4, 5, 8, 12, 64, 4095, 4096, 4097] {
        let left = whole.len() - cut;
        user.mends(&whole[..left], &format!("{cut} bytes less"));
        user.mends(&whole[cut..], &format!("{cut} bytes less at the beginning"));
    }
    for more in [&b"\0"[..], b"\n", b"\0\0\0\0", &[0xff; 8], &[0; 4096], &whole] {
        let length = more.len();
        user.mends(&[&whole, more].concat(), &format!("{length} bytes more"));
        user.mends(&[more, &whole].concat(), &format!("{length} bytes more before it"));
    }
}

/// What a file system leaves of a file that was being written when the power went.
#[test]
fn no_zeros_are_run() {
    let (user, whole) = compiled();
    for length in [0, 1, 4, 8, 4096, whole.len()] {
        user.mends(&vec![0; length], &format!("{length} zeros"));
    }
    // A page of zeros where the bytes are already zero is no damage.
    let pages = (0..whole.len()).step_by(4096).map(|at| at..(at + 4096).min(whole.len()));
    for page in pages.filter(|page| whole[page.clone()].iter().any(|byte| *byte != 0)) {
        let mut damaged = whole.clone();
        damaged[page.clone()].fill(0);
        user.mends(&damaged, &format!("zeros at {page:?}"));
        user.mends(&whole[..page.start], &format!("nothing from {}", page.start));
    }
}

/// The code of another plugin is whole, and wrong.
#[test]
fn no_entry_is_run_that_is_anothers() {
    let (user, whole) = compiled();
    let entry = user.entry();
    install(&user.world, "other", Plugin::new("other").key("another key"));
    let strategy = |name: &str| {
        let text = format!("[strategy]\nkey = \"{name}\"{}{}", declared("mine"), declared("other"));
        user.world.config(&text);
    };
    let key = || {
        let mut command = user.command();
        let explained = Run::of(command.args(["--explain", "--json"])).json();
        explained["explanation"]["policies"][0]["answered"].as_str().unwrap().to_owned()
    };
    strategy("other");
    assert!(user.compiles());
    let others = user.entries().into_iter().find(|path| *path != entry).unwrap();
    let strange = fs::read(&others).unwrap();
    fs::write(&entry, &strange).unwrap();
    fs::write(&others, &whole).unwrap();
    assert_eq!(key(), "another key");
    strategy("mine");
    assert_eq!(key(), "the key");
    assert!(!user.compiles());
    strategy("other");
    assert!(!user.compiles());
}

#[test]
fn those_who_find_it_damaged_at_once_do_not_disturb_each_other() {
    let (user, whole) = compiled();
    let entry = user.entry();
    for damaged in [&whole[..whole.len() / 2], b""] {
        fs::write(&entry, damaged).unwrap();
        let children: Vec<_> = (0..8)
            .map(|_| user.command().stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap())
            .collect();
        for child in children {
            Run::from(child.wait_with_output().unwrap()).port();
        }
        assert_eq!(user.entry(), entry);
        assert!(!user.compiles());
    }
}

//! Policies that trap, spin, grow, flood or lie, and files that are no policies at all: each fails
//! its operation with a clear error, and nothing is written.

mod answers;
mod files;
mod fuzz;
mod powers;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::component::Plugin;
use crate::support::{Run, World};

/// One of the three decisions, and how it is provoked.
struct Policy {
    /// The key of `[strategy]`.
    strategy: &'static str,
    /// The function of the plugin.
    function: &'static str,
    /// The function as messages name it.
    called: &'static str,
    /// The command that asks the policy.
    command: &'static [&'static str],
    /// The size of what its answer is a list of.
    element: usize,
}

const KEY: Policy = Policy {
    strategy: "key",
    function: "derive",
    called: "key-derivation.derive",
    command: &["reserve", "web"],
    element: 1,
};
const SELECTION: Policy = Policy {
    strategy: "selection",
    function: "select",
    called: "port-selection.select",
    command: &["reserve", "web"],
    element: 4,
};
const CLEANUP: Policy = Policy {
    strategy: "cleanup",
    function: "review",
    called: "cleanup.review",
    command: &["cleanup"],
    element: 12,
};
const POLICIES: [&Policy; 3] = [&KEY, &SELECTION, &CLEANUP];

/// A user who has a reservation, and then lets `evil` decide.
struct Victim {
    world: World,
    directory: PathBuf,
    before: BTreeMap<PathBuf, Vec<u8>>,
}

impl Victim {
    fn new() -> Self {
        let world = World::new();
        let directory = world.dir("project");
        world.reserve(&directory, &[]);
        let before = contents(&world.state());
        Self { world, directory, before }
    }

    /// The file of `evil`, named by a path relative to the configuration.
    fn file(&self) -> PathBuf {
        let file = self.world.home().join(".config/hythe/evil.wasm");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        file
    }

    fn select(&self, policy: &Policy, more: &str) {
        let Policy { strategy, .. } = policy;
        let value = if *strategy == "cleanup" { "[\"evil\"]" } else { "\"evil\"" };
        self.world.config(&format!(
            "[strategy]\n{strategy} = {value}\n\n[plugins.evil]\npath = \"evil.wasm\"\n{more}"
        ));
    }

    fn run(&self, policy: &Policy) -> Run {
        self.world.run(&self.directory, policy.command)
    }

    /// Lets the file `evil.wasm` decide, and asserts that this fails with exit code 4, saying all
    /// of `words`, which plugin it is and what selected it. Nothing is written, neither to the
    /// ledger nor where there is none. The message.
    #[track_caller]
    fn is_spared(&self, policy: &Policy, words: &[&str]) -> String {
        self.select(policy, "");
        let stderr = self.run(policy).fails(4);
        let selected =
            format!("(selected by {}/.config/hythe/config.toml:2:", self.world.home().display());
        for word in ["error: ", "`evil", &selected].iter().chain(words) {
            assert!(stderr.contains(word), "no {word:?} in {stderr}");
        }
        assert!(stderr.len() < 4096, "{} bytes", stderr.len());
        assert!(!stderr.chars().any(|c| c.is_control() && c != '\n'), "{stderr:?}");
        assert_eq!(contents(&self.world.state()), self.before, "{stderr}");
        if policy.strategy != "cleanup" {
            let empty = self.world.root().join("nothing-yet");
            let mut command = self.world.command(&self.directory);
            let again = Run::of(command.args(policy.command).arg("--state-dir").arg(&empty));
            assert_eq!(again.fails(4), stderr);
            if empty.exists() {
                let mut command = self.world.command(&self.directory);
                let log = Run::of(command.arg("log").arg("--state-dir").arg(&empty));
                assert_eq!(log.ok(), "");
            }
        }
        stderr
    }

    /// The same for the bytes of a plugin.
    #[track_caller]
    fn survives(&self, policy: &Policy, plugin: &[u8], words: &[&str]) -> String {
        fs::write(self.file(), plugin).unwrap();
        self.is_spared(policy, words)
    }

    /// The same for a plugin that does this when it is asked.
    #[track_caller]
    fn survives_doing(&self, policy: &Policy, body: &str, words: &[&str]) -> String {
        let plugin = evil().function(policy.function, body);
        let failed = format!("policy `evil 1.0.0` failed in `{}`: ", policy.called);
        self.survives(policy, &plugin.build(), &[&[failed.as_str()], words].concat())
    }
}

/// Every file of a directory, and what is in it.
fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// A plugin that can also go down without end.
fn evil() -> Plugin {
    Plugin::new("evil").module(
        "(func $down (param i32) (result i32)
           (i32.add (call $down (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))",
    )
}

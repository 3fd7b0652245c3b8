//! The layers together, on real files.

mod authority;
mod files;
mod services;

use std::fs;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::place::{Checkout, CheckoutKind};

/// A home with a place for the user's file, and a checkout `shop` in it.
struct World {
    _temporary: TempDir,
    home: PathBuf,
    files: ConfigFiles,
    place: Place,
}

impl World {
    fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let home = temporary.path().canonicalize().unwrap();
        let root = home.join("shop");
        fs::create_dir_all(home.join("config")).unwrap();
        fs::create_dir_all(root.join("web/src")).unwrap();
        let files = ConfigFiles {
            user: Some(home.join("config/config.toml")),
            user_required: false,
            home: Some(home.clone()),
        };
        Self { _temporary: temporary, place: checkout(&root, "web/src"), home, files }
    }

    fn with(files: &[(&str, &str)]) -> Self {
        let world = Self::new();
        for (path, text) in files {
            world.write(path, text);
        }
        world
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        fs::write(self.home.join(path), text).unwrap();
    }

    fn load(&self) -> Result<Config, ConfigError> {
        Config::load(&self.files, &self.place, Overrides::default())
    }

    fn settings(&self) -> Settings {
        self.load().unwrap().settings
    }

    /// The error, its path relative to the home, and its hint on a line of its own.
    fn error(&self) -> String {
        let error = self.load().unwrap_err();
        let text = match &error.hint {
            Some(hint) => format!("{error}\n{hint}"),
            None => error.to_string(),
        };
        text.replace(&format!("{}/", self.home.display()), "")
    }

    fn shown(&self, origin: &Origin) -> String {
        origin.to_string().replace(&format!("{}/", self.home.display()), "")
    }
}

fn checkout(root: &Path, below: &str) -> Place {
    Place {
        directory: root.join(below),
        checkout: Some(Checkout {
            root: root.to_owned(),
            kind: CheckoutKind::Main,
            repository: Some(root.join(".git")),
            name: None,
            branch: None,
        }),
    }
}

const USER: &str = "config/config.toml";
const PROJECT: &str = "shop/hythe.toml";
const LOCAL: &str = "shop/hythe.local.toml";
const DIGEST: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[test]
fn without_files_everything_is_built_in() {
    let config = World::new().load().unwrap();
    let settings = config.settings();
    assert_eq!(*settings, Settings::built_in());
    assert_eq!(settings.ports.range.value.to_string(), "20000-29999");
    assert_eq!(settings.strategy.cleanup.value, ["path-sticky", "pid-reap", "ttl"]);
    assert_eq!(settings.ports.range.origin.to_string(), "built-in");
    assert_eq!(settings.project_directory, None);
}

#[test]
fn the_strongest_layer_that_says_a_value_wins() {
    let world = World::new();
    let layers = [
        (USER, "[ports]\nrange = '20000-20900'\n", "20000-20900", "config/config.toml:2:9"),
        (
            USER,
            "[ports]\nrange = '20000-20900'\n[[directory]]\n\
             match = '~/shop'\nports.range = '20000-20800'\n",
            "20000-20800",
            "config/config.toml:5:15 ([[directory]] match = \"~/shop\")",
        ),
        (PROJECT, "ports = { range = '20000-20700' }", "20000-20700", "shop/hythe.toml:1:19"),
        (LOCAL, "\n[ports]\n  range='20000-20600'", "20000-20600", "shop/hythe.local.toml:3:9"),
    ];
    for (path, text, value, origin) in layers {
        world.write(path, text);
        let range = world.settings().ports.range;
        assert_eq!((&*range.value.to_string(), &*world.shown(&range.origin)), (value, origin));
    }
    for origin in [Origin::Environment("HYTHE_RANGE"), Origin::Flag("--range")] {
        let value = "40000-40001".parse().unwrap();
        let range = Some(Set { value, origin: origin.clone() });
        let overrides = Overrides { range, ..Overrides::default() };
        let config = Config::load(&world.files, &world.place, overrides).unwrap();
        assert_eq!(config.settings().ports.range, Set { value, origin: origin.clone() });
        assert_eq!(origin.authority(), Authority::User);
    }
}

#[test]
fn overrides_reach_every_value_they_are_for() {
    let set = |value| Some(Set { value, origin: Origin::Flag("--on-conflict") });
    let overrides = Overrides {
        on_conflict: set(OnConflict::Fail),
        lock_timeout: Some(Set { value: Duration::ZERO, origin: Origin::Flag("--lock-timeout") }),
        project: Some(Set { value: "x".parse().unwrap(), origin: Origin::Flag("--project") }),
        ..Overrides::default()
    };
    let world = World::with(&[(LOCAL, "project = 'local'\nports.on_conflict = 'keep'\n")]);
    let config = Config::load(&world.files, &world.place, overrides).unwrap();
    let settings = config.settings();
    assert_eq!(settings.ports.on_conflict.value, OnConflict::Fail);
    assert_eq!(settings.lock_timeout.value, Duration::ZERO);
    assert_eq!(settings.project.as_ref().unwrap().value.as_str(), "x");
}

#[test]
fn of_several_rules_the_last_that_says_a_value_wins() {
    let world = World::with(&[(
        USER,
        "[[directory]]\nmatch = '~/shop/**'\nports.on_conflict = 'keep'\nproject = 'first'\n\
         [[directory]]\nmatch = '~/*'\nports.on_conflict = 'fail'\n\
         [[directory]]\nmatch = '~/other/**'\nports.on_conflict = 'move'\nproject = 'other'\n",
    )]);
    let settings = world.settings();
    assert_eq!(settings.ports.on_conflict.value, OnConflict::Fail);
    assert_eq!(settings.project.unwrap().value.as_str(), "first");
}

#[test]
fn lists_of_ports_add_up_and_options_merge_one_by_one() {
    let world = World::with(&[
        (
            USER,
            "[ports]\nexclude = [27017, '28000-28099']\nallow = [80]\n\
             [plugins.ttl.options]\npersistent = '30d'\ngrace = '1h'\n\
             [[directory]]\nmatch = '~/shop'\nports.allow = ['6000']\n",
        ),
        (PROJECT, "ports.exclude = [5000]\nplugins.ttl.options.grace = 2026-01-02T03:04:05Z\n"),
        (LOCAL, "[ports]\nexclude = [\n  5001,\n]\n[plugins.ttl.options.deep]\na.b = [1]\n"),
    ]);
    let settings = world.settings();
    let shown = |ranges: &[Set<crate::port::PortRange>]| {
        let shown = ranges.iter().map(|set| format!("{} {}", set.value, world.shown(&set.origin)));
        shown.collect::<Vec<_>>()
    };
    assert_eq!(
        shown(&settings.ports.exclude),
        [
            "27017 config/config.toml:2:12",
            "28000-28099 config/config.toml:2:19",
            "5000 shop/hythe.toml:1:18",
            "5001 shop/hythe.local.toml:3:3",
        ]
    );
    assert_eq!(
        shown(&settings.ports.allow),
        [
            "80 config/config.toml:3:10",
            "6000 config/config.toml:9:16 ([[directory]] match = \"~/shop\")",
        ]
    );
    let options: Vec<_> = settings.plugins["ttl"]
        .options
        .iter()
        .map(|(key, set)| format!("{key} = {} {}", set.value, world.shown(&set.origin)))
        .collect();
    assert_eq!(
        options,
        [
            "deep = {\"a\":{\"b\":[1]}} shop/hythe.local.toml:5:1",
            "grace = \"2026-01-02T03:04:05Z\" shop/hythe.toml:2:29",
            "persistent = \"30d\" config/config.toml:5:14",
        ]
    );
    assert_eq!(settings.plugins["ttl"].declaration, None);
}

#[test]
fn the_users_file_can_say_everything() {
    let world = World::with(&[(
        USER,
        "project = 'p'\n[ports]\nfreeze = '2h'\n[cleanup]\nevery = '5m'\n[ledger]\n\
         lock_timeout = '1s'\n[limits]\nfuel = 5\nmemory = '1MiB'\nmodule_size = 4096\n\
         answer_size = '1KiB'\nstack = '64KiB'\n[services.web]\nport = 3000\nscope = 'project'\n\
         lease = 'ephemeral'\nttl = '1d'\n[services.'@shop/db']\n",
    )]);
    let settings = world.settings();
    assert_eq!(settings.ports.freeze.value, Duration::from_hours(2));
    assert_eq!(settings.cleanup_every.value, Duration::from_mins(5));
    assert_eq!(settings.lock_timeout.value, Duration::from_secs(1));
    let limits = &settings.limits;
    let limits =
        [&limits.fuel, &limits.memory, &limits.module_size, &limits.answer_size, &limits.stack];
    assert_eq!(limits.map(|limit| limit.value), [5, 1 << 20, 4096, 1024, 64 << 10]);
    let web = &settings.services[&"web".parse().unwrap()];
    assert_eq!(web.port.as_ref().unwrap().value.get(), 3000);
    assert_eq!(web.scope.as_ref().unwrap().value.word(), "project");
    assert_eq!(web.lease.as_ref().unwrap().value.word(), "ephemeral");
    assert_eq!(web.ttl.as_ref().unwrap().value, Duration::from_hours(24));
    let empty = &settings.services[&"@shop/db".parse().unwrap()];
    assert_eq!(*empty, ServiceSettings::default());
}

#[test]
fn services_merge_field_by_field() {
    let world = World::with(&[
        (USER, "[services.web]\nport = 3000\nlease = 'ephemeral'\n"),
        (PROJECT, "[services.web]\nport = 4000\nscope = 'project'\n"),
    ]);
    let settings = world.settings();
    let web = &settings.services[&"web".parse().unwrap()];
    assert_eq!(web.port.as_ref().unwrap().value.get(), 4000);
    assert_eq!(web.lease.as_ref().unwrap().origin.authority(), Authority::User);
    let project = Authority::Project(world.home.join("shop"));
    assert_eq!(web.scope.as_ref().unwrap().origin.authority(), project);
}

#[test]
fn other_directories_have_what_the_user_alone_says() {
    let world = World::with(&[
        (
            USER,
            "strategy.cleanup = ['ttl']\n\
             [[directory]]\nmatch = '~/gone/**'\nstrategy.cleanup = []\n\
             [[directory]]\nmatch = '~/gone/*/tmp'\nports.on_conflict = 'fail'\n",
        ),
        (PROJECT, "strategy.cleanup = ['pid-reap']\nports.exclude = [1]\n"),
    ]);
    let config = world.load().unwrap();
    let rules = |path: &str| config.rules(&world.home.join(path));
    assert_eq!(rules("gone"), rules("gone/x/y"));
    assert_ne!(rules("gone"), rules("gone/x/tmp"));
    assert_eq!(rules("elsewhere"), RuleSet::default());

    let settings = config.user_settings(&rules("gone/x/tmp"));
    assert!(settings.strategy.cleanup.value.is_empty());
    assert_eq!(settings.ports.on_conflict.value, OnConflict::Fail);
    assert!(settings.ports.exclude.is_empty());
    let settings = config.user_settings(&rules("shop"));
    assert_eq!(settings.strategy.cleanup.value, ["ttl"]);
    assert_eq!(config.settings().strategy.cleanup.value, ["pid-reap"]);
}

#[test]
fn entries_read_back_as_the_configuration_they_show() {
    let world = World::with(&[
        (
            USER,
            "[ports]\nexclude = [1, '2-3']\n[plugins.mine]\npath = '/m.wasm'\n\
             options = { 'a b' = { x = 1 }, c = [true] }\n[services.'@shop/db']\nport = 5432\n\
             ttl = '90m'\nenv = 'DB'\noffset = 0\n[env]\nURL = 'http://{{x}}/\"{port}\"'\n",
        ),
        (PROJECT, "project = 'a \"b\"'\nports.exclude = [4]\n"),
    ]);
    let settings = world.settings();
    let entries = settings.entries();
    let lines: Vec<_> = entries.iter().map(|it| format!("{} = {}", it.name, it.value)).collect();
    assert_eq!(
        lines,
        [
            "ports.range = \"20000-29999\"",
            "ports.exclude = [1, \"2-3\", 4]",
            "ports.allow = []",
            "ports.freeze = \"1h\"",
            "ports.on_conflict = \"move\"",
            "strategy.key = \"path-sticky\"",
            "strategy.selection = \"path-sticky\"",
            "strategy.cleanup = [\"path-sticky\", \"pid-reap\", \"ttl\"]",
            "plugins.mine.path = \"/m.wasm\"",
            "plugins.mine.options.\"a b\" = { x = 1 }",
            "plugins.mine.options.c = [true]",
            "services.\"@shop/db\".port = 5432",
            "services.\"@shop/db\".ttl = \"1h 30m\"",
            "services.\"@shop/db\".env = \"DB\"",
            "services.\"@shop/db\".offset = 0",
            "env.URL = \"http://{{x}}/\\\"{port}\\\"\"",
            "project = \"a \\\"b\\\"\"",
            "cleanup.every = \"1h\"",
            "ledger.lock_timeout = \"10s\"",
            "limits.fuel = 10000000",
            "limits.memory = \"16MiB\"",
            "limits.module_size = \"4MiB\"",
            "limits.answer_size = \"1MiB\"",
            "limits.stack = \"256KiB\"",
            "limits.compile_time = \"1m\"",
        ]
    );
    let origins: Vec<_> = entries[1].origins.iter().map(|origin| world.shown(origin)).collect();
    let expected = ["config/config.toml:2:12", "config/config.toml:2:15", "shop/hythe.toml:2:18"];
    assert_eq!(origins, expected);
    assert_eq!(entries[2].origins, [&Origin::BuiltIn]);

    let again = World::with(&[(USER, &lines.join("\n"))]).settings();
    let values = |settings: &Settings| {
        let entries = settings.entries().into_iter();
        entries.map(|entry| (entry.name, entry.value)).collect::<Vec<_>>()
    };
    assert_eq!(values(&again), values(&settings));
}

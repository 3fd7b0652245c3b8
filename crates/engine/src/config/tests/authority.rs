//! What a project's files may say, and what only the user's may.

use super::*;

#[test]
fn a_project_can_narrow_the_range_and_not_widen_it() {
    let widen = "shop/hythe.toml:1:15: 19999-20100 lies outside";
    let hint = "a project can narrow the range; `ports.range` in the user's file widens it";
    let world = World::with(&[(PROJECT, "ports.range = '19999-20100'")]);
    assert_eq!(world.error(), format!("{widen} the built-in range 20000-29999\n{hint}"));

    world.write(USER, "ports.range = '20000-25000'\n");
    assert_eq!(
        world.error(),
        format!("{widen} 20000-25000, the range that config/config.toml:1:15 allows\n{hint}")
    );
    // A flag does not make the file right.
    let value = "19999-20100".parse().unwrap();
    let range = Some(Set { value, origin: Origin::Flag("--range") });
    let overrides = Overrides { range, ..Overrides::default() };
    assert!(Config::load(&world.files, &world.place, overrides).is_err());

    world.write(
        USER,
        "ports.range = '20000-25000'\n[[directory]]\nmatch='~/shop'\nports.range = '1-65535'\n",
    );
    assert_eq!(world.settings().ports.range.value.to_string(), "19999-20100");
    world.write(LOCAL, "ports.range = '20101-20200'");
    assert_eq!(world.settings().ports.range.value.to_string(), "20101-20200");
}

#[test]
fn some_things_only_the_user_may_say() {
    for path in [PROJECT, LOCAL] {
        for (text, place, key) in [
            ("[ports]\nallow = [80]", "2:1", "ports.allow"),
            ("ports.freeze = '0s'", "1:7", "ports.freeze"),
            ("[limits]\nfuel = 1", "1:2", "limits"),
            ("[ledger]\n", "1:2", "ledger"),
            ("[cleanup]\n", "1:2", "cleanup"),
            ("[[hook]]\ncommand = ['x']", "1:3", "hook"),
            ("[[directory]]\nmatch = '/**'", "1:3", "directory"),
        ] {
            assert_eq!(
                World::with(&[(path, text)]).error(),
                format!(
                    "{path}:{place}: only the user's file may say `{key}`\n\
                     `hythe config path` names the user's file"
                )
            );
        }
    }
}

#[test]
fn a_project_pins_its_plugins() {
    for path in [PROJECT, LOCAL] {
        assert_eq!(
            World::with(&[(path, "[plugins.mine]\npath = 'x.wasm'")]).error(),
            format!(
                "{path}:2:1: plugin `mine` is not pinned: `sha256` is missing\n\
                 add its `sha256`, which `sha256sum FILE` or `shasum -a 256 FILE` prints"
            )
        );
    }
    let text = format!("[plugins.mine]\nsha256 = '{DIGEST}'");
    assert_eq!(
        World::with(&[(USER, &text)]).error(),
        "config/config.toml:2:1: plugin `mine` has a `sha256` but no `path`\n\
         a file that pins a plugin says its `path` as well"
    );
}

#[test]
fn a_project_cannot_replace_a_plugin_of_the_users() {
    let declare = |name: &str| format!("[plugins.{name}]\npath = 'x.wasm'\nsha256 = '{DIGEST}'\n");
    let hint = "give the project's plugin another name";
    let other = declare("mine").replace(DIGEST, &"0".repeat(64));
    let world = World::with(&[(USER, &declare("mine")), (PROJECT, &other)]);
    assert_eq!(
        world.error(),
        format!(
            "shop/hythe.toml:2:8: plugin `mine` is already declared by \
             config/config.toml:2:8\n{hint}"
        )
    );
    // The same bytes are the same plugin, and stay the user's.
    let world = World::with(&[(USER, &declare("mine")), (PROJECT, &declare("mine"))]);
    let settings = world.settings();
    let declaration = settings.plugins["mine"].declaration.as_ref().unwrap();
    assert_eq!(declaration.origin.authority(), Authority::User);
    for name in BUNDLED {
        let world = World::with(&[(LOCAL, &declare(name))]);
        assert_eq!(
            world.error(),
            format!(
                "shop/hythe.local.toml:2:8: plugin `{name}` is bundled and only the user can \
                 replace it\n{hint}"
            )
        );
        let world = World::with(&[(USER, &declare(name))]);
        assert!(world.settings().plugins[*name].declaration.is_some());
    }
}

#[test]
fn a_rule_never_drops_a_digest() {
    let base = format!("[plugins.mine]\npath = 'a.wasm'\nsha256 = '{DIGEST}'\n");
    let rule = "[[directory]]\nmatch = '~/other'\nplugins.mine.path = 'b.wasm'\n";
    let world = World::with(&[(USER, &format!("{base}{rule}"))]);
    assert_eq!(
        world.error(),
        "config/config.toml:6:21: plugin `mine` is pinned by config/config.toml:2:8, and not pinned \
         here\nadd the `sha256` of this file"
    );
    let pinned = format!("plugins.mine.sha256 = '{DIGEST}'\n");
    assert!(World::with(&[(USER, &format!("{base}{rule}{pinned}"))]).load().is_ok());
}

#[test]
fn plugins_that_nobody_declares_are_errors() {
    for (path, text, expected) in [
        (
            PROJECT,
            "strategy.selection = 'path-stiky'",
            "1:22: plugin `path-stiky` is neither bundled nor declared here\n\
             did you mean `path-sticky`?",
        ),
        (
            USER,
            "[strategy]\ncleanup = ['ttl', 'office-hours']",
            "2:11: plugin `office-hours` is neither bundled nor declared here\n\
             the known plugins are: `path-sticky`, `pid-reap`, `ttl`",
        ),
        (
            USER,
            "[plugins.tll.options]\nx = 1",
            "1:10: plugin `tll` is neither bundled nor declared here\ndid you mean `ttl`?",
        ),
        (
            USER,
            "[[directory]]\nmatch = '~/a'\nplugins.mine.path = 'x'\n\
             [[directory]]\nmatch = '~/elsewhere'\nstrategy.key = 'mine'\n",
            "6:16: plugin `mine` is neither bundled nor declared here\n\
             the known plugins are: `path-sticky`, `pid-reap`, `ttl`",
        ),
    ] {
        assert_eq!(World::with(&[(path, text)]).error(), format!("{path}:{expected}"));
    }
}

#[test]
fn whose_word_a_strategy_is_can_be_told() {
    let world = World::with(&[
        (USER, "strategy.key = 'ours'\nplugins.ours.path = 'ours.wasm'\n"),
        (
            PROJECT,
            &format!(
                "[plugins.theirs]\npath = 'theirs.wasm'\nsha256 = '{DIGEST}'\n\
                 [strategy]\nselection = 'theirs'\n"
            ),
        ),
        (LOCAL, "strategy.cleanup = ['theirs', 'ours', 'ttl']\n"),
    ]);
    let settings = world.settings();
    let project = Authority::Project(world.home.join("shop"));
    assert_eq!(settings.strategy.key.origin.authority(), Authority::User);
    assert_eq!(settings.strategy.selection.origin.authority(), project);
    assert_eq!(settings.strategy.cleanup.origin.authority(), project);
    let authority = |name: &str| {
        settings.plugins[name].declaration.as_ref().map(|it| it.origin.authority()).unwrap()
    };
    assert_eq!([authority("ours"), authority("theirs")], [Authority::User, project]);
}

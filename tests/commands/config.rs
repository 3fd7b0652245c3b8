//! `hythe config get` and `config set`: one setting.

use std::fs;

use serde_json::json;

use crate::support::World;

#[test]
fn a_setting_is_printed_as_it_holds_here() {
    let world = World::new();
    let shop = world.repository("shop");
    let get = |key: &str| world.run(&shop, ["config", "get", key]).ok();
    assert_eq!(get("ports.range"), "20000-29999\n", "a word without quotes");
    assert_eq!(get("ports.exclude"), "[]\n");
    assert_eq!(get("limits.fuel"), "10000000\n");
    assert_eq!(get("strategy.cleanup"), "[\"path-sticky\", \"pid-reap\", \"ttl\"]\n");
    let text = "project = \"a\\u001bb\"\n[services.\"@shop/web\"]\nport = 21000\n";
    fs::write(shop.join("hythe.toml"), text.replace("\\u001b", " ")).unwrap();
    assert_eq!(get("project"), "a b\n");
    assert_eq!(get("services.\"@shop/web\".port"), "21000\n");
    let document = world.run(&shop, ["config", "get", "ports.range", "--json"]).json();
    assert_eq!(
        document,
        json!({
            "version": 1, "name": "ports.range", "value": "\"20000-29999\"",
            "origins": ["built-in"],
        })
    );
    for unset in ["services.api.port", "services.'@shop/web'.ttl", "plugins.ttl.options.x"] {
        let error = world.run(&shop, ["config", "get", unset]).fails(7);
        assert!(error.contains("is not set here"), "{error}");
        assert!(error.contains("hint: hythe config set "), "{error}");
    }
    for (unknown, told) in [
        ("ports.rnage", "unknown key `rnage` in [ports]; did you mean `range`?"),
        ("prots.range", "unknown key `prots`; did you mean `ports`?"),
        ("services.web.prt", "did you mean `port`?"),
        ("ports range", "expected a dotted key such as `ports.range`"),
    ] {
        let error = world.run(&shop, ["config", "get", unknown]).fails(2);
        assert!(error.contains(told), "{error}");
    }
    assert!(!world.state().exists());
}

#[test]
fn a_setting_is_written_and_the_rest_of_the_file_stays() {
    let world = World::new();
    let shop = world.dir("shop");
    let config = world.config("# mine\n\n[ports] # all of them\nrange = '20000-20999' # few\n");
    let set = |arguments: &[&str]| world.run(&shop, [&["config", "set"], arguments].concat());
    let run = set(&["ports.range", "21000-21999"]).exits(0);
    assert_eq!(run.stdout(), format!("changed ports.range in {}\n", config.display()));
    let changed = "# mine\n\n[ports] # all of them\nrange = '21000-21999' # few\n";
    assert_eq!(fs::read_to_string(&config).unwrap(), changed);
    let again = set(&["ports.range", "21000-21999"]).exits(0);
    assert_eq!(again.stdout(), "");
    assert!(again.stderr().contains("is as it should be"), "{}", again.stderr());

    let dry = set(&["ports.freeze", "2h", "--dry-run"]).ok();
    assert_eq!(dry, format!("would change ports.freeze in {}\n", config.display()));
    assert_eq!(fs::read_to_string(&config).unwrap(), changed);

    for (key, value) in [
        ("ports.freeze", "2h"),
        ("ports.exclude", "[27017, \"28000-28099\"]"),
        ("ports.on_conflict", "keep"),
        ("strategy.cleanup", "[\"ttl\"]"),
        ("services.web.port", "3000"),
        ("services.\"@shop/web\".ttl", "30d"),
        ("plugins.ttl.options.persistent", "14d"),
        ("limits.memory", "32MiB"),
        ("cleanup.every", "\"1h\""),
        ("project", "shop"),
    ] {
        let document = set(&[key, value, "--json"]).json();
        assert_eq!(document["changes"], json!([key]), "{key}");
        let got = world.run(&shop, ["config", "get", key]).ok();
        let plain = value.trim_matches('"');
        // Durations are written in full when they are shown.
        let shown = [plain.to_owned(), plain.replace('d', "days")];
        assert!(shown.contains(&got.trim_end().to_owned()), "{key}: {got}");
    }
    let text = fs::read_to_string(&config).unwrap();
    assert!(text.starts_with("# mine\n"), "{text}");
    assert!(text.contains("[ports] # all of them\n"), "{text}");
    assert!(text.contains("\n[services.\"@shop/web\"]\nttl = \"30d\"\n"), "{text}");
    world.run(&shop, ["config", "check"]).ok();

    set(&["ports.range", "--unset"]).ok();
    assert_eq!(world.run(&shop, ["config", "get", "ports.range"]).ok(), "20000-29999\n");
    set(&["services.web.port", "--unset"]).ok();
    assert!(!fs::read_to_string(&config).unwrap().contains("services.web"));
    let error = set(&["services.web.port", "--unset"]).fails(7);
    assert!(error.contains("`services.web.port` is not set in this file"), "{error}");
}

#[test]
fn what_would_be_no_configuration_is_not_written() {
    let world = World::new();
    let shop = world.repository("shop");
    let set = |arguments: &[&str]| world.run(&shop, [&["config", "set"], arguments].concat());
    for (arguments, code, told) in [
        (&["ports.range", "20000"][..], 3, "nothing was changed, because then"),
        (&["ports.on_conflict", "explode"], 3, "expected keep or move or fail"),
        (&["ports", "x"], 3, "expected a table"),
        (&["limits.fuel", "1", "--project"], 3, "only the user's file may say `limits`"),
        (&["ports.range", "1-65535", "--project"], 3, "nothing was changed"),
        (&["ports.rnage", "1-2"], 2, "did you mean `range`?"),
        (&["ports.exclude", "[1,"], 2, "is no TOML value"),
        (&["plugins.ttl.options.x", "{ a = 1 }"], 2, "a table is not written here"),
        (&["ports.range"], 2, "<VALUE>"),
        (&["ports.range", "1-2", "--unset"], 2, "cannot be used with"),
        (&["ports.range", "--unset"], 7, "is not set in this file"),
    ] {
        let error = set(arguments).fails(code);
        assert!(error.contains(told), "{arguments:?}: {error}");
    }
    assert!(!world.home().join(".config").exists());
    assert!(!shop.join("hythe.toml").exists());

    set(&["ports.range", "22000-22099", "--project"]).ok();
    let written = fs::read_to_string(shop.join("hythe.toml")).unwrap();
    assert_eq!(written, "[ports]\nrange = \"22000-22099\"\n");
    set(&["project", "ours", "--local"]).ok();
    let written = fs::read_to_string(shop.join("hythe.local.toml")).unwrap();
    assert_eq!(written, "project = \"ours\"\n");
    assert_eq!(world.run(&shop, ["config", "get", "project"]).ok(), "ours\n");
}

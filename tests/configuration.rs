//! Configuration in layers, each value with its origin; mistakes with file, line and column.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::listener::Harbour;
use crate::support::{Run, World};

/// The line of `config show --origin` about a setting.
#[track_caller]
fn shown(world: &World, directory: &Path, environment: &[(&str, &str)], name: &str) -> String {
    let mut command = world.command(directory);
    command.args(["config", "show", "--origin"]).envs(environment.iter().copied());
    let text = Run::of(&mut command).ok();
    let line = text.lines().find(|line| line.starts_with(&format!("{name} = ")));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
}

#[test]
fn the_strongest_layer_wins_and_says_where_it_is() {
    let world = World::new();
    let shop = world.dir("shop");
    let name = "ports.on_conflict";
    let line = |environment: &[(&str, &str)]| shown(&world, &shop, environment, name);
    assert_eq!(line(&[]), "ports.on_conflict = \"move\"  # built-in");

    let user = world.config("[ports]\non_conflict = \"keep\"\n");
    let expected = format!("{name} = \"keep\"  # {}:2:15", user.display());
    assert_eq!(line(&[]), expected);

    let pattern = format!("{}/**", shop.display());
    world.config(&format!(
        "ports.on_conflict = \"keep\"\n[[directory]]\nmatch = \"{pattern}\"\n\
         ports.on_conflict = \"fail\"\n"
    ));
    let expected =
        format!("{name} = \"fail\"  # {}:4:21 ([[directory]] match = {pattern:?})", user.display());
    assert_eq!(line(&[]), expected);

    let project = shop.join("hythe.toml");
    fs::write(&project, "ports.on_conflict = \"move\"\n").unwrap();
    assert_eq!(line(&[]), format!("{name} = \"move\"  # {}:1:21", project.display()));
    let local = shop.join("hythe.local.toml");
    fs::write(&local, "\n\nports = { on_conflict = \"keep\" }\n").unwrap();
    assert_eq!(line(&[]), format!("{name} = \"keep\"  # {}:3:25", local.display()));
    let environment = [("HYTHE_ON_CONFLICT", "fail")];
    assert_eq!(line(&environment), format!("{name} = \"fail\"  # HYTHE_ON_CONFLICT"));
}

#[test]
fn flags_are_stronger_than_the_environment() {
    let world = World::new();
    let shop = world.dir("shop");
    let mut command = world.command(&shop);
    command.args(["config", "show", "--origin", "--lock-timeout", "3s"]);
    let text = Run::of(command.env("HYTHE_LOCK_TIMEOUT", "2s")).ok();
    assert!(text.contains("ledger.lock_timeout = \"3s\"  # --lock-timeout\n"), "{text}");
    let timeout = shown(&world, &shop, &[("HYTHE_LOCK_TIMEOUT", "2s")], "ledger.lock_timeout");
    assert_eq!(timeout, "ledger.lock_timeout = \"2s\"  # HYTHE_LOCK_TIMEOUT");
    let range = shown(&world, &shop, &[("HYTHE_RANGE", "21000-21009")], "ports.range");
    assert_eq!(range, "ports.range = \"21000-21009\"  # HYTHE_RANGE");
    let range = shown(&world, &shop, &[("HYTHE_RANGE", "")], "ports.range");
    assert_eq!(range, "ports.range = \"20000-29999\"  # built-in", "nothing is not a value");
    let project = shown(&world, &shop, &[("HYTHE_PROJECT", "p")], "project");
    assert_eq!(project, "project = \"p\"  # HYTHE_PROJECT");
}

#[test]
fn lists_of_ports_add_up() {
    let world = World::new();
    let shop = world.dir("shop");
    let user = world.config("[ports]\nexclude = [27017, \"28000-28099\"]\n");
    let project = shop.join("hythe.toml");
    fs::write(&project, "ports.exclude = [3306]\n").unwrap();
    let (user, project) = (user.display(), project.display());
    assert_eq!(
        shown(&world, &shop, &[], "ports.exclude"),
        format!(
            "ports.exclude = [27017, \"28000-28099\", 3306]  # {user}:2:12, {user}:2:19, \
             {project}:1:18"
        )
    );
}

#[test]
fn what_is_shown_is_configuration_again() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    world.configure(
        "exclude = [10000]\nfreeze = \"90s\"\n[services.\"@shop/web\"]\nport = 3000\nttl = \"1h\"\n\
         scope = \"project\"\nlease = \"ephemeral\"\n[plugins.ttl.options]\npersistent = \"9d\"\n",
    );
    let shown = world.run(&shop, ["config", "show"]).ok();
    assert!(shown.contains("services.\"@shop/web\".port = 3000\n"), "{shown}");
    world.config(&shown);
    assert_eq!(world.run(&shop, ["config", "show"]).ok(), shown);
}

#[test]
fn mistakes_are_found_where_they_are() {
    let world = World::new();
    let shop = world.dir("shop");
    for (text, told, hint) in [
        (
            "[ports]\nrnage = \"1-2\"\n",
            "2:1: unknown key `rnage` in [ports]",
            "did you mean `range`?",
        ),
        ("prots = 1\n", "1:1: unknown key `prots`", "did you mean `ports`?"),
        ("[ports]\nrange = 20000\n", "2:9: expected a port range", ""),
        ("[ports]\nrange = \"9-1\"\n", "2:9: `9-1` is not a port range", ""),
        ("[ports]\nfreeze = 30\n", "2:10: expected a duration, found an integer", "\"30s\""),
        ("[ports]\nexclude = [1, true]\n", "2:15: expected a port", ""),
        (
            "[strategy]\nkey = \"path-stick\"\n",
            "2:7: plugin `path-stick` is neither bundled nor",
            "did you mean `path-sticky`?",
        ),
        (
            "[[directory]]\nports.freeze = \"1h\"\n",
            "1:1: this [[directory]] rule says no `match`",
            "",
        ),
        ("[services.8080]\nport = 1\n", "1:11: \"8080\" is not a service", ""),
        ("[ports\n", "1:7: ", ""),
        ("a = 1\na = 2\n", "2:1: duplicate key", ""),
    ] {
        let file = world.config(text);
        for arguments in [&["reserve"][..], &["config", "check"], &["config", "show"], &["get"]] {
            let error = world.run(&shop, arguments).fails(3);
            let expected = format!("error: {}:{told}", file.display());
            assert!(error.starts_with(&expected), "{error}\nexpected: {expected}");
            assert!(error.contains(hint), "{error}");
        }
        let error = world.run(&shop, ["reserve", "--json"]).fails(3);
        let details = &serde_json::from_str::<Value>(&error).unwrap()["error"]["details"];
        let (line, rest) = told.split_once(':').unwrap();
        assert_eq!(details["path"].as_str(), file.to_str());
        assert_eq!(details["line"].to_string(), line);
        assert_eq!(details["column"].to_string(), rest.split(':').next().unwrap());
    }
    assert!(!world.state().exists());
}

#[test]
fn a_project_narrows_and_never_widens() {
    let world = World::new();
    let shop = world.dir("shop");
    world.config("[ports]\nrange = \"21000-21999\"\n");
    let project = shop.join("hythe.toml");
    let at = |place: &str| format!("error: {}:{place}", project.display());
    for (text, told) in [
        ("ports.range = \"20000-21500\"\n", "1:15: 20000-21500 lies outside"),
        ("ports.allow = [6000]\n", "1:7: only the user's file may say `ports.allow`"),
        ("ports.freeze = \"0s\"\n", "1:7: only the user's file may say `ports.freeze`"),
        ("limits.fuel = 1\n", "1:1: only the user's file may say `limits`"),
        ("ledger.lock_timeout = \"1s\"\n", "1:1: only the user's file may say `ledger`"),
        ("cleanup.every = \"0s\"\n", "1:1: only the user's file may say `cleanup`"),
        ("[[directory]]\nmatch = \"**\"\n", "1:3: only the user's file may say `directory`"),
        ("[plugins.p]\npath = \"p.wasm\"\n", "2:1: plugin `p` is not pinned"),
        ("[plugins.ttl]\npath = \"p.wasm\"\n", "2:1: plugin `ttl` is not pinned"),
    ] {
        fs::write(&project, text).unwrap();
        let error = world.run(&shop, ["reserve"]).fails(3);
        assert!(error.starts_with(&at(told)), "{error}\nexpected: {}", at(told));
    }
    fs::write(&project, "ports.range = \"21100-21109\"\n").unwrap();
    assert!((21100..=21109).contains(&world.reserve(&shop, &["--dry-run"])));
}

#[test]
fn directories_have_strategies_by_pattern() {
    let world = Harbour::new();
    let (special, usual) = (world.port(30), world.port(31));
    let rest = format!("{}-{}", world.port(0), world.port(5));
    world.config(&format!(
        "[ports]\nrange = \"{rest}\"\n\
         [[directory]]\nmatch = \"~/work/payments-*/**\"\nports.range = \"{special}-{special}\"\n\
         strategy.cleanup = []\n\
         [[directory]]\nmatch = \"~/work/payments-eu\"\nports.range = \"{usual}-{usual}\"\n"
    ));
    let dry = |directory: &str| {
        world.reserve(&world.dir(Path::new("home/work").join(directory)), &["--dry-run"])
    };
    assert_eq!(dry("payments-us"), special);
    assert_eq!(dry("payments-us/api"), special, "everything below matches");
    assert_eq!(dry("payments-eu"), usual, "the last rule that matches wins");
    assert_eq!(dry("payments-eu/api"), special);
    assert!((world.port(0)..=world.port(5)).contains(&dry("shop")));
    let here = world.dir("home/work/payments-us");
    let origin = shown(&world, &here, &[], "strategy.cleanup");
    assert!(origin.starts_with("strategy.cleanup = []  # "), "{origin}");
    assert!(origin.ends_with("([[directory]] match = \"~/work/payments-*/**\")"), "{origin}");
}

#[test]
fn the_nearest_project_file_counts() {
    let world = World::new();
    let shop = world.repository("shop");
    let package = world.dir("shop/packages/web");
    fs::write(world.root().join("hythe.toml"), "project = \"outside\"\n").unwrap();
    let project = |directory: &Path| {
        let shown = world.run(directory, ["config", "show"]).ok();
        let line = shown.lines().find(|line| line.starts_with("project = "));
        line.map(str::to_owned)
    };
    assert_eq!(project(&package), None, "nothing outside the checkout counts");
    fs::write(shop.join("hythe.toml"), "project = \"whole\"\n").unwrap();
    assert_eq!(project(&package).unwrap(), "project = \"whole\"");
    fs::write(package.join("hythe.local.toml"), "project = \"part\"\n").unwrap();
    assert_eq!(project(&package).unwrap(), "project = \"part\"");
    assert_eq!(project(&world.dir("elsewhere")).unwrap(), "project = \"outside\"");
}

#[test]
fn relative_paths_start_from_the_file_that_says_them() {
    let world = World::new();
    let shop = world.dir("shop/deep");
    let user = world.config(
        "[plugins.mine]\npath = \"policies/mine.wasm\"\n[plugins.home]\npath = \"~/home.wasm\"\n",
    );
    let digest = "0".repeat(64);
    let project = world.root().join("shop/hythe.toml");
    fs::write(
        &project,
        format!("[plugins.ours]\npath = \"../ours.wasm\"\nsha256 = \"{digest}\"\n"),
    )
    .unwrap();
    let list = world.run(&shop, ["plugin", "list", "--json"]).json();
    let source = |name: &str| {
        let plugins = list["plugins"].as_array().unwrap();
        let plugin = plugins.iter().find(|plugin| plugin["name"] == name).unwrap();
        plugin["source"].as_str().unwrap().to_owned()
    };
    let text = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    assert_eq!(source("mine"), text(user.with_file_name("policies/mine.wasm")));
    assert_eq!(source("home"), text(world.home().join("home.wasm")));
    assert_eq!(source("ours"), text(world.root().join("shop/../ours.wasm")));
    assert_eq!(source("ttl"), "bundled");
}

#[test]
fn checking_finds_what_only_loading_can_tell() {
    let world = World::new();
    let shop = world.dir("shop");
    let run = world.run(&shop, ["config", "check"]).exits(0);
    assert_eq!(
        (run.stdout(), run.stderr().trim()),
        (String::new(), "the configuration is in order")
    );
    let document = world.run(&shop, ["config", "check", "--json"]).json();
    assert_eq!(document["ok"], true);

    let file = world.config("[plugins.ttl.options]\npersistant = \"1d\"\n");
    let error = world.run(&shop, ["config", "check"]).fails(3);
    assert!(error.contains(&format!("{}:2:14", file.display())), "{error}");
    assert!(error.contains("persistant"), "{error}");
    world.config("[plugins.ttl.options]\npersistent = \"soon\"\n");
    let error = world.run(&shop, ["config", "check"]).fails(3);
    assert!(error.contains("soon"), "{error}");

    fs::write(world.home().join("broken.wasm"), "nonsense").unwrap();
    world.config("[plugins.mine]\npath = \"~/broken.wasm\"\n");
    let error = world.run(&shop, ["config", "check"]).fails(4);
    assert!(error.contains("plugin `mine`") || error.contains("`mine`"), "{error}");
    let error = world.run(&shop, ["config", "check", "--json"]).fails(4);
    let document: Value = serde_json::from_str(error.lines().last().unwrap()).unwrap();
    assert_eq!(document["error"]["details"]["plugin"], "mine");
}

#[test]
fn the_files_can_be_found() {
    let world = World::new();
    let shop = world.dir("shop");
    let user = world.config("");
    let text = world.run(&shop, ["config", "path"]).ok();
    let expected = [
        format!("user     {}", user.display()),
        format!("project  {} (missing)", shop.join("hythe.toml").display()),
        format!("local    {} (missing)", shop.join("hythe.local.toml").display()),
        format!("ledger   {}", world.ledger().display()),
        format!("cache    {}", world.cache().display()),
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    fs::write(shop.join("hythe.toml"), "").unwrap();
    let document = world.run(&shop, ["config", "path", "--json"]).json();
    let files = document["files"].as_array().unwrap();
    let exists: Vec<_> = files.iter().map(|file| file["exists"].as_bool().unwrap()).collect();
    assert_eq!(exists, [true, true, false]);
    assert_eq!(document["ledger"].as_str(), world.ledger().to_str());
}

#[test]
fn everything_can_be_put_elsewhere() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let (config, state) = (world.dir("c"), world.dir("s"));
    fs::create_dir(config.join("hythe")).unwrap();
    let range = format!("{0}-{0}", world.port(9));
    fs::write(config.join("hythe/config.toml"), format!("ports.range = \"{range}\"\n")).unwrap();
    let mut command = world.command(&shop);
    command.arg("reserve").env("XDG_CONFIG_HOME", &config).env("XDG_STATE_HOME", &state);
    assert_eq!(Run::of(&mut command).port(), world.port(9));
    assert!(state.join("hythe/ledger.db").exists());

    // A relative value means nothing (XDG base directory specification).
    let mut command = world.command(&shop);
    command.args(["config", "path"]).env("XDG_CONFIG_HOME", "c").env("XDG_STATE_HOME", "s");
    let text = Run::of(&mut command).ok();
    assert!(text.contains(world.ledger().to_str().unwrap()), "{text}");

    for (name, flag) in [("HYTHE_STATE_DIR", "--state-dir"), ("HYTHE_CONFIG", "--config")] {
        let path = if name == "HYTHE_CONFIG" { "../c/hythe/config.toml" } else { "../s/elsewhere" };
        let mut command = world.command(&shop);
        let by_variable = Run::of(command.args(["config", "path"]).env(name, path)).ok();
        assert!(by_variable.contains(path.trim_start_matches("..")), "{by_variable}");
        assert_eq!(world.run(&shop, ["config", "path", flag, path]).ok(), by_variable);
        let mut command = world.command(&shop);
        command.args(["config", "path", flag, path]).env(name, "../c/no/such/place");
        assert_eq!(Run::of(&mut command).ok(), by_variable, "a flag is stronger");
    }
    let mut command = world.command(&shop);
    let error = Run::of(command.arg("reserve").env("HYTHE_CONFIG", "missing.toml")).fails(3);
    assert!(error.contains("missing.toml: there is no such file"), "{error}");
}

#[test]
fn services_are_configured() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let port = world.port(4);
    fs::write(
        shop.join("hythe.toml"),
        format!("[services.web]\nport = {port}\nttl = \"2h\"\nlease = \"ephemeral\"\n"),
    )
    .unwrap();
    let document = world.run(&shop, ["reserve", "web", "--json"]).json();
    let reservation = &document["reservation"];
    assert_eq!(document["port"], port);
    assert_eq!(reservation["lease"], "ephemeral");
    assert_eq!(reservation["owner"]["pid"], std::process::id());
    assert!(reservation["expires_at"].is_string());
    let lease = ["reserve", "web", "--json", "--lease", "persistent"];
    let document = world.run(&shop, lease).json();
    assert_eq!(document["reservation"]["lease"], "persistent", "a flag is stronger");
    assert_eq!(document["reservation"]["owner"], Value::Null);
}

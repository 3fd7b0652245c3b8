//! `hythe init`: files to begin with, which are right as they are.

use std::fs;

use serde_json::json;

use crate::support::World;

#[test]
fn a_project_file_is_right_and_says_what_was_asked_for() {
    let world = World::new();
    let shop = world.repository("shop");
    let arguments =
        ["init", "--project", "shöp", "--service", "web=3000", "--service", "@shop/api"];
    let dry = world.run(&shop, [&arguments[..], &["--dry-run"]].concat()).ok();
    assert!(!shop.join("hythe.toml").exists() && !world.state().exists());
    let wrote = world.run(&shop, arguments).ok();
    let file = shop.join("hythe.toml");
    assert_eq!(wrote, format!("wrote {}\n", file.display()));
    assert_eq!(fs::read_to_string(&file).unwrap(), dry);
    assert!(dry.contains("project = \"shöp\"\n"), "{dry}");
    assert!(dry.contains("\n[services.web]\nport = 3000\n"), "{dry}");
    assert!(dry.contains("\n[services.\"@shop/api\"]\n"), "{dry}");
    world.run(&shop, ["config", "check"]).ok();
    world.run(&shop, ["reserve", "web", "@shop/api"]).ok();
    let settings = world.run(&shop, ["config", "show"]).ok();
    assert!(settings.contains("services.web.port = 3000\n"), "{settings}");
}

#[test]
fn what_is_commented_out_is_right_as_well() {
    let world = World::new();
    let shop = world.dir("shop");
    for (arguments, file) in [
        (&["init", "--dry-run"][..], shop.join("hythe.toml")),
        (&["init", "--user", "--dry-run"], world.home().join(".config/hythe/config.toml")),
    ] {
        let text = world.run(&shop, arguments).ok();
        // A line that says a setting says it after a `#` and a blank.
        let said = text.lines().filter_map(|line| {
            let plain = line.strip_prefix("# ").unwrap_or(line);
            let is_setting = plain.split_once(" = ").is_some_and(|(name, _)| !name.contains(' '));
            (plain.starts_with('[') || is_setting).then_some(plain)
        });
        let said = said.collect::<Vec<_>>().join("\n");
        assert!(said.lines().count() > 8, "{said}");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, said).unwrap();
        world.run(&shop, ["config", "check"]).ok();
        fs::remove_file(file).unwrap();
    }
}

#[test]
fn the_users_file_changes_nothing_by_itself() {
    let world = World::new();
    let shop = world.dir("shop");
    let before = world.run(&shop, ["config", "show"]).ok();
    let document = world.run(&shop, ["init", "--user", "--json"]).json();
    let file = world.home().join(".config/hythe/config.toml");
    assert_eq!(document["file"], file.to_str().unwrap());
    assert_eq!(document["text"], fs::read_to_string(&file).unwrap());
    assert_eq!(
        world.run(&shop, ["config", "show", "--origin"]).ok().lines().count(),
        before.lines().count()
    );
    assert_eq!(world.run(&shop, ["config", "show"]).ok(), before);
    world.run(&shop, ["init", "--user"]).fails(8);
    let named = world.root().join("new/named.toml");
    world.run(&shop, ["init", "--user", "--config", named.to_str().unwrap()]).ok();
    assert!(named.exists());
}

#[test]
fn what_is_there_stays_unless_forced() {
    let world = World::new();
    let shop = world.dir("shop");
    let file = shop.join("hythe.toml");
    fs::write(&file, "project = 'old'\n").unwrap();
    for arguments in [&["init"][..], &["init", "--dry-run"]] {
        let stderr = world.run(&shop, arguments).fails(8);
        assert!(stderr.contains("is there already") && stderr.contains("hint:"), "{stderr}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "project = 'old'\n");
    }
    world.run(&shop, ["init", "--force", "--project", "new"]).ok();
    assert!(fs::read_to_string(&file).unwrap().contains("project = \"new\"\n"));
    // A link of whoever made the checkout leads to nothing that is written over.
    let victim = world.root().join("victim");
    fs::write(&victim, "precious").unwrap();
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(&victim, &file).unwrap();
    for arguments in [&["init"][..], &["init", "--force"]] {
        // What the link leads to is no configuration, or it is refused to follow it.
        let run = world.run(&shop, arguments);
        let stderr = run.stderr();
        run.fails(3);
        assert!(!stderr.contains("wrote"), "{stderr}");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    }
    fs::write(&victim, "").unwrap();
    world.run(&shop, ["init"]).fails(8);
    world.run(&shop, ["init", "--force"]).fails(8);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "");
}

#[test]
fn wrong_arguments_are_refused() {
    let world = World::new();
    let shop = world.dir("shop");
    for arguments in [
        &["--service", "web=0"][..],
        &["--service", "web=http"],
        &["--service", "=3000"],
        &["--service", "3000"],
        &["--service", "a", "--service", "a=1"],
        &["--user", "--project", "x"],
        &["--user", "--service", "x"],
        &["here"],
    ] {
        world.run(&shop, [&["init"], arguments].concat()).fails(2);
    }
    assert!(!shop.join("hythe.toml").exists());
}

#[test]
fn services_are_found_in_a_procfile() {
    let world = World::new();
    let shop = world.repository("shop");
    let procfile = "# all\nweb: bundle exec rails s -p $PORT\nworker: rake\n\nrelease: migrate\n\
        web: again\nno colon\na b: c\n$(x): y\nempty:\n";
    fs::write(shop.join("Procfile"), procfile).unwrap();
    let found = world.run(&shop, ["init", "--dry-run", "--json"]).json();
    assert_eq!(found["services"], json!(["web", "worker"]));
    let run = world.run(&shop, ["init"]).exits(0);
    assert!(run.stderr().contains("Procfile names the services web, worker"), "{}", run.stderr());
    world.run(&shop, ["config", "check"]).ok();
    let named = ["init", "--service", "api", "--force", "--json"];
    assert_eq!(world.run(&shop, named).json()["services"], json!(["api"]));
}

#[test]
fn a_file_above_is_hidden_and_that_is_said() {
    let world = World::new();
    let shop = world.repository("shop");
    world.run(&shop, ["init"]).ok();
    let web = world.dir("shop/web");
    let run = world.run(&web, ["init", "--service", "web"]).exits(0);
    let above = shop.join("hythe.toml");
    assert!(run.stderr().contains(&format!("{} is not read", above.display())), "{}", run.stderr());
    assert!(web.join("hythe.toml").exists());
}

//! Finding and reading files, and what is said about wrong ones.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use super::*;

#[test]
fn unknown_keys_are_errors_with_a_place_and_a_suggestion() {
    for (path, text, expected) in [
        (
            USER,
            "[ports]\n  rnage = '1-2'\n",
            "config/config.toml:2:3: unknown key `rnage` in [ports]\ndid you mean `range`?",
        ),
        (PROJECT, "prots = 1", "shop/hythe.toml:1:1: unknown key `prots`\ndid you mean `ports`?"),
        (
            LOCAL,
            "[services.web]\nport = 1\nsocpe = 'x'",
            "shop/hythe.local.toml:3:1: unknown key `socpe` in [services.web]\n\
             did you mean `scope`?",
        ),
        (
            USER,
            "[strategy]\npolicy = 'x'",
            "config/config.toml:2:1: unknown key `policy` in [strategy]\n\
             the keys of [strategy] are: `key`, `selection`, `cleanup`",
        ),
        (
            USER,
            "[[directory]]\nmatch = 'x'\nlimits.fuel = 1\n",
            "config/config.toml:3:1: unknown key `limits` in [[directory]]\n\
             the keys of [[directory]] are: `match`, `project`, `ports`, `strategy`, `plugins`, \
             `services`, `env`",
        ),
        (
            USER,
            "[[directory]]\nmatch = 'x'\n[directory.ports]\nfreze = '1s'\n",
            "config/config.toml:4:1: unknown key `freze` in [directory.ports]\n\
             did you mean `freeze`?",
        ),
        (
            USER,
            "[plugins.ttl]\noption = {}\n",
            "config/config.toml:2:1: unknown key `option` in [plugins.ttl]\n\
             did you mean `options`?",
        ),
    ] {
        assert_eq!(World::with(&[(path, text)]).error(), expected);
    }
}

#[test]
fn wrong_values_are_errors_with_a_place() {
    for (text, expected) in [
        ("ports = 1", "1:9: expected a table, found an integer"),
        ("[ports]\nexclude = 5", "2:11: expected an array, found an integer"),
        (
            "[ports]\nexclude = [1,\n 'x']",
            "3:2: `x` is not a port range: expected `FIRST-LAST`, such as `20000-29999`",
        ),
        (
            "[ports]\nrange = '9-8'",
            "2:9: `9-8` is not a port range: the first port is above the last",
        ),
        (
            "[ports]\non_conflict = 'stay'",
            "2:15: \"stay\" is not a conflict rule: expected keep or move or fail",
        ),
        (
            "[services.8080]\n",
            "1:11: \"8080\" is not a service: a number would be taken for a port",
        ),
        ("[services.web]\nport = '3000'", "2:8: expected a port from 1 to 65535, found a string"),
        ("project = ''", "1:11: \"\" is not a name: expected 1 to 255 bytes"),
        ("a = 1\na = 2", "2:1: duplicate key"),
        (
            "[ports]\nfreeze = 3600",
            "2:10: expected a duration, found an integer\n\
             write it with its unit, such as \"3600s\" for seconds",
        ),
        (
            "[directory]\nmatch = 'x'",
            "1:1: expected an array of tables, found a table\nwrite `[[directory]]`",
        ),
        (
            "\n[[directory]]\n",
            "2:1: this [[directory]] rule says no `match`\n\
             say which directories it is about, such as `match = \"~/work/**\"`",
        ),
        (
            "[[directory]]\nmatch = '~/[x'",
            "2:9: `~/[x` is not a pattern: unclosed character class; missing ']'",
        ),
        (
            "[plugins.'Team Blocks']\npath = 'x'",
            "1:10: `Team Blocks` cannot be the name of a plugin\n\
             a name is 1 to 64 lower-case letters, digits and `-`",
        ),
        (
            "[plugins.x]\nsha256 = 'ba78'\npath = 'x'",
            "2:10: not a SHA-256 digest: expected 64 hexadecimal digits\n\
             `sha256sum FILE` or `shasum -a 256 FILE` prints the digest of a file",
        ),
        ("[plugins.x]\npath = ''", "2:8: a path cannot be empty"),
        (
            "[limits]\nmemory = '16MB'",
            "2:10: `16MB` is not a size\n\
             write a number of bytes, or a number with KiB, MiB or GiB, such as \"16MiB\"",
        ),
    ] {
        let expected = format!("{USER}:{expected}");
        assert_eq!(World::with(&[(USER, text)]).error(), expected, "{text}");
    }
}

#[test]
fn paths_begin_where_the_file_is() {
    let text = format!("[plugins.a]\npath = 'p/a.wasm'\nsha256 = '{DIGEST}'\n");
    let world = World::with(&[
        (
            USER,
            "plugins.b.path = '../b.wasm'\nplugins.c.path = '~/c.wasm'\nplugins.d.path = '/d.wasm'\n\
             [[directory]]\nmatch = '~/shop'\nplugins.e.path = 'e.wasm'\n",
        ),
        (PROJECT, &text),
    ]);
    let settings = world.settings();
    let path = |name: &str| settings.plugins[name].declaration.as_ref().unwrap().path.clone();
    assert_eq!(path("a"), world.home.join("shop/p/a.wasm"));
    assert_eq!(path("b"), world.home.join("config/../b.wasm"));
    assert_eq!(path("c"), world.home.join("c.wasm"));
    assert_eq!(path("d"), Path::new("/d.wasm"));
    assert_eq!(path("e"), world.home.join("config/e.wasm"));
    let digest = settings.plugins["a"].declaration.as_ref().unwrap().sha256.unwrap();
    assert_eq!(digest.to_string(), DIGEST);
}

#[test]
fn the_nearest_project_file_counts_up_to_the_root_of_the_checkout() {
    let mut world = World::with(&[
        ("hythe.toml", "project = 'outside'"),
        (PROJECT, "project = 'root'"),
        (LOCAL, "ports.exclude = [1]"),
    ]);
    let settings = world.settings();
    assert_eq!(settings.project.unwrap().value.as_str(), "root");
    assert_eq!(settings.ports.exclude.len(), 1);
    assert_eq!(settings.project_directory, Some(world.home.join("shop")));

    world.write("shop/web/hythe.local.toml", "project = 'alone'");
    let settings = world.settings();
    assert_eq!(settings.project.unwrap().value.as_str(), "alone");
    assert!(settings.ports.exclude.is_empty());

    for name in [PROJECT, LOCAL, "shop/web/hythe.local.toml"] {
        fs::remove_file(world.home.join(name)).unwrap();
    }
    assert_eq!(world.settings().project, None);
    world.place.checkout = None;
    assert_eq!(world.settings().project.unwrap().value.as_str(), "outside");
}

#[test]
fn every_candidate_is_listed() {
    let world = World::with(&[(LOCAL, "")]);
    let list = |config: &Config| -> Vec<_> {
        config.files().iter().map(|it| (it.file.role.word(), it.exists)).collect()
    };
    let config = world.load().unwrap();
    assert_eq!(list(&config), [("user", false), ("project", false), ("local", true)]);
    assert_eq!(config.files()[1].file.path, world.home.join(PROJECT));

    fs::remove_file(world.home.join(LOCAL)).unwrap();
    let config = world.load().unwrap();
    assert_eq!(config.files()[2].file.path, world.home.join(LOCAL));
    assert!(!config.files()[2].exists);
}

#[test]
fn files_that_cannot_be_used_are_errors() {
    let mut world = World::new();
    world.write(PROJECT, b"a = 1\n# \xc3\xa4 \xff\n");
    assert_eq!(world.error(), "shop/hythe.toml:2:5: it is not UTF-8: wrong byte at offset 11");
    world.write(PROJECT, " ".repeat(1024 * 1024));
    assert!(world.load().is_ok());
    world.write(PROJECT, " ".repeat(1024 * 1024 + 1));
    assert_eq!(world.error(), "shop/hythe.toml: it is larger than 1 MiB");
    fs::remove_file(world.home.join(PROJECT)).unwrap();
    fs::create_dir(world.home.join(PROJECT)).unwrap();
    assert_eq!(world.error(), "shop/hythe.toml: it is a directory, not a file");
    fs::remove_dir(world.home.join(PROJECT)).unwrap();
    symlink("nowhere", world.home.join(PROJECT)).unwrap();
    assert!(world.error().starts_with("shop/hythe.toml: cannot read it: "), "{}", world.error());
    fs::remove_file(world.home.join(PROJECT)).unwrap();
    // A link to itself is what even root cannot read.
    symlink("hythe.toml", world.home.join(PROJECT)).unwrap();
    assert!(world.error().starts_with("shop/hythe.toml: cannot read it: "), "{}", world.error());
    fs::remove_file(world.home.join(PROJECT)).unwrap();
    symlink("/dev/null", world.home.join(PROJECT)).unwrap();
    assert_eq!(world.error(), "shop/hythe.toml: it is not a regular file");
    fs::remove_file(world.home.join(PROJECT)).unwrap();

    world.files.user_required = true;
    assert_eq!(world.error(), "config/config.toml: there is no such file");
    world.files.user = Some("/dev/null".into());
    assert!(world.load().is_ok());
    world.files.user = None;
    assert!(world.load().is_ok());
}

#[test]
fn a_project_in_a_directory_that_is_no_text_works() {
    let world = World::with(&[(USER, "[[directory]]\nmatch = '~/**/shop-?'\nproject = 'rule'\n")]);
    let root = world.home.join(OsStr::from_bytes(b"\xff\xfe/shop-\xf0"));
    // Not every file system takes such names (APFS does not).
    if fs::create_dir_all(&root).is_err() {
        return;
    }
    let text = format!("[plugins.a]\npath = 'a.wasm'\nsha256 = '{DIGEST}'\n");
    fs::write(root.join(PROJECT_FILE), text).unwrap();
    let config = Config::load(&world.files, &checkout(&root, ""), Overrides::default()).unwrap();
    let settings = config.settings();
    assert_eq!(settings.project.as_ref().unwrap().value.as_str(), "rule");
    let declaration = settings.plugins["a"].declaration.as_ref().unwrap();
    assert_eq!(declaration.path, root.join("a.wasm"));
    assert_eq!(declaration.origin.authority(), Authority::Project(root.clone()));
    fs::write(root.join(PROJECT_FILE), "x = 1").unwrap();
    let error = Config::load(&world.files, &checkout(&root, ""), Overrides::default()).unwrap_err();
    assert_eq!(error.path(), Some(&*root.join(PROJECT_FILE)));
    assert_eq!(error.line_column(), Some((1, 1)));
}

//! Services as a group: which are declared, where they stand, and what variables follow from them.

use super::*;
use crate::reservation::{Scope, Service};

fn service(name: &str) -> Service {
    name.parse().unwrap()
}

/// The services of a block, how far each is above the lowest, and the base that it prefers.
fn block(settings: &Settings, scope: Scope) -> Vec<(String, u16, Option<u16>)> {
    let members = settings.block(scope).into_iter();
    members
        .map(|member| {
            let base = member.preferred_base().map(crate::port::Port::get);
            (member.service.to_string(), member.above, base)
        })
        .collect()
}

fn member(name: &str, above: u16, base: Option<u16>) -> (String, u16, Option<u16>) {
    (name.to_owned(), above, base)
}

#[test]
fn a_block_is_what_has_an_offset_and_the_same_scope() {
    let world = World::with(&[
        (USER, "[services.db]\noffset = 12\n[services.mine]\nport = 1\n"),
        (
            PROJECT,
            "[services.web]\noffset = 5\nport = 3000\n[services.api]\noffset = 2\n\
             [services.alone]\nport = 9\n[services.shared]\nscope = 'project'\noffset = 7\n",
        ),
        (LOCAL, "[services.api]\noffset = 6\n"),
    ]);
    let settings = world.settings();
    assert_eq!(
        block(&settings, Scope::Directory),
        [member("web", 0, Some(3000)), member("api", 1, None), member("db", 7, None)]
    );
    assert_eq!(block(&settings, Scope::Project), [member("shared", 0, None)]);
    assert!(block(&settings, Scope::Service).is_empty());
    assert!(block(&Settings::built_in(), Scope::Directory).is_empty());
}

#[test]
fn preferred_ports_of_a_block_agree_on_its_base() {
    let world = World::with(&[(
        PROJECT,
        "[services.a]\noffset = 1\n[services.b]\noffset = 2\nport = 3001\n\
         [services.c]\noffset = 65534\n",
    )]);
    let settings = world.settings();
    let bases = block(&settings, Scope::Directory);
    assert_eq!(bases[1], member("b", 1, Some(3000)));
    for (text, expected) in [
        (
            "[services.a]\noffset = 3\n[services.b]\noffset = 3\n",
            "shop/hythe.toml:4:10: `a` and `b` have the same offset, 3",
        ),
        (
            "[services.a]\noffset = 0\nport = 10\n[services.b]\noffset = 2\nport = 11\n",
            "shop/hythe.toml:6:8: port 11 of `b` does not fit its offset beside `a`, 12 would",
        ),
        (
            "[services.a]\noffset = 0\nport = 65535\n[services.b]\noffset = 2\nport = 11\n",
            "shop/hythe.toml:6:8: port 11 of `b` does not fit its offset beside `a`",
        ),
        (
            "[services.a]\noffset = 0\n[services.b]\noffset = 11\nport = 11\n",
            "shop/hythe.toml:5:8: port 11 of `b` leaves no room for its block, 11 below",
        ),
        (
            "[services.a]\noffset = 65535\n",
            "shop/hythe.toml:2:10: `65535` is not an offset from 0 to 65534",
        ),
        (
            "[services.a]\noffset = -1\n",
            "shop/hythe.toml:2:10: `-1` is not an offset from 0 to 65534",
        ),
        (
            "[services.a]\noffset = '1'\n",
            "shop/hythe.toml:2:10: expected an offset from 0 to 65534, found a string",
        ),
    ] {
        world.write(PROJECT, text);
        assert_eq!(world.error(), expected);
    }
    // Another scope, another block.
    world.write(PROJECT, "[services.a]\noffset = 3\n[services.b]\noffset = 3\nscope = 'project'\n");
    world.settings();
}

#[test]
fn a_project_declares_services_and_the_user_only_says_something_of_them() {
    let world = World::with(&[
        (
            USER,
            "[services.mine]\nport = 1\n[services.web]\nttl = '1d'\n\
             [[directory]]\nmatch = '~/shop'\nservices.ruled = { port = 2 }\n",
        ),
        (PROJECT, "[services.web]\n\n[services.api]\n"),
        (LOCAL, "[services]\nlocal = {}\napi = { port = 3 }\n"),
    ]);
    let settings = world.settings();
    let declared = settings.services.iter().filter_map(|(name, service)| {
        Some((name.as_str(), world.shown(service.declared.as_ref()?)))
    });
    let expected = [
        ("api", "shop/hythe.toml:3:11"),
        ("local", "shop/hythe.local.toml:2:1"),
        ("web", "shop/hythe.toml:1:11"),
    ];
    assert!(declared.eq(expected.map(|(name, origin)| (name, origin.to_owned()))));
    assert!(settings.services[&service("web")].ttl.is_some());
}

#[test]
fn the_strongest_layer_that_sets_a_variable_wins() {
    let world = World::with(&[
        (
            USER,
            "[env]\nA = 'user'\nB = 'user'\nPATH = '/bin'\n[services.web]\nenv = 'LD_LIBRARY_PATH'\n\
             [[directory]]\nmatch = '~/shop'\nenv.B = 'rule'\nenv.C = 'rule'\n",
        ),
        (PROJECT, "[env]\nC = 'project {port:web}'\nD = 'project'\n"),
        (LOCAL, "env = { D = 'local' }\n[services.web]\nenv = 'WEB'\n"),
    ]);
    let settings = world.settings();
    let set = settings.env.iter();
    let set = set.map(|(name, value)| {
        (name.to_string(), value.value.to_string(), world.shown(&value.origin))
    });
    let expected = [
        ("A", "user", "config/config.toml:2:5"),
        ("B", "rule", "config/config.toml:9:9 ([[directory]] match = \"~/shop\")"),
        ("C", "project {port:web}", "shop/hythe.toml:2:5"),
        ("D", "local", "shop/hythe.local.toml:1:13"),
        ("PATH", "/bin", "config/config.toml:4:8"),
    ];
    assert!(set.eq(expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()))));
    let web = &settings.services[&service("web")];
    assert_eq!(web.env.as_ref().unwrap().value.as_str(), "WEB");
}

#[test]
fn variables_that_programs_obey_are_the_users_alone() {
    let hint = "it decides which programs run or what they load; call the variable otherwise";
    for (path, text, place) in [
        (
            PROJECT,
            "[env]\nA = ''\nPATH = '.'\n",
            "shop/hythe.toml:3:1: only the user's file may set `PATH`",
        ),
        (
            LOCAL,
            "env.ld_preload = 'x'",
            "shop/hythe.local.toml:1:5: only the user's file may set `ld_preload`",
        ),
        (
            PROJECT,
            "[services.web]\nenv = 'IFS'\n",
            "shop/hythe.toml:2:7: only the user's file may set `IFS`",
        ),
    ] {
        let world = World::with(&[(path, text)]);
        assert_eq!(world.error(), format!("{place}\n{hint}"));
        World::with(&[(USER, text)]).settings();
    }
}

#[test]
fn what_is_no_variable_and_no_template_says_so() {
    for (text, expected) in [
        ("[env]\n'A B' = ''\n", "shop/hythe.toml:2:1: \"A B\" is not a variable name"),
        ("[env]\nA = 1\n", "shop/hythe.toml:2:5: expected a string, found an integer"),
        ("[env]\nA = '{prot}'\n", "shop/hythe.toml:2:5: \"{prot}\" is no template: `{prot}` is no"),
        (
            "[env]\nA = \"\\u001b\"\n",
            "shop/hythe.toml:2:5: \"\\u{1b}\" is no template: it contains",
        ),
        ("env = 'A'\n", "shop/hythe.toml:1:7: expected a table, found a string"),
        ("[services.web]\nenv = '1A'\n", "shop/hythe.toml:2:7: \"1A\" is not a variable name"),
    ] {
        let error = World::with(&[(PROJECT, text)]).error();
        assert!(error.starts_with(expected), "{error}");
    }
}

//! `hythe list`: every format, every filter.

use serde_json::Value;

use crate::listener::{Harbour, Server};
use crate::support::World;

/// Four reservations, ascending by the index of their ports: of a checkout, of a project, of the
/// machine, and of a directory below the checkout.
fn filled() -> Harbour {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let prefer = [0, 1, 2, 3].map(|index| world.port(index).to_string());
    let reserve = |arguments: &[&str]| world.reserve(&shop, arguments);
    reserve(&["web", "--agent", "claude", "--task", "t-1", "--prefer", &prefer[0]]);
    reserve(&["api", "--scope", "project", "--lock", "--prefer", &prefer[1]]);
    reserve(&["postgres", "--scope", "service", "--lease", "ephemeral", "--prefer", &prefer[2]]);
    let deep = world.repository("shop/vendor/lib");
    world.reserve(&deep, &["--prefer", &prefer[3]]);
    world
}

/// The ports that a list shows, counted from the first of the world.
fn listed(world: &Harbour, arguments: &[&str]) -> Vec<u64> {
    let document = world.run(&world.root(), [&["list", "--json"], arguments].concat()).json();
    let first = u64::from(world.port(0));
    let reservations = document["reservations"].as_array().unwrap();
    reservations.iter().map(|one| one["port"].as_u64().unwrap() - first).collect()
}

#[test]
fn a_list_is_a_table_for_people() {
    let world = filled();
    let shop = world.root().join("shop");
    let server = Server::start(&shop, "127.0.0.1", world.port(0));
    let _stranger = Server::start(&world.dir("elsewhere"), "127.0.0.1", world.port(3));
    let text = world.run(&world.root(), ["list"]).ok();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    let headings =
        ["PORT", "SERVICE", "DIRECTORY", "PROJECT", "LISTENING", "LEASE", "LAST USED", "LISTENER"];
    assert_eq!(rows[0], headings);
    let [web, api, postgres, library] = [0, 1, 2, 3].map(|index| world.port(index).to_string());
    let shop = shop.display().to_string();
    let vendor = format!("{shop}/vendor/lib");
    assert_eq!(rows[1][..6], [&*web, "web", &shop, "shop", "mine", "persistent"]);
    assert_eq!(rows[2][..6], [&*api, "api", "(project)", "shop", "none", "persistent, locked"]);
    assert_eq!(rows[3][..6], [&*postgres, "postgres", "(machine)", "shop", "none", "ephemeral"]);
    assert_eq!(rows[4][..6], [&*library, "main", &vendor, "lib", "foreign", "persistent"]);
    assert_eq!(rows.len(), 5);
    assert!(rows[1..].iter().all(|row| row[6].ends_with('Z')), "{text}");
    assert!(rows[1][7].starts_with(&format!("{} e2e-", server.pid())), "{text}");
    assert_eq!(rows[2].len(), 7, "nobody: {text}");
    assert_eq!(world.run(&world.root(), ["ls"]).ok(), text, "the short name");
}

#[test]
fn an_empty_list_is_no_failure() {
    let world = World::new();
    let run = world.run(&world.root(), ["list"]).exits(0);
    assert_eq!((run.stdout(), run.stderr()), (String::new(), "no reservations\n".to_owned()));
    assert_eq!(world.run(&world.root(), ["list", "-q"]).exits(0).stderr(), "");
    let document = world.run(&world.root(), ["list", "--json"]).json();
    assert_eq!(document["reservations"], Value::Array(Vec::new()));
    let csv = world.run(&world.root(), ["list", "--format", "csv"]).ok();
    assert_eq!(csv.lines().count(), 1, "the headings");
    assert!(!world.state().exists());
}

#[test]
fn a_list_is_csv_or_tsv_for_programs() {
    let world = filled();
    let shop = world.root().join("shop").display().to_string();
    let [web, api] = [0, 1].map(|index| world.port(index));
    let headings = "port,service,scope,project,task,agent,lease,locked,listening,directory";
    let csv = world.run(&world.root(), ["list", "--format", "csv"]).ok();
    let lines: Vec<_> = csv.split("\r\n").collect();
    assert_eq!(lines[0], headings);
    let expected = format!("{web},web,directory,shop,t-1,claude,persistent,false,none,{shop}");
    assert_eq!(lines[1], expected);
    let expected = format!("{api},api,project,shop,main,,persistent,true,none,{shop}");
    assert_eq!(lines[2], expected);
    assert_eq!((lines.len(), lines[5]), (6, ""), "each line ends in CR LF (RFC 4180)");
    let tsv = world.run(&world.root(), ["list", "--format", "tsv"]).ok();
    assert_eq!(tsv.replace('\t', ",").replace('\n', "\r\n"), csv);
}

#[test]
fn csv_quotes_and_tsv_escapes() {
    let world = Harbour::new();
    let odd = world.dir("comma, \"quote\"\ttab");
    world.reserve(&odd, &["--task", "a,b"]);
    let csv = world.run(&world.root(), ["list", "--format", "csv"]).ok();
    let line = csv.lines().nth(1).unwrap();
    assert!(line.contains(",\"a,b\","), "{line}");
    assert!(line.contains("/comma, \"\"quote\"\""), "{line}");
    let tsv = world.run(&world.root(), ["list", "--format", "tsv"]).ok();
    let line = tsv.lines().nth(1).unwrap();
    assert_eq!(line.split('\t').count(), 10, "{line}");
    assert!(line.ends_with("/comma, \"quote\"\\ttab"), "{line}");
}

#[test]
fn a_list_is_filtered() {
    let world = filled();
    for (arguments, expected) in [
        (&[][..], &[0, 1, 2, 3][..]),
        (&["--project", "shop"], &[0, 1, 2]),
        (&["--project", "nobody's"], &[]),
        (&["--service", "web"], &[0]),
        (&["--agent", "claude"], &[0]),
        (&["--scope", "directory"], &[0, 3]),
        (&["--scope", "project"], &[1]),
        (&["--scope", "service"], &[2]),
        (&["--below", "shop"], &[0, 1, 2, 3]),
        (&["--below", "shop/vendor"], &[3]),
        (&["--below", "sho"], &[]),
        (&["--below", ".", "--scope", "directory", "--project", "shop"], &[0]),
        (&["-C", "shop", "--below", "vendor"], &[3]),
    ] {
        assert_eq!(listed(&world, arguments), expected, "{arguments:?}");
    }
    world.run(&world.root(), ["list", "--service", "80"]).fails(2);
    world.run(&world.root(), ["list", "--scope", "planet"]).fails(2);
    world.run(&world.root(), ["list", "--format", "xml"]).fails(2);
}

#[test]
fn projects_are_counted() {
    let world = filled();
    world.reserve(&world.dir("plain"), &[]);
    let text = world.run(&world.root(), ["list", "--projects"]).ok();
    let rows: Vec<Vec<_>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        rows,
        [
            ["PROJECT", "RESERVATIONS", "DIRECTORIES"],
            ["-", "1", "1"],
            ["lib", "1", "1"],
            ["shop", "3", "1"],
        ]
    );
    let filtered = ["list", "--projects", "--service", "web", "--json"];
    let document = world.run(&world.root(), filtered).json();
    let document = crate::schema::valid("list-projects", document);
    assert_eq!(document["projects"].as_array().unwrap().len(), 1);
    assert_eq!(document["projects"][0]["project"], "shop");
    let none = world.run(&world.root(), ["list", "--projects", "--agent", "nobody"]).exits(0);
    assert_eq!((none.stdout(), none.stderr()), (String::new(), "no reservations\n".to_owned()));
    world.run(&world.root(), ["list", "--projects", "--format", "csv"]).fails(2);
}

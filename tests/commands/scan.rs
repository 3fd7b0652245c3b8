//! `hythe scan`: who listens, and what becomes of it.

use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde_json::{Value, json};

use super::ports;
use crate::daemon::{Daemon, container};
use crate::listener::{Harbour, Server, addresses};

/// What a scan finds, by port counted from the first of the world: addresses and reservation.
fn found(world: &Harbour, arguments: &[&str]) -> Vec<(u64, Value, Value)> {
    let document = world.run(&world.root(), [&["scan", "--json"], arguments].concat()).json();
    let ports = document["ports"].as_array().unwrap().iter();
    let facts = ports.map(|found| {
        let port = found["port"].as_u64().unwrap() - u64::from(world.port(0));
        (port, found["addresses"].clone(), found["reservation"]["service"].clone())
    });
    facts.collect()
}

#[test]
fn everybody_who_listens_is_found_on_every_address() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    assert_eq!(found(&world, &[]), []);
    let run = world.run(&shop, ["scan"]).exits(0);
    assert_eq!((run.stdout(), run.stderr()), (String::new(), "nobody listens\n".to_owned()));
    assert!(!world.state().exists(), "a scan needs no ledger");
    world.reserve(&shop, &["web", "--prefer", &world.port(0).to_string()]);
    let hosts = addresses();
    let start = |(at, host): (u16, &String)| Server::start(&shop, host, world.port(at));
    let _servers: Vec<_> = (0..).zip(&hosts).map(start).collect();
    let expected: Vec<_> = (0..)
        .zip(&hosts)
        .map(|(at, host)| (at, json!([host]), if at == 0 { json!("web") } else { Value::Null }))
        .collect();
    assert_eq!(found(&world, &[]), expected);
    assert_eq!(found(&world, &["--unreserved"]), expected[1..]);
    assert_eq!(found(&world, &[&world.port(1).to_string()]), expected[1..2]);
    let two = format!("{}-{}", world.port(1), world.port(2));
    assert_eq!(found(&world, &[&two, &world.port(0).to_string()])[..], expected[..3]);
    let all = world.run(&shop, ["scan", "--all", "--format", "tsv"]).ok();
    for at in 0..hosts.len() {
        let port = world.port(u16::try_from(at).unwrap()).to_string();
        assert!(all.lines().any(|line| line.starts_with(&port)), "{all}");
    }
}

#[test]
fn a_scan_is_a_table_for_people_and_csv_for_programs() {
    let world = Harbour::new();
    let [shop, other] = ["shop", "other, \"x\"\ty"].map(|name| world.dir(name));
    for (service, at) in [("web", 0), ("api", 1)] {
        world.reserve(&shop, &[service, "--prefer", &world.port(at).to_string()]);
    }
    let servers = [(&shop, 0), (&other, 1), (&other, 2)]
        .map(|(directory, at)| Server::start(directory, "127.0.0.1", world.port(at)));
    Daemon::start(&world).runs(&[container("front", world.port(3), Some(&shop), &[])]);
    let text = world.run(&shop, ["scan"]).ok();
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("PORT   ADDRESS    USER"), "{text}");
    assert!(lines[1].ends_with("web (mine)") && lines[2].ends_with("api (foreign)"), "{text}");
    assert!(lines[1].contains(&format!("  {}  ", shop.display())), "{text}");
    assert!(lines[1].contains(&servers[0].pid().to_string()), "{text}");
    assert!(lines[3].contains("other, \"x\"\\ty"), "{text}");
    assert!(lines[4].contains("  container front  "), "{text}");
    let csv = world.run(&shop, ["scan", "--format", "csv"]).ok();
    let headings =
        "port,addresses,pid,user,command,directory,container,service,listening,reserved_for";
    assert_eq!(csv.split("\r\n").next(), Some(headings));
    let line = csv.split("\r\n").nth(1).unwrap();
    assert!(
        line.starts_with(&format!("{},127.0.0.1,{},", world.port(0), servers[0].pid())),
        "{line}"
    );
    assert!(line.ends_with(&format!(",,web,mine,{}", shop.display())), "{line}");
    let tsv = world.run(&shop, ["scan", "--format", "tsv"]).ok();
    assert!(tsv.lines().all(|line| line.split('\t').count() == 10), "{tsv}");
}

#[test]
fn wrong_scans() {
    let world = Harbour::new();
    for wrong in [
        &["9-8"][..],
        &["0"],
        &["70000"],
        &["web"],
        &["--all", "80"],
        &["--adopt", "--exclude"],
        &["--dry-run"],
        &["--project"],
        &["--adopt", "--local"],
        &["--json", "--format", "csv"],
        &["--adopt", "--format", "csv"],
        &["--exclude", "--local", "--project"],
    ] {
        world.run(&world.root(), [&["scan"], wrong].concat()).fails(2);
    }
}

/// The names that were adopted, with their ports counted from the first of the world.
fn adopted(world: &Harbour, arguments: &[&str]) -> Vec<(u64, String)> {
    let arguments = [&["scan", "--adopt", "--json"], arguments].concat();
    let document = world.run(&world.root(), arguments).json();
    let adopted = document["adopted"].as_array().unwrap().iter();
    let name = |found: &Value| {
        let port = found["port"].as_u64().unwrap() - u64::from(world.port(0));
        (port, found["service"].as_str().unwrap().to_owned())
    };
    adopted.map(name).collect()
}

fn serve(world: &Harbour, directory: &Path, at: u16) -> Server {
    Server::start(directory, "127.0.0.1", world.port(at))
}

/// What the program of a server is called.
fn program() -> String {
    let own = std::env::current_exe().unwrap();
    own.file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn what_is_adopted_is_reserved_in_its_directory() {
    let world = Harbour::new();
    let [shop, blog] = ["shop", "blog"].map(|name| world.repository(name));
    let deep = world.dir("shop/web/src");
    let known = world.reserve(&shop, &["known", "--prefer", &world.port(0).to_string()]);
    let _servers =
        [(&shop, 0), (&deep, 3), (&shop, 1), (&blog, 2)].map(|(dir, at)| serve(&world, dir, at));
    let name = program();
    let second = format!("{name}-2");
    let dry = world.run(&blog, ["scan", "--adopt", "--dry-run"]).ok();
    let line = |verb: &str, at: u16, name: &str, dir: &Path| {
        format!("{verb} port {} as `{name}` of {}\n", world.port(at), dir.display())
    };
    let expected = |verb: &str| {
        [line(verb, 1, &name, &shop), line(verb, 2, &name, &blog), line(verb, 3, &second, &shop)]
            .concat()
    };
    assert_eq!(dry, expected("would adopt"));
    assert_eq!(ports(&world), [known]);
    assert_eq!(world.run(&blog, ["scan", "--adopt"]).ok(), expected("adopted"));
    assert_eq!(ports(&world), [0, 1, 2, 3].map(|at| world.port(at)));
    // They are like any other from then on.
    assert_eq!(world.reserve(&shop, &[&name]), world.port(1));
    assert_eq!(world.reserve(&deep, &[&second]), world.port(3));
    assert_eq!(world.reserve(&blog, &[&name]), world.port(2));
    let shown = world.run(&shop, ["show", &name, "--json"]).json();
    assert_eq!(shown["reservation"]["strategy"]["selection"], "adopted");
    assert_eq!(shown["reservation"]["listening"], "mine");
    assert_eq!(shown["reservation"]["project"], "shop");
    assert_eq!(shown["history"][0]["event"], "reserved");
    // There is nothing left.
    let run = world.run(&blog, ["scan", "--adopt"]).exits(0);
    let expected = (String::new(), "nothing listens that is not reserved\n".to_owned());
    assert_eq!((run.stdout(), run.stderr()), expected);
    assert_eq!(adopted(&world, &[]), []);
}

#[test]
fn names_never_collide() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let name = program();
    // The name is taken by another port, and so is the next.
    world.reserve(&shop, &[&name, "--prefer", &world.port(20).to_string()]);
    let second = format!("{name}-2");
    world.reserve(&shop, &[&second, "--prefer", &world.port(21).to_string()]);
    let _servers = [0, 1, 2].map(|at| serve(&world, &shop, at));
    let expected = [(0, 3), (1, 4), (2, 5)].map(|(at, number)| (at, format!("{name}-{number}")));
    assert_eq!(adopted(&world, &["--dry-run"]), expected);
    assert_eq!(adopted(&world, &[]), expected);
}

#[test]
fn a_configured_port_has_its_services_name() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let (canonical, other) = (world.port(0), world.port(1));
    let text = format!(
        "[services.web]\nport = {canonical}\n[services.db]\nport = {other}\nscope = \"service\"\n"
    );
    fs::write(shop.join("hythe.toml"), text).unwrap();
    let _servers = [0, 1].map(|at| serve(&world, &shop, at));
    let expected = [(0, "web".to_owned()), (1, "db".to_owned())];
    assert_eq!(adopted(&world, &[]), expected);
    assert_eq!(world.reserve(&shop, &["web"]), canonical);
    assert_eq!(world.reserve(&shop, &["db"]), other);
    assert_eq!(world.reserve(&world.dir("elsewhere"), &["db", "--scope", "service"]), other);
}

#[test]
fn what_could_not_be_given_is_adopted_only_when_it_is_named() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let [excluded, plain] = [0, 1].map(|at| world.port(at));
    world.configure(&format!("exclude = [{excluded}]\n"));
    let _servers = [0, 1].map(|at| serve(&world, &shop, at));
    let run = world.run(&shop, ["scan", "--adopt"]).exits(0);
    assert!(run.stdout().contains(&format!("adopted port {plain} as ")), "{}", run.stdout());
    let note = format!("port {excluded} is not adopted: excluded by configuration\n");
    assert_eq!(run.stderr(), note);
    let around = format!("{excluded}-{excluded}");
    assert_eq!(adopted(&world, &["--dry-run", &around]).len(), 1, "one port is one port");
    let below = format!("{}-{excluded}", excluded - 1);
    assert_eq!(adopted(&world, &[&below]), []);
    assert_eq!(adopted(&world, &[&excluded.to_string()]).len(), 1);
    assert_eq!(ports(&world), [excluded, plain]);
    // Outside the range of the world, by a process of another directory.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let outside = listener.local_addr().unwrap().port();
    let scan =
        |ports: &str| world.run(&shop, ["scan", ports, "--adopt", "--dry-run", "--json"]).json();
    let around = scan(&format!("{}-{outside}", outside - 1));
    let why = json!({ "port": outside, "reason": "outside the allowed range" });
    assert!(around["skipped"].as_array().unwrap().contains(&why), "{around}");
    assert_eq!(scan(&outside.to_string())["adopted"][0]["port"], outside);
}

#[test]
fn containers_are_adopted_where_they_belong() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let checkout = world.repository("checkout");
    let daemon = Daemon::start(&world);
    daemon.runs(&[
        container("composed", world.port(0), Some(&shop), &[]),
        container("mounts", world.port(1), None, &[world.dir("checkout/src")]),
        container("alone", world.port(2), None, &[world.dir("data")]),
    ]);
    let run = world.run(&shop, ["scan", "--adopt"]).exits(0);
    let expected = format!(
        "adopted port {} as `front` of {}\nadopted port {} as `mounts` of {}\n",
        world.port(0),
        shop.display(),
        world.port(1),
        checkout.display()
    );
    assert_eq!(run.stdout(), expected);
    let why = "container `alone` is not of compose and mounts no checkout";
    assert_eq!(run.stderr(), format!("port {} is not adopted: {why}\n", world.port(2)));
    assert_eq!(world.reserve(&shop, &["front"]), world.port(0));
    assert_eq!(world.reserve(&checkout, &["mounts"]), world.port(1));
}

#[test]
fn one_place_that_is_wrong_is_passed_over() {
    let world = Harbour::new();
    let [good, wrong] = ["good", "wrong"].map(|name| world.dir(name));
    fs::write(wrong.join("hythe.toml"), "nonsense").unwrap();
    let odd = world.dir(OsStr::from_bytes(b"od\xffd\n\x1b[2J"));
    let _servers = [(&good, 0), (&wrong, 1), (&odd, 2)].map(|(dir, at)| serve(&world, dir, at));
    let run = world.run(&good, ["scan", "--adopt"]).exits(0);
    assert_eq!(run.stdout().lines().count(), 2, "{}", run.stdout());
    assert!(!run.stdout().contains('\u{1b}'), "{}", run.stdout());
    assert!(run.stderr().contains(&format!("port {} is not adopted: ", world.port(1))));
    assert!(run.stderr().contains("hythe.toml"), "{}", run.stderr());
    assert_eq!(world.reserve(&odd, &[&program()]), world.port(2));
}

#[test]
fn what_listens_can_be_excluded_as_ranges() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    let [reserved, first, _, third, excluded, single] = [0, 1, 2, 3, 4, 6].map(|at| world.port(at));
    world.configure(&format!("exclude = [{excluded}]   # mine\n"));
    world.reserve(&shop, &["web", "--prefer", &reserved.to_string()]);
    let _servers = [0, 1, 2, 3, 4, 6].map(|at| serve(&world, &shop, at));
    let file = world.home().join(".config/hythe/config.toml");
    let before = fs::read_to_string(&file).unwrap();
    let dry = world.run(&shop, ["scan", "--exclude", "--dry-run"]).ok();
    assert_eq!(dry, format!("would change ports.exclude in {}\n", file.display()));
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
    let document = world.run(&shop, ["scan", "--exclude", "--json"]).json();
    assert_eq!(document["excluded"]["changes"], json!(["ports.exclude"]));
    let list = format!("exclude = [{excluded}, \"{first}-{third}\", {single}]   # mine");
    let written = fs::read_to_string(&file).unwrap();
    assert!(written.contains(&list), "{written}");
    let run = world.run(&shop, ["scan", "--exclude"]).exits(0);
    assert_eq!(run.stdout(), "");
    assert_eq!(fs::read_to_string(&file).unwrap(), written);
    let project = world.repository("project");
    let range = format!("{first}-{third}");
    world.configure("");
    world.run(&project, ["scan", &range, "--exclude", "--project"]).ok();
    let written = fs::read_to_string(project.join("hythe.toml")).unwrap();
    assert_eq!(written, format!("[ports]\nexclude = [\"{range}\"]\n"));
}

#[test]
fn no_lock_is_held_while_scanning() {
    let world = Harbour::new();
    let shop = world.dir("shop");
    world.reserve(&shop, &["--prefer", &world.port(0).to_string()]);
    let _server = serve(&world, &shop, 5);
    let lock = fs::File::open(world.state().join("ledger.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    for arguments in
        [&["scan"][..], &["scan", "--adopt", "--dry-run"], &["scan", "--exclude", "-n"]]
    {
        world.run(&shop, [arguments, &["--lock-timeout", "0s"]].concat()).ok();
    }
    world.run(&shop, ["scan", "--adopt", "--lock-timeout", "0s"]).fails(6);
}

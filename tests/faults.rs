//! What has gone wrong elsewhere, and does not here. What other tests show as well is not repeated:
//! docs/ancestors.md has the whole list.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::listener::{Harbour, Server};
use crate::support::{HYTHE, Run};

/// Changes the ledger behind the back of hythe.
fn edit(world: &Harbour, sql: &str) {
    let ledger = rusqlite::Connection::open(world.ledger()).unwrap();
    assert!(ledger.execute(sql, []).unwrap() > 0, "{sql} changed nothing");
}

#[test]
fn naming_a_project_later_breaks_no_script() {
    let world = Harbour::of_size(16);
    let shop = world.repository("shop");
    let port = world.reserve(&shop, &[]);
    let project = || world.run(&shop, ["show", "--json"]).json()["reservation"]["project"].clone();
    assert_eq!(project(), "shop", "it was found out");
    fs::write(shop.join("hythe.toml"), "project = \"storefront\"\n").unwrap();
    let run = world.run(&shop, ["reserve"]).exits(0);
    assert_eq!((run.stdout(), run.stderr()), (format!("{port}\n"), String::new()));
    assert_eq!(project(), "storefront");
    assert_eq!(world.reserve(&shop, &["--project", "other", "--task", "t"]), port);
}

#[test]
fn a_service_beside_a_group_is_no_conflict() {
    let world = Harbour::of_size(16);
    let shop = world.repository("shop");
    let extra = world.reserve(&shop, &["extra"]);
    let [web, api] = [world.port(4), world.port(5)];
    let file = format!("[services.web]\nport = {web}\noffset = 0\n[services.api]\noffset = 1\n");
    fs::write(shop.join("hythe.toml"), &file).unwrap();
    let told = world.run(&shop, ["env", "--format", "dotenv"]).ok();
    let group = world.run(&shop, ["get", "web"]).port();
    assert_eq!(told, format!("API_PORT={}\nWEB_PORT={group}\n", group + 1));
    if ![web, api].contains(&extra) {
        assert_eq!(group, web);
    }
    // It grows in place.
    fs::write(shop.join("hythe.toml"), format!("{file}[services.docs]\n")).unwrap();
    let told = world.run(&shop, ["env", "--format", "dotenv"]).ok();
    let docs = world.run(&shop, ["get", "docs"]).port();
    assert_eq!(told, format!("API_PORT={}\nDOCS_PORT={docs}\nWEB_PORT={group}\n", group + 1));
    assert_eq!(world.run(&shop, ["get", "extra"]).port(), extra);
}

/// The ports above 1023 that browsers refuse to open (Fetch Standard, "port blocking").
#[test]
fn a_port_that_browsers_block_is_never_chosen() {
    let world = Harbour::of_size(16);
    let shop = world.dir("shop");
    for port in [
        1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668,
        6669, 6679, 6697, 10080,
    ] {
        let said = world.run(&shop, ["reserve", "--range", &format!("{port}-{port}")]).fails(5);
        assert!(said.contains("browsers"), "{port}: {said}");
    }
}

/// The side that closes first keeps the port for a minute (RFC 9293, TIME-WAIT).
#[test]
fn a_server_that_has_just_ended_is_in_nobodys_way() {
    let world = Harbour::of_size(16);
    let shop = world.dir("shop");
    let port = world.reserve(&shop, &[]);
    let leave = |port: u16| {
        let server = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        drop(server.accept().unwrap());
        drop(server);
        drop(client);
        let lingers = TcpListener::bind(("127.0.0.1", port));
        // The standard library sets SO_REUSEADDR, as servers do.
        assert!(lingers.is_ok(), "{lingers:?}");
    };
    leave(port);
    let run = world.run(&shop, ["reserve"]).exits(0);
    assert_eq!((run.stdout(), run.stderr()), (format!("{port}\n"), String::new()));
    let new = (0..16).map(|index| world.port(index)).find(|new| *new != port).unwrap();
    leave(new);
    let wish = ["reserve", "other", "--prefer", &new.to_string()];
    assert_eq!(world.run(&shop, wish).port(), new);
}

#[test]
fn a_dry_run_fails_where_it_would_fail() {
    let world = Harbour::of_size(16);
    let [shop, blog] = ["shop", "blog"].map(|name| world.dir(name));
    let single = format!("{0}-{0}", world.port(0));
    let port = world.reserve(&shop, &["--range", &single, "--lock"]).to_string();
    for (arguments, code) in [
        (&["reserve", "--range", &single][..], 5),
        (&["reserve", "--lease", "ephemeral", "--pid", "4194304"], 2),
        (&["release"], 7),
        (&["release", "--port", &port], 8),
        (&["env", "--range", &single], 5),
        (&["exclude", "--remove", "3000"], 7),
    ] {
        let dry = world.run(&blog, [arguments, &["--dry-run"]].concat()).fails(code);
        let real = world.run(&blog, arguments).fails(code);
        assert_eq!(dry, real, "{arguments:?}");
    }
}

/// Project, branch, directory and values are anybody's, and what is printed is evaluated.
#[test]
fn nothing_that_is_evaluated_is_run() {
    let evil = "'$(touch${IFS}pwned)`touch${IFS}pwned`\";touch${IFS}pwned;#";
    let world = Harbour::of_size(16);
    let shop = world.repository(&format!("shop{evil}"));
    world.git(&shop, &["switch", "--quiet", "-c", &format!("b{evil}")]);
    // Braces are placeholders in a value.
    let file = format!(
        "project = '''p{evil}'''\n[services.web]\n[services.\"@shop/admin\"]\n\
         [env]\nA = '''{{project}} {{branch}}'''\nB = '''{} \\'''\n",
        evil.replace("${IFS}", " "),
    );
    fs::write(shop.join("hythe.toml"), &file).unwrap();
    let expected = format!("p{evil} b{evil}|{} \\", evil.replace("${IFS}", " "));
    let path = format!(
        "{}:{}",
        Path::new(HYTHE).parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let fish = "hythe env --format fish | source; printf '%s|%s' $A $B";
    for (shell, script) in [
        ("sh", "eval \"$(hythe env)\"; printf '%s|%s' \"$A\" \"$B\""),
        ("bash", "eval \"$(hythe env)\"; printf '%s|%s' \"$A\" \"$B\""),
        ("zsh", "eval \"$(hythe env)\"; printf '%s|%s' \"$A\" \"$B\""),
        ("fish", fish),
    ] {
        let mut command = Command::new(shell);
        command.args(["-c", script]).current_dir(&shop).env_clear();
        command.env("PATH", &path).env("HOME", world.home()).stdin(Stdio::null());
        let Ok(output) = command.output() else { continue };
        let run = Run::from(output).exits(0);
        assert_eq!(run.stdout(), expected, "{shell}: {}", run.stderr());
    }
    for directory in [&shop, &world.root(), &world.home()] {
        assert!(!directory.join("pwned").exists());
    }
}

#[test]
fn what_has_not_been_started_yet_stays_reserved() {
    let world = Harbour::of_size(16);
    let shop = world.dir("shop");
    let port = world.reserve(&shop, &["--lease", "ephemeral"]);
    let kept = world.reserve(&shop, &["web"]);
    for _ in 0..2 {
        let run = world.run(&shop, ["cleanup"]).exits(0);
        assert_eq!(run.stderr(), "nothing to release\n");
    }
    assert_eq!(world.run(&shop, ["get"]).port(), port);
    assert_eq!(world.run(&shop, ["get", "web"]).port(), kept);
}

#[test]
fn another_process_with_the_same_pid_owns_nothing() {
    let world = Harbour::of_size(16);
    let shop = world.dir("shop");
    let pid = std::process::id().to_string();
    let port = world.reserve(&shop, &["--lease", "ephemeral", "--pid", &pid]);
    edit(&world, "UPDATE reservation SET last_used_at = last_used_at - 600000");
    assert!(world.run(&shop, ["cleanup"]).exits(0).stderr().contains("nothing to release"));
    edit(&world, "UPDATE reservation SET owner_start = owner_start - 1");
    let released = world.run(&shop, ["cleanup", "--json"]).json();
    assert_eq!(released["released"][0]["port"], port);
}

#[test]
fn its_own_server_keeps_port_and_lock() {
    let world = Harbour::of_size(16);
    let shop = world.dir("shop");
    let port = world.reserve(&shop, &["--lock"]);
    let _server = Server::start(&shop, "127.0.0.1", port);
    for _ in 0..2 {
        assert_eq!(world.reserve(&shop, &[]), port);
        let shown = world.run(&shop, ["show", "--json"]).json();
        let facts = ["locked", "listening"].map(|field| shown["reservation"][field].clone());
        assert_eq!(facts, [json!(true), json!("mine")]);
    }
}

#[test]
fn exclusions_made_at_once_are_all_kept() {
    let world = Harbour::of_size(16);
    let shop = world.dir("shop");
    let config = world.config("# mine\n[ports]\nrange = \"20000-24999\"  # as agreed\n");
    let ports: Vec<_> = (30_000..30_032).map(|port: u16| port.to_string()).collect();
    let children: Vec<_> = ports
        .iter()
        .map(|port| {
            let mut command = world.command(&shop);
            command.args(["exclude", port]).stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let text = fs::read_to_string(&config).unwrap();
    assert!(text.starts_with("# mine\n[ports]\nrange = \"20000-24999\"  # as agreed\n"), "{text}");
    for port in &ports {
        assert!(text.contains(port), "{port} was lost: {text}");
    }
    world.run(&shop, ["config", "check"]).ok();
}

#[test]
fn no_exclusion_makes_a_file_that_nothing_can_read() {
    let world = Harbour::of_size(16);
    let shop = world.dir("shop");
    for (text, ports, code) in [
        ("[ports\n", "3000", 3),
        ("ports = 3\n", "3000", 3),
        ("[ports]\nexclude = \"3000\"\n", "3001", 3),
        ("[ports]\n", "70000", 2),
        ("[ports]\n", "3001-3000", 2),
    ] {
        let config = world.config(text);
        world.run(&shop, ["exclude", ports]).fails(code);
        assert_eq!(fs::read_to_string(&config).unwrap(), text);
    }
    world.config("");
    world.run(&shop, ["exclude", "1-65535"]).ok();
    world.run(&shop, ["config", "check"]).ok();
    world.run(&shop, ["reserve"]).fails(5);
    assert_eq!(world.run(&shop, ["list"]).exits(0).stdout(), "");
    world.run(&shop, ["exclude", "--remove", "1-65535"]).ok();
    world.run(&shop, ["reserve"]).port();
}

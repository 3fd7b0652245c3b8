//! Sockets that are handed over, as systemd does it.

use std::net::TcpStream;

use super::*;

/// A server that is activated by its sockets, as `sd_listen_fds(3)` says; it answers once with the
/// name of its socket.
const ACTIVATED: &str = r#"
import os, socket, sys
assert int(os.environ["LISTEN_PID"]) == os.getpid(), os.environ["LISTEN_PID"]
names = os.environ["LISTEN_FDNAMES"].split(":")
assert len(names) == int(os.environ["LISTEN_FDS"])
# The last one is the directory that is listed.
assert sorted(map(int, os.listdir("/proc/self/fd"))) == list(range(3 + len(names) + 1))
sockets = [socket.socket(fileno=3 + at) for at in range(len(names))]
for server in sockets:
    assert server.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
print(*(server.getsockname()[1] for server in sockets), flush=True)
for name, server in zip(names, sockets):
    client, _ = server.accept()
    client.sendall(name.encode())
    client.close()
sys.stdin.read()
"#;

fn heard(host: &str, port: u16) -> String {
    let mut text = String::new();
    let mut stream = TcpStream::connect((host, port)).unwrap();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn sockets_that_listen_are_handed_over() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let arguments =
        ["--listen-fds", "-s", "web", "-s", "@shop/api", "--", "python3", "-c", ACTIVATED];
    for _ in 0..2 {
        // The second time, the closed connections of the first linger.
        let mut running = Running::new(&world, &shop, &arguments);
        let line = running.line();
        let given: Vec<u16> = line.split(' ').map(|port| port.parse().unwrap()).collect();
        let mut sorted = given.clone();
        sorted.sort_unstable();
        assert_eq!(ports(&world), sorted);
        assert_eq!(heard("127.0.0.1", given[0]), "web");
        assert_eq!(heard("127.0.0.1", given[1]), "@shop/api");
        running.end().ok();
        assert!(ports(&world).is_empty());
    }
}

#[test]
fn ipv6_and_ipv4_reach_the_same_socket() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    for host in ["127.0.0.1", "::1"] {
        if std::net::UdpSocket::bind((host, 0)).is_err() {
            continue;
        }
        let mut running =
            Running::new(&world, &shop, &["--listen-fds", "--", "python3", "-c", ACTIVATED]);
        let port = running.line().parse().unwrap();
        assert_eq!(heard(host, port), "main");
        running.end().ok();
    }
}

#[test]
fn without_it_the_command_inherits_nothing() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let script = "import os; print(sorted(os.listdir('/proc/self/fd')), \
        [name for name in os.environ if 'LISTEN' in name])";
    let run = run(&world, &shop, &["--", "python3", "-c", script]).ok();
    let plain = Command::new("python3").args(["-c", script]).output().unwrap();
    assert_eq!(run, String::from_utf8(plain.stdout).unwrap());
    assert!(run.contains("'0', '1', "), "{run}");
}

#[test]
fn what_hythe_has_inherited_is_not_in_the_way() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let script = format!(
        "exec '{HYTHE}' run --listen-fds -- python3 -c \"$0\" 3</dev/null 4</dev/null 5</dev/null"
    );
    let mut shell = Command::new("sh");
    let plain = world.command(&shop);
    shell.args(["-c", &script, ACTIVATED]).current_dir(&shop).env_clear();
    shell.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut running = Running::start(&mut shell);
    let port = running.line().parse().unwrap();
    assert_eq!(heard("127.0.0.1", port), "main");
    running.end().ok();
}

//! Signals that reach `hythe run`, and what is left when it is killed.

use super::*;

/// Says which signals it gets, and ends by the last of them.
const LISTENER: &str = r#"
for signal in USR1 USR2 WINCH HUP INT QUIT; do trap "echo $signal" $signal; done
trap 'echo TERM; exit 7' TERM
echo $$
while :; do sleep 0.01; done"#;

#[test]
fn what_is_sent_to_hythe_reaches_the_command() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let mut running = Running::new(&world, &shop, &["--", "sh", "-c", LISTENER]);
    running.line();
    for (signal, name) in [
        (Signal::USR1, "USR1"),
        (Signal::USR2, "USR2"),
        (Signal::WINCH, "WINCH"),
        (Signal::HUP, "HUP"),
        (Signal::INT, "INT"),
        (Signal::QUIT, "QUIT"),
    ] {
        running.signal(signal);
        assert_eq!(running.line(), name);
    }
    assert_eq!(ports(&world).len(), 1);
    running.signal(Signal::TERM);
    let ended = running.end().exits(7);
    assert_eq!((ended.stdout(), ended.stderr()), ("TERM\n".to_owned(), String::new()));
    assert!(ports(&world).is_empty());
}

#[test]
fn both_stop_and_go_on() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let script = "trap 'echo stop' TSTP; trap 'echo again' CONT; echo $$; \
        while :; do sleep 0.01; done";
    let mut running = Running::new(&world, &shop, &["--", "sh", "-c", script]);
    running.line();
    let hythe = running.child.id();
    let stopped = || {
        let stat = fs::read_to_string(format!("/proc/{hythe}/stat")).unwrap();
        stat.rsplit(") ").next().unwrap().starts_with('T')
    };
    running.signal(Signal::TSTP);
    assert_eq!(running.line(), "stop");
    assert!(eventually(stopped));
    running.signal(Signal::CONT);
    assert_eq!(running.line(), "again");
    assert!(!stopped());
    running.signal(Signal::TERM);
    assert_eq!(running.end().exits(143).stdout(), "");
}

#[test]
fn what_is_ignored_stays_ignored() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let mut shell = Command::new("sh");
    let plain = world.command(&shop);
    let script =
        format!("trap '' HUP; exec '{HYTHE}' run -- sh -c 'kill -HUP $$; echo survived; read x'");
    shell.args(["-c", &script]).current_dir(&shop).env_clear();
    shell.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut running = Running::start(&mut shell);
    assert_eq!(running.line(), "survived");
    running.signal(Signal::HUP);
    assert_eq!(running.end().exits(1).stdout(), "");
}

#[test]
fn a_command_outlives_a_hythe_that_is_killed_and_cleanup_follows_it() {
    let world = Harbour::new();
    let shop = world.repository("shop");
    let mut running = Running::new(&world, &shop, &["--", "sh", "-c", "echo $$; read x"]);
    let command: i32 = running.line().parse().unwrap();
    running.signal(Signal::KILL);
    // To wait for it would close the input of both.
    let input = running.child.stdin.take();
    assert!(!running.child.wait().unwrap().success());
    assert_eq!(ports(&world).len(), 1);
    world.configure("[plugins.pid-reap.options]\ngrace = \"0s\"\n");
    let cleanup = || world.run(&shop, ["cleanup"]).exits(0).stderr();
    assert_eq!(cleanup(), "nothing to release\n");
    assert!(Path::new(&format!("/proc/{command}")).exists());
    kill_process(Pid::from_raw(command).unwrap(), Signal::TERM).unwrap();
    assert!(eventually(|| cleanup().contains("released port") || ports(&world).is_empty()));
    assert!(ports(&world).is_empty());
    drop(input);
}

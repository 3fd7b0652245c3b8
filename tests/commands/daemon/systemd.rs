//! What the real systemd makes of a unit, where there is one.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Machine;
use crate::support::{HYTHE, Run, World};

fn skipped(test: &str, why: &str) {
    writeln!(std::io::stderr(), "skipped: {test}: {why}").unwrap();
}

/// Words that everything could go wrong with.
const TOKEN: &str = "t\n\"o\\k %n %% $HOME ${HOME} it's; #x";

/// A binary at an odd place, and how it is called there.
fn odd_place(world: &World) -> PathBuf {
    let hythe = world.dir("o dd 100% $x;#ü").join("hythe");
    fs::copy(HYTHE, &hythe).unwrap();
    hythe
}

#[test]
fn systemd_finds_no_fault_with_the_unit() {
    let test = "systemd_finds_no_fault_with_the_unit";
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return skipped(test, "needs systemd-analyze");
    }
    let machine = Machine::systemd();
    let hythe = odd_place(&machine.world);
    let mut command = machine.command(&["install", "--no-start", "--token-file", TOKEN]);
    let mut odd = Command::new(&hythe);
    odd.args(command.get_args()).env_clear().current_dir(machine.world.root());
    odd.env("HOME", machine.world.home()).env("PATH", &machine.tools);
    for install in [&mut command, &mut odd] {
        Run::of(install).ok();
        let verify = Command::new("systemd-analyze")
            .args(["verify", "--user"])
            .arg(machine.unit())
            .env("HOME", machine.world.home())
            .env("XDG_RUNTIME_DIR", machine.world.dir("run"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&verify.stderr);
        assert!(verify.status.success() && !said.contains("hythe.service"), "{said}");
    }
}

/// In a world of its own, where nothing else is started by it.
#[test]
fn a_real_systemd_starts_it_as_it_is_written() {
    let test = "a_real_systemd_starts_it_as_it_is_written";
    let systemd = Path::new("/lib/systemd/systemd");
    let apart = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--propagation=private"];
    let alone = Command::new(apart[0]).args(&apart[1..]).arg("true").output();
    let alone = alone.is_ok_and(|output| output.status.success());
    if !systemd.exists() || !alone || !rustix::process::geteuid().is_root() {
        return skipped(test, "needs root, systemd and unshare");
    }
    let world = World::new();
    let hythe = odd_place(&world);
    let script = r#"
        mount -t tmpfs none /run && mkdir -p -m 700 /run/systemd/system /run/user || exit 99
        export XDG_RUNTIME_DIR=/run/user
        /lib/systemd/systemd --user > "$HOME/systemd.log" 2>&1 &
        for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
            systemctl --user show-environment > /dev/null 2>&1 && break
            sleep 0.1
        done
        systemctl --user show-environment > /dev/null 2>&1 || exit 99
        "$HYTHE" daemon install --listen 127.0.0.1:0 --token-file "$TOKEN" --allow-host build.example || exit
        "$HYTHE" daemon status || exit
        pid=$("$HYTHE" daemon status --json | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')
        cp "/proc/$pid/cmdline" "$HOME/cmdline"
        grep NoNewPrivs "/proc/$pid/status"
        "$HYTHE" daemon install --listen 127.0.0.1:0 --token-file "$TOKEN" --allow-host build.example || exit
        "$HYTHE" daemon uninstall
    "#;
    let mut command = Command::new(apart[0]);
    command.args(&apart[1..]).args(["sh", "-c", script]).current_dir(world.root()).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", world.home());
    let output = command.env("HYTHE", &hythe).env("TOKEN", TOKEN).output().unwrap();
    if output.status.code() == Some(99) {
        return skipped(test, "no systemd can be run for a user here");
    }
    let told = Run::from(output).ok();
    assert!(told.contains("serving at http://127.0.0.1:"), "{told}");
    assert!(told.contains("running    yes\n"), "{told}");
    assert!(told.contains("NoNewPrivs:\t1\n"), "{told}");
    assert!(told.contains("unchanged "), "{told}");
    assert!(told.contains("removed "), "{told}");
    let token = world.root().join(TOKEN);
    let words = [&hythe, Path::new("serve"), Path::new("--listen"), Path::new("127.0.0.1:0")];
    let words = words.into_iter().chain([Path::new("--token-file"), &token]);
    let words = words.chain(["--allow-host", "build.example"].map(Path::new));
    let words: Vec<_> = words.flat_map(|word| [word.to_str().unwrap(), "\0"]).collect();
    assert_eq!(fs::read_to_string(world.home().join("cmdline")).unwrap(), words.concat());
}

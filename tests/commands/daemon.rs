//! The server as a service of the user's: what is written, what a service manager is told, and what is
//! told of a server. The tools of service managers are stand-ins that write down how they are called.

mod systemd;

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::listener::{Harbour, eventually};
use crate::schema::valid;
use crate::serving::Serving;
use crate::support::{HYTHE, Run, World};

/// A machine with a service manager.
struct Machine {
    world: World,
    tools: PathBuf,
}

impl Machine {
    /// A machine that has these tools alone.
    fn with(tools: &[&str]) -> Self {
        let world = World::new();
        let machine = Self { tools: world.dir("tools"), world };
        for tool in tools {
            // It fails where a file says so, and starts what there is to be started.
            let script = "#!/bin/sh\n\
                          echo \"${0##*/} $*\" >> \"$HOME/calls\"\n\
                          for word; do [ ! -e \"$HOME/fail-$word\" ] || {\n\
                              echo \"no $word today\" >&2; exit 1; }; done\n\
                          case \" $* \" in\n\
                          *' --now hythe'*|*' restart '*)\n\
                              [ ! -e \"$HOME/start\" ] || . \"$HOME/start\" ;;\n\
                          *' show-environment '*) echo A=b ;;\n\
                          *' --unit '*) echo a line ;;\n\
                          esac\n";
            executable(&machine.tools.join(tool), script);
        }
        machine
    }

    fn systemd() -> Self {
        Self::with(&["systemctl", "journalctl"])
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.command(&self.world.root());
        command.env("PATH", &self.tools).arg("daemon").args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Run {
        Run::of(&mut self.command(arguments))
    }

    fn unit(&self) -> PathBuf {
        self.world.home().join(".config/systemd/user/hythe.service")
    }

    fn exec_start(&self) -> String {
        let text = fs::read_to_string(self.unit()).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("ExecStart="));
        line.unwrap().to_owned()
    }

    /// How the tools were called since this was asked last.
    fn calls(&self) -> Vec<String> {
        let file = self.world.home().join("calls");
        let calls = fs::read_to_string(&file).unwrap_or_default();
        let _ = fs::remove_file(file);
        calls.lines().map(str::to_owned).collect()
    }

    /// Lets a tool fail when it is called with this word, or no longer.
    fn fails(&self, word: &str, fails: bool) {
        let file = self.world.home().join(format!("fail-{word}"));
        if fails { fs::write(file, "").unwrap() } else { fs::remove_file(file).unwrap() }
    }
}

fn executable(file: &Path, text: &str) {
    fs::write(file, text).unwrap();
    fs::set_permissions(file, Permissions::from_mode(0o755)).unwrap();
}

const ENABLE: &str = "systemctl --user enable --now hythe.service";
const PROBE: &str = "systemctl --user show-environment";
const RELOAD: &str = "systemctl --user daemon-reload";

#[test]
fn it_is_installed_once_and_started_anew_when_it_changes() {
    let machine = Machine::systemd();
    let unit = machine.unit();
    let run = machine.run(&["install"]).exits(0);
    assert_eq!(run.stdout(), format!("installed {}\n", unit.display()));
    assert!(run.stderr().contains("loginctl enable-linger"), "{}", run.stderr());
    assert!(run.stderr().contains("does not listen yet: `hythe daemon logs`"), "{}", run.stderr());
    assert_eq!(machine.calls(), [PROBE, RELOAD, ENABLE]);
    assert_eq!(machine.exec_start(), format!(":{HYTHE} serve --listen 127.0.0.1:9876"));
    assert_eq!(fs::metadata(&unit).unwrap().permissions().mode() & 0o777, 0o644);
    let written = fs::read(&unit).unwrap();

    let run = machine.run(&["install"]).exits(0);
    assert_eq!(run.stdout(), format!("unchanged {}\n", unit.display()));
    assert!(!run.stderr().contains("linger"), "that was said before");
    assert_eq!(machine.calls(), [PROBE, ENABLE], "it is started if it does not run");
    assert_eq!(fs::read(&unit).unwrap(), written);

    let text = machine.run(&["install", "--listen", "4000", "--listen", "unix:/run/h.sock"]).ok();
    assert_eq!(text, format!("changed {}\n", unit.display()));
    let restart = "systemctl --user restart hythe.service";
    assert_eq!(machine.calls(), [PROBE, RELOAD, "systemctl --user enable hythe.service", restart]);
    let expected = ":HYTHE serve --listen 127.0.0.1:4000 --listen unix:/run/h.sock";
    assert_eq!(machine.exec_start(), expected.replace("HYTHE", HYTHE));
    let siblings = fs::read_dir(unit.parent().unwrap()).unwrap().count();
    assert_eq!(siblings, 1, "nothing is left behind");

    assert_eq!(machine.run(&["uninstall"]).ok(), format!("removed {}\n", unit.display()));
    assert_eq!(machine.calls(), [PROBE, "systemctl --user disable --now hythe.service", RELOAD]);
    assert!(!unit.exists());
    assert!(machine.run(&["uninstall"]).fails(7).contains("is not installed"));
    assert_eq!(machine.calls(), [""; 0]);
}

#[test]
fn what_the_server_is_told_is_written_wherever_it_is_started() {
    let machine = Machine::systemd();
    let (root, home) = (machine.world.root(), machine.world.home());
    let install = |machine: &Machine, arguments: &[&str]| {
        machine.run(&[&["install", "--no-start"], arguments].concat()).ok();
        machine.exec_start().replace(root.to_str().unwrap(), "ROOT")
    };
    let said = install(
        &machine,
        &["--token-file", "t 1", "--allow-host", "me.example", "--rate-limit", "5"],
    );
    let hythe = HYTHE.replace(root.to_str().unwrap(), "ROOT");
    assert_eq!(
        said,
        format!(
            ":{hythe} serve --listen 127.0.0.1:9876 --token-file \"ROOT/t 1\" \
             --allow-host me.example --rate-limit 5"
        )
    );
    assert_eq!(fs::read_to_string(root.join("t 1")).unwrap().trim().len(), 64, "it is made");
    let said = install(
        &machine,
        &["--cleanup-every", "0s", "--lock-timeout", "2s", "--strategy", "cleanup=ttl,pid-reap"],
    );
    let global = "--lock-timeout 2s --strategy cleanup=ttl,pid-reap";
    let own = "--listen 127.0.0.1:9876 --cleanup-every 0s";
    assert_eq!(said, format!(":{hythe} {global} serve {own}"));

    // Variables of a shell are not those of a service manager.
    let mut command = machine.command(&["install", "--no-start"]);
    command.env("HYTHE_STATE_DIR", "st$te").env("HYTHE_CONFIG", "a\"b\\c%.toml");
    Run::of(&mut command).ok();
    assert_eq!(
        machine.exec_start().replace(root.to_str().unwrap(), "ROOT"),
        format!(
            ":{hythe} --config \"ROOT/a\\\"b\\\\c%%.toml\" --state-dir \"ROOT/st$te\" \
             serve --listen 127.0.0.1:9876"
        )
    );
    let mut command = machine.command(&["install", "--no-start"]);
    Run::of(command.env("XDG_STATE_HOME", home.join("st\nate"))).ok();
    let said = machine.exec_start().replace(root.to_str().unwrap(), "ROOT");
    assert!(said.contains(r#" --state-dir "ROOT/home/st\nate/hythe" serve "#), "{said}");

    let before = fs::read(machine.unit()).unwrap();
    let mut command = machine.command(&["install", "--no-start"]);
    let stderr = Run::of(command.arg("--token-file").arg(OsStr::from_bytes(b"t\xff"))).fails(2);
    assert!(stderr.contains("not UTF-8"), "{stderr}");
    let stderr = machine.run(&["install", "--listen", "0.0.0.0:4000"]).fails(8);
    assert!(stderr.contains("a token is needed"), "{stderr}");
    fs::write(root.join("open"), "0123456789abcdef").unwrap();
    let stderr = machine.run(&["install", "--token-file", "open"]).fails(3);
    assert!(stderr.contains("others may read it"), "{stderr}");
    assert_eq!(fs::read(machine.unit()).unwrap(), before);
}

#[test]
fn a_dry_run_writes_and_runs_nothing() {
    let machine = Machine::systemd();
    let text = machine.run(&["install", "--dry-run", "--token-file", "token"]).ok();
    let unit = machine.unit();
    assert!(text.starts_with(&format!("would write {}\n\n# Written by", unit.display())), "{text}");
    assert!(text.ends_with(&format!("\nwould run {RELOAD}\nwould run {ENABLE}\n")), "{text}");
    assert!(text.contains("\nType=exec\n"), "{text}");
    assert_eq!(machine.calls(), [""; 0]);
    let entries = fs::read_dir(machine.world.home()).unwrap().count();
    assert_eq!((entries, machine.world.root().join("token").exists()), (0, false));

    machine.run(&["install"]).ok();
    machine.calls();
    let text = machine.run(&["install", "-n"]).ok();
    assert!(text.starts_with(&format!("{} is as it should be\n", unit.display())), "{text}");
    let text = machine.run(&["uninstall", "-n"]).ok();
    let lines = ["disable --now hythe.service", "daemon-reload"];
    let lines = lines.map(|words| format!("would run systemctl --user {words}\n"));
    assert_eq!(text, format!("would remove {}\n{}", unit.display(), lines.concat()));
    assert_eq!(machine.calls(), [""; 0]);
    assert!(unit.exists());
}

#[test]
fn a_file_of_somebody_elses_stays_without_force() {
    let machine = Machine::systemd();
    let unit = machine.unit();
    fs::create_dir_all(unit.parent().unwrap()).unwrap();
    fs::write(&unit, "[Service]\nExecStart=/usr/bin/mine\n").unwrap();
    for arguments in [&["install"][..], &["install", "-n"], &["uninstall"], &["install", "--json"]]
    {
        let stderr = machine.run(arguments).fails(8);
        assert!(stderr.contains("was not written by hythe"), "{stderr}");
    }
    assert!(fs::read_to_string(&unit).unwrap().contains("mine"));
    assert_eq!(machine.calls(), [""; 0]);
    machine.run(&["install", "--no-start", "--force"]).ok();
    assert!(fs::read_to_string(&unit).unwrap().contains("hythe daemon install"));
    fs::write(&unit, "[Service]\n").unwrap();
    machine.run(&["uninstall", "--force"]).ok();
    assert!(!unit.exists());
    // A link that leads nowhere is somebody's as well.
    std::os::unix::fs::symlink("nowhere", &unit).unwrap();
    machine.run(&["install"]).fails(8);
    // What a link leads to is written, and the link stays.
    let real = machine.world.home().join("real.service");
    fs::remove_file(&unit).unwrap();
    std::os::unix::fs::symlink(&real, &unit).unwrap();
    fs::write(&real, "# Written by `hythe daemon install` of hythe 0.0.1\n").unwrap();
    machine.run(&["install", "--no-start"]).ok();
    assert!(unit.is_symlink() && fs::read_to_string(&real).unwrap().contains("ExecStart"));
}

#[test]
fn without_a_service_manager_only_the_file_can_be_written() {
    let machine = Machine::with(&[]);
    let stderr = machine.run(&["install"]).fails(8);
    assert!(stderr.contains("there is no service manager here"), "{stderr}");
    assert!(stderr.contains("hint: hythe serve, or: hythe daemon install --no-start"), "{stderr}");
    assert!(!machine.unit().exists(), "a failure changes nothing");
    let stderr = machine.run(&["logs"]).fails(7);
    assert!(stderr.contains("`journalctl` is not found"), "{stderr}");

    // It is there, and has no bus for this user.
    let machine = Machine::systemd();
    machine.fails("show-environment", true);
    let stderr = machine.run(&["install"]).fails(8);
    assert!(stderr.contains("cannot be reached: ") && stderr.contains("no show-env"), "{stderr}");
    assert!(!machine.unit().exists());
    let run = machine.run(&["install", "--no-start"]).exits(0);
    assert!(run.stderr().contains("later: systemctl --user daemon-reload"), "{}", run.stderr());
    assert!(run.stderr().contains("later: systemctl --user enable hythe.service"));
    assert!(machine.unit().exists());
    machine.run(&["uninstall"]).ok();
    assert!(!machine.unit().exists());
}

#[test]
fn what_the_service_manager_refuses_is_told() {
    let machine = Machine::systemd();
    machine.fails("enable", true);
    let stderr = machine.run(&["install"]).fails(1);
    assert!(stderr.contains(&format!("`{ENABLE}` failed: no enable today")), "{stderr}");
    machine.fails("enable", false);
    machine.run(&["install"]).ok();
    machine.fails("disable", true);
    let stderr = machine.run(&["uninstall"]).fails(1);
    assert!(stderr.contains("no disable today"), "{stderr}");
    assert!(machine.unit().exists(), "what still runs is still installed");
}

#[test]
fn logs_are_those_of_the_service_manager() {
    let machine = Machine::systemd();
    assert_eq!(machine.run(&["logs"]).ok(), "a line\n");
    machine.run(&["logs", "-n", "20", "--follow"]).ok();
    machine.run(&["logs", "--json"]).ok();
    let unit = "journalctl --user --unit hythe.service";
    let follow = format!("{unit} --lines=20 --follow");
    assert_eq!(machine.calls(), [unit.to_owned(), follow, format!("{unit} --output=json")]);
    machine.fails("--unit", true);
    assert!(machine.run(&["logs"]).fails(1).contains("no --unit today"));
}

#[test]
fn launchd_is_told_in_its_own_words() {
    let machine = Machine::with(&["launchctl", "tail"]);
    let home = machine.world.home();
    let plist = home.join("Library/LaunchAgents/hythe.plist");
    let gui = format!("gui/{}", rustix::process::getuid().as_raw());
    let call = |words: &str| format!("launchctl {}", words.replace("GUI", &gui));
    let bootstrap = call(&format!("bootstrap GUI {}", plist.display()));
    let (probe, kick) = (call("print GUI"), call("kickstart GUI/hythe"));

    let text = machine.run(&["install", "--listen", "unix:/a&b<c>"]).ok();
    assert_eq!(text, format!("installed {}\n", plist.display()));
    assert_eq!(machine.calls(), [&probe[..], &bootstrap, &kick]);
    let written = fs::read_to_string(&plist).unwrap();
    assert!(written.contains("<string>unix:/a&amp;b&lt;c&gt;</string>"), "{written}");
    assert!(written.contains(&format!("<string>{HYTHE}</string>")), "{written}");
    assert!(home.join("Library/Logs").is_dir());
    machine.run(&["install", "--listen", "unix:/a&b<c>"]).ok();
    assert_eq!(machine.calls(), [&probe[..], &bootstrap, &kick]);
    machine.run(&["install"]).ok();
    assert_eq!(machine.calls(), [&probe[..], &call("bootout GUI/hythe"), &bootstrap]);
    machine.run(&["install", "--no-start", "--listen", "1"]).ok();
    assert_eq!(machine.calls(), [&probe[..]]);

    machine.run(&["logs"]).ok();
    machine.run(&["logs", "-n", "5", "-f"]).ok();
    let log = home.join("Library/Logs/hythe.log").display().to_string();
    assert_eq!(machine.calls(), [format!("tail -n 100 {log}"), format!("tail -n 5 -f {log}")]);
    assert!(machine.run(&["logs", "--json"]).fails(2).contains("plain text"));
    // It need not be loaded to be removed.
    machine.fails("bootout", true);
    machine.run(&["uninstall"]).ok();
    assert!(!plist.exists());
}

/// A server that a stand-in starts, and that ends with the test.
struct Started<'m>(&'m Machine);

impl<'m> Started<'m> {
    fn by(machine: &'m Machine) -> Self {
        let script = format!(
            "[ -e \"$HOME/pid\" ] || {{\n\
                 {HYTHE} serve --listen 127.0.0.1:0 > /dev/null 2>&1 &\n\
                 echo $! > \"$HOME/pid\"; }}\n"
        );
        fs::write(machine.world.home().join("start"), script).unwrap();
        Self(machine)
    }
}

impl Drop for Started<'_> {
    fn drop(&mut self) {
        if let Ok(pid) = fs::read_to_string(self.0.world.home().join("pid")) {
            let _ = Command::new("kill").arg(pid.trim()).status();
        }
    }
}

#[test]
fn where_it_serves_is_told_once_it_does() {
    let machine = Machine::systemd();
    let started = Started::by(&machine);
    let text = machine.run(&["install"]).ok();
    let address = text.lines().find_map(|line| line.strip_prefix("serving at ")).unwrap();
    let status = machine.run(&["status"]).ok();
    assert!(status.contains(&format!("address    {address}\n")), "{status}");
    assert!(status.contains(&format!("installed  {}\n", machine.unit().display())), "{status}");
    let again = valid("daemon-install", machine.run(&["install", "--json"]).json());
    assert_eq!((&again["outcome"], &again["listen"]), (&json!("unchanged"), &json!([address])));
    drop(started);
}

#[test]
fn a_server_that_runs_by_itself_is_in_the_way() {
    let machine = Machine::systemd();
    let serving = Serving::start(&machine.world, &[]);
    let stderr = machine.run(&["install"]).fails(8);
    assert!(stderr.contains(&format!("as process {}", serving.pid())), "{stderr}");
    assert!(stderr.contains(&format!("kill {}", serving.pid())), "{stderr}");
    machine.run(&["install", "--no-start"]).ok();
    drop(serving);
    machine.run(&["install"]).ok();
}

#[test]
fn a_server_is_told_of_while_it_runs_hangs_and_when_it_was_killed() {
    let world = Harbour::new();
    let status = |code: i32| {
        let run = world.run(&world.root(), ["daemon", "status", "--json"]).exits(code);
        let document = valid("daemon-status", serde_json::from_str(&run.stdout()).unwrap());
        (document, run.stderr())
    };
    let (document, stderr) = status(7);
    assert!(stderr.contains("no server runs"), "{stderr}");
    assert_eq!(
        (&document["running"], &document["answers"], &document["left_behind"]),
        (&json!(false), &Value::Null, &Value::Null)
    );
    assert!(!world.state().exists(), "who only looks makes nothing");

    let mut serving = Serving::start(&world, &[]);
    let (document, stderr) = status(0);
    assert_eq!(stderr, "");
    let said = ["running", "answers", "stale", "installed"].map(|name| &document[name]);
    assert_eq!(said, [true, true, false, false]);
    assert_eq!(document["pid"], serving.pid());
    assert_eq!(document["listen"], json!([format!("http://127.0.0.1:{}", serving.port())]));
    assert_eq!(document["server_version"], env!("CARGO_PKG_VERSION"));

    // One that is stopped holds the ledger's lock, and answers nobody.
    let signal = |name: &str| {
        let pid = serving.pid().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    };
    signal("-STOP");
    let (document, stderr) = status(7);
    assert_eq!((&document["running"], &document["answers"]), (&json!(true), &json!(false)));
    assert!(stderr.contains("does not answer"), "{stderr}");
    let text = world.run(&world.root(), ["daemon", "status"]).exits(7);
    assert!(
        text.stdout().contains("running    yes, but it does not answer\n"),
        "{}",
        text.stdout()
    );
    signal("-CONT");
    assert!(eventually(|| world
        .run(&world.root(), ["daemon", "status"])
        .exits(0)
        .stderr()
        .is_empty()));

    // Another version of it, as it says itself.
    let file = world.state().join("serve.json");
    let said = fs::read_to_string(&file).unwrap();
    fs::write(&file, said.replace(env!("CARGO_PKG_VERSION"), "0.0.1")).unwrap();
    assert_eq!(status(0).0["stale"], true);
    let text = world.run(&world.root(), ["daemon", "status"]).ok();
    let restart = format!("to start it anew: kill {} && hythe serve", serving.pid());
    assert!(text.contains(&restart), "{text}");
    fs::write(&file, said).unwrap();

    let pid = serving.pid();
    serving.end(Signal::KILL);
    let (document, stderr) = status(7);
    assert_eq!(
        (&document["running"], &document["left_behind"]["pid"]),
        (&json!(false), &json!(pid))
    );
    assert!(stderr.contains(&format!("process {pid} was killed")), "{stderr}");

    // Who is asked to end takes its traces along.
    let serving = Serving::start(&world, &[]);
    assert_eq!(status(0).0["left_behind"], Value::Null);
    let pid = serving.pid().to_string();
    assert!(Command::new("kill").arg(&pid).status().unwrap().success());
    assert!(eventually(|| !file.exists()));
    assert!(eventually(|| status(7).0["left_behind"] == Value::Null));
}

#[test]
fn documents_are_what_their_schemas_say() {
    let machine = Machine::systemd();
    let run = |arguments: &[&str]| machine.run(&[arguments, &["--json"]].concat()).json();
    let planned = valid("daemon-install", run(&["install", "--dry-run"]));
    assert_eq!((&planned["dry_run"], &planned["outcome"]), (&json!(true), &json!("installed")));
    let made = valid("daemon-install", run(&["install"]));
    assert_eq!(made["text"], fs::read_to_string(machine.unit()).unwrap());
    assert_eq!((&made["text"], &made["manager"]), (&planned["text"], &json!("systemd")));
    assert_eq!(made["commands"], json!([RELOAD, ENABLE]));
    for arguments in [&["uninstall", "--dry-run"][..], &["uninstall"]] {
        valid("daemon-uninstall", run(arguments));
    }
    let stderr = machine.run(&["uninstall", "--json"]).fails(7);
    valid("error", serde_json::from_str(&stderr).unwrap());
}

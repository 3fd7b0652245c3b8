//! What the storms share: the machine's tools, and what holds after every one of them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::support::{Run, World};

/// A world with ports of this range.
pub fn world_in(range: &str) -> World {
    let world = World::new();
    world.config(&format!("[ports]\nrange = \"{range}\"\n"));
    world
}

/// A world whose ports nobody takes: the strangers of other tests stay below 25000.
pub fn quiet_world() -> World {
    world_in("25000-29999")
}

/// Runs it to its end. Whatever that is, it is no panic.
#[track_caller]
pub fn calm(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    no_panic(&output);
    output
}

#[track_caller]
pub fn no_panic(output: &Output) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("panicked at"), "{stderr}");
    assert!(!matches!(output.status.code(), Some(101 | 134)), "{}: {stderr}", output.status);
}

/// Runs `hythe ARGUMENTS` in `directory` to its end, which is no panic.
#[track_caller]
pub fn hythe(world: &World, directory: &Path, arguments: &[&str]) -> Run {
    Run::from(calm(world.command(directory).args(arguments)))
}

/// Runs it; its exit code, which is one of `codes`, and its output.
#[track_caller]
pub fn ends(command: &mut Command, codes: &[i32]) -> (i32, Output) {
    let output = calm(command);
    match output.status.code().filter(|code| codes.contains(code)) {
        Some(code) => (code, output),
        None => panic!("{} is none of {codes:?}: {output:?}", output.status),
    }
}

/// `command`, run by `tool`, as in `unshare --net hythe …`. The environment is that of
/// [`World::command`].
pub fn under(tool: &[&str], command: &Command) -> Command {
    let mut outer = Command::new(tool[0]);
    outer.args(&tool[1..]).arg(command.get_program()).args(command.get_args());
    outer.env_clear().stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            outer.env(name, value);
        }
    }
    outer.current_dir(command.get_current_dir().unwrap());
    outer
}

/// `command` with `sh -c 'SCRIPT'` before it, where `"$@"` stands for it.
pub fn in_shell(script: &str, command: &Command) -> Command {
    under(&["sh", "-c", script, "sh"], command)
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says on the real stderr why a test is not run here.
pub fn skipped(test: &str, why: &str) {
    writeln!(std::io::stderr(), "skipped: {test}: {why}").unwrap();
}

/// Whether a tool does its work here.
pub fn works(tool: &[&str]) -> bool {
    let mut command = Command::new(tool[0]);
    command.args(&tool[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// `unshare` with these namespaces, where it is allowed to.
pub fn unshare(test: &str, namespaces: &[&'static str]) -> Option<Vec<&'static str>> {
    let user: &[_] = if is_root() { &[] } else { &["--map-root-user"] };
    let tool = [&["unshare"], user, namespaces].concat();
    if works(&[tool.as_slice(), &["true"]].concat()) {
        return Some(tool);
    }
    skipped(test, &format!("needs root, or `{}` to be allowed", tool.join(" ")));
    None
}

/// `command` as somebody for whom file modes count. Root is somebody else without the capabilities
/// that overrule them (capabilities(7)).
pub fn powerless(test: &str, command: &Command) -> Option<Command> {
    let tool = [
        "setpriv",
        "--bounding-set=-dac_override,-dac_read_search",
        "--inh-caps=-dac_override,-dac_read_search",
    ];
    let tool = if is_root() { &tool[..] } else { &["env"] };
    if works(&[tool, &["true"]].concat()) {
        return Some(under(tool, command));
    }
    skipped(test, "needs `setpriv`");
    None
}

/// `python3`, where there is one; the system's own first, which needs no home to be found.
pub fn python(test: &str) -> Option<&'static str> {
    let python =
        ["/usr/bin/python3", "python3"].into_iter().find(|python| works(&[python, "-c", ""]));
    if python.is_none() {
        skipped(test, "needs `python3`");
    }
    python
}

/// Whether `strace` can be used to break system calls.
pub fn strace(test: &str) -> bool {
    let tool = ["strace", "-qq", "-o", "/dev/null", "-e", "inject=getpgid:error=EIO", "true"];
    let works = works(&tool);
    if !works {
        skipped(test, "needs `strace`, and the right to trace");
    }
    works
}

/// `command` under `strace`, with `inject` done to system calls on the files of the state directory.
pub fn injected(world: &World, inject: &str, command: &Command) -> Command {
    let state = world.state();
    let files = ["", "ledger.db", "ledger.db-journal", "ledger.db.new", "ledger.lock"];
    let files: Vec<_> =
        files.iter().map(|file| state.join(file).to_str().unwrap().to_owned()).collect();
    let inject = format!("inject={inject}");
    let calls = inject.split([':', '=']).nth(1).unwrap().to_owned();
    let mut tool = vec!["strace", "-f", "-qq", "-o", "/dev/null", "-e", &calls, "-e", &inject];
    for file in &files {
        tool.extend(["-P", file.trim_end_matches('/')]);
    }
    under(&tool, command)
}

/// Kills `writer` at the end of its transaction: everything is written, and its journal, which says
/// how to undo it, is still there.
#[track_caller]
pub fn leave_a_hot_journal(world: &World, writer: &Command) {
    let inject = "?unlink,unlinkat:signal=KILL:when=1";
    let output = calm(&mut injected(world, inject, writer));
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    let journal = world.state().join("ledger.db-journal");
    assert!(journal.metadata().unwrap().len() > 512, "the journal is empty");
}

/// What is in the ledger of `world`, which is sound.
pub struct Books {
    connection: Connection,
}

impl Books {
    /// Opens the ledger, and rolls back what a killed writer has left.
    #[track_caller]
    pub fn open(world: &World) -> Self {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(world.ledger(), flags).unwrap();
        connection.busy_timeout(Duration::from_secs(10)).unwrap();
        let books = Self { connection };
        assert_eq!(books.strings("PRAGMA integrity_check"), ["ok"]);
        books
    }

    fn strings(&self, sql: &str) -> Vec<String> {
        let mut statement = self.connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }

    pub fn number(&self, sql: &str) -> i64 {
        self.connection.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    pub fn change(&self, sql: &str) {
        self.connection.execute_batch(sql).unwrap();
    }

    /// The port of each directory and service.
    pub fn ports(&self) -> BTreeMap<(PathBuf, String), u16> {
        self.rows("SELECT directory, service, port FROM reservation")
    }

    /// The ports as the recorded events leave them, one after the other. None goes to a key while
    /// another one has it.
    #[track_caller]
    pub fn replayed(&self) -> BTreeMap<(PathBuf, String), u16> {
        let sql = "SELECT kind, directory, service, port, from_port FROM event ORDER BY id";
        let mut statement = self.connection.prepare(sql).unwrap();
        let mut rows = statement.query([]).unwrap();
        let mut ports = BTreeMap::new();
        while let Some(row) = rows.next().unwrap() {
            let (kind, port): (String, u16) = (row.get(0).unwrap(), row.get(3).unwrap());
            let key = (path(row.get(1).unwrap()), row.get::<_, String>(2).unwrap());
            match kind.as_str() {
                "reserved" | "returned" => {
                    assert!(!ports.values().any(|taken| *taken == port), "{port} was taken");
                    assert_eq!(ports.insert(key, port), None, "the key had a port already");
                }
                "moved" => {
                    assert!(!ports.values().any(|taken| *taken == port), "{port} was taken");
                    assert_eq!(ports.insert(key, port), row.get(4).unwrap());
                }
                "released" => assert_eq!(ports.remove(&key), Some(port)),
                "locked" | "unlocked" | "updated" => assert_eq!(ports.get(&key), Some(&port)),
                other => panic!("an unknown event: {other}"),
            }
        }
        ports
    }

    fn rows(&self, sql: &str) -> BTreeMap<(PathBuf, String), u16> {
        let mut statement = self.connection.prepare(sql).unwrap();
        let read = |row: &rusqlite::Row<'_>| {
            Ok(((path(row.get(0)?), row.get::<_, String>(1)?), row.get(2)?))
        };
        let rows = statement.query_map([], read).unwrap();
        rows.map(Result::unwrap).collect()
    }
}

fn path(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(bytes).into()
}

/// Every file of a directory, with its bytes.
pub fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

/// Puts the files of `from` into `to`, and nothing else.
pub fn restore(from: &BTreeMap<PathBuf, Vec<u8>>, directory: &Path) {
    if directory.exists() {
        fs::remove_dir_all(directory).unwrap();
    }
    fs::create_dir_all(directory).unwrap();
    for (path, bytes) in from {
        File::create(path).unwrap().write_all(bytes).unwrap();
    }
}

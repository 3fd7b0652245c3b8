//! A world: a home, a directory that asks for ports, and ledgers of any size.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rusqlite::Connection;
use tempfile::TempDir;

use super::Outcome;
use super::yard::{Program, Yard, on_path};

/// A home, and a directory that asks for ports.
pub(super) struct World<'a> {
    yard: &'a Yard,
    root: TempDir,
}

impl<'a> World<'a> {
    /// A world in `root`.
    pub(super) fn new(yard: &'a Yard, root: TempDir) -> Outcome<Self> {
        let world = Self { yard, root };
        fs::create_dir_all(world.home())?;
        fs::create_dir_all(world.place())?;
        Ok(world)
    }

    fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// The directory that asks for ports.
    pub(super) fn place(&self) -> PathBuf {
        self.root.path().join("place")
    }

    /// Where Hythe keeps compiled plugins.
    pub(super) fn cache(&self) -> PathBuf {
        self.home().join(".cache/hythe")
    }

    /// Where a program keeps what it knows.
    fn data(&self, program: Program) -> PathBuf {
        self.home().join(if program == Program::Trop { ".trop" } else { ".local/state/hythe" })
    }

    fn database(&self, program: Program) -> PathBuf {
        self.data(program).join(if program == Program::Trop { "trop.db" } else { "ledger.db" })
    }

    /// `PROGRAM ARGUMENTS` in the place, with no variables but those that are needed.
    pub(super) fn command(&self, program: Program, arguments: &[&str]) -> Command {
        let executable = self.yard.executable(program).unwrap_or(Path::new("trop"));
        self.surround(Command::new(executable), arguments)
    }

    /// `TOOL PROGRAM ARGUMENTS` in the place; `None` when one of them is not there.
    pub(super) fn under(
        &self,
        tool: &[&str],
        program: Program,
        arguments: &[&str],
    ) -> Option<Command> {
        let (tool, options) = tool.split_first()?;
        let mut command = Command::new(on_path(tool)?);
        command.args(options).arg(self.yard.executable(program)?);
        Some(self.surround(command, arguments))
    }

    fn surround(&self, mut command: Command, arguments: &[&str]) -> Command {
        command
            .args(arguments)
            .current_dir(self.place())
            .env_clear()
            .env("HOME", self.home())
            .env("TROP_DATA_DIR", self.data(Program::Trop))
            .stdin(Stdio::null());
        command
    }

    /// What `PROGRAM ARGUMENTS` prints. Fails when it fails.
    pub(super) fn answer(&self, program: Program, arguments: &[&str]) -> Outcome<String> {
        let mut command = self.command(program, arguments);
        let output = command.output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{command:?}: {said}").into());
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Selects a plugin that is not bundled; in truth a copy of one that is.
    pub(super) fn use_custom_plugin(&self) -> Outcome<()> {
        let directory = self.home().join(".config/hythe");
        fs::create_dir_all(&directory)?;
        fs::copy(self.yard.plugin(), directory.join("custom.wasm"))?;
        let config = "strategy = { key = \"custom\", selection = \"custom\" }\n\
                      plugins.custom.path = \"custom.wasm\"\n";
        Ok(fs::write(directory.join("config.toml"), config)?)
    }

    /// Declares plugins that nothing selects.
    pub(super) fn declare_unused(&self, count: usize) -> Outcome<()> {
        let directory = self.home().join(".config/hythe");
        fs::create_dir_all(&directory)?;
        let mut config = String::new();
        for number in 0..count {
            fs::copy(self.yard.plugin(), directory.join(format!("unused-{number}.wasm")))?;
            let path = format!("plugins.unused-{number}.path = \"unused-{number}.wasm\"\n");
            config.push_str(&path);
        }
        Ok(fs::write(directory.join("config.toml"), config)?)
    }

    /// Adds reservations like that of the place, until there are `count`. Every directory exists,
    /// or every other one when `half_gone`.
    pub(super) fn filled(self, count: u16, half_gone: bool) -> Outcome<Self> {
        let mut directories = Vec::new();
        for number in 1..count {
            let directory = self.root.path().join(format!("projects/{number}"));
            if !half_gone || number % 2 == 0 {
                fs::create_dir_all(&directory)?;
            }
            directories
                .push(directory.to_str().ok_or("the scratch directory is not UTF-8")?.into());
        }
        for program in [Program::Hythe, Program::Trop] {
            if self.yard.has(program) {
                fill(program, &self.database(program), &directories)?;
            }
        }
        Ok(self)
    }

    /// Removes all that a program knows.
    pub(super) fn forget(&self, program: Program) -> Outcome<()> {
        match fs::remove_dir_all(self.data(program)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Puts a program's database back to what it was when this was called first, on disk: what is
    /// timed next has nothing to sync but its own.
    pub(super) fn restore(&self, program: Program) -> Outcome<()> {
        let database = self.database(program);
        let kept = database.with_extension("kept");
        if !kept.exists() {
            fs::copy(&database, &kept)?;
        }
        fs::copy(&kept, &database)?;
        Ok(File::open(&database)?.sync_all()?)
    }
}

/// Repeats the one reservation of a database for these directories, at every other port from 10000
/// onward; and says that cleanup has just run, or the next new key would start with one.
fn fill(program: Program, database: &Path, directories: &[String]) -> rusqlite::Result<()> {
    let (table, change, rest) = match program {
        Program::Trop => ("reservations", "port = ?1, path = ?2", ""),
        _ => (
            "reservation",
            "port = ?1, directory = CAST(?2 AS BLOB), key = 'directory:main:' || ?2",
            "UPDATE state SET cleaned_at = (SELECT max(created_at) FROM reservation)",
        ),
    };
    let mut connection = Connection::open(database)?;
    let transaction = connection.transaction()?;
    transaction
        .execute_batch(&format!("CREATE TEMP TABLE one AS SELECT * FROM {table}; {rest}"))?;
    let own: u16 = transaction.query_row("SELECT port FROM one", [], |row| row.get(0))?;
    {
        let mut vary = transaction.prepare(&format!("UPDATE one SET {change}"))?;
        let mut insert = transaction.prepare(&format!("INSERT INTO {table} SELECT * FROM one"))?;
        let ports = (10_000_u16..).step_by(2).filter(|port| *port != own);
        for (port, directory) in ports.zip(directories) {
            vary.execute((port, directory))?;
            insert.execute([])?;
        }
    }
    transaction.commit()
}

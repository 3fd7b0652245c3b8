//! Chores of this repository that are more than one command: `cargo xtask SUBCOMMAND`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool speaks to its terminal")]

mod tidy;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

/// Chores of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Check what the compiler does not: layers, file sizes, names, leftovers, migrations.
    Tidy,
}

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let done = match Task::parse() {
        Task::Tidy => tidy::run(&root),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

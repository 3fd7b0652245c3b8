//! Chores of this repository that are more than one command: `cargo xtask SUBCOMMAND`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool speaks to its terminal")]

mod bench;
mod bundle;
mod examples;
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
    /// Build the default plugins and put them under plugins/bundled.
    Bundle {
        /// Compare with what is there instead, byte for byte.
        #[arg(long)]
        check: bool,
    },
    Bench(bench::Bench),
    Examples(examples::Examples),
}

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let done = match Task::parse() {
        Task::Tidy => tidy::run(&root),
        Task::Bundle { check } => bundle::run(&root, check),
        Task::Bench(bench) => bench.run(&root),
        Task::Examples(examples) => examples.run(&root),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

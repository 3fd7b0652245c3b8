use std::io;
use std::os::unix::process::CommandExt;

use clap::Args;
use hythe_document::{ExitCode, Failure};

use super::supervisor::Supervisor;
use crate::environment::Environment;
use crate::output::Output;

/// Show what the installed server has said
///
/// By journalctl, which is told --json as well; on macOS by tail.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// At most this many lines, the latest
    #[arg(short = 'n', long, value_name = "COUNT")]
    lines: Option<u32>,
    /// Go on with what it says from now on
    #[arg(short, long)]
    follow: bool,
}

impl Logs {
    pub(crate) fn run(&self, environment: &Environment, output: &Output) -> Result<(), Failure> {
        let manager = Supervisor::of_user(environment)?;
        if output.json && !manager.keeps_documents() {
            let message = "what launchd keeps is plain text";
            return Err(Failure::usage(message, Some("hythe daemon logs")));
        }
        let mut command = manager.logs(self.lines, self.follow, output.json);
        let program = command.get_program().to_string_lossy().into_owned();
        // It becomes that command: its exit code is the answer.
        let error = command.exec();
        if error.kind() == io::ErrorKind::NotFound {
            let message = format!("`{program}` is not found");
            let code = ExitCode::NotFound;
            return Err(Failure { code, ..Failure::usage(&message, Some("hythe daemon status")) });
        }
        Err(Failure::unexpected(format!("`{program}` cannot be started: {error}")))
    }
}

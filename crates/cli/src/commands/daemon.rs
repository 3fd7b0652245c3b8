mod install;
mod logs;
mod status;
mod supervisor;
mod uninstall;

use clap::Subcommand;
use hythe_document::Failure;

use crate::args::Global;
use crate::environment::Environment;
use crate::output::Output;

/// Have the server run all the time, by systemd or launchd, and look after it
///
/// No other command needs it: they work on the same ledger, with it or without.
#[derive(Debug, Subcommand)]
pub(crate) enum Daemon {
    Install(install::Install),
    Uninstall(uninstall::Uninstall),
    Status(status::Status),
    Logs(logs::Logs),
}

impl Daemon {
    pub(crate) fn run(
        &self,
        global: &Global,
        environment: &Environment,
        output: &Output,
    ) -> Result<(), Failure> {
        match self {
            Self::Install(install) => install.run(global, environment, output),
            Self::Uninstall(uninstall) => uninstall.run(environment, output),
            Self::Status(status) => status.run(environment, output),
            Self::Logs(logs) => logs.run(environment, output),
        }
    }
}

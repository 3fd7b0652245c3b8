use clap::{Args, CommandFactory};
use clap_complete::Shell;
use hythe_document::Failure;

use crate::args::Cli;
use crate::completion::{SHELLS, VARIABLE};
use crate::output::Output;

/// Print a completion script for a shell
///
///   hythe completions bash > ~/.local/share/bash-completion/completions/hythe
///
/// The script asks hythe for commands, options, services, ports, projects and plugins when they are
/// to be completed. In PowerShell it knows commands and options alone. Print it anew after an
/// upgrade.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self, output: &Output) -> Result<(), Failure> {
        let mut script = Vec::new();
        let name = self.shell.to_string();
        match SHELLS.into_iter().find(|shell| shell.name() == name) {
            Some(shell) => shell
                .write_registration(VARIABLE, "hythe", "hythe", "hythe", &mut script)
                .map_err(|error| Failure::output(&error))?,
            None => clap_complete::generate(self.shell, &mut Cli::command(), "hythe", &mut script),
        }
        output.print(&String::from_utf8_lossy(&script))
    }
}

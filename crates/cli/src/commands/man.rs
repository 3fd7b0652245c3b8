use std::io;

use clap::{Args, CommandFactory};
use clap_mangen::Man as Page;
use hythe_document::Failure;

use crate::args::Cli;
use crate::output::Output;

/// Print a manual page, for `man -l -`
///
///   hythe man reserve | man -l -
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Man {
    /// The command it is about, such as `reserve` or `plugin add`; hythe itself by default
    command: Vec<String>,
}

impl Man {
    pub(crate) fn run(&self, output: &Output) -> Result<(), Failure> {
        let mut command = Cli::command();
        command.build();
        let mut name = command.get_name().to_owned();
        for part in &self.command {
            let found = command.get_subcommands().find(|it| {
                it.get_name() == part || it.get_all_aliases().any(|alias| alias == part)
            });
            let found = found.cloned().ok_or_else(|| {
                let message = format!("`{name}` has no command `{part}`");
                Failure::usage(&message, Some(&format!("{name} --help")))
            })?;
            name = format!("{name} {}", found.get_name());
            command = found;
        }
        // The page of a command is found as git's are: by its whole name, joined.
        let title = name.replace(' ', "-");
        let source = concat!("hythe ", env!("CARGO_PKG_VERSION"));
        let page = Page::new(command).title(title).source(source);
        let mut text = Vec::new();
        let rendered: io::Result<()> = page.render(&mut text);
        rendered.map_err(|error| Failure::output(&error))?;
        output.print(&String::from_utf8_lossy(&text))
    }
}

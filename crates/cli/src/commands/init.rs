use clap::Args;
use hythe_document::Failure;
use hythe_engine::{Begun, Contents, Engine, InitRequest, Label, Port, Service};
use serde_json::json;

use crate::output::{Output, clean, document};

/// Write a commented hythe.toml here, or with --user your config.toml
///
/// Where no service is named, those of a Procfile beside it are taken. A file that is there is not written
/// over without --force.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The project's name; by default left to be the repository's
    #[arg(long, value_name = "NAME", conflicts_with = "user")]
    project: Option<Label>,
    /// A service, and its preferred port; may be repeated
    #[arg(long, value_name = "NAME[=PORT]", value_parser = service, conflicts_with = "user")]
    service: Vec<(Service, Option<Port>)>,
    /// Your config.toml, with every setting explained and commented out
    #[arg(long)]
    pub(crate) user: bool,
    /// Write over a file that is there
    #[arg(long)]
    force: bool,
    /// Print what would be written, and write nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

fn service(text: &str) -> Result<(Service, Option<Port>), String> {
    let (name, port) = match text.split_once('=') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    let service = name.parse().map_err(|error: hythe_engine::NameError| error.to_string())?;
    let port = port.map(str::parse).transpose();
    Ok((service, port.map_err(|error: hythe_engine::PortError| error.to_string())?))
}

impl Init {
    pub(crate) fn run(&self, engine: &Engine<'_>, output: &Output) -> Result<(), Failure> {
        let contents = match self.user {
            true => Contents::User,
            false => {
                Contents::Project { project: self.project.clone(), services: self.service.clone() }
            }
        };
        let Begun { file, text, services, found_in, hides } =
            engine.init(&InitRequest { contents, force: self.force, dry_run: self.dry_run })?;
        if let Some(found_in) = found_in {
            let names: Vec<_> = services.iter().map(ToString::to_string).collect();
            output.note(&format!("{} names the services {}", found_in.display(), names.join(", ")));
        }
        if let Some(hides) = hides {
            output.note(&format!("{} is not read in this directory any more", hides.display()));
        }
        if output.json {
            return output.print_json(&json!({
                "version": 1,
                "dry_run": self.dry_run,
                "file": document::path(&file),
                "services": services,
                "text": text,
            }));
        }
        match self.dry_run {
            true => output.print(&text),
            false => {
                let line = clean(&format!("wrote {}", file.display()));
                output.print(&format!("{line}\n"))
            }
        }
    }
}

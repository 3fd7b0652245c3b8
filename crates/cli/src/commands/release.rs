use clap::Args;
use hythe_document::Failure;
use hythe_engine::{Change, Engine, Label, Port, ReleaseRequest, Service, Target};

use crate::args::ScopeArg;
use crate::output::{Output, document};

/// Give reservations back
///
/// A released port is frozen for a while, and kept for its key until another key gets it. What is
/// locked, or belongs to another directory, is refused unless `--force` is given. Releasing nothing
/// exits with 7.
#[derive(Debug, Args)]
pub(crate) struct Release {
    /// The services, as they are reserved here; `main` when nothing else is said
    services: Vec<Service>,
    #[command(flatten)]
    scope: ScopeArg,
    /// Release this port; may be repeated
    #[arg(long, value_name = "PORT", conflicts_with_all = ["services", "scope"])]
    port: Vec<Port>,
    /// Release everything of this checkout or directory
    #[arg(long, conflicts_with_all = ["services", "scope", "port"])]
    all: bool,
    /// Release everything of this directory and the directories below it, in this checkout
    #[arg(long, conflicts_with_all = ["services", "scope", "port", "all"])]
    recursive: bool,
    /// Release everything of this project
    #[arg(long, value_name = "NAME", conflicts_with_all = ["services", "scope", "port", "all", "recursive"])]
    project: Option<Label>,
    /// Release what is locked or belongs to another directory or checkout as well
    #[arg(long)]
    force: bool,
    /// Say what would be released, and write nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Release {
    pub(crate) fn run(&self, engine: &Engine<'_>, output: &Output) -> Result<(), Failure> {
        let target = match &self.project {
            Some(project) => Target::Project(project.clone()),
            None if self.recursive => Target::Below,
            None if self.all => Target::Here,
            None if !self.port.is_empty() => Target::Ports(self.port.clone()),
            None if self.services.is_empty() => {
                Target::Services(vec![Service::default()], self.scope.scope)
            }
            None => Target::Services(self.services.clone(), self.scope.scope),
        };
        let request =
            ReleaseRequest { target, elsewhere: false, force: self.force, dry_run: self.dry_run };
        let released = engine.release(&request)?;
        say(&released, self.dry_run, output)
    }
}

/// Tells what was released, or would be.
pub(super) fn say(released: &[Change], dry_run: bool, output: &Output) -> Result<(), Failure> {
    if output.json {
        return output.print_json(&document::released(released, dry_run));
    }
    for change in released {
        let reservation = change.reservation();
        let because = match change {
            Change::Released { policy: Some(policy), reason, .. } => {
                format!(": {reason} ({policy})")
            }
            _ => String::new(),
        };
        output.note(&format!(
            "{} port {} (`{}` of {}){because}",
            if dry_run { "would release" } else { "released" },
            reservation.port,
            reservation.service,
            reservation.directory.display(),
        ));
    }
    Ok(())
}

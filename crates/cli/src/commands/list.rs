use std::path::PathBuf;

use anstyle::AnsiColor;
use clap::Args;
use hythe_document::Failure;
use hythe_engine::{Engine, Label, ListFilter, Listed, ProjectUse, Scope, Service};

use super::short;
use crate::environment::Environment;
use crate::output::separated::{Format, separated};
use crate::output::table::Table;
use crate::output::{Output, document, listeners};

/// List reservations, and who listens on their ports
#[derive(Debug, Args)]
#[command(alias = "ls")]
pub(crate) struct List {
    /// Only of this project
    #[arg(long, value_name = "NAME")]
    project: Option<Label>,
    /// Only of this service
    #[arg(long, value_name = "NAME")]
    service: Option<Service>,
    /// Only of this agent
    #[arg(long, value_name = "NAME")]
    agent: Option<Label>,
    /// Only of this directory and those below it
    #[arg(long, value_name = "DIR")]
    below: Option<PathBuf>,
    /// Only of this scope: directory, project or service
    #[arg(long)]
    scope: Option<Scope>,
    /// Only the projects, each with how many reservations of how many directories it has
    #[arg(long, conflicts_with = "format")]
    projects: bool,
    /// How to write them
    #[arg(long, value_name = "FORMAT", default_value = "table", conflicts_with = "json")]
    format: Format,
}

const COLUMNS: [&str; 10] = [
    "port",
    "service",
    "scope",
    "project",
    "task",
    "agent",
    "lease",
    "locked",
    "listening",
    "directory",
];

impl List {
    pub(crate) fn run(
        &self,
        engine: &Engine<'_>,
        environment: &Environment,
        output: &Output,
    ) -> Result<(), Failure> {
        let below = self.below.as_ref().map(|below| environment.existing(below));
        let filter = ListFilter {
            project: self.project.clone(),
            service: self.service.clone(),
            agent: self.agent.clone(),
            directory: below,
            scope: self.scope,
        };
        if self.projects {
            return projects(&engine.projects(&filter)?, output);
        }
        let listed = engine.list(&filter)?;
        if output.json {
            return output.print_json(&document::listed(&listed));
        }
        match self.format {
            Format::Table if listed.is_empty() => {
                output.note("no reservations");
                Ok(())
            }
            Format::Table => output.print(&table(&listed, output)),
            format => output.print(&separated(format, COLUMNS, listed.iter().map(cells))),
        }
    }
}

/// How many columns a terminal needs to be told who listens.
const WIDE: usize = 100;

fn table(listed: &[Listed], output: &Output) -> String {
    let headings =
        ["PORT", "SERVICE", "DIRECTORY", "PROJECT", "LISTENING", "LEASE", "LAST USED", "LISTENER"];
    // Who it is comes last and goes first: `show` tells.
    let wide = output.columns().is_none_or(|columns| columns >= WIDE);
    let headings = if wide { &headings[..] } else { &headings[..headings.len() - 1] };
    let mut table = Table::new(headings, 2);
    for Listed { observed, holder, .. } in listed {
        let reservation = &observed.reservation;
        let belongs_to = match reservation.scope {
            Scope::Directory => reservation.directory.display().to_string(),
            Scope::Project => "(project)".to_owned(),
            Scope::Service => "(machine)".to_owned(),
        };
        let lock = if reservation.locked { ", locked" } else { "" };
        let listener = holder.as_ref().filter(|_| wide).map(listeners::brief);
        let cells = [
            reservation.port.to_string(),
            reservation.service.to_string(),
            belongs_to,
            text(reservation.project.as_ref()),
            observed.listening.word().to_owned(),
            format!("{}{lock}", reservation.lease),
            short(reservation.last_used_at),
        ];
        table.row(cells.into_iter().chain(listener));
    }
    table.render(|column, cell| match (headings.get(column), cell) {
        (Some(&"LISTENING"), "foreign") => output.paint(AnsiColor::Red, cell),
        (Some(&"LISTENING"), "mine") => output.paint(AnsiColor::Green, cell),
        _ => cell.to_owned(),
    })
}

fn projects(projects: &[ProjectUse], output: &Output) -> Result<(), Failure> {
    if output.json {
        return output.print_json(&document::projects(projects));
    }
    if projects.is_empty() {
        output.note("no reservations");
        return Ok(());
    }
    let mut table = Table::new(&["PROJECT", "RESERVATIONS", "DIRECTORIES"], 0);
    for ProjectUse { project, reservations, directories } in projects {
        let project = project.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        table.row([project, reservations.to_string(), directories.to_string()]);
    }
    output.print(&table.render(|_, cell| cell.to_owned()))
}

fn text(label: Option<&Label>) -> String {
    label.map(ToString::to_string).unwrap_or_default()
}

fn cells(Listed { observed, .. }: &Listed) -> [String; COLUMNS.len()] {
    let reservation = &observed.reservation;
    [
        reservation.port.to_string(),
        reservation.service.to_string(),
        reservation.scope.to_string(),
        text(reservation.project.as_ref()),
        text(reservation.task.as_ref()),
        text(reservation.agent.as_ref()),
        reservation.lease.to_string(),
        reservation.locked.to_string(),
        observed.listening.word().to_owned(),
        reservation.directory.display().to_string(),
    ]
}

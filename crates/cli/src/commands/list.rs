use std::path::PathBuf;

use anstyle::AnsiColor;
use clap::{Args, ValueEnum};
use hythe_engine::{Engine, Label, ListFilter, Listed, Listening, ProjectUse, Scope, Service};
use serde_json::json;

use super::short;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::output::table::Table;
use crate::output::{Output, clean, document};

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

/// How to write a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Csv,
    Tsv,
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
            let reservations = listed.iter().map(|listed| document::reservation(&listed.observed));
            return output.print_json(&json!({
                "version": 1,
                "reservations": reservations.collect::<Vec<_>>(),
                "listeners": document::listeners(&listed),
            }));
        }
        match self.format {
            Format::Table if listed.is_empty() => {
                output.note("no reservations");
                Ok(())
            }
            Format::Table => output.print(&table(&listed, output)),
            Format::Csv => output.print(&separated(&listed, csv)),
            Format::Tsv => output.print(&separated(&listed, tsv)),
        }
    }
}

fn table(listed: &[Listed], output: &Output) -> String {
    let headings = ["PORT", "SERVICE", "DIRECTORY", "PROJECT", "LISTENING", "LEASE", "LAST USED"];
    let mut table = Table::new(&headings, 2);
    for Listed { observed, .. } in listed {
        let reservation = &observed.reservation;
        let belongs_to = match reservation.scope {
            Scope::Directory => reservation.directory.display().to_string(),
            Scope::Project => "(project)".to_owned(),
            Scope::Service => "(machine)".to_owned(),
        };
        let lock = if reservation.locked { ", locked" } else { "" };
        table.row([
            reservation.port.to_string(),
            reservation.service.to_string(),
            belongs_to,
            text(reservation.project.as_ref()),
            word(observed.listening).to_owned(),
            format!("{}{lock}", reservation.lease),
            short(reservation.last_used_at),
        ]);
    }
    table.render(|column, cell| match (headings.get(column), cell) {
        (Some(&"LISTENING"), "foreign") => output.paint(AnsiColor::Red, cell),
        (Some(&"LISTENING"), "mine") => output.paint(AnsiColor::Green, cell),
        _ => cell.to_owned(),
    })
}

fn projects(projects: &[ProjectUse], output: &Output) -> Result<(), Failure> {
    if output.json {
        let projects = projects.iter().map(|it| {
            json!({
                "project": it.project,
                "reservations": it.reservations,
                "directories": it.directories,
            })
        });
        let projects = projects.collect::<Vec<_>>();
        return output.print_json(&json!({ "version": 1, "projects": projects }));
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

const fn word(listening: Listening) -> &'static str {
    match listening {
        Listening::None => "none",
        Listening::Mine => "mine",
        Listening::Foreign => "foreign",
        Listening::Unknown => "unknown",
    }
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
        word(observed.listening).to_owned(),
        reservation.directory.display().to_string(),
    ]
}

fn separated(listed: &[Listed], line: fn(&[String]) -> String) -> String {
    let headings = COLUMNS.map(str::to_owned);
    std::iter::once(line(&headings))
        .chain(listed.iter().map(|listed| line(&cells(listed))))
        .collect()
}

/// A line of CSV (RFC 4180): what contains a comma, a quote or a line break is quoted.
fn csv(cells: &[String]) -> String {
    let quoted = cells.iter().map(|cell| {
        // Line breaks can be quoted; what commands a terminal cannot.
        let cell = cell.split_inclusive(['\n', '\r']).map(|line| {
            let end = line.trim_end_matches(['\n', '\r']).len();
            format!("{}{}", clean(&line[..end]), &line[end..])
        });
        let cell = cell.collect::<String>();
        if cell.contains(['"', ',', '\n', '\r']) {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell
        }
    });
    format!("{}\r\n", quoted.collect::<Vec<_>>().join(","))
}

/// A line of TSV, where a tab or a line break cannot be quoted: control characters are escaped.
fn tsv(cells: &[String]) -> String {
    let cleaned: Vec<_> = cells.iter().map(|cell| clean(cell)).collect();
    format!("{}\n", cleaned.join("\t"))
}

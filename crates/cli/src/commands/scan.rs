use anstyle::AnsiColor;
use clap::Args;
use hythe_document::Failure;
use hythe_engine::{
    AdoptRequest, Adopted, Configured, Engine, ExcludeRequest, Found, PortRange, PortSet,
    ScanRequest, compact,
};
use serde_json::{Value, json};

use super::changed;
use crate::args::TargetArg;
use crate::output::document::shortened;
use crate::output::lines::Lines;
use crate::output::separated::{Format, separated};
use crate::output::table::Table;
use crate::output::{Output, clean, document};

/// Show who listens: process, user, directory and container, and whether the port is reserved
///
/// In the range in force here, or on the ports that are named. It binds nothing and takes no lock.
#[derive(Debug, Args)]
pub(crate) struct Scan {
    /// On these ports instead
    #[arg(value_name = "PORT|FIRST-LAST")]
    ranges: Vec<PortRange>,
    /// On every port
    #[arg(long, conflicts_with = "ranges")]
    all: bool,
    /// Only what is not reserved
    #[arg(long)]
    unreserved: bool,
    /// Reserve what is not reserved, for the directory that its process works in
    #[arg(long, conflicts_with = "exclude")]
    adopt: bool,
    /// Never give what is not reserved: write it into a configuration file, as few ranges
    #[arg(long)]
    exclude: bool,
    #[command(flatten)]
    target: TargetArg,
    /// Say what would be reserved or excluded, and write nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// How to write them
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "table",
        conflicts_with_all = ["json", "adopt", "exclude"]
    )]
    format: Format,
}

const COLUMNS: [&str; 10] = [
    "port",
    "addresses",
    "pid",
    "user",
    "command",
    "directory",
    "container",
    "service",
    "listening",
    "reserved_for",
];

impl Scan {
    pub(crate) fn run(&self, engine: &Engine<'_>, output: &Output) -> Result<(), Failure> {
        if self.target.is_given() && !self.exclude {
            let message = "`--project` and `--local` say where `--exclude` writes";
            return Err(Failure::usage(message, Some("hythe scan --exclude --project")));
        }
        if self.dry_run && !self.exclude && !self.adopt {
            let message = "a scan writes nothing: `--dry-run` is for `--adopt` and `--exclude`";
            return Err(Failure::usage(message, Some("hythe scan")));
        }
        let ranges = if self.all { vec![PortRange::ALL] } else { self.ranges.clone() };
        let unreserved = self.unreserved || self.adopt || self.exclude;
        let found = engine.scan(&ScanRequest { ranges: ranges.clone(), unreserved })?;
        let adopted = match self.adopt {
            true => engine.adopt(&AdoptRequest { ranges, dry_run: self.dry_run })?,
            false => Adopted::default(),
        };
        let excluded = if self.exclude { Some(self.excluded(engine, &found)?) } else { None };
        if output.json {
            return output.print_json(&self.document(&found, &adopted, excluded.as_ref()));
        }
        if let Some(Configured { file, changes }) = excluded {
            if changes.is_empty() {
                output.note("nothing listens that is neither reserved nor excluded");
            }
            return output.print(changed(&file, &changes, self.dry_run).text());
        }
        if self.adopt {
            return self.tell(&adopted, output);
        }
        match self.format {
            Format::Table if found.is_empty() => {
                output.note("nobody listens");
                Ok(())
            }
            Format::Table => output.print(&table(&found, output)),
            format => output.print(&separated(format, COLUMNS, found.iter().map(cells))),
        }
    }

    /// Excludes what was found, as far as it is not excluded already.
    fn excluded(&self, engine: &Engine<'_>, found: &[Found]) -> Result<Configured, Failure> {
        let excluded = &engine.config().settings().ports.exclude;
        let excluded: PortSet = excluded.iter().flat_map(|range| range.value.ports()).collect();
        let ports = found.iter().map(|found| found.port).filter(|port| !excluded.contains(*port));
        Ok(engine.exclude(&ExcludeRequest {
            ranges: compact(ports),
            remove: false,
            role: self.target.role(),
            dry_run: self.dry_run,
        })?)
    }

    fn tell(&self, adopted: &Adopted, output: &Output) -> Result<(), Failure> {
        let mut lines = Lines::default();
        let verb = if self.dry_run { "would adopt" } else { "adopted" };
        for reservation in &adopted.reservations {
            let (port, service) = (reservation.port, &reservation.service);
            let directory = reservation.directory.display();
            lines.line(&clean(&format!("{verb} port {port} as `{service}` of {directory}")));
        }
        for (port, why) in &adopted.skipped {
            output.note(&format!("port {port} is not adopted: {why}"));
        }
        if adopted.reservations.is_empty() && adopted.skipped.is_empty() {
            output.note("nothing listens that is not reserved");
        }
        output.print(lines.text())
    }

    fn document(&self, found: &[Found], adopted: &Adopted, excluded: Option<&Configured>) -> Value {
        let ports: Vec<_> = found.iter().map(port).collect();
        let reservations = adopted.reservations.iter().map(|reservation| {
            json!({
                "port": reservation.port,
                "service": reservation.service,
                "directory": document::path(&reservation.directory),
                "key": reservation.key.text,
            })
        });
        let skipped = adopted.skipped.iter();
        let skipped = skipped.map(|(port, reason)| json!({ "port": port, "reason": reason }));
        json!({
            "version": 1,
            "dry_run": self.dry_run,
            "ports": ports,
            "adopted": reservations.collect::<Vec<_>>(),
            "skipped": skipped.collect::<Vec<_>>(),
            "excluded": excluded.map(|Configured { file, changes }| {
                json!({ "file": document::path(file), "changes": changes })
            }),
        })
    }
}

fn port(found: &Found) -> Value {
    let (holder, ownership) = (Some(&found.holder), found.ownership.as_ref());
    json!({
        "port": found.port,
        "addresses": found.holder.addresses,
        "hidden": found.holder.hidden,
        "users": found.holder.users.iter().map(|user| document::user(*user)).collect::<Vec<_>>(),
        "listeners": document::processes(found.port, holder, ownership),
        "containers": document::publishers(found.port, holder, ownership),
        "reservation": found.reserved.as_ref().map(document::reservation),
    })
}

fn cells(found: &Found) -> [String; COLUMNS.len()] {
    let holder = &found.holder;
    let joined = |cells: Vec<String>| cells.join(" ");
    let process = holder.processes.first();
    let place = process.and_then(|process| process.place.as_ref());
    let reservation = found.reserved.as_ref().map(|observed| &observed.reservation);
    [
        found.port.to_string(),
        joined(holder.addresses.iter().map(ToString::to_string).collect()),
        joined(holder.processes.iter().map(|process| process.pid.to_string()).collect()),
        joined(holder.users.iter().map(|user| document::user_name(*user)).collect()),
        process.map(|process| process.command.clone()).unwrap_or_default(),
        place.map(|place| place.directory.display().to_string()).unwrap_or_default(),
        joined(holder.containers.iter().map(|container| container.name.clone()).collect()),
        reservation.map(|reservation| reservation.service.to_string()).unwrap_or_default(),
        found.reserved.as_ref().map(|it| it.listening.word().to_owned()).unwrap_or_default(),
        reservation.map(|it| it.directory.display().to_string()).unwrap_or_default(),
    ]
}

/// How many columns a terminal needs to be told addresses and users as well.
const WIDE: usize = 110;

/// The longest command line that a table shows, on a wide terminal and on a narrow one.
const COMMAND: (usize, usize) = (40, 20);

fn table(found: &[Found], output: &Output) -> String {
    let wide = output.columns().is_none_or(|columns| columns >= WIDE);
    let (headings, longest) = match wide {
        true => {
            let all = ["PORT", "ADDRESS", "USER", "PID", "COMMAND", "DIRECTORY", "RESERVED"];
            (all.to_vec(), COMMAND.0)
        }
        false => (vec!["PORT", "PID", "COMMAND", "DIRECTORY", "RESERVED"], COMMAND.1),
    };
    let mut table = Table::new(&headings, headings.len() - 2);
    for found in found {
        let [port, addresses, pids, users, command, directory, containers, service, listening, _] =
            cells(found);
        // Interpreters tend to have long paths.
        let command = match (containers.is_empty(), found.holder.processes.first()) {
            (false, _) => format!("container {}", first(&containers)),
            (true, Some(process)) => {
                let arguments =
                    command.split_once(' ').map(|(_, arguments)| format!(" {arguments}"));
                format!("{}{}", process.program(), arguments.unwrap_or_default())
            }
            (true, None) => "(cannot be seen)".to_owned(),
        };
        let composed = found.holder.containers.first().and_then(|it| it.place.as_ref());
        let composed = composed.map(|place| place.directory.display().to_string());
        let reserved = match service.is_empty() {
            true => String::new(),
            false => format!("{service} ({listening})"),
        };
        let mut row = vec![port];
        if wide {
            row.extend([first(&addresses), first(&users)]);
        }
        row.extend([first(&pids), shortened(&clean(&command), longest)]);
        row.extend([composed.unwrap_or(directory), reserved]);
        table.row(row);
    }
    table.render(|column, cell| match headings.get(column) {
        Some(&"RESERVED") if cell.ends_with("(foreign)") => output.paint(AnsiColor::Red, cell),
        Some(&"RESERVED") if cell.ends_with("(mine)") => output.paint(AnsiColor::Green, cell),
        _ => cell.to_owned(),
    })
}

/// The first of several words, and how many more there are.
fn first(words: &str) -> String {
    match words.split_once(' ') {
        Some((first, rest)) => format!("{first} +{}", rest.split(' ').count()),
        None => words.to_owned(),
    }
}

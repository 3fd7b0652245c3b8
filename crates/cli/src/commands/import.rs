use std::path::PathBuf;

use anstyle::AnsiColor;
use clap::Args;
use hythe_document::{ExitCode, Failure};
use hythe_engine::{
    Engine, Fate, ImportNote, ImportReport, ImportRequest, ImportedEntry, Tool, shell,
};
use serde_json::{Value, json};

use crate::environment::Environment;
use crate::output::lines::Lines;
use crate::output::{Output, clean, document};

/// Take over the reservations of another tool, or of another ledger
///
/// Every port stays with its directory or project. Nothing that is reserved here is overwritten: when
/// one of them cannot be had, none is imported, unless --skip-conflicts is given. The other tool's
/// files are only read.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The tool's file or directory, instead of its usual place
    #[arg(value_name = "FILE|DIR")]
    path: Option<PathBuf>,
    /// Whose: hythe (what `hythe export` wrote), trop, portclaim, port-daddy or portpls
    #[arg(long, value_name = "TOOL")]
    from: Tool,
    /// Import the rest when some cannot be had
    #[arg(long, conflicts_with = "settings")]
    skip_conflicts: bool,
    /// Print its settings as Hythe's configuration instead, and import nothing
    #[arg(long)]
    settings: bool,
    /// Say what would be imported, and write nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Import {
    pub(crate) fn run(
        &self,
        engine: &Engine<'_>,
        environment: &Environment,
        output: &Output,
    ) -> Result<(), Failure> {
        let path = match &self.path {
            Some(path) => engine.place().directory.join(path),
            None => environment.place_of(self.from, self.settings).ok_or_else(|| {
                let message = format!("no file of {} is named", self.from);
                Failure::usage(&message, Some(&format!("hythe import FILE --from {}", self.from)))
            })?,
        };
        if self.settings {
            return self.translate(engine, &path, output);
        }
        let report = engine.import(&ImportRequest {
            tool: self.from,
            path: path.clone(),
            skip_conflicts: self.skip_conflicts,
            dry_run: self.dry_run,
        })?;
        let document = self.document(&report, &path);
        if !output.json {
            let lines = self.lines(&report, output);
            match report.refused {
                false => output.print(lines.text())?,
                // A failure prints no result.
                true => lines.text().lines().for_each(|line| output.say(line)),
            }
        }
        if report.refused {
            let count = |entry: &&ImportedEntry| matches!(entry.fate, Fate::Conflict(_));
            let conflicts = report.entries.iter().filter(count).count();
            let all = report.entries.len();
            return Err(Failure {
                code: ExitCode::Refused,
                message: format!("nothing was imported: {conflicts} of {all} cannot be had"),
                hint: Some(format!("hythe import{} --skip-conflicts", self.arguments())),
                details: document,
            });
        }
        if output.json {
            return output.print_json(&document);
        }
        self.remarks(&report, engine, output);
        Ok(())
    }

    /// The arguments that say what is imported.
    fn arguments(&self) -> String {
        let path = self.path.as_ref().map(|path| shell::word(&path.to_string_lossy()));
        let path = path.map(|path| format!(" {path}")).unwrap_or_default();
        format!("{path} --from {}", self.from)
    }

    fn translate(
        &self,
        engine: &Engine<'_>,
        path: &std::path::Path,
        output: &Output,
    ) -> Result<(), Failure> {
        let translated = engine.translate(self.from, path)?;
        if output.json {
            return output.print_json(&json!({
                "version": 1,
                "from": self.from.word(),
                "file": translated.file,
                "text": translated.text,
            }));
        }
        output.print(&translated.text)
    }

    fn document(&self, report: &ImportReport, path: &std::path::Path) -> Value {
        let entry = |entry: &ImportedEntry| {
            let reservation = entry.reservation.as_ref();
            json!({
                "outcome": entry.fate.word(),
                "reason": entry.fate.reason(),
                "port": entry.port,
                "what": entry.what,
                "scope": reservation.map(|it| it.scope),
                "directory": reservation.map(|it| document::path(&it.directory)),
                "service": reservation.map(|it| &it.service),
                "project": reservation.and_then(|it| it.project.as_ref()),
                "key": reservation.map(|it| &it.key.text),
                "notes": entry.notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
            })
        };
        json!({
            "version": 1,
            "dry_run": self.dry_run,
            "from": self.from.word(),
            "path": document::path(path),
            "entries": report.entries.iter().map(entry).collect::<Vec<_>>(),
            "released": report.released,
        })
    }

    /// A line for each entry: what became of it, its port, and what it is.
    fn lines(&self, report: &ImportReport, output: &Output) -> Lines {
        let mut lines = Lines::default();
        let imported = match self.dry_run || report.refused {
            true => "would import",
            false => "imported",
        };
        for entry in &report.entries {
            let (color, word) = match entry.fate {
                Fate::Imported => (AnsiColor::Green, imported),
                Fate::Existing => (AnsiColor::Green, "is there"),
                Fate::Conflict(_) => (AnsiColor::Red, "conflict"),
                Fate::Skipped(_) => (AnsiColor::Yellow, "skipped"),
            };
            let port = entry.port.map_or_else(|| "-".to_owned(), |port| port.to_string());
            let what = match (&entry.fate, &entry.reservation) {
                (Fate::Imported | Fate::Existing, Some(reservation)) => {
                    let place = match (&reservation.project, reservation.scope) {
                        (Some(project), hythe_engine::Scope::Project) => project.to_string(),
                        _ => reservation.directory.display().to_string(),
                    };
                    format!("{place} {}{}", reservation.service, told(&entry.notes))
                }
                _ => entry.what.clone(),
            };
            let reason = entry.fate.reason().map(|why| format!(": {why}")).unwrap_or_default();
            let width = imported.len();
            let word = output.paint(color, &format!("{word:<width$}"));
            lines.line(&format!("{word}  {port:<5}  {}", clean(&format!("{what}{reason}"))));
        }
        lines
    }

    /// What holds for many of them is said once.
    fn remarks(&self, report: &ImportReport, engine: &Engine<'_>, output: &Output) {
        if report.entries.is_empty() {
            output.note("there is nothing to import");
            return;
        }
        let imported = || report.entries.iter().filter(|entry| entry.fate == Fate::Imported);
        let noted = |note: &ImportNote| imported().filter(|it| it.notes.contains(note)).count();
        let outside = noted(&ImportNote::OutsideRange);
        if outside > 0 {
            let range = engine.config().settings().ports.range.value;
            output.note(&format!(
                "{outside} of them keep ports outside the range, which is {range} here"
            ));
        }
        let unbound = noted(&ImportNote::Unbound);
        if unbound > 0 {
            output.note(&format!(
                "{unbound} of them were bound to processes that cannot be proven to be alive, and \
                 last until they are released or found unused"
            ));
        }
        if self.from != Tool::Hythe {
            let path = self.path.as_ref().map_or("", |_| " PATH");
            output.note(&format!(
                "its settings, as Hythe's: hythe import{path} --from {} --settings",
                self.from
            ));
        }
    }
}

/// The notes that are about one entry alone.
fn told(notes: &[ImportNote]) -> String {
    let own = |note: &&ImportNote| !matches!(note, ImportNote::OutsideRange | ImportNote::Unbound);
    let told: Vec<_> = notes.iter().filter(own).map(ToString::to_string).collect();
    if told.is_empty() { String::new() } else { format!(" ({})", told.join(", ")) }
}

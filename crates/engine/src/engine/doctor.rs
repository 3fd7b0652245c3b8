//! `doctor`: what is wrong with this machine, these files and this ledger, and what can be repaired.
//!
//! Each check is a look that changes nothing and answers with symptoms; a symptom may name its repair.
//! Repairs are made afterwards, one by one, and only those that were asked for. No repair releases a
//! reservation: that a server does not run, or that a directory is gone, is for policies to judge.

mod files;
mod ledger;
mod network;
mod repair;
mod reservations;

use super::{Engine, Error};
use crate::config::ConfigError;
use ledger::Books;
use repair::Repair;

/// Asks for everything to be looked at.
#[derive(Debug, Clone, Copy, Default)]
pub struct DoctorRequest {
    /// Repair what can be repaired.
    pub fix: bool,
    /// Only say what would be repaired.
    pub dry_run: bool,
}

/// What a check has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The check, a word.
    pub check: &'static str,
    /// How it is.
    pub status: Status,
    /// What was found.
    pub message: String,
    /// What to do about it, where something can be done.
    pub hint: Option<String>,
    /// What was repaired, or would be in a dry run.
    pub repair: Option<String>,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing is wrong.
    Note,
    /// It keeps Hythe from working as it should.
    Problem,
    /// It was a problem, and has been repaired.
    Fixed,
}

impl Status {
    /// The word that stands for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Problem => "problem",
            Self::Fixed => "fixed",
        }
    }
}

impl Finding {
    /// All is well.
    #[must_use]
    pub fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self::new(check, Status::Ok, message.into(), None)
    }

    /// Something worth knowing.
    #[must_use]
    pub fn note(check: &'static str, message: impl Into<String>, hint: Option<String>) -> Self {
        Self::new(check, Status::Note, message.into(), hint)
    }

    /// Something that is wrong.
    #[must_use]
    pub fn problem(check: &'static str, message: impl Into<String>, hint: Option<String>) -> Self {
        Self::new(check, Status::Problem, message.into(), hint)
    }

    fn new(check: &'static str, status: Status, message: String, hint: Option<String>) -> Self {
        Self { check, status, message, hint, repair: None }
    }
}

/// A finding, and what would repair it.
struct Symptom {
    finding: Finding,
    repair: Option<Repair>,
}

impl From<Finding> for Symptom {
    fn from(finding: Finding) -> Self {
        Self { finding, repair: None }
    }
}

impl Engine<'_> {
    /// Looks at everything that Hythe needs. `faults` are what is wrong with the configuration, as
    /// [`Engine::open_despite`] tells. Changes nothing but what `fix` repairs.
    #[must_use]
    pub fn doctor(&self, request: DoctorRequest, faults: &[ConfigError]) -> Vec<Finding> {
        let mut symptoms = self.configuration(faults);
        symptoms.extend(self.state());
        let interrupted = self.has_journal();
        let (books, unreadable) = match self.read_books() {
            Ok(books) => (books, None),
            Err(error) => (Books::default(), Some(error)),
        };
        symptoms.extend(self.books(unreadable.map_or(Ok(&books), Err), interrupted));
        symptoms.extend(self.leftovers());
        let reservations = books.reservations;
        symptoms.extend(self.network(&reservations).into_iter().map(Symptom::from));
        symptoms.extend(self.standings(reservations).into_iter().map(Symptom::from));
        symptoms.into_iter().map(|symptom| self.treat(symptom, request)).collect()
    }

    fn treat(&self, symptom: Symptom, request: DoctorRequest) -> Finding {
        let Symptom { mut finding, repair } = symptom;
        let Some(repair) = repair else { return finding };
        if !request.fix {
            finding.hint.get_or_insert_with(|| "hythe doctor --fix".to_owned());
            return finding;
        }
        match self.repair(&repair, request.dry_run) {
            Ok(done) => {
                finding.repair = Some(done);
                finding.hint = None;
                if !request.dry_run {
                    finding.status = Status::Fixed;
                }
            }
            Err(error) => {
                finding.status = Status::Problem;
                finding.message = format!("{}; it could not be repaired: {error}", finding.message);
                finding.hint = error.hint().or(finding.hint);
            }
        }
        finding
    }

    fn configuration(&self, faults: &[ConfigError]) -> Vec<Symptom> {
        if !faults.is_empty() {
            let wrong = faults.iter().map(|fault| {
                Finding::problem("configuration", fault.to_string(), fault.hint.clone()).into()
            });
            let instead = "until it is right, what is built in is looked at here".to_owned();
            return wrong.chain([Finding::note("configuration", instead, None).into()]).collect();
        }
        let files = self.config().files().iter().filter(|candidate| candidate.exists);
        let files: Vec<_> = files.map(|it| it.file.path.display().to_string()).collect();
        let files = match files.is_empty() {
            true => "there are no files: what is built in holds".to_owned(),
            false => files.join(", "),
        };
        let mut symptoms = vec![Finding::ok("configuration", files).into()];
        let wrong = self.check();
        if wrong.is_empty() {
            let count = self.plugins().len();
            symptoms.push(Finding::ok("plugins", format!("{count} can be used")).into());
        }
        symptoms.extend(wrong.iter().map(|error| problem("plugins", error)));
        symptoms
    }
}

/// An error of an operation, as a finding.
fn problem(check: &'static str, error: &Error) -> Symptom {
    Finding::problem(check, error.to_string(), error.hint()).into()
}

/// A number and what it counts.
fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

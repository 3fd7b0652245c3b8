//! What a tool answers: a document for programs, and a few lines for people and models.

use std::fmt::Write as _;

use hythe_document as document;
use hythe_document::Failure;
use hythe_engine::{Change, Explanation, Listed, Listening, Observed, Outcome, Reserved, Scope};
use rmcp::model::{CallToolResult, ContentBlock, MetaObject};
use serde_json::{Map, Value};

/// Under this name an error's document stands among what is told beside a result.
const ERROR: &str = "hythe/error";

/// An answer.
pub(super) struct Answer {
    document: Value,
    lines: Vec<String>,
}

impl Answer {
    /// Ports that are reserved, or would be.
    pub(super) fn reserved(answers: &[Reserved], dry_run: bool, notes: &[String]) -> Self {
        let document = document::reserved_all(answers, dry_run, notes);
        let mut lines: Vec<_> = answers.iter().map(|answer| reserved(answer, dry_run)).collect();
        let explanations = answers.iter().filter_map(|answer| answer.explanation.as_ref());
        lines.extend(explanations.flat_map(explained));
        Self { document, lines }.with(notes)
    }

    /// What was released, or would be.
    pub(super) fn released(changes: &[Change], dry_run: bool, notes: &[String]) -> Self {
        let document = document::released(changes, dry_run);
        let mut lines: Vec<_> = changes.iter().map(|change| released(change, dry_run)).collect();
        if lines.is_empty() {
            lines.push("nothing to release".to_owned());
        }
        Self { document, lines }.with(notes)
    }

    /// Reservations, and who listens on their ports.
    pub(super) fn listed(listed: &[Listed], notes: &[String]) -> Self {
        let mut lines: Vec<_> = listed.iter().map(|it| line(&it.observed)).collect();
        if lines.is_empty() {
            lines.push("nothing is reserved".to_owned());
        }
        Self { document: document::listed(listed), lines }.with(notes)
    }

    /// Nothing that is reserved, but somebody who listens.
    pub(super) fn strangers(processes: Vec<Value>, containers: Vec<Value>, who: &str) -> Self {
        let mut document = document::listed(&[]);
        document["listeners"] = processes.into();
        document["containers"] = containers.into();
        Self { document, lines: vec![who.to_owned()] }
    }

    fn with(mut self, notes: &[String]) -> Self {
        self.lines.extend(notes.iter().map(|note| format!("note: {note}")));
        self
    }
}

impl From<Answer> for CallToolResult {
    fn from(answer: Answer) -> Self {
        let mut result = Self::success(vec![text(&answer.lines)]);
        result.structured_content = Some(answer.document);
        result
    }
}

/// A failure, as a result that the model reads. Clients check the structured content of errors as
/// well against the schema of the tool's answers, so that the document stands beside it.
pub(super) fn failed(failure: &Failure) -> CallToolResult {
    let mut lines = vec![failure.message.clone()];
    lines.extend(failure.hint.as_ref().map(|hint| format!("hint: {hint}")));
    let mut result = CallToolResult::error(vec![text(&lines)]);
    result.meta = Some(MetaObject(Map::from_iter([(ERROR.to_owned(), failure.json())])));
    result
}

fn text(lines: &[String]) -> ContentBlock {
    let lines: Vec<_> = lines.iter().map(|line| clean(line)).collect();
    ContentBlock::text(lines.join("\n"))
}

/// `line` without control characters: names and paths are other people's, and a line break in one
/// would look like another line of ours.
fn clean(line: &str) -> String {
    line.chars().fold(String::with_capacity(line.len()), |mut clean, character| {
        // Writing to a string cannot fail.
        let _ = match character.is_control() {
            true => write!(clean, "{}", character.escape_default()),
            false => write!(clean, "{character}"),
        };
        clean
    })
}

fn reserved(answer: &Reserved, dry_run: bool) -> String {
    let reservation = &answer.observed.reservation;
    let (service, port) = (&reservation.service, reservation.port);
    let line = match answer.outcome {
        Outcome::Existing => format!("{service}: {port} (existing)"),
        outcome if dry_run => format!("{service}: {port} (would be {})", outcome.word()),
        outcome => format!("{service}: {port} ({})", outcome.word()),
    };
    line + taken(&answer.observed)
}

/// What has to be said of a port that cannot be used.
fn taken(observed: &Observed) -> &'static str {
    match observed.listening {
        Listening::Foreign => ", but somebody else's process holds it",
        _ => "",
    }
}

fn released(change: &Change, dry_run: bool) -> String {
    let reservation = change.reservation();
    let because = match change {
        Change::Released { policy: Some(policy), reason, .. } => format!(": {reason} ({policy})"),
        _ => String::new(),
    };
    format!(
        "{} {} (`{}` of {}){because}",
        if dry_run { "would release" } else { "released" },
        reservation.port,
        reservation.service,
        reservation.directory.display(),
    )
}

fn line(observed: &Observed) -> String {
    let reservation = &observed.reservation;
    let mut facts = Vec::new();
    facts.extend(reservation.project.as_ref().map(|project| format!("project {project}")));
    if reservation.scope != Scope::Directory {
        facts.push(format!("scope {}", reservation.scope));
    }
    if reservation.locked {
        facts.push("locked".to_owned());
    }
    facts.push(match observed.listening {
        Listening::None => "nobody listens".to_owned(),
        Listening::Mine => "its server runs".to_owned(),
        Listening::Foreign => "somebody else's process holds it".to_owned(),
        Listening::Unknown => "somebody listens".to_owned(),
    });
    format!(
        "{}: {} in {} ({})",
        reservation.service,
        reservation.port,
        reservation.directory.display(),
        facts.join(", ")
    )
}

fn explained(explanation: &Explanation) -> Vec<String> {
    let mut lines = vec![explanation.decision.clone()];
    lines.extend(explanation.calls.iter().map(|call| {
        format!(
            "{} policy {} (selected by {}) answered {}",
            call.policy, call.plugin, call.selected_by, call.answered
        )
    }));
    lines.extend(explanation.wish.map(|wish| format!("the port was {}", wish.word())));
    let skipped = explanation.skipped.runs();
    lines.extend(skipped.iter().map(|(ports, refusal)| format!("skipped {ports}: {refusal}")));
    lines
}

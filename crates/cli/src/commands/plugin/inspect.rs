use clap::Args;
use hythe_document::Failure;
use hythe_engine::{Engine, Error, FoundPlugin, Inspection, TypicalCall, Which};
use serde_json::{Value, json};

use super::subject::SubjectArg;
use crate::output::lines::Lines;
use crate::output::{Output, document};

/// Show what a plugin exports, imports, says of itself and uses
///
/// Looks at any component or module, also at one that cannot be used, and says why it cannot.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    #[command(flatten)]
    subject: SubjectArg,
}

impl Inspect {
    pub(crate) fn run(&self, engine: &Engine<'_>, output: &Output) -> Result<(), Failure> {
        let inspection = engine.inspect_plugin(&self.subject.subject(engine))?;
        if output.json {
            return output.print_json(&as_document(inspection));
        }
        let mut lines = Lines::within(output.columns());
        match &inspection.plugin {
            Which::Named(name) => lines.field("name", name),
            Which::File(path) => lines.field("file", &path.to_string_lossy()),
        }
        if let Some(origin) = &inspection.declared_by {
            lines.field("declared by", &origin.to_string());
            lines.field("used for", &or_none(&inspection.used_for.join(", ")));
        }
        let survey = &inspection.survey;
        lines.field("kind", if survey.is_component { "component" } else { "core module" });
        lines.field("size", &format!("{} bytes", survey.size));
        lines.field("sha256", &survey.sha256);
        lines.field("imports", &or_none(&survey.imports.join(", ")));
        lines.field("exports", &or_none(&survey.exports.join(", ")));
        lines.field("made by", &or_none(&survey.producers.join(", ")));
        match inspection.found {
            Ok(FoundPlugin { description, .. }) => {
                lines.field("says", &format!("{} {}", description.name, description.version));
                lines.field("summary", &description.summary);
                options(&mut lines, &description.options_schema);
            }
            Err(error) => failed(&mut lines, "unusable", error),
        }
        match inspection.typical {
            Ok(calls) => calls.iter().for_each(|call| lines.field("typical call", &told(call))),
            Err(error) => failed(&mut lines, "typical call", error),
        }
        output.print(lines.text())
    }
}

fn failed(lines: &mut Lines, what: &str, error: Error) {
    let failure = Failure::from(error);
    lines.field(what, &failure.message);
    if let Some(hint) = failure.hint {
        lines.field("hint", &hint);
    }
}

fn or_none(text: &str) -> String {
    if text.is_empty() { "none".to_owned() } else { text.to_owned() }
}

fn told(call: &TypicalCall) -> String {
    let answer = match &call.answer {
        Ok(answer) => format!("answered {}", document::brief(answer)),
        Err(error) => error.failure.to_string(),
    };
    format!(
        "{}: {} fuel, {} KiB of memory, {} µs, {answer}",
        call.function,
        call.usage.fuel,
        call.usage.memory >> 10,
        call.time.as_micros()
    )
}

/// The options that a schema names.
fn options(lines: &mut Lines, schema: &str) {
    let schema: Value = serde_json::from_str(schema).unwrap_or_default();
    let properties = schema["properties"].as_object();
    let Some(properties) = properties.filter(|properties| !properties.is_empty()) else {
        return lines.field("options", "none");
    };
    for (name, property) in properties {
        let kind = property["format"].as_str().or(property["type"].as_str());
        let kind = kind.unwrap_or("any value");
        let default = property.get("default").map(|value| format!(", by default {value}"));
        let description = property["description"].as_str().map(|text| format!(": {text}"));
        let (default, description) = (default.unwrap_or_default(), description.unwrap_or_default());
        lines.field("option", &format!("{name}: {kind}{default}{description}"));
    }
}

fn as_document(inspection: Inspection) -> Value {
    let Inspection { plugin, declared_by, used_for, survey, found, typical } = inspection;
    let (name, file) = match &plugin {
        Which::Named(name) => (Some(name.as_str()), None),
        Which::File(path) => (None, Some(document::path(path))),
    };
    let mut document = json!({
        "version": 1,
        "name": name,
        "file": file,
        "declared_by": declared_by.map(|origin| origin.to_string()),
        "used_for": used_for,
        "kind": if survey.is_component { "component" } else { "module" },
        "size": survey.size,
        "sha256": survey.sha256,
        "imports": survey.imports,
        "exports": survey.exports,
        "producers": survey.producers,
        "description": null,
        "policies": [],
        "typical_calls": [],
        "error": null,
    });
    match found {
        Ok(FoundPlugin { description, policies, .. }) => {
            document["description"] = json!({
                "name": description.name,
                "version": description.version,
                "summary": description.summary,
                "options_schema": serde_json::from_str::<Value>(&description.options_schema).ok(),
            });
            document["policies"] = policies.iter().map(|policy| policy.name()).collect();
        }
        Err(error) => document["error"] = Failure::from(error).json()["error"].take(),
    }
    match typical {
        Ok(calls) => {
            document["typical_calls"] = calls.iter().map(document::typical_call).collect();
        }
        Err(error) => document["error"] = Failure::from(error).json()["error"].take(),
    }
    document
}

//! The schemas of what clients of Port Daddy ask for and are answered.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// An object that has all of these properties.
fn object(properties: Value) -> Value {
    let required: Vec<_> = properties.as_object().into_iter().flat_map(|it| it.keys()).collect();
    json!({ "type": "object", "required": required, "properties": properties })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn count() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn port() -> Value {
    json!({ "type": "integer", "minimum": 1, "maximum": 65535 })
}

/// A port as shells write it.
fn digits() -> Value {
    json!({ "type": "string", "pattern": "^[0-9]+$" })
}

/// Whether something is so, as a query says it.
pub(super) fn flag(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": ["", "1", "true", "0", "false"] })
}

fn maybe(kind: &str) -> Value {
    json!({ "type": [kind, "null"] })
}

fn list(name: &str, item: Value) -> Value {
    let mut properties = json!({ "count": count() });
    properties[name] = json!({ "type": "array", "items": item });
    properties
}

fn time() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

fn name() -> Value {
    json!({
        "description": "A project: letters, digits and `. _ -`.",
        "type": "string",
        "pattern": "^[A-Za-z0-9._-]{1,255}$",
    })
}

pub(super) fn pid() -> Value {
    json!({
        "description": "The process that asks; it owns the reservation if it is running.",
        "type": "integer",
        "minimum": 1,
    })
}

pub(super) fn wanted() -> Value {
    let preferred = [port(), digits(), json!({ "type": "null" })];
    let preferred = json!({ "description": "A port to try first.", "anyOf": preferred });
    json!({
        "type": "object",
        "required": ["project"],
        "properties": { "project": name(), "preferred": preferred },
    })
}

pub(super) fn assigned() -> Value {
    let messages =
        ["assigned preferred port", "port assigned successfully", "existing assignment renewed"];
    let existing = json!({ "description": "Whether it had the port already.", "type": "boolean" });
    object(json!({ "port": port(), "message": { "enum": messages }, "existing": existing }))
}

pub(super) fn unwanted() -> Value {
    json!({
        "type": "object",
        "anyOf": [
            { "required": ["port"], "properties": { "port": { "anyOf": [port(), digits()] } } },
            {
                "description": "Where no port is named.",
                "required": ["project"],
                "properties": { "port": false, "project": name() },
            },
        ],
    })
}

pub(super) fn released() -> Value {
    object(json!({ "success": { "const": true }, "message": text() }))
}

pub(super) fn active() -> Value {
    let item = object(json!({
        "port": port(),
        "project": {
            "description": "The project; of what is not a project's `main`, the service behind a `/`.",
            "type": "string",
        },
        "pid": {
            "description": "The process it belongs to, or that listens there.",
            "type": ["integer", "null"],
        },
        "started": { "description": "In milliseconds of Unix time.", "type": "integer" },
        "last_seen": { "description": "In milliseconds of Unix time.", "type": "integer" },
        "alive": {
            "description": "Whether that process runs. The reservation lasts all the same.",
            "type": "boolean",
        },
        "age_minutes": count(),
        "started_at": time(),
        "last_seen_at": time(),
    }));
    object(list("ports", item))
}

pub(super) fn system() -> Value {
    let item = object(json!({
        "port": port(),
        "pid": maybe("integer"),
        "command": maybe("string"),
        "user": maybe("string"),
        "managed_by_port_daddy": {
            "description": "Whether the port is reserved.",
            "type": "boolean",
        },
        "project": maybe("string"),
    }));
    let mut properties = list("ports", item);
    properties["total_system_ports"] = count();
    object(properties)
}

pub(super) fn cleanup() -> Value {
    object(list("freed", object(json!({ "port": port(), "project": text() }))))
}

pub(super) fn health() -> Value {
    object(json!({
        "status": { "const": "ok" },
        "version": text(),
        "uptime_seconds": count(),
        "active_ports": count(),
        "pid": count(),
    }))
}

pub(super) fn version() -> Value {
    object(json!({ "version": text(), "service": { "const": "hythe" } }))
}

pub(super) fn metrics() -> Value {
    object(json!({
        "total_assignments": count(),
        "total_releases": count(),
        "total_cleanups": count(),
        "ports_freed_by_cleanup": count(),
        "validation_failures": count(),
        "race_condition_retries": count(),
        "errors": count(),
        "uptime_start": count(),
        "active_ports": count(),
        "uptime_seconds": count(),
        "uptime_formatted": text(),
    }))
}

pub(super) fn failure() -> Value {
    object(json!({ "error": { "description": "What is wrong.", "type": "string" } }))
}

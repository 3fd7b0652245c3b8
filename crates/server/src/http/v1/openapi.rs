//! The OpenAPI document (3.1), made of the operations and the schemas of the documents.

use std::collections::BTreeMap;

use axum::extract::State;
use hythe_document::schema;
use serde_json::{Map, Value, json};

use super::Answer;
use crate::http::operation::{self, Operation};
use crate::http::{self, App};

pub(super) async fn describe(State(app): State<&'static App>) -> Answer {
    Ok(axum::Json(document(&http::operations(), app.version)?))
}

/// What can be called, and what it answers.
fn document(operations: &[Operation], version: &str) -> Result<Value, serde_json::Error> {
    let failure = json!({
        "description": "It failed, and nothing was changed.",
        "content": {
            "application/problem+json": { "schema": { "$ref": operation::reference("problem") } },
        },
    });
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for operation in operations {
        let method = operation.method.as_str().to_ascii_lowercase();
        paths.entry(operation.path).or_default().insert(method, operation.document(&failure));
    }
    Ok(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Hythe",
            "summary": "TCP ports that are stable for a directory, free now, and nobody else's",
            "version": version,
            "license": { "name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schema::all(operation::SCHEMAS)?,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
        // A token is only asked for where there is one.
        "security": [{}, { "token": [] }],
    }))
}

//! The OpenAPI document (3.1), made of the operations and the schemas of the documents.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use hythe_document::schema;
use serde_json::{Map, Value, json};

use crate::http::operation::{self, Operation};
use crate::http::problem::Problem;
use crate::http::{self, App};

pub(super) async fn describe(State(app): State<&'static App>) -> Result<Response, Problem> {
    // It stays the same, and making it takes longer than most requests.
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    let text = match TEXT.get() {
        Some(text) => text.clone(),
        None => {
            let document = document(&http::operations(), app.version)?;
            TEXT.get_or_init(|| document.to_string().into()).clone()
        }
    };
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
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

//! An operation of the API: how it is called, what it takes and what it answers. The routes and the
//! OpenAPI document are made from the same list of them.

use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::App;

/// An operation, and what carries it out.
pub(super) struct Operation {
    pub(super) method: Method,
    pub(super) path: &'static str,
    /// What generated clients call it.
    id: &'static str,
    summary: &'static str,
    query: Option<Value>,
    body: Option<Value>,
    /// A header that it heeds, and the schema of its value.
    header: Option<(&'static str, Value)>,
    answer: Answer,
    /// The schema of what it answers when it fails, where that is not what the others do.
    failure: Option<Value>,
    pub(super) handler: MethodRouter<&'static App>,
}

/// What an operation answers when it succeeds.
enum Answer {
    /// A document, by the name of its schema.
    Document(&'static str),
    /// A document of this schema.
    Schema(Value),
    /// Something else, by its media type.
    Text(&'static str),
}

impl Operation {
    /// A call of `path`, carried out by `handler`.
    pub(super) fn new<H, T>(
        (method, filter): (Method, MethodFilter),
        path: &'static str,
        (id, summary): (&'static str, &'static str),
        handler: H,
    ) -> Self
    where
        H: axum::handler::Handler<T, &'static App>,
        T: 'static,
    {
        let answer = Answer::Schema(json!({ "type": "object" }));
        let handler = on(filter, handler);
        Self {
            method,
            path,
            id,
            summary,
            query: None,
            body: None,
            header: None,
            answer,
            failure: None,
            handler,
        }
    }

    /// What its query may say.
    pub(super) fn query<T: JsonSchema>(self) -> Self {
        Self { query: Some(schema::<T>()), ..self }
    }

    /// What its body says.
    pub(super) fn body<T: JsonSchema>(self) -> Self {
        Self { body: Some(schema::<T>()), ..self }
    }

    /// What its body says, by its schema.
    pub(super) fn body_of(self, schema: Value) -> Self {
        Self { body: Some(schema), ..self }
    }

    /// A header that it heeds, and the schema of its value.
    pub(super) fn header(self, name: &'static str, schema: Value) -> Self {
        Self { header: Some((name, schema)), ..self }
    }

    /// The field of its body that has to be there, though other callers of the verb may leave it out.
    pub(super) fn requires(mut self, field: &str) -> Self {
        if let Some(body) = &mut self.body {
            body["required"] = json!([field]);
        }
        self
    }

    /// It answers with a document, whose schema has this name.
    pub(super) fn answers(self, schema: &'static str) -> Self {
        Self { answer: Answer::Document(schema), ..self }
    }

    /// It answers with a document of this schema.
    pub(super) fn answers_with(self, schema: Value) -> Self {
        Self { answer: Answer::Schema(schema), ..self }
    }

    /// It answers with text of this media type.
    pub(super) fn answers_text(self, media: &'static str) -> Self {
        Self { answer: Answer::Text(media), ..self }
    }

    /// When it fails, it answers with a document of this schema.
    pub(super) fn fails_with(self, schema: Value) -> Self {
        Self { failure: Some(schema), ..self }
    }

    /// The OpenAPI operation object; `failure` is how it fails.
    pub(super) fn document(&self, failure: &Value) -> Value {
        let content = match &self.answer {
            Answer::Document(name) => {
                json!({ "application/json": { "schema": { "$ref": reference(name) } } })
            }
            Answer::Schema(schema) => json!({ "application/json": { "schema": schema } }),
            Answer::Text(media) => {
                let mut content = Map::new();
                content.insert((*media).to_owned(), json!({ "schema": { "type": "string" } }));
                content.into()
            }
        };
        let failure = match &self.failure {
            Some(schema) => &json!({
                "description": "It failed, and nothing was changed.",
                "content": { "application/json": { "schema": schema } },
            }),
            None => failure,
        };
        let mut parameters = self.in_path();
        let mut responses = Map::new();
        for (status, meaning) in self.failures(!parameters.is_empty()) {
            let mut failure = failure.clone();
            failure["description"] = meaning.into();
            responses.insert(status.to_owned(), failure);
        }
        responses.insert("default".to_owned(), failure.clone());
        let done = json!({ "description": "It is done.", "content": content });
        responses.insert("200".to_owned(), done);
        let mut operation = json!({
            "operationId": self.id,
            "summary": self.summary,
            "responses": responses,
        });
        parameters.extend(self.query.iter().flat_map(in_query));
        parameters.extend(
            self.header
                .iter()
                .map(|(name, schema)| json!({ "name": name, "in": "header", "schema": schema })),
        );
        if !parameters.is_empty() {
            operation["parameters"] = parameters.into();
        }
        if let Some(body) = &self.body {
            let content = json!({ "application/json": { "schema": or_null(body.clone()) } });
            let required = body.get("required").is_some();
            operation["requestBody"] = json!({ "required": required, "content": content });
        }
        operation
    }

    /// How it fails, by status; `names` is whether its path names a reservation.
    fn failures(&self, names: bool) -> impl Iterator<Item = (&'static str, &'static str)> {
        let (body, changes) = (self.body.is_some(), self.method != Method::GET);
        FAILURES.into_iter().filter_map(move |(when, status, meaning)| {
            let holds = match when {
                When::Always => true,
                When::Names => names || changes,
                When::Body => body,
                When::Changes => changes,
            };
            holds.then_some((status, meaning))
        })
    }

    /// The parameters that stand in braces in the path: all of them are ports.
    fn in_path(&self) -> Vec<Value> {
        let braced = self.path.split('/').filter_map(|part| part.strip_prefix('{'));
        let braced = braced.filter_map(|part| part.strip_suffix('}'));
        let port = json!({ "type": "integer", "minimum": 1, "maximum": 65535 });
        let document =
            |name| json!({ "name": name, "in": "path", "required": true, "schema": port });
        braced.map(document).collect()
    }
}

/// When a failure has to be reckoned with.
enum When {
    Always,
    /// It names a reservation, or a directory.
    Names,
    /// It has a body.
    Body,
    /// It changes something.
    Changes,
}

/// How operations fail, by status.
const FAILURES: [(When, &str, &str); 13] = [
    (When::Always, "400", "The request makes no sense."),
    (When::Always, "401", "A token is needed, or this one is wrong."),
    (When::Always, "403", "Another host is meant, or another site asks."),
    (When::Names, "404", "It is not reserved."),
    (When::Body, "408", "The body did not come in time."),
    (
        When::Changes,
        "409",
        "It cannot be done as things are: there is no free port, or it is locked.",
    ),
    (When::Body, "413", "The body is too long."),
    (When::Changes, "415", "The request is not JSON."),
    (When::Always, "422", "The configuration or a policy is wrong."),
    (When::Always, "429", "This client asks too often."),
    (When::Always, "500", "This server is wrong."),
    (When::Always, "503", "The ledger cannot be used now, or is locked for too long."),
    (When::Always, "504", "There was no answer in time. What has begun is carried through."),
];

/// Where the schema of a document is in the OpenAPI document.
pub(super) fn reference(name: &str) -> String {
    format!("{SCHEMAS}/{name}")
}

/// What the references to schemas begin with.
pub(super) const SCHEMAS: &str = "#/components/schemas";

/// A schema where what may be left out may be null as well.
fn or_null(mut schema: Value) -> Value {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let properties =
        schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten();
    for (name, property) in properties {
        if property.get("default").is_some() || required.contains(&json!(name)) {
            continue;
        }
        if let Some(kind) = property.get_mut("type").filter(|kind| kind.is_string()) {
            *kind = json!([kind.take(), "null"]);
        }
        if let Some(words) = property.get_mut("enum").and_then(Value::as_array_mut) {
            words.push(Value::Null);
        }
    }
    schema
}

fn in_query(schema: &Value) -> Vec<Value> {
    let Some(properties) = schema["properties"].as_object() else { return Vec::new() };
    let parameter = |(name, schema): (&String, &Value)| {
        let mut schema = schema.clone();
        // A query says something, or does not.
        if let Some(types) = schema["type"].as_array() {
            schema["type"] = types.first().cloned().unwrap_or_default();
        }
        // What stands for a flag in a query is text, and its default is not.
        if schema["type"] == "string"
            && let Some(schema) = schema.as_object_mut()
        {
            schema.remove("default");
        }
        let description = schema.as_object_mut().and_then(|it| it.remove("description"));
        json!({
            "name": name,
            "in": "query",
            "description": description.unwrap_or_default(),
            "schema": schema,
        })
    };
    properties.iter().map(parameter).collect()
}

/// The schema of a type, in one piece.
fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema: Value = SchemaGenerator::new(settings).into_root_schema_for::<T>().into();
    // What is left out is no value, which fits no type.
    for property in schema
        .get_mut("properties")
        .and_then(Value::as_object_mut)
        .into_iter()
        .flat_map(Map::values_mut)
    {
        if property["default"].is_null()
            && let Some(property) = property.as_object_mut()
        {
            property.remove("default");
        }
    }
    schema
}

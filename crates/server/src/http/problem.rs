//! How a request fails, as problem details (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hythe_document::{ExitCode, Failure};
use serde_json::{Value, json};

/// A failed request. Its schema: `problem.json`.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    status: StatusCode,
    /// The word for the kind of failure.
    code: &'static str,
    exit_code: Option<u8>,
    message: String,
    hint: Option<String>,
    details: Value,
}

/// What is said to people, beside the answer, for those who say it in another form.
#[derive(Debug, Clone)]
pub(super) struct Said(pub(super) String);

/// What the URIs of problem types begin with; they end with the code.
const TYPES: &str = "https://example.invalid/hythe/problems/";

impl Problem {
    /// A failure that HTTP itself knows, and no command.
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { status, code, exit_code: None, message, hint: None, details: json!({}) }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// A request that makes no sense.
    pub(super) fn usage(message: impl Into<String>, hint: &str) -> Self {
        Failure::usage(&message.into(), Some(hint)).into()
    }

    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// The document for programs.
    fn json(&self) -> Value {
        json!({
            "type": format!("{TYPES}{}", self.code),
            "title": self.status.canonical_reason().unwrap_or(self.code),
            "status": self.status.as_u16(),
            "detail": self.message,
            "code": self.code,
            "exit_code": self.exit_code,
            "hint": self.hint,
            "details": self.details,
        })
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let status = match failure.code {
            ExitCode::Usage => StatusCode::BAD_REQUEST,
            ExitCode::Configuration | ExitCode::Policy => StatusCode::UNPROCESSABLE_ENTITY,
            ExitCode::NoFreePort | ExitCode::Refused => StatusCode::CONFLICT,
            ExitCode::NotFound => StatusCode::NOT_FOUND,
            ExitCode::LockTimeout | ExitCode::Ledger => StatusCode::SERVICE_UNAVAILABLE,
            ExitCode::Done
            | ExitCode::Unexpected
            | ExitCode::NotExecutable
            | ExitCode::CommandNotFound => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let Failure { code, message, hint, details } = failure;
        let exit_code = Some(code as u8);
        Self { status, code: code.word(), exit_code, message, hint, details }
    }
}

impl From<serde_json::Error> for Problem {
    fn from(error: serde_json::Error) -> Self {
        Failure::unexpected(error.to_string()).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.json().to_string()).into_response();
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, json);
        let said = Said(self.message);
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(said);
        response
    }
}

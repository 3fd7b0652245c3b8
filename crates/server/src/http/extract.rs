//! What a request carries: a JSON body within bounds, a query, a port in the path.

use std::time::Duration;

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query as RawQuery, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use hythe_engine::Port;
use serde::de::DeserializeOwned;
use tokio::time;

use super::problem::Problem;

/// The longest body that is read, in bytes.
const LONGEST: usize = 64 * 1024;

/// How long a client may take to send a body.
const BODY_TIME: Duration = Duration::from_secs(10);

/// The body, as a JSON document. None stands for an empty object.
pub(super) struct Json<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let bytes = body(request, LONGEST).await?;
        read(&bytes).map(Self)
    }
}

/// A body of at most `longest` bytes.
pub(super) async fn body(request: Request, longest: usize) -> Result<Bytes, Problem> {
    let too_large = || {
        let message = format!("the body is longer than {longest} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", message)
    };
    let body = request.into_body();
    if axum::body::HttpBody::size_hint(&body).lower() > longest as u64 {
        return Err(too_large());
    }
    match time::timeout(BODY_TIME, to_bytes(body, longest)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_limit(&error) => Err(too_large()),
        Ok(Err(error)) => {
            Err(Problem::usage(format!("the body could not be read: {error}"), "send it again"))
        }
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "timeout",
            format!("the body did not come within {} seconds", BODY_TIME.as_secs()),
        )),
    }
}

fn is_limit(error: &axum::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.to_string().contains("limit") {
            return true;
        }
        cause = error.source();
    }
    false
}

/// A body as a JSON object.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let bytes = if bytes.is_empty() { b"{}" } else { bytes };
    // An array would be taken for the values of the fields in their order, which nobody promises.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(Problem::usage("the body: expected an object", "/v1/openapi.json"));
    }
    serde_json::from_slice(bytes)
        .map_err(|error| Problem::usage(format!("the body: {error}"), "/v1/openapi.json"))
}

/// The query.
pub(super) struct Query<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match RawQuery::try_from_uri(&parts.uri) {
            Ok(RawQuery(query)) => Ok(Self(query)),
            Err(error) => {
                // What is wrong, without the words around it.
                let error = std::error::Error::source(&error)
                    .map_or_else(|| error.to_string(), ToString::to_string);
                Err(Problem::usage(format!("the query: {error}"), "/v1/openapi.json"))
            }
        }
    }
}

/// The port in the path.
pub(super) struct At(pub(super) Port);

impl<S: Send + Sync> FromRequestParts<S> for At {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let hint = "/v1/reservations";
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|error| Problem::usage(error.to_string(), hint))?;
        text.parse()
            .map(Self)
            .map_err(|error: hythe_engine::PortError| Problem::usage(error.to_string(), hint))
    }
}

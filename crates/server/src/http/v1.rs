//! The API: the verbs of the engine under `/v1`.

mod openapi;
mod stream;

use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodFilter;
use hythe_document as document;
use hythe_engine::{Event, EventFilter, Port, ReserveRequest, Shown, Target};
use serde_json::{Value, json};

use super::App;
use super::extract::{At, Json, Query};
use super::operation::Operation;
use super::problem::Problem;
use crate::request;
use crate::verbs::{Here, Told};

pub(super) use stream::Feed;

/// A document as it is sent. A long one takes as long to make as the verb itself: it is made where the
/// verb runs.
type Answer = Result<Document, Problem>;

/// A JSON document.
pub(super) struct Document(String);

impl From<Value> for Document {
    fn from(document: Value) -> Self {
        Self(document.to_string())
    }
}

impl IntoResponse for Document {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, "application/json")], self.0).into_response()
    }
}

const GET: (Method, MethodFilter) = (Method::GET, MethodFilter::GET);
const POST: (Method, MethodFilter) = (Method::POST, MethodFilter::POST);
const PUT: (Method, MethodFilter) = (Method::PUT, MethodFilter::PUT);
const DELETE: (Method, MethodFilter) = (Method::DELETE, MethodFilter::DELETE);

/// Everything that can be called.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(
            GET,
            "/v1/reservations",
            ("list", "List reservations, and who listens"),
            list,
        )
        .query::<request::List>()
        .answers("list"),
        Operation::new(
            POST,
            "/v1/reservations",
            ("reserve", "The port of each service of a directory, reserving what is missing"),
            reserve,
        )
        .body::<request::Reserve>()
        .requires("directory")
        .answers("reserved"),
        Operation::new(
            GET,
            "/v1/reservations/{port}",
            ("show", "One reservation: facts, who listens, what happened to it"),
            show,
        )
        .answers("show"),
        Operation::new(
            DELETE,
            "/v1/reservations/{port}",
            ("releasePort", "Give one reservation back"),
            release_port,
        )
        .query::<request::ReleasePort>()
        .answers("released"),
        Operation::new(
            GET,
            "/v1/reservations/{port}/explanation",
            ("explain", "Why a reservation has its port"),
            explain,
        )
        .answers("reserved"),
        Operation::new(
            PUT,
            "/v1/reservations/{port}/lock",
            ("lock", "Lock a reservation, or unlock it"),
            lock,
        )
        .body::<request::Lock>()
        .answers("lock"),
        Operation::new(
            POST,
            "/v1/release",
            ("release", "Give the reservations of a directory back"),
            release,
        )
        .body::<request::Release>()
        .requires("directory")
        .answers("released"),
        Operation::new(
            POST,
            "/v1/cleanup",
            ("cleanup", "Run the cleanup policies now, and release what they say"),
            cleanup,
        )
        .body::<request::Cleanup>()
        .answers("released"),
        Operation::new(GET, "/v1/map", ("map", "A range, and what is with each of its ports"), map)
            .query::<request::Map>()
            .answers("map"),
        Operation::new(GET, "/v1/events", ("events", "What happened, oldest first"), events)
            .query::<request::Events>()
            .answers("log"),
        Operation::new(
            GET,
            "/v1/events/stream",
            ("streamEvents", "What happens, as server-sent events"),
            stream::stream,
        )
        .query::<stream::From>()
        .header("Last-Event-ID", json!({ "type": "integer", "minimum": 0 }))
        .answers_text("text/event-stream"),
        Operation::new(
            GET,
            "/v1/openapi.json",
            ("describe", "This description"),
            openapi::describe,
        ),
        Operation::new(
            GET,
            "/v1/metrics",
            ("measure", "Counters for Prometheus"),
            super::metrics::prometheus,
        )
        .answers_text("application/openmetrics-text"),
    ]
}

async fn list(State(app): State<&'static App>, Query(query): Query<request::List>) -> Answer {
    let filter = query.read()?;
    let told = app.verbs.read(Here::default(), move |engine| {
        let listed = engine.list(&filter)?;
        Ok(serde_json::to_string(&document::Listing(&listed)).map(Document))
    });
    Ok(told.await?.answer?)
}

async fn reserve(State(app): State<&'static App>, Json(body): Json<request::Reserve>) -> Answer {
    let (here, request) = body.read()?;
    let dry_run = request.dry_run;
    let Told { answer, notes } = app.verbs.reserve(here, request).await?;
    Ok(document::reserved_all(&answer, dry_run, &notes).into())
}

async fn show(State(app): State<&'static App>, At(port): At) -> Answer {
    let shown = app.verbs.read(Here::default(), move |engine| {
        let listed = engine.show_port(port)?;
        let key = listed.observed.reservation.key.text.clone();
        let history =
            EventFilter { key: Some(key), limit: Some(HISTORY), ..EventFilter::default() };
        let history = engine.events(&history)?;
        Ok(document::shown(&Shown::of(listed), &history).into())
    });
    Ok(shown.await?.answer)
}

/// How many of its latest events are shown with a reservation.
const HISTORY: u32 = 20;

async fn release_port(
    State(app): State<&'static App>,
    At(port): At,
    Query(query): Query<request::ReleasePort>,
) -> Answer {
    let request = query.read(port);
    let dry_run = request.dry_run;
    let told = app.verbs.write(Here::default(), move |engine| engine.release(&request)).await?;
    Ok(document::released(&told.answer, dry_run).into())
}

async fn explain(State(app): State<&'static App>, At(port): At) -> Answer {
    let found = app.verbs.read(Here::default(), move |engine| engine.show_port(port)).await?;
    let reservation = found.answer.observed.reservation;
    if !reservation.directory.is_dir() {
        let message = format!("{} of port {port} is gone", reservation.directory.display());
        return Err(Problem::new(StatusCode::NOT_FOUND, "not-found", message)
            .hint(format!("hythe release --port {port}")));
    }
    let request = ReserveRequest {
        services: vec![reservation.service],
        scope: Some(reservation.scope),
        dry_run: true,
        explain: true,
        ..ReserveRequest::default()
    };
    let mut here = Here::at(reservation.directory);
    here.overrides.project = request::set("project", reservation.project);
    let Told { answer, notes } = app.verbs.reserve(here, request).await?;
    Ok(document::reserved_all(&answer, true, &notes).into())
}

async fn lock(
    State(app): State<&'static App>,
    At(port): At,
    Json(body): Json<request::Lock>,
) -> Answer {
    let target = Target::Ports(vec![port]);
    let locked = app
        .verbs
        .write(Here::default(), move |engine| engine.set_lock(&target, body.locked))
        .await?;
    let document = locked.answer.first().map(document::locked);
    document.map(Document::from).ok_or_else(|| missing(port))
}

fn missing(port: Port) -> Problem {
    let message = format!("port {port} is not reserved");
    Problem::new(StatusCode::NOT_FOUND, "not-found", message)
}

async fn release(State(app): State<&'static App>, Json(body): Json<request::Release>) -> Answer {
    let (here, request) = body.read()?;
    let dry_run = request.dry_run;
    let told = app.verbs.write(here, move |engine| engine.release(&request)).await?;
    Ok(document::released(&told.answer, dry_run).into())
}

async fn cleanup(State(app): State<&'static App>, Json(body): Json<request::Cleanup>) -> Answer {
    let dry_run = body.dry_run;
    let request = body.into();
    let told = app.verbs.write(Here::default(), move |engine| engine.cleanup(&request)).await?;
    Ok(document::released(&told.answer, dry_run).into())
}

async fn map(State(app): State<&'static App>, Query(query): Query<request::Map>) -> Answer {
    let told = app
        .verbs
        .read(Here::default(), move |engine| Ok(document::map(&engine.map(query.range)?).into()));
    Ok(told.await?.answer)
}

async fn events(State(app): State<&'static App>, Query(query): Query<request::Events>) -> Answer {
    let filter = query.read()?;
    let told = app.verbs.read(Here::default(), move |engine| {
        let events = match (filter.after, filter.limit) {
            (Some(_), Some(most)) => engine.next_events(&filter, most)?,
            _ => engine.events(&filter)?,
        };
        let events: Vec<_> = events.iter().map(Event::document).collect();
        Ok(json!({ "version": 1, "events": events }).into())
    });
    Ok(told.await?.answer)
}

//! What the server has done, in numbers: for Prometheus, and in Port Daddy's form.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::App;
use super::problem::Problem;
use crate::verbs::Here;

/// The numbers.
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<Call, Counter>,
    seconds: Family<Route, Histogram, fn() -> Histogram>,
    reservations: Gauge,
    /// What is counted for a scrape is read by one at a time.
    scraping: Mutex<()>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Call {
    method: &'static str,
    /// The pattern of the route, never the path: what clients make up would be kept for ever.
    route: String,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Route {
    route: String,
}

/// The upper bounds of the histogram, in seconds.
const BOUNDS: [f64; 10] = [0.000_25, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 1.0, 10.0];

impl Metrics {
    pub(super) fn new(version: &str) -> Self {
        let mut registry = Registry::with_prefix("hythe");
        let requests = Family::default();
        let seconds: Family<_, _, fn() -> _> =
            Family::new_with_constructor(|| Histogram::new(BOUNDS));
        let reservations = Gauge::default();
        registry.register("http_requests", "Requests that were answered", requests.clone());
        registry.register(
            "http_request_duration_seconds",
            "How long they took until the answer began",
            seconds.clone(),
        );
        registry.register("reservations", "Ports that are reserved", reservations.clone());
        let about = prometheus_client::metrics::info::Info::new([("version", version.to_owned())]);
        registry.register("build", "This server", about);
        Self { registry, requests, seconds, reservations, scraping: Mutex::default() }
    }

    fn count(&self, method: &Method, route: String, status: u16, took: Duration) {
        let method = match *method {
            Method::GET => "GET",
            Method::POST => "POST",
            Method::PUT => "PUT",
            Method::DELETE => "DELETE",
            Method::HEAD => "HEAD",
            _ => "other",
        };
        self.requests.get_or_create(&Call { method, route: route.clone(), status }).inc();
        self.seconds.get_or_create(&Route { route }).observe(took.as_secs_f64());
    }
}

/// Counts a request.
pub(super) async fn count(
    State(app): State<&'static App>,
    path: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let route = path.map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let response = next.run(request).await;
    app.metrics.count(&method, route, response.status().as_u16(), began.elapsed());
    response
}

/// The numbers in Prometheus' text form (OpenMetrics 1.0).
pub(super) async fn prometheus(State(app): State<&'static App>) -> Result<Response, Problem> {
    let told = app.verbs.read(Here::default(), |engine| Ok(engine.reservations()?.len())).await?;
    let metrics = &app.metrics;
    let mut text = String::new();
    {
        let _one = metrics.scraping.lock();
        metrics.reservations.set(i64::try_from(told.answer).unwrap_or(i64::MAX));
        encode(&mut text, &metrics.registry).map_err(|error| {
            Problem::from(hythe_document::Failure::unexpected(error.to_string()))
        })?;
    }
    Ok(([(header::CONTENT_TYPE, MEDIA)], text).into_response())
}

/// <https://prometheus.io/docs/specs/om/open_metrics_spec/#text-format>
const MEDIA: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

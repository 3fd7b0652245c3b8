//! The page at `/`: a few files that are part of this program, so that it works without a network.

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::App;

/// A file of the page: its path, its media type and its text.
type Asset = (&'static str, &'static str, &'static str);

macro_rules! asset {
    ($media:literal, $name:literal) => {
        (
            concat!("/", $name),
            concat!($media, "; charset=utf-8"),
            include_str!(concat!("../dashboard/", $name)),
        )
    };
}

const ASSETS: &[Asset] = &[
    ("/", "text/html; charset=utf-8", include_str!("../dashboard/index.html")),
    ("/favicon.svg", "image/svg+xml", include_str!("../dashboard/favicon.svg")),
    asset!("text/css", "dashboard.css"),
    asset!("text/css", "dashboard-dialogs.css"),
    asset!("text/css", "dashboard-rows.css"),
    asset!("text/javascript", "dashboard.js"),
    asset!("text/javascript", "dashboard-actions.js"),
    asset!("text/javascript", "dashboard-api.js"),
    asset!("text/javascript", "dashboard-details.js"),
    asset!("text/javascript", "dashboard-dialogs.js"),
    asset!("text/javascript", "dashboard-events.js"),
    asset!("text/javascript", "dashboard-map.js"),
    asset!("text/javascript", "dashboard-stream.js"),
    asset!("text/javascript", "dashboard-table.js"),
    asset!("text/javascript", "dashboard-words.js"),
];

/// What the page may do: talk to this server, and nothing else
/// (<https://www.w3.org/TR/CSP3/>).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

/// Whether a path is one of the page's own.
pub(super) fn is_asset(path: &str) -> bool {
    ASSETS.iter().any(|(asset, ..)| *asset == path)
}

/// The routes of the page.
pub(super) fn routes() -> Router<&'static App> {
    ASSETS.iter().fold(Router::new(), |routes, asset| {
        routes.route(asset.0, get(move || async move { answer(asset) }))
    })
}

fn answer((_, media, text): &Asset) -> Response {
    let policy = HeaderValue::from_static(POLICY);
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(media))];
    let mut response = (headers, *text).into_response();
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

//! The HTTP server: who listens, who is let in, what can be called.

mod dashboard;
mod extract;
mod guard;
mod listen;
mod metrics;
mod operation;
mod port_daddy;
mod presence;
mod problem;
mod rate;
mod token;
mod v1;

use std::any::Any;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Router, middleware};
use hythe_document::{ExitCode, Failure};
use hythe_engine::CleanupRequest;
use tokio::runtime;
use tokio::time::{self, MissedTickBehavior};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;

pub use listen::Listen;
pub use presence::Presence;
pub use token::Token;

use crate::verbs::{self, Here, Verbs};
use guard::Guard;
use metrics::Metrics;
use operation::Operation;
use port_daddy::Counters;
use problem::Problem;
use rate::Rates;

/// How long a request may take until its answer begins: longer than the ledger's lock is waited for.
const ANSWER_TIME: Duration = Duration::from_mins(1);

/// How a server is run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens; at least at one place.
    pub listen: Vec<Listen>,
    /// What whoever asks has to know; needed when others than this machine's users can ask.
    pub token: Option<Token>,
    /// Names of this host that requests may use, beside those of the loopback interface.
    pub hosts: Vec<String>,
    /// How many requests one client may make in a second.
    pub rate: NonZeroU32,
    /// How often the cleanup policies are run; never when it is `None`.
    pub cleanup_every: Option<Duration>,
    /// What this program is called by, such as `0.1.0`.
    pub version: &'static str,
}

/// What the requests share. There is one for as long as the process lives.
struct App {
    verbs: Verbs,
    feed: v1::Feed,
    metrics: Metrics,
    port_daddy: Counters,
    version: &'static str,
    began: Instant,
}

/// Serves until the process is told to end (SIGINT, SIGTERM). `ready` is told where it listens, once it
/// does.
///
/// # Errors
///
/// When it cannot listen there, when that needs a token and there is none, or when another server
/// already serves this ledger.
pub fn serve(
    verbs: Verbs,
    settings: Settings,
    ready: impl FnOnce(&[String]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(verbs::THREADS)
        .enable_all()
        .build()
        .map_err(|error| Failure::unexpected(format!("threads cannot be started: {error}")))?;
    let outcome = runtime.block_on(run(verbs, settings, ready));
    // A verb that has begun is carried through; one that waits for a lock is not waited for.
    runtime.shutdown_timeout(LAST_VERBS);
    outcome
}

/// Whether a server may listen at all of these places, with or without a token.
///
/// # Errors
///
/// When others than this machine's users could ask there, and need no token.
pub fn may_listen(places: &[Listen], token: bool) -> Result<(), Failure> {
    let open = places.iter().find(|listen| !listen.is_private());
    match open.filter(|_| !token) {
        None => Ok(()),
        Some(open) => Err(Failure {
            code: ExitCode::Refused,
            ..Failure::usage(
                &format!("others than this machine could ask at {open}: a token is needed"),
                Some(&format!("hythe serve --listen {open} --token-file ~/.config/hythe/token")),
            )
        }),
    }
}

/// How many threads talk to clients. What takes time is done on others.
const WORKERS: usize = 2;

/// How long those are waited for at the end who are still being answered.
const PARTING: Duration = Duration::from_secs(3);

/// How long verbs are waited for after that, for which nobody waits any more.
const LAST_VERBS: Duration = Duration::from_secs(2);

async fn run(
    verbs: Verbs,
    settings: Settings,
    ready: impl FnOnce(&[String]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    may_listen(&settings.listen, settings.token.is_some())?;
    // With a configuration or a ledger that is wrong there is nothing to answer.
    verbs.read(Here::default(), |engine| engine.reservations().map(drop)).await?;
    let state = verbs.home().state.clone();
    let held = presence::claim(&state)?;
    let listeners = listen::bind(&settings.listen)?;
    let places: Vec<_> = listeners.iter().map(ToString::to_string).collect();
    held.announce(&places, settings.version)?;

    // They live as long as the process: that is what a request may rely on.
    let app: &'static App = Box::leak(Box::new(App {
        feed: v1::Feed::start(verbs.clone()),
        metrics: Metrics::new(settings.version),
        port_daddy: Counters::new(),
        verbs,
        version: settings.version,
        began: Instant::now(),
    }));
    if let Some(every) = settings.cleanup_every {
        tokio::spawn(clean(app, every));
    }
    let guard: &'static Guard = Box::leak(Box::new(Guard {
        hosts: settings.hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
        addresses: settings.listen.iter().filter_map(Listen::address).collect(),
        token: settings.token,
        rates: Rates::new(settings.rate),
    }));
    let router = router(app, guard);
    let mut ends = listen::ends()
        .map_err(|error| Failure::unexpected(format!("signals cannot be waited for: {error}")))?;
    ready(&places)?;
    let ended = async move {
        ends.wait().await;
        app.feed.end();
    };
    listen::serve(listeners, router, ended, PARTING).await;
    drop(held);
    Ok(())
}

/// What the API is.
fn operations() -> Vec<Operation> {
    v1::operations().into_iter().chain(port_daddy::operations()).collect()
}

/// Everything that can be called, behind the guard.
fn router(app: &'static App, guard: &'static Guard) -> Router {
    let mut router = dashboard::routes();
    for operation in operations() {
        router = router.route(operation.path, operation.handler);
    }
    let layers = ServiceBuilder::new()
        .layer(middleware::map_response(plain_headers))
        .layer(middleware::from_fn_with_state(app, metrics::count))
        .layer(middleware::from_fn(port_daddy::plainly))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(guard, guard::check))
        .layer(middleware::from_fn(in_time));
    router
        .method_not_allowed_fallback(|| async {
            let message = "this cannot be called in this way";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", message)
                .hint("/v1/openapi.json")
        })
        .fallback(|| async {
            Problem::new(StatusCode::NOT_FOUND, "not-found", "there is nothing here")
                .hint("/v1/openapi.json")
        })
        .layer(layers)
        .with_state(app)
}

/// Answers for a request that takes too long. What it has begun is carried through all the same.
async fn in_time(request: Request, next: Next) -> Result<Response, Problem> {
    time::timeout(ANSWER_TIME, next.run(request)).await.map_err(|_| {
        let message = format!("there was no answer within {} seconds", ANSWER_TIME.as_secs());
        Problem::new(StatusCode::GATEWAY_TIMEOUT, "timeout", message)
    })
}

/// Answers for what is a fault of this program.
fn panicked(_: Box<dyn Any + Send>) -> axum::http::Response<Body> {
    let message = "this request is more than the server can take: please report it";
    Problem::from(Failure::unexpected(message.to_owned())).into_response()
}

/// What every answer says: it is what it says it is, for this page alone, and not to be kept.
async fn plain_headers(mut response: Response) -> Response {
    let policy = (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
    let headers = response.headers_mut();
    for (name, value) in [
        policy,
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Runs the cleanup policies again and again.
async fn clean(app: &'static App, every: Duration) {
    let mut due = time::interval(every);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        let request = CleanupRequest::default();
        match app.verbs.write(Here::default(), move |engine| engine.cleanup(&request)).await {
            Ok(told) => {
                tracing::info!(released = told.answer.len(), "cleaned up");
                app.port_daddy.cleaned_up(told.answer.len());
            }
            Err(failure) => tracing::warn!(message = failure.message, "cleanup failed"),
        }
    }
}

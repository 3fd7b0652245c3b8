//! The paths of Port Daddy 1, for its clients.
//!
//! What it calls a project is a reservation of scope `project` whose service is `main`: that is what
//! its database is imported as, and what `hythe reserve --scope project --project NAME` asks for. It is
//! reserved in a directory that belongs to nobody, as the import has no directory either, so that only
//! the user's own configuration holds. Everything else that is reserved is listed beside it, under
//! names that no project of Port Daddy can have.

mod asked;
mod counters;
mod schema;
mod told;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::MethodFilter;
use hythe_document::{ExitCode, Failure};
use hythe_engine::config::Overrides;
use hythe_engine::{
    Change, CleanupRequest, Host, Label, Lease, ListFilter, Outcome, Port, PortRange,
    ReleaseRequest, ReserveRequest, Reserved, ScanRequest, Scope, Service, System, Target,
};
use serde_json::{Value, json};

use super::App;
use super::extract::{self, Query};
use super::operation::Operation;
use super::problem::{Problem, Said};
use crate::request;
use crate::verbs::{Here, Told};

pub(super) use counters::Counters;

type Answer = Result<axum::Json<Value>, Problem>;

const GET: (Method, MethodFilter) = (Method::GET, MethodFilter::GET);
const POST: (Method, MethodFilter) = (Method::POST, MethodFilter::POST);
const DELETE: (Method, MethodFilter) = (Method::DELETE, MethodFilter::DELETE);

/// The longest body, in bytes, as there.
const LONGEST: usize = 10 * 1024;

/// What of it can be called.
pub(super) fn operations() -> Vec<Operation> {
    let operations = vec![
        Operation::new(
            POST,
            "/ports/request",
            ("requestPort", "The port of a project, reserving it when it has none (Port Daddy 1)"),
            request,
        )
        .header("X-PID", schema::pid())
        .body_of(schema::wanted())
        .answers_with(schema::assigned()),
        Operation::new(
            DELETE,
            "/ports/release",
            ("releaseProject", "Give a port back, or that of a project (Port Daddy 1)"),
            release,
        )
        .body_of(schema::unwanted())
        .answers_with(schema::released()),
        Operation::new(
            GET,
            "/ports/active",
            ("listActive", "Every reservation (Port Daddy 1)"),
            active,
        )
        .answers_with(schema::active()),
        Operation::new(
            GET,
            "/ports/system",
            ("listSystem", "Every port of this machine that somebody listens on (Port Daddy 1)"),
            system,
        )
        .query::<asked::System>()
        .answers_with(schema::system()),
        Operation::new(
            POST,
            "/ports/cleanup",
            ("cleanUp", "Run the cleanup policies now (Port Daddy 1)"),
            cleanup,
        )
        .answers_with(schema::cleanup()),
        Operation::new(GET, "/health", ("health", "Whether the server is well"), health)
            .answers_with(schema::health()),
        Operation::new(GET, "/version", ("version", "Which server this is"), version)
            .answers_with(schema::version()),
        Operation::new(
            GET,
            "/metrics",
            ("count", "Counters of these paths; those of `/v1/metrics` for who asks for text"),
            metrics,
        )
        .answers_with(schema::metrics()),
    ];
    operations.into_iter().map(|operation| operation.fails_with(schema::failure())).collect()
}

/// Whether a path is one of these.
fn is_own(path: &str) -> bool {
    is_counted(path) || matches!(path, "/health" | "/version" | "/metrics")
}

/// Whether those who ask at a path are told how often they still may.
pub(super) fn is_counted(path: &str) -> bool {
    path.starts_with("/ports/")
}

/// Says what is wrong as its clients expect it, whoever found it wrong: in `error`.
pub(super) async fn plainly(request: Request, next: Next) -> Response {
    let own = is_own(request.uri().path());
    let mut response = next.run(request).await;
    let said = if own { response.extensions_mut().remove::<Said>() } else { None };
    let Some(Said(message)) = said else { return response };
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response.map(|_| json!({ "error": message }).to_string().into())
}

async fn request(State(app): State<&'static App>, request: Request) -> Answer {
    let wanted = wanted(app, request).await.inspect_err(|_| app.port_daddy.refused())?;
    let reserved = reserve(app, &wanted).await.map_err(|failure| app.port_daddy.failed(failure))?;
    let port = reserved.observed.reservation.port;
    let existing = reserved.outcome == Outcome::Existing;
    let message = if existing {
        "existing assignment renewed"
    } else {
        app.port_daddy.assigned();
        if wanted.preferred == Some(port) {
            "assigned preferred port"
        } else {
            "port assigned successfully"
        }
    };
    Ok(axum::Json(json!({ "port": port, "message": message, "existing": existing })))
}

/// A request for a port that makes sense.
struct Wanted {
    project: Label,
    preferred: Option<Port>,
    pid: Option<u32>,
}

async fn wanted(app: &App, request: Request) -> Result<Wanted, Problem> {
    let pid = asked::pid(request.headers());
    let body = extract::read::<Value>(&extract::body(request, LONGEST).await?)?;
    let project = asked::project(&body["project"]).map_err(unusable)?;
    let pid = pid.map_err(unusable)?;
    let preferred = asked::preferred(&body["preferred"]).map_err(unusable)?;
    if let Some(port) = preferred {
        let refusal = app.verbs.read(Here::default(), move |engine| {
            Ok(asked::refusal(port, &engine.config().settings().ports))
        });
        if let Some(why) = refusal.await?.answer {
            return Err(unusable(why));
        }
    }
    Ok(Wanted { project, preferred, pid })
}

fn unusable(message: String) -> Problem {
    Problem::usage(message, "/v1/openapi.json")
}

/// The reservation of a project.
async fn reserve(app: &App, wanted: &Wanted) -> Result<Reserved, Failure> {
    let ask = |pid| {
        let request = ReserveRequest {
            services: vec![Service::default()],
            scope: Some(Scope::Project),
            prefer: wanted.preferred.into_iter().collect(),
            // Most often the process is a command that only asks, and is over at once.
            lease: Some(Lease::Persistent),
            pid,
            ..ReserveRequest::default()
        };
        app.verbs.reserve(of_project(&wanted.project), request)
    };
    // A process that has ended can own nothing; it may end while it is answered.
    let lives = |pid: &u32| Host.identify(*pid).is_some();
    let pid = wanted.pid.filter(lives);
    let told = match (ask(pid).await, pid) {
        (Err(_), Some(pid)) if !lives(&pid) => ask(None).await?,
        (told, _) => told?,
    };
    let Told { answer, .. } = told;
    let first = answer.into_iter().next();
    first.ok_or_else(|| Failure::unexpected("the engine answered nothing".to_owned()))
}

/// Where a project is asked for: wherever it lies, the user's word alone counts.
fn of_project(project: &Label) -> Here {
    let project = request::set("project", Some(project.clone()));
    Here { directory: None, overrides: Overrides { project, ..Overrides::default() } }
}

async fn release(State(app): State<&'static App>, request: Request) -> Answer {
    let unwanted = unwanted(request).await.inspect_err(|_| app.port_daddy.refused())?;
    let (here, target) = match &unwanted {
        Unwanted::Port(port) => (Here::default(), Target::Ports(vec![*port])),
        Unwanted::Project(project) => {
            let main = Target::Services(vec![Service::default()], Some(Scope::Project));
            (of_project(project), main)
        }
    };
    let request = ReleaseRequest { target, elsewhere: true, ..ReleaseRequest::default() };
    let released = app.verbs.write(here, move |engine| engine.release(&request)).await;
    let count = match released {
        Ok(told) => told.answer.len(),
        // What is not there is as it should be.
        Err(failure) if failure.code == ExitCode::NotFound => 0,
        Err(failure) => return Err(app.port_daddy.failed(failure)),
    };
    app.port_daddy.released(count);
    let message = match unwanted {
        Unwanted::Port(port) if count > 0 => format!("released port {port}"),
        Unwanted::Port(port) => format!("released 0 port(s): {port} is not reserved"),
        Unwanted::Project(project) => format!("released {count} port(s) for project {project}"),
    };
    Ok(axum::Json(json!({ "success": true, "message": message })))
}

/// What is given back.
enum Unwanted {
    Port(Port),
    Project(Label),
}

async fn unwanted(request: Request) -> Result<Unwanted, Problem> {
    let body = extract::read::<Value>(&extract::body(request, LONGEST).await?)?;
    let unwanted = match (body.get("port"), body.get("project")) {
        (Some(port), _) => asked::port(port).map(Unwanted::Port),
        (None, Some(project)) => asked::project(project).map(Unwanted::Project),
        (None, None) => Err("port or project required".to_owned()),
    };
    unwanted.map_err(unusable)
}

async fn active(State(app): State<&'static App>) -> Answer {
    let all = ListFilter::default();
    let listed = app.verbs.read(Here::default(), move |engine| engine.list(&all)).await;
    let listed = listed.map_err(|failure| app.port_daddy.failed(failure))?.answer;
    let now = Host.now();
    let ports: Vec<_> = listed.iter().map(|listed| told::active(listed, now)).collect();
    Ok(axum::Json(json!({ "count": ports.len(), "ports": ports })))
}

async fn system(State(app): State<&'static App>, Query(query): Query<asked::System>) -> Answer {
    let scanned = app.verbs.read(Here::default(), |engine| {
        let request = ScanRequest { ranges: vec![PortRange::ALL], unreserved: false };
        Ok((engine.scan(&request)?, engine.config().settings().ports.range.value))
    });
    let (found, range) = scanned.await.map_err(|failure| app.port_daddy.failed(failure))?.answer;
    let meant = found.iter().filter(|found| {
        (!query.range_only || range.contains(found.port))
            && (!query.unmanaged_only || found.reserved.is_none())
    });
    let ports: Vec<_> = meant.map(told::listening).collect();
    Ok(axum::Json(json!({
        "count": ports.len(),
        "ports": ports,
        "total_system_ports": found.len(),
    })))
}

async fn cleanup(State(app): State<&'static App>) -> Answer {
    let request = CleanupRequest::default();
    let cleaned = app.verbs.write(Here::default(), move |engine| engine.cleanup(&request)).await;
    let freed = cleaned.map_err(|failure| app.port_daddy.failed(failure))?.answer;
    app.port_daddy.cleaned_up(freed.len());
    let freed: Vec<_> = freed.iter().map(Change::reservation).map(told::freed).collect();
    Ok(axum::Json(json!({ "count": freed.len(), "freed": freed })))
}

async fn health(State(app): State<&'static App>) -> Answer {
    Ok(axum::Json(json!({
        "status": "ok",
        "version": app.version,
        "uptime_seconds": app.began.elapsed().as_secs(),
        "active_ports": reserved(app).await?,
        "pid": std::process::id(),
    })))
}

/// How many ports are reserved.
async fn reserved(app: &App) -> Result<usize, Failure> {
    let told = app.verbs.read(Here::default(), |engine| Ok(engine.reservations()?.len())).await?;
    Ok(told.answer)
}

async fn version(State(app): State<&'static App>) -> axum::Json<Value> {
    axum::Json(json!({ "version": app.version, "service": "hythe" }))
}

async fn metrics(State(app): State<&'static App>, headers: HeaderMap) -> Response {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    let text = |accept: &str| ["text/plain", "openmetrics"].iter().any(|it| accept.contains(it));
    if accepted.into_iter().any(text) {
        return super::metrics::prometheus(State(app)).await.into_response();
    }
    let counters = reserved(app).await.map(|active| app.port_daddy.document(active, app.began));
    counters.map(axum::Json).map_err(Problem::from).into_response()
}

/// The failure of a request that makes sense, as its clients know it.
fn problem(failure: Failure) -> Problem {
    match failure.code {
        // There it is no conflict between requests, but a service that has run out.
        ExitCode::NoFreePort => {
            let code = failure.code.word();
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, failure.message)
        }
        _ => failure.into(),
    }
}

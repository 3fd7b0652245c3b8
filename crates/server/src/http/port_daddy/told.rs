//! Reservations and listeners as Port Daddy told of them.

use hythe_document::user_name;
use hythe_engine::{
    Found, Holder, Listed, Listening, Liveness, Observed, Process, Reservation, Scope, Timestamp,
};
use serde_json::{Value, json};

/// A reservation.
pub(super) fn active(listed: &Listed, now: Timestamp) -> Value {
    let Listed { observed, holder, .. } = listed;
    let Observed { reservation, owner, listening, .. } = observed;
    let lives = *owner == Some(Liveness::Alive);
    // Whoever listens, unless it is proven to be a stranger.
    let own = matches!(listening, Listening::Mine | Listening::Unknown);
    let server = holder.as_ref().filter(|_| own);
    let at_work = server.and_then(first).map(|process| process.pid);
    let owner = reservation.owner.as_ref().map(|owner| owner.pid);
    let pid = if lives { owner } else { at_work.or(owner) };
    let (started, seen) = (reservation.created_at, reservation.last_used_at);
    json!({
        "port": reservation.port,
        "project": name(reservation),
        "pid": pid,
        "started": started.millis(),
        "last_seen": seen.millis(),
        "alive": lives || server.is_some(),
        "age_minutes": now.since(started).as_secs() / 60,
        "started_at": started,
        "last_seen_at": seen,
    })
}

/// A port that somebody listens on.
pub(super) fn listening(found: &Found) -> Value {
    let process = first(&found.holder);
    let container = found.holder.containers.first().map(|container| container.name.clone());
    let user = process.and_then(|process| process.user);
    let user = user.or_else(|| found.holder.users.first().copied());
    json!({
        "port": found.port,
        "pid": process.map(|process| process.pid),
        "command": process.map(program).or(container),
        "user": user.map(user_name),
        "managed_by_port_daddy": found.reserved.is_some(),
        "project": found.reserved.as_ref().map(|observed| name(&observed.reservation)),
    })
}

/// A reservation that was released.
pub(super) fn freed(reservation: &Reservation) -> Value {
    json!({ "port": reservation.port, "project": name(reservation) })
}

fn first(holder: &Holder) -> Option<&Process> {
    holder.processes.first()
}

/// The program of a process, by its name.
fn program(process: &Process) -> String {
    let program = process.command.split(' ').next().unwrap_or_default();
    program.rsplit('/').next().unwrap_or_default().to_owned()
}

/// What a reservation is called where there are only projects: by its project if it is what a project
/// has there; otherwise with its service behind a `/`, which stands in no name of theirs.
fn name(reservation: &Reservation) -> String {
    let Reservation { scope, directory, service, project, .. } = reservation;
    match (scope, project) {
        (Scope::Project, Some(project)) if service.as_str() == "main" => project.to_string(),
        (Scope::Service, _) => format!("/{service}"),
        (_, Some(project)) => format!("{project}/{service}"),
        (_, None) => {
            let directory = directory.file_name().unwrap_or_default().to_string_lossy();
            format!("{directory}/{service}")
        }
    }
}

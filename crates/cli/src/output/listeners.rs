//! Who listens on a port, for people and for programs.

use hythe_engine::{Container, Holder, Listed, Ownership, Port, Process, Verdict};
use serde_json::{Value, json};

use super::document::path;

/// The processes behind reserved ports, each with its port.
pub(crate) fn listeners(listed: &[Listed]) -> Value {
    listed
        .iter()
        .flat_map(|Listed { observed, holder, ownership }| {
            processes(observed.reservation.port, holder.as_ref(), ownership.as_ref())
        })
        .collect()
}

/// The containers that publish reserved ports, each with its port.
pub(crate) fn containers(listed: &[Listed]) -> Value {
    listed
        .iter()
        .flat_map(|Listed { observed, holder, ownership }| {
            publishers(observed.reservation.port, holder.as_ref(), ownership.as_ref())
        })
        .collect()
}

/// Those who are behind a port: processes or containers.
pub(crate) type Of = fn(Port, Option<&Holder>, Option<&Ownership>) -> Vec<Value>;

/// The processes behind a port.
pub(crate) fn processes(
    port: Port,
    holder: Option<&Holder>,
    ownership: Option<&Ownership>,
) -> Vec<Value> {
    let processes = holder.map_or(&[][..], |holder| &holder.processes);
    let verdicts = ownership.map_or(&[][..], |ownership| &ownership.processes);
    let document = |(at, process): (usize, &Process)| {
        let mut document = json!({
            "port": port,
            "pid": process.pid,
            "command": process.command,
            "directory": process.place.as_ref().map(|place| path(&place.directory)),
            "started_at": process.started_at,
            "user": process.user.map(user),
        });
        judge(&mut document, verdicts.get(at));
        document
    };
    processes.iter().enumerate().map(document).collect()
}

/// The containers that publish a port.
pub(crate) fn publishers(
    port: Port,
    holder: Option<&Holder>,
    ownership: Option<&Ownership>,
) -> Vec<Value> {
    let containers = holder.map_or(&[][..], |holder| &holder.containers);
    let verdicts = ownership.map_or(&[][..], |ownership| &ownership.containers);
    let document = |(at, container): (usize, &Container)| {
        let mut document = json!({
            "port": port,
            "id": container.id,
            "name": container.name,
            "image": container.image,
            "project": container.project,
            "service": container.service,
            "directory": container.place.as_ref().map(|place| path(&place.directory)),
            "mounts": container.mounts.iter().map(|place| path(&place.directory)).collect::<Vec<_>>(),
        });
        judge(&mut document, verdicts.get(at));
        document
    };
    containers.iter().enumerate().map(document).collect()
}

fn judge(document: &mut Value, verdict: Option<&Verdict>) {
    document["listening"] = json!(verdict.map(|verdict| verdict.listening));
    document["reason"] = json!(verdict.map(ToString::to_string));
}

/// A user by number and, where it has one, name.
pub(crate) fn user(number: u32) -> Value {
    json!({ "id": number, "name": name_of(number) })
}

fn name_of(user: u32) -> Option<String> {
    uzers::get_user_by_uid(user).map(|user| user.name().to_string_lossy().into_owned())
}

/// A user as people call it: by name, or else by number.
pub(crate) fn user_name(user: u32) -> String {
    name_of(user).unwrap_or_else(|| user.to_string())
}

/// Everybody behind a port, a line each: who it is, and why it is judged as it is.
pub(crate) fn lines(holder: &Holder, ownership: Option<&Ownership>) -> Vec<String> {
    let because = |verdict: Option<&Verdict>| {
        let told = |verdict: &Verdict| format!("; {}: {verdict}", verdict.listening.word());
        verdict.map(told).unwrap_or_default()
    };
    let verdicts = |of: fn(&Ownership) -> &Vec<Verdict>| ownership.map_or(&[][..], |it| of(it));
    let containers = holder.containers.iter().enumerate().map(|(at, container)| {
        let verdict = verdicts(|it| &it.containers).get(at);
        format!("{}{}", describe_container(container), because(verdict))
    });
    let processes = holder.processes.iter().enumerate().map(|(at, process)| {
        let verdict = verdicts(|it| &it.processes).get(at);
        format!("{}{}", describe_process(process), because(verdict))
    });
    let hidden = holder.hidden.then(|| {
        let users: Vec<_> = holder.users.iter().map(|user| user_name(*user)).collect();
        match users.is_empty() {
            true => "a process that cannot be seen".to_owned(),
            false => format!("a process that cannot be seen; by {}", users.join(", ")),
        }
    });
    containers.chain(processes).chain(hidden).collect()
}

fn describe_process(process: &Process) -> String {
    let Process { pid, command, .. } = process;
    let user = process.user.map(|user| format!(" by {}", user_name(user))).unwrap_or_default();
    let started = crate::commands::short(process.started_at);
    let place = process.place.as_ref().map_or_else(
        || "a directory that cannot be seen".to_owned(),
        |place| place.directory.display().to_string(),
    );
    format!("pid {pid} `{command}`{user} since {started} in {place}")
}

fn describe_container(container: &Container) -> String {
    let Container { name, id, image, .. } = container;
    let service = match (&container.project, &container.service) {
        (Some(project), Some(service)) => format!(", service {service} of {project}"),
        _ => String::new(),
    };
    let place = container
        .place
        .as_ref()
        .map_or_else(String::new, |place| format!(", composed in {}", place.directory.display()));
    format!("container `{name}` ({id}) of {image}{service}{place}")
}

/// The first of those behind a port, in few words: a container by its name, a process by its program.
pub(crate) fn brief(holder: &Holder) -> String {
    let more = holder.containers.len().max(holder.processes.len()).saturating_sub(1);
    let more = if more > 0 { format!(" +{more}") } else { String::new() };
    if let Some(container) = holder.containers.first() {
        return format!("{}{more}", container.name);
    }
    match holder.processes.first() {
        Some(process) => format!("{} {}{more}", process.pid, process.program()),
        None => {
            holder.users.first().map_or_else(String::new, |user| format!("? {}", user_name(*user)))
        }
    }
}

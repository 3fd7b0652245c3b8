//! Who listens on a port, for people.

use hythe_document::user_name;
use hythe_engine::{Container, Holder, Ownership, Process, Verdict};

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

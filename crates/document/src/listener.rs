//! Who is behind a port: processes and containers.

use hythe_engine::{Container, Holder, Listed, Ownership, Port, Process, Verdict};
use serde_json::{Value, json};

use crate::path;

/// The processes behind reserved ports, each with its port.
#[must_use]
pub fn listeners(listed: &[Listed]) -> Value {
    listed
        .iter()
        .flat_map(|Listed { observed, holder, ownership }| {
            processes(observed.reservation.port, holder.as_ref(), ownership.as_ref())
        })
        .collect()
}

/// The containers that publish reserved ports, each with its port.
#[must_use]
pub fn containers(listed: &[Listed]) -> Value {
    listed
        .iter()
        .flat_map(|Listed { observed, holder, ownership }| {
            publishers(observed.reservation.port, holder.as_ref(), ownership.as_ref())
        })
        .collect()
}

/// Those who are behind a port: processes or containers.
pub type Of = fn(Port, Option<&Holder>, Option<&Ownership>) -> Vec<Value>;

/// The processes behind a port.
#[must_use]
pub fn processes(port: Port, holder: Option<&Holder>, ownership: Option<&Ownership>) -> Vec<Value> {
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
#[must_use]
pub fn publishers(
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
#[must_use]
pub fn user(number: u32) -> Value {
    json!({ "id": number, "name": name_of(number) })
}

fn name_of(user: u32) -> Option<String> {
    uzers::get_user_by_uid(user).map(|user| user.name().to_string_lossy().into_owned())
}

/// A user as people call it: by name, or else by number.
#[must_use]
pub fn user_name(user: u32) -> String {
    name_of(user).unwrap_or_else(|| user.to_string())
}

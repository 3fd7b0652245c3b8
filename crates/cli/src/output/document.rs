//! The JSON documents. docs/schema holds their schemas; tests validate against them.

use std::path::Path;
use std::time::Duration;

use hythe_engine::{
    Change, Cost, Event, Explanation, FoundPlugin, Listed, Liveness, Observed, PluginFacts,
    Reserved, TypicalCall,
};
use serde_json::{Value, json};

/// One reservation.
pub(crate) fn reservation(observed: &Observed) -> Value {
    let Observed { reservation, owner, listening, .. } = observed;
    let owner = reservation.owner.as_ref().map(|process| {
        let alive = match owner {
            Some(Liveness::Alive) => Some(true),
            Some(Liveness::Dead) => Some(false),
            Some(Liveness::Unknown) | None => None,
        };
        json!({ "pid": process.pid, "started_at": process.started_at, "alive": alive })
    });
    json!({
        "port": reservation.port,
        "scope": reservation.scope,
        "directory": path(&reservation.directory),
        "service": reservation.service,
        "project": reservation.project,
        "task": reservation.task,
        "agent": reservation.agent,
        "lease": reservation.lease,
        "locked": reservation.locked,
        "owner": owner,
        "created_at": reservation.created_at,
        "last_used_at": reservation.last_used_at,
        "expires_at": reservation.expires_at(),
        "listening": listening,
        "key": reservation.key.text,
        "strategy": reservation.strategy,
    })
}

/// A path, with U+FFFD for what is not UTF-8: the reservation's key has the exact bytes.
pub(crate) fn path(path: &Path) -> Value {
    path.to_string_lossy().into()
}

/// The answer for one service of `reserve`.
pub(crate) fn reserved(reserved: &Reserved) -> Value {
    let mut document = json!({
        "port": reserved.observed.reservation.port,
        "outcome": reserved.outcome.word(),
        "reservation": reservation(&reserved.observed),
    });
    if let Some(explanation) = &reserved.explanation {
        document["explanation"] = self::explanation(explanation);
    }
    document
}

fn explanation(explanation: &Explanation) -> Value {
    let calls = explanation.calls.iter().map(|call| {
        json!({
            "policy": call.policy,
            "plugin": call.plugin,
            "selected_by": call.selected_by,
            "told": call.told,
            "answered": call.answered,
            "load_microseconds": u64::try_from(call.load.as_micros()).unwrap_or(u64::MAX),
            "call_microseconds": u64::try_from(call.call.as_micros()).unwrap_or(u64::MAX),
        })
    });
    let skipped = explanation
        .skipped
        .runs()
        .iter()
        .map(|(range, refusal)| json!({ "ports": range, "reason": refusal.to_string() }));
    json!({
        "decision": explanation.decision,
        "wish": explanation.wish.map(hythe_engine::Wish::word),
        "policies": calls.collect::<Vec<_>>(),
        "skipped": skipped.collect::<Vec<_>>(),
    })
}

/// The processes behind reserved ports, each with its port.
pub(crate) fn listeners(listed: &[Listed]) -> Value {
    let processes = listed.iter().flat_map(|Listed { observed, holder }| {
        let port = observed.reservation.port;
        let processes = holder.iter().flat_map(|holder| &holder.processes);
        processes.map(move |process| (port, process))
    });
    let documents = processes.map(|(port, process)| {
        json!({
            "port": port,
            "pid": process.pid,
            "command": process.command,
            "directory": process.place.as_ref().map(|place| path(&place.directory)),
            "started_at": process.started_at,
        })
    });
    documents.collect()
}

/// An event.
pub(crate) fn event(event: &Event) -> Value {
    json!({
        "version": 1,
        "id": event.id,
        "at": event.at,
        "event": event.kind.word(),
        "port": event.port,
        "from": event.from,
        "scope": event.scope,
        "directory": path(&event.directory),
        "service": event.service,
        "project": event.project,
        "agent": event.agent,
        "key": event.key,
        "policy": event.policy,
        "reason": event.reason,
    })
}

/// What was released, or would be.
pub(crate) fn released(changes: &[Change], dry_run: bool) -> Value {
    let released = changes.iter().map(|change| {
        let reservation = change.reservation();
        let (policy, reason) = match change {
            Change::Released { policy, reason, .. } => (policy.as_deref(), Some(reason.as_str())),
            _ => (None, None),
        };
        json!({
            "port": reservation.port,
            "scope": reservation.scope,
            "directory": path(&reservation.directory),
            "service": reservation.service,
            "project": reservation.project,
            "key": reservation.key.text,
            "policy": policy,
            "reason": reason,
        })
    });
    json!({ "version": 1, "dry_run": dry_run, "released": released.collect::<Vec<_>>() })
}

/// A plugin.
pub(crate) fn plugin(facts: &PluginFacts) -> Value {
    let mut document = json!({
        "name": facts.name,
        "source": facts.path.as_deref().map_or("bundled".into(), path),
        "declared_by": facts.declared_by.to_string(),
        "used_for": facts.used_for,
        "version": null,
        "summary": null,
        "policies": null,
        "size": null,
        "sha256": null,
        "error": null,
    });
    match &facts.found {
        Ok(FoundPlugin { description, policies, size, sha256 }) => {
            document["version"] = description.version.clone().into();
            document["summary"] = description.summary.clone().into();
            document["policies"] = policies.iter().map(|policy| policy.name()).collect();
            document["size"] = (*size).into();
            document["sha256"] = sha256.clone().into();
        }
        Err(error) => document["error"] = error.clone().into(),
    }
    document
}

/// A typical call of a policy.
pub(crate) fn typical_call(call: &TypicalCall) -> Value {
    let (answer, error) = match &call.answer {
        Ok(answer) => (answer.clone(), Value::Null),
        Err(error) => (Value::Null, error.failure.to_string().into()),
    };
    json!({
        "function": call.function,
        "answer": answer,
        "error": error,
        "fuel": call.usage.fuel,
        "memory": call.usage.memory,
        "time_microseconds": micros(call.time),
    })
}

/// What the calls of a policy cost.
pub(crate) fn cost(cost: &Cost) -> Value {
    json!({
        "plugin": cost.plugin,
        "function": cost.function,
        "calls": cost.calls,
        "median_microseconds": micros(cost.median),
        "p99_microseconds": micros(cost.p99),
        "fuel": cost.most.fuel,
        "memory": cost.most.memory,
    })
}

/// The same for people.
pub(crate) fn cost_line(cost: &Cost) -> String {
    format!(
        "{} {}: {} calls, median {:.0} µs, p99 {:.0} µs, at most {} fuel and {} KiB of memory",
        cost.plugin,
        cost.function,
        cost.calls,
        micros(cost.median),
        micros(cost.p99),
        cost.most.fuel,
        cost.most.memory >> 10
    )
}

/// A time in microseconds.
pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

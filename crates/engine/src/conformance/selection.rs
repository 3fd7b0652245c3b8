//! The edges of `port-selection`.

use std::collections::BTreeSet;

use super::call::{SelectCall, port, range, service};
use super::exam::{Exam, Unanswered};
use super::generate::{MAX_LABEL, MAX_SERVICE};
use super::{Check, Suite};
use crate::policy::PortSelection;
use crate::port::{Port, PortRange, PortSet};
use crate::reservation::{Key, Label};

pub(super) fn checks(suite: Suite, policy: &dyn PortSelection) -> Vec<Check> {
    let mut exam = Exam::new(policy);
    let typical = SelectCall::typical;
    exam.edge("a typical request", vec![typical()]);
    exam.edge("a range of one port", [1, 20000, 65535].map(|one| within(range(one, one))).into());
    exam.edge("the whole range, 1-65535", vec![within(PortRange::ALL)]);
    exam.edge(
        "ranges at both ends",
        [(1, 2), (1, 100), (65436, 65535), (65534, 65535)]
            .map(|(first, last)| within(range(first, last)))
            .into(),
    );
    let all = range(20000, 29999);
    let crowd = |allowed| SelectCall { allowed, reserved: all.ports().collect(), ..typical() };
    exam.edge("10,000 reserved ports", vec![crowd(all), crowd(PortRange::ALL)]);
    let preferring = |preferred: &[u16]| SelectCall {
        preferred: preferred.iter().copied().map(port).collect(),
        ..typical()
    };
    let preferred = [preferring(&[]), preferring(&[25000]), preferring(&[1, 30000, 65535, 20000])];
    exam.edge("preferred ports inside and outside the range", preferred.into());
    let latest = [None, Some(20000), Some(29999), Some(19999), Some(30000), Some(1), Some(65535)]
        .map(|latest| SelectCall { latest: latest.map(port), ..typical() });
    exam.edge("the latest port: none, first, last and outside the range", latest.into());
    let blocks = [&[0, 1][..], &[0, 1, 2, 10], &[0, 9999], &[0, u16::MAX - 1]]
        .map(|offsets| SelectCall { offsets: offsets.to_vec(), ..typical() });
    exam.edge("offsets: a block of ports, as wide as the range, and wider", blocks.into());
    let keys = ["k", "größe/端口/🚢", &"k".repeat(Key::MAX_LEN)]
        .map(|key| SelectCall { key: key.to_owned(), ..typical() });
    exam.edge("the shortest and the longest key, and one that is not ASCII", keys.into());
    exam.edge("projects and branches, and neither", names());
    exam.edge(
        "the longest service",
        vec![SelectCall { service: service(&"s".repeat(MAX_SERVICE)), ..typical() }],
    );
    exam.compare("the whole range is proposed", whole_range);
    exam.compare("no port is proposed twice", no_port_twice);
    exam.compare("keys do not all begin at one port", keys_apart);
    exam.compare("what is reserved does not change the first port", |exam| {
        sticky(exam, "what is reserved", |call, first| {
            vec![
                SelectCall { reserved: vec![first], ..call.clone() },
                SelectCall { reserved: vec![call.allowed.first()], ..call.clone() },
                SelectCall { reserved: call.allowed.ports().step_by(2).collect(), ..call.clone() },
            ]
        })
    });
    exam.compare("the latest port does not change the first port", |exam| {
        sticky(exam, "the latest port", |call, first| {
            [Some(first), Some(call.allowed.first()), Some(call.allowed.last())]
                .map(|latest| SelectCall { latest, ..call.clone() })
                .into()
        })
    });
    exam.repeat();
    exam.random(suite);
    exam.into_checks()
}

type Answered = Result<Option<String>, Unanswered>;

fn whole_range(exam: &Exam<'_, SelectCall>) -> Answered {
    let call = SelectCall::typical();
    let mut left = call.allowed.ports().collect::<PortSet>();
    for port in exam.answer(&call)?.into_iter().flat_map(PortRange::ports) {
        left.remove(port);
    }
    let missing = left.iter().count();
    Ok((missing > 0).then(|| {
        format!(
            "it leaves out {missing} of {} ports: a request fails when the others are taken",
            call.allowed.size()
        )
    }))
}

fn no_port_twice(exam: &Exam<'_, SelectCall>) -> Answered {
    let mut seen = PortSet::new();
    let ports = exam.answer(&SelectCall::typical())?.into_iter().flat_map(PortRange::ports);
    Ok({ ports }
        .find(|port| !seen.insert(*port))
        .map(|port| format!("it proposes {port} more than once; the second time is in vain")))
}

fn keys_apart(exam: &Exam<'_, SelectCall>) -> Answered {
    const KEYS: usize = 16;
    let mut firsts = BTreeSet::new();
    for number in 0..KEYS {
        let key = format!("directory:web:/work/shop-{number}");
        let call = SelectCall { key, reserved: Vec::new(), ..SelectCall::typical() };
        firsts.insert(first(exam, &call)?);
    }
    Ok(match firsts.into_iter().collect::<Vec<_>>()[..] {
        [Some(port)] => Some(format!(
            "{KEYS} keys all begin at {port}: which port a key gets depends on who came first"
        )),
        _ => None,
    })
}

/// Whether the first port stays when something else about the request changes: only then does a
/// key get its port back after the ledger is lost, and on another machine.
fn sticky(
    exam: &Exam<'_, SelectCall>,
    what: &str,
    others: impl FnOnce(&SelectCall, Port) -> Vec<SelectCall>,
) -> Answered {
    let call = SelectCall { reserved: Vec::new(), latest: None, ..SelectCall::typical() };
    let Some(start) = first(exam, &call)? else {
        return Ok(Some("it proposes no port".to_owned()));
    };
    for other in others(&call, start) {
        let moved = first(exam, &other)?;
        if moved != Some(start) {
            let moved = moved.map_or("nothing".to_owned(), |port| port.to_string());
            return Ok(Some(format!(
                "{what} moves its first port from {start} to {moved}: the same key may get \
                 another port on another machine"
            )));
        }
    }
    Ok(None)
}

/// The first port that is proposed.
fn first(exam: &Exam<'_, SelectCall>, call: &SelectCall) -> Result<Option<Port>, Unanswered> {
    Ok(exam.answer(call)?.first().map(|range| range.first()))
}

fn within(allowed: PortRange) -> SelectCall {
    SelectCall { allowed, ..SelectCall::typical() }
}

fn names() -> Vec<SelectCall> {
    let (long, branch) = ("p".repeat(MAX_LABEL), "b".repeat(MAX_LABEL));
    let projects = [None, Some("shop"), Some("größe"), Some(&*long)];
    let branches = [None, Some("main"), Some("fix/1234-端口"), Some(&*branch)];
    projects
        .into_iter()
        .flat_map(|project| branches.map(|branch| (project.and_then(Label::nearest), branch)))
        .map(|(project, branch)| SelectCall {
            project,
            branch: branch.map(str::to_owned),
            ..SelectCall::typical()
        })
        .collect()
}

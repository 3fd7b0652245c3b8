use std::time::Duration;

use anstyle::AnsiColor;
use clap::Args;
use hythe_document::Failure;
use hythe_engine::{Engine, Port, PortRange, Report, Scope, Simulated, Workload};
use serde_json::{Value, json};

use super::costs;
use super::subject::OptionArgs;
use crate::output::lines::Lines;
use crate::output::picture::{Mark, Picture};
use crate::output::{Output, document};

/// Play a workload through a strategy without touching the ledger, and show what comes of it
///
/// Worktrees of several projects ask for the ports of their services, give them back and are
/// deleted, while strangers take ports and cleanup runs once an hour of simulated time. A plugin that
/// is named decides whatever it exports; everything else is decided as in this directory.
#[derive(Debug, Args)]
pub(crate) struct Simulate {
    /// The plugin: its name here, or its file
    #[arg(value_name = "FILE|NAME")]
    plugin: Option<String>,
    #[command(flatten)]
    options: OptionArgs,
    /// How many requests are made
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    requests: u32,
    /// How many projects there are
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    projects: u32,
    /// How many worktrees each of them has
    #[arg(long, value_name = "COUNT", default_value_t = 4)]
    worktrees: u32,
    /// How many services each worktree has
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    services: u32,
    /// What the reservations belong to: directory, project or service
    #[arg(long, default_value = "directory")]
    scope: Scope,
    /// The share of requests that give a port back
    #[arg(long, value_name = "0..1", default_value_t = 0.05, allow_negative_numbers = true)]
    release: f64,
    /// How often a worktree is deleted before a request
    #[arg(long, value_name = "0..1", default_value_t = 0.01, allow_negative_numbers = true)]
    die: f64,
    /// The share of the range that other processes hold
    #[arg(long, value_name = "0..1", default_value_t = 0.02, allow_negative_numbers = true)]
    foreign: f64,
    /// The share of services with an ephemeral lease
    #[arg(long, value_name = "0..1", default_value_t = 0.3, allow_negative_numbers = true)]
    ephemeral: f64,
    /// What all that looks random follows from
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
}

impl Simulate {
    pub(crate) fn run(&self, engine: &Engine<'_>, output: &Output) -> Result<(), Failure> {
        let subject = self.plugin.as_ref().map(|plugin| self.options.subject(engine, plugin));
        if subject.is_none() {
            self.options.refuse_without_plugin()?;
        }
        let workload = Workload {
            requests: self.requests,
            projects: self.projects,
            worktrees: self.worktrees,
            services: self.services,
            scope: self.scope,
            release: self.release,
            die: self.die,
            foreign: self.foreign,
            ephemeral: self.ephemeral,
            seed: self.seed,
            ..Workload::default()
        };
        let simulated = engine.simulate(subject.as_ref(), &workload)?;
        if output.json {
            return output.print_json(&as_document(&simulated));
        }
        output.print(told(&simulated, output).text())
    }
}

fn as_document(simulated: &Simulated) -> Value {
    let strategy = simulated.strategy.iter();
    let strategy: Vec<_> =
        strategy.map(|(policy, plugin)| json!({ "policy": policy, "plugin": plugin })).collect();
    json!({
        "version": 1,
        "strategy": strategy,
        "report": simulated.report,
        "costs": simulated.costs.iter().map(document::cost).collect::<Vec<_>>(),
    })
}

fn told(simulated: &Simulated, output: &Output) -> Lines {
    let Simulated { strategy, report, costs } = simulated;
    let mut lines = Lines::within(output.columns());
    lines.field("strategy", &chosen(strategy));
    let time = humantime::format_duration(Duration::from_secs(report.seconds));
    lines.field("requests", &format!("{} in {time} of simulated time", report.requests));
    lines.field(
        "ports given",
        &format!(
            "{}: {} new, {} returned, {} moved away from a stranger",
            report.placements(),
            report.new,
            report.returned,
            report.moved
        ),
    );
    let proposals = &report.proposals;
    if let Some(share) = share(proposals.first_choice, report.placements()) {
        let what = "of them got the port that the policy proposed first";
        lines.field("first choice", &format!("{share} {what}"));
    }
    for skips in &proposals.skipped {
        let times = if skips.count == 1 { "once" } else { "times" };
        let count = if skips.count == 1 { String::new() } else { format!("{} ", skips.count) };
        lines.field("avoided", &format!("{count}{times}: {}", skips.reason));
    }
    let keys = &report.keys;
    let stability = share(keys.same_port, keys.came_back).map_or_else(
        || "no key came back".to_owned(),
        |share| format!("{share} of the keys that came back got the same port"),
    );
    lines.field("stability", &stability);
    if let Some(share) = share(keys.portable, keys.distinct) {
        let what = "have the port that they would get on an empty machine";
        lines.field("portability", &format!("{share} of {} keys {what}", keys.distinct));
    }
    lines.field("shared", &format!("by more than one directory: {} keys", keys.shared));
    let range = &report.range;
    lines.field(
        "range",
        &format!(
            "{} ports, {} reserved at most at a time, {} ever given",
            range.size, range.peak, range.distinct
        ),
    );
    failures(report, &mut lines);
    costs::told(&mut lines, costs);
    lines.line("");
    for line in picture(report, output) {
        lines.line(&line);
    }
    lines
}

/// The plugins of each policy.
fn chosen(strategy: &[(&'static str, String)]) -> String {
    let policies = strategy.chunk_by(|(one, _), (other, _)| one == other);
    let policies = policies.filter_map(|of_one| {
        let (policy, _) = of_one.first()?;
        let plugins: Vec<_> = of_one.iter().map(|(_, plugin)| plugin.as_str()).collect();
        Some(format!("{policy} {}", plugins.join(", ")))
    });
    policies.collect::<Vec<_>>().join(", ")
}

fn failures(report: &Report, lines: &mut Lines) {
    let released = &report.released;
    let by_policy = released.by_policy.iter();
    let by_policy = by_policy.map(|(policy, count)| format!("{count} by {policy}"));
    let by_user = format!("{} by users", released.by_user);
    let released: Vec<_> = [by_user].into_iter().chain(by_policy).collect();
    lines.field("released", &released.join(", "));
    if report.exhausted > 0 {
        lines.field("no free port", &format!("{} requests", report.exhausted));
    }
    for (refused, what) in [(&report.refused, "requests"), (&report.cleanups_refused, "cleanups")] {
        if let Some(first) = &refused.first {
            lines.field("refused", &format!("{} {what}, first: {first}", refused.count));
        }
    }
}

/// `None` of nothing.
#[expect(clippy::cast_precision_loss, reason = "a share is shown with one decimal")]
fn share(part: usize, whole: usize) -> Option<String> {
    (whole > 0).then(|| format!("{:.1} %", 100.0 * part as f64 / whole as f64))
}

/// The range as it was used: the shades say how often ports were given.
fn picture(report: &Report, output: &Output) -> Vec<String> {
    let occupancy = &report.occupancy;
    let first = occupancy.first;
    let last = u16::try_from(occupancy.given.len().saturating_sub(1));
    let last = last.ok().and_then(|size| first.checked_add(size)).unwrap_or(Port::MAX);
    let Some(range) = PortRange::new(first, last) else { return Vec::new() };
    let mut marks = vec![Mark::Free; range.size()];
    for (ports, mark) in
        [(&occupancy.foreign, Mark::Foreign), (&occupancy.reserved, Mark::Reserved)]
    {
        for port in ports {
            if let Some(place) = marks.get_mut(usize::from(port.get() - first.get())) {
                *place = mark;
            }
        }
    }
    let picture = Picture { range, marks: &marks, given: Some(&occupancy.given) };
    picture.lines(output.width(), |color: AnsiColor, text: &str| output.paint(color, text))
}

//! Whether there are ports to give, and whether they can be tried.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::Engine;
use super::{Finding, counted};
use crate::observed::Probe;
use crate::placement::Refusal;
use crate::port::{Port, PortRange, PortSet};
use crate::reservation::Reservation;

/// Fewer ports than this are soon used up.
const FEW: usize = 64;

/// How many ports are tried: one may be held just now.
const TRIED: usize = 3;

/// Where Kubernetes puts services on every node (`--service-node-port-range`).
const NODE_PORTS: (u16, u16) = (30_000, 32_767);

/// What macOS listens on for AirPlay.
#[cfg(target_os = "macos")]
const AIRPLAY: [u16; 2] = [5000, 7000];
#[cfg(not(target_os = "macos"))]
const AIRPLAY: [u16; 0] = [];

impl Engine<'_> {
    /// Whether there are ports left beside those that are `reserved`, and whether they can be tried.
    pub(super) fn network(&self, reserved: &[Reservation]) -> Vec<Finding> {
        let usable = self.givable();
        let mut findings = self.range(&usable, reserved);
        findings.push(self.binding(&usable));
        findings.push(self.families());
        findings.push(match self.system.holders(&usable.into_iter().collect(), &[]) {
            Ok(_) => Finding::ok("sockets", "who listens can be seen"),
            Err(error) => {
                let message = format!("who listens cannot be told: {error}");
                let hint = "`list`, `show` and `ports.on_conflict` know less here".to_owned();
                Finding::note("sockets", message, Some(hint))
            }
        });
        findings
    }

    /// The ports of the range that could be given, if nobody had them.
    fn givable(&self) -> Vec<Port> {
        let filter = self.filter(PortSet::new(), PortSet::new());
        filter.range.ports().filter(|port| filter.refusal(*port).is_none()).collect()
    }

    fn range(&self, usable: &[Port], reserved: &[Reservation]) -> Vec<Finding> {
        let range = self.settings().ports.range.value;
        let filter = self.filter(PortSet::new(), PortSet::new());
        let refused = |why| range.ports().filter(|port| filter.refusal(*port) == Some(why)).count();
        let never: Vec<_> =
            [Refusal::Excluded, Refusal::Privileged, Refusal::BrowserBlocked, Refusal::Ephemeral]
                .into_iter()
                .map(|why| (why, refused(why)))
                .filter(|(_, count)| *count > 0)
                .map(|(why, count)| format!("{count} {why}"))
                .collect();
        let never =
            if never.is_empty() { String::new() } else { format!(" ({})", never.join(", ")) };
        let ports = counted(usable.len(), "port", "ports");
        let told = format!("{ports} of {range} can be given{never}");
        let another = || Some("choose another `ports.range` in your config.toml".to_owned());

        let reserved: PortSet = reserved.iter().map(|it| it.port).collect();
        let free = usable.iter().filter(|port| !reserved.contains(**port)).count();
        let cleanup = || Some("hythe cleanup --older-than 7d --dry-run".to_owned());
        let main = if usable.is_empty() {
            Finding::problem("range", told, another())
        } else if free == 0 {
            Finding::problem("range", format!("{told}, and all of them are reserved"), cleanup())
        } else if free < usable.len() / 10 {
            Finding::note("range", format!("{told}, and all but {free} are reserved"), cleanup())
        } else if usable.len() < FEW {
            Finding::note("range", told, another())
        } else {
            Finding::ok("range", told)
        };
        let mut findings = vec![main];
        if let Some(ephemeral) = self.system.ephemeral_range().filter(|it| overlaps(*it, range)) {
            let message = format!(
                "{range} overlaps {ephemeral}, from which the kernel serves outgoing connections"
            );
            findings.push(Finding::note("range", message, another()));
        }
        let (first, last) = NODE_PORTS;
        if usable.iter().any(|port| (first..=last).contains(&port.get())) {
            let message = format!("{range} overlaps {first}-{last}, the node ports of Kubernetes");
            let hint = format!("where a cluster runs here: hythe exclude {first}-{last}");
            findings.push(Finding::note("range", message, Some(hint)));
        }
        for airplay in AIRPLAY.into_iter().filter(|it| usable.iter().any(|port| port.get() == *it))
        {
            let message = format!("macOS may listen on {airplay} for AirPlay");
            let hint = format!("hythe exclude {airplay}");
            findings.push(Finding::note("range", message, Some(hint)));
        }
        findings
    }

    /// Whether ports can be tried by binding them.
    fn binding(&self, usable: &[Port]) -> Finding {
        let mut failed = None;
        for port in usable.iter().take(TRIED) {
            match self.system.probe(*port) {
                Probe::Inconclusive(reason) => failed = Some(reason),
                Probe::Free | Probe::Lingering | Probe::Held => {
                    return Finding::ok("network", "ports can be tried");
                }
            }
        }
        match failed {
            None => Finding::ok("network", "there is no port to try"),
            Some(reason) => {
                let hint = "a sandbox may forbid it; what a sandboxed agent needs: \
                    hythe doctor --agent claude, or --agent codex";
                let message = format!("ports cannot be tried: {reason}");
                Finding::problem("network", message, Some(hint.to_owned()))
            }
        }
    }

    fn families(&self) -> Finding {
        let has = |address| self.system.has_address(address);
        match (has(Ipv4Addr::LOCALHOST.into()), has(Ipv6Addr::LOCALHOST.into())) {
            (true, true) => Finding::ok("network", "IPv4 and IPv6"),
            (true, false) => Finding::note("network", "there is no IPv6 here", None),
            (false, true) => Finding::note("network", "there is no IPv4 here", None),
            (false, false) => {
                let message = "a socket can be bound to neither 127.0.0.1 nor ::1";
                Finding::problem("network", message, None)
            }
        }
    }
}

fn overlaps(a: PortRange, b: PortRange) -> bool {
    a.contains(b.first()) || b.contains(a.first())
}

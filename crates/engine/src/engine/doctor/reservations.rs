//! What is odd about reservations. Nothing here is a fault: what is to become of them is for policies,
//! and for those who have them.

use super::super::Engine;
use super::super::observe::Directories;
use super::repair::list;
use super::{Finding, counted};
use crate::observed::{Listening, Liveness, Observed, Presence};
use crate::port::Port;
use crate::reservation::Reservation;

impl Engine<'_> {
    pub(super) fn standings(&self, reservations: Vec<Reservation>) -> Vec<Finding> {
        if reservations.is_empty() {
            return Vec::new();
        }
        let observed = self.observe(reservations, Directories::Seen);
        let observed: Vec<_> = observed.into_iter().map(|(observed, _)| observed).collect();
        let ports = |is_meant: &dyn Fn(&Observed) -> bool| -> Vec<Port> {
            let meant = observed.iter().filter(|it| is_meant(it));
            meant.map(|it| it.reservation.port).collect()
        };
        let served = ports(&|it| it.listening == Listening::Mine).len();
        let all = counted(observed.len(), "reservation", "reservations");
        let mut findings =
            vec![Finding::ok("reservations", format!("{all}, {served} being served"))];

        let gone = |it: &Observed| it.directory == Presence::Gone;
        let cleanup = "what cleanup would release: hythe cleanup --dry-run";
        for (ports, what, hint) in [
            (
                ports(&|it| gone(it) && !it.reservation.locked),
                "of directories that are gone",
                cleanup,
            ),
            (
                ports(&|it| gone(it) && it.reservation.locked),
                "of directories that are gone, and locked, so that nothing releases them",
                "hythe release --force --port PORT",
            ),
            (
                ports(&|it| it.owner == Some(Liveness::Dead)),
                "of processes that have ended",
                cleanup,
            ),
            (
                ports(&|it| it.listening == Listening::Foreign),
                "held by somebody else's process",
                "who it is: hythe show PORT",
            ),
        ] {
            if !ports.is_empty() {
                let message = format!("{} {what}: {}", ports.len(), list(&ports));
                findings.push(Finding::note("reservations", message, Some(hint.to_owned())));
            }
        }
        findings
    }
}

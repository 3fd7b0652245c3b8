//! Looking at the machine: who listens, who lives, what is still there.

use super::{Engine, Listed};
use crate::observed::{Containers, Holder, Holders, Listening, Liveness, Observed, Probe};
use crate::port::{Port, PortSet};
use crate::reservation::Reservation;

/// What stands behind a reserved port.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    pub(super) listening: Listening,
    /// The processes behind the port; `None` when nobody listens or nothing could be seen.
    pub(super) holder: Option<Holder>,
}

impl Standing {
    /// Who holds the port, for people.
    pub(super) fn describe(&self) -> String {
        describe(self.holder.as_ref())
    }
}

/// Who holds a port, for people.
pub(super) fn describe(holder: Option<&Holder>) -> String {
    if let Some(container) = holder.and_then(|holder| holder.containers.first()) {
        return format!("container `{}`", container.name);
    }
    match holder.and_then(|holder| holder.processes.first()) {
        Some(process) => format!("process {} `{}`", process.pid, process.command),
        None => "a process that cannot be seen from here".to_owned(),
    }
}

impl Engine<'_> {
    /// Finds out who holds the port of one reservation. A port that can be bound costs one bind.
    pub(super) fn standing(&self, reservation: &Reservation) -> Standing {
        let nobody = Standing { listening: Listening::None, holder: None };
        let probe = self.system.probe(reservation.port);
        tracing::debug!(port = %reservation.port, ?probe, "probed");
        let held = match probe {
            Probe::Free | Probe::Lingering => return nobody,
            Probe::Held => true,
            Probe::Inconclusive(_) => false,
        };
        let ports = [reservation.port].into_iter().collect();
        let hints: Vec<_> = hints(reservation).collect();
        let holder = match self.system.holders(&ports, &hints) {
            Ok(mut holders) => holders.remove(&reservation.port),
            Err(error) => {
                tracing::debug!(%error, "socket tables cannot be read");
                return Standing { listening: Listening::Unknown, holder: None };
            }
        };
        match holder {
            Some(holder) => {
                let owner = self.owner_liveness(reservation);
                let listening = self.judge(reservation, &holder, owner).listening;
                Standing { listening, holder: Some(holder) }
            }
            // Bound, but not listening: somebody prepares to serve, or keeps the port for a moment.
            None if held => Standing { listening: Listening::Unknown, holder: None },
            None => nobody,
        }
    }

    /// Looks at many reservations at once: the socket tables are read a single time, and each
    /// directory is looked at once, if at all.
    pub(super) fn observe(
        &self,
        reservations: Vec<Reservation>,
        directories: Directories,
    ) -> Vec<(Observed, Option<Holder>)> {
        let listed = self.look(reservations, directories, Containers::new());
        listed.into_iter().map(|Listed { observed, holder, .. }| (observed, holder)).collect()
    }

    /// One reservation whose port is held as `standing` says.
    pub(super) fn observed(&self, reservation: Reservation, standing: &Standing) -> Observed {
        Observed {
            directory: self.system.presence(&reservation.directory),
            owner: self.owner_liveness(&reservation),
            listening: standing.listening,
            reservation,
        }
    }

    /// Whether the owner of a reservation still runs; `None` without an owner.
    pub(super) fn owner_liveness(&self, reservation: &Reservation) -> Option<Liveness> {
        reservation.owner.as_ref().map(|owner| self.system.liveness(owner))
    }

    /// Whether `port` can be given: `Ok` when it can, with the reason when that was only read from
    /// the socket tables.
    pub(super) fn is_free(
        &self,
        port: Port,
        tables: &mut Tables,
        candidates: impl FnOnce() -> PortSet,
    ) -> Verdict {
        match self.system.probe(port) {
            Probe::Free | Probe::Lingering => Verdict::Free,
            Probe::Held => Verdict::Held,
            Probe::Inconclusive(reason) => {
                if matches!(tables, Tables::Unread) {
                    *tables = match self.system.holders(&candidates(), &[]) {
                        Ok(holders) => Tables::Read(holders),
                        Err(_) => Tables::Unreadable,
                    };
                }
                match tables {
                    Tables::Read(holders) if holders.contains_key(&port) => Verdict::Held,
                    Tables::Read(_) => Verdict::Unlisted(reason),
                    Tables::Unread | Tables::Unreadable => Verdict::Unknown(reason),
                }
            }
        }
    }
}

/// Whether the directories of reservations are looked at: one system call for each.
#[derive(Clone, Copy)]
pub(super) enum Directories {
    /// They matter.
    Seen,
    /// Nobody asks about them.
    Unseen,
}

/// The socket tables, read once, and only when binding is forbidden.
pub(super) enum Tables {
    /// Nobody needed them yet.
    Unread,
    /// They cannot be read either.
    Unreadable,
    /// Who listens on the ports in question.
    Read(Holders),
}

/// Whether a port can be given.
pub(super) enum Verdict {
    /// It could be bound.
    Free,
    /// Somebody holds it.
    Held,
    /// It could not be tried, for this reason, but nobody is listed as listening there.
    Unlisted(String),
    /// It could not be tried, for this reason, and nothing else could be found out.
    Unknown(String),
}

/// Where to look first for the process that listens on a reserved port.
pub(super) fn hints(reservation: &Reservation) -> impl Iterator<Item = u32> + '_ {
    let owner = reservation.owner.as_ref().map(|owner| owner.pid);
    reservation.listener.into_iter().chain(owner)
}

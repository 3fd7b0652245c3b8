//! `wait`: until somebody listens, or nobody does any more.

use std::thread;
use std::time::{Duration, Instant};

use super::observe::describe;
use super::request::Sought;
use super::{Engine, Error, Named, Notice};
use crate::observed::{Containers, Holder, Holders, Listening, Ownership};
use crate::port::{Port, PortSet};
use crate::reservation::{Reservation, Scope, Service};

/// How long is waited between two looks: at first, and at most. A look at ports that nobody listens
/// on is a question to the kernel, and takes less than 0.1 ms.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));

/// How often the daemons of containers are asked, and after how long it is said that this waits.
const SECOND: Duration = Duration::from_secs(1);

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Until {
    /// The reservation's own server listens.
    #[default]
    Mine,
    /// Anybody listens.
    Listening,
    /// Nobody listens.
    Free,
}

/// Asks to wait.
#[derive(Debug, Clone)]
pub struct WaitRequest {
    /// The services and ports, all of which have to come to it.
    pub named: Vec<Named>,
    /// What the reservations of the services belong to.
    pub scope: Option<Scope>,
    /// What for.
    pub until: Until,
    /// How long at most; nothing for a single look.
    pub timeout: Duration,
}

/// A port that has come to it.
#[derive(Debug, Clone)]
pub struct Waited {
    /// The port.
    pub port: Port,
    /// The service that it is reserved for, if it is.
    pub service: Option<Service>,
    /// Who listened last, if anybody does.
    pub holder: Option<Holder>,
    /// What is proven of them; `None` when nobody listens or the port is not reserved.
    pub ownership: Option<Ownership>,
}

/// What a look at a port comes to.
enum Look {
    /// It has come to it.
    Done(Option<Ownership>),
    /// It has, as far as can be told: whose listener it is cannot.
    Doubtful(Ownership),
    NotYet,
    /// A stranger is in the way.
    Foreign,
}

impl Engine<'_> {
    /// Waits until each of the ports has come to what is waited for. Reads only, and takes no lock: the
    /// ports are those that are reserved when it begins.
    ///
    /// A listener of whom nothing can be proven counts as the reservation's own, as it does where a port
    /// is kept. A stranger in its place ends it at once.
    pub fn wait(&self, request: &WaitRequest) -> Result<Vec<Waited>, Error> {
        let start = Instant::now();
        let sought = self.seek(&request.named, request.scope)?;
        if request.until == Until::Mine
            && let Some(port) = sought.iter().find(|sought| sought.reservation.is_none())
        {
            return Err(port.not_reserved());
        }
        let mut waiting: Vec<Sought> = sought;
        let mut done = Vec::new();
        let mut pause = PAUSE.0;
        let mut told = false;
        // When the daemons were asked, and what they said.
        let mut asked: Option<(Instant, Containers)> = None;
        // The ports that were in doubt at the last look: what has just begun may still be told.
        let mut doubtful = PortSet::new();
        loop {
            let ports: PortSet = waiting.iter().map(|sought| sought.port).collect();
            let mut holders = self.listening(&ports, &waiting)?;
            // Before a listener is called a stranger, containers are asked once more.
            let strange = request.until == Until::Mine
                && waiting.iter().any(|sought| {
                    let holder = holders.get(&sought.port);
                    holder.is_some() && !self.is_own(sought, holder)
                });
            let stale = |(at, _): &(Instant, _)| strange || at.elapsed() >= SECOND;
            if asked.as_ref().is_none_or(stale) {
                asked = Some((Instant::now(), self.containers(&ports)));
            }
            if let Some((_, containers)) = &asked {
                add(&mut holders, containers, &ports);
            }
            let mut left = Vec::new();
            for sought in waiting {
                let holder = holders.get(&sought.port);
                let ownership = match self.look_at(&sought, holder, request.until) {
                    Look::Done(ownership) => ownership,
                    Look::Doubtful(ownership) if doubtful.contains(sought.port) => {
                        self.tell(&sought.doubt(holder));
                        Some(ownership)
                    }
                    Look::Foreign => return Err(sought.foreign(holder)),
                    look => {
                        match look {
                            Look::Doubtful(_) => doubtful.insert(sought.port),
                            _ => doubtful.remove(sought.port),
                        };
                        left.push(sought);
                        continue;
                    }
                };
                let service = sought.reservation.map(|reservation| reservation.service);
                let holder = holder.cloned();
                done.push(Waited { port: sought.port, service, holder, ownership });
            }
            waiting = left;
            let Some(first) = waiting.first() else { return Ok(done) };
            let passed = start.elapsed();
            // What is in doubt gets its second look, however little time there is.
            if passed >= request.timeout && !doubtful.contains(first.port) {
                return Err(first.in_vain(holders.get(&first.port), request));
            }
            if passed >= SECOND && !told {
                self.tell(&Notice::WaitingFor { what: first.wanted(request.until) });
                told = true;
            }
            thread::park_timeout(pause.min(request.timeout.saturating_sub(passed)).max(PAUSE.0));
            pause = PAUSE.1.min(pause * 2);
        }
    }

    fn look_at(&self, sought: &Sought, holder: Option<&Holder>, until: Until) -> Look {
        let ownership = |holder| {
            let reservation = sought.reservation.as_ref()?;
            Some(self.judge(reservation, holder, self.owner_liveness(reservation)))
        };
        match (until, holder) {
            (Until::Free, None) => Look::Done(None),
            (Until::Free, Some(_)) | (_, None) => Look::NotYet,
            (Until::Listening, Some(holder)) => Look::Done(ownership(holder)),
            (Until::Mine, Some(holder)) => match ownership(holder) {
                Some(ownership) if ownership.listening == Listening::Mine => {
                    Look::Done(Some(ownership))
                }
                Some(ownership) if ownership.listening == Listening::Unknown => {
                    Look::Doubtful(ownership)
                }
                _ => Look::Foreign,
            },
        }
    }

    fn is_own(&self, sought: &Sought, holder: Option<&Holder>) -> bool {
        matches!(self.look_at(sought, holder, Until::Mine), Look::Done(_))
    }

    /// Who listens on these ports. Fails when that cannot be told.
    fn listening(&self, ports: &PortSet, sought: &[Sought]) -> Result<Holders, Error> {
        let reservations = sought.iter().filter_map(|sought| sought.reservation.as_ref());
        let hints: Vec<u32> = reservations.flat_map(super::observe::hints).collect();
        self.holders(ports, &hints)
    }

    /// Who listens on ports, or why that cannot be told.
    pub(super) fn holders(&self, ports: &PortSet, hints: &[u32]) -> Result<Holders, Error> {
        self.system.holders(ports, hints).map_err(|error| Error::Refused {
            what: format!("who listens cannot be told: {error}"),
            hint: Some("run hythe outside this sandbox".to_owned()),
        })
    }
}

/// Adds containers to those who listen.
pub(super) fn add(holders: &mut Holders, containers: &Containers, ports: &PortSet) {
    for (port, containers) in containers.iter().filter(|(port, _)| ports.contains(**port)) {
        holders.entry(*port).or_default().containers.clone_from(containers);
    }
}

impl Sought {
    fn name(&self) -> String {
        match &self.reservation {
            Some(Reservation { service, .. }) => format!("`{service}`"),
            None => "anybody".to_owned(),
        }
    }

    fn wanted(&self, until: Until) -> String {
        let port = self.port;
        match until {
            Until::Mine => format!("{} to listen on port {port}", self.name()),
            Until::Listening => format!("anybody to listen on port {port}"),
            Until::Free => format!("nobody to listen on port {port}"),
        }
    }

    fn in_vain(&self, holder: Option<&Holder>, request: &WaitRequest) -> Error {
        let (port, waited) = (self.port, humantime::format_duration(request.timeout));
        let what = match request.until {
            Until::Free => {
                format!("port {port} is still held after {waited}, by {}", describe(holder))
            }
            Until::Listening => format!("nobody listens on port {port} after {waited}"),
            Until::Mine => format!("{} does not listen on port {port} after {waited}", self.name()),
        };
        Error::NotFound { what, hint: Some(format!("hythe scan {port}")) }
    }

    fn foreign(&self, holder: Option<&Holder>) -> Error {
        let mut places = holder.into_iter().flat_map(Holder::workplaces);
        let place = places.next().map(|place| format!(" in {}", place.display()));
        Error::Refused {
            what: format!(
                "{} does not listen on its port {}: it is held by {}{}",
                self.name(),
                self.port,
                describe(holder),
                place.unwrap_or_default()
            ),
            hint: Some(format!("hythe show {}", self.port)),
        }
    }

    fn doubt(&self, holder: Option<&Holder>) -> Notice {
        let (port, holder) = (self.port, describe(holder));
        Notice::ListenerUnknown { port, holder }
    }
}

//! What Hythe should do, told simply: one operation at a time, everything in memory, no lock, no
//! database, no plugin.

use std::collections::{BTreeMap, BTreeSet};

use hythe_engine::{
    CheckoutKind, CleanupRequest, ErrorKind, EventKind, Lease, Listening, Liveness, Outcome, Port,
    Presence, ReleaseRequest, Reservation, ReserveRequest, Scope, Service, System, Target,
    Timestamp, browser_blocked,
};

use super::configuration::{CONFIGURED, Configuration};
use super::facts::Facts;
use super::scene::Scene;

/// The ledger as it should be.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reference {
    /// Whether somebody has written yet.
    pub(crate) exists: bool,
    pub(crate) held: BTreeMap<String, Reservation>,
    pub(crate) released: BTreeMap<Port, (String, Timestamp)>,
    pub(crate) cleaned_at: Timestamp,
    pub(crate) events: Vec<Happened>,
    /// For tests of the test: what is told wrongly here.
    pub(crate) mistake: Option<Mistake>,
}

/// A way in which the reference is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mistake {
    ForgetsReleases,
    ReleasesLocked,
    MovesOnDoubt,
    GivesFrozen,
    CleansTooOften,
    ScattersBlocks,
}

/// A key that is to get a port.
struct Vacancy<'a> {
    /// Which of the request it is.
    at: usize,
    service: &'a Service,
    key: &'a str,
    /// What it has and loses, and what is to become of it.
    from: Option<(Port, Reservation)>,
    /// How far its port is above the base.
    above: u16,
}

/// Keys whose ports have a common base.
struct Plot<'a> {
    vacancies: Vec<Vacancy<'a>>,
    /// What has to be free together.
    offsets: Vec<u16>,
    /// The place beside the rest of the block.
    beside: Option<Port>,
}

/// An event, without what follows from the reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Happened {
    pub(crate) at: Timestamp,
    pub(crate) kind: EventKind,
    pub(crate) port: Port,
    pub(crate) from: Option<Port>,
    pub(crate) key: String,
    pub(crate) policy: Option<String>,
}

/// When cleanup runs beside a reservation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sweep {
    No,
    Due,
    Needed,
}

type Answers = Vec<(Outcome, Port)>;

impl Reference {
    pub(crate) fn reserve(
        &mut self,
        scene: Scene<'_>,
        request: &ReserveRequest,
    ) -> Result<Answers, ErrorKind> {
        let distinct: BTreeSet<_> = request.services.iter().collect();
        if distinct.len() < request.services.len() {
            return Err(ErrorKind::Usage);
        }
        let keys = request.services.iter().map(|service| scene.key(service, request.scope));
        let keys: Vec<_> = keys.collect::<Result<_, _>>()?;
        let facts = request.services.iter().map(|service| Facts::new(scene, request, service));
        let facts: Vec<_> = facts.collect::<Result<_, _>>()?;

        let here = scene.here();
        let new = keys.iter().any(|key| !self.held.contains_key(key));
        let age = seconds(self.cleaned_at.distance(scene.machine.now()).as_millis());
        let mut due = self.exists && new && here.every > 0 && age >= here.every;
        if self.mistake == Some(Mistake::CleansTooOften) {
            due = self.exists && new;
        }
        let first = if due { Sweep::Due } else { Sweep::No };
        let mut attempt = self.clone();
        let answers = match attempt.attempt(scene, request, &keys, &facts, first) {
            Err(ErrorKind::NoFreePort) => {
                attempt = self.clone();
                attempt.attempt(scene, request, &keys, &facts, Sweep::Needed)
            }
            answers => answers,
        };
        let answers = answers?;
        attempt.exists = true;
        *self = attempt;
        Ok(answers)
    }

    fn attempt(
        &mut self,
        scene: Scene<'_>,
        request: &ReserveRequest,
        keys: &[String],
        facts: &[Facts],
        sweep: Sweep,
    ) -> Result<Answers, ErrorKind> {
        let now = scene.machine.now();
        let before = self.clone();
        let mut taken: BTreeSet<Port> = before.held.values().map(|held| held.port).collect();
        if sweep != Sweep::No {
            for (key, policy) in self.expired(scene, &scene.here(), &[], None, keys) {
                let port = self.give_back(now, &key, Some(policy));
                if sweep == Sweep::Needed {
                    taken.remove(&port);
                }
            }
            if sweep == Sweep::Due {
                self.cleaned_at = now;
            }
        }
        let mut answers = Vec::new();
        let mut vacancies = Vec::new();
        for (at, ((service, key), facts)) in
            request.services.iter().zip(keys).zip(facts).enumerate()
        {
            let Some(found) = self.held.get(key).cloned() else {
                vacancies.push(Vacancy { at, service, key, from: None, above: 0 });
                continue;
            };
            let listening = match scene.probed(&found) {
                Listening::Unknown if self.mistake == Some(Mistake::MovesOnDoubt) => {
                    Listening::Foreign
                }
                listening => listening,
            };
            let foreign = listening == Listening::Foreign;
            let on_conflict = scene.here().on_conflict;
            if (request.reallocate && found.locked)
                || (!request.reallocate && foreign && on_conflict == "fail")
            {
                return Err(ErrorKind::Refused);
            }
            let liveness = found.owner.as_ref().map(|owner| scene.machine.liveness(owner));
            let mut changed = facts.applied(&found, liveness);
            if request.reallocate || (foreign && on_conflict == "move" && !found.locked) {
                changed.last_used_at = now;
                changed.listener = None;
                let from = Some((found.port, changed));
                vacancies.push(Vacancy { at, service, key, from, above: 0 });
                continue;
            }
            answers.push((at, (Outcome::Existing, found.port)));
            let kind = if changed == found {
                None
            } else if (Reservation { locked: found.locked, ..changed.clone() }) == found {
                Some(EventKind::Locked)
            } else {
                Some(EventKind::Updated)
            };
            let fresh = found.last_used_at.distance(now).as_secs() < 60;
            if kind.is_some() || !fresh {
                changed.last_used_at = now;
                if listening == Listening::Mine {
                    let mut listeners = scene.machine.listeners(found.port);
                    let seen = listeners.find(|pid| scene.machine.visible(*pid).is_some());
                    changed.listener = seen.map(|(_, pid)| pid);
                }
                if let Some(kind) = kind {
                    self.record(now, kind, &changed, None, None);
                }
                self.held.insert(key.clone(), changed);
            }
        }
        for plot in before.plots(scene, request, vacancies) {
            let base = before.choose(scene, request, &plot, &taken).ok_or(ErrorKind::NoFreePort)?;
            for Vacancy { at, service, key, from, above } in plot.vacancies {
                let port = base.checked_add(above).unwrap();
                taken.insert(port);
                let (kind, outcome, to, from) = match from {
                    Some((from, changed)) => {
                        let to = Reservation { port, ..changed };
                        (EventKind::Moved, Outcome::Moved, to, Some(from))
                    }
                    None => {
                        let to = facts[at].reservation(scene, request, service, key, port);
                        if before.mine(key).contains(&port) {
                            (EventKind::Returned, Outcome::Returned, to, None)
                        } else {
                            (EventKind::Reserved, Outcome::Created, to, None)
                        }
                    }
                };
                self.take(now, kind, to, from);
                answers.push((at, (outcome, port)));
            }
        }
        answers.sort_by_key(|(at, _)| *at);
        Ok(answers.into_iter().map(|(_, answer)| answer).collect())
    }

    /// What gets its ports together: the keys of a block, as long as none of its services has one.
    /// `self` is the ledger as it was before the operation.
    fn plots<'a>(
        &self,
        scene: Scene<'_>,
        request: &ReserveRequest,
        vacancies: Vec<Vacancy<'a>>,
    ) -> Vec<Plot<'a>> {
        let block = if request.prefer.is_empty() { scene.here().block } else { &[] };
        let lowest = block.first().map_or(0, |(_, offset)| *offset);
        let above = |service: &Service| {
            let member = block.iter().find(|(name, _)| *name == service.as_str());
            member.map(|(_, offset)| offset - lowest)
        };
        let single = |vacancy, beside| Plot { vacancies: vec![vacancy], offsets: vec![0], beside };
        let mut plots: Vec<(bool, Plot<'a>)> = Vec::new();
        for vacancy in vacancies {
            let together = above(vacancy.service);
            let vacancy = Vacancy { above: together.unwrap_or(0), ..vacancy };
            match plots.iter_mut().find(|(of, _)| *of && together.is_some()) {
                Some((_, plot)) => plot.vacancies.push(vacancy),
                None => plots.push((together.is_some(), single(vacancy, None))),
            }
        }
        let split = |(together, mut plot): (bool, Plot<'a>)| {
            if !together || self.mistake == Some(Mistake::ScattersBlocks) {
                let alone = |vacancy| single(Vacancy { above: 0, ..vacancy }, None);
                return plot.vacancies.into_iter().map(alone).collect();
            }
            let staying = block.iter().find_map(|(name, offset)| {
                let service: Service = name.parse().unwrap();
                if plot.vacancies.iter().any(|vacancy| *vacancy.service == service) {
                    return None;
                }
                let held = self.held.get(&scene.key(&service, request.scope).ok()?)?;
                held.port.checked_sub(offset - lowest)
            });
            let Some(base) = staying else {
                plot.offsets = block.iter().map(|(_, offset)| offset - lowest).collect();
                return vec![plot];
            };
            let beside = |vacancy: Vacancy<'a>| {
                let port = base.checked_add(vacancy.above);
                let had = vacancy.from.as_ref().map(|(port, _)| *port);
                single(Vacancy { above: 0, ..vacancy }, port.filter(|port| had != Some(*port)))
            };
            plot.vacancies.into_iter().map(beside).collect::<Vec<_>>()
        };
        plots.into_iter().flat_map(split).collect()
    }

    /// The ports that `key` gave back, the last first.
    fn mine(&self, key: &str) -> Vec<Port> {
        let released = self.released.iter().filter(|(_, (owner, _))| owner == key);
        let mut mine: Vec<_> = released.map(|(port, (_, at))| (*at, *port)).collect();
        mine.sort_by_key(|(at, port)| (std::cmp::Reverse(*at), *port));
        mine.into_iter().map(|(_, port)| port).collect()
    }

    /// The base that a plot gets. `self` is the ledger as it was before the operation.
    fn choose(
        &self,
        scene: Scene<'_>,
        request: &ReserveRequest,
        plot: &Plot<'_>,
        taken: &BTreeSet<Port>,
    ) -> Option<Port> {
        let Vacancy { service, key, .. } = plot.vacancies.iter().min_by_key(|it| it.above)?;
        let alone = plot.offsets == [0];
        let here = scene.here();
        let (first, last) = here.range;
        let now = scene.machine.now();
        let linked = scene.place.checkout.as_ref().map(|checkout| checkout.kind);
        let main_only = linked == Some(CheckoutKind::Linked)
            && scene.scope(service, request.scope) == Scope::Directory;
        let named = alone && service.as_str() == CONFIGURED;
        let configured = here.service.as_ref().filter(|_| named);
        let configured = configured.and_then(|configured| Port::new(configured.port?));
        let bases = plot.vacancies.iter().flat_map(|it| {
            let mine = self.mine(it.key).into_iter();
            mine.filter_map(|port| port.checked_sub(it.above))
        });
        let mut mine: Vec<_> = bases.collect();
        let every = mine.clone();
        let keys = |base: &Port| every.iter().filter(|other| *other == base).count();
        mine.sort_by_key(|base| std::cmp::Reverse(keys(base)));

        let size = u64::from(last - first) + 1;
        let slot = first + u16::try_from(hash(key.as_bytes()) % size).unwrap();
        let proposed = (slot..=last).chain(first..slot).map(|port| Port::new(port).unwrap());
        let may = |port: Port, wanted: bool| {
            let number = port.get();
            let sound = here.allow.contains(&number)
                || (number >= 1024 && !browser_blocked(port) && !(32768..=60999).contains(&number));
            let frozen = self.released.get(&port).is_some_and(|(owner, at)| {
                plot.vacancies.iter().all(|it| owner != it.key)
                    && at.distance(now).as_millis() < u128::from(here.freeze) * 1000
                    && self.mistake != Some(Mistake::GivesFrozen)
            });
            let inside = (first..=last).contains(&number) || wanted;
            inside
                && sound
                && !here.exclude.contains(&number)
                && !taken.contains(&port)
                && !frozen
                && scene.is_free(port)
        };
        let may_all = |base: &Port| {
            let asked = request.prefer.contains(base);
            // Configured for the main checkout, it is no linked worktree's by itself.
            let earlier = asked || mine.contains(base) || plot.beside == Some(*base);
            let kept = main_only && Some(*base) == configured && !earlier;
            let wanted = asked || (Some(*base) == configured && !main_only);
            let mut ports = plot.offsets.iter().map(|above| base.checked_add(*above));
            !kept && ports.all(|port| port.is_some_and(|port| may(port, wanted)))
        };
        let asked = request.prefer.iter().copied().chain(plot.beside);
        let candidates = asked.chain(mine.iter().copied()).chain(configured).chain(proposed);
        { candidates }.find(may_all)
    }

    /// The keys that cleanup releases, by port, and the policy that says so.
    fn expired(
        &self,
        scene: Scene<'_>,
        here: &Configuration,
        only: &[String],
        older_than: Option<u64>,
        spared: &[String],
    ) -> Vec<(String, String)> {
        let now = scene.machine.now();
        let mut by_policy = Vec::new();
        let mut by_age = Vec::new();
        for (key, held) in self.held.iter().filter(|(key, _)| !spared.contains(key)) {
            let listening = scene.listed(held);
            let protected = held.locked && self.mistake != Some(Mistake::ReleasesLocked);
            if protected || matches!(listening, Listening::Mine | Listening::Unknown) {
                continue;
            }
            let of_project = here.project.as_ref().is_some_and(|project| {
                held.scope != Scope::Service && held.directory.starts_with(&project.root)
            });
            let user = scene.configuration.of_user(&held.directory);
            let court = if of_project { here } else { &user };
            let unused = seconds_between(held.last_used_at, now);
            let releases = |policy: &&&str| match **policy {
                "path-sticky" => {
                    held.scope == Scope::Directory
                        && scene.machine.presence(&held.directory) == Presence::Gone
                }
                "pid-reap" => {
                    let owner = held.owner.as_ref().map(|owner| scene.machine.liveness(owner));
                    held.lease == Lease::Ephemeral
                        && owner == Some(Liveness::Dead)
                        && matches!(listening, Listening::None | Listening::Foreign)
                        && unused >= i64::try_from(court.grace).unwrap()
                }
                _ => {
                    let ttl = match held.lease {
                        Lease::Persistent => court.persistent,
                        Lease::Ephemeral => court.ephemeral,
                    };
                    match held.expires_at() {
                        Some(end) => now.seconds() > end.seconds(),
                        None => ttl > 0 && unused > i64::try_from(ttl).unwrap(),
                    }
                }
            };
            let asked =
                |policy: &&&str| only.is_empty() || only.iter().any(|name| name == **policy);
            if let Some(policy) = court.cleanup.iter().filter(asked).find(releases) {
                by_policy.push((held.port, key.clone(), (*policy).to_owned()));
            } else if older_than.is_some_and(|age| {
                now.since(held.last_used_at).as_millis() > u128::from(age) * 1000
            }) {
                by_age.push((held.port, key.clone(), "--older-than".to_owned()));
            }
        }
        by_policy.sort();
        by_age.sort();
        by_policy.into_iter().chain(by_age).map(|(_, key, policy)| (key, policy)).collect()
    }

    pub(crate) fn cleanup(
        &mut self,
        scene: Scene<'_>,
        request: &CleanupRequest,
    ) -> Result<Vec<Port>, ErrorKind> {
        let here = scene.here();
        if request.policies.iter().any(|name| !here.cleanup.contains(&name.as_str())) {
            return Err(ErrorKind::Usage);
        }
        if !self.exists {
            return Ok(Vec::new());
        }
        let now = scene.machine.now();
        let age = request.older_than.map(|age| age.as_secs());
        let expired = self.expired(scene, &here, &request.policies, age, &[]);
        if request.policies.is_empty() {
            self.cleaned_at = now;
        }
        let give = |(key, policy): (String, String)| self.give_back(now, &key, Some(policy));
        Ok(expired.into_iter().map(give).collect())
    }

    pub(crate) fn release(
        &mut self,
        scene: Scene<'_>,
        request: &ReleaseRequest,
    ) -> Result<Vec<Port>, ErrorKind> {
        let place = scene.place;
        let matching = |wanted: &dyn Fn(&Reservation) -> bool| -> Vec<_> {
            let mut found: Vec<_> = self.held.values().filter(|held| wanted(held)).collect();
            found.sort_by_key(|held| held.port);
            found.into_iter().map(|held| Some(held.key.text.clone())).collect()
        };
        let targets: Vec<Option<String>> = match &request.target {
            Target::Services(services, scope) => {
                let keys = services.iter().map(|service| scene.key(service, *scope));
                let keys: Vec<_> = keys.collect::<Result<_, _>>()?;
                keys.into_iter().map(|key| self.held.contains_key(&key).then_some(key)).collect()
            }
            Target::Ports(ports) => {
                let at = |port| self.held.values().find(|held| held.port == port);
                ports.iter().map(|port| at(*port).map(|held| held.key.text.clone())).collect()
            }
            Target::Here => matching(&|held| held.directory == place.root()),
            Target::Below => {
                let everything = scene.home.starts_with(&place.directory);
                if everything && !request.force {
                    return Err(ErrorKind::Refused);
                }
                matching(&|held| held.directory.starts_with(&place.directory))
            }
            Target::Project(project) => matching(&|held| held.project.as_ref() == Some(project)),
        };
        let mut keys: Vec<String> = Vec::new();
        for target in &targets {
            let key = target.as_ref().ok_or(ErrorKind::NotFound)?;
            if !keys.contains(key) {
                keys.push(key.clone());
            }
        }
        if keys.is_empty() {
            return Err(ErrorKind::NotFound);
        }
        for held in keys.iter().map(|key| &self.held[key]) {
            let related = held.directory.starts_with(place.root())
                || held.directory.starts_with(&place.directory);
            let foreign = held.scope == Scope::Directory && !related;
            if !request.force && (held.locked || foreign) {
                return Err(ErrorKind::Refused);
            }
        }
        let now = scene.machine.now();
        Ok(keys.iter().map(|key| self.give_back(now, key, None)).collect())
    }

    pub(crate) fn set_lock(
        &mut self,
        scene: Scene<'_>,
        service: &Service,
        scope: Option<Scope>,
        locked: bool,
    ) -> Result<Port, ErrorKind> {
        let key = scene.key(service, scope)?;
        let held = self.held.get_mut(&key).ok_or(ErrorKind::NotFound)?;
        let changed = std::mem::replace(&mut held.locked, locked) != locked;
        let held = held.clone();
        if changed {
            let kind = if locked { EventKind::Locked } else { EventKind::Unlocked };
            self.record(scene.machine.now(), kind, &held, None, None);
        }
        Ok(held.port)
    }

    fn take(&mut self, now: Timestamp, kind: EventKind, to: Reservation, from: Option<Port>) {
        let key = to.key.text.clone();
        if let Some(from) = from {
            self.released.insert(from, (key.clone(), now));
        }
        self.released.remove(&to.port);
        self.record(now, kind, &to, from, None);
        self.held.insert(key, to);
    }

    fn give_back(&mut self, now: Timestamp, key: &str, policy: Option<String>) -> Port {
        let held = self.held.remove(key).unwrap();
        if self.mistake != Some(Mistake::ForgetsReleases) {
            self.released.insert(held.port, (key.to_owned(), now));
        }
        self.record(now, EventKind::Released, &held, None, policy);
        held.port
    }

    fn record(
        &mut self,
        at: Timestamp,
        kind: EventKind,
        reservation: &Reservation,
        from: Option<Port>,
        policy: Option<String>,
    ) {
        let key = reservation.key.text.clone();
        self.events.push(Happened { at, kind, port: reservation.port, from, key, policy });
    }
}

/// The hash that decides where a key's search begins: FNV-1a, finished as `MurmurHash3` does.
fn hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    for factor in [0xff51_afd7_ed55_8ccd_u64, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    hash ^ (hash >> 33)
}

fn seconds(millis: u128) -> u64 {
    u64::try_from(millis / 1000).unwrap()
}

fn seconds_between(earlier: Timestamp, later: Timestamp) -> i64 {
    later.seconds() - earlier.seconds()
}

//! `cleanup`: what the cleanup policies release, each with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::observe::Directories;
use super::{CleanupRequest, Engine, Error};
use crate::config::{Origin, RuleSet, Settings};
use crate::event::Change;
use crate::ledger::Ledger;
use crate::observed::Observed;
use crate::plan::{self, Docket, Release};
use crate::policy::Cleanup;
use crate::reservation::{Key, Reservation, Scope};
use crate::wasm::{Interface, Policy};

/// Which policies review, and what is released without asking any.
pub(super) struct Review<'a> {
    /// Only these, by name; all when it is empty.
    pub(super) policies: &'a [String],
    /// What has not been used for this long.
    pub(super) older_than: Option<Duration>,
}

/// Whose policies judge a reservation.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Jurisdiction {
    /// The settings of this place, project files and flags included.
    Here,
    /// What the user's files say about its directory.
    User(RuleSet),
}

/// A cleanup policy, and its name.
struct Judge {
    name: String,
    policy: Policy,
}

impl Engine<'_> {
    /// Runs the cleanup policies now. The answer is what was released, or would be in a dry run.
    pub fn cleanup(&self, request: &CleanupRequest) -> Result<Vec<Change>, Error> {
        let selected = &self.settings().strategy.cleanup.value;
        if let Some(name) = request.policies.iter().find(|name| !selected.contains(name)) {
            return Err(Error::Usage(format!(
                "`{name}` is not a cleanup policy here: they are {}",
                selected.join(", ")
            )));
        }
        let review = Review { policies: &request.policies, older_than: request.older_than };
        // What is wrong here is said, even where there is nothing to judge.
        self.judges(self.settings(), &[])?;
        let Some(ledger) = self.ledger()? else { return Ok(Vec::new()) };
        self.load_cleanup(&ledger)?;
        if request.dry_run {
            return self.releases(&ledger, &review, &[]);
        }
        drop(ledger);
        self.writing(|ledger| {
            let releases = match &ledger {
                Some(ledger) => self.releases(ledger, &review, &[])?,
                None => Vec::new(),
            };
            self.commit(ledger, &releases, request.policies.is_empty())?;
            Ok(releases)
        })
    }

    /// Loads the cleanup policies of every directory that has reservations, so that none has to be
    /// compiled under the lock.
    pub(super) fn load_cleanup(&self, ledger: &Ledger) -> Result<(), Error> {
        let reservations = ledger.reservations()?;
        let courts: BTreeSet<_> =
            reservations.iter().map(|reservation| self.jurisdiction(reservation)).collect();
        courts.into_iter().try_for_each(|court| self.judges_of(court, &[]).map(drop))
    }

    fn judges_of(&self, court: Jurisdiction, only: &[String]) -> Result<Vec<Judge>, Error> {
        match court {
            Jurisdiction::Here => self.judges(self.settings(), only),
            Jurisdiction::User(rules) => self.judges(&self.config.user_settings(&rules), only),
        }
    }

    fn judges(&self, settings: &Settings, only: &[String]) -> Result<Vec<Judge>, Error> {
        let choice = &settings.strategy.cleanup;
        let judge = |name: &String| {
            let policy =
                self.strategies.policy(settings, name, &choice.origin, Interface::Cleanup)?;
            Ok(Judge { name: name.clone(), policy })
        };
        let meant = |name: &&String| only.is_empty() || only.contains(name);
        choice.value.iter().filter(meant).map(judge).collect()
    }

    /// What cleanup releases, except the keys in `spared`.
    ///
    /// A reservation is judged by what the user's files say about its own directory; below the
    /// directory of this place's project files, by what those files say, or by what was asked for.
    /// What the whole machine shares is never a project's to judge, whoever reserved it first.
    pub(super) fn releases(
        &self,
        ledger: &Ledger,
        review: &Review<'_>,
        spared: &[&Key],
    ) -> Result<Vec<Change>, Error> {
        let now = self.system.now();
        let mut reservations = ledger.reservations()?;
        reservations.retain(|reservation| !spared.contains(&&reservation.key));
        let observed: Vec<_> =
            self.observe(reservations, Directories::Seen).into_iter().map(|(it, _)| it).collect();

        let mut cases: BTreeMap<Jurisdiction, Vec<&Observed>> = BTreeMap::new();
        for observed in &observed {
            cases.entry(self.jurisdiction(&observed.reservation)).or_default().push(observed);
        }
        let mut courts = Vec::with_capacity(cases.len());
        for (jurisdiction, reservations) in cases {
            courts.push((self.judges_of(jurisdiction, review.policies)?, reservations));
        }
        let dockets: Vec<_> = courts.iter().map(|(judges, cases)| docket(judges, cases)).collect();
        let mut releases = plan::cleanup(now, &dockets)?;
        if let Some(age) = review.older_than {
            let old = observed.iter().filter(|observed| {
                let Observed { reservation, .. } = observed;
                plan::is_releasable(observed)
                    && now.since(reservation.last_used_at) > age
                    && !releases.iter().any(|release| release.reservation.port == reservation.port)
            });
            let age = humantime::format_duration(age);
            releases.extend(
                old.map(|observed| Release {
                    reservation: observed.reservation.clone(),
                    policy: "--older-than".to_owned(),
                    reason: format!("not used for more than {age}"),
                })
                .collect::<Vec<_>>(),
            );
        }
        Ok(releases
            .into_iter()
            .map(|Release { reservation, policy, reason }| Change::Released {
                reservation,
                policy: Some(policy),
                reason,
            })
            .collect())
    }

    fn jurisdiction(&self, reservation: &Reservation) -> Jurisdiction {
        let settings = self.settings();
        let asked = matches!(settings.strategy.cleanup.origin, Origin::Flag(_));
        let here = settings.project_directory.as_deref();
        match here.or_else(|| asked.then(|| self.place.root())) {
            Some(here)
                if reservation.scope != Scope::Service
                    && reservation.directory.starts_with(here) =>
            {
                Jurisdiction::Here
            }
            _ => Jurisdiction::User(self.config.rules(&reservation.directory)),
        }
    }
}

fn docket<'a>(judges: &'a [Judge], cases: &[&'a Observed]) -> Docket<'a> {
    let policies = judges.iter().map(|judge| (judge.name.as_str(), &judge.policy as &dyn Cleanup));
    Docket { policies: policies.collect(), reservations: cases.to_vec() }
}

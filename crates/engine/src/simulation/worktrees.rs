//! The projects of a simulation and their worktrees, which come and go.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use fastrand::Rng;

use super::workload::{Workload, WorkloadError};
use crate::place::{Checkout, CheckoutKind, Place};
use crate::plan::Facts;
use crate::reservation::{Label, Lease, NameError, Owner, Service};
use crate::time::Timestamp;

/// The names of the first projects; the rest are numbered.
const PROJECTS: &[&str] =
    &["shop", "blog", "billing", "search", "mail", "chat", "wiki", "forum", "maps", "auth"];

/// The names of the first services; the rest are numbered.
const SERVICES: &[&str] =
    &["web", "api", "worker", "db", "cache", "admin", "docs", "queue", "mail", "metrics"];

/// The longest time from the deletion of a worktree to the next one in its place.
const ABSENCE: Duration = Duration::from_hours(12);

/// Of so many linked worktrees, one has a detached head.
const DETACHED: u32 = 8;

/// All worktrees. Each has a slot, and the next one takes it when it is deleted.
pub(super) struct Worktrees {
    projects: Vec<Project>,
    /// The services that every worktree has.
    pub(super) services: Vec<Service>,
    slots: Vec<Worktree>,
    per_project: usize,
    /// The slots of deleted worktrees, by the time when the next one comes.
    awaited: BTreeSet<(Timestamp, usize)>,
    /// Which of the directories that ever were are there.
    present: Vec<bool>,
    /// Which of the processes that ever were run, by pid.
    running: Vec<bool>,
    ephemeral: f64,
    locked: f64,
}

struct Project {
    name: Label,
    root: PathBuf,
    /// The number of the latest ticket.
    ticket: u32,
}

/// A worktree.
pub(super) struct Worktree {
    /// Its slot, which it shares with those before and after it.
    pub(super) slot: usize,
    /// Where it is.
    pub(super) place: Place,
    /// The number of its directory; one that comes back has the same.
    pub(super) directory: usize,
    /// The project it belongs to.
    pub(super) project: Label,
    /// The task that is worked on in it.
    pub(super) task: Label,
    /// The process that its services are reserved for.
    pub(super) owner: Owner,
    /// What is said of each service when it is reserved.
    pub(super) facts: Vec<Facts>,
}

impl Worktrees {
    pub(super) fn new(workload: &Workload, rng: &mut Rng) -> Result<Self, WorkloadError> {
        let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let services =
            (0..count(workload.services)).map(|at| name(SERVICES, "service", at).parse());
        let projects = (0..count(workload.projects)).map(|at| {
            let name = name(PROJECTS, "project", at);
            let (root, ticket) = (format!("/work/{name}").into(), rng.u32(100..900));
            Ok(Project { name: name.parse()?, root, ticket })
        });
        let mut worktrees = Self {
            projects: projects.collect::<Result<_, NameError>>()?,
            services: services.collect::<Result<_, NameError>>()?,
            slots: Vec::new(),
            per_project: count(workload.worktrees),
            awaited: BTreeSet::new(),
            present: Vec::new(),
            running: vec![false],
            ephemeral: workload.ephemeral,
            locked: workload.locked,
        };
        for slot in 0..worktrees.projects.len() * worktrees.per_project {
            let place = match slot % worktrees.per_project {
                0 => worktrees.main(slot),
                _ => worktrees.linked(slot, rng),
            };
            let directory = worktrees.present.len();
            worktrees.present.push(true);
            let worktree = worktrees.worktree(slot, place, directory, rng)?;
            worktrees.slots.push(worktree);
        }
        Ok(worktrees)
    }

    /// A worktree and one of its services. Who would have asked from a deleted worktree asks from
    /// the main one.
    pub(super) fn pick(&self, rng: &mut Rng) -> (&Worktree, usize) {
        let (slot, service) = (rng.usize(..self.slots.len()), rng.usize(..self.services.len()));
        let slot = if self.is_there(slot) { slot } else { slot - slot % self.per_project };
        (&self.slots[slot], service)
    }

    /// Deletes a linked worktree, if the one that it falls upon is there: its slot.
    pub(super) fn delete(&mut self, now: Timestamp, rng: &mut Rng) -> Option<usize> {
        if self.per_project == 1 {
            return None;
        }
        let (project, linked) = (rng.usize(..self.projects.len()), rng.usize(1..self.per_project));
        let absence = ABSENCE.mul_f64(rng.f64());
        let slot = project * self.per_project + linked;
        if !self.is_there(slot) {
            return None;
        }
        self.present[self.slots[slot].directory] = false;
        self.set_running(slot, false);
        self.awaited.insert((now.after(absence), slot));
        Some(slot)
    }

    /// Makes the worktrees that are awaited by now: half of them those that were deleted, the others
    /// new ones.
    pub(super) fn make(&mut self, now: Timestamp, rng: &mut Rng) -> Result<(), WorkloadError> {
        while let Some((due, slot)) = self.awaited.first().copied()
            && due <= now
        {
            self.awaited.pop_first();
            let (place, directory) = if rng.bool() {
                (self.slots[slot].place.clone(), self.slots[slot].directory)
            } else {
                self.present.push(false);
                (self.linked(slot, rng), self.present.len() - 1)
            };
            self.present[directory] = true;
            self.slots[slot] = self.worktree(slot, place, directory, rng)?;
        }
        Ok(())
    }

    /// Whether a directory of this number is there.
    pub(super) fn is_present(&self, directory: usize) -> bool {
        self.present[directory]
    }

    /// Whether a process of a worktree still runs.
    pub(super) fn is_running(&self, owner: &Owner) -> bool {
        usize::try_from(owner.pid).is_ok_and(|pid| self.running.get(pid) == Some(&true))
    }

    fn is_there(&self, slot: usize) -> bool {
        self.present[self.slots[slot].directory]
    }

    fn set_running(&mut self, slot: usize, running: bool) {
        let pid = usize::try_from(self.slots[slot].owner.pid).ok();
        if let Some(process) = pid.and_then(|pid| self.running.get_mut(pid)) {
            *process = running;
        }
    }

    fn worktree(
        &mut self,
        slot: usize,
        place: Place,
        directory: usize,
        rng: &mut Rng,
    ) -> Result<Worktree, WorkloadError> {
        // A worktree costs a request, so that pids never reach the end of their type.
        let pid = u32::try_from(self.running.len()).unwrap_or(u32::MAX);
        self.running.push(true);
        let owner = Owner {
            pid,
            start: 0,
            boot: String::new(),
            namespace: 0,
            started_at: Timestamp::default(),
        };
        let is_main = slot.is_multiple_of(self.per_project);
        let task = match is_main {
            true => "main",
            false => place.root().file_name().and_then(|name| name.to_str()).unwrap_or_default(),
        };
        let task = task.parse::<Label>()?;
        let facts = self.services.iter().map(|_| {
            let ephemeral = rng.f64() < self.ephemeral;
            Facts {
                lease: ephemeral.then_some(Lease::Ephemeral),
                default_owner: ephemeral.then(|| owner.clone()),
                lock: rng.f64() < self.locked && is_main,
                ..Facts::default()
            }
        });
        let (facts, project) = (facts.collect(), self.project(slot).name.clone());
        Ok(Worktree { slot, place, directory, project, task, owner, facts })
    }

    fn main(&self, slot: usize) -> Place {
        let root = self.project(slot).root.clone();
        self.place(slot, root, CheckoutKind::Main, Some("main".to_owned()))
    }

    fn linked(&mut self, slot: usize, rng: &mut Rng) -> Place {
        let detached = rng.u32(..DETACHED) == 0;
        let project = &mut self.projects[slot / self.per_project];
        project.ticket += rng.u32(1..10);
        let name = project.name.as_str();
        let ticket = format!("{}-{}", name.to_uppercase().replace('-', ""), project.ticket);
        let root = format!("/work/worktrees/{name}/{ticket}").into();
        let branch = (!detached).then(|| format!("feature/{ticket}"));
        self.place(slot, root, CheckoutKind::Linked, branch)
    }

    fn place(
        &self,
        slot: usize,
        root: PathBuf,
        kind: CheckoutKind,
        branch: Option<String>,
    ) -> Place {
        let project = self.project(slot);
        let checkout = Checkout {
            root: root.clone(),
            kind,
            repository: Some(project.root.join(".git")),
            name: Some(project.name.as_str().to_owned()),
            branch,
        };
        Place { directory: root, checkout: Some(checkout) }
    }

    fn project(&self, slot: usize) -> &Project {
        &self.projects[slot / self.per_project]
    }
}

fn name(names: &[&str], kind: &str, at: usize) -> String {
    names.get(at).map_or_else(|| format!("{kind}-{}", at + 1), |name| (*name).to_owned())
}

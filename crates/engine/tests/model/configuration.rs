//! The configuration of the walk: what the files say, and what it comes to for a directory.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use hythe_engine::{Checkout, Lease, Place, Scope};

/// What the user's file says, and the file of one project.
#[derive(Debug, Clone)]
pub(crate) struct Configuration {
    pub(crate) range: (u16, u16),
    pub(crate) exclude: Vec<u16>,
    pub(crate) allow: Vec<u16>,
    pub(crate) on_conflict: &'static str,
    pub(crate) cleanup: Vec<&'static str>,
    /// Seconds, as every duration here.
    pub(crate) freeze: u64,
    pub(crate) every: u64,
    pub(crate) persistent: u64,
    pub(crate) ephemeral: u64,
    pub(crate) grace: u64,
    pub(crate) service: Option<Service>,
    pub(crate) block: Block,
    pub(crate) rule: Option<Rule>,
    pub(crate) project: Option<Project>,
}

/// What the user's file says of the service `db`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Service {
    pub(crate) port: Option<u16>,
    pub(crate) scope: Option<Scope>,
    pub(crate) lease: Option<Lease>,
    pub(crate) ttl: Option<u64>,
}

/// Services that stand together, each with its offset: the lowest first.
pub(crate) type Block = &'static [(&'static str, u16)];

/// The blocks that there can be.
pub(crate) const BLOCKS: [Block; 4] = [
    &[],
    &[("main", 0), ("web", 1)],
    &[("@shop/admin", 2), ("web", 4), ("main", 9)],
    &[("web", 7), ("@shop/admin", 8)],
];

/// A `[[directory]]` rule for a directory and everything below.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) directory: PathBuf,
    pub(crate) persistent: u64,
    pub(crate) cleanup: Vec<&'static str>,
}

/// The `hythe.toml` in the root of a checkout.
#[derive(Debug, Clone)]
pub(crate) struct Project {
    pub(crate) root: PathBuf,
    pub(crate) name: &'static str,
    pub(crate) exclude: Vec<u16>,
    pub(crate) on_conflict: &'static str,
    pub(crate) cleanup: Vec<&'static str>,
}

/// The service that the user's file may mention.
pub(crate) const CONFIGURED: &str = "db";

impl Configuration {
    /// What holds in `place`, the project's file included.
    pub(crate) fn at(&self, place: &Place) -> Self {
        let root = place.checkout.as_ref().map(|Checkout { root, .. }| root);
        let mut here = self.of_user(place.root());
        here.project = self.project.clone().filter(|project| Some(&project.root) == root);
        if let Some(project) = &here.project {
            here.exclude.extend(&project.exclude);
            here.on_conflict = project.on_conflict;
            here.cleanup.clone_from(&project.cleanup);
        }
        here
    }

    /// What the user's file alone says of a directory.
    pub(crate) fn of_user(&self, directory: &Path) -> Self {
        let mut here = Self { project: None, ..self.clone() };
        if let Some(rule) = self.rule.as_ref().filter(|rule| directory.starts_with(&rule.directory))
        {
            here.persistent = rule.persistent;
            here.cleanup.clone_from(&rule.cleanup);
        }
        here
    }

    /// The text of the user's file.
    pub(crate) fn user_file(&self) -> String {
        let mut text = format!(
            "[ports]\nrange = \"{}-{}\"\nexclude = {:?}\nallow = {:?}\nfreeze = \"{}s\"\n\
             on_conflict = {:?}\n[strategy]\ncleanup = {:?}\n[cleanup]\nevery = \"{}s\"\n\
             [plugins.ttl.options]\npersistent = \"{}s\"\nephemeral = \"{}s\"\n\
             [plugins.pid-reap.options]\ngrace = \"{}s\"\n",
            self.range.0,
            self.range.1,
            self.exclude,
            self.allow,
            self.freeze,
            self.on_conflict,
            self.cleanup,
            self.every,
            self.persistent,
            self.ephemeral,
            self.grace,
        );
        if let Some(service) = &self.service {
            writeln!(text, "[services.{CONFIGURED}]").unwrap();
            let mut say = |key: &str, value: Option<String>| {
                if let Some(value) = value {
                    writeln!(text, "{key} = {value}").unwrap();
                }
            };
            say("port", service.port.map(|port| port.to_string()));
            say("scope", service.scope.map(|scope| format!("\"{scope}\"")));
            say("lease", service.lease.map(|lease| format!("\"{lease}\"")));
            say("ttl", service.ttl.map(|ttl| format!("\"{ttl}s\"")));
        }
        for (service, offset) in self.block {
            writeln!(text, "[services.\"{service}\"]\noffset = {offset}").unwrap();
        }
        if let Some(Rule { directory, persistent, cleanup }) = &self.rule {
            write!(
                text,
                "[[directory]]\nmatch = \"{}/**\"\nstrategy.cleanup = {cleanup:?}\n\
                 plugins.ttl.options.persistent = \"{persistent}s\"\n",
                directory.display(),
            )
            .unwrap();
        }
        text
    }

    /// The text of the project's file.
    pub(crate) fn project_file(project: &Project) -> String {
        format!(
            "project = {:?}\n[ports]\nexclude = {:?}\non_conflict = {:?}\n\
             [strategy]\ncleanup = {:?}\n",
            project.name, project.exclude, project.on_conflict, project.cleanup,
        )
    }
}

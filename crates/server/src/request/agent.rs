//! What only agents ask for: they work in one directory, and name what they mean in one call.

use std::path::PathBuf;

use hythe_document::Failure;
use hythe_engine::{Label, ListFilter, Port, ReleaseRequest, Scope, Service, Target};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Release, absolute, values};
use crate::verbs::Here;
use values::{number, text};

/// Asks for reservations to be given back: of a port, of services, or everything of a directory.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReleaseAny {
    /// The absolute path of the directory to work for.
    #[schemars(schema_with = "values::directory")]
    pub directory: Option<PathBuf>,
    /// Only this port. That of another directory is refused without `force`.
    #[serde(deserialize_with = "number")]
    #[schemars(schema_with = "values::port")]
    pub port: Option<Port>,
    /// The services, as they are reserved there; `main` when nothing else is said.
    #[serde(deserialize_with = "values::list")]
    #[schemars(schema_with = "values::services")]
    pub services: Vec<Service>,
    /// What the reservations belong to.
    #[serde(deserialize_with = "text")]
    #[schemars(schema_with = "values::scope")]
    pub scope: Option<Scope>,
    /// Everything of this checkout or directory.
    pub all: bool,
    /// Everything of this directory and the directories below it, in this checkout.
    pub recursive: bool,
    /// What is locked, or belongs to another directory or checkout, as well.
    pub force: bool,
    /// Say what would be released, and write nothing.
    pub dry_run: bool,
}

impl ReleaseAny {
    /// For whom, and what, the engine is asked.
    ///
    /// # Errors
    ///
    /// When it makes no sense.
    pub fn read(self) -> Result<(Here, ReleaseRequest), Failure> {
        let Self { directory, port, services, scope, all, recursive, force, dry_run } = self;
        let Some(port) = port else {
            return Release { directory, services, scope, all, recursive, force, dry_run }.read();
        };
        if !services.is_empty() || scope.is_some() || all || recursive {
            return Err(Failure::usage(
                "`port` says what is released, and so does another argument",
                Some(&format!(r#"{{"port": {port}}}"#)),
            ));
        }
        let target = Target::Ports(vec![port]);
        let here = Here::at(absolute(directory)?);
        Ok((here, ReleaseRequest { target, elsewhere: false, force, dry_run }))
    }
}

/// Which reservations are looked for. Every condition that is given must hold.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Find {
    /// The absolute path of the directory whose reservations are meant, and of those below it. With
    /// `project` or `port` all of the machine are meant when there is none.
    #[schemars(schema_with = "values::directory")]
    pub directory: Option<PathBuf>,
    /// Only of this service.
    #[serde(deserialize_with = "text")]
    #[schemars(schema_with = "values::service")]
    pub service: Option<Service>,
    /// Only of this project.
    #[serde(deserialize_with = "text")]
    #[schemars(schema_with = "values::label")]
    pub project: Option<Label>,
    /// Only of this port; who listens on it is told although it is not reserved.
    #[serde(deserialize_with = "number")]
    #[schemars(schema_with = "values::port")]
    pub port: Option<Port>,
}

impl Find {
    /// Whether it is about one directory.
    #[must_use]
    pub const fn is_of_a_directory(&self) -> bool {
        self.directory.is_some() || (self.project.is_none() && self.port.is_none())
    }

    /// For whom the engine is asked, and for what among all reservations.
    ///
    /// # Errors
    ///
    /// When it makes no sense.
    pub fn read(self) -> Result<(Here, ListFilter), Failure> {
        let here = match self.is_of_a_directory() {
            true => Here::at(absolute(self.directory)?),
            false => Here::default(),
        };
        let Self { service, project, .. } = self;
        Ok((here, ListFilter { project, service, ..ListFilter::default() }))
    }
}

/// Asks why a port was chosen: one that is reserved, or that of a service of a directory.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Explain {
    /// The reserved port, wherever it belongs.
    #[serde(deserialize_with = "number")]
    #[schemars(schema_with = "values::port")]
    pub port: Option<Port>,
    /// The absolute path of the directory to work for.
    #[schemars(schema_with = "values::directory")]
    pub directory: Option<PathBuf>,
    /// The service of the directory; `main` when there is none.
    #[serde(deserialize_with = "text")]
    #[schemars(schema_with = "values::service")]
    pub service: Option<Service>,
    /// What the reservation belongs to.
    #[serde(deserialize_with = "text")]
    #[schemars(schema_with = "values::scope")]
    pub scope: Option<Scope>,
}

//! `env`: the ports of a project's services, and what follows from them, as environment variables.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::replace::replace;
use super::{Engine, Error, ReserveRequest, Reserved};
use crate::config::{ConfigError, Location, Origin};
use crate::port::Port;
use crate::reservation::Service;
use crate::variable::{Facts, Fence, Format, Variable, VariableName, checkout_slug};

/// The largest file that is written into, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Asks for the environment of a place.
#[derive(Debug, Clone, Default)]
pub struct EnvironmentRequest {
    /// How its services are reserved; which they are follows from the configuration.
    pub reserve: ReserveRequest,
    /// How variables are written.
    pub format: Format,
    /// Files to write them into, absolute.
    pub files: Vec<PathBuf>,
}

/// The environment of a place.
#[derive(Debug, Clone)]
pub struct Environment {
    /// The answer for each service.
    pub reserved: Vec<Reserved>,
    /// The variables: those of the services, then those of `[env]`.
    pub variables: Vec<Variable>,
    /// The variables in the format that was asked for.
    pub text: String,
    /// The files that they are in now, and whether that changed them.
    pub files: Vec<(PathBuf, bool)>,
}

impl Engine<'_> {
    /// The environment of this place: reserves every service that the project's files declare, all of
    /// them or none, or `main` when they declare none. What other places share keeps its port, also when
    /// the others are moved. What is wrong with a variable or a file is found
    /// before anything is reserved or written.
    pub fn environment(&self, request: &EnvironmentRequest) -> Result<Environment, Error> {
        let services = self.group();
        let draft: Vec<_> = services.iter().map(|service| (service.clone(), Port::MAX)).collect();
        write(request.format, &self.variables(&draft)?)?;
        let files: Vec<_> = request.files.iter().map(|path| self.target(path)).collect();
        let files = files.into_iter().collect::<Result<Vec<_>, _>>()?;
        files.iter().try_for_each(|file| fenced(file, "").map(drop))?;

        let reserve = ReserveRequest { services, keep_shared: true, ..request.reserve.clone() };
        let reserved = self.reserve(&reserve)?;
        let port = |answer: &Reserved| {
            let reservation = &answer.observed.reservation;
            (reservation.service.clone(), reservation.port)
        };
        let ports: Vec<_> = reserved.iter().map(port).collect();
        let variables = self.variables(&ports)?;
        let text = write(request.format, &variables)?;
        let files = self.fence(files, &text, reserve.dry_run)?;
        Ok(Environment { reserved, variables, text, files })
    }

    /// The services that belong together here.
    fn group(&self) -> Vec<Service> {
        let services = self.settings().services.iter();
        let declared = services.filter(|(_, settings)| settings.declared.is_some());
        let group: Vec<_> = declared.map(|(service, _)| service.clone()).collect();
        if group.is_empty() { vec![Service::default()] } else { group }
    }

    /// What the variables of this place come to when its services have these ports.
    pub fn variables(&self, ports: &[(Service, Port)]) -> Result<Vec<Variable>, Error> {
        let settings = self.settings();
        let mut variables = Vec::new();
        let mut set: BTreeMap<VariableName, String> = BTreeMap::new();
        for (service, port) in ports {
            let configured = settings.services.get(service);
            let named = configured.and_then(|configured| configured.env.as_ref());
            let name = named.map_or_else(|| VariableName::of(service), |name| name.value.clone());
            let setter = format!("the port of `{service}`");
            if let Some(other) = set.insert(name.clone(), setter.clone()) {
                let declared = configured.and_then(|configured| configured.declared.as_ref());
                let origin = named.map(|named| &named.origin).or(declared);
                let hint = format!("[services.{service}] env = \"ANOTHER_NAME\"");
                return Err(twice(&name, &setter, &other, origin, hint));
            }
            variables.push(Variable { name, value: port.to_string() });
        }
        let slug = checkout_slug(&self.place);
        let project = self.project();
        let checkout = self.place.checkout.as_ref();
        let facts = Facts {
            ports,
            slug: &slug,
            project: project.as_ref().map(crate::reservation::Label::as_str),
            branch: checkout.and_then(|checkout| checkout.branch.as_deref()),
        };
        for (name, template) in &settings.env {
            if let Some(other) = set.get(name) {
                let hint = "call one of them otherwise".to_owned();
                return Err(twice(name, "[env]", other, Some(&template.origin), hint));
            }
            let value = template.value.fill(&facts).map_err(|missing| ConfigError {
                location: Location::Origin(template.origin.clone()),
                message: format!("{name} has no value: {missing}"),
                hint: missing.hint(),
            })?;
            variables.push(Variable { name: name.clone(), value });
        }
        Ok(variables)
    }

    /// Where a file that is to be written into really is. A link inside a checkout may be anybody's: it
    /// must not lead out of it.
    fn target(&self, path: &Path) -> Result<PathBuf, Error> {
        let failed = |error| Error::File { path: path.to_owned(), error };
        let real = match fs::canonicalize(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => {
                let directory = path.parent().map_or(Ok(PathBuf::from("/")), fs::canonicalize);
                directory.map_err(failed)?.join(path.file_name().unwrap_or_default())
            }
            real => real.map_err(failed)?,
        };
        let root = self.place.root();
        let plain = path.components().all(|part| part != Component::ParentDir);
        if plain && path.starts_with(root) && !real.starts_with(root) {
            return Err(Error::Refused {
                what: format!("{} is a link that leads out of {}", path.display(), root.display()),
                hint: Some(format!("if that is meant: --write {}", real.display())),
            });
        }
        Ok(real)
    }

    /// Writes `text` into the files, each whole or not at all, while no other process edits files.
    fn fence(
        &self,
        files: Vec<PathBuf>,
        text: &str,
        dry_run: bool,
    ) -> Result<Vec<(PathBuf, bool)>, Error> {
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let edit = || {
            let edit = |path: PathBuf| {
                let (before, after) = fenced(&path, text)?;
                let changed = before.as_deref() != Some(&*after);
                if changed && !dry_run {
                    replace(&path, &after)
                        .map_err(|error| Error::File { path: path.clone(), error })?;
                }
                Ok((path, changed))
            };
            files.into_iter().map(edit).collect()
        };
        if dry_run { edit() } else { self.holding("config.lock", edit) }
    }
}

/// What a file contains, if it is there, and what it is to contain.
fn fenced(path: &Path, text: &str) -> Result<(Option<Vec<u8>>, Vec<u8>), Error> {
    let failed = |error| Error::File { path: path.to_owned(), error };
    let before = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(error)),
        Ok(metadata) if !metadata.is_file() => {
            return Err(failed(io::Error::other("it is not a regular file")));
        }
        Ok(metadata) if metadata.len() > MAX_FILE => {
            return Err(failed(io::Error::other("it is larger than 1 MiB")));
        }
        Ok(_) => Some(fs::read(path).map_err(failed)?),
    };
    let fence = Fence::find(before.as_deref().unwrap_or_default()).map_err(|error| {
        Error::Refused { what: format!("{}: {error}", path.display()), hint: None }
    })?;
    let after = fence.with(text);
    Ok((before, after))
}

fn write(format: Format, variables: &[Variable]) -> Result<String, Error> {
    format.write(variables).map_err(|error| Error::Usage(error.to_string()))
}

fn twice(
    name: &VariableName,
    setter: &str,
    other: &str,
    origin: Option<&Origin>,
    hint: String,
) -> Error {
    let location = Location::Origin(origin.cloned().unwrap_or(Origin::BuiltIn));
    let message = format!("{name} is set twice, to {other} and by {setter}");
    ConfigError { location, message, hint: Some(hint) }.into()
}

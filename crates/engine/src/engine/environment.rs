//! `env`: the ports of a project's services, and what follows from them, as environment variables.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use super::replace::{replace, replaceable};
use super::reserve::first_duplicate;
use super::{Engine, Error, ReserveRequest, Reserved};
use crate::config::{ConfigError, Location, Origin};
use crate::port::Port;
use crate::reservation::Service;
use crate::shell;
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
    /// the others are moved. What is wrong with a variable or a file is found before anything is
    /// reserved or written.
    pub fn environment(&self, request: &EnvironmentRequest) -> Result<Environment, Error> {
        let services = self.group();
        write(request.format, &self.variables(&draft(&services))?)?;
        let files = request.files.iter().map(|path| self.target(path));
        let files = files.collect::<Result<Vec<_>, _>>()?;
        for path in &files {
            fenced(path, "")?;
            replaceable(path).map_err(|error| Error::File { path: path.clone(), error })?;
        }

        let reserve = ReserveRequest { services, keep_shared: true, ..request.reserve.clone() };
        let reserved = self.reserve(&reserve)?;
        let port = |answer: &Reserved| {
            let reservation = &answer.observed.reservation;
            (reservation.service.clone(), reservation.port)
        };
        let ports: Vec<_> = reserved.iter().map(port).collect();
        let variables = self.variables(&ports)?;
        let text = write(request.format, &variables)?;
        let files = self.fence(&files, &text, reserve.dry_run)?;
        Ok(Environment { reserved, variables, text, files })
    }

    /// The services that a command serves which names these, and those that it is told of beside them:
    /// the others of the group. Without a name it serves the only service of the group, or `main`.
    pub fn served(&self, named: &[Service]) -> Result<(Vec<Service>, Vec<Service>), Error> {
        let group = self.group();
        let main = Service::default();
        let served = match (named, &group[..]) {
            ([], [only]) => vec![only.clone()],
            ([], several) if several.contains(&main) => vec![main],
            ([], several) => {
                let known: Vec<_> = several.iter().map(ToString::to_string).collect();
                return Err(Error::Usage(format!(
                    "which service does the command serve? here are {}",
                    known.join(", ")
                )));
            }
            (named, _) => named.to_vec(),
        };
        if let Some(twice) = first_duplicate(&served.iter().collect::<Vec<_>>()) {
            return Err(Error::Usage(format!("service `{twice}` is named twice")));
        }
        let declared = |service: &Service| self.declares(service);
        let beside = group.into_iter().filter(|it| declared(it) && !served.contains(it)).collect();
        Ok((served, beside))
    }

    /// Whether the project's files declare a service.
    fn declares(&self, service: &Service) -> bool {
        let configured = self.settings().services.get(service);
        configured.is_some_and(|configured| configured.declared.is_some())
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
        let (variables, mut wrong) = self.judged_variables(ports);
        if wrong.is_empty() { Ok(variables) } else { Err(wrong.remove(0).into()) }
    }

    /// Everything that is wrong with the variables of this place, whatever ports its services get.
    pub(super) fn check_environment(&self) -> Vec<Error> {
        let (_, wrong) = self.judged_variables(&draft(&self.group()));
        wrong.into_iter().map(Error::from).collect()
    }

    /// The port that goes without saying: that of the only service of the group, of `main`, or the only
    /// one there is.
    fn only_port(&self, ports: &[(Service, Port)]) -> Option<Port> {
        let of = |service: &Service| ports.iter().find(|(other, _)| other == service);
        let group = self.group();
        let only = if let [only] = &group[..] { of(only) } else { None };
        let single = || if let [single] = ports { Some(single) } else { None };
        let found = only.or_else(|| of(&Service::default())).or_else(single);
        found.map(|(_, port)| *port)
    }

    fn judged_variables(&self, ports: &[(Service, Port)]) -> (Vec<Variable>, Vec<ConfigError>) {
        let settings = self.settings();
        let (mut variables, mut wrong) = (Vec::new(), Vec::new());
        let mut set: BTreeMap<VariableName, String> = BTreeMap::new();
        for (service, port) in ports {
            let configured = settings.services.get(service);
            let named = configured.and_then(|configured| configured.env.as_ref());
            let name = named.map_or_else(|| VariableName::of(service), |name| name.value.clone());
            let setter = format!("the port of `{service}`");
            if let Some(other) = set.insert(name.clone(), setter.clone()) {
                let declared = configured.and_then(|configured| configured.declared.as_ref());
                let origin = named.map(|named| &named.origin).or(declared);
                let hint = format!("[services.\"{service}\"] env = \"ANOTHER_NAME\"");
                wrong.push(twice(&name, &setter, &other, origin, hint));
            }
            variables.push(Variable { name, value: port.to_string() });
        }
        let slug = checkout_slug(&self.place);
        let project = self.project();
        let checkout = self.place.checkout.as_ref();
        let facts = Facts {
            ports,
            only: self.only_port(ports),
            slug: &slug,
            project: project.as_ref().map(crate::reservation::Label::as_str),
            branch: checkout.and_then(|checkout| checkout.branch.as_deref()),
        };
        for (name, template) in &settings.env {
            if let Some(other) = set.get(name) {
                let hint = "call one of them otherwise".to_owned();
                wrong.push(twice(name, "[env]", other, Some(&template.origin), hint));
            }
            match template.value.fill(&facts) {
                Ok(value) => variables.push(Variable { name: name.clone(), value }),
                Err(missing) => wrong.push(ConfigError {
                    location: Location::Origin(template.origin.clone()),
                    message: format!("{name} has no value: {missing}"),
                    hint: missing.hint(),
                    unknown_key: false,
                }),
            }
        }
        (variables, wrong)
    }

    /// Where a file that is to be written into really is. A link inside a checkout may be anybody's: it
    /// must not lead out of it.
    fn target(&self, path: &Path) -> Result<PathBuf, Error> {
        let failed = |error| Error::File { path: path.to_owned(), error };
        let root = self.place.root();
        let mut real = PathBuf::from("/");
        let mut parts = path.components().peekable();
        while let Some(part) = parts.next() {
            let name = match part {
                Component::Normal(name) => name,
                Component::ParentDir => {
                    real.pop();
                    continue;
                }
                _ => continue,
            };
            let next = real.join(name);
            let found = match fs::canonicalize(&next) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if next.is_symlink() {
                        return Err(failed(io::Error::other("it is a link to nothing")));
                    }
                    // What a directory is missing in is not made; a file is.
                    if parts.peek().is_some() { Err(error) } else { Ok(next) }
                }
                found => found,
            };
            let found = found.map_err(failed)?;
            if real.starts_with(root) && !found.starts_with(root) {
                let (path, root) = (path.display(), root.display());
                let meant =
                    [found.as_path(), &parts.collect::<PathBuf>()].iter().collect::<PathBuf>();
                return Err(Error::Refused {
                    what: format!("{path} leads out of {root} through a link"),
                    hint: Some(format!(
                        "if that is meant: --write {}",
                        shell::word(&meant.to_string_lossy())
                    )),
                });
            }
            real = found;
        }
        Ok(real)
    }

    /// Writes `text` into the files, each whole or not at all, while no other process edits files. When
    /// it is there already, nothing is written and no lock is taken.
    fn fence(
        &self,
        files: &[PathBuf],
        text: &str,
        dry_run: bool,
    ) -> Result<Vec<(PathBuf, bool)>, Error> {
        let edit = |dry_run: bool| {
            let edit = |path: &PathBuf| {
                let (before, after) = fenced(path, text)?;
                let changed = before.as_deref() != Some(&*after);
                if changed && !dry_run {
                    replace(path, &after)
                        .map_err(|error| Error::File { path: path.clone(), error })?;
                }
                Ok((path.clone(), changed))
            };
            files.iter().map(edit).collect::<Result<Vec<_>, Error>>()
        };
        let planned = edit(true)?;
        if dry_run || planned.iter().all(|(_, changed)| !changed) {
            return Ok(planned);
        }
        self.holding("config.lock", || edit(false))
    }
}

/// What a file contains, if it is there, and what it is to contain.
fn fenced(path: &Path, text: &str) -> Result<(Option<Vec<u8>>, Vec<u8>), Error> {
    let failed = |error| Error::File { path: path.to_owned(), error };
    let before = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(error)),
        // Opening another kind of file may wait for ever.
        Ok(metadata) if !metadata.is_file() => {
            return Err(failed(io::Error::other("it is not a regular file")));
        }
        Ok(_) => {
            let mut bytes = Vec::new();
            let file = File::open(path).map_err(failed)?;
            file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
            if u64::try_from(bytes.len()).is_ok_and(|size| size > MAX_FILE) {
                return Err(failed(io::Error::other("it is larger than 1 MiB")));
            }
            Some(bytes)
        }
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
) -> ConfigError {
    let location = Location::Origin(origin.cloned().unwrap_or(Origin::BuiltIn));
    let message = format!("{name} is set twice: by {other}, and by {setter}");
    ConfigError { location, message, hint: Some(hint), unknown_key: false }
}

/// Services with some ports, before they have theirs.
fn draft(services: &[Service]) -> Vec<(Service, Port)> {
    services.iter().map(|service| (service.clone(), Port::MAX)).collect()
}

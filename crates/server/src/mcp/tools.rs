//! The tools: what each is called with, what it does and what it answers.

use std::sync::Arc;

use hythe_document as document;
use hythe_document::{Failure, schema};
use hythe_engine::config::{Origin, Set};
use hythe_engine::{
    Assertion, Engine, Error, ErrorKind, Label, Lease, Listed, Named, Port, ReserveRequest, Shown,
};
use rmcp::model::{self, CallToolRequestParams, JsonObject, ToolAnnotations};
use rmcp::service::{RequestContext, RoleServer};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::answer::Answer;
use super::{Server, Stop};
use crate::request::{Cleanup, Explain, Find, List, ReleaseAny, Reserve};
use crate::verbs::{Here, Told};

/// A tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tool {
    Reserve,
    Release,
    Find,
    List,
    Cleanup,
    Explain,
}

impl Tool {
    const ALL: [Self; 6] =
        [Self::Reserve, Self::Release, Self::Find, Self::List, Self::Cleanup, Self::Explain];

    const fn name(self) -> &'static str {
        match self {
            Self::Reserve => "reserve",
            Self::Release => "release",
            Self::Find => "find",
            Self::List => "list",
            Self::Cleanup => "cleanup",
            Self::Explain => "explain",
        }
    }

    /// The tool of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.name() == name)
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Reserve => "Reserve ports",
            Self::Release => "Release reservations",
            Self::Find => "Find a port",
            Self::List => "List reservations",
            Self::Cleanup => "Run the cleanup policies",
            Self::Explain => "Explain a port",
        }
    }

    const fn description(self) -> &'static str {
        match self {
            Self::Reserve => {
                "The port of each service of a directory, reserved if it is not yet. The same directory \
                 and service always get the same port, and nobody else gets it. Call it before a server \
                 is started, and start the server on the port it answers."
            }
            Self::Release => {
                "Gives reservations back: of services of the directory, of one port, or of the whole \
                 directory. What is locked, or is another directory's own, is refused without `force`."
            }
            Self::Find => {
                "Looks up the ports of a directory's services without reserving anything; with `port` \
                 or `project`, reservations of the whole machine, and who listens."
            }
            Self::List => {
                "All reservations of this machine, and which processes listen on their ports."
            }
            Self::Cleanup => {
                "Runs the user's cleanup policies now, and releases what they say. Never what is locked \
                 or in use. Try it with `dry_run` first."
            }
            Self::Explain => {
                "Why a reservation has its port, or which port a service would get: policies that were \
                 asked, what they answered, ports that were passed over. Writes nothing."
            }
        }
    }

    fn annotations(self) -> ToolAnnotations {
        let reads = matches!(self, Self::Find | Self::List | Self::Explain);
        let destroys = matches!(self, Self::Release | Self::Cleanup);
        ToolAnnotations::with_title(self.title())
            .read_only(reads)
            .destructive(destroys)
            // With `reallocate` a second call moves it once more.
            .idempotent(self != Self::Reserve)
            .open_world(false)
    }

    fn description_of_the_directory(self) -> &'static str {
        match self {
            Self::Find => {
                "The absolute path of the directory whose reservations are meant, and of those below \
                 it. The client's only root when there is none, unless `project` or `port` is given."
            }
            _ => {
                "The absolute path of the directory to work for: the checkout of the server that is \
                 to be started. The client's only root when there is none."
            }
        }
    }

    fn describe(self) -> Result<model::Tool, serde_json::Error> {
        let (mut input, output) = match self {
            Self::Reserve => (input::<Reserve>()?, "reserved"),
            Self::Release => (input::<ReleaseAny>()?, "released"),
            Self::Find => (input::<Find>()?, "list"),
            Self::List => (input::<List>()?, "list"),
            Self::Cleanup => (input::<Cleanup>()?, "released"),
            Self::Explain => (input::<Explain>()?, "reserved"),
        };
        if let Some(directory) = input["properties"].get_mut("directory") {
            directory["description"] = self.description_of_the_directory().into();
        }
        let tool = model::Tool::new(self.name(), self.description(), object(input))
            .with_title(self.title())
            .with_annotations(self.annotations());
        Ok(match schema::alone(output)? {
            Some(output) => tool.with_raw_output_schema(object(output)),
            None => tool,
        })
    }
}

/// The tools, as clients are told of them.
pub(super) fn described() -> Result<Vec<model::Tool>, serde_json::Error> {
    Tool::ALL.into_iter().map(Tool::describe).collect()
}

/// The schema of what a tool is called with, as clients take it: those that hand it on to a model
/// know little of JSON Schema, and nothing of the sizes of numbers.
fn input<T: JsonSchema>() -> Result<Value, serde_json::Error> {
    let mut schema = serde_json::to_value(schemars::schema_for!(T))?;
    if let Some(members) = schema.as_object_mut() {
        // `title` is the name of a type, and what the type says of itself is said of the tool.
        members.retain(|name, _| !["$schema", "title", "description"].contains(&name.as_str()));
    }
    let properties = schema["properties"].as_object_mut().into_iter().flatten();
    for argument in properties.filter_map(|(_, argument)| argument.as_object_mut()) {
        argument.remove("format");
        // What may be left out has no value then, and `null` is not one of its type.
        if argument.get("default").is_some_and(Value::is_null) {
            argument.remove("default");
        }
    }
    Ok(schema)
}

fn object(value: Value) -> Arc<JsonObject> {
    Arc::new(match value {
        Value::Object(members) => members,
        _ => JsonObject::new(),
    })
}

/// What a tool is called with.
fn read<T: DeserializeOwned>(arguments: JsonObject) -> Result<T, Failure> {
    serde_json::from_value(Value::Object(arguments.clone())).map_err(|error| {
        // Which one it is, the error does not say. None is required, so that each can stand alone.
        let wrong = arguments.into_iter().find_map(|(name, value)| {
            let alone = JsonObject::from_iter([(name.clone(), value)]);
            let error = serde_json::from_value::<T>(Value::Object(alone)).err()?;
            Some(format!("the argument `{name}`: {error}"))
        });
        Failure::usage(&wrong.unwrap_or_else(|| format!("the arguments: {error}")), None)
    })
}

impl Server {
    /// Calls a tool.
    pub(super) async fn call(
        &self,
        tool: Tool,
        mut call: CallToolRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Result<Answer, Stop> {
        let arguments = call.arguments.take().unwrap_or_default();
        match tool {
            Tool::Reserve => {
                let mut request: Reserve = read(arguments)?;
                self.place(&mut request.directory, &call, context).await?;
                self.reserve(request, context).await
            }
            Tool::Release => {
                let mut request: ReleaseAny = read(arguments)?;
                self.place(&mut request.directory, &call, context).await?;
                let (here, request) = request.read()?;
                let dry_run = request.dry_run;
                let told = self.verbs.write(here, move |engine| engine.release(&request)).await?;
                Ok(Answer::released(&told.answer, dry_run, &told.notes))
            }
            Tool::Find => {
                let mut request: Find = read(arguments)?;
                if request.is_of_a_directory() {
                    self.place(&mut request.directory, &call, context).await?;
                }
                self.find(request).await
            }
            Tool::List => {
                let filter = read::<List>(arguments)?.read()?;
                let listed =
                    self.verbs.read(Here::default(), move |engine| engine.list(&filter)).await?;
                Ok(Answer::listed(&listed.answer, &listed.notes))
            }
            Tool::Cleanup => {
                let request: Cleanup = read(arguments)?;
                let dry_run = request.dry_run;
                let request = request.into();
                let told = self
                    .verbs
                    .write(Here::default(), move |engine| engine.cleanup(&request))
                    .await?;
                Ok(Answer::released(&told.answer, dry_run, &told.notes))
            }
            Tool::Explain => {
                let mut request: Explain = read(arguments)?;
                if request.port.is_none() {
                    self.place(&mut request.directory, &call, context).await?;
                }
                self.explain(request).await
            }
        }
    }

    async fn reserve(
        &self,
        mut request: Reserve,
        context: &RequestContext<RoleServer>,
    ) -> Result<Answer, Stop> {
        if request.lease == Some(Lease::Ephemeral) {
            // It lasts as long as the agent that asks.
            request.pid = request.pid.or(Some(self.client.process));
        }
        let (here, mut request) = request.read()?;
        request.parent = self.client.process;
        request.task = request.task.or_else(|| self.client.task.clone());
        request.agent = request.agent.or_else(|| self.client.agent.clone()).or_else(|| {
            // Of a name that is no label nothing is made.
            context.client_info().and_then(|client| client.name.parse::<Label>().ok())
        });
        let dry_run = request.dry_run;
        let Told { answer, notes } = self.verbs.reserve(here, request).await?;
        Ok(Answer::reserved(&answer, dry_run, &notes))
    }

    async fn find(&self, request: Find) -> Result<Answer, Stop> {
        let port = request.port;
        let (here, filter) = request.read()?;
        let directory = here.directory.clone();
        let found = self.verbs.read(here, move |engine| {
            let mut listed = engine.list(&filter)?;
            if let Some(directory) = directory {
                let directory = directory.canonicalize().unwrap_or(directory);
                // Those that a service of this place has, wherever it was reserved first.
                let ports: Vec<_> =
                    engine.services()?.into_iter().filter_map(|(_, port)| port).collect();
                listed.retain(|Listed { observed, .. }| {
                    let reservation = &observed.reservation;
                    ports.contains(&reservation.port)
                        || reservation.directory.starts_with(&directory)
                });
            }
            let Some(port) = port else { return Ok((listed, None)) };
            listed.retain(|it| it.observed.reservation.port == port);
            let stranger = match listed.is_empty() && is_unreserved(engine, port)? {
                true => stranger(engine, port)?,
                false => None,
            };
            Ok((listed, stranger))
        });
        let Told { answer: (listed, stranger), notes } = found.await?;
        Ok(stranger.map_or_else(|| Answer::listed(&listed, &notes), |found| strangers(&found)))
    }

    async fn explain(&self, request: Explain) -> Result<Answer, Stop> {
        let Explain { port, directory, service, scope } = request;
        let dry = ReserveRequest { dry_run: true, explain: true, ..ReserveRequest::default() };
        let (here, request) = match (port, directory) {
            (Some(_), Some(_)) => {
                return Err(Failure::usage(
                    "`port` says what is explained, and so does `directory`",
                    Some(r#"{"port": 20000}"#),
                )
                .into());
            }
            (Some(port), None) => {
                let found =
                    self.verbs.read(Here::default(), move |engine| engine.show_port(port)).await?;
                let reservation = found.answer.observed.reservation;
                let mut here = Here::at(reservation.directory);
                here.overrides.project = reservation
                    .project
                    .map(|value| Set { value, origin: Origin::Request("project") });
                let services = vec![reservation.service];
                (here, ReserveRequest { services, scope: Some(reservation.scope), ..dry })
            }
            (None, directory) => {
                let here = Here { directory, ..Here::default() };
                let services = vec![service.unwrap_or_default()];
                (here, ReserveRequest { services, scope, ..dry })
            }
        };
        let Told { answer, notes } = self.verbs.reserve(here, request).await?;
        Ok(Answer::reserved(&answer, true, &notes))
    }
}

fn is_unreserved(engine: &Engine<'_>, port: Port) -> Result<bool, Error> {
    let reservations = engine.reservations()?;
    Ok(reservations.iter().all(|reservation| reservation.port != port))
}

/// Who listens on a port that is not reserved.
fn stranger(engine: &Engine<'_>, port: Port) -> Result<Option<Shown>, Error> {
    match engine.assert(&Named::Port(port), None, Assertion::Listening) {
        Ok(shown) => Ok(Some(shown)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn strangers(shown: &Shown) -> Answer {
    let (port, holder) = (shown.port, shown.holder.as_ref());
    let processes = document::processes(port, holder, None);
    let containers = document::publishers(port, holder, None);
    let process = holder.and_then(|holder| holder.processes.first());
    let who = match (holder.and_then(|holder| holder.containers.first()), process) {
        (Some(container), _) => format!("container `{}`", container.name),
        (None, Some(process)) => format!("process {} `{}`", process.pid, process.command),
        (None, None) => "a process that cannot be seen from here".to_owned(),
    };
    let line = format!("port {port} is not reserved, and {who} listens on it");
    Answer::strangers(processes, containers, &line)
}

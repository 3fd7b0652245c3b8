//! Tools for agents: an MCP server on stdin and stdout (<https://modelcontextprotocol.io>).
//!
//! ```text
//! tools      what each tool is called with, what it does and what it answers
//! answer     documents for programs, lines for people and models, errors that models read
//! directory  the directory that a call works for
//! stdio      what the client says, read on a thread of its own
//! ```

mod answer;
mod directory;
mod stdio;
mod tools;

use std::future;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use hythe_document::Failure;
use hythe_engine::Label;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, Implementation, InputRequiredResult, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig,
};
use rmcp::service::{RequestContext, RoleServer, ServerInitializeError};
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::{ErrorData, ServerHandler, ServiceExt, model};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use self::tools::Tool;
use crate::verbs::{self, Verbs};

/// The most that a client may say at once, in bytes. A longer line is passed over.
const LONGEST: usize = 1024 * 1024;

/// How long a verb that has begun is waited for when the client has gone: a lock, plugins and hooks
/// have bounds of their own below it, unless they are set higher.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a model is told about the tools as a whole.
const INSTRUCTIONS: &str = "Hythe reserves TCP ports. The same directory and service always get the same \
     port, and nobody else gets it. Before you start a server, call `reserve` with the `directory` you \
     work in (an absolute path) and the name of the service, and start the server on the port that you \
     get; never pick a port yourself. Another checkout or worktree has other ports. `find` tells a port \
     without reserving one, `explain` says why it is that one. Ports are kept when servers stop: call \
     `release` only for what nobody needs any more.";

/// For whom a server works, as far as calls do not say it.
#[derive(Debug, Clone, Default)]
pub struct Client {
    /// The directory.
    pub directory: Option<PathBuf>,
    /// The task.
    pub task: Option<Label>,
    /// The agent; what the client calls itself when there is none.
    pub agent: Option<Label>,
    /// The process that started the server: it owns what lasts as long as the agent does.
    pub process: u32,
}

/// Serves one client on stdin and stdout until stdin ends, or a signal says so. What has begun by then
/// is carried through.
///
/// # Errors
///
/// When the system refuses what a server needs, or the client does not speak MCP.
pub fn run(verbs: Verbs, client: Client) -> Result<(), Failure> {
    // One thread more than verbs can take is for stdout.
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(verbs::THREADS + 1)
        .enable_all()
        .build()
        .map_err(|error| refused(&error))?;
    let outcome = runtime.block_on(serve(verbs, client));
    runtime.shutdown_timeout(PATIENCE);
    outcome
}

/// Serves one client on stdin and stdout. When it returns, verbs may still be running.
///
/// # Errors
///
/// As [`run`].
pub async fn serve(verbs: Verbs, client: Client) -> Result<(), Failure> {
    let mut stopped = pin!(stopped().map_err(|error| refused(&error))?);
    let (stdin, ended) = stdio::stdin().map_err(|error| refused(&error))?;
    let tools = tools::described().map_err(|error| Failure::unexpected(error.to_string()))?;
    let server = Server { verbs, client, tools, ended };
    let transport =
        AsyncRwTransport::new_server(stdin, tokio::io::stdout()).with_max_line_length(LONGEST);
    let begun = tokio::select! {
        begun = server.serve(transport) => begun,
        () = &mut stopped => return Ok(()),
    };
    let running = match begun {
        Ok(running) => running,
        Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(ServerInitializeError::ExpectedInitializeRequest(_)) => {
            return Err(speechless("its first message is not a request"));
        }
        Err(error) => return Err(speechless(&error.to_string())),
    };
    let token = running.cancellation_token();
    let mut waiting = pin!(running.waiting());
    let quit = tokio::select! {
        quit = &mut waiting => quit,
        () = stopped => {
            token.cancel();
            waiting.await
        }
    };
    quit.map(drop).map_err(|panic| Failure::unexpected(panic.to_string()))
}

/// Until somebody wants this process to end.
fn stopped() -> std::io::Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

fn refused(error: &std::io::Error) -> Failure {
    Failure::unexpected(format!("the MCP server cannot begin: {error}"))
}

fn speechless(why: &str) -> Failure {
    Failure::usage(
        &format!("the client does not begin as MCP says: {why}"),
        Some("hythe mcp settings AGENT prints what makes an agent start it"),
    )
}

struct Server {
    verbs: Verbs,
    client: Client,
    tools: Vec<model::Tool>,
    /// Whether the client has said all it had to say.
    ended: watch::Receiver<bool>,
}

/// Why a call has no answer.
enum Stop {
    /// It failed.
    Failed(Failure),
    /// The client has to say something more first.
    Ask(InputRequiredResult),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Server {
    /// Sees to it that there is a directory to work for.
    async fn place(
        &self,
        directory: &mut Option<PathBuf>,
        call: &CallToolRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Result<(), Stop> {
        if directory.is_none() {
            *directory = Some(match &self.client.directory {
                Some(directory) => directory.clone(),
                None => {
                    let responses = call.input_responses.as_ref();
                    directory::only_root(context, responses, self.ended.clone()).await?
                }
            });
        }
        Ok(())
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let name = Implementation::new("hythe", env!("CARGO_PKG_VERSION")).with_title("Hythe");
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(name)
            .with_instructions(INSTRUCTIONS)
    }

    fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> impl Future<Output = Result<ListToolsResult, ErrorData>> + Send + '_ {
        future::ready(Ok(ListToolsResult::with_all_items(self.tools.clone())))
    }

    async fn call_tool(
        &self,
        call: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(tool) = Tool::named(&call.name) else {
            return Err(ErrorData::invalid_params(format!("unknown tool: {}", call.name), None));
        };
        tokio::select! {
            answer = self.call(tool, call, &context) => Ok(match answer {
                Ok(answer) => CallToolResponse::Complete(answer.into()),
                Err(Stop::Failed(failure)) => answer::failed(&failure).into(),
                Err(Stop::Ask(question)) => question.into(),
            }),
            // Nobody is told. What has not begun does not begin.
            () = context.ct.cancelled() => Err(ErrorData::internal_error("cancelled", None)),
        }
    }
}

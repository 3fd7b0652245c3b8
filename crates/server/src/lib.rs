//! Hythe for programs and agents: an HTTP API with a dashboard, and an MCP server. Both are thin faces
//! over the verbs of the engine, and answer with the documents of `hythe-document`.
//!
//! ```text
//! http        listeners, who may ask, routes
//!   ├ v1            the API, and its OpenAPI document
//!   ├ port_daddy    the paths of Port Daddy 1, for its clients
//!   ├ guard         which hosts, origins, media types and tokens are let in
//!   └ dashboard     the page at `/`
//! daemon      the server as a service of the user's: what a service manager is told, whether it answers
//! mcp         tools for agents, over stdin and stdout
//! request     what may be asked for, in JSON, and what that means to the engine
//! verbs       the engine's verbs for callers that are many and do not wait for each other
//! ```

pub mod daemon;
mod http;
pub mod mcp;
pub mod request;
mod verbs;

pub use http::{Listen, Presence, Settings, Token, may_listen, serve};
pub use verbs::{Here, Told, Verbs};

//! The end-to-end tests: the real binary, real files, real sockets, real processes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::explicit_write,
    missing_docs,
    reason = "a test ends where something goes wrong, and is a world of its own"
)]

#[path = "support/chance.rs"]
mod chance;
mod commands;
#[path = "support/component.rs"]
mod component;
mod configuration;
mod daemon;
mod documents;
mod faults;
mod hostile;
mod keys;
mod listener;
mod openapi;
mod plugins;
mod port_daddy;
mod recipes;
mod reserve;
mod schema;
mod server;
mod serving;
mod shims;
mod support;

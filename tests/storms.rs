//! Crowds, kills and broken machines. `HYTHE_TEST_SCALE` makes them larger; 1 is what CI runs.

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
mod crowd;
mod damage;
mod kill;
mod machine;
mod rig;
mod runs;
mod serving;
mod support;
mod swarm;

//! Hythe's engine: TCP ports that are stable for a directory and service, free when they are given,
//! and nobody else's.
//!
//! **Plugins propose, the engine disposes.** What identifies a reservation, which port it gets and
//! when it may be released is decided by policies, WebAssembly components in a sandbox without a
//! single import. Storage, locking, probing, invariants and events are the engine's.
//!
//! This library prints nothing, reads no environment variable and never ends the process: whoever
//! uses it passes in where things are ([`Home`]), what the machine is ([`System`], really [`Host`])
//! and where notices go.
//!
//! ```text
//! engine     the verbs, and the only place that orders effects: open, observe, plan, apply
//!   ├ config      layers of files and flags → settings, each with where it was set
//!   ├ wasm        the plugin host; wasmtime stays inside
//!   ├ bundled     the default plugins
//!   ├ scaffold    pure: the files that a new plugin begins with
//!   ├ conformance pure: what every policy must do, and an author's own cases
//!   ├ simulation  pure: a workload played through a strategy
//!   ├ system      the world: git, probe, process behind one trait
//!   ├ lock        one writer at a time
//!   ├ ledger      reservations, released ports and events; SQLite stays inside
//!   └ plan        pure: what was observed + what policies answer → what to do
//!       placement   pure: what may be given, and in which order it is tried
//!       policy      the three decisions that belong to plugins, as traits
//! observed, event, reservation, place, time, port      the words of the domain
//! invocation      pure: the command line and the variables of a command that is given ports
//! shell           words for a shell, in what is printed to be pasted
//! ```
//!
//! What a user finds on disk, and the code that owns it:
//!
//! | on disk | module |
//! |---|---|
//! | `$XDG_CONFIG_HOME/hythe/config.toml`, `hythe.toml`, `hythe.local.toml` | [`config`] |
//! | `$XDG_STATE_HOME/hythe/ledger.db` | `ledger` |
//! | `$XDG_STATE_HOME/hythe/ledger.lock` | `lock` |
//! | `$XDG_STATE_HOME/hythe/config.lock` | `engine/configure`, by `lock` |
//! | `$XDG_CACHE_HOME/hythe/*.cwasm` | `wasm/cache` |

mod bundled;
pub mod config;
mod conformance;
mod engine;
mod event;
mod git;
pub mod invocation;
mod ledger;
mod lock;
mod observed;
mod place;
mod placement;
mod plan;
mod policy;
mod port;
mod probe;
mod process;
mod reservation;
mod scaffold;
pub mod shell;
mod simulation;
mod system;
mod time;
mod wasm;

pub use conformance::cases::{CaseResult, CasesError};
pub use conformance::{Check, CheckOutcome, Suite};
pub use engine::{
    AddRequest, BenchReport, CheckReport, Checked, CleanupRequest, Configured, Cost, Declared,
    Engine, Error, ErrorKind, ExcludeRequest, Explanation, FoundPlugin, Heed, Held, Home,
    Inspection, ListFilter, Listed, Notice, Outcome, PluginFacts, PolicyCall, PortMap, PortState,
    Proposed, ReleaseRequest, RemoveRequest, ReserveRequest, Reserved, Simulated, Subject, Target,
    TestReport, TestRequest, TypicalCall, Which,
};
pub use event::{Change, Event, EventKind};
pub use ledger::{EventFilter, Ledger, LedgerError, LedgerProblem};
pub use observed::{
    Holder, Holders, Listening, Liveness, Observed, Parent, Presence, Probe, Process,
};
pub use place::{Checkout, CheckoutKind, Place};
pub use placement::{Refusal, Skipped, Wish};
pub use port::{Port, PortError, PortRange, PortSet, browser_blocked};
pub use reservation::{
    Key, Label, Lease, NameError, Owner, Provenance, Realm, Reservation, Scope, Service,
};
pub use scaffold::{Language, ScaffoldError};
pub use simulation::{
    Keys, Occupancy, Proposals, RangeUse, Refused, Released, Report, Skips, Workload, WorkloadError,
};
pub use system::{Hold, Host, System};
pub use time::Timestamp;
pub use wasm::{Description, EncodeError, Interface, Survey, Usage, encode};

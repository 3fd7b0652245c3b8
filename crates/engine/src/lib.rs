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
//!   ├ import      what other tools keep, and their settings, in Hythe's words
//!   ├ export      pure: the ledger as one document, and back
//!   ├ scaffold    pure: the files that a new plugin begins with
//!   ├ conformance pure: what every policy must do, and an author's own cases
//!   ├ simulation  pure: a workload played through a strategy
//!   ├ system      the world: git, probe, process, container behind one trait
//!   ├ hook        a command that is told of events
//!   ├ lock        one writer at a time
//!   ├ ledger      reservations, released ports and events; SQLite stays inside
//!   └ plan        pure: what was observed + what policies answer → what to do
//!       placement   pure: what may be given, and in which order it is tried
//!       policy      the three decisions that belong to plugins, as traits
//! observed, event, reservation, place, time, port      the words of the domain
//! variable        environment variables: names, values with placeholders, how they are written
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
mod container;
mod engine;
mod event;
mod export;
mod git;
mod hook;
mod import;
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
mod variable;
mod wasm;

pub use conformance::cases::{CaseResult, CasesError};
pub use conformance::{Check, CheckOutcome, Suite};
pub use engine::{
    AddRequest, AdoptRequest, Adopted, Assertion, Begun, BenchReport, CheckReport, Checked,
    CleanupRequest, Configured, Contents, Cost, Declared, DoctorRequest, Engine, Environment,
    EnvironmentRequest, Error, ErrorKind, ExcludeRequest, Explanation, Fate, Finding, Found,
    FoundPlugin, Heed, Held, Home, ImportNote, ImportReport, ImportRequest, ImportedEntry,
    InitRequest, Inspection, ListFilter, Listed, Named, Notice, Outcome, PluginFacts, Plugins,
    PolicyCall, PortMap, PortState, ProjectUse, Proposed, ReleaseRequest, RelocateRequest,
    Relocated, RemoveRequest, ReserveRequest, Reserved, ScanRequest, SetRequest, Shown, Simulated,
    Status, Subject, Target, TestReport, TestRequest, TypicalCall, Until, WaitRequest, Waited,
    Watcher, Which, compact,
};
pub use event::{Change, Event, EventKind};
pub use import::{ImportError, ImportProblem, Tool, Translation};
pub use ledger::{EventFilter, Ledger, LedgerError, LedgerProblem};
pub use observed::{
    Because, Container, Containers, Holder, Holders, Listening, Liveness, Observed, Ownership,
    Parent, Presence, Probe, Process, Verdict,
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
pub use variable::{Format, Variable, VariableName};
pub use wasm::{Description, EncodeError, Interface, Survey, Usage, encode};

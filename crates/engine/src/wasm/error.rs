//! Why a plugin cannot be used.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A plugin that cannot be loaded, and which one it is.
#[derive(Debug, thiserror::Error)]
#[error("plugin `{name}` cannot be used: {problem}")]
pub struct PluginError {
    /// The name the configuration gives it.
    pub name: String,
    /// What selected or declared it: a file and line, or `built-in`.
    pub selected_by: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a plugin.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Its file cannot be read.
    #[error("{}: {error}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Its file is larger than the limit, in bytes.
    #[error("it is {size} bytes large, more than the {limit} that are allowed")]
    TooLarge {
        /// The size of the file.
        size: u64,
        /// The limit in force.
        limit: u64,
    },
    /// Its bytes are not those that the configuration pins.
    #[error("its digest is {found}, but the configuration pins {pinned}")]
    Digest {
        /// The file.
        path: PathBuf,
        /// The SHA-256 of the file, in hexadecimal.
        found: String,
        /// The SHA-256 that the configuration pins.
        pinned: String,
    },
    /// It is a core module, not a component.
    #[error("it is a WebAssembly core module, not a component")]
    CoreModule,
    /// It is no WebAssembly at all, or damaged.
    #[error("it is not a valid WebAssembly component: {0}")]
    Invalid(String),
    /// It imports something. A policy gets everything as an argument.
    #[error("it imports `{0}`, but a policy may import nothing")]
    Import(String),
    /// It exports an interface of the contract in a version that this host does not speak.
    #[error("it exports `{found}`, but this hythe speaks `{expected}`")]
    Version {
        /// What the plugin exports.
        found: String,
        /// What this host speaks.
        expected: &'static str,
        /// Whether the plugin's version is the newer one.
        newer: bool,
    },
    /// It does not export the interface it is selected for.
    #[error("it does not export `{0}`")]
    MissingExport(&'static str),
    /// One of its functions has other types than the contract: which, and how they differ.
    #[error("it does not have the types of the contract: {0}")]
    Types(String),
    /// It exports no policy at all.
    #[error("it exports no policy")]
    NoPolicy,
    /// It answers the same question differently.
    #[error("two calls of its function `{0}` with the same arguments got different answers")]
    Impure(&'static str),
    /// Compiling it would take too much.
    #[error("it is too complex to be compiled: {0}")]
    TooComplex(String),
    /// The compiler was not done with it in time.
    #[error("it was not compiled within {}", humantime::format_duration(*.0))]
    TooSlow(Duration),
    /// It could not say what it is.
    #[error("it could not be asked what it is: {0}")]
    Description(String),
    /// The schema of its options cannot be used.
    #[error("the schema of its options cannot be used: {0}")]
    Schema(String),
    /// It is neither bundled nor declared.
    #[error("no plugin has this name")]
    Unknown,
    /// The host itself failed.
    #[error("the WebAssembly host failed: {0}")]
    Host(String),
}

//! Why a plugin cannot be used.

use std::io;
use std::path::PathBuf;

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
    },
    /// It does not export the interface it is selected for.
    #[error("it does not export `{0}`")]
    MissingExport(&'static str),
    /// Compiling it takes too long, or too much.
    #[error("it cannot be compiled within the limits: {0}")]
    TooComplex(String),
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

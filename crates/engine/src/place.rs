//! Where a request comes from: a directory and, where there is one, the git checkout around it.

use std::path::{Path, PathBuf};

/// A directory, and the git checkout that contains it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The directory itself, absolute, with every symbolic link resolved.
    pub directory: PathBuf,
    /// The checkout that contains it; `None` outside git.
    pub checkout: Option<Checkout>,
}

impl Place {
    /// What a `directory`-scoped reservation belongs to: the root of the checkout, so that every
    /// directory below it means the same, or the directory itself where there is no checkout.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.checkout.as_ref().map_or(&self.directory, |checkout| &checkout.root)
    }
}

/// What git keeps in files about a working tree (gitrepository-layout(5), git-worktree(1)).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Checkout {
    /// The top of the working tree, or the repository itself when it is bare.
    pub root: PathBuf,
    /// How the working tree hangs on its repository.
    pub kind: CheckoutKind,
    /// The repository's own directory, shared by its worktrees (`$GIT_COMMON_DIR`): `…/.git`, or
    /// the bare repository. `None` when it is damaged, or a damaged link does not lead there.
    pub repository: Option<PathBuf>,
    /// The name of the repository: the directory that holds `.git`, or the bare repository's name
    /// without `.git`. `None` when it is unknown or not UTF-8.
    pub name: Option<String>,
    /// The branch that is checked out, without `refs/heads/`; `None` when the head is detached,
    /// damaged or not UTF-8.
    pub branch: Option<String>,
}

/// How a working tree hangs on its repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CheckoutKind {
    /// The repository's main working tree.
    Main,
    /// A working tree made by `git worktree add`.
    Linked,
    /// A submodule of another checkout.
    Submodule,
    /// A bare repository, which has no working tree.
    Bare,
}

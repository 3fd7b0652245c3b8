//! Configuration: layers of files, flags and variables, and what they come to for a directory.
//!
//! The strongest layer that says something wins, value by value:
//!
//! | layer | whose word |
//! |---|---|
//! | flags, then `HYTHE_*` variables ([`Overrides`]) | the user's |
//! | `hythe.local.toml` | the project's |
//! | `hythe.toml` | the project's |
//! | `[[directory]]` rules of the user's file that match, the last one first | the user's |
//! | the rest of the user's file | the user's |
//! | built-in | |
//!
//! Lists of ports (`ports.exclude`, `ports.allow`) add up instead, plugin options are taken option
//! by option, and a plugin's `path` and `sha256` belong together. Every value remembers where it
//! was set ([`Set`], [`Origin`]), because that decides whose word it is ([`Authority`]): a
//! project's files can narrow what the user allows and never widen it.
//!
//! Files become layers (`file`), layers become [`Settings`]; `authority` checks them on the way.

mod authority;
mod block;
mod choice;
mod digest;
pub mod edit;
mod entries;
mod error;
mod file;
mod hook;
mod origin;
mod rule;
mod setting;
mod settings;
mod source;
mod table;
pub mod template;
#[cfg(test)]
mod tests;
mod value;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::block::Member;
pub use self::choice::{Choice, ChoiceError};
pub use self::digest::{Digest, DigestError};
pub use self::edit::{EditError, Edited};
pub(crate) use self::entries::key;
pub use self::entries::{Entry, quoted};
pub use self::error::{ConfigError, Location, similar};
pub use self::hook::Hook;
pub use self::origin::{Authority, ConfigFile, Origin, Position, Role, Set};
pub use self::rule::RuleSet;
pub use self::setting::{Setting, SettingError};
pub use self::settings::{
    BUNDLED, Declaration, Limits, OnConflict, Overrides, PluginSettings, Ports, ServiceSettings,
    Settings, Strategy,
};
pub use self::value::option_value;

use self::file::{File, Layer};
use self::source::Source;
use crate::place::Place;

/// The name of a project's file.
pub const PROJECT_FILE: &str = "hythe.toml";

/// The name of the untracked file beside it.
pub const LOCAL_FILE: &str = "hythe.local.toml";

/// Where the user's configuration is. Every path is absolute.
#[derive(Debug, Clone, Default)]
pub struct ConfigFiles {
    /// The user's file; `None` when there is no place for one.
    pub user: Option<PathBuf>,
    /// Whether the user named it, so that it must exist.
    pub user_required: bool,
    /// The home directory, for `~/` in patterns and paths.
    pub home: Option<PathBuf>,
}

/// The configuration as it is for one place.
#[derive(Debug)]
pub struct Config {
    settings: Settings,
    user: File,
    overrides: Layer,
    files: Vec<Candidate>,
    home: Option<PathBuf>,
}

/// A file that is read if it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which file.
    pub file: Arc<ConfigFile>,
    /// Whether it is there.
    pub exists: bool,
}

/// Another text of a configuration file than it has.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The file.
    pub path: PathBuf,
    /// What it is to say.
    pub text: String,
}

impl Config {
    /// Reads and checks the configuration for `place`.
    ///
    /// The project's files are the nearest [`PROJECT_FILE`] or [`LOCAL_FILE`] from the directory
    /// upward, up to the root of its checkout or, outside git, to `/`.
    pub fn load(
        files: &ConfigFiles,
        place: &Place,
        overrides: Overrides,
    ) -> Result<Self, ConfigError> {
        Self::read(files, place, overrides.into(), None)
    }

    /// The configuration for another place, under the same flags and variables.
    pub fn elsewhere(&self, files: &ConfigFiles, place: &Place) -> Result<Self, ConfigError> {
        Self::read(files, place, self.overrides.clone(), None)
    }

    /// Checks the configuration of `place` as it would be with another text of one of its files.
    pub fn check_draft(
        files: &ConfigFiles,
        place: &Place,
        draft: &Draft,
    ) -> Result<(), ConfigError> {
        Self::read(files, place, Layer::default(), Some(draft)).map(drop)
    }

    fn read(
        files: &ConfigFiles,
        place: &Place,
        overrides: Layer,
        draft: Option<&Draft>,
    ) -> Result<Self, ConfigError> {
        let home = files.home.as_deref();
        let mut found = Vec::new();
        let mut read = |path: &Path, role: Role| {
            let source = match draft.filter(|draft| draft.path == path) {
                Some(draft) => Some(Source::of(path, role, draft.text.clone())),
                None => Source::read(path, role, role == Role::User && files.user_required)?,
            };
            let file = ConfigFile { path: path.to_owned(), role };
            found.push(Candidate { file: Arc::new(file), exists: source.is_some() });
            source.map(|source| File::read(&source, home)).transpose()
        };

        let user = match &files.user {
            Some(path) => read(path, Role::User)?.unwrap_or_default(),
            None => File::default(),
        };
        authority::check_user(&user)?;
        let rules = RuleSet::of(&user.rules, place.root());
        let mut settings = user.settings(&rules);

        let directory = project_directory(place);
        let nearest = directory.unwrap_or(place.root());
        let project = read(&nearest.join(PROJECT_FILE), Role::Project)?.unwrap_or_default();
        let local = read(&nearest.join(LOCAL_FILE), Role::Local)?.unwrap_or_default();
        let users: Vec<_> = std::iter::once(&user.layer).chain(rules.layers(&user.rules)).collect();
        authority::check_project(&[&project.layer, &local.layer], &settings)?;
        let layers = users.into_iter().chain([&project.layer, &local.layer, &overrides]);
        authority::check_plugins(&layers.collect::<Vec<_>>())?;

        for layer in [&project.layer, &local.layer, &overrides] {
            settings.apply(layer);
        }
        settings.check_blocks()?;
        settings.project_directory = directory.map(Path::to_owned);
        Ok(Self { settings, user, overrides, files: found, home: files.home.clone() })
    }

    /// What holds where no file says anything.
    #[must_use]
    pub fn built_in(files: &ConfigFiles) -> Self {
        Self {
            settings: Settings::built_in(),
            user: File::default(),
            overrides: Layer::default(),
            files: Vec::new(),
            home: files.home.clone(),
        }
    }

    /// What is wrong with the files for `place`: the first fault of each, or else of all together.
    #[must_use]
    pub fn faults(files: &ConfigFiles, place: &Place) -> Vec<ConfigError> {
        let home = files.home.as_deref();
        let nearest = project_directory(place).unwrap_or(place.root());
        let project = [(PROJECT_FILE, Role::Project), (LOCAL_FILE, Role::Local)];
        let project = project.map(|(name, role)| (nearest.join(name), role));
        let user = files.user.iter().map(|path| (path.clone(), Role::User));
        let fault = |(path, role): (PathBuf, Role)| {
            let named = role == Role::User && files.user_required;
            let source = Source::read(&path, role, named);
            source
                .and_then(|source| source.map_or(Ok(()), |it| File::read(&it, home).map(drop)))
                .err()
        };
        let faults: Vec<_> = user.chain(project).filter_map(fault).collect();
        if faults.is_empty() {
            return Self::load(files, place, Overrides::default()).err().into_iter().collect();
        }
        faults
    }

    /// What holds for the place.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The rules of the user's file that match another `directory`, which is absolute with its
    /// symbolic links resolved. Directories can be grouped by it.
    #[must_use]
    pub fn rules(&self, directory: &Path) -> RuleSet {
        RuleSet::of(&self.user.rules, directory)
    }

    /// What the user's file alone says about the directories with these [`Config::rules`].
    #[must_use]
    pub fn user_settings(&self, rules: &RuleSet) -> Settings {
        self.user.settings(rules)
    }

    /// The home directory; `None` when there is none.
    #[must_use]
    pub fn home(&self) -> Option<&Path> {
        self.home.as_deref()
    }

    /// The files that this configuration comes from or could come from, the weakest first.
    #[must_use]
    pub fn files(&self) -> &[Candidate] {
        &self.files
    }
}

impl File {
    /// What this file, the user's, says about the directories with these rules.
    fn settings(&self, rules: &RuleSet) -> Settings {
        let mut settings = Settings::built_in();
        settings.apply(&self.layer);
        for layer in rules.layers(&self.rules) {
            settings.apply(layer);
        }
        settings
    }
}

/// The nearest directory that holds a file of a project.
fn project_directory(place: &Place) -> Option<&Path> {
    let inside = |directory: &&Path| match &place.checkout {
        Some(checkout) => directory.starts_with(&checkout.root),
        None => true,
    };
    place.directory.ancestors().take_while(inside).find(|directory| {
        [PROJECT_FILE, LOCAL_FILE].into_iter().any(|name| source::exists(&directory.join(name)))
    })
}

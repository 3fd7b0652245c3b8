//! `[[directory]]` rules: what the user's file says about the directories that match a pattern.

use std::fs;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::error::Fault;
use super::file::Layer;
use super::value::shown;

/// A pattern and what holds where it matches.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) pattern: Pattern,
    pub(super) layer: Layer,
}

/// The rules that match a directory. Directories with the same rules have the same settings.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct RuleSet(Vec<usize>);

impl RuleSet {
    /// The rules that match `directory`, in the order of the file.
    pub(super) fn of(rules: &[Rule], directory: &Path) -> Self {
        let matching = rules.iter().enumerate().filter(|(_, rule)| rule.pattern.matches(directory));
        Self(matching.map(|(index, _)| index).collect())
    }

    /// What the rules say, the weakest first.
    pub(super) fn layers<'a>(&self, rules: &'a [Rule]) -> impl Iterator<Item = &'a Layer> {
        self.0.iter().filter_map(|index| rules.get(*index)).map(|rule| &rule.layer)
    }
}

/// A pattern for directories.
///
/// `~/` begins the home directory, everything else that is relative begins where the file is. `*`
/// and `?` match within a name, names that begin with a dot included, `**` matches any number of
/// names, `[ab]` and `{a,b}` choose. A pattern that ends in `/**` matches the directory itself as
/// well.
#[derive(Debug)]
pub(super) struct Pattern {
    /// The names before the first that is a glob, with symbolic links resolved, as they are in the
    /// directories to be matched. Being a path, it can hold what a pattern, being text, cannot.
    base: PathBuf,
    /// What must match the rest of the directory; `None` when nothing needs to.
    glob: Option<GlobSet>,
    /// Whether everything below matches as well.
    below: bool,
}

impl Pattern {
    /// The longest pattern in bytes, `PATH_MAX` of Linux.
    const MAX_LEN: usize = 4096;

    /// Reads a pattern that a file in `directory` says.
    pub(super) fn new(text: &str, directory: &Path, home: Option<&Path>) -> Result<Self, Fault> {
        if text.is_empty() || text.len() > Self::MAX_LEN {
            return Err(Fault::new("a pattern is 1 to 4096 bytes long"));
        }
        let (anchor, names) = anchor(text, directory, home)?;
        let mut names: Vec<_> =
            names.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
        if names.contains(&"..") {
            return Err(Fault::new("a pattern cannot contain `..`"));
        }
        let below = names.last() == Some(&"**");
        while names.last() == Some(&"**") {
            names.pop();
        }
        let literal =
            names.iter().take_while(|name| !name.contains(['*', '?', '[', ']', '{', '}', '\\']));
        let (literal, globs) = names.split_at(literal.count());
        let base = resolved(&literal.iter().fold(anchor.to_owned(), |path, name| path.join(name)));
        let glob = if globs.is_empty() { None } else { Some(compile(text, &globs.join("/"))?) };
        Ok(Self { base, glob, below })
    }

    /// Whether the pattern matches `directory`, whose symbolic links are resolved.
    pub(super) fn matches(&self, directory: &Path) -> bool {
        let Ok(rest) = directory.strip_prefix(&self.base) else {
            return false;
        };
        match &self.glob {
            None => self.below || rest.as_os_str().is_empty(),
            Some(glob) if self.below => {
                rest.ancestors().any(|rest| !rest.as_os_str().is_empty() && glob.is_match(rest))
            }
            Some(glob) => !rest.as_os_str().is_empty() && glob.is_match(rest),
        }
    }
}

/// Where `text` begins, and the names that follow.
pub(super) fn anchor<'a>(
    text: &'a str,
    directory: &'a Path,
    home: Option<&'a Path>,
) -> Result<(&'a Path, &'a str), Fault> {
    if text.starts_with('/') {
        return Ok((Path::new("/"), text));
    }
    let Some(rest) = text.strip_prefix('~') else {
        return Ok((directory, text));
    };
    if !rest.is_empty() && !rest.starts_with('/') {
        return Err(Fault::new(format_args!("`{}` names another user's home", shown(text)))
            .hint("only `~/`, your own home directory, is known"));
    }
    match home {
        Some(home) => Ok((home, rest)),
        None => Err(Fault::new("`~/` means nothing: there is no home directory")),
    }
}

/// Compiles a glob; `text` is the whole pattern, for the message.
fn compile(text: &str, glob: &str) -> Result<GlobSet, Fault> {
    GlobBuilder::new(glob)
        .literal_separator(true)
        .build()
        .and_then(|glob| GlobSetBuilder::new().add(glob).build())
        .map_err(|error| {
            Fault::new(format_args!("`{}` is not a pattern: {}", shown(text), error.kind()))
        })
}

/// The path with its symbolic links resolved as far as it exists: a directory that is gone still
/// has reservations.
fn resolved(path: &Path) -> PathBuf {
    path.ancestors()
        .find_map(|known| Some(fs::canonicalize(known).ok()?.join(path.strip_prefix(known).ok()?)))
        .unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    fn matches(pattern: &str, directory: &str) -> bool {
        Pattern::new(pattern, "/etc/hythe".as_ref(), Some("/home/u".as_ref()))
            .unwrap()
            .matches(directory.as_ref())
    }

    #[test]
    fn patterns_match_whole_directories() {
        for (pattern, directory, expected) in [
            ("~/work/**", "/home/u/work", true),
            ("~/work/**", "/home/u/work/a/b", true),
            ("~/work/**", "/home/u/workshop", false),
            ("~/work/*", "/home/u/work/a", true),
            ("~/work/*", "/home/u/work", false),
            ("~/work/*", "/home/u/work/a/b", false),
            ("~/work/*/**", "/home/u/work", false),
            ("~/work/*/**", "/home/u/work/.a", true),
            ("~/work/*/**", "/home/u/work/a/b/c", true),
            ("~/work/**/api", "/home/u/work/api", true),
            ("~/work/**/api", "/home/u/work/a/b/api", true),
            ("~/work/**/api", "/home/u/work/a/b/apis", false),
            ("~/{work,play}/shop-?", "/home/u/play/shop-1", true),
            ("~/{work,play}/shop-?", "/home/u/play/shop-12", false),
            ("~/w[ao]rk", "/home/u/wark", true),
            ("~", "/home/u", true),
            ("~", "/home/u/work", false),
            ("~/work/", "/home/u/work", true),
            ("~/./work//x", "/home/u/work/x", true),
            ("/srv/shop", "/srv/shop", true),
            ("/**", "/", true),
            ("/**", "/anything/at/all", true),
            ("**", "/etc/hythe/projects", true),
            ("**", "/etc", false),
            ("projects/*", "/etc/hythe/projects/x", true),
            ("./projects/*", "/etc/projects/x", false),
        ] {
            assert_eq!(matches(pattern, directory), expected, "{pattern} {directory}");
        }
    }

    #[test]
    fn what_is_not_a_pattern_is_refused() {
        let long = "x".repeat(4097);
        for text in ["", "~/a/../b", "~bob/x", "~/[a", "~/a{b", "~/a}", &long] {
            let pattern = Pattern::new(text, "/etc".as_ref(), Some("/home/u".as_ref()));
            assert!(pattern.is_err(), "{text}");
        }
        assert!(Pattern::new("~/x", "/etc".as_ref(), None).is_err());
    }

    #[test]
    fn links_above_a_pattern_are_resolved_even_when_its_directory_is_gone() {
        let temporary = tempfile::tempdir().unwrap();
        let real = temporary.path().canonicalize().unwrap().join("real");
        fs::create_dir(&real).unwrap();
        let link = temporary.path().join("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let pattern = Pattern::new("~/gone/**", "/etc".as_ref(), Some(&link)).unwrap();
        assert!(pattern.matches(&real.join("gone/x")));
        assert!(!pattern.matches(&real.join("other")));
    }

    #[test]
    fn bytes_that_are_no_text_match() {
        let home = Path::new(OsStr::from_bytes(b"/home/\xff"));
        let directory = home.join(OsStr::from_bytes(b"work-\xfe"));
        for pattern in ["~/work-*", "~/work-?", "~/**", "/home/*/work-*"] {
            let pattern = Pattern::new(pattern, "/etc".as_ref(), Some(home)).unwrap();
            assert!(pattern.matches(&directory), "{pattern:?}");
        }
    }
}

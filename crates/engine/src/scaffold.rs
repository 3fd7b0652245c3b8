//! The files a new plugin begins with, in one of a few languages. Pure: nothing is written here.
//!
//! The templates lie in `scaffold/`, with the suffix `.in` where a tool would take them for files of
//! this repository. `{{name}}` in them stands for the plugin's name, `{{crate}}` for the same as a
//! Rust identifier.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A language that a plugin can be begun in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Rust, with bindings from wit-bindgen.
    Rust,
    /// C without a C library, with a header that spells the contract out.
    C,
    /// JavaScript, with an engine inside the component.
    Js,
}

impl Language {
    /// Every language.
    pub const ALL: [Self; 3] = [Self::Rust, Self::C, Self::Js];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::C => "c",
            Self::Js => "js",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Language {
    type Err = ScaffoldError;

    fn from_str(text: &str) -> Result<Self, ScaffoldError> {
        let known = Self::ALL.into_iter().find(|language| language.name() == text);
        known.ok_or_else(|| ScaffoldError::Language(text.to_owned()))
    }
}

/// Why there is no such plugin to begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScaffoldError {
    /// No plugin may have this name.
    #[error(
        "`{0}` is no name for a plugin: it needs 1 to {MAX_NAME} lower-case letters, digits and \
         `-`, a letter first"
    )]
    Name(String),
    /// There are no templates for this language.
    #[error("there is no scaffold in the language `{0}`: rust, c and js are known")]
    Language(String),
}

/// The most characters of a plugin's name.
const MAX_NAME: usize = 64;

/// A path inside the plugin's directory, and what the file at it says; either may hold placeholders.
type Template = (&'static str, &'static str);

/// What every plugin has, whatever its language.
const SHARED: [Template; 2] = [
    ("wit/policy.wit", include_str!("../../../wit/policy.wit")),
    ("cases.toml", include_str!("scaffold/cases.toml.in")),
];

const RUST: [Template; 5] = [
    ("Cargo.toml", include_str!("scaffold/rust/Cargo.toml.in")),
    (".cargo/config.toml", include_str!("scaffold/rust/config.toml.in")),
    ("src/lib.rs", include_str!("scaffold/rust/lib.rs.in")),
    ("README.md", include_str!("scaffold/rust/README.md.in")),
    (".gitignore", include_str!("scaffold/rust/gitignore.in")),
];

const C: [Template; 5] = [
    ("Makefile", include_str!("scaffold/c/Makefile.in")),
    ("hythe.h", include_str!("../../../examples/round-robin/hythe.h")),
    ("{{name}}.c", include_str!("scaffold/c/plugin.c.in")),
    ("README.md", include_str!("scaffold/c/README.md.in")),
    (".gitignore", include_str!("scaffold/c/gitignore.in")),
];

const JS: [Template; 7] = [
    ("package.json", include_str!("scaffold/js/package.json.in")),
    (".npmrc", include_str!("scaffold/js/npmrc.in")),
    ("build.mjs", include_str!("scaffold/js/build.mjs.in")),
    ("index.js", include_str!("scaffold/js/index.js.in")),
    ("wit/plugin.wit", include_str!("scaffold/js/plugin.wit.in")),
    ("README.md", include_str!("scaffold/js/README.md.in")),
    (".gitignore", include_str!("scaffold/js/gitignore.in")),
];

/// The files of a new selection policy called `name`: paths inside its directory, and contents.
///
/// Fails when `name` is not 1 to 64 lower-case letters, digits and `-`, a letter first.
pub fn files(name: &str, language: Language) -> Result<Vec<(PathBuf, String)>, ScaffoldError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    if !begins || name.len() > MAX_NAME || !name.bytes().all(plain) {
        return Err(ScaffoldError::Name(name.to_owned()));
    }
    let fill =
        |text: &str| text.replace("{{name}}", name).replace("{{crate}}", &name.replace('-', "_"));
    let templates: &[Template] = match language {
        Language::Rust => &RUST,
        Language::C => &C,
        Language::Js => &JS,
    };
    let all = SHARED.iter().chain(templates);
    Ok(all.map(|(path, text)| (PathBuf::from(fill(path)), fill(text))).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Component, Path};

    use super::*;

    fn text(files: &[(PathBuf, String)], path: &str) -> String {
        let found = files.iter().find(|(at, _)| at == Path::new(path));
        found.unwrap_or_else(|| panic!("no {path}")).1.clone()
    }

    #[test]
    fn every_placeholder_is_filled_in() {
        for language in Language::ALL {
            for (path, text) in files("by-team", language).unwrap() {
                let all = format!("{}\n{text}", path.display());
                assert!(!all.contains("{{name") && !all.contains("{{crate"), "{language}: {all}");
            }
        }
    }

    #[test]
    fn every_file_lies_inside_and_is_named_once() {
        for language in Language::ALL {
            let files = files("by-team", language).unwrap();
            let paths: BTreeSet<_> = files.iter().map(|(path, _)| path).collect();
            assert_eq!(paths.len(), files.len(), "{language}");
            for path in paths {
                let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
                assert!(inside, "{language}: {}", path.display());
            }
        }
    }

    #[test]
    fn every_language_has_the_contract_and_three_cases() {
        for language in Language::ALL {
            let files = files("by-team", language).unwrap();
            assert!(text(&files, "wit/policy.wit").contains("package hythe:policy@"), "{language}");
            assert_eq!(text(&files, "cases.toml").matches("[[case]]").count(), 3, "{language}");
            assert!(text(&files, "README.md").starts_with("# by-team\n"), "{language}");
        }
    }

    #[test]
    fn the_name_is_where_each_language_wants_it() {
        let rust = files("by-team", Language::Rust).unwrap();
        assert!(text(&rust, "Cargo.toml").contains("name = \"by-team\""));
        assert!(text(&rust, "README.md").contains("release/by_team.wasm -o by-team.wasm"));
        let c = files("by-team", Language::C).unwrap();
        assert!(text(&c, "by-team.c").contains("HYTHE_TEXT(\"by-team\")"));
        assert!(text(&c, "Makefile").contains("\nby-team.core.wasm: by-team.c hythe.h\n"));
        assert!(text(&c, "hythe.h").contains("cabi_realloc"));
        let js = files("by-team", Language::Js).unwrap();
        assert!(text(&js, "package.json").contains("\"name\": \"by-team\""));
        assert!(text(&js, "index.js").contains("name: 'by-team'"));
        assert!(text(&js, ".npmrc").contains("package-lock = false"));
    }

    #[test]
    fn a_name_is_a_name() {
        for good in ["a", "by-team", "v2", "a-1-", &"x".repeat(64)] {
            assert!(files(good, Language::C).is_ok(), "{good}");
        }
        for bad in ["", "-a", "2a", "By", "a_b", "a.b", "a/b", "..", "ä", "a b", &"x".repeat(65)] {
            let refused = files(bad, Language::C);
            assert_eq!(refused, Err(ScaffoldError::Name(bad.to_owned())));
        }
    }

    #[test]
    fn a_language_is_what_it_is_written_as() {
        for language in Language::ALL {
            assert_eq!(language.to_string().parse(), Ok(language));
        }
        for unknown in ["", "Rust", "javascript"] {
            let error = unknown.parse::<Language>().unwrap_err();
            assert_eq!(error, ScaffoldError::Language(unknown.to_owned()));
        }
    }
}

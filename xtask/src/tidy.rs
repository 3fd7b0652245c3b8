//! The rules of this repository that no compiler checks: which module may know which, names,
//! sizes, leftovers and the numbers of migrations.

mod rust;

use std::collections::BTreeSet;
use std::error::Error;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::Path;
use std::process::Command;

use rust::{Target, Use};

/// The modules of the engine, lowest first, and all that each may use: only what stands above it
/// in this list, so that there can be no cycle. `lib.rs` is the map of the crate and may use all.
const ENGINE: &[(&str, &[&str])] = &[
    // The domain.
    ("port", &[]),
    ("time", &[]),
    ("place", &[]),
    ("shell", &[]),
    ("reservation", &["port", "time"]),
    ("variable", &["shell", "reservation", "place", "port"]),
    ("invocation", &["variable", "reservation", "port"]),
    ("observed", &["reservation", "place", "port", "time"]),
    ("event", &["reservation", "place", "port", "time"]),
    ("policy", &["observed", "reservation", "place", "port", "time"]),
    // The world: what each file system, kernel or database call is hidden behind.
    ("ledger", &["event", "reservation", "place", "port", "time"]),
    ("config", &["event", "variable", "reservation", "place", "port", "time"]),
    ("lock", &["time"]),
    ("hook", &[]),
    // Other ledgers: Hythe's own as a document, and what other tools keep.
    ("export", &["reservation", "port", "time"]),
    ("import", &["export", "config", "reservation", "port", "time"]),
    ("git", &["place"]),
    ("process", &["git", "observed", "reservation", "place", "port", "time"]),
    ("probe", &["process", "observed", "port"]),
    ("container", &["git", "observed", "place", "port"]),
    (
        "system",
        &[
            "git",
            "probe",
            "process",
            "container",
            "observed",
            "reservation",
            "place",
            "port",
            "time",
        ],
    ),
    // Deciding, and what decides.
    ("placement", &["port"]),
    ("plan", &["config", "policy", "observed", "reservation", "time"]),
    ("conformance", &["policy", "observed", "reservation", "place", "port", "time"]),
    (
        "simulation",
        &[
            "plan",
            "placement",
            "config",
            "policy",
            "observed",
            "reservation",
            "place",
            "port",
            "time",
        ],
    ),
    ("wasm", &["policy", "observed", "reservation", "place", "port", "time"]),
    ("bundled", &["wasm"]),
    ("scaffold", &[]),
    // The only module that orders effects.
    (
        "engine",
        &[
            "placement",
            "plan",
            "conformance",
            "simulation",
            "wasm",
            "bundled",
            "scaffold",
            "import",
            "export",
            "shell",
            "variable",
            "system",
            "ledger",
            "config",
            "lock",
            "hook",
            "policy",
            "event",
            "observed",
            "reservation",
            "place",
            "port",
            "time",
        ],
    ),
];

/// Dependencies whose types stay inside these modules of the engine.
const HIDDEN: &[(&str, &[&str])] = &[
    ("wasmtime", &["wasm"]),
    ("wasmparser", &["wasm"]),
    ("wit_component", &["wasm"]),
    ("wit_parser", &["wasm"]),
    ("crc32fast", &["wasm", "variable"]),
    ("toml_parser", &["config"]),
    ("rusqlite", &["ledger", "import"]),
    ("socket2", &["probe"]),
    ("httparse", &["container"]),
    ("fd_lock", &["lock"]),
];

/// Where the sources of the crates are.
const SOURCES: [&str; 4] =
    ["crates/engine/src/", "crates/document/src/", "crates/server/src/", "crates/cli/src/"];

/// The one file that may say `unsafe`.
const UNSAFE: &str = "crates/engine/src/wasm/compiled.rs";

/// Names that say nothing about the domain.
const EMPTY_NAMES: &[&str] =
    &["core", "common", "utils", "util", "manager", "service", "helpers", "misc"];

/// The most lines of a source without its tests. About 400 is the aim.
const LONGEST: usize = 450;

/// What is left to be done belongs into an issue. Written in halves, as this file is read as well.
const LEFTOVERS: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
    concat!("todo", "!"),
    concat!("unimplemented", "!"),
];

/// Where the ledger's migrations are.
const SCHEMA: &str = "crates/engine/src/ledger/schema/";

/// Checks the repository at `root` and prints what it finds. Fails when that is anything, or when
/// the files cannot be listed or read.
pub(crate) fn run(root: &Path) -> Result<(), Box<dyn Error>> {
    let files = tracked(root)?;
    let findings = check(&files);
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        return Err(format!("{} findings in {} files", findings.len(), files.len()).into());
    }
    println!("tidy: {} files, no findings", files.len());
    Ok(())
}

/// A file that is checked, its path with `/` from the root of the repository.
struct File {
    path: String,
    text: String,
}

/// The files that git tracks, or would, of the kinds that are checked.
fn tracked(root: &Path) -> io::Result<Vec<File>> {
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").arg("-C").arg(root).args(list).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("git {}: {}", list.join(" "), said.trim())));
    }
    let listed = String::from_utf8(output.stdout).map_err(io::Error::other)?;
    let mut files = Vec::new();
    for path in listed.split_terminator('\0').collect::<BTreeSet<_>>() {
        let kind = Path::new(path).extension().and_then(OsStr::to_str);
        let full = root.join(path);
        // The index still lists what was deleted since.
        if matches!(kind, Some("rs" | "toml" | "md" | "sh" | "sql")) && full.is_file() {
            let text = String::from_utf8_lossy(&std::fs::read(full)?).into_owned();
            files.push(File { path: path.to_owned(), text });
        }
    }
    Ok(files)
}

/// Something that is against the rules.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    line: usize,
    message: String,
    hint: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}\nhint: {}", self.path, self.line, self.message, self.hint)
    }
}

/// All findings, in the order of paths and lines.
fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Findings::default();
    findings.leftovers(files);
    findings.migrations(files);
    findings.table(files);
    for root in SOURCES {
        findings.sources(root, files);
    }
    findings.0.into_iter().collect()
}

#[derive(Default)]
struct Findings(BTreeSet<Finding>);

impl Findings {
    fn add(&mut self, path: &str, line: usize, message: String, hint: impl Into<String>) {
        self.0.insert(Finding { path: path.to_owned(), line, message, hint: hint.into() });
    }

    fn leftovers(&mut self, files: &[File]) {
        for file in files {
            for (line, text) in (1..).zip(file.text.lines()) {
                for word in LEFTOVERS.iter().filter(|word| says(text, word)) {
                    let hint = "do it now, or write down elsewhere what is to be done";
                    self.add(&file.path, line, format!("`{word}` is left over"), hint);
                }
            }
        }
    }

    fn migrations(&mut self, files: &[File]) {
        let migrations =
            files.iter().filter_map(|file| Some((file, file.path.strip_prefix(SCHEMA)?)));
        for (number, (file, name)) in (1..).zip(migrations) {
            let expected = format!("{number:04}_");
            let is_sql = Path::new(name).extension() == Some(OsStr::new("sql"));
            if !is_sql || !name.starts_with(&expected) {
                let message = format!("`{name}` is not migration {number}");
                let hint = format!("migrations have no gaps: call it `{expected}NAME.sql`");
                self.add(&file.path, 1, message, hint);
            }
        }
    }

    /// The table and the files must agree, and the table must point downward.
    fn table(&mut self, files: &[File]) {
        for (at, (module, allowed)) in ENGINE.iter().enumerate() {
            let path = format!("crates/engine/src/{module}.rs");
            let nested = format!("crates/engine/src/{module}/mod.rs");
            if !files.iter().any(|file| file.path == path || file.path == nested) {
                let message = format!("there is no module `{module}`");
                self.add(&path, 1, message, "remove it from ENGINE in xtask/src/tidy.rs");
            }
            let below = |name: &&str| ENGINE[..at].iter().any(|(module, _)| module == name);
            for upward in allowed.iter().filter(|name| !below(name)) {
                let message =
                    format!("ENGINE lets `{module}` use `{upward}`, which is not below it");
                self.add("xtask/src/tidy.rs", 1, message, "arrows run strictly downward");
            }
        }
    }

    /// Checks the sources of the crate whose sources lie in `root`.
    fn sources(&mut self, root: &str, files: &[File]) {
        let mut sources = Vec::new();
        for file in files {
            let Some(module) = module_of(root, &file.path) else { continue };
            match rust::read(&file.text, &module) {
                Ok(facts) => sources.push((file, module, facts)),
                Err(error) => {
                    let line = error.span().start().line;
                    self.add(&file.path, line, error.to_string(), "`cargo check` says more");
                }
            }
        }
        let test_files: Vec<_> =
            sources.iter().flat_map(|(.., facts)| facts.test_files.clone()).collect();
        for (file, module, facts) in &sources {
            self.names(file, module, facts);
            if file.path != UNSAFE {
                for line in &facts.unsafe_lines {
                    let hint = format!("only `{UNSAFE}` may; a dependency may have a safe way");
                    self.add(&file.path, *line, "`unsafe` is not for this file".to_owned(), hint);
                }
            }
            if test_files.iter().any(|tests| module.starts_with(tests)) {
                continue;
            }
            if facts.lines > LONGEST {
                let message = format!("{} lines without its tests", facts.lines);
                self.add(&file.path, 1, message, "split it where two subjects meet: aim at 400");
            }
            let engine = root == "crates/engine/src/";
            self.hidden(file, module.first().filter(|_| engine), &facts.uses);
            if engine && let Some(module) = module.first() {
                self.layers(file, module, &facts.uses);
            }
        }
    }

    fn names(&mut self, file: &File, module: &[String], facts: &rust::Facts) {
        let file_names = module.iter().map(|name| (name, 1));
        let declared = facts.modules.iter().map(|(name, line)| (name, *line));
        for (name, line) in file_names.chain(declared) {
            if EMPTY_NAMES.contains(&name.as_str()) {
                let message = format!("a module cannot be called `{name}`");
                self.add(&file.path, line, message, "name it after a thing of the domain");
            }
        }
    }

    /// Checks that dependencies stay in their modules; `module` is one of the engine's.
    fn hidden(&mut self, file: &File, module: Option<&String>, uses: &[Use]) {
        for Use { target, line } in uses {
            for (dependency, owners) in HIDDEN {
                let named = matches!(target, Target::Elsewhere(name) if name == dependency);
                if named && module.is_none_or(|module| !owners.contains(&module.as_str())) {
                    let owners = owners.join("` and `");
                    let message = format!("`{dependency}` is used outside of `{owners}`");
                    let hint = format!("let the engine's `{owners}` offer what is missing");
                    self.add(&file.path, *line, message, hint);
                }
            }
        }
    }

    /// Checks what the engine's `module` uses against the table.
    fn layers(&mut self, file: &File, module: &str, uses: &[Use]) {
        let Some((_, allowed)) = ENGINE.iter().find(|(name, _)| *name == module) else {
            let message = format!("the module `{module}` has no layer");
            return self.add(&file.path, 1, message, "add it to ENGINE in xtask/src/tidy.rs");
        };
        for Use { target, line } in uses {
            let Target::Here(path) = target else { continue };
            let other = path.first().map(String::as_str);
            if other == Some(module) || other.is_some_and(|other| allowed.contains(&other)) {
                continue;
            }
            let known = |other: &&str| ENGINE.iter().any(|(name, _)| name == other);
            let (message, hint) = if let Some(other) = other.filter(known) {
                let allowed = if allowed.is_empty() { "nothing" } else { &allowed.join(", ") };
                let hint = format!(
                    "it may use {allowed}: move what both need further down, or change ENGINE in \
                     xtask/src/tidy.rs"
                );
                (format!("`{module}` uses `{other}`"), hint)
            } else {
                let path = path.join("::");
                let hint = "name the module that defines it: `crate::MODULE::NAME`".to_owned();
                (format!("`{module}` uses `crate::{path}`, which names no module"), hint)
            };
            self.add(&file.path, *line, message, hint);
        }
    }
}

/// The path, from the root of its crate, of the module that the file at `path` holds; `None` when
/// it is no source below `root`.
fn module_of(root: &str, path: &str) -> Option<Vec<String>> {
    let module = path.strip_prefix(root)?.strip_suffix(".rs")?;
    let mut module: Vec<_> = module.split('/').map(str::to_owned).collect();
    let last = module.last().map(String::as_str);
    if last == Some("mod") || (module.len() == 1 && matches!(last, Some("lib" | "main"))) {
        module.pop();
    }
    Some(module)
}

/// Whether `text` contains `word`, not as a part of a longer one.
fn says(text: &str, word: &str) -> bool {
    let is_letter = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        !before.ends_with(is_letter)
            && (!word.ends_with(is_letter) || !after.starts_with(is_letter))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found in `text` at `path`, in a repository where all else is tidy.
    #[track_caller]
    fn findings(path: &str, text: &str) -> Vec<String> {
        let file = |path: String, text: &str| File { path, text: text.to_owned() };
        let engine = ENGINE.iter().map(|(module, _)| format!("crates/engine/src/{module}.rs"));
        let mut files: Vec<_> = engine.map(|path| file(path, "")).collect();
        assert_eq!(check(&files), []);
        files.retain(|file| file.path != path);
        files.push(file(path.to_owned(), text));
        let found = check(&files);
        assert!(found.iter().all(|finding| finding.path == path), "{found:?}");
        found
            .into_iter()
            .map(|Finding { line, message, .. }| format!("{line}: {message}"))
            .collect()
    }

    fn in_ledger(text: &str) -> Vec<String> {
        findings("crates/engine/src/ledger.rs", text)
    }

    #[test]
    fn arrows_run_downward() {
        assert_eq!(in_ledger("use crate::port::Port;\nfn f() { crate::time::now() }"), [""; 0]);
        assert_eq!(in_ledger("use crate::plan::Plan;"), ["1: `ledger` uses `plan`"]);
        assert_eq!(in_ledger("\npub use super::plan;"), ["2: `ledger` uses `plan`"]);
        assert_eq!(
            in_ledger(
                "use crate::{\n    port::{Port, PortSet},\n    wasm::{self, v0::{A, B}},\n};"
            ),
            ["3: `ledger` uses `wasm`"]
        );
        for upward in [
            "fn f() { crate::plan::make(); }",
            "fn f(plan: &crate::plan::Plan) {}",
            "impl crate::plan::Make for X {}",
            "fn f() { <X as crate::plan::Make>::make() }",
            "fn f() { vec![(1, crate::plan::make())] }",
            "macro_rules! m { () => { $crate::plan::make() } }",
            "#[derive(crate::plan::Derive)] struct X;",
            "mod inner { use super::super::plan::Plan; }",
            "mod inner { mod tests { fn f() { self::super::super::super::plan::make() } } }",
            "use crate::plan as port;",
            "use crate::plan::*;",
        ] {
            assert_eq!(in_ledger(upward), ["1: `ledger` uses `plan`"], "{upward}");
        }
        assert_eq!(
            findings("crates/engine/src/ledger/rows.rs", "use super::super::plan::Plan;"),
            ["1: `ledger` uses `plan`"]
        );
    }

    #[test]
    fn a_module_may_use_itself_and_its_parts() {
        let inside =
            "pub(crate) mod rows;\nuse rows::Row;\npub(in crate::engine) use self::rows::X;";
        assert_eq!(in_ledger(inside), [""; 0]);
        let part = "use super::Ledger;\nuse crate::ledger::Row;\nmod deep { use super::super::*; }";
        assert_eq!(findings("crates/engine/src/ledger/rows.rs", part), [""; 0]);
    }

    #[test]
    fn the_root_of_the_crate_is_no_way_around() {
        for text in ["use crate::Engine;", "use super::Engine;", "fn f() -> crate::Engine {}"] {
            let expected = "1: `ledger` uses `crate::Engine`, which names no module";
            assert_eq!(in_ledger(text), [expected], "{text}");
        }
        let glob = in_ledger("use super::*;");
        assert_eq!(glob, ["1: `ledger` uses `crate::`, which names no module"]);
        assert_eq!(findings("crates/engine/src/lib.rs", "pub use crate::plan::Plan;"), [""; 0]);
    }

    #[test]
    fn tests_may_use_everything() {
        for exempt in ["#[cfg(test)]", "#[cfg(all(test, unix))]"] {
            assert_eq!(in_ledger(&format!("{exempt}\nmod tests {{ use crate::plan; }}")), [""; 0]);
        }
        for checked in ["", "#[cfg(unix)]", "#[cfg(any(test, unix))]", "#[cfg(not(test))]"] {
            let text = format!("{checked} mod tests {{ use crate::plan; }}");
            assert_eq!(in_ledger(&text), ["1: `ledger` uses `plan`"], "{checked}");
        }
        let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
        let mut files = vec![
            file("crates/engine/src/ledger.rs", "#[cfg(test)]\nmod tests;"),
            file("crates/engine/src/ledger/tests.rs", "use crate::plan::Plan;\nmod more;"),
            file("crates/engine/src/ledger/tests/more.rs", "use crate::plan::Plan;"),
        ];
        let mut findings = Findings::default();
        findings.sources("crates/engine/src/", &files);
        assert_eq!(findings.0.len(), 0);
        files[0].text = "mod tests;".to_owned();
        findings.sources("crates/engine/src/", &files);
        assert_eq!(findings.0.len(), 2);
    }

    #[test]
    fn files_and_table_agree() {
        assert_eq!(
            findings("crates/engine/src/cache.rs", ""),
            ["1: the module `cache` has no layer"]
        );
        let mut findings = Findings::default();
        findings.table(&[]);
        assert_eq!(findings.0.len(), ENGINE.len());
    }

    #[test]
    fn dependencies_stay_in_their_modules() {
        let text = "use rusqlite::Connection;\nfn f() -> ::wasmtime::Result<()> {}";
        assert_eq!(in_ledger(text), ["2: `wasmtime` is used outside of `wasm`"]);
        assert_eq!(findings("crates/engine/src/ledger/rows.rs", "use rusqlite;"), [""; 0]);
        for path in ["crates/cli/src/main.rs", "crates/cli/src/ledger.rs"] {
            let expected = ["1: `rusqlite` is used outside of `ledger` and `import`"];
            assert_eq!(findings(path, "fn f() { rusqlite::Connection::open() }"), expected);
            assert_eq!(findings(path, "fn f() { println!(\"{}\", rusqlite::f()) }"), expected);
        }
    }

    #[test]
    fn unsafe_code_has_one_home() {
        let text = "fn f() {}\n#[cfg(test)]\nmod tests { fn g() { m!(unsafe { h() }) } }";
        assert_eq!(in_ledger(text), ["3: `unsafe` is not for this file"]);
        assert_eq!(findings(UNSAFE, text), [""; 0]);
        assert_eq!(in_ledger("// unsafe\n#![allow(unsafe_code)]"), [""; 0]);
    }

    #[test]
    fn modules_are_named_after_the_domain() {
        let expected = ["1: a module cannot be called `utils`"];
        assert_eq!(in_ledger("mod utils;"), expected);
        assert_eq!(findings("crates/cli/src/utils.rs", ""), expected);
        assert_eq!(findings("crates/cli/src/utils/mod.rs", ""), expected);
        assert_eq!(findings("crates/cli/src/utils/table.rs", ""), expected);
    }

    #[test]
    fn tests_do_not_make_a_file_long() {
        let code = "// A line.\n".repeat(LONGEST);
        assert_eq!(in_ledger(&code), [""; 0]);
        assert_eq!(
            in_ledger(&format!("{code}\n")),
            [format!("1: {} lines without its tests", LONGEST + 1)]
        );
        assert_eq!(in_ledger(&format!("{code}#[cfg(test)]\nmod tests {{\n\n\n}}\n")), [""; 0]);
    }

    #[test]
    fn leftovers_are_found_everywhere() {
        for word in LEFTOVERS {
            let text = format!("first\n# {word}: more");
            for path in ["README.md", ".ci/run.sh", "plugins/Cargo.toml", "tests/a.rs"] {
                assert_eq!(findings(path, &text), [format!("2: `{word}` is left over")]);
            }
            assert_eq!(findings("README.md", &format!("a{word} _{word}")), [""; 0]);
        }
    }

    #[test]
    fn migrations_have_no_gaps() {
        let file = |name: &str| File { path: format!("{SCHEMA}{name}"), text: String::new() };
        let found = |names: &[&str]| {
            let mut findings = Findings::default();
            findings.migrations(&names.iter().map(|name| file(name)).collect::<Vec<_>>());
            findings.0.len()
        };
        assert_eq!(found(&["0001_first.sql", "0002_events.sql"]), 0);
        assert_eq!(found(&["0001_first.sql", "0003_events.sql"]), 1);
        assert_eq!(found(&["0001_first.sql", "0001_second.sql"]), 1);
        assert_eq!(found(&["0000_first.sql"]), 1);
        assert_eq!(found(&["1_first.sql"]), 1);
        assert_eq!(found(&["0001_first.md"]), 1);
    }

    #[test]
    fn this_repository_is_read_as_git_lists_it() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let files = tracked(&root).unwrap();
        assert!(files.iter().any(|file| file.path == "xtask/src/tidy.rs"));
        assert!(files.iter().all(|file| !file.path.contains("target/")));
    }

    #[test]
    fn what_is_no_rust_is_a_finding() {
        assert_eq!(in_ledger("fn f() {}\nfn (").len(), 1);
        assert_eq!(in_ledger("fn f() { \"").len(), 1);
    }
}

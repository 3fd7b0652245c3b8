//! `cargo xtask examples`: builds every example policy from its source, and has the real `hythe` test
//! it, take the configuration of its README, and use it; then the same with what `hythe plugin new`
//! begins, in every language.

mod scaffold;
mod workshop;

use std::error::Error;
use std::fs;
use std::path::Path;

use clap::{Args, ValueEnum};

use workshop::Workshop;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Build the example policies and test them with the real binary.
#[derive(Args)]
pub(crate) struct Examples {
    /// Only those in this language; may be repeated.
    #[arg(long)]
    lang: Vec<Language>,
    /// The C compiler, as make gets it.
    #[arg(long, default_value = "clang")]
    cc: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Language {
    Rust,
    C,
    Js,
}

/// The directory of each example, its language, and the name of its plugin.
const EXAMPLES: &[(&str, Language, &str)] = &[
    ("team-blocks", Language::Rust, "team-blocks"),
    ("branch-offset", Language::Rust, "branch-offset"),
    ("office-hours", Language::Rust, "office-hours"),
    ("shared-infrastructure", Language::Rust, "shared-infrastructure"),
    ("round-robin", Language::C, "round-robin"),
    ("javascript", Language::Js, "by-pattern"),
];

/// The mark of the configuration in a README.
const CONFIGURATION: &str = "```toml config.toml\n";

impl Examples {
    /// Builds and tests the examples of the repository at `root`.
    pub(crate) fn run(&self, root: &Path) -> Outcome {
        let workshop = Workshop::open(root, &self.cc)?;
        let wanted = |language| self.lang.is_empty() || self.lang.contains(&language);
        for (directory, language, name) in EXAMPLES.iter().filter(|example| wanted(example.1)) {
            println!("== {name}");
            let example = workshop.root().join("examples").join(directory);
            let component = workshop.built().join(name).with_extension("wasm");
            match language {
                Language::Rust => {
                    workshop.cargo_test(&example)?;
                    workshop.cargo(&example, name, &["--locked"], &component)?;
                }
                Language::C => {
                    let copy = workshop.copy(&example, name)?;
                    workshop.make(&copy)?;
                    fs::copy(copy.join(name).with_extension("wasm"), &component)?;
                }
                Language::Js => {
                    let copy = workshop.copy(&example, name)?;
                    workshop::npm(&copy)?;
                    fs::copy(copy.join(name).with_extension("wasm"), &component)?;
                }
            }
            prove(&workshop, &example, name, &component)?;
        }
        for language in Language::value_variants().iter().filter(|language| wanted(**language)) {
            scaffold::prove(&workshop, *language)?;
        }
        Ok(())
    }
}

/// The conformance suite, the example's own cases, and the configuration of its README in use.
fn prove(workshop: &Workshop, example: &Path, name: &str, component: &Path) -> Outcome {
    let scratch = tempfile::tempdir()?;
    let configuration = scratch.path().join(".config/hythe");
    fs::create_dir_all(configuration.join("policies"))?;
    let readme = fs::read_to_string(example.join("README.md"))?;
    let block = readme.split_once(CONFIGURATION).and_then(|(_, text)| text.split_once("```"));
    let (block, _) = block.ok_or_else(|| format!("{name}: its README configures nothing"))?;
    fs::write(configuration.join("config.toml"), block)?;
    fs::copy(component, configuration.join("policies").join(name).with_extension("wasm"))?;
    let project = scratch.path().join("project");
    fs::create_dir(&project)?;
    let hythe = |arguments: &[&str]| workshop.hythe(scratch.path(), &project, arguments);
    let cases = example.join("cases.toml");
    let cases = cases.to_str().ok_or("the path of the repository is not UTF-8")?;
    hythe(&["config", "check"])?;
    hythe(&["plugin", "check", name])?;
    hythe(&["plugin", "test", name, "--cases", cases])?;
    hythe(&["plugin", "bench", name])?;
    hythe(&["reserve", "web", "--explain"])?;
    hythe(&["cleanup", "--dry-run"])
}

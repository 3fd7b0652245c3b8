//! What `hythe plugin new` begins: it builds as it is, passes, and decides.

use std::fs;

use clap::ValueEnum;

use super::workshop::{self, Workshop};
use super::{Language, Outcome};

/// A name that is no identifier in any of the languages.
const NAME: &str = "first-port";

/// Begins a plugin in `language`, builds it as its README says, tests it and uses it.
pub(super) fn prove(workshop: &Workshop, language: Language) -> Outcome {
    let known = language.to_possible_value().ok_or("a language without a name")?;
    let known = known.get_name();
    println!("== plugin new --lang {known}");
    let scratch = tempfile::tempdir()?;
    let (home, project) = (scratch.path().join("home"), scratch.path().join("project"));
    fs::create_dir(&home)?;
    fs::create_dir(&project)?;
    workshop.hythe(&home, &project, &["plugin", "new", NAME, "--lang", known])?;
    let plugin = project.join(NAME);
    let file = format!("{NAME}.wasm");
    match language {
        Language::Rust => workshop.cargo(&plugin, NAME, &[], &plugin.join(&file))?,
        Language::C => workshop.make(&plugin)?,
        Language::Js => workshop::npm(&plugin)?,
    }
    let hythe = |arguments: &[&str]| workshop.hythe(&home, &plugin, arguments);
    hythe(&["plugin", "check", &file])?;
    // In the plugin's directory, so that its cases are found.
    hythe(&["plugin", "test", &file])?;
    hythe(&["plugin", "add", &file, "--use"])?;
    hythe(&["reserve", "web", "--explain"])
}

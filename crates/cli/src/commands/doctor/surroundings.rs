//! What a process was given beside its arguments: variables, and a search path.

use std::path::{Path, PathBuf};

use hythe_engine::Finding;
use hythe_engine::config::similar;

use crate::environment::{self, VARIABLES};

/// Whether the variables mean something, and `hythe` is this program.
pub(super) fn examine() -> Vec<Finding> {
    let set = environment::names_beginning_with("HYTHE_");
    let unknown = set.iter().filter(|name| !VARIABLES.contains(&name.as_str()));
    let mut findings: Vec<_> = unknown
        .map(|name| {
            let hint = match similar(name, VARIABLES) {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("hythe reads {}", VARIABLES.join(", ")),
            };
            Finding::note("environment", format!("nobody reads the variable {name}"), Some(hint))
        })
        .collect();
    findings.extend(another());
    if findings.is_empty() {
        let message = match set.len() {
            0 => "no variable is set".to_owned(),
            _ => set.join(", "),
        };
        findings.push(Finding::ok("environment", message));
    }
    findings
}

/// Whether a shell would run another `hythe` than this one.
fn another() -> Option<Finding> {
    let this = std::env::current_exe().ok().and_then(|path| path.canonicalize().ok())?;
    let found: Vec<PathBuf> = environment::search_path()
        .iter()
        .map(|directory| directory.join("hythe"))
        .filter(|path| is_program(path))
        .collect();
    let first = found.first()?;
    if first.canonicalize().is_ok_and(|first| first == this) {
        return None;
    }
    let message = format!(
        "a shell finds {} when it looks for `hythe`; this is {}",
        first.display(),
        this.display()
    );
    let hint = "two versions share one ledger; the newer one may change its schema".to_owned();
    Some(Finding::note("environment", message, Some(hint)))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

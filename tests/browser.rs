//! The dashboard in a real browser: `tests/browser` drives Chromium through a real `hythe serve`. What
//! it needs is installed by `.ci/run`; what is missing is said on stderr.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::explicit_write,
    clippy::print_stdout,
    missing_docs,
    reason = "a test ends where something goes wrong, and is a world of its own"
)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn the_dashboard_does_what_it_should() {
    let play = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/browser");
    let chromium = std::env::var_os("CHROMIUM").map(PathBuf::from);
    let chromium = chromium.unwrap_or_else(|| "/usr/bin/chromium".into());
    for needed in
        [play.join("node_modules/playwright-core"), play.join("node_modules/axe-core"), chromium]
    {
        if !needed.exists() {
            let said = format!("the dashboard is not looked at: {} is missing", needed.display());
            writeln!(std::io::stderr(), "{said}").unwrap();
            return;
        }
    }
    let mut node = Command::new("node");
    let output =
        node.arg("dashboard.mjs").current_dir(&play).env("HYTHE", env!("CARGO_BIN_EXE_hythe"));
    let output = output.output().unwrap();
    let [said, complained] =
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success(), "{said}\n{complained}");
    println!("{said}");
}

//! The description of the HTTP API is valid, and the server does what it says: `tests/fuzz/openapi.py`
//! calls everything it describes, in the ways it describes and in others.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::listener::Harbour;
use crate::serving::Serving;
use crate::support::{HYTHE, Run};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fuzz/openapi.py");

/// How long calls are made up.
const SECONDS: &str = "45";

#[test]
fn the_server_does_what_its_description_says() {
    // Where `.ci/run` puts what it installs for this test.
    let tools = Path::new(HYTHE).ancestors().nth(2).unwrap().join("tools/openapi");
    let python = |arguments: &[&str]| {
        let mut command = Command::new("python3");
        command.args(arguments).env("PYTHONPATH", &tools).stdin(Stdio::null());
        command
    };
    let imports = "import openapi_spec_validator, schemathesis";
    let found = python(&["-c", imports]).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        let what = "needs openapi-spec-validator and schemathesis, in target/tools/openapi";
        writeln!(std::io::stderr(), "skipped: {what}").unwrap();
        return;
    }
    let world = Harbour::of_size(256);
    let serving = Serving::start(&world, &[]);
    let url = format!("http://127.0.0.1:{}", serving.port());
    let directory = world.dir("directories");
    let arguments = [SCRIPT, &url, directory.to_str().unwrap(), SECONDS];
    let run = Run::of(&mut python(&arguments));
    let said = run.stdout();
    print!("{said}");
    run.ok();
    assert!(serving.log().is_empty(), "{}", serving.log());
}

//! `[[hook]]`: a command of the user's that is run after events.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use toml::de::DeValue;

use super::error::{ConfigError, Fault};
use super::origin::Set;
use super::rule::anchor;
use super::table::Table;
use super::value;
use crate::event::EventKind;

/// How long a hook may run, unless it says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A command that is run after events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The kinds of events it is run for; every kind when it is empty.
    pub on: Vec<EventKind>,
    /// The program: absolute, or a name without `/` that is looked for on the search path.
    pub program: OsString,
    /// Its arguments, which no shell looks at.
    pub arguments: Vec<String>,
    /// How long it may run. Built in: ten seconds.
    pub timeout: Duration,
}

impl Hook {
    /// Whether it is run for events of this kind.
    #[must_use]
    pub fn hears(&self, kind: EventKind) -> bool {
        self.on.is_empty() || self.on.contains(&kind)
    }

    /// The program and its arguments.
    pub(super) fn command(&self) -> impl Iterator<Item = &OsStr> {
        let arguments = self.arguments.iter().map(OsStr::new);
        std::iter::once(self.program.as_os_str()).chain(arguments)
    }
}

/// Reads one `[[hook]]`; `~/` before its program stands for `home`.
pub(super) fn read(mut table: Table<'_>, home: Option<&Path>) -> Result<Set<Hook>, ConfigError> {
    let on = table.take_each("on", value::parsed)?.into_iter().map(|kind| kind.value).collect();
    let directory = table.source.file.directory();
    let command = table.take("command", |command| words(command, directory, home))?;
    let timeout = table.take("timeout", timeout)?.map_or(TIMEOUT, |timeout| timeout.value);
    let Some(Set { value: (program, arguments), origin }) = command else {
        let fault = Fault::new("this [[hook]] says no `command`")
            .hint("say what to run, such as `command = [\"notify-send\", \"hythe\"]`");
        return Err(table.fault_at("command", fault));
    };
    table.finish()?;
    Ok(Set { value: Hook { on, program, arguments, timeout }, origin })
}

fn words(
    value: &DeValue<'_>,
    directory: &Path,
    home: Option<&Path>,
) -> Result<(OsString, Vec<String>), Fault> {
    let expected = "write the program and each argument as a string of its own: \
        command = [\"notify-send\", \"hythe\"]";
    let DeValue::Array(words) = value else {
        return Err(Fault::new(value::found("an array of strings", value)).hint(expected));
    };
    let words = words.iter().map(|word| value::text(word.get_ref()).map(str::to_owned));
    let words: Vec<_> = words.collect::<Result<_, _>>().map_err(|fault| fault.hint(expected))?;
    if words.iter().any(|word| word.contains('\0')) {
        return Err(Fault::new("a command cannot contain the character NUL"));
    }
    match words.split_first() {
        Some((program, arguments)) if !program.is_empty() => {
            Ok((resolved(program, directory, home)?, arguments.to_vec()))
        }
        _ => Err(Fault::new("a command begins with a program").hint(expected)),
    }
}

/// A program as the file in `directory` says it: a name is looked for on the search path, a path starts
/// from the file.
fn resolved(program: &str, directory: &Path, home: Option<&Path>) -> Result<OsString, Fault> {
    if !program.contains('/') && program != "~" {
        return Ok(program.into());
    }
    let (anchor, rest) = anchor(program, directory, home)?;
    Ok(anchor.join(rest.trim_start_matches('/')).into())
}

fn timeout(value: &DeValue<'_>) -> Result<Duration, Fault> {
    let timeout = value::duration(value)?;
    if timeout.is_zero() {
        return Err(
            Fault::new("a hook needs some time to run").hint("leave `timeout` out for 10 seconds")
        );
    }
    Ok(timeout)
}

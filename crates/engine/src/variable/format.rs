//! Variables as their readers want them: shells, files, programs. Whatever a value contains, it is
//! read back as it is and as nothing else.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use super::{Variable, VariableName};
use crate::reservation::{NameError, words};
use crate::shell;

/// How variables are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// `export NAME=VALUE` for `sh`, `bash`, `zsh` and their kin.
    #[default]
    Shell,
    /// `set -gx NAME VALUE` for fish.
    Fish,
    /// `$env:NAME = 'VALUE'` for PowerShell.
    PowerShell,
    /// `NAME=VALUE`, as `.env` files have it.
    Dotenv,
    /// One JSON object of strings.
    Json,
}

words!(
    Format,
    "format",
    Shell = "shell",
    Fish = "fish",
    PowerShell = "powershell",
    Dotenv = "dotenv",
    Json = "json"
);

/// A value that cannot be written so that every reader reads the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name} has a backslash, `${{`, or a single quote beside one of `\" $` and a backtick: readers of .env \
     files disagree about that"
)]
pub struct FormatError {
    /// The variable.
    pub name: VariableName,
}

impl Format {
    /// The variables, one a line, in order.
    pub fn write(self, variables: &[Variable]) -> Result<String, FormatError> {
        if self == Self::Json {
            let values = variables.iter();
            let values = values.map(|it| (it.name.as_str().to_owned(), it.value.clone().into()));
            let object = serde_json::Value::Object(values.collect());
            return Ok(format!("{object:#}\n"));
        }
        let mut text = String::new();
        for Variable { name, value } in variables {
            // Writing to a string cannot fail.
            let _ = match self {
                Self::Shell => writeln!(text, "export {name}={}", shell::word(value)),
                Self::Fish => writeln!(text, "set -gx {name} {}", fish(value)),
                Self::PowerShell => writeln!(text, "$env:{name} = {}", powershell(value)),
                Self::Dotenv | Self::Json => {
                    let word = dotenv(value).ok_or_else(|| FormatError { name: name.clone() })?;
                    writeln!(text, "{name}={word}")
                }
            };
        }
        Ok(text)
    }
}

/// A word of fish: in single quotes a backslash escapes a backslash and a single quote
/// (<https://fishshell.com/docs/current/language.html#quotes>).
fn fish(value: &str) -> String {
    format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
}

/// A verbatim string of PowerShell, in which a quote is doubled. It takes the typographic quotes
/// U+2018 to U+201B for single quotes as well (`about_Quoting_Rules`; `CharTraits.cs`, `IsSingleQuote`).
fn powershell(value: &str) -> String {
    let mut quoted = String::from("'");
    for c in value.chars() {
        quoted.push(c);
        if matches!(c, '\'' | '\u{2018}'..='\u{201b}') {
            quoted.push(c);
        }
    }
    quoted.push('\'');
    quoted
}

/// A value of a `.env` file. There is no standard. Bare where nothing in it could mean anything; in
/// single quotes, which readers take literally but for a backslash; in double quotes without what
/// some expand and others do not; never with `${`, which python-dotenv expands in any quotes. `None`
/// when none of these will do.
fn dotenv(value: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:,%".contains(c);
    if value.contains("${") {
        None
    } else if value.chars().all(plain) {
        Some(value.to_owned())
    } else if !value.contains(['\'', '\\']) {
        Some(format!("'{value}'"))
    } else {
        (!value.contains(['"', '$', '`', '\\'])).then(|| format!("\"{value}\""))
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Values that are commands, quotes and markup somewhere.
    const HOSTILE: &[&str] = &[
        "",
        "plain",
        "a b",
        "it's",
        "\"double\"",
        "$(touch /tmp/x)",
        "`id`",
        "$HOME ${HOME}",
        "a;b&c|d>e<f",
        "a\\",
        "\\'",
        "#hash",
        "~",
        "*?[x]",
        "-n",
        "=",
        "!!",
        "%PATH%",
        "‘’‚‛",
        "{a,b}",
        "ü日本",
        "'; echo pwned; '",
        "\\\\",
    ];

    fn variables() -> Vec<Variable> {
        let named = |(at, value): (usize, &&str)| Variable {
            name: format!("V{at}").parse().unwrap(),
            value: (*value).to_owned(),
        };
        HOSTILE.iter().enumerate().map(named).collect()
    }

    /// What `program` has in its environment after it has read the script.
    fn read_back(program: &str, script: &str, print: &str) -> Option<String> {
        let command = Command::new(program).args(["-c", &format!("{script}\n{print}")]).output();
        let output = command.ok()?;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(String::from_utf8(output.stdout).unwrap())
    }

    #[test]
    fn shells_read_back_what_was_written_and_run_nothing() {
        let variables = variables();
        let lines = variables.iter().map(|it| format!("{}={}\n", it.name, it.value));
        let expected = lines.collect::<Vec<_>>().concat();
        let print = "env | grep '^V[0-9]' | sort -V";
        let mut read = 0;
        for (program, format) in [
            ("sh", Format::Shell),
            ("bash", Format::Shell),
            ("zsh", Format::Shell),
            ("fish", Format::Fish),
        ] {
            let script = format.write(&variables).unwrap();
            if let Some(found) = read_back(program, &script, print) {
                assert_eq!(found, expected, "{program}");
                read += 1;
            }
        }
        assert!(read > 0);
    }

    #[test]
    fn powershell_is_given_verbatim_strings() {
        let write = |value: &str| {
            let name = "A".parse().unwrap();
            Format::PowerShell.write(&[Variable { name, value: value.to_owned() }]).unwrap()
        };
        assert_eq!(write("$(id) \"x\" `n"), "$env:A = '$(id) \"x\" `n'\n");
        assert_eq!(write("it's ’tis"), "$env:A = 'it''s ’’tis'\n");
    }

    #[test]
    fn a_dotenv_value_means_the_same_to_every_reader_or_is_refused() {
        for (value, expected) in [
            ("http://localhost:3000/x,y", Some("http://localhost:3000/x,y")),
            ("", Some("")),
            ("a b # c", Some("'a b # c'")),
            ("$HOME `x` \"q\"", Some("'$HOME `x` \"q\"'")),
            ("it's fine", Some("\"it's fine\"")),
            ("it's $HOME", None),
            ("${HOME}", None),
            ("back\\slash", None),
        ] {
            assert_eq!(dotenv(value).as_deref(), expected, "{value}");
        }
        let name: VariableName = "A".parse().unwrap();
        let variable = Variable { name: name.clone(), value: "\\".to_owned() };
        assert_eq!(Format::Dotenv.write(&[variable]), Err(FormatError { name }));
    }

    #[test]
    fn json_is_an_object_of_strings() {
        let text = Format::Json.write(&variables()).unwrap();
        let read: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(read.len(), HOSTILE.len());
        assert_eq!(read["V4"], "\"double\"");
    }
}

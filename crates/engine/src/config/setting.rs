//! The key of one setting, as somebody names it.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use super::entries::dotted;
use super::file::File;
use super::origin::Role;
use super::source::Source;

/// The key of a setting that a file can say, such as `ports.range` or `services."@shop/web".port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting(Vec<String>);

/// Text that is not the key of a setting: why, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SettingError(String);

/// The most parts that the key of a setting has: `plugins.NAME.options.OPTION`.
const PARTS: usize = 4;

impl Setting {
    pub(super) fn path(&self) -> Vec<&str> {
        self.0.iter().map(String::as_str).collect()
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&dotted(&self.0))
    }
}

impl FromStr for Setting {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let path = path(text).ok_or_else(|| {
            SettingError("expected a dotted key such as `ports.range`".to_owned())
        })?;
        if path.len() > PARTS {
            let deep = format!("`{}` is within a setting: set that as a whole", dotted(&path));
            return Err(SettingError(deep));
        }
        // Who reads files knows every key, and says so before what its value must be.
        let file = format!("{} = 0", dotted(&path));
        let source = Source::of(Path::new("/"), Role::User, file);
        match File::read(&source, None) {
            Err(error) if error.unknown_key => {
                let hint = error.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
                Err(SettingError(format!("{}{hint}", error.message)))
            }
            _ => Ok(Self(path)),
        }
    }
}

/// The parts of a dotted key: of one that reads as the same before a value and in a header, where
/// nothing but a key can stand.
fn path(text: &str) -> Option<Vec<String>> {
    let pair = chain(&format!("{text} = 0"))?;
    (chain(&format!("[{text}]"))? == pair).then_some(pair)
}

/// The keys that lead to the only thing that a file says.
fn chain(file: &str) -> Option<Vec<String>> {
    let mut value = toml::Value::Table(toml::from_str(file).ok()?);
    let mut path = Vec::new();
    while let toml::Value::Table(table) = value {
        let mut entries = table.into_iter();
        let Some((key, below)) = entries.next() else { break };
        if entries.next().is_some() {
            return None;
        }
        path.push(key);
        value = below;
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_a_file_would_have_it() {
        for (text, shown) in [
            ("ports.range", "ports.range"),
            (" services . 'web' . port ", "services.web.port"),
            ("services.\"@shop/web\".scope", "services.\"@shop/web\".scope"),
            ("plugins.ttl.options.\"a b\"", "plugins.ttl.options.\"a b\""),
            ("project", "project"),
        ] {
            assert_eq!(text.parse::<Setting>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_nobody_knows_is_no_setting() {
        for (text, told) in [
            ("ports.rnage", "unknown key `rnage` in [ports]; did you mean `range`?"),
            ("portz", "unknown key `portz`; did you mean `ports`?"),
            ("services.web.prot", "did you mean `port`?"),
            ("plugins.ttl.options.a.b", "`plugins.ttl.options.a.b` is within a setting"),
            ("", "expected a dotted key such as `ports.range`"),
            ("ports.", "expected a dotted key"),
            ("ports.range = 1\nproject", "expected a dotted key"),
            ("ports.range=1#", "expected a dotted key"),
            ("ports.range=0#", "expected a dotted key"),
            ("ports.range]#", "expected a dotted key"),
            ("ports]\n[ports.range", "expected a dotted key"),
            ("[[directory]]\nmatch", "expected a dotted key"),
        ] {
            let error = text.parse::<Setting>().unwrap_err().to_string();
            assert!(error.contains(told), "{text:?}: {error}");
        }
    }
}

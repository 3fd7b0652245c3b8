use std::collections::BTreeMap;

use clap::Args;
use hythe_engine::{Engine, Subject};
use serde_json::Value;

use crate::failure::Failure;

/// A plugin that a command is about.
#[derive(Debug, Args)]
pub(super) struct SubjectArg {
    /// The plugin: its name here, or its file
    #[arg(value_name = "FILE|NAME")]
    plugin: String,
    #[command(flatten)]
    options: OptionArgs,
}

/// Options for this command alone.
#[derive(Debug, Args)]
pub(super) struct OptionArgs {
    /// Give the plugin this option, the value as TOML has it; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = option)]
    option: Vec<(String, Value)>,
}

impl SubjectArg {
    /// As it was named.
    pub(super) fn name(&self) -> &str {
        &self.plugin
    }

    pub(super) fn subject(&self, engine: &Engine<'_>) -> Subject {
        self.options.subject(engine, &self.plugin)
    }
}

impl OptionArgs {
    pub(super) fn subject(&self, engine: &Engine<'_>, plugin: &str) -> Subject {
        let options: BTreeMap<_, _> = self.option.iter().cloned().collect();
        Subject { plugin: engine.which(plugin), options }
    }

    pub(super) fn refuse_without_plugin(&self) -> Result<(), Failure> {
        match self.option.first() {
            None => Ok(()),
            Some((name, _)) => Err(Failure::usage(
                &format!("`--option {name}` is for a plugin, and none is named"),
                Some("hythe plugin list"),
            )),
        }
    }
}

/// `NAME=VALUE`; what is no TOML value is a string.
fn option(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    let document: Result<BTreeMap<String, Value>, _> = toml::from_str(&format!("value = {value}"));
    let value = match document.map(|mut document| document.remove("value")) {
        Ok(Some(value)) => value,
        Ok(None) => return Err("write NAME=VALUE".to_owned()),
        Err(_) if value.starts_with(['{', '[', '"', '\'']) => {
            return Err(format!("`{value}` is no TOML value"));
        }
        Err(_) => Value::from(value),
    };
    match name.trim() {
        "" => Err("write NAME=VALUE".to_owned()),
        name => Ok((name.to_owned(), value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_toml_and_words_are_strings() {
        let value = |text: &str| option(text).map(|(_, value)| value.to_string());
        assert_eq!(option("a=1").unwrap().0, "a");
        for (text, json) in [
            ("a=1", "1"),
            ("a=true", "true"),
            ("a=30d", "\"30d\""),
            ("a=\"x\"", "\"x\""),
            ("a=[\"x\", \"y\"]", "[\"x\",\"y\"]"),
            ("a={ b = \"1-2\" }", "{\"b\":\"1-2\"}"),
            ("a=", "\"\""),
        ] {
            assert_eq!(value(text).unwrap(), json, "{text}");
        }
        for text in ["a", "=x", " =x", "a={b", "a=[1", "a=\"x"] {
            assert!(value(text).is_err(), "{text}");
        }
    }
}

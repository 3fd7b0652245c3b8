use std::collections::BTreeMap;

use clap::Args;
use hythe_document::Failure;
use hythe_engine::config::option_value;
use hythe_engine::{Engine, Subject, shell};
use serde_json::Value;

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
    option: Vec<Given>,
}

/// An option with its value, and as it was written.
#[derive(Debug, Clone)]
struct Given {
    name: String,
    value: Value,
    text: String,
}

impl SubjectArg {
    /// As it was named.
    pub(super) fn name(&self) -> &str {
        &self.plugin
    }

    pub(super) fn subject(&self, engine: &Engine<'_>) -> Subject {
        self.options.subject(engine, &self.plugin)
    }

    /// The arguments that give the options again, as a shell takes them.
    pub(super) fn given(&self) -> impl Iterator<Item = String> {
        let given = self.options.option.iter();
        given.map(|Given { name, text, .. }| {
            format!(" --option {}={}", shell::word(name), shell::word(text))
        })
    }
}

impl OptionArgs {
    pub(super) fn subject(&self, engine: &Engine<'_>, plugin: &str) -> Subject {
        let given = self.option.iter().cloned();
        let options: BTreeMap<_, _> =
            given.map(|Given { name, value, .. }| (name, value)).collect();
        Subject { plugin: engine.which(plugin), options }
    }

    pub(super) fn refuse_without_plugin(&self) -> Result<(), Failure> {
        match self.option.first() {
            None => Ok(()),
            Some(Given { name, .. }) => Err(Failure::usage(
                &format!("`--option {name}` is for a plugin, and none is named"),
                Some("hythe plugin list"),
            )),
        }
    }
}

/// `NAME=VALUE`; what is no TOML value is a string.
fn option(text: &str) -> Result<Given, String> {
    let (name, text) = text.split_once('=').ok_or("write NAME=VALUE")?;
    let value = option_value(text)?;
    match name.trim() {
        "" => Err("write NAME=VALUE".to_owned()),
        name => Ok(Given { name: name.to_owned(), value, text: text.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_toml_and_words_are_strings() {
        let value = |text: &str| option(text).map(|given| given.value.to_string());
        let spaced = option(" a =x = 1 ").unwrap();
        assert_eq!((spaced.name.as_str(), spaced.text.as_str()), ("a", "x = 1 "));
        for (text, json) in [
            ("a=1", "1"),
            ("a=true", "true"),
            ("a=30d", "\"30d\""),
            ("a=2026-01-01", "\"2026-01-01\""),
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

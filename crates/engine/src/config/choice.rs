//! One policy of a strategy, chosen outside of all files.

use std::str::FromStr;

use super::value;

/// Which plugin decides one thing, written `key=NAME`, `selection=NAME` or `cleanup=NAME,NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// `strategy.key`
    Key(String),
    /// `strategy.selection`
    Selection(String),
    /// `strategy.cleanup`; nobody, where nothing follows the sign.
    Cleanup(Vec<String>),
}

/// What is no [`Choice`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ChoiceError(String);

impl FromStr for Choice {
    type Err = ChoiceError;

    fn from_str(text: &str) -> Result<Self, ChoiceError> {
        let name = |name: &str| value::plugin(name).map_err(|fault| ChoiceError(fault.message));
        match text.split_once('=') {
            Some(("key", plugin)) => name(plugin).map(Self::Key),
            Some(("selection", plugin)) => name(plugin).map(Self::Selection),
            Some(("cleanup", "")) => Ok(Self::Cleanup(Vec::new())),
            Some(("cleanup", plugins)) => {
                plugins.split(',').map(name).collect::<Result<_, _>>().map(Self::Cleanup)
            }
            _ => Err(ChoiceError(
                "write `key=PLUGIN`, `selection=PLUGIN` or `cleanup=PLUGIN,PLUGIN`".to_owned(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_names_the_policy_and_its_plugins() {
        let choice = |text: &str| text.parse::<Choice>();
        assert_eq!(choice("key=a"), Ok(Choice::Key("a".into())));
        assert_eq!(choice("selection=team-blocks"), Ok(Choice::Selection("team-blocks".into())));
        assert_eq!(choice("cleanup=b,a"), Ok(Choice::Cleanup(vec!["b".into(), "a".into()])));
        assert_eq!(choice("cleanup="), Ok(Choice::Cleanup(Vec::new())));
        for wrong in ["", "a", "key", "key=", "key=A", "port=a", "cleanup=a,,b", "cleanup=a, b"] {
            assert!(choice(wrong).is_err(), "{wrong}");
        }
    }
}

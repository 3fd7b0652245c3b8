//! `plugin inspect`, `plugin check`: what a plugin is, and whether it can be used.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::explain::{answered_ranges, timed};
use super::super::{Engine, Error, strategy};
use super::{FoundPlugin, Subject, Which, found};
use crate::config::Origin;
use crate::conformance::{DeriveCall, ReviewCall, SelectCall};
use crate::policy::{Cleanup, KeyDerivation, PolicyError, PortSelection, Verdict};
use crate::wasm::{Interface, Policy, Problem, Survey, Usage};

/// What a plugin shows, says and does.
#[derive(Debug)]
pub struct Inspection {
    /// What it is called here, and where it is.
    pub plugin: Which,
    /// Where it is declared; `None` for a file.
    pub declared_by: Option<Origin>,
    /// What this place uses it for, as in `key`, `selection`, `cleanup`.
    pub used_for: Vec<&'static str>,
    /// What its bytes show.
    pub survey: Survey,
    /// What it says of itself, or why it cannot be used.
    pub found: Result<FoundPlugin, Error>,
    /// What a typical call of each of its policies costs, or why none can be made.
    pub typical: Result<Vec<TypicalCall>, Error>,
}

/// A call with typical arguments, such as any policy must have an answer to.
#[derive(Debug)]
pub struct TypicalCall {
    /// The function of the contract, as `INTERFACE.FUNCTION`.
    pub function: &'static str,
    /// What the policy answers.
    pub answer: Result<Value, PolicyError>,
    /// What it uses.
    pub usage: Usage,
    /// How long it takes, its instance included.
    pub time: Duration,
}

/// What `plugin check` found.
#[derive(Debug)]
pub struct CheckReport {
    /// What was found to be in order, up to the first thing that was not.
    pub passed: Vec<Checked>,
    /// Why the plugin cannot be used.
    pub failed: Option<Error>,
}

/// One thing that is in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// What was checked, in a few words.
    pub what: &'static str,
    /// What was found.
    pub found: String,
}

/// How many fresh instances are asked the same to see that they answer the same.
const WITNESSES: usize = 3;

impl Engine<'_> {
    /// Looks at a plugin, whether or not it can be used. Fails when there is nothing to look at.
    pub fn inspect_plugin(&self, subject: &Subject) -> Result<Inspection, Error> {
        let survey = self.survey(&subject.plugin)?;
        let found = self.usable(&subject.plugin).and_then(|plugin| found(&plugin));
        let typical = match found {
            Ok(_) => self.typical_calls(subject),
            Err(_) => Ok(Vec::new()),
        };
        let (declared_by, used_for) = match &subject.plugin {
            Which::Named(name) => {
                (Some(strategy::declared_by(self.settings(), name)), self.used_for(name))
            }
            Which::File(_) => (None, Vec::new()),
        };
        let plugin = subject.plugin.clone();
        Ok(Inspection { plugin, declared_by, used_for, survey, found, typical })
    }

    /// Checks a plugin as loading and using it would, thing by thing.
    #[must_use]
    pub fn check_plugin(&self, subject: &Subject) -> CheckReport {
        let mut passed = Vec::new();
        let failed = self.check_each(subject, &mut passed).err();
        CheckReport { passed, failed }
    }

    fn check_each(&self, subject: &Subject, passed: &mut Vec<Checked>) -> Result<(), Error> {
        let mut pass = |what, found| passed.push(Checked { what, found });
        let which = &subject.plugin;
        let survey = self.survey(which)?;
        pass("size", format!("{} bytes", survey.size));
        let (plugin, time) = timed(|| self.asked(which));
        let plugin = plugin?;
        pass("digest", format!("sha256 {}", survey.sha256));
        pass("imports", "none".to_owned());
        let policies = plugin.policies();
        if policies.is_empty() {
            return Err(self.problem(which, Problem::NoPolicy));
        }
        let names: Vec<_> = policies.iter().map(|interface| interface.export()).collect();
        pass("interfaces", names.join(", "));
        pass("loaded", format!("in {:.1} ms", time.as_secs_f64() * 1e3));
        plugin.check_types()?;
        pass("types", "those of the contract".to_owned());
        let description = plugin.describe()?;
        pass("description", format!("{} {}", description.name, description.version));
        plugin.check_schema()?;
        for interface in policies {
            self.asked_policy(subject, interface)?;
        }
        pass("options", "as its schema allows".to_owned());
        let first = self.typical_calls(subject)?;
        for call in &first {
            let said = match &call.answer {
                Ok(answer) => format!("{}: {answer}", call.function),
                Err(error) if error.is_refusal() => {
                    format!("{} refuses: {}", call.function, error.failure)
                }
                Err(error) => return Err(error.clone().into()),
            };
            pass("answer", said);
        }
        for _ in 1..WITNESSES {
            let again = self.typical_calls(subject)?;
            let differs = first.iter().zip(&again).find(|(one, other)| one.answer != other.answer);
            if let Some((call, _)) = differs {
                return Err(self.problem(which, Problem::Impure(call.function)));
            }
        }
        pass("purity", format!("{WITNESSES} instances answer the same"));
        Ok(())
    }

    fn survey(&self, which: &Which) -> Result<Survey, Error> {
        let file = match which {
            Which::Named(_) => None,
            Which::File(path) => Some(path.as_path()),
        };
        self.strategies.survey(self.settings(), &which.name(), file)
    }

    /// A typical call of each policy that the plugin exports.
    fn typical_calls(&self, subject: &Subject) -> Result<Vec<TypicalCall>, Error> {
        let interfaces = self.asked(&subject.plugin)?.policies().into_iter();
        interfaces
            .map(|interface| Ok(typical_call(interface, &self.asked_policy(subject, interface)?)))
            .collect()
    }
}

/// Makes a typical call of `interface`.
pub(super) fn typical_call(interface: Interface, policy: &Policy) -> TypicalCall {
    let (answer, time) = timed(|| match interface {
        Interface::KeyDerivation => {
            policy.derive(&DeriveCall::typical().request()).map(Value::from)
        }
        Interface::PortSelection => {
            policy.select(&SelectCall::typical().request()).map(|ranges| answered_ranges(&ranges))
        }
        Interface::Cleanup => {
            let call = ReviewCall::typical();
            let verdicts = policy.review(call.now(), &call.reservations());
            verdicts.map(|verdicts| verdicts.iter().map(said).collect())
        }
    });
    TypicalCall { function: interface.function(), answer, usage: policy.last_usage(), time }
}

fn said(verdict: &Verdict) -> Value {
    match verdict {
        Verdict::Pass => json!("pass"),
        Verdict::Keep => json!("keep"),
        Verdict::Release(reason) => json!({ "release": reason }),
    }
}

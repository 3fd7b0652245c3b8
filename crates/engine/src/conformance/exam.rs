//! How a policy is checked, whichever interface it is of.

use fastrand::Rng;

use super::call::{Call, failed};
use super::form::json;
use super::{Check, CheckOutcome, Suite};
use crate::policy::{Failure, PolicyError};

/// A policy and what was found out about it.
pub(super) struct Exam<'p, C: Call> {
    policy: &'p C::Policy<'p>,
    checks: Vec<Check>,
    asked: Vec<C>,
}

impl<'p, C: Call> Exam<'p, C> {
    pub(super) fn new(policy: &'p C::Policy<'p>) -> Self {
        Self { policy, checks: Vec::new(), asked: Vec::new() }
    }

    /// The policy must have an answer for each of `calls`, or a reason to refuse.
    pub(super) fn edge(&mut self, name: &'static str, calls: Vec<C>) {
        let mut notes = Notes::new(calls.len());
        for call in &calls {
            match call.ask(self.policy) {
                Ok(answer) => notes.answered(call, &answer),
                Err(error) => match refusal(&error) {
                    Some(reason) => notes.refused(call, reason),
                    None => {
                        let problem = self.simplest(call, failed(&error));
                        return self.conclude(name, Err(problem));
                    }
                },
            }
        }
        self.asked.extend(calls);
        self.conclude(name, Ok(notes.text()));
    }

    /// What follows from several answers: a note, or what is wrong.
    pub(super) fn compare(
        &mut self,
        name: &'static str,
        compare: impl FnOnce(&Self) -> Result<Option<String>, Unanswered>,
    ) {
        let outcome = match compare(self) {
            Ok(note) => Ok(note),
            Err(Unanswered { refused: true, text }) => Ok(Some(format!("it {text}"))),
            Err(Unanswered { refused: false, text }) => Err(text),
        };
        self.conclude(name, outcome);
    }

    /// The answer to one call of a comparison.
    pub(super) fn answer(&self, call: &C) -> Result<C::Answer, Unanswered> {
        call.ask(self.policy).map_err(|error| Unanswered {
            refused: refusal(&error).is_some(),
            text: for_call(&failed(&error), call),
        })
    }

    /// What asking further shows to be wrong with the answers to `calls`.
    pub(super) fn contradictions(&mut self, name: &'static str, calls: &[C]) {
        let found = calls.iter().find_map(|call| {
            let answer = call.ask(self.policy).ok()?;
            let contradiction = call.contradiction(self.policy, &answer)?;
            Some(self.simplest(call, contradiction))
        });
        self.conclude(name, found.map_or(Ok(None), Err));
    }

    /// All that was asked so far is asked again, at once and after everything else.
    pub(super) fn repeat(&mut self) {
        let first: Vec<_> = self.asked.iter().map(|call| call.ask(self.policy)).collect();
        let mut again = self.asked.iter().zip(&first).rev();
        let found = again.find_map(|(call, first)| {
            let change = self.change(call, first).or_else(|| self.change(call, first))?;
            Some(self.simplest(call, change))
        });
        self.conclude("the same request gets the same answer", found.map_or(Ok(None), Err));
    }

    /// Asks what nobody thought of.
    pub(super) fn random(&mut self, suite: Suite) {
        let mut notes = Notes::new(usize::try_from(suite.runs).unwrap_or(usize::MAX));
        let mut outcome = None;
        for run in 0..suite.runs {
            let seed = suite.seed.wrapping_add(run.into());
            let call = C::random(&mut Rng::with_seed(seed));
            match self.judge(&call) {
                // A request that nobody thought of explains nothing.
                Ok(Ok(answer)) => notes.at_random(C::remark(&answer).map(str::to_owned)),
                Ok(Err(reason)) => notes.at_random(Some(format!("refuses: {reason}"))),
                Err(problem) => {
                    let problem = self.simplest(&call, problem);
                    outcome = Some((format!("{problem}; found by seed {seed}"), seed));
                    break;
                }
            }
        }
        let name = "requests at random";
        match outcome {
            None => self.conclude(name, Ok(notes.text())),
            Some((problem, seed)) => self.fail(name, &problem, Some(seed)),
        }
    }

    pub(super) fn into_checks(self) -> Vec<Check> {
        self.checks
    }

    /// The answer to `call` or the reason why it is refused; fails with all that can be wrong.
    fn judge(&self, call: &C) -> Result<Result<C::Answer, String>, String> {
        let first = call.ask(self.policy);
        if let Err(error) = &first
            && refusal(error).is_none()
        {
            return Err(failed(error));
        }
        // Whatever comes of it: it must not change what comes afterwards.
        let _ = C::typical().ask(self.policy);
        if let Some(change) = self.change(call, &first) {
            return Err(change);
        }
        match first {
            Ok(answer) => match call.contradiction(self.policy, &answer) {
                Some(contradiction) => Err(contradiction),
                None => Ok(Ok(answer)),
            },
            Err(error) => Ok(Err(refusal(&error).unwrap_or_default().to_owned())),
        }
    }

    /// A problem with `call` or, if one can be found soon, with a simpler call.
    fn simplest(&self, call: &C, problem: String) -> String {
        const TRIES: usize = 100;
        let mut found = (call.clone(), problem);
        let mut candidates = call.simpler().into_iter();
        for _ in 0..TRIES {
            let Some(candidate) = candidates.next() else { break };
            if let Err(problem) = self.judge(&candidate) {
                candidates = candidate.simpler().into_iter();
                found = (candidate, problem);
            }
        }
        for_call(&found.1, &found.0)
    }

    /// How the answer to `call` differs from what it was first.
    fn change(&self, call: &C, first: &Result<C::Answer, PolicyError>) -> Option<String> {
        let again = call.ask(self.policy);
        let told = |outcome: &Result<C::Answer, PolicyError>| match outcome {
            Ok(answer) => C::told(answer),
            Err(error) => failed(error),
        };
        (&again != first)
            .then(|| format!("{}, and then {} to the same request", told(first), told(&again)))
    }

    fn conclude(&mut self, name: &'static str, outcome: Result<Option<String>, String>) {
        let outcome = match outcome {
            Ok(None) => CheckOutcome::Passed,
            Ok(Some(note)) => CheckOutcome::Noted(note),
            Err(problem) => return self.fail(name, &problem, None),
        };
        self.checks.push(Check { interface: C::INTERFACE, name, outcome });
    }

    fn fail(&mut self, name: &'static str, problem: &str, seed: Option<u64>) {
        let outcome = CheckOutcome::Failed { text: format!("it {problem}"), seed };
        self.checks.push(Check { interface: C::INTERFACE, name, outcome });
    }
}

/// Why a comparison has nothing to compare.
pub(super) struct Unanswered {
    refused: bool,
    text: String,
}

/// What is worth knowing about several answers.
struct Notes {
    calls: usize,
    refused: Option<(usize, String)>,
    remarked: Option<(usize, String)>,
}

impl Notes {
    fn new(calls: usize) -> Self {
        Self { calls, refused: None, remarked: None }
    }

    fn answered<C: Call>(&mut self, call: &C, answer: &C::Answer) {
        if let Some(remark) = C::remark(answer) {
            count(&mut self.remarked, || for_call(remark, call));
        }
    }

    fn refused<C: Call>(&mut self, call: &C, reason: &str) {
        count(&mut self.refused, || for_call(&format!("refuses: {reason}"), call));
    }

    fn at_random(&mut self, remark: Option<String>) {
        if let Some(remark) = remark {
            count(&mut self.remarked, || remark);
        }
    }

    /// How often each occurred, and the first of them.
    fn text(self) -> Option<String> {
        let told: Vec<_> = [self.refused, self.remarked]
            .into_iter()
            .flatten()
            .map(|(count, first)| match self.calls {
                1 => format!("it {first}"),
                calls => format!("in {count} of {calls} cases it {first}"),
            })
            .collect();
        (!told.is_empty()).then(|| told.join("; "))
    }
}

fn count(note: &mut Option<(usize, String)>, first: impl FnOnce() -> String) {
    note.get_or_insert_with(|| (0, first())).0 += 1;
}

/// Why the policy refuses, if that is what it does: every other failure is against the contract.
fn refusal(error: &PolicyError) -> Option<&str> {
    match &error.failure {
        Failure::Refused(reason) => Some(reason),
        _ => None,
    }
}

fn for_call(what: &str, call: &impl Call) -> String {
    format!("{what}, asked {}", json(call))
}

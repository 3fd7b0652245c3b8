//! An author's own cases: a call of a policy and what is expected of it, as TOML.
//!
//! Every field of a call may be left out. Without more, it is about service `main`, key `key`,
//! scope `directory`, the directory `/work/project` and the range 20000-29999. A reservation under
//! review is on port 20000, persistent, unowned, listened to by nobody, its directory is there, and
//! all times are that of the review, which is 2026-01-01T00:00:00Z.

mod file;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::call::{Call, DeriveCall, ReviewCall, SelectCall, failed, listed, verdict};
use super::form::cut;
use crate::policy::{Cleanup, Failure, KeyDerivation, PolicyError, PortSelection, Verdict};
use crate::port::{Port, PortRange};

pub use file::{CasesError, MAX_LEN, parse};

/// Options of a plugin, as its configuration would say them: still to be checked by its schema.
pub type Options = BTreeMap<String, Value>;

/// Which function of the contract a case calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// `key-derivation.derive`.
    Derive,
    /// `port-selection.select`.
    Select,
    /// `cleanup.review`.
    Review,
}

/// All cases of a file.
#[derive(Debug)]
pub struct Cases {
    options: Options,
    options_line: usize,
    list: Vec<Case>,
}

#[derive(Debug)]
struct Case {
    name: String,
    line: usize,
    options: Options,
    question: Question,
}

/// A call and what is expected of its answer.
#[derive(Debug)]
enum Question {
    Derive(DeriveCall, Expected<ExpectedKey>),
    Select(SelectCall, Expected<ExpectedPorts>),
    Review(ReviewCall, Expected<Vec<ExpectedVerdict>>),
}

#[derive(Debug)]
enum Expected<T> {
    Answer(T),
    /// The policy refuses, for a reason that contains this.
    Refusal(String),
}

#[derive(Debug)]
enum ExpectedKey {
    Key(String),
    /// The key of another case, by its index.
    SameAs(usize),
    DiffersFrom(usize),
}

#[derive(Debug)]
enum ExpectedPorts {
    Ranges(Vec<PortRange>),
    First(Port),
}

#[derive(Debug)]
enum ExpectedVerdict {
    Pass,
    Keep,
    /// The reason contains this.
    Release(String),
}

/// What came of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseResult {
    /// The name of the case.
    pub name: String,
    /// The line of the file that names it, counted from 1.
    pub line: usize,
    /// What was expected and what the policy did instead; `None` when the case passed.
    pub failure: Option<String>,
}

impl Cases {
    /// The options of every case that has none of its own.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The line where they begin, counted from 1; 1 when there are none.
    #[must_use]
    pub fn options_line(&self) -> usize {
        self.options_line
    }

    /// Asks every case of the policy that `policy` makes of a case's options. A case whose policy
    /// cannot be made fails with that error.
    pub fn run<P, E>(
        &self,
        mut policy: impl FnMut(Function, &Options) -> Result<P, E>,
    ) -> Vec<CaseResult>
    where
        P: KeyDerivation + PortSelection + Cleanup,
        E: fmt::Display,
    {
        let mut policy = |case: &Case| {
            policy(case.question.function(), &case.options).map_err(|error| error.to_string())
        };
        let mut results = Vec::with_capacity(self.list.len());
        for case in &self.list {
            let failure = self.run_one(case, &mut policy).err();
            results.push(CaseResult { name: case.name.clone(), line: case.line, failure });
        }
        results
    }

    fn run_one<P: KeyDerivation + PortSelection + Cleanup>(
        &self,
        case: &Case,
        policy: &mut dyn FnMut(&Case) -> Result<P, String>,
    ) -> Result<(), String> {
        let asked = policy(case)?;
        match &case.question {
            Question::Derive(call, expected) => {
                expected.meet(call, &asked, |wanted, key| self.meet_key(wanted, key, policy))
            }
            Question::Select(call, expected) => expected.meet(call, &asked, meet_ports),
            Question::Review(call, expected) => expected
                .meet(call, &asked, |wanted, verdicts| meet_verdicts(call, wanted, verdicts)),
        }
    }

    fn meet_key<P: KeyDerivation>(
        &self,
        wanted: &ExpectedKey,
        key: &String,
        policy: &mut dyn FnMut(&Case) -> Result<P, String>,
    ) -> Result<(), String> {
        let mut other = |index: usize| {
            let case = &self.list[index];
            let Question::Derive(call, _) = &case.question else {
                return Err(format!("the case `{}` derives no key", case.name));
            };
            let key = call.ask(&policy(case)?).map_err(|error| {
                format!("the case `{}` has no key: it {}", case.name, failed(&error))
            })?;
            Ok((&case.name, key))
        };
        let told = DeriveCall::told(key);
        match wanted {
            ExpectedKey::Key(wanted) if wanted != key => {
                Err(format!("expected the key {:?}, but it {told}", cut(wanted)))
            }
            ExpectedKey::SameAs(index) => match other(*index)? {
                (_, same) if same == *key => Ok(()),
                (name, wanted) => {
                    let wanted = cut(&wanted);
                    Err(format!("expected the key of `{name}`, {wanted:?}, but it {told}"))
                }
            },
            ExpectedKey::DiffersFrom(index) => match other(*index)? {
                (name, same) if same == *key => {
                    Err(format!("expected another key than that of `{name}`, but it {told}, too"))
                }
                _ => Ok(()),
            },
            ExpectedKey::Key(_) => Ok(()),
        }
    }
}

impl Question {
    fn function(&self) -> Function {
        match self {
            Self::Derive(..) => Function::Derive,
            Self::Select(..) => Function::Select,
            Self::Review(..) => Function::Review,
        }
    }
}

impl<T> Expected<T> {
    /// Asks `call`, and has `meet` compare what is wanted with an answer.
    fn meet<C: Call>(
        &self,
        call: &C,
        policy: &C::Policy<'_>,
        meet: impl FnOnce(&T, &C::Answer) -> Result<(), String>,
    ) -> Result<(), String> {
        match (self, call.ask(policy)) {
            (Self::Answer(wanted), Ok(answer)) => meet(wanted, &answer),
            (Self::Answer(_), Err(error)) => {
                Err(format!("expected an answer, but it {}", failed(&error)))
            }
            (Self::Refusal(part), Err(PolicyError { failure: Failure::Refused(reason), .. }))
                if reason.contains(part) =>
            {
                Ok(())
            }
            (Self::Refusal(part), outcome) => {
                let did = match outcome {
                    Ok(answer) => C::told(&answer),
                    Err(error) => failed(&error),
                };
                Err(format!("expected it to refuse with {part:?}, but it {did}"))
            }
        }
    }
}

fn meet_ports(wanted: &ExpectedPorts, ranges: &Vec<PortRange>) -> Result<(), String> {
    let (met, wanted) = match wanted {
        ExpectedPorts::Ranges(wanted) => (wanted == ranges, listed(wanted.iter(), "no port")),
        ExpectedPorts::First(port) => {
            let first = ranges.first().map(|range| range.first());
            (first == Some(*port), format!("{port} first"))
        }
    };
    match met {
        true => Ok(()),
        false => Err(format!("expected {wanted}, but it {}", SelectCall::told(ranges))),
    }
}

fn meet_verdicts(
    call: &ReviewCall,
    wanted: &[ExpectedVerdict],
    verdicts: &Vec<Verdict>,
) -> Result<(), String> {
    // The host refuses any other number of verdicts, the file any other number of expectations.
    let answers = wanted.iter().zip(verdicts).zip(&call.reservations);
    for (number, ((wanted, answer), observed)) in (1..).zip(answers) {
        let met = match (wanted, answer) {
            (ExpectedVerdict::Pass, Verdict::Pass) | (ExpectedVerdict::Keep, Verdict::Keep) => true,
            (ExpectedVerdict::Release(part), Verdict::Release(reason)) => reason.contains(part),
            _ => false,
        };
        if !met {
            let wanted = match wanted {
                ExpectedVerdict::Pass => "pass".to_owned(),
                ExpectedVerdict::Keep => "keep".to_owned(),
                ExpectedVerdict::Release(part) if part.is_empty() => "release".to_owned(),
                ExpectedVerdict::Release(part) => format!("release: {part}"),
            };
            let port = observed.reservation.port;
            return Err(format!(
                "expected `{wanted}` about reservation {number}, port {port}, but it says `{}`",
                verdict(answer)
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::{Observed, Presence};
    use crate::policy::{KeyRequest, SelectionRequest};
    use crate::time::Timestamp;

    /// A policy of everything, with one option: a text that becomes part of keys and reasons.
    struct Sample(String);

    fn refuse<T>(reason: String) -> Result<T, PolicyError> {
        fail(Failure::Refused(reason))
    }

    fn fail<T>(failure: Failure) -> Result<T, PolicyError> {
        let (plugin, selected_by) = ("test 1".to_owned(), "built-in".to_owned());
        Err(PolicyError { plugin, function: "test", selected_by, failure })
    }

    impl KeyDerivation for Sample {
        fn derive(&self, request: &KeyRequest<'_>) -> Result<String, PolicyError> {
            let root = request.place.root().display();
            match request.service.as_str() {
                "broken" => fail(Failure::Fuel(9)),
                "none" => refuse(format!("there is no key in {}", request.scope)),
                service => Ok(format!("{}{service}:{root}", self.0)),
            }
        }
    }

    impl PortSelection for Sample {
        fn select(&self, request: &SelectionRequest<'_>) -> Result<Vec<PortRange>, PolicyError> {
            let free = |port: &Port| request.reserved.binary_search(port).is_err();
            match request.project {
                None => Ok(request.allowed.ports().filter(free).take(12).map(Into::into).collect()),
                Some(project) => refuse(format!("{project} is outside")),
            }
        }
    }

    impl Cleanup for Sample {
        fn review(
            &self,
            now: Timestamp,
            reservations: &[&Observed],
        ) -> Result<Vec<Verdict>, PolicyError> {
            let verdict = |observed: &&Observed| {
                if observed.directory == Presence::Gone {
                    Verdict::Release(format!("gone {}", self.0))
                } else if observed.reservation.expires_at().is_some_and(|end| end <= now) {
                    Verdict::Release("over".to_owned())
                } else if observed.owner.is_some() {
                    Verdict::Keep
                } else {
                    Verdict::Pass
                }
            };
            Ok(reservations.iter().map(verdict).collect())
        }
    }

    fn sample(_function: Function, options: &Options) -> Result<Sample, String> {
        match options.get("prefix") {
            None => Ok(Sample(String::new())),
            Some(Value::String(prefix)) => Ok(Sample(prefix.clone())),
            Some(other) => Err(format!("`prefix` is {other}")),
        }
    }

    /// Why the only, or the first, case of a file failed.
    fn failure(text: &str) -> Option<String> {
        parse(text).unwrap().run(sample).swap_remove(0).failure
    }

    /// A case of one call and expectation.
    fn case(call: &str, expect: &str) -> String {
        format!("[[case]]\nname = \"a\"\n{call}\nexpect = {{ {expect} }}\n")
    }

    #[test]
    fn cases_that_hold_pass() {
        let cases = parse(
            r#"
            [options]
            prefix = "p:"

            [[case]]
            name = "a key"
            derive = { service = "web", directory = "/work/shop" }
            expect = { key = "p:web:/work/shop" }

            [[case]]
            name = "its checkout's"
            [case.derive]
            scope = "project"
            service = "web"
            directory = "/work/shop/src"
            project = "shop"
            checkout = { root = "/work/shop", repository = "/work/shop/.git", name = "shop", branch = "main", linked = true }
            [case.expect]
            same_as = "a key"

            [[case]]
            name = "other options"
            options = {}
            derive = { service = "web", directory = "/work/shop" }
            expect = { differs_from = "a key" }

            [[case]]
            name = "no key"
            derive = { service = "none", scope = "service" }
            expect = { error = "no key in service" }

            [[case]]
            name = "ports in any order"
            select = { allowed = "1-4", reserved = [3, 1, 3], preferred = [9], latest = 4, key = "k", branch = "b" }
            expect = { ranges = ["2", "4-4"] }

            [[case]]
            name = "a port"
            select = {}
            expect = { first = 20000 }

            [[case]]
            name = "no port"
            select = { project = "blog" }
            expect = { error = "outside" }

            [[case]]
            name = "verdicts"
            now = 2026-01-05T23:30:00+01:30
            review = [
                {},
                { owner = "unknown" },
                { directory_presence = "gone" },
                { last_used_at = 2026-01-05T21:00:00Z, expires_at = 2026-01-05T22:00:00Z },
                { last_used_at = 2026-01-05 21:00:00Z, expires_at = 2026-01-05T22:00:00.001Z },
                { port = 1, key = "k", scope = "service", service = "db", directory = "/", project = "p", task = "t",
                  agent = "a", lease = "ephemeral", owner = "dead", listening = "foreign", created_at = 2026-01-05T10:00:00Z },
            ]
            expect = { verdicts = ["pass", "keep", "release: gone p:", "release", "pass", "keep"] }
            "#,
        )
        .unwrap();
        let mut asked = Vec::new();
        let results = cases.run(|function, options| {
            asked.push(function);
            sample(function, options)
        });
        for result in &results {
            assert_eq!(result.failure, None, "{}", result.name);
        }
        let lines: Vec<_> = results.iter().map(|result| result.line).collect();
        assert_eq!(lines, [6, 11, 22, 28, 33, 38, 43, 48]);
        assert_eq!(asked.len(), results.len() + 2, "one for each case and each that is compared");
    }

    #[test]
    fn what_is_left_out_is_what_the_documentation_says() {
        let review = case("review = [{}]", "verdicts = [\"pass\"]");
        let text = review
            + "[[case]]\nname = \"b\"\nderive = {}\nexpect = { key = \"\" }\n"
            + "[[case]]\nname = \"c\"\nselect = {}\nexpect = { first = 1 }\n";
        let Cases { list: cases, .. } = parse(&text).unwrap();
        let shown: Vec<_> = cases
            .iter()
            .map(|case| match &case.question {
                Question::Derive(call, _) => serde_json::to_value(call),
                Question::Select(call, _) => serde_json::to_value(call),
                Question::Review(call, _) => serde_json::to_value(call),
            })
            .map(Result::unwrap)
            .collect();
        let now = "2026-01-01T00:00:00.000Z";
        assert_eq!(
            shown,
            [
                serde_json::json!({ "now": now, "review": [{
                    "port": 20000, "key": "key", "scope": "directory", "service": "main",
                    "directory": "/work/project", "directory_presence": "present",
                    "lease": "persistent", "owner": "unowned", "listening": "none",
                    "created_at": now, "last_used_at": now,
                }] }),
                serde_json::json!({
                    "scope": "directory", "service": "main", "directory": "/work/project",
                }),
                serde_json::json!({ "key": "key", "service": "main", "allowed": "20000-29999" }),
            ]
        );
    }

    #[test]
    fn cases_that_do_not_hold_say_what_was_expected_and_what_came() {
        let key = "derive = { service = \"web\" }";
        for (call, expect, message) in [
            (
                key,
                "key = \"k\"",
                "expected the key \"k\", but it derives the key \"web:/work/project\"",
            ),
            (
                key,
                "error = \"x\"",
                "expected it to refuse with \"x\", but it derives the key \"web:/work/project\"",
            ),
            (
                "derive = { service = \"none\" }",
                "key = \"k\"",
                "expected an answer, but it refuses: there is no key in directory",
            ),
            (
                "derive = { service = \"none\" }",
                "error = \"x\"",
                "expected it to refuse with \"x\", but it refuses: there is no key in directory",
            ),
            (
                "derive = { service = \"broken\" }",
                "error = \"\"",
                "expected it to refuse with \"\", but it fails: it used up its fuel of 9",
            ),
            (
                "select = { allowed = \"5-9\" }",
                "ranges = [\"5-9\"]",
                "expected 5-9, but it proposes 5, 6, 7, 8, 9",
            ),
            (
                "select = { allowed = \"5-90\" }",
                "ranges = []",
                "expected no port, but it proposes 5, 6, 7, 8, 9, 10, 11, 12, and 4 more",
            ),
            (
                "select = { allowed = \"5-9\" }",
                "first = 9",
                "expected 9 first, but it proposes 5, 6, 7, 8, 9",
            ),
            (
                "select = { allowed = \"5\", reserved = [5] }",
                "first = 5",
                "expected 5 first, but it proposes no port",
            ),
            (
                "review = [{}, { port = 5 }]",
                "verdicts = [\"pass\", \"keep\"]",
                "expected `keep` about reservation 2, port 5, but it says `pass`",
            ),
            (
                "review = [{ directory_presence = \"gone\" }]",
                "verdicts = [\"release: x\"]",
                "expected `release: x` about reservation 1, port 20000, but it says `release: gone `",
            ),
            (
                "review = [{}]",
                "verdicts = [\"release\"]",
                "expected `release` about reservation 1, port 20000, but it says `pass`",
            ),
            ("options.prefix = 1\nselect = {}", "first = 20000", "`prefix` is 1"),
        ] {
            assert_eq!(failure(&case(call, expect)).as_deref(), Some(message));
        }
    }

    #[test]
    fn keys_are_compared_with_those_of_other_cases() {
        let other = |service: &str| {
            format!(
                "[[case]]\nname = \"b\"\nderive = {{ service = \"{service}\" }}\nexpect = {{ error = \"\" }}\n"
            )
        };
        let own = "derive = { service = \"web\" }";
        for (expect, service, message) in [
            (
                "same_as = \"b\"",
                "api",
                "expected the key of `b`, \"api:/work/project\", but it derives the key \"web:/work/project\"",
            ),
            (
                "differs_from = \"b\"",
                "web",
                "expected another key than that of `b`, but it derives the key \"web:/work/project\", too",
            ),
            (
                "differs_from = \"b\"",
                "broken",
                "the case `b` has no key: it fails: it used up its fuel of 9",
            ),
        ] {
            let text = case(own, expect) + &other(service);
            assert_eq!(failure(&text).as_deref(), Some(message));
        }
    }
}

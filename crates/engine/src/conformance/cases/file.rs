//! The file that cases are written in.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Number, Value};
use toml::Spanned;

use super::{
    Case, Cases, Expected, ExpectedKey, ExpectedPorts, ExpectedVerdict, Options, Question,
};
use crate::conformance::call::{DeriveCall, ReviewCall, SelectCall, default_now};
use crate::conformance::form::{PortForm, RangeForm, ReservationForm, TimeForm, cut};
use crate::time::Timestamp;

/// The largest file of cases, in bytes.
pub const MAX_LEN: usize = 1024 * 1024;

/// The most reservations of one review.
const BATCH: usize = 1024;

/// A file of cases that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct CasesError {
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

/// Reads the cases of a file of at most [`MAX_LEN`] bytes.
///
/// Fails when it is not TOML, holds no case, or says something that is unknown, of the wrong kind
/// or impossible: a name twice, no or two calls in a case, an expectation that does not fit.
pub fn parse(text: &str) -> Result<Cases, CasesError> {
    let lines = Lines::of(text);
    cases(&lines).map_err(|fault| {
        let (line, column) = lines.position(fault.offset);
        CasesError { line, column, message: shown(&fault.message) }
    })
}

/// A message in one line, however long the value that it quotes.
fn shown(message: &str) -> String {
    const LONGEST: usize = 400;
    let end = message.floor_char_boundary(LONGEST);
    let cut = if end < message.len() { "…" } else { "" };
    let plain = message[..end].chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.chain(cut.chars()).collect()
}

fn cases(lines: &Lines<'_>) -> Result<Cases, Fault> {
    if lines.text.len() > MAX_LEN {
        return Err(Fault { offset: 0, message: "it is larger than 1 MiB".to_owned() });
    }
    let file: File = toml::from_str(lines.text).map_err(|error| Fault {
        offset: error.span().map_or(0, |span| span.start),
        message: error.message().to_owned(),
    })?;
    if file.cases.is_empty() {
        let message = "there is no case: write one below `[[case]]`".to_owned();
        return Err(Fault { offset: 0, message });
    }
    let names = Names::of(&file.cases)?;
    let options_line = file.options.as_ref().map_or(1, |options| lines.line(options.span().start));
    let shared = file.options.map_or_else(|| Ok(Options::new()), |it| options(it.into_inner()))?;
    let read = |entry: Entry| {
        Ok(Case {
            name: entry.name.get_ref().clone(),
            line: lines.line(entry.name.span().start),
            options: entry.options.clone().map_or_else(|| Ok(shared.clone()), options)?,
            question: entry.question(&names)?,
        })
    };
    let cases = file.cases.into_iter().map(read).collect::<Result<_, _>>()?;
    Ok(Cases { options: shared.clone(), options_line, list: cases })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    options: Option<Spanned<WrittenOptions>>,
    #[serde(default, rename = "case")]
    cases: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Spanned<String>,
    options: Option<WrittenOptions>,
    now: Option<Spanned<TimeForm>>,
    derive: Option<DeriveCall>,
    select: Option<SelectCall>,
    review: Option<Vec<Spanned<ReservationForm>>>,
    expect: Spanned<ExpectForm>,
}

/// One of these.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectForm {
    key: Option<String>,
    same_as: Option<Spanned<String>>,
    differs_from: Option<Spanned<String>>,
    ranges: Option<Vec<RangeForm>>,
    first: Option<PortForm>,
    verdicts: Option<Vec<Spanned<String>>>,
    error: Option<String>,
}

enum Expectation {
    Key(String),
    SameAs(Spanned<String>),
    DiffersFrom(Spanned<String>),
    Ranges(Vec<RangeForm>),
    First(PortForm),
    Verdicts(Vec<Spanned<String>>),
    Error(String),
}

impl ExpectForm {
    /// What is expected; `None` when that is nothing, or more than one thing.
    fn single(self) -> Option<Expectation> {
        let mut all = [
            self.key.map(Expectation::Key),
            self.same_as.map(Expectation::SameAs),
            self.differs_from.map(Expectation::DiffersFrom),
            self.ranges.map(Expectation::Ranges),
            self.first.map(Expectation::First),
            self.verdicts.map(Expectation::Verdicts),
            self.error.map(Expectation::Error),
        ]
        .into_iter()
        .flatten();
        all.next().filter(|_| all.next().is_none())
    }
}

impl Entry {
    fn question(self, names: &Names) -> Result<Question, Fault> {
        if let (Some(now), None) = (&self.now, &self.review) {
            return Err(Fault::of(now, "only a `review` has a time"));
        }
        let expect = self.expect;
        match (self.derive, self.select, self.review) {
            (Some(call), None, None) => {
                Ok(Question::Derive(call, key(expect, self.name.get_ref(), names)?))
            }
            (None, Some(call), None) => Ok(Question::Select(call, ports(expect)?)),
            (None, None, Some(review)) => {
                let now = self.now.map_or_else(default_now, |now| now.into_inner().0);
                let call = reviewed(now, review)?;
                let expected = verdicts(expect, call.reservations.len())?;
                Ok(Question::Review(call, expected))
            }
            _ => Err(Fault::of(&self.name, "a case has one of `derive`, `select` and `review`")),
        }
    }
}

fn key(
    expect: Spanned<ExpectForm>,
    own: &str,
    names: &Names,
) -> Result<Expected<ExpectedKey>, Fault> {
    let offset = expect.span().start;
    Ok(Expected::Answer(match expect.into_inner().single() {
        Some(Expectation::Key(key)) => ExpectedKey::Key(key),
        Some(Expectation::SameAs(other)) => ExpectedKey::SameAs(names.other(&other, own)?),
        Some(Expectation::DiffersFrom(other)) => {
            ExpectedKey::DiffersFrom(names.other(&other, own)?)
        }
        Some(Expectation::Error(part)) => return Ok(Expected::Refusal(part)),
        _ => {
            let fitting = "`key`, `same_as`, `differs_from`, `error`";
            return Err(Fault::misfit(offset, "derive", fitting));
        }
    }))
}

fn ports(expect: Spanned<ExpectForm>) -> Result<Expected<ExpectedPorts>, Fault> {
    let offset = expect.span().start;
    Ok(Expected::Answer(match expect.into_inner().single() {
        Some(Expectation::Ranges(ranges)) => {
            ExpectedPorts::Ranges(ranges.into_iter().map(|RangeForm(range)| range).collect())
        }
        Some(Expectation::First(PortForm(port))) => ExpectedPorts::First(port),
        Some(Expectation::Error(part)) => return Ok(Expected::Refusal(part)),
        _ => return Err(Fault::misfit(offset, "select", "`ranges`, `first`, `error`")),
    }))
}

fn verdicts(
    expect: Spanned<ExpectForm>,
    reservations: usize,
) -> Result<Expected<Vec<ExpectedVerdict>>, Fault> {
    let offset = expect.span().start;
    match expect.into_inner().single() {
        Some(Expectation::Verdicts(verdicts)) if verdicts.len() != reservations => {
            let message =
                format!("there are {} verdicts for {reservations} reservations", verdicts.len());
            Err(Fault { offset, message })
        }
        Some(Expectation::Verdicts(verdicts)) => {
            verdicts.iter().map(verdict).collect::<Result<_, _>>().map(Expected::Answer)
        }
        Some(Expectation::Error(part)) => Ok(Expected::Refusal(part)),
        _ => Err(Fault::misfit(offset, "review", "`verdicts`, `error`")),
    }
}

fn verdict(text: &Spanned<String>) -> Result<ExpectedVerdict, Fault> {
    match text.get_ref().as_str() {
        "pass" => Ok(ExpectedVerdict::Pass),
        "keep" => Ok(ExpectedVerdict::Keep),
        "release" => Ok(ExpectedVerdict::Release(String::new())),
        other => match other.strip_prefix("release:") {
            Some(part) => Ok(ExpectedVerdict::Release(part.trim().to_owned())),
            None => {
                let wrong = cut(other);
                let message = format!(
                    "`{wrong}` is not a verdict: expected pass, keep, release or release: REASON"
                );
                Err(Fault::of(text, message))
            }
        },
    }
}

fn reviewed(now: Timestamp, written: Vec<Spanned<ReservationForm>>) -> Result<ReviewCall, Fault> {
    if let Some(surplus) = written.get(BATCH) {
        return Err(Fault::of(surplus, format!("a review has at most {BATCH} reservations")));
    }
    let mut reservations = Vec::with_capacity(written.len());
    for written in written {
        let form = written.get_ref();
        if form.expires_at.is_some_and(|end| end < form.last_used_at.unwrap_or(now)) {
            let message = "it expires before it was last used: a time to live begins there";
            return Err(Fault::of(&written, message));
        }
        reservations.push(written.into_inner().observed(now));
    }
    Ok(ReviewCall { now, reservations })
}

type WrittenOptions = BTreeMap<String, Spanned<toml::Value>>;

fn options(written: WrittenOptions) -> Result<Options, Fault> {
    let option = |(name, value): (String, Spanned<toml::Value>)| {
        let offset = value.span().start;
        let value = json(value.into_inner()).map_err(|message| Fault { offset, message })?;
        Ok((name, value))
    };
    written.into_iter().map(option).collect()
}

/// A TOML value in JSON, as the configuration turns it: dates and times become strings.
fn json(value: toml::Value) -> Result<Value, String> {
    Ok(match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => Value::Number(number.into()),
        toml::Value::Float(float) => Number::from_f64(float)
            .map(Value::Number)
            .ok_or_else(|| format!("`{float}` is not a number that JSON can hold"))?,
        toml::Value::Boolean(boolean) => Value::Bool(boolean),
        toml::Value::Datetime(time) => Value::String(time.to_string()),
        toml::Value::Array(array) => {
            Value::Array(array.into_iter().map(json).collect::<Result<_, _>>()?)
        }
        toml::Value::Table(table) => {
            let entries = table.into_iter().map(|(key, value)| Ok((key, json(value)?)));
            Value::Object(entries.collect::<Result<Map<_, _>, String>>()?)
        }
    })
}

/// The cases by name: where each stands, and whether it derives a key.
struct Names(BTreeMap<String, (usize, bool)>);

impl Names {
    fn of(entries: &[Entry]) -> Result<Self, Fault> {
        let mut names = BTreeMap::new();
        for (index, Entry { name, derive, .. }) in entries.iter().enumerate() {
            let text = name.get_ref();
            if text.trim().is_empty() || text.chars().any(char::is_control) {
                return Err(Fault::of(name, "a case has a name, in one line"));
            }
            if names.insert(text.clone(), (index, derive.is_some())).is_some() {
                return Err(Fault::of(name, format!("there are two cases `{}`", cut(text))));
            }
        }
        Ok(Self(names))
    }

    /// The case that the key of `own` is compared with.
    fn other(&self, name: &Spanned<String>, own: &str) -> Result<usize, Fault> {
        let text = name.get_ref();
        let wrong = |why: &str| Err(Fault::of(name, format!("the case `{}` {why}", cut(text))));
        match self.0.get(text) {
            None => wrong("does not exist"),
            Some(_) if text == own => wrong("is this case itself"),
            Some((_, false)) => wrong("derives no key"),
            Some((index, true)) => Ok(*index),
        }
    }
}

/// What is wrong, and the byte where it is.
struct Fault {
    offset: usize,
    message: String,
}

impl Fault {
    fn of<T>(what: &Spanned<T>, message: impl Into<String>) -> Self {
        Self { offset: what.span().start, message: message.into() }
    }

    fn misfit(offset: usize, function: &str, fitting: &str) -> Self {
        Self { offset, message: format!("what is expected of a `{function}` is one of {fitting}") }
    }
}

/// A text and where its lines begin.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1));
        Self { text, starts: starts.collect() }
    }

    /// The line in which a byte lies, counted from 1.
    fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }

    /// Line and column of a byte, the column in characters, both counted from 1.
    fn position(&self, offset: usize) -> (usize, usize) {
        let line = self.line(offset);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or_default();
        let before = self.text.get(start..offset).unwrap_or_default();
        (line, before.chars().count() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        assert_eq!(parse(text).unwrap_err().to_string(), expected, "{text}");
    }

    /// A case whose call is at 3:1 and whose expectation begins at 4:1.
    fn case(call: &str, expect: &str) -> String {
        format!("[[case]]\nname = \"a\"\n{call}\nexpect = {expect}\n")
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let no_case = "1:1: there is no case: write one below `[[case]]`";
        let long = format!("x = {}", "1".repeat(MAX_LEN));
        let missing_calls = "2:8: a case has one of `derive`, `select` and `review`";
        let first = "{ first = 1 }";
        for (text, expected) in [
            ("", no_case),
            ("[options]\na = 1", no_case),
            (&long, "1:1: it is larger than 1 MiB"),
            ("[[case]\n", "1:8: unclosed array table, expected `]`"),
            ("\n[[case]]\n", "2:1: missing field `name`"),
            ("\nx = 1", "2:1: unknown field `x`, expected `options` or `case`"),
            ("[[case]]\nname = \"a\"\n", "1:1: missing field `expect`"),
            ("[[case]]\nname = ' '\nexpect = {}", "2:8: a case has a name, in one line"),
            ("[[case]]\nname = \"\\n\"\nexpect = {}", "2:8: a case has a name, in one line"),
            (&case("", first), missing_calls),
            (&case("select = {}\nderive = {}", first), missing_calls),
            (
                &case("select = {}\nnow = 2026-01-01T00:00:00Z", first),
                "4:7: only a `review` has a time",
            ),
            (
                &case("options = { 'ä' = 'ä', a = inf }\nderive = {}", first),
                "3:28: `inf` is not a number that JSON can hold",
            ),
            (
                &(case("select = {}", first) + &case("select = {}", first)),
                "6:8: there are two cases `a`",
            ),
            (
                &case("review = [{}, {\n expires_at = 2025-12-31T00:00:00Z }]", first),
                "3:15: it expires before it was last used: a time to live begins there",
            ),
        ] {
            refused(text, expected);
        }
        let unknown = parse(&case("select = {}\nsort = 1", first)).unwrap_err();
        assert_eq!((unknown.line, unknown.column), (4, 1));
        assert!(unknown.message.starts_with("unknown field `sort`, expected one of `name`"));
        let many = format!("review = [{}]", "{},".repeat(1025));
        refused(&case(&many, first), "3:3083: a review has at most 1024 reservations");
    }

    #[test]
    fn a_message_is_one_short_line_whatever_it_quotes() {
        let service = format!("select = {{ service = \"{}\" }}", "x".repeat(5000));
        for text in [case(&service, "{}"), "\"a\\nb\" = 1".to_owned()] {
            let message = parse(&text).unwrap_err().message;
            assert!(message.len() < 500 && !message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn an_expectation_is_one_that_fits() {
        let of_select = "4:10: what is expected of a `select` is one of `ranges`, `first`, `error`";
        let of_derive = "4:10: what is expected of a `derive` is one of `key`, `same_as`, `differs_from`, `error`";
        let of_review = "4:10: what is expected of a `review` is one of `verdicts`, `error`";
        for (call, expect, expected) in [
            ("select = {}", "{}", of_select),
            ("select = {}", "{ first = 1, ranges = [] }", of_select),
            ("select = {}", "{ key = 'k' }", of_select),
            ("derive = {}", "{ first = 1 }", of_derive),
            ("review = []", "{ first = 1 }", of_review),
            ("review = [{}]", "{ verdicts = [] }", "4:10: there are 0 verdicts for 1 reservations"),
            (
                "review = [{}]",
                "{ verdicts = ['go'] }",
                "4:24: `go` is not a verdict: expected pass, keep, release or release: REASON",
            ),
            ("derive = {}", "{ same_as = 'x' }", "4:22: the case `x` does not exist"),
            ("derive = {}", "{ differs_from = 'a' }", "4:27: the case `a` is this case itself"),
            ("derive = {}", "{ same_as = 'b' }", "4:22: the case `b` derives no key"),
        ] {
            let other = "[[case]]\nname = 'b'\nselect = {}\nexpect = { first = 1 }\n";
            refused(&(case(call, expect) + other), expected);
        }
    }

    #[test]
    fn every_value_is_checked_where_it_stands() {
        let offset = "has no offset from UTC: write it as in `2026-01-05T22:00:00Z`";
        for (call, expected) in [
            ("select = { service = '-x' }", "3:22: \"-x\" is not a service: it begins with `-`"),
            ("select = { key = '' }", "3:18: a key is 1 to 16384 bytes without control characters"),
            (
                "select = { key = \"a\\u0007\" }",
                "3:18: a key is 1 to 16384 bytes without control characters",
            ),
            (
                "select = { allowed = '9-8' }",
                "3:22: `9-8` is not a port range: the first port is above the last",
            ),
            ("select = { allowed = 9 }", "3:22: invalid type: integer `9`, expected a string"),
            ("select = { reserved = [1, 0] }", "3:23: `0` is not a port from 1 to 65535"),
            ("select = { preferred = [-1] }", "3:24: `-1` is not a port from 1 to 65535"),
            ("select = { latest = 70000 }", "3:21: `70000` is not a port from 1 to 65535"),
            ("select = { project = '' }", "3:22: \"\" is not a name: expected 1 to 255 bytes"),
            (
                "derive = { scope = 'all' }",
                "3:20: \"all\" is not a scope: expected directory or project or service",
            ),
            ("derive = { directory = 'work' }", "3:24: `work` is not an absolute path"),
            ("derive = { checkout = { root = 'r' } }", "3:32: `r` is not an absolute path"),
            ("derive = { checkout = { repository = 'r' } }", "3:38: `r` is not an absolute path"),
            (
                "[case.derive]\ncheckout.linked = 1",
                "4:19: invalid type: integer `1`, expected a boolean",
            ),
            (
                "review = [{}, { lease = 'x' }]",
                "3:25: \"x\" is not a lease: expected persistent or ephemeral",
            ),
            (
                "review = [{ owner = 'x' }]",
                "3:21: unknown variant `x`, expected one of `unowned`, `alive`, `dead`, `unknown`",
            ),
            (
                "review = [{ directory_presence = 'x' }]",
                "3:34: unknown variant `x`, expected one of `present`, `gone`, `unknown`",
            ),
            (
                "review = [{ listening = 'x' }]",
                "3:25: unknown variant `x`, expected one of `none`, `mine`, `foreign`, `unknown`",
            ),
            (
                "review = [{ created_at = 1 }]",
                "3:26: invalid type: integer `1`, expected a TOML datetime",
            ),
            ("review = [{ created_at = 2026-01-01 }]", &format!("3:26: `2026-01-01` {offset}")),
            (
                "review = [{ created_at = 2026-01-01T00:00:00 }]",
                &format!("3:26: `2026-01-01T00:00:00` {offset}"),
            ),
            (
                "review = [{ created_at = 1970-01-01T00:00:00+00:01 }]",
                "3:26: `1970-01-01T00:00:00+00:01` is no time: it lies outside the years 1970 to 9999",
            ),
        ] {
            refused(&case(call, "{ first = 1 }"), expected);
        }
    }
}

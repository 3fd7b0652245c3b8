//! `plugin test`, `plugin bench`: a plugin at work, on requests that nobody makes.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::super::explain::timed;
use super::super::strategy::{COMMAND_LINE, Plugins, Strategies};
use super::super::{Engine, Error};
use super::examine::typical_call;
use super::measure::{Cost, Measured};
use super::{Subject, Which};
use crate::conformance::cases::{self, CaseResult, Cases, CasesError};
use crate::conformance::{Check, DeriveCall, ReviewCall, SelectCall, Suite};
use crate::policy::{Cleanup, KeyDerivation, PortSelection};
use crate::wasm::{Interface, NotAPolicy};

/// What to test a plugin with.
#[derive(Debug, Clone)]
pub struct TestRequest {
    /// The plugin.
    pub subject: Subject,
    /// The author's own cases.
    pub cases: Option<PathBuf>,
    /// The built-in checks.
    pub suite: Suite,
}

/// What a test found.
#[derive(Debug)]
pub struct TestReport {
    /// The built-in checks, interface by interface.
    pub checks: Vec<Check>,
    /// The author's own cases, in their order.
    pub cases: Vec<CaseResult>,
    /// What the calls of the built-in checks cost.
    pub costs: Vec<Cost>,
}

/// What using a plugin costs.
#[derive(Debug)]
pub struct BenchReport {
    /// Compiling it; `None` for a bundled one, which is compiled with this program.
    pub compile: Option<Duration>,
    /// The median of loading it when it is compiled, in a process that has just started.
    pub load: Duration,
    /// Typical calls of each of its policies.
    pub costs: Vec<Cost>,
}

/// How often loading is measured.
const LOADS: usize = 21;

impl Engine<'_> {
    /// Runs the built-in checks and the author's cases against a plugin.
    pub fn test_plugin(&self, request: &TestRequest) -> Result<TestReport, Error> {
        let TestRequest { subject, cases, suite } = request;
        let file = cases.as_deref();
        let cases = file.map(read_cases).transpose()?;
        let plugin = self.usable(&subject.plugin)?;
        let mut subject = subject.clone();
        if let (Which::File(_), Some(file), Some(cases)) = (&subject.plugin, file, &cases) {
            // What the author tests with is what the plugin needs to work at all.
            if subject.options.is_empty() {
                plugin.check(cases.options()).map_err(|error| in_cases(file, cases, error))?;
            }
            subject.options = cases.options().clone().into_iter().chain(subject.options).collect();
        }
        let (mut checks, mut costs) = (Vec::new(), Vec::new());
        for interface in plugin.policies() {
            let policy = Measured::new(self.asked_policy(&subject, interface)?);
            checks.extend(match interface {
                Interface::KeyDerivation => suite.derivation(&policy),
                Interface::PortSelection => suite.selection(&policy),
                Interface::Cleanup => suite.cleanup(&policy),
            });
            costs.extend(policy.cost(interface.function()));
        }
        let cases = cases.map_or_else(Vec::new, |cases| {
            cases.run(|function, options| {
                plugin.policy(function.into(), options, COMMAND_LINE.to_owned())
            })
        });
        Ok(TestReport { checks, cases, costs })
    }

    /// Measures compiling, loading and calling a plugin, each of its policies `calls` times.
    pub fn bench_plugin(&self, subject: &Subject, calls: usize) -> Result<BenchReport, Error> {
        let plugin = self.usable(&subject.plugin)?;
        let limits = &self.settings().limits;
        let fresh = |cache| Strategies::new(&Plugins::default(), limits, cache, Rc::new(|_| ()));
        let compile = match self.path(&subject.plugin) {
            None => None,
            Some(path) => {
                let uncached = fresh(None)?;
                let (loaded, time) = timed(|| uncached.file(&subject.plugin.name(), path));
                loaded.map(|_| Some(time))?
            }
        };
        let mut loads = Vec::with_capacity(LOADS);
        for _ in 0..LOADS {
            let fresh = fresh(self.home.cache.as_deref())?;
            let (loaded, time) = timed(|| self.asked_of(&fresh, &subject.plugin));
            loaded?;
            loads.push(time);
        }
        loads.sort_unstable();
        let mut costs = Vec::new();
        for interface in plugin.policies() {
            let policy = Measured::new(self.asked_policy(subject, interface)?);
            if let Err(error) = typical_call(interface, policy.policy()).answer
                && !error.is_refusal()
            {
                return Err(error.into());
            }
            measure(interface, &policy, calls);
            costs.extend(policy.cost(interface.function()));
        }
        Ok(BenchReport { compile, load: loads[LOADS / 2], costs })
    }
}

/// Makes typical calls; a refusal is an answer like any other.
fn measure(interface: Interface, policy: &Measured, calls: usize) {
    let (derive, select, review) =
        (DeriveCall::typical(), SelectCall::typical(), ReviewCall::typical());
    let reviewed = review.reservations();
    for _ in 0..calls {
        match interface {
            Interface::KeyDerivation => drop(policy.derive(&derive.request())),
            Interface::PortSelection => drop(policy.select(&select.request())),
            Interface::Cleanup => drop(policy.review(review.now(), &reviewed)),
        }
    }
}

/// The options of a file of cases that the plugin does not take.
fn in_cases(path: &Path, cases: &Cases, error: NotAPolicy) -> Error {
    match error {
        NotAPolicy::Plugin(error) => error.into(),
        NotAPolicy::Option(error) => {
            let (line, column) = (cases.options_line(), 1);
            let error = CasesError { line, column, message: error.message };
            Error::Cases { path: path.to_owned(), error }
        }
    }
}

fn read_cases(path: &Path) -> Result<Cases, Error> {
    let unreadable = |error: io::Error| Error::File { path: path.to_owned(), error };
    // Opening a pipe would wait for somebody to write into it.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        let message = "it is not a regular file";
        return Err(unreadable(io::Error::new(io::ErrorKind::InvalidInput, message)));
    }
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(cases::MAX_LEN as u64 + 1).read_to_string(&mut text))
        .map_err(unreadable)?;
    cases::parse(&text).map_err(|error| Error::Cases { path: path.to_owned(), error })
}

impl From<cases::Function> for Interface {
    fn from(function: cases::Function) -> Self {
        match function {
            cases::Function::Derive => Self::KeyDerivation,
            cases::Function::Select => Self::PortSelection,
            cases::Function::Review => Self::Cleanup,
        }
    }
}

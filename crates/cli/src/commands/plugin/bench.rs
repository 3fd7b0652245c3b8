use clap::Args;
use hythe_document::Failure;
use hythe_engine::{BenchReport, Engine};
use serde_json::json;

use super::costs;
use super::subject::SubjectArg;
use crate::output::lines::Lines;
use crate::output::{Output, document};

/// Measure what compiling, loading and calling a plugin costs
#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(flatten)]
    subject: SubjectArg,
    /// How many typical calls to make of each policy
    #[arg(long, value_name = "COUNT", default_value_t = 1000,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    calls: u32,
}

impl Bench {
    pub(crate) fn run(&self, engine: &Engine<'_>, output: &Output) -> Result<(), Failure> {
        let calls = usize::try_from(self.calls).unwrap_or(usize::MAX);
        let report = engine.bench_plugin(&self.subject.subject(engine), calls)?;
        let BenchReport { compile, load, costs } = &report;
        if output.json {
            return output.print_json(&json!({
                "version": 1,
                "compile_microseconds": compile.map(document::micros),
                "load_microseconds": document::micros(*load),
                "costs": costs.iter().map(document::cost).collect::<Vec<_>>(),
            }));
        }
        let milliseconds = |time: &std::time::Duration| time.as_secs_f64() * 1e3;
        let (compile, from) = match compile {
            Some(time) => (format!("{:.1} ms, once", milliseconds(time)), "the cache"),
            None => ("with hythe itself".to_owned(), "hythe itself"),
        };
        let mut lines = Lines::within(output.columns());
        lines.field("compiled", &compile);
        lines.field("loaded", &format!("{:.3} ms, from {from}", milliseconds(load)));
        costs::told(&mut lines, costs);
        output.print(lines.text())
    }
}

mod add;
mod bench;
mod check;
mod costs;
mod encode;
mod inspect;
mod list;
mod new;
mod remove;
mod simulate;
mod subject;
mod test;

use clap::Subcommand;
use hythe_document::Failure;
use hythe_engine::Engine;

use crate::output::Output;

/// Look at policy plugins, write, test, measure, pin and remove them
#[derive(Debug, Subcommand)]
pub(crate) enum Plugin {
    List(list::List),
    Inspect(inspect::Inspect),
    Check(check::Check),
    Test(test::Test),
    Bench(bench::Bench),
    Simulate(simulate::Simulate),
    New(new::New),
    Encode(encode::Encode),
    Add(add::Add),
    Remove(remove::Remove),
}

impl Plugin {
    pub(crate) fn run(&self, engine: &Engine<'_>, output: &Output) -> Result<(), Failure> {
        match self {
            Self::List(list) => list.run(engine, output),
            Self::Inspect(inspect) => inspect.run(engine, output),
            Self::Check(check) => check.run(engine, output),
            Self::Test(test) => test.run(engine, output),
            Self::Bench(bench) => bench.run(engine, output),
            Self::Simulate(simulate) => simulate.run(engine, output),
            Self::New(new) => new.run(engine, output),
            Self::Encode(encode) => encode.run(engine, output),
            Self::Add(add) => add.run(engine, output),
            Self::Remove(remove) => remove.run(engine, output),
        }
    }
}

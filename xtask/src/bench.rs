//! `cargo xtask bench`: whole processes, timed side by side in one run.
//!
//! The floor is a program that prints `hello`, built by the same compiler; the peer is trop 0.2, when
//! it is on the path (`cargo install trop-cli --version 0.2.0 --locked`). Everybody takes turns, so
//! that a machine whose speed drifts is slow for all of them. What is quoted is medians and ratios:
//! they are figures to look at, and a goal that is missed fails nothing.
//!
//! Databases lie in the directory for temporary files: `TMPDIR` chooses the file system, and a
//! file system in memory makes every sync free.

mod counters;
mod crowd;
mod race;
mod row;
mod serve;
mod server;
mod world;
mod yard;

use std::error::Error;
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

use clap::{Args, Subcommand};

use self::race::{Field, Turn};
use self::row::Goal;
use self::server::{Server, listen};
use self::world::World;
use self::yard::Program::{self, Hythe, Trop};
use self::yard::Yard;

/// Time whole processes side by side.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// How often each process is run; slow ones more seldom
    #[arg(long, default_value = "200")]
    runs: NonZeroUsize,
    /// How many reservations the large ledgers hold
    #[arg(long, default_value = "10000", value_parser = clap::value_parser!(u16).range(10..=10_000))]
    large: u16,
    /// Like --runs 40
    #[arg(long)]
    quick: bool,
    /// Stand for a server on this port, until stdin ends
    #[arg(long, hide = true)]
    listen: Option<u16>,
    #[command(subcommand)]
    instead: Option<Instead>,
}

/// What is timed instead.
#[derive(Debug, Subcommand)]
enum Instead {
    /// The HTTP server under load, beside a handler that always answers the same; needs wrk
    Serve {
        /// How long each is asked
        #[arg(long, default_value = "10", value_parser = clap::value_parser!(u32).range(1..))]
        seconds: u32,
    },
}

type Outcome<T> = Result<T, Box<dyn Error>>;

impl Bench {
    /// Prints the table, operation by operation. Fails when a program cannot be built or run.
    pub(crate) fn run(&self, root: &Path) -> Outcome<()> {
        if let Some(port) = self.listen {
            return listen(port);
        }
        if let Some(Instead::Serve { seconds }) = self.instead {
            return serve::run(root, seconds);
        }
        let yard = Yard::open(root)?;
        row::print_header();
        self.warm(&yard)?;
        self.crowded(&yard)?;
        self.cold(&yard)?;
        self.custom(&yard)?;
        self.bulk(&yard)?;
        crowd::together(&yard, 64, self.slow())?;
        crowd::in_turn(&yard, 1000, 16)?;
        counters::print(&yard, self.runs())
    }

    fn runs(&self) -> usize {
        if self.quick { 40 } else { self.runs.get() }
    }

    /// The rounds of what takes a tenth of a second.
    fn slow(&self) -> usize {
        self.runs().div_ceil(20)
    }

    /// What is asked for again.
    fn warm(&self, yard: &Yard) -> Outcome<()> {
        let world = yard.settled()?;
        let again = |program| turn(&world, program, &["reserve"]);
        let goals = [Goal::Floor(2.0), Goal::Trop(0.5)];
        Field::both(again).race(yard, "reserve, warm", self.runs(), &goals)?;
        let get = Field::hythe(turn(&world, Hythe, &["get"]));
        get.race(yard, "get", self.runs(), &[Goal::Floor(1.5)])?;

        let mut servers = Vec::new();
        for program in [Hythe, Trop].into_iter().filter(|program| yard.has(*program)) {
            servers.push(Server::start(&world.place(), &world.answer(program, &["reserve"])?)?);
        }
        let name = "reserve, warm, own server listening";
        Field::both(again).race(yard, name, self.runs(), &[Goal::Trop(0.7)])
    }

    /// What is asked for again, and new keys, among few and many reservations.
    fn crowded(&self, yard: &Yard) -> Outcome<()> {
        let filled = |count| yard.settled()?.filled(count, false);
        let (few, some, many) = (filled(10)?, filled(1000)?, filled(self.large)?);
        for (count, world) in [(1000, &some), (self.large, &many)] {
            let name = format!("reserve, warm, among {count}");
            Field::hythe(turn(world, Hythe, &["reserve"]))
                .beside("among 10", turn(&few, Hythe, &["reserve"]))
                .race(yard, &name, self.runs(), &[Goal::Beside(1.1)])?;
        }

        let new = |world| {
            move |program| {
                // Every other port of the range has its reservation in the largest ledger.
                let arguments: &[_] = match program {
                    Trop => &["reserve", "--tag", "new", "--min", "10000", "--max", "29999"],
                    _ => &["reserve", "new", "--range", "10000-29999"],
                };
                restored(world, program, arguments)
            }
        };
        let runs = self.runs().div_ceil(2);
        Field::both(new(&few)).race(yard, "reserve, new key, among 10", runs, &[])?;
        let name = format!("reserve, new key, among {}", self.large);
        let beside = new(&few)(Hythe);
        let field = Field::both(new(&many)).beside("among 10", beside);
        field.race(yard, &name, runs, &[Goal::Beside(1.5)])
    }

    /// The first call of all.
    fn cold(&self, yard: &Yard) -> Outcome<()> {
        let world = yard.world()?;
        let first = |program| -> Turn<'_> {
            let world = &world;
            Box::new(move || {
                world.forget(program)?;
                Ok(world.command(program, &["reserve"]))
            })
        };
        let runs = self.runs().div_ceil(2);
        Field::both(first).race(yard, "reserve, cold: no ledger yet", runs, &[Goal::Trop(0.8)])
    }

    /// A plugin that is not bundled, though its bytes are.
    fn custom(&self, yard: &Yard) -> Outcome<()> {
        let (bundled, custom, cached) = (yard.settled()?, yard.world()?, yard.world()?);
        for world in [&custom, &cached] {
            world.use_custom_plugin()?;
            world.answer(Hythe, &["reserve"])?;
        }
        Field::hythe(turn(&custom, Hythe, &["reserve"]))
            .beside("bundled", turn(&bundled, Hythe, &["reserve"]))
            .race(yard, "reserve, warm, custom plugin", self.runs(), &[Goal::Beside(1.3)])?;

        let unused = yard.settled()?;
        unused.declare_unused(10)?;
        Field::hythe(turn(&unused, Hythe, &["reserve"]))
            .beside("none declared", turn(&bundled, Hythe, &["reserve"]))
            .race(yard, "reserve, warm, ten plugins unused", self.runs(), &[Goal::Beside(1.05)])?;

        let first = || {
            fs::remove_dir_all(custom.cache())?;
            Ok(custom.command(Hythe, &["reserve"]))
        };
        Field::hythe(Box::new(first)).beside("cached", turn(&cached, Hythe, &["reserve"])).race(
            yard,
            "reserve, first use of a plugin",
            self.slow(),
            &[Goal::Beyond(50.0)],
        )
    }

    /// What touches all reservations.
    fn bulk(&self, yard: &Yard) -> Outcome<()> {
        let world = yard.settled()?.filled(self.large, true)?;
        let goals = [Goal::Trop(0.3)];
        let name = format!("list of {}", self.large);
        let list = |program| turn(&world, program, &["list"]);
        Field::both(list).race(yard, &name, self.slow(), &goals)?;

        let name = format!("cleanup of {}, half gone", self.large);
        let cleanup = |program| {
            let arguments: &[_] = if program == Trop { &["prune"] } else { &["cleanup"] };
            restored(&world, program, arguments)
        };
        Field::both(cleanup).race(yard, &name, self.slow(), &goals)
    }
}

/// Runs the same command each time.
fn turn<'a>(world: &'a World<'_>, program: Program, arguments: &'a [&str]) -> Turn<'a> {
    Box::new(move || Ok(world.command(program, arguments)))
}

/// Runs the same command on the same database each time.
fn restored<'a>(world: &'a World<'_>, program: Program, arguments: &'a [&str]) -> Turn<'a> {
    Box::new(move || {
        world.restore(program)?;
        Ok(world.command(program, arguments))
    })
}

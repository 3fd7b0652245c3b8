//! Crowds: many processes on one ledger, each with a key of its own.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use super::Outcome;
use super::race::quantile;
use super::row::{Goal, Row};
use super::yard::Program::{self, Hythe, Trop};
use super::yard::Yard;

/// What became of a crowd.
#[derive(Default)]
struct Crowd {
    /// From the first start to the last end, in milliseconds.
    wall: Vec<f64>,
    /// Of each process, in milliseconds.
    times: Vec<f64>,
    /// How many failed, or got a port that another got as well.
    wrong: usize,
}

/// How long all of many processes take that are started at once.
pub(super) fn together(yard: &Yard, processes: usize, runs: usize) -> Outcome<()> {
    let (mut hythe, mut trop) = (Crowd::default(), Crowd::default());
    for _ in 0..runs {
        hythe.gather(yard, Hythe, processes, processes)?;
        trop.gather(yard, Trop, processes, processes)?;
    }
    let name = &format!("{processes} new keys at once, all of them");
    let figures = [quantile(hythe.wall, 50), quantile(trop.wall, 50), None];
    print(name, figures, &[Goal::Trop(0.6)], [hythe.wrong, trop.wrong]);
    Ok(())
}

/// How long the slowest hundredth of very many processes take.
pub(super) fn in_turn(yard: &Yard, processes: usize, at_once: usize) -> Outcome<()> {
    let (mut hythe, mut trop) = (Crowd::default(), Crowd::default());
    hythe.gather(yard, Hythe, processes, at_once)?;
    trop.gather(yard, Trop, processes, at_once)?;
    let name = &format!("{processes} new keys, {at_once} at a time, p99");
    let half = quantile(hythe.times.clone(), 50);
    let figures = [quantile(hythe.times, 99), quantile(trop.times, 99), half];
    print(name, figures, &[Goal::Beside(10.0)], [hythe.wrong, trop.wrong]);
    Ok(())
}

fn print(name: &str, figures: [Option<f64>; 3], goals: &[Goal], wrong: [usize; 2]) {
    let [hythe, trop, half] = figures;
    let sound = Goal::Holds("all succeed, no duplicate", wrong[0] == 0);
    Row { name, floor: None, trop, hythe, beside: half.map(|half| ("p50", half)) }
        .print(&[goals, &[sound]].concat());
    if wrong[1] > 0 {
        println!("{:<40} trop: {} processes failed or share a port", "", wrong[1]);
    }
}

impl Crowd {
    /// Starts so many processes in a new world, each for a key of its own, and adds what happens.
    fn gather(
        &mut self,
        yard: &Yard,
        program: Program,
        processes: usize,
        at_once: usize,
    ) -> Outcome<()> {
        if !yard.has(program) {
            return Ok(());
        }
        let world = &yard.world()?;
        let next = &AtomicUsize::new(0);
        let (sender, ended) = mpsc::channel();
        let started = Instant::now();
        thread::scope(|scope| {
            for _ in 0..at_once {
                let sender = sender.clone();
                scope.spawn(move || {
                    while let number = next.fetch_add(1, Ordering::Relaxed)
                        && number < processes
                    {
                        let service = format!("service-{number}");
                        let arguments: &[_] = match program {
                            Trop => &["reserve", "--tag", &service],
                            _ => &["reserve", &service],
                        };
                        let started = Instant::now();
                        let output = world.command(program, arguments).output();
                        // The receiver outlives this scope.
                        let _ = sender.send(output.map(|output| (output, started.elapsed())));
                    }
                });
            }
        });
        self.wall.push(started.elapsed().as_secs_f64() * 1e3);
        drop(sender);

        let mut ports = BTreeSet::new();
        for (output, time) in ended.into_iter().collect::<io::Result<Vec<_>>>()? {
            self.times.push(time.as_secs_f64() * 1e3);
            if !output.status.success() || !ports.insert(output.stdout) {
                self.wrong += 1;
            }
        }
        Ok(())
    }
}

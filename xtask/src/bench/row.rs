//! The table: one row for each operation, and whether its goals are met.

use std::fmt;

/// An operation, and what it costs each program, as far as that was measured.
#[derive(Default)]
pub(super) struct Row<'a> {
    pub(super) name: &'a str,
    pub(super) floor: Option<f64>,
    pub(super) trop: Option<f64>,
    pub(super) hythe: Option<f64>,
    /// Something else of Hythe's that it is measured by.
    pub(super) beside: Option<(&'static str, f64)>,
}

/// How much Hythe may cost at most.
#[derive(Clone, Copy)]
pub(super) enum Goal {
    /// So many times the floor.
    Floor(f64),
    /// So many times trop.
    Trop(f64),
    /// So many times what stands beside it.
    Beside(f64),
    /// So much more than what stands beside it.
    Beyond(f64),
    /// So much.
    Absolute(f64),
    /// Something else that must hold, and whether it does.
    Holds(&'static str, bool),
}

pub(super) fn print_header() {
    println!(
        "{:<40} {:>8} {:>8} {:>8} {:>8} {:>8}  goals",
        "medians, ms unless named", "floor", "trop", "hythe", "× floor", "× trop"
    );
}

impl Row<'_> {
    pub(super) fn print(&self, goals: &[Goal]) {
        let goals: Vec<_> = goals.iter().map(|goal| self.judge(*goal)).collect();
        println!(
            "{:<40} {:>8} {:>8} {:>8} {:>8} {:>8}  {}",
            self.name,
            Figure(self.floor),
            Figure(self.trop),
            Figure(self.hythe),
            Figure(self.times(self.floor)),
            Figure(self.times(self.trop)),
            goals.join("; ")
        );
    }

    fn times(&self, other: Option<f64>) -> Option<f64> {
        self.hythe.zip(other).map(|(hythe, other)| hythe / other)
    }

    fn judge(&self, goal: Goal) -> String {
        let (label, beside) = self.beside.unzip();
        let label = label.unwrap_or_default();
        let (found, most, of) = match goal {
            Goal::Floor(most) => (self.times(self.floor), most, " × floor".to_owned()),
            Goal::Trop(most) => (self.times(self.trop), most, " × trop".to_owned()),
            Goal::Beside(most) => (self.times(beside), most, format!(" × {label}")),
            Goal::Beyond(most) => {
                let more = self.hythe.zip(beside).map(|(hythe, beside)| hythe - beside);
                (more, most, format!(" more than {label}"))
            }
            Goal::Absolute(most) => (self.hythe, most, String::new()),
            Goal::Holds(what, holds) => {
                return format!("{what}: {}", if holds { "met" } else { "missed" });
            }
        };
        match found {
            None => format!("≤ {most}{of}: not measured"),
            Some(found) if found <= most => format!("≤ {most}{of}: met, {found:.2}"),
            Some(found) => format!("≤ {most}{of}: missed, {found:.2}"),
        }
    }
}

/// A number, or nothing.
struct Figure(Option<f64>);

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => f.pad(&format!("{number:.2}")),
            None => f.pad("-"),
        }
    }
}

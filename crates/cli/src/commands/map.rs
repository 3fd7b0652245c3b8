use clap::Args;
use hythe_document::Failure;
use hythe_engine::{Engine, PortMap, PortRange, PortState};

use crate::output::lines::Lines;
use crate::output::picture::{Mark, Picture};
use crate::output::{Output, document};

/// Show a picture of the range: free, reserved, listening, held by others, frozen, excluded
#[derive(Debug, Args)]
pub(crate) struct Map {
    /// Of this range instead of the one in force here
    #[arg(value_name = "FIRST-LAST")]
    range: Option<PortRange>,
}

impl Map {
    pub(crate) fn run(&self, engine: &Engine<'_>, output: &Output) -> Result<(), Failure> {
        let map = engine.map(self.range)?;
        if let Some(reason) = &map.unseen {
            output.note(&format!("who listens cannot be told: {reason}"));
        }
        if output.json {
            return output.print_json(&document::map(&map));
        }
        let marks: Vec<_> = map.states.iter().map(|state| mark(*state)).collect();
        let picture = Picture { range: map.range, marks: &marks, given: None };
        let mut lines = Lines::default();
        for line in picture.lines(output.width(), |color, text| output.paint(color, text)) {
            lines.line(&line);
        }
        lines.line(&totals(&map));
        output.print(lines.text())
    }
}

/// How many ports there are of each state that occurs.
fn totals(map: &PortMap) -> String {
    let states = [
        PortState::Free,
        PortState::Reserved,
        PortState::Listening,
        PortState::Foreign,
        PortState::Frozen,
        PortState::Excluded,
    ];
    let counted = states.map(|state| (map.states.iter().filter(|it| **it == state).count(), state));
    let told = counted.iter().filter(|(count, _)| *count > 0);
    let told: Vec<_> = told.map(|(count, state)| format!("{count} {}", state.word())).collect();
    told.join(", ")
}

const fn mark(state: PortState) -> Mark {
    match state {
        PortState::Free => Mark::Free,
        PortState::Reserved => Mark::Reserved,
        PortState::Listening => Mark::Listening,
        PortState::Foreign => Mark::Foreign,
        PortState::Frozen => Mark::Frozen,
        PortState::Excluded => Mark::Excluded,
    }
}

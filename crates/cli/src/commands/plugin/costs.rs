use hythe_engine::Cost;

use crate::output::document;
use crate::output::lines::Lines;
use crate::output::table::Table;

/// Writes what the calls of policies cost; nothing where there were none.
pub(super) fn told(lines: &mut Lines, costs: &[Cost]) {
    if costs.is_empty() {
        return;
    }
    let headings = ["PLUGIN", "FUNCTION", "CALLS", "MEDIAN", "P99", "FUEL", "MEMORY"];
    let mut table = Table::new(&headings, 0);
    for cost in costs {
        table.row([
            cost.plugin.clone(),
            cost.function.to_owned(),
            cost.calls.to_string(),
            format!("{:.0} µs", document::micros(cost.median)),
            format!("{:.0} µs", document::micros(cost.p99)),
            cost.most.fuel.to_string(),
            format!("{} KiB", cost.most.memory >> 10),
        ]);
    }
    lines.line("");
    table.render(|_, cell| cell.to_owned()).lines().for_each(|line| lines.line(line));
}

//! Lists for programs: CSV and TSV.

use clap::ValueEnum;

use super::clean;

/// How to write a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Csv,
    Tsv,
}

/// A heading and rows as CSV, or else as TSV.
pub(crate) fn separated<const N: usize>(
    format: Format,
    headings: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> String {
    let line = if format == Format::Csv { csv } else { tsv };
    std::iter::once(headings.map(str::to_owned)).chain(rows).map(|cells| line(&cells)).collect()
}

/// A line of CSV (RFC 4180): what contains a comma, a quote or a line break is quoted.
fn csv(cells: &[String]) -> String {
    let quoted = cells.iter().map(|cell| {
        // Line breaks can be quoted; what commands a terminal cannot.
        let cell = cell.split_inclusive(['\n', '\r']).map(|line| {
            let end = line.trim_end_matches(['\n', '\r']).len();
            format!("{}{}", clean(&line[..end]), &line[end..])
        });
        let cell = cell.collect::<String>();
        if cell.contains(['"', ',', '\n', '\r']) {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell
        }
    });
    format!("{}\r\n", quoted.collect::<Vec<_>>().join(","))
}

/// A line of TSV, where a tab or a line break cannot be quoted: control characters are escaped.
fn tsv(cells: &[String]) -> String {
    let cleaned: Vec<_> = cells.iter().map(|cell| clean(cell)).collect();
    format!("{}\n", cleaned.join("\t"))
}

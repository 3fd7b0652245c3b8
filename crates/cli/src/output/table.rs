//! Tables that fit the terminal: aligned columns, the widest of the shrinkable ones cut first.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::clean;

/// What a table is not squeezed below, however narrow the terminal.
const NARROWEST: usize = 40;

/// Rows under headings. Cells are cleaned of control characters.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    shrinkable: usize,
}

impl Table {
    /// A table with these headings; when it is too wide, the column `shrinkable` is cut.
    pub(crate) fn new(headings: &[&str], shrinkable: usize) -> Self {
        Self {
            rows: vec![headings.iter().map(|heading| (*heading).to_owned()).collect()],
            shrinkable,
        }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| clean(&cell)).collect());
    }

    /// The table, for stdout, each cell painted by its column. What is not a terminal gets everything
    /// uncut.
    pub(crate) fn render(&self, paint: impl Fn(usize, &str) -> String) -> String {
        let terminal = terminal_size::terminal_size_of(std::io::stdout());
        let limit = terminal.map(|(width, _)| usize::from(width.0).max(NARROWEST));
        self.render_within(limit, paint)
    }

    fn render_within(&self, limit: Option<usize>, paint: impl Fn(usize, &str) -> String) -> String {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| width_of(cell))
                .max()
                .unwrap_or(0)
        };
        let mut widths: Vec<_> = (0..columns).map(width).collect();
        let total = widths.iter().sum::<usize>() + 2 * columns.saturating_sub(1);
        if let (Some(limit), Some(shrinkable)) = (limit, widths.get_mut(self.shrinkable)) {
            *shrinkable =
                shrinkable.saturating_sub(total.saturating_sub(limit)).max(8).min(*shrinkable);
        }
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let cell = cut(cell, *width);
                let padding = width.saturating_sub(width_of(&cell)) + 2;
                line.push_str(&paint(column, &cell));
                line.extend(std::iter::repeat_n(' ', padding));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// `text` in at most `width` columns: what is cut is the middle, because paths begin and end with
/// what tells them apart.
fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if width_of(text) <= width {
        return Cow::Borrowed(text);
    }
    let room = width.saturating_sub(1);
    let head = fitting(text.chars(), room / 3);
    let tail: String = fitting(text.chars().rev(), room - room / 3).chars().rev().collect();
    Cow::Owned(format!("{head}…{tail}"))
}

/// How many columns a text takes that has no control characters.
fn width_of(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.width() }
}

fn fitting(characters: impl Iterator<Item = char>, width: usize) -> String {
    let mut left = width;
    characters
        .take_while(|character| {
            let needed = character.width().unwrap_or(0);
            let fits = needed <= left;
            left = left.saturating_sub(needed);
            fits
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(_: usize, cell: &str) -> String {
        cell.to_owned()
    }

    #[test]
    fn a_table_fits_and_keeps_both_ends_of_a_path() {
        let mut table = Table::new(&["PORT", "DIRECTORY", "SERVICE"], 1);
        table.row(["20000".into(), "/home/someone/work/payments/checkout".into(), "web".into()]);
        assert_eq!(
            table.render_within(Some(40), plain),
            "PORT   DIRECTORY                 SERVICE\n\
             20000  /home/s…ayments/checkout  web\n"
        );
        assert!(table.render_within(None, plain).contains("/home/someone/work/payments/checkout"));
    }

    #[test]
    fn wide_characters_count_twice() {
        assert_eq!(cut("/日本語/日本語", 9), "/…日本語");
    }
}

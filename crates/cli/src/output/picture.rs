//! A picture of a range of ports: rows of cells, each cell a run of neighbouring ports.

use std::ops::Range;

use anstyle::AnsiColor;
use hythe_engine::PortRange;

/// What a picture is not squeezed below, however narrow the terminal.
const NARROWEST: usize = 40;

/// How many cells a row may have. Rows then begin at ports that people can count with.
const COLUMNS: &[usize] = &[200, 100, 50, 20];

/// How many ports a cell may stand for.
const SIZES: &[usize] = &[1, 2, 5, 10, 20, 50, 100, 200, 500];

/// A picture with more rows than this has larger cells.
const MOST_ROWS: usize = 20;

/// From a little to all.
const SHADES: [char; 4] = ['░', '▒', '▓', '█'];

/// What stands between two entries of the legend.
const GAP: &str = "   ";

/// What a port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mark {
    /// Nothing of what follows.
    #[default]
    Free,
    /// It is reserved, and nobody listens.
    Reserved,
    /// It is reserved, and its own server listens.
    Listening,
    /// Somebody else holds it.
    Foreign,
    /// It was given back a moment ago.
    Frozen,
    /// It is never given.
    Excluded,
}

/// A range of ports, and what there is to say of each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Picture<'a> {
    pub(crate) range: PortRange,
    /// What each port is, from the first of the range on; what is missing is free.
    pub(crate) marks: &'a [Mark],
    /// How often each port was given, from the first of the range on. With it the shades say how
    /// often a cell's ports were given, and what is reserved only has a colour; without it they say
    /// how many of them are reserved.
    pub(crate) given: Option<&'a [u32]>,
}

/// The ports of one cell.
struct Cell<'a> {
    size: usize,
    marks: &'a [Mark],
    given: u64,
}

impl Picture<'_> {
    /// The lines for a terminal of this many columns, the legend last. `paint` gives text a colour.
    pub(crate) fn lines(
        &self,
        width: usize,
        paint: impl Fn(AnsiColor, &str) -> String,
    ) -> Vec<String> {
        let width = width.max(NARROWEST);
        let margin = self.range.last().to_string().len();
        let room = width.saturating_sub(margin + 2);
        let total = self.range.size();
        let columns = first(COLUMNS, |columns| *columns <= room);
        let size = first(SIZES, |size| total.div_ceil(columns * size) <= MOST_ROWS);

        let cells: Vec<_> = (0..total)
            .step_by(size)
            .map(|begin| self.cell(begin..total.min(begin + size)))
            .collect();
        let most = cells.iter().map(|cell| cell.given).max().unwrap_or(0);
        let drawn: Vec<_> = cells.iter().map(|cell| self.draw(cell, most)).collect();

        let ports = self.range.ports().step_by(columns * size);
        let mut lines: Vec<_> = ports
            .zip(drawn.chunks(columns))
            .map(|(port, row)| format!("{port:>margin$}  {}", painted(row, &paint)))
            .collect();
        // What only has a colour is not explained where there is none.
        let colored = paint(AnsiColor::Green, "█") != "█";
        lines.extend(wrapped(self.legend(size, most, &drawn, colored), width, &paint));
        lines
    }

    fn cell(&self, ports: Range<usize>) -> Cell<'_> {
        let given = self.given.map_or(&[][..], |given| within(given, &ports));
        Cell {
            size: ports.len(),
            marks: within(self.marks, &ports),
            given: given.iter().copied().map(u64::from).sum(),
        }
    }

    fn draw(&self, cell: &Cell<'_>, most: u64) -> (char, Option<AnsiColor>) {
        let count = |mark| cell.marks.iter().filter(|other| **other == mark).count();
        let has = |mark| cell.marks.contains(&mark);
        if self.given.is_some() {
            if let Some(shade) = shade(cell.given, most) {
                let color = [Mark::Listening, Mark::Reserved].into_iter().find(|mark| has(*mark));
                return (shade, color.and_then(color_of));
            }
        } else if has(Mark::Listening) {
            return ('●', color_of(Mark::Listening));
        } else if let Some(shade) = shade(wide(count(Mark::Reserved)), wide(cell.size)) {
            return (shade, color_of(Mark::Reserved));
        }
        let mark = if has(Mark::Foreign) {
            Mark::Foreign
        } else if has(Mark::Frozen) {
            Mark::Frozen
        } else if 2 * count(Mark::Excluded) >= cell.size {
            Mark::Excluded
        } else {
            Mark::Free
        };
        (glyph(mark), color_of(mark))
    }

    /// What the glyphs in the picture mean: each entry its glyphs, their colour and their meaning.
    fn legend(
        &self,
        size: usize,
        most: u64,
        drawn: &[(char, Option<AnsiColor>)],
        colored: bool,
    ) -> Vec<(String, Option<AnsiColor>, String)> {
        let seen = |mark| drawn.iter().any(|(drawn, _)| *drawn == glyph(mark));
        let shaded = drawn.iter().any(|(drawn, _)| SHADES.contains(drawn));
        let ports = if size == 1 { "port" } else { "ports" };
        let mut entries = vec![(size.to_string(), None, format!("{ports} a cell"))];
        let mut entry = |mark, glyphs: String, meaning: &str| {
            entries.push((glyphs, color_of(mark), meaning.to_owned()));
        };
        if seen(Mark::Free) {
            let meaning = if self.given.is_some() { "never given" } else { "free" };
            entry(Mark::Free, glyph(Mark::Free).to_string(), meaning);
        }
        if shaded && self.given.is_some() {
            for (shade, times) in scale(most) {
                entry(Mark::Free, shade.to_string(), &format!("given {times}"));
            }
            for (mark, meaning) in
                [(Mark::Reserved, "reserved at the end"), (Mark::Listening, "listening")]
            {
                let color = color_of(mark);
                if colored
                    && drawn.iter().any(|(drawn, other)| SHADES.contains(drawn) && *other == color)
                {
                    entry(mark, "coloured:".to_owned(), meaning);
                }
            }
        } else if shaded {
            let glyphs = if size == 1 { &SHADES[3..] } else { &SHADES[..] };
            entry(Mark::Reserved, glyphs.iter().collect(), "reserved");
        }
        for (mark, meaning) in [
            (Mark::Listening, "listening"),
            (Mark::Foreign, "held by others"),
            (Mark::Frozen, "frozen"),
            (Mark::Excluded, "excluded"),
        ] {
            if seen(mark) {
                entry(mark, glyph(mark).to_string(), meaning);
            }
        }
        entries
    }
}

/// The glyph of a cell without any shade.
fn glyph(mark: Mark) -> char {
    match mark {
        Mark::Free => '·',
        Mark::Reserved => SHADES[3],
        Mark::Listening => '●',
        Mark::Foreign => '○',
        Mark::Frozen => '~',
        Mark::Excluded => '×',
    }
}

fn color_of(mark: Mark) -> Option<AnsiColor> {
    match mark {
        Mark::Free => None,
        Mark::Reserved => Some(AnsiColor::Cyan),
        Mark::Listening => Some(AnsiColor::Green),
        Mark::Foreign => Some(AnsiColor::Red),
        Mark::Frozen => Some(AnsiColor::Blue),
        Mark::Excluded => Some(AnsiColor::BrightBlack),
    }
}

/// The shade for `part` of `whole`; `None` for nothing.
fn shade(part: u64, whole: u64) -> Option<char> {
    let level = (4 * part).div_ceil(whole.max(1)).checked_sub(1)?;
    usize::try_from(level).ok().and_then(|level| SHADES.get(level).copied())
}

/// Which numbers each shade stands for, up to `most`; a shade without any is left out.
fn scale(most: u64) -> impl Iterator<Item = (char, String)> {
    SHADES.into_iter().zip(0..).filter_map(move |(shade, level)| {
        let (low, high) = (most * level / 4 + 1, most * (level + 1) / 4);
        match low.cmp(&high) {
            std::cmp::Ordering::Less => Some((shade, format!("{low}-{high}"))),
            std::cmp::Ordering::Equal => Some((shade, low.to_string())),
            std::cmp::Ordering::Greater => None,
        }
    })
}

/// Cells of the same colour are painted together.
fn painted(
    row: &[(char, Option<AnsiColor>)],
    paint: &impl Fn(AnsiColor, &str) -> String,
) -> String {
    let runs = row.chunk_by(|(_, one), (_, other)| one == other);
    let run = |run: &[(char, Option<AnsiColor>)]| {
        let text: String = run.iter().map(|(glyph, _)| glyph).collect();
        let color = run.first().and_then(|(_, color)| *color);
        color.map_or(text.clone(), |color| paint(color, &text))
    };
    runs.map(run).collect()
}

/// The entries of a legend on lines of at most `width` columns.
fn wrapped(
    entries: Vec<(String, Option<AnsiColor>, String)>,
    width: usize,
    paint: &impl Fn(AnsiColor, &str) -> String,
) -> Vec<String> {
    let mut lines: Vec<Vec<String>> = Vec::new();
    let mut used = 0;
    for (glyphs, color, meaning) in entries {
        // Every glyph and every letter of a legend takes one column.
        let needed = GAP.len() + glyphs.chars().count() + 1 + meaning.chars().count();
        let glyphs = color.map_or(glyphs.clone(), |color| paint(color, &glyphs));
        let entry = format!("{glyphs} {meaning}");
        match lines.last_mut() {
            Some(line) if used + needed <= width + GAP.len() => line.push(entry),
            _ => {
                lines.push(vec![entry]);
                used = 0;
            }
        }
        used += needed;
    }
    lines.iter().map(|line| line.join(GAP)).collect()
}

/// The first of `choices` that will do, else the last.
fn first(choices: &[usize], will_do: impl Fn(&usize) -> bool) -> usize {
    choices.iter().find(|choice| will_do(choice)).or(choices.last()).copied().unwrap_or(1)
}

/// What `values` has of a run.
fn within<'a, T>(values: &'a [T], run: &Range<usize>) -> &'a [T] {
    let end = run.end.min(values.len());
    values.get(run.start..end).unwrap_or_default()
}

fn wide(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> PortRange {
        text.parse().unwrap()
    }

    fn plain(_: AnsiColor, text: &str) -> String {
        text.to_owned()
    }

    fn marked(range: PortRange, marks: &[(u16, u16, Mark)]) -> Vec<Mark> {
        let mark = |port: u16| {
            let found =
                marks.iter().rev().find(|(first, last, _)| (*first..=*last).contains(&port));
            found.map_or(Mark::Free, |(.., mark)| *mark)
        };
        range.ports().map(|port| mark(port.get())).collect()
    }

    #[test]
    fn small_ranges_show_every_port() {
        let range = range("20000-20024");
        let marks = marked(
            range,
            &[
                (20000, 20001, Mark::Reserved),
                (20002, 20002, Mark::Listening),
                (20004, 20004, Mark::Foreign),
                (20005, 20005, Mark::Frozen),
                (20022, 20024, Mark::Excluded),
            ],
        );
        let picture = Picture { range, marks: &marks, given: None };
        let expected = [
            "20000  ██●·○~··············",
            "20020  ··×××",
            "1 port a cell   · free   █ reserved",
            "● listening   ○ held by others",
            "~ frozen   × excluded",
        ];
        assert_eq!(picture.lines(40, plain), expected);
        assert_eq!(picture.lines(1, plain), expected, "it is not squeezed any further");
        assert_eq!(
            picture.lines(120, plain),
            [
                "20000  ██●·○~················×××",
                "1 port a cell   · free   █ reserved   ● listening   ○ held by others   ~ frozen   \
                 × excluded",
            ]
        );
    }

    #[test]
    fn one_port_is_a_picture() {
        let range = range("5432");
        let free = Picture { range, marks: &[], given: None };
        assert_eq!(free.lines(80, plain), ["5432  ·", "1 port a cell   · free"]);
        let reserved = Picture { range, marks: &[Mark::Reserved], given: None };
        assert_eq!(reserved.lines(80, plain), ["5432  █", "1 port a cell   █ reserved"]);
    }

    #[test]
    fn shades_say_how_much_of_a_cell_is_reserved() {
        let range = range("20000-22000");
        let marks = marked(
            range,
            &[
                (20001, 20001, Mark::Reserved),
                (20002, 20003, Mark::Reserved),
                (20004, 20004, Mark::Excluded),
                (20006, 20006, Mark::Excluded),
                (22000, 22000, Mark::Reserved),
            ],
        );
        let picture = Picture { range, marks: &marks, given: None };
        let lines = picture.lines(80, plain);
        assert_eq!(lines.len(), 10);
        assert_eq!(lines[0], format!("20000  ▓{}", "·".repeat(49)));
        assert_eq!(lines[1], format!("20250  {}", "·".repeat(50)));
        assert_eq!(lines[8], "22000  █", "the last cell is a single port");
        assert_eq!(lines[9], "5 ports a cell   · free   ░▒▓█ reserved");
    }

    #[test]
    fn counts_are_shaded_by_the_largest() {
        let range = range("20000-20011");
        let given = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0];
        let marks = marked(range, &[(20000, 20000, Mark::Foreign), (20001, 20001, Mark::Foreign)]);
        let picture = Picture { range, marks: &marks, given: Some(&given) };
        assert_eq!(
            picture.lines(100, plain),
            [
                "20000  ○░░▒▒▒▓▓███·",
                "1 port a cell   · never given   ░ given 1-2   ▒ given 3-5   ▓ given 6-7   \
                 █ given 8-10",
                "○ held by others",
            ]
        );
        let once = Picture { range, marks: &[], given: Some(&[0, 1]) };
        let lines = once.lines(100, plain);
        assert_eq!(lines[0], "20000  ·█··········");
        assert_eq!(lines[1], "1 port a cell   · never given   █ given 1");
    }

    #[test]
    fn neighbours_of_a_colour_are_painted_together() {
        let range = range("20000-20005");
        let marks = marked(range, &[(20001, 20003, Mark::Reserved), (20004, 20004, Mark::Foreign)]);
        let paint = |color: AnsiColor, text: &str| format!("<{color:?} {text}>");
        let picture = Picture { range, marks: &marks, given: None };
        assert_eq!(
            picture.lines(80, paint),
            [
                "20000  ·<Cyan ███><Red ○>·",
                "1 port a cell   · free   <Cyan █> reserved   <Red ○> held by others",
            ]
        );
        let picture = Picture { range, marks: &marks, given: Some(&[1, 1, 2, 0, 0, 0]) };
        assert_eq!(
            picture.lines(120, paint),
            [
                "20000  ▒<Cyan ▒█>·<Red ○>·",
                "1 port a cell   · never given   ▒ given 1   █ given 2   \
                 <Cyan coloured:> reserved at the end   <Red ○> held by others",
            ]
        );
        let plain = picture.lines(120, plain);
        assert!(!plain[1].contains("reserved"), "{plain:?}");
    }

    #[test]
    fn every_range_fits_every_terminal() {
        for (range, narrow, wide) in [
            (PortRange::ALL, 17, 17),
            (range("20000-29999"), 10, 10),
            (range("1-100"), 5, 1),
            (range("65535"), 1, 1),
        ] {
            let marks = vec![Mark::Foreign; range.size()];
            let picture = Picture { range, marks: &marks, given: None };
            for (width, rows) in [(40, narrow), (250, wide)] {
                let lines = picture.lines(width, plain);
                let cells: Vec<_> = lines.iter().filter(|line| line.ends_with('○')).collect();
                assert_eq!(cells.len(), rows, "{range} {width}");
                assert!(lines.iter().all(|line| line.chars().count() <= width), "{lines:?}");
            }
        }
    }
}

//! A file as it is written: its lines, the keys and values in them, and where each begins and ends.
//!
//! What toml reads is what a file means; an edit has to know how it says so. Every byte belongs to
//! one [`Line`], so that what an edit does not touch stays as it was.

use std::borrow::Cow;
use std::ops::Range;

use super::EditError;

/// How many names of a path are kept: one more than the longest path that is looked for, so that
/// what is longer is seen to be.
const DEPTH: usize = 5;

/// A file.
pub(super) struct Document<'a> {
    pub(super) text: &'a str,
    /// Where its first line begins: after the byte order mark, if there is one.
    pub(super) start: usize,
    /// How its lines end.
    pub(super) newline: &'static str,
    pub(super) lines: Vec<Line<'a>>,
    /// The pairs at the beginning of lines and those in inline tables, in order.
    pub(super) pairs: Vec<Pair<'a>>,
    pub(super) lists: Vec<List>,
}

/// One statement with its indentation, its comment and its line end: several lines of text when a
/// value spans them.
pub(super) struct Line<'a> {
    pub(super) span: Range<usize>,
    pub(super) kind: LineKind<'a>,
}

pub(super) enum LineKind<'a> {
    Blank,
    Comment,
    /// `[path]`, or `[[path]]` when it is an array.
    Header {
        place: Place<'a>,
        array: bool,
    },
    Pair,
}

/// A table of the file.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Place<'a> {
    /// The `[[directory]]` rule that it belongs to, counted from 0; `None` outside of all rules.
    pub(super) rule: Option<usize>,
    /// The keys that lead there, from the rule or from the whole file, and [`DEPTH`] at most.
    pub(super) path: Vec<Cow<'a, str>>,
}

/// `key = value`.
pub(super) struct Pair<'a> {
    /// Where the value lies.
    pub(super) place: Place<'a>,
    /// How long the path of the table is that the key is written in.
    pub(super) context: usize,
    /// The parts of the key.
    pub(super) keys: Vec<Range<usize>>,
    pub(super) value: Range<usize>,
    /// The value, when it is an array or an inline table.
    pub(super) list: Option<usize>,
    pub(super) holder: Holder,
}

/// Where a pair is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// On this line.
    Line(usize),
    /// In this inline table, as this item.
    List(usize, usize),
}

/// An array or an inline table. Those inside of arrays are known only for rules.
pub(super) struct List {
    /// From its opening bracket to its closing one, both included.
    pub(super) span: Range<usize>,
    pub(super) table: bool,
    pub(super) items: Vec<Item>,
}

pub(super) struct Item {
    pub(super) span: Range<usize>,
    /// Where the comma after it is.
    pub(super) comma: Option<usize>,
}

impl<'a> Line<'a> {
    /// The table whose header it is.
    pub(super) const fn header(&self) -> Option<&Place<'a>> {
        match &self.kind {
            LineKind::Header { place, .. } => Some(place),
            _ => None,
        }
    }
}

impl Place<'_> {
    /// Whether it lies at `path`, or below it, in any rule or outside.
    pub(super) fn below(&self, path: &[&str]) -> bool {
        self.path.len() >= path.len() && self.path.iter().zip(path).all(|(a, b)| a == b)
    }

    /// Whether it lies at `path` in any rule or outside.
    pub(super) fn at(&self, path: &[&str]) -> bool {
        self.path.len() == path.len() && self.below(path)
    }

    /// Whether `path` lies below it.
    fn above(&self, path: &[&str]) -> bool {
        self.path.len() < path.len() && self.path.iter().zip(path).all(|(a, b)| a == b)
    }

    pub(super) fn join(&self, keys: &[Cow<'_, str>]) -> Self {
        let more = keys.iter().map(|key| Cow::Owned(key.clone().into_owned()));
        Self { rule: self.rule, path: self.path.iter().cloned().chain(more).take(DEPTH).collect() }
    }
}

impl<'a> Document<'a> {
    /// The pair that says `path` outside of all rules.
    ///
    /// Fails where the file says something else there: a value that is no table on the way to it,
    /// or a table in its place.
    pub(super) fn find(&self, path: &[&str]) -> Result<Option<&Pair<'a>>, EditError> {
        let fault = |offset, path: &[&str], expected| {
            let message = format!("`{}` is not {expected}", path.join("."));
            Err(EditError::at(self.text, offset, message))
        };
        for line in &self.lines {
            let LineKind::Header { place, array } = &line.kind else { continue };
            if place.rule.is_none() && place.below(path) {
                return fault(line.span.start, path, "a value");
            }
            if place.rule.is_none() && *array && place.above(path) && !place.path.is_empty() {
                return fault(line.span.start, &path[..place.path.len()], "a table");
            }
        }
        let mut found = None;
        for pair in self.pairs.iter().filter(|pair| pair.place.rule.is_none()) {
            if pair.place.at(path) {
                found = Some(pair);
            } else if pair.place.below(path) {
                return fault(pair.value.start, path, "a value");
            } else if pair.place.above(path) && self.inline_table(pair).is_none() {
                return fault(pair.value.start, &path[..pair.place.path.len()], "a table");
            }
        }
        Ok(found)
    }

    /// The inline table that is the value of `pair`.
    pub(super) fn inline_table(&self, pair: &Pair<'_>) -> Option<usize> {
        pair.list.filter(|list| self.lists[*list].table)
    }

    /// The first line of the comment that stands directly above `line`, or else `line` itself.
    pub(super) fn with_comment(&self, line: usize) -> usize {
        let above = self.lines[..line].iter().rev();
        line - above.take_while(|line| matches!(line.kind, LineKind::Comment)).count()
    }

    /// The lines of the table whose header is `line`, without the blank lines after it, and without
    /// comments that belong to what follows.
    pub(super) fn extent(&self, header: usize) -> Range<usize> {
        let body = self.lines[header + 1..]
            .iter()
            .take_while(|line| !matches!(line.kind, LineKind::Header { .. }));
        let pairs = body.enumerate().filter(|(_, line)| matches!(line.kind, LineKind::Pair));
        let end = pairs.last().map_or(header, |(index, _)| header + 1 + index) + 1;
        let after = &self.lines[end..];
        let comments =
            after.iter().take_while(|line| matches!(line.kind, LineKind::Comment)).count();
        match after.get(comments).map(|line| &line.kind) {
            Some(LineKind::Header { .. }) => header..end,
            _ => header..end + comments,
        }
    }

    /// The white space that `line` begins with.
    pub(super) fn indent(&self, line: usize) -> &'a str {
        let text = &self.text[self.lines[line].span.clone()];
        &text[..text.len() - text.trim_start_matches([' ', '\t']).len()]
    }
}

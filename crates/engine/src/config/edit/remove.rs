//! Taking out what a file says, and what is empty without it.

use std::collections::BTreeSet;

use super::draft::{Draft, has_own_comment};
use super::syntax::{Document, Holder, LineKind};

/// What goes.
pub(super) struct Removal<'d, 'a> {
    document: &'d Document<'a>,
    pairs: BTreeSet<usize>,
    /// A list, and an item of it.
    items: BTreeSet<(usize, usize)>,
    lines: Vec<bool>,
}

impl<'d, 'a> Removal<'d, 'a> {
    pub(super) fn new(document: &'d Document<'a>) -> Self {
        let lines = vec![false; document.lines.len()];
        Self { document, pairs: BTreeSet::new(), items: BTreeSet::new(), lines }
    }

    pub(super) fn pair(&mut self, pair: usize) {
        self.pairs.insert(pair);
    }

    pub(super) fn item(&mut self, list: usize, item: usize) {
        self.items.insert((list, item));
    }

    /// The table whose header this line is, with everything that stands in it.
    pub(super) fn table(&mut self, header: usize) {
        let lines = self.document.with_comment(header)..self.document.extent(header).end;
        self.lines[lines].fill(true);
    }

    /// The text without all that. Comments that belong to it go as well, and tables that have
    /// nothing left.
    pub(super) fn finish(mut self) -> String {
        self.spread();
        self.remove_emptied_tables();
        let mut draft = Draft::new(self.document);
        draft.remove_lines(&self.lines);
        let lists: BTreeSet<_> = self.items.iter().map(|(list, _)| *list).collect();
        for list in lists {
            let removed = |item| self.items.contains(&(list, item));
            draft.remove_items(&self.document.lists[list], removed);
        }
        draft.finish()
    }

    /// From pairs to the lines and inline tables that they are in, from the innermost outward.
    fn spread(&mut self) {
        for (index, pair) in self.document.pairs.iter().enumerate().rev() {
            let emptied = self.document.inline_table(pair).is_some_and(|list| {
                let items = 0..self.document.lists[list].items.len();
                !items.is_empty()
                    && items.into_iter().all(|item| self.items.contains(&(list, item)))
                    && !has_own_comment(self.document.text, &self.document.lists[list])
            });
            if !emptied && !self.pairs.contains(&index) {
                continue;
            }
            match pair.holder {
                Holder::Line(line) => {
                    self.lines[self.document.with_comment(line)..=line].fill(true);
                }
                Holder::List(list, item) => {
                    self.items.insert((list, item));
                }
            }
        }
    }

    /// Takes the headers out whose last pair went. One that has a comment of its own stays.
    fn remove_emptied_tables(&mut self) {
        let lines = &self.document.lines;
        for (header, line) in lines.iter().enumerate() {
            if self.lines[header] || !matches!(line.kind, LineKind::Header { array: false, .. }) {
                continue;
            }
            let extent = self.document.extent(header);
            let body = header + 1..extent.end;
            let left = body
                .clone()
                .any(|index| !self.lines[index] && !matches!(lines[index].kind, LineKind::Blank));
            if !left && body.into_iter().any(|index| self.lines[index]) {
                self.table(header);
            }
        }
    }
}

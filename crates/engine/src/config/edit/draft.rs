//! What an edit takes out of a file and puts into it, lines and items of lists first.

use std::ops::Range;

use super::syntax::{Document, LineKind, List};

/// The changes to a file, collected, so that every place is where it was until all are made.
pub(super) struct Draft<'d, 'a> {
    document: &'d Document<'a>,
    removed: Vec<Range<usize>>,
    inserted: Vec<(usize, String)>,
}

impl<'d, 'a> Draft<'d, 'a> {
    pub(super) const fn new(document: &'d Document<'a>) -> Self {
        Self { document, removed: Vec::new(), inserted: Vec::new() }
    }

    /// Puts `text` in the place of what is there.
    pub(super) fn replace(&mut self, span: Range<usize>, text: String) {
        self.inserted.push((span.start, text));
        self.removed.push(span);
    }

    /// Puts whole lines before the line that begins at `position`, or at the end.
    pub(super) fn insert_lines(&mut self, position: usize, lines: &[String]) {
        let newline = self.document.newline;
        let before = &self.document.text[self.document.start..position];
        let text: String = if before.is_empty() || before.ends_with('\n') {
            lines.iter().flat_map(|line| [line.as_str(), newline]).collect()
        } else {
            lines.iter().flat_map(|line| [newline, line.as_str()]).collect()
        };
        self.inserted.push((position, text));
    }

    /// Puts an item before the item `index`, or at the end, on lines of its own where its neighbour
    /// is.
    pub(super) fn insert_item(&mut self, list: &List, index: usize, item: &str) {
        let text = self.document.text;
        if let Some(next) = list.items.get(index) {
            match own_lines(text, list, index) {
                Some(lines) => {
                    let line = format!("{}{item},", indent(text, next.span.start));
                    self.insert_lines(lines.start, &[line]);
                }
                None => self.inserted.push((next.span.start, format!("{item}, "))),
            }
        } else if let Some((index, last)) = list.items.iter().enumerate().next_back() {
            match (own_lines(text, list, index), last.comma) {
                (Some(lines), comma) => {
                    let separator = if comma.is_some() { "," } else { "" };
                    if comma.is_none() {
                        self.inserted.push((last.span.end, ",".to_owned()));
                    }
                    let line = format!("{}{item}{separator}", indent(text, last.span.start));
                    self.insert_lines(lines.end, &[line]);
                }
                (None, Some(comma)) => self.inserted.push((comma + 1, format!(" {item},"))),
                (None, None) => self.inserted.push((last.span.end, format!(", {item}"))),
            }
        } else {
            let inside = list.span.start + 1..list.span.end - 1;
            let blank = text[inside.clone()].trim_matches(SPACES).is_empty();
            let before = if list.table { " " } else { "" };
            let after = if blank { before } else { "" };
            self.inserted.push((inside.start, format!("{before}{item}{after}")));
            if blank {
                self.removed.push(inside);
            }
        }
    }

    /// Takes items out, each with its comma and with the comments on its own lines.
    pub(super) fn remove_items(&mut self, list: &List, removed: impl Fn(usize) -> bool) {
        let text = self.document.text;
        let kept = (0..list.items.len()).rev().find(|index| !removed(*index));
        if kept.is_none() {
            let inside = list.span.start + 1..list.span.end - 1;
            if !text[inside.clone()].contains(['\n', '#']) {
                self.removed.push(inside);
                return;
            }
        }
        let items = list.items.iter().enumerate();
        for (index, item) in items.filter(|(index, _)| removed(*index)) {
            let lines = own_lines(text, list, index);
            // What becomes the last item has no comma if the one before it had none.
            if item.comma.is_none()
                && let Some(comma) = kept.and_then(|kept| list.items[kept].comma)
            {
                let end = if lines.is_some() { comma + 1 } else { spaces_after(text, comma + 1) };
                self.removed.push(comma..end);
            }
            if let Some(lines) = lines {
                self.removed.push(lines);
                continue;
            }
            let at_end = index + 1 == list.items.len();
            let start = if at_end { spaces_before(text, item.span.start) } else { item.span.start };
            self.removed.push(start..item.span.end);
            if let Some(comma) = item.comma {
                let end = if at_end { comma + 1 } else { spaces_after(text, comma + 1) };
                self.removed.push(spaces_before(text, comma)..end);
            }
        }
    }

    /// Takes whole lines out. Of the blank lines on both sides of them, one side goes.
    pub(super) fn remove_lines(&mut self, removed: &[bool]) {
        let lines = &self.document.lines;
        let blank = |index: usize| matches!(lines[index].kind, LineKind::Blank);
        let kept = |index: usize| !removed[index] && !blank(index);
        let last_kept = (0..lines.len()).rev().find(|index| kept(*index));
        let mut any_before = false;
        let mut start = 0;
        while start < lines.len() {
            if !removed[start] {
                any_before |= kept(start);
                start += 1;
                continue;
            }
            let mut end = start + removed[start..].iter().take_while(|removed| **removed).count();
            let mut first = start;
            if end == lines.len() || blank(end) {
                first -= (0..start).rev().take_while(|index| blank(*index)).count();
            }
            if !any_before && last_kept.is_some_and(|last| last > end) {
                end += (end..lines.len()).take_while(|index| blank(*index)).count();
            }
            self.removed.push(lines[first].span.start..lines[end - 1].span.end);
            start = end;
        }
    }

    /// The text with all changes made. It ends with a line end if it did before.
    pub(super) fn finish(mut self) -> String {
        let text = self.document.text;
        self.removed.sort_by_key(|range| range.start);
        self.inserted.sort_by_key(|(position, _)| *position);
        let mut out = String::with_capacity(text.len());
        let mut removed = self.removed.into_iter().peekable();
        let mut position = 0;
        let mut copy = |out: &mut String, end: usize| {
            while position < end {
                match removed.peek() {
                    Some(range) if range.end <= position => {
                        removed.next();
                    }
                    Some(range) if range.start <= position => position = range.end.min(end),
                    Some(range) if range.start < end => {
                        out.push_str(&text[position..range.start]);
                        position = range.start;
                    }
                    _ => {
                        out.push_str(&text[position..end]);
                        position = end;
                    }
                }
            }
        };
        for (position, insertion) in self.inserted {
            copy(&mut out, position);
            out.push_str(&insertion);
        }
        copy(&mut out, text.len());
        if !text.is_empty() && !text.ends_with('\n') && out.ends_with('\n') {
            out.truncate(out.len() - 1);
            if out.ends_with('\r') {
                out.truncate(out.len() - 1);
            }
        }
        out
    }
}

/// Whether a list has a comment that belongs to none of its items.
pub(super) fn has_own_comment(text: &str, list: &List) -> bool {
    let mut position = list.span.start + 1;
    let mut gaps = Vec::new();
    for (index, item) in list.items.iter().enumerate() {
        let taken = own_lines(text, list, index).unwrap_or_else(|| item.span.clone());
        gaps.push(position..taken.start);
        position = taken.end;
    }
    gaps.push(position..list.span.end - 1);
    gaps.into_iter().any(|gap| text[gap].contains('#'))
}

const SPACES: [char; 2] = [' ', '\t'];

fn spaces_before(text: &str, position: usize) -> usize {
    text[..position].trim_end_matches(SPACES).len()
}

fn spaces_after(text: &str, position: usize) -> usize {
    text.len() - text[position..].trim_start_matches(SPACES).len()
}

/// Where the line begins that `position` is in.
fn line_start(text: &str, position: usize) -> usize {
    text[..position].rfind('\n').map_or(0, |end| end + 1)
}

/// The white space that the line of `position` begins with.
fn indent(text: &str, position: usize) -> &str {
    let start = line_start(text, position);
    &text[start..spaces_after(text, start)]
}

/// The lines that an item has for itself, with its comma and its comments, those directly above it
/// among them; `None` when something else stands on them.
fn own_lines(text: &str, list: &List, index: usize) -> Option<Range<usize>> {
    let item = &list.items[index];
    let begin = match index.checked_sub(1).map(|before| &list.items[before]) {
        Some(before) => before.comma.unwrap_or(before.span.end),
        None => list.span.start,
    };
    let mut start = spaces_before(text, item.span.start);
    if !text[..start].ends_with('\n') {
        return None;
    }
    let mut end = spaces_after(text, item.span.end);
    match item.comma {
        Some(comma) if comma == end => end = spaces_after(text, comma + 1),
        Some(_) => return None,
        None => {}
    }
    if !text[end..].starts_with(['#', '\r', '\n']) {
        return None;
    }
    end += text[end..].find('\n')? + 1;
    // Between two items there is nothing but white space and comments.
    while start > 0 {
        let above = line_start(text, start - 1);
        if above <= begin || !text[above..start].trim_start_matches(SPACES).starts_with('#') {
            break;
        }
        start = above;
    }
    Some(start..end)
}

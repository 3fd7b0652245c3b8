//! Saying a value: in the place of the one that is there, or where it belongs.

use toml::de::DeValue;

use super::EditError;
use super::draft::Draft;
use super::syntax::{Document, Holder, LineKind, Pair, Place};
use crate::config::entries::{self, quoted};

/// The text with `table.key` saying `value`; `None` when it says so already. Where it says nothing
/// yet, the key comes after those of `earlier` that are there.
pub(super) fn set(
    text: &str,
    table: &[&str],
    key: &str,
    value: &str,
    earlier: &[&str],
) -> Result<Option<String>, EditError> {
    let document = Document::read(text)?;
    let path: Vec<_> = table.iter().copied().chain([key]).collect();
    let Some(pair) = document.find(&path)? else {
        return Ok(Some(insert(&document, table, key, &quoted(value), earlier)));
    };
    let written = &text[pair.value.clone()];
    if string(written).as_deref() == Some(value) {
        return Ok(None);
    }
    let mut draft = Draft::new(&document);
    draft.replace(pair.value.clone(), quoted_like(written, value));
    Ok(Some(draft.finish()))
}

/// The text with `table.key = value`, which it does not say yet; `value` is TOML.
pub(super) fn insert(
    document: &Document<'_>,
    table: &[&str],
    key: &str,
    value: &str,
    earlier: &[&str],
) -> String {
    let mut draft = Draft::new(document);
    let said = || document.pairs.iter().filter(|pair| pair.place.rule.is_none());
    let sibling = earlier.iter().rev().find_map(|earlier| {
        let path: Vec<_> = table.iter().chain([earlier]).copied().collect();
        said().find(|pair| pair.place.at(&path))
    });
    let entry = format!("{} = {value}", entries::key(key));
    if table.is_empty() {
        insert_first(document, &mut draft, entry);
    } else if let Some(pair) = sibling {
        let entry = format!("{}{entry}", prefix(document, pair, table));
        match pair.holder {
            Holder::Line(line) => {
                let entry = format!("{}{entry}", document.indent(line));
                draft.insert_lines(document.lines[line].span.end, &[entry]);
            }
            Holder::List(list, index) => {
                draft.insert_item(&document.lists[list], index + 1, &entry);
            }
        }
    } else if let Some((header, _)) = headers(document).find(|(_, place)| place.at(table)) {
        let body = document.lines.get(header + 1).map(|line| &line.kind);
        let like = if matches!(body, Some(LineKind::Pair)) { header + 1 } else { header };
        let entry = format!("{}{entry}", document.indent(like));
        draft.insert_lines(document.lines[header].span.end, &[entry]);
    } else if let Some(list) = inline_table(document, table) {
        draft.insert_item(&document.lists[list], 0, &entry);
    } else if let Some(pair) =
        said().find(|pair| pair.context < table.len() && pair.place.below(table))
    {
        let entry = format!("{}{entry}", prefix(document, pair, table));
        match pair.holder {
            Holder::Line(line) => {
                let entry = format!("{}{entry}", document.indent(line));
                let position = document.lines[document.with_comment(line)].span.start;
                draft.insert_lines(position, &[entry]);
            }
            Holder::List(list, index) => draft.insert_item(&document.lists[list], index, &entry),
        }
    } else if let Some((list, missing)) = (1..table.len()).rev().find_map(|above| {
        let (above, missing) = table.split_at(above);
        Some((inline_table(document, above)?, missing))
    }) {
        let list = &document.lists[list];
        let entry = match missing {
            [name] => format!("{} = {{ {entry} }}", entries::key(name)),
            // Others of these tables may stand there with dotted keys, and a table is begun once.
            names => format!("{}.{entry}", entries::dotted(names)),
        };
        draft.insert_item(list, list.items.len(), &entry);
    } else {
        insert_table(document, &mut draft, table, entry);
    }
    draft.finish()
}

/// Adds a pair to those before the first table.
fn insert_first(document: &Document<'_>, draft: &mut Draft<'_, '_>, entry: String) {
    let lines = &document.lines;
    let header = lines.iter().position(|line| line.header().is_some());
    let before = &lines[..header.unwrap_or(lines.len())];
    let last = before.iter().rposition(|line| matches!(line.kind, LineKind::Pair));
    match (last, header) {
        (Some(last), _) => draft.insert_lines(lines[last].span.end, &[entry]),
        (None, Some(header)) => {
            let header = document.with_comment(header);
            draft.insert_lines(lines[header].span.start, &[entry, String::new()]);
        }
        (None, None) => draft.insert_lines(document.text.len(), &[entry]),
    }
}

/// Begins a table: a plugin's before the tables of its options or after those of the other plugins,
/// the strategy before all plugins, and whatever finds nothing to stand by at the end.
fn insert_table(document: &Document<'_>, draft: &mut Draft<'_, '_>, table: &[&str], entry: String) {
    let lines = &document.lines;
    let blank =
        |index: usize| lines.get(index).is_some_and(|it| matches!(it.kind, LineKind::Blank));
    let mut plugins = headers(document).filter(|(_, place)| place.below(&["plugins"]));
    let next = match table {
        ["strategy"] => plugins.clone().next(),
        _ => headers(document).find(|(_, place)| place.below(table)),
    };
    let mut rows = vec![format!("[{}]", entries::dotted(table)), entry];
    if let Some((next, _)) = next {
        let next = document.with_comment(next);
        if next == 0 || blank(next - 1) {
            rows.push(String::new());
        }
        draft.insert_lines(lines[next].span.start, &rows);
        return;
    }
    let last = plugins.next_back().filter(|_| table.first() == Some(&"plugins"));
    let end = match last {
        Some((last, _)) => document.extent(last).end,
        None => lines.len() - (0..lines.len()).rev().take_while(|index| blank(*index)).count(),
    };
    // Tables that follow one another without a blank line go on doing so.
    if end > 0 && (end == lines.len() || blank(end)) {
        rows.insert(0, String::new());
    }
    let position = end.checked_sub(1).map_or(document.start, |line| lines[line].span.end);
    draft.insert_lines(position, &rows);
}

/// The lines of the headers outside of all rules, with the tables that they begin.
fn headers<'d, 'a>(
    document: &'d Document<'a>,
) -> impl DoubleEndedIterator<Item = (usize, &'d Place<'a>)> + Clone {
    let headers = document.lines.iter().enumerate();
    let headers = headers.filter_map(|(line, it)| Some((line, it.header()?)));
    headers.filter(|(_, place)| place.rule.is_none())
}

/// The inline table that says `path` outside of all rules.
fn inline_table(document: &Document<'_>, path: &[&str]) -> Option<usize> {
    let mut pairs = document.pairs.iter().filter(|pair| pair.place.rule.is_none());
    pairs.find(|pair| pair.place.at(path)).and_then(|pair| document.inline_table(pair))
}

/// The part of the key of `pair` that leads to `table`, with its dots.
fn prefix<'a>(document: &Document<'a>, pair: &Pair<'_>, table: &[&str]) -> &'a str {
    let first = pair.keys.first();
    match (first, pair.keys.get(table.len() - pair.context)) {
        (Some(first), Some(key)) => &document.text[first.start..key.start],
        _ => "",
    }
}

/// The string that a value is; `None` when it is something else.
pub(super) fn string(written: &str) -> Option<String> {
    DeValue::parse(written).ok()?.get_ref().as_str().map(str::to_owned)
}

/// A string in the quotes of what is `written`, where they can hold it.
pub(super) fn quoted_like(written: &str, value: &str) -> String {
    if written.starts_with('\'') && !value.contains('\'') && !value.contains(char::is_control) {
        return format!("'{value}'");
    }
    quoted(value)
}

//! From the text of a file to its lines, keys and values.

use std::borrow::Cow;
use std::ops::Range;

use toml::de::DeTable;
use toml_parser::Source;
use toml_parser::parser::{Event, EventKind, parse_document};

use super::EditError;
use super::syntax::{Document, Holder, Item, Line, LineKind, List, Pair, Place};

const BYTE_ORDER_MARK: char = '\u{feff}';

impl<'a> Document<'a> {
    /// Reads a text, which has to be TOML.
    pub(super) fn read(text: &'a str) -> Result<Self, EditError> {
        DeTable::parse(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            EditError::at(text, offset, error.message().replace('\n', " "))
        })?;
        let source = Source::new(text);
        let tokens = source.lex().into_vec();
        let mut events: Vec<Event> = Vec::with_capacity(tokens.len());
        parse_document(&tokens, &mut events, &mut ());
        let crlf = text.find('\n').is_some_and(|end| text[..end].ends_with('\r'));
        let document = Self {
            text,
            start: if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len_utf8() } else { 0 },
            newline: if crlf { "\r\n" } else { "\n" },
            lines: Vec::new(),
            pairs: Vec::new(),
            lists: Vec::new(),
        };
        let table = Place { rule: None, path: Vec::new() };
        let mut reader = Reader { source, events: &events, document, table, rules: 0 };
        while !reader.events.is_empty() {
            reader.line();
        }
        Ok(reader.document)
    }
}

struct Reader<'a, 'e> {
    source: Source<'a>,
    events: &'e [Event],
    document: Document<'a>,
    /// The table that the next pair belongs to.
    table: Place<'a>,
    /// The number of `[[directory]]` headers so far.
    rules: usize,
}

impl<'a> Reader<'a, '_> {
    fn next(&mut self) -> Option<Event> {
        let (first, rest) = self.events.split_first()?;
        self.events = rest;
        Some(*first)
    }

    fn peek(&self) -> Option<EventKind> {
        self.events.first().map(Event::kind)
    }

    fn skip(&mut self, kinds: &[EventKind]) {
        while self.peek().is_some_and(|kind| kinds.contains(&kind)) {
            self.next();
        }
    }

    fn line(&mut self) {
        let start = self.events.first().map_or(0, |event| event.span().start());
        self.skip(&[EventKind::Whitespace]);
        let kind = match self.peek() {
            Some(EventKind::Comment) => LineKind::Comment,
            Some(EventKind::StdTableOpen) => self.header(false),
            Some(EventKind::ArrayTableOpen) => self.header(true),
            Some(EventKind::SimpleKey) => {
                let table = self.table.clone();
                self.pair(&table, Holder::Line(self.document.lines.len()));
                LineKind::Pair
            }
            _ => LineKind::Blank,
        };
        let mut end = start;
        while let Some(event) = self.next() {
            end = event.span().end();
            if event.kind() == EventKind::Newline {
                break;
            }
        }
        if self.events.is_empty() {
            end = self.document.text.len();
        }
        self.document.lines.push(Line { span: start..end, kind });
    }

    fn header(&mut self, array: bool) -> LineKind<'a> {
        self.next();
        let (_, names) = self.key();
        let rule = names.first().is_some_and(|name| name == "directory");
        if rule && array && names.len() == 1 {
            self.rules += 1;
        }
        // A table of a rule belongs to the last one that has begun.
        let place = match self.rules.checked_sub(1).filter(|_| rule) {
            Some(rule) => Place { rule: Some(rule), path: Vec::new() }.join(&names[1..]),
            None => Place { rule: None, path: Vec::new() }.join(&names),
        };
        self.table = place.clone();
        LineKind::Header { place, array }
    }

    fn key(&mut self) -> (Vec<Range<usize>>, Vec<Cow<'a, str>>) {
        let (mut spans, mut names) = (Vec::new(), Vec::new());
        while let Some(kind) = self.peek() {
            match kind {
                EventKind::SimpleKey => {
                    let Some(event) = self.next() else { break };
                    let mut name = Cow::Borrowed("");
                    if let Some(raw) = self.source.get(event) {
                        raw.decode_key(&mut name, &mut ());
                    }
                    spans.push(event.span().start()..event.span().end());
                    names.push(name);
                }
                EventKind::KeySep | EventKind::Whitespace => {
                    self.next();
                }
                _ => break,
            }
        }
        (spans, names)
    }

    fn pair(&mut self, table: &Place<'a>, holder: Holder) -> Range<usize> {
        let (keys, names) = self.key();
        self.skip(&[EventKind::KeyValSep, EventKind::Whitespace]);
        let start = keys.first().map_or(0, |key| key.start);
        let (place, context) = (table.join(&names), table.path.len());
        let index = self.document.pairs.len();
        let pair = Pair { place: place.clone(), context, keys, value: 0..0, list: None, holder };
        self.document.pairs.push(pair);
        let (value, list) = self.value(Some(&place));
        let end = value.end;
        let pair = &mut self.document.pairs[index];
        (pair.value, pair.list) = (value, list);
        start..end
    }

    /// Reads a value; only one that has a place is remembered.
    fn value(&mut self, place: Option<&Place<'a>>) -> (Range<usize>, Option<usize>) {
        let Some(first) = self.next() else { return (0..0, None) };
        let mut span = first.span().start()..first.span().end();
        let table = first.kind() == EventKind::InlineTableOpen;
        if !table && first.kind() != EventKind::ArrayOpen {
            return (span, None);
        }
        let index = self.document.lists.len();
        if place.is_some() {
            self.document.lists.push(List { span: 0..0, table, items: Vec::new() });
        }
        let mut items: Vec<Item> = Vec::new();
        while let Some(kind) = self.peek() {
            match kind {
                EventKind::ArrayClose | EventKind::InlineTableClose => break,
                EventKind::ValueSep => {
                    let comma = self.next().map(|event| event.span().start());
                    if let Some(item) = items.last_mut() {
                        item.comma = comma;
                    }
                }
                EventKind::SimpleKey => {
                    let span = match place {
                        Some(place) => self.pair(place, Holder::List(index, items.len())),
                        None => self.skipped_pair(),
                    };
                    items.push(Item { span, comma: None });
                }
                EventKind::Scalar | EventKind::ArrayOpen | EventKind::InlineTableOpen => {
                    let rules = place.is_some_and(|it| it.rule.is_none() && it.at(&["directory"]));
                    let rule = Place { rule: Some(items.len()), path: Vec::new() };
                    let (span, _) = self.value(rules.then_some(&rule));
                    items.push(Item { span, comma: None });
                }
                _ => {
                    self.next();
                }
            }
        }
        span.end = self.next().map_or(span.end, |event| event.span().end());
        if place.is_none() {
            return (span, None);
        }
        let list = &mut self.document.lists[index];
        (list.span, list.items) = (span.clone(), items);
        (span, Some(index))
    }

    fn skipped_pair(&mut self) -> Range<usize> {
        let (keys, _) = self.key();
        self.skip(&[EventKind::KeyValSep, EventKind::Whitespace]);
        let (value, _) = self.value(None);
        keys.first().map_or(value.start, |key| key.start)..value.end
    }
}

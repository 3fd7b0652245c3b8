//! The documents of the repository, and what can be found in them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The root of the repository.
pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The text of a file, by its path from the root.
pub(super) fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

/// Every document, by its path from the root.
pub(super) fn documents() -> Vec<String> {
    let mut directories = ["", "docs/", "examples/"].map(str::to_owned).to_vec();
    for parent in ["docs", "examples", "examples/recipes"] {
        let children = entries(parent).into_iter();
        directories.extend(children.map(|name| format!("{parent}/{name}/")));
    }
    directories.retain(|directory| root().join(directory).is_dir());
    let documents = directories.iter().flat_map(|directory| {
        let names = entries(directory).into_iter();
        let names = names.filter(|name| Path::new(name).extension().is_some_and(|it| it == "md"));
        names.map(move |name| format!("{directory}{name}"))
    });
    documents.collect()
}

/// The names in a directory.
fn entries(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(directory)).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// A fenced block of a document.
pub(super) struct Block {
    pub(super) document: String,
    pub(super) line: usize,
    pub(super) info: String,
    pub(super) text: String,
}

impl Block {
    /// Where it is and what it says, for messages.
    pub(super) fn name(&self) -> String {
        format!("{}:{}\n{}", self.document, self.line, self.text)
    }
}

/// The blocks of a document, in order.
pub(super) fn blocks_of(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (line, text) in (1..).zip(read(document).lines()) {
        match (&mut open, text.strip_prefix("```")) {
            (None, Some(info)) => {
                let (document, info) = (document.to_owned(), info.to_owned());
                open = Some(Block { document, line, info, text: String::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.text.extend([text, "\n"]),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{document}: a block is not closed");
    blocks
}

/// The blocks of all documents that are marked with `info`.
pub(super) fn blocks(info: &str) -> Vec<Block> {
    let all = documents().into_iter().flat_map(|document| blocks_of(&document));
    all.filter(|block| block.info == info).collect()
}

/// The rows of the tables in `text`, without code marks.
pub(super) fn rows(text: &str) -> Vec<Vec<String>> {
    let rows = text.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    let cells = |row: &str| {
        let row = row.replace("\\|", "/").replace('`', "");
        row.split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    rows.filter(|row| !row.starts_with("---")).map(cells).collect()
}

/// The sections of a document under headings of this level, by heading.
pub(super) fn sections(document: &str, level: &str) -> BTreeMap<String, String> {
    let (text, mark) = (read(document), format!("\n{level} "));
    let parts = text.split(&mark).skip(1);
    parts.map(|part| part.split_once('\n').unwrap()).map(|(a, b)| (a.into(), b.into())).collect()
}

/// The anchor that a heading gets where Markdown is shown.
pub(super) fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
}

//! Our lines in somebody else's file: between two marks, and nothing outside of them is touched.

/// The line that begins our lines.
const BEGIN: &str = "# >>> hythe >>> written by `hythe env --write`";

/// What a line begins with that begins our lines: what follows may change from version to version.
const BEGINS: &[u8] = b"# >>> hythe >>>";

/// The line that ends them.
const END: &str = "# <<< hythe <<<";

/// A file's text, taken apart at the marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence<'a> {
    before: &'a [u8],
    after: &'a [u8],
    /// Whether there were marks.
    found: bool,
    /// What ends the lines of the file.
    line_end: &'static str,
}

/// Marks that do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FenceError {
    /// A mark that begins our lines has none after it that ends them, or another one in between.
    #[error("line {0} begins what hythe writes, and no line ends it")]
    Open(usize),
    /// A mark that ends our lines stands alone.
    #[error("line {0} ends what hythe writes, and no line begins it")]
    Close(usize),
    /// There are two pairs.
    #[error("line {0} begins what hythe writes a second time")]
    Twice(usize),
}

impl<'a> Fence<'a> {
    /// Finds the marks in a file of any encoding that contains ASCII.
    pub fn find(text: &'a [u8]) -> Result<Self, FenceError> {
        let mut begin = None;
        let mut pair = None;
        let mut offset = 0;
        for (at, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let number = at + 1;
            let content = line.trim_ascii_end();
            if content.starts_with(BEGINS) {
                match (begin, pair) {
                    (Some((open, _)), None) => return Err(FenceError::Open(open)),
                    (_, Some(_)) => return Err(FenceError::Twice(number)),
                    (None, None) => begin = Some((number, offset)),
                }
            } else if content == END.as_bytes() {
                match (begin, pair) {
                    (Some((_, start)), None) => pair = Some((start, offset + line.len())),
                    _ => return Err(FenceError::Close(number)),
                }
            }
            offset += line.len();
        }
        let (start, end) = match (begin, pair) {
            (_, Some(pair)) => pair,
            (Some((open, _)), None) => return Err(FenceError::Open(open)),
            (None, None) => (text.len(), text.len()),
        };
        let crlf = text.windows(2).any(|pair| pair == b"\r\n");
        Ok(Self {
            before: &text[..start],
            after: &text[end..],
            found: pair.is_some(),
            line_end: if crlf { "\r\n" } else { "\n" },
        })
    }

    /// The file with `lines` between the marks; at its end, after an empty line, when there were none.
    #[must_use]
    pub fn with(&self, lines: &str) -> Vec<u8> {
        let mut text = self.before.to_vec();
        if !self.found && !text.is_empty() {
            if !text.ends_with(b"\n") {
                text.extend_from_slice(self.line_end.as_bytes());
            }
            text.extend_from_slice(self.line_end.as_bytes());
        }
        for line in [BEGIN].into_iter().chain(lines.lines()).chain([END]) {
            text.extend_from_slice(line.as_bytes());
            text.extend_from_slice(self.line_end.as_bytes());
        }
        text.extend_from_slice(self.after);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str, lines: &str) -> String {
        String::from_utf8(Fence::find(text.as_bytes()).unwrap().with(lines)).unwrap()
    }

    #[test]
    fn what_is_outside_stays_byte_for_byte() {
        let ours = format!("{BEGIN}\nA=1\n{END}\n");
        assert_eq!(with("", "A=1\n"), ours);
        assert_eq!(with("X=0", "A=1\n"), format!("X=0\n\n{ours}"));
        assert_eq!(with("X=0\n", "A=1\n"), format!("X=0\n\n{ours}"));
        let file = format!("X=0\n{ours}\t Y = 2  \n");
        assert_eq!(with(&file, "A=1\n"), file);
        assert_eq!(with(&file, ""), format!("X=0\n{BEGIN}\n{END}\n\t Y = 2  \n"));
        assert_eq!(with(&with(&file, "B=3\nC=4\n"), "A=1\n"), file);
        let dos = file.replace('\n', "\r\n");
        assert_eq!(with(&dos, "A=1\n"), dos);
        let bytes = [b"\xff\xfe X\n", ours.as_bytes(), b"\x00\x80"].concat();
        assert_eq!(Fence::find(&bytes).unwrap().with("A=1\n"), bytes);
    }

    #[test]
    fn an_older_mark_is_still_ours() {
        let older = format!("# >>> hythe >>> of old\nA=1\n{END}\n");
        assert_eq!(with(&older, "A=2\n"), format!("{BEGIN}\nA=2\n{END}\n"));
    }

    #[test]
    fn marks_that_do_not_fit_are_left_alone() {
        let error = |text: String| Fence::find(text.as_bytes()).unwrap_err();
        assert_eq!(error(format!("a\n{BEGIN}\nA=1\n")), FenceError::Open(2));
        assert_eq!(error(format!("{BEGIN}\n{BEGIN}\n{END}\n")), FenceError::Open(1));
        assert_eq!(error(format!("{END}\n")), FenceError::Close(1));
        assert_eq!(error(format!("{BEGIN}\n{END}\n{END}\n")), FenceError::Close(3));
        assert_eq!(error(format!("{BEGIN}\n{END}\n{BEGIN}\n{END}\n")), FenceError::Twice(3));
    }
}

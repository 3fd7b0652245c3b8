//! Text for people, line by line.

use unicode_width::UnicodeWidthStr;

use super::clean;

/// How wide the names of fields are.
const NAME: usize = 13;

/// What values are not squeezed below, however narrow the terminal.
const NARROWEST: usize = 40;

/// Lines to be written.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    text: String,
    columns: Option<usize>,
}

impl Lines {
    /// Lines for a terminal of this many columns; without one, nothing is wrapped.
    pub(crate) fn within(columns: Option<usize>) -> Self {
        Self { text: String::new(), columns }
    }

    /// A name and its value, cleaned of control characters.
    pub(crate) fn field(&mut self, name: &str, value: &str) {
        self.hanging(&format!("{name:<NAME$} "), value);
    }

    /// Text after what it hangs on, cleaned of control characters and wrapped between words, every
    /// line of it below the first. A word that is too long for a line has one of its own.
    pub(crate) fn hanging(&mut self, hook: &str, text: &str) {
        let (hook, text) = (clean(hook), clean(text));
        let indent = hook.width();
        let room = self.columns.map(|columns| columns.max(NARROWEST).saturating_sub(indent));
        let mut words = text.split(' ');
        let mut line = format!("{hook}{}", words.next().unwrap_or_default());
        let mut used = line.width() - indent;
        for word in words {
            let needed = 1 + word.width();
            if room.is_some_and(|room| used + needed > room) {
                self.line(line.trim_end());
                line = " ".repeat(indent);
                used = word.width();
            } else {
                line.push(' ');
                used += needed;
            }
            line.push_str(word);
        }
        self.line(&line);
    }

    /// A line that is clean, and perhaps painted.
    pub(crate) fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(columns: Option<usize>, value: &str) -> String {
        let mut lines = Lines::within(columns);
        lines.field("summary", value);
        lines.text().to_owned()
    }

    #[test]
    fn a_value_is_wrapped_between_words_and_stays_below_itself() {
        let value = "the ports of a project stand together";
        assert_eq!(
            field(Some(40), value),
            "summary       the ports of a project\n              stand together\n"
        );
        assert_eq!(field(None, value), format!("summary       {value}\n"));
        assert_eq!(field(Some(1), value), field(Some(40), value), "it is not squeezed any further");
        assert_eq!(field(Some(14 + value.len()), value).lines().count(), 1);
        assert_eq!(field(Some(13 + value.len()), value).lines().count(), 2);
    }

    #[test]
    fn a_word_is_never_broken() {
        let digest = "0".repeat(64);
        assert_eq!(
            field(Some(40), &format!("it is {digest} now")),
            format!("summary       it is\n              {digest}\n              now\n")
        );
    }

    #[test]
    fn what_wraps_is_as_wide_as_it_looks_and_commands_nothing() {
        let text = field(Some(40), "日本語日本語 日本語日本語 a\u{1b}[2Jb");
        assert_eq!(text, "summary       日本語日本語 日本語日本語\n              a\\u{1b}[2Jb\n");
    }
}

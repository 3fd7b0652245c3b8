//! Words for a shell: what is printed to be pasted.

/// `text` as one word of a POSIX shell, which means nothing but itself: in single quotes where it has
/// other characters than letters, digits and a few signs (POSIX.1-2024, Shell Command Language, 2.2.2).
#[must_use]
pub fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:,%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_written() {
        assert_eq!(word("/a/b-c_d.wasm"), "/a/b-c_d.wasm");
        for text in ["", "a b", "it's", "$(id)", "`id`", "a\nb", "*", "~", "ü", "a\\", "-n", "\""]
        {
            let script = format!("printf %s {}", word(text));
            let output = Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), text, "{script}");
        }
    }
}

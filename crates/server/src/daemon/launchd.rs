//! A property list of launchd (launchd.plist(5)): XML, whose words need no quoting but that of XML.

use std::ffi::OsStr;
use std::fmt::Write;
use std::path::Path;

use super::{MARK, Service, Unwritable, text};

/// What launchd calls the server.
pub const LABEL: &str = "hythe";

/// The property list that starts `service` when the user logs in, and again when it fails. What it
/// writes goes to the file `log`.
///
/// # Errors
///
/// When a word cannot be written.
pub fn plist(service: &Service, log: &Path) -> Result<String, Unwritable> {
    let Service { command, version } = service;
    let mut arguments = String::new();
    for word in command {
        // Writing to a string cannot fail.
        let _ = writeln!(arguments, "        <string>{}</string>", string(word)?);
    }
    let log = string(log.as_os_str())?;
    Ok(format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<!-- {MARK} of hythe {version}, which writes it anew.
     To take it out: hythe daemon uninstall -->
<plist version="1.0">
<dict>
    <key>Label</key>
    <string>{LABEL}</string>
    <key>ProgramArguments</key>
    <array>
{arguments}    </array>
    <key>RunAtLoad</key>
    <true/>
    <key>KeepAlive</key>
    <dict>
        <key>SuccessfulExit</key>
        <false/>
    </dict>
    <key>ProcessType</key>
    <string>Background</string>
    <key>StandardOutPath</key>
    <string>{log}</string>
    <key>StandardErrorPath</key>
    <string>{log}</string>
</dict>
</plist>
"#
    ))
}

/// A word as character data of XML 1.0, which has no way to write most control characters (section
/// 2.2). A carriage return would be read as a line break (section 2.11).
fn string(word: &OsStr) -> Result<String, Unwritable> {
    let mut written = String::with_capacity(word.len());
    for character in text(word)?.chars() {
        match character {
            '&' => written.push_str("&amp;"),
            '<' => written.push_str("&lt;"),
            '>' => written.push_str("&gt;"),
            '\t' | '\n' | '\r' | '\u{7f}'..='\u{9f}' => {
                // Writing to a string cannot fail.
                let _ = write!(written, "&#{};", u32::from(character));
            }
            control if control.is_control() || matches!(control, '\u{fffe}' | '\u{ffff}') => {
                return Err(Unwritable::new(word, "XML has no control characters"));
            }
            other => written.push(other),
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn written(words: &[&str], log: &str) -> Result<String, Unwritable> {
        let command = words.iter().map(OsString::from).collect();
        plist(&Service { command, version: "0.0.0" }, Path::new(log))
    }

    #[test]
    fn a_property_list_is_what_it_is() {
        let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<!-- Written by `hythe daemon install` of hythe 0.0.0, which writes it anew.
     To take it out: hythe daemon uninstall -->
<plist version="1.0">
<dict>
    <key>Label</key>
    <string>hythe</string>
    <key>ProgramArguments</key>
    <array>
        <string>/opt/a &amp; b/hythe</string>
        <string>serve</string>
        <string>"$x" 100% it's \n</string>
        <string>a&#10;b&#13;&#9;&lt;c&gt; ü</string>
    </array>
    <key>RunAtLoad</key>
    <true/>
    <key>KeepAlive</key>
    <dict>
        <key>SuccessfulExit</key>
        <false/>
    </dict>
    <key>ProcessType</key>
    <string>Background</string>
    <key>StandardOutPath</key>
    <string>/Users/me/Library/Logs/hythe.log</string>
    <key>StandardErrorPath</key>
    <string>/Users/me/Library/Logs/hythe.log</string>
</dict>
</plist>
"#;
        let words = ["/opt/a & b/hythe", "serve", "\"$x\" 100% it's \\n", "a\nb\r\t<c> ü"];
        assert_eq!(written(&words, "/Users/me/Library/Logs/hythe.log").unwrap(), expected);
    }

    #[test]
    fn what_xml_cannot_say_is_refused() {
        assert!(written(&["/a\u{1b}b"], "/log").unwrap_err().to_string().contains("XML"));
        let odd = OsString::from_vec(b"/\xff".to_vec());
        let error = string(&odd).unwrap_err().to_string();
        assert!(error.contains("not UTF-8"), "{error}");
    }
}

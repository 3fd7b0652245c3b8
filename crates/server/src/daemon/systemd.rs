//! A unit of systemd.
//!
//! Words are quoted as systemd.syntax(7) has it, under "Quoting": C-style escapes within double quotes
//! that begin and end a word. Besides, `%` begins a specifier and is doubled (systemd.unit(5),
//! "Specifiers"). `$` would begin a variable; the prefix `:` of the program turns that off for all
//! words (systemd.service(5), "Command lines").

use std::ffi::OsStr;
use std::fmt::Write;

use super::{MARK, Service, Unwritable, text};

/// The name of the unit.
pub const NAME: &str = "hythe.service";

/// The unit that starts `service` when the user logs in, and again when it fails.
///
/// What would need a mount or user namespace is left out: from within one, the kernel lets nobody look
/// at processes outside (`user_namespaces(7)`), and whose listener it is could not be told. Memory that is
/// written and then executed is what compiled policies are. What is set here holds for the user's hooks
/// as well: they cannot gain privileges by `sudo`.
///
/// # Errors
///
/// When a word of the command cannot be written.
pub fn unit(service: &Service) -> Result<String, Unwritable> {
    let Service { command, version } = service;
    let mut words = Vec::with_capacity(command.len());
    for (at, word) in command.iter().enumerate() {
        let text = text(word)?;
        if at == 0 {
            executable(word, text)?;
            words.push(quoted(&format!(":{text}")));
        } else {
            words.push(quoted(text));
        }
    }
    let command = words.join(" ");
    Ok(format!(
        "# {MARK} of hythe {version}, which writes it anew.
# To take it out: hythe daemon uninstall

[Unit]
Description=Hythe: ports for this user, over HTTP

[Service]
Type=exec
ExecStart={command}
Restart=on-failure
RestartSec=5
# Wrong usage and configuration stay wrong.
RestartPreventExitStatus=2 3
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native

[Install]
WantedBy=default.target
"
    ))
}

/// Whether systemd starts a program of this name: it takes no quotes, backslashes and control
/// characters there, escaped or not (`string_is_safe` in src/basic/string-util.c).
fn executable(word: &OsStr, text: &str) -> Result<(), Unwritable> {
    if text.chars().any(|c| matches!(c, '\'' | '"' | '\\') || c.is_ascii_control()) {
        let why = "systemd starts no program with quotes, backslashes or control characters";
        return Err(Unwritable::new(word, why));
    }
    Ok(())
}

/// A word that means `text`.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_@+=:,./-".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    let mut word = String::with_capacity(text.len() + 2);
    word.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => word.extend(['\\', character]),
            '%' => word.push_str("%%"),
            '\n' => word.push_str("\\n"),
            '\t' => word.push_str("\\t"),
            control if control.is_control() => {
                // Writing to a string cannot fail.
                let _ = write!(word, "\\u{:04x}", u32::from(control));
            }
            other => word.push(other),
        }
    }
    word.push('"');
    word
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn service(words: &[&str]) -> Service {
        Service { command: words.iter().map(OsString::from).collect(), version: "0.0.0" }
    }

    #[test]
    fn a_unit_is_what_it_is() {
        let words = ["/usr/bin/hythe", "serve", "--listen", "127.0.0.1:9876"];
        let expected = "# Written by `hythe daemon install` of hythe 0.0.0, which writes it anew.\n\
                        # To take it out: hythe daemon uninstall\n\
                        \n\
                        [Unit]\n\
                        Description=Hythe: ports for this user, over HTTP\n\
                        \n\
                        [Service]\n\
                        Type=exec\n\
                        ExecStart=:/usr/bin/hythe serve --listen 127.0.0.1:9876\n\
                        Restart=on-failure\n\
                        RestartSec=5\n\
                        # Wrong usage and configuration stay wrong.\n\
                        RestartPreventExitStatus=2 3\n\
                        NoNewPrivileges=yes\n\
                        LockPersonality=yes\n\
                        RestrictRealtime=yes\n\
                        RestrictSUIDSGID=yes\n\
                        SystemCallArchitectures=native\n\
                        \n\
                        [Install]\n\
                        WantedBy=default.target\n";
        assert_eq!(unit(&service(&words)).unwrap(), expected);
    }

    #[test]
    fn words_mean_themselves_whatever_is_in_them() {
        for (text, word) in [
            ("", r#""""#),
            ("a b", r#""a b""#),
            ("100%h", r#""100%%h""#),
            ("$HOME ${HOME}", r#""$HOME ${HOME}""#),
            (r#"a "b" c"#, r#""a \"b\" c""#),
            ("it's", r#""it's""#),
            (r"a\nb", r#""a\\nb""#),
            ("a\nb\tc", r#""a\nb\tc""#),
            ("\u{1b}[31m\u{7f}\u{9b}", r#""\u001b[31m\u007f\u009b""#),
            (";", r#"";""#),
            ("#x", r##""#x""##),
            ("größe", r#""größe""#),
        ] {
            assert_eq!(quoted(text), word, "{text:?}");
        }
    }

    #[test]
    fn a_program_of_an_odd_name_is_quoted_or_refused() {
        let text = unit(&service(&["/o dd/100%/$x/hythe", "serve"])).unwrap();
        assert!(text.contains("\nExecStart=\":/o dd/100%%/$x/hythe\" serve\n"), "{text}");
        for program in ["/it's/hythe", "/a\"b/hythe", r"/a\b/hythe", "/a\nb/hythe"] {
            let error = unit(&service(&[program, "serve"])).unwrap_err().to_string();
            assert!(error.contains("starts no program"), "{error}");
        }
        let odd = Service { command: vec![OsString::from_vec(b"/\xff".to_vec())], version: "" };
        assert!(unit(&odd).unwrap_err().to_string().contains("not UTF-8"));
    }
}

//! Servers that go to another port when theirs is taken, and how they are kept from it.
//!
//! A server is recognised by the command line alone: by its name, also behind what starts it, such as
//! `npx` or `python -m`. What a script does, as in `npm run dev`, cannot be seen.

mod launchers;
mod servers;

use std::ffi::OsString;

use self::launchers::{Started, started};
use self::servers::{PORT, SERVERS, Server, Verb};
use crate::port::Port;

/// What is to be put into a command line, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Addition {
    pub(super) server: &'static str,
    /// Before which argument.
    pub(super) at: usize,
    pub(super) arguments: Vec<String>,
}

/// What the command line says about the port already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Nothing,
    /// It says the port that it is given.
    Ours,
    /// It says another one, or another kind of socket: that is what its author wants.
    Other,
}

/// What makes a well-known server listen on `port` and on no other; `None` when the command is no
/// such server, or says all of it already.
pub(super) fn addition(command: &[OsString], port: Port) -> Option<Addition> {
    // What is no text is no word that is looked for.
    let words: Vec<_> = command.iter().map(|word| word.to_str().unwrap_or_default()).collect();
    let Started { name, at, by } = started(&words)?;
    let scripts = by.is_some_and(|launcher| launcher.scripts);
    let after = &words[at + 1..];
    let own = &after[..after.iter().position(|word| *word == "--").unwrap_or(after.len())];
    let behind_dashes = by.is_some_and(|launcher| launcher.behind_dashes);
    let arguments: Vec<_> = if behind_dashes {
        after.iter().copied().filter(|word| *word != "--").collect()
    } else {
        own.to_vec()
    };
    let server = SERVERS.iter().find(|server| {
        server.programs.contains(&name.as_str())
            && !(scripts && server.is_common_word)
            && serves(server, &arguments)
    })?;

    let text = port.to_string();
    let told = |word: &&str| word.replace(PORT, &text);
    let mut added: Vec<String> = match said(server, &arguments, &text) {
        Said::Other => return None,
        Said::Ours => Vec::new(),
        Said::Nothing => server.port.iter().map(told).collect(),
    };
    let strict = server.strict.iter().filter(|flag| !arguments.contains(flag));
    added.extend(strict.map(|flag| (*flag).to_owned()));
    if added.is_empty() {
        return None;
    }
    let at = if behind_dashes { words.len() } else { at + 1 + own.len() };
    if behind_dashes && !words.contains(&"--") {
        added.insert(0, "--".to_owned());
    }
    Some(Addition { server: server.programs[0], at, arguments: added })
}

/// Whether these arguments make the program serve.
fn serves(server: &Server, arguments: &[&str]) -> bool {
    match server.verb {
        Verb::Any => true,
        Verb::First(verbs) => arguments.first().is_some_and(|first| verbs.contains(first)),
        Verb::Somewhere(verb) => arguments.contains(&verb),
        Verb::Except(verbs) => !arguments.iter().any(|argument| verbs.contains(argument)),
    }
}

fn said(server: &Server, arguments: &[&str], port: &str) -> Said {
    let judge = |value: &str| {
        let ours = value == port || value.strip_suffix(port).is_some_and(|it| it.ends_with(':'));
        if ours { Said::Ours } else { Said::Other }
    };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        for option in server.says {
            let Some(rest) = word.strip_prefix(option) else { continue };
            let value = match (rest.strip_prefix('='), option.starts_with("--")) {
                (Some(value), _) => value,
                (None, _) if rest.is_empty() => words.as_slice().first().unwrap_or(&""),
                // `-p3000`
                (None, false) => rest,
                // `--portable`
                (None, true) => continue,
            };
            return judge(value);
        }
    }
    // `8000`, `127.0.0.1:8000`, `[::1]:8000`, but not `::1`
    let is_port = |word: &&&str| {
        let (host, number) = word.rsplit_once(':').unwrap_or(("", word));
        let whole = !host.contains(':') || host.ends_with(']');
        whole && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    match arguments.iter().find(is_port).filter(|_| server.port_is_bare()) {
        Some(word) => judge(word),
        None => Said::Nothing,
    }
}

#[cfg(test)]
mod tests;

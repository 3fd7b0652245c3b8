//! The directory that a call works for: the one it names, else the one that the server was given,
//! else the client's only root. It is never guessed, and never the server's own working directory:
//! a client starts it wherever it likes.

#![expect(deprecated, reason = "nothing else tells where a client works")]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hythe_document::Failure;
use rmcp::model::{
    InputRequest, InputRequests, InputRequiredResult, InputResponses, ListRootsResult,
    ProtocolVersion, Root,
};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time;

use super::Stop;

/// How long a client may take to name its roots.
const PATIENCE: Duration = Duration::from_secs(10);

/// Under this name the client is asked for its roots where it answers with another call.
const ROOTS: &str = "roots";

/// The client's only root. Its roots are asked for each time, so that they are never those of before
/// a change.
pub(super) async fn only_root(
    context: &RequestContext<RoleServer>,
    responses: Option<&InputResponses>,
    mut ended: watch::Receiver<bool>,
) -> Result<PathBuf, Stop> {
    let capable = context.client_capabilities().is_some_and(|client| client.roots.is_some());
    if !capable {
        return Err(
            missing("no directory is named to work for, and this client has no roots").into()
        );
    }
    let asks_in_results =
        context.protocol_version().is_some_and(|it| it >= ProtocolVersion::V_2026_07_28);
    let roots = match responses.and_then(|responses| responses.get(ROOTS)) {
        Some(answer) => read(answer)?,
        None if asks_in_results => return Err(Stop::Ask(ask())),
        None => {
            let answer = tokio::select! {
                answer = time::timeout(PATIENCE, roots(context)) => answer,
                _ = ended.wait_for(|ended| *ended) => Ok(Err("it has gone".to_owned())),
            };
            let answer = answer.unwrap_or_else(|_| Err("it does not answer".to_owned()));
            answer
                .map_err(|error| missing(&format!("the client does not name its roots: {error}")))?
        }
    };
    Ok(choose(&roots)?)
}

async fn roots(context: &RequestContext<RoleServer>) -> Result<Vec<Root>, String> {
    let answer = context.peer.list_roots().await;
    answer.map(|answer| answer.roots).map_err(|error| error.to_string())
}

fn ask() -> InputRequiredResult {
    let request = rmcp::model::ListRootsRequest::default();
    InputRequiredResult::from_input_requests(InputRequests::from([(
        ROOTS.to_owned(),
        InputRequest::ListRoots(request),
    )]))
}

fn read(answer: &Value) -> Result<Vec<Root>, Failure> {
    let answer: Result<ListRootsResult, _> = serde_json::from_value(answer.clone());
    answer
        .map(|answer| answer.roots)
        .map_err(|error| missing(&format!("the client's roots cannot be read: {error}")))
}

/// The only directory among `roots`.
fn choose(roots: &[Root]) -> Result<PathBuf, Failure> {
    let mut directories: Vec<_> = roots.iter().filter_map(|root| directory(&root.uri)).collect();
    directories.sort();
    directories.dedup();
    match &directories[..] {
        [only] => Ok(only.clone()),
        [] => Err(missing("no directory is named to work for, and no root of the client's is one")),
        several => {
            let names: Vec<_> = several.iter().map(|it| it.to_string_lossy()).collect();
            Err(missing(&format!(
                "no directory is named to work for, and the client has {} roots: {}",
                several.len(),
                names.join(", ")
            )))
        }
    }
}

fn missing(message: &str) -> Failure {
    Failure::usage(message, Some(r#"call it with "directory": "/path/of/the/checkout""#))
}

/// The path of a `file` URI of this machine (RFC 8089).
fn directory(uri: &str) -> Option<PathBuf> {
    let (scheme, rest) = uri.split_once(':')?;
    if !scheme.eq_ignore_ascii_case("file") {
        return None;
    }
    let path = match rest.strip_prefix("//") {
        Some(rest) => {
            let at = rest.find('/')?;
            let (host, path) = rest.split_at(at);
            if !host.is_empty() && !host.eq_ignore_ascii_case("localhost") {
                return None;
            }
            path
        }
        None => rest,
    };
    let path = PathBuf::from(OsString::from_vec(decoded(path.as_bytes())));
    (path.is_absolute() && !path.as_os_str().as_encoded_bytes().contains(&0)).then(|| tidy(&path))
}

/// A path with one `/` between its parts and none at its end.
fn tidy(path: &Path) -> PathBuf {
    path.components().collect()
}

/// The bytes that `%XX` stands for. A `%` that stands for nothing is one that was left as it was.
fn decoded(text: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let escaped = digit(text.get(at + 1)).zip(digit(text.get(at + 2)));
        let escaped = escaped.and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        match escaped.filter(|_| byte == b'%') {
            Some(escaped) => {
                bytes.push(escaped);
                at += 3;
            }
            None => {
                bytes.push(byte);
                at += 1;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn a_file_uri_is_a_path_of_this_machine() {
        for (uri, path) in [
            ("file:///home/me/shop", &b"/home/me/shop"[..]),
            ("file:///home/me/shop/", b"/home/me/shop"),
            ("file://localhost/shop", b"/shop"),
            ("file:/shop", b"/shop"),
            ("FILE:///shop", b"/shop"),
            ("file:///a%20b%2Fc", b"/a b/c"),
            ("file:///na%C3%AFve", "/naïve".as_bytes()),
            ("file:///odd%ff", b"/odd\xff"),
            ("file:///100%", b"/100%"),
            ("file:///a#b?c", b"/a#b?c"),
            ("file:///", b"/"),
        ] {
            let found = directory(uri).unwrap();
            assert_eq!(found.as_os_str().as_bytes(), path, "{uri}");
        }
        for uri in [
            "",
            "shop",
            "/shop",
            "http://localhost/shop",
            "file://elsewhere/shop",
            "file:shop",
            "file:",
            "file://",
            "file:///a%00b",
        ] {
            assert_eq!(directory(uri), None, "{uri}");
        }
    }

    #[test]
    fn only_one_directory_can_be_meant() {
        let roots = |uris: &[&str]| -> Vec<_> { uris.iter().map(|uri| Root::new(*uri)).collect() };
        assert_eq!(choose(&roots(&["file:///a"])).unwrap(), Path::new("/a"));
        assert_eq!(
            choose(&roots(&["file:///a", "https://x/", "file:///a/"])).unwrap(),
            Path::new("/a")
        );
        let several = choose(&roots(&["file:///b", "file:///a"])).unwrap_err();
        assert!(several.message.ends_with("the client has 2 roots: /a, /b"), "{}", several.message);
        assert!(choose(&roots(&["https://x/"])).unwrap_err().message.contains("no root"));
        assert!(choose(&[]).is_err());
    }
}

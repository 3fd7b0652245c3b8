//! How values are shown: whole where they are short.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::{Serialize, Serializer};
use serde_json::Value;

/// A call in compact JSON, with what is long in it left out.
pub(in super::super) fn json(call: &impl Serialize) -> String {
    match serde_json::to_value(call) {
        Ok(value) => shortened(value).to_string(),
        Err(error) => format!("a request that cannot be shown: {error}"),
    }
}

fn shortened(value: Value) -> Value {
    const ITEMS: usize = 3;
    match value {
        Value::String(text) => Value::String(cut(&text)),
        Value::Array(items) => {
            let more = items.len().saturating_sub(ITEMS);
            let more = (more > 0).then(|| Value::String(format!("… {more} more")));
            Value::Array(items.into_iter().take(ITEMS).map(shortened).chain(more).collect())
        }
        Value::Object(fields) => Value::Object(
            fields.into_iter().map(|(name, value)| (name, shortened(value))).collect(),
        ),
        other => other,
    }
}

/// The longest text in bytes that is shown whole.
const LONGEST: usize = 120;

/// A text with its middle left out when it is long.
pub(in super::super) fn cut(text: &str) -> String {
    const SHOWN: usize = 40;
    if text.len() <= LONGEST {
        return text.to_owned();
    }
    let start = &text[..text.floor_char_boundary(SHOWN)];
    let end = &text[text.ceil_char_boundary(text.len() - SHOWN)..];
    format!("{start}… {} bytes …{end}", text.len())
}

/// Bytes that are not UTF-8, in at most [`LONGEST`] characters.
fn escaped(bytes: &[u8]) -> String {
    const SHOWN: usize = 12;
    let escape = |bytes: &[u8]| bytes.escape_ascii().to_string();
    if bytes.len() * r"\xff".len() <= LONGEST {
        return escape(bytes);
    }
    let (start, end) = (&bytes[..SHOWN], &bytes[bytes.len() - SHOWN..]);
    format!("{}… {} bytes …{}", escape(start), bytes.len(), escape(end))
}

/// A path as text, bytes that are not UTF-8 as `\xFF`.
pub(super) fn path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    match path.to_str() {
        Some(text) => serializer.serialize_str(text),
        None => serializer.serialize_str(&escaped(path.as_os_str().as_bytes())),
    }
}

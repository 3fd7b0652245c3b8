//! Names that go anywhere: into a host name, a container, a database.

use std::os::unix::ffi::OsStrExt;

use crate::place::Place;

/// How much of a name is kept.
const LONGEST: usize = 40;

/// `text` in lower-case letters, digits and single `-`, at most 40 of them, beginning and ending with
/// a letter or digit; empty when nothing is left.
#[must_use]
pub fn slug(text: &str) -> String {
    let mut slug = String::with_capacity(text.len().min(LONGEST));
    for c in text.chars() {
        if slug.len() == LONGEST {
            break;
        }
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.truncate(slug.trim_end_matches('-').len());
    slug
}

/// What no other checkout or directory of this machine is called: the slug of its name, `-` and the
/// CRC-32 of its path in eight hexadecimal digits, so that it is the same on every call.
#[must_use]
pub fn checkout_slug(place: &Place) -> String {
    let root = place.root();
    let name = root.file_name().map(|name| slug(&name.to_string_lossy())).unwrap_or_default();
    let name = if name.is_empty() { "root" } else { &name };
    format!("{name}-{:08x}", crc32fast::hash(root.as_os_str().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_a_host_name() {
        for (text, expected) in [
            ("shop", "shop"),
            ("Feature/SHOP-412__x", "feature-shop-412-x"),
            ("--größe--", "gr-e"),
            ("$(id); `x`\n", "id-x"),
            ("日本", ""),
        ] {
            assert_eq!(slug(text), expected);
        }
        assert_eq!(slug(&"ab-".repeat(50)), "ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-a");
    }

    #[test]
    fn checkouts_of_one_name_have_different_slugs() {
        let of = |path: &str| checkout_slug(&Place { directory: path.into(), checkout: None });
        assert_eq!(of("/a/shop"), of("/a/shop"));
        assert_ne!(of("/a/shop"), of("/b/shop"));
        assert!(of("/a/shop").starts_with("shop-"), "{}", of("/a/shop"));
        assert!(of("/").starts_with("root-"), "{}", of("/"));
        assert_eq!(of("/").len(), "root-".len() + 8);
    }
}

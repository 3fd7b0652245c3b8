//! The default policy: a port that sticks to a path.
//!
//! - Key: the checkout root, project or service alone, by scope, together with the service.
//! - Selection: a slot hashed from the key, then onward through the range and around, so that the
//!   same path gets the same port even when the ledger is lost.
//! - Cleanup: what belongs to a directory that is gone.

#![no_std]

extern crate alloc;

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use exports::hythe::policy::{cleanup, info, key_derivation, port_selection};

wit_bindgen::generate!({
    path: "../../wit",
    inline: "
        package hythe:path-sticky;
        world path-sticky {
            export hythe:policy/info@0.1.0;
            export hythe:policy/key-derivation@0.1.0;
            export hythe:policy/port-selection@0.1.0;
            export hythe:policy/cleanup@0.1.0;
        }
    ",
});

hythe_guest::runtime!();

struct PathSticky;
export!(PathSticky);

impl info::Guest for PathSticky {
    fn describe() -> info::Description {
        info::Description {
            name: "path-sticky".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: "the same directory and service always get the same port".into(),
            options_schema: String::new(),
        }
    }
}

impl key_derivation::Guest for PathSticky {
    fn derive(request: key_derivation::Request, _options: String) -> Result<String, String> {
        let service = request.service;
        // A service never contains `:`, so that no two requests share a key.
        match request.scope {
            key_derivation::Scope::Directory => {
                let root = request.checkout.map_or(request.directory, |checkout| checkout.root);
                Ok(key(&["directory:", &service, ":"], &root))
            }
            key_derivation::Scope::Project => match request.project {
                Some(project) => Ok(key(&["project:", &service, ":"], project.as_bytes())),
                None => {
                    Err("the scope is `project`, but this directory belongs to no project: it is \
                             in no git repository, and no configuration names one"
                        .into())
                }
            },
            key_derivation::Scope::Service => Ok(key(&["service:", &service], b"")),
        }
    }
}

/// The parts, then text that stands for exactly these bytes: UTF-8 as it is, everything else, control
/// characters and `%` as `%XX`. Without `format!`, which would be half of this component.
fn key(parts: &[&str], bytes: &[u8]) -> String {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    let mut key = String::with_capacity(length + bytes.len());
    for part in parts {
        key.push_str(part);
    }
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() || character == '%' {
                escape(&mut key, character.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                key.push(character);
            }
        }
        escape(&mut key, chunk.invalid());
    }
    key
}

fn escape(key: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        key.push('%');
        key.push(char::from(DIGITS[usize::from(byte >> 4)]));
        key.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

impl port_selection::Guest for PathSticky {
    fn select(
        request: port_selection::Request,
        _options: String,
    ) -> Result<Vec<port_selection::PortRange>, String> {
        let port_selection::PortRange { first, last } = request.allowed;
        let size = u64::from(last - first) + 1;
        let slot = first + (hash(request.key.as_bytes()) % size) as u16;
        let onward = port_selection::PortRange { first: slot, last };
        if slot == first {
            return Ok(vec![onward]);
        }
        Ok(vec![onward, port_selection::PortRange { first, last: slot - 1 }])
    }
}

/// FNV-1a in 64 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>), its bits then mixed by the
/// finalizer of MurmurHash3, because the low bits of FNV alone follow the last byte closely.
///
/// Never to be changed: it decides which port a path gets on every machine that has lost, or never
/// had, a ledger.
fn hash(bytes: &[u8]) -> u64 {
    let mut hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

impl cleanup::Guest for PathSticky {
    fn review(
        _now: i64,
        reservations: Vec<cleanup::Reservation>,
        _options: String,
    ) -> Result<Vec<cleanup::Verdict>, String> {
        let verdict = |reservation: &cleanup::Reservation| {
            let gone = reservation.directory_presence == cleanup::Presence::Gone;
            if reservation.scope == cleanup::Scope::Directory && gone {
                cleanup::Verdict::Release("its directory is gone".into())
            } else {
                cleanup::Verdict::Pass
            }
        };
        Ok(reservations.iter().map(verdict).collect())
    }
}

//! The default plugins, part of the program: they need no compiler, no cache and no home directory.

use crate::wasm::Source;

/// The bundled plugin of this name.
#[must_use]
pub fn source(name: &str) -> Option<Source<'static>> {
    macro_rules! bundled {
        ($name:literal) => {
            Source::Bundled {
                component: include_bytes!(concat!("../../../plugins/bundled/", $name, ".wasm")),
                compiled: include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".cwasm")),
            }
        };
    }
    match name {
        "path-sticky" => Some(bundled!("path-sticky")),
        "pid-reap" => Some(bundled!("pid-reap")),
        "ttl" => Some(bundled!("ttl")),
        _ => None,
    }
}

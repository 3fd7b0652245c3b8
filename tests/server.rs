//! `hythe serve`, attacked: by web pages, by bytes that are no request, by clients that are slow, many,
//! gone or without a token, and by the end of the process.

mod access;
mod bodies;
mod clients;
mod ends;
mod events;
mod pages;
mod plugins;
mod wire;

use std::fs::File;
use std::path::PathBuf;

use crate::listener::Harbour;
use crate::serving::Serving;
use crate::support::World;

/// A world with a server and a directory that works with it.
struct Port {
    serving: Serving,
    world: Harbour,
    place: PathBuf,
}

impl Port {
    fn new() -> Self {
        Self::configured("", &[])
    }

    /// With this in the user's configuration, after the range, and these arguments.
    fn configured(text: &str, arguments: &[&str]) -> Self {
        let world = Harbour::of_size(64);
        world.configure(text);
        let place = world.dir("place");
        let serving = Serving::start(&world, arguments);
        Self { serving, world, place }
    }
}

/// The lock of the ledger, taken by somebody else.
fn locked(world: &World) -> File {
    let lock = File::options().write(true).open(world.state().join("ledger.lock")).unwrap();
    lock.lock().unwrap();
    lock
}

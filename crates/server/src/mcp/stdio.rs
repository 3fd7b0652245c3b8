//! What the client says, read on a thread of its own.
//!
//! A read of stdin cannot be taken back: on a thread of the runtime's it would keep the process from
//! ending until the client says something more.

use std::io::{self, BufRead};
use std::thread;

use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// How much is read ahead of what is understood, in bytes.
const AHEAD: usize = 64 * 1024;

/// What comes from stdin, and whether that has ended.
pub(super) fn stdin() -> io::Result<(DuplexStream, watch::Receiver<bool>)> {
    let (reader, mut writer) = tokio::io::duplex(AHEAD);
    let (ended, has_ended) = watch::channel(false);
    let runtime = Handle::current();
    thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        let mut stdin = io::stdin().lock();
        loop {
            let length = match stdin.fill_buf() {
                Ok([]) => break,
                Ok(bytes) => match runtime.block_on(writer.write_all(bytes)) {
                    Ok(()) => bytes.len(),
                    // Nobody reads it any more.
                    Err(_) => break,
                },
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                Err(error) => {
                    tracing::warn!(%error, "stdin cannot be read");
                    break;
                }
            };
            stdin.consume(length);
        }
        // Whoever waited to be told may have gone.
        let _ = ended.send(true);
    })?;
    Ok((reader, has_ended))
}

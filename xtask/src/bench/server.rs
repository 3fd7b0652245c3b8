//! A server that listens on a port.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::Outcome;

/// A process that listens, in a directory of its own, until this is dropped or this process ends.
pub(super) struct Server(Child);

impl Server {
    /// Starts one in `directory` on `port`; returns when it listens.
    pub(super) fn start(directory: &Path, port: &str) -> Outcome<Self> {
        let mut child = Command::new(env::current_exe()?)
            .args(["bench", "--listen", port])
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        if line.is_empty() {
            return Err(format!("nobody can listen on port {port}").into());
        }
        Ok(Self(child))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // It has nothing to tell.
        let _ = self.0.wait();
    }
}

/// Listens on `port` until stdin ends.
#[expect(clippy::disallowed_methods, reason = "stands for another program")]
pub(super) fn listen(port: u16) -> Outcome<()> {
    let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    println!("listening");
    io::stdout().flush()?;
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    Ok(())
}

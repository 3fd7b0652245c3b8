//! What the user's hooks are told, and when: after a commit, and after the lock is let go.

use std::path::Path;

use super::{Engine, Notice};
use crate::config::Set;
use crate::hook;

impl Engine<'_> {
    /// Runs the hooks for what has been committed, one after the other, each once with all its events.
    /// A hook that fails is told about and changes nothing.
    pub(super) fn run_hooks(&self) {
        let events = self.untold.take();
        if events.is_empty() {
            return;
        }
        for Set { value: hook, origin } in &self.settings().hooks {
            let heard = events.iter().filter(|event| hook.hears(event.kind));
            let lines: Vec<_> = heard.map(|event| event.document().to_string()).collect();
            if lines.is_empty() {
                continue;
            }
            tracing::debug!(program = ?hook.program, "running a hook");
            let command = hook::Command {
                program: &hook.program,
                arguments: &hook.arguments,
                directory: self
                    .config
                    .home()
                    .filter(|home| home.is_dir())
                    .unwrap_or(Path::new("/")),
                timeout: hook.timeout,
            };
            if let Err(error) = hook::run(&command, lines.join("\n") + "\n") {
                self.tell(&Notice::HookFailed {
                    hook: origin.to_string(),
                    program: hook.program.to_string_lossy().into_owned(),
                    reason: error.to_string(),
                });
            }
        }
    }
}

//! The settings with which agents start the MCP server, with the path of this binary. They are
//! what the agents' documentation, or accounts of it, said in November 2026.

use std::env;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use hythe_document::Failure;
use hythe_engine::config::quoted;
use hythe_engine::shell;
use serde_json::{Value, json};

use crate::environment;
use crate::output::Output;

/// An agent that can start MCP servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Agent {
    /// Claude Code
    ClaudeCode,
    /// Claude Desktop
    ClaudeDesktop,
    /// Codex
    Codex,
    /// Cursor
    Cursor,
    /// Visual Studio Code
    #[value(name = "vscode")]
    VsCode,
    /// Gemini CLI
    Gemini,
    /// Windsurf
    Windsurf,
    /// Zed
    Zed,
    /// opencode
    #[value(name = "opencode")]
    OpenCode,
}

/// The settings for one agent.
struct Settings {
    /// The file that they belong in.
    file: &'static str,
    text: String,
    /// A command that does the same.
    command: Option<String>,
    note: Option<&'static str>,
}

/// What starts the server.
struct Start {
    program: String,
    arguments: Vec<String>,
}

impl Agent {
    /// Prints the settings; `directory` is the one that the server is to work for.
    pub(super) fn run(self, directory: Option<&Path>, output: &Output) -> Result<(), Failure> {
        let Settings { file, text, command, note } = self.settings(&Start::read(directory)?);
        if output.json {
            return output.print_json(&json!({
                "version": 1,
                "agent": self.to_possible_value().map(|value| value.get_name().to_owned()),
                "file": file,
                "text": text,
                "command": command,
                "notes": note.into_iter().collect::<Vec<_>>(),
            }));
        }
        output.note(&format!("add this to {file}:"));
        output.print(&text)?;
        if let Some(command) = command {
            output.note(&format!("or have it added: {command}"));
        }
        if let Some(note) = note {
            output.note(note);
        }
        Ok(())
    }

    fn settings(self, start: &Start) -> Settings {
        let Start { program, arguments } = start;
        let server = || json!({ "command": program, "args": arguments });
        let typed = || json!({ "type": "stdio", "command": program, "args": arguments });
        let among = |name: &str, server: Value| pretty(&json!({ name: { "hythe": server } }));
        match self {
            // code.claude.com/docs/en/mcp
            Self::ClaudeCode => Settings {
                file: "~/.claude.json, or .mcp.json of a project",
                text: among("mcpServers", typed()),
                command: Some(start.line("claude mcp add --scope user hythe --")),
                note: None,
            },
            // modelcontextprotocol.io/docs/develop/connect-local-servers
            Self::ClaudeDesktop => Settings {
                file: "claude_desktop_config.json, which Settings > Developer > Edit Config opens",
                text: among("mcpServers", server()),
                command: None,
                note: Some(
                    "it works in no project: every call has to name a directory, unless -C names one",
                ),
            },
            // developers.openai.com/codex/mcp
            Self::Codex => Settings {
                file: "~/.codex/config.toml, or .codex/config.toml of a project",
                text: format!(
                    "[mcp_servers.hythe]\ncommand = {}\nargs = [{}]\n",
                    quoted(program),
                    arguments.iter().map(|it| quoted(it)).collect::<Vec<_>>().join(", ")
                ),
                command: Some(start.line("codex mcp add hythe --")),
                note: None,
            },
            // cursor.com/docs/context/mcp
            Self::Cursor => Settings {
                file: "~/.cursor/mcp.json, or .cursor/mcp.json of a project",
                text: among("mcpServers", typed()),
                command: None,
                note: None,
            },
            // code.visualstudio.com/docs/copilot/reference/mcp-configuration
            Self::VsCode => {
                let added = json!({ "name": "hythe", "command": program, "args": arguments });
                Settings {
                    file: ".vscode/mcp.json of a project, or what the command `MCP: Open User \
                           Configuration` opens",
                    text: among("servers", typed()),
                    command: Some(format!("code --add-mcp {}", shell::word(&added.to_string()))),
                    note: None,
                }
            }
            // geminicli.com/docs/tools/mcp-server
            Self::Gemini => Settings {
                file: "~/.gemini/settings.json, or .gemini/settings.json of a project",
                text: among("mcpServers", server()),
                command: Some(start.line_after_program("gemini mcp add --scope user hythe")),
                note: None,
            },
            // docs.windsurf.com/windsurf/cascade/mcp
            Self::Windsurf => Settings {
                file: "~/.codeium/windsurf/mcp_config.json",
                text: among("mcpServers", server()),
                command: None,
                note: None,
            },
            // zed.dev/docs/ai/mcp
            Self::Zed => Settings {
                file: "~/.config/zed/settings.json",
                text: among("context_servers", server()),
                command: None,
                note: None,
            },
            // opencode.ai/docs/mcp-servers and opencode.ai/v2/docs/mcp-servers
            Self::OpenCode => {
                let words: Vec<_> = [program].into_iter().chain(arguments).collect();
                Settings {
                    file: "~/.config/opencode/opencode.json, or opencode.json of a project",
                    text: among("mcp", json!({ "type": "local", "command": words })),
                    command: None,
                    note: Some("version 2 of opencode has its servers below `mcp.servers`"),
                }
            }
        }
    }
}

fn pretty(settings: &Value) -> String {
    format!("{settings:#}\n")
}

impl Start {
    fn read(directory: Option<&Path>) -> Result<Self, Failure> {
        let program = text(&program()?)?;
        let mut arguments = Vec::new();
        if let Some(directory) = directory {
            arguments.extend(["-C".to_owned(), text(directory)?]);
        }
        arguments.push("mcp".to_owned());
        Ok(Self { program, arguments })
    }

    /// A command that is followed by what starts the server.
    fn line(&self, command: &str) -> String {
        let words = [&self.program].into_iter().chain(&self.arguments);
        words.fold(command.to_owned(), |line, word| format!("{line} {}", shell::word(word)))
    }

    /// The same for a command that takes what begins with `-` for its own.
    fn line_after_program(&self, command: &str) -> String {
        let end = if self.arguments.len() > 1 { " --" } else { "" };
        let command = format!("{command} {}{end}", shell::word(&self.program));
        self.arguments.iter().fold(command, |line, word| format!("{line} {}", shell::word(word)))
    }
}

/// This binary, where a shell finds it: behind a link there, another version may be tomorrow. Else
/// where it lies.
fn program() -> Result<PathBuf, Failure> {
    let itself = env::current_exe()
        .map_err(|error| Failure::unexpected(format!("this program cannot be found: {error}")))?;
    let found = environment::search_path().into_iter().find_map(|directory| {
        let found = directory.join("hythe");
        (found.is_absolute() && found.canonicalize().ok()? == itself).then_some(found)
    });
    Ok(found.unwrap_or(itself))
}

fn text(path: &Path) -> Result<String, Failure> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        Failure::configuration(
            &format!("the path {} is not UTF-8, and no setting can hold it", path.display()),
            "put it where the path is UTF-8",
        )
    })
}

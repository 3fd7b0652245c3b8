mod settings;

use std::os::unix::process::parent_id;

use clap::{Args, Subcommand};
use hythe_document::Failure;
use hythe_engine::config::Overrides;
use hythe_server::Verbs;
use hythe_server::mcp::{self, Client};

use self::settings::Agent;
use crate::args::Global;
use crate::environment::Environment;
use crate::output::Output;

/// Serve tools for an agent, over MCP on stdin and stdout
///
/// An agent starts it: `hythe mcp settings AGENT` prints what tells it to. It works for the directory
/// that a call names, else for the one that -C names, else for the agent's only root; never for the
/// one that it was started in.
#[derive(Debug, Args)]
pub(crate) struct Mcp {
    #[command(subcommand)]
    text: Option<Text>,
}

#[derive(Debug, Subcommand)]
enum Text {
    /// Print the settings with which an agent starts it
    Settings {
        /// The agent
        agent: Agent,
    },
    /// Print a SKILL.md for agents that have skills
    ///
    ///   mkdir -p .claude/skills/hythe && hythe mcp skill > .claude/skills/hythe/SKILL.md
    #[command(verbatim_doc_comment)]
    Skill,
    /// Print instructions for agents, for AGENTS.md or CLAUDE.md
    ///
    ///   hythe mcp instructions >> AGENTS.md
    #[command(verbatim_doc_comment)]
    Instructions,
}

impl Mcp {
    pub(crate) fn run(
        &self,
        environment: &Environment,
        global: &Global,
        overrides: Overrides,
        output: &Output,
    ) -> Result<(), Failure> {
        let directory = global.directory.is_some().then(|| environment.directory.clone());
        match &self.text {
            Some(Text::Settings { agent }) => agent.run(directory.as_deref(), output),
            Some(Text::Skill) => output.print(include_str!("mcp/skill.md")),
            Some(Text::Instructions) => output.print(include_str!("mcp/instructions.md")),
            None => {
                let client = Client {
                    directory,
                    task: environment.task.clone(),
                    agent: environment.agent.clone(),
                    process: parent_id(),
                };
                mcp::run(Verbs::new(environment.home.clone(), overrides), client)
            }
        }
    }
}

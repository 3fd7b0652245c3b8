use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use hythe_document::Failure;
use hythe_engine::config::Overrides;
use hythe_server::{Listen, Settings, Token, Verbs, serve};
use serde_json::json;

use crate::environment::Environment;
use crate::output::Output;

/// Serve an HTTP API and a dashboard, until it is told to end
///
/// Prints where it listens, once it does. Only this machine can ask, unless it is told to listen
/// elsewhere; then whoever asks needs a token. The clients of Port Daddy 1 are answered as well. No
/// other command needs it.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Listen there: ADDRESS:PORT, PORT, or unix:PATH; may be repeated
    #[arg(long, value_name = "WHERE", default_value = "127.0.0.1:9876")]
    listen: Vec<Listen>,
    /// Answer only who knows the token in this file, which is made when it is missing
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Answer requests that call this host by this name; may be repeated
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,
    /// Answer at most this many requests of one client in a second
    #[arg(long, value_name = "COUNT", default_value = "20000")]
    rate_limit: NonZeroU32,
    /// Run the cleanup policies this often; `0s` for never
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = humantime::parse_duration)]
    cleanup_every: Duration,
}

impl Serve {
    pub(crate) fn run(
        &self,
        environment: &Environment,
        overrides: Overrides,
        output: &Output,
    ) -> Result<(), Failure> {
        let token = self.token_file.as_ref().map(|file| {
            let file = environment.directory.join(file);
            Token::of_file(&file).map_err(|error| {
                Failure::configuration(
                    &format!("the token in {} cannot be used: {error}", file.display()),
                    "a file that does not exist is made, with a new token",
                )
            })
        });
        let settings = Settings {
            listen: self.listen.clone(),
            token: token.transpose()?,
            hosts: self.allow_host.clone(),
            rate: self.rate_limit,
            cleanup_every: (!self.cleanup_every.is_zero()).then_some(self.cleanup_every),
            version: env!("CARGO_PKG_VERSION"),
        };
        let verbs = Verbs::new(environment.home.clone(), overrides);
        serve(verbs, settings, |places| match output.json {
            true => output.print_json(&json!({ "version": 1, "listen": places })),
            false => {
                output.print(&places.iter().map(|place| format!("{place}\n")).collect::<String>())
            }
        })
    }
}

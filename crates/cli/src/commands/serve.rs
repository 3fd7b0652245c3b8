use std::ffi::OsString;
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
    #[command(flatten)]
    server: ServeArgs,
}

/// How a server is run.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Listen there: ADDRESS:PORT, PORT, or unix:PATH; may be repeated
    #[arg(long, value_name = "WHERE", default_value = "127.0.0.1:9876")]
    pub(crate) listen: Vec<Listen>,
    /// Answer only who knows the token in this file, which is made when it is missing
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Answer requests that call this host by this name; may be repeated
    #[arg(long, value_name = "NAME", value_parser = host)]
    allow_host: Vec<String>,
    /// Answer at most this many requests of one client in a second
    #[arg(long, value_name = "COUNT", default_value = RATE)]
    rate_limit: NonZeroU32,
    /// Run the cleanup policies this often; `0s` for never
    #[arg(long, value_name = "DURATION", default_value = EVERY, value_parser = every)]
    cleanup_every: Duration,
}

const RATE: &str = "20000";
const EVERY: &str = "10m";

/// The name of a host, as requests say it before the port (RFC 3986, 3.2.2).
fn host(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    match !text.is_empty() && text.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => Err("expected a name such as `build.example`, without a port".to_owned()),
    }
}

/// How often something is done: never, or once a second at most.
fn every(text: &str) -> Result<Duration, String> {
    let every = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match every.is_zero() || every >= Duration::from_secs(1) {
        true => Ok(every),
        false => Err("expected `1s` or more, or `0s`".to_owned()),
    }
}

impl ServeArgs {
    /// Whether whoever asks needs a token.
    pub(crate) const fn has_token(&self) -> bool {
        self.token_file.is_some()
    }

    /// The token, where one is needed. Its file is made when it is missing.
    pub(crate) fn token(&self, environment: &Environment) -> Result<Option<Token>, Failure> {
        let token = self.token_file.as_ref().map(|file| {
            let file = environment.directory.join(file);
            Token::of_file(&file).map_err(|error| {
                Failure::configuration(
                    &format!("the token in {} cannot be used: {error}", file.display()),
                    &format!("hythe serve --token-file {}.new", file.display()),
                )
            })
        });
        token.transpose()
    }

    /// The command line that says the same, wherever it is run. What is as it is by itself is left out,
    /// but where to listen.
    pub(crate) fn words(&self, environment: &Environment) -> Vec<OsString> {
        let mut words = Vec::new();
        let mut say = |flag: &str, value: OsString| words.extend([flag.into(), value]);
        for place in &self.listen {
            say("--listen", place.to_string().into());
        }
        if let Some(file) = &self.token_file {
            say("--token-file", environment.directory.join(file).into());
        }
        for name in &self.allow_host {
            say("--allow-host", name.into());
        }
        let rate = self.rate_limit.to_string();
        if rate != RATE {
            say("--rate-limit", rate.into());
        }
        let every = humantime::format_duration(self.cleanup_every).to_string();
        if every != EVERY {
            say("--cleanup-every", every.into());
        }
        words
    }
}

impl Serve {
    pub(crate) fn run(
        &self,
        environment: &Environment,
        overrides: Overrides,
        output: &Output,
    ) -> Result<(), Failure> {
        let token = self.server.token(environment)?;
        let ServeArgs { listen, allow_host, rate_limit, cleanup_every, .. } = &self.server;
        let settings = Settings {
            listen: listen.clone(),
            token,
            hosts: allow_host.clone(),
            rate: *rate_limit,
            cleanup_every: (!cleanup_every.is_zero()).then_some(*cleanup_every),
            version: env!("CARGO_PKG_VERSION"),
        };
        let verbs = Verbs::new(environment.home.clone(), overrides);
        serve(verbs, settings, |places| match output.json {
            true => output.print_json(&json!({ "version": 1, "listen": places })),
            false => output.print(&(places.join("\n") + "\n")),
        })
    }
}

mod attendance;
mod launch;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use clap::Args;
use hythe_document::{ExitCode, Failure};
use hythe_engine::invocation::{Added, Invocation, InvocationError, Template};
use hythe_engine::{Engine, Held, Port, Reservation, ReserveRequest, Service, shell};
use serde_json::{Value, json};

use self::attendance::{Attendance, Served};
use self::launch::{Launch, MOST_SERVICES};
use crate::args::{AskArgs, ScopeArg};
use crate::environment::Environment;
use crate::output::Output;

pub(crate) use launch::take_over;

/// How soon a command has to fail for a lost port to be the cause: from its start to binding its port,
/// a server that has a lot to load takes some seconds.
const EARLY: Duration = Duration::from_secs(10);

/// Run a command with the ports of services, held for it until it starts
///
/// It finds them in PORT, in a variable of each service such as WEB_PORT, and in place of {port} and
/// {port:api} in its arguments. What is reserved for it is given back when it has ended. Its exit code
/// is passed on.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// A service that it serves, the first on PORT; may be repeated; by default the only one that is
    /// declared here, or `main`
    #[arg(short, long, value_name = "SERVICE")]
    service: Vec<Service>,
    /// Try this port first; may be repeated
    #[arg(long, value_name = "PORT")]
    prefer: Vec<Port>,
    #[command(flatten)]
    scope: ScopeArg,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
    /// Add nothing to the command line of well-known servers
    #[arg(long)]
    no_strict_port: bool,
    /// Start it again this often at most, with another port, when somebody took its port
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u32).range(..=100))]
    retries: u32,
    /// Hand over sockets that listen already, as systemd does: LISTEN_FDS
    #[arg(long)]
    listen_fds: bool,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// What became of one start.
enum Outcome {
    Ended(u8),
    /// It failed, because somebody took a port before it did: the service, and who.
    Lost(Service, String),
}

impl Run {
    /// The exit code of the command.
    pub(crate) fn run(
        &self,
        engine: &Engine<'_>,
        environment: &Environment,
        output: &Output,
    ) -> Result<u8, Failure> {
        let (services, beside) = engine.served(&self.service)?;
        if !self.prefer.is_empty() && services.len() > 1 {
            return Err(Failure::usage(
                "`--prefer` is for one service at a time",
                Some("[services.NAME] port = PORT in hythe.toml prefers a port for each"),
            ));
        }
        if services.len() > MOST_SERVICES {
            let message = format!("a command gets at most {MOST_SERVICES} ports");
            return Err(Failure::usage(&message, None));
        }
        let known: Vec<_> = services.iter().chain(&beside).cloned().collect();
        // What is wrong with a variable is wrong before anything is reserved.
        let draft: Vec<_> = known.iter().map(|service| (service.clone(), Port::MAX)).collect();
        engine.variables(&draft)?;
        let template = Template::parse(&self.command, &known).map_err(|error| {
            let hint = match &error {
                InvocationError::Unknown { service } => Some(format!("--service {service}")),
                InvocationError::Name { .. } => None,
            };
            Failure::usage(&error.to_string(), hint.as_deref())
        })?;
        let request = ReserveRequest {
            scope: self.scope.scope,
            prefer: self.prefer.clone(),
            beside,
            ..self.ask.request(services, environment)
        };
        if self.ask.dry_run {
            return self.plan(engine, request, &template, output).map(|()| ExitCode::Done as u8);
        }
        let attendance = Attendance::begin().map_err(system)?;
        let mut ending_with = Vec::new();
        let outcome = self.start(
            engine,
            environment,
            output,
            &request,
            &template,
            &attendance,
            &mut ending_with,
        );
        if let Err(error) = engine.release_ended(&ending_with) {
            output.remark(&format!("what was reserved for it is not given back: {error}"));
        }
        outcome
    }

    /// Starts the command until it has not lost a port. What is to be given back afterwards is put into
    /// `ending_with`.
    #[expect(clippy::too_many_arguments, reason = "a start needs all of them")]
    fn start(
        &self,
        engine: &Engine<'_>,
        environment: &Environment,
        output: &Output,
        request: &ReserveRequest,
        template: &Template,
        attendance: &Attendance,
        ending_with: &mut Vec<Reservation>,
    ) -> Result<u8, Failure> {
        let mut retries = 0;
        loop {
            let launch = Launch::new(&environment.directory, self.listen_fds).map_err(system)?;
            let request = ReserveRequest { server: Some(launch.pid()), ..request.clone() };
            let held = engine.reserve_and_hold(&request)?;
            let ending = held.iter().filter(|held| held.ends_with_server);
            *ending_with = ending.map(|held| held.reserved.observed.reservation.clone()).collect();
            match self.attempt(engine, output, template, attendance, launch, held)? {
                Outcome::Ended(code) => return Ok(code),
                Outcome::Lost(service, holder) if retries < self.retries => {
                    retries += 1;
                    output.remark(&format!(
                        "`{service}` lost its port to {holder}; starting again, {retries} of {}",
                        self.retries
                    ));
                }
                Outcome::Lost(service, holder) => {
                    return Err(Failure {
                        code: ExitCode::Refused,
                        message: format!("`{service}` lost its port to {holder}"),
                        hint: Some("--listen-fds hands over sockets, and loses no port".to_owned()),
                        details: json!({}),
                    });
                }
            }
        }
    }

    /// Starts the command once, and waits for its end.
    fn attempt(
        &self,
        engine: &Engine<'_>,
        output: &Output,
        template: &Template,
        attendance: &Attendance,
        launch: Launch,
        held: Vec<Held>,
    ) -> Result<Outcome, Failure> {
        let mut reservations: Vec<_> =
            held.iter().map(|held| held.reserved.observed.reservation.clone()).collect();
        // The command serves on the first ones, and only knows of the others.
        let served = held.iter().take_while(|held| held.serves).count();
        let invocation = self.invocation(engine, template, &reservations, served)?;
        reservations.truncate(served);
        if let Some(added) = &invocation.added {
            output.remark(&strictness(added));
        }
        let mut holds = Vec::new();
        for (Held { hold, .. }, reservation) in held.into_iter().zip(&reservations) {
            if let Some(hold) = &hold
                && self.listen_fds
            {
                hold.listen().map_err(|error| unlistened(reservation, &error.to_string()))?;
            } else if self.listen_fds {
                return Err(unlistened(reservation, "binding is not possible here"));
            }
            holds.extend(hold);
        }
        let child = launch.start(&invocation, holds, self.listen_fds).map_err(|error| {
            let program = invocation.arguments.first().map(|it| it.to_string_lossy());
            error.failure(&program.unwrap_or_default())
        })?;
        let started = Instant::now();
        let ports: Vec<_> = reservations.iter().map(|reservation| reservation.port).collect();
        let look = |pid: u32| engine.heed(pid, &ports);
        let elsewhere = |others: &[Port]| output.remark(&astray(&reservations, others));
        let served = Served { watched: !self.listen_fds, look: &look, elsewhere: &elsewhere };
        let (status, told) = attendance.attend(child, &served).map_err(system)?;
        if !status.success() && status.code().is_some() && !told && started.elapsed() < EARLY {
            let lost = reservations.iter().find_map(|it| Some((it, engine.intruder(it)?)));
            if let Some((reservation, holder)) = lost {
                return Ok(Outcome::Lost(reservation.service.clone(), holder));
            }
        }
        Ok(Outcome::Ended(exit_code(status)))
    }

    fn invocation(
        &self,
        engine: &Engine<'_>,
        template: &Template,
        reservations: &[Reservation],
        served: usize,
    ) -> Result<Invocation, Failure> {
        let ports: Vec<_> = reservations.iter().map(|it| (it.service.clone(), it.port)).collect();
        let strict = !self.no_strict_port && !self.listen_fds;
        let mut invocation = template.fill(&ports, engine.variables(&ports)?, strict);
        if self.listen_fds {
            let served = ports.iter().take(served);
            let names: Vec<_> = served.map(|(service, _)| service.as_str()).collect();
            invocation.variables.extend([
                ("LISTEN_FDS".to_owned(), names.len().to_string()),
                ("LISTEN_FDNAMES".to_owned(), names.join(":")),
            ]);
        }
        Ok(invocation)
    }

    /// Says what would be started.
    fn plan(
        &self,
        engine: &Engine<'_>,
        request: ReserveRequest,
        template: &Template,
        output: &Output,
    ) -> Result<(), Failure> {
        let server = Some(std::process::id());
        let count = request.services.len();
        let reserved = engine.reserve(&ReserveRequest { server, ..request })?;
        let reservations: Vec<_> =
            reserved.iter().map(|it| it.observed.reservation.clone()).collect();
        let invocation = self.invocation(engine, template, &reservations, count)?;
        if output.json {
            let services = reserved.iter().map(|it| {
                let Reservation { service, port, .. } = &it.observed.reservation;
                json!({ "service": service, "port": port, "outcome": it.outcome.word() })
            });
            let services: Value = services.collect();
            return output.print_json(&document(&invocation, &services));
        }
        if let Some(added) = &invocation.added {
            output.remark(&strictness(added));
        }
        let mut text = String::new();
        for (name, value) in &invocation.variables {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name}={}", shell::word(value));
        }
        let words = invocation.arguments.iter().map(|word| shell::word(&word.to_string_lossy()));
        text.push_str(&words.collect::<Vec<_>>().join(" "));
        let text = text.lines().map(crate::output::clean).collect::<Vec<_>>().join("\n");
        output.print(&format!("{text}\n"))
    }
}

fn document(invocation: &Invocation, services: &Value) -> Value {
    let words = invocation.arguments.iter().map(|word| word.to_string_lossy());
    let variables = invocation.variables.iter().map(|(name, value)| (name.clone(), json!(value)));
    json!({
        "version": 1,
        "dry_run": true,
        "services": services,
        "command": words.collect::<Vec<_>>(),
        "environment": variables.collect::<serde_json::Map<_, _>>(),
        "added": invocation.added.as_ref().map_or(&[][..], |added| &added.arguments),
    })
}

fn strictness(added: &Added) -> String {
    format!(
        "added `{}`, so that {} goes to no other port; --no-strict-port leaves it out",
        added.arguments.join(" "),
        added.server
    )
}

/// Says that the command listens on other ports than its own.
fn astray(reservations: &[Reservation], others: &[Port]) -> String {
    let list = |ports: &mut dyn Iterator<Item = String>| ports.collect::<Vec<_>>().join(", ");
    let own = list(&mut reservations.iter().map(|it| format!("{} (`{}`)", it.port, it.service)));
    let others = list(&mut others.iter().map(Port::to_string));
    format!("the command listens on port {others}, and not on {own}")
}

fn unlistened(reservation: &Reservation, reason: &str) -> Failure {
    let Reservation { service, port, .. } = reservation;
    Failure {
        code: ExitCode::Refused,
        message: format!("no socket of `{service}` can listen on port {port}: {reason}"),
        hint: None,
        details: json!({}),
    }
}

fn system(error: io::Error) -> Failure {
    Failure::unexpected(format!("the command cannot be started: {error}"))
}

/// As shells have it: 128 and the signal for a command that was ended by one (POSIX.1-2024, Shell
/// Command Language, 2.8.2).
fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(ExitCode::Unexpected as u8)
}

//! `cargo xtask bench serve`: the HTTP server under load, beside the same framework that always answers
//! the same. Needs wrk (<https://github.com/wg/wrk>).

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::Outcome;
use super::world::World;
use super::yard::Program::Hythe;
use super::yard::{Yard, build_example, on_path};

/// How many clients there are at once.
const CLIENTS: &str = "8";

/// After how many requests memory is looked at.
const MANY: u64 = 100_000;

/// What a load came to.
struct Load {
    requests: u64,
    per_second: f64,
    /// In milliseconds.
    p50: f64,
    p99: f64,
}

/// What is asked again and again.
struct Ask<'a> {
    path: &'a str,
    /// The body of a change; `None` for a read.
    body: Option<&'a Value>,
}

/// Prints what the server does in a second, and how long its clients wait. Fails when a program cannot be
/// built or run, or a request fails.
pub(super) fn run(root: &Path, seconds: u32) -> Outcome<()> {
    let wrk = on_path("wrk").ok_or("wrk is not installed")?;
    let yard = Yard::open(root)?;
    let scratch = tempfile::tempdir()?;
    let bench = Bench { wrk, script: scratch.path().join("load.lua"), seconds };
    let floor = Server::start(Command::new(build_example(root, "floor")?))?;
    println!(
        "{:<34} {:>10} {:>9} {:>9} {:>8}  goals",
        "8 clients", "requests/s", "p50, ms", "p99, ms", "× floor"
    );

    let one = yard.settled()?;
    let server = Server::start(one.command(Hythe, &["serve", "--listen", "127.0.0.1:0"]))?;
    let body = json!({ "directory": one.place() });
    let reserve = Ask { path: "/v1/reservations", body: Some(&body) };
    let least = bench.load(&floor, &reserve)?;
    print("floor: a constant answer", &least, None, "");
    let warm = bench.load(&server, &reserve)?;
    let goals = format!(
        "≥ 5000/s: {}; p50 < 1 ms: {}",
        judged(warm.per_second >= 5000.0),
        judged(warm.p50 < 1.0)
    );
    print("reserve, warm", &warm, Some(&least), &goals);
    let port = one.answer(Hythe, &["get"])?;
    let path = format!("/v1/reservations/{port}");
    let show = bench.load(&server, &Ask { path: &path, body: None })?;
    print("show one", &show, Some(&least), "");

    let mut done = warm.requests + show.requests;
    while done < MANY {
        done += bench.load(&server, &reserve)?.requests;
    }
    let (now, most) = (server.memory("VmRSS")?, server.memory("VmHWM")?);
    let met = judged(most < 25.0);
    println!("after {done} requests: {now:.1} MiB resident, {most:.1} at most; < 25: {met}");
    drop(server);

    for count in [100, 2000] {
        let world = yard.settled()?.filled(count, false)?;
        bench.list(&world, count, &least)?;
    }
    Ok(())
}

fn judged(holds: bool) -> &'static str {
    if holds { "met" } else { "missed" }
}

fn print(name: &str, load: &Load, floor: Option<&Load>, goals: &str) {
    let times = floor.map(|floor| format!("{:.2}", floor.per_second / load.per_second));
    println!(
        "{name:<34} {:>10.0} {:>9.3} {:>9.3} {:>8}  {goals}",
        load.per_second,
        load.p50,
        load.p99,
        times.unwrap_or_default()
    );
}

/// Makes load.
struct Bench {
    wrk: PathBuf,
    script: PathBuf,
    seconds: u32,
}

impl Bench {
    /// Asks a server for a while, after a fifth of that for it to get warm.
    fn load(&self, server: &Server, ask: &Ask<'_>) -> Outcome<Load> {
        self.ask(server, ask, self.seconds.div_ceil(5))?;
        self.ask(server, ask, self.seconds)
    }

    fn list(&self, world: &World<'_>, count: u16, floor: &Load) -> Outcome<()> {
        let server = Server::start(world.command(Hythe, &["serve", "--listen", "127.0.0.1:0"]))?;
        let load = self.load(&server, &Ask { path: "/v1/reservations", body: None })?;
        let most = server.memory("VmHWM")?;
        print(&format!("list of {count}"), &load, Some(floor), &format!("{most:.1} MiB at most"));
        Ok(())
    }

    fn ask(&self, server: &Server, ask: &Ask<'_>, seconds: u32) -> Outcome<Load> {
        let change = ask.body.map(|body| {
            // A JSON string without characters beyond ASCII is a string of Lua's as well.
            let body = Value::from(body.to_string());
            format!(
                "wrk.method = \"POST\"\nwrk.headers[\"Content-Type\"] = \"application/json\"\n\
                 wrk.body = {body}\n"
            )
        });
        let done = "function done(summary, latency)\n\
             local e = summary.errors\n\
             local wrong = e.connect + e.read + e.write + e.timeout + e.status\n\
             print(string.format(\"found %d %d %f %f %d\", summary.requests, summary.duration, \
             latency:percentile(50), latency:percentile(99), wrong))\nend\n";
        fs::write(&self.script, change.unwrap_or_default() + done)?;
        let output = Command::new(&self.wrk)
            .args(["-t", "1", "-c", CLIENTS, "-d", &format!("{seconds}s"), "-s"])
            .arg(&self.script)
            .arg(format!("{}{}", server.url, ask.path))
            .output()?;
        let said = String::from_utf8(output.stdout)?;
        let found = said.lines().find_map(|line| line.strip_prefix("found "));
        let found = found.ok_or_else(|| format!("wrk says: {said}"))?;
        let numbers: Vec<f64> = found.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let [requests, micros, p50, p99, wrong] = numbers[..] else {
            return Err(format!("wrk says: {found}").into());
        };
        if wrong > 0.0 || requests < 1.0 {
            return Err(format!("{wrong} of {requests} requests failed").into());
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let count = requests as u64;
        let per_second = requests / micros * 1e6;
        Ok(Load { requests: count, per_second, p50: p50 / 1e3, p99: p99 / 1e3 })
    }
}

/// A server that says where it listens. It is killed when this is dropped.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(mut command: Command) -> Outcome<Self> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut url = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut url)?;
        }
        let server = Self { child, url: url.trim_end().to_owned() };
        if server.url.is_empty() {
            return Err(format!("{command:?} does not serve").into());
        }
        Ok(server)
    }

    /// A figure of `/proc/PID/status`, in MiB.
    fn memory(&self, name: &str) -> Outcome<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
        Ok(number.ok_or("the system does not tell")?.parse::<f64>()? / 1024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has nothing to lose.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

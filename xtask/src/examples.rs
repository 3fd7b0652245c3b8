//! `cargo xtask examples`: builds every example policy from its source, and has the real `hythe` test
//! it, take the configuration of its README, and use it.

use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::{Args, ValueEnum};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Build the example policies and test them with the real binary.
#[derive(Args)]
pub(crate) struct Examples {
    /// Only those in this language; may be repeated.
    #[arg(long)]
    lang: Vec<Language>,
    /// The C compiler, as make gets it.
    #[arg(long, default_value = "clang")]
    cc: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Language {
    Rust,
    C,
    Js,
}

/// The directory of each example, its language, and the name of its plugin.
const EXAMPLES: &[(&str, Language, &str)] = &[
    ("team-blocks", Language::Rust, "team-blocks"),
    ("branch-offset", Language::Rust, "branch-offset"),
    ("office-hours", Language::Rust, "office-hours"),
    ("shared-infrastructure", Language::Rust, "shared-infrastructure"),
    ("round-robin", Language::C, "round-robin"),
    ("javascript", Language::Js, "by-pattern"),
];

/// The mark of the configuration in a README.
const CONFIGURATION: &str = "```toml config.toml\n";

impl Examples {
    /// Builds and tests the examples of the repository at `root`.
    pub(crate) fn run(&self, root: &Path) -> Outcome {
        let root = root.canonicalize()?;
        let mut built = command(cargo());
        run(built
            .args(["build", "--release", "--locked", "--package", "hythe"])
            .current_dir(&root))?;
        let workshop = Workshop { hythe: target(&root).join("release/hythe"), root };
        fs::create_dir_all(workshop.built())?;
        let wanted = |language| self.lang.is_empty() || self.lang.contains(&language);
        for (directory, language, name) in EXAMPLES.iter().filter(|example| wanted(example.1)) {
            println!("== {name}");
            let example = workshop.root.join("examples").join(directory);
            let component = workshop.built().join(name).with_extension("wasm");
            match language {
                Language::Rust => workshop.rust(&example, name, &component)?,
                Language::C => workshop.c(&example, &self.cc, name, &component)?,
                Language::Js => workshop.js(&example, name, &component)?,
            }
            workshop.prove(&example, name, &component)?;
        }
        Ok(())
    }
}

/// Where examples are built, and what with.
struct Workshop {
    root: PathBuf,
    hythe: PathBuf,
}

impl Workshop {
    fn built(&self) -> PathBuf {
        target(&self.root).join("examples")
    }

    fn rust(&self, example: &Path, name: &str, component: &Path) -> Outcome {
        let target = self.built().join("cargo");
        let cargo = |arguments: &[&str]| {
            let mut command = command(cargo());
            run(command
                .args(arguments)
                .arg("--locked")
                .current_dir(example)
                .env("CARGO_TARGET_DIR", &target)
                .env_remove("RUSTFLAGS")
                .env_remove("CARGO_ENCODED_RUSTFLAGS"))
        };
        // What decides is tested on this machine; the bindings exist for the sandbox only.
        cargo(&["test", "--quiet", "--target", &host()?])?;
        cargo(&["build", "--release"])?;
        let module = format!("wasm32-unknown-unknown/release/{}.wasm", name.replace('-', "_"));
        let mut encode = self.hythe();
        run(encode.args(["plugin", "encode"]).arg(target.join(module)).arg("-o").arg(component))
    }

    fn c(&self, example: &Path, cc: &str, name: &str, component: &Path) -> Outcome {
        let copy = self.copy(example, name)?;
        let mut make = command("make");
        let hythe = self.hythe.to_string_lossy();
        run(make.arg(format!("CC={cc}")).arg(format!("HYTHE={hythe}")).current_dir(&copy))?;
        fs::copy(copy.join(name).with_extension("wasm"), component)?;
        Ok(())
    }

    fn js(&self, example: &Path, name: &str, component: &Path) -> Outcome {
        let copy = self.copy(example, name)?;
        run(command("npm").args(["install", "--no-audit", "--no-fund"]).current_dir(&copy))?;
        run(command("npm").args(["run", "build"]).current_dir(&copy))?;
        fs::copy(copy.join(name).with_extension("wasm"), component)?;
        Ok(())
    }

    /// A copy of the example's files where building may leave others, beside a copy of the contract.
    fn copy(&self, example: &Path, name: &str) -> Outcome<PathBuf> {
        let copy = self.built().join("sources/examples").join(name);
        fs::create_dir_all(&copy)?;
        for entry in fs::read_dir(example)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                fs::copy(entry.path(), copy.join(entry.file_name()))?;
            }
        }
        let wit = self.built().join("sources/wit");
        fs::create_dir_all(&wit)?;
        fs::copy(self.root.join("wit/policy.wit"), wit.join("policy.wit"))?;
        Ok(copy)
    }

    /// The conformance suite, the example's own cases, and the configuration of its README in use.
    fn prove(&self, example: &Path, name: &str, component: &Path) -> Outcome {
        let scratch = tempfile::tempdir()?;
        let configuration = scratch.path().join(".config/hythe");
        fs::create_dir_all(configuration.join("policies"))?;
        let readme = fs::read_to_string(example.join("README.md"))?;
        let block = readme.split_once(CONFIGURATION).and_then(|(_, text)| text.split_once("```"));
        let (block, _) = block.ok_or_else(|| format!("{name}: its README configures nothing"))?;
        fs::write(configuration.join("config.toml"), block)?;
        fs::copy(component, configuration.join("policies").join(name).with_extension("wasm"))?;
        let project = scratch.path().join("project");
        fs::create_dir(&project)?;
        let hythe = |arguments: &[&str]| {
            let mut hythe = self.hythe();
            run(hythe.args(arguments).current_dir(&project).env("HOME", scratch.path()))
        };
        let cases = example.join("cases.toml");
        let cases = cases.to_str().ok_or("the path of the repository is not UTF-8")?;
        hythe(&["config", "check"])?;
        hythe(&["plugin", "check", name])?;
        hythe(&["plugin", "test", name, "--cases", cases])?;
        hythe(&["plugin", "bench", name])?;
        hythe(&["reserve", "web", "--explain"])?;
        hythe(&["cleanup", "--dry-run"])
    }

    fn hythe(&self) -> Command {
        let mut hythe = command(&self.hythe);
        // Nothing of whoever runs this: neither settings nor ledger.
        for name in ["CONFIG", "STATE_DIR", "RANGE", "PROJECT", "TASK", "AGENT", "ON_CONFLICT"] {
            hythe.env_remove(format!("HYTHE_{name}"));
        }
        for name in ["XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"] {
            hythe.env_remove(name);
        }
        hythe
    }
}

fn command(program: impl AsRef<OsStr>) -> Command {
    Command::new(program)
}

fn run(command: &mut Command) -> Outcome {
    let shown = format!("{command:?}");
    let status = command.status().map_err(|error| format!("{shown}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{shown}: {status}").into()) }
}

#[expect(clippy::disallowed_methods, reason = "cargo speaks to its tools in variables")]
fn cargo() -> PathBuf {
    std::env::var_os("CARGO").unwrap_or("cargo".into()).into()
}

#[expect(clippy::disallowed_methods, reason = "cargo speaks to its tools in variables")]
fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

/// The target of this machine, as rustc calls it.
fn host() -> Outcome<String> {
    let output = command("rustc").arg("-vV").output()?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.ok_or("rustc does not say what this machine is")?.to_owned())
}

//! What starts servers, and how the server behind it is found.

/// The most launchers that are looked behind, as in `env A=b npx vite`.
const DEEPEST: usize = 4;

/// Something that starts what its arguments name.
pub(super) struct Launcher {
    words: &'static [&'static str],
    /// Options of its own that are followed by a value.
    valued: &'static [&'static str],
    /// Options after which nothing can be told.
    opaque: &'static [&'static str],
    /// Whether a script of that name comes before a program.
    pub(super) scripts: bool,
    /// Whether it takes options for its own that do not stand behind `--`.
    pub(super) behind_dashes: bool,
}

const fn launcher(words: &'static [&'static str]) -> Launcher {
    Launcher { words, valued: &[], opaque: &[], scripts: false, behind_dashes: false }
}

/// The launchers: of those that begin alike, the longer first.
const LAUNCHERS: &[Launcher] = &[
    // https://docs.npmjs.com/cli/commands/npx
    Launcher {
        valued: &["-p", "--package", "-w", "--workspace"],
        opaque: &["-c", "--call"],
        ..launcher(&["npx"])
    },
    // https://docs.npmjs.com/cli/commands/npm-exec
    Launcher {
        valued: &["-w", "--workspace", "--package"],
        opaque: &["-c", "--call"],
        behind_dashes: true,
        ..launcher(&["npm", "exec"])
    },
    Launcher {
        valued: &["-w", "--workspace", "--package"],
        opaque: &["-c", "--call"],
        behind_dashes: true,
        ..launcher(&["npm", "x"])
    },
    // https://pnpm.io/cli/exec
    Launcher {
        opaque: &["-c", "--shell-mode", "-r", "--recursive"],
        ..launcher(&["pnpm", "exec"])
    },
    Launcher { valued: &["--package"], opaque: &["-c"], ..launcher(&["pnpm", "dlx"]) },
    Launcher { valued: &["-C", "--dir", "-F", "--filter"], scripts: true, ..launcher(&["pnpm"]) },
    // https://yarnpkg.com/cli
    launcher(&["yarn", "exec"]),
    Launcher { valued: &["-p", "--package"], ..launcher(&["yarn", "dlx"]) },
    Launcher { scripts: true, ..launcher(&["yarn", "run"]) },
    Launcher { valued: &["--cwd"], scripts: true, ..launcher(&["yarn"]) },
    // https://bun.sh/docs/cli/bunx
    Launcher { valued: &["-p", "--package"], ..launcher(&["bunx"]) },
    Launcher { valued: &["-p", "--package"], ..launcher(&["bun", "x"]) },
    Launcher { scripts: true, ..launcher(&["bun", "run"]) },
    // https://bundler.io/man/bundle-exec.1.html
    launcher(&["bundle", "exec"]),
    // https://python-poetry.org/docs/cli/#run, https://docs.astral.sh/uv/reference/cli/#uv-run
    launcher(&["poetry", "run"]),
    launcher(&["pipenv", "run"]),
    Launcher {
        valued: &["--with", "--extra", "--group", "--env-file", "-p", "--python", "--package"],
        opaque: &["-m", "--module", "-s", "--script"],
        ..launcher(&["uv", "run"])
    },
    Launcher { valued: &["--from", "--with", "-p", "--python"], ..launcher(&["uvx"]) },
    // env(1): what sets a variable is skipped as well.
    Launcher {
        valued: &["-u", "--unset", "-C", "--chdir"],
        opaque: &["-S", "--split-string"],
        ..launcher(&["env"])
    },
    launcher(&["cross-env"]),
];

/// A program that is started.
pub(super) struct Started {
    /// What it is called, without its directory.
    pub(super) name: String,
    /// Where in the command line it stands.
    pub(super) at: usize,
    /// The last of what starts it.
    pub(super) by: Option<&'static Launcher>,
}

/// The program that a command line comes down to; `None` where that cannot be told.
pub(super) fn started(words: &[&str]) -> Option<Started> {
    let mut at = 0;
    let mut by = None;
    for _ in 0..=DEEPEST {
        let rest = &words[at..];
        let program = program(rest.first()?)?;
        let names = |launcher: &&Launcher| {
            launcher.words[0] == program && rest[1..].starts_with(&launcher.words[1..])
        };
        if let Some(launcher) = LAUNCHERS.iter().find(names) {
            at += launcher.words.len();
            at += operand(launcher, &words[at..])?;
            by = Some(launcher);
            continue;
        }
        let (name, skipped) = match is_interpreter(program) {
            true => interpreted(program, rest)?,
            false => (program, 0),
        };
        return Some(Started { name: name.to_owned(), at: at + skipped, by });
    }
    None
}

/// How many words stand before what a launcher starts.
fn operand(launcher: &Launcher, words: &[&str]) -> Option<usize> {
    let mut at = 0;
    loop {
        let word = *words.get(at)?;
        let sets = ["env", "cross-env"].contains(&launcher.words[0]) && word.contains('=');
        if launcher.opaque.contains(&word) {
            return None;
        } else if word == "--" {
            return Some(at + 1);
        } else if launcher.valued.contains(&word) {
            at += 2;
        } else if word.starts_with('-') || sets {
            at += 1;
        } else {
            return Some(at);
        }
    }
}

/// Whether what a program runs stands in its arguments.
fn is_interpreter(program: &str) -> bool {
    is_python(program) || ["node", "ruby", "php"].contains(&program)
}

/// `python`, `python3`, `pypy3.10`.
fn is_python(program: &str) -> bool {
    let version = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    ["python", "pypy"].iter().any(|name| program.strip_prefix(name).is_some_and(version))
}

/// What an interpreter runs, if it is a module or a well-known script, and how many words stand before
/// it.
fn interpreted<'a>(interpreter: &str, words: &[&'a str]) -> Option<(&'a str, usize)> {
    let operand = |word: &&str| !word.starts_with('-') || *word == "-m";
    let at = 1 + words.get(1..)?.iter().position(operand)?;
    if is_python(interpreter) && words[at] == "-m" {
        return Some((words.get(at + 1)?, at + 1));
    }
    let file = words[at].rsplit('/').next()?;
    let name = match interpreter {
        // `node node_modules/vite/bin/vite.js`
        "node" if words[at].contains("node_modules/") => {
            [".js", ".mjs", ".cjs"].iter().find_map(|it| file.strip_suffix(it)).unwrap_or(file)
        }
        "php" if file == "artisan" => file,
        "ruby" if file == "rails" => file,
        _ if is_python(interpreter) && file == "manage.py" => file,
        _ => return None,
    };
    Some((name, at))
}

/// What a program is called: as it is found by the search path, in a directory called `bin` or
/// `.bin`, or as a script of Django's. A package runner may be told its version. A program that lies
/// anywhere else is somebody's own.
fn program<'a>(word: &&'a str) -> Option<&'a str> {
    let (directory, name) =
        word.rsplit_once('/').map_or((None, *word), |(it, name)| (Some(it), name));
    let known = directory.is_none_or(|directory| {
        ["bin", ".bin"].contains(&directory.rsplit('/').next().unwrap_or_default())
            || name == "manage.py"
    });
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    (known && !name.is_empty()).then_some(name)
}

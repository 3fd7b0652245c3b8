//! Environment variables: what a project's services and derived values are called and come to, and
//! how they are written for whoever reads them.

mod fence;
mod format;
mod slug;
mod template;

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

pub use fence::Fence;
pub use format::Format;
pub use slug::{checkout_slug, slug};
pub use template::{Facts, Template};

use crate::reservation::{NameError, Service};

/// A variable and its value, which has no control characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Variable {
    /// What it is called.
    pub name: VariableName,
    /// What it comes to.
    pub value: String,
}

/// The name of an environment variable: 1 to 255 ASCII letters, digits and `_`, not beginning with a
/// digit, as every shell can assign it (POSIX.1-2024, Base Definitions, 3.216 and 8.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct VariableName(String);

impl VariableName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The variable that gets the port of a service, unless the configuration names another: the
    /// service in capitals and `_PORT`, so `WEB_PORT` for `web` and `SHOP_ADMIN_PORT` for
    /// `@shop/admin`; `PORT` for `main`.
    #[must_use]
    pub fn of(service: &Service) -> Self {
        if *service == Service::default() {
            return Self("PORT".to_owned());
        }
        let capital =
            |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let name: String = service.as_str().chars().map(capital).collect();
        let name = name.trim_matches('_');
        let digit = name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit());
        Self(format!("{}{name}_PORT", if digit { "_" } else { "" }))
    }

    /// Whether the variable decides which programs run, what they load or obey before they begin, or
    /// whom they trust: nothing that a project's file may set behind the back of who evaluates
    /// `hythe env`. What ends in `_PORT` is nothing of the kind.
    #[must_use]
    pub fn is_sensitive(&self) -> bool {
        // zsh ties `path` to PATH, and others of its kind.
        let name = self.0.to_ascii_uppercase();
        let named = SENSITIVE.contains(&name.as_str());
        named
            || !name.ends_with("_PORT")
                && SENSITIVE_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    }
}

/// What shells, loaders, interpreters and tools of every day obey. The environment sections of sh(1),
/// bash(1), zshparam(1), ld.so(8), dyld(1), node(1), python(1), perlrun(1), ruby(1), java(1), git(1),
/// less(1), make(1), man(1), vim(1), readline(3), curl(1), openssl-env(7); and kubectl's and the AWS
/// command line's configuration files, which name programs to run.
const SENSITIVE: &[&str] = &[
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "BROWSER",
    "CC",
    "CDPATH",
    "CLASSPATH",
    "COMSPEC",
    "CURL_CA_BUNDLE",
    "CURL_HOME",
    "CXX",
    "EDITOR",
    "EGID",
    "ENV",
    "EUID",
    "EXINIT",
    "FPATH",
    "GCONV_PATH",
    "GID",
    "GLIBC_TUNABLES",
    "HISTFILE",
    "HOME",
    "IFS",
    "INPUTRC",
    "KUBECONFIG",
    "LOCPATH",
    "LOGNAME",
    "MODULE_PATH",
    "NLSPATH",
    "NODE_EXTRA_CA_CERTS",
    "NODE_PATH",
    "PAGER",
    "PATH",
    "PATHEXT",
    "PHPRC",
    "PHP_INI_SCAN_DIR",
    "PPID",
    "PROMPT",
    "PROMPT_COMMAND",
    "PS0",
    "PS1",
    "PS2",
    "PS4",
    "PSMODULEPATH",
    "PWD",
    "REQUESTS_CA_BUNDLE",
    "RPROMPT",
    "SHELL",
    "SHELLOPTS",
    "TERMINFO",
    "TMPDIR",
    "UID",
    "USER",
    "USERNAME",
    "VIMINIT",
    "VISUAL",
    "ZDOTDIR",
];

const SENSITIVE_PREFIXES: &[&str] = &[
    "BASH",
    "BUNDLE_",
    "CARGO_",
    "DOCKER_",
    "DYLD_",
    "FISH_",
    "GEM_",
    "GIT_",
    "GOFLAGS",
    "HYTHE_",
    "JAVA_TOOL_",
    "JDK_",
    "LD_",
    "LESS",
    "LUA_",
    "MAKEFILES",
    "MAKEFLAGS",
    "MANOPT",
    "MANPA",
    "NODE_OPTIONS",
    "NPM_CONFIG_",
    "OPENSSL_",
    "PERL",
    "PIP_",
    "PYTHON",
    "RUBY",
    "RUSTC",
    "RUSTFLAGS",
    "SSH_",
    "SSL_CERT_",
    "SUDO_",
    "XDG_",
    "_JAVA_",
];

impl FromStr for VariableName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let wrong = |why: &str| Err(NameError::new("variable name", text, why.to_owned()));
        if text.is_empty() || text.len() > 255 {
            wrong("expected 1 to 255 characters")
        } else if !text.bytes().all(plain) {
            wrong("expected letters, digits and `_`")
        } else if text.starts_with(|c: char| c.is_ascii_digit()) {
            wrong("it begins with a digit")
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

impl fmt::Display for VariableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_a_variable_that_every_shell_can_assign() {
        for (service, name) in [
            ("main", "PORT"),
            ("web", "WEB_PORT"),
            ("@shop/admin", "SHOP_ADMIN_PORT"),
            ("node-20.x", "NODE_20_X_PORT"),
            ("9p", "_9P_PORT"),
            ("++", "__PORT"),
        ] {
            let variable = VariableName::of(&service.parse().unwrap());
            assert_eq!(variable.as_str(), name);
            assert_eq!(variable.as_str().parse(), Ok(variable));
        }
    }

    #[test]
    fn what_a_shell_cannot_assign_is_no_name() {
        for text in ["", "A B", "1A", "A=B", "A;id", "$A", "Ä", "A\n", "A-B", &"A".repeat(256)] {
            assert!(text.parse::<VariableName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_decides_over_programs_is_sensitive() {
        let sensitive = |text: &str| text.parse::<VariableName>().unwrap().is_sensitive();
        for text in SENSITIVE.iter().chain(&["path", "LD_PRELOAD", "BASH_ENV", "LESSOPEN", "LESS"])
        {
            assert!(sensitive(text), "{text}");
        }
        for text in ["NODE_OPTIONS", "GIT_SSH_COMMAND", "MANPAGER", "MAKEFILES", "Ld_Preload"] {
            assert!(sensitive(text), "{text}");
        }
        for text in ["PORT", "WEB_PORT", "DATABASE_URL", "COMPOSE_PROJECT_NAME", "MY_PATH"] {
            assert!(!sensitive(text), "{text}");
        }
        for text in ["NODE_ENV", "GIT_PORT", "SSH_PORT", "AWS_ENDPOINT_URL", "HTTP_PROXY", "TZ"] {
            assert!(!sensitive(text), "{text}");
        }
    }
}

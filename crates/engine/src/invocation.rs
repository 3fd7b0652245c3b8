//! The command line and the variables of a command that is given ports: pure text.
//!
//! `{port}` in an argument stands for the port of the first service, `{port:api}` for that of `api`;
//! `{{port}}` and `{{port:api}}` stand for themselves with single braces. Everything else stays byte for
//! byte as it is.

mod strict;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::port::Port;
use crate::reservation::{NameError, Service};
use crate::variable::Variable;

/// Why a command cannot be given the ports it asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvocationError {
    /// A placeholder names a service that is not known here.
    #[error("`{{port:{service}}}` names a service that is neither served nor declared here")]
    Unknown {
        /// The service.
        service: Service,
    },
    /// A placeholder names no service.
    #[error("`{{port:{text}}}` is no placeholder: {error}")]
    Name {
        /// What it has in the place of a service.
        text: String,
        /// Why that is none.
        error: NameError,
    },
}

/// A command line with places for ports in it.
#[derive(Debug, Clone)]
pub struct Template {
    arguments: Vec<Vec<Piece>>,
}

#[derive(Debug, Clone)]
enum Piece {
    Text(Vec<u8>),
    /// The port of a service; of the first one when none is named.
    Port(Option<Service>),
}

/// What is to be started, and with which variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The program and its arguments.
    pub arguments: Vec<OsString>,
    /// The variables that it gets beside those it inherits.
    pub variables: Vec<(String, String)>,
    /// What was added so that it cannot go to another port.
    pub added: Option<Added>,
}

/// What was added to the command line of a well-known server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// The server.
    pub server: &'static str,
    /// The arguments.
    pub arguments: Vec<String>,
}

impl Template {
    /// Reads a command line that is given the ports of `services`.
    pub fn parse(command: &[OsString], services: &[Service]) -> Result<Self, InvocationError> {
        let read = |argument: &OsString| pieces(argument, services);
        Ok(Self { arguments: command.iter().map(read).collect::<Result<_, _>>()? })
    }

    /// The command line with these ports, those of the services it was read for, in their order, and
    /// the variables, of which `PORT` is the first port, whatever else it would be. With `strict`, a
    /// well-known server is told to listen on the first port and on no other.
    #[must_use]
    pub fn fill(
        &self,
        ports: &[(Service, Port)],
        variables: Vec<Variable>,
        strict: bool,
    ) -> Invocation {
        let port_of = |service: &Option<Service>| {
            let wanted =
                |(name, _): &&(Service, Port)| service.as_ref().is_none_or(|it| it == name);
            ports.iter().find(wanted).map(|(_, port)| *port)
        };
        let fill = |pieces: &Vec<Piece>| {
            let mut bytes = Vec::new();
            for piece in pieces {
                match piece {
                    Piece::Text(text) => bytes.extend(text),
                    Piece::Port(service) => {
                        // The command line was read for these services.
                        let port = port_of(service).map(|port| port.to_string());
                        bytes.extend(port.unwrap_or_default().into_bytes());
                    }
                }
            }
            OsString::from_vec(bytes)
        };
        let mut arguments: Vec<_> = self.arguments.iter().map(fill).collect();
        let first = ports.first().filter(|_| strict);
        let addition = first.and_then(|(_, port)| strict::addition(&arguments, *port));
        let added = addition.map(|addition| {
            let words = addition.arguments.iter().map(OsString::from);
            arguments.splice(addition.at..addition.at, words.collect::<Vec<_>>());
            Added { server: addition.server, arguments: addition.arguments }
        });
        let first = ports.first().map(|(_, port)| ("PORT".to_owned(), port.to_string()));
        let others = variables.into_iter().filter(|variable| variable.name.as_str() != "PORT");
        let others = others.map(|Variable { name, value }| (name.to_string(), value));
        Invocation { arguments, variables: first.into_iter().chain(others).collect(), added }
    }
}

/// Takes an argument apart.
fn pieces(argument: &OsStr, services: &[Service]) -> Result<Vec<Piece>, InvocationError> {
    let mut pieces = Vec::new();
    let mut text = Vec::new();
    let mut rest = argument.as_bytes();
    while let Some(byte) = rest.first() {
        if let Some((inner, after)) = braced(rest, b"{{", b"}}") {
            text.push(b'{');
            text.extend(inner);
            text.push(b'}');
            rest = after;
        } else if let Some((inner, after)) = braced(rest, b"{", b"}") {
            pieces.push(Piece::Text(std::mem::take(&mut text)));
            pieces.push(Piece::Port(service(inner, services)?));
            rest = after;
        } else {
            text.push(*byte);
            rest = &rest[1..];
        }
    }
    pieces.push(Piece::Text(text));
    Ok(pieces)
}

/// What stands between the braces that `text` begins with, if it is `port` or begins with `port:`,
/// and what comes after them.
fn braced<'a>(text: &'a [u8], open: &[u8], close: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let inside = text.strip_prefix(open)?;
    let end = inside.iter().position(|byte| b"{}".contains(byte))?;
    let (inner, after) = inside.split_at(end);
    let after = after.strip_prefix(close)?;
    (inner == b"port" || inner.starts_with(b"port:")).then_some((inner, after))
}

/// The service that a placeholder names, if it names one.
fn service(inner: &[u8], services: &[Service]) -> Result<Option<Service>, InvocationError> {
    let Some(name) = inner.strip_prefix(b"port:") else { return Ok(None) };
    let text = String::from_utf8_lossy(name).into_owned();
    let service: Service = match text.parse() {
        Ok(service) => service,
        Err(error) => return Err(InvocationError::Name { text, error }),
    };
    if !services.contains(&service) {
        return Err(InvocationError::Unknown { service });
    }
    Ok(Some(service))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn services(names: &[&str]) -> Vec<Service> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn parse(argument: &str) -> Result<Template, InvocationError> {
        Template::parse(&[argument.into()], &services(&["web", "api"]))
    }

    fn filled(argument: &str) -> String {
        let ports = [("web", 20_001), ("api", 20_002)];
        let ports = ports.map(|(name, port)| (name.parse().unwrap(), Port::new(port).unwrap()));
        let invocation = parse(argument).unwrap().fill(&ports, Vec::new(), true);
        let [argument] = &invocation.arguments[..] else { panic!("{invocation:?}") };
        argument.to_str().unwrap().to_owned()
    }

    #[test]
    fn placeholders_are_filled_and_nothing_else_is_touched() {
        for (argument, expected) in [
            ("{port}", "20001"),
            ("--port={port}", "--port=20001"),
            ("http://localhost:{port}/{port:api}", "http://localhost:20001/20002"),
            ("{port:web}{port:api}", "2000120002"),
            ("{{port}}", "{port}"),
            ("a{{port:x y}}b", "a{port:x y}b"),
            ("{{{port}}}", "{{port}}"),
            ("{ports}", "{ports}"),
            ("{PORT} {} { port } ${port", "{PORT} {} { port } ${port"),
            ("${port}", "$20001"),
            ("{{x}} {port:", "{{x}} {port:"),
            ("", ""),
            ("größe{port}", "größe20001"),
        ] {
            assert_eq!(filled(argument), expected, "{argument}");
        }
    }

    #[test]
    fn what_is_no_text_stays_as_it_is() {
        let argument = OsString::from_vec(b"\xff{port}\xfe".to_vec());
        let template = Template::parse(&[argument], &services(&["web"])).unwrap();
        let ports = [("web".parse().unwrap(), Port::new(1234).unwrap())];
        assert_eq!(
            template.fill(&ports, Vec::new(), true).arguments[0].as_bytes(),
            b"\xff1234\xfe"
        );
    }

    #[test]
    fn placeholders_name_services_that_are_asked_for() {
        let error = parse("x{port:db}").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`{port:db}` names a service that is neither served nor declared here"
        );
        for name in ["", "a b", "3000", "-x"] {
            let error = parse(&format!("{{port:{name}}}")).unwrap_err();
            assert!(matches!(error, InvocationError::Name { .. }), "{error}");
        }
    }

    #[test]
    fn port_is_the_first_port() {
        let variables = ["PORT", "WEB_PORT"]
            .map(|name| Variable { name: name.parse().unwrap(), value: "1".to_owned() });
        let ports = [("api".parse().unwrap(), Port::new(20_000).unwrap())];
        let template = Template::parse(&[], &services(&["api"])).unwrap();
        let invocation = template.fill(&ports, variables.to_vec(), true);
        let pairs: Vec<_> =
            invocation.variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(pairs, ["PORT=20000", "WEB_PORT=1"]);
    }
}

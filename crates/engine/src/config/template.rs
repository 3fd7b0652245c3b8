//! The configuration files that people begin with: commented, and valid as they are.

use super::entries::{key, quoted};
use crate::port::Port;
use crate::reservation::{Label, Service};

/// Every setting of a user's file with the value that is built in.
const EVERYTHING: &str = include_str!("../../../../examples/configurations/user-everything.toml");

/// A user's file that says nothing yet: every setting is there, explained and commented out.
#[must_use]
pub fn user() -> String {
    let mut text = "# Your configuration of Hythe. What is commented out is built in, and need not be said.\n\
        # `hythe config show --origin` tells what holds where, `hythe config check` whether this is right.\n"
        .to_owned();
    // What the example says of itself.
    let settings = EVERYTHING.lines().skip_while(|line| line.starts_with('#'));
    for line in settings {
        // A table may stand there empty.
        if !line.is_empty() && !line.starts_with(['#', '[']) {
            text.push_str("# ");
        }
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// A project's file with these services, each with its preferred port.
#[must_use]
pub fn project(name: Option<&Label>, services: &[(Service, Option<Port>)]) -> String {
    let project = match name {
        Some(name) => format!("project = {}\n", quoted(name.as_str())),
        None => "# project = \"shop\"           # by default the repository's name\n".to_owned(),
    };
    let services = services.iter().map(|(service, port)| {
        let port = match port {
            Some(port) => format!("port = {port}"),
            None => "# port = 3000".to_owned(),
        };
        format!("\n[services.{}]\n{port}\n", key(service.as_str()))
    });
    [HEAD.to_owned(), project, PORTS.to_owned()]
        .into_iter()
        .chain(services)
        .chain([SERVICES.to_owned()])
        .collect()
}

const HEAD: &str = "\
# What Hythe is to know of this project, for everybody who works on it.
# What is yours alone goes into hythe.local.toml beside it, which is stronger and not committed.

";

const PORTS: &str = r#"
# [ports]
# range = "23000-23999"        # inside what every user allows
# exclude = [23306]            # never given here

# A service gets a port of its own in every checkout. `port` is tried first: it is the main checkout's,
# and linked worktrees get others.
"#;

const SERVICES: &str = r#"
# [services.postgres]
# port = 5432
# scope = "service"            # one for the whole machine; "project": one for all checkouts
#
# [services.preview]
# lease = "ephemeral"          # for as long as the process lives that asked for it
# ttl = "2h"                   # released when it has not been used for this long
#
# [services.admin]
# env = "ADMIN_UI_PORT"        # the variable of its port; by default ADMIN_PORT
# offset = 1                   # beside the others that have an offset, one above the lowest of them

# What follows from the ports, for `hythe env` and `hythe run`.
# [env]
# ADMIN_URL = "http://localhost:{port:admin}"
# COMPOSE_PROJECT_NAME = "{slug}"        # what no other checkout is called
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_commented_out_is_all_there_is() {
        let text = user();
        let said = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let tables: Vec<_> = said.collect();
        assert!(tables.iter().all(|line| line.starts_with('[')), "{tables:?}");
        for line in EVERYTHING.lines().filter(|line| line.contains(" = ")) {
            assert!(text.contains(&format!("# {}", line.trim_start_matches("# "))), "{line}");
        }
    }

    #[test]
    fn names_are_written_as_toml_has_them() {
        let services =
            [("@shop/web".parse().unwrap(), Port::new(3000)), ("a".parse().unwrap(), None)];
        let text = project(Some(&"a \"b\"".parse().unwrap()), &services);
        let read: toml::Table = toml::from_str(&text).unwrap();
        assert_eq!(read["project"].as_str(), Some("a \"b\""));
        assert_eq!(read["services"]["@shop/web"]["port"].as_integer(), Some(3000));
        assert!(read["services"]["a"].as_table().unwrap().is_empty());
    }
}

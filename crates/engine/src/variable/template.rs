//! Values with placeholders, such as `http://localhost:{port:api}`.

use std::fmt;
use std::str::FromStr;

use super::slug;
use crate::port::Port;
use crate::reservation::Service;

/// The longest template in bytes.
const LONGEST: usize = 4096;

/// A value with placeholders.
///
/// | placeholder | stands for |
/// |---|---|
/// | `{port:SERVICE}` | the port of a service |
/// | `{port}` | the port of the only service, or of `main` |
/// | `{slug}` | what no other checkout of this machine is called ([`checkout_slug`](super::checkout_slug)) |
/// | `{project}`, `{branch}` | the project, the branch |
/// | `{slug:project}`, `{slug:branch}` | the same in lower-case letters, digits and `-` |
/// | `{branch\|none}` | the branch, or what follows the bar where there is none |
/// | `{{`, `}}` | a brace |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Port(Option<Service>),
    Slug,
    Fact { fact: Fact, as_slug: bool, fallback: Option<String> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fact {
    Project,
    Branch,
}

/// What the placeholders stand for in one place.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The ports of the services.
    pub ports: &'a [(Service, Port)],
    /// The port that goes without saying, where there is one.
    pub only: Option<Port>,
    /// What no other checkout is called.
    pub slug: &'a str,
    /// The project, where there is one.
    pub project: Option<&'a str>,
    /// The branch that is checked out, where there is one.
    pub branch: Option<&'a str>,
}

/// What a placeholder stands for and is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// The service has no port here.
    #[error("`{{port:{0}}}`: no service `{0}` is declared here")]
    Service(Service),
    /// There are several services, and none is `main`.
    #[error("`{{port}}`: there is more than one service")]
    OnlyService,
    /// No project is known.
    #[error("`{{project}}`: no project is known here")]
    Project,
    /// No branch is checked out.
    #[error("`{{branch}}`: no branch is checked out here")]
    Branch,
    /// A value has control characters, which no variable may have.
    #[error("the value has control characters")]
    Control,
}

impl Missing {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Service(service) => Some(format!("declare it: [services.\"{service}\"]")),
            Self::OnlyService => Some("name the service, as in {port:web}".to_owned()),
            Self::Project => Some("project = \"NAME\", or {project|NAME}".to_owned()),
            Self::Branch => Some("say what stands in for it, as in {branch|none}".to_owned()),
            Self::Control => None,
        }
    }
}

impl Template {
    /// The template as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The services that it names.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.parts.iter().filter_map(|part| match part {
            Part::Port(service) => service.as_ref(),
            _ => None,
        })
    }

    /// The value, with every placeholder replaced.
    pub fn fill(&self, facts: &Facts<'_>) -> Result<String, Missing> {
        let mut value = String::with_capacity(self.text.len());
        for part in &self.parts {
            match part {
                Part::Text(text) => value.push_str(text),
                Part::Port(service) => value.push_str(&facts.port(service.as_ref())?.to_string()),
                Part::Slug => value.push_str(facts.slug),
                Part::Fact { fact, as_slug, fallback } => {
                    let known = facts.known(*fact);
                    let text = known.or(fallback.as_deref()).ok_or(fact.missing())?;
                    value.push_str(&if *as_slug { slug(text) } else { text.to_owned() });
                }
            }
        }
        if value.chars().any(char::is_control) {
            return Err(Missing::Control);
        }
        Ok(value)
    }
}

impl Facts<'_> {
    fn port(&self, service: Option<&Service>) -> Result<Port, Missing> {
        let of = |service: &Service| {
            let found = self.ports.iter().find(|(other, _)| other == service);
            found.map(|(_, port)| *port)
        };
        match service {
            Some(service) => of(service).ok_or_else(|| Missing::Service(service.clone())),
            None => self.only.ok_or(Missing::OnlyService),
        }
    }

    fn known(&self, fact: Fact) -> Option<&str> {
        match fact {
            Fact::Project => self.project,
            Fact::Branch => self.branch,
        }
    }
}

impl Fact {
    const fn missing(self) -> Missing {
        match self {
            Self::Project => Missing::Project,
            Self::Branch => Missing::Branch,
        }
    }
}

/// Text that is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no template: {why}")]
pub struct TemplateError {
    text: String,
    why: String,
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let wrong = |why: String| {
            let text = text.chars().take(64).collect();
            TemplateError { text, why }
        };
        if text.len() > LONGEST {
            return Err(wrong(format!("it is longer than {LONGEST} bytes")));
        }
        if text.chars().any(char::is_control) {
            return Err(wrong("it contains control characters".to_owned()));
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            literal.push_str(before);
            if let Some(after) = from.strip_prefix("{{").or_else(|| from.strip_prefix("}}")) {
                literal.push_str(&from[..1]);
                rest = after;
                continue;
            }
            let placeholder = from.strip_prefix('{').and_then(|inside| inside.split_once('}'));
            let Some((inside, after)) = placeholder else {
                return Err(wrong(format!("`{}` stands alone; write it twice", &from[..1])));
            };
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(Part::read(inside).map_err(wrong)?);
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self { text: text.to_owned(), parts })
    }
}

impl Part {
    /// What stands between the braces of a placeholder.
    fn read(inside: &str) -> Result<Self, String> {
        let (wanted, fallback) = match inside.split_once('|') {
            Some((wanted, fallback)) => (wanted, Some(fallback.to_owned())),
            None => (inside, None),
        };
        let fact = |fact, as_slug| Ok(Self::Fact { fact, as_slug, fallback: fallback.clone() });
        match wanted.split_once(':') {
            None if wanted == "project" => return fact(Fact::Project, false),
            None if wanted == "branch" => return fact(Fact::Branch, false),
            Some(("slug", "project")) => return fact(Fact::Project, true),
            Some(("slug", "branch")) => return fact(Fact::Branch, true),
            _ => {}
        }
        if fallback.is_some() {
            return Err(format!("`{{{wanted}}}` is always there and needs nothing after a bar"));
        }
        match wanted.split_once(':') {
            None if wanted == "port" => Ok(Self::Port(None)),
            None if wanted == "slug" => Ok(Self::Slug),
            Some(("port", service)) => match service.parse() {
                Ok(service) => Ok(Self::Port(Some(service))),
                Err(error) => Err(format!("{error}")),
            },
            _ => Err(format!(
                "`{{{wanted}}}` is no placeholder; there are {{port}}, {{port:SERVICE}}, {{slug}}, \
                 {{slug:project}}, {{slug:branch}}, {{project}} and {{branch}}"
            )),
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str, services: &[(&str, u16)]) -> Result<String, Missing> {
        let ports: Vec<_> = services
            .iter()
            .map(|(name, port)| (name.parse().unwrap(), Port::new(*port).unwrap()))
            .collect();
        let branch = Some("feature/X_1");
        let only = ports.first().filter(|_| ports.len() == 1).map(|(_, port)| *port);
        let facts =
            Facts { ports: &ports, only, slug: "shop-1", project: Some("The Shop"), branch };
        text.parse::<Template>().unwrap().fill(&facts)
    }

    #[test]
    fn placeholders_are_replaced_and_all_else_is_left() {
        for (text, expected) in [
            ("", ""),
            ("plain $HOME `x` \"q\"", "plain $HOME `x` \"q\""),
            ("http://localhost:{port:api}/{port:web}", "http://localhost:2/1"),
            ("{slug}_{slug:branch}_{slug:project}", "shop-1_feature-x-1_the-shop"),
            ("{project}:{branch}", "The Shop:feature/X_1"),
            ("{branch|none}", "feature/X_1"),
            ("{{port}} }}{{ {{{slug}}}", "{port} }{ {shop-1}"),
        ] {
            assert_eq!(fill(text, &[("web", 1), ("api", 2)]).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(fill("{port}", &[("web", 1)]).unwrap(), "1");
    }

    #[test]
    fn what_is_missing_is_named_unless_something_stands_in_for_it() {
        let web = [("web", 1), ("api", 2)];
        let api = "db".parse().unwrap();
        assert_eq!(fill("{port:db}", &web), Err(Missing::Service(api)));
        assert_eq!(fill("{port}", &web), Err(Missing::OnlyService));
        let bare = |text: &str| {
            let facts = Facts { ports: &[], only: None, slug: "s", project: None, branch: None };
            text.parse::<Template>().unwrap().fill(&facts)
        };
        assert_eq!(bare("{project}"), Err(Missing::Project));
        assert_eq!(bare("{slug:branch}"), Err(Missing::Branch));
        assert_eq!(bare("{branch|a:b c}-{slug:project|No One}").unwrap(), "a:b c-no-one");
        let facts =
            Facts { ports: &[], only: None, slug: "s", project: None, branch: Some("a\u{1b}b") };
        assert_eq!("{branch}".parse::<Template>().unwrap().fill(&facts), Err(Missing::Control));
    }

    #[test]
    fn what_is_no_template_says_why() {
        for (text, why) in [
            ("{", "`{` stands alone"),
            ("a}b", "`}` stands alone"),
            ("{port", "`{` stands alone"),
            ("{}", "`{}` is no placeholder"),
            ("{prot:web}", "`{prot:web}` is no placeholder"),
            ("{port:}", "is not a service"),
            ("{port:80}", "would be taken for a port"),
            ("{port:web|3}", "needs nothing after a bar"),
            ("{slug|x}", "needs nothing after a bar"),
            ("a\nb", "control characters"),
            (&"x".repeat(5000), "longer than 4096"),
        ] {
            let error = text.parse::<Template>().unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
            assert!(error.len() < 300, "{error}");
        }
    }
}

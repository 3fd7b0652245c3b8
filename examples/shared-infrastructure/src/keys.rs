//! The keys: text that stands for exactly one request.

use serde::Deserialize;

/// The table `[plugins.shared-infrastructure.options]`. Durations arrive in whole seconds.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub struct Options {
    /// The services that are shared.
    pub shared: Vec<String>,
    /// Who shares them.
    pub across: Across,
    /// How long after its last use a shared port is kept; 0 for no end.
    pub unused: i64,
}

impl Default for Options {
    fn default() -> Self {
        Self { shared: Vec::new(), across: Across::Repository, unused: 30 * 24 * 60 * 60 }
    }
}

/// Who shares a service.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Across {
    /// All checkouts of a repository.
    Repository,
    /// All directories of a project.
    Project,
    /// Everybody.
    Machine,
}

/// What a request says that its reservation belongs to.
#[derive(Debug, Clone, Copy)]
pub enum Scope {
    /// A checkout, or a directory outside git.
    Directory,
    /// A project.
    Project,
    /// The whole machine.
    Service,
}

/// What a key is for.
pub struct Request<'a> {
    /// The scope.
    pub scope: Scope,
    /// The service: without `:`, as the engine takes no other.
    pub service: &'a str,
    /// The directory.
    pub directory: &'a [u8],
    /// The checkout that contains it.
    pub checkout: Option<Checkout<'a>>,
    /// The project.
    pub project: Option<&'a str>,
}

/// A git checkout.
pub struct Checkout<'a> {
    /// Its root.
    pub root: &'a [u8],
    /// The repository's own directory, which its worktrees share.
    pub repository: Option<&'a [u8]>,
}

/// What every key of a shared service begins with, and no other.
const SHARED: &str = "shared-";

/// Whether `key` is that of a shared service.
pub fn is_shared(key: &str) -> bool {
    key.starts_with(SHARED)
}

/// The key of a request.
///
/// A shared service of a directory belongs to more than that. A request with another scope says
/// itself what it belongs to, and everything that is not shared has the key that `path-sticky` would
/// give it, so that nothing moves when this policy takes over.
pub fn derive(request: &Request<'_>, options: &Options) -> Result<String, String> {
    let service = request.service;
    let is_listed = options.shared.iter().any(|shared| shared == service);
    match (request.scope, is_listed.then_some(options.across), &request.checkout) {
        (Scope::Directory, Some(Across::Repository), Some(checkout)) => {
            let repository = checkout.repository.ok_or_else(|| {
                format!(
                    "`{service}` is shared by all checkouts of a repository, but git's files do not \
                     say which repository this checkout belongs to"
                )
            })?;
            Ok(key(&[SHARED, "repository:", service, ":"], repository))
        }
        (Scope::Directory, Some(Across::Project), _) => {
            let project = project(request)?;
            Ok(key(&[SHARED, "project:", service, ":"], project.as_bytes()))
        }
        (Scope::Directory, Some(Across::Machine), _) => {
            Ok(key(&[SHARED, "service:", service], b""))
        }
        (Scope::Directory, _, checkout) => {
            let root = checkout.as_ref().map_or(request.directory, |checkout| checkout.root);
            Ok(key(&["directory:", service, ":"], root))
        }
        (Scope::Project, ..) => Ok(key(&["project:", service, ":"], project(request)?.as_bytes())),
        (Scope::Service, ..) => Ok(key(&["service:", service], b"")),
    }
}

fn project<'a>(request: &Request<'a>) -> Result<&'a str, String> {
    request.project.ok_or_else(|| {
        format!(
            "`{}` is shared by a project, but this directory belongs to none: it is in no git \
             repository, and no configuration names one",
            request.service
        )
    })
}

/// The parts, then text that stands for exactly these bytes: UTF-8 as it is, everything else, control
/// characters and `%` as `%XX`.
fn key(parts: &[&str], bytes: &[u8]) -> String {
    let mut key = parts.concat();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() || character == '%' {
                escape(&mut key, character.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                key.push(character);
            }
        }
        escape(&mut key, chunk.invalid());
    }
    key
}

fn escape(key: &mut String, bytes: &[u8]) {
    for byte in bytes {
        key.push_str(&format!("%{byte:02X}"));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn options(across: Across) -> Options {
        Options { shared: vec!["db".to_owned()], across, ..Options::default() }
    }

    /// A request from a worktree of the repository `/work/shop`.
    fn request(service: &str) -> Request<'_> {
        Request {
            scope: Scope::Directory,
            service,
            directory: b"/work/fix/src",
            checkout: Some(Checkout { root: b"/work/fix", repository: Some(b"/work/shop/.git") }),
            project: Some("shop"),
        }
    }

    #[test]
    fn only_what_is_listed_is_shared() {
        for (across, expected) in [
            (Across::Repository, "shared-repository:db:/work/shop/.git"),
            (Across::Project, "shared-project:db:shop"),
            (Across::Machine, "shared-service:db"),
        ] {
            let options = options(across);
            assert_eq!(derive(&request("db"), &options).as_deref(), Ok(expected));
            let web = derive(&request("web"), &options);
            assert_eq!(web.as_deref(), Ok("directory:web:/work/fix"));
            assert!(is_shared(expected) && !is_shared("directory:web:/work/fix"));
        }
    }

    #[test]
    fn no_two_requests_have_the_same_key() {
        let mut keys = BTreeSet::new();
        let mut count = 0;
        for scope in [Scope::Directory, Scope::Project, Scope::Service] {
            for service in ["db", "web", "shared-db", "repository"] {
                for across in [Across::Repository, Across::Project, Across::Machine] {
                    let request = Request { scope, ..request(service) };
                    keys.insert(derive(&request, &options(across)).unwrap());
                }
                // The options tell apart only what is shared.
                let is_shared = service == "db" && matches!(scope, Scope::Directory);
                count += if is_shared { 3 } else { 1 };
            }
        }
        assert_eq!(keys.len(), count, "{keys:?}");
    }

    #[test]
    fn outside_git_there_is_nobody_to_share_with() {
        let request = Request { checkout: None, directory: b"/tmp/x", ..request("db") };
        let key = derive(&request, &options(Across::Repository)).unwrap();
        assert_eq!(key, "directory:db:/tmp/x");
        assert!(!is_shared(&key));
    }

    #[test]
    fn what_cannot_be_known_is_refused() {
        let lost = Some(Checkout { root: b"/work/fix", repository: None });
        let lost = Request { checkout: lost, ..request("db") };
        let refusal = derive(&lost, &options(Across::Repository)).unwrap_err();
        assert!(refusal.contains("which repository"), "{refusal}");
        let nobody = Request { project: None, ..request("db") };
        let refusal = derive(&nobody, &options(Across::Project)).unwrap_err();
        assert!(refusal.contains("belongs to none"), "{refusal}");
    }

    #[test]
    fn paths_are_told_apart_whatever_their_bytes() {
        let paths: [&[u8]; 7] =
            [b"/a%0A", b"/a\n", b"/a\xff", b"/a%FF", b"/a\xc3\xa4", b"/a\xc3", b"/a\xc2\x85"];
        let keys = paths.map(|directory| {
            let request = Request { directory, checkout: None, ..request("web") };
            derive(&request, &Options::default()).unwrap()
        });
        let expected = ["/a%250A", "/a%0A", "/a%FF", "/a%25FF", "/aä", "/a%C3", "/a%C2%85"];
        assert_eq!(keys, expected.map(|path| format!("directory:web:{path}")));
    }
}

//! Who may ask. A server on the loopback interface is within reach of every web page that the user
//! looks at, and of every name that somebody's DNS says is 127.0.0.1: so a request must name this
//! server, come from no other page, and a change must be JSON, which a page cannot send elsewhere
//! without asking first. docs/security.md says what that promises.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::port_daddy;
use hythe_engine::shell;

use super::problem::Problem;
use super::rate::Rates;
use super::token::Token;

/// What is let in.
#[derive(Debug)]
pub(super) struct Guard {
    /// The names of this host that a request may use, in lower case, beside those that mean it
    /// always.
    pub(super) hosts: Vec<String>,
    /// The addresses that it listens at: no name server can say that they are somebody else's.
    pub(super) addresses: Vec<IpAddr>,
    pub(super) token: Option<Token>,
    pub(super) rates: Rates,
}

/// Who asks: the address at the other end, or `None` on a Unix socket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) Option<SocketAddr>);

/// What the fetch standard tells of where a request comes from
/// (<https://www.w3.org/TR/fetch-metadata/>).
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Lets a request in, or says why not.
pub(super) async fn check(
    State(guard): State<&'static Guard>,
    request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<Peer>().and_then(|Peer(address)| *address);
    let peer = peer.map(|address| address.ip());
    let path = request.uri().path();
    let counted = port_daddy::is_counted(path);
    let spent = guard.rates.spend(path, peer);
    let left = *spent.as_ref().unwrap_or(&0);
    let mut response = match spent.and_then(|_| guard.admit(&request, peer)) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    if counted {
        guard.rates.tell(left, response.headers_mut());
    }
    response
}

impl Guard {
    fn admit(&self, request: &Request, peer: Option<IpAddr>) -> Result<(), Problem> {
        let headers = request.headers();
        let host = self.host(request)?;
        let method = request.method();
        let reads = matches!(*method, Method::GET | Method::HEAD);
        same_origin(headers, &host)?;
        same_site(headers, reads)?;
        if !reads {
            json(request)?;
        }
        if !is_open(request.uri().path()) {
            self.known(headers, peer)?;
        }
        Ok(())
    }

    /// The host that the request names, which has to be this one.
    fn host(&self, request: &Request) -> Result<Authority, Problem> {
        let mut named = request.headers().get_all(header::HOST).iter();
        let (host, more) = (named.next(), named.next());
        let host = host.filter(|_| more.is_none()).and_then(|host| host.to_str().ok());
        let Some(host) = host.and_then(|host| host.parse::<Authority>().ok()) else {
            return Err(Problem::usage(
                "the request names no host, or more than one",
                "Host: localhost",
            ));
        };
        let target = request.uri().authority();
        for name in [Some(&host), target].into_iter().flatten() {
            if !is_name_and_port(name) {
                let message = format!("`{name}` is not the name of a host, with or without a port");
                return Err(Problem::usage(message, "Host: localhost"));
            }
            if !self.is_mine(name.host()) {
                return Err(Problem::forbidden(format!("`{name}` is not a name of this server"))
                    .hint(format!("hythe serve --allow-host {}", shell::word(name.host()))));
            }
        }
        Ok(host)
    }

    /// Whether a name means this host: an address of the loopback interface, a name that resolves to
    /// it everywhere (RFC 6761, 6.3), an address that it listens at, or a name that the user allows.
    fn is_mine(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let local = name == "localhost" || name.ends_with(".localhost");
        let own = |address: IpAddr| {
            let listens = |own: &IpAddr| *own == address || own.is_unspecified();
            address.is_loopback() || self.addresses.iter().any(listens)
        };
        local || bare.parse().is_ok_and(own) || self.hosts.contains(&name)
    }

    /// Whether the request has the token, where one is asked for.
    fn known(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Result<(), Problem> {
        let Some(token) = &self.token else { return Ok(()) };
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.split_once(' '));
        let given = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        if given.is_some_and(|(_, given)| token.is(given.trim())) {
            return Ok(());
        }
        self.rates.mistake(peer)?;
        let what = if given.is_some() { "the token is wrong" } else { "a token is needed" };
        Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", what).hint(
            "Authorization: Bearer TOKEN, which is in the file of `hythe serve --token-file`",
        ))
    }
}

/// Whether it is what a header `Host` may have (RFC 9110, 7.2): neither a user, nor a port that is none.
fn is_name_and_port(authority: &Authority) -> bool {
    let port = authority.as_str().strip_prefix(authority.host());
    port.is_some_and(|port| port.is_empty() || authority.port_u16().is_some())
}

/// Whether a path tells nothing that is worth a token.
fn is_open(path: &str) -> bool {
    path == "/health" || super::dashboard::is_asset(path)
}

/// Refuses what another page sent: its origin is another one than the one that is asked.
fn same_origin(headers: &HeaderMap, host: &Authority) -> Result<(), Problem> {
    for origin in headers.get_all(header::ORIGIN) {
        let origin = origin.to_str().unwrap_or_default();
        // Programs that show pages have origins of their own, such as `tauri://localhost`.
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        if authority.is_none_or(|authority| !authority.eq_ignore_ascii_case(host.as_str())) {
            return Err(Problem::forbidden(format!("`{origin}` is another origin than {host}")));
        }
    }
    Ok(())
}

/// Refuses what a browser says another site asked for, unless the user follows a link.
fn same_site(headers: &HeaderMap, reads: bool) -> Result<(), Problem> {
    let said = |name: &HeaderName| headers.get(name).map(|value| value.as_bytes().to_vec());
    let follows = reads && said(&MODE).as_deref() == Some(b"navigate");
    match said(&SITE).as_deref() {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) if follows => Ok(()),
        Some(_) => Err(Problem::forbidden("another site asks for this")),
    }
}

/// Refuses a change that is not JSON. A page can send other media types elsewhere without asking
/// (<https://fetch.spec.whatwg.org/#cors-safelisted-request-header>).
fn json(request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let media = headers.get_all(header::CONTENT_TYPE).iter().collect::<Vec<_>>();
    if media.is_empty() && is_empty(request) && !is_browser(headers) {
        return Ok(());
    }
    let is_json = |value: &&axum::http::HeaderValue| {
        let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
        essence.trim().eq_ignore_ascii_case("application/json")
    };
    match media.as_slice() {
        [one] if is_json(one) => Ok(()),
        // Without a body no media type has to be declared: it takes more than a form to send this.
        [] if is_empty(request) && request.method() == Method::DELETE => Ok(()),
        _ => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "a change is asked for in JSON",
        )
        .hint("Content-Type: application/json")),
    }
}

fn is_empty(request: &Request) -> bool {
    axum::body::HttpBody::is_end_stream(request.body())
}

/// Whether a browser sent it: all of them say where a change comes from.
fn is_browser(headers: &HeaderMap) -> bool {
    [&header::ORIGIN, &header::REFERER, &SITE].into_iter().any(|name| headers.contains_key(name))
}

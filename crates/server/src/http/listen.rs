//! Listeners and connections: who waits for whom, and for how long.

use std::fmt;
use std::fs::{self, Permissions};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hythe_document::{ExitCode, Failure};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time;
use tower::Service;

use super::guard::Peer;

/// How long a client may take to send the head of a request, and how long a connection may be idle.
const HEAD_TIME: Duration = Duration::from_secs(30);

/// How many connections there may be at once, as far as the system allows.
const CONNECTIONS: usize = 4096;

/// How many files are left for everything else.
const OTHER_FILES: u64 = 128;

/// The longest head of a request, in bytes; hyper's least is 8192.
const LONGEST_HEAD: usize = 32 * 1024;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// At an address.
    Tcp(SocketAddr),
    /// At a Unix socket, which only its owner can connect to.
    Unix(PathBuf),
}

impl Listen {
    /// Whether only users of this machine can ask there.
    pub(super) fn is_private(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl Listen {
    /// The address, where it is one.
    pub(super) const fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip()),
            Self::Unix(_) => None,
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return match path.is_absolute() {
                true => Ok(Self::Unix(path)),
                false => Err("expected an absolute path after `unix:`".to_owned()),
            };
        }
        if let Ok(port) = text.parse() {
            return Ok(Self::Tcp((Ipv4Addr::LOCALHOST, port).into()));
        }
        let wrong =
            |_| "expected ADDRESS:PORT, such as 127.0.0.1:9876, PORT or unix:PATH".to_owned();
        text.parse().map(Self::Tcp).map_err(wrong)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A place where clients are waited for.
pub(super) enum Bound {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixListener, PathBuf),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(_, address) => write!(f, "http://{address}"),
            Self::Unix(_, path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            // Whoever listens there next removes what is left.
            let _ = fs::remove_file(path);
        }
    }
}

/// Begins to listen at all of the places, or at none.
pub(super) fn bind(places: &[Listen]) -> Result<Vec<Bound>, Failure> {
    let mut bound = Vec::new();
    for place in places {
        let one = match place {
            Listen::Tcp(address) => tcp(*address),
            Listen::Unix(path) => unix(path),
        };
        bound.push(one.map_err(|error| {
            let hint = match (error.kind(), place) {
                (io::ErrorKind::AddrInUse, Listen::Tcp(address)) => {
                    Some(format!("hythe scan {}", address.port()))
                }
                _ => None,
            };
            Failure {
                code: ExitCode::Refused,
                ..Failure::usage(&format!("cannot listen at {place}: {error}"), hint.as_deref())
            }
        })?);
    }
    Ok(bound)
}

fn tcp(address: SocketAddr) -> io::Result<Bound> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A server that has just ended may still have connections that linger.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(1024)?;
    let address = listener.local_addr()?;
    Ok(Bound::Tcp(listener, address))
}

fn unix(path: &Path) -> io::Result<Bound> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is something else"));
        }
        Ok(_) if BlockingStream::connect(path).is_ok() => {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        // Its server is gone.
        Ok(_) => fs::remove_file(path)?,
    }
    // Nobody can connect to it before it has its mode and its name.
    // Its name is short: there is little room for the path (`sun_path`, unix(7)).
    let draft = path.with_file_name(format!(".{}", std::process::id()));
    let listener = UnixListener::bind(&draft)?;
    let named = fs::set_permissions(&draft, Permissions::from_mode(0o600))
        .and_then(|()| fs::rename(&draft, path));
    if let Err(error) = named {
        // It is of no use to anybody.
        let _ = fs::remove_file(&draft);
        return Err(error);
    }
    Ok(Bound::Unix(listener, path.to_owned()))
}

/// What ends a server.
pub(super) struct Ends {
    interrupt: Signal,
    terminate: Signal,
}

/// Waits for signals from now on.
pub(super) fn ends() -> io::Result<Ends> {
    Ok(Ends {
        interrupt: signal(SignalKind::interrupt())?,
        terminate: signal(SignalKind::terminate())?,
    })
}

impl Ends {
    /// Waits until the process is told to end.
    pub(super) async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Answers clients until the server has `ended`, and then at most for `parting` those who are being
/// answered.
pub(super) async fn serve(
    listeners: Vec<Bound>,
    router: Router,
    ended: impl Future<Output = ()>,
    parting: Duration,
) {
    let connections = Arc::new(Semaphore::new(raise_files()));
    let (end, over) = watch::channel(());
    let mut accepting = JoinSet::new();
    for listener in listeners {
        let (router, connections, over) = (router.clone(), Arc::clone(&connections), over.clone());
        accepting.spawn(accept(listener, router, connections, over, parting));
    }
    drop(over);
    ended.await;
    drop(end);
    while accepting.join_next().await.is_some() {}
}

/// Lets this process have as many files open as it may, and says for how many connections that is
/// enough.
fn raise_files() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = CONNECTIONS as u64 + OTHER_FILES;
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(limit.maximum.map_or(wanted, |maximum| maximum.min(wanted)));
        // With fewer files there are fewer connections.
        let _ = setrlimit(Resource::Nofile, limit);
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(wanted).min(wanted);
    usize::try_from(files.saturating_sub(OTHER_FILES).max(16)).unwrap_or(CONNECTIONS)
}

async fn accept(
    listener: Bound,
    router: Router,
    connections: Arc<Semaphore>,
    mut over: watch::Receiver<()>,
    parting: Duration,
) {
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            _ = over.changed() => break,
            accepted = next(&listener, &connections) => accepted,
        };
        let (client, turn) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                // There may be no files left: somebody has to go first.
                time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let router = router.clone();
        match client {
            Client::Tcp(stream, address) => {
                // An answer is one packet: it need not wait for more.
                let _ = stream.set_nodelay(true);
                let served = answer(stream, Peer(Some(address)), router, &graceful);
                tokio::spawn(async move { (served.await, turn).0 });
            }
            Client::Unix(stream) => {
                let served = answer(stream, Peer(None), router, &graceful);
                tokio::spawn(async move { (served.await, turn).0 });
            }
        }
    }
    drop(listener);
    // Somebody may send no end of a request, or not take an answer.
    let _ = time::timeout(parting, graceful.shutdown()).await;
}

enum Client {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

type Turn = tokio::sync::OwnedSemaphorePermit;

/// The next client, once there may be one more.
async fn next(listener: &Bound, connections: &Arc<Semaphore>) -> io::Result<(Client, Turn)> {
    let turn = Arc::clone(connections).acquire_owned().await.map_err(io::Error::other)?;
    let client = match listener {
        Bound::Tcp(listener, _) => {
            let (stream, address) = listener.accept().await?;
            Client::Tcp(stream, address)
        }
        Bound::Unix(listener, _) => Client::Unix(listener.accept().await?.0),
    };
    Ok((client, turn))
}

/// Answers the requests of one connection.
fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    router: Router,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + Send + 'static {
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        let mut router = router.clone();
        async move { router.call(request).await }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let watched = graceful.watch(connection);
    async move {
        if let Err(error) = watched.await {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

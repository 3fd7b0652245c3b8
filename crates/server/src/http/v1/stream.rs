//! What happens, as server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
//!
//! One thread follows the ledger while somebody listens, and tells everybody. What a listener has
//! missed, because it was away or too slow, is read from the ledger: each event has a number.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, Thread};
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{self, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use hythe_document::Failure;
use hythe_engine::config::Overrides;
use hythe_engine::{Engine, Error, Event, EventFilter, Host, Notice, Watcher};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::broadcast::{self, Receiver, Sender};

use crate::http::App;
use crate::http::extract::Query;
use crate::http::problem::Problem;
use crate::verbs::{Here, Verbs};

/// How many events a listener may be behind before it reads them from the ledger.
const BEHIND: usize = 1024;

/// How many events are read from the ledger at once.
const BATCH: u32 = 1024;

/// How often something is sent when nothing happens, so that a connection that is gone is noticed.
const ALIVE: Duration = Duration::from_secs(15);

/// Where a stream begins.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct From {
    /// After the event of this number. Without it, and without a header `Last-Event-ID`, with what
    /// happens from now on.
    after: Option<i64>,
}

/// Tells everybody who listens what happens.
pub(in crate::http) struct Feed {
    sender: Sender<Told>,
    follower: Thread,
}

/// What those who listen are told.
#[derive(Debug, Clone)]
enum Told {
    /// This happened.
    Event(Arc<Event>),
    /// More may have happened than was told.
    More,
    /// There is another ledger, whose events have numbers of their own.
    Anew,
    /// The server ends.
    End,
}

impl Feed {
    /// Follows the ledger of `verbs` on a thread of its own, for as long as the process lives.
    pub(in crate::http) fn start(verbs: Verbs) -> Self {
        let (sender, _) = broadcast::channel(BEHIND);
        let told = sender.clone();
        let thread = thread::spawn(move || follow(&verbs, &told));
        Self { sender, follower: thread.thread().clone() }
    }

    fn listen(&self) -> Receiver<Told> {
        let receiver = self.sender.subscribe();
        self.follower.unpark();
        receiver
    }

    /// Ends all streams, which do not end by themselves.
    pub(in crate::http) fn end(&self) {
        // Nobody may listen just now.
        let _ = self.sender.send(Told::End);
    }
}

/// Tells what happens, for ever: the watcher has the ledger's file open, which may not be closed
/// while other threads use the ledger.
fn follow(verbs: &Verbs, listeners: &Sender<Told>) {
    let report = |notice: &Notice| tracing::debug!(%notice, "following");
    let attend = |pause: fn(Duration)| match listeners.receiver_count() {
        0 => thread::park(),
        _ => pause(Watcher::INTERVAL),
    };
    attend(|_| ());
    let (home, nobodys) = (verbs.home(), Path::new("/"));
    let engine = insist(|| Engine::open(&Host, home, Overrides::default(), nobodys, &report));
    // Read before the ledger is followed: what is told then has a higher number.
    let newest = EventFilter { limit: Some(1), ..EventFilter::default() };
    let mut latest = insist(|| engine.events(&newest)).last().map_or(0, |event| event.id);
    let mut watcher = insist(|| engine.watch(&EventFilter::default(), false));
    // Whoever came first may have read the ledger before it was followed.
    let _ = listeners.send(Told::More);
    loop {
        let events = insist(|| watcher.poll());
        let full = events.len() >= BATCH as usize;
        for event in events {
            if event.id <= latest {
                let _ = listeners.send(Told::Anew);
            }
            latest = event.id;
            // Nobody may listen just now.
            let _ = listeners.send(Told::Event(Arc::new(event)));
        }
        // After a time without listeners there may be much to catch up with.
        if !full {
            attend(thread::park_timeout);
        }
    }
}

/// What `attempt` answers once it does not fail.
fn insist<T>(mut attempt: impl FnMut() -> Result<T, Error>) -> T {
    loop {
        match attempt() {
            Ok(answer) => return answer,
            Err(error) => {
                tracing::warn!(%error, "the ledger cannot be followed");
                thread::park_timeout(ALIVE);
            }
        }
    }
}

pub(super) async fn stream(
    State(app): State<&'static App>,
    headers: HeaderMap,
    Query(from): Query<From>,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Problem> {
    let header = headers.get("last-event-id").map(|id| {
        let id = id.to_str().ok().and_then(|id| id.parse().ok());
        id.ok_or_else(|| {
            Problem::usage("the header Last-Event-ID is not a number", "?after=NUMBER")
        })
    });
    let after = header.transpose()?.or(from.after);
    // From here on nothing is missed; what is told twice is dropped.
    let live = app.feed.listen();
    let latest = latest(&app.verbs).await?;
    let last = match after {
        // Its number is of another ledger, which is there no more.
        Some(after) if after > latest => 0,
        Some(after) => after,
        None => latest,
    };
    let listener = Listener { app, live, last, ready: VecDeque::new(), behind: after.is_some() };
    let events = stream::unfold(listener, |mut listener| async {
        let event = listener.next().await?;
        Some((Ok(told(&event)), listener))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE)))
}

/// The number of the last event.
async fn latest(verbs: &Verbs) -> Result<i64, Failure> {
    let filter = EventFilter { limit: Some(1), ..EventFilter::default() };
    let told = verbs.read(Here::default(), move |engine| engine.events(&filter)).await?;
    Ok(told.answer.last().map_or(0, |event| event.id))
}

fn told(event: &Event) -> sse::Event {
    let told = sse::Event::default().id(event.id.to_string()).event(event.kind.word());
    told.data(event.document().to_string())
}

/// Somebody who is told what happens.
struct Listener {
    app: &'static App,
    live: Receiver<Told>,
    /// The number of the last event it was told, or needs not to be told.
    last: i64,
    /// What was read from the ledger and it was not told yet.
    ready: VecDeque<Arc<Event>>,
    /// Whether the ledger has more than it was told.
    behind: bool,
}

impl Listener {
    /// What it is told next; `None` when it cannot be told any more, and has to ask again.
    async fn next(&mut self) -> Option<Arc<Event>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.last = event.id;
                return Some(event);
            }
            if self.behind {
                self.read().await?;
                continue;
            }
            match self.live.recv().await {
                Ok(Told::Event(event)) if event.id <= self.last => {}
                Ok(Told::Event(event)) => {
                    self.last = event.id;
                    return Some(event);
                }
                Ok(Told::Anew) => {
                    self.last = 0;
                    self.behind = true;
                }
                Ok(Told::More) | Err(broadcast::error::RecvError::Lagged(_)) => self.behind = true,
                Ok(Told::End) | Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// Reads what comes next from the ledger.
    async fn read(&mut self) -> Option<()> {
        let after = self.last;
        let filter = EventFilter { after: Some(after), ..EventFilter::default() };
        let next =
            self.app.verbs.read(Here::default(), move |engine| engine.next_events(&filter, BATCH));
        match next.await {
            Ok(told) => {
                self.behind = told.answer.len() == BATCH as usize;
                self.ready = told.answer.into_iter().map(Arc::new).collect();
                Some(())
            }
            Err(failure) => {
                tracing::warn!(message = failure.message, "events cannot be read");
                None
            }
        }
    }
}

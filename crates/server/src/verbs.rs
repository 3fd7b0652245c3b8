//! The engine's verbs for callers that are many and do not wait for each other.
//!
//! The engine is synchronous: it reads files, binds ports, waits for a lock. Each verb runs on a thread
//! that may block, in one of two lanes, so that whoever only reads never stands behind those who write.
//! A verb that has begun is carried through, whether or not somebody still waits for the answer.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;

use hythe_document::Failure;
use hythe_engine::config::Overrides;
use hythe_engine::{Engine, Error, Home, Host, Notice, ReserveRequest, Reserved};
use tokio::sync::Semaphore;
use tokio::task;

/// How many verbs that only read run at once.
const READERS: usize = 8;

/// How many verbs that may write run at once. They wait for each other at the ledger's lock; more than
/// one, so that whoever waits for its own plugin or hook holds nobody up.
const WRITERS: usize = 16;

/// The most threads that the lanes ever need.
pub(crate) const THREADS: usize = READERS + WRITERS;

/// Runs verbs of the engine.
#[derive(Clone)]
pub struct Verbs(Arc<Shared>);

struct Shared {
    home: Home,
    overrides: Overrides,
    reading: Arc<Semaphore>,
    writing: Arc<Semaphore>,
}

/// For whom a verb runs.
#[derive(Debug, Clone, Default)]
pub struct Here {
    /// The directory it works for; `None` for one that belongs to nobody, where only the user's own
    /// configuration holds.
    pub directory: Option<PathBuf>,
    /// What the request says of the configuration.
    pub overrides: Overrides,
}

impl Here {
    /// In this directory.
    #[must_use]
    pub fn at(directory: PathBuf) -> Self {
        Self { directory: Some(directory), overrides: Overrides::default() }
    }
}

/// An answer, and what there was to say beside it.
#[derive(Debug, Clone, Default)]
pub struct Told<T> {
    /// The answer.
    pub answer: T,
    /// For people, in the order it was said.
    pub notes: Vec<String>,
}

impl Verbs {
    /// The verbs of an engine in `home`, where `overrides` holds unless a request says otherwise.
    #[must_use]
    pub fn new(home: Home, overrides: Overrides) -> Self {
        let lane = |width| Arc::new(Semaphore::new(width));
        let (reading, writing) = (lane(READERS), lane(WRITERS));
        Self(Arc::new(Shared { home, overrides, reading, writing }))
    }

    /// Where the engine keeps what it keeps.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.0.home
    }

    /// Runs a verb that only reads.
    ///
    /// # Errors
    ///
    /// When the verb fails, or the engine cannot be opened for the directory.
    pub async fn read<T: Send + 'static>(
        &self,
        here: Here,
        verb: impl FnOnce(&Engine<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<Told<T>, Failure> {
        self.run(&self.0.reading, here, verb).await
    }

    /// Runs a verb that may write.
    ///
    /// # Errors
    ///
    /// When the verb fails, or the engine cannot be opened for the directory.
    pub async fn write<T: Send + 'static>(
        &self,
        here: Here,
        verb: impl FnOnce(&Engine<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<Told<T>, Failure> {
        self.run(&self.0.writing, here, verb).await
    }

    /// Reserves. What is reserved already is answered in the lane of those who read.
    ///
    /// # Errors
    ///
    /// As [`Engine::reserve`].
    pub async fn reserve(
        &self,
        here: Here,
        request: ReserveRequest,
    ) -> Result<Told<Vec<Reserved>>, Failure> {
        let request = Arc::new(request);
        let asked = Arc::clone(&request);
        let warm = self.read(here.clone(), move |engine| engine.reserved(&asked)).await?;
        match warm {
            Told { answer: Some(answer), notes } => Ok(Told { answer, notes }),
            Told { answer: None, .. } => {
                self.write(here, move |engine| engine.reserve(&request)).await
            }
        }
    }

    async fn run<T: Send + 'static>(
        &self,
        lane: &Arc<Semaphore>,
        here: Here,
        verb: impl FnOnce(&Engine<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<Told<T>, Failure> {
        // A lane is never closed, and a verb does not panic: both would be faults of this program.
        let fault = |what: &dyn ToString| Failure::unexpected(what.to_string());
        let turn = Arc::clone(lane).acquire_owned().await.map_err(|closed| fault(&closed))?;
        let shared = Arc::clone(&self.0);
        // Whoever asked may be gone before the verb is: its turn is over when the verb is, or those who
        // vanish would fill the threads of both lanes with writers that wait.
        let outcome = task::spawn_blocking(move || {
            let _turn = turn;
            shared.open(here, verb)
        });
        let outcome = outcome.await;
        outcome.map_err(|panic| fault(&panic))?
    }
}

impl Shared {
    fn open<T>(
        &self,
        here: Here,
        verb: impl FnOnce(&Engine<'_>) -> Result<T, Error>,
    ) -> Result<Told<T>, Failure> {
        let notes = RefCell::default();
        let report = |notice: &Notice| {
            let notes: &RefCell<Vec<String>> = &notes;
            notes.borrow_mut().push(notice.to_string());
        };
        let overrides = here.overrides.over(&self.overrides);
        let nobodys = || PathBuf::from("/");
        let directory = here.directory.unwrap_or_else(nobodys);
        let answer = Engine::open(&Host, &self.home, overrides, &directory, &report)
            .and_then(|engine| verb(&engine))?;
        Ok(Told { answer, notes: notes.take() })
    }
}

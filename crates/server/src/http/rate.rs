//! How often one client may ask.

use std::net::IpAddr;
use std::num::NonZeroU32;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use super::problem::Problem;

type Limiter = RateLimiter<
    Option<IpAddr>,
    HashMapStateStore<Option<IpAddr>>,
    DefaultClock,
    StateInformationMiddleware,
>;

/// The limits, for each address that asks; all who ask through a socket together.
#[derive(Debug)]
pub(super) struct Rates {
    per_second: NonZeroU32,
    requests: Limiter,
    mistakes: Limiter,
    clock: DefaultClock,
}

/// How many wrong tokens a client may try in a second.
const MISTAKES: NonZeroU32 = NonZeroU32::MIN.saturating_add(4);

/// Of how many clients it is remembered how often they asked, before those are forgotten that did not
/// ask lately.
const REMEMBERED: usize = 4096;

impl Rates {
    /// At most `per_second` requests in a second.
    pub(super) fn new(per_second: NonZeroU32) -> Self {
        let limiter = |quota| RateLimiter::hashmap(Quota::per_second(quota)).with_middleware();
        let clock = DefaultClock::default();
        Self { per_second, requests: limiter(per_second), mistakes: limiter(MISTAKES), clock }
    }

    /// Counts a request. The answer is how many more the client may make at once.
    pub(super) fn spend(&self, path: &str, peer: Option<IpAddr>) -> Result<u32, Problem> {
        // Who watches over a server asks whether it is well, however busy it is.
        if path == "/health" {
            return Ok(self.per_second.get());
        }
        self.count(&self.requests, peer)
    }

    /// Tells a client that it may make so many more requests at once, and as many as ever after a
    /// second (draft-ietf-httpapi-ratelimit-headers-06).
    pub(super) fn tell(&self, left: u32, headers: &mut HeaderMap) {
        for (name, value) in [
            ("ratelimit-limit", self.per_second.get()),
            ("ratelimit-remaining", left),
            ("ratelimit-reset", 1),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
        }
    }

    /// Counts a wrong token.
    pub(super) fn mistake(&self, peer: Option<IpAddr>) -> Result<(), Problem> {
        self.count(&self.mistakes, peer).map(drop)
    }

    fn count(&self, limiter: &Limiter, peer: Option<IpAddr>) -> Result<u32, Problem> {
        if limiter.len() > REMEMBERED {
            limiter.retain_recent();
        }
        let spent = limiter.check_key(&peer).map(|state| state.remaining_burst_capacity());
        spent.map_err(|early| {
            let wait = early.wait_time_from(self.clock.now());
            let message = "this client asks too often";
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", message)
                .hint(format!("ask again in {} ms", wait.as_millis() + 1))
        })
    }
}

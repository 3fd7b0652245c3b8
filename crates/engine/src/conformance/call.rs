//! Calls of policies: arguments that own what they say, and can be asked, shown and made simpler.

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use super::form::{
    DeriveForm, ReservationForm, ReviewForm, ascending, cut, key, offsets, parsed, ports,
    some_parsed, some_port,
};
use super::generate;
use crate::observed::Observed;
use crate::place::{Checkout, CheckoutKind, Place};
use crate::policy::{
    Cleanup, Failure, KeyDerivation, KeyRequest, PolicyError, PortSelection, SelectionRequest,
    Verdict,
};
use crate::port::{Port, PortRange};
use crate::reservation::{Label, Scope, Service};
use crate::time::Timestamp;

/// What a check needs to know of an interface.
pub(super) trait Call: Clone + Serialize {
    /// Who answers it.
    type Policy<'a>: ?Sized;
    type Answer: PartialEq;
    /// The name of the interface in the contract.
    const INTERFACE: &'static str;

    fn typical() -> Self;
    fn random(rng: &mut Rng) -> Self;
    /// Calls that say a little less, the least first.
    fn simpler(&self) -> Vec<Self>;

    fn ask(&self, policy: &Self::Policy<'_>) -> Result<Self::Answer, PolicyError>;

    /// What the policy does, in words that follow "it".
    fn told(answer: &Self::Answer) -> String;

    /// What an author may not have meant.
    fn remark(_answer: &Self::Answer) -> Option<&'static str> {
        None
    }

    /// What is wrong with an answer, as can only be seen by asking further.
    fn contradiction(&self, _policy: &Self::Policy<'_>, _answer: &Self::Answer) -> Option<String> {
        None
    }
}

/// The arguments of `key-derivation.derive`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "DeriveForm", into = "DeriveForm")]
pub struct DeriveCall {
    pub(super) scope: Scope,
    pub(super) service: Service,
    pub(super) place: Place,
    pub(super) project: Option<Label>,
}

impl DeriveCall {
    /// A service in a subdirectory of an ordinary checkout.
    #[must_use]
    pub fn typical() -> Self {
        let checkout = Checkout {
            root: "/work/shop".into(),
            kind: CheckoutKind::Main,
            repository: Some("/work/shop/.git".into()),
            name: Some("shop".to_owned()),
            branch: Some("main".to_owned()),
        };
        Self {
            scope: Scope::Directory,
            service: service("web"),
            place: Place { directory: "/work/shop/web".into(), checkout: Some(checkout) },
            project: Label::nearest("shop"),
        }
    }

    /// The request that this is.
    #[must_use]
    pub fn request(&self) -> KeyRequest<'_> {
        KeyRequest {
            scope: self.scope,
            service: &self.service,
            place: &self.place,
            project: self.project.as_ref(),
        }
    }
}

impl Call for DeriveCall {
    type Policy<'a> = dyn KeyDerivation + 'a;
    type Answer = String;
    const INTERFACE: &'static str = "key-derivation";

    fn typical() -> Self {
        Self::typical()
    }

    fn random(rng: &mut Rng) -> Self {
        generate::derive(rng)
    }

    fn simpler(&self) -> Vec<Self> {
        generate::simpler_derive(self)
    }

    fn ask(&self, policy: &Self::Policy<'_>) -> Result<String, PolicyError> {
        policy.derive(&self.request())
    }

    fn told(key: &String) -> String {
        format!("derives the key {:?}", cut(key))
    }
}

/// The arguments of `port-selection.select`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SelectCall {
    #[serde(deserialize_with = "key")]
    pub(super) key: String,
    #[serde(deserialize_with = "parsed")]
    pub(super) service: Service,
    #[serde(deserialize_with = "some_parsed", skip_serializing_if = "Option::is_none")]
    pub(super) project: Option<Label>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) branch: Option<String>,
    #[serde(deserialize_with = "parsed")]
    pub(super) allowed: PortRange,
    #[serde(deserialize_with = "ports", skip_serializing_if = "Vec::is_empty")]
    pub(super) preferred: Vec<Port>,
    #[serde(deserialize_with = "ascending", skip_serializing_if = "Vec::is_empty")]
    pub(super) reserved: Vec<Port>,
    #[serde(deserialize_with = "some_port", skip_serializing_if = "Option::is_none")]
    pub(super) latest: Option<Port>,
    #[serde(deserialize_with = "offsets", skip_serializing_if = "is_single")]
    pub(super) offsets: Vec<u16>,
}

impl Default for SelectCall {
    fn default() -> Self {
        Self {
            key: "key".to_owned(),
            service: Service::default(),
            project: None,
            branch: None,
            allowed: range(20000, 29999),
            preferred: Vec::new(),
            reserved: Vec::new(),
            latest: None,
            offsets: vec![0],
        }
    }
}

impl SelectCall {
    /// A service of an ordinary checkout, beside a hundred reservations.
    #[must_use]
    pub fn typical() -> Self {
        Self {
            key: "directory:web:/work/shop".to_owned(),
            service: service("web"),
            project: Label::nearest("shop"),
            branch: Some("main".to_owned()),
            // A step that meets no multiple of the range's size before long.
            reserved: (0..100).map(|n| port(20000 + n * 97)).collect(),
            latest: Some(port(20000 + 99 * 97)),
            ..Self::default()
        }
    }

    /// The request that this is.
    #[must_use]
    pub fn request(&self) -> SelectionRequest<'_> {
        SelectionRequest {
            key: &self.key,
            service: &self.service,
            project: self.project.as_ref(),
            branch: self.branch.as_deref(),
            allowed: self.allowed,
            preferred: &self.preferred,
            reserved: &self.reserved,
            latest: self.latest,
            offsets: &self.offsets,
        }
    }
}

/// Whether a port is wanted alone.
fn is_single(offsets: &[u16]) -> bool {
    offsets == [0]
}

impl Call for SelectCall {
    type Policy<'a> = dyn PortSelection + 'a;
    type Answer = Vec<PortRange>;
    const INTERFACE: &'static str = "port-selection";

    fn typical() -> Self {
        Self::typical()
    }

    fn random(rng: &mut Rng) -> Self {
        generate::select(rng)
    }

    fn simpler(&self) -> Vec<Self> {
        generate::simpler_select(self)
    }

    fn ask(&self, policy: &Self::Policy<'_>) -> Result<Vec<PortRange>, PolicyError> {
        policy.select(&self.request())
    }

    fn told(ranges: &Vec<PortRange>) -> String {
        format!("proposes {}", listed(ranges.iter(), "no port"))
    }

    fn remark(ranges: &Vec<PortRange>) -> Option<&'static str> {
        ranges.is_empty().then_some("proposes no port")
    }
}

/// The arguments of `cleanup.review`.
#[derive(Debug, Clone, Serialize)]
#[serde(into = "ReviewForm")]
pub struct ReviewCall {
    pub(super) now: Timestamp,
    pub(super) reservations: Vec<Observed>,
}

impl ReviewCall {
    /// One persistent reservation that was used an hour ago.
    #[must_use]
    pub fn typical() -> Self {
        let now = default_now();
        let hour_ago = Timestamp::from_millis(now.millis() - 3_600_000);
        let reservation = ReservationForm {
            key: "directory:web:/work/shop".to_owned(),
            service: service("web"),
            directory: "/work/shop".into(),
            project: Label::nearest("shop"),
            task: Label::nearest("main"),
            created_at: Some(hour_ago),
            last_used_at: Some(hour_ago),
            ..ReservationForm::default()
        };
        Self { now, reservations: vec![reservation.observed(now)] }
    }

    /// The time of the review.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The reservations to be reviewed.
    #[must_use]
    pub fn reservations(&self) -> Vec<&Observed> {
        self.reservations.iter().collect()
    }
}

impl Call for ReviewCall {
    type Policy<'a> = dyn Cleanup + 'a;
    type Answer = Vec<Verdict>;
    const INTERFACE: &'static str = "cleanup";

    fn typical() -> Self {
        Self::typical()
    }

    fn random(rng: &mut Rng) -> Self {
        generate::review(rng)
    }

    fn simpler(&self) -> Vec<Self> {
        generate::simpler_review(self)
    }

    fn ask(&self, policy: &Self::Policy<'_>) -> Result<Vec<Verdict>, PolicyError> {
        policy.review(self.now, &self.reservations())
    }

    fn told(verdicts: &Vec<Verdict>) -> String {
        format!("says {}", listed(verdicts.iter().map(verdict), "nothing"))
    }

    fn remark(verdicts: &Vec<Verdict>) -> Option<&'static str> {
        let silent =
            |verdict: &Verdict| matches!(verdict, Verdict::Release(reason) if reason.is_empty());
        verdicts.iter().any(silent).then_some("releases without a reason")
    }

    fn contradiction(&self, policy: &Self::Policy<'_>, together: &Vec<Verdict>) -> Option<String> {
        for (observed, in_batch) in self.reservations.iter().zip(together) {
            let single = Self { now: self.now, reservations: vec![observed.clone()] };
            let alone = match single.ask(policy) {
                Ok(verdicts) if verdicts == [in_batch.clone()] => continue,
                Ok(verdicts) => Self::told(&verdicts),
                Err(error) => failed(&error),
            };
            let (port, count) = (observed.reservation.port, self.reservations.len());
            let in_batch = verdict(in_batch);
            return Some(format!(
                "says {in_batch} about port {port} among {count} reservations, but {alone} when \
                 asked about it alone"
            ));
        }
        None
    }
}

/// A verdict as an author's case writes it.
pub(super) fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Pass => "pass".to_owned(),
        Verdict::Keep => "keep".to_owned(),
        Verdict::Release(reason) => format!("release: {}", cut(reason)),
    }
}

/// What the policy does instead of an answer, in words that follow "it".
pub(super) fn failed(error: &PolicyError) -> String {
    match &error.failure {
        Failure::Refused(reason) => format!("refuses: {reason}"),
        failure => format!("fails: {failure}"),
    }
}

/// The first few of a list.
pub(super) fn listed(
    items: impl ExactSizeIterator<Item = impl ToString>,
    none: &'static str,
) -> String {
    const SHOWN: usize = 8;
    let count = items.len();
    let mut shown: Vec<_> = items.take(SHOWN).map(|item| item.to_string()).collect();
    if count > SHOWN {
        shown.push(format!("and {} more", count - SHOWN));
    }
    if shown.is_empty() { none.to_owned() } else { shown.join(", ") }
}

/// The service of this name, which is one that a service can have.
pub(super) fn service(name: &str) -> Service {
    name.parse().unwrap_or_default()
}

/// The port of this number, which is not 0.
pub(super) fn port(number: u16) -> Port {
    Port::new(number).unwrap_or(Port::MIN)
}

/// The ports between two, whichever is higher.
pub(super) fn range(one: u16, other: u16) -> PortRange {
    PortRange::new(port(one.min(other)), port(one.max(other))).unwrap_or(PortRange::ALL)
}

/// The time of a review that names none: 2026-01-01T00:00:00Z.
pub(super) fn default_now() -> Timestamp {
    Timestamp::from_millis(1_767_225_600_000)
}

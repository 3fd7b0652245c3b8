//! TCP ports, inclusive ranges of them and sets of them.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// A TCP port, 1 to 65535. Port 0 means "any port" to the kernel and is never a reservation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port(NonZeroU16);

impl Port {
    /// The lowest port, 1.
    pub const MIN: Self = Self(NonZeroU16::MIN);
    /// The highest port, 65535.
    pub const MAX: Self = Self(NonZeroU16::MAX);

    /// The port of this number; `None` for 0.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        match NonZeroU16::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number, 1 to 65535.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }

    /// The port that lies `offset` above this one; `None` beyond 65535.
    #[must_use]
    pub fn checked_add(self, offset: u16) -> Option<Self> {
        self.get().checked_add(offset).and_then(Self::new)
    }

    /// The port that lies `offset` below this one; `None` below 1.
    #[must_use]
    pub fn checked_sub(self, offset: u16) -> Option<Self> {
        self.get().checked_sub(offset).and_then(Self::new)
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Text, or a number, that is not a port or a range of ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Not a decimal number from 1 to 65535.
    #[error("`{0}` is not a port: expected a number from 1 to 65535")]
    Port(String),
    /// Neither `PORT` nor `FIRST-LAST`.
    #[error("`{0}` is not a port range: expected `FIRST-LAST`, such as `20000-29999`")]
    Range(String),
    /// The first port lies above the last.
    #[error("`{0}` is not a port range: the first port is above the last")]
    Descending(String),
}

impl FromStr for Port {
    type Err = PortError;

    fn from_str(text: &str) -> Result<Self, PortError> {
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        plain
            .then(|| text.parse().ok())
            .flatten()
            .and_then(Self::new)
            .ok_or_else(|| PortError::Port(text.to_owned()))
    }
}

impl Serialize for Port {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.get())
    }
}

/// An inclusive range of ports, never empty: `20000-29999`, or `5432` for a single port.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PortRange {
    first: Port,
    last: Port,
}

impl PortRange {
    /// Every port, 1 to 65535.
    pub const ALL: Self = Self { first: Port::MIN, last: Port::MAX };

    /// The range from `first` to `last`, both included; `None` when `first` lies above `last`.
    #[must_use]
    pub const fn new(first: Port, last: Port) -> Option<Self> {
        if first.get() <= last.get() { Some(Self { first, last }) } else { None }
    }

    /// The lowest port of the range.
    #[must_use]
    pub const fn first(self) -> Port {
        self.first
    }

    /// The highest port of the range.
    #[must_use]
    pub const fn last(self) -> Port {
        self.last
    }

    /// Whether `port` lies in the range.
    #[must_use]
    pub fn contains(self, port: Port) -> bool {
        self.first <= port && port <= self.last
    }

    /// Whether every port of `other` lies in this range.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// How many ports the range holds, 1 to 65535.
    #[must_use]
    pub fn size(self) -> usize {
        usize::from(self.last.get() - self.first.get()) + 1
    }

    /// The ports of the range, ascending.
    pub fn ports(self) -> impl Iterator<Item = Port> + Clone {
        (self.first.get()..=self.last.get()).filter_map(Port::new)
    }
}

impl From<Port> for PortRange {
    fn from(port: Port) -> Self {
        Self { first: port, last: port }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            self.first.fmt(f)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl fmt::Debug for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PortRange {
    type Err = PortError;

    fn from_str(text: &str) -> Result<Self, PortError> {
        let bound = |text: &str| text.trim().parse::<Port>();
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (bound(first), bound(last)),
            None => (bound(text), bound(text)),
        };
        match (first, last) {
            (Ok(first), Ok(last)) => {
                Self::new(first, last).ok_or_else(|| PortError::Descending(text.to_owned()))
            }
            _ => Err(PortError::Range(text.to_owned())),
        }
    }
}

impl Serialize for PortRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A set of ports: one bit for each of the 65,536 numbers, 8 KiB whatever it holds.
#[derive(Clone, PartialEq, Eq)]
pub struct PortSet(Box<[u64; 1024]>);

impl PortSet {
    /// The set without any port.
    #[must_use]
    pub fn new() -> Self {
        Self(Box::new([0; 1024]))
    }

    /// Adds one port; whether it was missing.
    pub fn insert(&mut self, port: Port) -> bool {
        let (word, bit) = Self::place(port);
        let missing = self.0[word] & bit == 0;
        self.0[word] |= bit;
        missing
    }

    /// Takes one port out; whether it was there.
    pub fn remove(&mut self, port: Port) -> bool {
        let (word, bit) = Self::place(port);
        let there = self.0[word] & bit != 0;
        self.0[word] &= !bit;
        there
    }

    /// Whether `port` is in the set.
    #[must_use]
    pub fn contains(&self, port: Port) -> bool {
        let (word, bit) = Self::place(port);
        self.0[word] & bit != 0
    }

    /// Whether no port is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// The ports of the set, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Port> + '_ {
        PortRange::ALL.ports().filter(|port| self.contains(*port))
    }

    fn place(port: Port) -> (usize, u64) {
        (usize::from(port.get() / 64), 1 << (port.get() % 64))
    }
}

impl Default for PortSet {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Extend<Port> for PortSet {
    fn extend<I: IntoIterator<Item = Port>>(&mut self, ports: I) {
        for port in ports {
            self.insert(port);
        }
    }
}

impl FromIterator<Port> for PortSet {
    fn from_iter<I: IntoIterator<Item = Port>>(ports: I) -> Self {
        let mut set = Self::new();
        set.extend(ports);
        set
    }
}

/// Whether browsers refuse to open this port, by the list of "bad ports" in the Fetch standard
/// (<https://fetch.spec.whatwg.org/#port-blocking>). A development server there is unreachable.
#[must_use]
pub fn browser_blocked(port: Port) -> bool {
    const BLOCKED: &[u16] = &[
        1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101,
        102, 103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389,
        427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636,
        989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665,
        6666, 6667, 6668, 6669, 6679, 6697, 10080,
    ];
    BLOCKED.binary_search(&port.get()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(number: u16) -> Port {
        Port::new(number).unwrap()
    }

    #[test]
    fn only_decimal_numbers_from_1_to_65535_are_ports() {
        assert_eq!("65535".parse(), Ok(port(65535)));
        for text in ["", "0", "65536", "-1", "+80", " 80", "0x50", "８０"] {
            assert_eq!(text.parse::<Port>(), Err(PortError::Port(text.to_owned())), "{text:?}");
        }
    }

    #[test]
    fn ranges_are_inclusive_and_ascending() {
        let range: PortRange = "20000-20002".parse().unwrap();
        assert_eq!(range.ports().map(Port::get).collect::<Vec<_>>(), [20000, 20001, 20002]);
        assert_eq!(range.size(), 3);
        assert_eq!("1-65535".parse(), Ok(PortRange::ALL));
        assert_eq!("5432".parse::<PortRange>().unwrap().to_string(), "5432");
        assert_eq!("9-8".parse::<PortRange>(), Err(PortError::Descending("9-8".to_owned())));
        for text in ["", "-", "1-", "-1", "1-2-3", "a-b", "0-9"] {
            assert_eq!(text.parse::<PortRange>(), Err(PortError::Range(text.to_owned())));
        }
    }

    #[test]
    fn a_set_holds_both_ends_of_the_numbers() {
        let mut set: PortSet = [Port::MAX, Port::MIN, port(64)].into_iter().collect();
        assert_eq!(set.iter().map(Port::get).collect::<Vec<_>>(), [1, 64, 65535]);
        assert!(!set.insert(Port::MIN));
        assert!(set.remove(Port::MIN));
        assert!(!set.contains(Port::MIN));
    }

    #[test]
    fn the_list_of_browser_blocked_ports_is_searchable() {
        assert!([5060, 6000, 6566, 6669, 10080].map(port).into_iter().all(browser_blocked));
        assert!(![3000, 8080, 20000].map(port).into_iter().any(browser_blocked));
    }
}

//! Which port a ticket stands for, and what is tried when there is none or somebody has it.

use std::ops::RangeInclusive;

use serde::Deserialize;

/// An inclusive range of ports.
pub type Ports = RangeInclusive<u16>;

/// The table `[plugins.branch-offset.options]`.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub struct Options {
    /// What stands before a ticket number; the first that is found decides.
    pub prefixes: Vec<String>,
    /// The services that follow the ticket, in the order of their ports.
    pub services: Vec<String>,
    /// The first port of tickets; without it, the first that is allowed.
    pub base: Option<u16>,
    /// How many tickets get ports of their own; without it, as many as there is room for.
    pub span: Option<u16>,
}

impl Default for Options {
    fn default() -> Self {
        let prefixes = ["#", ""].map(str::to_owned).into();
        Self { prefixes, services: vec!["main".to_owned()], base: None, span: None }
    }
}

/// What is wanted.
pub struct Wanted<'a> {
    /// The key that needs a port.
    pub key: &'a str,
    /// The service that the key was derived for.
    pub service: &'a str,
    /// The branch that is checked out.
    pub branch: Option<&'a str>,
    /// The ports that may be proposed.
    pub allowed: Ports,
}

/// The ports to try: that of the ticket, then those of no ticket, then those of other tickets.
pub fn select(wanted: &Wanted<'_>, options: &Options) -> Result<Vec<Ports>, String> {
    let tickets = Tickets::new(options, &wanted.allowed)?;
    let number = wanted.branch.and_then(|branch| number(branch, &options.prefixes, tickets.span));
    let place = options.services.iter().position(|service| service == wanted.service);
    let own = number.zip(place).map(|(number, place)| tickets.port(number, place));

    let hash = hash(wanted.key.as_bytes());
    let parts = without(&wanted.allowed, &tickets.ports());
    let mut ports: Vec<_> = own.map(|port| port..=port).into_iter().collect();
    ports.extend(around(&parts, hash));
    ports.extend(around(&[tickets.ports()], hash));
    Ok(ports)
}

/// The ports that are kept for tickets: all inside the allowed range.
struct Tickets {
    base: u16,
    /// How many tickets there is room for, at least 1.
    span: u16,
    /// How many ports a ticket has, at least 1.
    services: u16,
}

impl Tickets {
    fn new(options: &Options, allowed: &Ports) -> Result<Self, String> {
        let (first, last) = (*allowed.start(), *allowed.end());
        let base = options.base.unwrap_or(first);
        if !allowed.contains(&base) {
            return Err(format!("`base` is {base}, which is not inside {first}-{last}"));
        }
        let services = match u16::try_from(options.services.len()) {
            Ok(0) => return Err("`services` names no service".to_owned()),
            Ok(services) => services,
            Err(_) => return Err("`services` names more services than there are ports".to_owned()),
        };
        // No overflow: ports begin at 1.
        let room = (last - base + 1) / services;
        let span = options.span.unwrap_or(room);
        if span == 0 || span > room {
            return Err(format!(
                "{} tickets with a port for each of {services} services do not fit into \
                 {base}-{last}: `span` can be at most {room}",
                span.max(1)
            ));
        }
        Ok(Self { base, span, services })
    }

    /// The port of the service at `place` for a ticket `number` below `span`.
    fn port(&self, number: u16, place: usize) -> u16 {
        // In bounds: `Self::new` has seen that the last place of the last number is allowed.
        self.base + number * self.services + place as u16
    }

    fn ports(&self) -> Ports {
        self.base..=self.base + (self.span * self.services - 1)
    }
}

/// The remainder by `span` of the first ticket number in `branch`, by the first of `prefixes` that
/// finds one. Neither it nor its prefix is a part of a longer word, and case does not matter:
/// `feature/shop-12-cart` is ticket 12 of `SHOP-`, and `workshop-12` is not.
fn number(branch: &str, prefixes: &[String], span: u16) -> Option<u16> {
    let branch = branch.to_ascii_lowercase();
    prefixes.iter().find_map(|prefix| {
        let prefix = prefix.to_ascii_lowercase();
        branch.match_indices(&prefix).find_map(|(at, _)| {
            let (before, rest) = (&branch[..at], &branch[at..]);
            let digits = &rest[prefix.len()..];
            let length = digits.bytes().take_while(u8::is_ascii_digit).count();
            let (digits, after) = digits.split_at(length);
            let is_word = rest.starts_with(char::is_alphanumeric);
            let is_part = is_word && before.ends_with(char::is_alphanumeric)
                || after.starts_with(char::is_alphanumeric);
            (length > 0 && !is_part).then(|| remainder(digits, span))
        })
    })
}

/// The remainder of a decimal number of any length.
fn remainder(digits: &str, span: u16) -> u16 {
    let span = u32::from(span);
    let step = |number: u32, digit: u8| (number * 10 + u32::from(digit - b'0')) % span;
    digits.bytes().fold(0, step) as u16
}

/// `all` without `taken`, which lies inside.
fn without(all: &Ports, taken: &Ports) -> Vec<Ports> {
    let below = taken.start().checked_sub(1).map(|end| *all.start()..=end);
    let above = taken.end().checked_add(1).map(|start| start..=*all.end());
    below.into_iter().chain(above).filter(|part| !part.is_empty()).collect()
}

/// `parts` from the port that `hash` stands for onward, and around.
fn around(parts: &[Ports], hash: u64) -> Vec<Ports> {
    let size: u64 = parts.iter().map(|part| part.len() as u64).sum();
    let mut skip = hash.checked_rem(size).unwrap_or(0);
    let (mut onward, mut before) = (Vec::new(), Vec::new());
    for part in parts {
        if let Some(left) = skip.checked_sub(part.len() as u64) {
            before.push(part.clone());
            skip = left;
        } else {
            // Less than the length of the part, and so less than 65,536.
            let middle = *part.start() + skip as u16;
            onward.push(middle..=*part.end());
            if skip > 0 {
                before.push(*part.start()..=middle - 1);
            }
            skip = 0;
        }
    }
    onward.extend(before);
    onward
}

/// FNV-1a in 64 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>), its bits then mixed by the
/// finalizer of MurmurHash3, because the low bits of FNV alone follow the last byte closely.
fn hash(bytes: &[u8]) -> u64 {
    let mut hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(prefixes: &[&str], services: &[&str], base: u16, span: u16) -> Options {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Options {
            prefixes: owned(prefixes),
            services: owned(services),
            base: Some(base),
            span: Some(span),
        }
    }

    fn proposed(service: &str, branch: Option<&str>, options: &Options) -> Vec<u16> {
        let wanted = Wanted { key: "key", service, branch, allowed: 20000..=20099 };
        select(&wanted, options).unwrap().into_iter().flatten().collect()
    }

    #[test]
    fn a_number_is_found_behind_its_prefix() {
        let prefixes = ["SHOP-", "#", ""].map(str::to_owned);
        for (branch, expected) in [
            ("feature/SHOP-1234-cart", Some(1234)),
            ("feature/shop-12_cart", Some(12)),
            ("workshop-12", Some(12)),
            ("workshop12", None),
            ("7-SHOP-8", Some(8)),
            ("fix/#99", Some(99)),
            ("fix-99#", Some(99)),
            ("2fa", None),
            ("2fa-17", Some(17)),
            ("SHOP-0012", Some(12)),
            ("straße-3", Some(3)),
            ("ß3", None),
            ("main", None),
            ("", None),
        ] {
            assert_eq!(number(branch, &prefixes, 10000), expected, "{branch}");
        }
        assert_eq!(number("workshop-12", &prefixes[..2], 10000), None);
        assert_eq!(number("x-99999999999999999999999", &prefixes, 1000), Some(999));
    }

    #[test]
    fn services_are_neighbours_and_tickets_do_not_meet() {
        let options = options(&["#"], &["web", "api"], 20010, 20);
        let port = |service, branch| proposed(service, Some(branch), &options)[0];
        assert_eq!((port("web", "#3"), port("api", "#3")), (20016, 20017));
        assert_eq!((port("web", "#19"), port("api", "#19")), (20048, 20049));
        assert_eq!(port("web", "#20"), 20010, "the numbers begin anew");
    }

    #[test]
    fn whatever_the_branch_every_port_is_tried() {
        let options = options(&["#"], &["web"], 20010, 20);
        let all: Vec<u16> = (20000..=20099).collect();
        for (service, branch) in
            [("web", Some("#3")), ("web", Some("main")), ("web", None), ("db", Some("#3"))]
        {
            let mut ports = proposed(service, branch, &options);
            let is_ticket = |port: &u16| (20010..=20029).contains(port);
            if (service, branch) == ("web", Some("#3")) {
                assert_eq!(ports.remove(0), 20013);
            }
            assert!(ports[..80].iter().all(|port| !is_ticket(port)), "tickets come last");
            ports.sort_unstable();
            assert_eq!(ports, all, "{service} {branch:?}");
        }
    }

    #[test]
    fn without_options_the_whole_range_is_for_tickets() {
        let ports = proposed("main", Some("issue-142"), &Options::default());
        assert_eq!(ports[0], 20042);
        let edge = Wanted { key: "k", service: "main", branch: Some("#1"), allowed: 1..=65535 };
        assert_eq!(select(&edge, &Options::default()).unwrap()[0], 2..=2);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refusal = |options: &Options, allowed: Ports| {
            let wanted = Wanted { key: "key", service: "web", branch: Some("#1"), allowed };
            select(&wanted, options).unwrap_err()
        };
        let two = options(&["#"], &["web", "api"], 20010, 46);
        assert_eq!(
            refusal(&two, 20000..=20099),
            "46 tickets with a port for each of 2 services do not fit into 20010-20099: `span` \
             can be at most 45"
        );
        assert_eq!(
            refusal(&two, 20050..=20099),
            "`base` is 20010, which is not inside 20050-20099"
        );
        let none = options(&["#"], &[], 20010, 1);
        assert_eq!(refusal(&none, 20000..=20099), "`services` names no service");
        let narrow = Options { span: None, ..two };
        assert!(refusal(&narrow, 20010..=20010).contains("at most 0"));
    }
}

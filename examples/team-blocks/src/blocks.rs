//! Which ports belong to whom, and in which order they are tried.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde::Deserialize;

/// An inclusive range of ports.
pub type Ports = RangeInclusive<u16>;

/// The most blocks. Many more would use up the fuel of a call (`limits.fuel`), and what lies between
/// them has to fit into an answer of 4,096 ranges.
const MAX_BLOCKS: usize = 1000;

/// The table `[plugins.team-blocks.options]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Options {
    /// The ports of each project, or of all projects that begin with what stands before a `*`.
    pub blocks: BTreeMap<String, String>,
    /// The ports of the projects without a block.
    pub shared: Option<String>,
}

/// What is wanted.
pub struct Wanted<'a> {
    /// The key that needs a port.
    pub key: &'a str,
    /// Its project.
    pub project: Option<&'a str>,
    /// The ports that may be proposed.
    pub allowed: Ports,
    /// How far above the port itself ports are wanted together with it; 0 for a single port.
    pub reach: u16,
}

/// The ports to try, in order.
pub fn select(wanted: &Wanted<'_>, options: &Options) -> Result<Vec<Ports>, String> {
    let blocks = blocks(options)?;
    let (first, last) = (wanted.allowed.start(), wanted.allowed.end());
    let project = wanted.project.unwrap_or_default();
    let own = blocks.iter().filter(|block| block.covers(project)).max_by_key(|block| block.rank());
    // Ports that are wanted together begin so low that all of them are in the same block.
    let starts = |part: &Ports| {
        let end = part.end().checked_sub(wanted.reach)?;
        (*part.start() <= end).then(|| *part.start()..=end)
    };
    let parts: Vec<_> = match own {
        Some(Block { ports, .. }) if ports.start() < first || last < ports.end() => {
            let block = own.map(Block::name).unwrap_or_default();
            return Err(format!("{block}, {}, is not inside {first}-{last}", text(ports)));
        }
        Some(block) => starts(&block.ports).into_iter().collect(),
        None => free(&blocks, &wanted.allowed).iter().filter_map(starts).collect(),
    };
    match own {
        _ if !parts.is_empty() => Ok(around(&parts, hash(wanted.key.as_bytes()))),
        Some(block) => {
            Err(format!("{} has no ports that are {} apart", block.name(), wanted.reach))
        }
        None => Err(format!(
            "no block is for `{project}`, and those of others leave nothing of {first}-{last}"
        )),
    }
}

/// A block, and whose it is.
struct Block<'a> {
    /// A project, or the beginning of projects with a `*` after it; `None` for everybody else.
    pattern: Option<&'a str>,
    ports: Ports,
}

impl Block<'_> {
    /// Whether it is for `project`.
    fn covers(&self, project: &str) -> bool {
        match self.pattern.map(|pattern| (pattern, pattern.strip_suffix('*'))) {
            Some((_, Some(beginning))) => project.starts_with(beginning),
            Some((pattern, None)) => project == pattern,
            None => true,
        }
    }

    /// The exact name comes before a pattern, a long pattern before a short one.
    fn rank(&self) -> (bool, usize) {
        let pattern = self.pattern.unwrap_or_default();
        (self.pattern.is_some() && !pattern.ends_with('*'), pattern.len())
    }

    fn name(&self) -> String {
        self.pattern.map_or("the shared block".into(), |name| format!("the block of `{name}`"))
    }
}

/// All blocks, ascending. A mistake in one of them refuses everybody: two teams that believe in
/// the same port are what blocks are there to prevent.
fn blocks(options: &Options) -> Result<Vec<Block<'_>>, String> {
    let count = options.blocks.len();
    if count > MAX_BLOCKS {
        return Err(format!("there are {count} blocks, more than {MAX_BLOCKS}"));
    }
    let named = options.blocks.iter().map(|(pattern, ports)| (Some(pattern.as_str()), ports));
    let all = named.chain(options.shared.iter().map(|ports| (None, ports)));
    let mut blocks = Vec::new();
    for (pattern, ports) in all {
        let mut block = Block { pattern, ports: 0..=0 };
        block.ports = parse(ports).ok_or_else(|| {
            format!("{} is `{ports}`, which is not a range such as 24000-24999", block.name())
        })?;
        blocks.push(block);
    }
    blocks.sort_by_key(|block| *block.ports.start());
    match blocks.windows(2).find(|pair| pair[0].ports.end() >= pair[1].ports.start()) {
        Some([one, other]) => Err(format!("{} and {} overlap", one.name(), other.name())),
        _ => Ok(blocks),
    }
}

/// The ports of `allowed` that no block takes, ascending. `blocks` are ascending.
fn free(blocks: &[Block<'_>], allowed: &Ports) -> Vec<Ports> {
    let mut free = Vec::new();
    let mut next = Some(*allowed.start());
    for block in blocks {
        let Some(start) = next else { break };
        if let Some(before) = block.ports.start().checked_sub(1) {
            free.push(start..=before.min(*allowed.end()));
        }
        next = block.ports.end().checked_add(1).map(|after| after.max(start));
    }
    free.extend(next.map(|start| start..=*allowed.end()));
    free.retain(|part| !part.is_empty());
    free
}

fn parse(text: &str) -> Option<Ports> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let ports = first.trim().parse().ok()?..=last.trim().parse().ok()?;
    (*ports.start() > 0 && !ports.is_empty()).then_some(ports)
}

fn text(ports: &Ports) -> String {
    format!("{}-{}", ports.start(), ports.end())
}

/// `parts` from the port that `hash` stands for onward, and around. They hold at least one port.
fn around(parts: &[Ports], hash: u64) -> Vec<Ports> {
    let size: u64 = parts.iter().map(|part| part.len() as u64).sum();
    let mut skip = hash % size;
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

    fn options(blocks: &[(&str, &str)], shared: Option<&str>) -> Options {
        let blocks = blocks.iter().map(|(name, ports)| ((*name).into(), (*ports).into()));
        Options { blocks: blocks.collect(), shared: shared.map(str::to_owned) }
    }

    fn teams() -> Options {
        let blocks = [
            ("payments", "24000-24999"),
            ("shop/*", "25000-25999"),
            ("shop/admin/*", "26000-26999"),
            ("shop/web", "27000"),
        ];
        options(&blocks, Some("29000-29999"))
    }

    fn wanted<'a>(key: &'a str, project: &'a str) -> Wanted<'a> {
        Wanted { key, project: Some(project), allowed: 20000..=29999, reach: 0 }
    }

    /// The ports that are proposed, ascending, and whether each is proposed once.
    fn sorted(ranges: &[Ports]) -> (Vec<u16>, bool) {
        let mut ports: Vec<_> = ranges.iter().cloned().flatten().collect();
        let count = ports.len();
        ports.sort_unstable();
        ports.dedup();
        let once = ports.len() == count;
        (ports, once)
    }

    #[test]
    fn everybody_gets_all_of_their_own_block_and_nothing_else() {
        for (project, block) in [
            ("payments", 24000..=24999),
            ("payments2", 29000..=29999),
            ("shop", 29000..=29999),
            ("shop/api", 25000..=25999),
            ("shop/admin/web", 26000..=26999),
            ("shop/web", 27000..=27000),
            ("", 29000..=29999),
        ] {
            for key in ["a", "b", "c"] {
                let ranges = select(&wanted(key, project), &teams()).unwrap();
                assert_eq!(sorted(&ranges), (block.clone().collect(), true), "{project} {key}");
            }
        }
    }

    #[test]
    fn who_has_no_block_gets_what_is_left() {
        let blocks = [("a", "20000-20003"), ("b", "20006-20007"), ("c", "20009-30000")];
        let ports = select(&wanted("key", "x"), &options(&blocks, None)).unwrap();
        assert_eq!(sorted(&ports), (vec![20004, 20005, 20008], true));
        let ports = select(&wanted("key", "x"), &Options::default()).unwrap();
        assert_eq!(sorted(&ports), ((20000..=29999).collect(), true));
        let last = options(&[("a", "1-65534")], None);
        let everything = Wanted { allowed: 1..=65535, ..wanted("key", "x") };
        assert_eq!(select(&everything, &last), Ok(vec![65535..=65535]));
    }

    #[test]
    fn every_slot_begins_somewhere_else_and_comes_around() {
        let parts = [10..=11, 20..=20, 30..=32];
        let expected: Vec<u16> = parts.iter().cloned().flatten().collect();
        for (slot, port) in expected.iter().enumerate() {
            let mut turned = expected.clone();
            turned.rotate_left(slot);
            let around: Vec<_> = around(&parts, slot as u64 + 6).into_iter().flatten().collect();
            assert_eq!(around, turned, "from {port}");
        }
    }

    #[test]
    fn ports_that_are_wanted_together_stay_in_the_block() {
        let group = |project, reach| select(&Wanted { reach, ..wanted("key", project) }, &teams());
        let (ports, _) = sorted(&group("payments", 10).unwrap());
        assert_eq!((ports.first(), ports.last()), (Some(&24000), Some(&24989)));
        let refused = "the block of `shop/web` has no ports that are 1 apart";
        assert_eq!(group("shop/web", 1), Err(refused.to_owned()));
    }

    #[test]
    fn blocks_that_cannot_be_kept_are_refused() {
        for (blocks, shared, reason) in [
            (
                [("a", "24000-24999"), ("b", "24999-25000")],
                None,
                "the block of `a` and the block of `b` overlap",
            ),
            (
                [("a", "24000-24999"), ("b", "25000")],
                Some("25000-26000"),
                "the block of `b` and the shared block overlap",
            ),
            (
                [("a", "24000-24999"), ("x", "19000-20999")],
                None,
                "the block of `x`, 19000-20999, is not inside 20000-29999",
            ),
            (
                [("a", "20000-24999"), ("b", "25000-29999")],
                None,
                "no block is for `x`, and those of others leave nothing of 20000-29999",
            ),
        ] {
            let refusal = select(&wanted("key", "x"), &options(&blocks, shared)).unwrap_err();
            assert_eq!(refusal, reason);
        }
        for text in ["", "24000-", "25000-24000", "0-9", "65536", "a-b", "1-2-3"] {
            let refusal = select(&wanted("key", "x"), &options(&[("a", text)], None)).unwrap_err();
            let reason = format!("the block of `a` is `{text}`, which is not a range such as");
            assert!(refusal.starts_with(&reason), "{refusal}");
        }
        let many = (1..=1001).map(|port| (port.to_string(), port.to_string())).collect();
        let many = Options { blocks: many, shared: None };
        let refusal = select(&wanted("key", "x"), &many).unwrap_err();
        assert_eq!(refusal, "there are 1001 blocks, more than 1000");
    }
}

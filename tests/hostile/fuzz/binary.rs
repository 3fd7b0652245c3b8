//! What can happen to the bytes of a component: in transit, in an editor, on purpose.

use crate::chance::Dice;

/// One of the components, broken. Whatever it is, it is not much longer than two of them.
pub(super) fn broken(dice: &mut Dice, which: usize, healthy: &[Vec<u8>]) -> Vec<u8> {
    let other = dice.below(healthy.len());
    let mut bytes = healthy[which].clone();
    let times = *dice.one(&[1, 1, 1, 2, 3]);
    for _ in 0..times {
        bytes = match dice.below(12) {
            0..=2 => flipped(dice, bytes),
            3 | 4 => poked(dice, bytes),
            5 => cut(dice, bytes),
            6 => grafted(dice, bytes, &healthy[other]),
            _ => rearranged(dice, &bytes, &healthy[other], 0).unwrap_or(bytes),
        };
    }
    bytes
}

/// A few bits are turned over.
fn flipped(dice: &mut Dice, mut bytes: Vec<u8>) -> Vec<u8> {
    for _ in 0..=dice.below(8) {
        if let Some(at) = place(dice, &bytes) {
            bytes[at] ^= 1 << dice.below(8);
        }
    }
    bytes
}

/// A few bytes become any others, the ends of ranges more often than the rest.
fn poked(dice: &mut Dice, mut bytes: Vec<u8>) -> Vec<u8> {
    for _ in 0..=dice.below(4) {
        let byte = match dice.below(3) {
            0 => dice.byte(),
            _ => *dice.one(&[0x00, 0x01, 0x7f, 0x80, 0xff]),
        };
        if let Some(at) = place(dice, &bytes) {
            bytes[at] = byte;
        }
    }
    bytes
}

/// It ends too early, or goes on behind its end.
fn cut(dice: &mut Dice, mut bytes: Vec<u8>) -> Vec<u8> {
    match place(dice, &bytes) {
        Some(at) if dice.below(3) > 0 => bytes.truncate(at),
        _ => bytes.extend((0..=dice.below(64)).map(|_| dice.byte())),
    }
    bytes
}

/// A piece of another component, or of itself, lies over its own bytes or between them.
fn grafted(dice: &mut Dice, bytes: Vec<u8>, other: &[u8]) -> Vec<u8> {
    let (Some(at), Some(from)) = (place(dice, &bytes), place(dice, other)) else { return bytes };
    let length = dice.below(256).min(other.len() - from);
    let end = if dice.below(2) == 0 { at } else { (at + length).min(bytes.len()) };
    [&bytes[..at], &other[from..from + length], &bytes[end..]].concat()
}

fn place(dice: &mut Dice, bytes: &[u8]) -> Option<usize> {
    (!bytes.is_empty()).then(|| dice.below(bytes.len()))
}

/// A section, as a component and a module have them: its kind and what is in it
/// (component-model/design/mvp/Binary.md).
#[derive(Clone)]
struct Section {
    kind: u8,
    /// Its length as it is written.
    length: Vec<u8>,
    body: Vec<u8>,
}

const PREAMBLE: usize = 8;
/// The kinds of section that have sections inside: a module, a component.
const NESTING: [u8; 2] = [1, 4];

/// Something happens to one of its sections, or to one inside of it; `None` when it has none.
fn rearranged(dice: &mut Dice, bytes: &[u8], other: &[u8], depth: usize) -> Option<Vec<u8>> {
    let mut sections = sections(bytes)?;
    let at = dice.below(sections.len());
    let nested = depth == 0 && NESTING.contains(&sections[at].kind);
    if nested && dice.below(4) > 0 {
        let inner = rearranged(dice, &sections[at].body, other, depth + 1)?;
        sections[at] = Section::new(sections[at].kind, inner);
    } else {
        let to = dice.below(sections.len());
        match dice.below(9) {
            0 => drop(sections.remove(at)),
            1 => sections.insert(to, sections[at].clone()),
            2 => sections.swap(at, to),
            3 => sections[at].length = number(dice.word()),
            4 => {
                let length = u32::try_from(sections[at].body.len()).unwrap();
                let wrong = [length.wrapping_sub(1), length + 1, u32::MAX, 0];
                sections[at].length = number(*dice.one(&wrong));
            }
            // The same number in more bytes than it needs, the last time in more than there may be.
            5 => {
                let length = &mut sections[at].length;
                *length.last_mut().unwrap() |= 0x80;
                length.resize(*dice.one(&[4, 5, 6, 11]), 0x80);
                length.push(0);
            }
            // A count of what follows stands at the beginning of most sections.
            6 => {
                let many = number(*dice.one(&[u32::MAX, 0x7fff_ffff, 100_000, 1000, 0]));
                let rest = sections[at].body.get(1..).unwrap_or_default();
                sections[at] = Section::new(sections[at].kind, [&many, rest].concat());
            }
            7 => sections[at].kind = *dice.one(&[0, 1, 2, 3, 4, 7, 8, 10, 11, 12, 13, 0x7f, 0xff]),
            _ => {
                let others = self::sections(other)?;
                let strange = dice.one(&others).clone();
                sections.insert(to, strange);
            }
        }
    }
    let mut bytes = bytes[..PREAMBLE].to_vec();
    for Section { kind, length, body } in sections {
        bytes.push(kind);
        bytes.extend(length);
        bytes.extend(body);
    }
    Some(bytes)
}

impl Section {
    fn new(kind: u8, body: Vec<u8>) -> Self {
        Self { kind, length: number(u32::try_from(body.len()).unwrap()), body }
    }
}

/// The sections behind the preamble, at least one; `None` when that is not what the bytes are.
fn sections(bytes: &[u8]) -> Option<Vec<Section>> {
    let mut rest = bytes.get(PREAMBLE..)?;
    let mut sections = Vec::new();
    while let Some((kind, behind)) = rest.split_first() {
        let digits = behind.iter().take(5).position(|byte| byte & 0x80 == 0)? + 1;
        let (length, behind) = behind.split_at(digits);
        let size = length.iter().rev().fold(0_u64, |size, byte| size << 7 | u64::from(byte & 0x7f));
        let (body, behind) = behind.split_at_checked(usize::try_from(size).ok()?)?;
        sections.push(Section { kind: *kind, length: length.to_vec(), body: body.to_vec() });
        rest = behind;
    }
    (!sections.is_empty()).then_some(sections)
}

/// An unsigned number in LEB128.
fn number(mut number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let [low, ..] = (number & 0x7f).to_le_bytes();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

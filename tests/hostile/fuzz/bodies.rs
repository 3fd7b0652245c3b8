//! Plugins whose code is thrown together: loops, growth, traps, and answers that point anywhere.

use std::fmt::Write as _;

use super::super::{Policy, evil};
use crate::chance::Dice;
use crate::component::Plugin;

/// A plugin of the contract's types that does something when it is asked for `policy`.
pub(super) fn plugin(dice: &mut Dice, policy: &Policy) -> Plugin {
    let mut plugin = evil()
        .module("(table $functions 4 funcref) (elem (i32.const 0) $allocate $down)")
        .key("the key")
        .ranges(&[(21_000, 21_099)])
        .release_all("why");
    let bytes: Vec<u8> = (0..dice.below(96)).map(|_| dice.byte()).collect();
    let placed = plugin.put(&bytes);
    let mut body = LOCALS.to_owned();
    for _ in 0..dice.below(4) {
        body.push_str(&statement(dice, 0));
    }
    body.push_str(&if dice.below(3) == 0 { good(&mut plugin, policy) } else { bad(dice, &placed) });
    plugin = plugin.function(policy.function, &body);
    if dice.below(6) == 0 {
        let realloc = *dice.one(&[
            "(i32.const -1)",
            "(i32.const 1)",
            "(i32.const 0)",
            "(local.get $old)",
            "(local.get $new)",
            "(i32.const 65536)",
            "(memory.grow (i32.const 1))",
            "(unreachable)",
        ]);
        plugin = plugin.realloc(realloc);
    }
    if dice.below(8) == 0 {
        let start = statement(dice, 0);
        plugin = plugin.module(&format!("(func $start {LOCALS} {start}) (start $start)"));
    }
    if dice.below(8) == 0 {
        plugin = plugin.pages(*dice.one(&[2, 200, 255, 256, 300]));
    }
    if dice.below(8) == 0 {
        let describe = format!("{LOCALS} {} {}", statement(dice, 0), address(dice));
        plugin = plugin.function("describe", &describe);
    }
    plugin
}

const LOCALS: &str = "(local $a i32) (local $b i64) (local $c f64)";

/// An answer that keeps to the contract.
fn good(plugin: &mut Plugin, policy: &Policy) -> String {
    match policy.function {
        "derive" => format!("(call $ok {})", plugin.put(b"a key")),
        "select" => {
            let range = [21_000_u16.to_le_bytes(), 21_099_u16.to_le_bytes()].concat();
            let text = plugin.put(&range);
            let (at, _) = text.rsplit_once(" (").unwrap();
            format!("(call $ok {at} (i32.const 1))")
        }
        // Memory that nobody has written to passes on everything.
        _ => "(call $ok (call $allocate (i32.mul (local.get $count) (i32.const 12)))
               (local.get $count))"
            .to_owned(),
    }
}

/// An answer that is somewhere else, too long, or of what does not exist.
fn bad(dice: &mut Dice, placed: &str) -> String {
    match dice.below(5) {
        0 => format!("(call $answer {} {} {})", case(dice), address(dice), length(dice)),
        1 => format!("(call $answer {} {placed})", case(dice)),
        2 => {
            let (at, _) = placed.rsplit_once(" (").unwrap();
            format!("(call $ok {at} (i32.const {}))", dice.below(9))
        }
        3 => address(dice),
        _ => format!("(call $err {placed})"),
    }
}

/// The case of a result or of a verdict: mostly one that there is.
fn case(dice: &mut Dice) -> String {
    match dice.below(8) {
        0 => format!("(i32.const {})", dice.word()),
        1 => "(i32.const 2)".to_owned(),
        number => format!("(i32.const {})", number % 2),
    }
}

fn address(dice: &mut Dice) -> String {
    let edges =
        [0, 1, 2, 3, 4, 1023, 1024, 1025, 65_532, 65_535, 65_536, 1 << 24, 1 << 31, u32::MAX];
    match dice.below(4) {
        0 => format!("(i32.const {})", dice.word()),
        1 => format!("(i32.const {})", dice.below(65_536)),
        2 => format!("(i32.const {})", dice.one(&edges).wrapping_sub(8)),
        _ => format!("(i32.const {})", dice.one(&edges)),
    }
}

fn length(dice: &mut Dice) -> String {
    let edges = [0, 1, 2, 7, 64, 4096, 4097, 65_535, 1 << 20, 1 << 28, 1 << 30, 1 << 31, u32::MAX];
    format!("(i32.const {})", dice.one(&edges))
}

/// Something that is done before the answer, and may not end.
fn statement(dice: &mut Dice, depth: usize) -> String {
    let inner = |dice: &mut Dice| match depth {
        0 | 1 => statement(dice, depth + 1),
        _ => "(nop)".to_owned(),
    };
    let (at, other) = (address(dice), address(dice));
    match dice.below(16) {
        0 => format!("(i32.store {at} (i32.const {}))", dice.word()),
        1 => format!("(i64.store align=1 {at} (i64.load align=2 {other}))"),
        2 => format!("(memory.fill {at} (i32.const {}) {})", dice.byte(), length(dice)),
        3 => format!("(memory.copy {at} {other} {})", length(dice)),
        4 => {
            format!("(drop (memory.grow (i32.const {})))", dice.one(&[0, 1, 100, 65_535, u32::MAX]))
        }
        5 => {
            let turns = dice.one(&[1, 1000, 100_000, u32::MAX]);
            let inner = inner(dice);
            format!(
                "(local.set $a (i32.const {turns})) (loop {inner} \
                 (br_if 0 (local.tee $a (i32.sub (local.get $a) (i32.const 1)))))"
            )
        }
        6 => format!("(loop $spin {} (br $spin))", inner(dice)),
        7 => format!("(block $out {} (br_if $out (i32.load8_u {at})) (unreachable))", inner(dice)),
        8 => format!("(local.set $a (i32.div_s (i32.const {}) (i32.load {at})))", dice.word()),
        9 => format!("(local.set $b (i64.trunc_f64_s (f64.load {at})))"),
        10 => {
            format!("(local.set $c (f64.sqrt (f64.load {at}))) (f64.store {other} (local.get $c))")
        }
        11 => format!(
            "(drop (call_indirect (param i32) (result i32) {at} (i32.const {})))",
            dice.below(6)
        ),
        12 => "(drop (call $down (i32.const 0)))".to_owned(),
        13 => format!("(global.set $top {at})"),
        14 => format!("(drop (call $allocate {}))", length(dice)),
        _ => {
            let mut many = String::new();
            for _ in 0..dice.below(200) {
                write!(many, "(if (i32.load8_u {}) (then {}))", address(dice), inner(dice))
                    .unwrap();
            }
            many
        }
    }
}

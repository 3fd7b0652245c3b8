//! What a policy does instead of answering, and what it answers instead of the truth.

use std::fmt::Write as _;
use std::fs;

use super::{CLEANUP, KEY, POLICIES, SELECTION, Victim, evil};
use crate::component::Plugin;

/// What a function can do instead of answering, and what is said of it.
const MISDEEDS: [(&str, &str); 4] = [
    ("(loop $spin (br $spin)) (unreachable)", "it used up its fuel of 10000000 (selected"),
    ("(call $down (i32.const 0))", "it overflowed its stack (selected"),
    (
        "(loop $grow (br_if $grow (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
         (unreachable)",
        "it asked for more than 16777216 bytes of memory (selected",
    ),
    ("(unreachable)", "it trapped: wasm trap: wasm `unreachable` instruction executed"),
];

#[test]
fn what_does_not_answer_is_stopped() {
    let victim = Victim::new();
    for policy in POLICIES {
        for (body, said) in MISDEEDS {
            victim.survives_doing(policy, body, &[said]);
        }
    }
}

#[test]
fn the_limit_that_stopped_a_policy_is_named() {
    let victim = Victim::new();
    let [spin, _, grow, _] = MISDEEDS.map(|(body, _)| body);
    for (body, limit) in [(spin, "limits.fuel"), (grow, "limits.memory")] {
        victim.survives_doing(&SELECTION, body, &[&format!("\nhint: {limit} in your config.toml")]);
    }
}

/// More than the thread that the engine runs on can have.
#[test]
fn a_stack_that_cannot_be_had_is_a_matter_of_the_configuration() {
    let victim = Victim::new();
    victim.world.config("[limits]\nstack = \"1GiB\"\n");
    let stderr = victim.run(&KEY).fails(3);
    let place = victim.world.home().join(".config/hythe/config.toml");
    assert!(stderr.contains(&format!("{}:2:", place.display())), "{stderr}");
}

#[test]
fn a_trap_names_the_functions_it_came_through() {
    let victim = Victim::new();
    let inner = "(func $choose-a-port (unreachable))";
    let plugin = evil().module(inner).function("select", "(call $choose-a-port) (unreachable)");
    victim.survives(&SELECTION, &plugin.build(), &["in choose-a-port < select"]);
}

#[test]
fn what_cannot_say_what_it_is_is_not_used() {
    let victim = Victim::new();
    let long = format!("\\\"{}", "x".repeat(300));
    for (body, said) in MISDEEDS {
        let plugin = evil().key("k").function("describe", body);
        let asked = "plugin `evil` cannot be used: it could not be asked what it is: ";
        victim.survives(&KEY, &plugin.build(), &[asked, said.trim_end_matches(" (selected")]);
    }
    for name in [long.as_str(), "a\u{1b}[2J"] {
        let plugin = Plugin::new(name).key("k").build();
        victim.survives(&KEY, &plugin, &["longer than 255 bytes, or contains control characters"]);
    }
}

#[test]
fn starting_is_part_of_the_call() {
    let victim = Victim::new();
    for (body, said) in MISDEEDS {
        let start = format!(
            "(func $start {} ) (start $start)",
            body.replace("(call $down (i32.const 0))", "(drop (call $down (i32.const 0)))")
        );
        let plugin = evil().module(&start).key("k").build();
        victim.survives(&KEY, &plugin, &[said.trim_end_matches(" (selected")]);
    }
    let several = (0..70).fold(String::new(), |mut fields, n| {
        write!(fields, "(core instance $x{n} (instantiate $x))").unwrap();
        fields
    });
    let several = format!("(core module $x) {several}");
    for (greedy, said) in [
        // What is asked for before anything runs.
        (evil().pages(300), "it asked for more than 16777216 bytes of memory"),
        (evil().module("(memory $more 250) (memory $most 250)"), "bytes of memory"),
        (evil().module("(table 20000 funcref)"), "it trapped: "),
        (evil().import(&several), "it trapped: "),
    ] {
        victim.survives(&KEY, &greedy.key("k").build(), &[said]);
    }
}

/// It gets a smaller table than it asks for, and may go on.
#[test]
fn tables_are_only_so_large() {
    let victim = Victim::new();
    let grow = "(table $t 1 funcref)
        (func $grow (if (i32.ne (table.grow $t (ref.null func) (i32.const 20000)) (i32.const -1))
          (then unreachable)))
        (start $grow)";
    fs::write(victim.file(), evil().key("k").module(grow).build()).unwrap();
    victim.select(&KEY, "");
    victim.run(&KEY).port();
}

#[test]
fn an_answer_is_only_so_large() {
    let victim = Victim::new();
    for policy in POLICIES {
        let count = (2 << 20) / policy.element;
        let truthful =
            format!("(call $ok (call $allocate (i32.const {})) (i32.const {count}))", 2 << 20);
        victim.survives_doing(
            policy,
            &truthful,
            &["its answer is larger than 1048576 bytes", "limits.answer_size"],
        );
    }
}

#[test]
fn answers_that_lie_about_memory_are_not_believed() {
    let victim = Victim::new();
    for policy in POLICIES {
        for body in [
            "(call $ok (i32.const 1024) (i32.const -1))",
            "(call $ok (i32.const 1024) (i32.const 2147483647))",
            "(call $ok (i32.const -16) (i32.const 1))",
            "(call $err (i32.const 1024) (i32.const -1))",
            "(call $err (i32.const -16) (i32.const 16))",
            // The answer itself is out of bounds, misaligned, or of a case that does not exist.
            "(i32.const -8)",
            "(i32.const 2)",
            "(call $answer (i32.const 7) (i32.const 0) (i32.const 0))",
        ] {
            let stderr = victim.survives_doing(policy, body, &[]);
            let kinds = ["it trapped: ", "its answer is larger than"];
            assert!(kinds.iter().any(|kind| stderr.contains(kind)), "{body}: {stderr}");
        }
        let mut plugin = evil();
        let text = plugin.put(b"\xff\xfe");
        let plugin = plugin.function(policy.function, &format!("(call $err {text})"));
        victim.survives(policy, &plugin.build(), &["utf-8"]);
    }
    let mut plugin = evil();
    let verdict = plugin.put(&[9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let (at, _) = verdict.rsplit_once(" (").unwrap();
    let plugin = plugin.function("review", &format!("(call $ok {at} (i32.const 1))"));
    victim.survives(&CLEANUP, &plugin.build(), &["cleanup.review"]);
}

#[test]
fn the_engine_is_not_led_astray_by_where_its_arguments_are_put() {
    let victim = Victim::new();
    for realloc in [
        "(i32.const -8)",
        "(i32.const 3)",
        "(unreachable)",
        "(loop $spin (br $spin)) (unreachable)",
    ] {
        for policy in POLICIES {
            let plugin = evil().key("k").ranges(&[(20000, 20000)]).release_all("why");
            let plugin = plugin.realloc(realloc).build();
            let stderr = victim.survives(policy, &plugin, &[policy.called]);
            let kinds = ["it trapped: ", "it used up its fuel"];
            assert!(kinds.iter().any(|kind| stderr.contains(kind)), "{realloc}: {stderr}");
        }
    }
}

#[test]
fn keys_keep_to_the_contract() {
    let victim = Victim::new();
    let broken = "its answer breaks the contract: ";
    for (key, said) in [
        ("", "the key is empty"),
        (&*"k".repeat(17 << 10), "the key is 17408 bytes long, more than 16384"),
        ("a\nb", "contains control characters"),
        ("a\0b", "contains control characters"),
        ("a\u{1b}[2Jb", "contains control characters"),
        ("a\u{9b}b", "contains control characters"),
    ] {
        victim.survives(&KEY, &evil().key(key).build(), &[broken, said, KEY.called]);
    }
    let longest = evil().key(&"k".repeat(16384)).build();
    fs::write(victim.file(), longest).unwrap();
    victim.select(&KEY, "");
    victim.run(&KEY).port();
}

#[test]
fn ranges_keep_to_the_contract() {
    let victim = Victim::new();
    let broken = "its answer breaks the contract: ";
    let many = vec![(20000, 29999); 5000];
    for (ranges, said) in [
        (&[(0, 20000)][..], "0-20000 is not a range of ports"),
        (&[(0, 0)], "0-0 is not a range of ports"),
        (&[(20000, 20001), (20002, 20001)], "20002-20001 is not a range of ports"),
        (&[(19999, 20000)], "it proposes 19999-20000, outside the allowed 20000-29999"),
        (&[(20000, 65535)], "it proposes 20000-65535, outside the allowed 20000-29999"),
        (&[(22, 22)], "outside the allowed 20000-29999"),
        (&many, "it proposes 5000 port ranges, more than 4096"),
    ] {
        victim.survives(
            &SELECTION,
            &evil().ranges(ranges).build(),
            &[broken, said, SELECTION.called],
        );
    }
    // The most that is allowed, and proposing nothing at all: the second is no lie.
    for (ranges, code) in [(&[][..], 5), (&many[..4096], 0)] {
        fs::write(victim.file(), evil().ranges(ranges).build()).unwrap();
        victim.select(&SELECTION, "");
        let run = victim.run(&SELECTION).exits(code);
        assert_eq!(run.stdout().is_empty(), code != 0);
    }
}

#[test]
fn there_is_one_verdict_for_each_reservation() {
    let victim = Victim::new();
    let mut plugin = evil();
    let keep = plugin.put(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0].repeat(2));
    let (at, _) = keep.rsplit_once(" (").unwrap();
    for count in [0, 2] {
        let body = format!("(call $ok {at} (i32.const {count}))");
        let plugin = plugin.clone().function("review", &body).build();
        let said = format!("it gives {count} verdicts on 1 reservations");
        victim.survives(&CLEANUP, &plugin, &["its answer breaks the contract: ", &said]);
    }
}

#[test]
fn errors_of_policies_are_cut_and_cleaned() {
    let victim = Victim::new();
    let mut plugin = evil();
    let text = "not today \u{1b}]0;owned\u{7}\u{1b}[2J\r\nerror: all is lost\n".repeat(23_000);
    assert!(text.len() > 1_000_000 && text.len() < 1 << 20, "{}", text.len());
    let text = plugin.put(text.as_bytes());
    for policy in POLICIES {
        let plugin = plugin.clone().function(policy.function, &format!("(call $err {text})"));
        let stderr = victim.survives(policy, &plugin.build(), &["not today", policy.called]);
        assert_eq!(
            stderr.lines().filter(|line| line.starts_with("error: ")).count(),
            1,
            "{stderr}"
        );
    }
}

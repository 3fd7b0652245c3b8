//! Files that are no policies: damaged, of another kind, of another version, or pinned otherwise.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use super::{CLEANUP, KEY, POLICIES, SELECTION, Victim, contents, evil};
use crate::component::{Plugin, sha256};
use crate::listener::eventually;
use crate::support::{HYTHE, Run};

#[test]
fn files_that_are_no_components_are_refused() {
    let victim = Victim::new();
    let good = evil().key("k").build();
    let noise: Vec<u8> =
        (0_u32..5000).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let module = wat::parse_str("(module (memory 1) (func (export \"derive\")))").unwrap();
    let invalid = "it is not a valid WebAssembly component";
    for (bytes, said) in [
        (&b""[..], invalid),
        (b"\0asm", invalid),
        (&noise, invalid),
        (b"\x7fELF\x02\x01\x01\0", invalid),
        (b"(component)", invalid),
        (&module, "it is a WebAssembly core module, not a component"),
        (
            &vec![0; (4 << 20) + 1],
            "it is 4194305 bytes large, more than the 4194304 that are allowed",
        ),
    ] {
        victim.survives(&KEY, bytes, &["plugin `evil` cannot be used: ", said]);
    }
    for length in [8, 9, 20, good.len() / 3, good.len() / 2, good.len() - 1] {
        victim.survives(&KEY, &good[..length], &["plugin `evil` cannot be used: "]);
    }
    let hint = victim.survives(&KEY, &module, &[]);
    assert!(hint.contains("hint: hythe plugin encode"), "{hint}");
}

#[test]
fn a_path_without_a_file_is_refused() {
    let victim = Victim::new();
    let file = victim.file();
    let shown = file.to_str().unwrap();
    victim.is_spared(&KEY, &[shown, "No such file"]);
    symlink("nowhere", &file).unwrap();
    victim.is_spared(&KEY, &[shown, "No such file"]);
    fs::remove_file(&file).unwrap();
    symlink("evil.wasm", &file).unwrap();
    victim.is_spared(&KEY, &[shown]);
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    victim.is_spared(&KEY, &[shown]);
    fs::remove_dir(&file).unwrap();
    symlink("/dev/zero", &file).unwrap();
    victim.is_spared(&KEY, &[]);
}

/// Nobody writes to the pipe: who waits for it waits for ever.
#[test]
fn a_pipe_is_not_waited_for() {
    let victim = Victim::new();
    let file = victim.file();
    let made = Command::new("mkfifo").arg(&file).status().unwrap();
    assert!(made.success());
    victim.select(&KEY, "");
    let mut child = victim.world.command(&victim.directory);
    let mut child =
        child.args(KEY.command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let ended = eventually(|| child.try_wait().unwrap().is_some());
    if !ended {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(ended, "it waits for a pipe");
    let stderr = Run::from(child.wait_with_output().unwrap()).fails(4);
    assert!(stderr.contains(file.to_str().unwrap()), "{stderr}");
}

#[test]
fn a_policy_imports_nothing() {
    let victim = Victim::new();
    let good = || evil().key("k");
    for (import, name, hint) in [
        (
            r#"(import "wasi:cli/environment@0.2.0" (instance))"#,
            "wasi:cli/environment@0.2.0",
            "wasm32-unknown-unknown",
        ),
        (r#"(import "libc" (core module))"#, "libc", "remove the import"),
        (r#"(import "log" (func (param "text" string)))"#, "log", "remove the import"),
        (r#"(import "file" (type (sub resource)))"#, "file", "remove the import"),
    ] {
        let said = format!("it imports `{name}`, but a policy may import nothing");
        victim.survives(&KEY, &good().import(import).build(), &[&said, hint]);
    }
}

#[test]
fn another_version_of_the_contract_is_told_apart() {
    let victim = Victim::new();
    for policy in POLICIES {
        let plugin = evil().key("k").ranges(&[(20000, 20000)]).release_all("why");
        for (version, hint) in [
            ("0.2.0", "hint: upgrade hythe"),
            ("0.10.0", "hint: upgrade hythe"),
            ("1.0.0", "hint: upgrade hythe"),
            ("0.0.9", "hint: rebuild the plugin for `hythe:policy/"),
        ] {
            let (interface, _) = policy.called.split_once('.').unwrap();
            let only = plugin.clone().only(policy.function).contract(version).build();
            let found = format!("it exports `hythe:policy/{interface}@{version}`");
            let spoken = format!("but this hythe speaks `hythe:policy/{interface}@0.1.0`");
            victim.survives(policy, &only, &[&found, &spoken, hint]);
        }
    }
}

#[test]
fn what_is_asked_for_must_be_there() {
    let victim = Victim::new();
    let nameless = evil().key("k").without_info().build();
    victim.survives(&KEY, &nameless, &["it does not export `hythe:policy/info@0.1.0`"]);
    for policy in POLICIES {
        let (interface, _) = policy.called.split_once('.').unwrap();
        let missing = format!("it does not export `hythe:policy/{interface}@0.1.0`");
        victim.survives(policy, &evil().build(), &[&missing]);
    }
}

#[test]
fn policies_have_the_types_of_the_contract() {
    let victim = Victim::new();
    let good = || evil().key("k").ranges(&[(20000, 20000)]).release_all("why");
    let said = "does not have the types of the contract";
    for (policy, signature) in [
        (
            &KEY,
            r#"(param "request" $request) (param "options" string)
               (result (result string (error u32)))"#,
        ),
        (
            &SELECTION,
            r#"(param "request" $request) (param "options" string)
               (result (result (list u32) (error string)))"#,
        ),
        (
            &CLEANUP,
            r#"(param "now" u64) (param "reservations" (list $reservation))
               (param "options" string) (result (result (list $verdict) (error string)))"#,
        ),
    ] {
        let mistyped = good().signature(policy.function, signature).build();
        victim.survives(policy, &mistyped, &[said]);
    }
    let describe = "(result (tuple string string string string))";
    victim.survives(&KEY, &good().signature("describe", describe).build(), &[said]);
    let hollow = r#"(instance $none)
        (export "hythe:policy/key-derivation@0.1.0" (instance $none))"#;
    victim.survives(&KEY, &evil().import(hollow).build(), &[said]);
}

#[test]
fn a_schema_that_could_keep_the_engine_busy_is_refused() {
    let victim = Victim::new();
    for schema in [
        r##"{"properties":{"a":{"$ref":"#"}}}"##,
        r#"{"properties":{"a":{"pattern":"(a+)+$"}}}"#,
        "no JSON",
        &"[".repeat(100_000),
        &"{\"items\":".repeat(100_000),
    ] {
        let plugin = evil().key("k").schema(schema).build();
        victim.survives(&KEY, &plugin, &["the schema of its options cannot be used"]);
    }
}

#[test]
fn wrong_options_are_a_matter_of_the_configuration() {
    let victim = Victim::new();
    let schema = r#"{"properties":{"step":{"type":"integer","maximum":9},
        "grace":{"type":"string","format":"duration"}}}"#;
    fs::write(victim.file(), evil().key("k").schema(schema).build()).unwrap();
    for (option, said) in [
        ("stpe = 1", "option `stpe`: the plugin has no such option\nhint: did you mean `step`?"),
        ("step = 10", "option `step`: 10 is more than 9"),
        ("step = \"1\"", "option `step`: expected integer"),
        ("grace = \"soon\"", "option `grace`: `soon` is not a duration"),
        ("grace = 5", "option `grace`: expected string, found `5`"),
    ] {
        victim.select(&KEY, &format!("\n[plugins.evil.options]\n# so it is:\n{option}\n"));
        let stderr = victim.run(&KEY).fails(3);
        let place =
            format!("{}:9:", victim.world.home().join(".config/hythe/config.toml").display());
        for word in [&place, "plugin `evil`: ", said] {
            assert!(stderr.contains(word), "no {word:?} in {stderr}");
        }
        assert_eq!(contents(&victim.world.state()), victim.before);
    }
    // A plugin without a schema takes no options, and a required one is missed where the plugin is.
    fs::write(victim.file(), evil().key("k").build()).unwrap();
    victim.select(&KEY, "options = { step = 1 }\n");
    let stderr = victim.run(&KEY).fails(3);
    assert!(stderr.contains("config.toml:6:"), "{stderr}");
    let schema = r#"{"properties":{"step":{"type":"integer"}},"required":["step"]}"#;
    fs::write(victim.file(), evil().key("k").schema(schema).build()).unwrap();
    victim.select(&KEY, "");
    let stderr = victim.run(&KEY).fails(3);
    assert!(stderr.contains("config.toml:5:") && stderr.contains("it is required"), "{stderr}");
}

#[test]
fn a_pinned_plugin_has_the_digest_it_is_pinned_to() {
    let victim = Victim::new();
    fs::write(victim.file(), evil().key("k").build()).unwrap();
    let digest = sha256(&victim.file());
    victim.select(&KEY, &format!("sha256 = \"{digest}\"\n"));
    victim.run(&KEY).port();
    victim.run(&KEY).port();
    let before = contents(&victim.world.state());
    fs::write(victim.file(), evil().key("changed").build()).unwrap();
    let stderr = victim.run(&KEY).fails(4);
    let found = sha256(&victim.file());
    let said = format!("its digest is {found}, but the configuration pins {digest}");
    assert!(stderr.contains(&said) && stderr.contains("config.toml:2:"), "{stderr}");
    assert_eq!(contents(&victim.world.state()), before);
}

/// Instances of instances: a few hundred bytes that mean a thousand million instances.
#[test]
fn a_component_does_not_multiply_without_end() {
    let victim = Victim::new();
    let mut bomb = "(component $c0 (core module $m (memory 0))".to_owned();
    bomb.push_str(&"(core instance (instantiate $m))".repeat(10));
    bomb.push(')');
    for depth in 1..9 {
        let inner = "(instance (instantiate $inner))".repeat(10);
        let below = depth - 1;
        write!(bomb, "(component $c{depth} (alias outer 1 $c{below} (component $inner)) {inner})")
            .unwrap();
    }
    bomb.push_str("(instance (instantiate $c8))");
    let plugin = evil().key("k").import(&bomb).build();
    assert!(plugin.len() < 8192);
    fs::write(victim.file(), plugin).unwrap();
    victim.select(&KEY, "");
    // Without this limit the machine would be what stops it.
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -v 1000000; exec \"$0\" reserve web", HYTHE]);
    command.current_dir(&victim.directory).env_clear().env("HOME", victim.world.home());
    let stderr = Run::of(&mut command).fails(4);
    assert!(stderr.contains("plugin `evil` cannot be used: "), "{stderr}");
    assert_eq!(contents(&victim.world.state()), victim.before);
}

/// Locals and blocks multiply as well: 35 KB would take gigabytes.
#[test]
fn what_could_cost_the_compiler_all_memory_is_refused() {
    let victim = Victim::new();
    let function = format!(
        "(func (local {}) {})",
        "i32 ".repeat(3000),
        "(loop (br_if 0 (local.get 0)))".repeat(3000)
    );
    let said = "it is too complex to be compiled: its function ";
    let numbers = "(3000 locals, 3000 blocks, 12001 instructions) could take the compiler ";
    let plugin = evil().key("k").module(&function).build();
    assert!(plugin.len() < 40_000);
    victim.survives(&KEY, &plugin, &[said, numbers]);
}

#[test]
fn a_schema_is_as_large_as_a_person_may_read() {
    let victim = Victim::new();
    let list = |count: usize, item: &dyn Fn(usize) -> String| {
        (0..count).map(item).collect::<Vec<_>>().join(",")
    };
    let values = list(60_000, &|_| "1".to_owned());
    let names = list(257, &|index| format!("\"{index}\":{{}}"));
    for (schema, said) in [
        (format!(r#"{{"properties":{{"a":{{"enum":[{values}]}}}}}}"#), "more than the 65536"),
        (format!(r#"{{"properties":{{{names}}}}}"#), "257 properties, more than the 256"),
        (format!(r#"{{"{}":1}}"#, "x".repeat(60_000)), "unknown field `xxx"),
    ] {
        let plugin = evil().key("k").schema(&schema).build();
        victim.survives(&KEY, &plugin, &["the schema of its options cannot be used: ", said]);
    }
    // As many as fit, and none of them fits.
    let values = list(30_000, &|_| "1".to_owned());
    let schema = format!(r#"{{"properties":{{"a":{{"enum":[{values}]}}}}}}"#);
    fs::write(victim.file(), evil().key("k").schema(&schema).build()).unwrap();
    victim.select(&KEY, &format!("options = {{ a = \"{}\" }}\n", "x".repeat(10_000)));
    let stderr = victim.run(&KEY).fails(3);
    assert!(stderr.contains("is not one of 1, 1, 1, 1, 1, 1, 1, 1, and 29992 more"), "{stderr}");
    assert!(stderr.len() < 4096, "{} bytes", stderr.len());
}

#[test]
fn what_reorders_or_hides_text_is_not_shown() {
    let victim = Victim::new();
    for disguise in ["\u{202e}", "\u{2066}", "\u{200b}", "\u{feff}"] {
        let plugin = Plugin::new(&format!("evil{disguise}")).key("k").build();
        victim.survives(&KEY, &plugin, &["characters or others that hide or reorder text"]);
    }
}

/// Anybody can write into a component what it was made by, and as much of it as fits.
#[test]
fn many_producers_are_inspected() {
    let victim = Victim::new();
    let mut producers = b"\x01\x08language".to_vec();
    // A number as WebAssembly writes it, seven bits a byte: 100,000.
    producers.extend([0xa0, 0x8d, 0x06]);
    for index in 0_u32..100_000 {
        producers.push(6);
        producers.extend(format!("{index:06}").bytes());
        producers.push(0);
    }
    let producers = producers.iter().fold(String::new(), |mut text, byte| {
        write!(text, "\\{byte:02x}").unwrap();
        text
    });
    let plugin = evil().key("k").import(&format!("(@custom \"producers\" \"{producers}\")"));
    fs::write(victim.file(), plugin.build()).unwrap();
    let file = victim.file();
    let shown =
        victim.world.run(&victim.directory, ["plugin", "inspect", file.to_str().unwrap()]).ok();
    assert!(shown.contains("language 000000") && shown.contains("language 000063"), "{shown}");
    assert!(!shown.contains("language 000064"), "{shown}");
    assert!(shown.len() < 8192, "{} bytes", shown.len());
}

/// No compiler is that fast.
#[test]
fn what_takes_the_compiler_too_long_is_given_up() {
    let victim = Victim::new();
    fs::write(victim.file(), evil().key("k").build()).unwrap();
    victim.select(&KEY, "[limits]\ncompile_time = \"0s\"\n");
    let stderr = victim.run(&KEY).fails(4);
    assert!(stderr.contains("it was not compiled within 0s"), "{stderr}");
    assert!(stderr.contains("\nhint: limits.compile_time in your config.toml"), "{stderr}");
}

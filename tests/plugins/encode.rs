//! `plugin encode`: from a core module to a component.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{bring, call, complete, ends, error, explained, no_plugins, pipe};
use crate::component::sha256;
use crate::support::World;

/// A core module as a compiler builds it: its functions have the names of the contract. It proposes
/// 20000-29999.
fn module() -> Vec<u8> {
    let text = r#"(module (memory (export "memory") 1)
          (global $top (mut i32) (i32.const 4096))
          (data (i32.const 512) "\20\4e\2f\75")
          (data (i32.const 1024) "by-hand1.2.3Written by hand")
          (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
            (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
            (global.set $top (i32.add (local.get $at) (local.get 3)))
            (local.get $at))
          (func (export "hythe:policy/info@0.1.0#describe") (result i32)
            (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 7))
            (i32.store (i32.const 8) (i32.const 1031)) (i32.store (i32.const 12) (i32.const 5))
            (i32.store (i32.const 16) (i32.const 1036)) (i32.store (i32.const 20) (i32.const 15))
            (i32.const 0))
          (func (export "hythe:policy/port-selection@0.1.0#select") (param i32) (result i32)
            (i32.store (i32.const 4) (i32.const 512)) (i32.store (i32.const 8) (i32.const 1))
            (i32.const 0)))"#;
    wat::parse_str(text).unwrap()
}

fn compiled(directory: &Path, module: &[u8]) -> PathBuf {
    let file = directory.join("core.wasm");
    fs::write(&file, module).unwrap();
    file
}

#[test]
fn a_core_module_becomes_a_plugin_that_decides() {
    let world = World::new();
    let directory = world.dir("project");
    compiled(&directory, &module());
    let encode = ["plugin", "encode", "core.wasm", "-o", "by-hand.wasm"];
    let run = world.run(&directory, encode).exits(0);
    let file = directory.join("by-hand.wasm");
    let size = fs::metadata(&file).unwrap().len();
    assert_eq!(run.stdout(), "");
    assert!(run.stderr().contains(&format!("by-hand.wasm: {size} bytes")), "{}", run.stderr());
    world.run(&directory, ["plugin", "check", "by-hand.wasm"]).ok();
    world.run(&directory, ["plugin", "add", "by-hand.wasm", "--project", "--use"]).ok();
    let explanation = explained(&world, &directory, "web");
    assert_eq!(call(&explanation, "selection")["plugin"], "by-hand 1.2.3");
    assert_eq!(call(&explanation, "selection")["answered"], json!(["20000-29999"]));
}

#[test]
fn the_same_module_makes_the_same_component_wherever_it_is() {
    let world = World::new();
    let directory = world.dir("project");
    let file = compiled(&directory, &module());
    let arguments = ["-C", "project", "plugin", "encode", "core.wasm", "-o", "one.wasm", "--json"];
    let said = world.run(&world.root(), arguments).json();
    let one = directory.join("one.wasm");
    assert_eq!(said["file"], one.to_str().unwrap());
    assert_eq!(said["size"], fs::metadata(&one).unwrap().len());
    // A file is replaced, and may be the module itself.
    let file = file.to_str().unwrap();
    let run = world.run(&directory, ["plugin", "encode", file, "-o", file, "-q"]).exits(0);
    assert_eq!(run.stdout() + &run.stderr(), "");
    assert_eq!(sha256(Path::new(file)), sha256(&one));
    assert!(!world.state().exists());
}

#[test]
fn what_makes_no_component_is_refused_and_nothing_is_written() {
    let world = World::new();
    let directory = world.dir("project");
    let select = "hythe:policy/port-selection@0.1.0#select";
    let fd_write =
        r#"(import "wasi_snapshot_preview1" "fd_write" (func (param i32) (result i32)))"#;
    let wat = |text: &str| wat::parse_str(text).unwrap();
    let mut modules = vec![
        ("component", complete("p").build(), "component already"),
        ("alien", wat("(module (func (export \"run\")))"), select),
        ("wasi", wat(&format!("(module {fd_write})")), "wasi_snapshot_preview1::fd_write"),
        ("types", wat(&format!("(module (func (export {select:?})))")), "contract"),
    ];
    modules.extend(
        no_plugins()
            .into_iter()
            .filter(|(name, _)| *name != "cut")
            .map(|(name, bytes)| (name, bytes, "WebAssembly")),
    );
    for (name, bytes, said) in modules {
        compiled(&directory, &bytes);
        fs::write(directory.join("out"), "what was there before").unwrap();
        let arguments = ["plugin", "encode", "core.wasm", "-o", "out", "--json"];
        let failed = error(world.run(&directory, arguments), 4);
        let message = failed["message"].as_str().unwrap();
        assert!(message.contains("core.wasm: "), "{name}: {message}");
        assert!(message.contains(said) && !message.contains("0x61"), "{name}: {message}");
        assert_eq!(fs::read(directory.join("out")).unwrap(), b"what was there before");
    }
}

#[test]
fn files_that_cannot_be_read_or_written_are_named_once() {
    let world = World::new();
    let directory = world.dir("project");
    let file = compiled(&directory, &module());
    pipe(&directory.join("pipe"));
    for name in ["nobody", ".", "pipe"] {
        let stderr =
            ends(&world, &directory, &["plugin", "encode", name, "-o", "out.wasm"]).fails(2);
        let path = directory.join(name);
        assert_eq!(stderr.matches(path.to_str().unwrap()).count(), 1, "{stderr}");
    }
    for name in ["nowhere/out.wasm", "."] {
        let stderr = world.run(&directory, ["plugin", "encode", "core.wasm", "-o", name]).fails(2);
        assert!(stderr.contains(name), "{stderr}");
    }
    world.run(&directory, ["plugin", "encode", "core.wasm"]).fails(2);
    bring(&directory, "plugin", complete("p"));
    let left: Vec<_> = fs::read_dir(&directory).unwrap().map(|it| it.unwrap().path()).collect();
    assert_eq!(left.len(), 3, "{left:?} besides {}", file.display());
}

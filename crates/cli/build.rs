//! Tells the linker how the binary is to be laid out.

use std::env;

#[expect(clippy::disallowed_methods, reason = "cargo speaks to build scripts in variables")]
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // A program at a fixed address needs no relocation: the loader would have to patch, and so to
    // copy, a hundred pages of tables, most of them the compiler's for custom plugins, before a
    // process that lives for two milliseconds could begin. Libraries, heap, stack and the code of
    // policies keep their random addresses.
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}

// The settings that compiled policies depend on. The build script includes this file too: code that
// is compiled under other settings is refused when it is loaded.

/// The configuration under which policies are compiled and run, for the processor family `target`
/// without any optional feature, so that compiled code moves between machines of one family.
pub(crate) fn tunables(target: &str) -> wasmtime::Result<wasmtime::Config> {
    let mut config = wasmtime::Config::new();
    config
        .target(target)?
        // Fuel stops a loop after a number of instructions, the same on every machine, without a
        // thread that watches the clock.
        .consume_fuel(true)
        // The same arguments must get the same answer on every machine.
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        // The default reserves 4 GiB of addresses a memory, which fails under `ulimit -v`.
        .memory_reservation(16 << 20)
        .memory_reservation_for_growth(1 << 20)
        // An instance lives for one call. Checks in the code cost it less than what traps by signal
        // and memory by copy-on-write cost the process: handlers, stacks, mappings and files.
        .signals_based_traps(false)
        .memory_guard_size(0)
        .memory_init_cow(false)
        // Backtraces name functions; offsets into a binary would tell nobody anything.
        .generate_address_map(false);
    Ok(config)
}

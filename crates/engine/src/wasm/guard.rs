//! One call of a policy: a fresh instance, within its limits, and what stopped it.

use wasmtime::component::{Instance, InstancePre};
use wasmtime::{ResourceLimiter, Result, Store, Trap, WasmBacktrace};

use super::Limits;
use super::v0::Mistyped;
use crate::policy::Failure;

/// Keeps the memory of an instance within its limit, and remembers when it had to say no.
pub(super) struct Guard {
    memory_left: usize,
    denied: bool,
}

/// What a call used of what it may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Fuel: about one unit for each WebAssembly instruction.
    pub fuel: u64,
    /// Linear memory, in bytes.
    pub memory: u64,
}

/// No policy needs more function pointers than this; a table entry costs the host 8 bytes.
const MAX_TABLE: usize = 16 * 1024;

impl ResourceLimiter for Guard {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        // A component may hold several memories: the limit is on all of them together.
        match self.memory_left.checked_sub(desired.saturating_sub(current)) {
            Some(left) => {
                self.memory_left = left;
                Ok(true)
            }
            None => {
                self.denied = true;
                Ok(false)
            }
        }
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        Ok(desired <= MAX_TABLE)
    }

    fn instances(&self) -> usize {
        64
    }

    fn tables(&self) -> usize {
        64
    }

    fn memories(&self) -> usize {
        64
    }
}

/// Runs `call` in a fresh instance of `component`; what came of it, and what it used.
pub(super) fn call<R>(
    component: &InstancePre<Guard>,
    limits: Limits,
    call: impl FnOnce(&InstancePre<Guard>, &mut Store<Guard>, &Instance) -> Result<R>,
) -> (Result<R, Failure>, Usage) {
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let guard = Guard { memory_left: size(limits.memory), denied: false };
    let mut store = Store::new(component.engine(), guard);
    store.limiter(|guard| guard);
    store.set_hostcall_fuel(size(limits.answer_size));
    let outcome = store
        .set_fuel(limits.fuel)
        .and_then(|()| component.instantiate(&mut store))
        .and_then(|instance| call(component, &mut store, &instance));
    let usage = Usage {
        fuel: limits.fuel - store.get_fuel().unwrap_or(0).min(limits.fuel),
        memory: limits.memory.saturating_sub(store.data().memory_left as u64),
    };
    (outcome.map_err(|error| failure(&error, limits, store.data().denied)), usage)
}

fn failure(error: &wasmtime::Error, limits: Limits, memory_denied: bool) -> Failure {
    if let Some(Mistyped(what)) = error.downcast_ref() {
        return Failure::Mistyped(what.clone());
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => return Failure::Fuel(limits.fuel),
        Some(Trap::StackOverflow) => return Failure::Stack,
        // What a program does that gets no memory differs from language to language.
        _ if memory_denied => return Failure::Memory(limits.memory),
        _ => {}
    }
    let reason = error.root_cause().to_string();
    // The type of this error is private to wasmtime.
    if reason.contains("fuel allocated for hostcalls has been exhausted") {
        return Failure::AnswerSize(limits.answer_size);
    }
    // Texts are checked when they are lifted out of the sandbox, by the standard library's words.
    if reason.starts_with("invalid utf-8") || reason.starts_with("incomplete utf-8") {
        return Failure::Answer(format!("it contains a text that is not UTF-8: {reason}"));
    }
    let frames = error.downcast_ref::<WasmBacktrace>().map_or(Vec::new(), |backtrace| {
        backtrace.frames().iter().take(8).filter_map(frame).collect()
    });
    Failure::Trap(reason.lines().next().unwrap_or_default().to_owned(), frames)
}

fn frame(frame: &wasmtime::FrameInfo) -> Option<String> {
    let name = frame.func_name()?;
    let plain: String = name.chars().filter(|c| !c.is_control()).take(120).collect();
    Some(plain)
}

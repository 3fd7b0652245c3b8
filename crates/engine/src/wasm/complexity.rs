//! How much memory a component can cost its compiler, estimated before the compiler starts.
//!
//! What a function costs is no matter of its size alone: it grows with products, of its locals and
//! the places where its control flow meets, of its calls and the values that they pass. A few
//! kilobytes can name large factors, and the compiler cannot be stopped half-way.

use wasmparser::{
    BinaryReaderError, BlockType, CompositeInnerType, FunctionBody, Operator, Parser, Payload,
    TypeRef,
};

/// Why a component is not given to the compiler.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// Its bytes are no WebAssembly, or break off.
    #[error(transparent)]
    Damaged(#[from] BinaryReaderError),
    /// It exceeds a bound: which, in words.
    #[error("{0}")]
    TooComplex(String),
}

/// How many instances of modules and components may be nested within each other, counted together.
const MAX_INSTANCES: u64 = 100_000;

/// How many functions a component may have: the compiler takes some 6 KB for an empty one.
const MAX_FUNCTIONS: u64 = 50_000;

/// What compiling one function may cost, in bytes. The largest function of `QuickJS`, an
/// interpreter of JavaScript, is estimated at a fourth of it.
const MAX_COST: u64 = 640_000_000;

/// What compiling every function may cost together, in bytes, were nothing given back in between: a
/// twentieth of it is kept, as code. `QuickJS` is estimated at a tenth of it.
const MAX_TOTAL: u64 = 20_000_000_000;

/// What the compiler took at most, in bytes: measured with wasmtime 48 and functions made to cost.
mod cost {
    /// For each local at each block: a value that meets another one there, and lives on the stack.
    pub(super) const MERGED: u64 = 1600;
    /// For each local at each branch: a value that is passed to where values meet.
    pub(super) const BRANCHED: u64 = 250;
    /// For each value that a call, a branch or a block passes or returns.
    pub(super) const PASSED: u64 = 1000;
    /// For an instruction with several checks or calls within, such as a call through a table.
    pub(super) const LARGE: u64 = 40_000;
    /// For an access to memory, which is checked: a branch, and a block that traps.
    pub(super) const ACCESS: u64 = 10_000;
    /// For an instruction that calls, or has one simple check.
    pub(super) const SMALL: u64 = 4000;
    /// For each local at each instruction that branches within.
    pub(super) const CARRIED: u64 = 16;
    /// For any other instruction.
    pub(super) const PLAIN: u64 = 250;
}

/// Fails when compiling the component `bytes` could take far more memory than a plugin is worth.
pub(super) fn check(bytes: &[u8]) -> Result<(), Refusal> {
    let (mut open, mut instances) = (Vec::new(), 1_u64);
    let (mut functions, mut total) = (0_u64, 0_u64);
    let mut module = Module::default();
    for payload in Parser::new(0).parse_all(bytes) {
        let count = match payload? {
            Payload::Version { .. } => {
                open.push(1_u64);
                // Modules contain no modules: what is known of the last one is needed no more.
                module = Module::default();
                continue;
            }
            Payload::InstanceSection(section) => section.count(),
            Payload::ComponentInstanceSection(section) => section.count(),
            Payload::End(_) => {
                instances = instances.saturating_mul(open.pop().unwrap_or(1));
                continue;
            }
            Payload::CodeSectionEntry(body) => {
                functions += 1;
                total = total.saturating_add(module.defined(&body)?);
                continue;
            }
            other => {
                module.add(other)?;
                continue;
            }
        };
        if let Some(open) = open.last_mut() {
            *open = open.saturating_add(u64::from(count));
        }
    }
    // An upper bound on what instances of instances multiply to.
    if instances > MAX_INSTANCES {
        return Err(Refusal::TooComplex(format!(
            "it nests up to {instances} instances, more than {MAX_INSTANCES}"
        )));
    }
    if functions > MAX_FUNCTIONS {
        return Err(Refusal::TooComplex(format!(
            "it has {functions} functions, more than {MAX_FUNCTIONS}"
        )));
    }
    if total > MAX_TOTAL {
        return Err(Refusal::TooComplex(format!(
            "its {functions} functions could take the compiler {} MB of memory in turn, more than \
             {} MB",
            total / 1_000_000,
            MAX_TOTAL / 1_000_000
        )));
    }
    Ok(())
}

/// How many values a function takes and returns.
#[derive(Debug, Clone, Copy, Default)]
struct Arity {
    parameters: u64,
    results: u64,
}

impl Arity {
    fn both(self) -> u64 {
        self.parameters + self.results
    }
}

/// What is known of a core module before its code. Indices that mean nothing count as nothing: the
/// compiler refuses them.
#[derive(Debug, Default)]
struct Module {
    types: Vec<Arity>,
    /// The index of the type of each function, imported ones first.
    functions: Vec<u32>,
    imported: usize,
    /// How many bodies were seen.
    seen: usize,
}

impl Module {
    fn add(&mut self, payload: Payload<'_>) -> Result<(), BinaryReaderError> {
        match payload {
            Payload::TypeSection(groups) => {
                for group in groups {
                    self.types.extend(group?.into_types().map(|r#type| {
                        match r#type.composite_type.inner {
                            CompositeInnerType::Func(function) => Arity {
                                parameters: function.params().len() as u64,
                                results: function.results().len() as u64,
                            },
                            _ => Arity::default(),
                        }
                    }));
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    if let TypeRef::Func(index) | TypeRef::FuncExact(index) = import?.ty {
                        self.functions.push(index);
                        self.imported += 1;
                    }
                }
            }
            Payload::FunctionSection(functions) => {
                for index in functions {
                    self.functions.push(index?);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn r#type(&self, index: u32) -> Arity {
        self.types.get(index as usize).copied().unwrap_or_default()
    }

    fn function(&self, index: usize) -> Arity {
        self.functions.get(index).map_or_else(Arity::default, |index| self.r#type(*index))
    }

    fn block(&self, block: BlockType) -> Arity {
        match block {
            BlockType::Empty => Arity::default(),
            BlockType::Type(_) => Arity { parameters: 0, results: 1 },
            BlockType::FuncType(index) => self.r#type(index),
        }
    }

    /// What compiling the next function, with this `body`, costs; fails when that is too much.
    fn defined(&mut self, body: &FunctionBody<'_>) -> Result<u64, Refusal> {
        let index = self.imported + self.seen;
        self.seen += 1;
        let size = Size::of(self, self.function(index), body)?;
        let cost = size.cost();
        if cost <= MAX_COST {
            return Ok(cost);
        }
        let Size { locals, blocks, instructions, .. } = size;
        Err(Refusal::TooComplex(format!(
            "its function {index} ({locals} locals, {blocks} blocks, {instructions} instructions) \
             could take the compiler {} MB of memory, more than {} MB",
            cost / 1_000_000,
            MAX_COST / 1_000_000
        )))
    }
}

/// What makes a function large for a compiler.
#[derive(Debug, Default)]
struct Size {
    /// Its locals, parameters included.
    locals: u64,
    blocks: u64,
    instructions: u64,
    /// Those that branch within themselves, and what all of them cost.
    checks: u64,
    checks_cost: u64,
    branches: u64,
    /// What its calls and blocks take and return, together.
    passed: u64,
    /// The most values that one of its branches can pass.
    widest: u64,
}

impl Size {
    fn of(module: &Module, own: Arity, body: &FunctionBody<'_>) -> Result<Self, BinaryReaderError> {
        let mut size = Self { locals: own.parameters, widest: own.results, ..Self::default() };
        for local in body.get_locals_reader()? {
            size.locals = size.locals.saturating_add(u64::from(local?.0));
        }
        let (start, bytes) = (body.range().start, body.as_bytes());
        for operator in body.get_operators_reader()?.into_iter_with_offsets() {
            let (operator, at) = operator?;
            size.add(module, operator);
            size.check(bytes.get(at - start).copied().unwrap_or_default());
        }
        Ok(size)
    }

    fn add(&mut self, module: &Module, operator: Operator<'_>) {
        self.instructions += 1;
        match operator {
            Operator::Block { blockty } | Operator::Loop { blockty } | Operator::If { blockty } => {
                self.block(module.block(blockty));
            }
            Operator::TryTable { try_table } => {
                self.block(module.block(try_table.ty));
                self.branches += try_table.catches.len() as u64;
            }
            Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                self.passed += module.function(function_index as usize).both();
            }
            Operator::CallIndirect { type_index, .. }
            | Operator::ReturnCallIndirect { type_index, .. }
            | Operator::CallRef { type_index }
            | Operator::ReturnCallRef { type_index } => {
                self.passed += module.r#type(type_index).both();
            }
            Operator::Br { .. }
            | Operator::BrIf { .. }
            | Operator::BrOnNull { .. }
            | Operator::BrOnNonNull { .. }
            | Operator::Return => self.branches += 1,
            Operator::BrTable { targets } => self.branches += u64::from(targets.len()) + 1,
            _ => {}
        }
    }

    /// Adds the checks within the instruction of this first byte (WebAssembly 3.0, 5.4).
    fn check(&mut self, opcode: u8) {
        let cost = match opcode {
            // Calls through tables and references, tables, trapping conversions, objects.
            0x11 | 0x13..=0x15 | 0x25 | 0x26 | 0xa8..=0xab | 0xae..=0xb1 | 0xfb => cost::LARGE,
            // Loads and stores; prefixes of those of many bytes, of vectors and of atomics.
            0x28..=0x3e | 0xfc..=0xfe => cost::ACCESS,
            // Traps, exceptions, calls, sizes of memories, division, references.
            0x00
            | 0x08
            | 0x0a
            | 0x10
            | 0x12
            | 0x1f
            | 0x3f
            | 0x40
            | 0x6d..=0x70
            | 0x7f..=0x82
            | 0xd0..=0xd6 => cost::SMALL,
            _ => return,
        };
        self.checks += 1;
        self.checks_cost += cost;
    }

    fn block(&mut self, arity: Arity) {
        self.blocks += 1;
        self.passed += arity.both();
        self.widest = self.widest.max(arity.parameters).max(arity.results);
    }

    /// An upper bound, in bytes, on what the compiler takes for it.
    fn cost(&self) -> u64 {
        let passed = self.passed.saturating_add(self.branches.saturating_mul(self.widest));
        [
            self.locals.saturating_mul(self.blocks).saturating_mul(cost::MERGED),
            self.locals.saturating_mul(self.branches).saturating_mul(cost::BRANCHED),
            self.locals.saturating_mul(self.checks).saturating_mul(cost::CARRIED),
            passed.saturating_mul(cost::PASSED),
            self.checks_cost,
            self.instructions * cost::PLAIN,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn refusal(text: &str) -> Option<String> {
        check(&wat::parse_str(text).unwrap()).err().map(|refusal| refusal.to_string())
    }

    /// The second function of a module; the first is imported.
    fn function(fields: &str, body: &str) -> Option<String> {
        refusal(&format!(
            r#"(component (core module
              (import "env" "log" (func)) (memory 1) (table 1 funcref) {fields} (func {body})))"#
        ))
    }

    #[test]
    fn locals_count_at_every_block() {
        let body = |locals: usize, loops: usize| {
            let loops = "(loop (br_if 0 (local.get 0)))".repeat(loops);
            format!("(local {}) {loops}", "i32 ".repeat(locals))
        };
        assert_eq!(function("", &body(400, 400)), None);
        assert_eq!(
            function("", &body(2000, 2000)).unwrap(),
            "its function 1 (2000 locals, 2000 blocks, 8001 instructions) could take the compiler \
             7402 MB of memory, more than 640 MB"
        );
        // What the validator refuses is counted without an overflow.
        let body = format!("(param {}) {}", "i64 ".repeat(60_000), "(block)".repeat(10));
        assert!(function("", &body).is_some());
    }

    #[test]
    fn what_is_passed_counts_at_every_call_branch_and_block() {
        let many = "i32 ".repeat(1000);
        let wide = format!("(type $wide (func (param {many}) (result {many})))");
        let own = "(func $wide (type $wide) unreachable)";
        for (fields, instruction, few) in [
            (format!("{wide} {own}"), "(call $wide)", 100),
            (wide.clone(), "(call_indirect (type $wide))", 100),
            (wide.clone(), "(block (type $wide))", 100),
        ] {
            let body = |count| format!("unreachable {}", instruction.repeat(count));
            assert_eq!(function(&fields, &body(few)), None, "{instruction}");
            assert!(function(&fields, &body(10 * few)).is_some(), "{instruction}");
        }
        let branch = |count| {
            let targets = "0 ".repeat(count);
            format!("(block (result {many}) unreachable (br_table {targets})) unreachable")
        };
        assert_eq!(function("", &branch(100)), None);
        assert!(function("", &branch(1000)).is_some());
    }

    #[test]
    fn instructions_count_by_what_is_checked_within() {
        for (instruction, most) in [
            ("(drop (i32.load (local.get 0)))", 58_000),
            ("(drop (v128.load (local.get 0)))", 58_000),
            ("(memory.fill (local.get 0) (local.get 0) (local.get 0))", 58_000),
            ("(call_indirect (local.get 0))", 15_500),
            ("(drop (table.get (local.get 0)))", 15_500),
            ("(drop (i32.trunc_f64_u (f64.const 0)))", 15_500),
            ("(drop (i32.div_u (local.get 0) (local.get 0)))", 126_000),
            ("(drop (memory.grow (local.get 0)))", 131_000),
            ("(call 0)", 150_000),
            ("(nop)", 2_500_000),
        ] {
            let body = |count| format!("(local i32) {}", instruction.repeat(count));
            assert_eq!(function("", &body(most)), None, "{instruction}");
            assert!(function("", &body(most + most / 10)).is_some(), "{instruction}");
        }
    }

    #[test]
    fn functions_are_bounded_together() {
        let functions = |count: usize| {
            let body = "(call_indirect (i32.const 0))".repeat(2000);
            let functions = format!("(func {body})").repeat(count);
            refusal(&format!("(component (core module (table 1 funcref) {functions}))"))
        };
        assert_eq!(functions(240), None);
        assert!(functions(260).unwrap().starts_with("its 260 functions could take"));
    }

    #[test]
    fn functions_and_instances_are_counted() {
        let functions = |each: usize| {
            let functions = "(func)".repeat(each);
            format!("(component (core module {functions}) (component (core module {functions})))")
        };
        assert_eq!(refusal(&functions(25_000)), None);
        let said = "it has 50002 functions, more than 50000";
        assert_eq!(refusal(&functions(25_001)).unwrap(), said);
        let mut bomb = "(component (component $c0)".to_owned();
        for depth in 1..9 {
            let inner = "(instance (instantiate $inner))".repeat(10);
            let below = depth - 1;
            write!(
                bomb,
                "(component $c{depth} (alias outer 1 $c{below} (component $inner)) {inner})"
            )
            .unwrap();
        }
        bomb.push(')');
        let said = "it nests up to 214358881 instances, more than 100000";
        assert_eq!(refusal(&bomb).unwrap(), said);
    }

    #[test]
    fn bundled_plugins_pass() {
        for bytes in [
            &include_bytes!("../../../../plugins/bundled/path-sticky.wasm")[..],
            include_bytes!("../../../../plugins/bundled/pid-reap.wasm"),
            include_bytes!("../../../../plugins/bundled/ttl.wasm"),
        ] {
            assert!(check(bytes).is_ok());
        }
        assert!(matches!(check(b"no wasm"), Err(Refusal::Damaged(_))));
    }
}

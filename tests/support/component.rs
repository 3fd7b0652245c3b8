//! Policies written by hand, in the text format of WebAssembly. A [`Plugin`] is a good one until a
//! test replaces one of its functions; its functions follow the canonical ABI of the component
//! model (component-model/design/mvp/CanonicalABI.md).

#![allow(dead_code, reason = "each test module uses a part of it")]

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

/// The types of the contract, as `wit/policy.wit` has them.
const DESCRIPTION: &str = r#"
    (type $description (record (field "name" string) (field "version" string)
      (field "summary" string) (field "options-schema" string)))"#;
const KEY_DERIVATION: &str = r#"
    (type $scope (enum "directory" "project" "service"))
    (type $text (option string))
    (type $repository (option (list u8)))
    (type $checkout (record (field "root" (list u8)) (field "repository" $repository)
      (field "name" $text) (field "branch" $text) (field "linked" bool)))
    (type $checkout-option (option $checkout))
    (type $request (record (field "scope" $scope) (field "service" string)
      (field "directory" (list u8)) (field "checkout" $checkout-option) (field "project" $text)))"#;
const PORT_SELECTION: &str = r#"
    (type $port-range (record (field "first" u16) (field "last" u16)))
    (type $text (option string))
    (type $ports (list u16))
    (type $request (record (field "key" string) (field "service" string) (field "project" $text)
      (field "branch" $text) (field "allowed" $port-range) (field "preferred" $ports)
      (field "reserved" $ports) (field "latest" (option u16)) (field "offsets" $ports)))"#;
const CLEANUP: &str = r#"
    (type $scope (enum "directory" "project" "service"))
    (type $lease (enum "persistent" "ephemeral"))
    (type $presence (enum "present" "gone" "unknown"))
    (type $liveness (enum "unowned" "alive" "dead" "unknown"))
    (type $listening (enum "none" "mine" "foreign" "unknown"))
    (type $text (option string))
    (type $reservation (record (field "port" u16) (field "key" string) (field "scope" $scope)
      (field "service" string) (field "directory" (list u8))
      (field "directory-presence" $presence) (field "project" $text) (field "task" $text)
      (field "agent" $text) (field "lease" $lease) (field "owner" $liveness)
      (field "listening" $listening) (field "created-at" s64) (field "last-used-at" s64)
      (field "expires-at" (option s64))))
    (type $verdict (variant (case "pass") (case "keep") (case "release" string)))"#;

/// One function of the contract, and what the component needs to export it.
struct Function {
    interface: &'static str,
    name: &'static str,
    types: &'static str,
    /// Its type in the component.
    signature: &'static str,
    /// Its parameters and its result in the core module.
    core: &'static str,
}

const DESCRIBE: Function = Function {
    interface: "info",
    name: "describe",
    types: DESCRIPTION,
    signature: "(result $description)",
    core: "(result i32)",
};
const DERIVE: Function = Function {
    interface: "key-derivation",
    name: "derive",
    types: KEY_DERIVATION,
    signature: r#"(param "request" $request) (param "options" string)
      (result (result string (error string)))"#,
    core: "(param $request i32) (result i32)",
};
const SELECT: Function = Function {
    interface: "port-selection",
    name: "select",
    types: PORT_SELECTION,
    signature: r#"(param "request" $request) (param "options" string)
      (result (result (list $port-range) (error string)))"#,
    core: "(param $request i32) (result i32)",
};
const REVIEW: Function = Function {
    interface: "cleanup",
    name: "review",
    types: CLEANUP,
    signature: r#"(param "now" s64) (param "reservations" (list $reservation))
      (param "options" string) (result (result (list $verdict) (error string)))"#,
    core: "(param $now i64) (param $reservations i32) (param $count i32)
      (param $options i32) (param $options-length i32) (result i32)",
};

/// What every plugin can call: memory, and the two ways to answer a `result`.
///
/// Memory is: the answer at 0, texts from 1024 on, then what `realloc` gives out and never takes
/// back.
const PRELUDE: &str = r"
    (func $allocate (param $size i32) (result i32) (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
      (global.set $top (i32.add (local.get $at) (local.get $size)))
      (block $enough (loop $more
        (br_if $enough
          (i32.le_u (global.get $top) (i32.mul (memory.size) (i32.const 65536))))
        (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
        (br $more)))
      (local.get $at))
    (func $answer (param $case i32) (param $at i32) (param $length i32) (result i32)
      (i32.store (i32.const 0) (local.get $case))
      (i32.store (i32.const 4) (local.get $at))
      (i32.store (i32.const 8) (local.get $length))
      (i32.const 0))
    (func $ok (param $at i32) (param $length i32) (result i32)
      (call $answer (i32.const 0) (local.get $at) (local.get $length)))
    (func $err (param $at i32) (param $length i32) (result i32)
      (call $answer (i32.const 1) (local.get $at) (local.get $length)))";

const TEXTS: usize = 1024;

/// The SHA-256 of a file in hexadecimal, from the system's own tool.
pub(crate) fn sha256(file: &Path) -> String {
    let tools: [&[&str]; 2] = [&["sha256sum"], &["shasum", "-a", "256"]];
    let output = tools.iter().find_map(|tool| {
        let output = Command::new(tool[0]).args(&tool[1..]).arg(file).output().ok()?;
        output.status.success().then_some(output.stdout)
    });
    let output = String::from_utf8(output.unwrap()).unwrap();
    output.split_whitespace().next().unwrap().to_owned()
}

/// A policy plugin under construction.
#[derive(Clone)]
pub(crate) struct Plugin {
    name: String,
    schema: String,
    version: String,
    info: bool,
    describe: Option<String>,
    functions: Vec<(&'static str, String)>,
    signatures: Vec<(&'static str, &'static str)>,
    realloc: String,
    minimum_pages: usize,
    module: String,
    imports: String,
    texts: Vec<u8>,
}

impl Plugin {
    /// A plugin that says what it is, and decides nothing.
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            schema: String::new(),
            version: "0.1.0".to_owned(),
            info: true,
            describe: None,
            functions: Vec::new(),
            signatures: Vec::new(),
            realloc: "(call $allocate (local.get $new))".to_owned(),
            minimum_pages: 0,
            module: String::new(),
            imports: String::new(),
            texts: Vec::new(),
        }
    }

    /// The schema of its options.
    pub(crate) fn schema(mut self, schema: &str) -> Self {
        schema.clone_into(&mut self.schema);
        self
    }

    /// The version of the contract that its policies are exported under.
    pub(crate) fn contract(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// It does not say what it is.
    pub(crate) fn without_info(mut self) -> Self {
        self.info = false;
        self
    }

    /// The body of its function `name`: `describe`, `derive`, `select` or `review`.
    pub(crate) fn function(mut self, name: &'static str, body: &str) -> Self {
        if name == "describe" {
            self.describe = Some(body.to_owned());
        } else {
            self.functions.retain(|(function, _)| *function != name);
            self.functions.push((name, body.to_owned()));
        }
        self
    }

    /// Of its policies, it has this function alone.
    pub(crate) fn only(mut self, name: &str) -> Self {
        self.functions.retain(|(function, _)| *function == name);
        self
    }

    /// Another type for its function `name` than the contract has, with the same core type.
    pub(crate) fn signature(mut self, name: &'static str, signature: &'static str) -> Self {
        self.signatures.push((name, signature));
        self
    }

    /// What its `realloc` does: `$old`, `$old-size`, `$align` and `$new` are its parameters.
    pub(crate) fn realloc(mut self, body: &str) -> Self {
        body.clone_into(&mut self.realloc);
        self
    }

    /// The least pages of 64 KiB that it asks memory for.
    pub(crate) fn pages(mut self, pages: usize) -> Self {
        self.minimum_pages = pages;
        self
    }

    /// More fields of its core module.
    pub(crate) fn module(mut self, fields: &str) -> Self {
        self.module.push_str(fields);
        self
    }

    /// Fields before everything else in the component.
    pub(crate) fn import(mut self, fields: &str) -> Self {
        self.imports.push_str(fields);
        self
    }

    /// Puts bytes in its memory, aligned to 8; the constants of their address and length.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> String {
        self.texts.resize(self.texts.len().next_multiple_of(8), 0);
        let at = TEXTS + self.texts.len();
        self.texts.extend_from_slice(bytes);
        format!("(i32.const {at}) (i32.const {})", bytes.len())
    }

    /// Every key is this one.
    pub(crate) fn key(mut self, key: &str) -> Self {
        let text = self.put(key.as_bytes());
        self.function("derive", &format!("(call $ok {text})"))
    }

    /// The ports to try are always these.
    pub(crate) fn ranges(mut self, ranges: &[(u16, u16)]) -> Self {
        let bytes: Vec<u8> = ranges
            .iter()
            .flat_map(|(first, last)| [first.to_le_bytes(), last.to_le_bytes()])
            .flatten()
            .collect();
        let text = self.put(&bytes);
        let text = text.rsplit_once(" (").unwrap().0;
        self.function("select", &format!("(call $ok {text} (i32.const {}))", ranges.len()))
    }

    /// Every reservation may be released, for this reason.
    pub(crate) fn release_all(mut self, reason: &str) -> Self {
        let reason = self.put(reason.as_bytes());
        let (at, length) = reason.split_once(") (").unwrap();
        self.function(
            "review",
            &format!(
                "(local $verdicts i32) (local $verdict i32) (local $left i32)
                (local.set $verdicts
                  (call $allocate (i32.mul (local.get $count) (i32.const 12))))
                (local.set $verdict (local.get $verdicts))
                (local.set $left (local.get $count))
                (block $done (loop $next
                  (br_if $done (i32.eqz (local.get $left)))
                  (i32.store (local.get $verdict) (i32.const 2))
                  (i32.store offset=4 (local.get $verdict) {at}))
                  (i32.store offset=8 (local.get $verdict) ({length})
                  (local.set $verdict (i32.add (local.get $verdict) (i32.const 12)))
                  (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                  (br $next)))
                (call $ok (local.get $verdicts) (local.get $count))"
            ),
        )
    }

    /// The component in the binary format.
    pub(crate) fn build(mut self) -> Vec<u8> {
        if self.describe.is_none() {
            let said = [self.name.clone(), "1.0.0".into(), "A test".into(), self.schema.clone()];
            let said = said.map(|text| self.put(text.as_bytes()));
            let mut body = String::new();
            for (index, text) in said.iter().enumerate() {
                let (at, length) = text.split_once(") (").unwrap();
                let offset = 8 * index;
                write!(body, "(i32.store (i32.const {offset}) {at}))").unwrap();
                write!(body, "(i32.store (i32.const {}) ({length})", offset + 4).unwrap();
            }
            self.describe = Some(body + "(i32.const 0)");
        }
        let describe = self.describe.clone().unwrap();
        let mut module = format!(
            r#"{PRELUDE} {}
            (func $realloc (export "realloc") (param $old i32) (param $old-size i32)
              (param $align i32) (param $new i32) (result i32) {})"#,
            self.module, self.realloc
        );
        let mut lifted = String::new();
        let info = self.info.then_some((&DESCRIBE, &describe));
        let policies = self.functions.iter().map(|(name, body)| {
            let function = [&DERIVE, &SELECT, &REVIEW].into_iter().find(|it| it.name == *name);
            (function.unwrap(), body)
        });
        for (function, body) in info.into_iter().chain(policies) {
            self.lift(function, body, &mut module, &mut lifted);
        }
        let top = TEXTS + self.texts.len();
        let pages = (top.div_ceil(65536) + 1).max(self.minimum_pages);
        let texts = self.texts.iter().fold(String::new(), |mut text, byte| {
            write!(text, "\\{byte:02x}").unwrap();
            text
        });
        let text = format!(
            r#"(component {}
              (core module $module
                (memory (export "memory") {pages})
                (data (i32.const {TEXTS}) "{texts}")
                (global $top (mut i32) (i32.const {top}))
                {module})
              (core instance $core (instantiate $module))
              {lifted})"#,
            self.imports
        );
        wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    fn lift(&self, function: &Function, body: &str, module: &mut String, lifted: &mut String) {
        let Function { interface, name, types, signature, core } = function;
        let signature =
            self.signatures.iter().find(|(it, _)| it == name).map_or(*signature, |(_, it)| it);
        write!(module, "(func ${name} (export \"{name}\") {core} {body})").unwrap();
        let version = if *interface == "info" { "0.1.0" } else { &self.version };
        let types_exported = types.split("(type $").skip(1).map(|defined| {
            let name = defined.split_once(' ').unwrap().0;
            format!("(export \"{name}\" (type ${name}))")
        });
        let types_exported: String = types_exported.collect();
        // Names in the text are of the whole component: each interface gets its own.
        let own = |text: &str| text.replace('$', &format!("${interface}."));
        let (types, signature, types_exported) = (own(types), own(signature), own(&types_exported));
        write!(
            lifted,
            r#"{types}
            (func ${name} {signature} (canon lift (core func $core "{name}")
              (memory (core memory $core "memory")) (realloc (core func $core "realloc"))))
            (instance ${interface} {types_exported} (export "{name}" (func ${name})))
            (export "hythe:policy/{interface}@{version}" (instance ${interface}))"#
        )
        .unwrap();
    }
}

//! What a WebAssembly binary shows of itself without being compiled or run.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};
use wasmparser::{
    BinaryReaderError, Encoding, KnownCustom, Parser, Payload, ProducersSectionReader,
};

use super::hex;

/// The outside of a component or core module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Survey {
    /// How many bytes it has.
    pub size: usize,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
    /// Whether it is a component; a core module otherwise.
    pub is_component: bool,
    /// What it imports, by name; of a core module as `MODULE::NAME`.
    pub imports: Vec<String>,
    /// What it exports, by name.
    pub exports: Vec<String>,
    /// What it says it was made from and by, as in `language Rust`, `processed-by wit-component
    /// 0.258.3` (tool-conventions/ProducersSection.md); of the modules inside a component as well.
    /// The first 64, each cut at 255 bytes: anybody can write anything there.
    pub producers: Vec<String>,
    /// Whether it is a core module that says its types as a component, as `wit-bindgen` writes them.
    pub says_types: bool,
}

/// How many producers are kept.
const MAX_PRODUCERS: usize = 64;

/// How much is kept of one, in bytes.
const MAX_PRODUCER: usize = 255;

impl Survey {
    /// Looks at `bytes`. Fails where they break off or are no WebAssembly: why, in words.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        if !bytes.starts_with(b"\0asm") {
            return Err("it does not begin like WebAssembly".to_owned());
        }
        Self::of(bytes).map_err(|error| error.to_string())
    }

    fn of(bytes: &[u8]) -> Result<Self, BinaryReaderError> {
        let sha256 = hex(&Sha256::digest(bytes));
        let mut survey = Self { size: bytes.len(), sha256, ..Self::default() };
        let (mut depth, mut known) = (0_usize, BTreeSet::new());
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload?;
            match payload {
                Payload::Version { encoding, .. } => {
                    survey.is_component |= depth == 0 && encoding == Encoding::Component;
                    depth += 1;
                }
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::CustomSection(section) => {
                    survey.says_types |= section.name().starts_with("component-type");
                    if let KnownCustom::Producers(producers) = section.as_known() {
                        survey.add_producers(producers, &mut known)?;
                    }
                }
                outer if depth == 1 => survey.add(outer)?,
                _ => {}
            }
        }
        Ok(survey)
    }

    fn add(&mut self, payload: Payload<'_>) -> Result<(), BinaryReaderError> {
        match payload {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import?;
                    self.imports.push(format!("{}::{}", import.module, import.name));
                }
            }
            Payload::ComponentImportSection(imports) => {
                for import in imports {
                    self.imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    self.exports.push(export?.name.to_owned());
                }
            }
            Payload::ComponentExportSection(exports) => {
                for export in exports {
                    self.exports.push(export?.name.name.to_owned());
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Adds those that are not in `known` yet.
    fn add_producers(
        &mut self,
        producers: ProducersSectionReader<'_>,
        known: &mut BTreeSet<String>,
    ) -> Result<(), BinaryReaderError> {
        for field in producers {
            let field = field?;
            for value in field.values {
                if self.producers.len() == MAX_PRODUCERS {
                    return Ok(());
                }
                let value = value?;
                // Each part is cut first: a name can be as long as the file, and be used again and
                // again.
                let line = [field.name, value.name, value.version].map(cut).join(" ");
                let line = cut(line.trim_end()).to_owned();
                if known.insert(line.clone()) {
                    self.producers.push(line);
                }
            }
        }
        Ok(())
    }
}

/// As much of `text` as is kept.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_PRODUCER)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_outside_is_looked_at() {
        let text = r#"(component
            (import "wasi:clocks/wall-clock@0.2.0" (instance))
            (core module (import "env" "log" (func)) (func (export "inner")))
            (component (instance $own) (export "hidden" (instance $own)))
            (instance $empty)
            (export "outer" (instance $empty)))"#;
        let survey = Survey::read(&wat::parse_str(text).unwrap()).unwrap();
        assert!(survey.is_component && !survey.says_types);
        assert_eq!(survey.imports, ["wasi:clocks/wall-clock@0.2.0"]);
        assert_eq!(survey.exports, ["outer"]);
    }

    #[test]
    fn a_core_module_is_told_from_a_component() {
        let text = r#"(module (import "env" "log" (func)) (func (export "run")))"#;
        let survey = Survey::read(&wat::parse_str(text).unwrap()).unwrap();
        assert!(!survey.is_component);
        assert_eq!((survey.imports, survey.exports), (vec!["env::log".into()], vec!["run".into()]));
        assert!(Survey::read(b"no wasm").is_err());
    }

    #[test]
    fn producers_are_kept_once_and_within_bounds() {
        let survey = |producers: &[&str]| {
            let mut section = vec![1];
            section.extend(b"\x08language");
            section.extend(leb(producers.len()));
            for producer in producers {
                section.extend(leb(producer.len()));
                section.extend_from_slice(producer.as_bytes());
                section.extend(leb(0));
            }
            let mut module = b"\0asm\x01\0\0\0\0".to_vec();
            module.extend(leb(section.len() + 10));
            module.extend(b"\x09producers");
            module.extend(section);
            Survey::read(&module).unwrap().producers
        };
        let long = "\u{e9}".repeat(200);
        let kept = format!("language {}", "\u{e9}".repeat(123));
        assert_eq!(survey(&["C", "C", &long]), ["language C".to_owned(), kept]);
        let many: Vec<_> = (0..10_000).map(|index| index.to_string()).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let kept = survey(&many);
        assert_eq!((kept.len(), kept.last().unwrap().as_str()), (64, "language 63"));
    }

    /// A number as WebAssembly writes it, in three bytes.
    fn leb(number: usize) -> [u8; 3] {
        let seven = |shift: usize| u8::try_from((number >> shift) & 127).unwrap();
        [seven(0) | 128, seven(7) | 128, seven(14)]
    }
}

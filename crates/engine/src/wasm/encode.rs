//! From a core module to a component: what a compiler for a plain wasm target leaves to do.

use std::collections::BTreeSet;
use std::fmt::{Display, Write as _};

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::survey::Survey;
use super::v0::CONTRACT;

/// Why a core module cannot be made a component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// It is a component already.
    #[error("it is a component already")]
    Component,
    /// It is no WebAssembly, or damaged.
    #[error("it is not a valid WebAssembly module: {0}")]
    Invalid(String),
    /// It exports no function of the contract.
    #[error(
        "it exports no function of the contract, such as \
         `hythe:policy/port-selection@0.1.0#select`"
    )]
    NoPolicy,
    /// It imports something. A policy gets everything as an argument.
    #[error("it imports `{0}`, but a policy may import nothing")]
    Import(String),
    /// It does not fit the contract.
    #[error("it does not fit the contract: {0}")]
    Mismatch(String),
}

/// The component of the core module `module`.
///
/// A module that says its types itself, as those of `wit-bindgen` do, is taken at its word. Of any
/// other the interfaces are told by the names of the functions that it exports, as in
/// `hythe:policy/port-selection@0.1.0#select` (component-model/design/mvp/BuildTargets.md).
pub fn encode(module: &[u8]) -> Result<Vec<u8>, EncodeError> {
    let survey = Survey::read(module).map_err(EncodeError::Invalid)?;
    if survey.is_component {
        return Err(EncodeError::Component);
    }
    if let Some(import) = survey.imports.first() {
        return Err(EncodeError::Import(import.clone()));
    }
    let mut module = module.to_vec();
    if !survey.says_types {
        let functions = survey.exports.iter().filter_map(|export| export.split_once('#'));
        let interfaces: BTreeSet<_> = functions
            .map(|(interface, _)| interface)
            .filter(|interface| !interface.starts_with("cabi_post_"))
            .collect();
        if interfaces.is_empty() {
            return Err(EncodeError::NoPolicy);
        }
        embed(&mut module, &interfaces)?;
    }
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true).module(&module).map_err(mismatch)?.encode().map_err(mismatch)
}

/// Writes into `module` what the contract says of `interfaces`.
fn embed(module: &mut Vec<u8>, interfaces: &BTreeSet<&str>) -> Result<(), EncodeError> {
    let mut world = "package hythe:plugin; world plugin {".to_owned();
    for interface in interfaces {
        // Writing to a string cannot fail.
        let _ = write!(world, " export {interface};");
    }
    world.push('}');
    let mut resolve = Resolve::default();
    resolve.push_str("policy.wit", CONTRACT).map_err(mismatch)?;
    let package = resolve.push_str("plugin.wit", &world).map_err(mismatch)?;
    let world = resolve.select_world(&[package], Some("plugin")).map_err(mismatch)?;
    embed_component_metadata(module, &resolve, world, StringEncoding::UTF8).map_err(mismatch)
}

fn mismatch(error: impl Display) -> EncodeError {
    EncodeError::Mismatch(format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_component_is_refused_for_its_own_reason() {
        let module = |text: &str| encode(&wat::parse_str(text).unwrap()).unwrap_err();
        assert_eq!(module("(component)"), EncodeError::Component);
        assert_eq!(module("(module (func (export \"run\")))"), EncodeError::NoPolicy);
        let import = r#"(module (import "env" "clock" (func)))"#;
        assert_eq!(module(import), EncodeError::Import("env::clock".to_owned()));
        for export in ["hythe:policy/info@0.1.0#describe", "hythe:policy/wish@0.1.0#grant"] {
            let text =
                format!("(module (memory (export \"memory\") 1) (func (export {export:?})))");
            assert!(matches!(module(&text), EncodeError::Mismatch(_)), "{export}");
        }
        assert!(matches!(encode(b"none"), Err(EncodeError::Invalid(_))));
    }
}

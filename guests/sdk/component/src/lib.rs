//! Turns the core module that cargo makes of a rule into a component, which is what Weir runs.

mod lines;
mod random_keys;

pub use random_keys::users_of_random_keys;

use std::fmt;

use wasmparser::{Parser, Payload};
use weir_lines::Budget;
use wit_component::ComponentEncoder;

/// Wraps a core module that was built with `weir-guest` for `wasm32-unknown-unknown` into a component.
///
/// The same bytes in give the same bytes out. Of the debug information of the core module nothing is left but the lines of
/// the rule's own source, in a table that a host can read ([`weir_lines`]).
///
/// # Errors
///
/// The bytes are no core module, the module was not built with `weir-guest` or has neither a `#[stage]` nor an
/// `#[aggregate]`, or it imports what the contract does not have.
pub fn component_from_core(core: &[u8]) -> Result<Component, Error> {
    if !has_contract(core)? {
        return Err(Error(
            "the module does not carry the contract: it was not built with weir-guest, or its crate has neither a \
             `#[stage]` nor an `#[aggregate]`"
                .into(),
        ));
    }
    let reduced = lines::reduce(core, Budget::default()).map_err(Error::not_wasm)?;
    let bytes = ComponentEncoder::default()
        .validate(true)
        .module(&reduced.module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| Error(format!("{error:#}")))?;
    Ok(Component {
        bytes,
        missing_lines: reduced.missing,
    })
}

/// Reduces the debug information of a component that another tool made to the lines of its author's own source, in each of
/// its core modules.
///
/// What of a component's source is another's is told by the names of files, as `weir build` gives them to the compiler.
///
/// # Errors
///
/// The bytes are no component.
pub fn with_lines(component: &[u8]) -> Result<Component, Error> {
    if !is_component(component) {
        return Err(Error("this is no component".into()));
    }
    let (bytes, missing_lines) = lines::reduce_component(component)
        .map_err(|error| Error(format!("this is no component that can be read: {error}")))?;
    Ok(Component { bytes, missing_lines })
}

/// Whether the bytes say of themselves that they are a component.
pub fn is_component(bytes: &[u8]) -> bool {
    Parser::is_component(bytes)
}

/// Whether the module carries the types of the contract, which `weir-guest` puts into a custom section.
fn has_contract(core: &[u8]) -> Result<bool, Error> {
    for payload in Parser::new(0).parse_all(core) {
        match payload.map_err(Error::not_wasm)? {
            Payload::Version {
                encoding: wasmparser::Encoding::Component,
                ..
            } => {
                return Err(Error(
                    "this is a component already, where a core module is expected".into(),
                ));
            }
            Payload::CustomSection(section) if section.name().starts_with("component-type") => return Ok(true),
            _ => {}
        }
    }
    Ok(false)
}

/// A component, as a host takes it.
#[derive(Debug)]
pub struct Component {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What to tell its author of lines that failures of it will not name, though the core module had them.
    pub missing_lines: Option<String>,
}

/// Why a module cannot become a component.
#[derive(Debug)]
pub struct Error(String);

impl Error {
    #[expect(
        clippy::needless_pass_by_value,
        reason = "it is made of an error that nobody else has"
    )]
    fn not_wasm(error: wasmparser::Error) -> Self {
        Self(format!("not a WebAssembly module: {error}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use wit_component::{StringEncoding, dummy_module, embed_component_metadata};
    use wit_parser::{LiftLowerAbi, ManglingAndAbi, Resolve, WorldId};

    use super::*;

    #[track_caller]
    fn check_refused(core: &[u8], expected: &str) {
        let error = component_from_core(core).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }

    const WORLDS: [&str; 4] = [
        "stage-component",
        "aggregate-component",
        "keyed-component",
        "decoder-component",
    ];

    /// `core` with a world of the contract in it, as `weir-guest` puts it there.
    fn with_contract(world: &str, core: impl Fn(&Resolve, WorldId) -> Vec<u8>) -> Vec<u8> {
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_dir("../../../wit/0.2").unwrap();
        let world = resolve.select_world(&[package], Some(world)).unwrap();
        let mut core = core(&resolve, world);
        embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).unwrap();
        core
    }

    #[test]
    fn a_module_of_the_contract_becomes_a_component_and_always_the_same() {
        for world in WORLDS {
            let core = with_contract(world, |resolve, world| {
                dummy_module(resolve, world, ManglingAndAbi::Legacy(LiftLowerAbi::Sync))
            });
            let component = component_from_core(&core).unwrap().bytes;
            assert_eq!(&component[..8], b"\0asm\x0d\0\x01\0", "the header of a component");
            assert_eq!(component, component_from_core(&core).unwrap().bytes);
        }
    }

    #[test]
    fn a_module_that_lacks_the_exports_is_refused() {
        for world in WORLDS {
            let core = with_contract(world, |_, _| wat::parse_str("(module)").unwrap());
            check_refused(
                &core,
                "failed to decode world from module: module was not valid: failed to find export",
            );
        }
    }

    #[test]
    fn a_module_that_imports_more_than_the_contract_has_is_refused() {
        let core = with_contract(WORLDS[0], |_, _| {
            wat::parse_str(r#"(module (import "wasi_snapshot_preview1" "fd_write" (func)))"#).unwrap()
        });
        check_refused(
            &core,
            "failed to decode world from module: module was not valid: failed to resolve import",
        );
    }

    #[test]
    fn a_module_without_the_contract_is_refused() {
        let core = wat::parse_str(r#"(module (func (export "f")))"#).unwrap();
        check_refused(
            &core,
            "the module does not carry the contract: it was not built with weir-guest",
        );
    }

    #[test]
    fn what_is_no_core_module_is_refused() {
        check_refused(b"", "not a WebAssembly module: ");
        check_refused(b"#!/bin/sh", "not a WebAssembly module: ");
        check_refused(&wat::parse_str("(component)").unwrap(), "this is a component already");
        let error = with_lines(&wat::parse_str("(module)").unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "this is no component");
    }
}

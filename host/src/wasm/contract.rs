//! Which components are guests: by what they export, and what they import.

use crate::error::{Error, Result};
use wasmtime::{Engine, component::Component};

/// The contract that this host speaks.
const PACKAGE: &str = "weir:stage";
const VERSION: &str = "0.1.0";
pub(super) const STAGE: Kind = Kind {
    what: "a stage",
    export: "weir:stage/stage@0.1.0",
};
pub(super) const AGGREGATE: Kind = Kind {
    what: "an aggregate",
    export: "weir:stage/aggregate@0.1.0",
};
const IMPORTS: [&str; 2] = ["weir:stage/log@0.1.0", "weir:stage/time-zone@0.1.0"];

/// What a component can be, by what it exports.
pub(super) struct Kind {
    what: &'static str,
    pub(super) export: &'static str,
}

/// Whether the component exports what this kind does, in this version, and imports nothing else.
pub(super) fn check_contract(component: &Component, engine: &Engine, kind: &Kind) -> Result<()> {
    let component_type = component.component_type();
    let exports: Vec<String> = component_type
        .exports(engine)
        .map(|(name, _)| name.to_owned())
        .collect();
    let is = |kind: &Kind| exports.iter().any(|name| name == kind.export);
    if !is(kind) {
        if let Some(other) = [STAGE, AGGREGATE].iter().find(|other| is(other)) {
            return Err(Error::definition(format!(
                "it is {} (it exports {}), and here belongs {}, which exports {}",
                other.what, other.export, kind.what, kind.export
            )));
        }
        let of_contract = exports
            .iter()
            .find_map(|name| name.strip_prefix(PACKAGE)?.split_once('@'));
        return Err(Error::definition(match of_contract {
            Some((_, version)) => {
                format!(
                    "it is built for {PACKAGE}@{version}; this host speaks {PACKAGE}@{VERSION}: build it with the SDK of this host"
                )
            }
            None => format!(
                "it does not export {}; rules are built with the crate weir-guest",
                kind.export
            ),
        }));
    }
    for (name, _) in component_type.imports(engine) {
        if !IMPORTS.contains(&name) {
            return Err(Error::definition(format!(
                "it imports {name}, which the host does not offer; a rule may import {} and nothing else",
                IMPORTS.join(" and ")
            )));
        }
    }
    Ok(())
}

//! Which components are guests: by what they export, and what they import.

use crate::error::{Error, Result};
use wasmtime::{Engine, component::Component};

/// The contract that this host speaks.
const PACKAGE: &str = "weir:stage";

/// A version of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V0_1,
    V0_2,
}

impl Version {
    /// All that this host speaks, the newest first.
    const ALL: [Self; 2] = [Self::V0_2, Self::V0_1];

    fn number(self) -> &'static str {
        match self {
            Self::V0_1 => "0.1.0",
            Self::V0_2 => "0.2.0",
        }
    }

    /// The interfaces that its guests may import.
    fn imports(self) -> &'static [&'static str] {
        match self {
            Self::V0_1 => &["log", "time-zone"],
            // The one of types has no functions.
            Self::V0_2 => &["log", "time-zone", "attachment", "types"],
        }
    }

    fn name(self, interface: &str) -> String {
        format!("{PACKAGE}/{interface}@{}", self.number())
    }

    /// All that this host speaks, for messages.
    fn spoken() -> String {
        let [newest, oldest] = Self::ALL.map(Self::number);
        format!("{PACKAGE}@{newest} and {PACKAGE}@{oldest}")
    }
}

/// What a component can be, by what it exports.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kind {
    what: &'static str,
    interface: &'static str,
    /// The first version in which it is there.
    since: Version,
}

pub(super) const STAGE: Kind = Kind {
    what: "a stage",
    interface: "stage",
    since: Version::V0_1,
};
pub(super) const AGGREGATE: Kind = Kind {
    what: "an aggregate",
    interface: "aggregate",
    since: Version::V0_1,
};

pub(super) const KEYED: Kind = Kind {
    what: "a keyed function",
    interface: "keyed",
    since: Version::V0_2,
};

/// No step runs one yet.
const DECODER: Kind = Kind {
    what: "a decoder",
    interface: "decoder",
    since: Version::V0_2,
};

const KINDS: [&Kind; 4] = [&STAGE, &AGGREGATE, &KEYED, &DECODER];

impl Kind {
    /// The versions of the contract that have it.
    fn versions(&self) -> impl Iterator<Item = Version> {
        let first = match self.since {
            Version::V0_1 => Version::ALL.len(),
            Version::V0_2 => 1,
        };
        Version::ALL.into_iter().take(first)
    }

    /// The version of the contract in which a component is of this kind, by the names of what it exports.
    fn version(&self, exports: &[String]) -> Option<Version> {
        let mut versions = self.versions();
        versions.find(|version| exports.contains(&version.name(self.interface)))
    }

    /// What it exports, in the newest version of the contract.
    fn export(&self) -> String {
        self.export_in(Version::V0_2)
    }

    /// What it exports in a version of the contract.
    pub(super) fn export_in(&self, version: Version) -> String {
        version.name(self.interface)
    }

    /// Whether a component is of this kind.
    pub(super) fn is_of(&self, component: &Component, engine: &Engine) -> bool {
        self.version(&exports(component, engine)).is_some()
    }
}

fn exports(component: &Component, engine: &Engine) -> Vec<String> {
    let component_type = component.component_type();
    let exports = component_type.exports(engine);
    exports.map(|(name, _)| name.to_owned()).collect()
}

/// The version of the contract in which the component exports what this kind does. It imports nothing else than that version has.
///
/// # Errors
/// What of the component does not fit.
pub(super) fn check_contract(component: &Component, engine: &Engine, kind: &Kind) -> Result<Version> {
    let exports = exports(component, engine);
    let Some(version) = kind.version(&exports) else {
        let other = KINDS
            .into_iter()
            .find_map(|other| Some((other, other.version(&exports)?)));
        if let Some((other, version)) = other {
            return Err(Error::definition(format!(
                "it is {} (it exports {}), and here belongs {}, which exports {}",
                other.what,
                version.name(other.interface),
                kind.what,
                kind.export()
            )));
        }
        let of_contract = exports
            .iter()
            .find_map(|name| name.strip_prefix(PACKAGE)?.split_once('@'));
        return Err(Error::definition(match of_contract {
            Some((_, version)) => {
                format!(
                    "it is built for {PACKAGE}@{version}; this host speaks {}: build it with the SDK of this host",
                    Version::spoken()
                )
            }
            None => format!(
                "it does not export {}; rules are built with the crate weir-guest",
                kind.export()
            ),
        }));
    };
    for (name, _) in component.component_type().imports(engine) {
        if !version.imports().iter().any(|import| version.name(import) == name) {
            let functions = version.imports().iter().filter(|import| **import != "types");
            let names: Vec<String> = functions.map(|import| version.name(import)).collect();
            let (last, before) = names
                .split_last()
                .map_or(("", &[][..]), |(last, before)| (last, before));
            return Err(Error::definition(format!(
                "it imports {name}, which the host does not offer; a rule may import {} and {last} and nothing else",
                before.join(", ")
            )));
        }
    }
    Ok(version)
}

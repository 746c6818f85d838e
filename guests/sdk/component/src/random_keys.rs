//! Who takes random keys from the standard library.
//!
//! A `HashMap` of the standard library iterates in an order that its keys decide. For `wasm32-unknown-unknown` the library makes
//! those of an address and counts on from map to map: a memory of what ran before, which a rule is not to have. It makes them
//! in one function, whose name stays in the module. Who calls it is told by the lines that the compiler leaves for debuggers;
//! where there are none, by the names of functions.

use crate::lines::Debug;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use wasmparser::{ExternalKind, KnownCustom, Name, Operator, Parser, Payload, TypeRef};

/// What the function is called, whatever else the compiler puts around that.
const RANDOM_KEYS: &str = "hashmap_random_keys";

/// Callers that are named at most.
const CALLERS_MAX: usize = 5;

/// Crates that make maps for others.
const LIBRARY: [&str; 5] = ["std", "core", "alloc", "hashbrown", "weir_guest"];

/// The functions of the rule, and the crates, that make a `HashMap` or a `HashSet` with random keys in a core module:
/// `longest (src/lib.rs:12)`, `crate words-0.3.1`. None where nothing does, or where the module has no names of functions.
pub fn users_of_random_keys(core: &[u8]) -> Vec<String> {
    find(core).unwrap_or_default()
}

fn find(core: &[u8]) -> Result<Vec<String>, wasmparser::Error> {
    let calls = Calls::of(core)?;
    let debug = Debug::of(core);
    let names = calls.names.iter();
    let random: Vec<u32> = names
        .filter(|(_, name)| name.contains(RANDOM_KEYS))
        .map(|(&index, _)| index)
        .collect();
    let mut users = BTreeSet::new();
    let mut seen: BTreeSet<u32> = random.iter().copied().collect();
    let mut reached = VecDeque::from(random);
    while let Some(function) = reached.pop_front() {
        for &(caller, at) in calls.callers.get(&function).into_iter().flatten() {
            if users.len() == CALLERS_MAX {
                break;
            }
            let name = calls.names.get(&caller).copied().unwrap_or_default();
            let at_the_end = || calls.exported.contains(&caller).then(|| format!("function {name}"));
            if let Some(user) = user(debug.as_ref(), at, name).or_else(at_the_end) {
                users.insert(user);
            } else if seen.insert(caller) {
                reached.push_back(caller);
            }
        }
    }
    Ok(users.into_iter().collect())
}

/// Who calls at this place, unless it is the library.
fn user(debug: Option<&Debug<'_>>, at: u64, function: &str) -> Option<String> {
    let frames = debug.map(|debug| debug.frames_at(at)).unwrap_or_default();
    if let Some(frame) = frames.iter().find(|frame| !frame.is_library()) {
        return Some(match frame.registry_crate() {
            Some(name) => format!("crate {name}"),
            None => frame.to_string(),
        });
    }
    if !frames.is_empty() {
        return None;
    }
    let name = addr2line::demangle(function, gimli::DW_LANG_Rust)?;
    let start = name.trim_start_matches(['<', '&', '(', '*']);
    let (package, _) = start.split_once("::")?;
    (!LIBRARY.contains(&package)).then(|| format!("function {name}"))
}

/// The functions of a module.
#[derive(Default)]
struct Calls<'a> {
    names: BTreeMap<u32, &'a str>,
    exported: BTreeSet<u32>,
    /// Who calls a function, and where in the module.
    callers: BTreeMap<u32, Vec<(u32, u64)>>,
}

impl<'a> Calls<'a> {
    fn of(core: &'a [u8]) -> Result<Self, wasmparser::Error> {
        let mut calls = Self::default();
        // Imports have the first numbers.
        let mut index = 0;
        for payload in Parser::new(0).parse_all(core) {
            match payload? {
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        index += u32::from(matches!(import?.ty, TypeRef::Func(_)));
                    }
                }
                Payload::ExportSection(exports) => {
                    for export in exports {
                        let export = export?;
                        if export.kind == ExternalKind::Func {
                            calls.exported.insert(export.index);
                        }
                    }
                }
                Payload::CodeSectionEntry(body) => {
                    for operator in body.get_operators_reader()?.into_iter_with_offsets() {
                        if let (Operator::Call { function_index }, at) = operator? {
                            calls
                                .callers
                                .entry(function_index)
                                .or_default()
                                .push((index, at as u64));
                        }
                    }
                    index += 1;
                }
                Payload::CustomSection(section) => {
                    if let KnownCustom::Name(names) = section.as_known() {
                        calls.take_names(names);
                    }
                }
                _ => {}
            }
        }
        Ok(calls)
    }

    /// Names that cannot be read are none.
    fn take_names(&mut self, sections: wasmparser::NameSectionReader<'a>) {
        for names in sections.into_iter().flatten() {
            if let Name::Function(functions) = names {
                let functions = functions.into_iter().flatten();
                self.names.extend(functions.map(|naming| (naming.index, naming.name)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::users_of_random_keys;

    /// A module whose functions are named as the compiler does, without lines.
    const MODULE: &str = r#"(module
        (func (import "m" "f"))
        (func $_ZN3std3sys6random19hashmap_random_keys17h0123456789abcdefE)
        (func $_ZN3std6thread5local8LocalKey8try_with17h0123456789abcdefE call 1)
        (func $_ZN5words7longest17h0123456789abcdefE call 2)
        (func $_ZN5words8shortest17h0123456789abcdefE)
        (func (export "run") call 3 call 4))"#;

    #[test]
    fn who_calls_through_the_library_is_named() {
        assert_eq!(
            users_of_random_keys(&wat::parse_str(MODULE).unwrap()),
            ["function words::longest"]
        );
    }

    #[test]
    fn nobody_is_named_where_nobody_calls() {
        let module = MODULE.replace("call 2", "call 0");
        assert!(users_of_random_keys(&wat::parse_str(module).unwrap()).is_empty());
        assert!(users_of_random_keys(b"no module").is_empty());
    }
}

//! The tables of components: each is of its module's code, and one that breaks a rule takes all with it.

use crate::{Builder, Frame, Lines, NESTING_MAX, PLACES_MAX, SECTION, TABLES_MAX};

/// A core module with functions that do `work` each, and a table in which every byte of the code is of `function`, or every
/// second one is, where there are to be `many` places.
fn module(function: &str, work: &str, many: bool) -> String {
    let bare = wat::parse_str(format!("(module {work})")).unwrap();
    let code = code_of(&bare).remove(0);
    let mut table = Builder::default();
    let frame = |line: usize| Frame {
        function,
        file: "src/lib.rs",
        line: line as u32,
    };
    match many {
        true => (0..code.len()).for_each(|at| table.push(at as u32..at as u32 + 1, &[frame(at % 2)])),
        false => table.push(0..code.len() as u32, &[frame(1)]),
    }
    let section = table.finish(&bare[code]).section.unwrap();
    with_section(&format!("core module {work}"), &section)
}

fn with_section(begin: &str, section: &[u8]) -> String {
    let escaped: String = section.iter().map(|byte| format!("\\{byte:02x}")).collect();
    format!("({begin} (@custom \"{SECTION}\" \"{escaped}\"))")
}

fn component(parts: &[String]) -> Vec<u8> {
    wat::parse_str(format!("(component {})", parts.concat())).unwrap()
}

/// Where the code sections of a component stand.
fn code_of(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let payloads = wasmparser::Parser::new(0).parse_all(bytes);
    let code = payloads.filter_map(|payload| match payload.unwrap() {
        wasmparser::Payload::CodeSectionStart { range, .. } => Some(range),
        _ => None,
    });
    code.collect()
}

const FEW: &str = "(func) (func (result i32) i32.const 7)";
const MORE: &str = "(func (result i64) i64.const 1 i64.const 2 i64.add)";

#[test]
fn a_place_is_of_the_module_that_it_stands_in_or_of_none() {
    let bytes = component(&[
        "(core module (func) (func))".to_owned(),
        module("first", FEW, false),
        format!("(component {})", module("inner", MORE, false)),
        "(core module (func nop))".to_owned(),
        module("last", FEW, false),
    ]);
    let lines = Lines::read(&bytes).unwrap();
    let code = code_of(&bytes);
    let names = ["", "first", "inner", "", "last"];
    assert_eq!(code.len(), names.len());
    for at in 0..bytes.len() + 10 {
        let of = code.iter().position(|code| code.contains(&at));
        let expected = of.map_or("", |of| names[of]);
        let found = lines.at(at).next().map_or("", |frame| frame.function);
        assert_eq!(found, expected, "byte {at}");
    }
    assert_eq!(lines.tables().count(), 3);
    assert!(lines.at(usize::MAX).next().is_none());
}

#[track_caller]
fn check(parts: &[String], expected: &str) {
    // Beside a table that is fine.
    let bytes = component(&[&[module("fine", FEW, false)], parts].concat());
    let error = Lines::read(&bytes).unwrap_err().to_string();
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn a_table_that_breaks_a_rule_takes_all_of_its_component_with_it() {
    assert!(Lines::read(&component(&[])).unwrap().tables().next().is_none());
    check(&[with_section("component", b"")], "it stands outside of a core module");
    check(
        &[with_section("core module", b"\x01")],
        "the core module that it stands in has no code",
    );
    check(&[with_section("core module (func)", b"")], "unexpected end");
    check(
        &[with_section("core module (func)", b"\x07")],
        "it is of version 7; accepted is 1",
    );
    let twice = module("f", FEW, false).replace("(core module ", "(core module (@custom \"weir:lines\" \"\\01\") ");
    check(&[twice], "a core module has two of them");
    // A table of one module in another.
    let other = module("f", FEW, false).replace(FEW, MORE);
    check(&[other], "it is of other code than stands beside it");
    Lines::read(&nested(NESTING_MAX)).unwrap();
    let error = Lines::read(&nested(NESTING_MAX + 1)).unwrap_err().to_string();
    assert_eq!(
        error,
        "components and modules stand within one another, more than 100 deep"
    );
    assert!(Lines::read(b"no component").is_err());
}

/// So many components, each but the first within another. (Text may not be nested so deep.)
fn nested(depth: usize) -> Vec<u8> {
    (0..depth).fold(Vec::new(), |inner, at| {
        let mut outer = b"\0asm\x0d\0\x01\0".to_vec();
        if at > 0 {
            let length = inner.len();
            outer.extend([4, length as u8 | 0x80, (length >> 7) as u8]);
            outer.extend(inner);
        }
        outer
    })
}

#[test]
fn the_bounds_are_those_of_all_tables_together() {
    let many = |bytes: usize| module("f", &format!("(func {})", "nop ".repeat(bytes)), true);
    let half = PLACES_MAX / 2;
    let two = component(&[many(half - 100), many(half - 100)]);
    assert_eq!(Lines::read(&two).unwrap().tables().count(), 2);
    check(&[many(half), many(half)], "it has ");
    let tables = |count: usize| vec![module("f", FEW, false); count];
    assert_eq!(
        Lines::read(&component(&tables(TABLES_MAX))).unwrap().tables().count(),
        TABLES_MAX
    );
    check(&tables(TABLES_MAX), "a component has more of them than 100");
}

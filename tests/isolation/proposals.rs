//! Which proposals of WebAssembly a guest may use: the list in the host is what its engine does, and what is computed is
//! the same to the bit on every machine.

use std::{collections::BTreeSet, fs};
use weir::wasm::{AnyModule, proposals};
use weir_tests::{
    made::{Says, stage_with},
    replay::host,
    scratch,
};

/// Of each proposal that the parser knows: a component that uses it, and a part of what is said where it is not let in.
/// Some cannot be used without another one, which is named then.
#[rustfmt::skip]
const USES: [(&str, &str, &str); 40] = [
    ("component_model", "(component)", ""),
    ("floats", "(component (core module (func (result f64) (f64.const 1))))", ""),
    ("mutable_global", r#"(component (core module (global (export "g") (mut i32) (i32.const 0))))"#, ""),
    ("sign_extension", "(component (core module (func (result i32) (i32.extend8_s (i32.const 1)))))", ""),
    ("saturating_float_to_int", "(component (core module (func (result i32) (i32.trunc_sat_f64_s (f64.const 1)))))", ""),
    ("reference_types", "(component (core module (table 1 funcref) (func (drop (table.get 0 (i32.const 0))))))", ""),
    ("multi_value", "(component (core module (func (result i32 i32) (i32.const 1) (i32.const 2))))", ""),
    ("bulk_memory", r#"(component (core module (memory 1) (data $d "x") (func (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)))))"#, ""),
    ("simd", "(component (core module (func (result v128) (v128.const i64x2 1 2))))", ""),
    ("relaxed_simd", "(component (core module (func (param v128) (result v128) (i8x16.relaxed_swizzle (local.get 0) (local.get 0)))))", "relaxed SIMD support is not enabled"),
    ("threads", "(component (core module (memory 1 1 shared)))", "threads must be enabled for shared memories"),
    ("shared_everything_threads", "(component (core module (global (shared i32) (i32.const 0))))", "shared-everything-threads"),
    ("tail_call", "(component (core module (func $f (return_call $f))))", ""),
    ("multi_memory", "(component (core module (memory 1) (memory 1)))", ""),
    ("exceptions", "(component (core module (tag)))", "exceptions proposal not enabled"),
    ("memory64", "(component (core module (memory i64 1)))", "memory64 must be enabled"),
    ("extended_const", "(component (core module (global i32 (i32.add (i32.const 1) (i32.const 2)))))", ""),
    ("function_references", "(component (core module (type $t (func)) (func (param (ref $t)))))", "function references required"),
    ("memory_control", "(component (core module (memory 1) (func (memory.discard (i32.const 0) (i32.const 0)))))", "memory control support is not enabled"),
    ("gc", "(component (core module (type (struct))))", "not supported without the gc feature"),
    ("custom_page_sizes", "(component (core module (memory 1 (pagesize 1))))", "custom page sizes proposal must be enabled"),
    ("legacy_exceptions", "(component (core module (func try catch_all end)))", "legacy_exceptions feature required"),
    ("gc_types", "(component (core module (func (param externref))))", "gc types are disallowed"),
    ("stack_switching", "(component (core module (type $f (func)) (type (cont $f))))", "stack switching is disabled"),
    ("wide_arithmetic", "(component (core module (func (param i64) (result i64 i64) (i64.add128 (local.get 0) (local.get 0) (local.get 0) (local.get 0)))))", "wide arithmetic support is not enabled"),
    ("cm_values", r#"(component (import "a" (value string)))"#, "`value`s is not enabled"),
    ("cm_nested_names", r#"(component (import "a:b:c/d/e" (func)))"#, "is not a valid extern name"),
    ("cm_async", "(component (type (stream u8)))", "component model async feature"),
    ("cm_async_stackful", r#"(component (core module $m (func (export "f"))) (core instance $i (instantiate $m)) (type $t (func async)) (func (type $t) (canon lift (core func $i "f") async)))"#, "component model async feature"),
    ("cm_more_async_builtins", "(component (type $f (future u8)) (core func (canon future.cancel-read $f async)))", "component model async feature"),
    ("cm_threading", "(component (core func (canon thread.index)))", "component model threading feature"),
    ("cm_error_context", "(component (type error-context))", "error-context feature"),
    ("cm_fixed_length_lists", "(component (type (list u8 4)))", "fixed-length lists feature"),
    ("cm_gc", r#"(component (import "f" (func $f (param "s" string))) (core type $t (func)) (core func (canon lower (func $f) gc)))"#, "requires the `cm-gc` feature"),
    ("custom_descriptors", "(component (core module (rec (type $a (descriptor $b) (struct)) (type $b (describes $a) (struct)))))", "rec group usage requires"),
    ("compact_imports", r#"(component (core module (import "m" (item "f" (func)) (item "g" (func)))))"#, "compact imports proposal disabled"),
    ("cm_map", "(component (type (map u32 string)))", "component model map feature"),
    ("cm64", "(component (core func (canon context.get i64 0)))", "component model async feature"),
    ("cm_implements", r#"(component (import "a" (implements "a:b/c") (instance)))"#, "`cm-implements` feature is not active"),
    ("cm_canon_names", r#"(component binary "\00asm\0d\00\01\00\07\05\01\40\00\01\00\0a\11\01\02\07a:b/c@1\01\01\02.2\01\00")"#, "`cm-implements` feature is not active"),
];

/// What is said of the component.
fn said(component: &str) -> String {
    let folder = scratch();
    let path = folder.path().join("rule.wasm");
    fs::write(&path, wat::parse_str(component).expect("that is a component")).expect("it can be written");
    let error = host().load_any(&path).expect_err("it is no guest");
    error.to_string()
}

#[test]
fn the_list_is_what_the_engine_does() {
    for (name, reason) in proposals() {
        let (_, component, words) = USES
            .iter()
            .find(|(used, _, _)| *used == name)
            .unwrap_or_else(|| panic!("the parser knows {name}, which is not tried"));
        let said = said(component);
        let is_let_in = said.contains("it does not export weir:stage/stage@0.2.0");
        assert_eq!(is_let_in, reason.is_some(), "{name}: {said}");
        if !is_let_in {
            assert!(said.contains("this is no component that can be run"), "{name}: {said}");
            assert!(said.contains(words), "{name}: {words:?} is not in {said}");
        }
    }
}

#[test]
fn each_has_its_reason_and_none_is_tried_that_is_not_known() {
    let known = proposals();
    for (name, reason) in &known {
        assert_ne!(reason.map(str::trim), Some(""), "{name}");
    }
    let names: BTreeSet<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, USES.iter().map(|(name, _, _)| *name).collect());
}

/// What the made stage says that its version is: where a calculation gave these bits, another one than where it did not.
#[track_caller]
fn check_bits(calculation: &str, bits: u64) {
    // The text of the version lies where its place, at 1032, says.
    let first = format!(
        "(if (i64.eq {calculation} (i64.const {bits})) (then (i32.store8 (i32.load (i32.const 1032)) (i32.const 0x79))))"
    );
    let says = Says {
        version: "n".to_owned(),
        ..Says::default()
    };
    let folder = scratch();
    let path = folder.path().join("rule.wasm");
    fs::write(&path, stage_with(&says, "", &first)).expect("it can be written");
    let AnyModule::Stage(module) = host().load_any(&path).expect("the stage is fine") else {
        panic!("it is a stage")
    };
    assert_eq!(module.description.version, "y", "{calculation} is not {bits:#x}");
}

#[test]
fn a_nan_has_one_pattern_of_bits_whatever_it_came_from() {
    const CANONICAL: u64 = 0x7ff8_0000_0000_0000;
    for nan in ["nan:0x8000000001234", "-nan:0x8000000001234", "nan", "-nan", "nan:0x1"] {
        for operation in [
            format!("(f64.add (f64.const {nan}) (f64.load (i32.const 0)))"),
            format!("(f64.mul (f64.load (i32.const 0)) (f64.const {nan}))"),
            format!("(f64.sqrt (f64.const {nan}))"),
            format!("(f64.min (f64.const {nan}) (f64.const 1))"),
            format!("(f64.promote_f32 (f32.demote_f64 (f64.const {nan})))"),
        ] {
            check_bits(&format!("(i64.reinterpret_f64 {operation})"), CANONICAL);
        }
    }
    // What no calculation touched is as it was.
    check_bits(
        "(i64.reinterpret_f64 (f64.const nan:0x8000000001234))",
        0x7ff8_0000_0000_1234,
    );
    // And where infinities make one, the sign of the machine does not show.
    let less = "(i64.reinterpret_f64 (f64.sub (f64.const inf) (f64.const inf)))";
    check_bits(less, CANONICAL);
}

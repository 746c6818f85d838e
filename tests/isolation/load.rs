//! Guests that are refused before the first event, with what is said and where.

use std::{fs, path::Path};
use weir::{definition::File, limits::REFUSAL_BYTES_MAX, plan::Plan, wasm::Binary};
use weir_tests::{guest, replay, scratch};

/// Checks that a pipeline whose stage is `stage`, on line 5, is refused with all of `words`.
#[track_caller]
fn check(stage: &str, words: &[&str]) {
    let text = format!(
        r#"name = "refused"
source = {{ stream = "TEST", subject = "test", columns = {{ id = "int", what = "text", gmt_modified = "int", order_no = "text", customer_tel = "text", account_payble = "double" }} }}
[[step]]
name = "rule"
stage = {stage}
[[sink]]
table = "all"
"#
    );
    let Err(error) = Plan::build(&File::from_text("refused.toml", text), replay::host()) else {
        panic!("{stage} is accepted")
    };
    let error = error.to_string();
    assert!(error.starts_with("refused.toml:5:"), "no place in {error}");
    for words in ["step \"rule\": "].iter().chain(words) {
        assert!(error.contains(words), "{words:?} is not in {error}");
    }
}

/// Checks a stage without parameters.
#[track_caller]
fn check_module(module: &Path, words: &[&str]) {
    check(&format!("{{ module = '{}' }}", module.display()), words);
}

/// Checks `bytes` as a module.
#[track_caller]
fn check_bytes(bytes: &[u8], words: &[&str]) {
    let folder = scratch();
    let path = folder.path().join("rule.wasm");
    fs::write(&path, bytes).expect("the module can be written");
    check_module(&path, &[&["key `module`: module ", "rule.wasm: "], words].concat());
}

#[test]
fn an_import_that_there_is_not_is_named() {
    check_module(
        &guest("wasi-user"),
        &[
            "it imports test:elsewhere/thing, which the host does not offer",
            "a rule may import weir:stage/log@0.1.0 and weir:stage/time-zone@0.1.0 and nothing else",
        ],
    );
}

#[test]
fn another_version_of_the_contract_is_named_with_the_one_of_the_host() {
    check_module(
        &guest("other-version"),
        &["it is built for weir:stage@0.3.0; this host speaks weir:stage@0.2.0 and weir:stage@0.1.0"],
    );
    for other in ["0.0.9", "0.1.1", "0.2.1", "1.0.0", "0.2.0-draft"] {
        let component =
            format!(r#"(component (instance $stage) (export "weir:stage/stage@{other}" (instance $stage)))"#);
        check_bytes(
            &wat::parse_str(component).expect("that is a component"),
            &[&format!(
                "it is built for weir:stage@{other}; this host speaks weir:stage@0.2.0 and weir:stage@0.1.0"
            )],
        );
    }
}

#[test]
fn a_file_that_is_no_component_is_told_what_it_is() {
    check_bytes(b"", &["this is no WebAssembly"]);
    check_bytes(b"#!/bin/sh\n", &["this is no WebAssembly"]);
    check_bytes(
        &wat::parse_str("(module)").expect("that is a module"),
        &["this is a core module; expected is a component"],
    );
    check_bytes(
        b"\0asm\x0d\0\x01\0 and no more",
        &["this is no component that can be run"],
    );
    let guest = fs::read(guest("hostile")).expect("the guest can be read");
    check_bytes(&guest[..guest.len() / 2], &["this is no component that can be run"]);
}

#[test]
fn a_component_of_something_else_is_told_what_is_missing() {
    check_bytes(
        &wat::parse_str("(component)").expect("that is a component"),
        &["it does not export weir:stage/stage@0.2.0"],
    );
    let hollow = r#"(component (instance $stage) (export "weir:stage/stage@0.1.0" (instance $stage)))"#;
    check_bytes(
        &wat::parse_str(hollow).expect("that is a component"),
        &["it does not fit weir:stage/stage@0.1.0"],
    );
}

#[test]
fn a_module_that_is_not_there_is_named_with_what_builds_it() {
    check_module(
        Path::new("/nowhere/rule.wasm"),
        &["cannot read module /nowhere/rule.wasm: ", "`cargo xtask guests`"],
    );
}

#[test]
fn a_parameter_that_the_rule_refuses_is_named() {
    let zone = |zone: &str, words: &[&str]| {
        let module = guest("hourly-orders");
        check(
            &format!(
                "{{ module = '{}', parameters = {{ zone = \"{zone}\" }} }}",
                module.display()
            ),
            words,
        );
    };
    zone("Mars/Phobos", &["the rule hourly-orders: ", "zone", "\"Mars/Phobos\""]);
    zone("", &["the rule hourly-orders: ", "zone"]);
    zone("../../etc/passwd", &["the rule hourly-orders: ", "zone"]);
}

#[test]
fn a_rule_that_misbehaves_before_its_first_batch_is_refused() {
    let configure = |what: &str, words: &str| {
        let (module, limits) = (guest("hostile"), "{ deadline_ms = 50, memory_mib = 8 }");
        let parameters = format!("{{ at_configure = \"{what}\" }}");
        let stage = format!(
            "{{ module = '{}', parameters = {parameters}, limits = {limits} }}",
            module.display()
        );
        check(&stage, &["the rule hostile: ", words]);
    };
    configure("refuse", "parameter \"at_configure\": refused");
    configure("trap", "the rule trapped: wasm `unreachable` instruction executed");
    configure("panic", "the rule panicked: it was asked to panic");
    configure("loop", "the rule ran longer than 50 ms");
    configure("recurse", "the rule trapped: call stack exhausted");
    configure("grow", "the rule needs more than 8 MiB of memory");
}

#[test]
fn a_rule_that_needs_more_memory_than_its_limit_to_begin_with_is_refused() {
    let stage = format!(
        "{{ module = '{}', limits = {{ memory_mib = 1 }} }}",
        guest("hostile").display()
    );
    check(&stage, &["the rule cannot be instantiated", "memory"]);
}

#[test]
fn a_component_without_measure_is_refused_before_it_is_read() {
    let folder = scratch();
    let path = folder.path().join("rule.wasm");
    let file = fs::File::create(&path).expect("the module can be made");
    file.set_len(50 << 20).expect("the disk has room for nothing");
    check_module(
        &path,
        &["rule.wasm: it has 52428800 bytes; accepted are up to 33554432"],
    );
    check_module(
        Path::new("/dev/zero"),
        &["module /dev/zero is no file; name a component"],
    );
    check_module(folder.path(), &["is no file; name a component"]);
}

/// A host tells the registry again and again why something was refused, and the names in it are a stranger's.
#[test]
fn what_is_said_of_a_component_is_cut_however_long_its_names_are() {
    let name = format!("a{}", "-b".repeat(40_000));
    let stage = r#"(instance $stage) (export "weir:stage/stage@0.1.0" (instance $stage))"#;
    let import = format!("(component (import \"{name}\" (func)) {stage})");
    let version = format!("0.2.0-{}", "a".repeat(80_000));
    let version = format!("(component (instance $stage) (export \"weir:stage/stage@{version}\" (instance $stage)))");
    for (text, words) in [
        (import, "it imports a-b-b"),
        (version, "it is built for weir:stage@0.2.0-aaa"),
    ] {
        let component = wat::parse_str(text).expect("that is a component");
        let binary = Binary::new(component.as_slice());
        let deployed = replay::host().load_deployed(&binary);
        let error = deployed.expect_err("it is refused").to_string();
        assert!(error.contains(words), "{error}");
        assert_eq!(
            error.len(),
            format!("module {}: ", binary.digest()).len() + REFUSAL_BYTES_MAX
        );
        let folder = scratch();
        let path = folder.path().join("rule.wasm");
        fs::write(&path, &component).expect("the module can be written");
        let error = replay::host().load(&path).expect_err("it is refused").to_string();
        assert_eq!(
            error.len(),
            format!("module {}: ", path.display()).len() + REFUSAL_BYTES_MAX
        );
    }
}

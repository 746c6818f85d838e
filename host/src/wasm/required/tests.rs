use super::Required;
use std::fmt::Write;
use wasmtime::{Engine, component::Component};

fn counted(text: &str) -> Result<Required, String> {
    Required::of(&wat::parse_str(text).expect("that is a component"))
}

/// Core instances, instances of components, memories and tables.
fn counts(text: &str) -> (u64, u64, u64, u64) {
    let found = counted(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    (
        found.core_instances,
        found.component_instances,
        found.memories,
        found.tables,
    )
}

#[track_caller]
fn refused(text: &str, words: &str) {
    let error = counted(text).expect_err(text);
    assert!(error.contains(words), "{words:?} is not in {error:?}");
}

fn repeated(line: &str, times: usize) -> String {
    format!("{line}\n").repeat(times)
}

#[test]
fn what_is_not_instantiated_takes_nothing() {
    assert_eq!(counts("(component)"), (0, 0, 0, 0));
    assert_eq!(
        counts(
            "(component (core module (memory 1)) (component (core module $m (table 1 funcref)) (core instance (instantiate $m))))"
        ),
        (0, 0, 0, 0)
    );
}

#[test]
fn instances_count_as_often_as_they_are_made() {
    let text = format!(
        "(component (core module $m (memory 0) (table 1 funcref) (table 2 funcref)) {})",
        repeated("(core instance (instantiate $m))", 8)
    );
    assert_eq!(counts(&text), (8, 0, 8, 16));
}

#[test]
fn components_within_count_with_all_that_they_hold() {
    let text = "(component
        (component $c
            (core module $m (memory 0))
            (component $d (core instance (instantiate $m)) (core instance (instantiate $m)))
            (instance (instantiate $d))
            (core instance (instantiate $m)))
        (instance (instantiate $c))
        (instance (instantiate $c)))";
    assert_eq!(counts(text), (6, 4, 6, 0), "through an alias of a module further out");
}

/// What wasmtime counts in a component that it has compiled, as far as it does.
#[test]
fn the_counts_are_those_of_the_engine() {
    let engine = Engine::default();
    let module = "(core module $m (memory 1) (table 3 funcref)) (core module $n (table 1 funcref))";
    for text in [
        format!("(component {module})"),
        format!("(component {module} (core instance (instantiate $m)) (core instance (instantiate $n)))"),
        format!(
            "(component {module}
                (component $c (core instance (instantiate $m)) (core instance (instantiate $n)))
                (component $d (instance (instantiate $c)) (instance (instantiate $c)) (core instance (instantiate $m)))
                (instance (instantiate $d)) (instance (instantiate $c)) (instance (instantiate $d)))"
        ),
    ] {
        let bytes = wat::parse_str(&text).expect("that is a component");
        let component = Component::new(&engine, &bytes).expect("it can be compiled");
        let engines = component.resources_required().expect("nothing is handed to it");
        let (_, _, memories, tables) = counts(&text);
        let found = (u64::from(engines.num_memories), u64::from(engines.num_tables));
        assert_eq!((memories, tables), found, "{text}");
    }
}

#[test]
fn what_is_exported_has_another_number() {
    let text = "(component
        (core module $m (memory 0))
        (export $e \"m\" (core module $m))
        (core instance (instantiate $e)))";
    assert_eq!(counts(text), (1, 0, 1, 0));
}

#[test]
fn several_memories_of_one_module_count_each() {
    let text = format!(
        "(component (core module $m {}) (core instance (instantiate $m)))",
        repeated("(memory 0)", 9)
    );
    refused(&text, "it needs 9 linear memories, accepted are up to 8");
}

#[test]
fn too_many_of_anything_are_refused_with_the_figures() {
    let instances = |module: &str, times| {
        let instances = repeated("(core instance (instantiate $m))", times);
        format!("(component (core module $m {module}) {instances})")
    };
    refused(
        &instances("", 129),
        "it needs 129 core instances, accepted are up to 128",
    );
    refused(
        &instances("(memory 0)", 251),
        "it needs 251 core instances, accepted are up to 128, and 251 linear memories, accepted are up to 8",
    );
    refused(
        &instances("(table 0 funcref)", 17),
        "it needs 17 tables, accepted are up to 16",
    );
    let within = format!(
        "(component (component $c) {})",
        repeated("(instance (instantiate $c))", 65)
    );
    refused(
        &within,
        "it needs 65 instances of components within it, accepted are up to 64",
    );
}

/// Each component instantiates the one before it ten times: of a few hundred bytes come more instances than there are
/// numbers for.
#[test]
fn what_doubles_with_every_line_is_counted_and_not_made() {
    let mut text =
        "(component (component $c0 (core module $m (memory 1)) (core instance (instantiate $m)))\n".to_owned();
    for at in 1..40 {
        let of = at - 1;
        let instances = repeated(&format!("(instance (instantiate $c{of}))"), 10);
        let alias = format!("(alias outer 1 $c{of} (component $c{of}))");
        writeln!(text, "(component $c{at} {alias} {instances})").expect("a text takes all");
    }
    text += "(instance (instantiate $c39)))";
    refused(&text, &format!("it needs {} core instances", u64::MAX));
}

#[test]
fn components_within_components_are_counted_and_not_followed_down() {
    let nested = |depth: usize| {
        let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
        for _ in 0..depth {
            let mut length = bytes.len();
            let mut outer = b"\0asm\x0d\0\x01\0\x04".to_vec();
            while length > 127 {
                outer.push((length & 127) as u8 | 128);
                length >>= 7;
            }
            outer.push(length as u8);
            outer.extend(bytes);
            bytes = outer;
        }
        bytes
    };
    assert_eq!(Required::of(&nested(1000)), Ok(Required::default()));
    let error = Required::of(&nested(20_000)).expect_err("there are too many");
    assert!(
        error.contains("more than 1024 modules and components within it"),
        "{error}"
    );
}

#[test]
fn what_cannot_be_counted_is_refused() {
    refused(
        "(component (import \"m\" (core module $m)) (core instance (instantiate $m)))",
        "it instantiates a module that is handed to it",
    );
    refused(
        "(component
            (component $c (core module $m) (export \"m\" (core module $m)))
            (instance $i (instantiate $c))
            (alias export $i \"m\" (core module $m))
            (core instance (instantiate $m)))",
        "it instantiates a module that is handed to it or comes out of an instance",
    );
}

#[test]
fn bytes_that_the_host_keeps_of_an_instance_are_counted() {
    let bytes = |module: &str| {
        let text = format!("(component (core module $m {module}) (core instance (instantiate $m)))");
        counted(&text).expect("it can be counted").host_bytes
    };
    let nothing = bytes("");
    assert_eq!(bytes(&repeated("(global i32 (i32.const 1))", 100)), nothing + 1600);
    assert_eq!(bytes(&repeated("(func)", 100)), nothing + 3200);
    let elements = "(func $f) (elem func ".to_owned() + &"$f ".repeat(1000) + ")";
    assert_eq!(bytes(&elements), nothing + 32 + 16_000);
    let lowered = "(import \"f\" (func $f))".to_owned() + &repeated("(core func (canon lower (func $f)))", 1000);
    let within = format!("(component {lowered})");
    let lowered = counted(&within).expect("it can be counted").host_bytes;
    assert_eq!(lowered, 64_000);
    // They go into the table, and nothing is kept of them.
    let active = "(func $f) (table 1000 funcref) (elem (i32.const 0) func ".to_owned() + &"$f ".repeat(1000) + ")";
    assert_eq!(bytes(&active), nothing + 32 + 64);
}

#[test]
fn no_byte_of_a_component_that_is_cut_or_changed_makes_counting_panic() {
    let bytes = wat::parse_str(
        "(component
            (core module $m (memory 1) (table 1 funcref) (func $f) (elem func $f))
            (component $c (core instance (instantiate $m)))
            (instance (instantiate $c)))",
    )
    .expect("that is a component");
    for at in 0..bytes.len() {
        let _ = Required::of(bytes.get(..at).unwrap());
        for byte in 0..=u8::MAX {
            let mut changed = bytes.clone();
            changed[at] = byte;
            let _ = Required::of(&changed);
        }
    }
}

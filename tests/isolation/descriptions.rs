//! Guests that say too much of themselves, or what no reader sees: refused at load, with the bound and the figure.

use std::fs;
use weir::{model::guest::Module, wasm::AnyModule};
use weir_tests::{
    made::{Says, stage, stage_with},
    replay::host,
    scratch,
};

fn load(component: &[u8]) -> Result<Module, String> {
    let folder = scratch();
    let path = folder.path().join("rule.wasm");
    fs::write(&path, component).expect("it can be written");
    match host().load_any(&path) {
        Ok(AnyModule::Stage(module)) => Ok(std::sync::Arc::into_inner(module).expect("nobody else has it")),
        Ok(AnyModule::Aggregate(_) | AnyModule::Keyed(_)) => panic!("it is a stage"),
        Err(error) => Err(error.to_string()),
    }
}

#[track_caller]
fn check(says: &Says, words: &str) {
    let error = load(&stage(says, "")).expect_err("it says too much");
    assert!(
        error.ends_with(&format!("rule.wasm: it cannot describe itself: {words}")),
        "{error}"
    );
    assert!(error.len() < 1024, "{} bytes", error.len());
}

fn numbered(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("n{number}"))
}

fn parameters(count: usize) -> Vec<(String, Option<String>, String)> {
    numbered(count)
        .map(|name| (name, Some("default".to_owned()), "what it is for".to_owned()))
        .collect()
}

#[test]
fn what_is_within_the_bounds_is_taken_as_it_is() {
    let says = Says {
        name: "保单".repeat(42),
        version: "x".repeat(256),
        doc: "several\nlines\u{202e}".repeat(100),
        inputs: numbered(1024).collect(),
        outputs: numbered(64).map(|name| (name, numbered(10).collect())).collect(),
        parameters: parameters(256),
    };
    let description = load(&stage(&says, "")).expect("it is within the bounds").description;
    assert_eq!(description.name, says.name);
    assert_eq!(description.version, says.version);
    assert_eq!(description.doc, says.doc);
    assert_eq!((description.inputs.len(), description.outputs.len()), (1024, 64));
    assert_eq!(description.parameters.len(), 256);
    assert_eq!(description.outputs[63].passed[9], ("n9".to_owned(), "n9".to_owned()));
}

#[test]
fn what_there_is_too_much_of_is_counted() {
    let parameters = parameters(10_000);
    check(
        &Says {
            parameters,
            ..Says::default()
        },
        "it has 10000 parameters; accepted are up to 256",
    );
    let inputs = numbered(100_000).collect();
    check(
        &Says {
            inputs,
            ..Says::default()
        },
        "it has 100000 input columns; accepted are up to 1024",
    );
    let outputs = vec![("out".to_owned(), numbered(1025).collect())];
    check(
        &Says {
            outputs,
            ..Says::default()
        },
        "it has 1025 columns in one output; accepted are up to 1024",
    );
    for count in [0, 65, 100_000] {
        let outputs = numbered(count).map(|name| (name, Vec::new())).collect();
        check(
            &Says {
                outputs,
                ..Says::default()
            },
            &format!("it has {count} outputs; accepted are 1 to 64"),
        );
    }
}

#[test]
fn a_text_without_measure_is_told_by_its_length() {
    let long = || "x".repeat(1 << 20);
    let too_long = |what: &str, most: usize| format!("{what} has 1048576 bytes; accepted are up to {most}");
    check(
        &Says {
            name: long(),
            ..Says::default()
        },
        &too_long("its name", 256),
    );
    check(
        &Says {
            version: long(),
            ..Says::default()
        },
        &too_long("its version", 256),
    );
    check(
        &Says {
            doc: long(),
            ..Says::default()
        },
        &too_long("what it says that it does", 4096),
    );
    let inputs = vec![long()];
    check(
        &Says {
            inputs,
            ..Says::default()
        },
        &too_long("the name of an input column", 256),
    );
    let outputs = vec![(long(), Vec::new())];
    check(
        &Says {
            outputs,
            ..Says::default()
        },
        &too_long("the name of an output", 256),
    );
    let outputs = vec![("out".to_owned(), vec![long()])];
    check(
        &Says {
            outputs,
            ..Says::default()
        },
        &too_long("the name of a column that it passes", 256),
    );
    let parameters = vec![(long(), None, String::new())];
    check(
        &Says {
            parameters,
            ..Says::default()
        },
        &too_long("the name of a parameter", 256),
    );
    let parameters = vec![("p".to_owned(), None, long())];
    check(
        &Says {
            parameters,
            ..Says::default()
        },
        &too_long("what a parameter is for", 4096),
    );
    let parameters = vec![("p".to_owned(), Some(long()), String::new())];
    check(
        &Says {
            parameters,
            ..Says::default()
        },
        &too_long("the default of parameter \"p\"", 65_536),
    );
}

#[test]
fn all_that_it_says_is_bounded_together() {
    let default = "x".repeat(50_000);
    let parameters = numbered(30)
        .map(|name| (name, Some(default.clone()), String::new()))
        .collect();
    check(
        &Says {
            parameters,
            ..Says::default()
        },
        "it says more than 1048576 bytes of itself, of which the default of parameter \"n20\" is but a part; accepted is less",
    );
}

#[test]
fn names_that_a_terminal_would_obey_are_refused_and_shown_as_what_they_are() {
    let hidden = |what: &str, shown: &str| {
        format!(
            "{what}, \"{shown}\", holds characters that no reader sees; accepted are those that are shown as they are"
        )
    };
    for (name, shown) in [
        ("\u{1b}[2Jweir: all is well", "\\u{1b}[2Jweir: all is well"),
        ("a\nweir: all is well", "a\\nweir: all is well"),
        ("claim\u{202e}on", "claim\\u{202e}on"),
        ("a\u{2066}b", "a\\u{2066}b"),
        ("a\u{200b}", "a\\u{200b}"),
        ("\u{9b}31m", "\\u{9b}31m"),
        ("\0", "\\0"),
    ] {
        let named = || name.to_owned();
        check(
            &Says {
                name: named(),
                ..Says::default()
            },
            &hidden("its name", shown),
        );
        check(
            &Says {
                version: named(),
                ..Says::default()
            },
            &hidden("its version", shown),
        );
        let inputs = vec![named()];
        check(
            &Says {
                inputs,
                ..Says::default()
            },
            &hidden("the name of an input column", shown),
        );
        let outputs = vec![(named(), Vec::new())];
        check(
            &Says {
                outputs,
                ..Says::default()
            },
            &hidden("the name of an output", shown),
        );
        let parameters = vec![(named(), None, String::new())];
        check(
            &Says {
                parameters,
                ..Says::default()
            },
            &hidden("the name of a parameter", shown),
        );
    }
}

#[test]
fn a_name_that_comes_twice_is_named() {
    let parameters = vec![("p".to_owned(), None, String::new()); 2];
    check(
        &Says {
            parameters,
            ..Says::default()
        },
        "a parameter is named \"p\" twice",
    );
    let inputs = vec!["c".to_owned(); 2];
    check(
        &Says {
            inputs,
            ..Says::default()
        },
        "an input column is named \"c\" twice",
    );
    let outputs = vec![("o".to_owned(), Vec::new()); 2];
    check(
        &Says {
            outputs,
            ..Says::default()
        },
        "an output is named \"o\" twice",
    );
    check(
        &Says {
            inputs: vec![String::new()],
            ..Says::default()
        },
        "an input column has no name",
    );
}

#[test]
fn one_that_does_not_come_back_with_its_description_is_refused() {
    let error = load(&stage_with(&Says::default(), "", "(loop (br 0))")).expect_err("it never ends");
    assert!(
        error.contains("it cannot describe itself: the rule ran longer than 500 ms"),
        "{error}"
    );
    let error = load(&stage_with(&Says::default(), "", "unreachable")).expect_err("it traps");
    assert!(error.contains("it cannot describe itself: the rule trapped"), "{error}");
}

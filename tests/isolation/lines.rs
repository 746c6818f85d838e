//! What components carry for those who read why they failed: tables of lines, debug information, names of functions. All of it
//! is a stranger's.

mod component;
mod debug_information;

use crate::bounds::{MORE_MEMORY_BYTES, MORE_TIME, replay_and_hear, row};
use component::Changed;
use std::fs;
use weir_lines::{Builder, Frame, Lines, SECTION, SECTION_BYTES_MAX};
use weir_tests::{guest, hostile::dwarf, replay, scratch, table::Contents, usage::Usage};

/// Events of each run, and what one in `POISON_EVERY` asks for.
const EVENTS: usize = 20_000;
const POISON_EVERY: usize = 1000;

/// What a failure names without lines.
const NAMES_ALONE: &str =
    "the rule trapped: wasm `unreachable` instruction executed; in hostile::end_badly, called by ";

fn changed(name: &str) -> Changed {
    Changed::new(&fs::read(guest(name)).expect("the guest can be read"))
}

fn hostile() -> Changed {
    changed("hostile")
}

/// What a run over events leaves whose rule is `component`, what it says, and what it costs.
fn run(component: &[u8], what: &str) -> (Contents, String, Usage) {
    let folder = scratch();
    fs::write(folder.path().join("rule.wasm"), component).expect("a file of the test can be written");
    let pipeline = r#"
name = "hostile"
source = { stream = "TEST", subject = "test", columns = { id = "int", what = "text" } }
[[step]]
name = "hostile"
stage = { module = "rule.wasm", limits = { memory_mib = 8, deadline_ms = 1000 } }
[[sink]]
table = "all"
"#;
    let event = |at: usize| match at % POISON_EVERY {
        7 => format!("{{\"id\":{at},\"what\":\"{what}\"}}\n"),
        _ => format!("{{\"id\":{at},\"what\":\"fine\"}}\n"),
    };
    let events: String = (0..EVENTS).map(event).collect();
    replay_and_hear(folder.path(), pipeline, events.as_bytes())
}

/// Checks that a component whose failures have no lines costs its rows of poison, with `reason` each, and little of the host.
/// Gives what the run said.
#[track_caller]
fn check_without_lines(name: &str, component: &[u8], what: &str, reason: impl Fn(&str) -> bool) -> String {
    let (_, _, without) = run(&hostile().done(), "fine");
    let (found, said, usage) = run(component, what);
    let dead: Vec<u64> = found.dead_letters.iter().map(|letter| letter.sequence).collect();
    let expected: Vec<u64> = (0..EVENTS / POISON_EVERY)
        .map(|at| (at * POISON_EVERY + 8) as u64)
        .collect();
    assert_eq!(dead, expected, "{name}");
    for letter in &found.dead_letters {
        assert!(reason(&letter.reason), "{name}: {}", letter.reason);
    }
    row(name, "20 dead letters, 0 events lost around them", usage);
    let most = without.peak_rss_bytes + MORE_MEMORY_BYTES;
    assert!(usage.peak_rss_bytes < most, "{name}: {} bytes", usage.peak_rss_bytes);
    assert!(usage.wall < without.wall + MORE_TIME, "{name}: {:?}", usage.wall);
    said
}

/// Debug information that means what it says would name a function and a line; nothing of it is read. So what takes whoever
/// reads it gigabytes and minutes takes the host nothing: neither in the module that traps nor beside it.
#[test]
fn debug_information_is_not_read() {
    let plain = dwarf::sections(0, 100_000, 1);
    let bomb = dwarf::sections(0x1000_0000, 100_000, 1000);
    for (name, sections) in [("debug information", &plain), ("a bomb of debug information", &bomb)] {
        let within = hostile().without_lines().with_sections(sections);
        let beside = hostile().without_lines().with_sections_beside(sections);
        for component in [within, beside] {
            let said = check_without_lines(name, &component.done(), "trap", |reason| {
                reason.starts_with(NAMES_ALONE) && !reason.contains(dwarf::FUNCTION)
            });
            assert!(!said.contains("table of lines"), "{said}");
        }
    }
}

#[test]
fn a_table_that_breaks_a_rule_is_ignored_and_said_once() {
    let own = hostile().lines();
    for (section, why) in [
        (b"no table".to_vec(), "it is of version 110; accepted is 1"),
        (own[..own.len() - 1].to_vec(), "unexpected end"),
        ([&own[..], &[0]].concat(), "1 bytes stand behind its end"),
        (changed("strict").lines(), "it is of other code than stands beside it"),
        (
            vec![1; 2 << 20],
            "it has 2097152 bytes; accepted are 1048576 in all tables of a component",
        ),
    ] {
        let component = hostile().without_lines().with_sections(&[(SECTION, section)]);
        let said = check_without_lines(why, &component.done(), "trap", |reason| reason.starts_with(NAMES_ALONE));
        let expected = format!("its table of lines (custom section weir:lines) is ignored: {why}");
        assert_eq!(said.matches(&expected).count(), 1, "{expected:?} in {said}");
    }
}

/// A table of nearly as many bytes as there may be, with a place for each byte of the code, and names as long as a reason: all of
/// it is held, and found.
#[test]
fn the_largest_table_costs_the_host_little() {
    let hostile = hostile();
    let code = hostile.code();
    let functions: Vec<String> = (0..400).map(|at| format!("f{at:01000}")).collect();
    let mut table = Builder::default();
    for at in 0..code.len() {
        let frame = Frame {
            function: &functions[at % functions.len()],
            file: "far.rs",
            line: at as u32,
        };
        table.push(at as u32..at as u32 + 1, &[frame]);
    }
    let built = table.finish(&code);
    let section = built.section.expect("there are places");
    assert!(
        built.left_out.is_nothing() && section.len() > SECTION_BYTES_MAX * 3 / 4,
        "{}",
        section.len()
    );
    let component = hostile.without_lines().with_sections(&[(SECTION, section)]).done();
    assert!(
        Lines::read(&component)
            .expect("it keeps to the bounds")
            .tables()
            .count()
            == 1
    );
    let said = check_without_lines("the largest table", &component, "trap", |reason| {
        reason.starts_with("the rule trapped: wasm `unreachable` instruction executed; in f0") && reason.len() <= 1024
    });
    assert!(!said.contains("table of lines"), "{said}");
}

/// A name as long as they may be, in each frame of an endless recursion; one byte more is refused.
#[test]
fn names_of_functions_are_bounded() {
    let long = |bytes: usize| {
        hostile()
            .without_lines()
            .with_name("recurse", &"n".repeat(bytes))
            .done()
    };
    let expected = format!("the rule trapped: call stack exhausted; in {}", "n".repeat(900));
    check_without_lines("names of 100 000 bytes", &long(100_000), "recurse", |reason| {
        reason.starts_with(&expected) && reason.len() <= 1024
    });
    let folder = scratch();
    let path = folder.path().join("rule.wasm");
    fs::write(&path, long(100_001)).expect("a file of the test can be written");
    let error = replay::host().load(&path).expect_err("it is refused").to_string();
    assert!(
        error.contains(
            "has a name of 100001 bytes; accepted are up to 100000: strip the names, or give it a shorter one"
        ),
        "{error}"
    );
}

/// A module beside the rule's own that traps when it is instantiated: the failure is in its lines, or has its name, and never
/// the backtrace as wasmtime would print it.
#[test]
fn a_failure_is_in_the_lines_of_the_module_that_it_is_in() {
    let reason = |module: &[u8]| {
        let folder = scratch();
        let path = folder.path().join("rule.wasm");
        let component = hostile().with_instance_of(module).done();
        fs::write(&path, component).expect("a file of the test can be written");
        let error = replay::host().load(&path).expect_err("it traps").to_string();
        let (_, reason) = error.split_once("it cannot describe itself: ").expect("it says so");
        reason.to_owned()
    };
    let trapped = "the rule cannot be instantiated: the rule trapped: wasm `unreachable` instruction executed; in ";
    let module = component::that_traps_at_once("begins");
    assert_eq!(reason(&module), format!("{trapped}begins"));
    let code = component::code_of(&module);
    let mut table = Builder::default();
    let frame = Frame {
        function: "begin",
        file: "other.rs",
        line: 7,
    };
    table.push(0..code.len() as u32, &[frame]);
    let section = table.finish(&code).section.expect("there is a place");
    let with_lines = component::with_section(&module, SECTION, &section);
    assert_eq!(reason(&with_lines), format!("{trapped}begin (other.rs:7)"));
    let long = component::that_traps_at_once(&"n".repeat(99_000));
    assert_eq!(reason(&long), format!("{trapped}{}", "n".repeat(1024)));
}

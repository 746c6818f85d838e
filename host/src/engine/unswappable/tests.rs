use super::*;
use std::{fmt::Write, fs, path::Path};

/// What stands around the list in `docs/DEPLOYING.md`.
const BEGIN: &str = "<!-- This list is generated from host/src/engine/unswappable.rs:\n\
                     `WEIR_WRITE_DOCS=1 cargo test -p weir --lib unswappable` writes it. -->\n\n";
const END: &str = "\n<!-- The end of the list. -->\n";

fn list() -> String {
    let mut text = String::from("| what | why | instead |\n| --- | --- | --- |\n");
    for kind in Unswappable::ALL {
        // Options of commands, for Markdown not to make a dash of two.
        let instead = kind.instead().replace("--database", "`--database`");
        writeln!(text, "| {} | {} | {instead} |", kind.what(), kind.why()).expect("a string takes everything");
    }
    text
}

#[test]
fn the_documentation_lists_what_is_refused() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/DEPLOYING.md");
    let page = fs::read_to_string(&path).expect("the page can be read");
    let (before, rest) = page.split_once(BEGIN).expect("the list begins somewhere");
    let (listed, after) = rest.split_once(END).expect("the list ends");
    if std::env::var_os("WEIR_WRITE_DOCS").is_some() {
        fs::write(&path, [before, BEGIN, &list(), END, after].concat()).expect("the page can be written");
    } else {
        assert_eq!(
            listed,
            list(),
            "WEIR_WRITE_DOCS=1 cargo test -p weir --lib unswappable writes it"
        );
    }
}

#[test]
fn each_kind_is_listed_once() {
    for (at, kind) in Unswappable::ALL.into_iter().enumerate() {
        let place = match kind {
            Unswappable::Sink => 0,
            Unswappable::State => 1,
            Unswappable::Way => 2,
            Unswappable::CurrentRow => 3,
            Unswappable::RuleWithoutSwap => 4,
            Unswappable::RunningAggregate => 5,
            Unswappable::AggregateState => 6,
            Unswappable::AggregateResult => 7,
        };
        assert_eq!(at, place, "{kind:?}: a kind that is new is listed as well");
    }
}

/// The one error of these files that is of no kind: a record that is damaged.
const DAMAGED: &str = "the record of it is damaged";

#[test]
fn who_refuses_a_takeover_names_a_kind() {
    for (file, text) in [
        ("swap.rs", include_str!("../swap.rs")),
        ("takeover.rs", include_str!("../takeover.rs")),
        ("computed.rs", include_str!("../computed.rs")),
        ("renewal.rs", include_str!("../renewal.rs")),
    ] {
        for made in ["Error::definition(", "Error::mismatch("] {
            for (at, _) in text.match_indices(made) {
                let line = text[..at].matches('\n').count() + 1;
                let said = text[at..].split(";\n").next().unwrap_or_default();
                assert!(
                    said.contains(DAMAGED),
                    "host/src/engine/{file}:{line} refuses something that is no `Unswappable`, so that no page names it"
                );
            }
        }
    }
}

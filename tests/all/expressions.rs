//! Rules that are expressions: the guest that the host carries is what the sources make, and one behind a keyed function.

use super::weir;
use sha2::{Digest, Sha256};
use std::{
    fs,
    path::{Path, PathBuf},
};
use weir_tests::{table::contents, workspace};

const WRITE: &str = "cargo xtask guests && WEIR_WRITE_ENGINE=1 cargo test -p weir-tests --test all expressions";

/// What the component depends on, apart from the compiler.
const SOURCES: [&str; 4] = [
    "expression/src",
    "guests/expression/src",
    "guests/sdk/src/bindings/stage.rs",
    "wit/0.2/types.wit",
];

/// Files of the sources that only the host compiles.
const OF_HOST: [&str; 4] = [
    "expression/src/compile.rs",
    "expression/src/compile",
    "expression/src/reference.rs",
    "expression/src/reference",
];

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if OF_HOST.iter().any(|of_host| path == workspace().join(of_host)) {
        return;
    }
    if path.is_file() {
        files.push(path.to_owned());
        return;
    }
    for entry in fs::read_dir(path).expect("the sources are there") {
        collect(&entry.expect("the folder can be read").path(), files);
    }
}

/// A digest over all sources.
fn sources() -> String {
    let mut files = Vec::new();
    SOURCES
        .iter()
        .for_each(|source| collect(&workspace().join(source), &mut files));
    files.sort();
    let mut digest = Sha256::new();
    for file in files {
        digest.update(fs::read(&file).expect("a source can be read"));
    }
    let digest = digest.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The component is in the repository, so that a build of the host needs no other target: a change of what it is made of has to
/// come with another component.
#[test]
fn the_engine_of_expressions_is_made_of_these_sources() {
    let folder = workspace().join("host/src/wasm/expression");
    let (engine, record) = (folder.join("engine.wasm"), folder.join("sources.sha256"));
    if std::env::var_os("WEIR_WRITE_ENGINE").is_some() {
        fs::copy(weir_tests::guest("expression"), &engine).expect("the component is copied");
        fs::write(&record, sources() + "\n").expect("the digest is written");
    }
    let recorded = fs::read_to_string(&record).unwrap_or_default();
    assert_eq!(
        recorded.trim(),
        sources(),
        "the component {} is made of other sources; `{WRITE}` makes it anew",
        engine.display()
    );
}

/// What a keyed function gives when a time comes is no event's doing: whoever rejects it costs the row, and not the event that moved
/// the watermark there, nor each one after it.
#[test]
fn a_rule_that_rejects_a_row_of_a_time_costs_no_event() {
    let folder = weir_tests::scratch();
    let scenario = workspace().join("guests/two-countries");
    let pipeline = fs::read_to_string(scenario.join("pipeline.toml")).expect("the pipeline is there");
    let module = weir_tests::guest("two-countries");
    let pipeline = pipeline.replace(
        "../../target/guests/two-countries.wasm",
        module.to_str().expect("a path"),
    );
    let rule = "[[step]]\nname = \"judged\"\nfrom = \"watch.quiet\"\nrule = { reject = { \"alarms > 0\" = \"it had alarms\" } }\n";
    let pipeline = pipeline
        .replace("from = \"watch.quiet\"", "from = \"judged\"")
        .replacen("[[sink]]", &format!("{rule}\n[[sink]]"), 1);
    let file = folder.path().join("pipeline.toml");
    fs::write(&file, pipeline).expect("the pipeline is written");
    let database = folder.path().join("cards.db");
    let input = scenario.join("cases/travels/input.jsonl");
    let arguments = [
        "replay".as_ref(),
        file.as_os_str(),
        "--input".as_ref(),
        input.as_os_str(),
    ];
    let into = ["--database".as_ref(), database.as_os_str()];
    weir().run(arguments.into_iter().chain(into)).ends_with(0);

    let contents = contents(&database);
    let letters = contents.dead_letters.iter();
    let letters: Vec<(u64, &str)> = letters
        .map(|letter| (letter.sequence, letter.reason.as_str()))
        .collect();
    // The fourth is an event without a country; the sixth moved the watermark.
    let expected = [
        (4, "column `country` is null; accepted are names of countries"),
        (6, "it had alarms"),
    ];
    assert_eq!(letters, expected);
    assert_eq!((contents.counts.events, contents.counts.dead_letters), (7, 1));
}

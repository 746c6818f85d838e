//! The guest behind rules that are expressions: what the host carries is what the sources make.

use sha2::{Digest, Sha256};
use std::{
    fs,
    path::{Path, PathBuf},
};
use weir_tests::workspace;

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

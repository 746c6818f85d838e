//! Writing a rule, from `weir new` on: what is made builds and passes, and says where it is broken.

use super::weir;
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};
use weir_tests::{command::Outcome, scratch, workspace};

/// Runs a command line in a folder. Nothing is downloaded: building the guests got all that a rule stands on.
#[track_caller]
fn run(folder: &Path, arguments: &str) -> Outcome {
    weir().run_in_with(folder, arguments.split_whitespace(), &[("CARGO_NET_OFFLINE", "true")])
}

/// The digest that `weir build` says.
fn digest(built: &Outcome) -> String {
    let line = built.stdout.lines().find_map(|line| line.strip_prefix("sha256"));
    line.expect("the digest is said").trim().to_owned()
}

#[track_caller]
fn replace(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).expect("the file can be read");
    assert!(text.contains(from), "{from:?} is in {}", file.display());
    fs::write(file, text.replacen(from, to, 1)).expect("the file can be written");
}

/// The number of the line that holds `text`.
#[track_caller]
fn line_of(file: &Path, text: &str) -> usize {
    let source = fs::read_to_string(file).expect("the file can be read");
    let at = source.lines().position(|line| line.contains(text));
    at.unwrap_or_else(|| panic!("{text:?} is in {}", file.display())) + 1
}

#[test]
fn a_new_rule_is_built_tested_broken_and_mended() {
    let folder = scratch();
    let (near, far) = (folder.path().to_owned(), folder.path().join("a folder/deeper"));
    fs::create_dir_all(&far).unwrap();

    // As it stands it builds and passes, and the folder that it is in makes no difference.
    let mut digests = Vec::new();
    for place in [&near, &far] {
        let made = run(place, "new large-orders --alone").ends_with(0);
        assert!(
            made.stdout.starts_with("made large-orders, with the SDK in "),
            "{}",
            made.stdout
        );
        let built = run(place, "build large-orders").ends_with(0);
        assert!(
            built.stdout.starts_with("rule       large-orders 0.1.0\n"),
            "{}",
            built.stdout
        );
        digests.push(digest(&built));
    }
    assert_eq!(digests[0], digests[1], "the same source gives the same component");

    // What lies in the place of the component is not written through.
    let (component, precious) = (
        near.join("large-orders/target/large-orders.wasm"),
        near.join("precious"),
    );
    let mode = fs::metadata(&component).unwrap().permissions().mode();
    assert_eq!(mode & 0o133, 0, "{mode:o}: others write to it, or somebody runs it");
    let bytes = fs::read(&component).unwrap();
    fs::write(&precious, "of somebody else").unwrap();
    fs::remove_file(&component).unwrap();
    symlink(&precious, &component).unwrap();
    run(&near, "build large-orders")
        .ends_with(1)
        .says("large-orders.wasm: it is a symbolic link to ")
        .says("remove it, or name another");
    assert_eq!(fs::read(&precious).unwrap(), b"of somebody else");
    fs::remove_file(&component).unwrap();
    fs::hard_link(&precious, &component).unwrap();
    run(&near, "build large-orders").ends_with(0);
    assert_eq!(
        fs::read(&precious).unwrap(),
        b"of somebody else",
        "the second name is another file now"
    );
    assert_eq!(fs::read(&component).unwrap(), bytes);
    let rule = near.join("large-orders");
    let component = fs::read(rule.join("target/large-orders.wasm")).unwrap();
    for path in [folder.path(), workspace()] {
        let path = path.to_str().unwrap().as_bytes();
        let holds_it = component.windows(path.len()).any(|window| window == path);
        assert!(!holds_it, "the component names no folder of this machine");
    }
    let passed = run(&rule, "test").ends_with(0);
    assert_eq!(
        passed.stdout,
        "ok       first  5 events, 1 dead letter\n1 case: 1 passed\n"
    );
    passed.says_nothing();

    // A mistake in the rule: the component is yesterday's, which is said, and then it is not.
    let source = rule.join("src/lib.rs");
    replace(&source, "amount >= settings.threshold", "amount > settings.threshold");
    let stale = run(&rule, "test").ends_with(0);
    stale.says("target/large-orders.wasm is older than src/lib.rs; `weir build`");
    let failed = run(&rule, "test --build").ends_with(1);
    assert_eq!(
        failed.stdout,
        "FAIL     first  5 events, 1 dead letter\n  \
           table large_orders (- cases/first/expected.jsonl, + what came out)\n    \
             - {\"customer\":\"bob\",\"orders\":1,\"total\":1000.0}\n\
         1 case: 0 passed, 1 failed; `--update` takes over what came out, if that is right\n"
    );

    // A panic: the dead letter names function and line, also of what was inlined.
    replace(
        &source,
        "    if amount < 0.0 {",
        "    if digit(amount) == 0 {\n        return Ok(None);\n    }\n    if amount < 0.0 {",
    );
    replace(
        &source,
        "#[cfg(test)]",
        "fn digit(amount: f64) -> u8 {\n    let digits = [1, 2, 3];\n    digits[amount as usize]\n}\n\n#[cfg(test)]",
    );
    let failed = run(&rule, "test --build").ends_with(1);
    let inner = line_of(&source, "digits[amount as usize]");
    let outer = line_of(&source, "if digit(amount) == 0");
    let reason = format!(
        "+ sequence 1, step large-orders: the rule panicked: index out of bounds: the len is 3 but the index is 1200, \
         at src/lib.rs:{inner}; in digit (src/lib.rs:{inner}), called by large_orders (src/lib.rs:{outer}), called by "
    );
    assert!(failed.stdout.contains(&reason), "{reason}\n{}", failed.stdout);
    assert!(!failed.stdout.contains("weir-guest"), "{}", failed.stdout);

    // A mistake of the compiler's kind leaves the component as it was.
    replace(&source, "let digits", "let numbers");
    run(&rule, "build")
        .ends_with(1)
        .says("cannot find value `digits`")
        .says("weir: package large-orders cannot be built: cargo ended with ");

    // What came out is taken over, and then it is what is expected.
    let updated = run(&rule, "test --update").ends_with(0);
    for said in [
        "updated  first",
        "wrote cases/first/expected.jsonl",
        "wrote cases/first/dead_letters.jsonl",
    ] {
        assert!(updated.stdout.contains(said), "{said:?} is not in\n{}", updated.stdout);
    }
    run(&rule, "test cases/first").ends_with(0);

    // A crate that calls JavaScript is named, with the feature that makes it do so.
    let make_crate = |name: &str, manifest: &str, source: &str| {
        let folder = near.join(name);
        fs::create_dir_all(folder.join("src")).unwrap();
        let package = format!("[package]\nname = \"{name}\"\nversion = \"0.3.0\"\nedition = \"2024\"\n");
        fs::write(folder.join("Cargo.toml"), package + manifest).unwrap();
        fs::write(folder.join("src/lib.rs"), source).unwrap();
    };
    make_crate(
        "wasm-bindgen",
        "",
        "#[link(wasm_import_module = \"__wbindgen_placeholder__\")]\nunsafe extern \"C\" { safe fn __wbindgen_now() -> f64; }\n\
         pub fn now() -> f64 { __wbindgen_now() }\n",
    );
    make_crate(
        "clock",
        "[features]\ndefault = [\"browser\"]\nbrowser = [\"dep:wasm-bindgen\"]\n\
         [dependencies]\nwasm-bindgen = { path = \"../wasm-bindgen\", optional = true }\n",
        "pub fn now() -> f64 { wasm_bindgen::now() }\n",
    );
    replace(&source, "let numbers", "let digits");
    replace(
        &source,
        "-> u8 {\n    let digits",
        "-> u8 {\n    let amount = amount + clock::now();\n    let digits",
    );
    let manifest = rule.join("Cargo.toml");
    replace(
        &manifest,
        "[dependencies]\n",
        "[dependencies]\nclock = { path = \"../clock\" }\n",
    );
    run(&rule, "build").ends_with(2).says(
        "it calls JavaScript, which a rule does not have: crate clock 0.3.0 by its feature \"browser\" brings that in",
    );
}

/// The most frequent word, of several the one that the map gives last.
const WORDS: &str = r#"//! Words.

use std::collections::HashMap;
use weir_guest::{Input, Output, stage};

#[derive(Input)]
struct Text<'a> {
    words: Option<&'a str>,
}

#[derive(Output)]
#[pass(id)]
struct Top {
    top: Option<String>,
}

/// The most frequent word.
#[stage]
fn top_word(text: Text<'_>) -> Top {
    let mut counts: HashMap<&str, u32> = HashMap::default();
    for word in text.words.unwrap_or_default().split(' ') {
        *counts.entry(word).or_default() += 1;
    }
    let top = counts.iter().max_by_key(|(_, count)| **count).map(|(word, _)| (*word).to_owned());
    Top { top }
}
"#;

/// A rule whose answer depends on what its instance did before is found three times: by clippy, when it is built, and by its
/// cases. With the maps of the SDK it is a rule like any other.
#[test]
fn a_rule_that_iterates_over_a_map_with_random_keys_is_found() {
    let folder = scratch();
    run(folder.path(), "new words --alone").ends_with(0);
    let rule = folder.path().join("words");
    let write = |file: &str, text: &str| fs::write(rule.join(file), text).expect("the file can be written");
    // The name of one of its functions is longer than a table of lines takes.
    let long = "n".repeat(1025);
    let words = WORDS.replace("text.words.unwrap_or_default()", &format!("{long}(&text)"));
    let taken = format!(
        "\n#[inline(never)]\nfn {long}<'a>(text: &Text<'a>) -> &'a str {{\n    text.words.unwrap_or_default()\n}}\n"
    );
    write("src/lib.rs", &(words + &taken));
    write(
        "pipeline.toml",
        "name = \"words\"\nsource = { stream = \"S\", subject = \"s\", columns = { id = \"int\", words = \"text\" } }\n\
         [[step]]\nname = \"top\"\nstage = { module = \"target/words.wasm\" }\n[[sink]]\ntable = \"tops\"\n",
    );
    let words = "blue red green cyan teal pink lime gold plum navy rose sand";
    let events: String = (1..=24)
        .map(|id| format!("{{\"id\":{id},\"words\":\"{words}\"}}\n"))
        .collect();
    write("cases/first/input.jsonl", &events);
    fs::remove_file(rule.join("cases/first/dead_letters.jsonl")).expect("the file is there");
    write("cases/first/expected.jsonl", &"{}\n".repeat(24));

    let clippy = |code: i32, said: &str| {
        let outcome = std::process::Command::new("cargo")
            .args(["clippy", "--offline", "--quiet"])
            .current_dir(&rule)
            .output()
            .expect("cargo can be started");
        let words = String::from_utf8_lossy(&outcome.stderr);
        assert_eq!(outcome.status.code(), Some(code), "{words}");
        assert!(words.contains(said), "{said:?} is not in\n{words}");
    };
    clippy(
        101,
        "its order is random; use weir_guest::HashMap or std::collections::BTreeMap",
    );
    let built = run(&rule, "build").ends_with(0);
    let built = built
        .says("weir: package words: functions are left out whose names, or those of their files, have more than 1024 bytes (")
        .says("); where it fails there, no lines are named");
    let line = line_of(&rule.join("src/lib.rs"), "HashMap::default()");
    built.says(&format!(
        "weir: package words makes a HashMap or HashSet with random keys of the standard library, in top_word (src/lib.rs:{line}): the"
    ));
    for arguments in ["test", "test --update"] {
        // What differs is not what will be expected.
        let failed = run(&rule, arguments).ends_with(1).stdout;
        for said in [
            "in batches of 1 event, table tops holds [",
            "in batches of 7 events, table tops holds [",
            "see that it iterates over no HashMap or HashSet with random keys",
        ] {
            assert!(failed.contains(said), "{said:?} is not in\n{failed}");
        }
    }

    replace(
        &rule.join("src/lib.rs"),
        "use std::collections::HashMap;\nuse weir_guest::{",
        "use weir_guest::{HashMap, ",
    );
    clippy(0, "");
    let built = run(&rule, "build").ends_with(0);
    assert!(!built.stderr.contains("random keys"), "{}", built.stderr);
    run(&rule, "test --update").ends_with(0);
    run(&rule, "test").ends_with(0);
    let rows = fs::read_to_string(rule.join("cases/first/expected.jsonl")).expect("the rows were written");
    let tops: std::collections::BTreeSet<_> = rows.lines().filter_map(|row| row.split("\"top\"").nth(1)).collect();
    assert_eq!((rows.lines().count(), tops.len()), (24, 1), "{rows}");
}

#[test]
fn an_aggregate_is_built_like_a_rule_and_does_not_stand_in_for_one() {
    let folder = scratch();
    run(folder.path(), "new bounces --alone").ends_with(0);
    let source = workspace().join("guests/sdk/tests/guide/aggregate.rs");
    fs::copy(source, folder.path().join("bounces/src/lib.rs")).expect("the source can be copied");
    let built = run(folder.path(), "build bounces").ends_with(0);
    assert!(
        built.stdout.starts_with("aggregate  bounces 0.1.0\n"),
        "{}",
        built.stdout
    );
    run(folder.path(), "check bounces/pipeline.toml").ends_with(2).says(
        "it is an aggregate (it exports weir:stage/aggregate@0.2.0), and here belongs a stage, which exports \
         weir:stage/stage@0.2.0",
    );
}

#[test]
fn what_cannot_be_made_or_built_is_told() {
    let folder = scratch();
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    fs::create_dir_all(path("taken")).unwrap();
    fs::create_dir_all(path("native/src")).unwrap();
    let native = "[package]\nname = \"native\"\nedition = \"2024\"\n[workspace]\n";
    fs::write(path("native/Cargo.toml"), native).unwrap();
    fs::write(path("native/src/lib.rs"), "").unwrap();
    for (arguments, code, said) in [
        ("new taken", 2, "taken is there already, and nothing is overwritten"),
        (
            "new Large",
            2,
            "\"Large\" is no name for a rule; accepted are 1 to 64 of a-z",
        ),
        ("new ../up", 2, "\"../up\" is no name for a rule"),
        ("new match", 2, "\"match\" means something to Rust or cargo"),
        (
            "new rule --sdk taken",
            2,
            "taken does not hold the crate weir-guest; --sdk names the folder guests/sdk",
        ),
        (
            "build taken",
            2,
            "there is no Cargo.toml in taken; name the folder of a guest, or make one with `weir new NAME`",
        ),
        (
            &format!("build {}", workspace().display()),
            2,
            "is a workspace and no package",
        ),
        (
            "build native",
            2,
            "makes no WebAssembly module; its manifest needs crate-type = [\"cdylib\", \"rlib\"]",
        ),
        (
            "test taken",
            2,
            "there is no pipeline in taken; a folder with one has a pipeline.toml, or is a project",
        ),
    ] {
        let outcome = run(folder.path(), arguments).ends_with(code).says(said);
        assert_eq!(outcome.stdout, "", "{arguments}");
    }
    assert!(
        !path("rule").exists(),
        "nothing is made by a command that could not begin"
    );
}

/// What `weir new` makes is a project: it builds and passes, from each folder, its schemas are those of this program, and a
/// second rule goes beside the first.
#[test]
fn a_new_project_is_built_and_tested() {
    let folder = scratch();
    let place = folder.path();
    let made = run(place, "new large-orders").ends_with(0);
    assert!(
        made.stdout.contains("\n  pipelines/large-orders.toml  a pipeline\n"),
        "{}",
        made.stdout
    );
    let project = place.join("large-orders");
    for (file, of) in [("pipeline.schema.json", "pipeline"), ("project.schema.json", "project")] {
        let printed = run(place, &format!("schema {of}")).ends_with(0).stdout;
        assert_eq!(
            fs::read_to_string(project.join(".weir").join(file)).unwrap(),
            printed,
            "{file}"
        );
    }
    // The first line names the schema by a path from the file itself.
    for file in ["weir.toml", "pipelines/large-orders.toml"] {
        let text = fs::read_to_string(project.join(file)).unwrap();
        let schema = text
            .lines()
            .next()
            .unwrap()
            .strip_prefix("#:schema ")
            .expect("it is named");
        let schema = project.join(file).parent().unwrap().join(schema);
        assert!(schema.is_file(), "{}", schema.display());
    }

    let built = run(&project, "build").ends_with(0);
    assert!(
        built.stdout.contains("component  target/large-orders.wasm\n"),
        "{}",
        built.stdout
    );
    let passed = "ok       large-orders/first  5 events, 1 dead letter\n1 pipeline, 1 case: 1 passed\n";
    assert_eq!(run(&project, "test").ends_with(0).says_nothing().stdout, passed);
    assert_eq!(run(place, "test large-orders").ends_with(0).stdout, passed);
    let of_guest = run(&project, "build guests/large-orders").ends_with(0);
    assert_eq!(digest(&of_guest), digest(&built), "it is the same guest");
    assert!(
        run(&project, "check")
            .ends_with(0)
            .stdout
            .starts_with("pipeline large-orders (now is the store time)\n")
    );

    // Yesterday's component is named with the source that it is not of.
    let source = project.join("guests/large-orders/src/lib.rs");
    replace(&source, "amount >= settings.threshold", "amount > settings.threshold");
    run(&project, "test")
        .ends_with(0)
        .says("target/large-orders.wasm is older than guests/large-orders/src/lib.rs; `weir build`");
    run(&project, "test --build").ends_with(1);
    replace(&source, "amount > settings.threshold", "amount >= settings.threshold");

    // Another rule and another pipeline.
    for file in ["Cargo.toml", "src/lib.rs"] {
        let (from, to) = (project.join("guests/large-orders"), project.join("guests/small-orders"));
        fs::create_dir_all(to.join("src")).unwrap();
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
    replace(
        &project.join("guests/small-orders/Cargo.toml"),
        "\"large-orders\"",
        "\"small-orders\"",
    );
    let pipeline = fs::read_to_string(project.join("pipelines/large-orders.toml")).unwrap();
    let pipeline = pipeline.replace("name = \"large-orders\"\n# Of", "name = \"small\"\n# Of");
    let pipeline = pipeline.replace("target/large-orders.wasm", "target/small-orders.wasm");
    fs::write(project.join("pipelines/small.toml"), pipeline).unwrap();
    let built = run(&project, "build").ends_with(0).stdout;
    assert_eq!(built.matches("component  target/").count(), 2, "{built}");
    let tested = run(&project, "test")
        .ends_with(0)
        .says("pipeline small has no cases: there is no folder cases/small/NAME");
    assert!(
        tested.stdout.ends_with("2 pipelines, 1 case: 1 passed\n"),
        "{}",
        tested.stdout
    );
    run(&project, "build --out one.wasm")
        .ends_with(2)
        .says("--out names one component, one.wasm, and . has 2 guests");
    run(place, "dev large-orders --once")
        .ends_with(2)
        .says("the project large-orders has pipelines large-orders, small; say which, as in --pipeline large-orders");
}

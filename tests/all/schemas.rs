//! The JSON schemas of pipeline files and of `weir.toml`: what Weir takes fits them, and what is not of a file's shape does not.

use super::weir;
use jsonschema::Validator;
use serde_json::Value;
use std::{fs, path::Path};
use weir::planner::schema;
use weir_tests::workspace;

/// A schema, for a validator.
fn validator(schema: &Value) -> Validator {
    jsonschema::draft7::new(schema).expect("the schema is one")
}

/// TOML as a validator reads it; nothing where it is none.
fn as_json(text: &str) -> Option<Value> {
    let table: toml::Table = text.parse().ok()?;
    Some(serde_json::to_value(table).expect("TOML is JSON"))
}

/// What of a text does not fit.
fn faults(validator: &Validator, text: &str) -> Vec<String> {
    let value = as_json(text).expect("it is TOML");
    let faults = validator.iter_errors(&value);
    faults
        .map(|fault| format!("{}: {fault}", fault.instance_path()))
        .collect()
}

/// The files below a folder, without what was built.
fn files_below(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("the folder can be read").flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") && !path.ends_with("tests/all/pipelines") {
            files_below(&path, found);
        } else if let Ok(text) = fs::read_to_string(&path) {
            found.push((path.display().to_string(), text));
        }
    }
}

/// Whether a text is a whole pipeline.
fn is_pipeline(text: &str) -> bool {
    let table: Option<toml::Table> = text.parse().ok();
    table.is_some_and(|table| ["name", "source", "sink"].iter().all(|key| table.contains_key(*key)))
}

/// The pipelines of the repository that are right: files, and examples on pages.
fn pipelines() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for folder in ["guests", "docs", "tests/all", "tests/fixtures", "host/src/command/new"] {
        files_below(&workspace().join(folder), &mut files);
    }
    files.push((
        "README.md".to_owned(),
        fs::read_to_string(workspace().join("README.md")).expect("there is one"),
    ));
    let mut pipelines = Vec::new();
    for (path, text) in files {
        if path.ends_with(".toml") && is_pipeline(&text) {
            pipelines.push((path, text));
        } else if path.ends_with(".md") {
            let fences = text
                .split("\n```toml\n")
                .skip(1)
                .filter_map(|rest| rest.split("\n```").next());
            let fences = fences.filter(|fence| is_pipeline(fence)).map(str::to_owned);
            pipelines.extend(fences.map(|fence| (path.clone(), fence)));
        }
    }
    pipelines
}

#[test]
fn every_pipeline_of_the_repository_fits() {
    let validator = validator(&schema::of_pipeline());
    let pipelines = pipelines();
    assert!(pipelines.len() > 20, "there are {}", pipelines.len());
    for (path, text) in pipelines {
        let faults = faults(&validator, &text);
        assert!(faults.is_empty(), "{path}: {}\n{text}", faults.join("\n"));
    }
}

/// A file that is not of the shape of one is found by its schema as well, and one whose mistake is another is not.
#[test]
fn mistakes_of_shape_are_mistakes_for_an_editor() {
    let validator = validator(&schema::of_pipeline());
    let folder = workspace().join("tests/all/pipelines");
    let (mut unknown, mut missing, mut wrong) = (0, 0, 0);
    let mut passed = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder of cases can be read").flatten() {
        let text = fs::read_to_string(entry.path()).expect("a case can be read");
        let Some(value) = as_json(&text) else { continue };
        let said = text.lines().next().expect("a case says what is expected");
        let is_of_shape = match said {
            _ if said.contains("unknown key `") => &mut unknown,
            _ if said.contains("missing key `") => &mut missing,
            _ if said.contains(": found the ") && said.contains(", expected ") => &mut wrong,
            _ if said.contains(": found a ") && said.contains(", expected ") => &mut wrong,
            _ => continue,
        };
        *is_of_shape += 1;
        if validator.is_valid(&value) {
            passed.push(format!("{}: {said}", entry.path().display()));
        }
    }
    assert!(
        unknown > 10 && missing > 5 && wrong > 10,
        "{unknown} unknown, {missing} missing, {wrong} wrong"
    );
    assert!(passed.is_empty(), "these fit:\n{}", passed.join("\n"));
}

/// The parts of the cases in `projects/` that are files.
fn shared_files() -> Vec<(String, String)> {
    let folder = workspace().join("tests/all/projects");
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder of cases can be read").flatten() {
        let text = fs::read_to_string(entry.path()).expect("a case can be read");
        for part in format!("\n{text}").split("\n--- ").skip(1) {
            let (title, body) = part.split_once('\n').expect("a part has lines");
            let case = entry.file_name().display().to_string();
            files.push((format!("{case}: {title}"), body.to_owned()));
        }
    }
    files
}

#[test]
fn what_a_project_shares_fits_its_schema_and_its_pipelines_theirs() {
    let (project, pipeline) = (validator(&schema::of_project()), validator(&schema::of_pipeline()));
    let mut seen = 0;
    for (title, text) in shared_files() {
        let is_wrong = ["unknown-", "mistake-in-the-", "not-toml"];
        if is_wrong.iter().any(|wrong| title.starts_with(wrong)) {
            continue;
        }
        let validator = match title {
            _ if title.contains("$ weir ") => continue,
            _ if title.ends_with("weir.toml") => &project,
            _ if title.contains("/pipelines/") && title.ends_with(".toml") => &pipeline,
            _ => continue,
        };
        seen += 1;
        let faults = faults(validator, &text);
        assert!(faults.is_empty(), "{title}: {}\n{text}", faults.join("\n"));
    }
    assert!(seen > 10, "there are {seen}");
    for (title, text) in shared_files() {
        if [
            "mistake-in-the-shared-file.txt: shop/weir.toml",
            "unknown-key-of-a-source.txt: shop/weir.toml",
        ]
        .contains(&&*title)
        {
            assert!(!faults(&project, &text).is_empty(), "{title} is found");
        }
    }
}

#[test]
fn the_command_prints_them() {
    for (arguments, schema) in [
        (&["schema"][..], schema::of_pipeline()),
        (&["schema", "pipeline"], schema::of_pipeline()),
        (&["schema", "project"], schema::of_project()),
    ] {
        let said = weir().run(arguments).ends_with(0).says_nothing().stdout;
        let said: Value = serde_json::from_str(&said).expect("it is JSON");
        assert_eq!(said, schema, "{arguments:?}");
    }
    // What an editor shows of a key.
    let said = weir().run(["schema"]).stdout;
    assert!(
        said.contains("The subject within the stream; may hold the wildcards of NATS."),
        "{said}"
    );
    // It is the name of keys.
    assert!(!said.replace("\"null\":", "").contains("\"null\""), "TOML has none");
}

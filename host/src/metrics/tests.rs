use super::*;
use std::{collections::BTreeSet, fmt::Write, path::Path};

/// What `docs/reference/metrics.md` holds.
fn reference() -> String {
    let mut text = String::from(
        "# Metrics\n\n\
         What a running pipeline measures. `weir status -v` and `weir replay -v` show part of it, `--json` the same for\n\
         scripts. Names, units and labels follow the conventions of Prometheus. Counters begin at zero with the process.\n\n\
         Metrics without the label `step` are those of the pipeline: what is committed. Those of a step are what passed\n\
         through it so far.\n\n\
         This page is generated from `host/src/metrics.rs`:\n\
         `WEIR_WRITE_DOCS=1 cargo test -p weir --lib metrics` writes it.\n\n\
         | metric | kind | unit | labels | what it is |\n| --- | --- | --- | --- | --- |\n",
    );
    for Declaration {
        name,
        kind,
        unit,
        labels,
        variants,
        help,
    } in declared()
    {
        let mut labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        if let Some((label, values)) = variants {
            labels.push(format!("`{label}`: {}", values.join(", ")));
        }
        let labels = labels.join(", ");
        writeln!(text, "| `{name}` | {kind} | {unit} | {labels} | {help} |").expect("a string takes everything");
    }
    text
}

#[test]
fn the_reference_lists_what_is_declared() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/metrics.md");
    if std::env::var_os("WEIR_WRITE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, reference()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        written,
        reference(),
        "WEIR_WRITE_DOCS=1 cargo test -p weir --lib metrics writes it"
    );
}

#[test]
fn names_follow_prometheus() {
    let mut names = BTreeSet::new();
    for metric in declared() {
        let name = metric.name;
        assert!(names.insert(name), "{name} is declared twice");
        assert!(name.starts_with("weir_"), "{name}");
        let is_plain = |character: char| character.is_ascii_lowercase() || character == '_';
        assert!(name.chars().all(is_plain), "{name}");
        assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
        for unit in ["seconds", "bytes"] {
            let has_unit = name.trim_end_matches("_total").ends_with(&format!("_{unit}"));
            assert_eq!(has_unit, metric.unit == unit, "{name} counts {}", metric.unit);
        }
        assert!(metric.help.ends_with('.'), "{name}: a sentence ends");
        assert_eq!(metric.labels.first(), Some(&"pipeline"), "{name}");
    }
}

fn metrics() -> Metrics {
    Metrics::new("orders", [("source", vec![""]), ("count", vec!["", "late"])])
}

#[test]
fn samples_bear_every_label_of_their_declaration() {
    let metrics = metrics();
    metrics.add_module(&Arc::default());
    metrics.pipeline.watermark.set_ms(0);
    metrics.pipeline.lag_messages.set(Some(3));
    metrics.pipeline.outbox_messages.set(Some(0));
    metrics.pipeline.dead_letters_held.set(Some(0));
    metrics.pipeline.last_commit.set_ms(1_500);
    let samples = metrics.samples();
    let seen: BTreeSet<&str> = samples.iter().map(|sample| sample.metric.name).collect();
    assert_eq!(seen, declared().map(|metric| metric.name).collect());
    for Sample { metric, labels, .. } in &samples {
        let names: Vec<&str> = labels.iter().map(|(name, _)| *name).collect();
        let variant = metric.variants.map(|(name, _)| name);
        let declared: Vec<&str> = metric.labels.iter().copied().chain(variant).collect();
        assert_eq!(names, declared, "{}", metric.name);
    }
}

#[test]
fn outcomes_add_up_to_the_events() {
    let metrics = metrics();
    let events = &metrics.pipeline.events;
    for (outcome, count) in [
        (Outcome::Applied, 5),
        (Outcome::Filtered, 3),
        (Outcome::DeadLetter, 2),
        (Outcome::Empty, 1),
    ] {
        events.add(outcome, count);
        assert_eq!(events.get(outcome), count);
    }
    assert_eq!(events.sum(), 11);
}

#[test]
fn the_oldest_versions_go_where_there_are_many() {
    let metrics = metrics();
    for version in 0..=MEASURED_VERSIONS_MAX as u64 {
        let module = Arc::new(ModuleVersion {
            version,
            ..Default::default()
        });
        metrics.add_module(&module);
        metrics.add_module(&module);
    }
    let numbers = metrics.module_numbers();
    assert_eq!(numbers.len(), MEASURED_VERSIONS_MAX);
    assert_eq!(numbers.first().map(|module| module.version), Some(1));
}

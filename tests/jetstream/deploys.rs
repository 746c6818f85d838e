//! What a step runs is changed while `weir run` runs: by the commands, with what they print.

use crate::versions::{NO_TRIAL, Swapped, deploy, from_where, wait_for_status};
use expect_test::expect;
use weir::model::deployment::StoredVersion;
use weir_tests::swaps;

/// A version with which each tenth event is rejected.
const FAILS: &str = "fails = 'reject'\nevery = 10";

#[test]
fn deployments_take_effect_one_after_the_other() {
    let setup = Swapped::new(NO_TRIAL);
    let mut running = setup.start();
    setup.pass(&mut running, 1, 100);

    setup.check(
        "history swapped.toml versions",
        0,
        &expect![[r#"
        nothing was deployed for step versions of pipeline swapped yet
    "#]],
    );
    setup.check(
        "deploy swapped.toml versions {versions} --param label=1 --note first",
        0,
        &expect![[r#"
            deployed version 1 of step versions of pipeline swapped: module digest-of-versions with label = 1, malformed = 97
              MACHINE PID, swapped.db: in force from sequence 101, the events waited N µs for it
              in force after T
        "#]],
    );
    setup.pass(&mut running, 101, 200);
    setup.check(
        "params set swapped.toml versions label=2",
        0,
        &expect![[r#"
        deployed version 2 of step versions of pipeline swapped: module digest-of-versions with label = 2, malformed = 97
          MACHINE PID, swapped.db: in force from sequence 201, the events waited N µs for it
          in force after T
    "#]],
    );
    setup.pass(&mut running, 201, 300);
    setup.check(
        "rollback swapped.toml versions",
        0,
        &expect![[r#"
        deployed version 3 of step versions of pipeline swapped: module digest-of-versions with label = 1, malformed = 97
          MACHINE PID, swapped.db: in force from sequence 301, the events waited N µs for it
          in force after T
    "#]],
    );
    setup.pass(&mut running, 301, 400);
    setup.check(
        "rollback swapped.toml versions --to 0 --note enough",
        0,
        &expect![[r#"
            deployed version 4 of step versions of pipeline swapped: the module of the pipeline file with malformed = 97
              MACHINE PID, swapped.db: in force from sequence 401, the events waited N µs for it
              in force after T
        "#]],
    );
    setup.pass(&mut running, 401, 500);
    setup.check(
        "rollback swapped.toml versions --to 9",
        2,
        &expect![[r#"
        weir: the registry does not know version 9 of step "versions"; it knows 0 (what the pipeline file says), 1, 2, 3, 4
    "#]],
    );
    setup.check(
        "rollback swapped.toml versions --to 2",
        0,
        &expect![[r#"
        deployed version 5 of step versions of pipeline swapped: module digest-of-versions with label = 2, malformed = 97
          MACHINE PID, swapped.db: in force from sequence 501, the events waited N µs for it
          in force after T
    "#]],
    );
    setup.pass(&mut running, 501, 600);

    setup.check(
        "history swapped.toml versions --json",
        0,
        &expect![[r#"
            {"version":1,"digest":"DIGEST of versions","parameters":{"label":1,"malformed":97},"by":"tester@MACHINE","at_ms":0,"note":"first","outcomes":[]}
            {"version":2,"digest":"DIGEST of versions","parameters":{"label":2,"malformed":97},"by":"tester@MACHINE","at_ms":0,"note":null,"outcomes":[]}
            {"version":3,"digest":"DIGEST of versions","parameters":{"label":1,"malformed":97},"by":"tester@MACHINE","at_ms":0,"note":null,"outcomes":[]}
            {"version":4,"digest":null,"parameters":{"malformed":97},"by":"tester@MACHINE","at_ms":0,"note":"enough","of_file":true,"outcomes":[]}
            {"version":5,"digest":"DIGEST of versions","parameters":{"label":2,"malformed":97},"by":"tester@MACHINE","at_ms":0,"note":null,"outcomes":[]}
        "#]],
    );
    let table = setup.weir("history swapped.toml versions").ends_with(0).stdout;
    let table: Vec<String> = table.lines().map(words).collect();
    expect![[r#"
        version when who module parameters note
        1 WHEN tester@MACHINE digest-of-versions label = 1, malformed = 97 first
        2 WHEN tester@MACHINE digest-of-versions label = 2, malformed = 97
        3 WHEN tester@MACHINE digest-of-versions label = 1, malformed = 97
        4 WHEN tester@MACHINE of the file malformed = 97 enough
        5 WHEN tester@MACHINE digest-of-versions label = 2, malformed = 97"#]]
    .assert_eq(&without_times(&setup.plain(&table.join("\n"))));
    // The host says where it is now and then.
    wait_for_status(&setup.registry(), "word of the position", |host| host.position == 600);
    setup.check(
        "status",
        0,
        &expect![[r#"
        swapped at MACHINE PID, into swapped.db
          position 600, lag 0, dead letters 6, failed rows 0
          versions: version 5 (versions 0.1.0, digest-of-versions) from sequence 501 with label = 2, malformed = 97
    "#]],
    );
    setup.check(
        "status --json",
        0,
        &expect![[r#"
            {"pipeline":"swapped","host":"HOST","process":"MACHINE PID","database":"swapped.db","position":600,"lag":0,"lag_unknown_since":null,"paused_until":null,"counts":{"events":600,"applied":594,"filtered":0,"dead_letters":6,"empty":0,"late_rows":0,"ahead_events":0,"dead_rows":0},"failed_rows":0,"events_per_s":N,"watermark_ms":null,"late_rows":{},"outbox":null,"said_ms":N,"commit_age_ms":N,"step_metrics":[{"step":"source","rows_in":600,"rows_out":{"out":N},"late_rows":0,"failed_rows":0,"dead_letters":0,"busy_ms":N,"state_entries":0,"state_bytes":N},{"step":"versions","rows_in":600,"rows_out":{"out":N},"late_rows":0,"failed_rows":0,"dead_letters":6,"busy_ms":N,"state_entries":0,"state_bytes":N},{"step":"by-key","rows_in":594,"rows_out":{"out":N},"late_rows":0,"failed_rows":0,"dead_letters":0,"busy_ms":N,"state_entries":13,"state_bytes":N}],"module_metrics":[{"step":"versions","version":0,"candidate":false,"calls":N,"rows":100,"busy_ms":N,"failures":0},{"step":"versions","version":1,"candidate":false,"calls":N,"rows":100,"busy_ms":N,"failures":0},{"step":"versions","version":2,"candidate":false,"calls":N,"rows":100,"busy_ms":N,"failures":0},{"step":"versions","version":3,"candidate":false,"calls":N,"rows":100,"busy_ms":N,"failures":0},{"step":"versions","version":4,"candidate":false,"calls":N,"rows":100,"busy_ms":N,"failures":0},{"step":"versions","version":5,"candidate":false,"calls":N,"rows":100,"busy_ms":N,"failures":0}],"registry":null,"steps":[{"step":"versions","deployment":{"version":5,"digest":"DIGEST of versions","parameters":{"label":2,"malformed":97},"by":"tester@MACHINE","at_ms":0,"note":null},"digest":"DIGEST of versions","rule":"versions 0.1.0","first_sequence":501,"trial_left":0,"by_fallback":0,"pause_us":N,"failed":null,"waits":null,"shadow":null}]}
        "#]],
    );
    running.interrupt().ends_with(0);
    setup.check(
        "status",
        0,
        &expect![[r#"
        no pipeline runs with SERVER; `weir run` starts one
    "#]],
    );

    // Labels are given by hand: what was put back in force says what it said the first time.
    let versions = weir_tests::stored::read_versions(&setup.database(), swaps::PIPELINE).unwrap();
    assert_eq!(
        from_where(&versions),
        [(0, 1), (1, 101), (2, 201), (3, 301), (4, 401), (5, 501)]
    );
    let labels = [0, 1, 2, 1, 0, 2];
    swaps::check_labels(&setup.database(), |version| labels[version as usize]);
}

/// Deploys versions that are on trial, and kills the host in between; `deploys` are what is deployed after how many
/// events.
#[track_caller]
fn on_trial(deploys: &[(u64, &str)], kill_at: u64, last: u64) -> Vec<StoredVersion> {
    let setup = Swapped::new("{ rows = 500, failures = 5 }");
    let registry = setup.registry();
    let mut running = setup.start();
    let mut published = 0;
    for &(after, settings) in deploys {
        setup.pass(&mut running, published + 1, after);
        published = after;
        let version = deploy(&registry, settings).version;
        running.wait_for_word(&format!(
            "version {version} of step versions of pipeline swapped is in force"
        ));
    }
    setup.pass(&mut running, published + 1, kill_at);
    running.kill();
    let mut running = setup.start();
    setup.pass(&mut running, kill_at + 1, last);
    running.interrupt().ends_with(0);
    swaps::check(&setup.database()).0
}

#[test]
fn a_trial_from_the_first_event_on_goes_on_after_a_restart() {
    let versions = on_trial(&[(0, FAILS)], 30, 200);
    assert_eq!(from_where(&versions), [(1, 1), (0, 61)]);
    assert_eq!(versions[0].trial.by_fallback, [10, 20, 30, 40, 50, 60]);
}

#[test]
fn a_version_that_is_on_trial_itself_is_nothing_to_fall_back_on() {
    // The second is in order, but nobody knows yet.
    let versions = on_trial(&[(100, ""), (200, FAILS)], 230, 400);
    assert_eq!(from_where(&versions), [(0, 1), (1, 101), (2, 201), (0, 261)]);
}

#[test]
fn nor_is_one_that_was_taken_back() {
    let versions = on_trial(&[(100, FAILS), (200, FAILS)], 230, 400);
    assert_eq!(from_where(&versions), [(0, 1), (1, 101), (0, 161), (2, 201), (0, 261)]);
}

#[test]
fn a_database_that_a_crash_left_without_tables_is_made() {
    let setup = Swapped::new(NO_TRIAL);
    std::fs::write(setup.database(), "").unwrap();
    let mut running = setup.start();
    setup.pass(&mut running, 1, 10);
    running.interrupt().ends_with(0);
    assert_eq!(from_where(&swaps::check(&setup.database()).0), [(0, 1)]);
}

/// A line with one space between words.
fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Without days and times.
fn without_times(text: &str) -> String {
    let is_time = |word: &str| word.ends_with('Z') && word.contains(':');
    let is_day = |word: &str| word.len() == 10 && word.matches('-').count() == 2 && word.starts_with("20");
    let lines = text.lines().map(|line| {
        let words: Vec<&str> = line.split(' ').filter(|word| !is_day(word)).collect();
        words
            .into_iter()
            .map(|word| if is_time(word) { "WHEN" } else { word })
            .collect::<Vec<_>>()
            .join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

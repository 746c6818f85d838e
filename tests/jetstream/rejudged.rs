//! A rule over a changelog is swapped while `weir run` runs: the rows that there are by then are judged anew, whatever dies
//! meanwhile.

use crate::{
    process::{Running, weir},
    versions::{Swapped, deploy, publish, steps},
    wait_until,
};
use expect_test::expect;
use serde_json::{Value, json};
use std::{fs, path::Path, thread, time::Duration};
use weir_tests::stored::read_versions;
use weir_tests::{
    seed::with_seed,
    swaps::{MALFORMED, PIPELINE, key_of},
    table::query,
};

/// The rule reads the greatest number of each key; a table has its rows, another how many there are of each label.
fn text(trial: &str) -> String {
    format!(
        "name = '{PIPELINE}'\nsource = {{ stream = 'EVENTS', subject = 'events', columns = {{ n = 'int', k = 'text' }} }}\n\
         [[step]]\nname = 'greatest'\naggregate = {{ group_by = ['k'], columns = {{ n = {{ max = 'n' }} }} }}\n\
         [[step]]\nname = 'versions'\nstage = {{ module = '{}', parameters = {{ malformed = {MALFORMED} }}, trial = {trial} }}\n\
         [[sink]]\ntable = 'kept'\nprimary_key = ['k']\n\
         [[step]]\nname = 'by-label'\naggregate = {{ group_by = ['label'], columns = {{ keys = {{ count = '*' }}, total = {{ sum = 'n' }} }} }}\n\
         [[sink]]\ntable = 'by_label'\nprimary_key = ['label']\n",
        weir_tests::guest("versions").display()
    )
}

/// What the tables have to hold where all rows of the events `1..=last` bear one label. Rows that no version takes are none.
#[track_caller]
fn check_tables(database: &Path, last: u64, label: u64) {
    let mut greatest = std::collections::BTreeMap::new();
    for n in (1..=last).filter(|n| n % MALFORMED != 0) {
        greatest.insert(key_of(n).to_string(), n);
    }
    let kept = greatest.iter().map(|(k, n)| format!("{k}|{n}|{label}"));
    let found = query(database, "SELECT k || '|' || n || '|' || label FROM kept ORDER BY k");
    assert_eq!(found, kept.collect::<Vec<_>>());
    let total: u64 = greatest.values().sum();
    let by_label = query(database, "SELECT label || '|' || keys || '|' || total FROM by_label");
    assert_eq!(by_label, [format!("{label}|{}|{total}", greatest.len())]);
}

#[test]
fn a_version_judges_the_rows_that_are_there_anew() {
    let setup = Swapped::with(&text("{ rows = 40, failures = 3 }"));
    let mut running = setup.start();
    setup.pass(&mut running, 1, 100);
    check_tables(&setup.database(), 100, 0);

    setup.check(
        "deploy swapped.toml versions {versions} --param label=1 --param malformed=97",
        0,
        &expect![[r#"
            deployed version 1 of step versions of pipeline swapped: module digest-of-versions with label = 1, malformed = 97
              MACHINE PID, swapped.db: in force from sequence 101, the events waited N µs for it, on trial for 40 rows
              in force after T
        "#]],
    );
    check_tables(&setup.database(), 100, 1);
    let explained = setup.weir("explain swapped.db kept k=3").ends_with(0).stdout;
    let last = (1..=100)
        .rfind(|&n| key_of(n) == 3 && n % MALFORMED != 0)
        .expect("there is one");
    let swap = format!(
        "judged anew behind 100, where version 1 of step versions took over; what it judged was last changed by {last}\n"
    );
    assert!(explained.contains(&swap), "{explained}");
    let explained = setup.weir("explain swapped.db kept k=3 --json").ends_with(0);
    let explained: Value = serde_json::from_str(&explained.stdout).expect("it is JSON");
    assert_eq!(
        explained["swaps"],
        json!([{ "behind": 100, "last_event": last, "step": "versions", "version": 1 }])
    );

    setup.check(
        "params set swapped.toml versions label=2",
        0,
        &expect![[r#"
        deployed version 2 of step versions of pipeline swapped: module digest-of-versions with label = 2, malformed = 97
          MACHINE PID, swapped.db: in force from sequence 101, the events waited N µs for it, on trial for 40 rows
          in force after T
    "#]],
    );
    check_tables(&setup.database(), 100, 2);
    setup.check(
        "rollback swapped.toml versions",
        0,
        &expect![[r#"
        deployed version 3 of step versions of pipeline swapped: module digest-of-versions with label = 1, malformed = 97
          MACHINE PID, swapped.db: in force from sequence 101, the events waited N µs for it, on trial for 40 rows
          in force after T
    "#]],
    );
    check_tables(&setup.database(), 100, 1);
    setup.pass(&mut running, 101, 150);
    check_tables(&setup.database(), 150, 1);

    // It cannot take what is there by now.
    setup.check(
        "params set swapped.toml versions label=4 fails=reject",
        1,
        &expect![[r#"
            deployed version 4 of step versions of pipeline swapped: module digest-of-versions with fails = "reject", label = 4, malformed = 97
              MACHINE PID, swapped.db: refused: step "versions" would reject 13 of the rows that its input holds by now, the first: version 4 rejects 110
        "#]],
    );
    check_tables(&setup.database(), 150, 1);

    // Nor can what runs for ever on each of them: one is enough.
    let looping = setup.weir("params set swapped.toml versions label=4 fails=loop");
    assert!(
        looping
            .stdout
            .contains("would reject a row that its input holds by now"),
        "{}",
        looping.stdout
    );
    looping.ends_with(1);
    check_tables(&setup.database(), 150, 1);

    // It can, and not what comes: all of it goes back.
    setup
        .weir("params set swapped.toml versions label=5 fails=reject every=155")
        .ends_with(0);
    check_tables(&setup.database(), 150, 5);
    setup.pass(&mut running, 151, 160);
    check_tables(&setup.database(), 160, 1);
    running.interrupt().ends_with(0);
    let mut verify = weir().command();
    let verified = verify.arg("verify").arg(setup.database()).output();
    assert!(verified.expect("weir can be started").status.success());

    // Another process goes on with what the first left.
    let mut running = setup.start();
    setup
        .weir("params set swapped.toml versions label=6 fails= every=1")
        .ends_with(0);
    check_tables(&setup.database(), 160, 6);
    setup.pass(&mut running, 161, 170);
    running.interrupt().ends_with(0);
    let mut running = setup.start();
    setup.pass(&mut running, 171, 300);
    check_tables(&setup.database(), 300, 6);
    running.interrupt().ends_with(0);
}

#[test]
fn a_candidate_says_which_current_rows_would_become_others() {
    let setup = Swapped::with(&text("{ rows = 40, failures = 3 }"));
    let mut running = setup.start();
    setup.pass(&mut running, 1, 100);
    // What it says of the current rows, once it knows of all of them, and of these versions.
    let report = |sequence: u64, live: u64, candidate: u64| {
        let words = [
            format!("current rows would become others if it took over behind sequence {sequence}\n"),
            format!("label = {live}\n"),
            format!("label = {candidate}\n"),
        ];
        let mut said = String::new();
        wait_until("a comparison of all current rows", || {
            said = setup.weir("shadow report swapped.toml versions").ends_with(0).stdout;
            words.iter().all(|word| said.contains(word))
        });
        let of_rows = said.find(&words[0]).and_then(|at| said[..at].rfind('\n'));
        let said = said.split_off(of_rows.expect("it is there") + 1);
        let outdented = said.lines().map(|line| line.get(2..).unwrap_or(line).to_owned() + "\n");
        outdented.collect::<String>()
    };
    setup
        .weir("shadow start swapped.toml versions {versions} --param label=7")
        .ends_with(0);
    expect![[r#"
          13 of 13 current rows would become others if it took over behind sequence 100
                      0  let through by the candidate alone
                      0  let through by the live version alone
                     13  let through by both, otherwise
          the first of them:
            k = 0
              live       n = 96, k = 0, label = 0
              candidate  n = 96, k = 0, label = 7
            k = 1
              live       n = 82, k = 1, label = 0
              candidate  n = 82, k = 1, label = 7
            k = 10
              live       n = 98, k = 10, label = 0
              candidate  n = 98, k = 10, label = 7
            k = 11
              live       n = 63, k = 11, label = 0
              candidate  n = 63, k = 11, label = 7
            k = 12
              live       n = 90, k = 12, label = 0
              candidate  n = 90, k = 12, label = 7
            k = 2
              live       n = 95, k = 2, label = 0
              candidate  n = 95, k = 2, label = 7
            k = 3
              live       n = 74, k = 3, label = 0
              candidate  n = 74, k = 3, label = 7
            k = 4
              live       n = 94, k = 4, label = 0
              candidate  n = 94, k = 4, label = 7
            k = 5
              live       n = 87, k = 5, label = 0
              candidate  n = 87, k = 5, label = 7
            k = 6
              live       n = 100, k = 6, label = 0
              candidate  n = 100, k = 6, label = 7
    "#]]
    .assert_eq(&report(100, 0, 7));

    // It cannot take some of those that come.
    setup
        .weir("shadow start swapped.toml versions {versions} --param label=8 --param fails=reject --param every=5")
        .ends_with(0);
    setup.pass(&mut running, 101, 150);
    expect![[r#"
          13 of 13 current rows would become others if it took over behind sequence 150
                      0  let through by the candidate alone
                      3  let through by the live version alone
                     10  let through by both, otherwise
          it would not come into force: step "versions" would reject 3 of the rows that its input holds by now, the first: version 8 rejects 110
          the first of them:
            k = 0
              live       n = 110, k = 0, label = 0
              candidate  rejected: version 8 rejects 110
            k = 1
              live       n = 144, k = 1, label = 0
              candidate  n = 144, k = 1, label = 8
            k = 10
              live       n = 139, k = 10, label = 0
              candidate  n = 139, k = 10, label = 8
            k = 11
              live       n = 138, k = 11, label = 0
              candidate  n = 138, k = 11, label = 8
            k = 12
              live       n = 145, k = 12, label = 0
              candidate  rejected: version 8 rejects 145
            k = 2
              live       n = 150, k = 2, label = 0
              candidate  rejected: version 8 rejects 150
            k = 3
              live       n = 149, k = 3, label = 0
              candidate  n = 149, k = 3, label = 8
            k = 4
              live       n = 142, k = 4, label = 0
              candidate  n = 142, k = 4, label = 8
            k = 5
              live       n = 121, k = 5, label = 0
              candidate  n = 121, k = 5, label = 8
            k = 6
              live       n = 148, k = 6, label = 0
              candidate  n = 148, k = 6, label = 8
    "#]].assert_eq(&report(150, 0, 8));
    // What is deployed meanwhile is what it is compared with.
    setup
        .weir("deploy swapped.toml versions {versions} --param label=3")
        .ends_with(0);
    expect![[r#"
          13 of 13 current rows would become others if it took over behind sequence 150
                      0  let through by the candidate alone
                      3  let through by the live version alone
                     10  let through by both, otherwise
          it would not come into force: step "versions" would reject 3 of the rows that its input holds by now, the first: version 8 rejects 110
          the first of them:
            k = 0
              live       n = 110, k = 0, label = 3
              candidate  rejected: version 8 rejects 110
            k = 1
              live       n = 144, k = 1, label = 3
              candidate  n = 144, k = 1, label = 8
            k = 10
              live       n = 139, k = 10, label = 3
              candidate  n = 139, k = 10, label = 8
            k = 11
              live       n = 138, k = 11, label = 3
              candidate  n = 138, k = 11, label = 8
            k = 12
              live       n = 145, k = 12, label = 3
              candidate  rejected: version 8 rejects 145
            k = 2
              live       n = 150, k = 2, label = 3
              candidate  rejected: version 8 rejects 150
            k = 3
              live       n = 149, k = 3, label = 3
              candidate  n = 149, k = 3, label = 8
            k = 4
              live       n = 142, k = 4, label = 3
              candidate  n = 142, k = 4, label = 8
            k = 5
              live       n = 121, k = 5, label = 3
              candidate  n = 121, k = 5, label = 8
            k = 6
              live       n = 148, k = 6, label = 3
              candidate  n = 148, k = 6, label = 8
    "#]].assert_eq(&report(150, 3, 8));

    setup
        .weir("shadow start swapped.toml versions {versions} --param label=4")
        .ends_with(0);
    report(150, 3, 4);
    check_tables(&setup.database(), 150, 3);
    setup.weir("shadow promote swapped.toml versions").ends_with(0);
    check_tables(&setup.database(), 150, 4);
    running.interrupt().ends_with(0);
}

#[test]
fn dead_letters_are_retried_by_the_version_that_took_over() {
    let setup = Swapped::with(&text("{ rows = 0 }"));
    let mut running = setup.start();
    setup.pass(&mut running, 1, MALFORMED + 1);
    let kept = || {
        query(
            &setup.database(),
            "SELECT k || '|' || n || '|' || label FROM kept ORDER BY k",
        )
    };
    let of_malformed = |label: u64| format!("{}|{MALFORMED}|{label}", key_of(MALFORMED));
    assert!(!kept().contains(&of_malformed(0)), "{:?}", kept());
    setup
        .weir("params set swapped.toml versions label=1 malformed=1000")
        .ends_with(0);
    running.interrupt().ends_with(0);
    let locally = |line: &str| weir().run_in(setup.folder.path(), line.split_whitespace()).ends_with(0);
    let retried = locally("dead-letters retry swapped.toml --database swapped.db --all");
    let said = "1 dead letter retried: 1 applied, 0 filtered, 0 dead letters again\n";
    assert_eq!(retried.stdout, said);
    assert!(kept().contains(&of_malformed(1)), "{:?}", kept());
    locally("verify swapped.db");
    // What follows judges the row of that event anew like all others.
    let running = setup.start();
    setup.weir("params set swapped.toml versions label=2").ends_with(0);
    assert!(kept().contains(&of_malformed(2)), "{:?}", kept());
    running.interrupt().ends_with(0);
}

/// A rule over the sums of each key, which an aggregate of one's own counts several `times`.
fn text_of_sums(times: u64) -> String {
    let (sum, versions) = (weir_tests::guest("factored-sum"), weir_tests::guest("versions"));
    format!(
        "name = '{PIPELINE}'\nsource = {{ stream = 'EVENTS', subject = 'events', columns = {{ n = 'int', k = 'text' }} }}\n\
         [[step]]\nname = 'sums'\n[step.aggregate]\ngroup_by = ['k']\n\
         columns = {{ n = {{ module = '{}', parameters = {{ times = {times} }} }} }}\n\
         [[step]]\nname = 'versions'\nstage = {{ module = '{}', parameters = {{ malformed = 1000000 }}, trial = {{ rows = 1000 }} }}\n\
         [[sink]]\ntable = 'kept'\nprimary_key = ['k']\n",
        sum.display(),
        versions.display()
    )
}

#[test]
fn an_aggregate_that_changed_takes_over_at_a_start_in_front_of_a_version_on_trial() {
    let setup = Swapped::with(&text_of_sums(1));
    let check = |last: u64, times: u64, label: u64| {
        let mut sums = std::collections::BTreeMap::new();
        for n in 1..=last {
            *sums.entry(key_of(n).to_string()).or_insert(0) += n * times;
        }
        let expected: Vec<String> = sums.iter().map(|(k, n)| format!("{k}|{n}|{label}")).collect();
        let found = query(
            &setup.database(),
            "SELECT k || '|' || n || '|' || label FROM kept ORDER BY k",
        );
        assert_eq!(found, expected, "{times} times, label {label}");
    };
    let mut running = setup.start();
    setup.pass(&mut running, 1, 50);
    setup
        .weir("deploy swapped.toml versions {versions} --param label=1")
        .ends_with(0);
    setup.pass(&mut running, 51, 60);
    check(60, 1, 1);
    running.interrupt().ends_with(0);

    let file = setup.folder.path().join("swapped.toml");
    fs::write(&file, text_of_sums(3)).expect("the pipeline file can be written");
    // Whenever it dies, the results are those of the one aggregate or of the other.
    let mut running = setup.run().start();
    running.wait_for_word("swapped: stream EVENTS");
    running.kill();
    let mut running = setup.start();
    wait_until("the new results", || {
        query(&setup.database(), "SELECT n || '' FROM kept WHERE k = '3'") == [(3 * (5 + 12 + 19 + 60)).to_string()]
    });
    check(60, 3, 1);
    let explained = setup.weir("explain swapped.db kept k=3").ends_with(0).stdout;
    assert!(
        explained.contains("computed anew behind 60, where an aggregate took over"),
        "{explained}"
    );
    setup.pass(&mut running, 61, 80);
    check(80, 3, 1);
    // The next version judges what the new aggregate gave.
    setup.weir("params set swapped.toml versions label=2").ends_with(0);
    check(80, 3, 2);
    running.interrupt().ends_with(0);
    let verified = weir().run_in(setup.folder.path(), ["verify", "swapped.db"]);
    verified.ends_with(0);
}

/// How often the process dies.
const KILLS: usize = 25;

#[test]
fn what_dies_around_a_swap_leaves_each_row_judged_once_by_the_version_in_force() {
    let setup = Swapped::with(&text("{ rows = 60, failures = 3 }"));
    let registry = setup.registry();
    let mut last = 0;
    let more = |last: &mut u64, events: u64| {
        publish(&setup.client, *last + 1, *last + events);
        *last += events;
    };
    let mut latest = 0;
    let check_state = |last: u64| {
        let versions = read_versions(&setup.database(), PIPELINE).expect("versions");
        let in_force = versions
            .iter()
            .rfind(|version| version.step == "versions")
            .expect("one is in force");
        check_tables(&setup.database(), last, in_force.deployment.version);
    };
    with_seed(|random| {
        for _ in 0..KILLS {
            let mut running: Running = setup.run().start();
            if !random.once_in(6) {
                running.wait_for_word("from sequence");
            }
            for _ in 0..=random.below(2) {
                more(&mut last, 1 + random.below(40) as u64);
                let settings = match random.below(3) {
                    // Taken back some time, or refused.
                    0 => format!("fails = 'reject'\nevery = {}", 7 + random.below(90)),
                    _ => String::new(),
                };
                latest = deploy(&registry, &settings).version;
                thread::park_timeout(Duration::from_micros(random.below(60_000) as u64));
            }
            if random.once_in(2) {
                running.wait_for_position(&setup.database(), PIPELINE, last);
            }
            running.kill();
            if random.once_in(3) {
                latest = deploy(&registry, "").version;
            }
        }
    });
    let mut running = setup.start();
    wait_until("the last version", || {
        steps(&registry).iter().any(|step| {
            let failed = step.failed.as_ref();
            step.deployment.version == latest || failed.is_some_and(|failed| failed.version == latest)
        })
    });
    running.wait_for_position(&setup.database(), PIPELINE, last);
    running.interrupt().ends_with(0);
    check_state(last);
}

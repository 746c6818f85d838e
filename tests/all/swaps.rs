//! Rules are swapped while events pass: none is lost, none counts twice, each is decided by the version that the
//! database names for its sequence.

use std::{
    cell::RefCell,
    ops::RangeInclusive,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use weir::{
    engine::{Shadow, Successor},
    limits::BATCH_EVENTS_MAX,
    model::deployment::StoredVersion,
    plan::{Plan, StageVersion, StepVersions},
    wasm::Binary,
};
use weir_tests::stored::read_versions;
use weir_tests::{
    command::Weir,
    replay::{host, load_table},
    scratch,
    seed::with_seed,
    swaps::{
        Acknowledged, MALFORMED, PIPELINE, STEP, check, key_of, known_keys, plan, plan_in_rounds, plan_undone, run,
        run_from, version, with,
    },
    table::contents,
};

const NO_TRIAL: &str = "{ rows = 0 }";

/// A trial that few failures end.
const FEW: &str = "{ rows = 500, failures = 5 }";

/// Sends versions one after the other, each falling back on the one before.
struct Sender<'s> {
    base: Arc<Plan>,
    running: RefCell<(Arc<Plan>, Option<StageVersion>)>,
    send: &'s dyn Fn(Successor),
}

impl<'s> Sender<'s> {
    fn new(base: &Arc<Plan>, send: &'s dyn Fn(Successor)) -> Self {
        Self {
            base: base.clone(),
            running: RefCell::new((base.clone(), None)),
            send,
        }
    }

    fn swap(&self, live: StageVersion) {
        let (running, before) = self.running.borrow().clone();
        let before = before.unwrap_or_else(|| {
            let stage = self.base.stage(STEP).unwrap();
            StageVersion {
                module: stage.module.clone(),
                deployment: stage.deployment.clone(),
            }
        });
        let next = with(&self.base, live.clone(), Some(before)).unwrap();
        (self.send)(Successor::prepare(&running, next.clone(), host(), BATCH_EVENTS_MAX).unwrap());
        *self.running.borrow_mut() = (next, Some(live));
    }
}

#[test]
fn a_thousand_swaps_under_load() {
    const SWAPS: u64 = 1000;
    let base = plan(NO_TRIAL).unwrap();
    let scratch = scratch();
    let database = scratch.path().join("swapped.db");
    let told = Acknowledged::default();
    run(&base, &database, 256, 1, &told, |send| {
        let sender = Sender::new(&base, send);
        (1..=SWAPS).for_each(|number| sender.swap(version(&base, number, "")));
    })
    .unwrap();

    let (versions, last) = check(&database);
    let latest = versions.iter().map(|version| version.deployment.version).max();
    assert_eq!(latest, Some(SWAPS));
    assert!(
        versions.len() > 200,
        "{} versions decided over something",
        versions.len()
    );
    let pauses = told.pauses();
    assert_eq!(pauses.len() as u64, SWAPS);
    println!(
        "{last} events; the events waited for a swap {:?} (p50), {:?} (p99), {:?} (most)",
        pauses[pauses.len() / 2],
        pauses[pauses.len() * 99 / 100],
        pauses[pauses.len() - 1]
    );
}

/// A component that does the same and is another one: with a section that nobody reads.
fn another(component: &[u8], number: u64) -> Vec<u8> {
    let name = format!("number {number}");
    let mut bytes = component.to_vec();
    bytes.extend([0, name.len() as u8 + 1, name.len() as u8]);
    bytes.extend(name.as_bytes());
    bytes
}

#[test]
fn modules_that_nothing_names_any_more_are_let_go() {
    const KEPT: usize = 64;
    let base = plan(NO_TRIAL).unwrap();
    let scratch = scratch();
    let database = scratch.path().join("swapped.db");
    let mut modules = Vec::new();
    let mut deploy = |numbers: RangeInclusive<u64>| {
        run(&base, &database, 256, 1, &Acknowledged::default(), |send| {
            let sender = Sender::new(&base, send);
            for number in numbers {
                let bytes = another(&base.stage(STEP).unwrap().module.bytes, number);
                let module = host().load_deployed(&Binary::new(bytes)).unwrap();
                modules.push(Arc::downgrade(&module));
                let mut live = version(&base, number, "");
                live.deployment.digest = Some(module.digest.clone());
                live.module = module;
                sender.swap(live);
            }
        })
        .unwrap();
    };
    let held = || {
        let connection = rusqlite::Connection::open(&database).unwrap();
        let count = "SELECT count(*) FROM weir_module";
        connection.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap() as usize
    };
    deploy(1..=KEPT as u64 + 6);
    assert!(held() > KEPT, "the trace tells of all of them");
    let connection = rusqlite::Connection::open(&database).unwrap();
    let forget = "DELETE FROM weir_trace;
                  INSERT INTO weir_trace_start SELECT name, position + 1 FROM weir_pipeline";
    connection.execute_batch(forget).unwrap();
    drop(connection);
    deploy(KEPT as u64 + 7..=KEPT as u64 + 7);
    // With what the last one falls back on.
    assert!((KEPT..=KEPT + 1).contains(&held()), "{} are held", held());
    assert_eq!(
        modules.iter().filter(|module| module.strong_count() > 0).count(),
        0,
        "in memory"
    );
    let verified = Weir::at(env!("CARGO_BIN_EXE_weir-under-test")).run(["verify".as_ref(), database.as_os_str()]);
    assert!(
        verified
            .ends_with(0)
            .stdout
            .contains("with the components that may be asked for")
    );
    check(&database);
}

#[test]
fn swaps_and_restarts_in_turn() {
    with_seed(|random| {
        let base = plan(NO_TRIAL).unwrap();
        let scratch = scratch();
        let database = scratch.path().join("swapped.db");
        let (mut running, mut number) = (base.clone(), 0);
        for _ in 0..8 {
            let last = contents_position(&database) + random.below(5_000) as u64;
            let batch = [1, 7, 4096][random.below(3)];
            let swaps = random.below(4) as u64;
            run(
                &running.clone(),
                &database,
                batch,
                last,
                &Acknowledged::default(),
                |send| {
                    for _ in 0..swaps {
                        number += 1;
                        let next = with(&base, version(&base, number, ""), None).unwrap();
                        send(Successor::prepare(&running, next.clone(), host(), BATCH_EVENTS_MAX).unwrap());
                        running = next;
                    }
                },
            )
            .unwrap();
        }
        check(&database);
    });
}

fn contents_position(database: &Path) -> u64 {
    match database.exists() {
        true => contents(database).position,
        false => 0,
    }
}

/// A version that fails, and the events that pass meanwhile, in batches of different sizes.
fn trial(settings: &str, fails: &str) -> Vec<(Vec<StoredVersion>, u64)> {
    trial_of(&plan(settings).unwrap(), fails)
}

fn trial_of(base: &Arc<Plan>, fails: &str) -> Vec<(Vec<StoredVersion>, u64)> {
    trials(base, fails, check).into()
}

/// As [`trial`], with what is looked at in each database.
fn trials<T>(base: &Arc<Plan>, fails: &str, look: impl Fn(&Path) -> T) -> [T; 4] {
    [1, 7, 256, 4000].map(|batch| {
        let scratch = scratch();
        let database = scratch.path().join("swapped.db");
        if !base.tables.is_empty() {
            load_table(base, known_keys().as_bytes(), &database);
        }
        // The first run ends before the version that fails comes, so that it comes at the same event each time.
        run_from(base, &database, 1000, 1000, &Acknowledged::default(), None).unwrap();
        let bad = version(base, 1, fails);
        let stage = base.stage(STEP).unwrap();
        let good = StageVersion {
            module: stage.module.clone(),
            deployment: stage.deployment.clone(),
        };
        let next = with(base, bad, Some(good)).unwrap();
        let successor = Successor::prepare(base, next, host(), batch as usize).unwrap();
        run_from(base, &database, batch, 5000, &Acknowledged::default(), Some(successor)).unwrap();
        look(&database)
    })
}

/// The trial's outcome is the same whatever the size of batches.
fn same(runs: &[(Vec<StoredVersion>, u64)]) -> Vec<StoredVersion> {
    let outcomes: Vec<String> = runs
        .iter()
        .map(|(versions, _)| {
            let of: Vec<String> = versions
                .iter()
                .map(|version| {
                    let (number, trial) = (version.deployment.version, &version.trial);
                    format!(
                        "{number} {} {:?} {:?}",
                        version.first_sequence, trial.by_fallback, trial.taken_back
                    )
                })
                .collect();
            of.join("\n")
        })
        .collect();
    for outcome in &outcomes[1..] {
        assert_eq!(*outcome, outcomes[0]);
    }
    runs[0].0.clone()
}

#[test]
fn a_version_that_rejects_too_much_is_taken_back_at_that_very_event() {
    let versions = same(&trial(FEW, "fails = 'reject'\nevery = 10"));
    let [first, bad, good] = &versions[..] else {
        panic!("{versions:?}")
    };
    assert_eq!((first.deployment.version, first.first_sequence), (0, 1));
    // From event 1001 on it fails at 1010, 1020 and so on; the sixth failure is one too many.
    assert_eq!(bad.trial.by_fallback, [1010, 1020, 1030, 1040, 1050, 1060]);
    assert_eq!(bad.trial.taken_back.as_deref(), Some("version 1 rejects 1060"));
    assert_eq!((good.deployment.version, good.first_sequence), (0, 1061));
}

#[test]
fn a_version_that_traps_is_taken_back_as_well() {
    let versions = same(&trial(FEW, "fails = 'panic'\nevery = 3"));
    let reason = versions[1].trial.taken_back.clone().unwrap();
    assert!(
        reason.starts_with("the rule panicked: version 1 cannot take 1017"),
        "{reason}"
    );
    assert_eq!(versions[2].first_sequence, 1018);
}

#[test]
fn a_version_that_never_ends_is_taken_back_at_once() {
    let versions = same(&trial(FEW, "fails = 'loop'\nevery = 20"));
    assert_eq!(versions[1].trial.by_fallback, [1020]);
    let reason = versions[1].trial.taken_back.clone().unwrap();
    assert!(reason.starts_with("the rule ran longer than 50 ms"), "{reason}");
    assert_eq!(versions[2].first_sequence, 1021);
}

#[test]
fn a_version_that_fails_seldom_stays_and_what_it_failed_on_is_decided_by_the_one_before() {
    let versions = same(&trial(
        "{ rows = 100_000, failures = 100 }",
        "fails = 'reject'\nevery = 150",
    ));
    assert_eq!(versions.len(), 2);
    assert_eq!(
        versions[1].trial.by_fallback,
        (7..=33).map(|n| 150 * n).collect::<Vec<_>>()
    );
}

#[test]
fn a_candidate_sees_the_same_rows_and_decides_nothing() {
    let base = plan(NO_TRIAL).unwrap();
    let candidate = version(&base, 0, "fails = 'reject'\nevery = 10");
    let step = StepVersions {
        shadow: Some(candidate.clone()),
        ..Default::default()
    };
    let beside = Arc::new(
        base.again(host(), &[(STEP.to_owned(), step)].into_iter().collect())
            .unwrap(),
    );
    let mut successor = Successor::prepare(&base, beside.clone(), host(), BATCH_EVENTS_MAX).unwrap();
    let (shadow, feed) = Shadow::start(&beside, STEP, host()).unwrap();
    successor.shadows.push((STEP.to_owned(), Some(feed)));
    let scratch = scratch();
    let database = scratch.path().join("swapped.db");
    run_from(
        &base,
        &database,
        1000,
        100_000,
        &Acknowledged::default(),
        Some(successor),
    )
    .unwrap();
    let (versions, last) = check(&database);
    assert_eq!(versions.len(), 1, "no version changed");

    // The thread ends with its feed, some time after the pipeline; until then its figures grow.
    let begun = Instant::now();
    let report = loop {
        let report = shadow.report();
        if report.rows + report.shed == last {
            break report;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{report:?}");
        std::thread::yield_now();
    };
    assert_eq!(report.candidate, candidate.deployment);
    assert_eq!((report.added, report.missing, report.changed), (0, 0, 0));
    // Of the tenth that it rejects the live version rejects one in 97, as malformed.
    let expected = |rows: u64| rows / 10 - rows / 970;
    let error = report.rejected.abs_diff(expected(report.rows));
    assert!(error <= 1 + report.shed, "{report:?}");
    let example = report.examples.first().unwrap();
    assert!(example.sequence.is_multiple_of(10), "{example:?}");
    assert_eq!(example.live[0], format!("out: k = {}, label = 0, n = 10", key_of(10)));
    assert_eq!(example.candidate[0], "rejected: version 0 rejects 10");
    assert_eq!(example.input[0], ("n".to_owned(), "10".to_owned()));
}

#[test]
fn a_version_in_front_of_events_that_are_undone_sees_each_row_once() {
    let base = plan_undone("{ rows = 500, failures = 1000 }").unwrap();
    // An event that both versions reject is one of the 500; one that is undone behind them has no effect, on the trial either.
    let runs = trials(&base, "fails = 'reject'", |database| {
        let versions = read_versions(database, PIPELINE).unwrap();
        let last = versions.iter().rfind(|version| version.step == STEP);
        last.unwrap().trial.by_fallback.clone()
    });
    for by_fallback in runs {
        assert_eq!(
            by_fallback,
            (1001..)
                .filter(|n| n % 89 > 0)
                .take(500)
                .filter(|n| n % MALFORMED > 0)
                .collect::<Vec<_>>()
        );
    }
}

#[test]
fn a_version_in_the_rounds_of_a_lookup_is_taken_back_at_that_very_event_too() {
    let base = plan_in_rounds(FEW).unwrap();
    let versions = same(&trial_of(&base, "fails = 'reject'\nevery = 10"));
    let [_, bad, good] = &versions[..] else {
        panic!("{versions:?}")
    };
    assert_eq!(bad.trial.by_fallback, [1010, 1020, 1030, 1040, 1050, 1060]);
    assert_eq!((good.deployment.version, good.first_sequence), (0, 1061));
}

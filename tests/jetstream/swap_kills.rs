//! Rules are swapped while events come in, and `weir run` is killed before, during and after: each event is decided by
//! the version that the database names for it, once.

use crate::{
    server::Client,
    versions::{NO_TRIAL, Swapped, deploy, deploy_to, publish, steps},
    wait_until,
};
use std::{
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};
use weir::model::deployment::StoredVersion;
use weir_tests::stored::{read_harms, read_versions};
use weir_tests::{
    seed::{Random, with_seed},
    swaps::{PIPELINE, STEP, check, text_with_second},
};

/// How often the process dies.
const KILLS: usize = 40;

/// Ends what goes on until this is set, also when the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Publishes in small portions until `end`, and gives the last sequence.
pub(crate) fn publish_until(url: &str, end: &AtomicBool, published: &AtomicU64) {
    let client = Client::connect(url);
    let mut random = Random::new(9);
    while !end.load(Ordering::Relaxed) {
        let last = published.load(Ordering::Relaxed);
        let next = last + 1 + random.below(60) as u64;
        publish(&client, last + 1, next);
        published.store(next, Ordering::Relaxed);
        thread::park_timeout(Duration::from_millis(2));
    }
}

/// Kills hosts while versions are deployed with `settings` and events come in; then lets one catch up.
fn kill_among_swaps(trial: &str, kills: usize, settings: impl Fn(&mut Random) -> String) -> Swapped {
    let setup = Swapped::new(trial);
    let registry = setup.registry();
    let (end, published) = (AtomicBool::new(false), AtomicU64::new(0));
    let latest = thread::scope(|scope| {
        let ends = Ends(&end);
        let url = setup.server.url();
        let (end, published) = (&end, &published);
        scope.spawn(move || publish_until(&url, end, published));
        let mut latest = 0;
        with_seed(|random| {
            for _ in 0..kills {
                let mut running = setup.run().start();
                // Sometimes it dies before it is ready, sometimes when it has taken in what was deployed meanwhile.
                if !random.once_in(6) {
                    running.wait_for_word("from sequence");
                }
                for _ in 0..random.below(4) {
                    latest = deploy(&registry, &settings(random)).version;
                    pause(random, 4_000);
                }
                match random.below(4) {
                    0 => pause(random, 2_000),
                    1 => pause(random, 60_000),
                    2 if latest > 0 => {
                        // Right after the swap.
                        wait_for_version(&setup.database(), latest);
                    }
                    _ => {
                        let next = published.load(Ordering::Relaxed);
                        running.wait_for_position(&setup.database(), PIPELINE, next);
                    }
                }
                running.kill();
                // While nothing runs, somebody deploys.
                for _ in 0..random.below(3) {
                    latest = deploy(&registry, &settings(random)).version;
                }
            }
        });
        drop(ends);
        latest
    });
    let mut running = setup.start();
    wait_until("the last version", || {
        steps(&registry).iter().any(|step| {
            let failed = step.failed.as_ref();
            step.deployment.version == latest || failed.is_some_and(|failed| failed.version == latest)
        })
    });
    let last = published.load(Ordering::Relaxed);
    running.wait_for_position(&setup.database(), PIPELINE, last);
    running.interrupt().ends_with(0);
    setup
}

fn pause(random: &mut Random, below_us: usize) {
    thread::park_timeout(Duration::from_micros(random.below(below_us) as u64));
}

/// Waits until the database knows of a version: a host that starts may have come to it before.
#[track_caller]
fn wait_for_version(database: &Path, version: u64) {
    wait_until(&format!("version {version}"), || {
        let known = read_versions(database, PIPELINE).unwrap_or_default();
        known.iter().any(|known| known.deployment.version == version)
    });
}

/// What was taken back decides nothing any more, also not for others.
#[track_caller]
fn check_fallbacks(versions: &[StoredVersion]) {
    for (at, version) in versions.iter().enumerate() {
        let Some(fallback) = &version.fallback else { continue };
        let failed = versions[..at].iter().any(|before| {
            let same = before.step == version.step && before.deployment.version == fallback.version;
            same && before.trial.taken_back.is_some()
        });
        assert!(!failed, "falls back on what was taken back: {version:?}");
    }
}

#[test]
fn swaps_and_kills_in_any_order_lose_nothing() {
    let setup = kill_among_swaps(NO_TRIAL, KILLS, |_| String::new());
    let (versions, last) = check(&setup.database());
    println!("{} versions decided over {last} events", versions.len());
    // Good versions go for no kill, wherever it strikes.
    let taken_back = versions.iter().find(|version| version.trial.taken_back.is_some());
    assert_eq!(taken_back.map(|version| &version.trial), None);
    let harms = read_harms(&setup.database(), PIPELINE).expect("the database can be read");
    assert!(harms.iter().all(|harm| !harm.is_too_much()), "{harms:?}");
    assert!(versions.len() > KILLS / 2, "{} versions decided", versions.len());
}

#[test]
fn a_step_that_is_swapped_leaves_what_the_other_came_to_run() {
    const ROUNDS: u64 = 60;
    let setup = Swapped::with(&text_with_second("{ rows = 400, failures = 5 }"));
    let registry = setup.registry();
    let mut running = setup.start();
    let (end, published) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let ends = Ends(&end);
        let url = setup.server.url();
        let (end, published) = (&end, &published);
        scope.spawn(move || publish_until(&url, end, published));
        with_seed(|random| {
            // The first of a round is taken back while the second is made ready, or about then.
            for _ in 0..ROUNDS {
                let every = [1, 5, 20, 40][random.below(4)];
                deploy(&registry, &format!("fails = 'reject'\nevery = {every}"));
                pause(random, 30_000);
                let good = deploy(&registry, "").version;
                pause(random, 30_000);
                let other = deploy_to(&registry, PIPELINE, "second", None, "").version;
                running.wait_for_word(&format!(
                    "version {good} of step {STEP} of pipeline {PIPELINE} is in force"
                ));
                running.wait_for_word(&format!(
                    "version {other} of step second of pipeline {PIPELINE} is in force"
                ));
            }
        });
        drop(ends);
    });
    let last = published.load(Ordering::Relaxed);
    running.wait_for_position(&setup.database(), PIPELINE, last);
    running.interrupt().ends_with(0);

    let (versions, _) = check(&setup.database());
    check_fallbacks(&versions);
    for step in [STEP, "second"] {
        let of_step: Vec<_> = versions.iter().filter(|version| version.step == step).collect();
        for pair in of_step.windows(2) {
            let goes_back = pair[1].deployment.version < pair[0].deployment.version;
            assert!(
                !goes_back || pair[0].trial.taken_back.is_some(),
                "only a version that was taken back gives way to an earlier one: {pair:?}"
            );
        }
    }
    let of_step = |step| versions.iter().rfind(|version| version.step == step).unwrap();
    assert_eq!(of_step(STEP).deployment.version, 2 * ROUNDS);
    assert_eq!(of_step("second").deployment.version, ROUNDS);
}

#[test]
fn versions_that_fail_are_taken_back_among_kills() {
    let settings = |random: &mut Random| {
        let every = [1, 7, 20, 60, 200][random.below(5)];
        match random.below(8) {
            0..3 => String::new(),
            3..6 => format!("fails = 'reject'\nevery = {every}"),
            6 => format!("fails = 'panic'\nevery = {every}"),
            _ => "fails = 'loop'\nevery = 50".to_owned(),
        }
    };
    let setup = kill_among_swaps("{ rows = 400, failures = 5 }", KILLS, settings);
    let (versions, last) = check(&setup.database());
    check_fallbacks(&versions);
    let taken_back = versions
        .iter()
        .filter(|version| version.trial.taken_back.is_some())
        .count();
    println!(
        "{} versions decided over {last} events; {taken_back} were taken back",
        versions.len()
    );
    assert!(taken_back > 3, "{taken_back} versions were taken back");
}

//! A version that fails is taken back by the host itself, and whoever wants to know is told.

use crate::versions::{Swapped, from_where, wait_for_status};
use expect_test::expect;
use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};
use weir_tests::swaps::{self, PIPELINE};

#[test]
fn a_version_that_fails_is_taken_back_and_announced() {
    let setup = Swapped::new("{ rows = 200, failures = 3 }");
    let registry = setup.registry();
    let mut heard = setup.client.subscribe("weir.versions.swapped.versions");
    let mut running = setup.start();
    let (end, published) = (AtomicBool::new(false), AtomicU64::new(0));
    // The command sees that it is taken back when it comes to it before it has said that it is in force. So it is tried
    // until it does.
    let (mut bad, mut saw) = (0, None);
    thread::scope(|scope| {
        let (url, ends) = (setup.server.url(), &end);
        let counts = &published;
        scope.spawn(move || crate::swap_kills::publish_until(&url, ends, counts));
        while saw.is_none() && bad < 20 {
            bad += 1;
            let fails = format!("deploy swapped.toml versions {{versions}} --param label={bad} --param fails=reject");
            let outcome = setup.weir(&fails);
            match outcome.code {
                1 => saw = Some(outcome),
                _ => assert!(
                    outcome.clone().ends_with(0).stdout.contains("on trial for 200 rows"),
                    "{outcome:?}"
                ),
            }
            wait_for_status(&registry, "the version is taken back", |host| {
                host.steps[0]
                    .failed
                    .as_ref()
                    .is_some_and(|failed| failed.version == bad)
            });
        }
        end.store(true, Ordering::Relaxed);
    });
    let saw = saw.expect("one that was taken back before the command had seen it in force");
    assert!(saw.stdout.contains("taken back from sequence"), "{saw:?}");
    let mut last = published.load(Ordering::Relaxed);
    running.wait_for_position(&setup.database(), PIPELINE, last);

    // As somebody hears it who is not Weir.
    let mut words: Vec<serde_json::Value> = Vec::new();
    while words.iter().filter(|word| word["what"] == "taken-back").count() < bad as usize {
        words.push(serde_json::from_str(&setup.client.hear(&mut heard)).unwrap());
    }
    let expected = words.iter().find(|word| word["what"] == "taken-back").unwrap();
    let mut shown = expected.clone();
    shown["host"] = "HOST".into();
    let sequence = shown["sequence"].take();
    shown["sequence"] = "N".into();
    let reason = shown["reason"]
        .as_str()
        .unwrap()
        .replace(&(sequence.as_u64().unwrap() - 1).to_string(), "M");
    shown["reason"] = reason.into();
    expect![[r#"{"what":"taken-back","pipeline":"swapped","step":"versions","version":1,"host":"HOST","sequence":"N","reason":"version 1 rejects M"}"#]].assert_eq(&shown.to_string());
    let status = setup.weir("status").ends_with(0).stdout;
    assert!(
        status.contains(&format!("version {bad} was taken back from sequence ")),
        "{status}"
    );
    assert!(status.contains("  versions: version 0 "), "{status}");

    // What its fallback decided is in the tables, by the version before.
    running.interrupt().ends_with(0);
    let before = swaps::check(&setup.database()).0;
    assert!(
        before
            .iter()
            .filter(|version| version.trial.taken_back.is_some())
            .count()
            == bad as usize
    );
    let first = before.iter().find(|version| version.deployment.version == 1).unwrap();
    assert_eq!(first.trial.by_fallback.len(), 4, "one more than may fail: {first:?}");

    // It is not tried again.
    let mut running = setup.start();
    setup.pass(&mut running, last + 1, last + 100);
    last += 100;
    let status = setup.weir("status").ends_with(0).stdout;
    assert!(
        status.contains(&format!("version {bad} was taken back from sequence ")),
        "{status}"
    );
    setup
        .weir(&format!(
            "deploy swapped.toml versions {{versions}} --param label={} --param fails=",
            bad + 1
        ))
        .ends_with(0);
    setup.pass(&mut running, last + 1, last + 100);
    assert!(
        !running.said().contains(&format!("version {bad} of step")),
        "{}",
        running.said()
    );
    running.interrupt().ends_with(0);
    let (after, _) = swaps::check(&setup.database());
    let mut expected = from_where(&before);
    expected.push((bad + 1, last + 1));
    assert_eq!(from_where(&after), expected);
}

//! What counts as harm, and when a note stands.

use super::*;
use crate::say;

fn note(run: u64, candidate: bool) -> Note {
    Note {
        run,
        doing: Doing::Call,
        pipeline: "orders".to_owned(),
        step: "rule".to_owned(),
        version: 3,
        at_ms: 9,
        candidate,
        digest: "d".repeat(64),
        parameters: "p".repeat(32),
    }
}

/// After deaths at these positions.
fn died(positions: &[u64], candidate: bool) -> Harm {
    let mut harm = None;
    for (run, position) in positions.iter().enumerate() {
        harm = Some(Harm::after(harm.as_ref(), note(run as u64, candidate), *position));
    }
    harm.expect("there was a death")
}

#[test]
fn the_third_death_at_one_place_is_one_too_many() {
    assert!(!died(&[7], false).is_too_much());
    assert!(!died(&[7, 7], false).is_too_much());
    let harm = died(&[7, 7, 7], false);
    assert!(harm.is_too_much());
    assert_eq!(
        harm.to_string(),
        "the host died 3 times while it ran this version, and came no further than sequence 7"
    );
}

#[test]
fn whoever_comes_further_begins_anew() {
    let harm = died(&[7, 7, 8, 8], false);
    assert_eq!((harm.deaths, harm.in_a_row), (2, 4));
    assert!(!harm.is_too_much());
    // A database that was put back to an older copy is no progress.
    assert!(died(&[8, 7, 7], false).is_too_much());
}

#[test]
fn a_loop_that_comes_further_each_time_ends_too() {
    let ascending: Vec<u64> = (1..=GUEST_DEATHS_IN_A_ROW_MAX).collect();
    let harm = died(&ascending, false);
    assert!(harm.is_too_much());
    assert_eq!(
        harm.to_string(),
        "the host died 20 times in a row while it ran this version"
    );
    assert!(!died(&ascending[1..], false).is_too_much());
    assert!(died(&[1, 2, 3], true).is_too_much(), "a candidate decides nothing");
    assert!(!died(&[1, 2], true).is_too_much());
}

#[test]
fn another_deployment_of_the_same_begins_anew() {
    let before = died(&[7, 7, 7], false);
    let again = Note {
        at_ms: 10,
        ..note(9, false)
    };
    let after = Harm::after(Some(&before), again, 7);
    assert_eq!((after.deaths, after.in_a_row), (1, 1));
}

#[test]
fn what_is_refused_may_run_again_if_somebody_insists_later() {
    let _held = notes::LEAVE.read().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let notes = Notes::open(&folder.path().join("a.db-guest"), folder.path(), ())
        .expect("the file can be made")
        .0;
    let harm = died(&[7, 7, 7], false);
    let digest = harm.last.digest.clone();
    let pipeline = PipelineWatch::new(notes, "orders", vec![harm.clone()]);
    let whose = |at_ms, again, is_candidate| Whose {
        step: "rule".to_owned(),
        version: 3,
        at_ms,
        again,
        is_candidate,
    };
    let parameters = Some(&*harm.last.parameters);
    let is_refused = |whose: &Whose, parameters| pipeline.refusal(whose, &digest, parameters).is_some();
    assert!(is_refused(&whose(9, false, false), parameters));
    assert!(is_refused(&whose(9, true, false), parameters), "it died with that word");
    assert!(is_refused(&whose(10, false, false), parameters));
    assert!(!is_refused(&whose(10, true, false), parameters));
    assert!(!is_refused(&whose(10, false, true), parameters));
    assert!(!is_refused(&whose(9, false, false), Some("other")));
    assert!(!is_refused(&whose(9, false, false), None), "it can be loaded");
    let elsewhere = Whose {
        step: "other".to_owned(),
        ..whose(9, false, false)
    };
    assert!(!is_refused(&elsewhere, parameters));
}

#[test]
fn a_note_is_there_while_work_goes_on_and_only_then() {
    let _held = notes::LEAVE.read().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("a.db-guest");
    let (notes, left) = Notes::open(&path, folder.path(), ()).expect("the file can be made");
    assert_eq!(left, []);
    let pipeline = Arc::new(PipelineWatch::new(notes, "orders", Vec::new()));
    let watch = pipeline.over(&Whose::of_file("rule"), &"d".repeat(64), Some("p"));
    let found = || notes::read(&path).expect("it can be read");
    let noted = watch.begin(Doing::Call);
    {
        // Work within work is part of it.
        let _within = watch.begin(Doing::Prepare);
        let found = found();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].doing, &*found[0].step), (Doing::Call, "rule"));
    }
    assert_eq!(found().len(), 1);
    // Another thread has a place of its own.
    let other = watch.clone();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _noted = other.begin(Doing::Drop);
            assert_eq!(found().len(), 2);
        });
    });
    assert_eq!(found().len(), 1);
    drop(noted);
    assert_eq!(found(), []);
    // Who was well for long enough is not noted any more.
    let committed = Some(Instant::now() + Duration::from_secs(1));
    drop(watch.begin(Doing::Call));
    assert_eq!(pipeline.look(committed), []);
    let _noted = watch.begin(Doing::Call);
    assert_eq!(found().len(), 1, "it is young still");
}

#[test]
fn a_guest_is_young_until_it_was_called_and_a_turn_was_committed() {
    let _held = notes::LEAVE.read().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("a.db-guest");
    let notes = Notes::open(&path, folder.path(), ()).expect("the file can be made").0;
    let harm = died(&[7], false);
    let (digest, parameters) = (harm.last.digest.clone(), harm.last.parameters.clone());
    let mut pipeline = PipelineWatch::new(notes, "orders", vec![harm.clone()]);
    pipeline.probation = Duration::ZERO;
    let pipeline = Arc::new(pipeline);
    let watch = pipeline.over(&Whose::of_file("rule"), &digest, Some(&parameters));
    let later = Some(Instant::now() + Duration::from_secs(1));
    assert_eq!(pipeline.look(later), [], "it was not called");
    drop(watch.begin(Doing::Call));
    drop(watch.begin(Doing::Call));
    assert_eq!(pipeline.look(None), [], "no turn was committed");
    assert_eq!(pipeline.look(later), [harm]);
    let _noted = watch.begin(Doing::Call);
    assert_eq!(notes::read(&path).expect("it can be read"), []);
}

#[test]
fn where_one_is_suspicious_nobody_works_beside_another() {
    let _held = notes::LEAVE.read().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let watch = |name: &str, harms| {
        let notes = Notes::open(&folder.path().join(name), folder.path(), ())
            .expect("the file can be made")
            .0;
        let pipeline = Arc::new(PipelineWatch::new(notes, "orders", harms));
        pipeline.over(&Whose::of_file("rule"), &"d".repeat(64), Some("p"))
    };
    let (one, other) = (
        watch("a.db-guest", vec![died(&[7], false)]),
        watch("b.db-guest", Vec::new()),
    );
    let (at_work, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for watch in [&one, &other, &one, &other] {
            scope.spawn(|| {
                for _ in 0..200 {
                    let _noted = watch.begin(Doing::Call);
                    most.fetch_max(at_work.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    at_work.fetch_sub(1, Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(most.into_inner(), 1);
}

/// How much a call costs more while its guest is young: `cargo test -p weir --lib -- --ignored --nocapture cost_of_a_note`.
#[test]
#[ignore = "a measurement"]
fn cost_of_a_note() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let notes = Notes::open(&folder.path().join("a.db-guest"), folder.path(), ())
        .expect("the file can be made")
        .0;
    let pipeline = Arc::new(PipelineWatch::new(notes, "orders", Vec::new()));
    let watch = pipeline.over(&Whose::of_file("rule"), &"d".repeat(64), Some("p"));
    for (what, watch) in [("young", &watch), ("nobody", &GuestWatch::default())] {
        let begun = Instant::now();
        for _ in 0..200_000 {
            drop(watch.begin(Doing::Call));
        }
        say!(Info, "{what}: {:?} a call", begun.elapsed() / 200_000);
    }
}

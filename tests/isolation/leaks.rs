//! Rules that keep what they took: it costs no event, whatever the batches are.

use crate::made::{Made, run};
use weir::{
    limits::GUEST_CALLS_MAX,
    wasm::{Judged, Patience},
};

/// Events in one call, up to more than there are.
const BATCHES: [usize; 4] = [1, 7, 256, 4096];

#[track_caller]
fn check(made: Made<'_>, limits: &str, events: usize) {
    let plan = made.plan(limits);
    let expected = run(&Made::default().plan(limits), events, 4096);
    assert_eq!(expected.tables["all"].rows.len(), events);
    for batch in BATCHES {
        let found = run(&plan, events, batch);
        assert_eq!(
            found.counts.dead_letters,
            0,
            "in batches of {batch}: {:?}",
            found.dead_letters.first()
        );
        assert_eq!(found.tables, expected.tables, "in batches of {batch}");
        assert_eq!(found.counts, expected.counts, "in batches of {batch}");
    }
}

#[test]
fn a_leak_of_every_call_costs_no_event() {
    // A MiB, of which all pages are written to.
    let made = Made {
        process: "(local.set 1 (i32.mul (memory.grow (i32.const 16)) (i32.const 65536)))
            (memory.fill (local.get 1) (i32.const 1) (i32.const 1048576))",
        ..Default::default()
    };
    check(made, "memory_mib = 16", 2000);
}

#[test]
fn a_leak_of_every_row_costs_no_event() {
    let made = Made {
        process: "(drop (memory.grow (i32.mul (local.get 0) (i32.const 16))))",
        ..Default::default()
    };
    check(made, "memory_mib = 16", 2000);
    check(made, "memory_mib = 64", 5000);
}

#[test]
fn a_row_that_needs_nearly_all_of_the_memory_has_it_in_every_batch() {
    let made = Made {
        // 58 of 64 MiB.
        process: "(drop (memory.grow (i32.mul (local.get 0) (i32.const 928))))",
        ..Default::default()
    };
    check(made, "memory_mib = 64", 500);
}

/// What ends at the first row that fails (a version on trial) does not end at one that others took the memory from.
#[test]
fn a_leak_is_no_failure_of_a_version_on_trial() {
    let made = Made {
        process: "(drop (memory.grow (i32.mul (local.get 0) (i32.const 16))))",
        ..Default::default()
    };
    let mut instance = made.instance("memory_mib = 16");
    for rows in [1, 100, 256, 7, 256] {
        let judged = instance.judge_until(rows, &[], &[], Patience::OneFailure);
        assert_eq!((judged.failed_rows, judged.judged_rows), (0, rows));
    }
}

/// A rule that rejects when it has less than half of its memory left is never found to have so little.
#[test]
fn an_instance_is_renewed_before_its_memory_is_short() {
    let made = Made {
        // 100 KiB or so for each call, up to 16 MiB, which are 256 pages.
        process: "(global.set $reject (i32.gt_u (memory.size) (i32.const 160)))
            (drop (memory.grow (i32.const 2)))",
        ..Default::default()
    };
    let mut instance = made.instance("memory_mib = 16");
    for call in 0..1000 {
        let judged = instance.judge(1, &[], &[]);
        assert_eq!(judged.answer.rejected, [], "call {call}");
        assert_eq!(judged.failed_rows, 0, "call {call}");
    }
}

/// One that takes much in its first call, and no more, is no leak: what it keeps is there in the next call.
#[test]
fn an_instance_that_needs_much_is_kept() {
    let made = Made {
        fields: "(global $calls (mut i32) (i32.const 0))",
        process: "(if (i32.eqz (global.get $calls)) (then (drop (memory.grow (i32.const 200)))))
            (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
            ;; It says when it is new.
            (global.set $reject (i32.eq (global.get $calls) (i32.const 1)))",
        ..Default::default()
    };
    let mut instance = made.instance("memory_mib = 16");
    let is_new = |judged: Judged| !judged.answer.rejected.is_empty();
    let new: Vec<usize> = (0..100).filter(|_| is_new(instance.judge(1, &[], &[]))).collect();
    assert_eq!(new, [0]);
}

#[test]
fn an_instance_is_renewed_after_many_calls() {
    const CALLS: usize = GUEST_CALLS_MAX as usize;
    let made = Made {
        fields: "(global $calls (mut i32) (i32.const 0))",
        process: "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
            (global.set $reject (i32.eq (global.get $calls) (i32.const 1)))",
        ..Default::default()
    };
    let mut instance = made.instance("");
    let is_new = |judged: Judged| !judged.answer.rejected.is_empty();
    let new: Vec<usize> = (0..2 * CALLS + 2)
        .filter(|_| is_new(instance.judge(1, &[], &[])))
        .collect();
    assert_eq!(new, [0, CALLS, 2 * CALLS]);
}

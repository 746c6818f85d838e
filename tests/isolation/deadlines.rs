//! Deadlines count the guest's own time, and end it whatever it does.

use crate::made::Made;
use std::{
    hint::black_box,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};
use weir::model::column::{Column, ColumnType, Value};

/// How late a call may end by the processor's time, on any machine. What is measured is printed.
const LATE_MOST: Duration = Duration::from_secs(2);

/// The time of the processor that this thread had.
fn own_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a value that lives through the call.
    assert_eq!(
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) },
        0
    );
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Checks that a call which does `work` is ended by its deadline.
#[track_caller]
fn check(what: &str, fields: &str, work: &str, deadline: Duration) {
    let deadline_ms = deadline.as_millis();
    let made = Made {
        fields,
        process: work,
        ..Default::default()
    };
    let mut instance = made.instance(&format!("deadline_ms = {deadline_ms}, memory_mib = 128"));
    instance.configure().unwrap_or_else(|error| panic!("{what}: {error}"));
    let begun = own_time();
    let judged = instance.judge(1, &[], &[]);
    let took = own_time() - begun;
    let [rejected] = &judged.answer.rejected[..] else {
        panic!("{what}: it came to an end after {took:?}")
    };
    let reason = &rejected.reason;
    let words = format!("the rule ran longer than {deadline_ms} ms");
    assert!(reason.contains(&words), "{what}: {reason}");
    assert!(judged.timed_out, "{what}");
    println!("{what:<44} {deadline_ms:>3} ms: {:>7.1} ms", took.as_secs_f64() * 1e3);
    assert!(took < deadline + LATE_MOST, "{what}: {took:?}");
}

/// In a loop without end, and those that take long in a line of thousands.
#[test]
fn no_bulk_operation_keeps_a_call_from_its_end() {
    const MEMORY: &str = "(memory $m 512) (data $d \"0123456789\")";
    const TABLE: &str = "(table $t 2000000 funcref) (elem $e func)";
    const DEADLINE: Duration = Duration::from_millis(50);
    let long = [
        (
            "memory.fill",
            MEMORY,
            "(memory.fill $m (i32.const 0) (i32.const 1) (i32.const 33554432))",
        ),
        (
            "memory.copy",
            MEMORY,
            "(memory.copy $m $m (i32.const 0) (i32.const 16777216) (i32.const 16777216))",
        ),
        (
            "table.fill",
            TABLE,
            "(table.fill $t (i32.const 0) (ref.null func) (i32.const 2000000))",
        ),
        (
            "table.copy",
            TABLE,
            "(table.copy $t $t (i32.const 0) (i32.const 1000000) (i32.const 1000000))",
        ),
    ];
    let short = [
        (
            "memory.init",
            MEMORY,
            "(memory.init $m $d (i32.const 0) (i32.const 0) (i32.const 10))",
        ),
        ("memory.grow", MEMORY, "(drop (memory.grow $m (i32.const 0)))"),
        (
            "table.init",
            TABLE,
            "(table.init $t $e (i32.const 0) (i32.const 0) (i32.const 0))",
        ),
        (
            "table.grow",
            TABLE,
            "(drop (table.grow $t (ref.null func) (i32.const 0)))",
        ),
    ];
    for (what, fields, operation) in long.iter().chain(&short) {
        let forever = format!("(if (local.get 0) (then (loop $again {operation} (br $again))))");
        check(&format!("{what}, in a loop"), fields, &forever, DEADLINE);
    }
    for (what, fields, operation) in long {
        let line = format!("(if (local.get 0) (then {}))", operation.repeat(2000));
        check(&format!("{what}, 2000 in a line"), fields, &line, DEADLINE);
    }
}

/// The host works on behalf of a guest, which cannot notice anything meanwhile.
#[test]
fn no_call_of_the_host_keeps_a_call_from_its_end() {
    const FIELDS: &str = "(data (i32.const 1450) \"Europe/Berlin\")";
    const DEADLINE: Duration = Duration::from_millis(10);
    let operations = [
        // A MiB behind all that is in use.
        (
            "a log message",
            "(call $write (i32.const 0) (i32.const 262144) (i32.const 1048576))",
        ),
        (
            "a time zone",
            "(call $offset_at (i32.const 1450) (i32.const 13) (i64.const 0) (i32.const 2048))",
        ),
        (
            "no time zone",
            "(call $offset_at (i32.const 1450) (i32.const 12) (i64.const 0) (i32.const 2048))",
        ),
    ];
    for (what, operation) in operations {
        let grown = "(drop (memory.grow (i32.const 32)))";
        let forever = format!("(if (local.get 0) (then {grown} (loop $again {operation} (br $again))))");
        check(&format!("{what}, in a loop"), FIELDS, &forever, DEADLINE);
        let line = format!("(if (local.get 0) (then {grown} {}))", operation.repeat(100_000));
        check(&format!("{what}, 100 000 in a line"), FIELDS, &line, DEADLINE);
    }
}

/// Nothing bounds the time that it takes to give memory back but how much there can be.
#[test]
fn an_instance_that_is_full_is_dropped_in_little_time() {
    let made = Made {
        process: "(if (local.get 0) (then
            (local.set 1 (i32.mul (memory.grow (i32.const 4000)) (i32.const 65536)))
            (memory.fill (local.get 1) (i32.const 1) (i32.const 262144000))))",
        ..Default::default()
    };
    let mut instance = made.instance("deadline_ms = 60000, memory_mib = 256");
    assert_eq!(instance.judge(1, &[], &[]).failed_rows, 0);
    let begun = own_time();
    drop(instance);
    let took = own_time() - begun;
    println!("250 MiB are given back in {took:?}");
    assert!(took < LATE_MOST, "{took:?}");
}

/// Threads that take the processor from all others, until they are dropped.
struct Busy {
    threads: Vec<thread::JoinHandle<()>>,
    stop: std::sync::Arc<AtomicBool>,
}

impl Busy {
    fn start() -> Self {
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let threads = 4 * thread::available_parallelism().map_or(1, usize::from);
        let work = |stop: std::sync::Arc<AtomicBool>| {
            move || {
                while !stop.load(Ordering::Relaxed) {
                    (0..1000_u64).for_each(|at| _ = black_box(at));
                }
            }
        };
        Self {
            threads: (0..threads).map(|_| thread::spawn(work(stop.clone()))).collect(),
            stop,
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

#[test]
fn a_rule_that_has_to_wait_for_the_processor_is_not_ended_for_it() {
    const DEADLINE: Duration = Duration::from_millis(300);
    // Rounds that take about half of the deadline, as this machine is.
    let rounds = |rounds: u64| {
        format!(
            "(if (local.get 0) (then (local.set 1 (i32.const {rounds})) (loop $again
                (local.set 1 (i32.sub (local.get 1) (i32.const 1)))
                (br_if $again (local.get 1)))))"
        )
    };
    let instance = |count: u64, deadline: Duration| {
        let process = rounds(count);
        let made = Made {
            process: &process,
            ..Default::default()
        };
        made.instance(&format!("deadline_ms = {}", deadline.as_millis()))
    };
    let measured = 100_000_000;
    let mut probe = instance(measured, Duration::from_secs(60));
    probe.configure().expect("it can be configured");
    let begun = own_time();
    assert_eq!(probe.judge(1, &[], &[]).failed_rows, 0);
    let count = (measured as f64 * (DEADLINE.as_secs_f64() / 2.0) / (own_time() - begun).as_secs_f64()) as u64;
    let mut guest = instance(count.min(2_000_000_000), DEADLINE);
    guest.configure().expect("it can be configured");

    let _busy = Busy::start();
    let mut waited = 0;
    // A call that did not have to wait shows nothing.
    for _ in 0..100 {
        let (begun, own) = (Instant::now(), own_time());
        let judged = guest.judge(1, &[], &[]);
        let (wall, own) = (begun.elapsed(), own_time() - own);
        assert_eq!(
            judged.failed_rows, 0,
            "{wall:?}, of which {own:?} its own: {:?}",
            judged.answer.rejected
        );
        waited += usize::from(wall > 2 * DEADLINE);
        if waited == 3 {
            println!("a call of {own:?} of its own took {wall:?}");
            return;
        }
    }
    panic!("no call had to wait for the processor");
}

#[test]
fn a_rule_that_never_ends_is_ended_on_a_busy_machine_too() {
    let _busy = Busy::start();
    let made = Made {
        process: "(if (local.get 0) (then (loop $again (br $again))))",
        ..Default::default()
    };
    let judged = made.instance("deadline_ms = 50").judge(1, &[], &[]);
    // By which of its bounds is for the machine to say: one that is busy enough does not give it 50 ms in 10 s.
    assert!(judged.timed_out, "{:?}", judged.answer.rejected);
    assert_eq!(judged.failed_rows, 1);
}

#[test]
fn rows_of_which_nobody_wants_to_know_any_more_are_not_looked_for() {
    let rule = Made {
        process: "(if (local.get 0) (then (loop $again (br $again))))",
        ..Made::default()
    };
    let mut instance = rule.instance("deadline_ms = 10");
    let mut ids = Column::with_capacity(ColumnType::Int, 64);
    (0..64).for_each(|id| ids.push(Value::Int(id)));
    instance.over().store(true, Ordering::Relaxed);
    let judged = instance.judge(64, &[], &[&ids]);
    // One call for each halving, and none for the rows beside.
    assert_eq!(judged.judged_rows, 1);
}

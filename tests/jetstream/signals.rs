//! Ctrl-C: what was received is committed, and the rest comes later.

use crate::{
    cuts::check_against_straight_run,
    events::{Event, SCENARIOS, made_up, pipelines, subject_of},
    process::{Run, database, folder_with_customers},
    server::Client,
    wait_until,
};
use weir_tests::{nats::NatsServer, pipeline, scratch, seed, table::contents};

/// How often an interrupt may come before what the server sent.
const ATTEMPTS: usize = 20;

#[test]
fn what_cannot_be_drained_in_time_is_left_and_said() {
    let server = NatsServer::start();
    let client = Client::connect(&server.url());
    client.make_insurance();
    let scratch = scratch();
    let folder = folder_with_customers(scratch.path(), "held-up");
    let scenario = "last-page";
    let run = || Run::new(&folder, &server.url(), [pipeline(scenario)]);
    let events = seed::with_seed(|random| made_up(random, 300));
    let of_scenario = |(subject, _): &Event| *subject == subject_of(scenario);
    let last_of_scenario = 1 + events.iter().rposition(of_scenario).expect("there are some of each") as u64;
    let file = database(&folder, scenario);
    let mut last = 0;
    let outcome = (0..ATTEMPTS)
        .map(|_| {
            let mut running = run().with(["--drain-max", "200 ms"]).start();
            // It reads: what comes from here on is received at once.
            last = client.publish(&events) - events.len() as u64 + last_of_scenario;
            running.wait_for_position(&file, scenario, last);
            // Somebody else writes to the database, so that no commit comes through.
            let other = rusqlite::Connection::open(&file).expect("the database can be opened");
            other.execute_batch("BEGIN IMMEDIATE").expect("nobody else writes");
            let before = client.consumer(scenario).delivered.consumer_sequence;
            client.publish(&events);
            let delivered = || client.consumer(scenario).delivered.consumer_sequence > before;
            wait_until("events under way", delivered);
            running.interrupt()
        })
        // One that had not received yet what the server sent has nothing to drain.
        .find(|outcome| outcome.code != 0);
    let said = format!("not drained within 200 ms: pipeline last-page is committed up to sequence {last}, and ");
    outcome.expect("something was under way").ends_with(1).says(&said);
    run().catch_up().ends_with(0);
    let found = contents(&file);
    assert!(
        found.counts.events > 0
            && found.counts.events
                == found.counts.applied + found.counts.filtered + found.counts.dead_letters + found.counts.empty
    );
}

#[test]
fn an_interrupt_drains_commits_and_ends_well() {
    let server = NatsServer::start();
    let client = Client::connect(&server.url());
    client.make_insurance();
    let scratch = scratch();
    let folder = folder_with_customers(scratch.path(), "interrupted");
    let run = || Run::new(&folder, &server.url(), pipelines());
    seed::with_seed(|random| {
        let events = made_up(random, 30_000);
        client.publish(&events);
        for _ in 0..3 {
            let mut running = run().start();
            let scenario = random.pick(&SCENARIOS);
            let file = database(&folder, scenario);
            running.wait_for_position(&file, scenario, crate::process::position(&file, scenario).max(1));
            running.wait_for_word("last-page: stream");
            running.interrupt().ends_with(0).says("draining");
            for scenario in SCENARIOS {
                let found = contents(&database(&folder, scenario));
                let subject = subject_of(scenario);
                let seen = events[..found.position as usize]
                    .iter()
                    .filter(|(other, _)| *other == subject)
                    .count();
                assert_eq!(
                    found.counts.events, seen as u64,
                    "{scenario}: everything up to {}",
                    found.position
                );
                let acknowledged = || client.consumer(scenario).ack_floor.stream_sequence;
                wait_until("the last ack", || acknowledged() == found.position);
            }
        }
    });
    run().catch_up().ends_with(0);
    check_against_straight_run(scratch.path(), &folder, &server.url());
}

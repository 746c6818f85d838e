//! `weir run` is killed, again and again: every event has its effect exactly once.

use crate::{
    events::{SCENARIOS, made_up, pipelines},
    process::{Run, all_contents, database, folder_with_customers},
    server::{ALERTS, Client, Stored},
};
use std::{collections::BTreeSet, time::Duration};
use weir_tests::{nats::NatsServer, scratch, seed, table::query};

const EVENTS: usize = 60_000;

/// How often the process dies.
const KILLS: usize = 8;

#[test]
fn killed_runs_leave_what_a_run_without_kills_leaves() {
    let server = NatsServer::start();
    let client = Client::connect(&server.url());
    client.make_insurance();
    client.make_alerts(Duration::from_secs(120));
    let scratch = scratch();
    let killed = folder_with_customers(scratch.path(), "killed");
    let run = |folder| Run::new(folder, &server.url(), pipelines());

    seed::with_seed(|random| {
        let events = made_up(random, EVENTS);
        let mut cuts = random.cuts(KILLS, events.len());
        cuts.push(events.len());
        let mut published = 0;
        for &cut in &cuts[..KILLS] {
            let mut running = run(&killed).start();
            // It dies on the way through what is published now, or while nothing is left to do.
            client.publish(&events[published..cut]);
            let target = published + random.below((cut - published).max(1));
            published = cut;
            let scenario = random.pick(&SCENARIOS);
            let last = events[..target]
                .iter()
                .rposition(|(subject, _)| *subject == crate::events::subject_of(scenario));
            let last = last.map_or(0, |index| index as u64 + 1);
            running.wait_for_position(&database(&killed, scenario), scenario, last);
            std::thread::park_timeout(Duration::from_micros(random.below(30_000) as u64));
            running.kill();
        }
        client.publish(&events[published..]);
    });
    run(&killed).catch_up().ends_with(0);
    let found = all_contents(&killed);
    let alerts = client.messages(ALERTS, "alerts.premium-drop");

    // Without a stream of alerts all of them stay in the outbox, where they can be read.
    client.delete_stream(ALERTS);
    let straight = folder_with_customers(scratch.path(), "straight");
    run(&straight).catch_up().ends_with(0);
    let expected = all_contents(&straight);
    for scenario in SCENARIOS {
        assert!(
            expected[scenario].counts.applied > 0,
            "{scenario}: the test is about something"
        );
        assert!(
            !expected[scenario].dead_letters.is_empty(),
            "{scenario}: there are malformed events"
        );
        assert!(found[scenario] == expected[scenario], "{scenario}: {}", {
            let counts = |contents: &weir_tests::table::Contents| (contents.counts, contents.position);
            format!(
                "found {:?}, expected {:?}",
                counts(&found[scenario]),
                counts(&expected[scenario])
            )
        });
        client_sees_all(&client, scenario, expected[scenario].position);
    }

    let ids: BTreeSet<&str> = alerts.iter().map(|alert| alert.id.as_str()).collect();
    assert_eq!(ids.len(), alerts.len(), "each message id comes once");
    let expected = outbox(&database(&straight, "premium-drop"));
    assert!(
        expected.len() > 10,
        "the test is about something: {} alerts",
        expected.len()
    );
    assert!(
        payloads(&alerts) == payloads(&expected),
        "the alerts of a run without kills, in its order"
    );
    let others: BTreeSet<&str> = expected.iter().map(|alert| alert.id.as_str()).collect();
    assert!(ids.is_disjoint(&others), "another database has names of its own");
    assert_eq!(outbox(&database(&killed, "premium-drop")), [], "nothing waits");
}

/// Two databases were filled from the stream; each has consumers of its own.
#[track_caller]
fn client_sees_all(client: &Client, scenario: &str, position: u64) {
    for info in client.consumers(scenario) {
        assert_eq!(info.ack_floor.stream_sequence, position, "{scenario}: {info:?}");
    }
}

/// What messages say, without their names.
pub(crate) fn payloads(messages: &[Stored]) -> Vec<&str> {
    messages.iter().map(|message| message.payload.as_str()).collect()
}

/// The messages that wait in a database, in order.
pub(crate) fn outbox(database: &std::path::Path) -> Vec<Stored> {
    let ids = query(database, "SELECT message_id FROM weir_outbox ORDER BY id");
    let payloads = query(database, "SELECT payload FROM weir_outbox ORDER BY id");
    let both = ids.into_iter().zip(payloads);
    both.map(|(id, payload)| Stored { id, payload }).collect()
}

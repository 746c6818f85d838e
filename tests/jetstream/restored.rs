//! The place is the database's, whatever becomes of the consumer.

use crate::{
    cuts::{check_against_straight_run, wait_for_all},
    events::{SCENARIOS, made_up, pipelines},
    process::{Run, copy_database, database, folder_with_customers, position},
    server::Client,
};
use std::fs;
use weir_tests::{nats::NatsServer, scratch, seed};

const EVENTS: usize = 9_000;

#[test]
fn a_database_restored_from_an_older_copy_moves_its_consumer_back() {
    let server = NatsServer::start();
    let client = Client::connect(&server.url());
    client.make_insurance();
    let scratch = scratch();
    let folder = folder_with_customers(scratch.path(), "restored");
    let copies = scratch.path().join("copies");
    fs::create_dir(&copies).expect("a folder can be made");
    let events = seed::with_seed(|random| made_up(random, EVENTS));
    let (first, rest) = events.split_at(EVENTS / 3);
    let run = || Run::new(&folder, &server.url(), pipelines());

    client.publish(first);
    run().catch_up().ends_with(0);
    for scenario in SCENARIOS {
        copy_database(&database(&folder, scenario), &database(&copies, scenario));
    }
    client.publish(rest);
    run().catch_up().ends_with(0);
    for scenario in SCENARIOS {
        client.check_acknowledged(scenario, position(&database(&folder, scenario), scenario));
        copy_database(&database(&copies, scenario), &database(&folder, scenario));
        let back = position(&database(&folder, scenario), scenario);
        assert!(0 < back && back <= first.len() as u64, "{scenario} is back at {back}");
    }
    run().catch_up().ends_with(0);
    check_against_straight_run(scratch.path(), &folder, &server.url());
}

#[test]
fn a_consumer_that_somebody_deletes_is_made_anew() {
    let server = NatsServer::start();
    let client = Client::connect(&server.url());
    client.make_insurance();
    let scratch = scratch();
    let folder = folder_with_customers(scratch.path(), "deleted");
    let events = seed::with_seed(|random| made_up(random, EVENTS));
    let (first, rest) = events.split_at(EVENTS / 3);
    client.publish(first);

    let mut running = Run::new(&folder, &server.url(), pipelines()).start();
    for scenario in SCENARIOS {
        running.wait_for_position(&database(&folder, scenario), scenario, 1);
        client.delete_consumer(scenario);
    }
    client.publish(rest);
    wait_for_all(&mut running, &folder, &events);
    running.interrupt().ends_with(0);
    for scenario in SCENARIOS {
        client.check_acknowledged(scenario, position(&database(&folder, scenario), scenario));
    }
    check_against_straight_run(scratch.path(), &folder, &server.url());
}

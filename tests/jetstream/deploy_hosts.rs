//! Several hosts, several pipelines, and a server that goes away: each host comes to run what is wanted of it.

use crate::{
    process::Run,
    server::Client,
    versions::{NO_TRIAL, Swapped, deploy, from_where, hosts, publish, registry, wait_for_status},
    wait_until,
};
use std::fs;
use weir_tests::stored::read_versions;
use weir_tests::{
    seed::with_seed,
    swaps::{PIPELINE, check, pipeline_text},
};

#[test]
fn pipelines_share_a_registry_and_not_their_deployments() {
    let setup = Swapped::new(NO_TRIAL);
    let mut running = setup.start();
    let folder = setup.folder.path();
    let text = pipeline_text(NO_TRIAL).replace("name = \"swapped\"", "name = \"other\"");
    fs::write(folder.join("other.toml"), text).unwrap();
    let mut other = Run::new(folder, &setup.server.url(), [folder.join("other.toml")]).start();
    wait_until("both hosts", || hosts(&setup.registry()).len() == 2);

    setup.publish(1, 100);
    running.wait_for_position(&setup.database(), PIPELINE, 100);
    other.wait_for_position(&folder.join("other.db"), "other", 100);
    let said = setup
        .weir("deploy other.toml versions {versions} --param label=1")
        .ends_with(0);
    assert_eq!(
        said.stdout.matches(".db: in force from sequence 101").count(),
        1,
        "{said:?}"
    );
    setup
        .weir("deploy swapped.toml versions {versions} --param label=1")
        .ends_with(0);
    setup.weir("params set other.toml versions label=2").ends_with(0);
    setup.publish(101, 200);
    running.wait_for_position(&setup.database(), PIPELINE, 200);
    other.wait_for_position(&folder.join("other.db"), "other", 200);
    let status = setup.weir("status").ends_with(0).stdout;
    let lines: Vec<&str> = status.lines().filter(|line| line.contains("version ")).collect();
    assert!(
        lines[0].contains("version 2") && lines[1].contains("version 1"),
        "{status}"
    );
    other.interrupt().ends_with(0);
    running.interrupt().ends_with(0);
    assert_eq!(from_where(&check(&setup.database()).0), [(0, 1), (1, 101)]);
    let versions = read_versions(&folder.join("other.db"), "other").unwrap();
    assert_eq!(
        from_where(&versions),
        [(0, 1), (2, 101)],
        "version 1 decided over nothing"
    );
}

#[test]
fn two_hosts_of_a_pipeline_take_a_deployment_each() {
    let setup = Swapped::new(NO_TRIAL);
    let second = setup.folder.path().join("second");
    fs::create_dir(&second).unwrap();
    let database = second.join("swapped.db");
    let mut first = setup.start();
    let mut other = setup.run_in(&second).start();
    wait_until("both hosts", || hosts(&setup.registry()).len() == 2);
    setup.pass(&mut first, 1, 100);
    other.wait_for_position(&database, PIPELINE, 100);

    let said = setup
        .weir("deploy swapped.toml versions {versions} --param label=1")
        .ends_with(0);
    assert_eq!(
        said.stdout.matches("swapped.db: in force from sequence 101").count(),
        2,
        "{said:?}"
    );
    setup.pass(&mut first, 101, 200);
    other.wait_for_position(&database, PIPELINE, 200);
    // One that ended is not waited for, and takes it when it comes back.
    other.interrupt().ends_with(0);
    let said = setup.weir("params set swapped.toml versions label=2").ends_with(0);
    assert_eq!(said.stdout.matches("in force from sequence 201").count(), 1, "{said:?}");
    setup.pass(&mut first, 201, 300);
    let mut other = setup.run_in(&second).start();
    other.wait_for_word("version 2 of step versions of pipeline swapped is in force");
    other.wait_for_position(&database, PIPELINE, 300);
    other.interrupt().ends_with(0);
    first.interrupt().ends_with(0);
    assert_eq!(from_where(&check(&setup.database()).0), [(0, 1), (1, 101), (2, 201)]);
    let versions = check(&database).0;
    assert_eq!(from_where(&versions)[..2], [(0, 1), (1, 101)]);
    assert_eq!(versions.last().unwrap().deployment.version, 2);
}

#[test]
fn a_host_that_was_down_takes_the_last_of_three() {
    let setup = Swapped::new(NO_TRIAL);
    let mut running = setup.start();
    setup.pass(&mut running, 1, 100);
    running.interrupt().ends_with(0);
    let said = setup
        .weir("deploy swapped.toml versions {versions} --param label=1")
        .ends_with(0);
    assert!(
        said.stdout
            .contains("no host runs the pipeline now; the next that starts takes it"),
        "{said:?}"
    );
    setup.weir("params set swapped.toml versions label=2").ends_with(0);
    setup.weir("params set swapped.toml versions label=3").ends_with(0);
    let mut running = setup.start();
    wait_for_status(&setup.registry(), "the last version", |host| {
        host.steps[0].deployment.version == 3
    });
    setup.pass(&mut running, 101, 200);
    running.interrupt().ends_with(0);
    assert_eq!(from_where(&check(&setup.database()).0), [(0, 1), (3, 101)]);
}

#[test]
fn a_server_that_starts_again_knows_hosts_and_deployments() {
    let mut setup = Swapped::new(NO_TRIAL);
    let mut running = setup.start();
    setup.pass(&mut running, 1, 100);
    setup
        .weir("deploy swapped.toml versions {versions} --param label=1")
        .ends_with(0);
    for round in 2..5 {
        let last = (round - 1) * 100;
        setup.server.kill();
        setup.server.restart();
        // Nobody is told that no host runs the pipeline.
        let said = setup
            .weir(&format!("params set swapped.toml versions label={round}"))
            .ends_with(0);
        assert!(said.stdout.contains("in force from sequence"), "{said:?}");
        setup.client = Client::connect(&setup.server.url());
        setup.pass(&mut running, last + 1, last + 100);
    }
    running.interrupt().ends_with(0);
    assert_eq!(
        from_where(&check(&setup.database()).0),
        [(0, 1), (1, 101), (2, 101), (3, 201), (4, 301)]
            .into_iter()
            .filter(|(version, _)| *version != 1)
            .collect::<Vec<_>>()
    );
}

#[test]
fn a_server_that_dies_during_deployments_is_waited_for() {
    let mut setup = Swapped::new(NO_TRIAL);
    let mut running = setup.start();
    let mut last = 0;
    with_seed(|random| {
        for _ in 0..6 {
            let registry = registry(&setup.server.url());
            let version = deploy(&registry, "").version;
            publish(&setup.client, last + 1, last + 50);
            last += 50;
            std::thread::park_timeout(std::time::Duration::from_micros(random.below(20_000) as u64));
            setup.server.kill();
            drop(registry);
            setup.server.restart();
            setup.client = Client::connect(&setup.server.url());
            running.wait_for_word(&format!(
                "version {version} of step versions of pipeline swapped is in force"
            ));
            running.wait_for_position(&setup.database(), PIPELINE, last);
        }
    });
    let said = running.interrupt().ends_with(0).stderr;
    assert!(!said.contains("is refused"), "{said}");
    check(&setup.database());
}

#[test]
fn a_registry_that_was_lost_does_not_give_numbers_again() {
    let setup = Swapped::new(NO_TRIAL);
    let mut running = setup.start();
    for label in 1..4 {
        setup
            .weir(&format!(
                "deploy swapped.toml versions {{versions}} --param label={label}"
            ))
            .ends_with(0);
    }
    setup.client.delete_stream("KV_weir-deployments");
    let said = setup
        .weir("deploy swapped.toml versions {versions} --param label=4")
        .ends_with(0);
    assert!(said.stdout.starts_with("deployed version 4 "), "{said:?}");
    setup.pass(&mut running, 1, 50);

    // Where no host can say what it has: then it says so when it comes.
    running.interrupt().ends_with(0);
    setup.client.delete_stream("KV_weir-deployments");
    let said = setup
        .weir("deploy swapped.toml versions {versions} --param label=1")
        .ends_with(0);
    assert!(said.stdout.starts_with("deployed version 1 "), "{said:?}");
    let mut running = setup.start();
    running.wait_for_word("version 4 is in force, and numbers only grow");
    setup.pass(&mut running, 51, 100);
    let said = setup
        .weir("deploy swapped.toml versions {versions} --param label=5")
        .ends_with(0);
    assert!(said.stdout.starts_with("deployed version 5 "), "{said:?}");
    setup.pass(&mut running, 101, 150);

    // Nor is another version of a number that is in force taken for that one.
    running.interrupt().ends_with(0);
    setup.client.delete_stream("KV_weir-deployments");
    for _ in 1..=5 {
        setup.weir("params set swapped.toml versions label=9").ends_with(0);
    }
    let mut running = setup.start();
    running.wait_for_word("another version 5 is in force, which was deployed earlier");
    setup.pass(&mut running, 151, 200);
    let said = setup.weir("params set swapped.toml versions label=6").ends_with(0);
    assert!(said.stdout.starts_with("deployed version 6 "), "{said:?}");
    setup.pass(&mut running, 201, 250);
    running.interrupt().ends_with(0);
    assert_eq!(from_where(&check(&setup.database()).0), [(4, 1), (5, 101), (6, 201)]);
}

//! Who has the word for a step: the pipeline file or the registry, from the first event on, and what is said of it.

use crate::{
    versions::{NO_TRIAL, Swapped, deploy, deploy_to, from_where, hosts, wait_for_status},
    wait_until,
};
use std::fs;
use weir::runtime::status::WaitingVersion;
use weir_tests::{
    nats::NatsServer,
    scratch,
    swaps::{self, PIPELINE, STEP, pipeline_text},
};

#[test]
fn a_new_database_begins_with_what_is_deployed() {
    let setup = Swapped::new(NO_TRIAL);
    deploy(&setup.registry(), "");
    setup.publish(1, 100);
    setup.run().catch_up().ends_with(0);
    assert_eq!(from_where(&swaps::check(&setup.database()).0), [(1, 1)]);
}

#[test]
fn what_the_registry_overrides_is_said_and_undeploy_gives_the_word_back() {
    let setup = Swapped::new(NO_TRIAL);
    let mut running = setup.start();
    setup.pass(&mut running, 1, 100);
    setup.weir("params set swapped.toml versions label=1").ends_with(0);
    setup.pass(&mut running, 101, 200);
    let overrides = "label = 1 in place of 0; `weir undeploy";
    let checked = setup.weir("check swapped.toml").ends_with(0).stdout;
    assert!(checked.contains(overrides), "{checked}");
    running.interrupt().ends_with(0);

    let text = pipeline_text(NO_TRIAL).replace("malformed = 97", "malformed = 97, label = 2");
    fs::write(setup.folder.path().join("swapped.toml"), text).expect("the pipeline file can be written");
    let mut running = setup.start();
    running.wait_for_word("label = 1 in place of 2; `weir undeploy` gives the word back to the file");
    setup.pass(&mut running, 201, 300);
    setup.weir("undeploy swapped.toml versions").ends_with(0);
    setup.pass(&mut running, 301, 400);
    setup.weir("undeploy swapped.toml versions").ends_with(2);
    running.interrupt().ends_with(0);
    setup.publish(401, 500);
    setup.run().catch_up().ends_with(0);
    let (versions, _) = swaps::check_labels(&setup.database(), |version| version);
    assert_eq!(from_where(&versions), [(0, 1), (1, 101), (2, 301)]);
}

#[test]
fn a_version_that_no_registry_gives_bricks_nothing() {
    let setup = Swapped::new(NO_TRIAL);
    let mut running = setup.start();
    setup.pass(&mut running, 1, 100);
    deploy(&setup.registry(), "");
    let key = "swapped.versions";
    for version in ["18446744073709551615", "9223372036854775807", "0"] {
        let value = format!("{{\"version\":{version},\"digest\":null}}");
        setup.client.put_key("weir-deployments", key, value.leak());
    }
    running.wait_for_word("is no deployment that this weir understands: it has version 18446744073709551615");
    assert_eq!(deploy(&setup.registry(), "").version, 2);
    running.wait_for_word("version 2 of step versions of pipeline swapped is in force");
    running.interrupt().ends_with(0);
}

#[test]
fn a_module_whose_pieces_are_gone_is_refused_at_once() {
    let setup = Swapped::new(NO_TRIAL);
    let nowhere = "e".repeat(64);
    setup
        .registry()
        .put_module(&nowhere, &vec![1; 300 << 10])
        .expect("it is taken");
    setup.client.lose_pieces("weir-modules");
    let mut running = setup.start();
    deploy_to(&setup.registry(), PIPELINE, STEP, Some(&nowhere), "");
    wait_for_status(&setup.registry(), "the refusal", |host| {
        let failed = host.steps[0].failed.as_ref();
        failed.is_some_and(|failed| failed.reason.contains("0 of 3 pieces are there; deploy it again"))
    });
    deploy(&setup.registry(), "");
    running.wait_for_word("version 2 of step versions of pipeline swapped is in force");
    running.interrupt().ends_with(0);
}

#[test]
fn a_module_that_runs_is_not_fetched_again_for_other_parameters() {
    let setup = Swapped::new(NO_TRIAL);
    let mut running = setup.start();
    setup.pass(&mut running, 1, 100);
    let registry = setup.registry();
    let first = deploy(&registry, "");
    running.wait_for_word("version 1 of step versions of pipeline swapped is in force");
    setup.client.lose_pieces("weir-modules");
    deploy_to(&registry, PIPELINE, STEP, first.digest.as_deref(), "every = 2");
    running.wait_for_word("version 2 of step versions of pipeline swapped is in force");
    running.interrupt().ends_with(0);
}

#[test]
fn another_takes_the_place_of_one_that_cannot_be_had() {
    let setup = Swapped::new(NO_TRIAL);
    let mut running = setup.start();
    setup.pass(&mut running, 1, 10);
    let (registry, path) = (setup.registry(), weir_tests::guest("strict"));
    let digest = swaps::digest(&path);
    registry.put_module(&digest, &fs::read(&path).unwrap()).unwrap();
    setup.client.garble_object("weir-modules", &digest);
    for (version, line) in [
        (1, "deploy swapped.toml versions {versions} --param label=2"),
        (3, "undeploy swapped.toml versions"),
    ] {
        deploy_to(&registry, PIPELINE, STEP, Some(&digest), "");
        running.wait_for_word(&format!(
            "version {version} of step versions of pipeline swapped waits: "
        ));
        let outcome = setup.weir(line).ends_with(0);
        assert!(outcome.stdout.contains("in force from sequence"), "{outcome:?}");
        assert!(
            outcome
                .stderr
                .contains("nothing is compared with it: cannot read module"),
            "{outcome:?}"
        );
    }
    running.interrupt().ends_with(0);
}

#[test]
fn what_a_host_waits_for_is_said_to_who_waits_for_the_host() {
    let setup = Swapped::new(NO_TRIAL);
    let mut running = setup.start();
    setup.pass(&mut running, 1, 10);
    // One of another machine, which does not get the memory.
    let mut other = hosts(&setup.registry()).remove(0);
    (other.host, other.process) = ("other".to_owned(), "elsewhere 7".to_owned());
    other.steps[0].waits = Some(WaitingVersion {
        version: 1,
        reason: "there is no memory".to_owned(),
    });
    let other = serde_json::to_string(&other).unwrap();
    setup.client.put_key("weir-hosts", "swapped.other", other);
    let outcome = setup
        .weir("deploy swapped.toml versions {versions} --param label=1 --wait 2")
        .ends_with(1);
    assert!(outcome.stdout.contains("in force from sequence"), "{outcome:?}");
    let waits = "swapped.db: waits: there is no memory\n";
    assert_eq!(outcome.stderr.matches(waits).count(), 1, "{outcome:?}");
    assert!(outcome.stderr.contains("weir: elsewhere 7, "), "{outcome:?}");
    assert!(
        outcome
            .stderr
            .contains("1 of 2 hosts did not say within 2 s that version 1 is in force"),
        "{outcome:?}"
    );
    running.interrupt().ends_with(0);
}

#[test]
fn a_trial_that_is_waited_for_ends_with_what_became_of_it() {
    let setup = Swapped::new("{ rows = 50, failures = 3 }");
    let mut running = setup.start();
    setup.pass(&mut running, 1, 100);
    for (parameters, code, said) in [
        ("--param label=1", 0, "passed its trial"),
        (
            "--param label=2 --param fails=reject --param every=2",
            3,
            "taken back from sequence",
        ),
    ] {
        let first = 100 * (1 + u64::from(code > 0)) + 1;
        let outcome = std::thread::scope(|scope| {
            let line = format!("deploy swapped.toml versions {{versions}} --wait-trial=60 {parameters}");
            let setup = &setup;
            let deployed = scope.spawn(move || setup.weir(&line));
            wait_for_status(&setup.registry(), "the version in force", |host| {
                host.steps[0].trial_left > 0
            });
            setup.publish(first, first + 99);
            deployed.join().expect("the command ends")
        });
        assert!(outcome.stdout.contains(said), "{outcome:?}");
        outcome.ends_with(code);
    }
    wait_until("word of both in the history", || {
        let history = setup.weir("history swapped.toml versions").ends_with(0).stdout;
        history.contains("passed its trial by sequence") && history.contains("was taken back from sequence")
    });
    running.interrupt().ends_with(0);
}

/// `shut` may not open the registry, until somebody changes the server's configuration.
fn users(denied: &str) -> String {
    format!(
        "authorization {{ users = [ {{ user: admin, password: a }}, {{ user: shut, password: s, permissions: {{ publish: {{ deny: [{denied}] }} }} }} ] }}"
    )
}

#[test]
fn a_registry_that_was_lost_is_put_back_from_a_database() {
    let setup = Swapped::new(NO_TRIAL);
    let mut running = setup.start();
    setup.pass(&mut running, 1, 100);
    deploy(&setup.registry(), "");
    running.wait_for_word("version 1 of step versions of pipeline swapped is in force");
    setup.pass(&mut running, 101, 200);
    running.interrupt().ends_with(0);
    for stream in ["KV_weir-deployments", "OBJ_weir-modules"] {
        setup.client.delete_stream(stream);
    }
    let said = setup.weir("registry restore swapped.db").ends_with(0).stdout;
    assert!(said.contains("1 of 1 versions put back"), "{said}");
    let history = setup.registry().history(PIPELINE, STEP).expect("it can be read");
    assert_eq!(history.len(), 1);
    let digest = history[0].digest.clone().expect("a module");
    setup.registry().module(&digest).expect("the module is there");
    let said = setup.weir("registry restore swapped.db").ends_with(0).stdout;
    assert!(said.contains("0 of 1 versions put back"), "{said}");
}

#[test]
fn a_host_that_could_not_open_the_registry_takes_deployments_once_it_can() {
    let server = NatsServer::with_config(&users("\"$JS.API.STREAM.CREATE.OBJ_weir-modules\""));
    let folder = scratch();
    fs::write(folder.path().join("swapped.toml"), pipeline_text(NO_TRIAL)).expect("it can be written");
    let admin = async_nats::ConnectOptions::with_user_and_password("admin".to_owned(), "a".to_owned());
    let setup = Swapped::at(server, folder, admin);
    let url = setup.server.url_of("shut:s");
    let mut running = crate::process::Run::new(setup.folder.path(), &url, ["swapped.toml"]).start();
    running.wait_for_word("deployments are not looked for until the registry can be opened");
    setup.pass(&mut running, 1, 100);
    // Somebody makes the buckets.
    let admin = setup.server.url_of("admin:a");
    setup
        .weir_at("deploy swapped.toml versions {versions} --param label=1", &admin)
        .ends_with(0);
    running.wait_for_word("the registry is open, deployments are looked for");
    running.wait_for_word("version 1 of step versions of pipeline swapped is in force");
    setup.pass(&mut running, 101, 200);
    running.interrupt().ends_with(0);
}

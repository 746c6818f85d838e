//! What was deployed while a host was down decides from its first event on.

use crate::versions::{NO_TRIAL, Swapped, deploy, deploy_to, from_where};
use std::time::Instant;
use weir::model::deployment::StoredVersion;
use weir_tests::stored::read_versions;
use weir_tests::{
    nats::NatsServer,
    scratch,
    swaps::{self, PIPELINE, STEP, pipeline_text, text_with_second},
};

/// From where on which version of a step decides.
fn of_step(versions: &[StoredVersion], step: &str) -> Vec<(u64, u64)> {
    let versions = versions.iter().filter(|version| version.step == step);
    let decides = versions.map(|version| (version.deployment.version, version.first_sequence));
    decides.collect()
}

#[test]
fn every_step_begins_with_what_is_deployed_in_a_new_database_and_in_one_with_a_position() {
    let setup = Swapped::with(&text_with_second(NO_TRIAL));
    let registry = setup.registry();
    setup.publish(1, 10);
    deploy(&registry, "");
    let both = |version| {
        let versions = read_versions(&setup.database(), PIPELINE).expect("they can be read");
        (
            of_step(&versions, STEP).last() == Some(&version),
            of_step(&versions, "second"),
        )
    };
    setup.run().catch_up().ends_with(0);
    assert_eq!(both((1, 1)), (true, vec![(0, 1)]));

    for first in [11, 21] {
        let version = deploy(&registry, "").version;
        let digest = swaps::digest(&weir_tests::guest("versions"));
        deploy_to(&registry, PIPELINE, "second", Some(&digest), "");
        // As many as fit into the first batch: none of them is decided by what was in force.
        setup.publish(first, first + 9);
        setup.run().catch_up().ends_with(0);
        let (is_so, second) = both((version, first));
        assert!(is_so, "{:?}", read_versions(&setup.database(), PIPELINE));
        assert_eq!(second.last(), Some(&(version - 1, first)), "{second:?}");
    }
    swaps::check(&setup.database());
}

/// It is waited for. A rollout that begins beside the events is often fast enough for one that was compiled before, and never for
/// this.
#[test]
fn a_module_that_nobody_compiled_yet_decides_from_the_first_event_on() {
    let setup = Swapped::new(NO_TRIAL);
    let registry = setup.registry();
    let cache = setup.folder.path().display().to_string();
    let run = || {
        setup
            .run()
            .with_variable("XDG_CACHE_HOME", &cache)
            .catch_up()
            .ends_with(0)
    };
    setup.publish(1, 10);
    run();
    // A custom section that holds nothing makes another component of it, and the same rule.
    let mut component = std::fs::read(weir_tests::guest("versions")).expect("the module can be read");
    component.extend([0, 2, 1, b'x']);
    let digest = swaps::digest_of(&component);
    registry.put_module(&digest, &component).expect("it is taken");
    let version = deploy_to(&registry, PIPELINE, STEP, Some(&digest), "").version;
    setup.publish(11, 20);
    run();
    let versions = read_versions(&setup.database(), PIPELINE).expect("they can be read");
    assert_eq!(from_where(&versions), [(0, 1), (version, 11)]);
}

#[test]
fn what_is_refused_holds_up_neither_the_start_nor_the_other_step() {
    let setup = Swapped::with(&text_with_second(NO_TRIAL));
    let registry = setup.registry();
    setup.publish(1, 10);
    setup.run().catch_up().ends_with(0);
    // It wants a parameter of another type than it has.
    let digest = swaps::digest(&weir_tests::guest("versions"));
    deploy(&registry, "every = 'never'");
    deploy_to(&registry, PIPELINE, "second", Some(&digest), "");
    setup.publish(11, 20);
    let said = setup.run().catch_up().ends_with(0);
    said.says("version 1 of step versions of pipeline swapped is refused")
        .says("version 1 of step second of pipeline swapped is in force from sequence 11");
    // No module at all.
    setup
        .client
        .put_key("weir-deployments", "swapped.second", "{\"version\":");
    deploy(&registry, "");
    setup.publish(21, 30);
    setup.run().catch_up().ends_with(0);
    let (versions, _) = swaps::check(&setup.database());
    assert_eq!(from_where(&versions), [(0, 1), (2, 21)]);
    assert_eq!(of_step(&versions, "second"), [(0, 1), (1, 11)]);
}

/// `shut` may not open the registry.
const USERS: &str = "authorization { users = [ { user: admin, password: a }, { user: shut, password: s, permissions: { \
                     publish: { deny: [\"$JS.API.STREAM.INFO.OBJ_weir-modules\", \"$JS.API.STREAM.CREATE.OBJ_weir-modules\"] } } } ] }";

#[test]
fn a_registry_that_cannot_be_heard_is_said_and_holds_up_no_start_for_long() {
    let server = NatsServer::with_config(USERS);
    let folder = scratch();
    std::fs::write(folder.path().join("swapped.toml"), pipeline_text(NO_TRIAL)).expect("it can be written");
    let admin = async_nats::ConnectOptions::with_user_and_password("admin".to_owned(), "a".to_owned());
    let setup = Swapped::at(server, folder, admin);
    let run = |user: &str| crate::process::Run::new(setup.folder.path(), &setup.server.url_of(user), ["swapped.toml"]);
    setup.publish(1, 10);
    run("admin:a").catch_up().ends_with(0);
    setup
        .weir_at(
            "deploy swapped.toml versions {versions} --param label=1",
            &setup.server.url_of("admin:a"),
        )
        .ends_with(0);
    setup.publish(11, 20);
    let begun = Instant::now();
    let said = run("shut:s").catch_up().ends_with(0);
    said.says("deployments are not looked for until the registry can be opened");
    assert!(begun.elapsed() < crate::DEADLINE / 2, "{:?}", begun.elapsed());
    setup.publish(21, 30);
    run("admin:a").catch_up().ends_with(0);
    assert_eq!(from_where(&swaps::check(&setup.database()).0), [(0, 1), (1, 21)]);
}

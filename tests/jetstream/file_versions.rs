//! A pipeline file that names something else than at the last start: a version as any other, which is on trial, may be taken
//! back, and then stays out.

use crate::{
    process::Running,
    versions::{Swapped, from_where, steps, wait_for_status},
};
use std::{fs, path::Path};
use weir_tests::stored::read_versions;
use weir_tests::{
    swaps::{self, PIPELINE, pipeline_text},
    table::query,
};

const TRIAL: &str = "{ rows = 100, failures = 3 }";

/// Lets the pipeline file say other parameters.
fn say(setup: &Swapped, parameters: &str) {
    let text = pipeline_text(TRIAL).replace("{ malformed = 97 }", &format!("{{ malformed = 97{parameters} }}"));
    fs::write(setup.folder.path().join("swapped.toml"), text).expect("the pipeline file can be written");
}

const FAILS: &str = ", fails = 'reject', every = 10";

/// A pipeline whose file was changed to what fails, which was taken back at 141.
fn taken_back() -> (Swapped, Running) {
    let setup = Swapped::new(TRIAL);
    let mut running = setup.start();
    setup.pass(&mut running, 1, 100);
    running.interrupt().ends_with(0);
    say(&setup, FAILS);
    let mut running = setup.start();
    setup.pass(&mut running, 101, 200);
    running.wait_for_word("version 0 of step versions of pipeline swapped is taken back from sequence 141 on");
    assert!(
        running
            .said()
            .contains("step versions of pipeline swapped runs what its file says by now"),
        "{}",
        running.said()
    );
    (setup, running)
}

#[test]
fn what_a_file_names_is_on_trial_and_stays_out_once_it_was_taken_back() {
    let (setup, running) = taken_back();
    running.interrupt().ends_with(0);
    assert_eq!(
        from_where(&swaps::check_labels(&setup.database(), |_| 0).0),
        [(0, 1), (0, 101), (0, 141)]
    );

    setup.publish(201, 300);
    let refused = setup.run().start().end().ends_with(2);
    refused.says("took back what the pipeline file names: module ");
    let refused = setup.run().start().end().ends_with(2);
    refused.says("was taken back from sequence 141 on: version 0 rejects 140; name another module or other parameters, or say --again to put it on trial once more");
    assert_eq!(read_versions(&setup.database(), PIPELINE).unwrap().len(), 3);

    // What decided before needs no word.
    say(&setup, "");
    setup.run().catch_up().ends_with(0);
    assert_eq!(
        from_where(&swaps::check_labels(&setup.database(), |_| 0).0),
        [(0, 1), (0, 101), (0, 141)]
    );
    say(&setup, FAILS);
    let mut running = setup.run().with(["--again"]).start();
    setup.publish(301, 400);
    running.wait_for_word("is taken back from sequence 341 on");
    running.wait_for_position(&setup.database(), PIPELINE, 400);
    running.interrupt().ends_with(0);
    assert_eq!(
        from_where(&swaps::check_labels(&setup.database(), |_| 0).0),
        [(0, 1), (0, 101), (0, 141), (0, 301), (0, 341)]
    );
    setup.run().start().end().ends_with(2);
}

#[test]
fn a_trial_of_what_a_file_names_goes_on_after_a_kill() {
    let setup = Swapped::new(TRIAL);
    let mut running = setup.start();
    setup.pass(&mut running, 1, 100);
    running.interrupt().ends_with(0);
    say(&setup, FAILS);
    let mut running = setup.start();
    setup.pass(&mut running, 101, 120);
    running.kill();
    // What was on trial is not what decided before.
    say(&setup, ", fails = 'reject', every = 9");
    let mut running = setup.start();
    setup.pass(&mut running, 121, 200);
    running.interrupt().ends_with(0);
    let (versions, _) = swaps::check_labels(&setup.database(), |_| 0);
    assert_eq!(from_where(&versions), [(0, 1), (0, 101), (0, 121), (0, 154)]);
    assert_eq!(versions[2].trial.by_fallback, [126, 135, 144, 153]);
}

#[test]
fn what_was_taken_back_is_not_deployed_again_unless_somebody_insists() {
    let setup = Swapped::new(TRIAL);
    let mut running = setup.start();
    setup.pass(&mut running, 1, 100);
    let fails = "deploy swapped.toml versions {versions} --param label=1 --param fails=reject --param every=10";
    setup.weir(fails).ends_with(0);
    setup.pass(&mut running, 101, 200);
    wait_for_status(&setup.registry(), "the version is taken back", |host| {
        host.steps[0].failed.as_ref().is_some_and(|failed| failed.taken_back)
    });

    let refused = setup.weir(fails).ends_with(2);
    refused.says("from sequence 141 on: version 1 rejects 140; deploy another, or the same with --again");
    assert_eq!(setup.registry().history(PIPELINE, "versions").unwrap().len(), 1);
    running.interrupt().ends_with(0);
    // Where no host runs, nobody tells the command; the next one that starts refuses.
    setup.weir(fails).ends_with(0);
    let mut running = setup.start();
    wait_for_status(&setup.registry(), "the refusal", |host| {
        host.steps[0].failed.as_ref().is_some_and(|failed| failed.version == 2)
    });
    let failed = steps(&setup.registry())[0].failed.clone().unwrap();
    assert!(!failed.taken_back && failed.reason.contains("--again"), "{failed:?}");
    setup.pass(&mut running, 201, 300);
    setup.weir(&format!("{fails} --again")).ends_with(0);
    setup.pass(&mut running, 301, 400);
    running.wait_for_word("version 3 of step versions of pipeline swapped is taken back from sequence 341 on");
    running.interrupt().ends_with(0);
    let (versions, _) = swaps::check_labels(&setup.database(), |version| u64::from(version > 0));
    assert_eq!(from_where(&versions), [(0, 1), (1, 101), (0, 141), (3, 301), (0, 341)]);
}

#[test]
fn parameters_that_are_not_given_are_those_in_force() {
    let parameters = |setup: &Swapped| steps(&setup.registry())[0].deployment.parameters.clone();
    let setup = Swapped::new(TRIAL);
    let mut running = setup.start();
    setup.pass(&mut running, 1, 100);
    setup.weir("params set swapped.toml versions label=1").ends_with(0);
    setup.pass(&mut running, 101, 300);
    let fails = "params set swapped.toml versions fails=reject every=10 label=5";
    setup.weir(fails).ends_with(0);
    setup.pass(&mut running, 301, 400);
    wait_for_status(&setup.registry(), "the version is taken back", |host| {
        host.steps[0].failed.as_ref().is_some_and(|failed| failed.taken_back)
    });
    // Nothing of what was taken back comes along.
    setup.weir("params set swapped.toml versions malformed=96").ends_with(0);
    assert_eq!(
        parameters(&setup),
        toml::toml! { label = 1 malformed = 96 }.into_iter().collect()
    );

    // The file has the word again, and changes.
    setup.weir("undeploy swapped.toml versions").ends_with(0);
    running.interrupt().ends_with(0);
    say(&setup, ", label = 7");
    let mut running = setup.start();
    setup.pass(&mut running, 401, 500);
    setup.weir("params set swapped.toml versions every=9").ends_with(0);
    assert_eq!(
        parameters(&setup),
        toml::toml! { every = 9 label = 7 malformed = 97 }.into_iter().collect()
    );
    running.interrupt().ends_with(0);
}

/// A rule that lets the last value of each key through, and a table of it.
fn behind_a_changelog(parameters: &str) -> String {
    let module = weir_tests::guest("versions");
    format!(
        "name = '{PIPELINE}'\nsource = {{ stream = 'EVENTS', subject = 'events', columns = {{ n = 'int', k = 'text' }} }}\n\
         [[step]]\nname = 'latest'\nlast_value = {{ key = ['k'] }}\n\
         [[step]]\nname = 'versions'\nstage = {{ module = '{}', parameters = {{ {parameters} }} }}\n\
         [[sink]]\ntable = 'kept'\nprimary_key = ['k']\n",
        module.display()
    )
}

#[test]
fn a_rule_behind_a_changelog_judges_anew_what_is_there_at_the_start() {
    let setup = Swapped::with(&behind_a_changelog("label = 1"));
    let file = setup.folder.path().join("swapped.toml");
    let say = |parameters: &str| fs::write(&file, behind_a_changelog(parameters)).expect("the file can be written");
    let labels = |database: &Path| query(database, "SELECT DISTINCT CAST(label AS TEXT) FROM kept");
    let mut running = setup.start();
    setup.pass(&mut running, 1, 100);
    running.interrupt().ends_with(0);
    assert_eq!(labels(&setup.database()), ["1"]);

    say("label = 2");
    setup.run().catch_up().ends_with(0);
    assert_eq!(labels(&setup.database()), ["2"]);
    setup.publish(101, 200);
    setup.run().catch_up().ends_with(0);
    assert_eq!(labels(&setup.database()), ["2"]);

    // It cannot take what is there by now. Both ways out: the former, and a new database.
    say("label = 3, fails = 'reject'");
    let refused = setup.run().with(["--until-caught-up"]).start().end().ends_with(2);
    refused
        .says("step \"versions\" of pipeline swapped: the rule that the pipeline file names by now cannot take over")
        .says("rejects")
        .says("name another module or other parameters, or put back the former");
    assert_eq!(labels(&setup.database()), ["2"]);
    say("label = 2");
    setup.run().catch_up().ends_with(0);
    say("label = 4");
    setup.run().with(["--database", "new.db"]).catch_up().ends_with(0);
    assert_eq!(labels(&setup.folder.path().join("new.db")), ["4"]);
    assert_eq!(labels(&setup.database()), ["2"]);
    assert_eq!(
        from_where(&read_versions(&setup.database(), PIPELINE).unwrap()),
        [(0, 1), (0, 101)]
    );
}

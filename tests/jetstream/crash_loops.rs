//! A rule that kills its host is not run for ever: the host remembers what it died of, the version before takes its place, or
//! the pipeline stops. And who merely kills a host takes no good version away.
//!
//! No rule is known to kill a host. Here a trap does, at a fail point: so the parameters of a version say at which event.

use crate::{
    process::{Run, Running},
    versions::{NO_TRIAL, Swapped, deploy, deploy_to, from_where, wait_for_status},
    wait_until,
};
use std::{fs, path::Path, time::Duration};
use weir_tests::stored::{read_harms, read_versions};
use weir_tests::swaps::{self, PIPELINE, STEP, pipeline_text};

/// How often a version may kill its host at one place.
const DEATHS: usize = 3;

/// A host that dies where a rule traps.
fn deadly(setup: &Swapped) -> Run {
    setup.run().with_variable("WEIR_FAIL_POINTS", "in-trap=1")
}

/// Starts one, and waits until the registry knows of it.
#[track_caller]
fn start(setup: &Swapped) -> Running {
    let mut running = deadly(setup).start();
    running.wait_for_word("from sequence");
    running
}

#[track_caller]
fn wait_for_death(mut running: Running) -> String {
    wait_until("the death", || running.has_died());
    running.said()
}

/// Starts hosts that die.
#[track_caller]
fn die(setup: &Swapped, deaths: usize) {
    for _ in 0..deaths {
        wait_for_death(deadly(setup).start());
    }
}

/// What the database counts: deaths at one place, and in a row.
fn counted(database: &Path) -> Vec<(u64, u64)> {
    let harms = read_harms(database, PIPELINE).expect("the database can be read");
    harms.iter().map(|harm| (harm.deaths, harm.in_a_row)).collect()
}

/// The pipeline, whose file names a version that cannot take some event.
fn of_file(fails_at: u64) -> String {
    let parameters = format!("{{ malformed = 97, fails = 'panic', every = {fails_at} }}");
    pipeline_text(NO_TRIAL).replace("{ malformed = 97 }", &parameters)
}

/// A host that ran version 0 over 1 to 100 and version 1 over those after, and died of it at 150.
fn died_once(trial: &str) -> Swapped {
    let setup = Swapped::new(trial);
    let mut running = start(&setup);
    setup.pass(&mut running, 1, 100);
    deploy(&setup.registry(), "fails = 'panic'\nevery = 150");
    running.wait_for_word("version 1 of step versions of pipeline swapped is in force");
    setup.pass(&mut running, 101, 149);
    setup.publish(150, 200);
    wait_for_death(running);
    setup
}

#[test]
fn the_version_before_takes_the_place_of_one_that_kills_its_host() {
    let setup = died_once(NO_TRIAL);
    for death in 2..=DEATHS {
        let said = wait_for_death(deadly(&setup).start());
        assert!(said.contains("version 1, module"), "{said}");
        assert_eq!(counted(&setup.database()), [(death as u64 - 1, death as u64 - 1)]);
    }
    let shown = setup.weir("status swapped.db").ends_with(0).stdout;
    assert!(
        shown.contains("the host died twice while it ran this version"),
        "{shown}"
    );

    let mut running = start(&setup);
    let reason = "the host died 3 times while it ran this version, and came no further than sequence 149";
    running.wait_for_word(&format!(
        "version 1 of step versions of pipeline swapped is taken back from sequence 150 on: {reason}"
    ));
    running.wait_for_position(&setup.database(), PIPELINE, 200);
    wait_for_status(&setup.registry(), "word of it", |host| {
        host.steps[0].failed.as_ref().is_some_and(|failed| {
            (failed.version, failed.taken_back, failed.sequence) == (1, true, 150) && failed.reason == reason
        })
    });
    wait_until("word in the history", || {
        let history = setup.weir("history swapped.toml versions").ends_with(0).stdout;
        history.contains(&format!("was taken back from sequence 150 on: {reason}"))
    });
    let again = "deploy swapped.toml versions {versions} --param label=1 --param fails=panic --param every=150";
    setup
        .weir(again)
        .ends_with(2)
        .says(reason)
        .says("or the same with --again");
    running.interrupt().ends_with(0);
    let decided = [(0, 1), (1, 101), (0, 150)];
    assert_eq!(from_where(&swaps::check(&setup.database()).0), decided);
    assert_eq!(
        read_versions(&setup.database(), PIPELINE).unwrap()[1].taken_back_from(),
        150
    );

    // It stays so at every start.
    setup.publish(201, 250);
    deadly(&setup).catch_up().ends_with(0);
    assert_eq!(from_where(&swaps::check(&setup.database()).0), decided);
    // Unless somebody insists, and then it counts anew.
    let mut running = setup.start();
    setup.weir(&format!("{again} --again")).ends_with(0);
    setup.pass(&mut running, 251, 299);
    running.interrupt().ends_with(0);
    setup.publish(300, 310);
    die(&setup, DEATHS);
    deadly(&setup).catch_up().ends_with(0);
    let decided = [(0, 1), (1, 101), (0, 150), (2, 251), (0, 300)];
    let (versions, _) = swaps::check_labels(&setup.database(), |version| u64::from(version > 0));
    assert_eq!(from_where(&versions), decided);
}

#[test]
fn two_deaths_take_nothing_back() {
    let setup = died_once(NO_TRIAL);
    die(&setup, DEATHS - 2);
    // Without the fail point the version takes what it was killed at: the event is a dead letter.
    let mut running = setup.start();
    running.wait_for_position(&setup.database(), PIPELINE, 200);
    running.interrupt().ends_with(0);
    assert_eq!(from_where(&swaps::check(&setup.database()).0), [(0, 1), (1, 101)]);
    // And it was well: the next death is the first of others.
    setup.publish(201, 300);
    wait_for_death(deadly(&setup).start());
    setup.run().catch_up().ends_with(0);
    let counts = counted(&setup.database());
    assert!(counts.iter().all(|(deaths, _)| *deaths <= 1), "{counts:?}");
    assert_eq!(from_where(&swaps::check(&setup.database()).0), [(0, 1), (1, 101)]);
}

#[test]
fn a_version_that_kills_its_host_on_trial_gives_way_to_what_it_falls_back_on() {
    let setup = died_once("{ rows = 1000, failures = 10 }");
    die(&setup, DEATHS - 1);
    deadly(&setup).catch_up().ends_with(0);
    assert_eq!(
        from_where(&swaps::check(&setup.database()).0),
        [(0, 1), (1, 101), (0, 150)]
    );
}

#[test]
fn a_version_that_dies_of_its_first_event_never_comes_back() {
    let setup = Swapped::new(NO_TRIAL);
    let mut running = start(&setup);
    setup.pass(&mut running, 1, 100);
    running.interrupt().ends_with(0);
    deploy(&setup.registry(), "fails = 'panic'");
    setup.publish(101, 200);
    die(&setup, DEATHS);
    deadly(&setup).catch_up().ends_with(0);
    let (versions, last) = swaps::check(&setup.database());
    assert_eq!(last, 200);
    assert_eq!(versions.last().unwrap().deployment.version, 0);
}

#[test]
fn a_good_version_that_is_deployed_while_the_host_is_down_decides_over_the_event_that_killed_it() {
    let setup = died_once(NO_TRIAL);
    deploy(&setup.registry(), "");
    deadly(&setup).catch_up().ends_with(0);
    assert_eq!(
        from_where(&swaps::check(&setup.database()).0),
        [(0, 1), (1, 101), (2, 150)]
    );

    // Also where the bad one would have been taken back by now.
    let setup = died_once(NO_TRIAL);
    die(&setup, DEATHS - 1);
    deploy(&setup.registry(), "");
    deadly(&setup).catch_up().ends_with(0);
    assert_eq!(
        from_where(&swaps::check(&setup.database()).0),
        [(0, 1), (1, 101), (2, 150)]
    );
}

#[test]
fn a_pipeline_stops_where_no_version_was_before() {
    let setup = Swapped::with(&of_file(150));
    let mut running = start(&setup);
    setup.pass(&mut running, 1, 149);
    setup.publish(150, 200);
    wait_for_death(running);
    die(&setup, DEATHS - 1);
    for _ in 0..2 {
        let refused = deadly(&setup).start().end().ends_with(2);
        refused
            .says("step \"versions\" of pipeline swapped: the host died 3 times while it ran this version, and came no further than sequence 149")
            .says("deploy another version, name another module or other parameters in the pipeline file, or say --again to run it once more");
    }
    // Each way out.
    let copy = |name: &str| crate::process::copy_database(&setup.database(), &setup.folder.path().join(name));
    copy("again.db");
    copy("file.db");
    setup
        .run()
        .with(["--database", "again.db", "--again"])
        .catch_up()
        .ends_with(0);
    let file = setup.folder.path().join("swapped.toml");
    fs::write(&file, of_file(1_000_000)).expect("the pipeline file can be written");
    deadly(&setup).with(["--database", "file.db"]).catch_up().ends_with(0);
    let of_file_db = read_versions(&setup.folder.path().join("file.db"), PIPELINE).unwrap();
    assert_eq!(from_where(&of_file_db), [(0, 1), (0, 150)]);
    fs::write(&file, of_file(150)).expect("the pipeline file can be written");
    deploy(&setup.registry(), "");
    deadly(&setup).catch_up().ends_with(0);
    assert_eq!(from_where(&swaps::check(&setup.database()).0), [(0, 1), (1, 150)]);
}

#[test]
fn two_versions_that_die_of_one_event_stop_the_pipeline() {
    let setup = Swapped::with(&of_file(150));
    let mut running = start(&setup);
    setup.pass(&mut running, 1, 100);
    deploy(&setup.registry(), "fails = 'panic'\nevery = 50");
    running.wait_for_word("version 1 of step versions of pipeline swapped is in force");
    setup.pass(&mut running, 101, 149);
    setup.publish(150, 200);
    wait_for_death(running);
    die(&setup, DEATHS - 1);
    // Now the one before is there, and dies as well.
    die(&setup, DEATHS);
    let refused = deadly(&setup).start().end().ends_with(2);
    refused
        .says("the host died 3 times while it ran this version")
        .says("no version before it can take its place");
}

#[test]
fn a_deployment_whose_module_cannot_be_loaded_is_refused_and_stops_nothing() {
    let setup = Swapped::new(NO_TRIAL);
    let mut running = start(&setup);
    setup.pass(&mut running, 1, 100);
    running.interrupt().ends_with(0);
    let strict = weir_tests::guest("strict");
    let digest = swaps::digest(&strict);
    let registry = setup.registry();
    let component = fs::read(&strict).expect("the module can be read");
    registry.put_module(&digest, &component).expect("it is taken");
    deploy_to(&registry, PIPELINE, STEP, Some(&digest), "");
    // The first that describes itself, twice, is the module of the pipeline file.
    let run = || setup.run().with_variable("WEIR_FAIL_POINTS", "in-describe=3");
    for _ in 0..DEATHS {
        wait_for_death(run().start());
    }
    let mut running = run().start();
    running.wait_for_word(&format!(
        "version 1 of step versions of pipeline swapped is refused: module {digest}: the host died 3 times while it loaded this \
         module"
    ));
    running.wait_for_word("deploy another, or the same with --again");
    setup.pass(&mut running, 101, 200);
    running.interrupt().ends_with(0);
    assert_eq!(from_where(&swaps::check(&setup.database()).0), [(0, 1)]);
}

#[test]
fn a_file_whose_module_cannot_be_loaded_is_refused_by_name() {
    for point in ["in-describe=1", "in-configure=1"] {
        let setup = Swapped::new(NO_TRIAL);
        let run = || setup.run().with_variable("WEIR_FAIL_POINTS", point);
        for _ in 0..DEATHS {
            wait_for_death(run().start());
        }
        let doing = match point {
            "in-describe=1" => "the host died 3 times while it loaded this module",
            _ => "the host died 3 times while it set this version up",
        };
        let refused = run().start().end().ends_with(2);
        refused.says("step \"versions\"").says(doing).says("--again");
        setup.publish(1, 10);
        setup.run().with(["--again"]).catch_up().ends_with(0);
        assert_eq!(from_where(&swaps::check(&setup.database()).0), [(0, 1)]);
    }
}

#[test]
fn a_candidate_that_kills_its_host_is_refused_though_the_pipeline_goes_on() {
    let setup = Swapped::new(NO_TRIAL);
    let mut running = start(&setup);
    setup.pass(&mut running, 1, 10);
    setup
        .weir("shadow start swapped.toml versions {versions} --param label=9 --param fails=panic --param every=3")
        .ends_with(0);
    let mut last = 10;
    for death in 1..=DEATHS {
        if death > 1 {
            running = deadly(&setup).start();
        }
        // The candidate begins some time after the start, and sees what comes from then on.
        while !running.has_died() {
            setup.publish(last + 1, last + 3);
            last += 3;
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
    let mut running = deadly(&setup).start();
    running.wait_for_word("the candidate for step versions of pipeline swapped is refused");
    setup.pass(&mut running, last + 1, last + 100);
    running.interrupt().ends_with(0);
    assert_eq!(from_where(&swaps::check(&setup.database()).0), [(0, 1)]);
}

#[test]
fn who_kills_an_idle_host_takes_nothing_back() {
    let setup = Swapped::new(NO_TRIAL);
    let mut running = setup.start();
    setup.pass(&mut running, 1, 100);
    deploy(&setup.registry(), "");
    running.wait_for_word("version 1 of step versions of pipeline swapped is in force");
    running.kill();
    for _ in 0..5 {
        setup.start().kill();
    }
    assert_eq!(counted(&setup.database()), []);
    let mut running = setup.start();
    setup.pass(&mut running, 101, 200);
    running.interrupt().ends_with(0);
    assert_eq!(from_where(&swaps::check(&setup.database()).0), [(0, 1), (1, 101)]);
    assert!(
        !setup.folder.path().join("swapped.db-guest").exists(),
        "nothing is left to remember"
    );
}

#[test]
fn a_version_that_was_well_for_long_is_not_noted() {
    let setup = Swapped::with(&of_file(150));
    let mut running = setup
        .run()
        .with_variable("WEIR_FAIL_POINTS", "in-trap=1,probation-ms=0")
        .start();
    running.wait_for_word("from sequence");
    setup.pass(&mut running, 1, 100);
    setup.pass(&mut running, 101, 149);
    // The host looks before it says how it is.
    let registry = setup.registry();
    let said = std::cell::Cell::new(0);
    wait_for_status(&registry, "word of the position", |host| {
        said.set(host.said_ms);
        host.position == 149
    });
    wait_for_status(&registry, "another word", |host| host.said_ms > said.get());
    setup.publish(150, 200);
    wait_for_death(running);
    setup.run().catch_up().ends_with(0);
    assert_eq!(counted(&setup.database()), []);
}

#[test]
fn a_pipeline_beside_one_that_dies_again_and_again_is_innocent() {
    let setup = Swapped::new(NO_TRIAL);
    let other = pipeline_text(NO_TRIAL).replace(&format!("name = \"{PIPELINE}\""), "name = \"other\"");
    fs::write(setup.folder.path().join("other.toml"), other).expect("it can be written");
    let both = || deadly(&setup).with([setup.folder.path().join("other.toml")]);
    let mut running = both().start();
    running.wait_for_word("other: stream");
    setup.pass(&mut running, 1, 100);
    deploy(&setup.registry(), "fails = 'panic'\nevery = 150");
    running.wait_for_word("version 1 of step versions of pipeline swapped is in force");
    setup.pass(&mut running, 101, 149);
    setup.publish(150, 3000);
    wait_for_death(running);
    for _ in 1..DEATHS {
        wait_for_death(both().start());
    }
    both().catch_up().ends_with(0);
    assert_eq!(
        from_where(&swaps::check(&setup.database()).0),
        [(0, 1), (1, 101), (0, 150)]
    );
    let other = setup.folder.path().join("other.db");
    let versions = read_versions(&other, "other").expect("they can be read");
    assert_eq!(from_where(&versions), [(0, 1)], "{versions:?}");
    assert_eq!(crate::process::position(&other, "other"), 3000);
    let harms = read_harms(&other, "other").expect("they can be read");
    assert!(harms.iter().all(|harm| harm.deaths < 2), "{harms:?}");
}

#[test]
fn who_interrupts_a_host_at_work_takes_nothing_back() {
    let text = pipeline_text(NO_TRIAL)
        .replace("deadline_ms = 50", "deadline_ms = 20000")
        .replace("{ malformed = 97 }", "{ malformed = 97, fails = 'loop', every = 150 }");
    let setup = Swapped::with(&text);
    setup.publish(1, 149);
    setup.run().catch_up().ends_with(0);
    setup.publish(150, 150);
    for _ in 0..=DEATHS {
        let mut running = setup.start();
        let path = setup.folder.path().join("swapped.db-guest");
        wait_until("work", || fs::read(&path).is_ok_and(|bytes| bytes.contains(&b'{')));
        running.send(libc::SIGTERM);
        running.wait_for_word("draining");
        running.send(libc::SIGTERM);
        running.end().ends_with(130);
    }
    assert_eq!(counted(&setup.database()), []);
}

#[test]
fn an_aggregate_that_kills_its_host_stops_its_pipeline() {
    let module = weir_tests::guest("hostile-aggregate");
    let setup = Swapped::with(&format!(
        "name = '{PIPELINE}'\nsource = {{ stream = 'EVENTS', subject = 'events', columns = {{ k = 'text', what = 'text' }} }}\n\
         [[step]]\nname = 'texts'\n[step.aggregate]\ngroup_by = ['k']\n[step.aggregate.columns]\n\
         texts = {{ module = '{}' }}\n\
         [[sink]]\ntable = 'texts'\nprimary_key = ['k']\n",
        module.display()
    ));
    let publish = |what: &str| {
        let event = format!("{{\"k\": \"a\", \"what\": \"{what}\"}}");
        setup.client.publish(&[(crate::versions::SUBJECT, event.into_bytes())])
    };
    let mut running = start(&setup);
    let last = publish("fine");
    running.wait_for_position(&setup.database(), PIPELINE, last);
    publish("trap");
    wait_for_death(running);
    die(&setup, DEATHS - 1);
    let refused = deadly(&setup).start().end().ends_with(2);
    refused
        .says("step \"texts\": the aggregate hostile-aggregate: the host died 3 times while it ran this version")
        .says("it is not run again, unless somebody says --again");
    setup.run().with(["--again"]).catch_up().ends_with(0);
}

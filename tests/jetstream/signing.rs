//! The commands that sign: what they write, what they say, and what they take over from a registry that others write to.

use crate::{
    signatures::{ANN, trusting},
    versions::{Swapped, deploy_to, from_where, hosts, wait_for_status},
};
use expect_test::{Expect, expect};
use serde_json::Value as Json;
use std::{fs, os::unix::fs::PermissionsExt, path::Path};
use weir::{model::deployment::Deployment, trust::Key};
use weir_tests::stored::read_versions;
use weir_tests::{
    guest,
    swaps::{self, PIPELINE, STEP, digest},
};

/// Writes a key as its owner keeps it.
fn write_key(folder: &Path, name: &str, seed: &str, mode: u32) {
    let path = folder.join(name);
    fs::write(&path, format!("# {name}\n{seed}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A pipeline that takes what ann signs, whose key is in `ann.nk`; with a stranger's in `eve.nk`.
fn setup(require: bool) -> Swapped {
    let ann = Key::from_text(ANN).unwrap();
    let setup = Swapped::with(&trusting(&[("ann", ann.public())], require));
    write_key(setup.folder.path(), "ann.nk", ANN, 0o600);
    write_key(setup.folder.path(), "eve.nk", EVE, 0o600);
    setup
}

/// A key of somebody whom nobody trusts.
const EVE: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";

#[track_caller]
fn check(setup: &Swapped, line: &str, code: i32, expected: &Expect) {
    let outcome = setup.weir(line);
    let said = format!("{}{}", outcome.stdout, outcome.stderr);
    assert!(!said.contains(&ANN[4..]) && !said.contains(&EVE[4..]), "{said}");
    let said = said.replace(Key::from_text(ANN).unwrap().public(), "UANN");
    let said = said.replace(Key::from_text(EVE).unwrap().public(), "UEVE");
    expected.assert_eq(&setup.plain(&said));
    outcome.ends_with(code);
}

#[test]
fn every_command_that_changes_what_runs_signs_it() {
    let setup = setup(true);
    let mut running = setup.start();
    setup.pass(&mut running, 1, 50);
    let signed = "--sign-with ann.nk";
    let mut last = 50;
    for line in [
        "deploy swapped.toml versions {versions} --param label=1",
        "params set swapped.toml versions label=2 --valid-for 30d",
        "rollback swapped.toml versions",
        "rollback swapped.toml versions --to 0",
        "deploy swapped.toml versions {versions} --param label=5",
        "undeploy swapped.toml versions",
        "shadow start swapped.toml versions {versions} --param label=7",
        "shadow promote swapped.toml versions",
    ] {
        // Without a key, and with one that is not trusted, nothing is written.
        for other in ["", " --sign-with eve.nk"] {
            let without = line.replace(" --valid-for 30d", "");
            let outcome = setup.weir(&format!("{without}{other}")).ends_with(2);
            let said = match other {
                "" => "takes nothing that is not signed by ann (U",
                _ => "does not trust U",
            };
            assert!(outcome.stderr.contains(said), "{line}{other}: {outcome:?}");
            assert!(
                outcome.stderr.contains("nothing was deployed"),
                "{line}{other}: {outcome:?}"
            );
        }
        let outcome = setup.weir(&format!("{line} {signed}")).ends_with(0);
        assert!(outcome.stdout.contains("\n  signed by ann (U"), "{line}: {outcome:?}");
        assert_eq!(
            outcome.stdout.contains(", to be taken until 2"),
            line.contains("--valid-for"),
            "{outcome:?}"
        );
        setup.pass(&mut running, last + 1, last + 50);
        last += 50;
    }
    let history = setup.registry().history(PIPELINE, STEP).unwrap();
    assert_eq!(history.len(), 7);
    assert!(history.iter().all(|deployment| deployment.signature.is_some()));

    let table = setup.weir("history swapped.toml versions").ends_with(0).stdout;
    let ann = Key::from_text(ANN).unwrap().public().to_owned();
    assert_eq!(table.matches(&format!("ann ({ann})")).count(), 7, "{table}");
    let json = setup.weir("history swapped.toml versions --json").ends_with(0).stdout;
    for line in json.lines() {
        let entry: Json = serde_json::from_str(line).unwrap();
        assert_eq!(
            entry["signer"],
            serde_json::json!({ "key": ann, "name": "ann" }),
            "{line}"
        );
        assert_eq!(entry["signature"]["key"], ann, "{line}");
    }
    wait_for_status(&setup.registry(), "word of the position", |host| host.position == last);
    check(
        &setup,
        "status",
        0,
        &expect![[r#"
        swapped at MACHINE PID, into swapped.db
          position 450, lag 0, dead letters 4, failed rows 0
          takes deployments that are signed by ann (UANN)
          versions: version 7 (versions 0.1.0, digest-of-versions) from sequence 401 with label = 7, malformed = 97
            signed by ann (UANN)
    "#]],
    );
    running.interrupt().ends_with(0);
    let versions = read_versions(&setup.database(), PIPELINE).unwrap();
    let numbers: Vec<u64> = from_where(&versions).into_iter().map(|(version, _)| version).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7]);
    for version in &versions {
        let name = version.signer.as_ref().and_then(|signer| signer.name.as_deref());
        assert_eq!(name, (version.deployment.version > 0).then_some("ann"), "{version:?}");
    }
    // What a database says by itself.
    let explained = setup.weir("explain swapped.db by_key k=3").ends_with(0).stdout;
    assert_eq!(
        explained.matches(&format!(", signed by ann ({ann}): ")).count(),
        7,
        "{explained}"
    );
    assert!(explained.contains("step versions, version 0, module"), "{explained}");
    let explained = setup.weir("explain swapped.db by_key k=3 --json").ends_with(0).stdout;
    let explained: Json = serde_json::from_str(&explained).unwrap();
    assert_eq!(explained["versions"][0]["signer"], Json::Null, "{explained}");
    assert_eq!(explained["versions"][1]["signer"]["name"], "ann", "{explained}");
    let held = setup.weir("status swapped.db --json").ends_with(0).stdout;
    let held: Json = serde_json::from_str(&held).unwrap();
    assert_eq!(held["versions"][0]["signer"]["key"], ann, "{held}");

    // What comes back from a database is signed as it was, and another host takes it.
    setup.client.delete_stream("KV_weir-deployments");
    setup.weir("registry restore swapped.db").ends_with(0);
    let second = setup.folder.path().join("second");
    fs::create_dir(&second).unwrap();
    let mut other = setup.run_in(&second).start();
    other.wait_for_position(&second.join("swapped.db"), PIPELINE, last);
    other.interrupt().ends_with(0);
    let versions = read_versions(&second.join("swapped.db"), PIPELINE).unwrap();
    assert_eq!(from_where(&versions), [(7, 1)]);
}

#[test]
fn what_a_stranger_wrote_does_not_come_back_with_a_signature() {
    let setup = setup(true);
    let running = setup.start();
    setup
        .weir("deploy swapped.toml versions {versions} --param label=1 --sign-with ann.nk")
        .ends_with(0);
    running.interrupt().ends_with(0);
    // Somebody who may write the registry, while no host runs that could say what is in force.
    let registry = setup.registry();
    let strange = "f".repeat(64);
    deploy_to(&registry, PIPELINE, STEP, Some(&strange), "every = 7");
    wait_until_no_host(&setup);
    check(
        &setup,
        "params set swapped.toml versions label=3 --sign-with ann.nk",
        0,
        &expect![[r#"
            deployed version 3 of step versions of pipeline swapped: module digest-of-versions with label = 3, malformed = 97
              signed by ann (UANN)
              no host runs the pipeline now; the next that starts takes it
            weir: version 2 of step versions of pipeline swapped is not signed by anybody whom the pipeline file trusts: nothing of it is taken over, and version 1 is what this goes on from
        "#]],
    );
    deploy_to(&registry, PIPELINE, STEP, Some(&strange), "every = 7");
    for (line, code) in [
        ("rollback swapped.toml versions --to 4 --sign-with ann.nk", 2),
        ("rollback swapped.toml versions --to 1 --sign-with ann.nk", 0),
    ] {
        setup.weir(line).ends_with(code);
    }
    let last = registry.deployment(PIPELINE, STEP).unwrap().unwrap();
    assert_eq!((last.version, last.digest), (5, Some(digest(&guest("versions")))));
    // A candidate of theirs is not promoted, nor is their word for the file's.
    let candidate = Deployment {
        digest: Some(strange),
        ..Default::default()
    };
    registry.set_shadow(PIPELINE, STEP, Some(&candidate)).unwrap();
    setup
        .weir("shadow promote swapped.toml versions --sign-with ann.nk")
        .ends_with(2)
        .says("is not signed by anybody whom the pipeline file trusts");
    let mut running = setup.start();
    wait_for_status(&registry, "the last that was signed", |host| {
        host.steps[0].deployment.version == 5
    });
    setup.pass(&mut running, 1, 20);
    running.interrupt().ends_with(0);
    assert_eq!(
        from_where(&read_versions(&setup.database(), PIPELINE).unwrap()),
        [(5, 1)]
    );
}

#[test]
fn what_a_host_made_up_does_not_set_the_time_of_a_signature() {
    let setup = setup(true);
    let mut running = setup.start();
    setup.pass(&mut running, 1, 20);
    setup
        .weir("deploy swapped.toml versions {versions} --param label=1 --sign-with ann.nk")
        .ends_with(0);
    let registry = setup.registry();
    // Somebody who may speak for hosts says that ann has signed in eight minutes from now, which she did not.
    let mut made_up = hosts(&registry).remove(0);
    running.interrupt().ends_with(0);
    made_up.host = "made-up".to_owned();
    let deployment = &mut made_up.steps[0].deployment;
    assert!(deployment.signature.is_some(), "{deployment:?}");
    deployment.at_ms += 8 * 60 * 1000;
    let untrue = deployment.at_ms;
    let made_up = serde_json::to_string(&made_up).unwrap();
    setup.client.put_key("weir-hosts", "swapped.made-up", made_up);
    setup
        .weir("params set swapped.toml versions label=2 --sign-with ann.nk --wait 1")
        .ends_with(1);
    let last = registry.deployment(PIPELINE, STEP).unwrap().unwrap();
    assert_eq!(last.version, 2);
    assert!(last.at_ms < untrue, "{last:?}");
}

fn wait_until_no_host(setup: &Swapped) {
    crate::wait_until("the end of the host", || hosts(&setup.registry()).is_empty());
}

/// A key need not lie in a file.
#[test]
fn a_key_may_come_through_a_pipe() {
    let setup = setup(true);
    write_key(setup.folder.path(), "open.nk", ANN, 0o644);
    let weir = |arguments: &str, pipes: &str| {
        let mut command = std::process::Command::new("bash");
        let line = format!("{pipes}\"$WEIR\" {arguments} --nats \"$URL\"");
        command.current_dir(setup.folder.path()).args(["-c", &line]);
        command.env("WEIR", env!("CARGO_BIN_EXE_weir-under-test"));
        command.env("URL", setup.server.url()).env("RULE", guest("versions"));
        let output = command.output().expect("bash can be started");
        let said = String::from_utf8(output.stderr).expect("it is UTF-8");
        (output.status.code(), said)
    };
    let deployed = || setup.registry().deployment(PIPELINE, STEP).expect("it can be read");
    for (number, (pipes, with)) in [
        ("", "<(cat ann.nk)"),
        ("cat ann.nk | ", "-"),
        ("", "- < ann.nk"),
        ("cat ann.nk | ", "/dev/stdin"),
    ]
    .into_iter()
    .enumerate()
    {
        let arguments = format!("deploy swapped.toml versions \"$RULE\" --param label={number} --sign-with {with}");
        let (code, said) = weir(&arguments, pipes);
        assert_eq!(code, Some(0), "{with}: {said}");
        let signed = deployed().expect("it is there");
        assert_eq!(signed.version, number as u64 + 1);
        assert!(signed.signature.is_some(), "{with}");
    }
    for (pipes, with, words) in [
        ("", "- < /dev/null", "the key - has no seed"),
        ("", "- < open.nk", "the key - has the mode 0644"),
        ("cat /dev/zero | ", "-", "the key - is larger than"),
        (
            "",
            "/dev/zero",
            "it is a device; accepted is a file, a pipe, or `-` for standard input",
        ),
        (
            "",
            ".",
            "it is a folder; accepted is a file, a pipe, or `-` for standard input",
        ),
    ] {
        let (code, said) = weir(
            &format!("params set swapped.toml versions label=9 --sign-with {with}"),
            pipes,
        );
        assert_eq!(code, Some(2), "{with}: {said}");
        assert!(said.contains(words), "{with}: {said}");
    }
    assert_eq!(deployed().expect("it is there").version, 4);
}

/// Whoever may write to the bucket may write anything.
#[test]
fn history_cuts_what_is_long_and_says_where_a_number_was_given_twice() {
    let setup = setup(false);
    let registry = setup.registry();
    deploy_to(&registry, PIPELINE, STEP, None, "");
    let last = deploy_to(&registry, PIPELINE, STEP, None, "");
    let shown = || setup.weir("history swapped.toml versions").ends_with(0).stdout;
    assert!(!shown().contains("stands here"), "{}", shown());
    let note = "\u{1b}[2J".to_owned() + &"é".repeat(200_000);
    let forged = Deployment {
        note: Some(note.clone()),
        by: "x".repeat(100_000),
        digest: Some("ü".repeat(50_000)),
        ..last
    };
    let value = serde_json::to_string(&forged).expect("it can be written");
    setup
        .client
        .put_key("weir-deployments", &format!("{PIPELINE}.{STEP}"), value);
    let shown = shown();
    assert!(shown.contains("version 2 stands here 2 times"), "{shown}");
    assert!(!shown.contains("version 1 stands"), "{shown}");
    for words in ["(200004 characters)", "(100000 characters)", "\\u{1b}[2J"] {
        assert!(
            shown.contains(words),
            "{words} is not in {}",
            shown.chars().take(8000).collect::<String>()
        );
    }
    assert!(shown.chars().filter(|character| !character.is_whitespace()).count() < 6000);
    let lines = setup.weir("history swapped.toml versions --json").ends_with(0).stdout;
    let last: Json = serde_json::from_str(lines.lines().last().expect("three")).expect("it is JSON");
    assert_eq!(last["note"], note, "JSON has it whole");
}

#[test]
fn keys_and_lists_that_are_no_good_are_refused_before_anything_is_done() {
    let setup = setup(true);
    let folder = setup.folder.path();
    write_key(folder, "open.nk", ANN, 0o644);
    write_key(folder, "none.nk", "nothing", 0o600);
    let deploy = "deploy swapped.toml versions {versions}";
    check(
        &setup,
        &format!("{deploy} --sign-with open.nk"),
        2,
        &expect![[r#"
            weir: --sign-with: the key open.nk has the mode 0644: others than its owner may get at it; `chmod 600 open.nk` lets nobody else, and a key that others read is to be replaced
        "#]],
    );
    check(
        &setup,
        &format!("{deploy} --sign-with none.nk"),
        2,
        &expect![[r#"
            weir: --sign-with: the key none.nk has no seed; accepted is a file with the seed of a user's nkey, which begins with SU and stands on a line of its own, as `nsc` and `nk -gen user` write it
        "#]],
    );
    check(
        &setup,
        &format!("{deploy} --sign-with missing.nk"),
        2,
        &expect![[r#"
            weir: --sign-with: cannot read the key missing.nk: No such file or directory (os error 2)
        "#]],
    );
    check(
        &setup,
        &format!("{deploy} --sign-with {ANN}"),
        2,
        &expect![[r#"
            weir: --sign-with is a seed itself; accepted is the name of the file that holds it, so that no list of processes shows it
        "#]],
    );
    for wrong in ["0d", "never", "1 month", "1ms", "999ms"] {
        let wrong = wrong.replace(' ', "");
        setup
            .weir(&format!("{deploy} --sign-with ann.nk --valid-for {wrong}"))
            .ends_with(2)
            .says("accepted is a duration of 1 s or more");
    }
    // The file requires a signature, also where no host runs.
    check(
        &setup,
        deploy,
        2,
        &expect![[r#"
            weir: the pipeline file swapped.toml takes nothing that is not signed by ann (UANN): sign it, with --sign-with FILE.nk; nothing was deployed
        "#]],
    );
    assert!(setup.registry().deployment(PIPELINE, STEP).unwrap().is_none());

    let ann = Key::from_text(ANN).unwrap().public().to_owned();
    for (trust, said) in [
        (
            "keys = []",
            "`trust.keys` has 0 keys; accepted are 1 to 64, and no `keys` at all where each host",
        ),
        (
            "keys = ['hello']",
            "1:19: key `keys`: `trust.keys`: \"hello\" is no public key; accepted is the public key of a user",
        ),
        (
            &*format!("keys = ['{ANN}']"),
            "this is a seed, which nobody but its owner may have",
        ),
        (&*format!("keys = ['{}']", ann.replace('A', "B")), "is no public key"),
        (&*format!("keys = ['{ann}', '{ann}']"), "has the key U"),
        (
            &*format!("keys = [{{ name = 'an n', key = '{ann}' }}]"),
            "the name of a key",
        ),
        (
            &*format!("keys = [{{ nam = 'ann', key = '{ann}' }}]"),
            "accepted is a public key such as",
        ),
        ("keys = [7]", "accepted is a public key such as"),
        (
            "requires = true",
            "unknown key `requires`, expected `keys` or `require`",
        ),
    ] {
        let text = swaps::pipeline_text(crate::versions::NO_TRIAL);
        fs::write(folder.join("wrong.toml"), format!("trust = {{ {trust} }}{text}")).unwrap();
        let outcome = setup.weir("check wrong.toml").ends_with(2);
        assert!(outcome.stderr.contains(said), "{trust}: {outcome:?}");
        assert!(!outcome.stderr.contains(&ANN[4..]), "{outcome:?}");
    }
    let drawn = setup.weir("check swapped.toml").ends_with(0).stdout;
    assert!(
        drawn.contains(&format!("\ndeployments are signed by ann ({ann})\n")),
        "{drawn}"
    );
    let json = setup.weir("check swapped.toml --json").ends_with(0).stdout;
    let json: Json = serde_json::from_str(&json).unwrap();
    assert_eq!(json["trust"]["keys"][0]["name"], "ann", "{json}");
}

#[test]
fn who_signs_although_nothing_asks_for_it_is_named() {
    let setup = Swapped::new(crate::versions::NO_TRIAL);
    write_key(setup.folder.path(), "ann.nk", ANN, 0o600);
    let mut running = setup.start();
    setup
        .weir("deploy swapped.toml versions {versions} --param label=1 --sign-with ann.nk")
        .ends_with(0);
    setup.weir("params set swapped.toml versions label=2").ends_with(0);
    setup.pass(&mut running, 1, 10);
    let table = setup.weir("history swapped.toml versions").ends_with(0).stdout;
    let signers: Vec<&str> = table
        .lines()
        .filter_map(|line| line.split_whitespace().next_back())
        .collect();
    let ann = Key::from_text(ANN).unwrap().public().to_owned();
    assert_eq!(signers, ["by", &*ann, "nobody"], "{table}");
    running.interrupt().ends_with(0);

    // Once it is asked for, what is in force stays, and what is signed next goes on from what was signed last.
    let text = trusting(&[("ann", ann.as_str())], true);
    fs::write(setup.folder.path().join("swapped.toml"), text).unwrap();
    let mut running = setup.start();
    running.wait_for_word("version 2 of step versions of pipeline swapped stays in force, since the database says so");
    let status = setup.weir("status").ends_with(0).stdout;
    assert!(
        status.contains("    not signed; it was in force before signatures were asked for\n"),
        "{status}"
    );
    setup
        .weir("params set swapped.toml versions every=2 --sign-with ann.nk")
        .ends_with(0)
        .says("version 2 of step versions of pipeline swapped is not signed by anybody whom the pipeline file trusts");
    wait_for_status(&setup.registry(), "the signed version", |host| {
        let step = &host.steps[0];
        step.deployment.version == 3 && step.deployment.parameters["label"] == toml::Value::Integer(1)
    });
    setup.pass(&mut running, 11, 20);
    running.interrupt().ends_with(0);
}

//! Deployments that do not fit: by the command before anything is stored, else by the hosts. The pipeline goes on as it
//! was, and somebody is told why.

use crate::{
    process::{Run, Running},
    versions::{NO_TRIAL, SUBJECT, Swapped, deploy_to, from_where, steps, wait_for_status},
    wait_until,
};
use expect_test::{Expect, expect};
use std::{fs, fs::File};
use weir_tests::stored::read_versions;
use weir_tests::{
    guest,
    nats::NatsServer,
    scratch,
    swaps::{self, PIPELINE, STEP, digest, pipeline_text},
};

/// Pipelines that do not go with the rule saved-orders: the type of the column that it reads, what stands before its
/// step, and behind it.
const OTHERS: [(&str, &str, &str, &str); 4] = [
    ("typed", "int", "", "[[sink]]\ntable = 'typed'"),
    ("tabled", "text", "", "[[sink]]\ntable = 'tabled'"),
    ("keyed", "text", "", "[[sink]]\ntable = 'keyed'\nprimary_key = ['k']"),
    (
        "stepped",
        "text",
        "",
        "[[step]]\nname = 'latest'\nlast_value = { key = ['k'] }\n[[sink]]\ntable = 'stepped'\nprimary_key = ['k']",
    ),
];

fn write_others(setup: &Swapped) {
    for (name, column_type, before, behind) in OTHERS {
        let module = guest("versions");
        let module = module.display();
        let text = format!(
            "name = '{name}'\n[source]\nstream = 'EVENTS'\nsubject = '{SUBJECT}'\n[source.columns]\n\
             n = 'int'\nk = 'text'\nevent = '{column_type}'\nid = 'int'\nnow_premium = 'text'\nnow_info = 'text'\n\
             {before}\n[[step]]\nname = 'versions'\nstage = {{ module = '{module}' }}\n{behind}\n"
        );
        fs::write(setup.folder.path().join(format!("{name}.toml")), text).unwrap();
    }
}

#[test]
fn the_command_refuses_what_does_not_fit_and_nothing_is_deployed() {
    let setup = Swapped::new(NO_TRIAL);
    write_others(&setup);
    let path = |name: &str| setup.folder.path().join(name);
    fs::write(path("core.wasm"), wat::parse_str("(module)").unwrap()).unwrap();
    fs::write(path("text.wasm"), "fn main() {}").unwrap();
    File::create(path("large.wasm"))
        .unwrap()
        .set_len((32 << 20) + 1)
        .unwrap();
    let mut running = setup.start();
    setup.pass(&mut running, 1, 100);

    let check = |line: &str, expected: Expect| {
        let outcome = setup.weir(line);
        assert_eq!(outcome.stdout, "", "{line}");
        expected.assert_eq(&setup.plain(&outcome.stderr));
        outcome.ends_with(2);
    };
    check(
        "deploy swapped.toml versions {other-version}",
        expect![[r#"
        weir: module other-version.wasm: it is built for weir:stage@0.3.0; this host speaks weir:stage@0.2.0 and weir:stage@0.1.0: build it with the SDK of this host
    "#]],
    );
    check(
        "deploy swapped.toml versions core.wasm",
        expect![[r#"
        weir: module core.wasm: this is a core module; expected is a component (`weir-component core.wasm -o rule.wasm` makes one)
    "#]],
    );
    check(
        "deploy swapped.toml versions text.wasm",
        expect![[r#"
        weir: module text.wasm: this is no WebAssembly; expected is a component
    "#]],
    );
    check(
        "deploy swapped.toml versions large.wasm",
        expect![[r#"
        weir: module large.wasm: it has 33554433 bytes; accepted are up to 33554432
    "#]],
    );
    check(
        "deploy swapped.toml versions none.wasm",
        expect![[r#"
            weir: cannot read module none.wasm: No such file or directory (os error 2); `weir build FOLDER` makes that of a guest, `cargo xtask guests` those of this repository
        "#]],
    );
    check(
        "deploy swapped.toml versions {strict} --param least=1",
        expect![[r#"
        weir: module digest-of-strict does not fit step "versions" of pipeline swapped: the rule strict reads column "amount" (int), which the source does not have; there are n (int), k (text)
    "#]],
    );
    check(
        "deploy typed.toml versions {saved-orders}",
        expect![[r#"
        weir: module digest-of-saved-orders does not fit step "versions" of pipeline typed: the rule saved-orders reads column "event" as text, but it is int in the source
    "#]],
    );
    check(
        "deploy tabled.toml versions {saved-orders}",
        expect![[r#"
        weir: table "tabled" would have the columns id (int), now_premium (text), now_info (text) instead of n (int), k (text), label (int): a swap leaves tables as they are; name the columns of the sink in the pipeline file, or run into a new database
    "#]],
    );
    check(
        "deploy keyed.toml versions {saved-orders}",
        expect![[r#"
        weir: keyed.toml:18:16: key `primary_key`: "k" is not among the sink's columns, which are id, now_premium, now_info
    "#]],
    );
    check(
        "deploy stepped.toml versions {saved-orders}",
        expect![[r#"
        weir: stepped.toml:18:23: key `key`: there is no column "k" in step "versions"; there are id (int), now_premium (text), now_info (text)
    "#]],
    );
    check(
        "deploy swapped.toml versions {versions} --param label=many",
        expect![[r#"
            weir: parameter "label" is many; accepted is an integer
        "#]],
    );
    check(
        "deploy swapped.toml versions {versions} --param colour=1",
        expect![[r#"
            weir: the rule versions has no parameter "colour"; it has label (int), fails (text), every (int), malformed (int)
        "#]],
    );
    check(
        "params set swapped.toml versions label",
        expect![[r#"
        weir: parameter "label" has no value; accepted is NAME=VALUE
    "#]],
    );
    check(
        "params set swapped.toml versions every=0.5",
        expect![[r#"
        weir: parameter "every" is 0.5; accepted is an integer
    "#]],
    );
    check(
        "deploy swapped.toml by-key {versions}",
        expect![[r#"
        weir: pipeline swapped has no stage "by-key"; it has versions
    "#]],
    );
    check(
        "params set swapped.toml by-kex label=1",
        expect![[r#"
        weir: pipeline swapped has no stage "by-kex"; it has versions
    "#]],
    );
    check(
        "rollback swapped.toml by-kex",
        expect![[r#"
        weir: pipeline swapped has no stage "by-kex"; it has versions
    "#]],
    );
    check(
        "rollback swapped.toml versions",
        expect![[r#"
        weir: nothing was deployed for step "versions" of pipeline swapped yet: it runs what the pipeline file says
    "#]],
    );
    check(
        "history swapped.toml by-kex",
        expect![[r#"
        weir: pipeline swapped has no stage "by-kex"; it has versions
    "#]],
    );
    check(
        "deploy nothing.toml versions {versions}",
        expect![[r#"
        weir: cannot read pipeline file nothing.toml: No such file or directory (os error 2)
    "#]],
    );

    setup.pass(&mut running, 101, 200);
    let registry = setup.registry();
    for (pipeline, ..) in OTHERS.iter().chain(&[(PIPELINE, "", "", "")]) {
        assert_eq!(registry.history(pipeline, STEP).unwrap(), [], "{pipeline}");
    }
    running.interrupt().ends_with(0);
    assert_eq!(from_where(&swaps::check(&setup.database()).0), [(0, 1)]);
}

/// A host, and deployments that no command let through.
struct Host {
    setup: Swapped,
    running: Running,
    last: u64,
}

impl Host {
    /// Waits until the host refused that version, and passes some events.
    #[track_caller]
    fn refuses(&mut self, version: u64, expected: &Expect) {
        let is_refused = || {
            let steps = steps(&self.setup.registry());
            let failed = steps.into_iter().find_map(|step| step.failed);
            failed.filter(|failed| failed.version == version)
        };
        wait_until("the refusal", || is_refused().is_some());
        let failed = is_refused().unwrap();
        assert!(!failed.taken_back);
        expected.assert_eq(&self.setup.plain(&failed.reason));
        let status = self.setup.plain(&self.setup.weir("status").ends_with(0).stdout);
        assert!(
            status.contains(&format!("    version {version} was refused: ")),
            "{status}"
        );
        self.setup.pass(&mut self.running, self.last + 1, self.last + 50);
        self.last += 50;
    }
}

#[test]
fn a_host_refuses_what_does_not_fit_and_goes_on() {
    let setup = Swapped::new(NO_TRIAL);
    let mut running = setup.start();
    setup.pass(&mut running, 1, 50);
    let registry = setup.registry();
    let mut host = Host {
        setup,
        running,
        last: 50,
    };
    let component = |package| fs::read(guest(package)).unwrap();
    let strict = digest(&guest("strict"));

    // Nobody has it.
    let nowhere = "f".repeat(64);
    let number = deploy_to(&registry, PIPELINE, STEP, Some(&nowhere), "").version;
    host.refuses(number, &expect!["there is no module ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff in bucket weir-modules at SERVER; deploy it again"]);
    // Other bytes than the name says, of another length.
    registry.put_module(&strict, &component("versions")).unwrap();
    let number = deploy_to(&registry, PIPELINE, STEP, Some(&strict), "").version;
    host.refuses(number, &expect!["module DIGEST of strict was damaged or exchanged: what is stored under that name has the digest DIGEST of versions; deploy it again"]);
    // Too large to be asked for.
    let large = "e".repeat(64);
    registry.put_module(&large, &vec![0; (32 << 20) + 1]).unwrap();
    let number = deploy_to(&registry, PIPELINE, STEP, Some(&large), "").version;
    host.refuses(number, &expect!["module eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee of bucket weir-modules has 33554433 bytes; accepted are up to 33554432"]);
    // Modules that are stored well, and are of no use.
    for (package, expected) in [
        (
            "strict",
            expect![[
                r#"module digest-of-strict does not fit step "versions" of pipeline swapped: the rule strict reads column "amount" (int), which the source does not have; there are n (int), k (text)"#
            ]],
        ),
        (
            "other-version",
            expect![
                "module DIGEST of other-version: it is built for weir:stage@0.3.0; this host speaks weir:stage@0.2.0 and weir:stage@0.1.0: build it with the SDK of this host"
            ],
        ),
    ] {
        let digest = digest(&guest(package));
        registry.put_module(&digest, &component(package)).unwrap();
        let number = deploy_to(&registry, PIPELINE, STEP, Some(&digest), "").version;
        host.refuses(number, &expected);
    }
    let number = deploy_to(&registry, PIPELINE, STEP, None, "colour = 1").version;
    host.refuses(number, &expect![[r#"module digest-of-versions does not fit step "versions" of pipeline swapped: the rule versions has no parameter "colour"; it has label (int), fails (text), every (int), malformed (int)"#]]);
    let number = deploy_to(&registry, PIPELINE, STEP, None, "every = 'often'").version;
    host.refuses(number, &expect![[r#"module digest-of-versions does not fit step "versions" of pipeline swapped: parameter "every" is "often"; accepted is an integer"#]]);

    // What is no deployment, or for no stage, is said and passed over.
    host.setup.client.put_key("weir-deployments", "swapped.versions", "{}");
    host.running
        .wait_for_word("is no deployment that this weir understands");
    deploy_to(&registry, PIPELINE, "by-key", None, "");
    host.running
        .wait_for_word("pipeline swapped has no stage \"by-key\", for which version 1 is deployed");
    // What fits is still taken.
    let outcome = host
        .setup
        .weir("deploy swapped.toml versions {versions} --param label=8 --param every=1")
        .ends_with(0);
    assert!(outcome.stdout.contains("in force from sequence"), "{outcome:?}");
    host.setup.pass(&mut host.running, host.last + 1, host.last + 100);
    host.running.interrupt().ends_with(0);
    let versions = swaps::check(&host.setup.database()).0;
    let [(0, 1), .., (8, at)] = from_where(&versions)[..] else {
        panic!("{versions:?}")
    };
    assert_eq!(at, host.last + 1);
}

#[test]
fn a_module_that_was_damaged_in_the_store_is_refused_until_it_is_deployed_again() {
    let setup = Swapped::new(NO_TRIAL);
    let (registry, path) = (setup.registry(), guest("strict"));
    registry.put_module(&digest(&path), &fs::read(&path).unwrap()).unwrap();
    deploy_to(&registry, PIPELINE, STEP, Some(&digest(&path)), "");
    setup.client.damage_object("weir-modules");
    let mut running = setup.start();
    wait_for_status(&setup.registry(), "the refusal", |host| host.steps[0].failed.is_some());
    let said = running.said();
    let refusal = said.lines().find(|line| line.contains("is refused")).unwrap();
    // A time stands before it.
    let refusal = &refusal[refusal.find("version 1").unwrap()..];
    expect!["version 1 of step versions of pipeline swapped is refused: module DIGEST of strict of bucket weir-modules at SERVER was damaged: wrong digest; deploy it again"].assert_eq(&setup.plain(refusal));
    setup.pass(&mut running, 1, 100);
    setup
        .weir("params set swapped.toml versions label=2")
        .ends_with(1)
        .says("was damaged");
    setup
        .weir("deploy swapped.toml versions {versions} --param label=2")
        .ends_with(0);
    setup.pass(&mut running, 101, 200);
    running.interrupt().ends_with(0);
    assert_eq!(from_where(&swaps::check(&setup.database()).0), [(0, 1), (2, 101)]);
}

#[test]
fn parameters_come_back_to_the_bit() {
    let setup = Swapped::new(NO_TRIAL);
    let registry = setup.registry();
    // Decimal texts that a quick reader gets wrong by the last bit.
    for share in [
        "0.1",
        "1.7976931348623157e308",
        "2.2250738585072014e-308",
        "9007199254740993.5",
        "0.3154326847563987",
    ] {
        let deployed = deploy_to(
            &registry,
            "other",
            "step",
            None,
            &format!("share = {share}\nlist = [{share}]"),
        );
        let found = registry.deployment("other", "step").unwrap().unwrap();
        assert_eq!(found.parameters, deployed.parameters);
    }
    weir_tests::seed::with_seed(|random| {
        for _ in 0..50 {
            let share = random.number() as f64 * 1e-25;
            let deployed = deploy_to(&registry, "other", "step", None, &format!("share = {share:?}"));
            let found = registry.deployment("other", "step").unwrap().unwrap();
            assert_eq!(found.parameters, deployed.parameters);
        }
    });
}

/// Who may do what: `reader` may make no bucket, `watcher` may write to none.
const USERS: &str = r#"
authorization {
  users = [
    { user: admin, password: a }
    { user: reader, password: r, permissions: { publish: { deny: ["$JS.API.STREAM.CREATE.>"] } } }
    { user: watcher, password: w, permissions: { publish: { deny: ["$KV.>", "$O.>"] } } }
  ]
}
"#;

#[test]
fn a_permission_that_is_missing_is_named() {
    let server = NatsServer::with_config(USERS);
    let folder = scratch();
    fs::write(folder.path().join("swapped.toml"), pipeline_text(NO_TRIAL)).unwrap();
    let admin = async_nats::ConnectOptions::with_user_and_password("admin".to_owned(), "a".to_owned());
    let setup = Swapped::at(server, folder, admin);
    let check = |line: &str, user: &str, expected: Expect| {
        let outcome = setup.weir_at(line, &setup.server.url_of(user));
        expected.assert_eq(&setup.plain(&outcome.stderr));
        outcome
    };
    check(
        "deploy swapped.toml versions {versions} --param label=1",
        "reader:r",
        expect![[r#"
            weir: NATS at SERVER says: nats: Permissions Violation for Publish to "$JS.API.STREAM.CREATE.OBJ_weir-modules"
            weir: cannot open or make bucket weir-modules at SERVER: bucket creation failed: jetstream request timed out; it takes the permission to publish to $JS.API.STREAM.INFO.OBJ_weir-modules and $JS.API.STREAM.CREATE.OBJ_weir-modules, or somebody who makes it
        "#]],
    )
    .ends_with(1);

    // It runs all the same.
    setup.publish(1, 100);
    let run = |user: &str| {
        let url = setup.server.url_of(user);
        Run::new(setup.folder.path(), &url, [setup.folder.path().join("swapped.toml")])
    };
    let outcome = run("reader:r").catch_up().ends_with(0);
    outcome.says("cannot open or make bucket weir-modules");

    // With somebody who makes the buckets.
    drop(crate::versions::registry(&setup.server.url_of("admin:a")));
    check(
        "deploy swapped.toml versions {versions} --param label=1",
        "watcher:w",
        expect![[r#"
            weir: NATS at SERVER says: nats: Permissions Violation for Publish to "$O.weir-modules.C.PART"
            weir: cannot store module DIGEST of versions in bucket weir-modules at SERVER: failed publishing object chunks: failed getting chunk ack: timed out: didn't receive ack in time; it takes the permission to publish to $O.weir-modules.>
        "#]],
    )
    .ends_with(1);
    check("params set swapped.toml versions label=1", "watcher:w", expect![[r#"
        weir: NATS at SERVER says: nats: Permissions Violation for Publish to "$O.weir-modules.C.PART"
        weir: cannot store module DIGEST of versions in bucket weir-modules at SERVER: failed publishing object chunks: failed getting chunk ack: timed out: didn't receive ack in time; it takes the permission to publish to $O.weir-modules.>
    "#]]).ends_with(1);
    let mut running = run("watcher:w").start();
    running.wait_for_word("do not see this host");
    running.wait_for_word("it takes the permission to publish to $KV.weir-hosts.>");
    // What others deploy reaches it.
    setup
        .weir_at(
            "deploy swapped.toml versions {versions} --param label=1",
            &setup.server.url_of("admin:a"),
        )
        .ends_with(0);
    running.wait_for_word("version 1 of step versions of pipeline swapped is in force");
    setup.pass(&mut running, 101, 200);
    running.interrupt().ends_with(0);
    assert_eq!(
        from_where(&read_versions(&setup.database(), PIPELINE).unwrap()),
        [(0, 1), (1, 101)]
    );
}

//! Who may deploy: every way in which a signature can be right or wrong, at a host that asks for one and at one that does not.

mod cases;

use crate::{
    process::Running,
    versions::{NO_TRIAL, Swapped, from_where, hosts, wait_for_status},
    wait_until,
};
use cases::{CASES, LIVE, OTHER, Refused, Taken, signed, tampered, until};
use std::fs;
use weir::{
    model::deployment::Deployment,
    runtime::status::StepStatus,
    trust::{Entry, Key},
};
use weir_tests::stored::read_versions;
use weir_tests::{
    guest,
    swaps::{MALFORMED, PIPELINE, STEP, digest, pipeline_text},
    table::query,
};

/// Keys that are made for these tests, and open nothing.
pub(crate) const ANN: &str = "SUAMLK2ZNL35WSMW37E7UD4VZ7ELPKW7DHC3BWBSD2GCZ7IUQQXZIORRBU";

/// An hour in milliseconds.
const HOUR_MS: i64 = 3_600_000;

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// The pipeline, with whom it trusts.
pub(crate) fn trusting(keys: &[(&str, &str)], require: bool) -> String {
    let keys: Vec<String> = keys
        .iter()
        .map(|(name, key)| format!("{{ name = \"{name}\", key = \"{key}\" }}"))
        .collect();
    format!(
        "trust = {{ keys = [{}], require = {require} }}\n{}",
        keys.join(", "),
        pipeline_text(NO_TRIAL)
    )
}

/// A host, and what is written into its registry past the commands.
struct Host {
    setup: Swapped,
    running: Running,
    ann: Key,
    bob: Key,
    /// The last number, and the last time.
    number: u64,
    at_ms: i64,
    /// The last event.
    last: u64,
}

impl Host {
    fn new(text: impl FnOnce(&Key) -> String) -> Self {
        let ann = Key::from_text(ANN).unwrap();
        let setup = Swapped::with(&text(&ann));
        let running = setup.start();
        let component = fs::read(guest("versions")).unwrap();
        let registry = setup.registry();
        registry.put_module(&digest(&guest("versions")), &component).unwrap();
        registry.put_module(&OTHER.repeat(32), &component).unwrap();
        Self {
            setup,
            running,
            ann,
            bob: Key::for_now(),
            number: 0,
            at_ms: now_ms() - HOUR_MS,
            last: 0,
        }
    }

    /// The next deployment, a second after the one before, which nobody signed yet.
    fn next(&mut self) -> Deployment {
        self.number += 1;
        self.at_ms += 1000;
        let parameters = [("label", self.number), ("malformed", MALFORMED)];
        Deployment {
            version: self.number,
            digest: Some(digest(&guest("versions"))),
            parameters: parameters
                .map(|(name, value)| (name.to_owned(), toml::Value::Integer(value as i64)))
                .into(),
            by: "test".to_owned(),
            at_ms: self.at_ms,
            note: Some("why".to_owned()),
            ..Default::default()
        }
    }

    fn put(&self, deployment: &Deployment) {
        let value = serde_json::to_string(deployment).unwrap();
        let key = format!("{PIPELINE}.{STEP}");
        self.setup.client.put_key("weir-deployments", &key, value);
    }

    fn step(&self) -> StepStatus {
        hosts(&self.setup.registry()).remove(0).steps.remove(0)
    }

    /// Waits until it is known what became of a version; whether it came into force, or why not.
    #[track_caller]
    fn outcome(&mut self, version: u64, what: &str) -> Result<(), String> {
        let registry = self.setup.registry();
        let find = || {
            let step = hosts(&registry).into_iter().next()?.steps.into_iter().next()?;
            match step.failed.filter(|failed| failed.version == version) {
                Some(failed) => Some(Err(failed.reason)),
                None => (step.deployment.version == version).then_some(Ok(())),
            }
        };
        wait_until(what, || {
            self.running.check_running();
            find().is_some()
        });
        let outcome = find().unwrap();
        self.setup.pass(&mut self.running, self.last + 1, self.last + 3);
        self.last += 3;
        outcome
    }

    #[track_caller]
    fn takes(&mut self, deployment: &Deployment, what: &str) {
        self.put(deployment);
        assert_eq!(self.outcome(deployment.version, what), Ok(()), "{what}");
    }

    #[track_caller]
    fn refuses(&mut self, deployment: &Deployment, what: &str, because: &str) {
        self.put(deployment);
        let outcome = self.outcome(deployment.version, what);
        let reason = outcome.expect_err(what);
        assert!(reason.contains(because), "{what}: {because:?} is not said: {reason}");
        let status = self.setup.weir("status").ends_with(0).stdout;
        let said = format!("version {} was refused: ", deployment.version);
        assert!(status.contains(&said), "{what}: {status}");
    }
}

fn matrix(require: bool) {
    let mut host = Host::new(|ann| trusting(&[("ann", ann.public())], require));
    host.setup.pass(&mut host.running, 1, 3);
    host.last = 3;
    let mut taken = vec![0];
    let mut first: Option<Deployment> = None;
    for (what, make, required, not_required) in CASES {
        let next = host.next();
        let deployment = make(&host, next);
        match if require { required } else { not_required } {
            Taken => {
                host.takes(&deployment, what);
                taken.push(deployment.version);
            }
            Refused(because) => host.refuses(&deployment, what, because),
        }
        first.get_or_insert(deployment);
    }
    // What was in force once does not come again, whatever is in force by now: nor after a restart.
    let first = first.unwrap();
    host.refuses(
        &first,
        "an older one put back",
        "what was signed earlier does not come again",
    );
    host.running.interrupt().ends_with(0);
    host.running = host.setup.start();
    wait_for_status(&host.setup.registry(), "the refusal after a restart", |host| {
        let failed = host.steps[0].failed.as_ref();
        failed.is_some_and(|failed| failed.reason.contains("was in force already"))
    });
    let next = host.next();
    let next = signed(&host, next);
    host.takes(&next, "the next one");
    taken.push(next.version);
    host.running.interrupt().ends_with(0);
    let versions = read_versions(&host.setup.database(), PIPELINE).unwrap();
    let decided: Vec<u64> = from_where(&versions).into_iter().map(|(version, _)| version).collect();
    assert_eq!(decided, taken);
    // What the rows say: a version sets its number, or 0 where the file decides.
    for label in query(&host.setup.database(), "SELECT DISTINCT concat(label) FROM seen") {
        let label: u64 = label.parse().unwrap();
        assert!(taken.contains(&label), "{label} decided, of {taken:?}");
    }
}

#[test]
fn what_is_not_signed_as_it_has_to_be_does_not_come_into_force() {
    matrix(true);
}

#[test]
fn a_wrong_signature_is_refused_also_where_none_is_asked_for() {
    matrix(false);
}

#[test]
fn a_host_that_trusts_nobody_in_particular_takes_right_signatures_and_none() {
    let mut host = Host::new(|_| pipeline_text(NO_TRIAL));
    let next = host.next();
    host.takes(&next, "not signed");
    let next = host.next();
    let next = host.bob.sign(LIVE, next, None).unwrap();
    host.takes(&next, "signed by anybody");
    let next = host.next();
    let next = tampered(&host, next, |next| next.again = true);
    host.refuses(&next, "changed after it was signed", "is not for this");
    assert!(hosts(&host.setup.registry())[0].trust.is_none(), "it asks for nothing");
}

#[test]
fn a_signature_that_was_overtaken_does_not_come_after_the_later_one() {
    let mut host = Host::new(|ann| trusting(&[("ann", ann.public())], true));
    let next = host.next();
    let earlier = signed(&host, next);
    let next = host.next();
    let later = signed(&host, next);
    // The later one is on its way at most when the earlier one is put back.
    host.put(&later);
    host.refuses(&earlier, "the earlier one", "does not come again");
    wait_until("the later version", || host.step().deployment.version == later.version);
    // The numbers of a registry that was made anew begin anew; times do not.
    let next = host.next();
    let of_before = signed(&host, Deployment { version: 50, ..next });
    let next = host.next();
    let of_now = signed(&host, next);
    host.takes(&of_now, "a version of the new registry");
    host.refuses(
        &of_before,
        "a greater number of the old registry",
        "was in force already: what was signed earlier",
    );
    host.running.interrupt().ends_with(0);
    let versions = read_versions(&host.setup.database(), PIPELINE).unwrap();
    assert_eq!(versions.last().unwrap().deployment.version, of_now.version);
}

#[test]
fn what_is_refused_for_another_reason_is_not_in_the_way_of_what_was_signed_before_it() {
    let mut host = Host::new(|ann| trusting(&[("ann", ann.public())], true));
    let next = host.next();
    let exchanged = Deployment {
        digest: Some(OTHER.repeat(32)),
        at_ms: next.at_ms + 60_000,
        ..next
    };
    let exchanged = signed(&host, exchanged);
    host.refuses(&exchanged, "one whose module is another", "was damaged or exchanged");
    let next = host.next();
    let earlier = signed(&host, next);
    assert!(earlier.at_ms < exchanged.at_ms);
    host.takes(&earlier, "one that was signed earlier, and came later");
    host.running.interrupt().ends_with(0);
}

#[test]
fn what_waits_for_longer_than_its_signature_holds_is_refused() {
    let mut host = Host::new(|ann| trusting(&[("ann", ann.public())], true));
    host.setup.pass(&mut host.running, 1, 3);
    host.last = 3;
    // Its module cannot be had.
    let module = guest("strict");
    let stored = host
        .setup
        .registry()
        .put_module(&digest(&module), &fs::read(&module).unwrap());
    stored.unwrap();
    host.setup.client.garble_object("weir-modules", &digest(&module));
    let deployment = Deployment {
        digest: Some(digest(&module)),
        ..host.next()
    };
    let deployment = until(&host, deployment, now_ms() + 8_000);
    host.put(&deployment);
    let waits = "version 1 of step versions of pipeline swapped waits: cannot read module";
    host.running.wait_for_word(waits);
    let outcome = host.outcome(1, "the end of its time");
    let reason = outcome.expect_err("its time is over");
    assert!(reason.contains("it came too late"), "{reason}");
}

#[test]
fn what_is_in_force_stays_when_its_key_is_not_trusted_any_more() {
    let mut host = Host::new(|ann| trusting(&[("ann", ann.public())], true));
    let next = host.next();
    let brief = until(&host, next, now_ms() + 2 * HOUR_MS);
    host.takes(&brief, "by ann");
    host.running.interrupt().ends_with(0);

    let others = trusting(&[("bob", host.bob.public())], true);
    fs::write(host.setup.folder.path().join("swapped.toml"), others).unwrap();
    host.running = host.setup.start();
    host.running
        .wait_for_word("version 1 of step versions of pipeline swapped stays in force");
    let status = host.setup.weir("status").ends_with(0).stdout;
    for line in [
        "  takes deployments that are signed by bob (U",
        "which is not trusted any more; it was in force before",
    ] {
        assert!(status.contains(line), "{status}");
    }
    assert_eq!(host.step().deployment.version, 1);
    let next = host.next();
    let by_ann = signed(&host, next);
    host.refuses(
        &by_ann,
        "by ann, later",
        "who is not trusted here: accepted is what is signed by bob",
    );
    let next = host.next();
    let by_bob = host.bob.sign(LIVE, next, None).unwrap();
    host.takes(&by_bob, "by bob");
    host.running.interrupt().ends_with(0);
    let signers: Vec<_> = read_versions(&host.setup.database(), PIPELINE)
        .unwrap()
        .into_iter()
        .map(|version| version.signer.and_then(|signer| signer.name))
        .collect();
    assert_eq!(signers, [Some("ann".to_owned()), Some("bob".to_owned())]);
}

#[test]
fn what_is_in_force_stays_when_its_signature_is_over_and_a_new_database_does_not_take_it() {
    let mut host = Host::new(|ann| trusting(&[("ann", ann.public())], true));
    let next = host.next();
    let expires_ms = now_ms() + 8000;
    let brief = until(&host, next, expires_ms);
    host.takes(&brief, "in time");
    host.running.interrupt().ends_with(0);
    wait_until("the end of the signature", || now_ms() > expires_ms);

    host.running = host.setup.start();
    host.setup.pass(&mut host.running, host.last + 1, host.last + 3);
    let step = host.step();
    assert_eq!((step.deployment.version, step.failed), (1, None));
    host.running.interrupt().ends_with(0);

    let second = host.setup.folder.path().join("second");
    fs::create_dir(&second).unwrap();
    let mut other = host.setup.run_in(&second).start();
    other.wait_for_word("version 1 of step versions of pipeline swapped is refused: ann (U");
    other.wait_for_word("it came too late; deploy it again");
    other.wait_for_position(&second.join("swapped.db"), PIPELINE, host.last + 3);
    other.interrupt().ends_with(0);
    let versions = read_versions(&second.join("swapped.db"), PIPELINE).unwrap();
    assert_eq!(from_where(&versions), [(0, 1)]);
}

#[test]
fn what_a_host_asks_for_holds_beside_what_the_file_asks_for() {
    let ann = Key::from_text(ANN).unwrap();
    let bob = Key::for_now();
    let cara = Key::for_now();
    let setup = Swapped::with(&trusting(&[("ann", ann.public()), ("bob", bob.public())], false));
    let (of_bob, of_cara) = (format!("bobby={}", bob.public()), cara.public().to_owned());
    let run = setup
        .run()
        .with(["--trust-key", &of_bob, "--trust-key", &of_cara, "--require-signatures"]);
    let mut running = run.start();
    let said = format!(
        "pipeline swapped takes deployments that are signed by bob ({})",
        bob.public()
    );
    running.wait_for_word(&said);
    wait_until("word of the host", || hosts(&setup.registry()).len() == 1);
    let trust = hosts(&setup.registry())[0].trust.clone().unwrap();
    assert!(trust.require && trust.accepts(Some(bob.public())).is_ok());
    for key in [None, Some(ann.public()), Some(cara.public())] {
        assert!(trust.accepts(key).is_err(), "{key:?}");
    }
    // Nobody is in both lists.
    running.interrupt().ends_with(0);
    let mut running = setup.run().with(["--trust-key", &of_cara]).start();
    running.wait_for_word("takes deployments that are not signed, or signed by nobody, since no key is trusted");
    running.interrupt().ends_with(0);
    let account = nkeys::KeyPair::new_account().public_key();
    for (key, said) in [
        (
            "hello",
            "--trust-key: \"hello\" is no public key; accepted is the public key of a user",
        ),
        (ANN, "--trust-key: this is a seed, which nobody but its owner may have"),
        (
            &*format!("ann={ANN}"),
            "this is a seed, which nobody but its owner may have",
        ),
        (
            &*account,
            "is the public key of an account; accepted is the public key of a user",
        ),
    ] {
        let outcome = setup.run().with(["--trust-key", key]).start().end().ends_with(2);
        assert!(outcome.stderr.contains(said), "{outcome:?}");
        assert!(!outcome.stderr.contains(&ANN[4..]), "{outcome:?}");
    }
}

#[test]
fn a_candidate_is_signed_as_a_version_is() {
    let mut host = Host::new(|ann| trusting(&[("ann", ann.public())], true));
    let key = format!("{PIPELINE}.{STEP}.shadow");
    let candidate = |host: &mut Host| Deployment {
        version: 0,
        ..host.next()
    };
    let put = |host: &Host, candidate: &Deployment| {
        let value = serde_json::to_string(candidate).unwrap();
        host.setup.client.put_key("weir-deployments", &key, value);
    };
    let unsigned = candidate(&mut host);
    let as_live = candidate(&mut host);
    let as_live = signed(&host, as_live);
    for (candidate, because) in [(unsigned, "it is not signed"), (as_live, "is not for this")] {
        put(&host, &candidate);
        wait_for_status(&host.setup.registry(), because, |host| {
            let refused = host.steps[0].shadow.as_ref().and_then(|report| report.refused.clone());
            refused.is_some_and(|reason| reason.contains(because))
        });
    }
    let next = candidate(&mut host);
    let right = host.ann.sign(Entry::candidate(PIPELINE, STEP), next, None).unwrap();
    put(&host, &right);
    wait_for_status(&host.setup.registry(), "the candidate", |host| {
        let report = host.steps[0].shadow.as_ref();
        report.is_some_and(|report| report.candidate == right && report.refused.is_none())
    });
}

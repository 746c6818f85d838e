//! Every kind of deployment, written under every user: the server keeps away who may not write, and the host judges what the
//! others wrote.

use super::{World, credentials, password, settings};
use crate::{signatures::ANN, wait_until};
use std::{fs, sync::mpsc};
use weir::{
    model::deployment::Deployment,
    nats::{Nats, NatsOptions, Registry},
    runtime::status::{HostStatus, StepStatus},
    trust::{Entry, Key},
};

/// The pipeline of the settings, whose step has the same name.
const NAME: &str = "large-orders";

/// The users, and whether they may write deployments.
const USERS: [(&str, bool); 6] = [
    ("operator", true),
    ("deployer", true),
    ("producer", false),
    ("host", false),
    ("reader", false),
    ("replayer", false),
];

/// What is written, and what a host says of it, if it does not take it.
const CASES: [(&str, Result<(), &str>); 7] = [
    ("signed", Ok(())),
    (
        "unsigned",
        Err("it is not signed, and accepted is what is signed by ann"),
    ),
    (
        "of a wrong key",
        Err("is not trusted here: accepted is what is signed by ann"),
    ),
    ("expired", Err("it came too late; deploy it again")),
    ("tampered with", Err("is not for this: pipeline, step, module")),
    ("signed later", Ok(())),
    ("replayed", Err("what was signed earlier does not come again")),
];

/// Deployments, one after the other.
struct Deployments {
    ann: Key,
    stranger: Key,
    number: u64,
    at_ms: i64,
    /// Those that came into force, in order.
    taken: Vec<Deployment>,
}

impl Deployments {
    fn make(&mut self, case: &str) -> Deployment {
        self.number += 1;
        self.at_ms += 1000;
        let parameters = [("label", self.number), ("malformed", 97)];
        let next = Deployment {
            version: self.number,
            parameters: parameters
                .map(|(name, value)| (name.to_owned(), toml::Value::Integer(value as i64)))
                .into(),
            by: "test".to_owned(),
            at_ms: self.at_ms,
            ..Default::default()
        };
        let sign = |key: &Key, until| key.sign(Entry::live(NAME, NAME), next.clone(), until);
        match case {
            "signed" | "signed later" => sign(&self.ann, None).expect("it can be signed"),
            "unsigned" => next.clone(),
            "of a wrong key" => sign(&self.stranger, None).expect("it can be signed"),
            "expired" => sign(&self.ann, Some(self.at_ms + 1)).expect("it can be signed"),
            "tampered with" => {
                let mut signed = sign(&self.ann, None).expect("it can be signed");
                signed.parameters.insert("label".to_owned(), 9999.into());
                signed
            }
            "replayed" => self.taken.iter().rev().nth(1).cloned().expect("two came into force"),
            case => panic!("{case} is no case"),
        }
    }
}

/// What hosts say of the step, as a reader sees it.
fn step(registry: &Registry) -> Option<StepStatus> {
    let hosts: Vec<HostStatus> = registry.hosts(Some(NAME)).expect("a reader may ask");
    hosts.into_iter().next()?.steps.into_iter().next()
}

#[test]
fn a_deployment_needs_the_right_to_write_and_the_right_signature() {
    let world = World::new(&settings()).expect("the server is made");
    let mut deployments = Deployments {
        ann: Key::from_text(ANN).expect("that is a key"),
        stranger: Key::for_now(),
        number: 0,
        at_ms: jiff::Timestamp::now().as_millisecond() - 3_600_000,
        taken: Vec::new(),
    };
    let trust = format!(
        "trust = {{ keys = [{{ name = \"ann\", key = \"{}\" }}], require = true }}\n{}",
        deployments.ann.public(),
        World::pipeline(NAME)
    );
    fs::write(world.folder.path().join("large-orders.toml"), trust).expect("the pipeline file can be written");
    let mut host = world.start().expect("the host runs");
    let nats = Nats::connect(&NatsOptions {
        url: world.server.url_of(&format!("reader:{}", password("reader"))),
        inbox_prefix: Some("_INBOX_reader".to_owned()),
        ..Default::default()
    });
    let registry = Registry::open(&nats.expect("the server lets us in"), 1).expect("a reader may look");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime can be made");

    for (user, may_write) in USERS {
        let (tell, said) = mpsc::channel();
        let options = credentials(user).event_callback(move |event| {
            let _ = tell.send(event.to_string().to_lowercase());
            std::future::ready(())
        });
        let client = runtime
            .block_on(options.connect(world.server.url()))
            .expect("the server lets us in");
        for (case, expected) in CASES {
            let deployment = deployments.make(case);
            let entry = serde_json::to_vec(&deployment).expect("it can be written");
            runtime.block_on(async {
                let subject = format!("$KV.weir-deployments.{NAME}.{NAME}");
                client.publish(subject, entry.into()).await.expect("it can be sent");
                client.flush().await.expect("it can be sent");
            });
            let place = format!("{user}, {case}");
            if !may_write {
                wait_until(&format!("{place}: the server's refusal"), || {
                    said.try_iter().any(|said| said.contains("permissions violation"))
                });
                continue;
            }
            let version = deployment.version;
            wait_until(&format!("{place}: word of the host"), || {
                host.check_running();
                step(&registry).is_some_and(|step| {
                    let failed = step.failed.filter(|failed| failed.version == version);
                    match expected {
                        Ok(()) => step.deployment.version == version,
                        Err(reason) => failed.is_some_and(|failed| failed.reason.contains(reason)),
                    }
                })
            });
            if expected.is_ok() {
                deployments.taken.push(deployment);
            }
        }
        let running = step(&registry).expect("the host runs").deployment;
        let last = deployments.taken.last().expect("one is in force");
        assert_eq!(running.version, last.version, "after {user}");
    }
    world.publish(101, 200);
    world
        .until(&mut host, "events", |_| world.is_at(200))
        .expect("the host goes on");
    world.end(host).expect("the host was not disturbed");
}

//! What each of the users must not do: the server refuses it, and weir says which permission is missing.

use super::{World, credentials, settings};
use crate::DEADLINE;
use std::{sync::mpsc, time::Instant};

/// What roles must not do: `+` to publish, `-` to subscribe.
const FORBIDDEN: [(&str, &[&str]); 5] = [
    (
        "producer",
        &[
            "+$JS.API.STREAM.INFO.ORDERS",
            "+$JS.API.STREAM.PURGE.ORDERS",
            "+$JS.API.CONSUMER.CREATE.ORDERS",
            "+$KV.weir-deployments.large-orders.large-orders",
            "-orders",
            "-_INBOX_host.>",
        ],
    ),
    (
        "host",
        &[
            "+orders",
            "+$KV.weir-deployments.large-orders.large-orders",
            "+$KV.weir-deployments.large-orders.large-orders.shadow",
            "+$KV.weir-hosts.other.x",
            "+$KV.weir-outcomes.other.x.1.x",
            "+$O.weir-modules.C.x",
            "+$O.weir-modules.M.x",
            "+$JS.API.STREAM.PURGE.ORDERS",
            "+$JS.API.STREAM.DELETE.ORDERS",
            "+$JS.API.STREAM.UPDATE.KV_weir-deployments",
            "+$JS.API.STREAM.MSG.DELETE.KV_weir-deployments",
            "+$JS.API.CONSUMER.CREATE.OBJ_weir-modules",
            "+$JS.API.CONSUMER.CREATE.ALERTS.x",
            "-orders",
            "-_INBOX_deployer.>",
        ],
    ),
    (
        "deployer",
        &[
            "+orders",
            "+alerts.large-orders",
            "+$KV.weir-deployments.other.large-orders",
            "+$KV.weir-hosts.large-orders.x",
            "+$KV.weir-outcomes.large-orders.large-orders.1.x",
            "+$JS.API.STREAM.MSG.GET.ORDERS",
            "+$JS.API.DIRECT.GET.ORDERS",
            "+$JS.API.CONSUMER.CREATE.ORDERS.x",
            "+$JS.API.CONSUMER.CREATE.OBJ_weir-modules",
            "+$JS.API.CONSUMER.CREATE.KV_weir-deployments",
            "+$JS.API.CONSUMER.DELETE.ORDERS.x",
            "+$JS.API.STREAM.PURGE.OBJ_weir-modules",
            "+$JS.API.STREAM.DELETE.KV_weir-deployments",
            "-orders",
            "-_INBOX_host.>",
        ],
    ),
    (
        "reader",
        &[
            "+orders",
            "+alerts.large-orders",
            "+$KV.weir-deployments.large-orders.large-orders",
            "+$KV.weir-hosts.large-orders.x",
            "+$O.weir-modules.C.x",
            "+$O.weir-modules.M.x",
            "+$JS.API.DIRECT.GET.OBJ_weir-modules",
            "+$JS.API.STREAM.MSG.GET.ORDERS",
            "+$JS.API.CONSUMER.CREATE.ORDERS.x",
            "+$JS.API.CONSUMER.CREATE.KV_weir-deployments",
            "+$JS.API.CONSUMER.DELETE.ORDERS.x",
            "+$JS.API.CONSUMER.PAUSE.ORDERS.x",
            "+$JS.API.STREAM.PURGE.ORDERS",
            "+$JS.API.STREAM.DELETE.KV_weir-hosts",
            "-orders",
            "->",
            "-_INBOX.>",
            "-_INBOX_host.>",
        ],
    ),
    (
        "replayer",
        &[
            "+orders",
            "+alerts.large-orders",
            "+$KV.weir-deployments.large-orders.large-orders",
            "+$O.weir-modules.M.x",
            "+$JS.ACK.ORDERS.x.1.1.1.1.1",
            "+$JS.API.CONSUMER.CREATE.KV_weir-deployments",
            "+$JS.API.CONSUMER.PAUSE.ORDERS.x",
            "+$JS.API.STREAM.PURGE.ORDERS",
            "+$JS.API.STREAM.DELETE.ORDERS",
            "-orders",
            "-_INBOX_host.>",
        ],
    ),
];

#[test]
fn what_a_role_must_not_do_the_server_refuses() {
    let world = World::new(&settings()).expect("the server is made");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime can be made");
    for (role, forbidden) in FORBIDDEN {
        let (tell, said) = mpsc::channel();
        let options = credentials(role).event_callback(move |event| {
            let _ = tell.send(event.to_string());
            std::future::ready(())
        });
        let client = runtime
            .block_on(options.connect(world.server.url()))
            .expect("the server lets us in");
        for one in forbidden {
            let (verb, subject) = one.split_at(1);
            runtime.block_on(async {
                match verb {
                    "+" => client
                        .publish(subject.to_owned(), "x".into())
                        .await
                        .expect("it can be sent"),
                    _ => drop(client.subscribe(subject.to_owned()).await.expect("it can be sent")),
                }
                client.flush().await.expect("it can be sent");
            });
            let (begun, quoted) = (Instant::now(), format!("\"{}\"", subject.to_lowercase()));
            loop {
                let left = DEADLINE.saturating_sub(begun.elapsed());
                let event = said
                    .recv_timeout(left)
                    .unwrap_or_else(|_| panic!("{role} may do {one}"));
                let event = event.to_lowercase();
                if event.contains("permissions violation") && event.contains(&quoted) {
                    break;
                }
            }
        }
    }
    assert_eq!(world.operator.count_of("ORDERS", "orders"), 0, "nothing got through");
    assert_eq!(
        world.operator.count_of("KV_weir-deployments", "$KV.weir-deployments.>"),
        0
    );
}

#[test]
fn who_may_not_ask_for_messages_does_not_wait_for_them() {
    let settings = settings().replace("CONSUMER.MSG.NEXT.ORDERS.*", "CONSUMER.MSG.NEXT.OTHERS.*");
    let world = World::new(&settings).expect("the server is made");
    world.publish(1, 100);
    let replay = "replay large-orders.toml --from-stream --discard";
    let said = world.weir("replayer", replay).ends_with(1).stderr;
    assert!(
        said.contains("this user may not publish to $JS.API.CONSUMER.MSG.NEXT.ORDERS; allow that"),
        "{said}"
    );
}

#[test]
fn who_lacks_a_permission_is_told_which() {
    let world = World::new(&settings()).expect("the server is made");
    let mut host = world.start().expect("the host runs");
    world.deploy(&mut host).expect("it is deployed");
    let deploy = "deploy large-orders.toml large-orders {versions} --param label=7";
    std::thread::scope(|scope| {
        for (role, line, expected) in [
            (
                "reader",
                deploy,
                "it takes the permission to publish to $JS.API.DIRECT.GET.OBJ_weir-modules",
            ),
            (
                "host",
                deploy,
                "it takes the permission to publish to $JS.API.DIRECT.GET.KV_weir-hosts",
            ),
            (
                "deployer",
                "deploy other.toml large-orders {versions} --param label=7",
                "it takes the permission to publish to $KV.weir-deployments.>",
            ),
            (
                "deployer",
                "replay large-orders.toml --from-stream --discard",
                "it takes the permission to publish to $JS.API.STREAM.MSG.GET.ORDERS",
            ),
            (
                "reader",
                "run large-orders.toml --publish-from 1 --database reader.db",
                "it takes the permission to publish to $JS.API.STREAM.MSG.GET.ORDERS",
            ),
            (
                "replayer",
                deploy,
                "it takes the permission to publish to $JS.API.STREAM.INFO.OBJ_weir-modules",
            ),
            (
                "replayer",
                "status",
                "it takes the permission to publish to $JS.API.STREAM.INFO.KV_weir-hosts",
            ),
        ] {
            let world = &world;
            scope.spawn(move || {
                let outcome = world.weir(role, line);
                let place = format!("{role}: weir {line}: {}\n{}", outcome.code, outcome.stderr);
                assert_eq!(outcome.code, 1, "{place}");
                assert!(outcome.stderr.contains(expected), "{expected}\n{place}");
            });
        }
    });
    let history = world
        .works("reader", "history large-orders.toml large-orders")
        .expect("it works");
    assert_eq!(
        history.stdout.lines().filter(|line| line.contains("label = ")).count(),
        1,
        "{history:?}"
    );
    world.end(host).expect("the host was not disturbed");
}

//! Several servers: a cluster without a majority, and leaf nodes with domains of their own.

use crate::{
    events::{case, of_case},
    process::{Run, position, weir},
    server::{Client, INSURANCE, SUBJECTS},
    wait_until,
};
use async_nats::jetstream::stream::Config;
use std::{collections::BTreeMap, net::TcpListener, path::Path};
use weir_tests::{guest, nats::NatsServer, pipeline, scratch};

/// Ports that nobody listens on. Servers that know each other have to be told them beforehand.
fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    let listeners = [(); COUNT].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port is free"));
    listeners.map(|listener| listener.local_addr().expect("it listens").port())
}

/// Three servers that are one.
fn cluster() -> [NatsServer; 3] {
    let ports = free_ports::<3>();
    let routes = ports.map(|port| format!("nats://127.0.0.1:{port}")).join(", ");
    [0, 1, 2].map(|number| {
        NatsServer::with_config(&format!(
            "server_name: n{number}\ncluster {{ name: C, listen: \"127.0.0.1:{}\", routes: [{routes}], no_advertise: true }}\n",
            ports[number]
        ))
    })
}

/// Makes the stream of the insurance company, which all three hold, once they have a leader.
fn make_replicated(client: &Client) {
    let config = Config {
        name: INSURANCE.to_owned(),
        subjects: SUBJECTS.map(str::to_owned).into(),
        num_replicas: 3,
        ..Config::default()
    };
    wait_until("a leader of the cluster", || client.try_make(config.clone()));
}

#[test]
fn a_cluster_without_a_majority_is_waited_for_and_said_once() {
    let mut servers = cluster();
    let client = Client::connect(&servers[0].url());
    make_replicated(&client);
    let last = client.publish(&of_case(&case("last-page/s3_20")));
    drop(client);
    for server in &mut servers[1..] {
        server.kill();
    }
    let folder = scratch();
    let database = folder.path().join("last-page.db");
    let start = || Run::new(folder.path(), &servers[0].url(), [pipeline("last-page")]).start();

    // It ends when it is asked to, also while it waits.
    let mut running = start();
    running.wait_for_word(" waiting: ");
    running
        .interrupt()
        .ends_with(1)
        .says("stopped before anything was read");

    let mut running = start();
    running.wait_for_word(" waiting: ");
    let said = running.said();
    assert!(said.contains("more than half of"), "{said}");
    for server in &mut servers[1..] {
        server.restart();
    }
    running.wait_for_position(&database, "last-page", last);
    let outcome = running.interrupt().ends_with(0);
    assert_eq!(outcome.stderr.matches(" waiting: ").count(), 1, "{}", outcome.stderr);
    assert_eq!(position(&database, "last-page"), last);
}

#[test]
fn the_registry_is_held_by_as_many_servers_as_the_stream() {
    let mut servers = cluster();
    let client = Client::connect(&servers[0].url());
    make_replicated(&client);
    client.publish(&of_case(&case("last-page/s3_20")));
    let folder = scratch();
    let run = |options: &[&str]| Run::new(folder.path(), &servers[0].url(), [pipeline("last-page")]).with(options);
    let buckets = || -> BTreeMap<String, usize> {
        let names = client.stream_names().into_iter();
        let buckets = names.filter(|name| name.contains("weir-"));
        buckets.map(|name| (name.clone(), client.replicas(&name))).collect()
    };
    let each = |replicas: usize| -> BTreeMap<String, usize> {
        let names = ["KV_weir-deployments", "KV_weir-hosts", "OBJ_weir-modules"];
        names.map(|name| (name.to_owned(), replicas)).into()
    };

    run(&["--registry-replicas", "1"]).catch_up().ends_with(0);
    assert_eq!(buckets(), each(1));
    let mut said = run(&[]).catch_up().ends_with(0);
    for bucket in ["weir-deployments", "weir-hosts", "weir-modules"] {
        said = said.says(&format!("the stream behind bucket {bucket} has 1 of 3 replicas"));
    }

    buckets().keys().for_each(|name| client.delete_stream(name));
    let said = run(&[]).catch_up().ends_with(0).stderr;
    assert!(!said.contains("replicas"), "{said}");
    assert_eq!(buckets(), each(3));

    // What one server held, the others have.
    servers[2].kill();
    let (file, module, url) = (pipeline("last-page"), guest("last-page"), servers[0].url());
    let deploy = || {
        let arguments = [
            Path::new("deploy"),
            &file,
            "known-users".as_ref(),
            &module,
            "--nats".as_ref(),
            url.as_ref(),
        ];
        weir().run(arguments).code == 0
    };
    wait_until("a deployment with one server away", deploy);
}

#[test]
fn a_stream_behind_a_leaf_node_is_found_in_its_domain() {
    let [port] = free_ports::<1>();
    let hub = NatsServer::with_config(&format!(
        "server_name: hub\njetstream {{ domain: hub }}\nleafnodes {{ listen: \"127.0.0.1:{port}\" }}\n"
    ));
    let leaf = NatsServer::with_config(&format!(
        "server_name: leaf\njetstream {{ domain: leaf }}\nleafnodes {{ remotes: [ {{ url: \"nats://127.0.0.1:{port}\" }} ] }}\n"
    ));
    let client = Client::connect(&hub.url());
    client.make_insurance();
    let last = client.publish(&of_case(&case("last-page/s3_20")));
    let folder = scratch();
    let run = |options: &[&str]| Run::new(folder.path(), &leaf.url(), [pipeline("last-page")]).with(options);

    let outcome = run(&[])
        .catch_up()
        .ends_with(2)
        .says("there is no stream INSURANCE at nats://127.0.0.1");
    let outcome = outcome.says("This is JetStream domain leaf").says("--js-domain");
    let (domain, make) = (
        outcome.stderr.find("--js-domain"),
        outcome.stderr.find("nats stream add"),
    );
    assert!(domain < make, "the domain comes first: {}", outcome.stderr);

    wait_until("the leaf node's connection", || {
        let outcome = run(&["--js-domain", "hub"]).catch_up();
        outcome.code == 0
    });
    assert_eq!(position(&folder.path().join("last-page.db"), "last-page"), last);
    run(&["--js-domain", "hbu"])
        .catch_up()
        .ends_with(1)
        .says("there is no JetStream of domain hbu at");
    run(&["--js-domain", "h.b"])
        .catch_up()
        .ends_with(2)
        .says("--js-domain is \"h.b\"");
}

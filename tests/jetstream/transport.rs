//! TLS, in both orders, and subjects that do not fit the stream.

use crate::{
    events::{case, of_case},
    process::{Run, position},
    server::Client,
};
use async_nats::{
    ConnectOptions,
    jetstream::stream::{Config, SubjectTransform},
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::{fs, path::Path};
use tempfile::TempDir;
use weir_tests::{nats::NatsServer, pipeline, scratch};

/// Certificates of a server and of a client, both signed by an authority, and another authority.
struct Certificates {
    folder: TempDir,
}

impl Certificates {
    #[track_caller]
    fn make() -> Self {
        let folder = scratch();
        let write =
            |name: &str, text: String| fs::write(folder.path().join(name), text).expect("a file can be written");
        let authority = |name: &str| {
            let key = KeyPair::generate().expect("a key can be made");
            let mut params = CertificateParams::new(Vec::new()).expect("an authority has no names");
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let certificate = params.self_signed(&key).expect("an authority can be made");
            write(name, certificate.pem());
            Issuer::new(params, key)
        };
        let issuer = authority("ca.pem");
        authority("other-ca.pem");
        for name in ["server", "client"] {
            let key = KeyPair::generate().expect("a key can be made");
            let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("it is a name");
            let certificate = params.signed_by(&key, &issuer).expect("a certificate can be signed");
            write(&format!("{name}.pem"), certificate.pem());
            write(&format!("{name}-key.pem"), key.serialize_pem());
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// A server whose TLS is as `more` says, with one message in the stream of last-page.
    #[track_caller]
    fn start(&self, more: &str, owner: ConnectOptions) -> NatsServer {
        let server = NatsServer::with_config(&format!(
            "tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", {more} }}",
            self.path("server.pem"),
            self.path("server-key.pem"),
            self.path("ca.pem")
        ));
        let owner = owner
            .add_root_certificates(self.path("ca.pem").into())
            .add_client_certificate(self.path("client.pem").into(), self.path("client-key.pem").into());
        let client = Client::connect_as(&server.url(), owner);
        client.make_insurance();
        client.publish(&of_case(&case("last-page/s3_20"))[..1]);
        server
    }
}

fn run(folder: &Path, url: &str, options: &[&str]) -> Run {
    Run::new(folder, url, [pipeline("last-page")]).with(options)
}

#[test]
fn certificates_that_are_missing_or_wrong_are_named() {
    let files = Certificates::make();
    let server = files.start("verify: true", ConnectOptions::new());
    let folder = scratch();
    let [ca, other, certificate, key] =
        ["ca.pem", "other-ca.pem", "client.pem", "client-key.pem"].map(|name| files.path(name));
    let ours = ["--tls-cert", &certificate, "--tls-key", &key];
    let with_ca = |ca: &str| {
        [&["--tls-ca", ca][..], &ours[..]]
            .concat()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    let run = |options: &[&str]| run(folder.path(), &server.url(), options).catch_up();
    let run_with_ca = |ca: &str| {
        let options = with_ca(ca);
        run(&options.iter().map(String::as_str).collect::<Vec<_>>())
    };

    run_with_ca(&ca).ends_with(0);
    assert_eq!(position(&folder.path().join("last-page.db"), "last-page"), 1);
    // The nats command's names of the options.
    run(&["--tlsca", &ca, "--tlscert", &certificate, "--tlskey", &key]).ends_with(0);
    run(&[]).ends_with(1).says("name its file with --tls-ca");
    run_with_ca(&other)
        .ends_with(1)
        .says("signed by another authority than those in --tls-ca");
    run(&["--tls-ca", &ca]).ends_with(1).says("--tls-cert and --tls-key");
    run_with_ca("/nowhere/ca.pem")
        .ends_with(2)
        .says("cannot read CA certificates /nowhere/ca.pem")
        .says("--tls-ca");
    run_with_ca(&key).ends_with(2).says("has no CA certificates");
    run(&["--tls-ca", &ca, "--tls-cert", &certificate])
        .ends_with(2)
        .says("say both --tls-cert and --tls-key");
}

#[test]
fn tls_may_come_first() {
    let files = Certificates::make();
    let server = files.start("handshake_first: true", ConnectOptions::new().tls_first());
    let folder = scratch();
    let ca = files.path("ca.pem");
    run(folder.path(), &server.url(), &["--tls-ca", &ca, "--tls-first"])
        .catch_up()
        .ends_with(0);
    assert_eq!(position(&folder.path().join("last-page.db"), "last-page"), 1);
    run(folder.path(), &server.url(), &["--tls-ca", &ca])
        .catch_up()
        .ends_with(1)
        .says("where the server takes TLS first, say --tls-first");
    let plain = NatsServer::start();
    run(folder.path(), &plain.url(), &["--tls-first"])
        .catch_up()
        .ends_with(1)
        .says("the server does not begin with TLS; leave out --tls-first");
    run(folder.path(), &plain.url(), &["--tls-ca", &ca])
        .catch_up()
        .ends_with(1)
        .says("the server does not speak TLS; leave out --tls-ca");
}

#[test]
fn a_subject_that_nothing_in_the_stream_can_have_is_refused() {
    let server = NatsServer::start();
    let client = Client::connect(&server.url());
    client.make_stream("SHOP", &["shop.orders", "shop.returns.>"]);
    let folder = scratch();
    let try_subject = |subject: &str| {
        write_pipeline(folder.path(), subject, "alerts.a");
        Run::new(folder.path(), &server.url(), ["p.toml"]).catch_up()
    };
    for subject in ["shop.*", "shop.returns.*.today", "*.orders"] {
        try_subject(subject).ends_with(0);
        // Each has a database of its own.
        fs::remove_file(folder.path().join("p.db")).expect("there is a database");
    }
    try_subject("shop.payments")
        .ends_with(2)
        .says("no message of stream SHOP can have the subject shop.payments: the stream takes subjects shop.orders, shop.returns.>");
    // Under another stream's name: what would mend it is not to make the stream.
    write_pipeline(folder.path(), "shop.orders", "alerts.a");
    let text = fs::read_to_string(folder.path().join("p.toml")).expect("the file can be read");
    fs::write(folder.path().join("p.toml"), text.replace("SHOP", "SHOPS")).expect("the file can be written");
    let outcome = Run::new(folder.path(), &server.url(), ["p.toml"])
        .catch_up()
        .ends_with(2);
    let outcome = outcome
        .says("there is no stream SHOPS at")
        .says("shop.orders is in stream SHOP");
    assert!(!outcome.stderr.contains("stream add"), "{}", outcome.stderr);
}

#[test]
fn a_stream_that_would_store_alerts_as_events_is_refused() {
    let server = NatsServer::start();
    let client = Client::connect(&server.url());
    client.make_with(Config {
        name: "SHOP".to_owned(),
        subjects: vec!["shop.>".to_owned(), "alerts.*".to_owned()],
        subject_transform: Some(SubjectTransform {
            source: "alerts.*".to_owned(),
            destination: "shop.alerts.{{wildcard(1)}}".to_owned(),
        }),
        ..Config::default()
    });
    let folder = scratch();
    write_pipeline(folder.path(), "shop.>", "alerts.a");
    Run::new(folder.path(), &server.url(), ["p.toml"]).catch_up().ends_with(2).says(
        "what the pipeline publishes to alerts.a would come back as an event: stream SHOP stores it as shop.alerts.a, and the \
         pipeline reads shop.>",
    );
    write_pipeline(folder.path(), "shop.orders", "alerts.a");
    Run::new(folder.path(), &server.url(), ["p.toml"])
        .catch_up()
        .ends_with(0);
}

/// A pipeline p of stream SHOP.
fn write_pipeline(folder: &Path, reads: &str, publishes: &str) {
    let text = format!(
        "name = \"p\"\n[source]\nstream = \"SHOP\"\nsubject = \"{reads}\"\ncolumns = {{ n = \"int\" }}\n[[sink]]\nsubject = \
         \"{publishes}\"\n"
    );
    fs::write(folder.join("p.toml"), text).expect("a file can be written");
}

//! A server that lets in whom it knows.

use crate::{
    events::{case, of_case},
    process::{Run, position},
    server::Client,
};
use async_nats::ConnectOptions;
use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;
use weir_tests::{pipeline, scratch, workspace};

#[test]
fn user_and_password_come_from_the_url_or_the_environment() {
    let server = Guarded::start(&["--user", "weir", "--pass", "s3cret"]);
    server.accepts("weir:s3cret@", &[]);
    server.accepts("", &[("NATS_USER", "weir"), ("NATS_PASSWORD", "s3cret")]);
    // The URL comes first.
    server.accepts("weir:s3cret@", &[("NATS_USER", "nobody"), ("NATS_PASSWORD", "wr0ng")]);
    server.refuses("weir:wr0ng@", &[]);
    server.refuses("", &[("NATS_USER", "weir"), ("NATS_PASSWORD", "wr0ng")]);
    server.refuses("", &[]);
}

#[test]
fn a_token_comes_from_the_url_or_the_environment() {
    let server = Guarded::start(&["--auth", "s3cret"]);
    server.accepts("s3cret@", &[]);
    server.accepts("", &[("NATS_TOKEN", "s3cret")]);
    server.refuses("wr0ng@", &[]);
    server.refuses("", &[("NATS_TOKEN", "wr0ng")]);
    server.refuses("", &[]);
}

/// A server with JetStream that asks who is there, and one message in the stream of last-page.
struct Guarded {
    process: Child,
    folder: TempDir,
    address: String,
}

impl Guarded {
    #[track_caller]
    fn start(options: &[&str]) -> Self {
        let folder = scratch();
        let mut process = Command::new(program())
            .args(["--addr", "127.0.0.1", "--port", "-1", "--jetstream"])
            .args(options)
            .arg("--store_dir")
            .arg(folder.path().join("store"))
            .arg("--ports_file_dir")
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server can be started");
        let ports = folder.path().join(format!("nats-server_{}.ports", process.id()));
        let mut address = None;
        crate::wait_until("the server's port", || {
            let ended = process.try_wait().expect("the server's state can be read");
            assert!(ended.is_none(), "nats-server {options:?} ended: {ended:?}");
            let text = fs::read_to_string(&ports).unwrap_or_default();
            let ports: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            let url = ports["nats"][0].as_str();
            address = url.map(|url| url.trim_start_matches("nats://").to_owned());
            address.is_some()
        });
        let server = Self {
            process,
            folder,
            address: address.expect("it was waited for"),
        };
        let known = match *options {
            ["--auth", token] => ConnectOptions::with_token(token.to_owned()),
            [_, user, _, password] => ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned()),
            _ => panic!("{options:?}"),
        };
        let client = Client::connect_as(&server.url(""), known);
        client.make_insurance();
        client.publish(&of_case(&case("last-page/s3_20"))[..1]);
        server
    }

    fn url(&self, who: &str) -> String {
        format!("nats://{who}{}", self.address)
    }

    fn run(&self, who: &str, variables: &[(&str, &str)]) -> Run {
        let run = Run::new(self.folder.path(), &self.url(who), [pipeline("last-page")]);
        variables
            .iter()
            .fold(run, |run, (name, value)| run.with_variable(name, value))
    }

    #[track_caller]
    fn accepts(&self, who: &str, variables: &[(&str, &str)]) {
        let outcome = self.run(who, variables).catch_up().ends_with(0);
        assert!(!outcome.stderr.contains("s3cret"), "{}", outcome.stderr);
        assert_eq!(position(&self.folder.path().join("last-page.db"), "last-page"), 1);
    }

    #[track_caller]
    fn refuses(&self, who: &str, variables: &[(&str, &str)]) {
        let outcome = self.run(who, variables).catch_up().ends_with(1);
        let outcome = outcome
            .says(&format!("cannot connect to NATS at nats://{}", self.address))
            .says("authorization");
        assert!(!outcome.stderr.contains("wr0ng"), "{}", outcome.stderr);
        let advice = outcome.stderr.contains("start a server with");
        assert!(!advice, "a server that refuses is there:\n{}", outcome.stderr);
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The server's binary, as [`weir_tests::nats`] finds it.
fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("NATS_SERVER").filter(|path| !path.is_empty()) {
        return path.into();
    }
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&on_path).map(|folder| folder.join("nats-server"));
    let installed = workspace().join("target/nats-server/bin/nats-server");
    let found = on_path.chain([installed]).find(|path| path.is_file());
    found.expect("there is no nats-server; `cargo xtask setup` gets one, or NATS_SERVER names it")
}

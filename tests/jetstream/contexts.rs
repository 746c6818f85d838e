//! Contexts of the `nats` command, and passwords that are hard to hide.

use crate::{
    events::{case, of_case},
    process::{Run, position},
    server::Client,
};
use async_nats::ConnectOptions;
use std::fs;
use tempfile::TempDir;
use weir_tests::{command::Outcome, nats::NatsServer, pipeline, scratch};

/// It has all that splits URLs, lists and codes.
const PASSWORD: &str = "s3cr,et@x:%41/#? nats://y";

struct Setup {
    server: NatsServer,
    folder: TempDir,
}

impl Setup {
    #[track_caller]
    fn start() -> Self {
        let config = format!("authorization {{ user: weir, password: \"{PASSWORD}\" }}");
        let server = NatsServer::with_config(&config);
        let owner = ConnectOptions::with_user_and_password("weir".to_owned(), PASSWORD.to_owned());
        let client = Client::connect_as(&server.url(), owner);
        client.make_insurance();
        client.publish(&of_case(&case("last-page/s3_20"))[..1]);
        let folder = scratch();
        fs::create_dir_all(folder.path().join("nats/context")).expect("a folder can be made");
        Self { server, folder }
    }

    fn context(&self, name: &str, settings: &serde_json::Value) {
        let path = self.folder.path().join("nats/context").join(format!("{name}.json"));
        fs::write(path, settings.to_string()).expect("a file can be written");
    }

    fn select(&self, name: &str) {
        fs::write(self.folder.path().join("nats/context.txt"), name).expect("a file can be written");
    }

    fn run(&self, options: &[&str]) -> Run {
        let config = self.folder.path().display().to_string();
        Run::somewhere(self.folder.path(), [pipeline("last-page")])
            .with_variable("XDG_CONFIG_HOME", &config)
            .with(options)
    }

    #[track_caller]
    fn accepts(&self, options: &[&str]) -> Outcome {
        let outcome = self.ends_with(0, options);
        let database = self.folder.path().join("last-page.db");
        assert_eq!(position(&database, "last-page"), 1);
        fs::remove_file(database).expect("there is a database");
        outcome
    }

    #[track_caller]
    fn ends_with(&self, code: i32, options: &[&str]) -> Outcome {
        let outcome = self.run(options).catch_up().ends_with(code);
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        for secret in ["s3cr", "et@x", "%41", "wr0ng"] {
            assert!(!said.contains(secret), "{secret}: {said}");
        }
        outcome
    }
}

#[test]
fn a_context_of_the_nats_command_says_where_and_who() {
    let setup = Setup::start();
    let url = setup.server.url();
    let (user, password) = ("weir", PASSWORD);
    setup.context(
        "shop",
        &serde_json::json!({ "description": "the shop", "url": url, "user": user, "password": password }),
    );
    setup.context(
        "elsewhere",
        &serde_json::json!({ "url": "nats://127.0.0.1:1", "user": user, "password": password }),
    );
    setup.context(
        "wrong",
        &serde_json::json!({ "url": url, "user": user, "password": "wr0ng" }),
    );
    setup.context(
        "proxied",
        &serde_json::json!({ "url": url, "socks_proxy": "s3cr:1080" }),
    );

    setup.accepts(&["--nats-context", "shop"]);
    setup.accepts(&["--context", "shop"]);
    // What is given stands above the context.
    setup.accepts(&["--context", "elsewhere", "--nats", &url]);
    setup.accepts(&["--context", "wrong", "--user", user, "--password", password]);
    setup
        .ends_with(1, &["--context", "wrong"])
        .says("check the user and password");
    setup
        .ends_with(2, &["--context", "shpo"])
        .says("there is no nats context \"shpo\"")
        .says("there are elsewhere, proxied, shop, wrong");
    setup
        .ends_with(2, &["--context", "../shop"])
        .says("is no name of a nats context");
    setup
        .ends_with(2, &["--context", "proxied"])
        .says("has `socks_proxy`, which weir cannot use");
    let broken = setup.folder.path().join("nats/context/broken.json");
    fs::write(
        broken,
        format!("{{\"url\": \"{url}\",\n \"password\": \"s3cr\" \"et@x\"}}"),
    )
    .expect("a file can be written");
    setup.ends_with(2, &["--context", "broken"]).says("line 2, column");
}

#[test]
fn the_selected_context_is_used_where_no_server_is_named_and_that_is_said() {
    let setup = Setup::start();
    let url = setup.server.url();
    setup.context(
        "shop",
        &serde_json::json!({ "url": url, "user": "weir", "password": PASSWORD }),
    );
    setup.select("shop\n");
    let note = "connecting as the selected nats context \"shop\" says";
    setup.accepts(&[]).says(note);
    // A server that is named has nothing to do with it: not even the password goes there.
    let outcome = setup
        .ends_with(1, &["--nats", &url])
        .says("the server asks who is there");
    assert!(!outcome.stderr.contains(note), "{}", outcome.stderr);
    setup.select("gone");
    setup
        .ends_with(2, &[])
        .says("the selected nats context: there is no nats context \"gone\"");
}

#[test]
fn a_choice_of_a_context_that_cannot_be_read_is_no_reason_to_go_elsewhere() {
    let setup = Setup::start();
    let choice = setup.folder.path().join("nats/context.txt");
    let refused = |says: &str| {
        let outcome = setup.ends_with(2, &[]);
        outcome.says("nats/context.txt").says(says).says("a server with --nats");
    };
    fs::create_dir(&choice).expect("a folder can be made");
    refused("it is a folder; accepted is a file");
    fs::remove_dir(&choice).expect("the folder is empty");
    std::os::unix::fs::symlink("/dev/zero", &choice).expect("a link can be made");
    refused("accepted is a file");
    fs::remove_file(&choice).expect("there is a link");
    fs::write(&choice, [0xff]).expect("a file can be written");
    refused("is not valid UTF-8");
}

#[test]
fn a_password_that_splits_urls_is_taken_and_never_shown() {
    let setup = Setup::start();
    let host = setup.server.url().trim_start_matches("nats://").to_owned();
    let coded: String = PASSWORD.bytes().map(|byte| format!("%{byte:02x}")).collect();
    setup.accepts(&["--nats", &format!("nats://weir:{coded}@{host}")]);
    setup.accepts(&["--nats", &format!("nats://weir:{coded}@{host},{host}")]);
    setup.accepts(&["--nats", &host, "--user", "weir", "--password", PASSWORD]);
    for (code, url) in [
        // As it is, it cannot be read: its comma is in front of something that looks like another server's.
        (2, format!("nats://weir:{PASSWORD}@{host}")),
        (2, "nats://weir:s3cr,et@".to_owned()),
        (2, "nats://weir:s3cr,et".to_owned()),
        (1, format!("nats://weir:s3cr,et@{host}")),
        (1, format!("weir:s3cr%41@{host}")),
        (1, format!("s3cr,et@{host}")),
        (1, "nats://weir:s3cr,et@127.0.0.1:1".to_owned()),
        (1, "nats://weir:s3cr,et@no.such.host.invalid".to_owned()),
    ] {
        setup.ends_with(code, &["--nats", &url]).says("nats");
    }
}

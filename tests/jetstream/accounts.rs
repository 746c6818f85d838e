//! Accounts, permissions, nkeys and credentials: who may not do something is told what would mend it.

use crate::{
    events::{case, of_case},
    process::{Run, position},
    server::Client,
};
use async_nats::ConnectOptions;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use nkeys::KeyPair;
use sha2::{Digest, Sha256};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};
use tempfile::TempDir;
use weir_tests::{command::Outcome, nats::NatsServer, pipeline, scratch};

/// A server with one message in the stream of last-page, that `owner` put there.
struct Setup {
    server: NatsServer,
    folder: TempDir,
    /// How many runs there were: each has a folder of its own, so that they may run beside each other.
    runs: AtomicU32,
}

impl Setup {
    #[track_caller]
    fn start(config: &str, owner: ConnectOptions) -> Self {
        let server = NatsServer::with_config(config);
        let client = Client::connect_as(&server.url(), owner);
        client.make_insurance();
        client.publish(&of_case(&case("last-page/s3_20"))[..1]);
        Self {
            server,
            folder: scratch(),
            runs: AtomicU32::new(0),
        }
    }

    fn run(&self, folder: &Path, who: &str, options: &[&str]) -> Run {
        let url = self.server.url_of(who);
        let url = if who.is_empty() { self.server.url() } else { url };
        Run::new(folder, &url, [pipeline("last-page")]).with(options)
    }

    #[track_caller]
    fn accepts(&self, who: &str, options: &[&str]) {
        let folder = self.folder_of_run();
        self.run(&folder, who, options).catch_up().ends_with(0);
        assert_eq!(position(&folder.join("last-page.db"), "last-page"), 1);
    }

    #[track_caller]
    fn refuses(&self, code: i32, who: &str, options: &[&str]) -> Outcome {
        self.run(&self.folder_of_run(), who, options).catch_up().ends_with(code)
    }

    fn folder_of_run(&self) -> PathBuf {
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        let folder = self.folder.path().join(format!("run-{number}"));
        fs::create_dir(&folder).expect("a folder can be made");
        folder
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("a file can be written");
        path.display().to_string()
    }
}

/// Accounts with JetStream, without it, and one that reaches the first one's under a prefix.
const ACCOUNTS: &str = r#"
accounts {
  OWNER {
    jetstream: enabled
    users: [
      { user: owner, password: owner }
      { user: unheard, password: unheard, permissions: { subscribe: { allow: ["answers.>"] } } }
      { user: unasking, password: unasking, permissions: { publish: { deny: ["$JS.API.STREAM.INFO.>"] } } }
      { user: unmaking, password: unmaking, permissions: { publish: { deny: ["$JS.API.CONSUMER.CREATE.>"] } } }
      { user: unsaying, password: unsaying, permissions: { publish: { deny: ["$JS.API.INFO"] } } }
    ]
    exports: [
      { service: "$JS.API.>", response_type: stream }
      { service: "$JS.ACK.>" }
    ]
  }
  BARE { users: [ { user: bare, password: bare } ] }
  GUEST {
    users: [ { user: guest, password: guest } ]
    imports: [
      { service: { account: OWNER, subject: "$JS.API.>" }, to: "OWNED.API.>" }
      { service: { account: OWNER, subject: "$JS.ACK.>" } }
    ]
  }
}
"#;

fn as_owner() -> ConnectOptions {
    ConnectOptions::with_user_and_password("owner".to_owned(), "owner".to_owned())
}

#[test]
fn what_an_account_or_a_user_may_not_is_named_with_what_would_mend_it() {
    let setup = &Setup::start(ACCOUNTS, as_owner());
    at_once(&[
        &|| setup.accepts("owner:owner", &[]),
        &|| {
            let outcome = setup.refuses(1, "bare:bare", &[]);
            outcome
                .says("there is no JetStream for this account at nats://127.0.0.1")
                .says("use the credentials of an account that has it");
        },
        &|| {
            let outcome = setup.refuses(1, "unheard:unheard", &[]);
            outcome
                .says("this user may not subscribe to _INBOX.>")
                .says("--inbox-prefix");
        },
        &|| setup.accepts("unheard:unheard", &["--inbox-prefix", "answers."]),
        &|| {
            let outcome = setup.refuses(1, "unasking:unasking", &[]);
            outcome.says("this user may not publish to $JS.API.STREAM.INFO.INSURANCE");
        },
        &|| {
            let outcome = setup.refuses(1, "unmaking:unmaking", &[]);
            outcome.says("this user may not publish to $JS.API.CONSUMER.CREATE.INSURANCE");
        },
        // It need not be allowed to ask for the account.
        &|| setup.accepts("unsaying:unsaying", &[]),
    ]);
}

#[test]
fn a_stream_of_another_account_is_reached_under_a_prefix() {
    let setup = &Setup::start(ACCOUNTS, as_owner());
    at_once(&[
        &|| setup.accepts("guest:guest", &["--js-api-prefix", "OWNED.API"]),
        &|| {
            let outcome = setup.refuses(1, "guest:guest", &["--js-api-prefix", "OTHER.API."]);
            outcome
                .says("nothing answers under OTHER.API at")
                .says("as this account imports it");
        },
        &|| {
            let outcome = setup.refuses(2, "guest:guest", &["--js-api-prefix", "OWNED.*"]);
            outcome.says("--js-api-prefix is \"OWNED.*\"");
        },
    ]);
}

/// Makes checks beside each other: each waits for what a server never answers.
fn at_once(checks: &[&(dyn Fn() + Sync)]) {
    thread::scope(|scope| {
        for check in checks {
            scope.spawn(check);
        }
    });
}

#[test]
fn an_nkey_comes_from_a_file_and_no_seed_is_ever_shown() {
    let (known, other) = (KeyPair::new_user(), KeyPair::new_user());
    let (seed, other_seed) = (seed(&known), seed(&other));
    let config = format!("authorization {{ users: [ {{ nkey: {} }} ] }}", known.public_key());
    let setup = Setup::start(&config, ConnectOptions::with_nkey(seed.clone()));
    let right = setup.write("right.nk", &format!("# ours\n{seed}\n"));
    let wrong = setup.write("wrong.nk", &other_seed);
    let none = setup.write("none.nk", "SUBERB");
    setup.accepts("", &["--nkey", &right]);
    for (code, nkey, expected) in [
        (
            1,
            &wrong,
            format!("the server does not know the nkey {}", other.public_key()),
        ),
        (2, &none, "has no seed of a user's nkey".to_owned()),
        (2, &seed, "--nkey is a seed itself".to_owned()),
        (
            2,
            &"/nowhere/x.nk".to_owned(),
            "cannot read an nkey /nowhere/x.nk".to_owned(),
        ),
    ] {
        let outcome = setup.refuses(code, "", &["--nkey", nkey]).says(&expected);
        let said = outcome.stdout + &outcome.stderr;
        assert!(!said.contains(&seed) && !said.contains(&other_seed), "{said}");
    }
    setup.refuses(1, "", &[]).says("the server asks who is there");
}

#[test]
fn credentials_that_expired_or_were_revoked_are_told_apart() {
    let (operator, account) = (KeyPair::new_operator(), KeyPair::new_account());
    let (user, revoked, expired) = (KeyPair::new_user(), KeyPair::new_user(), KeyPair::new_user());
    let of_operator = jwt(
        &operator,
        &operator,
        "O",
        &serde_json::json!({ "type": "operator", "version": 2 }),
        None,
    );
    let limits = serde_json::json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
        "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
    });
    let of_account = jwt(
        &account,
        &operator,
        "A",
        &serde_json::json!({
            "limits": limits, "revocations": { revoked.public_key(): 4_000_000_000_i64 }, "type": "account", "version": 2,
        }),
        None,
    );
    // The server has an account of its own.
    let system = KeyPair::new_account();
    let of_system = jwt(
        &system,
        &operator,
        "SYS",
        &serde_json::json!({ "limits": { "subs": -1, "conn": -1 }, "type": "account", "version": 2 }),
        None,
    );
    let config = format!(
        "operator: {of_operator}\nresolver: MEMORY\nresolver_preload: {{ {}: {of_account}, {system}: {of_system} }}\nsystem_account: {system}\n",
        account.public_key(),
        system = system.public_key(),
    );
    let creds = |user: &KeyPair, expires| {
        let nats = serde_json::json!({ "subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2 });
        let jwt = jwt(user, &account, "weir", &nats, expires);
        format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n{}\n\
             ------END USER NKEY SEED------\n",
            seed(user)
        )
    };
    let good = creds(&user, None);
    let owner = ConnectOptions::with_credentials(&good).expect("they are credentials");
    let setup = Setup::start(&config, owner);
    let good = setup.write("good.creds", &good);
    let of_revoked = setup.write("revoked.creds", &creds(&revoked, None));
    let of_expired = setup.write("expired.creds", &creds(&expired, Some(1_700_000_000)));
    let none = setup.write("none.creds", "password = s3cret");
    setup.accepts("", &["--creds", &good]);
    setup.refuses(1, "", &["--creds", &of_revoked]).says(&format!(
        "the server does not take the credentials in {of_revoked}: they were revoked"
    ));
    setup.refuses(1, "", &["--creds", &of_expired]).says(&format!(
        "the credentials in {of_expired} expired at 2023-11-14T22:13:20Z"
    ));
    let outcome = setup
        .refuses(2, "", &["--creds", &none])
        .says("is no file of credentials");
    assert!(!outcome.stderr.contains("s3cret"), "{}", outcome.stderr);
    setup
        .refuses(2, "", &["--creds", "/nowhere/x.creds"])
        .says("cannot read credentials /nowhere/x.creds");
}

#[track_caller]
fn seed(pair: &KeyPair) -> String {
    pair.seed().expect("a new pair has a seed")
}

/// A token as the server reads it: claims of `subject`, signed by `issuer`.
#[track_caller]
fn jwt(subject: &KeyPair, issuer: &KeyPair, name: &str, nats: &serde_json::Value, expires: Option<i64>) -> String {
    let mut claims = serde_json::json!({
        "iat": 1_600_000_000, "iss": issuer.public_key(), "name": name, "sub": subject.public_key(), "nats": nats,
    });
    if let Some(expires) = expires {
        claims["exp"] = expires.into();
    }
    claims["jti"] = URL_SAFE_NO_PAD.encode(Sha256::digest(claims.to_string())).into();
    let header = serde_json::json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let encode = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let body = format!("{}.{}", encode(header), encode(claims));
    let signature = issuer.sign(body.as_bytes()).expect("a pair with a seed signs");
    format!("{body}.{}", URL_SAFE_NO_PAD.encode(signature))
}

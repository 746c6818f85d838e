//! The users of `docs/security/permissions.conf`: each does its work with them, and nothing else.

mod forbidden;
mod signed;

use crate::{
    DEADLINE,
    process::{Run, Running, position, weir},
    server::Client,
    wait_until,
};
use async_nats::ConnectOptions;
use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use weir_tests::{
    command::Outcome,
    guest,
    nats::NatsServer,
    scratch,
    seed::with_seed,
    swaps::{MALFORMED, payload},
    workspace,
};

/// The variable that has every line tried, and not one of each role.
const ALL: &str = "WEIR_ALL_PERMISSIONS";

/// What a server says to who may not do something.
const DENIED: &str = "ermissions Violation";

/// The roles whose lines are tried one by one. The events come from a producer, which is no Weir.
const ROLES: [&str; 5] = ["operator", "host", "deployer", "reader", "replayer"];

/// What came of it: what did not work, as somebody said it.
type Worked = Result<(), String>;

fn settings() -> String {
    let file = workspace().join("docs/security/permissions.conf");
    fs::read_to_string(file).expect("the settings are there")
}

/// A server with these settings, where an operator made streams and registry.
struct World {
    server: NatsServer,
    folder: TempDir,
    operator: Client,
    producer: Client,
}

impl World {
    /// The pipeline of the settings, with these names.
    fn pipeline(name: &str) -> String {
        format!(
            r#"
name = "{name}"
source = {{ stream = "ORDERS", subject = "orders", columns = {{ n = "int", k = "text" }} }}
dead_letters = {{ subject = "dead.large-orders" }}

[[step]]
name = "large-orders"
stage = {{ module = "{}", parameters = {{ malformed = {MALFORMED} }}, limits = {{ deadline_ms = 50 }}, trial = {{ rows = 20 }} }}

[[step]]
name = "by-key"
from = "large-orders"
aggregate = {{ group_by = ["k"], columns = {{ events = {{ count = "*" }} }} }}

[[sink]]
from = "by-key"
table = "by_key"
primary_key = ["k"]

[[sink]]
from = "large-orders"
subject = "alerts.large-orders"
"#,
            guest("versions").display()
        )
    }

    fn new(settings: &str) -> Result<Self, String> {
        let passwords: String = ROLES
            .iter()
            .chain(&["producer"])
            .map(|role| format!("{}_PASSWORD: {}\n", role.to_ascii_uppercase(), password(role)))
            .collect();
        let server = NatsServer::with_config(&format!("{passwords}{settings}"));
        let folder = scratch();
        for name in ["large-orders", "other"] {
            fs::write(folder.path().join(name).with_extension("toml"), Self::pipeline(name))
                .expect("a pipeline file can be written");
        }
        let connect = |role: &str| Client::connect_as(&server.url(), credentials(role));
        let world = Self {
            operator: connect("operator"),
            producer: connect("producer"),
            server,
            folder,
        };
        for (name, subjects) in [("ORDERS", &["orders"][..]), ("ALERTS", &["alerts.>", "dead.>"])] {
            let config = async_nats::jetstream::stream::Config {
                name: name.to_owned(),
                subjects: subjects.iter().copied().map(str::to_owned).collect(),
                ..Default::default()
            };
            if !world.operator.try_make(config) {
                return Err(format!("the operator cannot make stream {name}"));
            }
        }
        world.works("operator", "registry make")?;
        Ok(world)
    }

    /// What connects a role.
    fn options(&self, role: &str) -> [String; 4] {
        let url = self.server.url_of(&format!("{role}:{}", password(role)));
        [
            "--nats".to_owned(),
            url,
            "--inbox-prefix".to_owned(),
            format!("_INBOX_{role}"),
        ]
    }

    /// Runs a command line under a role. `{versions}` stands for that module.
    fn weir(&self, role: &str, line: &str) -> Outcome {
        let line = line.replace("{versions}", &guest("versions").display().to_string());
        let arguments = line.split_whitespace().map(str::to_owned).chain(self.options(role));
        weir().run_in(self.folder.path(), arguments)
    }

    /// Checks that a command works under a role, without a denial.
    fn works(&self, role: &str, line: &str) -> Result<Outcome, String> {
        worked(&format!("{role}: weir {line}"), self.weir(role, line))
    }

    fn run(&self) -> Run {
        let [_, url, option, prefix] = self.options("host");
        Run::new(self.folder.path(), &url, ["large-orders.toml"]).with([option, prefix])
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("large-orders.db")
    }

    fn publish(&self, first: u64, last: u64) {
        let events: Vec<_> = (first..=last).map(|n| ("orders", payload(n).into_bytes())).collect();
        assert_eq!(self.producer.publish(&events), last, "numbers are sequences");
    }

    /// Waits for something, as long as the host runs and nothing is denied to it.
    fn until(&self, host: &mut Running, what: &str, mut condition: impl FnMut(&str) -> bool) -> Worked {
        let begun = Instant::now();
        loop {
            let said = host.said();
            if said.contains(DENIED) || host.has_ended() || begun.elapsed() > DEADLINE {
                return Err(format!("waiting for {what}: {said}"));
            }
            if condition(&said) {
                return Ok(());
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// A host that has processed a hundred events.
    fn start(&self) -> Result<Running, String> {
        let mut host = self.run().start();
        self.until(&mut host, "the start", |said| said.contains("from sequence"))?;
        self.publish(1, 100);
        self.until(&mut host, "events", |_| self.is_at(100))?;
        Ok(host)
    }

    fn is_at(&self, sequence: u64) -> bool {
        self.database().exists() && position(&self.database(), "large-orders") >= sequence
    }

    /// Deploys a version, and lets it pass its trial over the next hundred events.
    fn deploy(&self, host: &mut Running) -> Worked {
        let deploy = "deploy large-orders.toml large-orders {versions} --param label=1 --param malformed=97";
        self.works("deployer", deploy)?;
        self.publish(101, 200);
        self.until(host, "events", |_| self.is_at(200))?;
        let begun = Instant::now();
        loop {
            let history = self.works("deployer", "history large-orders.toml large-orders")?;
            if history.stdout.contains("passed its trial") {
                return Ok(());
            }
            if host.said().contains(DENIED) || begun.elapsed() > DEADLINE {
                return Err(format!("no word of the trial: {}{}", history.stdout, host.said()));
            }
        }
    }

    fn end(&self, host: Running) -> Worked {
        worked("host: weir run", host.interrupt()).map(drop)
    }
}

/// Weir hides passwords in whatever it says, so this is no part of any name.
fn password(role: &str) -> String {
    format!("s3cret-of-{role}")
}

fn credentials(role: &str) -> ConnectOptions {
    ConnectOptions::with_user_and_password(role.to_owned(), password(role))
        .custom_inbox_prefix(format!("_INBOX_{role}"))
}

fn worked(what: &str, outcome: Outcome) -> Result<Outcome, String> {
    match outcome.code == 0 && !outcome.stderr.contains(DENIED) {
        true => Ok(outcome),
        false => Err(format!(
            "{what}: exit code {}: {}{}",
            outcome.code, outcome.stdout, outcome.stderr
        )),
    }
}

/// All that a role does.
fn work(role: &str, settings: &str) -> Worked {
    let world = World::new(settings)?;
    match role {
        "operator" => operate(&world),
        "host" => run(&world),
        "deployer" => deploy(&world),
        "reader" => read(&world),
        "replayer" => replay(&world),
        role => panic!("{role} is no role"),
    }
}

fn operate(world: &World) -> Worked {
    let mut host = world.start()?;
    world.deploy(&mut host)?;
    world.end(host)?;
    for stream in ["KV_weir-deployments", "OBJ_weir-modules"] {
        world.operator.delete_stream(stream);
    }
    let restored = world.works("operator", "registry restore large-orders.db")?.stdout;
    match restored.contains("1 of 1 versions put back") {
        true => Ok(()),
        false => Err(restored),
    }
}

fn run(world: &World) -> Worked {
    let mut host = world.start()?;
    let status = world.works("reader", "status")?.stdout;
    if !status.contains("large-orders at ") {
        return Err(format!("the host is not seen: {status}"));
    }
    world.deploy(&mut host)?;
    world.end(host)?;
    // It dies with messages that the stream has and that it does not know to be there.
    let mut host = world.run().with_variable("WEIR_FAIL_POINTS", "after-publish=1").start();
    world.publish(201, 300);
    wait_until("the death of the host", || host.has_ended());
    host.kill_or_see_dead();
    worked("host: weir run", world.run().catch_up())?;
    let counts = [("alerts.large-orders", 297), ("dead.large-orders", 3)];
    for (subject, expected) in counts {
        let found = world.operator.count_of("ALERTS", subject);
        if found != expected {
            return Err(format!("{found} messages of {subject}, and not {expected}"));
        }
    }
    Ok(())
}

fn deploy(world: &World) -> Worked {
    let mut host = world.start()?;
    world.deploy(&mut host)?;
    for line in [
        "params set large-orders.toml large-orders label=2",
        "rollback large-orders.toml large-orders --to 1",
        "shadow start large-orders.toml large-orders {versions} --param label=3",
        "shadow report large-orders.toml large-orders",
        "shadow promote large-orders.toml large-orders",
        "shadow start large-orders.toml large-orders {versions} --param label=4",
        "shadow stop large-orders.toml large-orders",
        "undeploy large-orders.toml large-orders",
        "status",
        "check large-orders.toml",
    ] {
        world.works("deployer", line)?;
    }
    world.end(host)
}

fn read(world: &World) -> Worked {
    let mut host = world.start()?;
    world.deploy(&mut host)?;
    world.works(
        "deployer",
        "shadow start large-orders.toml large-orders {versions} --param label=3",
    )?;
    for (line, expected) in [
        ("status", "large-orders at "),
        ("history large-orders.toml large-orders", "passed its trial"),
        ("shadow report large-orders.toml large-orders", "beside version 1"),
        ("check large-orders.toml", "large-orders"),
    ] {
        let shown = world.works("reader", line)?.stdout;
        if !shown.contains(expected) {
            return Err(format!("reader: weir {line}: {shown}"));
        }
    }
    world.end(host)
}

fn replay(world: &World) -> Worked {
    let host = world.start()?;
    world.end(host)?;
    world.works("replayer", "replay large-orders.toml --from-stream --database whole.db")?;
    world.works(
        "replayer",
        "replay large-orders.toml --from-stream --from 2020-01-01T00:00:00Z --discard",
    )?;
    let explained = world
        .works("replayer", "explain large-orders.db by_key k=3 --payloads")?
        .stdout;
    match explained.contains("\"k\": \"3\"") {
        true => {}
        false => return Err(explained),
    }
    let compared = weir().run_in(world.folder.path(), ["diff", "large-orders.db", "whole.db"]);
    worked("diff", compared).map(drop)
}

#[test]
fn an_operator_makes_the_registry_and_puts_it_back() {
    work("operator", &settings()).expect("it works");
}

#[test]
fn a_host_runs_takes_deployments_and_publishes_after_a_crash() {
    work("host", &settings()).expect("it works");
}

#[test]
fn a_deployer_deploys_takes_back_and_tries_in_the_shadow() {
    work("deployer", &settings()).expect("it works");
}

#[test]
fn a_reader_sees_what_runs() {
    work("reader", &settings()).expect("it works");
}

#[test]
fn a_replayer_reads_events() {
    work("replayer", &settings()).expect("it works");
}

/// The lines of the settings that give a permission, by number, with the role that they are of.
fn lines(settings: &str) -> Vec<(usize, &'static str)> {
    let mut role = None;
    let mut lines = Vec::new();
    for (number, line) in settings.lines().enumerate() {
        let line = line.trim();
        if let Some(user) = line.strip_prefix("user: ") {
            role = ROLES.into_iter().find(|role| *role == user);
        }
        if let Some(role) = role.filter(|_| line.starts_with('"')) {
            lines.push((number, role));
        }
    }
    lines
}

/// The settings without one line. In its place there is a subject that nobody uses: without any, all would be allowed.
fn without(settings: &str, left_out: usize) -> String {
    let lines = settings.lines().enumerate();
    lines
        .map(|(number, line)| {
            if number == left_out {
                "\"nothing\"\n".to_owned()
            } else {
                format!("{line}\n")
            }
        })
        .collect()
}

#[test]
fn no_line_can_be_left_out() {
    let settings = settings();
    let mut tried = lines(&settings);
    assert!(tried.len() > 50, "{tried:?}");
    if std::env::var_os(ALL).is_none() {
        tried = with_seed(|random| {
            let of = |role: &str| tried.iter().copied().filter(|line| line.1 == role).collect::<Vec<_>>();
            let of_roles = ROLES.into_iter().map(of);
            of_roles.map(|lines| lines[random.below(lines.len())]).collect()
        });
    }
    let needless: Vec<_> = tried
        .into_iter()
        .filter(|(number, role)| {
            let line = settings.lines().nth(*number).unwrap_or_default().trim();
            let worked = work(role, &without(&settings, *number));
            // The denial, or where nobody was left to hear of it what did not work.
            let why = worked.as_ref().err().map_or("nothing failed", |why| {
                let denial = why.lines().find(|line| line.contains(DENIED));
                denial.or_else(|| why.lines().next()).unwrap_or_default()
            });
            println!("{role} without {line}: {why}");
            worked.is_ok()
        })
        .map(|(number, role)| (role, settings.lines().nth(number).unwrap_or_default().trim().to_owned()))
        .collect();
    assert!(needless.is_empty(), "nothing needs {needless:?}");
}

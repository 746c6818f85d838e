//! `weir dev`: a rule is changed, broken and mended while its pipeline runs.

use crate::{
    process::{Run, Running, weir},
    server::Client,
};
use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};
use weir_tests::{nats::NatsServer, table::query};

/// What stands at the end of each round.
const WAITS: &str = "\nwatching ";

/// A `weir dev`, round by round.
struct Dev {
    running: Running,
    seen: usize,
}

impl Dev {
    #[track_caller]
    fn start(run: Run) -> Self {
        let running = run.start();
        Self { running, seen: 0 }
    }

    /// What it shows until it waits again.
    #[track_caller]
    fn round(&mut self) -> String {
        let shown = self.running.wait_for_shown(self.seen, WAITS);
        let end = shown.find(WAITS).expect("it was waited for") + WAITS.len();
        self.seen += end;
        shown[..end].to_owned()
    }

    /// What it shows of a save.
    #[track_caller]
    fn save(&mut self, file: &Path, from: &str, to: &str) -> String {
        let text = fs::read_to_string(file).expect("the file can be read");
        assert!(text.contains(from), "{from:?} is in {}", file.display());
        fs::write(file, text.replacen(from, to, 1)).expect("the file can be written");
        self.round()
    }
}

#[track_caller]
fn check(shown: &str, parts: &[&str]) {
    let mut rest = shown;
    for part in parts {
        let at = rest.find(part);
        let at = at.unwrap_or_else(|| panic!("{part:?} is not there, or not in its place, in\n{shown}"));
        rest = &rest[at + part.len()..];
    }
}

/// A new rule that was built, in a folder that is the test's until this is dropped.
pub(crate) struct NewRule {
    place: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl NewRule {
    /// The folder that the rule's is in.
    pub(crate) fn place(&self) -> &Path {
        &self.place
    }

    /// The folder of the rule.
    fn folder(&self) -> PathBuf {
        self.place.join(RULE)
    }
}

/// The name of the rule.
const RULE: &str = "large-orders";

/// Makes a new rule, and builds it.
///
/// All that a rule stands on is built anew for every path that the rule has, which takes as long as many a test. So the
/// tests take turns in one folder, and what cargo made there stays for the next, and for the next run of the tests.
#[track_caller]
pub(crate) fn new_rule() -> NewRule {
    static TURNS: Mutex<()> = Mutex::new(());
    let turn = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    let rules = Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-rule");
    let (place, kept) = (rules.join("place"), rules.join("target"));
    let target = place.join(RULE).join("target");
    if target.exists() {
        let _ = fs::remove_dir_all(&kept);
        fs::rename(&target, &kept).expect("a folder can be moved");
    }
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place).expect("a folder can be made");
    let run = |arguments: &[&str]| {
        let offline = [("CARGO_NET_OFFLINE", "true")];
        weir().run_in_with(&place, arguments, &offline).ends_with(0)
    };
    run(&["new", RULE, "--alone"]);
    if kept.exists() {
        fs::rename(&kept, &target).expect("a folder can be moved");
    }
    run(&["build", RULE]);
    NewRule { place, _turn: turn }
}

/// One rule for both, since the first build takes long.
#[test]
fn a_rule_is_written_while_its_pipeline_runs() {
    let made = new_rule();
    let (place, rule) = (made.place(), made.folder());
    let pipeline = fs::read(rule.join("pipeline.toml")).unwrap();
    events_that_come_meet_the_new_version(place, &rule);
    fs::write(rule.join("pipeline.toml"), &pipeline).unwrap();
    cases_of_several_inputs_are_published(place, &rule);
    fs::write(rule.join("pipeline.toml"), pipeline).unwrap();
    it_is_changed_broken_and_mended(place, &rule);
}

/// With a server of its own.
fn it_is_changed_broken_and_mended(folder: &Path, rule: &Path) {
    let (source, pipeline) = (rule.join("src/lib.rs"), rule.join("pipeline.toml"));
    let expected = rule.join("cases/first/expected.jsonl");
    // Who writes a rule needs nobody's key to try it: the session has one of its own.
    let text = fs::read_to_string(&pipeline).expect("the file can be read");
    let trusted = weir::trust::Key::for_now();
    let trust = format!("trust = {{ keys = [\"{}\"], require = true }}\n", trusted.public());
    fs::write(&pipeline, trust + &text).expect("the file can be written");

    // Once, from nothing to the tables.
    let once = || Run::dev(folder, "large-orders").with(["--once"]).start().end();
    let outcome = once().ends_with(0);
    let tables = [
        "1 case: 1 passed\n",
        ", subject orders, with 5 events published\n",
        "the tables after 5 events:\n",
        "large_orders by customer: + 2 added, 0 the same\n",
        "  + customer \"ann\": orders 2, total 4200.5\n",
        "  + customer \"bob\": orders 1, total 1000.0\n",
        "dead letters: + 1 added, 0 the same\n",
    ];
    check(&outcome.stdout, &tables);
    assert!(!outcome.stdout.contains('\u{1b}'), "{:?}", outcome.stdout);

    let mut dev = Dev::start(Run::dev(folder, "large-orders"));
    let first = dev.round();
    check(&first, &tables);
    let server = first
        .split_once("stream ORDERS at nats://")
        .expect("the server is named")
        .1;
    let server = server.split_once(',').expect("the subject follows").0.to_owned();
    TcpStream::connect(&server).expect("the server runs");

    // Another rule: its case fails, so that it stays out, and what it would do is shown.
    let bob = [
        "large_orders by customer: - 1 removed, 1 the same\n",
        "  - customer \"bob\": orders 1, total 1000.0\n",
        "dead letters: 1 the same\n",
    ];
    let round = dev.save(&source, "amount >= settings.threshold", "amount > settings.threshold");
    check(
        &round,
        &[
            "saved src/lib.rs\n",
            "FAIL     first",
            "not in force, because a case fails",
        ],
    );
    check(&round, &bob);
    assert!(!round.contains("deployed"), "{round}");

    // It was meant: the case is changed too, and the version comes into force.
    let round = dev.save(
        &expected,
        "{\"customer\": \"bob\", \"orders\": 1, \"total\": 1000.0}\n",
        "",
    );
    check(
        &round,
        &[
            "saved cases/first/expected.jsonl\n",
            "1 case: 1 passed\n",
            "deployed version 1 of step large-orders of pipeline large-orders: module ",
            "\n  signed by this-session (U",
            ": in force from sequence 6",
            " after the save (build ",
            "what this version makes of all 5 events, in place of the one before:\n",
        ],
    );
    check(&round, &bob);

    // What cannot be built leaves it in force, and so does a pipeline that makes no sense.
    let round = dev.save(&source, "let Some(amount)", "let Soe(amount)");
    check(&round, &["not in force: the version before it runs on\n"]);
    let said = dev.running.said();
    check(
        &said,
        &["let Soe(amount)", "weir: package large-orders cannot be built: "],
    );
    let round = dev.save(&source, "let Soe(amount)", "let Some(amount)");
    check(
        &round,
        &[
            "1 case: 1 passed\n",
            "the same component and parameters: nothing to swap\n",
        ],
    );
    let round = dev.save(&pipeline, "group_by = [\"customer\"]", "group_by = [\"costumer\"]");
    check(&round, &["not in force: the version before it runs on\n"]);
    check(&dev.running.said(), &["there is no column \"costumer\""]);
    dev.save(&pipeline, "costumer", "customer");

    // Another pipeline begins anew, over the same stream.
    let round = dev.save(
        &pipeline,
        "orders = { count = \"*\" }",
        "orders = { count = \"*\" }\nmost = { max = \"amount\" }",
    );
    check(&round, &["not in force, because a case fails", "+ columns most REAL"]);
    let round = dev.save(&expected, "\"orders\": 2,", "\"orders\": 2, \"most\": 3000.0,");
    check(
        &round,
        &["1 case: 1 passed\n", "pipeline large-orders runs, into ", "in force "],
    );

    dev.running.interrupt().ends_with(0).says("draining");
    assert!(TcpStream::connect(&server).is_err(), "the server has ended");
    let left = fs::read_dir(folder.join("tmp")).unwrap().count();
    assert_eq!(left, 0, "nothing is left in the folder for what is kept for a time");

    // A case that fails is the exit code of a single run.
    fs::write(&expected, "").unwrap();
    let outcome = once().ends_with(1);
    check(
        &outcome.stdout,
        &["FAIL     first", "nothing runs yet", "the tables after 5 events:\n"],
    );
}

/// Each event on the subject that its line says; a line that says none is told, and goes nowhere.
fn cases_of_several_inputs_are_published(folder: &Path, rule: &Path) {
    let (pipeline, case) = (rule.join("pipeline.toml"), rule.join("cases/first"));
    let change = |file: &Path, to: &dyn Fn(String) -> String| {
        let text = fs::read_to_string(file).expect("the file can be read");
        fs::write(file, to(text.clone())).expect("the file can be written");
        text
    };
    change(&pipeline, &|text| {
        let text = text.replace(
            "subject = \"orders\"\n\n[source.columns]\n",
            "[source.input.returns]\nsubject = \"returned.*\"\ncolumns = { order_no = \"text\" }\n\n\
             [source.input.orders]\nsubject = \"orders\"\n[source.input.orders.columns]\n",
        );
        let text = text.replace(
            "name = \"large-orders\"\n[step",
            "name = \"large-orders\"\nfrom = \"orders\"\n[step",
        );
        text + "\n[[sink]]\nfrom = \"returns\"\nsubject = \"out.returns\"\n"
    });
    let input = change(&case.join("input.jsonl"), &|text| {
        let lines = text
            .lines()
            .map(|line| format!("{{\"subject\": \"orders\", \"payload\": {line}}}\n"));
        let returned = "{\"subject\": \"returned.late\", \"payload\": {\"order_no\": \"3\"}}\n";
        lines.collect::<String>() + returned + "{\"subject\": \"returned\", \"payload\": {}}\n\n"
    });
    let letters = change(&case.join("dead_letters.jsonl"), &|text| text + "{\"sequence\": 7}\n");
    let outcome = Run::dev(folder, "large-orders").with(["--once"]).start().end();
    let outcome = outcome.ends_with(0);
    check(
        &outcome.stdout,
        &[
            "first  8 events, 2 dead letters",
            ", subjects orders, returned.*, with 6 events published\n",
            "the tables after 6 events:\n",
            "  + customer \"ann\": orders 2, total 4200.5\n",
        ],
    );
    let stray = "input.jsonl:7 is not published: the line: the subject \"returned\" is that of no input";
    check(&outcome.stderr, &[stray]);
    fs::write(case.join("input.jsonl"), input).expect("the file can be written");
    fs::write(case.join("dead_letters.jsonl"), letters).expect("the file can be written");
}

/// At a server that is there.
fn events_that_come_meet_the_new_version(folder: &Path, rule: &Path) {
    let server = NatsServer::start();
    let client = Client::connect(&server.url());
    let run = || Run::dev(folder, "large-orders").with(["--nats", &server.url()]);
    let mut dev = Dev::start(run().with(["--database", "kept.db", "--keep-going"]));
    check(
        &dev.round(),
        &[
            "with 5 events published\n",
            "pipeline large-orders runs, into kept.db\n",
        ],
    );

    let outcome = run().start().end().ends_with(2);
    check(&outcome.stderr, &["pipeline large-orders runs already, at "]);

    // The case fails, and is told to be no obstacle.
    let round = dev.save(&rule.join("pipeline.toml"), "threshold = 1000", "threshold = 50");
    check(
        &round,
        &[
            "saved pipeline.toml\n",
            "FAIL     first",
            "deployed version 1 ",
            " with threshold = 50\n",
            "  ~ customer \"bob\"\n      orders  1       →  2\n      total   1000.0  →  1080.0\n",
        ],
    );
    let last = client.publish(&[("orders", r#"{"order_no": "6", "customer": "dan", "amount": 60}"#.into())]);
    let database = folder.join("kept.db");
    dev.running.wait_for_position(&database, "large-orders", last);
    let rows = "SELECT customer || ' ' || orders || ' ' || total FROM large_orders ORDER BY 1";
    // The events before it were decided by the version before it.
    assert_eq!(query(&database, rows), ["ann 2 4200.5", "bob 1 1000.0", "dan 1 60.0"]);
    let round = dev.save(&rule.join("pipeline.toml"), "threshold = 50", "threshold = 70");
    check(
        &round,
        &["makes of all 6 events", "  - customer \"dan\": orders 1, total 60.0\n"],
    );
    dev.running.interrupt().ends_with(0);
    assert_eq!(query(&database, rows).len(), 3, "the database is kept");

    // The stream is there already, and gets no second copy of the cases.
    let outcome = run().with(["--once", "--keep-going"]).start().end().ends_with(1);
    check(&outcome.stdout, &[", as it is\n", "the tables after 6 events:\n"]);
}

/// In a project one pipeline is written at a time; what it shares with others is watched as well.
#[test]
fn a_pipeline_of_a_project_is_written() {
    let folder = weir_tests::scratch();
    let shop = folder.path().join("shop");
    let write = |file: &str, text: &str| {
        let path = shop.join(file);
        fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder can be made");
        fs::write(path, text).expect("a file can be written");
    };
    write(
        "weir.toml",
        "[source.orders]\nstream = \"SHOP\"\nsubject = \"orders\"\ncolumns = { customer = \"text\", amount = \"int\" }\n",
    );
    for (name, function) in [("total", "sum"), ("largest", "max")] {
        write(
            &format!("pipelines/{name}.toml"),
            &format!(
                "name = \"{name}\"\nsource = \"orders\"\n[[step]]\nname = \"by-customer\"\n\
                 aggregate = {{ group_by = [\"customer\"], columns = {{ {name} = {{ {function} = \"amount\" }} }} }}\n\
                 [[sink]]\ntable = \"{name}\"\nprimary_key = [\"customer\"]\n"
            ),
        );
        write(
            &format!("cases/{name}/first/input.jsonl"),
            "{\"customer\": \"ann\", \"amount\": 3}\n{\"customer\": \"ann\", \"amount\": 2}\n",
        );
    }
    write(
        "cases/total/first/expected.jsonl",
        "{\"customer\": \"ann\", \"total\": 5}\n",
    );
    let mut dev = Dev::start(Run::dev(folder.path(), "shop").with(["--pipeline", "total"]));
    check(
        &dev.round(),
        &[
            "ok       total/first  2 events, 0 dead letters\n",
            "with 2 events published\n",
            "pipeline total runs, into ",
            "  + customer \"ann\": total 5\n",
        ],
    );
    let round = dev.save(&shop.join("weir.toml"), "amount = \"int\"", "amount = \"double\"");
    check(
        &round,
        &["saved weir.toml\n", "1 case: 1 passed\n", "pipeline total runs, into "],
    );
    // A remark makes no other pipeline.
    let round = dev.save(
        &shop.join("pipelines/total.toml"),
        "name = \"total\"",
        "# All of it.\nname = \"total\"",
    );
    check(&round, &["saved pipelines/total.toml\n", "nothing to swap\n"]);
    dev.running.interrupt().ends_with(0);
}

//! Keys that are due and still there: so many went at one event that some were left for later, or a start made the
//! time-to-live shorter. For whatever comes they are gone.

use crate::weir;
use serde_json::json;
use std::{collections::BTreeMap, fs, path::Path, sync::Arc};
use weir::{
    definition::File,
    engine::Engine,
    format::Decoder,
    plan::Plan,
    storage::{Messages, Storage},
};
use weir_tests::stored::read_lineage;
use weir_tests::{
    replay::{hold, host},
    scratch,
    table::query,
};

/// Two steps that nothing but tables read.
const PIPELINE: &str = r#"
    name = "p"
    event_time = { column = "t", out_of_orderness = "0 ms" }
    [source]
    stream = "S"
    subject = "s"
    columns = { t = "int", id = "int", x = "int" }
    [[step]]
    name = "latest"
    last_value = { key = ["id"], columns = ["t", "x"], ttl = "1 s" }
    [[sink]]
    table = "latest"
    primary_key = ["id"]
    [[step]]
    name = "totals"
    from = "source"
    aggregate = { group_by = ["id"], columns = { total = { sum = "x" }, most = { max = "x" } }, ttl = "1 s" }
    [[sink]]
    table = "totals"
    primary_key = ["id"]
"#;

/// Rows that go from both are told.
const GONE: &str = r#"
    [[step]]
    name = "latest-gone"
    from = "latest"
    on_crossing = {}
    unread = true
    [[sink]]
    from = "latest-gone.cleared"
    table = "latest_gone"
    columns = ["id", "x"]
    [[step]]
    name = "totals-gone"
    from = "totals"
    on_crossing = {}
    unread = true
    [[sink]]
    from = "totals-gone.cleared"
    table = "totals_gone"
    columns = ["id", "total"]
"#;

fn event(t: u64, id: u64, x: Option<u64>) -> String {
    json!({ "t": t, "id": id, "x": x }).to_string() + "\n"
}

/// What runs between two crashes. No step forgets more than three keys at once.
struct Process {
    plan: Arc<Plan>,
    database: Box<dyn Storage>,
    engine: Engine,
}

impl Process {
    fn start(pipeline: &str, path: &Path) -> Self {
        let plan = Plan::build(&File::from_text("p.toml", pipeline), host()).expect("the pipeline is fine");
        let plan = Arc::new(plan);
        let hold = hold(path).expect("nobody else holds the database");
        let mut database = hold.open(plan.clone(), Messages::Drop).expect("it can be opened");
        database.claim("a test").expect("it is the test's");
        let mut engine = Engine::new(plan.clone(), host(), database.stored().seed).expect("the plan can run");
        engine.set_forgotten_at_once(3);
        database.load(&mut engine).expect("the state can be read");
        engine
            .begin(database.stored().position, &[])
            .expect("nothing took over");
        Self { plan, database, engine }
    }

    fn process(&mut self, lines: &[String]) {
        let first = self.database.stored().position + 1;
        let mut decoder = Decoder::of(&self.plan, 4096).expect("the columns are fine");
        for (sequence, line) in (first..).zip(lines) {
            decoder.push(sequence, None, line.as_bytes());
        }
        self.engine.process(decoder.take()).expect("no invariant breaks");
    }

    fn commit(&mut self) {
        let number = self.database.stored().turn + 1;
        let turn = self.engine.take_turn(number).expect("no invariant breaks");
        self.database.commit(turn).expect("the turn can be written");
    }
}

#[test]
fn keys_that_are_left_for_later_are_gone_for_what_comes_after_a_restart_too() {
    const KEYS: u64 = 10;
    let folder = scratch();
    let path = folder.path().join("p.db");
    let ids = |table: &str| query(&path, &format!("SELECT CAST(id AS TEXT) FROM {table} ORDER BY id")).join(" ");

    let mut process = Process::start(PIPELINE, &path);
    let mut lines: Vec<String> = (0..KEYS).map(|id| event(1_000, id, Some(5))).collect();
    lines.push(event(2_000, 100, Some(7)));
    process.process(&lines);
    assert!(process.engine.has_due());
    process.commit();
    assert_eq!(
        [ids("latest"), ids("totals")],
        ["3 4 5 6 7 8 9 100"; 2],
        "three are gone"
    );
    drop(process);

    let mut process = Process::start(PIPELINE, &path);
    assert!(process.engine.has_due(), "what was left is due still");
    process.engine.forget_due();
    process.commit();
    assert_eq!([ids("latest"), ids("totals")], ["6 7 8 9 100"; 2], "three more");
    let stored = process.database.stored().clone();
    assert_eq!((stored.position, stored.counts.events), (KEYS + 1, KEYS + 1));
    // Key 9 comes anew, without a value of its own, while its last life is still there.
    process.process(&[event(2_000, 9, None)]);
    while process.engine.has_due() {
        process.engine.forget_due();
        process.commit();
    }
    assert_eq!(process.database.stored().turn, 4);
    assert!(!process.engine.has_turn());
    let rows = |table: &str, columns: &str| query(&path, &format!("SELECT concat({columns}) FROM {table} ORDER BY id"));
    assert_eq!(rows("latest", "id, ' ', t, ' ', x"), ["9 2000 ", "100 2000 7"]);
    assert_eq!(rows("totals", "id, ' ', total, ' ', most"), ["9  ", "100 7 7"]);
    let sizes: BTreeMap<String, usize> = process.engine.state_sizes().into_iter().collect();
    assert_eq!((sizes["latest/rows"], sizes["latest/touched"]), (2, 2));
    assert_eq!((sizes["totals/groups"], sizes["totals/touched"]), (2, 2));
    let traced = |id: &str| {
        let key = [("id".to_owned(), Some(id.to_owned()))];
        read_lineage(&path, "latest", &key).expect("it can be read").sequences
    };
    assert_eq!(
        traced("0"),
        [1, KEYS + 1],
        "it goes for the event that moved the watermark"
    );
    assert_eq!(traced("5"), [6, KEYS + 1], "after a start too");
    assert_eq!(traced("9"), [10, KEYS + 2]);
}

/// Steps read what goes.
#[test]
fn keys_that_a_shorter_time_to_live_makes_due_are_gone_for_what_comes() {
    let folder = scratch();
    let path = folder.path().join("p.db");
    let pipeline = format!("{PIPELINE}{GONE}");
    let gone = |table: &str, value: &str| {
        let rows = format!("SELECT concat(id, ' ', {value}) FROM {table} ORDER BY rowid");
        query(&path, &rows)
    };
    let mut process = Process::start(&pipeline, &path);
    let mut lines: Vec<String> = (0..10).map(|id| event(1_000, id, Some(5))).collect();
    lines.push(event(1_500, 100, Some(7)));
    process.process(&lines);
    process.commit();
    assert_eq!(gone("latest_gone", "x"), [""; 0]);
    drop(process);

    let mut process = Process::start(&pipeline.replace("1 s", "100 ms"), &path);
    assert!(
        !process.engine.has_due(),
        "steps read what goes, so nothing is left for later"
    );
    process.engine.forget_due();
    assert!(!process.engine.has_turn(), "nothing goes but by an event");
    // It moves nothing. What is told behind is what an event leaves: key 8 goes and comes.
    process.process(&[event(1_500, 8, None)]);
    process.commit();
    let rows =
        |table: &str, columns: &str| query(&path, &format!("SELECT concat({columns}) FROM {table} WHERE id = 8"));
    assert_eq!(rows("latest", "t, ' ', x"), ["1500 "]);
    assert_eq!(rows("totals", "total, ' ', most"), [" "], "it begins anew");
    let check_gone = |expected: &[&str]| {
        assert_eq!(gone("latest_gone", "x"), expected);
        assert_eq!(gone("totals_gone", "total"), expected);
    };
    check_gone(&[]);
    process.process(&[event(1_501, 100, None)]);
    process.commit();
    let expected = ["0 5", "1 5", "2 5", "3 5", "4 5", "5 5", "6 5", "7 5", "9 5", "8 "];
    check_gone(&expected[..9]);
    process.process(&[event(1_600, 100, None)]);
    process.commit();
    check_gone(&expected);
}

/// So many keys that they do not go in one turn.
#[test]
fn keys_that_are_due_at_one_event_go_in_several_turns() {
    const KEYS: u64 = 120_000;
    let folder = scratch();
    let lines: String = (0..KEYS).map(|id| event(1_000, id, Some(5))).collect();
    let all = lines.clone() + &event(2_000, 0, Some(7));
    for (name, text) in [("p.toml", PIPELINE), ("few.jsonl", &lines), ("all.jsonl", &all)] {
        fs::write(folder.path().join(name), text).expect("a file can be written");
    }
    let replay = |input| {
        let arguments = ["replay", "p.toml", "--input", input, "--database", "p.db"];
        weir().run_in(folder.path(), arguments).ends_with(0);
    };
    replay("few.jsonl");
    let database = folder.path().join("p.db");
    let number = |question: &str| query(&database, question)[0].parse::<u64>().expect("it is a number");
    let turn = "SELECT CAST(epoch AS TEXT) FROM weir_pipeline";
    let before = number(turn);
    replay("all.jsonl");
    let after = number(turn);
    assert!(after >= before + 2, "{before} turns before, and {after} after");
    for table in ["latest", "totals"] {
        let ids = query(&database, &format!("SELECT CAST(id AS TEXT) FROM {table}"));
        assert_eq!(ids, ["0"], "{table}");
        // A turn is full long before, and each key takes some twelve bytes.
        let largest = number(&format!(
            "SELECT CAST(max(length(entries)) AS TEXT) FROM weir_trace WHERE name = '{table}' AND epoch > {before}"
        ));
        assert!(
            largest < 10 * KEYS,
            "{largest} bytes of trace in one turn of table {table}"
        );
    }
}

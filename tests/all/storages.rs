//! What every storage promises, held to each of them.

use serde_json::json;
use std::{mem::take, sync::Arc};
use weir::{
    definition::File,
    engine::Engine,
    error::ErrorKind,
    format::Decoder,
    model::{
        column::Value,
        ids::{Id, IdVec, SinkId, TableId},
        row::{push_cell, push_key_cell},
        rows::KeyedRows,
        turn::{SinkRows, Turn},
    },
    plan::Plan,
    storage::{LetterFilter, Location, MemoryStorage, Messages, Storage},
};
use weir_tests::{replay::host, scratch};

const PIPELINE: &str = r#"
name = "visits"
source = { stream = "WEB", subject = "visits", columns = { user = "text", page = "text" } }
step = [
    { name = "known", lookup = { table = "names", on = { user = "user" } } },
    { name = "pages", aggregate = { group_by = ["name"], columns = { pages = { count = "*" } } } },
]
table = { names = { primary_key = ["user"], columns = { user = "text", name = "text" } } }
sink = [
    { table = "pages", primary_key = ["name"] },
    { from = "known", table = "seen", columns = ["user", "page"] },
    { from = "known", subject = "pages.seen" },
]
"#;

struct Made {
    plan: Arc<Plan>,
    folder: tempfile::TempDir,
}

impl Made {
    fn new() -> Self {
        let plan = Plan::build(&File::from_text("visits.toml", PIPELINE), host()).unwrap();
        let (plan, folder) = (Arc::new(plan), scratch());
        Self { plan, folder }
    }

    fn storages(&self) -> [Box<dyn Storage>; 2] {
        let sqlite = Location::in_folder(self.folder.path(), "visits").hold().unwrap();
        let sqlite = sqlite.open(self.plan.clone(), Messages::Outbox).unwrap();
        [Box::new(MemoryStorage::new(self.plan.clone())), sqlite]
    }

    /// A turn over these payloads, by an engine that has what the storage gives back.
    fn turn(&self, storage: &mut dyn Storage, payloads: &[&str]) -> Turn {
        let mut engine = Engine::new(self.plan.clone(), host(), storage.stored().seed).unwrap();
        storage.load(&mut engine).unwrap();
        let position = storage.stored().position;
        engine.begin(position, &[]).unwrap();
        let mut decoder = Decoder::of(&self.plan, 64).unwrap();
        for (sequence, payload) in (position + 1..).zip(payloads) {
            decoder.push(sequence, None, payload.as_bytes());
        }
        engine.process(decoder.take()).unwrap();
        engine.take_turn(storage.stored().turn + 1).unwrap()
    }
}

fn cells(values: &[&str]) -> Vec<u8> {
    let mut row = Vec::new();
    values
        .iter()
        .for_each(|text| push_cell(&mut row, Value::Text(text.as_bytes())));
    row
}

fn key(text: &str) -> Vec<u8> {
    let mut key = Vec::new();
    push_key_cell(&mut key, Value::Text(text.as_bytes()));
    key
}

fn names() -> KeyedRows {
    let mut rows = KeyedRows::default();
    rows.push(&key("a"), Some(&cells(&["a", "Ann"])));
    rows.push(&key("b"), Some(&cells(&["b", "Bo"])));
    rows
}

#[test]
fn each_goes_on_after_a_restart_with_what_was_committed() {
    let made = Made::new();
    for mut storage in made.storages() {
        storage.set_table(TableId::FIRST, names()).unwrap();
        storage.claim("a test").unwrap();
        assert_eq!(storage.claim("another").unwrap_err().kind(), ErrorKind::Mismatch);
        for payloads in [
            &[
                r#"{"user": "a", "page": "home"}"#,
                r#"{"user": "c", "page": "home"}"#,
                "{",
            ][..],
            &[r#"{"user": "b", "page": "cart"}"#, r#"{"user": "a", "page": "cart"}"#],
        ] {
            let turn = made.turn(&mut *storage, payloads);
            storage.commit(turn).unwrap();
        }
        let stored = storage.stored();
        assert_eq!((stored.position, stored.turn), (5, 2));
        let counts = stored.counts;
        assert_eq!(
            (counts.events, counts.applied, counts.filtered, counts.dead_letters),
            (5, 3, 1, 1)
        );
        // The state says what the tables have to hold.
        let turn = made.turn(&mut *storage, &[r#"{"user": "a", "page": "end"}"#]);
        let Some(Some(SinkRows::Upserts(pages))) = turn.sinks.get(SinkId::FIRST) else {
            panic!("{turn:?}")
        };
        let pages = pages[0].rows();
        let ann: Vec<_> = pages.sorted().collect();
        let mut expected = cells(&["Ann"]);
        push_cell(&mut expected, Value::Int(3));
        assert_eq!(ann, [(&*key("Ann"), Some(&*expected))]);
        let letters = storage
            .letters(&LetterFilter {
                from: Some(3),
                to: Some(3),
                ..LetterFilter::default()
            })
            .unwrap();
        assert_eq!(storage.letter(letters[0].id).unwrap().payload, b"{");
        assert_eq!(
            (letters.len(), storage.letters(&LetterFilter::default()).unwrap().len()),
            (1, 1)
        );
        assert!(
            storage
                .letters(&LetterFilter {
                    from: Some(4),
                    ..LetterFilter::default()
                })
                .unwrap()
                .is_empty()
        );
    }
}

#[test]
fn what_the_plan_has_no_place_for_ends_before_the_commit() {
    type Break = fn(&mut Turn);
    let breaks: [(&str, Break); 5] = [
        ("a message of event 1 is for sink 7 (", |turn| {
            turn.messages[0].sink = SinkId::of(7)
        }),
        ("a message of event 1 is for sink 0 (", |turn| {
            turn.messages[0].sink = SinkId::FIRST
        }),
        ("a turn has 2 sinks, and the plan 3 (", |turn| {
            turn.sinks = take(&mut turn.sinks).into_iter().take(2).collect()
        }),
        ("a turn has 0 lookup tables, and the plan 1 (", |turn| {
            turn.tables = IdVec::new();
        }),
        (
            "sink 1, Append { name: \"seen\" }, has rows of another kind (",
            |turn| {
                *turn.sinks.get_mut(SinkId::of(1)).unwrap() = Some(SinkRows::Upserts(Vec::new()));
            },
        ),
    ];
    let made = Made::new();
    for mut storage in made.storages() {
        storage.set_table(TableId::FIRST, names()).unwrap();
        storage.claim("a test").unwrap();
        let before = storage.stored().clone();
        for (expected, broken) in &breaks {
            let mut turn = made.turn(&mut *storage, &[r#"{"user": "a", "page": "home"}"#]);
            broken(&mut turn);
            let error = storage.commit(turn).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Defect);
            assert!(error.to_string().contains(expected), "{error}");
            assert_eq!(*storage.stored(), before);
        }
        let turn = made.turn(&mut *storage, &[r#"{"user": "a", "page": "home"}"#]);
        storage.commit(turn).unwrap();
    }
}

#[test]
fn a_row_that_is_not_one_of_its_table_is_rolled_back() {
    let made = Made::new();
    let [_, mut storage] = made.storages();
    storage.set_table(TableId::FIRST, names()).unwrap();
    storage.claim("a test").unwrap();
    let mut wrong = cells(&["a"]);
    push_cell(&mut wrong, Value::Int(1));
    for (row, expected) in [
        (cells(&["a"]), "a row of table names has 1 cells of 2 ("),
        (
            cells(&["a", "Ann", "x"]),
            "a row of table names has more than its 2 cells (",
        ),
        (
            wrong,
            "a row of table names has Int(1) in column name, which is of type text (",
        ),
    ] {
        let mut rows = KeyedRows::default();
        rows.push(&key("0"), Some(&cells(&["0", "Zoe"])));
        rows.push(&key("a"), Some(&row));
        let error = storage.set_table(TableId::FIRST, rows).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Defect);
        assert!(error.to_string().contains(expected), "{error}");
    }
    let mut rows = KeyedRows::default();
    rows.push(&[key("a"), key("b")].concat(), None);
    let error = storage.set_table(TableId::FIRST, rows).unwrap_err();
    assert!(
        error.to_string().contains("a key of table names has 2 cells of 1 ("),
        "{error}"
    );
    assert_eq!(
        storage.set_table(TableId::of(1), names()).unwrap_err().kind(),
        ErrorKind::Defect
    );
    let held = Location::in_folder(made.folder.path(), "visits")
        .inspect()
        .rows("names")
        .unwrap();
    assert_eq!(held, [[json!("a"), json!("Ann")], [json!("b"), json!("Bo")]]);
}

#[test]
fn the_tables_are_the_same_in_each() {
    let made = Made::new();
    let payloads = [
        r#"{"user": "b", "page": "x"}"#,
        r#"{"user": "a", "page": "y"}"#,
        r#"{"user": "b", "page": "z"}"#,
    ];
    let mut memory = MemoryStorage::new(made.plan.clone());
    let [_, mut sqlite] = made.storages();
    let storages: [&mut dyn Storage; 2] = [&mut memory, &mut *sqlite];
    for storage in storages {
        storage.set_table(TableId::FIRST, names()).unwrap();
        storage.claim("a test").unwrap();
        let turn = made.turn(storage, &payloads);
        storage.commit(turn).unwrap();
    }
    let inspect = Location::in_folder(made.folder.path(), "visits").inspect();
    for table in ["pages", "seen", "names"] {
        assert_eq!(memory.rows(table), inspect.rows(table).unwrap(), "{table}");
    }
    assert_eq!(
        memory.rows("pages"),
        [[json!("Ann"), json!(1)], [json!("Bo"), json!(2)]]
    );
    let sequences: Vec<u64> = memory.messages().iter().map(|message| message.sequence).collect();
    assert_eq!(sequences, [1, 2, 3]);
}

//! The outbox as the publisher sees it: the oldest messages first, no more of them than it can hold, and gone when they are
//! known to be published.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::Arc,
};
use weir::{
    definition::File,
    plan::Plan,
    storage::{Messages, Outbox, OutgoingMessage, StoredAt},
};
use weir_tests::{
    replay::{hold, host, replay_with},
    scratch,
};

/// Each event is a message to two subjects.
const PIPELINE: &str = r#"
name = "p"
source = { stream = "S", subject = "s", columns = { n = "int", text = "text" } }
[[sink]]
subject = "a"
[[sink]]
subject = "b"
columns = ["n"]
"#;

const EVENTS: usize = 40;

/// An outbox with the messages of some events, each larger than the one before.
fn outbox() -> (tempfile::TempDir, Box<dyn Outbox>) {
    let folder = scratch();
    let (input, database) = (folder.path().join("events.jsonl"), folder.path().join("p.db"));
    let line = |n: usize| format!("{{\"n\":{n},\"text\":\"{}\"}}\n", "x".repeat(100 * n));
    fs::write(&input, (0..EVENTS).map(line).collect::<String>()).expect("a file of the test can be written");
    let plan = Plan::build(&File::from_text("p.toml", PIPELINE), host()).expect("the pipeline fits");
    replay_with(&Arc::new(plan), &input, &database, 7, Messages::Outbox).expect("it runs");
    let outbox = hold(&database)
        .expect("nobody holds it")
        .outbox("p")
        .expect("it can be opened");
    (folder, outbox)
}

fn ids(messages: &[OutgoingMessage]) -> Vec<i64> {
    messages.iter().map(|message| message.id).collect()
}

fn all(outbox: &dyn Outbox, without: &BTreeSet<String>) -> Vec<OutgoingMessage> {
    outbox
        .oldest(usize::MAX >> 1, usize::MAX, without)
        .expect("it can be read")
}

#[test]
fn no_more_is_read_than_can_be_held() {
    let (_folder, outbox) = outbox();
    let none = BTreeSet::new();
    let all = all(&*outbox, &none);
    assert_eq!(all.len(), 2 * EVENTS);
    for bytes in [0, 1, 100, 5000, 20_000, usize::MAX] {
        let read = outbox.oldest(50, bytes, &none).expect("it can be read");
        assert_eq!(ids(&read), ids(&all[..read.len()]), "the oldest, in order");
        let held = |messages: &[OutgoingMessage]| messages.iter().map(|message| message.payload.len()).sum::<usize>();
        assert!(!read.is_empty() && read.len() <= 50);
        assert!(
            held(&read[..read.len() - 1]) < bytes.max(1),
            "only the last one passes {bytes}"
        );
        assert!(read.len() == 50 || held(&read) >= bytes, "as many as {bytes} allow");
    }
}

#[test]
fn what_was_published_goes_and_nothing_else() {
    let (_folder, outbox) = outbox();
    let without = |subject: &str| BTreeSet::from([subject.to_owned()]);
    let (of_a, of_b) = (all(&*outbox, &without("b")), all(&*outbox, &without("a")));
    let mut subjects = outbox.subjects().expect("it can be read");
    subjects.sort();
    assert_eq!(subjects, ["a", "b"]);
    let names = outbox.names("a", 10).expect("it can be read");
    let first = of_a
        .iter()
        .take(10)
        .map(|message| (message.message_id.clone(), message.id));
    assert_eq!(names, first.collect());
    assert_eq!(outbox.last_stored("a").expect("it can be read"), None);
    // The third and the tenth are stored; what stands between them may have been refused.
    let stored = |sequence| StoredAt {
        stream: "ALERTS".to_owned(),
        sequence,
    };
    let remove = |indices: &[usize], sequence| {
        let ids: Vec<i64> = indices.iter().map(|&index| of_a[index].id).collect();
        let stored = BTreeMap::from([("a".to_owned(), stored(sequence))]);
        outbox.remove(&ids, &stored).expect("it can be written");
    };
    remove(&[2], 5);
    remove(&[9], 17);
    let left: Vec<i64> = (0..EVENTS)
        .filter(|index| ![2, 9].contains(index))
        .map(|index| of_a[index].id)
        .collect();
    assert_eq!(ids(&all(&*outbox, &without("b"))), left);
    assert_eq!(ids(&all(&*outbox, &without("a"))), ids(&of_b));
    assert_eq!(outbox.last_stored("a").expect("it can be read"), Some(stored(17)));
    assert_eq!(outbox.last_stored("b").expect("it can be read"), None);
}

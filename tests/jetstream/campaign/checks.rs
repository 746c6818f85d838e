//! What is held to what: while the processes die, and at the end.

use super::{
    Campaign, STREAMS,
    shop::{CLEARED, PIPELINE, RAISED, model::Model},
};
use crate::{
    kills::outbox,
    process::Run,
    server::{ALERTS, Client, Stored},
};
use std::collections::{BTreeMap, BTreeSet};
use weir_tests::{
    swaps,
    table::{Cell, Contents, contents, query, read},
};

impl Campaign {
    /// The server knows of nothing that is not committed: it may forget what it was told of.
    #[track_caller]
    pub(super) fn check_told(&self) {
        let client = Client::connect(&self.publisher.url());
        for (stream, pipeline) in STREAMS {
            for consumer in client.consumers_of(stream, pipeline) {
                let (told, held) = (consumer.ack_floor.stream_sequence, self.position(pipeline));
                assert!(
                    told <= held,
                    "{pipeline}: the server was told of {told}, but the database ends at {held}"
                );
            }
        }
    }

    /// What a database holds that nobody has open.
    #[track_caller]
    fn position(&self, pipeline: &str) -> u64 {
        let position = query(
            &self.database(pipeline),
            "SELECT CAST(position AS TEXT) FROM weir_pipeline",
        );
        position.first().map_or(0, |text| text.parse().expect("a number"))
    }

    /// Lets a run catch up, and holds everything to the models.
    pub(super) fn check(&mut self) {
        self.publisher.wait_until_published();
        self.run("").catch_up().ends_with(0);
        let found = contents(&self.database(PIPELINE));
        let model = self.shop.model();
        println!("{}", model.summary());
        check_shop(&found, &model);
        self.check_alerts(&model);
        self.check_replay(&found);
        self.check_swapped();
    }

    /// The tables are those of a replay that nothing happens to.
    fn check_replay(&self, found: &Contents) {
        let pipeline = self.folder.path().join("shop.toml");
        Run::replay(self.folder.path(), &self.publisher.url(), &pipeline, "replayed.db")
            .start()
            .end()
            .ends_with(0);
        let replayed = contents(&self.database("replayed"));
        assert!(
            *found == replayed,
            "a replay leaves the same, dead letters and counts included"
        );
    }

    /// Each alert is in the stream once, in order, and none waits.
    fn check_alerts(&self, model: &Model) {
        let client = Client::connect(&self.publisher.url());
        for (subject, expected) in [(RAISED, &model.raised), (CLEARED, &model.cleared)] {
            let alerts = client.messages(ALERTS, subject);
            let ids: BTreeSet<&str> = alerts.iter().map(|alert| alert.id.as_str()).collect();
            let payloads: Vec<&String> = alerts.iter().map(|Stored { payload, .. }| payload).collect();
            assert_same(subject, &payloads, &expected.iter().collect::<Vec<_>>());
            assert_eq!(ids.len(), alerts.len(), "{subject}: each message id comes once");
        }
        assert_eq!(outbox(&self.database(PIPELINE)), [], "nothing waits");
    }

    /// Each event was decided by the version that the database names for it, and saw in the table the version that
    /// decided the event of its key before.
    fn check_swapped(&self) {
        let database = self.database(swaps::PIPELINE);
        let (versions, last) = swaps::check(&database);
        assert_eq!(last, self.events.swapped, "everything is committed");
        let mut labels = BTreeMap::new();
        let mut expected = Vec::new();
        for (n, version) in (1..=last).zip(swaps::deciding(&versions, last)) {
            let Some(version) = version else { continue };
            let key = swaps::key_of(n);
            let before = labels.insert(key, version).unwrap_or_default();
            let key = Cell::Text(key.to_string());
            expected.push(vec![Cell::Int(n as i64), key, Cell::Int(before as i64)]);
        }
        assert_same("before", &read(&database, "before").rows, &expected);
    }
}

/// Holds tables, dead letters and counts to the model.
#[track_caller]
fn check_shop(found: &Contents, model: &Model) {
    let expected = model.tables();
    let names = |tables: &BTreeMap<String, _>| tables.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found.tables), names(&expected));
    for (name, table) in &expected {
        assert!(!table.rows.is_empty(), "{name}: the test is about something");
        assert_eq!(found.tables[name].columns, table.columns, "{name}");
        assert_same(name, &found.tables[name].rows, &table.rows);
    }
    let dead_letters = found
        .dead_letters
        .iter()
        .map(|letter| (letter.sequence, letter.step.as_str()));
    assert_same("dead letters", &dead_letters.collect::<Vec<_>>(), &model.dead_letters);
    assert_eq!(found.counts, model.counts, "counts");
    assert_eq!(found.position, model.counts.events, "position");
}

/// That two lists are equal; else says where the first difference is, and not all that there is.
#[track_caller]
pub(super) fn assert_same<T: PartialEq + std::fmt::Debug>(what: &str, found: &[T], expected: &[T]) {
    let differs = found
        .iter()
        .zip(expected)
        .position(|(found, expected)| found != expected);
    let at = differs.unwrap_or(found.len().min(expected.len()));
    assert!(
        found == expected,
        "{what}: {} found, {} expected; number {at} is {:?}, not {:?}",
        found.len(),
        expected.len(),
        found.get(at),
        expected.get(at)
    );
}

//! What is held to what: while the processes die, and at the end.

use super::{
    Campaign, STREAMS,
    shop::{CLEARED, PIPELINE, RAISED, model::Model},
    totals::{self, Rule, model::Alert},
};
use crate::{
    kills::outbox,
    process::{Run, weir},
    server::{ALERTS, Client, Stored},
};
use std::collections::{BTreeMap, BTreeSet};
use weir_tests::{
    stored::read_versions,
    swaps,
    table::{Cell, Contents, Counts, contents, query, read},
};

impl Campaign {
    /// The server knows of nothing that is not committed: it may forget what it was told of.
    #[track_caller]
    pub(super) fn check_told(&self) {
        let client = Client::connect(&self.publisher.url());
        for (stream, pipeline) in STREAMS {
            // One without an ack was made anew where the process stood, which may be before its commit.
            let mut consumers = client.consumers_of(stream, pipeline);
            consumers.retain(|consumer| consumer.ack_floor.consumer_sequence > 0);
            for consumer in consumers {
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
        // Each time two swaps in one turn, behind the last event. Those of the second time raise keys, each of them others.
        for (threshold, raise) in [(60, 90), (0, 20)] {
            self.name_in_file(|label| Rule::good(label, 0, raise));
            self.deploy_rule(|number| Rule::good(number, threshold, raise));
            self.run("").catch_up().ends_with(0);
        }
        let found = contents(&self.database(PIPELINE));
        let model = self.shop.model();
        println!("{}", model.summary());
        check_shop(&found, &model);
        self.check_alerts(&model);
        self.check_replay(&found);
        self.check_swapped();
        self.check_totals();
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

impl Campaign {
    /// The rules over the changelog: each event was decided by the versions that the database names, the current rows by the
    /// last ones, and what crossed was told once.
    fn check_totals(&self) {
        let database = self.database(totals::PIPELINE);
        let versions = read_versions(&database, totals::PIPELINE).expect("the versions can be read");
        let found = contents(&database);
        assert_eq!(found.position, self.events.swapped, "everything is committed");
        let alerts = self.alerts_of_totals();
        assert!(alerts.len() > 10, "the test is about something");
        let model = totals::model::Model::over(found.position, &versions, [&self.deployed, &self.filed], alerts);
        let last = |step: &str| versions.iter().rfind(|version| version.step == step);
        let last = [totals::DEPLOYED, totals::FILED].map(|step| Rule::of(&last(step).expect("a version").deployment));
        let newest = [&self.deployed, &self.filed].map(|rules| *rules.last_key_value().expect("a version").1);
        assert_eq!(last, newest, "both rules are the newest");

        for (name, table) in &model.tables() {
            assert_eq!(&found.tables[name], table, "{name}");
        }
        let dead = found.dead_letters.iter();
        let dead: Vec<(u64, &str)> = dead.map(|letter| (letter.sequence, letter.step.as_str())).collect();
        assert_same("dead letters of totals", &dead, &model.dead_letters);
        let counts = Counts {
            events: found.position,
            applied: found.position - dead.len() as u64,
            dead_letters: dead.len() as u64,
            ..Counts::default()
        };
        assert_eq!(found.counts, counts);
        assert_eq!(outbox(&database), [], "nothing waits");
        println!("{}", model.summary(&versions));

        weir().run(["verify".as_ref(), database.as_os_str()]).ends_with(0);
        let k = &found.tables["let_through"].rows[0][0];
        let Cell::Text(k) = k else { panic!("{k:?} is no key") };
        let explain = ["explain", "totals.db", "let_through", &format!("k={k}")];
        let explained = weir().run_in(self.folder.path(), explain).ends_with(0).stdout;
        let swap = format!(
            "where version {} of step {} took over",
            newest[0].label,
            totals::DEPLOYED
        );
        assert!(explained.contains(&swap), "{swap} is not in\n{explained}");
    }

    /// The messages of the crossing, by the sequences that their names tell.
    fn alerts_of_totals(&self) -> BTreeMap<u64, Vec<Alert>> {
        let client = Client::connect(&self.publisher.url());
        let mut alerts: BTreeMap<u64, Vec<Alert>> = BTreeMap::new();
        let mut ids = BTreeSet::new();
        for (is_raised, subject) in [(true, totals::RAISED), (false, totals::CLEARED)] {
            let mut last = 0;
            for Stored { id, payload } in client.messages(ALERTS, subject) {
                let sequence = id.split(':').nth(1).and_then(|sequence| sequence.parse().ok());
                let sequence: u64 = sequence.unwrap_or_else(|| panic!("{id:?} tells no sequence"));
                assert!(sequence >= last, "{subject}: {sequence} comes behind {last}");
                last = sequence;
                alerts.entry(sequence).or_default().push((is_raised, payload));
                assert!(ids.insert(id), "each message id comes once");
            }
        }
        alerts
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

//! Hazards beside kills: messages that are removed before they are read, consumers that somebody pauses or edits, messages
//! that the server refuses or never takes, two databases over one stream, and a reader that stays.
//!
//! The model is a list of numbers. A database holds every event but those that were gone when a run refused to go on
//! without them; a run that refuses has a reason; and each row is a message, or a dead letter where it is too large for any.

use super::{
    checks::assert_same,
    hazards::{self, Edit, Hazard, How, Kill, Refusal, Strike, When},
    pause,
};
use crate::{
    DEADLINE,
    kills::outbox,
    process::{Run, Running, position},
    server::Client,
    wait_until,
};
use async_nats::jetstream::stream::{Config, DiscardPolicy};
use rusqlite::{Connection, OpenFlags};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    thread,
    time::Instant,
};
use tempfile::TempDir;
use weir_tests::{
    command::Outcome,
    nats::NatsServer,
    scratch,
    seed::{self, Random},
    table::query,
};

/// How often something is killed, unless `WEIR_KILLS` says otherwise.
const KILLS: usize = 30;

/// The stream, its subject, and the pipeline that reads it.
const STREAM: &str = "TRAIL";
const SUBJECT: &str = "trail.events";
const PIPELINE: &str = "trail";

/// The stream of its messages.
const ROWS: &str = "ROWS";

/// Messages that the stream keeps, and more than a consumer is asked for at once.
const MESSAGES_MAX: usize = 200;
const FLOOD: usize = 6_000;

/// What the server takes in one message, and a text with which an event is one and its row is none: that has longer names.
const PAYLOAD_MAX: usize = 8192;
const PAD: usize = PAYLOAD_MAX - 30;

#[test]
fn what_befalls_a_stream_and_its_messages_is_never_passed_over_in_silence() {
    let kills = std::env::var("WEIR_KILLS").map_or(KILLS, |text| text.parse().expect("WEIR_KILLS is a number"));
    seed::with_seed(|random| {
        let begun = Instant::now();
        let mut trail = Trail::new();
        for number in 0.. {
            if trail.kills() >= kills {
                break;
            }
            let strike = hazards::next(random, number);
            // However far this one goes, the next begins with the same numbers.
            trail.strike(&strike, &mut Random::new(random.number()));
        }
        let took = begun.elapsed().as_secs_f64();
        trail.check();
        println!("{} kills in {took:.1} s, {}", trail.kills(), trail.summary());
    });
}

/// One pipeline with two databases.
struct Trail {
    server: NatsServer,
    client: Client,
    folder: TempDir,
    /// How many events there are; their numbers are sequences.
    published: u64,
    /// Those whose rows are too large to be messages.
    oversize: BTreeSet<u64>,
    sides: [Side; 2],
    reader: Option<Connection>,
    /// How often a run refused to go on.
    refusals: usize,
    /// How often something died, by what it died of.
    kills: BTreeMap<&'static str, usize>,
    /// For whoever reads a failure.
    strikes: Vec<Strike>,
}

/// A database.
struct Side {
    pipeline: &'static str,
    database: PathBuf,
    subject: &'static str,
    /// Events that were removed before it read them.
    gone: BTreeSet<u64>,
}

impl Trail {
    fn new() -> Self {
        let server = NatsServer::with_config(&format!("max_payload: {PAYLOAD_MAX}\n"));
        let client = Client::connect(&server.url());
        client.make_with(Config {
            name: STREAM.to_owned(),
            subjects: vec!["trail.*".to_owned()],
            max_messages: MESSAGES_MAX as i64,
            ..Config::default()
        });
        client.make_with(rows_config(None));
        let folder = scratch();
        let side = |pipeline, database, subject| {
            fs::write(folder.path().join(pipeline), text(subject)).expect("a file can be written");
            Side {
                pipeline,
                database: folder.path().join(database),
                subject,
                gone: BTreeSet::new(),
            }
        };
        let sides = [
            side("one.toml", "one.db", "rows.one"),
            side("other.toml", "other.db", "rows.other"),
        ];
        let mut trail = Self {
            server,
            client,
            folder,
            published: 0,
            oversize: BTreeSet::new(),
            sides,
            reader: None,
            refusals: 0,
            kills: BTreeMap::new(),
            strikes: Vec::new(),
        };
        // A database begins with the first message that is there. From then on whatever is missing is a gap.
        trail.publish(1, &mut Random::new(1));
        for side in 0..2 {
            trail.run(side).catch_up().ends_with(0);
            assert_eq!(trail.position(side), 1);
        }
        trail
    }

    fn run(&self, side: usize) -> Run {
        let Side { pipeline, database, .. } = &self.sides[side];
        let run = Run::new(self.folder.path(), &self.server.url(), [pipeline]);
        run.with(["--database".as_ref(), database.as_os_str()])
    }

    fn start(&self, side: usize, kill: Kill) -> Running {
        let log = "wal-bytes=100000,wal-bytes-max=200000";
        let points = match kill {
            Kill::Point { point, pass } => format!("{point}={pass},{log}"),
            _ => log.to_owned(),
        };
        self.run(side).with_variable("WEIR_FAIL_POINTS", &points).start()
    }

    fn position(&self, side: usize) -> u64 {
        position(&self.sides[side].database, PIPELINE)
    }

    fn kills(&self) -> usize {
        self.kills.values().sum()
    }

    /// Lets one side, or both, meet a hazard, and kills what runs.
    fn strike(&mut self, strike: &Strike, random: &mut Random) {
        self.strikes.push(strike.clone());
        let &Strike { hazard, kill, side, .. } = strike;
        let other = strike.is_accompanied.then_some(1 - side);
        let mut beside = other.map(|side| self.start(side, Kill::Rest));
        if let Hazard::Removed(When::Down, how) = hazard {
            self.remove(how, strike.is_flood, random);
        }
        let mut running = self.start(side, kill);
        for process in beside.iter_mut().chain([&mut running]) {
            wait_for_start(process);
        }
        self.befall(strike, &mut running, random);
        match kill {
            Kill::Moment { pause_us } => pause(pause_us),
            Kill::Point { .. } | Kill::Rest => self.wait_for_rest(side, &mut running),
        }
        let what = match kill {
            Kill::Point { point, .. } if running.has_ended() => point,
            Kill::Moment { .. } => "a signal at any moment",
            _ => "a signal at rest",
        };
        self.judge(side, running.kill_or_see_ended(), what);
        if let Some((side, mut process)) = other.zip(beside.take()) {
            self.wait_for_rest(side, &mut process);
            self.judge(side, process.kill_or_see_ended(), "a signal at rest");
        }
        if let Hazard::Refused(_) = hazard {
            self.client.update(rows_config(None));
        }
        self.catch_up(side);
    }

    fn befall(&mut self, strike: &Strike, running: &mut Running, random: &mut Random) {
        match strike.hazard {
            Hazard::Events | Hazard::Removed(When::Down, _) => {}
            Hazard::Removed(When::Reading, how) => self.remove(how, strike.is_flood, random),
            Hazard::Removed(When::Stopped, how) => {
                running.send_if_running(libc::SIGSTOP);
                self.remove(how, strike.is_flood, random);
                running.send_if_running(libc::SIGCONT);
            }
            Hazard::Paused => {
                self.publish(random.below(60), random);
                self.client.pause_consumers(STREAM, PIPELINE);
            }
            Hazard::Edited(edit) => {
                self.publish(random.below(60), random);
                self.client.edit_consumers(STREAM, PIPELINE, |config| match edit {
                    Edit::Filter => config.filter_subject = "trail.none".to_owned(),
                    Edit::HeadersOnly => config.headers_only = true,
                    Edit::MaxDeliver => config.max_deliver = 1,
                });
            }
            Hazard::Refused(refusal) => self.client.update(rows_config(Some(refusal))),
            Hazard::Reader => {
                self.reader = None;
                self.reader = Some(read_for_long(&self.sides[strike.side].database));
            }
        }
        self.publish(1 + random.below(60), random);
    }

    /// Has some messages published, and removes some of those that are there.
    fn remove(&mut self, how: How, is_flood: bool, random: &mut Random) {
        let more = match (is_flood, how) {
            (true, _) => FLOOD,
            (false, How::Limit) => MESSAGES_MAX + random.below(300),
            _ => random.below(150),
        };
        self.publish(more, random);
        let below = |most: usize, random: &mut Random| self.published.saturating_sub(random.below(most) as u64);
        match how {
            How::Limit => {}
            How::Purge => self.client.purge_stream_below(STREAM, self.published + 1),
            How::PurgeBelow => self.client.purge_stream_below(STREAM, below(MESSAGES_MAX, random)),
            How::Deletions => {
                for _ in 0..1 + random.below(4) {
                    self.client.delete_if_there(STREAM, below(40, random));
                }
            }
        }
    }

    /// Waits until a process has read everything, or ends.
    fn wait_for_rest(&self, side: usize, running: &mut Running) {
        let begun = Instant::now();
        while !running.has_ended() && self.position(side) < self.published {
            let at = self.position(side);
            assert!(
                begun.elapsed() < DEADLINE,
                "{at} of {}\n{}",
                self.published,
                running.said()
            );
            pause(2_000);
        }
    }

    /// A process ended: it was killed, or it refused to go on without what is gone. That is so, and is accepted.
    #[track_caller]
    fn judge(&mut self, side: usize, outcome: Outcome, what: &'static str) {
        if outcome.code == -1 {
            *self.kills.entry(what).or_default() += 1;
            return;
        }
        let outcome = outcome.ends_with(1).says("gone").says("--accept-gap");
        let position = self.position(side);
        let gone = self.client.missing_behind(STREAM, position);
        assert!(
            !gone.is_empty(),
            "nothing is missing behind {position}:\n{}",
            outcome.stderr
        );
        self.sides[side].gone.extend(gone);
        self.refusals += 1;
        self.run(side).with(["--accept-gap"]).catch_up().ends_with(0);
    }

    /// Lets a side read all that is there, and holds its rows to the model.
    #[track_caller]
    fn catch_up(&mut self, side: usize) {
        let outcome = self.run(side).catch_up();
        if outcome.code != 0 {
            self.judge(side, outcome, "nothing");
        }
        let Side { database, gone, .. } = &self.sides[side];
        let held: Vec<u64> = (1..=self.published).filter(|n| !gone.contains(n)).collect();
        let expected = [format!("{} of {}", held.len(), held.iter().sum::<u64>())];
        assert_eq!(
            query(database, "SELECT format('%d of %d', rows, total) FROM totals"),
            expected
        );
        assert_eq!(
            query(database, "SELECT format('%d of %d', count(*), sum(n)) FROM trail"),
            expected
        );
    }

    fn publish(&mut self, count: usize, random: &mut Random) {
        let large = random.below(4 * count.max(1));
        let event = |index| {
            let n = self.published + 1 + index as u64;
            let pad = if index == large { PAD } else { 0 };
            (
                SUBJECT,
                format!(r#"{{"n":{n},"p":"{}"}}"#, "x".repeat(pad)).into_bytes(),
            )
        };
        let events: Vec<_> = (0..count).map(event).collect();
        if large < count {
            self.oversize.insert(self.published + 1 + large as u64);
        }
        self.published += count as u64;
        if count > 0 {
            assert_eq!(self.client.publish(&events), self.published, "numbers are sequences");
        }
    }

    /// Lets both sides catch up, and holds everything to the model.
    fn check(&mut self) {
        self.reader = None;
        for side in 0..2 {
            self.catch_up(side);
            let Side {
                database,
                gone,
                subject,
                ..
            } = &self.sides[side];
            let held: Vec<u64> = (1..=self.published).filter(|n| !gone.contains(n)).collect();
            let (large, small): (Vec<u64>, Vec<u64>) = held.iter().partition(|n| self.oversize.contains(n));
            let rows = numbers(&query(database, "SELECT CAST(n AS TEXT) FROM trail ORDER BY rowid"));
            assert_same("the trail", &rows, &held);
            let letters =
                "SELECT CAST(sequence AS TEXT) FROM weir_dead_letter WHERE step = 'publish' ORDER BY sequence";
            assert_same("dead letters", &numbers(&query(database, letters)), &large);
            assert_eq!(
                query(database, "SELECT reason FROM weir_dead_letter WHERE step <> 'publish'"),
                [""; 0]
            );
            assert_eq!(outbox(database), [], "nothing waits");
            let stored = self.client.messages(ROWS, subject);
            let ids: BTreeSet<&str> = stored.iter().map(|message| message.id.as_str()).collect();
            assert_eq!(ids.len(), stored.len(), "each message id comes once");
            let number = |payload: &str| {
                let row: serde_json::Value = serde_json::from_str(payload).expect("a row is JSON");
                row["n"].as_u64().expect("a number")
            };
            let stored: Vec<u64> = stored.iter().map(|message| number(&message.payload)).collect();
            assert_same(subject, &stored, &small);
        }
    }

    fn summary(&self) -> String {
        let mut summary = format!(
            "over {} events of {STREAM}, of which {} and {} were gone for its two databases, said {} times; {} rows too large\n",
            self.published,
            self.sides[0].gone.len(),
            self.sides[1].gone.len(),
            self.refusals,
            self.oversize.len()
        );
        for (what, count) in &self.kills {
            summary += &format!("{count:>6}  {what}\n");
        }
        summary
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        if thread::panicking() {
            let last = self.strikes.len().saturating_sub(3);
            eprintln!(
                "after {} strikes, of which the last are {:#?}\nagain: cargo xtask campaign --kills {} --seed {}",
                self.strikes.len(),
                &self.strikes[last..],
                self.kills() + 1,
                seed::of_run()
            );
        }
    }
}

/// Waits until a process runs, or ended.
#[track_caller]
fn wait_for_start(running: &mut Running) {
    wait_until("the start of the trail", || {
        running.has_ended() || running.said().contains("trail: stream TRAIL")
    });
}

fn numbers(texts: &[String]) -> Vec<u64> {
    texts.iter().map(|text| text.parse().expect("a number")).collect()
}

fn text(subject: &str) -> String {
    format!(
        r#"
name = "{PIPELINE}"

[source]
stream = "{STREAM}"
subject = "{SUBJECT}"
columns = {{ n = "int", pad_of_the_event = {{ type = "text", path = "p" }} }}

[[step]]
name = "totals"
from = "source"
[step.aggregate]
group_by = []
columns = {{ rows = {{ count = "*" }}, total = {{ sum = "n" }} }}

[[sink]]
from = "totals"
table = "totals"
primary_key = ["rows"]

[[sink]]
from = "source"
table = "trail"
columns = ["n"]

[[sink]]
from = "source"
subject = "{subject}"
columns = ["n", "pad_of_the_event"]
"#
    )
}

/// The stream of the messages, which may take none.
fn rows_config(refusal: Option<Refusal>) -> Config {
    Config {
        name: ROWS.to_owned(),
        subjects: vec!["rows.*".to_owned()],
        max_messages: if refusal == Some(Refusal::Full) { 1 } else { -1 },
        max_message_size: if refusal == Some(Refusal::TooSmall) { 2 } else { -1 },
        discard: match refusal {
            Some(Refusal::Full) => DiscardPolicy::New,
            _ => DiscardPolicy::Old,
        },
        ..Config::default()
    }
}

/// A connection within a read transaction.
fn read_for_long(database: &Path) -> Connection {
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY);
    let connection = connection.expect("the database can be read");
    connection
        .execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema;")
        .expect("a reader can begin");
    connection
}

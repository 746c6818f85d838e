//! Hundreds of kills, each at another place: of `weir run` at any moment, of `weir run` at a fail point, of the server.
//! Events come in all the while, and versions of a rule are deployed. What is left at the end is what plain models say,
//! and what a replay of the same stream leaves that nothing happens to.
//!
//! `WEIR_SEED` chooses the events and the faults; how many events there are and what the processes have come to when a fault
//! strikes is for the machine to say. `cargo xtask campaign --kills 5000 --seed 7` goes on for longer.

mod checks;
mod faults;
mod hazards;
mod publisher;
mod shop;
mod trail;

use crate::{
    process::{Run, Running, position, weir},
    server::Client,
    versions::{NO_TRIAL, deploy, registry},
    wait_until,
};
use faults::Fault;
use publisher::{Portion, Publisher};
use shop::Shop;
use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use weir::fail_point::POINTS;
use weir_tests::stored::read_versions;
use weir_tests::{
    nats::NatsServer,
    scratch,
    seed::{self, Random},
    swaps,
};

/// How often something is killed, unless `WEIR_KILLS` says otherwise.
const KILLS: usize = 200;

/// How often a point is tried once more at which nothing died.
const RETRIES: usize = 3;

/// The stream of the pipeline whose rule is deployed anew.
const EVENTS: &str = "EVENTS";

/// Streams with the pipelines that read them.
const STREAMS: [(&str, &str); 2] = [(shop::STREAM, shop::PIPELINE), (EVENTS, swaps::PIPELINE)];

/// How often a process that is to die at a point gets something to do.
const PORTIONS: usize = 6;

#[test]
fn whatever_is_killed_and_whenever_each_event_has_its_effect_once() {
    let kills = std::env::var("WEIR_KILLS").map_or(KILLS, |text| text.parse().expect("WEIR_KILLS is a number"));
    seed::with_seed(|random| {
        let begun = Instant::now();
        let mut campaign = Campaign::new(random);
        for fault in faults::chosen(random, kills) {
            campaign.strike(&fault, random.number());
        }
        // Whether a process gets as far as a pass is for the machine to say.
        for _ in 0..if kills < KILLS { 0 } else { RETRIES } {
            for point in campaign.missed() {
                for fault in faults::at(point, random) {
                    campaign.strike(&fault, random.number());
                }
            }
        }
        let summary = campaign.summary(begun);
        campaign.check();
        println!("{summary}");
        let missed = campaign.missed();
        assert!(missed.is_empty() || kills < KILLS, "nothing died at {missed:?}");
    });
}

#[test]
fn what_is_built_to_be_used_has_no_fail_points() {
    let features = |package, edges| {
        let mut cargo = Command::new(env!("CARGO"));
        let arguments = [
            "tree",
            "--offline",
            "--locked",
            "-p",
            package,
            "-e",
            edges,
            "-i",
            "weir",
        ];
        let output = cargo.current_dir(weir_tests::workspace()).args(arguments).output();
        let output = output.expect("cargo can be started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("what cargo says is UTF-8")
    };
    // The command, and the benchmark; then the tests, so that the first two say something.
    assert!(!features("weir", "normal,features").contains("fail-points"));
    assert!(!features("weir-tests", "normal,features").contains("fail-points"));
    assert!(features("weir-tests", "normal,dev,features").contains("fail-points"));
}

/// Two pipelines in one process, each with its stream and its database.
struct Campaign {
    publisher: Publisher,
    folder: TempDir,
    shop: Shop,
    /// How many events each stream has, when all portions are published.
    events: Counted,
    /// The last version that was deployed.
    version: u64,
    /// How often something died, by what it died of.
    kills: BTreeMap<&'static str, usize>,
    /// The last faults, for whoever reads a failure.
    last: Vec<Fault>,
}

/// Numbers of events.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    shop: u64,
    swapped: u64,
}

impl Campaign {
    fn new(random: &mut Random) -> Self {
        let server = NatsServer::start();
        let client = Client::connect(&server.url());
        client.make_stream(shop::STREAM, &[shop::ORDERS, shop::PAYMENTS]);
        client.make_stream(EVENTS, &[crate::versions::SUBJECT]);
        client.make_alerts(Duration::from_secs(120));
        let folder = scratch();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("a file can be written");
        let shop = Shop::new(random.number());
        write("shop.toml", &shop.pipeline_text());
        let swapped =
            swaps::text_in_rounds(NO_TRIAL, "[\"label\"]") + "[[sink]]\nfrom = \"known\"\ntable = \"before\"\n";
        write("swapped.toml", &swapped);
        write("keys.jsonl", &swaps::known_keys());
        weir()
            .run_in(
                folder.path(),
                ["table", "load", "swapped.toml", "keys", "--input", "keys.jsonl"],
            )
            .ends_with(0);
        Self {
            publisher: Publisher::start(server),
            folder,
            shop,
            events: Counted::default(),
            version: 0,
            kills: BTreeMap::new(),
            last: Vec::new(),
        }
    }

    fn database(&self, pipeline: &str) -> PathBuf {
        self.folder.path().join(pipeline).with_extension("db")
    }

    /// Two pipelines of one process; the write-ahead log is copied far more often than usual.
    fn run(&self, points: &str) -> Run {
        let run = Run::new(self.folder.path(), &self.publisher.url(), ["shop.toml", "swapped.toml"]);
        run.with_variable("WEIR_FAIL_POINTS", points)
    }

    /// One fault, while events come in.
    fn strike(&mut self, fault: &Fault, seed: u64) {
        // However far the last fault went, this one begins with the same numbers.
        let random = &mut Random::new(seed);
        self.last.push(fault.clone());
        let log = ["wal-bytes=100000", "wal-bytes=100000,wal-bytes-max=200000"][random.below(2)];
        let mut running = match fault {
            Fault::Point { point, pass } => self.run(&format!("{point}={pass},{log}")).start(),
            _ => self.run(log).start(),
        };
        if random.once_in(2) {
            self.publish(random);
        }
        match *fault {
            Fault::Signal { after_start, pause_us } => {
                if !after_start || self.wait_for_start(&mut running) {
                    self.publish(random);
                    self.deploy_sometimes(random);
                }
                pause(pause_us);
                running.kill();
                self.count("a signal at any moment");
            }
            Fault::Point { point, .. } => {
                if self.wait_for_start(&mut running) {
                    self.publish(random);
                    // Such a point is passed when a version takes over.
                    if point.ends_with("swap") {
                        self.deploy();
                    }
                }
                self.wait_for_death(running, point, random);
            }
            Fault::Server { pause_us, weir_too } => {
                assert!(self.wait_for_start(&mut running), "nothing is to die here");
                self.publish(random);
                pause(pause_us);
                let below = random.below(20_000);
                let mut running = Some(running);
                self.publisher.kill_server(|| {
                    pause(below);
                    if weir_too {
                        running.take().into_iter().for_each(Running::kill);
                    }
                });
                self.count("the server");
                if let Some(mut running) = running {
                    // It goes on by itself. What dies in the end is at rest, or about to be.
                    running.wait_for_word("connected to NATS");
                    let events = self.events;
                    running.wait_for_position(&self.database(shop::PIPELINE), shop::PIPELINE, events.shop);
                    running.kill();
                }
            }
        }
        self.check_told();
    }

    /// Points at which nothing died.
    fn missed(&self) -> Vec<&'static str> {
        let mut points = POINTS.to_vec();
        points.retain(|point| !self.kills.contains_key(point));
        points
    }

    fn count(&mut self, what: &'static str) {
        *self.kills.entry(what).or_default() += 1;
    }

    /// Has some events published beside what goes on here.
    fn publish(&mut self, random: &mut Random) {
        let shop = self.shop.make(random.below(300));
        let first = self.events.swapped + 1;
        let swapped = random.below(100) as u64;
        self.events.shop += shop.len() as u64;
        self.events.swapped += swapped;
        self.publisher.publish(Portion {
            shop,
            swapped: first..first + swapped,
            seed: random.number(),
        });
    }

    fn deploy_sometimes(&mut self, random: &mut Random) {
        if random.once_in(4) {
            self.deploy();
        }
    }

    fn deploy(&mut self) {
        // Connected for this alone: the server may be killed next.
        let registry = registry(&self.publisher.url());
        self.version = deploy(&registry, "").version;
    }

    /// Waits until both pipelines run; false where the process died before.
    #[track_caller]
    fn wait_for_start(&self, running: &mut Running) -> bool {
        let mut started = false;
        wait_until("the start of both pipelines", || {
            started = running.said().contains("swapped: stream EVENTS");
            started || running.has_died()
        });
        started
    }

    /// Waits until the process dies at a point. One that has nothing left to do gets more, a few times; then it is killed.
    #[track_caller]
    fn wait_for_death(&mut self, mut running: Running, point: &'static str, random: &mut Random) {
        let mut died = false;
        for portion in 0..PORTIONS {
            if portion > 0 {
                self.publish(random);
            }
            wait_until(point, || {
                died = running.has_died();
                died || self.is_at_rest(point.ends_with("swap"))
            });
            // What a process does at its start it does once.
            if died || faults::is_of_start(point) {
                break;
            }
        }
        running.kill_or_see_dead();
        self.count(if died { point } else { "a signal at rest" });
    }

    /// Whether everything is committed, and the last version in force where that is asked.
    fn is_at_rest(&self, swapped: bool) -> bool {
        let stands = |pipeline, at| position(&self.database(pipeline), pipeline) == at;
        stands(shop::PIPELINE, self.events.shop)
            && stands(swaps::PIPELINE, self.events.swapped)
            && (!swapped || self.knows_last_version())
    }

    fn knows_last_version(&self) -> bool {
        let known = read_versions(&self.database(swaps::PIPELINE), swaps::PIPELINE).unwrap_or_default();
        known.iter().any(|known| known.deployment.version == self.version)
    }

    fn summary(&self, begun: Instant) -> String {
        let kills: usize = self.kills.values().sum();
        let mut summary = format!(
            "{kills} kills in {:.1} s, over {} + {} events and {} versions\n",
            begun.elapsed().as_secs_f64(),
            self.events.shop,
            self.events.swapped,
            self.version
        );
        for (what, count) in &self.kills {
            summary += &format!("{count:>6}  {what}\n");
        }
        summary
    }
}

fn pause(us: usize) {
    thread::park_timeout(Duration::from_micros(us as u64));
}

impl Drop for Campaign {
    fn drop(&mut self) {
        if thread::panicking() {
            let last = self.last.len().saturating_sub(5);
            eprintln!(
                "after {} faults, of which the last are {:#?}",
                self.last.len(),
                &self.last[last..]
            );
        }
    }
}

//! Hundreds of kills, each at another place: of `weir run` at any moment, of `weir run` at a fail point, of the server.
//! Events come in all the while, and versions are deployed, of a rule over single rows and of one over a changelog; a second
//! one over the changelog is changed in the pipeline file. What is left at the end is what plain models say, and what a replay
//! of the same stream leaves that nothing happens to.
//!
//! `WEIR_SEED` chooses the events and the faults; how many events there are and what the processes have come to when a fault
//! strikes is for the machine to say. `cargo xtask campaign --kills 5000 --seed 7` goes on for longer.

mod checks;
mod faults;
mod hazards;
mod publisher;
mod shop;
mod totals;
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
use totals::{
    Kind, Rule,
    model::{Model, Rules},
};
use weir::nats::Registry;
use weir_tests::stored::read_versions;
use weir_tests::{
    nats::NatsServer,
    scratch,
    seed::{self, Random},
    swaps,
    table::query,
};

/// How often something is killed, unless `WEIR_KILLS` says otherwise.
const KILLS: usize = 160;

/// How often a point is tried once more at which nothing died.
const RETRIES: usize = 3;

/// The stream of the pipelines whose rules are swapped.
const EVENTS: &str = "EVENTS";

/// Streams with the pipelines that read them.
const STREAMS: [(&str, &str); 3] = [
    (shop::STREAM, shop::PIPELINE),
    (EVENTS, swaps::PIPELINE),
    (EVENTS, totals::PIPELINE),
];

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
        println!("{}", campaign.summary(begun));
        campaign.check();
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

/// Three pipelines in one process, each with its database.
struct Campaign {
    publisher: Publisher,
    folder: TempDir,
    shop: Shop,
    /// How many events each stream has, when all portions are published.
    events: Counted,
    /// The last version that was deployed over single rows.
    version: u64,
    /// Versions over the changelog, by label: those that were deployed, and those that stood in the pipeline file.
    deployed: Rules,
    filed: Rules,
    /// How often the pipeline file was refused.
    refused_files: usize,
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

/// A version that was deployed, and is to be in force or refused before a process is taken to be at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Nothing,
    OverRows,
    OverChangelog,
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
        let mut campaign = Self {
            publisher: Publisher::start(server),
            folder,
            shop,
            events: Counted::default(),
            version: 0,
            deployed: Rules::from([(0, Rule::new(Kind::Good, 0, &[], random))]),
            filed: Rules::new(),
            refused_files: 0,
            kills: BTreeMap::new(),
            last: Vec::new(),
        };
        campaign.change_file(Kind::Good, random);
        campaign
    }

    fn database(&self, pipeline: &str) -> PathBuf {
        self.folder.path().join(pipeline).with_extension("db")
    }

    /// All pipelines in one process; the write-ahead log is copied far more often than usual.
    fn run(&self, points: &str) -> Run {
        let files = ["shop.toml", "swapped.toml", "totals.toml"];
        let run = Run::new(self.folder.path(), &self.publisher.url(), files);
        run.with_variable("WEIR_FAIL_POINTS", points)
    }

    /// One fault, while events come in.
    fn strike(&mut self, fault: &Fault, seed: u64) {
        // However far the last fault went, this one begins with the same numbers.
        let random = &mut Random::new(seed);
        self.last.push(fault.clone());
        let log = match fault.point() {
            Some("before-truncation" | "after-truncation") => 1,
            _ => random.below(2),
        };
        let log = ["wal-bytes=100000", "wal-bytes=100000,wal-bytes-max=200000"][log];
        let wanted = fault.point().and_then(totals::kind_for);
        match wanted {
            _ if fault.point().is_some_and(totals::is_of_file) => self.change_file(Kind::Good, random),
            // The next start takes it in.
            Some(kind) if random.once_in(3) => self.deploy_over_changelog(kind, random),
            None if random.once_in(6) => self.change_file(Kind::any(random), random),
            _ => {}
        }
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
                let mut awaited = Awaited::Nothing;
                if self.wait_for_start(&mut running) {
                    self.publish(random);
                    awaited = self.deploy_for(point, random);
                }
                self.wait_for_death(running, point, awaited, random);
            }
            Fault::Server { pause_us, weir_too } => {
                assert!(self.wait_for_start(&mut running), "nothing is to die here");
                self.publish(random);
                self.deploy_sometimes(random);
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
        let mut points = faults::points();
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
        match random.below(8) {
            0 | 1 => self.deploy(),
            2..5 => self.deploy_over_changelog(Kind::any(random), random),
            _ => {}
        }
    }

    fn deploy(&mut self) {
        // Connected for this alone: the server may be killed next.
        self.version = deploy(&self.registry(), "").version;
    }

    fn registry(&self) -> Registry {
        registry(&self.publisher.url())
    }

    fn deploy_over_changelog(&mut self, kind: Kind, random: &mut Random) {
        let current = self.current_rows();
        self.deploy_rule(|number| Rule::new(kind, number, &current, random));
    }

    fn deploy_rule(&mut self, rule_of: impl FnMut(u64) -> Rule) {
        let (version, rule) = totals::deploy(&self.registry(), rule_of);
        self.deployed.insert(version as i64, rule);
    }

    /// Deploys what leads to a point; where none does, nothing.
    fn deploy_for(&mut self, point: &str, random: &mut Random) -> Awaited {
        match totals::kind_for(point) {
            Some(kind) => {
                self.deploy_over_changelog(kind, random);
                Awaited::OverChangelog
            }
            None if !["in-swap", "after-swap"].contains(&point) => Awaited::Nothing,
            None if random.once_in(2) => {
                self.deploy_over_changelog(Kind::Good, random);
                Awaited::OverChangelog
            }
            None => {
                self.deploy();
                Awaited::OverRows
            }
        }
    }

    /// The numbers that the rules over the changelog read, as far as they are committed.
    fn current_rows(&self) -> Vec<i64> {
        let database = self.database(totals::PIPELINE);
        // Before the first commit there may be no table.
        let rows = match position(&database, totals::PIPELINE) {
            0 => Vec::new(),
            _ => query(&database, "SELECT CAST(n AS TEXT) FROM current"),
        };
        rows.iter().map(|n| n.parse().expect("a number")).collect()
    }

    fn name_in_file(&mut self, rule_of: impl FnOnce(u64) -> Rule) -> Rule {
        let label = self.filed.len() as u64;
        let rule = rule_of(label);
        self.filed.insert(label as i64, rule);
        let text = totals::pipeline_text(self.deployed[&0], rule);
        fs::write(self.folder.path().join("totals.toml"), text).expect("a file can be written");
        rule
    }

    /// Names another version of the second rule in the pipeline file. What may be refused is tried at once: where it is, as it
    /// has to be, the file names one that is taken.
    fn change_file(&mut self, kind: Kind, random: &mut Random) {
        let current = self.current_rows();
        let rule = self.name_in_file(|label| Rule::new(kind, label, &current, random));
        if kind == Kind::Good {
            return;
        }
        let versions = read_versions(&self.database(totals::PIPELINE), totals::PIPELINE).expect("versions");
        let in_force = |step: &str| versions.iter().rfind(|version| version.step == step);
        let must_be_refused = match (in_force(totals::DEPLOYED), in_force(totals::FILED)) {
            (Some(deployed), Some(filed)) => {
                let [deployed, filed] = [deployed, filed].map(|version| Rule::of(&version.deployment));
                Model::of_rows(&current, deployed, filed).is_refused(deployed, rule)
            }
            _ => false,
        };
        let mut running = Run::new(self.folder.path(), &self.publisher.url(), ["totals.toml"]).start();
        wait_until("the start with a changed file", || {
            running.has_ended() || running.said().contains("totals: stream EVENTS")
        });
        let outcome = running.kill_or_see_ended();
        if must_be_refused {
            let outcome = outcome.ends_with(2);
            outcome.says("the rule that the pipeline file names by now cannot take over");
            self.refused_files += 1;
            self.change_file(Kind::Good, random);
        } else {
            assert_eq!(outcome.code, -1, "it is killed:\n{}", outcome.stderr);
        }
    }

    /// Waits until all pipelines run; false where the process died before.
    #[track_caller]
    fn wait_for_start(&self, running: &mut Running) -> bool {
        let mut started = false;
        let words = STREAMS.map(|(stream, pipeline)| format!("{pipeline}: stream {stream}"));
        wait_until("the start of all pipelines", || {
            let said = running.said();
            started = words.iter().all(|word| said.contains(word));
            started || running.has_died()
        });
        started
    }

    /// Waits until the process dies at a point. One that has nothing left to do gets more, a few times; then it is killed.
    #[track_caller]
    fn wait_for_death(&mut self, mut running: Running, point: &'static str, mut awaited: Awaited, random: &mut Random) {
        let mut died = false;
        // The server is not killed meanwhile.
        let registry = self.registry();
        for portion in 0..PORTIONS {
            if portion > 0 {
                self.publish(random);
                // What is on trial may still fail.
                if awaited == Awaited::OverChangelog && !self.is_on_trial() {
                    awaited = self.deploy_for(point, random);
                }
            }
            wait_until(point, || {
                died = running.has_died();
                died || self.is_at_rest(awaited, &registry)
            });
            // What a process does at its start it does once.
            if died || faults::is_of_start(point) {
                break;
            }
        }
        running.kill_or_see_dead();
        self.count(if died { point } else { "a signal at rest" });
    }

    /// Whether everything is committed, and what is awaited in force or refused.
    fn is_at_rest(&self, awaited: Awaited, registry: &Registry) -> bool {
        let stands = |pipeline, at| position(&self.database(pipeline), pipeline) == at;
        let known = |pipeline: &str, step: &str, version| {
            let known = read_versions(&self.database(pipeline), pipeline).unwrap_or_default();
            let mut of_step = known.iter().filter(|known| known.step == step);
            of_step.any(|known| known.deployment.version == version)
        };
        stands(shop::PIPELINE, self.events.shop)
            && stands(swaps::PIPELINE, self.events.swapped)
            && stands(totals::PIPELINE, self.events.swapped)
            && match awaited {
                Awaited::Nothing => true,
                Awaited::OverRows => known(swaps::PIPELINE, swaps::STEP, self.version),
                Awaited::OverChangelog => {
                    let version = self.last_deployed();
                    let outcomes = || registry.outcomes(totals::PIPELINE, totals::DEPLOYED);
                    known(totals::PIPELINE, totals::DEPLOYED, version)
                        || outcomes().is_ok_and(|all| all.iter().any(|outcome| outcome.version == version))
                }
            }
    }

    /// The number of what was last deployed over the changelog.
    fn last_deployed(&self) -> u64 {
        self.deployed.last_key_value().map_or(0, |(label, _)| *label as u64)
    }

    /// Whether that is in force, and on trial.
    fn is_on_trial(&self) -> bool {
        let known = read_versions(&self.database(totals::PIPELINE), totals::PIPELINE).unwrap_or_default();
        let last = known.iter().rfind(|known| known.step == totals::DEPLOYED);
        last.is_some_and(|last| last.deployment.version == self.last_deployed() && last.trial.left > 0)
    }

    fn summary(&self, begun: Instant) -> String {
        let kills: usize = self.kills.values().sum();
        let mut summary = format!(
            "{kills} kills in {:.1} s, over {} + {} events, {} versions over single rows and {} over a changelog, and {} pipeline \
             files, of which {} were refused\n",
            begun.elapsed().as_secs_f64(),
            self.events.shop,
            self.events.swapped,
            self.version,
            self.last_deployed(),
            self.filed.len(),
            self.refused_files
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

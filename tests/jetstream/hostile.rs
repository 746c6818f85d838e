//! Hundreds of components that mean harm, deployed one after the other to a host that runs three pipelines under load. The one
//! that gets them loses none of its events; the other two do not notice; and when they are gone, so is what they took.
//!
//! `cargo xtask campaign --hostile 200` deploys two hundred, and prints how long events took on their way through the other
//! pipelines, with and without. `WEIR_KIND=NestedLoops` leaves the others out.

mod load;
mod memory;

use crate::{
    process::{Run, Running},
    server::Client,
    versions::{SUBJECT, deploy, deploy_to, hosts, registry, steps},
    wait_until,
};
use load::Load;
use memory::Memory;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};
use weir::nats::Registry;
use weir_tests::{
    hostile::{self, Hostile, Kind},
    nats::NatsServer,
    scratch, seed,
    swaps::{MALFORMED, PIPELINE, STEP, pipeline_text},
    table::{Cell, contents},
};

/// How many components, unless `WEIR_HOSTILE` says otherwise: one of each kind.
const COMPONENTS: usize = Kind::ALL.len();

/// How many are deployed before a good one comes again.
const UNTIL_A_GOOD_ONE: usize = 5;

/// How long the host may take to say what became of one, before the next comes.
const PATIENCE: Duration = Duration::from_secs(3);

/// The pipelines beside it. Their streams and subjects have their names.
const BESIDE: [&str; 2] = ["left", "right"];

/// All three.
const ALL: [&str; 3] = [PIPELINE, BESIDE[0], BESIDE[1]];

/// How long the pipelines run without harm, at least.
const QUIET: Duration = Duration::from_secs(5);

/// What a host may keep of all of them: what the allocator holds, compiled code that is in force, buffers that grew.
const KEPT_BYTES: u64 = 256 << 20;

#[test]
fn components_that_mean_harm_cost_no_event_and_nothing_of_them_stays() {
    let count =
        std::env::var("WEIR_HOSTILE").map_or(COMPONENTS, |text| text.parse().expect("WEIR_HOSTILE is a number"));
    seed::with_seed(|random| {
        let good = fs::read(weir_tests::guest("versions")).expect("the module can be read");
        let mut components = hostile::grown(&good, count, random);
        if let Ok(kind) = std::env::var("WEIR_KIND") {
            components.retain(|component| format!("{:?}", component.kind) == kind);
        }
        let server = NatsServer::start();
        let folder = scratch();
        let mut running = start(&server, folder.path());
        let registry = registry(&server.url());
        let load = Load::start(&server.url());

        // As many good ones as will come between the others, and the same time: what a swap costs is no harm.
        let begun = Instant::now();
        for _ in 0..=count / UNTIL_A_GOOD_ONE {
            roll_out(&registry);
        }
        wait_until("time without", || begun.elapsed() > QUIET);
        let without = load.measured(0);
        let passed = load.passed();
        let before = Memory::of(running.id());

        let mut longest = Duration::ZERO;
        for (at, component) in components.iter().enumerate() {
            let (begun, passed) = (Instant::now(), load.passed());
            let became = strike(&registry, component);
            let peak = Memory::of(running.id()).peak_bytes >> 20;
            let (kind, figures) = (format!("{:?}", component.kind), &component.figures);
            let time = begun.elapsed().as_secs_f64();
            // A reason is a paragraph at most.
            let became: String = became.chars().take(120).collect();
            println!("{at:>3} {kind:<17} {figures:<28} {time:>6.2} s {peak:>5} MiB at most  {became}");
            println!("    through the others meanwhile: {}", load.measured(passed));
            running.check_running();
            if at % UNTIL_A_GOOD_ONE == UNTIL_A_GOOD_ONE - 1 {
                longest = longest.max(roll_out(&registry));
            }
        }
        longest = longest.max(roll_out(&registry));
        let with = load.measured(passed);
        let published = load.end();
        for name in ALL {
            running.wait_for_position(&folder.path().join(format!("{name}.db")), name, published);
        }
        println!(
            "a good version was in force after {:.2} s at most",
            longest.as_secs_f64()
        );
        println!("through the others, without: {without}");
        println!("through the others, with:    {with}");
        wait_until("the end of the host's children", || memory::children(running.id()) == 0);
        let after = memory::settled(running.id(), before.now_bytes + KEPT_BYTES);
        let [before, after, most] = [before.now_bytes, after.now_bytes, after.peak_bytes].map(|bytes| bytes >> 20);
        println!("memory of the host: {before} MiB before, {after} MiB after, {most} MiB at most");
        running.interrupt().ends_with(0);
        for name in ALL {
            check(&folder.path().join(format!("{name}.db")), name, published);
        }
    });
}

/// A host of all three pipelines.
fn start(server: &NatsServer, folder: &Path) -> Running {
    let client = Client::connect(&server.url());
    client.make_stream("EVENTS", &[SUBJECT]);
    client.make_stream("PASSED", &["passed.>"]);
    let own = pipeline_text("{ rows = 200 }");
    let beside = |name: &str| {
        let text = own.replace("name = \"swapped\"", &format!("name = \"{name}\""));
        let text = text.replace(
            "\"EVENTS\", subject = \"events\"",
            &format!("\"{name}\", subject = \"{name}\""),
        );
        text + &format!("[[sink]]\nfrom = \"{STEP}\"\nsubject = \"passed.{name}\"\n")
    };
    let write =
        |name: &str, text: &str| fs::write(folder.join(format!("{name}.toml")), text).expect("a file can be written");
    write(PIPELINE, &own);
    for name in BESIDE {
        client.make_stream(name, &[name]);
        write(name, &beside(name));
    }
    let pipelines = ALL.map(|name| format!("{name}.toml"));
    // Nothing of it is compiled yet, whatever ran before.
    let run = Run::new(folder, &server.url(), pipelines).with_variable("XDG_CACHE_HOME", &folder.display().to_string());
    let running = run.start();
    let registry = registry(&server.url());
    wait_until("word of the pipelines in the registry", || {
        hosts(&registry).len() == ALL.len()
    });
    running
}

/// Deploys a good version, and waits until it is in force; gives how long that took.
#[track_caller]
fn roll_out(registry: &Registry) -> Duration {
    let begun = Instant::now();
    let version = deploy(registry, "").version;
    wait_until("a good version in force", || {
        steps(registry).iter().any(|step| step.deployment.version == version)
    });
    begun.elapsed()
}

/// Deploys a component that means harm, and waits for a while until something became of it.
fn strike(registry: &Registry, component: &Hostile) -> String {
    let digest = sha256(&component.bytes);
    if let Err(error) = registry.put_module(&digest, &component.bytes) {
        return format!("not stored: {error}");
    }
    let version = deploy_to(registry, PIPELINE, STEP, Some(&digest), "").version;
    let begun = Instant::now();
    loop {
        for step in steps(registry) {
            if let Some(failed) = step.failed.filter(|failed| failed.version == version) {
                let how = if failed.taken_back { "taken back" } else { "refused" };
                return format!("{how}: {}", failed.reason);
            }
            if step.deployment.version == version && step.trial_left == 0 {
                return "in force".to_owned();
            }
        }
        if begun.elapsed() > PATIENCE {
            return "no word of it yet".to_owned();
        }
        thread::park_timeout(Duration::from_millis(20));
    }
}

/// Each event is in the table or among the dead letters, once, or was filtered. Beside, all are in the table but for those that
/// every version rejects.
#[track_caller]
fn check(database: &Path, name: &str, published: u64) {
    let found = contents(database);
    let counts = found.counts;
    assert_eq!(counts.events, published, "{name}");
    assert_eq!(
        counts.applied + counts.filtered + counts.dead_letters + counts.empty,
        published,
        "{name}: {counts:?}"
    );
    let number = |row: &Vec<Cell>| match row[0] {
        Cell::Int(number) => number.cast_unsigned(),
        ref other => panic!("{name}: {other:?} is no number"),
    };
    let dead: Vec<u64> = found.dead_letters.iter().map(|letter| letter.sequence).collect();
    let seen: Vec<u64> = found.tables["seen"].rows.iter().map(number).collect();
    let all: BTreeSet<u64> = seen.iter().chain(&dead).copied().collect();
    assert_eq!(all.len(), seen.len() + dead.len(), "{name}: no event twice");
    assert_eq!(all.len() as u64 + counts.filtered, published, "{name}: no event lost");
    println!(
        "{name}: {published} events, {} dead letters, {} filtered",
        dead.len(),
        counts.filtered
    );
    if name != PIPELINE {
        let malformed: Vec<u64> = (1..=published).filter(|n| n % MALFORMED == 0).collect();
        assert_eq!(dead, malformed, "{name}");
        assert_eq!(counts.filtered, 0, "{name}");
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

//! Modules that are made to keep a compiler busy, deployed to a host that runs: it is told why they are refused, and
//! nobody else notices.

use crate::{
    process::{Run, Running},
    versions::{NO_TRIAL, SUBJECT, Swapped, deploy, deploy_to, hosts, wait_for_status},
    wait_until,
};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};
use weir::{model::deployment::Deployment, nats::Registry, runtime::status::StepStatus};
use weir_tests::{
    guest,
    made::{Says, loops, nested, stage},
    seed::with_seed,
    swaps::{self, PIPELINE, STEP, digest_of, pipeline_text},
};

/// Another step of the same pipeline.
const SECOND: &str = "second";

/// Another pipeline of the same host.
const OTHER: &str = "other";

/// Seconds of CPU within which no test is done with looking at a compiler.
const LONG: &str = "compile-cpu-s=60";

struct Setup {
    swapped: Swapped,
    registry: Registry,
}

impl Setup {
    fn new() -> Self {
        let second = format!(
            "\n[[step]]\nname = \"{SECOND}\"\nfrom = \"{STEP}\"\nstage = {{ module = \"{}\", parameters = {{ malformed = 97 }}, trial = {NO_TRIAL} }}\n\
             [[sink]]\nfrom = \"{SECOND}\"\ntable = \"second\"\ncolumns = [\"n\", \"k\"]\n",
            guest("versions").display()
        );
        let swapped = Swapped::with(&(pipeline_text(NO_TRIAL) + &second));
        let other = format!(
            "name = '{OTHER}'\nsource = {{ stream = 'EVENTS', subject = '{SUBJECT}', columns = {{ n = 'int' }} }}\n\
             sink = [{{ table = 'rows' }}]\n"
        );
        fs::write(swapped.folder.path().join("other.toml"), other).expect("the pipeline file can be written");
        let registry = swapped.registry();
        Self { swapped, registry }
    }

    /// Starts a host with both pipelines and these bounds.
    fn start(&self, bounds: &str) -> Running {
        let folder = self.swapped.folder.path();
        let pipelines = ["swapped.toml", "other.toml"].map(|file| folder.join(file));
        let run = Run::new(folder, &self.swapped.server.url(), pipelines);
        let running = run.with_variable("WEIR_FAIL_POINTS", bounds).start();
        let registry = &self.registry;
        wait_until("the host in the registry", || hosts(registry).len() == 2);
        running
    }

    /// Deploys a made component for a step, past the checks of the command.
    fn deploy(&self, step: &str, component: &[u8]) -> Deployment {
        let digest = digest_of(component);
        self.registry
            .put_module(&digest, component)
            .expect("the registry takes the module");
        deploy_to(&self.registry, PIPELINE, step, Some(&digest), "")
    }

    /// Deploys what is good.
    fn deploy_good(&self, step: &str) -> Deployment {
        let path = guest("versions");
        let component = fs::read(&path).expect("the module can be read");
        self.registry
            .put_module(&swaps::digest(&path), &component)
            .expect("the registry takes the module");
        deploy_to(&self.registry, PIPELINE, step, Some(&swaps::digest(&path)), "")
    }

    /// Publishes events, and waits until both pipelines committed them.
    fn pass(&self, running: &mut Running, first: u64, last: u64) {
        self.swapped.pass(running, first, last);
        running.wait_for_position(&self.swapped.folder.path().join("other.db"), OTHER, last);
    }

    fn wait_for(&self, step: &str, what: &str, holds: impl Fn(&StepStatus) -> bool) {
        wait_for_status(&self.registry, what, |host| {
            host.steps.iter().any(|status| status.step == step && holds(status))
        });
    }

    fn wait_in_force(&self, step: &str, deployed: &Deployment) {
        self.wait_for(step, "a version in force", |status| {
            status.deployment.version == deployed.version
        });
    }
}

fn busy() -> Vec<u8> {
    with_seed(|random| stage(&Says::default(), &loops(600, 600, random)))
}

/// The compilers that a process started, as far as they run.
fn compilers(of: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("there is /proc").flatten();
    let numbers = processes.filter_map(|process| process.file_name().to_str()?.parse().ok());
    numbers
        .filter(|process| parent(*process) == Some(of) && is_compiler(*process))
        .collect()
}

fn parent(process: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Behind the name, which may hold anything, stand the state and the parent.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn is_compiler(process: u32) -> bool {
    let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).any(|word| word == b"compile-component")
}

#[track_caller]
fn wait_for_compiler(running: &mut Running) -> u32 {
    wait_until("a compiler", || {
        running.check_running();
        !compilers(running.id()).is_empty()
    });
    compilers(running.id())[0]
}

#[test]
fn a_module_that_keeps_a_compiler_busy_holds_up_nobody() {
    let setup = Setup::new();
    let mut running = setup.start(LONG);
    setup.pass(&mut running, 1, 100);
    setup.deploy(STEP, &busy());
    let compiler = wait_for_compiler(&mut running);

    let good = setup.deploy_good(SECOND);
    setup.wait_in_force(SECOND, &good);
    setup.pass(&mut running, 101, 200);
    let status = setup.swapped.weir("status");
    assert!(status.ends_with(0).stdout.contains(SECOND));
    assert_eq!(compilers(running.id()), [compiler], "it is still at it");

    // What is deployed in its place is not waited for either, and nobody waits for the former any more.
    let good = setup.deploy_good(STEP);
    setup.wait_in_force(STEP, &good);
    wait_until("the compiler to be gone", || !is_compiler(compiler));
    setup.pass(&mut running, 201, 300);
    running.interrupt().ends_with(0);
}

#[test]
fn what_cannot_be_had_yet_holds_up_no_other_step_and_is_tried_again() {
    let setup = Setup::new();
    let mut running = setup.start(LONG);
    setup.pass(&mut running, 1, 100);
    let module = stage(&Says::default(), "");
    let digest = digest_of(&module);
    let put = setup.registry.put_module(&digest, &module);
    put.expect("the registry takes the module");
    let (stream, sequence) = setup.swapped.client.garble_object("weir-modules", &digest);
    let waits = deploy_to(&setup.registry, PIPELINE, SECOND, Some(&digest), "");
    let word = format!(
        "version {} of step {SECOND} of pipeline {PIPELINE} waits: ",
        waits.version
    );
    running.wait_for_word(&word);
    let waiting = |status: &StepStatus| status.waits.as_ref().map(|waits| waits.version);
    setup.wait_for(SECOND, "the word that it waits", |status| {
        waiting(status) == Some(waits.version)
    });
    let shown = setup.swapped.weir("status").ends_with(0).stdout;
    assert!(shown.contains("    version 1 waits: cannot read module "), "{shown}");

    // Of the two, the one that waits would be the first in any order by name.
    let good = setup.deploy_good(STEP);
    setup.wait_in_force(STEP, &good);
    setup.pass(&mut running, 101, 200);

    setup.swapped.client.delete_message(&stream, sequence);
    setup.wait_for(SECOND, "what became of it", |status| {
        // It takes no parameters, and is refused for that: it was fetched and compiled.
        let failed = status.failed.as_ref();
        failed.is_some_and(|failed| failed.version == waits.version && failed.reason.contains("parameter"))
            && waiting(status).is_none()
    });
    assert_eq!(running.said().matches(&word).count(), 1, "{}", running.said());
    running.interrupt().ends_with(0);
}

#[test]
fn a_compiler_that_is_killed_is_started_again_and_holds_up_nobody() {
    let setup = Setup::new();
    let mut running = setup.start(LONG);
    setup.pass(&mut running, 1, 100);
    let deployed = setup.deploy(STEP, &busy());
    let kill = |compiler: u32| {
        // SAFETY: it only sends a signal, to a child of the host that has not ended.
        unsafe { libc::kill(compiler.cast_signed(), libc::SIGKILL) };
        wait_until("the compiler to be gone", || !is_compiler(compiler));
    };
    kill(wait_for_compiler(&mut running));
    // It is tried again beside the rollout, which has its hands free.
    let compiler = wait_for_compiler(&mut running);
    let good = setup.deploy_good(SECOND);
    setup.wait_in_force(SECOND, &good);
    assert_eq!(compilers(running.id()), [compiler], "it is still at it");
    kill(compiler);
    kill(wait_for_compiler(&mut running));
    setup.wait_for(STEP, "the refusal", |status| {
        let failed = status.failed.as_ref();
        failed.is_some_and(|failed| failed.version == deployed.version && failed.reason.contains("3 times in a row"))
    });
    assert_eq!(compilers(running.id()), [] as [u32; 0]);
    setup.pass(&mut running, 101, 200);
    running.interrupt().ends_with(0);
}

#[test]
fn what_passes_a_bound_is_refused_by_name_and_the_host_goes_on() {
    let setup = Setup::new();
    let mut running = setup.start("compile-cpu-s=1,compile-memory-mib=1024");
    setup.pass(&mut running, 1, 100);
    let nested = nested(&stage(&Says::default(), ""), 20_000);
    for (component, words) in [
        (busy(), "compiling it took more than 1 s of CPU"),
        (nested, "it has more than 1024 modules and components within it"),
    ] {
        let refused = setup.deploy(STEP, &component);
        setup.wait_for(STEP, words, |status| {
            let failed = status
                .failed
                .as_ref()
                .filter(|failed| failed.version == refused.version);
            failed.is_some_and(|failed| failed.reason.contains(words) && !failed.taken_back)
        });
        assert!(running.said().contains(words), "{}", running.said());
    }
    setup.pass(&mut running, 101, 200);
    let good = deploy(&setup.registry, "");
    setup.wait_in_force(STEP, &good);
    assert_eq!(compilers(running.id()), [] as [u32; 0]);
    running.interrupt().ends_with(0);
}

#[test]
fn a_host_that_is_to_stop_does_not_wait_for_a_compiler_and_leaves_none_behind() {
    let setup = Setup::new();
    let check_gone = |compiler: u32| wait_until("the compiler to be gone", || !is_compiler(compiler));
    let mut running = setup.start(LONG);
    setup.deploy(STEP, &busy());
    let compiler = wait_for_compiler(&mut running);
    let begun = Instant::now();
    let outcome = running.interrupt().ends_with(0);
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}\n{}",
        begun.elapsed(),
        outcome.stderr
    );
    check_gone(compiler);

    // The deployment is still wanted: it is what the next start begins with, before any event. That ends as well.
    let folder = setup.swapped.folder.path();
    let start = || {
        let run = Run::new(folder, &setup.swapped.server.url(), [folder.join("swapped.toml")]);
        run.with_variable("WEIR_FAIL_POINTS", LONG).start()
    };
    let mut running = start();
    let compiler = wait_for_compiler(&mut running);
    let begun = Instant::now();
    running.send(libc::SIGTERM);
    let outcome = running.end();
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}\n{}",
        begun.elapsed(),
        outcome.stderr
    );
    check_gone(compiler);

    let mut running = start();
    let compiler = wait_for_compiler(&mut running);
    running.kill();
    check_gone(compiler);
    assert!(Path::new(&setup.swapped.database()).exists());
}

/// The files of a folder that begin with the name of the database.
fn of_database(folder: &Path, name: &str) -> Vec<String> {
    let files = fs::read_dir(folder).expect("the folder can be read").flatten();
    let names = files.filter_map(|file| file.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|file| file.starts_with(name)).collect();
    names.sort();
    names
}

#[test]
fn who_stops_a_start_hears_of_it_and_finds_nothing_that_it_left() {
    let setup = Setup::new();
    let folder = setup.swapped.folder.path();
    let module = folder.join("busy.wasm");
    fs::write(&module, busy()).expect("the module can be written");
    let text = pipeline_text(NO_TRIAL).replace(&guest("versions").display().to_string(), &module.display().to_string());
    fs::write(folder.join("busy.toml"), text).expect("the pipeline file can be written");
    let database = folder.join("new.db");
    let stop = |signal| {
        let run = Run::new(folder, &setup.swapped.server.url(), [folder.join("busy.toml")]);
        let run = run
            .with(["--database", "new.db"])
            .with_variable("WEIR_FAIL_POINTS", LONG);
        let mut running = run.start();
        wait_for_compiler(&mut running);
        assert_eq!(of_database(folder, "new.db"), ["new.db", "new.db-guest", "new.db-lock"]);
        running.send(signal);
        running
            .end()
            .ends_with(130)
            .says("stopped before it began; nothing was read");
    };
    for signal in [libc::SIGINT, libc::SIGTERM] {
        stop(signal);
        assert_eq!(of_database(folder, "new.db"), [""; 0]);
    }

    // What was there stays, also where there is nothing in it; and so does what somebody put into the place of ours.
    fs::write(&database, "").expect("a file can be made");
    stop(libc::SIGINT);
    assert_eq!(of_database(folder, "new.db"), ["new.db", "new.db-lock"]);
    fs::remove_file(&database).expect("a file can be removed");
    fs::write(folder.join("new.db-lock"), "").expect("a file can be made");
    stop(libc::SIGINT);
    assert_eq!(of_database(folder, "new.db"), ["new.db-lock"]);
    let with_tables = rusqlite::Connection::open(&database).expect("a database can be made");
    with_tables
        .execute_batch("CREATE TABLE mine (a); INSERT INTO mine VALUES (1)")
        .expect("it can be written");
    drop(with_tables);
    let before = fs::read(&database).expect("it can be read");
    stop(libc::SIGINT);
    assert_eq!(fs::read(&database).expect("it is there"), before);
}

//! What `weir dev` and `weir build` start ends with them, however they end: the server, cargo, and what cargo runs.

use crate::{dev::new_rule, process::Run, server::Client, wait_until};
use std::{fs, path::Path};
use weir_tests::{nats::NatsServer, scratch};

/// The processes whose environment or command line says that they belong to a test, by its mark.
fn left_of(mark: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("the processes can be listed").flatten() {
        let Ok(line) = fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        let status = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let is_zombie = status.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z"));
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        let says = |bytes: &[u8]| bytes.windows(mark.len()).any(|part| part == mark.as_bytes());
        if !is_zombie && (says(&line) || says(&environment)) {
            found.push(String::from_utf8_lossy(&line).replace('\0', " "));
        }
    }
    found
}

/// A crate whose build script says that it runs, and never ends.
fn endless(folder: &Path) {
    fs::create_dir_all(folder.join("src")).expect("a folder can be made");
    // Without the SDK: what the script would wait for is built in a minute.
    let manifest = "[package]\nname = \"endless\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[lib]\ncrate-type = [\"cdylib\"]\n\
                    [workspace]\n";
    fs::write(folder.join("Cargo.toml"), manifest).expect("a file can be written");
    fs::write(folder.join("src/lib.rs"), "").expect("a file can be written");
    fs::write(folder.join("pipeline.toml"), "name = \"endless\"\n").expect("a file can be written");
    fs::create_dir_all(folder.join("cases/first")).expect("a folder can be made");
    fs::write(folder.join("cases/first/input.jsonl"), "").expect("a file can be written");
    let script = "fn main() { std::fs::write(\"runs\", \"\").unwrap(); loop { std::thread::park(); } }";
    fs::write(folder.join("build.rs"), script).expect("a file can be written");
}

#[test]
fn a_build_that_is_interrupted_or_killed_leaves_nothing_running() {
    for command in ["build", "dev"] {
        for kills in [false, true] {
            let scratch = scratch();
            let folder = scratch.path().join("endless");
            endless(&folder);
            let mark = format!("endless-{command}-{kills}-{}", std::process::id());
            let run = match command {
                "build" => Run::build(scratch.path(), "endless"),
                _ => Run::dev(scratch.path(), "endless"),
            };
            let mut running = run.with_variable("WEIR_TEST_MARK", &mark).start();
            wait_until("the build script", || folder.join("runs").exists());
            assert!(left_of(&mark).len() > 1, "there is something to end");
            match kills {
                true => running.kill(),
                false => {
                    running.send(libc::SIGINT);
                    drop(running.end());
                }
            }
            wait_until(&format!("the end of what {command} started"), || {
                left_of(&mark).is_empty()
            });
        }
    }
}

#[test]
fn the_server_of_dev_ends_with_it_when_it_is_killed() {
    let rule = new_rule();
    let mark = format!("server-of-dev-{}", std::process::id());
    let run = Run::dev(rule.place(), "large-orders");
    let mut running = run.with_variable("WEIR_TEST_MARK", &mark).start();
    running.wait_for_shown(0, "\nwatching ");
    let servers = || {
        left_of(&mark)
            .into_iter()
            .filter(|line| line.contains("--jetstream"))
            .count()
    };
    assert!(servers() > 0);
    running.kill();
    wait_until("the end of the server", || left_of(&mark).is_empty());
}

#[test]
fn a_server_of_the_environment_is_left_alone_by_dev() {
    let rule = new_rule();
    let server = NatsServer::start();
    let client = Client::connect(&server.url());
    let run = Run::dev(rule.place(), "large-orders").with(["--once"]);
    run.with_variable("NATS_URL", &server.url()).start().end().ends_with(0);
    assert_eq!(client.stream_names(), Vec::<String>::new());
}

//! The pipeline of [`weir_tests::swaps`] as a process, and the commands that say what its step runs.

use crate::{
    process::{Run, Running, weir},
    server::Client,
    wait_until,
};
use async_nats::ConnectOptions;
use expect_test::Expect;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;
use weir::{
    model::deployment::{Deployment, StoredVersion},
    nats::{Nats, NatsOptions, Registry},
    runtime::status::{HostStatus, StepStatus},
};
use weir_tests::{
    command::Outcome,
    nats::NatsServer,
    scratch,
    swaps::{self, MALFORMED, PIPELINE, STEP, pipeline_text},
};

/// The subject of its stream.
pub(crate) const SUBJECT: &str = "events";

/// No trial.
pub(crate) const NO_TRIAL: &str = "{ rows = 0 }";

/// A server, the stream, and a folder with the pipeline file.
pub(crate) struct Swapped {
    pub(crate) server: NatsServer,
    pub(crate) client: Client,
    pub(crate) folder: TempDir,
}

impl Swapped {
    pub(crate) fn new(trial: &str) -> Self {
        Self::with(&pipeline_text(trial))
    }

    /// With another pipeline file.
    pub(crate) fn with(text: &str) -> Self {
        let folder = scratch();
        fs::write(folder.path().join("swapped.toml"), text).expect("the pipeline file can be written");
        let server = NatsServer::start();
        Self::at(server, folder, ConnectOptions::new())
    }

    /// With a server that is there, where somebody may do everything.
    pub(crate) fn at(server: NatsServer, folder: TempDir, somebody: ConnectOptions) -> Self {
        let client = Client::connect_as(&server.url(), somebody);
        client.make_stream("EVENTS", &[SUBJECT]);
        Self { server, client, folder }
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("swapped.db")
    }

    pub(crate) fn run(&self) -> Run {
        self.run_in(self.folder.path())
    }

    /// A host with its database in another folder.
    pub(crate) fn run_in(&self, folder: &Path) -> Run {
        Run::new(folder, &self.server.url(), [self.folder.path().join("swapped.toml")])
    }

    /// Starts a host, and waits until the registry knows of it.
    #[track_caller]
    pub(crate) fn start(&self) -> Running {
        let mut running = self.run().start();
        running.wait_for_word("from sequence");
        let process = format!(" {}", running.id());
        let registry = self.registry();
        wait_until("word of the host in the registry", || {
            hosts(&registry).iter().any(|host| host.process.ends_with(&process))
        });
        running
    }

    /// Publishes the events `first..=last`. The stream holds those before.
    #[track_caller]
    pub(crate) fn publish(&self, first: u64, last: u64) {
        publish(&self.client, first, last);
    }

    /// Publishes events, and waits until they are committed.
    #[track_caller]
    pub(crate) fn pass(&self, running: &mut Running, first: u64, last: u64) {
        self.publish(first, last);
        running.wait_for_position(&self.database(), PIPELINE, last);
    }

    pub(crate) fn registry(&self) -> Registry {
        registry(&self.server.url())
    }

    /// Runs a command of several words in the folder. `{versions}` and `{strict}` stand for these modules.
    #[track_caller]
    pub(crate) fn weir(&self, line: &str) -> Outcome {
        self.weir_at(line, &self.server.url())
    }

    #[track_caller]
    pub(crate) fn weir_at(&self, line: &str, url: &str) -> Outcome {
        let mut command = weir().command();
        command.current_dir(self.folder.path()).env("USER", "tester");
        let guests = weir_tests::workspace().join("target/guests");
        for word in line.split_whitespace() {
            let module = word.strip_prefix('{').and_then(|word| word.strip_suffix('}'));
            match module {
                Some(module) => command.arg(guests.join(module).with_extension("wasm")),
                None => command.arg(word),
            };
        }
        let output = command.args(["--nats", url]).output().expect("weir can be started");
        Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("standard output is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("standard error is UTF-8"),
        }
    }

    /// Holds what such a command prints, as [`Swapped::plain`] gives it, and its exit code to what is expected.
    #[track_caller]
    pub(crate) fn check(&self, line: &str, code: i32, expected: &Expect) {
        let outcome = self.weir(line);
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        expected.assert_eq(&self.plain(&said));
        outcome.ends_with(code);
    }

    /// What a command printed, without what differs from run to run.
    pub(crate) fn plain(&self, text: &str) -> String {
        let machine = fs::read_to_string("/proc/sys/kernel/hostname").expect("the machine has a name");
        let machine = machine.trim();
        let guests = weir_tests::workspace().join("target/guests");
        let mut text = text
            .replace(&format!("{}/", self.folder.path().display()), "")
            .replace(&format!("{}/", guests.display()), "")
            .replace(&self.server.url(), "SERVER");
        for module in ["versions", "strict", "saved-orders", "other-version"] {
            let path = guests.join(module).with_extension("wasm");
            let digest = swaps::digest(&path);
            text = text.replace(&digest, &format!("DIGEST of {module}"));
            text = text.replace(&digest[..12], &format!("digest-of-{module}"));
        }
        text = text.replace(machine, "MACHINE");
        // How fast it is changes from run to run.
        let lines = text.split_inclusive('\n');
        text = lines.filter(|line| !line.contains(" events/s, ")).collect();
        text = masked(&text, "MACHINE ", |c: char| c.is_ascii_digit(), "PID");
        text = masked(&text, "$O.weir-modules.C.", |c| c.is_ascii_alphanumeric(), "PART");
        text = masked(&text, "\"host\":\"", |c| c.is_ascii_hexdigit(), "HOST");
        // How events are cut into batches does as well.
        for member in [
            "events_per_s",
            "said_ms",
            "commit_age_ms",
            "busy_ms",
            "calls",
            "state_bytes",
            "rows_out\":{\"out",
        ] {
            text = masked(&text, &format!("\"{member}\":"), |c| c.is_ascii_digit(), "N");
        }
        text = masked(&text, "\"pause_us\":", |c| c.is_ascii_digit(), "N");
        text = masked(&text, "events waited ", |c| c.is_ascii_digit(), "N");
        text = masked(&text, "in force after ", |c| c != '\n', "T");
        masked(&text, "\"at_ms\":", |c| c.is_ascii_digit(), "0")
    }
}

/// `text` with another word in the place of what follows `before`.
fn masked(text: &str, before: &str, belongs: impl Fn(char) -> bool, word: &str) -> String {
    let mut parts = text.split(before);
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(&belongs);
        masked += before;
        masked += if rest.len() < part.len() { word } else { "" };
        masked += rest;
    }
    masked
}

#[track_caller]
pub(crate) fn publish(client: &Client, first: u64, last: u64) {
    let events: Vec<_> = (first..=last)
        .map(|n| (SUBJECT, swaps::payload(n).into_bytes()))
        .collect();
    assert_eq!(client.publish(&events), last, "numbers are sequences");
}

pub(crate) fn registry(url: &str) -> Registry {
    let options = NatsOptions {
        url: url.to_owned(),
        ..Default::default()
    };
    let nats = Nats::connect(&options).expect("the server lets us in");
    Registry::open(&nats, 1).expect("the registry can be opened")
}

pub(crate) fn hosts(registry: &Registry) -> Vec<HostStatus> {
    registry.hosts(None).expect("the registry answers")
}

/// What hosts say of the step.
pub(crate) fn steps(registry: &Registry) -> Vec<StepStatus> {
    let of_step = |host: HostStatus| host.steps.into_iter().find(|step| step.step == STEP);
    hosts(registry).into_iter().filter_map(of_step).collect()
}

/// Deploys the next version, past the checks of the command. Its label is its number; `settings` are further parameters.
#[track_caller]
pub(crate) fn deploy(registry: &Registry, settings: &str) -> Deployment {
    let path = weir_tests::guest("versions");
    let digest = swaps::digest(&path);
    let component = fs::read(&path).expect("the module can be read");
    registry
        .put_module(&digest, &component)
        .expect("the registry takes the module");
    deploy_to(registry, PIPELINE, STEP, Some(&digest), settings)
}

/// Deploys whatever is said.
#[track_caller]
pub(crate) fn deploy_to(
    registry: &Registry,
    pipeline: &str,
    step: &str,
    digest: Option<&str>,
    settings: &str,
) -> Deployment {
    let made = registry.deploy(pipeline, step, |before| {
        let number = before.map_or(1, |before| before.version + 1);
        let mut parameters: BTreeMap<String, toml::Value> = toml::from_str(settings).expect("parameters");
        parameters.insert("label".to_owned(), toml::Value::Integer(number as i64));
        parameters.insert("malformed".to_owned(), toml::Value::Integer(MALFORMED as i64));
        Ok(Deployment {
            digest: digest.map(str::to_owned),
            parameters,
            by: "test".to_owned(),
            ..Default::default()
        })
    });
    made.expect("the registry takes the deployment")
}

/// Versions with their first sequences.
pub(crate) fn from_where(versions: &[StoredVersion]) -> Vec<(u64, u64)> {
    versions
        .iter()
        .filter(|version| version.step == STEP)
        .map(|version| (version.deployment.version, version.first_sequence))
        .collect()
}

/// Waits until the only host says `what` of itself.
#[track_caller]
pub(crate) fn wait_for_status(registry: &Registry, what: &str, holds: impl Fn(&HostStatus) -> bool) {
    wait_until(what, || hosts(registry).iter().any(&holds));
}

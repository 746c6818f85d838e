//! `weir run`: a JetStream stream into SQLite, against a bare client that receives the same stream and does nothing.

use crate::{
    Result,
    replay::{best_of, check_database, used},
    report::{Figure, Report, Target},
    root, say,
    scenario::{NOW, Scenario},
};
use async_nats::jetstream::{
    self,
    consumer::{AckPolicy, pull},
    stream::{Config, StorageType},
};
use futures_util::StreamExt;
use std::{
    collections::VecDeque,
    future::IntoFuture,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;
use weir::wasm::{Compiler, StageHost};
use weir_tests::usage::{self, Usage};

/// Messages in one pull, as `weir run` asks for them.
const PULL_MESSAGES: usize = 5_000;

/// Publications that may wait for their acks.
const UNACKNOWLEDGED_MAX: usize = 4_000;

/// How long the server may take to start.
const START_MAX: Duration = Duration::from_secs(20);

pub(crate) fn measure(report: &mut Report, weir: &Path, folder: &Path, events: u64, runs: u32) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for scenario in Scenario::ALL {
        // A server for each, so that a stream holds the events of one scenario and the disk those of one stream.
        let store = tempfile::tempdir_in(folder)?;
        let server = Server::start(store.path(), &runtime)?;
        say(format_args!(
            "jetstream: publishing {events} events of {}",
            scenario.title()
        ));
        let stored = Instant::now();
        let stream = runtime.block_on(publish(&server, scenario, events))?;
        say(format_args!(
            "jetstream: stored {:.0} a second",
            events as f64 / stored.elapsed().as_secs_f64()
        ));

        say(format_args!(
            "jetstream: receiving them with a bare client and with weir run, in turns, {runs} times"
        ));
        let mut bare_best = Duration::MAX;
        let best = best_of(runs, || {
            bare_best = bare_best.min(runtime.block_on(receive(&stream, events))?);
            run_weir(weir, &server, scenario, folder, events)
        })?;
        report.add(Figure {
            part: "jetstream",
            what: format!("into SQLite, {}", scenario.title()),
            value: events as f64 / best.wall.as_secs_f64(),
            unit: "events/s",
            baseline: events as f64 / bare_best.as_secs_f64(),
            baseline_what: "bare client that only receives",
            targets: vec![Target::LeastTimesBaseline(0.7)],
            also: used(best, events),
        });
    }
    Ok(())
}

fn run_weir(weir: &Path, server: &Server, scenario: Scenario, folder: &Path, events: u64) -> Result<Usage> {
    let run = tempfile::tempdir_in(folder)?;
    let database = run.path().join("run.db");
    let mut command = Command::new(weir);
    command
        .arg("run")
        .arg(scenario.pipeline())
        .arg("--nats")
        .arg(&server.url)
        .arg("--database")
        .arg(&database);
    command.args(["--now", NOW, "--until-caught-up"]);
    let usage = usage::run(&mut command, folder)?;
    check_database(&database, scenario, events)?;
    Ok(usage)
}

/// Stores the events in the stream that the pipeline reads.
async fn publish(server: &Server, scenario: Scenario, events: u64) -> Result<jetstream::stream::Stream> {
    let context = jetstream::new(async_nats::connect(&server.url).await?);
    let (name, subject) = source_of(scenario)?;
    let config = Config {
        name,
        subjects: vec![subject.clone()],
        storage: StorageType::File,
        ..Default::default()
    };
    let stream = context.create_stream(config).await?;
    let mut generate = scenario.generator(events);
    let mut payload = Vec::new();
    let mut acks = VecDeque::new();
    for _ in 0..events {
        if acks.len() >= UNACKNOWLEDGED_MAX
            && let Some(ack) = acks.pop_front()
        {
            let ack: jetstream::context::PublishAckFuture = ack;
            ack.into_future().await?;
        }
        generate(&mut payload);
        acks.push_back(context.publish(subject.clone(), payload.clone().into()).await?);
    }
    for ack in acks {
        ack.into_future().await?;
    }
    Ok(stream)
}

/// The stream and the subject of the pipeline file.
fn source_of(scenario: Scenario) -> Result<(String, String)> {
    let host = StageHost::new(StageHost::default_cache().as_deref(), Compiler::InProcess)?;
    let plan = scenario.plan(&host)?;
    let [subject] = <[String; 1]>::try_from(plan.subjects()).map_err(|_| "the source has several inputs")?;
    Ok((plan.stream, subject))
}

/// Receives everything through a consumer like that of `weir run`, and gives how long it took.
async fn receive(stream: &jetstream::stream::Stream, events: u64) -> Result<Duration> {
    let name = "bare";
    let config = pull::Config {
        durable_name: Some(name.to_owned()),
        ack_policy: AckPolicy::All,
        max_ack_pending: -1,
        filter_subject: stream
            .cached_info()
            .config
            .subjects
            .first()
            .cloned()
            .unwrap_or_default(),
        ..Default::default()
    };
    let begun = Instant::now();
    let consumer = stream.create_consumer(config).await?;
    let mut messages = consumer
        .stream()
        .max_messages_per_batch(PULL_MESSAGES)
        .messages()
        .await?;
    let mut received = 0;
    let mut last = None;
    while received < events {
        last = Some(messages.next().await.ok_or("the stream of messages ended")??);
        received += 1;
    }
    let elapsed = begun.elapsed();
    if let Some(last) = last {
        last.ack().await?;
    }
    stream.delete_consumer(name).await?;
    Ok(elapsed)
}

/// A `nats-server` of its own, ended when it is dropped.
pub(crate) struct Server {
    process: Child,
    pub(crate) url: String,
}

impl Server {
    /// Starts one on a free port, with its streams in `store`.
    pub(crate) fn start(store: &Path, runtime: &Runtime) -> Result<Self> {
        // Somebody else may take the port before the server does; then it ends at once and says so.
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let binary = find_server()?;
        let process = Command::new(&binary)
            .args([
                "--addr",
                "127.0.0.1",
                "--port",
                &port.to_string(),
                "--jetstream",
                "--store_dir",
            ])
            .arg(store)
            .arg("--log")
            .arg(store.join("server.log"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|cause| format!("cannot start {}: {cause}", binary.display()))?;
        let mut server = Self {
            process,
            url: format!("nats://127.0.0.1:{port}"),
        };
        let deadline = Instant::now() + START_MAX;
        loop {
            let attempt = runtime.block_on(async {
                let client = async_nats::connect(&server.url).await?;
                jetstream::new(client).query_account().await?;
                Ok::<(), async_nats::Error>(())
            });
            match attempt {
                Ok(()) => return Ok(server),
                Err(_) if Instant::now() < deadline && server.process.try_wait()?.is_none() => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(cause) => {
                    let log = std::fs::read_to_string(store.join("server.log")).unwrap_or_default();
                    return Err(format!("{} does not answer: {cause}\n{log}", binary.display()).into());
                }
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The server of `NATS_SERVER`, of the `PATH`, or where `cargo xtask setup` puts it.
fn find_server() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("NATS_SERVER").filter(|named| !named.is_empty()) {
        return Ok(named.into());
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&folders).collect();
    places.push(root().join("target/nats-server/bin"));
    let found = places
        .into_iter()
        .map(|folder| folder.join("nats-server"))
        .find(|file| file.is_file());
    found.ok_or_else(|| "no nats-server; get one with: cargo xtask setup".into())
}

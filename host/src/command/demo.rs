//! `weir demo`: everything at once, on this machine.

mod screen;
pub(super) mod server;

use super::{load_plan, show, signals, stage_host};
use crate::{
    command::sample::{Orders, PageVisits, PolicyChanges, Times, customers},
    command::terminal::answer,
    error::{Context, Error, Result},
    files::private_file,
    format::Decoder,
    limits::BATCH_EVENTS_MAX,
    model::ids::{InputId, TableId},
    nats::{Beginning, Gap, Nats, NatsOptions, Registry},
    operator::lookup,
    plan::Plan,
    runtime::live::{Live, LiveOptions, Ready},
    source::Stop,
    storage::{Location, Messages},
    wasm::StageHost,
};
use screen::Screen;
use server::Server;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

/// Shows the three scenarios of an insurance company at work: a nats-server, a flow of events, and tables that fill.
///
/// The server is started on a free port of this machine, with a store that is removed at the end; the databases are kept.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  weir demo --events 50000\n  weir demo --keep-running")]
pub(super) struct Demo {
    /// How many events are published.
    #[arg(long, value_name = "N", default_value_t = 120_000)]
    events: u64,
    /// Go on until Ctrl-C, with the server there for you to look at.
    #[arg(long)]
    keep_running: bool,
    /// Seeds the events: the same number gives the same flow.
    #[arg(long, value_name = "N", default_value_t = 2026)]
    seed: u64,
    /// The folder with the scenarios; by default `guests` here or in a folder above.
    #[arg(long, value_name = "FOLDER")]
    guests: Option<PathBuf>,
}

/// The scenarios, in the order in which they are shown: folder, and the subject that feeds it.
const SCENARIOS: [(&str, &str); 3] = [
    ("hourly-orders", "user_order"),
    ("premium-drop", "dh_prd_dm_account_wechat_trace"),
    ("last-page", "edw_zy_evt_bury_point_log"),
];

/// How long the flow of events lasts, about.
const FLOW: Duration = Duration::from_secs(12);

/// How often something is published and shown.
const BEAT: Duration = Duration::from_millis(200);

const USERS: u32 = 5_000;
const CUSTOMERS: u32 = 400;
const DEVICES: u32 = 8_000;

/// The time zone of the insurance company.
const ZONE: &str = "Asia/Shanghai";

impl Demo {
    pub(super) fn run(self) -> Result<ExitCode> {
        let folder = match self.guests {
            Some(folder) => folder,
            None => find_guests()?,
        };
        let host = stage_host()?;
        let mut plans = Vec::new();
        for (scenario, _) in SCENARIOS {
            plans.push(Arc::new(load_plan(
                &folder.join(scenario).join("pipeline.toml"),
                &host,
                None,
            )?));
        }
        let home = private_file::temporary_folder("weir-demo-")?.keep();
        let server = Server::start(&home.join("nats"))?;
        let nats = Nats::connect(&NatsOptions {
            url: server.url().to_owned(),
            ..Default::default()
        })?;
        nats.make_stream("INSURANCE", &SCENARIOS.map(|(_, subject)| subject))?;
        nats.make_stream("ALERTS", &["alerts.>"])?;

        let stop = Stop::default();
        let ending = server.ending();
        signals::obey(&stop, "draining", || {}, move || ending.end())?;
        let lives = start(&nats, &host, &plans, &home, &stop)?;
        let begun = Instant::now();
        let mut screen = Screen::new(server.url(), begun);
        let mut flow = Flow::new(self.seed, self.events);
        let mut published = 0;
        loop {
            let beat = Instant::now();
            let due = due(self.events, begun.elapsed(), self.keep_running);
            while published < due && !stop.is_set() {
                let count = (due - published).min(2_000);
                nats.publish_all(&flow.next(count))?;
                published += count;
            }
            screen.draw(&home, &lives, published)?;
            let committed: u64 = lives.iter().map(|live| live.metrics.events()).sum();
            let caught_up = published >= self.events && committed >= published && !self.keep_running;
            if stop.is_set() || caught_up || lives.iter().any(Live::is_finished) {
                break;
            }
            std::thread::sleep(BEAT.saturating_sub(beat.elapsed()));
        }
        stop.set();
        let mut reports = Vec::new();
        for live in lives {
            let (plan, database, counts) = (live.plan.clone(), live.database.clone(), live.metrics.counts());
            reports.push((plan, database, counts, live.finish()?));
        }
        screen.end(&home)?;
        answer!("")?;
        for (plan, _, counts, report) in &reports {
            let messages =
                (report.published > 0).then_some((report.published, "published to subject alerts.premium-drop"));
            answer!("{}", show::summary(&plan.name, *counts, messages, begun.elapsed()))?;
        }
        nats.close();
        drop(server);
        answer!("{}", closing(&folder, &home))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// How many events are to be out after `elapsed`.
fn due(events: u64, elapsed: Duration, keep_running: bool) -> u64 {
    let share = elapsed.as_secs_f64() / FLOW.as_secs_f64();
    let due = (events as f64 * share) as u64;
    if keep_running { due } else { due.min(events) }
}

fn start(nats: &Nats, host: &StageHost, plans: &[Arc<Plan>], home: &Path, stop: &Stop) -> Result<Vec<Live>> {
    let mut lives = Vec::new();
    for plan in plans {
        let file = Location::in_folder(home, &plan.name).hold()?;
        if let Some(table) = plan.tables.as_slice().first() {
            let mut rows = lookup::Table::new(table.clone(), 1);
            let mut decoder = Decoder::of_columns(&table.columns, BATCH_EVENTS_MAX)?;
            let mut row = Vec::new();
            for (number, customer) in (1..).zip(customers(CUSTOMERS)) {
                row.clear();
                customer.write_into(&mut row);
                decoder.push(number, None, &row);
            }
            rows.set(
                decoder.take().of_input(InputId::FIRST),
                &(0..table.columns.len()).collect::<Vec<_>>(),
            );
            let mut storage = file.open(plan.clone(), Messages::Drop)?;
            storage.set_table(TableId::FIRST, rows.take_changes())?;
        }
        let options = LiveOptions {
            until_caught_up: false,
            gap: Gap::Refuse,
            again: false,
            beginning: Beginning::default(),
            registry: Some(Registry::open(nats, 1)?),
            registry_replicas: 1,
        };
        lives.push(Ready::open(nats, host, plan.clone(), &file, options, stop)?.start()?);
    }
    Ok(lives)
}

/// The events of all three scenarios, mixed.
struct Flow {
    orders: Orders,
    policies: PolicyChanges,
    visits: PageVisits,
    number: u64,
}

impl Flow {
    /// The orders are those of today so far, so that every hour up to now gets its share.
    fn new(seed: u64, events: u64) -> Self {
        let now = jiff::Timestamp::now();
        let now_ms = now.as_millisecond();
        let midnight_ms = now
            .in_tz(ZONE)
            .and_then(|local| local.start_of_day())
            .map_or(now_ms, |midnight| midnight.timestamp().as_millisecond());
        let span_ms = u64::try_from(now_ms - midnight_ms).unwrap_or(0).max(60_000);
        let times = Times {
            start_ms: midnight_ms,
            span_ms,
            events: (events / 3).max(1),
        };
        Self {
            orders: Orders::new(seed, USERS, times).malformed(0.004),
            policies: PolicyChanges::new(seed + 1, CUSTOMERS, times)
                .malformed(0.004)
                .drops(0.01),
            visits: PageVisits::new(seed + 2, DEVICES, times).malformed(0.004),
            number: 0,
        }
    }

    fn next(&mut self, count: u64) -> Vec<(&'static str, Vec<u8>)> {
        let subjects = SCENARIOS.map(|(_, subject)| subject);
        let mut messages = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let mut payload = Vec::new();
            let scenario = self.number % 3;
            match scenario {
                0 => self.orders.next_into(&mut payload),
                1 => self.policies.next_into(&mut payload),
                _ => self.visits.next_into(&mut payload),
            }
            self.number += 1;
            messages.push((subjects.get(scenario as usize).copied().unwrap_or_default(), payload));
        }
        messages
    }
}

fn find_guests() -> Result<PathBuf> {
    let here = std::env::current_dir().environment(|| "cannot tell the current folder".to_owned())?;
    let found = here.ancestors().map(|folder| folder.join("guests")).find(|guests| {
        SCENARIOS
            .iter()
            .all(|(scenario, _)| guests.join(scenario).join("pipeline.toml").is_file())
    });
    found.ok_or_else(|| {
        Error::definition(
            "there is no folder guests with the scenarios here or above; run this in the repository, or say --guests",
        )
    })
}

fn closing(guests: &Path, home: &Path) -> String {
    let (guests, home) = (guests.display(), home.display());
    format!(
        "
What happened: three pipelines read one JetStream stream. Their rules are WebAssembly components; what they let
through went into the tables above, each turn in one transaction with its position. Some events were malformed on
purpose: each is a dead letter, and applied + filtered + dead letters + empty is the number of events.

The databases are in {home}

Try next:
  sqlite3 {home}/hourly-orders.db 'SELECT * FROM hs_order ORDER BY 1'
  weir dead-letters list {home}/premium-drop.db
  weir check {guests}/premium-drop/pipeline.toml
  weir demo --keep-running
and change a rule in {guests}/premium-drop/src/lib.rs, build it with `cargo xtask guests`, and run this again."
    )
}

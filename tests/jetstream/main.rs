//! `weir run` against a real `nats-server`: the command as a process, events from another client, and everything that
//! dies on the way.
//!
//! - [`server`] and [`process`] hold what is started, [`events`] what is published.
//! - No test sleeps to be in time: each waits for a condition, with a deadline that only a defect reaches.

mod events;
mod process;
mod server;
mod versions;

mod golden;
mod guide;

mod campaign;
mod cuts;
mod hostile;
mod inputs;
mod kills;
mod removed;
mod restored;
mod watched;

mod alerts;
mod beginnings;
mod dead_letters;
mod past;
mod refused;

mod dev;

mod access;
mod accounts;
mod clusters;
mod compiling;
mod contexts;
mod databases;
mod endings;
mod faults;
mod file_versions;
mod metadata;
mod permissions;
mod refusals;
mod rejudged;
mod several;
mod signals;
mod terminal;

mod crash_loops;
mod deploy_hosts;
mod deploy_refusals;
mod deployed_before;
mod deploys;
mod signatures;
mod signing;
mod swap_kills;
mod taken_back;
mod ticks;
mod transport;
mod unanswered;
mod watching_hosts;
mod words;

use std::time::Duration;
use weir_tests::wait_until;

/// "Now" of every event, as in the golden cases: where it is the time of storage, two streams never give equal tables.
const NOW: &str = "2026-03-15T12:00:00+08:00";

/// How long a condition may take on a machine that is busy with other things.
const DEADLINE: Duration = Duration::from_secs(60);

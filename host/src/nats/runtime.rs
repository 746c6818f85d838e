//! The runtime that a connection brings along, and its threads.
//!
//! tokio panics where the system gives it no thread: while a runtime is built, and later where a task asks for one that may
//! block, as looking up the name of a server does when a lost connection is made again. So whether there can be threads is found
//! out first, and one of those that may block is there from the beginning and stays; what finds no second waits for it.

use crate::error::{Context, Error, Result};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::channel,
    thread,
    time::Duration,
};
use tokio::runtime::{Builder, Runtime};

/// How long a thread stays that has nothing to do: for as long as the process lives.
const KEPT: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A runtime with its threads.
///
/// # Errors
/// When the system gives us none.
pub(super) fn start() -> Result<Runtime> {
    check_threads()?;
    // Somebody else may have been faster since.
    let started = catch_unwind(AssertUnwindSafe(|| {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("weir-nats")
            .thread_keep_alive(KEPT)
            .enable_all()
            .build()?;
        drop(runtime.spawn_blocking(|| {}));
        Ok::<_, std::io::Error>(runtime)
    }));
    let started = started.map_err(|_| Error::environment("cannot start a thread: the system gives none"))?;
    started.environment(|| "cannot start a thread".to_owned())
}

/// Whether there can be the two threads that it begins with: one for its tasks, and one for what blocks.
fn check_threads() -> Result<()> {
    let (end, wait) = channel::<()>();
    // One waits until the other is there too.
    let first = spawn(move || _ = wait.recv())?;
    let second = spawn(|| {});
    drop(end);
    let _ = first.join();
    let _ = second?.join();
    Ok(())
}

fn spawn(work: impl FnOnce() + Send + 'static) -> Result<thread::JoinHandle<()>> {
    let thread = thread::Builder::new().name("weir-nats".to_owned()).spawn(work);
    thread.environment(|| "cannot start a thread".to_owned())
}

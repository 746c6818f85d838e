//! Ctrl-C, and the signal that a supervisor sends.

use crate::{
    command::terminal::say,
    error::{Context, Result},
    source::Stop,
    storage,
    wasm::watch,
};
use std::{
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::channel,
    },
    thread,
};
use tokio::signal::unix::{SignalKind, signal};

/// Files that a runtime with signals takes, and some.
const SIGNAL_FILES: usize = 8;

/// From now on a write beyond the bound on the size of files (`ulimit -f`) fails, as it does on a full disk, in place of ending
/// this process. (A write to a pipe that nobody reads does so already: Rust's library sees to that.) Programs that are started
/// have the signals as ever.
pub(super) fn let_large_writes_fail() {
    // tokio panics where there are too few for its pipe. Who may open so few files is told of it later.
    let files: std::io::Result<Vec<_>> = (0..SIGNAL_FILES)
        .map(|_| std::io::stdin().as_fd().try_clone_to_owned())
        .collect();
    if files.map(drop).is_err() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let Ok(runtime) = runtime else { return };
    let _entered = runtime.enter();
    // Who listens once has the signal caught for as long as the process lives.
    let _ = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()));
}

/// From now on the first signal asks to stop, and the second ends the process.
///
/// # Errors
/// When there can be no thread for it.
pub(super) fn stop(stop: &Stop) -> Result<()> {
    stop_later(stop, || {}).map(Signals::drain)
}

/// From now on a signal ends the process, until there is something to drain. The first one from then on also does what
/// `at_first` says.
///
/// # Errors
/// When there can be no thread for it.
pub(super) fn stop_later(stop: &Stop, at_first: impl Fn() + Send + 'static) -> Result<Signals> {
    let drains = Arc::new(AtomicBool::new(false));
    obey_from(stop, "draining", at_first, || {}, drains.clone())?;
    Ok(Signals { drains })
}

/// Signals that end the process.
pub(super) struct Signals {
    drains: Arc<AtomicBool>,
}

impl Signals {
    /// The first one asks to stop from now on.
    pub(super) fn drain(self) {
        self.drains.store(true, Ordering::Relaxed);
    }
}

/// The same. The first signal also does what `at_first` says, the second before all else what `at_once` says.
///
/// # Errors
/// When there can be no thread for it.
pub(super) fn obey(
    stop: &Stop,
    word: &'static str,
    at_first: impl Fn() + Send + 'static,
    at_once: impl Fn() + Send + 'static,
) -> Result<()> {
    obey_from(stop, word, at_first, at_once, Arc::new(AtomicBool::new(true)))
}

fn obey_from(
    stop: &Stop,
    word: &'static str,
    at_first: impl Fn() + Send + 'static,
    at_once: impl Fn() + Send + 'static,
    drains: Arc<AtomicBool>,
) -> Result<()> {
    let stop = stop.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.environment(|| "cannot start a thread".to_owned())?;
    let (begun, has_begun) = channel();
    let wait = async move {
        let Ok(mut terminate) = signal(SignalKind::terminate()) else {
            return;
        };
        let Ok(mut interrupt) = signal(SignalKind::interrupt()) else {
            return;
        };
        let _ = begun.send(());
        let mut asked = false;
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            let begins = !drains.load(Ordering::Relaxed);
            if begins {
                say!(Info, "weir: stopped before it began; nothing was read");
            }
            if asked || begins {
                at_once();
                // What is at work now dies of this, and of nothing else.
                watch::leave();
                storage::leave();
                std::process::exit(130);
            }
            asked = true;
            say!(Info, "weir: {word}; once more ends at once");
            stop.set();
            at_first();
        }
    };
    thread::Builder::new()
        .name("weir-signals".to_owned())
        .spawn(move || runtime.block_on(wait))
        .environment(|| "cannot start a thread".to_owned())?;
    let _ = has_begun.recv();
    Ok(())
}

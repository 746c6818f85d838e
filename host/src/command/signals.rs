//! Ctrl-C, and the signal that a supervisor sends.

use crate::{
    error::{Context, Result},
    say,
    source::Stop,
    watch,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::channel,
    },
    thread,
};
use tokio::signal::unix::{SignalKind, signal};

/// From now on the first signal asks to stop, and the second ends the process.
///
/// # Errors
/// When there can be no thread for it.
pub(super) fn stop(stop: &Stop) -> Result<()> {
    stop_later(stop).map(Signals::drain)
}

/// From now on a signal ends the process, until there is something to drain.
///
/// # Errors
/// When there can be no thread for it.
pub(super) fn stop_later(stop: &Stop) -> Result<Signals> {
    let drains = Arc::new(AtomicBool::new(false));
    obey_from(stop, "draining", || {}, || {}, drains.clone())?;
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
            if asked || !drains.load(Ordering::Relaxed) {
                at_once();
                // What is at work now dies of this, and of nothing else.
                watch::leave();
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

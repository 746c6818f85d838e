//! Ctrl-C, and the signal that a supervisor sends.

use crate::{
    error::{Context, Result},
    say,
    source::Stop,
};
use std::{sync::mpsc::channel, thread};
use tokio::signal::unix::{SignalKind, signal};

/// From now on the first signal asks to stop, and the second ends the process.
///
/// # Errors
/// When there can be no thread for it.
pub(super) fn stop(stop: &Stop) -> Result<()> {
    obey(stop, "draining", || {}, || {})
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
            if asked {
                at_once();
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

//! A nats-server of our own, on a free port of this machine.

use crate::{
    command::supervise::{Supervised, not_started},
    error::{Context, Error, Result},
    files::private_file,
};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long the server may take to start.
const START_MAX: Duration = Duration::from_secs(10);

/// How often we look whether it has.
const LOOK: Duration = Duration::from_millis(20);

/// A running server. Dropping it stops it and removes its store.
#[derive(Debug)]
pub(in crate::command) struct Server {
    child: Ending,
    store: PathBuf,
    url: String,
}

/// Ends a server at once, from wherever that has to be done.
#[derive(Clone, Debug)]
pub(in crate::command) struct Ending(Arc<Mutex<Supervised>>);

impl Ending {
    pub(in crate::command) fn end(&self) {
        self.child().kill();
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Supervised> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// Starts `$NATS_SERVER`, or the nats-server on the PATH, with its store in `store`.
    pub(in crate::command) fn start(store: &Path) -> Result<Self> {
        let program = std::env::var_os("NATS_SERVER").map_or_else(|| PathBuf::from("nats-server"), PathBuf::from);
        let wrap = || format!("cannot make {}", store.display());
        private_file::folder(store).environment(wrap)?;
        let shown = program.display();
        let cannot = |cause: &dyn std::fmt::Display| {
            Error::environment(format!(
                "cannot start {shown}: {cause}; `cargo xtask setup` gets one, or name one with NATS_SERVER=…"
            ))
        };
        let mut command = Command::new(&program);
        command
            .args(["--addr", "127.0.0.1", "--port", "-1", "--jetstream", "--store_dir"])
            .arg(store)
            .arg("--ports_file_dir")
            .arg(store);
        // Ctrl-C is for us: the pipelines still need the server while they drain.
        let child = Supervised::start(&command, Stdio::null(), Stdio::null()).map_err(|cause| cannot(&cause))?;
        let mut server = Self {
            child: Ending(Arc::new(Mutex::new(child))),
            store: store.to_owned(),
            url: String::new(),
        };
        let begun = Instant::now();
        loop {
            if let Some(url) = url_in_folder(store) {
                server.url = url;
                return Ok(server);
            }
            if let Ok(Some(status)) = server.child.child().try_wait() {
                return Err(match not_started(status) {
                    Some(why) => cannot(&why),
                    None => Error::environment(format!("{shown} ended at once: {status}")),
                });
            }
            if begun.elapsed() > START_MAX {
                return Err(Error::environment(format!("{shown} does not say where it listens")));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// What ends it before its time.
    pub(in crate::command) fn ending(&self) -> Ending {
        self.child.clone()
    }

    pub(in crate::command) fn url(&self) -> &str {
        &self.url
    }
}

/// The client URL in the ports file that the server writes into its folder; nothing until it has.
fn url_in_folder(folder: &Path) -> Option<String> {
    let files = std::fs::read_dir(folder).ok()?.flatten();
    let mut ports = files.filter(|file| file.path().extension().is_some_and(|ending| ending == "ports"));
    url_in(&std::fs::read(ports.next()?.path()).ok()?)
}

/// The client URL in a ports file.
fn url_in(bytes: &[u8]) -> Option<String> {
    let ports: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    Some(ports.get("nats")?.get(0)?.as_str()?.to_owned())
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.end();
        let _ = std::fs::remove_dir_all(&self.store);
    }
}

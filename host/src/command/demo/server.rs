//! A nats-server of our own, on a free port of this machine.

use crate::error::{Context, Error, Result};
use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
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
pub(in crate::command) struct Ending(Arc<Mutex<Child>>);

impl Ending {
    pub(in crate::command) fn end(&self) {
        let mut child = self.child();
        let _ = child.kill();
        let _ = child.wait();
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Child> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// Starts `$NATS_SERVER`, or the nats-server on the PATH, with its store in `store`.
    pub(in crate::command) fn start(store: &Path) -> Result<Self> {
        let program = std::env::var_os("NATS_SERVER").map_or_else(|| PathBuf::from("nats-server"), PathBuf::from);
        let wrap = || format!("cannot make {}", store.display());
        std::fs::create_dir_all(store).environment(wrap)?;
        let child = Command::new(&program)
            .args(["--addr", "127.0.0.1", "--port", "-1", "--jetstream", "--store_dir"])
            .arg(store)
            .arg("--ports_file_dir")
            .arg(store)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C is for us: the pipelines still need the server while they drain.
            .process_group(0)
            .spawn()
            .map_err(|cause| {
                Error::environment(format!(
                    "cannot start {}: {cause}; `cargo xtask setup` gets one, or name one with NATS_SERVER=…",
                    program.display()
                ))
            })?;
        let ports = store.join(format!("nats-server_{}.ports", child.id()));
        let mut server = Self {
            child: Ending(Arc::new(Mutex::new(child))),
            store: store.to_owned(),
            url: String::new(),
        };
        let begun = Instant::now();
        loop {
            if let Some(url) = std::fs::read(&ports).ok().and_then(|bytes| url_in(&bytes)) {
                server.url = url;
                return Ok(server);
            }
            if let Ok(Some(status)) = server.child.child().try_wait() {
                return Err(Error::environment(format!(
                    "{} ended at once: {status}",
                    program.display()
                )));
            }
            if begun.elapsed() > START_MAX {
                return Err(Error::environment(format!(
                    "{} does not say where it listens",
                    program.display()
                )));
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

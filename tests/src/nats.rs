//! A real `nats-server` for one test.

use crate::workspace;
use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long a server may take to say where it listens.
const START_MAX: Duration = Duration::from_secs(30);

/// The file that a server's configuration is in, where it has one.
const CONFIG: &str = "server.conf";

/// A server with JetStream on a free port of this machine, with a store of its own. It is killed, and its store removed,
/// when the value is dropped.
#[derive(Debug)]
pub struct NatsServer {
    process: Child,
    port: u16,
    folder: TempDir,
}

impl NatsServer {
    /// Starts one on a port that is free.
    ///
    /// # Panics
    /// When there is no server on this machine, or it does not start.
    pub fn start() -> Self {
        let folder = crate::scratch();
        // -1: the server takes a free port itself, and says which in a file. Nobody can take it in between.
        let (process, port) = launch(&folder, -1);
        Self { process, port, folder }
    }

    /// Starts one that reads this configuration.
    ///
    /// # Panics
    /// As [`NatsServer::start`].
    pub fn with_config(config: &str) -> Self {
        let folder = crate::scratch();
        fs::write(folder.path().join(CONFIG), config).expect("the configuration can be written");
        let (process, port) = launch(&folder, -1);
        Self { process, port, folder }
    }

    /// Where it is, for somebody with a password.
    pub fn url_of(&self, user: &str) -> String {
        format!("nats://{user}@127.0.0.1:{}", self.port)
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Where it keeps its streams.
    pub fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// What it has logged since it was started last.
    ///
    /// # Panics
    /// When that cannot be read.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("server.log")).expect("the log can be read")
    }

    /// Kills the server as a power cut would. Its store stays.
    ///
    /// # Panics
    /// When the server ended before.
    pub fn kill(&mut self) {
        self.process.kill().expect("the server runs");
        self.process.wait().expect("the server ends");
        // The next one may get the same number, and did not say yet that it listens.
        let _ = fs::remove_file(ports_file(&self.folder, &self.process));
    }

    /// Lets the server keep its connections and answer nothing any more.
    ///
    /// # Panics
    /// When the server ended before.
    pub fn hang(&self) {
        let process = i32::try_from(self.process.id()).expect("process ids are small");
        // SAFETY: a signal to a child that was not waited for, so that its id is its own.
        let sent = unsafe { libc::kill(process, libc::SIGSTOP) };
        assert_eq!(sent, 0, "the signal can be sent");
    }

    /// Starts the server again after [`NatsServer::kill`], over the same store and on the same port.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        (self.process, self.port) = launch(&self.folder, i32::from(self.port));
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn launch(folder: &TempDir, port: i32) -> (Child, u16) {
    let program = program();
    let config = Some(folder.path().join(CONFIG)).filter(|path| path.is_file());
    let mut process = Command::new(&program)
        .args(["--addr", "127.0.0.1", "--port", &port.to_string(), "--jetstream"])
        .arg("--store_dir")
        .arg(folder.path().join("store"))
        .arg("--ports_file_dir")
        .arg(folder.path())
        .args(config.iter().flat_map(|path| ["--config".as_ref(), path.as_os_str()]))
        .stdout(Stdio::null())
        .stderr(fs::File::create(folder.path().join("server.log")).expect("the log can be made"))
        .spawn()
        .unwrap_or_else(|cause| panic!("cannot start {}: {cause}", program.display()));
    // The server's own word that it listens: nothing else tells without trying to connect.
    let ports = ports_file(folder, &process);
    let begun = Instant::now();
    loop {
        if let Some(port) = fs::read_to_string(&ports).ok().and_then(|text| port_in(&text)) {
            return (process, port);
        }
        let ended = process.try_wait().expect("the server's state can be read").is_some();
        if ended || begun.elapsed() > START_MAX {
            let _ = process.kill();
            let log = fs::read_to_string(folder.path().join("server.log")).unwrap_or_default();
            panic!("{} does not start:\n{log}", program.display());
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Where a server says where it listens.
fn ports_file(folder: &TempDir, process: &Child) -> PathBuf {
    folder.path().join(format!("nats-server_{}.ports", process.id()))
}

/// The port in `{"nats":["nats://127.0.0.1:4222"], …}`; nothing while the file is not whole.
fn port_in(text: &str) -> Option<u16> {
    let ports: serde_json::Value = serde_json::from_str(text).ok()?;
    ports.get("nats")?.get(0)?.as_str()?.rsplit(':').next()?.parse().ok()
}

/// The server's binary: the one that `NATS_SERVER` names (`cargo xtask test` sets it), else one on the `PATH`, else the
/// one that `cargo xtask setup` put below `target/`.
///
/// # Panics
/// When there is none.
pub fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("NATS_SERVER").filter(|path| !path.is_empty()) {
        return path.into();
    }
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&on_path).map(|folder| folder.join("nats-server"));
    let installed = workspace().join("target/nats-server/bin/nats-server");
    let found = on_path.chain([installed]).find(|path| path.is_file());
    found.expect("there is no nats-server; `cargo xtask setup` gets one, or NATS_SERVER names it")
}

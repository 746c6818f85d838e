//! `weir run` as a process, and what it leaves.

use crate::{DEADLINE, NOW, events, wait_until};
use rusqlite::{Connection, OpenFlags};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File},
    io,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};
use weir_tests::{
    command::{Outcome, Weir},
    table::{Contents, contents, query, read},
};

/// The command under test.
pub(crate) fn weir() -> Weir {
    Weir::at(env!("CARGO_BIN_EXE_weir-under-test"))
}

/// A `weir run` that was not started yet.
pub(crate) struct Run {
    command: Command,
    folder: PathBuf,
}

/// A `weir run` that runs. It is killed when the value is dropped.
pub(crate) struct Running {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Run {
    /// Of these pipelines, in `folder`, with "now" as in the golden cases. A database that is new publishes all.
    pub(crate) fn new<P: AsRef<OsStr>>(folder: &Path, url: &str, pipelines: impl IntoIterator<Item = P>) -> Self {
        Self::undecided(folder, url, pipelines).with(["--publish-from", "1"])
    }

    /// The same, without a word of what a database that is new publishes.
    pub(crate) fn undecided<P: AsRef<OsStr>>(folder: &Path, url: &str, pipelines: impl IntoIterator<Item = P>) -> Self {
        let mut command = weir().command();
        command.current_dir(folder).arg("run").args(pipelines);
        command.args(["--nats", url, "--now", NOW]);
        Self {
            command,
            folder: folder.to_owned(),
        }
    }

    /// The same, with a server that something else names than an option for it.
    pub(crate) fn somewhere<P: AsRef<OsStr>>(folder: &Path, pipelines: impl IntoIterator<Item = P>) -> Self {
        let mut command = weir().command();
        command
            .current_dir(folder)
            .arg("run")
            .args(pipelines)
            .args(["--now", NOW]);
        Self {
            command,
            folder: folder.to_owned(),
        }
    }

    /// A replay of the stream through one pipeline instead, into `database`.
    pub(crate) fn replay(folder: &Path, url: &str, pipeline: &Path, database: &str) -> Self {
        let mut command = weir().command();
        command.current_dir(folder).arg("replay").arg(pipeline);
        command.args(["--from-stream", "--nats", url, "--now", NOW, "--database", database]);
        Self {
            command,
            folder: folder.to_owned(),
        }
    }

    /// A `weir dev` of the rule in `rule` instead, within `folder`; what it keeps for a time lies in `folder/tmp`.
    pub(crate) fn dev(folder: &Path, rule: &str) -> Self {
        let tmp = folder.join("tmp");
        fs::create_dir_all(&tmp).expect("a folder can be made");
        let mut command = weir().command();
        command.current_dir(folder).args(["dev", rule]);
        command
            .env("NATS_SERVER", weir_tests::nats::program())
            .env("TMPDIR", tmp);
        // Nothing is downloaded: building the guests got all that a rule stands on.
        command.env("CARGO_NET_OFFLINE", "true");
        Self {
            command,
            folder: folder.to_owned(),
        }
    }

    /// A `weir build` of the guest in `rule` instead, within `folder`.
    pub(crate) fn build(folder: &Path, rule: &str) -> Self {
        let mut command = weir().command();
        command.current_dir(folder).args(["build", rule]);
        command.env("CARGO_NET_OFFLINE", "true");
        Self {
            command,
            folder: folder.to_owned(),
        }
    }

    /// With further arguments.
    pub(crate) fn with<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.command.args(arguments);
        self
    }

    /// With a variable of the environment.
    pub(crate) fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// With a bound on what the process may use: `RLIMIT_FSIZE` bytes of any file, say.
    pub(crate) fn limited(mut self, resource: libc::__rlimit_resource_t, most: u64) -> Self {
        let limit = libc::rlimit {
            rlim_cur: most,
            rlim_max: most,
        };
        let bind = move || {
            // SAFETY: the call may be made between fork and exec, and the limit lives for as long as it takes.
            let failed = unsafe { libc::setrlimit(resource, &limit) != 0 };
            if failed {
                Err(io::Error::last_os_error())
            } else {
                Ok(())
            }
        };
        // SAFETY: it does nothing but this call.
        unsafe { self.command.pre_exec(bind) };
        self
    }

    /// As another user, which only root can do.
    pub(crate) fn of_user(mut self, user: u32) -> Self {
        self.command.uid(user).gid(user);
        self
    }

    /// Starts it.
    #[track_caller]
    pub(crate) fn start(mut self) -> Running {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = |what| self.folder.join(format!("run-{number}.{what}"));
        let (stdout, stderr) = (path("stdout"), path("stderr"));
        let make = |path: &Path| File::create(path).expect("a file for what the command says can be made");
        let child = self.command.stdout(make(&stdout)).stderr(make(&stderr)).spawn();
        Running {
            child: child.expect("weir can be started"),
            stdout,
            stderr,
        }
    }

    /// Runs until everything that is stored now is committed.
    #[track_caller]
    pub(crate) fn catch_up(self) -> Outcome {
        self.with(["--until-caught-up"]).start().end()
    }
}

impl Running {
    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Standard error so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.stderr).expect("standard error is UTF-8")
    }

    /// Standard output so far.
    pub(crate) fn shown(&self) -> String {
        fs::read_to_string(&self.stdout).expect("standard output is UTF-8")
    }

    /// Waits until `text` stands in what it showed after its first `from` bytes; gives all that stands there.
    #[track_caller]
    pub(crate) fn wait_for_shown(&mut self, from: usize, text: &str) -> String {
        wait_until(text, || {
            let shown = self.shown();
            self.check_running();
            shown.get(from..).is_some_and(|shown| shown.contains(text))
        });
        self.shown().split_off(from)
    }

    /// Waits until it says `text`.
    #[track_caller]
    pub(crate) fn wait_for_word(&mut self, text: &str) {
        wait_until(text, || {
            let said = self.said();
            self.check_running();
            said.contains(text)
        });
    }

    /// Waits until a pipeline committed everything up to `sequence`.
    #[track_caller]
    pub(crate) fn wait_for_position(&mut self, database: &Path, pipeline: &str, sequence: u64) {
        wait_until(&format!("{pipeline} at {sequence}"), || {
            self.check_running();
            position(database, pipeline) >= sequence
        });
    }

    /// Whether it ended by itself, in whichever way.
    #[track_caller]
    pub(crate) fn has_ended(&mut self) -> bool {
        let ended = self.child.try_wait().expect("the state of the process can be read");
        ended.is_some()
    }

    /// Kills it, unless it ended; gives how it did. The code of one that was killed is -1.
    #[track_caller]
    pub(crate) fn kill_or_see_ended(mut self) -> Outcome {
        if !self.has_ended() {
            self.child.kill().expect("weir runs");
        }
        self.end()
    }

    /// Sends a signal, unless it ended.
    #[track_caller]
    pub(crate) fn send_if_running(&mut self, signal: i32) {
        if !self.has_ended() {
            let process = i32::try_from(self.child.id()).expect("process ids are small");
            // SAFETY: a signal to a child that was not waited for, so that its id is its own.
            unsafe { libc::kill(process, signal) };
        }
    }

    /// Whether it died by itself, at a fail point.
    ///
    /// # Panics
    /// When it ended in another way.
    #[track_caller]
    pub(crate) fn has_died(&mut self) -> bool {
        let ended = self.child.try_wait().expect("the state of the process can be read");
        if let Some(status) = ended {
            assert_eq!(status.signal(), Some(libc::SIGKILL), "{status}:\n{}", self.said());
        }
        ended.is_some()
    }

    #[track_caller]
    pub(crate) fn check_running(&mut self) {
        let ended = self.child.try_wait().expect("the state of the process can be read");
        assert!(ended.is_none(), "weir ended early, {ended:?}:\n{}", self.said());
    }

    /// Kills it as a power cut would.
    #[track_caller]
    pub(crate) fn kill(mut self) {
        self.check_running();
        self.child.kill().expect("weir runs");
        self.child.wait().expect("weir ends");
    }

    /// The same for one that may die by itself.
    #[track_caller]
    pub(crate) fn kill_or_see_dead(mut self) {
        if !self.has_died() {
            self.child.kill().expect("weir runs");
            self.child.wait().expect("weir ends");
        }
    }

    /// Ctrl-C, and waits for the end.
    #[track_caller]
    pub(crate) fn interrupt(mut self) -> Outcome {
        self.send(libc::SIGINT);
        self.end()
    }

    /// Sends a signal.
    #[track_caller]
    pub(crate) fn send(&mut self, signal: i32) {
        self.check_running();
        let process = i32::try_from(self.child.id()).expect("process ids are small");
        // SAFETY: a signal to a child that was not waited for, so that its id is its own.
        let sent = unsafe { libc::kill(process, signal) };
        assert_eq!(sent, 0, "the signal can be sent");
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn end(mut self) -> Outcome {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("the state of the process can be read") {
                break status;
            }
            assert!(begun.elapsed() < DEADLINE, "weir does not end:\n{}", self.said());
            std::thread::park_timeout(Duration::from_millis(2));
        };
        Outcome {
            code: status.code().unwrap_or(-1),
            stdout: fs::read_to_string(&self.stdout).expect("standard output is UTF-8"),
            stderr: self.said(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last sequence that a pipeline committed; 0 where there is no database yet.
pub(crate) fn position(database: &Path, pipeline: &str) -> u64 {
    let read = || -> rusqlite::Result<i64> {
        let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.query_row(
            "SELECT position FROM weir_pipeline WHERE name = ?1",
            [pipeline],
            |row| row.get(0),
        )
    };
    read().map_or(0, i64::cast_unsigned)
}

/// Fills the lookup table of premium-drop in `database`.
#[track_caller]
pub(crate) fn load_customers(rows: &Path, database: &Path) {
    let pipeline = weir_tests::pipeline("premium-drop");
    let arguments = [
        "table".as_ref(),
        "load".as_ref(),
        pipeline.as_os_str(),
        "raw_info".as_ref(),
    ];
    let options = [
        "--input".as_ref(),
        rows.as_os_str(),
        "--database".as_ref(),
        database.as_os_str(),
    ];
    weir().run(arguments.into_iter().chain(options)).ends_with(0);
}

/// A new folder within `parent` whose database of premium-drop knows the customers of made-up events.
#[track_caller]
pub(crate) fn folder_with_customers(parent: &Path, name: &str) -> PathBuf {
    let folder = parent.join(name);
    fs::create_dir(&folder).expect("a folder can be made");
    let rows = folder.join("customers.jsonl");
    events::write_customers(&rows);
    load_customers(&rows, &folder.join("premium-drop.db"));
    folder
}

/// What each scenario left in its own database in `folder`.
#[track_caller]
pub(crate) fn all_contents(folder: &Path) -> BTreeMap<&'static str, Contents> {
    let of = |scenario| (scenario, contents(&database(folder, scenario)));
    events::SCENARIOS.map(of).into()
}

/// The database that a scenario has in `folder` unless it is told otherwise.
pub(crate) fn database(folder: &Path, scenario: &str) -> PathBuf {
    folder.join(format!("{scenario}.db"))
}

/// What one of several pipelines left in a database: its tables, and its dead letters and counts as text.
#[track_caller]
pub(crate) fn share_of(database: &Path, pipeline: &str) -> (BTreeMap<String, weir_tests::table::Table>, Vec<String>) {
    let names = query(
        database,
        &format!("SELECT name FROM weir_table WHERE pipeline = '{pipeline}'"),
    );
    let tables = names
        .into_iter()
        .map(|name| (name.clone(), read(database, &name)))
        .collect();
    let mut others = query(
        database,
        &format!(
            "SELECT concat_ws('|', sequence, time_ms, step, module, reason, hex(payload)) FROM weir_dead_letter
             WHERE pipeline = '{pipeline}' ORDER BY sequence, id"
        ),
    );
    others.extend(query(
        database,
        &format!(
            "SELECT concat_ws('|', events, applied, filtered, dead_letters, blank, position) FROM weir_pipeline
             WHERE name = '{pipeline}'"
        ),
    ));
    (tables, others)
}

/// Copies a database that nobody has open.
#[track_caller]
pub(crate) fn copy_database(from: &Path, to: &Path) {
    let beside = |path: &Path, suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
    for suffix in ["", "-wal", "-shm"] {
        let (from, to) = (beside(from, suffix), beside(to, suffix));
        let _ = fs::remove_file(&to);
        if suffix.is_empty() || (suffix == "-wal" && from.exists()) {
            fs::copy(&from, &to).unwrap_or_else(|cause| panic!("cannot copy {}: {cause}", from.display()));
        }
    }
}

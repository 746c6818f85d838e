//! Processes that end with us, however we end.
//!
//! Between us and such a process stands another weir, the supervisor, which holds the other end of a pipe: when the pipe
//! closes, because we let go of it or because we are gone (also by `kill -9`), it kills the process and all that this has
//! started. They are a process group of their own, so that Ctrl-C in the terminal is for us alone.

use crate::{
    error::{Context, Error, Result},
    source::Stop,
    wasm::this_program,
};
use std::{
    ffi::OsString,
    io,
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, ChildStdin, Command, ExitCode, ExitStatus, Output, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

/// How the supervisor ends when its process could not be started.
const NOT_FOUND: i32 = 127;
const NOT_STARTED: i32 = 126;

/// How often we look whether it is time to end.
const LOOK: Duration = Duration::from_millis(20);

/// Runs a program for another weir, and ends it with that one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  weir supervise sleep 1000")]
pub(super) struct Supervise {
    /// The program, and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

impl Supervise {
    pub(super) fn run(self) -> Result<ExitCode> {
        let Some((program, arguments)) = self.command.split_first() else {
            return Ok(ExitCode::SUCCESS);
        };
        let child = Command::new(program).args(arguments).stdin(Stdio::null()).spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(cause) => {
                let code = match cause.kind() {
                    io::ErrorKind::NotFound => NOT_FOUND,
                    _ => NOT_STARTED,
                };
                return Ok(ExitCode::from(code as u8));
            }
        };
        let watch = || {
            // It ends when nobody holds the other end any more. Nobody writes.
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
            let _ = rustix::process::kill_current_process_group(rustix::process::Signal::KILL);
        };
        thread::Builder::new()
            .name("weir-supervise".to_owned())
            .spawn(watch)
            .environment(|| "cannot start a thread".to_owned())?;
        let status = child.wait().environment(|| "cannot wait for a process".to_owned())?;
        let signal = status.signal().map(|signal| 128 + signal);
        Ok(ExitCode::from(status.code().or(signal).unwrap_or(1) as u8))
    }
}

/// A process that ends with us, and with this value.
#[derive(Debug)]
pub(super) struct Supervised {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Supervised {
    /// Starts `command`, whose standard input is nothing, and whose other streams are these.
    pub(super) fn start(command: &Command, stdout: Stdio, stderr: Stdio) -> io::Result<Self> {
        let mut supervisor = Command::new(this_program()?);
        supervisor.arg("supervise").arg(command.get_program());
        supervisor.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => supervisor.env(name, value),
                None => supervisor.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            supervisor.current_dir(folder);
        }
        let mut child = supervisor
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0)
            .spawn()?;
        let pipe = child.stdin.take();
        Ok(Self { child, pipe })
    }

    /// Kills it, and all that it has started.
    pub(super) fn kill(&mut self) {
        self.pipe = None;
        let _ = self.child.wait();
    }

    /// Whether it has ended, and how.
    pub(super) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Does `work` with it, which ends when the process does; and ends the process when somebody wants us to stop.
    ///
    /// # Errors
    /// When no thread can be started to wait for that: the process is ended then.
    pub(super) fn attend<T>(mut self, stop: &Stop, work: impl FnOnce(&mut Child) -> T) -> io::Result<T> {
        let pipe = self.pipe.take();
        let is_done = &AtomicBool::new(false);
        thread::scope(|scope| {
            let watch = thread::Builder::new().spawn_scoped(scope, move || {
                while !is_done.load(Ordering::Relaxed) && !stop.is_set() {
                    thread::park_timeout(LOOK);
                }
                drop(pipe);
            })?;
            let given = work(&mut self.child);
            is_done.store(true, Ordering::Relaxed);
            watch.thread().unpark();
            Ok(given)
        })
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs `command` to its end, or until somebody wants us to stop, and gives what it said.
pub(super) fn output(command: &Command, stop: &Stop) -> io::Result<Output> {
    let started = Supervised::start(command, Stdio::piped(), Stdio::piped())?;
    let output = started.attend(stop, |child| {
        let said = child.stderr.take();
        thread::scope(|scope| {
            let reader = thread::Builder::new().spawn_scoped(scope, || read_all(said))?;
            let stdout = read_all(child.stdout.take())?;
            let stderr = reader.join().unwrap_or_else(|_| Ok(Vec::new()))?;
            let status = child.wait()?;
            Ok(Output { status, stdout, stderr })
        })
    });
    output?
}

fn read_all(from: Option<impl io::Read>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.map_or(Ok(0), |mut from| from.read_to_end(&mut bytes))?;
    Ok(bytes)
}

/// What kept a program from starting, where that is how the supervisor ended.
pub(super) fn not_started(status: ExitStatus) -> Option<&'static str> {
    match status.code() {
        Some(NOT_FOUND) => Some("there is no such program"),
        Some(NOT_STARTED) => Some("it is no program, or this user may not start it"),
        _ => None,
    }
}

/// An error where somebody wants us to stop: what came of the process is no news then.
pub(super) fn check_going_on(stop: &Stop) -> Result<()> {
    match stop.is_set() {
        true => Err(Error::environment("stopped")),
        false => Ok(()),
    }
}

//! The process that compiles one component, as seen from here.

use super::{ChildCompiler, CompileBounds};
use crate::{
    error::{Context, Error, Result},
    limits::COMPILER_THREADS_MAX,
    say,
    text::printable,
    wasm::{compilations::given_up, compiled::HEADER_BYTES_MAX, read::Binary},
};
use rustix::process::Signal;
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long it may take before somebody is told what is waited for.
const SILENCE: Duration = Duration::from_secs(2);

/// How often we look whether it is to end.
const LOOK: Duration = Duration::from_millis(20);

/// Bytes of its last words.
const WORDS_BYTES_MAX: u64 = 4096;

/// What Rust's library and wasmtime say where there is no memory, and what the former says where there is no stack. They
/// have no other way to tell.
const NO_MEMORY: [&str; 2] = ["memory allocation of", "out of memory"];
const NO_STACK: &str = "has overflowed its stack";

/// What is said where there can be no thread.
const NO_THREAD: [&str; 2] = ["thread pool has not been initialized", "cannot start a thread"];

/// How people and supervisors end processes.
const STOPPED: [Signal; 4] = [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT];

/// Why we killed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Killed {
    Unwanted,
    TooLate,
    TooMuchCode,
}

impl ChildCompiler {
    /// Gives the answer of a process that was asked to compile `component`.
    ///
    /// The thread that calls is held up until then; the process dies with it.
    ///
    /// # Errors
    /// A definition error when it passed a bound of its own (CPU, memory, code). An environment error when it took too long by
    /// the clock, others killed or stopped it, it could not be started, or is not wanted any more.
    pub(super) fn compile(&self, component: &Binary, is_unwanted: &(dyn Fn() -> bool + Sync)) -> Result<Vec<u8>> {
        let cannot = || format!("cannot start {} to compile a component", self.program.display());
        let begun = Instant::now();
        let mut child = self.command().spawn().environment(cannot)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let streams = stdin.zip(stdout).zip(stderr);
        let child = &Mutex::new(child);
        let (killed, is_done) = (&Mutex::new(None), &AtomicBool::new(false));
        let kill = |why: Killed| {
            lock(killed).get_or_insert(why);
            let _ = lock(child).kill();
        };
        let ended = thread::scope(|scope| {
            let watch = || {
                let mut is_said = false;
                while !is_done.load(Ordering::Relaxed) {
                    if is_unwanted() {
                        kill(Killed::Unwanted);
                    } else if begun.elapsed() > self.bounds.wall {
                        kill(Killed::TooLate);
                    }
                    if begun.elapsed() > SILENCE && !std::mem::replace(&mut is_said, true) {
                        let digest = component.digest();
                        let (digest, wall) = (digest.get(..12).unwrap_or(digest), self.bounds.wall.as_secs());
                        say!(
                            Info,
                            "weir: module {digest} is being compiled, which may take up to {wall} s"
                        );
                    }
                    thread::park_timeout(LOOK);
                }
            };
            let watch = thread::Builder::new().spawn_scoped(scope, watch);
            if watch.is_err() {
                kill(Killed::Unwanted);
            }
            let said =
                streams.map(|((stdin, stdout), stderr)| self.talk(stdin, stdout, stderr, component.bytes(), &kill));
            let status = wait(child);
            is_done.store(true, Ordering::Relaxed);
            watch.map(|watch| watch.thread().unpark())?;
            Ok::<_, io::Error>((status?, said.unwrap_or_default()))
        });
        let (status, (answer, words)) = ended.environment(cannot)?;
        let killed = *lock(killed);
        match (killed, status.success()) {
            (None, true) => Ok(answer),
            _ => Err(self.bounds.refusal(killed, status, &words)),
        }
    }

    fn command(&self) -> Command {
        let threads = thread::available_parallelism()
            .map_or(1, usize::from)
            .min(COMPILER_THREADS_MAX);
        let mut command = Command::new(&self.program);
        command
            .arg("compile-component")
            .args(["--cpu-s", &self.bounds.cpu.as_secs().to_string()])
            .args(["--memory-mib", &self.bounds.memory_mib.to_string()])
            .args(["--code-bytes", &self.bounds.code_bytes.to_string()])
            .env_clear()
            .env("RAYON_NUM_THREADS", threads.to_string())
            // Ctrl-C in the terminal is for us: a component is not refused because somebody stops.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(libraries) = std::env::var_os("LD_LIBRARY_PATH") {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
    }

    /// Gives it the component, and takes its answer and its last words.
    fn talk(
        &self,
        mut stdin: ChildStdin,
        stdout: ChildStdout,
        stderr: ChildStderr,
        component: &[u8],
        kill: &dyn Fn(Killed),
    ) -> (Vec<u8>, String) {
        // It may die before it has read everything; how it ended says why.
        let length = (component.len() as u64).to_le_bytes();
        let _ = stdin.write_all(&length).and_then(|()| stdin.write_all(component));
        let answer = self.answer(stdout, kill).unwrap_or_default();
        let mut words = Vec::new();
        let _ = stderr.take(WORDS_BYTES_MAX).read_to_end(&mut words);
        // Until here: when the pipe closes, it ends.
        drop(stdin);
        (answer, String::from_utf8_lossy(&words).into_owned())
    }

    fn answer(&self, stdout: ChildStdout, kill: &dyn Fn(Killed)) -> io::Result<Vec<u8>> {
        let mut stdout = BufReader::new(stdout);
        let mut answer = Vec::new();
        stdout
            .by_ref()
            .take(HEADER_BYTES_MAX as u64)
            .read_until(b'\n', &mut answer)?;
        let most = self.bounds.code_bytes + 1;
        let read = stdout.by_ref().take(most).read_to_end(&mut answer)?;
        if read as u64 == most {
            kill(Killed::TooMuchCode);
        }
        Ok(answer)
    }
}

impl CompileBounds {
    /// Why there is no answer of a process that ended so.
    fn refusal(&self, killed: Option<Killed>, status: ExitStatus, words: &str) -> Error {
        let signal = status.signal();
        let is = |wanted: Signal| signal == Some(wanted.as_raw());
        let (cpu, wall, memory) = (self.cpu.as_secs(), self.wall.as_secs(), self.memory_mib);
        Error::definition(match killed {
            Some(Killed::Unwanted) => return given_up(),
            // What keeps a compiler from its processor time is not the component.
            Some(Killed::TooLate) => {
                return Error::environment(format!(
                    "compiling it took more than {wall} s by the clock, and less than {cpu} s of CPU: this machine has no time for it, or \
                     somebody stopped the process"
                ));
            }
            Some(Killed::TooMuchCode) => self.too_much_code(),
            None if is(Signal::XCPU) => {
                format!(
                    "compiling it took more than {cpu} s of CPU; accepted is what takes less, as guests of every usual language do"
                )
            }
            None if NO_MEMORY.iter().any(|said| words.contains(said)) => self.too_much_memory(),
            None if words.contains(NO_STACK) => {
                "it is nested too deeply to be compiled; accepted is what the stack of a compiler holds".to_owned()
            }
            // Nothing is known of the component by these.
            None if STOPPED.into_iter().any(is) => {
                return Error::environment(format!(
                    "the process that compiles it was stopped by somebody ({status})"
                ));
            }
            None if NO_THREAD.iter().any(|said| words.contains(said)) => {
                return Error::environment(
                    "the process that compiles it could not start its threads: too many run already for this user (`ulimit -u`)",
                );
            }
            None if is(Signal::KILL) => {
                return Error::environment(format!(
                    "the process that compiles it was killed, as the system does where memory is short; it may take up to {memory} MiB"
                ));
            }
            None => {
                let words = printable(&words.split_whitespace().collect::<Vec<_>>().join(" "));
                let message = format!("the process that compiles it failed ({status}): {words}");
                if status.code() == Some(1) {
                    // Its own word for what is not the component's fault.
                    return Error::environment(message);
                }
                message
            }
        })
    }

    /// What is said of a component that takes too much memory.
    pub(super) fn too_much_memory(&self) -> String {
        format!(
            "compiling it took more than {} MiB of memory; accepted is what takes less, as guests of every usual language do",
            self.memory_mib
        )
    }

    /// What is said of code that is too large.
    pub(super) fn too_much_code(&self) -> String {
        format!(
            "its machine code has more than {} bytes; accepted is what has less",
            self.code_bytes
        )
    }
}

/// Waits for its end, in a way that lets others kill it.
fn wait(child: &Mutex<Child>) -> io::Result<ExitStatus> {
    loop {
        if let Some(status) = lock(child).try_wait()? {
            return Ok(status);
        }
        thread::park_timeout(Duration::from_millis(1));
    }
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

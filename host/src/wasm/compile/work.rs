//! The other side: what the process does that compiles.
//!
//! It bounds itself before it reads anything of the component, and ends when the pipe to it closes, so that it is never
//! left behind.

use super::{CompileBounds, examined, is_no_memory, unfit};
use crate::{
    error::{Context, Error, Result},
    limits::GUEST_MODULE_BYTES_MAX,
    wasm::{
        compiled::{made, refused},
        required::Required,
        settings::settings,
    },
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    io::{self, Read, Write},
    thread,
};
use wasmtime::Engine;

/// Files that it may have open: its pipes, and what its libraries look up.
const FILES_MAX: u64 = 16;

/// How much less than others it matters.
const NICE: i32 = 10;

/// Compiling one component in this process, which does nothing else.
#[derive(Debug)]
pub struct Work(pub CompileBounds);

impl Work {
    /// Reads a component from standard input, and writes what came of it to standard output.
    ///
    /// # Errors
    /// When this process cannot be bounded, or what is given is cut.
    #[allow(
        clippy::disallowed_methods,
        reason = "it answers another weir with bytes, and no terminal is there to be deceived"
    )]
    pub fn run(self) -> Result<()> {
        let Self(bounds) = self;
        bound(&bounds)?;
        let engine = Engine::new(&settings()).environment(|| "cannot start WebAssembly".to_owned())?;
        let component = component()?;
        die_with_the_pipe()?;
        let answer = match examined(&component) {
            Ok(required) => compiled(&engine, &component, required, &bounds),
            Err(error) => refused(error.to_string()),
        };
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(&answer).and_then(|()| stdout.flush());
        written.environment(|| "cannot answer".to_owned())
    }
}

/// The answer for a component whose instances take so much.
fn compiled(engine: &Engine, component: &[u8], required: Required, bounds: &CompileBounds) -> Vec<u8> {
    match engine.precompile_component(component) {
        Ok(code) if code.len() as u64 > bounds.code_bytes => refused(bounds.too_much_code()),
        Ok(code) => made(&code, required),
        Err(cause) if is_no_memory(&cause) => refused(bounds.too_much_memory()),
        Err(cause) => refused(unfit(&cause).to_string()),
    }
}

/// Bounds this process, for good.
fn bound(bounds: &CompileBounds) -> Result<()> {
    // Whoever is short of memory takes us first, and others have the processors first. Both are courtesies.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    let _ = rustix::process::nice(NICE);
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .environment(|| "cannot bind this process to the one that started it".to_owned())?;
    let cpu_s = bounds.cpu.as_secs();
    for (resource, current, maximum) in [
        (Resource::Core, 0, 0),
        (Resource::Fsize, 0, 0),
        (Resource::Nofile, FILES_MAX, FILES_MAX),
        // The signal at the first says what it was; the second kills.
        (Resource::Cpu, cpu_s, cpu_s + 1),
        (Resource::As, bounds.memory_mib << 20, bounds.memory_mib << 20),
    ] {
        // Where whoever started us is bounded more narrowly, that stays.
        let already = getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let limit = Rlimit {
            current: Some(current.min(already)),
            maximum: Some(maximum.min(already)),
        };
        setrlimit(resource, limit).environment(|| format!("cannot bound {resource:?} of this process"))?;
    }
    Ok(())
}

fn component() -> Result<Vec<u8>> {
    let cut = || "the component ends before it should".to_owned();
    let mut stdin = io::stdin().lock();
    let mut length = [0; 8];
    stdin.read_exact(&mut length).environment(cut)?;
    let length = u64::from_le_bytes(length);
    if length > GUEST_MODULE_BYTES_MAX {
        return Err(Error::definition(format!(
            "the component has {length} bytes; accepted are up to {GUEST_MODULE_BYTES_MAX}"
        )));
    }
    let mut component = vec![0; length as usize];
    stdin.read_exact(&mut component).environment(cut)?;
    Ok(component)
}

/// Ends this process when nobody holds the other end of standard input any more: who asked is gone, or does not want it.
/// The signal of the system may have come too early to be heard, and there is none on others than Linux.
fn die_with_the_pipe() -> Result<()> {
    let watch = || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        std::process::exit(1);
    };
    let thread = thread::Builder::new().name("weir-pipe".to_owned()).spawn(watch);
    thread.map(drop).environment(|| "cannot start a thread".to_owned())
}

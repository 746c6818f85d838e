//! Who compiles a component, and within which bounds.
//!
//! A component is a stranger's, and what a compiler does with one is not linear in its size: 128 KB can take minutes,
//! 355 KB can take gigabytes. So the commands of `weir` let a child process do it (`child.rs`, whose other side is
//! `work.rs`), which is killed when it passes its bounds. Before that, this process reads
//! the first eight bytes of a component and nothing else; after that, its table of lines.

mod child;
mod work;

use crate::{
    error::{Error, Result},
    limits::{COMPILE_CPU, COMPILE_MEMORY_MIB, COMPILE_WALL, COMPILED_CODE_BYTES_MAX},
};
use rustix::io::Errno;
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use wasmtime::Engine;
pub use work::Work;

use super::{
    compiled::{Compiled, made},
    names,
    read::Binary,
    required::Required,
};

/// Who compiles components.
#[derive(Clone, Debug)]
pub enum Compiler {
    /// A child process for each, within bounds. What `weir` does.
    Child(ChildCompiler),
    /// This process, without any bound on time and memory. For programs that embed Weir and know who made their
    /// components: one from a stranger can keep them busy for minutes, and take all memory.
    InProcess,
}

/// A program that compiles, and what it may use for one component.
#[derive(Clone, Debug)]
pub struct ChildCompiler {
    /// A `weir`: started as `PROGRAM compile-component`, with bounds as arguments.
    pub program: PathBuf,
    /// What one component may cost.
    pub bounds: CompileBounds,
}

/// What compiling one component may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileBounds {
    /// CPU time, in whole seconds.
    pub cpu: Duration,
    /// Time by the clock.
    pub wall: Duration,
    /// MiB of address space.
    pub memory_mib: u64,
    /// Bytes of machine code.
    pub code_bytes: u64,
}

impl Default for CompileBounds {
    fn default() -> Self {
        Self {
            cpu: COMPILE_CPU,
            wall: COMPILE_WALL,
            memory_mib: COMPILE_MEMORY_MIB,
            code_bytes: COMPILED_CODE_BYTES_MAX,
        }
    }
}

impl Compiler {
    /// A child that is this program, which has to be a `weir`.
    ///
    /// # Errors
    /// When nobody knows the file of this program.
    pub fn this_program(bounds: CompileBounds) -> io::Result<Self> {
        let program = this_program()?;
        Ok(Self::Child(ChildCompiler { program, bounds }))
    }

    /// Compiles `component`, unless somebody wants it to end before.
    ///
    /// # Errors
    /// A definition error when it cannot be compiled, or not within the bounds.
    pub(super) fn compile(
        &self,
        engine: &Engine,
        component: &Binary,
        is_unwanted: &(dyn Fn() -> bool + Sync),
    ) -> Result<Compiled> {
        let answer = match self {
            Self::Child(child) => child.compile(component, is_unwanted)?,
            Self::InProcess => {
                let component = component.bytes();
                let required = examined(component)?;
                let code = engine.precompile_component(component).map_err(|cause| unfit(&cause))?;
                made(&code, required)
            }
        };
        let compiled = Compiled::new(answer).ok_or_else(|| Error::environment("a compiler gave half an answer"))?;
        compiled.map_err(Error::definition)
    }
}

/// What the instances of a component take, found out before it is compiled: two passes over its bytes.
///
/// # Errors
/// When it takes more than a guest may, or has names that are too long.
fn examined(component: &[u8]) -> Result<Required> {
    let required = Required::of(component).map_err(Error::definition)?;
    names::check(component)?;
    Ok(required)
}

/// What is said of a component that wasmtime does not take.
pub(super) fn unfit(cause: &wasmtime::Error) -> Error {
    Error::definition(format!("this is no component that can be run: {cause:#}"))
}

/// Whether the system gave this process no memory.
pub(super) fn is_no_memory(cause: &wasmtime::Error) -> bool {
    cause.is::<wasmtime::OutOfMemory>() || is_of_system(cause, Errno::NOMEM)
}

fn is_of_system(cause: &wasmtime::Error, errno: Errno) -> bool {
    let is = |cause: &(dyn std::error::Error + 'static)| {
        let code = cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        code == Some(errno.raw_os_error()) || cause.downcast_ref::<Errno>() == Some(&errno)
    };
    cause.chain().any(is)
}

/// What this process may not have for a guest, where that is what was wrong, and which bound it is.
pub(super) fn want_of_process(cause: &wasmtime::Error) -> Option<&'static str> {
    if is_no_memory(cause) {
        return Some("this process may map no more memory (`ulimit -v`)");
    }
    // What memories begin with is mapped from a file in memory.
    let bounds = [
        (Errno::FBIG, "this process may make no file of that size (`ulimit -f`)"),
        (Errno::MFILE, "this process may open no more files (`ulimit -n`)"),
        (Errno::NFILE, "this machine opens no more files"),
    ];
    let found = bounds.into_iter().find(|(errno, _)| is_of_system(cause, *errno));
    found.map(|(_, want)| want)
}

/// The file of this program, also where another one stands under its name by now.
pub(crate) fn this_program() -> io::Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    match running.exists() {
        true => Ok(running.to_owned()),
        false => std::env::current_exe(),
    }
}
